"""Takes the two output streams of an exec apart, which come over one connection.

Nothing runs in the background: who wants bytes reads frames until there are some, for himself and for
the other. Source: Docker Engine API, "Attach to a container", stream format.
"""

import anyio
from anyio.abc import ByteSendStream, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from lm_sandbox.sandboxes.process import OutputStream

HEADER_BYTES = 8
STDOUT, STDERR = 1, 2
# Read ahead for a stream that nobody takes from; then the program waits, as it would on a pipe.
AHEAD_BYTES = 256 * 1024
GONE = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Demultiplexer:
    """The framed output of one program.

    Args:
        source: Where the frames come from.
    """

    def __init__(self, source: BufferedByteReceiveStream) -> None:
        self._source = source
        self._left = {STDOUT: bytearray(), STDERR: bytearray()}
        self._frame: tuple[int, int] | None = None
        self._lock = anyio.Lock()
        self._room = anyio.Event()
        self._dropping = False
        self.ended = False

    async def take(self, stream: int, most: int) -> bytes:
        """Waits for bytes of one of the streams; empty at its end."""
        left = self._left[stream]
        await anyio.lowlevel.checkpoint()
        while not left and not self.ended:
            await self._read_for(stream)
        return self._taken(stream, most)

    def take_nowait(self, stream: int, most: int) -> bytes:
        """Returns bytes of one of the streams that have come already.

        Raises:
            anyio.WouldBlock: there are none.
            anyio.EndOfStream: no more will come.
        """
        if not self._left[stream]:
            raise anyio.EndOfStream if self.ended else anyio.WouldBlock
        return self._taken(stream, most)

    def _taken(self, stream: int, most: int) -> bytes:
        left = self._left[stream]
        taken = bytes(left[:most])
        del left[:most]
        self._make_room()
        return taken

    async def to_the_end(self) -> None:
        """Waits until nothing more comes."""
        while not self.ended:
            await self._read_for(None)

    def drop_the_rest(self) -> None:
        """From now on what nobody takes is lost instead of waiting."""
        self._dropping = True
        self._make_room()

    def give_up(self, stream: int) -> None:
        """Nobody takes from a stream any more."""
        self._left[stream].clear()
        self._make_room()

    def _make_room(self) -> None:
        self._room.set()
        self._room = anyio.Event()

    async def _read_for(self, stream: int | None) -> None:
        async with self._lock:
            while self._too_far_ahead and not self._dropping:
                await self._room.wait()
            if self.ended or (stream is not None and self._left[stream]):
                return
            try:
                await self._read_frame()
            except GONE:
                self.ended = True

    @property
    def _too_far_ahead(self) -> bool:
        return sum(map(len, self._left.values())) > AHEAD_BYTES

    async def _read_frame(self) -> None:
        """Reads a frame's header, then its bytes; being cancelled between them loses neither."""
        if self._frame is None:
            header = await self._source.receive_exactly(HEADER_BYTES)
            self._frame = (header[0], int.from_bytes(header[4:]))
        stream, size = self._frame
        data = await self._source.receive_exactly(size)
        self._frame = None
        if not self._too_far_ahead:
            self._left.get(stream, bytearray()).extend(data)


class FramedOutput(OutputStream):
    """One of the output streams."""

    def __init__(self, frames: Demultiplexer, stream: int) -> None:
        self._frames = frames
        self._stream = stream

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Waits for the next bytes.

        Raises:
            anyio.EndOfStream: no more will come.
        """
        data = await self._frames.take(self._stream, max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        """Returns what has come already.

        Raises:
            anyio.WouldBlock: nothing has.
            anyio.EndOfStream: no more will come.
        """
        return self._frames.take_nowait(self._stream, max_bytes)

    async def aclose(self) -> None:
        """Takes no more from it."""
        self._frames.give_up(self._stream)


class SocketInput(ByteSendStream):
    """The program's input: closing it tells the end, while output goes on."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._open = True

    async def send(self, item: bytes) -> None:
        """Writes all of it.

        Raises:
            anyio.BrokenResourceError: nobody reads any more.
            anyio.ClosedResourceError: this end was closed.
        """
        if not self._open:
            raise anyio.ClosedResourceError
        await self._stream.send(item)

    async def aclose(self) -> None:
        """Tells the program that no more comes."""
        if self._open:
            self._open = False
            try:
                await self._stream.send_eof()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return  # The program has ended already.
