import os
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.sandboxes.commands import CommandRequest, run_command
from lm_sandbox.sandboxes.output import Stream
from lm_sandbox.sandboxes.output_log import LoggedChunk, LoggedStream, OutputLog
from lm_sandbox.sandboxes.process import MovableStream, Process
from lm_sandbox.surfaces.native.output_events import whole_characters, whole_size
from tests.sandboxes.fake_driver import Done, Empty

pytestmark = pytest.mark.anyio

PIECES = st.lists(st.tuples(st.sampled_from(Stream), st.binary(min_size=1, max_size=9000)), max_size=30)


def joined(chunks: list[LoggedChunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


async def everything(log: OutputLog, after: int = 0) -> list[LoggedChunk]:
    return [chunk async for chunk in log.follow(after)]


class Slow(MovableStream):
    """Has bytes at once, and takes its time to move them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def ready(self) -> int:
        await anyio.lowlevel.checkpoint()
        return len(self._data)

    def available(self) -> int:
        return len(self._data)

    def move(self, fd: int, offset: int, size: int) -> int:
        time.sleep(0.2)
        return os.pwrite(fd, self._data[:size], offset)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        raise AssertionError(max_bytes)

    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        raise AssertionError(max_bytes)

    async def aclose(self) -> None:
        return


async def test_output_that_is_on_its_way_into_the_log_is_not_lost_when_waiting_ends(tmp_path: Path) -> None:
    log = OutputLog.keep(tmp_path / "log")
    received = b""
    with anyio.move_on_after(0.05):
        received = await LoggedStream(Slow(b"the last lines"), log, Stream.STDOUT).receive()
    log.end()
    found = joined(await everything(log))
    log.discard()
    assert (received, found) == (b"the last lines", b"the last lines")


class Unseen(Empty):
    """Has bytes that nobody has looked for in time, as on a machine with too much to do."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.sleep_forever()
        raise AssertionError(max_bytes)

    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        data, self._data = self._data[:max_bytes], self._data[max_bytes:]
        if not data:
            raise anyio.WouldBlock
        return data


async def test_what_a_program_wrote_is_taken_even_if_nobody_looked_in_time() -> None:
    process = Done()
    process.stdout = Unseen(b"x" * 200_000)
    request = CommandRequest(("x",), timeout_s=10, max_output_bytes=10**6, output_limit_bytes=10**9)
    result = await run_command("cmd_1", cast("Process", process), request)
    assert (result.stdout_bytes, result.exit_code) == (200_000, 0)


@given(PIECES, st.floats(0, 1))
async def test_reading_goes_on_from_any_byte(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[Stream, bytes]], part: float
) -> None:
    log = OutputLog(tmp_path_factory.getbasetemp())
    for stream, data in pieces:
        await log.append(stream, data)
    log.end()
    whole = b"".join(data for _, data in pieces)
    after = round(len(whole) * part)
    chunks = await everything(log, after)
    assert joined(chunks) == whole[after:]
    for stream in Stream:
        own = b"".join(data for source, data in pieces if source is stream)
        for chunk in chunks:
            if chunk.stream is stream:
                assert own[chunk.offset : chunk.offset + len(chunk.data)] == chunk.data
    assert not chunks or chunks[-1].after == len(whole)
    log.discard()


async def test_a_long_log_goes_to_disk_and_leaves_no_file_behind(tmp_path: Path) -> None:
    log = OutputLog(tmp_path)
    for number in range(40):
        await log.append(Stream.STDOUT, bytes([number]) * 50_000)
    log.end()
    assert log.disk_bytes > 2_000_000
    assert joined(await everything(log, 1_950_000)) == bytes([39]) * 50_000
    assert list(tmp_path.iterdir()) == []
    log.discard()


async def test_a_follower_gets_what_comes_later(tmp_path: Path) -> None:
    log = OutputLog(tmp_path)
    got: list[LoggedChunk] = []

    async def follow() -> None:
        got.extend(await everything(log))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        await log.append(Stream.STDERR, b"late")
        await anyio.wait_all_tasks_blocked()
        log.end()
    assert got == [LoggedChunk(Stream.STDERR, b"late", 0, 4)]


async def test_a_disk_that_fails_ends_the_log_and_not_the_command(tmp_path: Path) -> None:
    log = OutputLog(tmp_path / "missing")
    await log.append(Stream.STDOUT, b"a" * 1000)
    await log.append(Stream.STDOUT, b"b" * 100_000)
    log.end()
    assert not log.complete
    assert joined(await everything(log)) == b"a" * 1000


async def test_a_discarded_log_is_empty_and_ended(tmp_path: Path) -> None:
    log = OutputLog(tmp_path)
    await log.append(Stream.STDOUT, b"a" * 100_000)
    log.discard()
    assert await everything(log) == []
    assert not log.complete


@given(st.text(), st.data())
async def test_no_character_is_cut_and_no_byte_lost(text: str, data: st.DataObject) -> None:
    raw = text.encode(errors="surrogatepass")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    edges = [0, *cuts, len(raw)]

    async def pieces() -> AsyncIterator[LoggedChunk]:
        for start, end in pairwise(edges):
            if start < end:
                yield LoggedChunk(Stream.STDOUT, raw[start:end], start, end)

    got = [chunk async for chunk in whole_characters(pieces())]
    assert joined(got) == raw
    if "\ud800" <= max(text, default="") <= "\udfff":
        return
    assert "".join(chunk.data.decode(errors="replace") for chunk in got) == raw.decode(errors="replace")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"a", 1),
        (b"a\xc3", 1),
        (b"\xe2\x82", 0),
        (b"\xf0\x9f\x98", 0),
        (b"\xe2\x82\xac", 3),
        (b"\x80" * 5, 5),
    ],
)
def test_an_unfinished_character_waits(data: bytes, size: int) -> None:
    assert whole_size(data) == size
