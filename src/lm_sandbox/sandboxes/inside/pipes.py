"""The server's ends of a command's pipes."""

import fcntl
import os
import select
import struct
import termios
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import ByteSendStream

from lm_sandbox.sandboxes.process import MovableStream


class PipeReader(MovableStream):
    """Reads what a command writes.

    Args:
        fd: The non-blocking end; owned from now on.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Waits for the next bytes.

        Raises:
            anyio.EndOfStream: nobody can write any more.
            anyio.ClosedResourceError: this end was closed.
        """
        # Others get their turn even when this pipe is never empty.
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                return self.receive_nowait(max_bytes)
            except anyio.WouldBlock:
                await anyio.wait_readable(self._fd)

    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        """Returns what is there already.

        Raises:
            anyio.WouldBlock: nothing is.
            anyio.EndOfStream: nobody can write any more.
            anyio.ClosedResourceError: this end was closed.
        """
        if self._fd < 0:
            raise anyio.ClosedResourceError
        try:
            data = os.read(self._fd, max_bytes)
        except BlockingIOError as error:
            raise anyio.WouldBlock from error
        if not data:
            raise anyio.EndOfStream
        return data

    async def ready(self) -> int:
        """Waits until bytes are there, and tells how many.

        Raises:
            anyio.EndOfStream: nobody can write any more.
            anyio.ClosedResourceError: this end was closed.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            if self._fd < 0:
                raise anyio.ClosedResourceError
            await anyio.wait_readable(self._fd)
            if size := self.available():
                return size
            if _events(self._fd) == select.POLLHUP:
                raise anyio.EndOfStream

    def available(self) -> int:
        """Tells how many bytes are there."""
        if self._fd < 0:
            return 0
        return int(struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))[0])

    def move(self, fd: int, offset: int, size: int) -> int:
        """Moves bytes that are there into a file, so that they are always either here or there.

        Raises:
            OSError: the file does not take them.
        """
        return os.splice(self._fd, fd, size, offset_dst=offset, flags=os.SPLICE_F_NONBLOCK)

    async def aclose(self) -> None:
        """Closes this end."""
        self._fd = _closed(self._fd)


class PipeWriter(ByteSendStream):
    """Writes what a command reads.

    Args:
        fd: The non-blocking end; owned from now on.
        on_close: Called when it is closed.
    """

    def __init__(self, fd: int, on_close: Callable[[], Awaitable[None]] | None = None) -> None:
        self._fd = fd
        self._on_close = on_close

    async def send(self, item: bytes) -> None:
        """Writes all of it.

        Raises:
            anyio.BrokenResourceError: nobody reads any more.
            anyio.ClosedResourceError: this end was closed.
        """
        left = memoryview(item)
        await anyio.lowlevel.checkpoint()
        while left:
            if self._fd < 0:
                raise anyio.ClosedResourceError
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._fd)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Closes this end."""
        if self._fd >= 0:
            self._fd = _closed(self._fd)
            if self._on_close is not None:
                await self._on_close()


def _events(fd: int) -> int:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    found = poll.poll(0)
    return found[0][1] if found else 0


def _closed(fd: int) -> int:
    if fd >= 0:
        anyio.notify_closing(fd)
        os.close(fd)
    return -1
