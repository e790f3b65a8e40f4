"""A command that runs in a sandbox, seen from the server."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio.to_thread
from anyio.abc import ByteSendStream

from lm_sandbox.sandboxes.inside.moment import Moment
from lm_sandbox.sandboxes.inside.pipes import PipeReader, PipeWriter
from lm_sandbox.sandboxes.inside.program import ConfinedProgram, Reins
from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.process import CommandSpec, OutputStream

Callback = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ends:
    """The server's ends of a command's pipes; None for those it has not got."""

    stdout: int
    stderr: int
    stdin: int | None = None
    channel: int | None = None

    def given(self) -> dict[str, int]:
        """Names those that there are."""
        named = {
            "stdout": self.stdout,
            "stderr": self.stderr,
            "stdin": self.stdin,
            "channel": self.channel,
        }
        return {name: fd for name, fd in named.items() if fd is not None}


class ConfinedProcess(ConfinedProgram):
    """Implements `Process`.

    Args:
        ends: The server's ends of its pipes; owned from now on.
        reins: What can be done with it.
        on_close: Called when the streams are closed.
        on_stdin_close: Called when its input is closed.
    """

    def __init__(
        self,
        ends: Ends,
        reins: Reins,
        on_close: Callback | None = None,
        on_stdin_close: Callback | None = None,
    ) -> None:
        super().__init__(reins)
        self.stdout: OutputStream = PipeReader(ends.stdout)
        self.stderr: OutputStream = PipeReader(ends.stderr)
        self.stdin: ByteSendStream | None = None
        if ends.stdin is not None:
            self.stdin = PipeWriter(ends.stdin, on_stdin_close)
        self.channel: OutputStream | None = None if ends.channel is None else PipeReader(ends.channel)
        self._on_close = on_close
        self._since = Moment(0, 0)

    def mark(self, since: str | None = None) -> str:
        """Remembers this moment, or one that was told before, for `interrupt` and `limits_hit`; tells it."""
        self._since = Moment.now() if since is None else Moment.read(since)
        self._reins.hits.mark()
        return str(self._since)

    async def interrupt(self, number: int) -> None:
        """Sends a signal to the program alone, and kills what it started since the mark."""
        pid = await asyncio.shield(self._started)
        if pid is not None and not self.over:
            await anyio.to_thread.run_sync(self._reins.interrupt, pid, number, self._since)

    def limits_hit(self) -> frozenset[Limit]:
        """Tells which limits were hit since the mark."""
        return self._reins.hits.new()

    async def aclose(self) -> None:
        """Closes the streams."""
        for stream in (self.stdout, self.stderr, self.stdin, self.channel):
            if stream is not None:
                await stream.aclose()
        if self._on_close is not None:
            await self._on_close()


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
