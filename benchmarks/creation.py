"""A new sandbox and its first command, beside a bare bwrap, in one run.

usage: python -m benchmarks.creation [--rounds N]

The ways take turns. Between them is a pause in which a server makes the next sandbox that it keeps ready.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from benchmarks.commands import BASH, BWRAP, SCRIPT, report, server, spawned
from lm_sandbox.sandboxes.commands import CommandRequest, run_command
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.warm_pool import Warm
from lm_sandbox.sandboxes.limits import Limits

PAUSE_S = 0.1
End = Callable[[], Awaitable[object]]
Way = Callable[[], Awaitable[End]]


async def a_bare_bwrap() -> End:
    await spawned(*BWRAP)
    return nothing


async def nothing() -> None:
    """A bare bwrap has ended by itself."""


@asynccontextmanager
async def by_the_driver(warm: Warm | None) -> AsyncIterator[Way]:
    request = CommandRequest(BASH, 10, 1 << 20, 1 << 28)
    numbers = itertools.count()
    async with BubblewrapDriver(warm=warm) as driver:

        async def run() -> End:
            box = SandboxId(f"sb_bench_{next(numbers)}")
            await driver.create(box, SandboxSpec())
            result = await run_command("c", await driver.spawn(box, request.spec()), request)
            assert result.stdout == b"hi\n"
            return lambda: driver.destroy(box)

        yield run


@asynccontextmanager
async def over_http(warm: int) -> AsyncIterator[Way]:
    async with server({"LM_SANDBOX_SANDBOX__WARM": str(warm)}) as client:

        async def run() -> End:
            made = (await client.post("/v1/sandboxes", json={})).json()
            path = f"/v1/sandboxes/{made['id']}"
            answer = await client.post(f"{path}/commands", json={"command": SCRIPT})
            assert answer.json()["stdout"] == "hi\n"
            return lambda: delete(client, path)

        yield run


async def delete(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.delete(path)).is_success


async def measure(rounds: int) -> None:
    async with AsyncExitStack() as exits:
        ways: dict[str, Way] = {
            "bwrap and its command, bare": a_bare_bwrap,
            "lm-sandbox, driver alone": await exits.enter_async_context(by_the_driver(None)),
            "lm-sandbox, driver alone, kept ready": await exits.enter_async_context(
                by_the_driver(Warm(2, Limits()))
            ),
            "lm-sandbox over HTTP": await exits.enter_async_context(over_http(0)),
            "lm-sandbox over HTTP, kept ready": await exits.enter_async_context(over_http(2)),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, way in ways.items():
                started = time.perf_counter()
                end = await way()
                if number:
                    times[name].append((time.perf_counter() - started) * 1000)
                await end()
                await asyncio.sleep(PAUSE_S)
    report(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
