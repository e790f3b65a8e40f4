"""Moments whose distance two servers can tell, one after the other, also when the host's clock was put."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment.

    Attributes:
        wall: By the host's clock, which can be put forward and back.
        boot: Which start of the host it came after.
        boot_s: Seconds since then.
    """

    wall: datetime
    boot: str = ""
    boot_s: float = 0.0

    @classmethod
    def now(cls) -> "Instant":
        """Returns the present one."""
        return cls(datetime.now(UTC), _boot(), clock_gettime(CLOCK_BOOTTIME))

    def since(self, earlier: "Instant") -> float:
        """Counts the seconds from an earlier moment on; over a restart of the host by its clock."""
        if self.boot and self.boot == earlier.boot:
            return max(0.0, self.boot_s - earlier.boot_s)
        return max(0.0, (self.wall - earlier.wall).total_seconds())


@cache
def _boot() -> str:
    """Returns the kernel's name for this start of the host (random(4)); empty where it has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
