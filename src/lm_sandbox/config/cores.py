"""Sets of CPU cores as the kernel writes them: `0-3,8`. Source: cpuset(7), the list format."""

import re
from collections.abc import Iterable

# More than any kernel is built for (CONFIG_NR_CPUS).
MOST_CORES = 8192
PART = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")


def parse_cores(text: str) -> frozenset[int]:
    """Reads a set of cores.

    Raises:
        ValueError: it is none, or empty.
    """
    cores: set[int] = set()
    for part in text.split(","):
        found = PART.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < MOST_CORES:
            raise ValueError("cores are written as the kernel does, such as 0-3,8")
        cores.update(range(first, last + 1))
    return frozenset(cores)


def write_cores(cores: Iterable[int]) -> str:
    """Writes a set of cores in the shortest way."""
    ranges: list[list[int]] = []
    for core in sorted(set(cores)):
        if ranges and core == ranges[-1][1] + 1:
            ranges[-1][1] = core
        else:
            ranges.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def plain_cores(text: str) -> str:
    """Returns a set of cores in the shortest way; an empty text, which is no set, stays.

    Raises:
        ValueError: it is none.
    """
    return write_cores(parse_cores(text)) if text else ""
