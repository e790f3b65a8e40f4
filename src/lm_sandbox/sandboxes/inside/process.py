"""A command that runs in a sandbox, seen from the server."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import anyio.to_thread
from anyio.abc import ByteSendStream

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.driver import CommandSpec, Exit, Limit, OutputStream
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.moment import Moment
from lm_sandbox.sandboxes.inside.pipes import PipeReader, PipeWriter

Signal = Callable[[int], Awaitable[None]]


class Hits(Protocol):
    """Counts how often the limits of a sandbox are hit, from a mark on."""

    def mark(self) -> None:
        """Counts from now on."""
        ...

    def new(self) -> frozenset[Limit]:
        """Tells which were hit since."""
        ...


@dataclass(frozen=True, slots=True)
class Ends:
    """The server's ends of a command's pipes; None for those it has not got."""

    stdout: int
    stderr: int
    stdin: int | None = None
    channel: int | None = None

    def given(self) -> dict[str, int]:
        """Names those that there are."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return {name: fd for name, fd in named.items() if fd is not None}


class ConfinedProcess:
    """Implements `Process`.

    Args:
        number: Names it to the zygote.
        ends: The server's ends of its pipes; owned from now on.
        forget: Called when the streams are closed.
        forget_stdin: Called when its input is closed.
        hits: Tells which limits have been hit since its mark.
        send_signal: Sends a signal to its process group.
        kill_tree: Kills all that descends from a first process.
        interrupt: Sends a signal to a first process and kills what it started since a moment.
    """

    def __init__(  # noqa: PLR0913 - what can be done to it
        self,
        number: int,
        ends: Ends,
        *,
        forget: Callable[[], Awaitable[None]],
        forget_stdin: Callable[[], Awaitable[None]],
        hits: Hits,
        send_signal: Signal,
        kill_tree: Callable[[int], None],
        interrupt: Callable[[int, int, Moment], None],
    ) -> None:
        self.number = number
        self.stdout: OutputStream = PipeReader(ends.stdout)
        self.stderr: OutputStream = PipeReader(ends.stderr)
        self.stdin: ByteSendStream | None = None
        if ends.stdin is not None:
            self.stdin = PipeWriter(ends.stdin, forget_stdin)
        self.channel: OutputStream | None = None if ends.channel is None else PipeReader(ends.channel)
        self._hits = hits
        self._send_signal = send_signal
        self._kill_tree = kill_tree
        self._interrupt = interrupt
        self._forget = forget
        self._since = Moment(0, 0)
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[int | None] = loop.create_future()
        self._ended: asyncio.Future[Exit | None] = loop.create_future()

    def tell(self, message: Message) -> None:
        """Takes what the zygote says of this command."""
        if "pid" in message and not self._started.done():
            self._started.set_result(message["pid"])
        if "code" in message and not self._ended.done():
            code = message["code"]
            limits = self._hits.new()
            if message.get("busy"):
                limits |= {Limit.PIDS}
            ended = Exit(code, None, limits) if code >= 0 else Exit(None, -code, limits)
            self._end(ended)

    def lost(self, *, sandbox_alive: bool) -> None:
        """The zygote is gone: how the command ended will never be known."""
        killed = Exit(None, int(signal.SIGKILL), self._hits.new()) if sandbox_alive else None
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

    def mark(self) -> None:
        """Remembers this moment for `interrupt` and `limits_hit`."""
        self._since = Moment.now()
        self._hits.mark()

    async def interrupt(self, number: int) -> None:
        """Sends a signal to the program alone, and kills what it started since the mark."""
        pid = await asyncio.shield(self._started)
        if pid is not None and not self._ended.done():
            await anyio.to_thread.run_sync(self._interrupt, pid, number, self._since)

    def limits_hit(self) -> frozenset[Limit]:
        """Tells which limits were hit since the mark."""
        return self._hits.new()

    async def aclose(self) -> None:
        """Closes the streams."""
        for stream in (self.stdout, self.stderr, self.stdin, self.channel):
            if stream is not None:
                await stream.aclose()
        await self._forget()

    def _end(self, ended: Exit | None) -> None:
        if not self._started.done():
            self._started.set_result(None)
        if not self._ended.done():
            self._ended.set_result(ended)


class Pipes:
    """The pipes of one command, while it is started.

    Attributes:
        ours: The server's ends.
        theirs: The command's ends: of its output, its error output, its input and its channel.

    Args:
        command: Says which it gets.
    """

    def __init__(self, command: CommandSpec) -> None:
        out, error = _pipe(), _pipe()
        feed = _pipe() if command.stdin else None
        channel = _pipe() if command.channel else None
        self.ours = Ends(out[0], error[0], feed and feed[1], channel and channel[0])
        self.theirs = [out[1], error[1]]
        self.theirs += [feed[0]] if feed else []
        self.theirs += [channel[1]] if channel else []
        for fd in self.ours.given().values():
            os.set_blocking(fd, False)

    def close(self) -> None:
        """Closes the command's ends, of which it has its own copies by now."""
        for fd in self.theirs:
            os.close(fd)


def _pipe() -> tuple[int, int]:
    return os.pipe2(os.O_CLOEXEC)
