"""A real server under load, and what is left of it afterwards."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress

import anyio
import httpx
import pytest

from benchmarks.lean_client import LeanClient
from tests.conftest import Server, eventually
from tests.faults.conftest import MIB, holdings, memory_bytes

pytestmark = pytest.mark.anyio


async def at_once(count: int, work: Callable[[int], Awaitable[None]], *, width: int) -> None:
    """Does some work so many times, `width` at once."""
    numbers: Sequence[int] = range(count)
    left = iter(numbers)

    async def worker() -> None:
        for number in left:
            await work(number)

    async with anyio.create_task_group() as tasks:
        for _ in range(width):
            tasks.start_soon(worker)


async def leave(server: Server, path: str, body: dict[str, object], moment: int) -> None:
    """Sends a request and closes the connection a little later, whatever has come by then."""
    url = httpx.URL(server.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {server.key}\r\nContent-Length: {len(data)}"
    try:
        writer.write(f"{head}\r\n\r\n".encode() + data)
        with anyio.move_on_after(0.1 * moment):
            await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def sandbox(http: httpx.AsyncClient) -> AsyncIterator[str]:
    async with http:
        made = (await http.post("/v1/sandboxes", json={})).json()["id"]
        await http.post(f"/v1/sandboxes/{made}/commands", json={"command": "true"})
        yield f"/v1/sandboxes/{made}"


async def test_two_hundred_sandboxes_at_once_leave_nothing(server: Server, http: httpx.AsyncClient) -> None:
    async def live(number: int) -> None:
        made = await http.post("/v1/sandboxes", json={"name": f"box-{number}"})
        assert made.status_code == 201, made.text
        ids.append(made.json()["id"])
        command = {"command": f"echo {number} > a; cat a"}
        answer = await http.post(f"/v1/sandboxes/{ids[-1]}/commands", json=command)
        assert answer.json()["stdout"] == f"{number}\n"

    async def die(number: int) -> None:
        assert (await http.delete(f"/v1/sandboxes/{ids[number]}")).status_code == 204

    ids: list[str] = []
    async with http:
        await at_once(8, live, width=8)
        await at_once(8, die, width=8)
        before = holdings(server)
        ids.clear()
        await at_once(200, live, width=8)
        assert holdings(server).processes >= before.processes + 200
        await at_once(200, die, width=8)
        await eventually(lambda: holdings(server).processes <= before.processes)
        await eventually(lambda: holdings(server).cgroups <= before.cgroups)
        assert holdings(server).descriptors <= before.descriptors + 2


@pytest.mark.timeout(400)
async def test_ten_thousand_commands_leave_nothing(server: Server, sandbox: str) -> None:
    idle = [LeanClient(server.url, server.key) for _ in range(8)]

    async def run(number: int) -> None:
        client = idle.pop()
        body = {"command": f"echo {number}; exit {number % 7}"}
        found = json.loads(await client.ask(client.written("POST", f"{sandbox}/commands", body)))
        assert (found["stdout"], found["exit_code"]) == (f"{number}\n", number % 7)
        idle.append(client)

    await at_once(500, run, width=8)
    before, memory = holdings(server), memory_bytes(server.pid)
    await at_once(9500, run, width=8)
    after = holdings(server)
    for client in idle:
        client.close()
    assert after.descriptors <= before.descriptors + 2
    assert after.threads <= before.threads + 16  # Those of the database's pool.
    assert after.processes <= before.processes
    assert memory_bytes(server.pid) - memory < 8 * MIB


async def test_a_gigabyte_of_output_at_eight_clients_is_bounded_and_stalls_nobody(
    server: Server, http: httpx.AsyncClient, sandbox: str
) -> None:
    before = memory_bytes(server.pid)
    peaks: list[int] = []
    waits: list[float] = []

    async def flood(number: int) -> None:
        del number
        answer = await http.post(
            f"{sandbox}/commands", json={"command": "head -c 128M /dev/zero | tr '\\0' y"}
        )
        found = answer.json()
        assert found["stdout_bytes"] == 128 * MIB
        assert found["truncated"]

    async with anyio.create_task_group() as watching:

        async def watch() -> None:
            while True:
                started = time.perf_counter()
                assert (await http.get("/healthz")).status_code == 200
                waits.append(time.perf_counter() - started)
                peaks.append(memory_bytes(server.pid))
                await anyio.sleep(0.05)

        watching.start_soon(watch)
        await at_once(8, flood, width=8)
        watching.cancel_scope.cancel()
    assert max(peaks) - before < 96 * MIB
    assert max(waits) < 5
    assert sorted(waits)[len(waits) // 2] < 0.5


async def test_a_slow_reader_holds_up_nobody(http: httpx.AsyncClient, sandbox: str, server: Server) -> None:
    before = memory_bytes(server.pid)
    body = {"command": "head -c 64M /dev/zero | tr '\\0' y; echo done > finished", "stream": True}
    async with http.stream("POST", f"{sandbox}/commands", json=body) as slow:
        pieces = slow.aiter_raw(4096)
        await anext(pieces)
        done = await http.post(
            f"{sandbox}/commands", json={"command": "until [ -e finished ]; do sleep 0.01; done; echo quick"}
        )
        assert done.json()["stdout"] == "quick\n"
        assert memory_bytes(server.pid) - before < 32 * MIB
        await anext(pieces)


async def test_clients_that_leave_in_the_middle_leave_nothing(
    server: Server, http: httpx.AsyncClient, sandbox: str
) -> None:
    async def start_and_leave(number: int) -> None:
        script = f"setsid sleep 98765 & echo on; sleep 98765; {number}"
        await leave(
            server, f"{sandbox}/commands", {"command": script, "stream": bool(number % 2)}, number % 4
        )

    await at_once(8, start_and_leave, width=8)
    before = holdings(server)
    await at_once(64, start_and_leave, width=8)
    gone = "for i in $(seq 1000); do pgrep -f '[s]leep 98765' >/dev/null || exit 0; sleep 0.02; done; exit 1"
    left = await http.post(f"{sandbox}/commands", json={"command": gone})
    assert left.json()["exit_code"] == 0
    await eventually(lambda: holdings(server).processes <= before.processes + 1)
    await eventually(lambda: holdings(server).descriptors <= before.descriptors + 2)
