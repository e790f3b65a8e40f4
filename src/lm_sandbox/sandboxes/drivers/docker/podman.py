"""What Podman's Docker API takes in another form than Docker does; tried with Podman 4.3."""

import resource
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lm_sandbox.sandboxes.drivers.docker.container import MASKED
from lm_sandbox.sandboxes.drivers.docker.profile import seccomp_profile

PROFILE = "seccomp.json"
PID_MAX = Path("/proc/sys/kernel/pid_max")


def write_profile(folder: Path) -> Path:
    """Writes the system call policy where the engine, which is on this host, reads it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / PROFILE
    part = path.with_suffix(".part")
    part.write_text(seccomp_profile())
    part.replace(path)
    return path


def processes_of_a_user() -> int:
    """Returns how many processes one user may have; Podman holds itself to the kernel's most."""
    most = int(PID_MAX.read_text())
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def for_podman(config: Mapping[str, Any], profile: Path, processes: int) -> dict[str, Any]:
    """Returns the same container, as Podman wants it to be asked for.

    Args:
        config: The body of `POST /containers/create`, for Docker.
        profile: A file with the system call policy: of a list of options only names of files are taken.
        processes: How many one user may have on this host.
    """
    host = dict(config["HostConfig"])
    host["Tmpfs"] = dict.fromkeys(host["Tmpfs"], _tmpfs(host["Tmpfs"].values()))
    # Else Podman asks for a million processes of one user, which not every root may have.
    host["Ulimits"] = [*host["Ulimits"], {"Name": "nproc", "Soft": processes, "Hard": processes}]
    host["SecurityOpt"] = ["no-new-privileges", f"seccomp={profile}", f"mask={':'.join(MASKED)}"]
    return {**config, "HostConfig": host}


def _tmpfs(asked: Iterable[str]) -> str:
    """Leaves out how many files there may be, which memory bounds, and the owner: everybody may write."""
    (size,) = {word for options in asked for word in options.split(",") if word.startswith("size=")}
    return f"exec,nosuid,nodev,notmpcopyup,{size},mode=1777"
