"""What a sandbox may use."""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum

MIB = 1024 * 1024


class Limit(StrEnum):
    """A bound on what a sandbox or a command may use, by the name told when it is hit."""

    MEMORY = "memory"
    PIDS = "pids"
    DISK = "disk"
    OUTPUT = "output"
    WALL_TIME = "wall_time"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use, over all of its commands together.

    Attributes:
        cpus: CPU time per wall-clock time, in cores.
        memory_bytes: Memory, in bytes, with the page cache it dirties.
        pids: Processes and threads alive at once.
        disk_bytes: Bytes in all the files the sandbox can write.
        open_files: Descriptors one process may hold.
        cpuset: The cores it may run on, such as `0-3,8`; empty for all that the host gives.
    """

    cpus: float = 2.0
    memory_bytes: int = 1024 * MIB
    pids: int = 256
    disk_bytes: int = 512 * MIB
    open_files: int = 4096
    cpuset: str = ""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """Limits as they are asked for; None leaves one as it is."""

    cpus: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    disk_bytes: int | None = None
    open_files: int | None = None
    cpuset: str | None = None

    def over(self, limits: Limits) -> Limits:
        """Fills what was left out from others."""
        asked = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(limits, **asked)


# By what callers call a limit, and in which unit.
ASKED_AS = {
    "cpus": ("cpus", 1),
    "memory_bytes": ("memory_mib", MIB),
    "pids": ("pids", 1),
    "disk_bytes": ("disk_mib", MIB),
    "open_files": ("open_files", 1),
}
# Those that a sandbox keeps as long as it lives: its file system has a size, its processes have theirs.
LASTING = ("disk_bytes", "open_files")


def changed(before: Limits, after: Limits) -> frozenset[str]:
    """Names the limits that are not the same."""
    old, new = asdict(before), asdict(after)
    return frozenset(name for name in old if old[name] != new[name])
