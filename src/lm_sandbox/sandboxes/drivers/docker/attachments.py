"""Volumes in containers: the engine mounts the file system of each, from a loop device, and lets it go."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio.to_thread

from lm_sandbox.errors import Invalid, Unsupported
from lm_sandbox.sandboxes.drivers.docker.answers import EngineInfo
from lm_sandbox.sandboxes.inside.loops import open_device
from lm_sandbox.sandboxes.mounts import DiskMount

OPTIONS = "nosuid,nodev,noatime,discard,errors=remount-ro"
NEEDED = frozenset({"nosuid", "nodev"})
# How the kernel writes them in its list of mounts.
ESCAPED = {" ": "\\040", "\\": "\\134"}
# Of a line in mountinfo (proc(5)).
DEVICE, ROOT, PLACE, FLAGS = 2, 3, 4, 5


@dataclass(frozen=True, slots=True)
class Attached:
    """A volume whose file system can be mounted.

    Attributes:
        mount: Where and how.
        device: The path of its loop device.
        number: The number of that, as the kernel writes it.
    """

    mount: DiskMount
    device: str
    number: str


def obstacle_to_volumes(info: EngineInfo, obstacle: str | None) -> str | None:
    """Says why containers of this engine get no volumes; None where they do.

    Args:
        info: What the engine says of itself.
        obstacle: Why its containers cannot be entered directly, if they cannot.
    """
    if obstacle is not None:
        # What is mounted there could not be looked at.
        return obstacle
    if info.podman:
        return "the engine is Podman"
    return "the engine maps users" if info.has("userns") else None


@asynccontextmanager
async def attached(mounts: Sequence[DiskMount]) -> AsyncIterator[tuple[Attached, ...]]:
    """Has the volumes on loop devices until they are mounted; from then on the kernel keeps the devices.

    Raises:
        Unsupported: this host cannot do that, or a file system is damaged.
    """
    with ExitStack() as held:
        found = []
        for mount in mounts:
            try:
                fd, device = await anyio.to_thread.run_sync(open_device, str(mount.disk))
            except OSError as error:
                raise Unsupported(
                    "This host cannot mount a volume; that needs loop devices, which a server in a container "
                    f"may not have ({error.strerror})."
                ) from error
            held.callback(os.close, fd)
            number = os.fstat(fd).st_rdev
            found.append(Attached(mount, device, f"{os.major(number)}:{os.minor(number)}"))
        yield tuple(found)


def with_volumes(config: Mapping[str, Any], volumes: Sequence[Attached]) -> Mapping[str, Any]:
    """Returns the same container with volumes; for the engine they have no name, and go with the container.

    Args:
        config: The body of `POST /containers/create`.
        volumes: What is mounted in it.

    Raises:
        Invalid: something of the image's would be mounted in a volume.
    """
    if not volumes:
        return config
    host = config["HostConfig"]
    tmpfs = {place: options for place, options in host["Tmpfs"].items() if not _covers(volumes, place)}
    mounts = [
        {
            "Type": "volume",
            "Target": one.mount.path,
            # The engine takes that of volumes with a name only; see `read_only_paths`.
            "ReadOnly": False,
            "VolumeOptions": {
                # Nothing of the image is copied into it.
                "NoCopy": True,
                "DriverConfig": {
                    "Name": "local",
                    "Options": {"type": "ext4", "device": one.device, "o": OPTIONS},
                },
            },
        }
        for one in volumes
    ]
    return {**config, "HostConfig": {**host, "Tmpfs": tmpfs, "Mounts": mounts}}


def _covers(volumes: Sequence[Attached], place: str) -> bool:
    """Tells whether a volume takes the place of an image's own, which may not be in a volume.

    Another sandbox could put a link there while the runtime mounts, as in CVE-2021-30465.
    """
    for one in volumes:
        if place.startswith(f"{one.mount.path}/"):
            raise Invalid(
                f"The image has a volume of its own at {place}, in {one.mount.path}; mount yours elsewhere.",
                field="mounts",
            )
    return any(place == one.mount.path for one in volumes)


def read_only_paths(volumes: Sequence[Attached]) -> list[str]:
    """Lists where nothing may be written."""
    return [one.mount.path for one in volumes if one.mount.read_only]


def are_mounted(volumes: Sequence[Attached], mountinfo: str) -> bool:
    """Tells whether a container has these volumes as asked for, by the kernel's own list of its mounts.

    An engine in a virtual machine would have mounted what has the same name there.
    """
    lines = [fields for line in mountinfo.splitlines() if len(fields := line.split(" ")) > FLAGS]
    found = {fields[PLACE]: fields for fields in lines}
    return all(_is_mounted(one, found.get(_escaped(one.mount.path), [])) for one in volumes)


def _is_mounted(volume: Attached, fields: Sequence[str]) -> bool:
    if not fields or (fields[DEVICE], fields[ROOT]) != (volume.number, "/"):
        return False
    return {*fields[FLAGS].split(",")} >= NEEDED | {"ro" if volume.mount.read_only else "rw"}


def _escaped(path: str) -> str:
    return "".join(ESCAPED.get(letter, letter) for letter in path)
