"""What a sandbox may use."""

from dataclasses import dataclass
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
    """

    cpus: float = 2.0
    memory_bytes: int = 1024 * MIB
    pids: int = 256
    disk_bytes: int = 512 * MIB
    open_files: int = 4096
