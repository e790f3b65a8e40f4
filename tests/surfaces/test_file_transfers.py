"""Large files and clients that go away, against a real server."""

import hashlib
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest

from tests.conftest import START_S, Server

pytestmark = pytest.mark.anyio
MIB = 1 << 20
LARGE_MIB = 300
# What a server may grow by while it moves any amount.
BOUND = 64 * MIB


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=START_S) as client:
        yield client


@pytest.fixture
async def box(http: httpx.AsyncClient) -> str:
    return f"/v1/sandboxes/{(await http.post('/v1/sandboxes', json={})).json()['id']}"


def peak_memory(server: Server) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


async def test_hundreds_of_megabytes_pass_in_constant_memory(
    http: httpx.AsyncClient, server: Server, box: str
) -> None:
    path = f"{box}/files/workspace/large"
    await http.put(path, content=bytes(4 * MIB))
    await http.get(path)
    before = peak_memory(server)
    sent, received = hashlib.sha256(), hashlib.sha256()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(LARGE_MIB):
            piece = number.to_bytes(4, "big") * (MIB // 4)
            sent.update(piece)
            yield piece

    assert (await http.put(path, content=pieces())).json()["size"] == LARGE_MIB * MIB
    async with http.stream("GET", path) as answer:
        assert answer.headers["content-length"] == str(LARGE_MIB * MIB)
        async for piece in answer.aiter_bytes():
            received.update(piece)
    assert received.digest() == sent.digest()
    await http.patch(path, json={"action": "mkdir"})
    packed = 0
    async with http.stream("GET", f"{box}/archive") as answer:
        async for piece in answer.aiter_bytes():
            packed += len(piece)
    assert packed > LARGE_MIB * MIB
    assert peak_memory(server) - before < BOUND


async def test_an_upload_that_is_broken_off_leaves_nothing(
    http: httpx.AsyncClient, server: Server, box: str
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            f"PUT {box}/files/workspace/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
            "Content-Length: 5000000\r\n\r\n".encode()
            + bytes(2_000_000)
        )
        await _until(http, box, count=1)
    await _until(http, box, count=0)


async def test_a_slow_reader_that_goes_away_frees_the_file(
    http: httpx.AsyncClient, server: Server, box: str
) -> None:
    await http.put(f"{box}/files/workspace/a", content=bytes(50 * MIB))
    for path in (f"{box}/files/workspace/a", f"{box}/archive", f"{box}/files/workspace?watch"):
        async with http.stream("GET", path) as answer:
            await anext(answer.aiter_bytes())
            assert await _in_use(server, "/workspace/a") or "files/workspace/a" not in path
    with anyio.fail_after(20):
        while await _in_use(server, "/workspace/a"):
            await anyio.lowlevel.checkpoint()
    assert (await http.get("/healthz")).status_code == 200


async def test_other_requests_are_answered_while_a_large_file_is_sent(
    http: httpx.AsyncClient, box: str
) -> None:
    await http.put(f"{box}/files/workspace/a", content=bytes(100 * MIB))

    async def download() -> None:
        async with http.stream("GET", f"{box}/files/workspace/a") as answer:
            async for _ in answer.aiter_raw():
                continue

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(download)
        with anyio.fail_after(30):
            for _ in range(20):
                assert (await http.get("/healthz")).status_code == 200


async def _until(http: httpx.AsyncClient, box: str, count: int) -> None:
    with anyio.fail_after(30):
        while len((await http.get(f"{box}/files/workspace?list")).json()["data"]) != count:
            await anyio.lowlevel.checkpoint()


async def _in_use(server: Server, ending: str) -> bool:
    for entry in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            if str(entry.readlink()).endswith(ending):
                return True
        except FileNotFoundError:
            continue
    return False
