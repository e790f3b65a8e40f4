"""Moments, by which the processes started before and after can be told apart."""

import os
from dataclasses import dataclass
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, order=True, slots=True)
class Moment:
    """A moment, or the start of a process.

    Attributes:
        tick: Since the host came up, in the unit of /proc/PID/stat (proc(5), starttime).
        pid: The last process id given out by then, which orders what falls into one tick.
    """

    tick: int
    pid: int

    @classmethod
    def now(cls) -> "Moment":
        """Returns the present one."""
        tick = int(clock_gettime(CLOCK_BOOTTIME) * TICKS_PER_S)
        return cls(tick, int(Path("/proc/loadavg").read_bytes().split()[4]))

    def __str__(self) -> str:
        return f"{self.tick}.{self.pid}"

    @classmethod
    def read(cls, text: str) -> "Moment":
        """Reads what `str` has written."""
        tick, _, pid = text.partition(".")
        return cls(int(tick), int(pid))
