"""One command in a shell, which others see as a program of its own."""

import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
from anyio.abc import ByteSendStream

from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.process import Exit, MovableStream, OutputStream
from lm_sandbox.sandboxes.shell_process import Done, ShellProcess


class ShellRun:
    """Implements `Process` for a command that was sent to a shell.

    Args:
        shell: The bash that runs it.
        number: Its number there.
        before: What came on each stream since the command before, from what that left running.
        on_close: Called once it is over and nobody reads its output any more.

    Attributes:
        shell: The bash.
        cwd: The folder that the shell is in after it; None while that is not known.
    """

    def __init__(
        self,
        shell: ShellProcess,
        number: int,
        *,
        before: tuple[bytes, bytes],
        on_close: Callable[["ShellRun"], Awaitable[None]],
    ) -> None:
        self.shell = shell
        self._number = number
        self._on_close = on_close
        self._exit: Exit | None = None
        self._streams = [
            _Part(stream, held)
            for stream, held in zip((shell.process.stdout, shell.process.stderr), before, strict=True)
        ]
        self._killed = False
        self.stdin: ByteSendStream | None = None
        self.stdout: OutputStream = self._streams[0]
        self.stderr: OutputStream = self._streams[1]
        self.channel: OutputStream | None = None
        self.cwd: str | None = None

    async def wait(self) -> Exit:
        """Waits until the shell takes another command, or has ended with this one."""
        if self._exit is None:
            done = await self.shell.result(self._number)
            self._exit = self._exit or self._exit_of(done)
            for stream in self._streams:
                stream.end()
        return self._exit

    async def signal(self, number: int) -> None:
        """Sends a signal to what the shell runs, and to the shell."""
        if self._exit is None:
            await self.shell.process.signal(number)

    async def kill(self) -> None:
        """Ends the command with all that it started, and the shell's bash; what that knows is kept."""
        if self._exit is None:
            self._killed = True
            await self.shell.leave()

    def mark(self, since: str | None = None) -> str:
        """Does nothing; its beginning is the shell's mark."""
        return since or ""

    async def interrupt(self, number: int) -> None:
        """Sends a signal to the shell, and kills what the command started."""
        if self._exit is None:
            await self.shell.process.interrupt(number)

    def limits_hit(self) -> frozenset[Limit]:
        """Tells which limits were hit since it began."""
        return self.shell.process.limits_hit()

    async def aclose(self) -> None:
        """Lets the shell take the next command."""
        await self._on_close(self)

    def _exit_of(self, done: Done | None) -> Exit:
        limits = self.limits_hit()
        if done is not None:
            self.cwd = done.cwd
            return Exit(done.status, None, limits)
        self.cwd = self.shell.cwd
        ended = self.shell.ended
        if ended is None or self._killed:
            return Exit(None, signal.SIGKILL, limits)
        return replace(ended, limits=limits)


class _Part(MovableStream):
    """What comes on a stream of the shell until the command has ended."""

    def __init__(self, source: OutputStream, held: bytes) -> None:
        self._source = source
        self._held = held
        self._ended = False
        self._waiting = anyio.CancelScope()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self._held and not self._ended:
            with anyio.CancelScope() as self._waiting:
                return await self._source.receive(max_bytes)
        await anyio.lowlevel.checkpoint()
        try:
            return self.receive_nowait(max_bytes)
        except anyio.WouldBlock as error:
            raise anyio.EndOfStream from error

    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        if self._held:
            return self._take(max_bytes)
        return self._source.receive_nowait(max_bytes)

    async def ready(self) -> int:
        if not self._held and not self._ended:
            with anyio.CancelScope() as self._waiting:
                return await self._movable().ready()
        await anyio.lowlevel.checkpoint()
        if not (size := self.available()):
            raise anyio.EndOfStream
        return size

    def available(self) -> int:
        return len(self._held) or self._movable().available()

    def move(self, fd: int, offset: int, size: int) -> int:
        if self._held:
            return os.pwrite(fd, self._take(size), offset)
        return self._movable().move(fd, offset, size)

    def end(self) -> None:
        """Says that the command has ended; what it wrote is there by now."""
        self._ended = True
        self._waiting.cancel()

    async def aclose(self) -> None:
        """Does nothing; the stream is the shell's."""

    def _take(self, most: int) -> bytes:
        piece, self._held = self._held[:most], self._held[most:]
        return piece

    def _movable(self) -> MovableStream:
        if not isinstance(self._source, MovableStream):
            raise TypeError("a shell's output comes on pipes")
        return self._source
