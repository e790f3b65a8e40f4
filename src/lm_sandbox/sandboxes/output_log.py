"""Everything that a command wrote, in the order in which it came, to be read while it grows and after."""

import os
import struct
import tempfile
from bisect import bisect_right
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import anyio
import anyio.to_thread

from lm_sandbox.sandboxes.output import OutputChunk, Stream
from lm_sandbox.sandboxes.process import MovableStream, OutputStream

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
        self._kept: Path | None = None
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._size = 0
        self._offsets = [0, 0]
        self._marks = [_Mark(0, (0, 0))]
        self._lock = anyio.Lock()
        self._news = anyio.Event()
        self.ended = False
        self.complete = True

    @classmethod
    def keep(cls, path: Path) -> Self:
        """Returns a log that writes everything to a file at once, which another server can `load`.

        Raises:
            OSError: the file cannot be made.
        """
        log = cls(path.parent)
        log._kept = path
        log._file = path.open("x+b", buffering=0)
        return log

    @classmethod
    def load(cls, path: Path) -> Self:
        """Returns the log that an earlier server has kept, as far as it was written.

        Raises:
            OSError: the file cannot be read.
        """
        log = cls(path.parent)
        log._kept = path
        log._file = path.open("r+b", buffering=0)
        with path.open("rb") as written:
            end = written.seek(0, os.SEEK_END)
            while log._size + HEADER.size <= end:
                written.seek(log._size)
                stream, wanted = HEADER.unpack(written.read(HEADER.size))
                size = min(wanted, end - log._size - HEADER.size)
                if size < wanted:
                    _write_all(log._file.fileno(), HEADER.pack(stream, size), log._size)
                log._size += HEADER.size + size
                log._count(stream, size)
        return log

    @property
    def totals(self) -> dict[Stream, int]:
        """Bytes of each stream in the log."""
        return dict(zip(STREAMS, self._offsets, strict=True))

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
            self._count(STREAMS.index(stream), len(data))
            self._tell()

    async def move(self, stream: Stream, source: MovableStream, size: int) -> bytes | None:
        """Moves bytes that are there into the log, and returns them; None where it takes no more.

        Whoever is killed meanwhile has lost none of them, and has none twice.
        """
        async with self._lock:
            if self._file is None or not self.complete or self.ended:
                return None
            fd = self._file.fileno()
            try:
                data = await anyio.to_thread.run_sync(_move, stream, source, size, fd, self._size)
            except OSError:
                self.complete = False
                return None
            self._size += HEADER.size + len(data)
            self._count(STREAMS.index(stream), len(data))
            self._tell()
        return data

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
        if self._kept is not None:
            self._kept.unlink(missing_ok=True)
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

    def _count(self, stream: int, size: int) -> None:
        self._offsets[stream] += size
        if self.total - self._marks[-1].total >= MARK_BYTES:
            self._marks.append(_Mark(self._size, (self._offsets[0], self._offsets[1])))

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


class LoggedStream(OutputStream):
    """A stream that is in the log before anybody has read it.

    Args:
        source: What the program writes.
        log: Takes it.
        stream: Under which name.
    """

    def __init__(self, source: MovableStream, log: OutputLog, stream: Stream) -> None:
        self._source = source
        self._log = log
        self._stream = stream

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Waits for the next bytes.

        Raises:
            anyio.EndOfStream: nobody can write any more.
            anyio.ClosedResourceError: this end was closed.
        """
        return await self._take(min(await self._source.ready(), max_bytes))

    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        """Returns what is there already, without the log.

        Raises:
            anyio.WouldBlock: nothing is.
            anyio.EndOfStream: nobody can write any more.
            anyio.ClosedResourceError: this end was closed.
        """
        return self._source.receive_nowait(max_bytes)

    async def receive_there(self, max_bytes: int = 65536) -> bytes:
        """Returns what is there already, by way of the log; raises as `receive_nowait` does."""
        if size := self._source.available():
            return await self._take(min(size, max_bytes))
        return self.receive_nowait(max_bytes)

    async def aclose(self) -> None:
        """Closes the stream."""
        await self._source.aclose()

    async def _take(self, size: int) -> bytes:
        # Waiting may end at any time; what is there and on its way is not to be lost by that.
        with anyio.CancelScope(shield=True):
            data = await self._log.move(self._stream, self._source, size)
        return self.receive_nowait(size) if data is None else data


def _move(stream: Stream, source: MovableStream, size: int, fd: int, place: int) -> bytes:
    # A header that promises more than follows is put right by `load`.
    _write_all(fd, HEADER.pack(STREAMS.index(stream), size), place)
    start = place + HEADER.size
    moved = source.move(fd, start, size)
    if moved < size:
        _write_all(fd, HEADER.pack(STREAMS.index(stream), moved), place)
    return os.pread(fd, moved, start)


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
