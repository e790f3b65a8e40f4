"""What control groups say of the use of a sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lm_sandbox.errors import LimitInUse
from lm_sandbox.sandboxes.driver import Stats
from lm_sandbox.sandboxes.limits import MIB, Limits


@dataclass(frozen=True, slots=True)
class Used:
    """What a limit has to leave room for.

    Attributes:
        memory_bytes: Memory that the kernel cannot take back, files in memory included.
        pids: Processes and threads.
    """

    memory_bytes: int
    pids: int

    def require_room(self, limits: Limits) -> None:
        """Refuses limits that are below it.

        Raises:
            LimitInUse: it says which one, and what is in use.
        """
        if self.pids > limits.pids:
            raise LimitInUse(f"The sandbox has {self.pids} processes now; pids cannot be {limits.pids}.")
        if self.memory_bytes > limits.memory_bytes + limits.disk_bytes:
            raise LimitInUse(
                f"The sandbox uses {self.memory_bytes // MIB} MiB with the files that it holds in memory; "
                f"memory_mib cannot be {limits.memory_bytes // MIB} with {limits.disk_bytes // MIB} of disk."
            )


def used(version: int, folders: Mapping[str, Path]) -> Used:
    """Reads what is in use of groups of either version."""
    memory = folders["memory"]
    stat = (memory / "memory.stat").read_bytes()
    prefix, total = ("total_", "memory.usage_in_bytes") if version == 1 else ("", "memory.current")
    # What is only a copy of a file on disk goes when there is no room.
    cached = sum(count(stat, f"{prefix}{kind}_file") for kind in ("active", "inactive"))
    taken = _number(memory / total) or 0
    return Used(max(0, taken - cached), _number(folders["pids"] / "pids.current") or 0)


def stats_v1(folders: Mapping[str, Path]) -> Stats:
    """Reads version 1."""
    used = _number(folders["cpuacct"] / "cpuacct.usage") if "cpuacct" in folders else None
    return Stats(
        cpu_seconds=None if used is None else used / 1e9,
        throttled_seconds=count((folders["cpu"] / "cpu.stat").read_bytes(), "throttled_time") / 1e9,
        memory_bytes=_number(folders["memory"] / "memory.usage_in_bytes"),
        memory_peak_bytes=_number(folders["memory"] / "memory.max_usage_in_bytes"),
        pids=_number(folders["pids"] / "pids.current"),
    )


def stats_v2(folder: Path) -> Stats:
    """Reads version 2."""
    times = (folder / "cpu.stat").read_bytes()
    return Stats(
        cpu_seconds=count(times, "usage_usec") / 1e6,
        throttled_seconds=count(times, "throttled_usec") / 1e6,
        memory_bytes=_number(folder / "memory.current"),
        memory_peak_bytes=_number(folder / "memory.peak"),
        pids=_number(folder / "pids.current"),
    )


def _number(file: Path) -> int | None:
    """Reads a number; older kernels lack some of the files."""
    try:
        return int(file.read_text())
    except FileNotFoundError:
        return None


def count(text: bytes, key: str) -> int:
    """Finds a number by its name in lines of both; 0 where it is not there."""
    for line in text.decode().splitlines():
        name, _, number = line.partition(" ")
        if name == key:
            return int(number)
    return 0
