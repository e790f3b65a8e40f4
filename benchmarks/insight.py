"""What recording, counting and logging cost: this server beside an earlier one, in turns.

usage: python -m benchmarks.insight --before SRC [--rounds N]

SRC is the `src` folder of another checkout. The servers take turns, a burst each, so that a busy machine is busy for
both; the log of both goes to /dev/null, the audit to a real disk.
"""

import argparse
import asyncio
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx

from benchmarks.commands import server
from benchmarks.load import server_of
from lm_sandbox.audit.entry import Entry
from lm_sandbox.audit.recording import Recorder
from lm_sandbox.telemetry.happenings import CommandStarted, Happening, RequestEnded, tell_all
from lm_sandbox.telemetry.metrics import Metrics

BURST = 20
HERE = str(Path(__file__).parents[1] / "src")
Way = Callable[[], Awaitable[None]]
REQUEST = RequestEnded(
    who="key_1", name="local", method="POST", route="/v1/sandboxes/{sandbox_id}/commands",
    parts={"sandbox_id": "sb_1"}, status=200, duration_ms=2.0, begun_ms=2.0,
)  # fmt: skip
COMMAND = CommandStarted(
    who="key_1", name="local", sandbox="sb_1", command="cmd_1", text="echo hi", cwd="/workspace", env=(),
    driver="bubblewrap", spawn_ms=1.0,
)  # fmt: skip


async def ways(client: httpx.AsyncClient) -> dict[str, Way]:
    made = (await client.post("/v1/sandboxes", json={})).json()["id"]

    def asking(method: str, path: str, body: object = None) -> Way:
        async def ask() -> None:
            answer = await client.request(method, path, json=body)
            assert answer.is_success, answer.text

        return ask

    return {
        "GET /healthz": asking("GET", "/healthz"),
        "GET a sandbox": asking("GET", f"/v1/sandboxes/{made}"),
        "a command": asking("POST", f"/v1/sandboxes/{made}/commands", {"command": "echo hi"}),
    }


async def compare(before: str, rounds: int) -> None:
    bursts: dict[tuple[str, str], list[float]] = defaultdict(list)
    spent: dict[tuple[str, str], float] = defaultdict(float)
    async with AsyncExitStack() as exits:
        servers, pids = {}, {}
        for name, source in (("before", before), ("after", HERE)):
            environment = {"PYTHONPATH": source, "LM_SANDBOX_SANDBOX__WARM": "0"}
            client = await exits.enter_async_context(server(environment))
            servers[name] = await ways(client)
            pids[name] = server_of(client.base_url.port or 80)
        for number in range(rounds):
            order = ("before", "after") if number % 2 else ("after", "before")
            for way in servers["before"]:
                for name in order:
                    at = cpu_ms(pids[name])
                    bursts[way, name].append(await burst(servers[name][way]))
                    spent[way, name] += cpu_ms(pids[name]) - at
    print("| request | before p50 ms | after p50 | more, p50 of pairs | CPU before ms | CPU after | more |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for way in servers["before"]:
        old, new = bursts[way, "before"], bursts[way, "after"]
        more = statistics.median(two - one for one, two in zip(old, new, strict=True))
        cpu = [spent[way, name] / rounds / BURST for name in ("before", "after")]
        row = (statistics.median(old), statistics.median(new), more, *cpu, cpu[1] - cpu[0])
        print(f"| {way} | " + " | ".join(f"{one:.3f}" for one in row) + " |")


async def burst(way: Way) -> float:
    """The median of a few requests, one after the other."""
    times = []
    for _ in range(BURST):
        started = time.perf_counter()
        await way()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def cpu_ms(pid: int) -> float:
    """What a process and all its threads have had of the CPUs so far."""
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return float(ticks * 1000 / os.sysconf("SC_CLK_TCK"))


def parts() -> None:
    """What each listener adds to the thread that serves, in microseconds."""
    taken: list[Entry] = []
    recorder = Recorder(taken.append, reads=True)
    metrics = Metrics()
    print("\n| on the serving thread | p50 µs |")
    print("| --- | ---: |")
    shown: dict[str, Callable[[Happening], object]] = {
        "record (make the entry)": recorder,
        "count and time": metrics,
        "both": tell_all([recorder, metrics]),
    }
    for name, listener in shown.items():
        for what, happening in (("request", REQUEST), ("command", COMMAND)):
            print(f"| {name}, a {what} | {each(partial(listener, happening)):.1f} |")


def each(work: Callable[[], object]) -> float:
    times = []
    for _ in range(20_000):
        started = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - started)
    return statistics.median(times) / 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", required=True)
    parser.add_argument("--rounds", type=int, default=50)
    given = parser.parse_args()
    asyncio.run(compare(given.before, given.rounds))
    parts()
