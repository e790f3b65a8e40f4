"""Everything that a command wrote, in the order in which it came, to be read while it grows and after."""

import os
import struct
import tempfile
from bisect import bisect_right
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread

from lm_sandbox.sandboxes.output import OutputChunk, Stream

MEMORY_BYTES = 32 * 1024
READ_BYTES = 256 * 1024
MARK_BYTES = 256 * 1024
# Before each piece: its stream, and how many bytes it has.
HEADER = struct.Struct("<BI")
STREAMS = tuple(Stream)


@dataclass(frozen=True, slots=True)
class LoggedChunk(OutputChunk):
    """A piece of output out of the log.

    Attributes:
        after: Bytes of both streams up to its end; reading goes on from there.
    """

    after: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place in the log where a piece begins, and the bytes of each stream before it."""

    place: int
    offsets: tuple[int, int]

    @property
    def total(self) -> int:
        return sum(self.offsets)


class OutputLog:
    """The log of one command; small ones stay in memory, others go to a file without a name.

    Args:
        folder: Where that file is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._size = 0
        self._offsets = [0, 0]
        self._marks = [_Mark(0, (0, 0))]
        self._lock = anyio.Lock()
        self._news = anyio.Event()
        self.ended = False
        self.complete = True

    @property
    def total(self) -> int:
        """Bytes of both streams in the log."""
        return sum(self._offsets)

    @property
    def disk_bytes(self) -> int:
        """Bytes that the file takes."""
        return self._size if self._file else 0

    async def append(self, stream: Stream, data: bytes) -> None:
        """Adds a piece; after a failure of the disk the log takes no more and is not `complete`."""
        async with self._lock:
            if not self.complete or self.ended:
                return
            try:
                await self._write(HEADER.pack(STREAMS.index(stream), len(data)) + data)
            except OSError:
                self.complete = False
                return
            self._offsets[STREAMS.index(stream)] += len(data)
            if self.total - self._marks[-1].total >= MARK_BYTES:
                self._marks.append(_Mark(self._size, (self._offsets[0], self._offsets[1])))
            self._tell()

    def end(self) -> None:
        """Says that nothing more will come."""
        self.ended = True
        self._tell()

    def discard(self) -> None:
        """Forgets what is in it."""
        self.complete = False
        self._memory.clear()
        self._size = 0
        self._offsets = [0, 0]
        self._marks = [_Mark(0, (0, 0))]
        if self._file is not None:
            self._file.close()
            self._file = None
        self.end()

    async def read(self, after: int) -> list[LoggedChunk]:
        """Returns pieces from the byte number `after` on, some hundred kilobytes at most."""
        mark = self._marks[bisect_right(self._marks, after, key=lambda mark: mark.total) - 1]
        size, total = self._size, self.total
        if after >= total:
            return []
        offsets = list(mark.offsets)
        chunks: list[LoggedChunk] = []
        place = mark.place
        taken = 0
        while place < size and taken < READ_BYTES:
            data = await self._read(place, size)
            pieces = _pieces(data)
            if not pieces:
                break
            for stream, piece in pieces:
                place += HEADER.size + len(piece)
                start = sum(offsets)
                offset = offsets[stream]
                offsets[stream] += len(piece)
                if (skip := max(0, after - start)) < len(piece):
                    chunks.append(LoggedChunk(STREAMS[stream], piece[skip:], offset + skip, sum(offsets)))
                    taken += len(piece) - skip
        return chunks

    async def follow(self, after: int = 0) -> AsyncIterator[LoggedChunk]:
        """Gives pieces from the byte number `after` on until the command has ended."""
        while True:
            news = self._news
            chunks = await self.read(after)
            for chunk in chunks:
                yield chunk
                after = chunk.after
            if chunks:
                continue
            if self.ended:
                return
            await news.wait()

    async def _write(self, frame: bytes) -> None:
        if self._file is None and self._size + len(frame) > MEMORY_BYTES:
            self._file = await anyio.to_thread.run_sync(self._roll)
        if self._file is None:
            self._memory += frame
        else:
            await anyio.to_thread.run_sync(_write_all, self._file.fileno(), frame, self._size)
        self._size += len(frame)

    def _roll(self) -> BinaryIO:
        file: BinaryIO = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed by discard
        _write_all(file.fileno(), bytes(self._memory), 0)
        self._memory.clear()
        return file

    async def _read(self, place: int, size: int) -> bytes:
        wanted = min(size - place, READ_BYTES)
        if self._file is None:
            return bytes(self._memory[place : place + wanted])
        try:
            return await anyio.to_thread.run_sync(os.pread, self._file.fileno(), wanted, place)
        except (OSError, ValueError):
            return b""  # It was discarded meanwhile.

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def _pieces(data: bytes) -> list[tuple[int, bytes]]:
    """Takes apart what holds whole pieces at its start; the first one is always whole."""
    found: list[tuple[int, bytes]] = []
    place = 0
    while place + HEADER.size <= len(data):
        stream, size = HEADER.unpack_from(data, place)
        piece = data[place + HEADER.size : place + HEADER.size + size]
        if len(piece) < size:
            break
        found.append((stream, piece))
        place += HEADER.size + size
    return found


def _write_all(fd: int, data: bytes, place: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(fd, left, place)
        left, place = left[written:], place + written
