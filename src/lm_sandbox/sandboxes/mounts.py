"""Where volumes are mounted in a sandbox: what was asked for, and what may be. Pure."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lm_sandbox.errors import Invalid

MOST_MOUNTS = 16
LONGEST_PATH = 512
# What the system and the sandbox's own files are in: a volume there would hide them, or be saved and restored
# as if it were the sandbox's.
TAKEN = frozenset(
    {
        "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "root", "run", "sbin",
        "sys", "tmp", "usr", "var", "workspace",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AskedMount:
    """A volume as a caller wants it mounted.

    Attributes:
        volume: Its id or its name.
        path: Where, inside.
        read_only: Whether the sandbox may only read it.
    """

    volume: str
    path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A volume as it is mounted in a sandbox.

    Attributes:
        id: The volume's.
        volume: Its name.
        path: Where, inside.
        read_only: Whether the sandbox may only read it.
    """

    id: str
    volume: str
    path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class DiskMount:
    """A volume as a driver gets it.

    Attributes:
        disk: The file with its file system, on the host.
        path: Where it is mounted, inside.
        read_only: Whether the sandbox may only read it.
    """

    disk: Path
    path: str
    read_only: bool


def admit_mounts(asked: Sequence[AskedMount]) -> None:
    """Refuses mounts that would hide something, or one another.

    Raises:
        Invalid: a path is none, is taken by the system, or is in another one.
    """
    for number, mount in enumerate(asked):
        field = f"mounts.{number}.path"
        if not _is_plain(mount.path):
            raise Invalid(
                f"{mount.path[:100]!r} is no place for a volume; name one like /data, in its shortest form.",
                field=field,
            )
        first = mount.path.split("/")[1]
        if first in TAKEN:
            raise Invalid(
                f"/{first} is the sandbox's own; mount the volume elsewhere, such as at /data.", field=field
            )
        for other in asked[:number]:
            if _is_within(mount.path, other.path) or _is_within(other.path, mount.path):
                raise Invalid(f"{mount.path!r} and {other.path!r} are in one another.", field=field)


def mount_points(paths: Sequence[str]) -> set[str]:
    """Lists the folders that mounts are on, with those that they are in, without a leading slash."""
    folders = {
        str(folder) for path in paths for folder in (PurePosixPath(path), *PurePosixPath(path).parents)
    }
    return {folder.removeprefix("/") for folder in folders - {"/"}}


def _is_plain(path: str) -> bool:
    return (
        path.startswith("/")
        and path != "/"
        and not path.startswith("//")
        and len(path) <= LONGEST_PATH
        and posixpath.normpath(path) == path
        and path.isprintable()
    )


def _is_within(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}/")
