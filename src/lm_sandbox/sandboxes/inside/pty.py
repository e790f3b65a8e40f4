"""A program on a pseudo-terminal in a sandbox, seen from the server, which has the master."""

import asyncio
import os
import signal
import termios
from collections.abc import Iterable
from contextlib import suppress

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

from lm_sandbox.errors import LmSandboxError, NoCapacity, SandboxFailed
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.pipes import PipeWriter
from lm_sandbox.sandboxes.inside.process import Callback
from lm_sandbox.sandboxes.inside.program import ConfinedProgram, Reins
from lm_sandbox.sandboxes.process import Exit
from lm_sandbox.sandboxes.terminal import TerminalSize

OPEN_S = 10.0
# What a program has written before its end is no more; a background child may go on for ever.
LEFT_BYTES = 128 * 1024


class ConfinedTerminal(ConfinedProgram):
    """Implements `Terminal`; usable once `opened` has returned.

    Args:
        reins: What can be done with the program.
        on_close: Called when it is closed.
    """

    input: ByteSendStream
    output: ByteReceiveStream

    def __init__(self, reins: Reins, on_close: Callback | None = None) -> None:
        super().__init__(reins)
        self._on_close = on_close
        self._opened = asyncio.Event()
        self._problem: LmSandboxError | None = None
        self._master: MasterReader | None = None
        self._slave = -1
        self._closed = False

    def tell(self, message: Message) -> None:
        """Takes what the zygote says of this terminal; both its sides come with the first word."""
        if "refused" in message:
            self._fail(NoCapacity(f"No terminal is free here: {message['refused']}. Close one, or wait."))
            self._end(Exit(None, None))
        elif self._closed:
            _close(message.get("fds", ()))
        elif self._master is None:
            self._take(*message.get("fds", ()))
        super().tell(message)

    async def opened(self) -> None:
        """Waits until the program was started, or could not be.

        Raises:
            NoCapacity: the kernel gives no pseudo-terminal.
            SandboxFailed: the sandbox died, or does not answer.
        """
        try:
            with anyio.fail_after(OPEN_S):
                await self._opened.wait()
        except BaseException as error:
            await self.abandon()
            if isinstance(error, TimeoutError):
                raise SandboxFailed("The sandbox does not answer; make a new one.") from error
            raise
        if self._problem is not None:
            await self.abandon()
            raise self._problem

    @property
    def sides(self) -> tuple[int, ...]:
        """Descriptors of both its sides, as far as they are open."""
        return tuple(fd for fd in (self._master.fd if self._master else -1, self._slave) if fd >= 0)

    async def resize(self, size: TerminalSize) -> None:
        """Changes the size; the foreground process group is told by SIGWINCH."""
        if self._master is not None and self._master.fd >= 0:
            termios.tcsetwinsize(self._master.fd, (size.rows, size.columns))

    async def signal(self, number: int) -> None:
        """Sends a signal to the process group in the foreground."""
        if not self.over and self._master is not None and self._master.fd >= 0:
            await self._reins.signal(number, os.tcgetpgrp(self._master.fd) or None)

    async def aclose(self) -> None:
        """Closes the master; the kernel tells those that are left by SIGHUP."""
        self._closed = True
        self._let_go()
        # Whoever keeps it would keep it from being hung up.
        if self._on_close is not None:
            await self._on_close()
        if self._master is not None:
            await self._master.aclose()
            await self.input.aclose()

    async def abandon(self) -> None:
        """Closes it and ends its program, which nobody has seen yet."""
        with anyio.move_on_after(OPEN_S, shield=True):
            await self.aclose()
            # It needs no descriptor, as looking for all the others does.
            await self._reins.signal(signal.SIGKILL, None)
            # The program itself is gone, also where there is no descriptor to look for what it started.
            with suppress(OSError):
                await self.kill()

    def _take(self, *sides: int) -> None:
        try:
            # The kernel drops what a process has no number left for.
            master, slave = sides
            typed = os.dup(master)
        except (OSError, ValueError):
            _close(sides)
            self._fail(NoCapacity("The server has no descriptor left; try again later."))
            return
        os.set_blocking(master, False)
        self._slave = slave
        self.output = self._master = MasterReader(master)
        # Each closes its own.
        self.input = PipeWriter(typed)
        self._opened.set()

    def _end(self, ended: Exit | None) -> None:
        super()._end(ended)
        if ended is None:
            self._fail(SandboxFailed("The sandbox ended while a terminal was opened in it."))
        else:
            self._fail(NoCapacity("The terminal ended before it was open; try again."))
        if self._master is not None:
            self._master.finish()
        self._let_go()

    def _let_go(self) -> None:
        # Held until now: what the program has closed it may open again.
        slave, self._slave = self._slave, -1
        if slave >= 0:
            os.close(slave)

    def _fail(self, problem: LmSandboxError) -> None:
        if not self._opened.is_set():
            self._problem = problem
            self._opened.set()


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


class MasterReader(ByteReceiveStream):
    """Reads what is shown on a terminal, until its program has ended.

    Attributes:
        fd: The master; -1 once it is closed.

    Args:
        fd: Non-blocking; owned from now on.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._waiting: anyio.CancelScope | None = None
        self._left: int | None = None
        self._over = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Waits for the next bytes.

        Raises:
            anyio.EndOfStream: the program has ended and this was all.
            anyio.ClosedResourceError: this end was closed.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            if self.fd < 0:
                raise anyio.ClosedResourceError
            data = self._read(max_bytes if self._left is None else min(max_bytes, self._left))
            if data:
                return data
            if self._over or self._left is not None:
                raise anyio.EndOfStream
            with anyio.CancelScope() as self._waiting:
                await anyio.wait_readable(self.fd)

    def finish(self) -> None:
        """Says that the program has ended: only what is there already is still read."""
        if self._left is None:
            self._left = LEFT_BYTES
        if self._waiting is not None:
            self._waiting.cancel()

    async def aclose(self) -> None:
        """Closes the master."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            anyio.notify_closing(fd)
            os.close(fd)

    def _read(self, most: int) -> bytes:
        """Takes what is there; the kernel gives no more than a page at once."""
        pieces: list[bytes] = []
        while most > 0:
            try:
                piece = os.read(self.fd, most)
            except BlockingIOError:
                break
            except OSError:
                # No process has the terminal open any more.
                self._over = True
                break
            pieces.append(piece)
            most -= len(piece)
            if self._left is not None:
                self._left -= len(piece)
        return b"".join(pieces)
