"""What idle sandboxes cost, and how many commands a server runs at once.

usage: python -m benchmarks.load [--sandboxes N] [--seconds S]

Commands are `bash -c 'echo hi'` over HTTP, with a key. Memory is the proportional set size (PSS) of every
process that an idle sandbox has after its first command, beside that of the server itself.
"""

import argparse
import asyncio
import statistics
import time
from contextlib import suppress
from pathlib import Path

import httpx

from benchmarks.commands import server

AT_ONCE = 8
WARM_UPS = 20


async def run(client: httpx.AsyncClient, sandbox: str) -> float:
    started = time.perf_counter()
    answer = await client.post(f"/v1/sandboxes/{sandbox}/commands", json={"command": "echo hi"})
    assert answer.json()["stdout"] == "hi\n", answer.text
    return (time.perf_counter() - started) * 1000


async def make(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/sandboxes", json={})
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


async def make_many(client: httpx.AsyncClient, count: int) -> list[str]:
    made: list[str] = []
    tickets = iter(range(count))

    async def some() -> None:
        for _ in tickets:
            sandbox = await make(client)
            made.append(sandbox)
            await run(client, sandbox)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return made


async def latency(client: httpx.AsyncClient, sandbox: str) -> float:
    """The median of a hundred commands, one after the other."""
    for _ in range(WARM_UPS):
        await run(client, sandbox)
    return statistics.median([await run(client, sandbox) for _ in range(100)])


async def throughput(client: httpx.AsyncClient, sandboxes: list[str], seconds: float) -> float:
    """Commands a second, eight at a time, each client in a sandbox of its own."""
    end = time.perf_counter() + seconds
    done = 0

    async def one(sandbox: str) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await run(client, sandbox)
            done += 1

    await asyncio.gather(*(one(sandbox) for sandbox in sandboxes[:AT_ONCE]))
    return done / seconds


def server_of(port: int) -> int:
    """The process that listens on a port of this host."""
    inodes = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[1].endswith(f":{port:04X}") and fields[3] == "0A"
    }
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                links = [str(fd.readlink()) for fd in (entry / "fd").iterdir()]
                if inodes & {link.removeprefix("socket:[").removesuffix("]") for link in links}:
                    return int(entry.name)
    raise LookupError("nobody listens there")


def memory_below(root: int) -> int:
    """PSS of all processes that descend from one, without it, in bytes."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat[stat.rindex(")") + 2 :].split()[1])
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(map(pss, below - {root}))


def pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


async def measure(count: int, seconds: float) -> None:
    settings = {"LM_SANDBOX_SANDBOX__MAX_SANDBOXES": str(count + AT_ONCE), "LM_SANDBOX_SANDBOX__WARM": "0"}
    async with server(settings) as client:
        pid = server_of(client.base_url.port or 0)
        first = await make(client)
        alone = await latency(client, first)
        few = await make_many(client, AT_ONCE - 1)
        per_second = await throughput(client, [first, *few], seconds)
        before = memory_below(pid)
        started = time.perf_counter()
        more = await make_many(client, count - AT_ONCE)
        took = time.perf_counter() - started
        each = (memory_below(pid) - before) / len(more)
        among = await latency(client, first)
        print("| what | measured |\n| --- | ---: |")
        print(f"| commands a second, {AT_ONCE} at once | {per_second:.0f} |")
        print(f"| new sandboxes with a first command a second, {AT_ONCE} at once | {len(more) / took:.0f} |")
        print(f"| PSS of an idle sandbox | {each / 1e6:.1f} MB |")
        print(f"| PSS of the server with {count} sandboxes | {pss(pid) / 1e6:.0f} MB |")
        print(f"| command p50 with one sandbox | {alone:.2f} ms |")
        print(f"| command p50 among {count} idle ones | {among:.2f} ms ({among / alone:.2f} of it) |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sandboxes", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    asyncio.run(measure(options.sandboxes, options.seconds))


if __name__ == "__main__":
    main()
