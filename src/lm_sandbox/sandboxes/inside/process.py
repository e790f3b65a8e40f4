"""A command that runs in a sandbox, seen from the server."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import anyio.to_thread
from anyio.abc import ByteReceiveStream, ByteSendStream

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.driver import Exit, Limit
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.pipes import PipeReader, PipeWriter

Signal = Callable[[int], Awaitable[None]]


class ConfinedProcess:
    """Implements `Process`.

    Args:
        number: Names it to the zygote.
        streams: The server's ends: standard output, standard error, and standard input or None.
        hits: Tells which limits have been hit since the command started.
        send_signal: Sends a signal to its process group.
        kill_tree: Kills all that descends from a first process.
    """

    def __init__(
        self,
        number: int,
        streams: tuple[int, int, int | None],
        *,
        hits: Callable[[], frozenset[Limit]],
        send_signal: Signal,
        kill_tree: Callable[[int], None],
    ) -> None:
        stdout, stderr, stdin = streams
        self.number = number
        self.stdout: ByteReceiveStream = PipeReader(stdout)
        self.stderr: ByteReceiveStream = PipeReader(stderr)
        self.stdin: ByteSendStream | None = None if stdin is None else PipeWriter(stdin)
        self._hits = hits
        self._send_signal = send_signal
        self._kill_tree = kill_tree
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[int | None] = loop.create_future()
        self._ended: asyncio.Future[Exit | None] = loop.create_future()

    def tell(self, message: Message) -> None:
        """Takes what the zygote says of this command."""
        if "pid" in message and not self._started.done():
            self._started.set_result(message["pid"])
        if "code" in message and not self._ended.done():
            code = message["code"]
            limits = self._hits()
            if message.get("busy"):
                limits |= {Limit.PIDS}
            ended = Exit(code, None, limits) if code >= 0 else Exit(None, -code, limits)
            self._end(ended)

    def lost(self, *, sandbox_alive: bool) -> None:
        """The zygote is gone: how the command ended will never be known."""
        killed = Exit(None, int(signal.SIGKILL), self._hits()) if sandbox_alive else None
        self._end(killed)

    async def wait(self) -> Exit:
        """Waits until the program has ended.

        Raises:
            SandboxFailed: the sandbox died under it.
        """
        ended = await asyncio.shield(self._ended)
        if ended is None:
            raise SandboxFailed("The sandbox ended while the command ran in it.")
        return ended

    async def signal(self, number: int) -> None:
        """Sends a signal to the program's process group."""
        if not self._ended.done():
            await self._send_signal(number)

    async def kill(self) -> None:
        """Kills the program and everything that it started."""
        pid = await asyncio.shield(self._started)
        if pid is not None:
            await anyio.to_thread.run_sync(self._kill_tree, pid)

    async def aclose(self) -> None:
        """Closes the streams."""
        await self.stdout.aclose()
        await self.stderr.aclose()
        if self.stdin is not None:
            await self.stdin.aclose()

    def _end(self, ended: Exit | None) -> None:
        if not self._started.done():
            self._started.set_result(None)
        if not self._ended.done():
            self._ended.set_result(ended)


class Pipes:
    """The pipes of one command, while it is started.

    Attributes:
        ours: The server's ends: standard output, standard error, and standard input or None.
        theirs: The command's ends, in the same order; closed by `close`.

    Args:
        stdin: Whether it gets one for its input.
    """

    def __init__(self, *, stdin: bool) -> None:
        out, error = _pipe(), _pipe()
        feed = _pipe() if stdin else None
        self.ours = (out[0], error[0], feed[1] if feed else None)
        self.theirs = [out[1], error[1], *([feed[0]] if feed else [])]
        for fd in self.ours:
            if fd is not None:
                os.set_blocking(fd, False)

    def close(self) -> None:
        """Closes the command's ends, of which it has its own copies by now."""
        for fd in self.theirs:
            os.close(fd)


def _pipe() -> tuple[int, int]:
    return os.pipe2(os.O_CLOEXEC)
