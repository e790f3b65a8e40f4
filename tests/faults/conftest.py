"""What a real server holds, counted from outside."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server
from tests.control_groups import groups_below

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Holdings:
    """What must not grow: descriptors of the server, its threads, its processes, its cgroups."""

    descriptors: int
    threads: int
    processes: int
    cgroups: int


def holdings(server: Server) -> Holdings:
    status = Path(f"/proc/{server.pid}/status").read_text()
    threads = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Threads:"))
    cgroups = groups_below(f"lm-sandbox-{server.pid}")
    return Holdings(_descriptors(server.pid), threads, len(list(_descendants(server.pid))), len(cgroups))


def _descriptors(pid: int) -> int:
    """Counts them without those of the database's pool, which grows to its size when it is first busy."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += "lm-sandbox.db" not in str(link.readlink())
    return count


def memory_bytes(pid: int) -> int:
    """The resident memory of a process that nobody else shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    private = [line.split()[1] for line in lines if line.startswith("Private_")]
    return 1024 * sum(map(int, private))


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    # It may end while it is looked at.
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


@pytest.fixture
def http(server: Server) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {server.key}"}
    limits = httpx.Limits(max_connections=300)
    return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=120, limits=limits)
