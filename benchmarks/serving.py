"""What a request costs beside bare FastAPI, how many there are in a second, and what a million of them leave.

usage: python -m benchmarks.serving [--rounds N] [--seconds S] [--requests N]

The bare server answers the same body by the same uvicorn, with nothing else: no key, limits, audit, log or
sandbox, and its command is `bash -c` through asyncio. Ours has all of that on, as by default. Both stand in processes of
their own; the ways take turns.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import server
from benchmarks.lean_client import LeanClient
from benchmarks.load import server_of

BURST = 20
AT_ONCE = 8
STEPS = 10
COMMAND = {"command": "echo hi"}
# Everything is counted as by default; the limits themselves are not met.
MANY = str(10**9)
SETTINGS = {
    "LM_SANDBOX_LIMITS__ADDRESS_REQUESTS_PER_MINUTE": MANY,
    "LM_SANDBOX_QUOTAS__REQUESTS_PER_MINUTE": MANY,
    "LM_SANDBOX_SANDBOX__WARM": "0",
}
LAG = "lm_sandbox_event_loop_lag_seconds_bucket"


@dataclass(frozen=True, slots=True)
class Way:
    """A request that is measured.

    Attributes:
        clients: As many as ask at once.
        request: What each sends.
    """

    clients: list[LeanClient]
    request: bytes

    async def one(self) -> None:
        await self.clients[0].ask(self.request)

    async def many(self, seconds: float) -> float:
        """Requests a second, by all clients at once."""
        end = time.perf_counter() + seconds
        done = 0

        async def go_on(client: LeanClient) -> None:
            nonlocal done
            while time.perf_counter() < end:
                await client.ask(self.request)
                done += 1

        await asyncio.gather(*map(go_on, self.clients))
        return done / seconds


@asynccontextmanager
async def bare() -> AsyncIterator[str]:
    """The bare server, on a port of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", "benchmarks.bare:app", "--loop", "asyncio", "--http", "httptools",
        "--port", "0", "--no-access-log", "--no-use-colors",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        while b"running on" not in (line := await process.stderr.readline()):
            assert line
        yield line.split(b"running on ")[1].split()[0].decode()
    finally:
        process.terminate()
        await process.wait()


def clients(url: str, key: str | None = None) -> list[LeanClient]:
    return [LeanClient(url, key) for _ in range(AT_ONCE)]


async def lags(client: LeanClient) -> dict[float, float]:
    """How often the event loop was late by no more than so many seconds."""
    text = (await client.ask(client.written("GET", "/metrics"))).decode()
    lines = [line.split() for line in text.splitlines() if line.startswith(LAG)]
    return {float(name.split('"')[1]): float(value) for name, value in lines}


def percentile(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The bound below which so many of the lags in between were, in seconds."""
    counts = {bound: after[bound] - before[bound] for bound in after}
    wanted = share * max(counts.values())
    return min(bound for bound, count in counts.items() if count >= wanted)


def resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def latencies(ways: dict[str, Way], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            for _ in range(BURST):
                started = time.perf_counter()
                await way.one()
                if number:
                    times[name].append((time.perf_counter() - started) * 1000)
    print("| one at a time | min ms | p50 | p95 |\n| --- | ---: | ---: | ---: |")
    for name, taken in times.items():
        cuts = statistics.quantiles(taken, n=20)
        print(f"| {name} | {min(taken):.2f} | {statistics.median(taken):.2f} | {cuts[18]:.2f} |")


async def throughputs(ways: dict[str, Way], seconds: float) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            rates[name].append(await way.many(seconds / 3))
    print(f"\n| {AT_ONCE} at once | requests a second |\n| --- | ---: |")
    for name, found in rates.items():
        print(f"| {name} | {statistics.median(found):.0f} |")


async def endure(way: Way, pid: int, requests: int) -> None:
    """Asks so often, and tells what the server has of memory meanwhile."""
    print("\n| requests so far | memory of the server |\n| ---: | ---: |")
    print(f"| 0 | {resident(pid):.1f} MB |")
    for number in range(1, STEPS + 1):
        tickets = iter(range(requests // STEPS))
        await asyncio.gather(*(use_up(tickets, client, way.request) for client in way.clients))
        print(f"| {requests * number // STEPS} | {resident(pid):.1f} MB |", flush=True)


async def use_up(tickets: Iterator[int], client: LeanClient, request: bytes) -> None:
    for _ in tickets:
        await client.ask(request)


async def measure(rounds: int, seconds: float, requests: int) -> None:
    async with AsyncExitStack() as exits:
        http = await exits.enter_async_context(server(SETTINGS))
        url, key = str(http.base_url), http.headers["Authorization"].split()[1]
        pid = server_of(http.base_url.port or 80)
        bare_url = await exits.enter_async_context(bare())
        ours, theirs, anonymous = clients(url, key), clients(bare_url), clients(url)
        boxes = [(await http.post("/v1/sandboxes", json={})).json() for _ in range(AT_ONCE)]
        box = f"/v1/sandboxes/{boxes[0]['id']}"
        await theirs[0].ask(theirs[0].written("PUT", "/sandbox", json.loads((await http.get(box)).content)))
        get = Way(ours, ours[0].written("GET", box))
        command = Way(ours, ours[0].written("POST", f"{box}/commands", COMMAND))
        ways = {
            "bare, GET /healthz": Way(theirs, theirs[0].written("GET", "/healthz")),
            "lm-sandbox, GET /healthz": Way(anonymous, anonymous[0].written("GET", "/healthz")),
            "bare, GET a sandbox's JSON": Way(theirs, theirs[0].written("GET", "/sandbox")),
            "lm-sandbox, GET a sandbox": get,
            "bare, bash -c, no sandbox": Way(theirs, theirs[0].written("POST", "/commands", COMMAND)),
            "lm-sandbox, a command": command,
        }
        await latencies(ways, rounds)
        await throughputs(ways, seconds)
        before = await lags(ours[0])
        await command.many(seconds)
        after = await lags(ours[0])
        late = percentile(before, after, 0.99) * 1000
        print(f"\nThe event loop, while {AT_ONCE} run commands: p99 late by at most {late:g} ms")
        if requests:
            await endure(get, pid, requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=9.0)
    parser.add_argument(
        "--requests", type=int, default=0, help="at the end, to see what they leave; 0 for none"
    )
    options = parser.parse_args()
    asyncio.run(measure(options.rounds, options.seconds, options.requests))


if __name__ == "__main__":
    main()
