"""A program that the engine has started in a container, whose output the launcher takes."""

import os
import select
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from anyio.abc import ByteSendStream

from lm_sandbox.errors import DriverUnavailable, Unsupported
from lm_sandbox.sandboxes.drivers.docker.unentered import WHY
from lm_sandbox.sandboxes.inside.pipes import PipeReader, PipeWriter
from lm_sandbox.sandboxes.inside.process import Callback, Ends
from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.process import Exit, OutputStream

LOST = "The Docker engine was restarted while the command ran; how that ended is not known."


@dataclass(frozen=True, slots=True)
class PumpControl:
    """What can be done about it.

    Attributes:
        exit_of: Says how it ended by its exit code.
        signal: Sends a signal to its process group.
        kill: Kills all that it started.
        on_close: Called when it is forgotten.
        on_stdin_close: Called when its input is closed.
    """

    exit_of: Callable[[int], Awaitable[Exit]]
    signal: Callable[[int], Awaitable[None]]
    kill: Callable[[], Awaitable[None]]
    on_close: Callback
    on_stdin_close: Callback


class PumpedProcess:
    """Implements `Process`.

    Args:
        ends: The server's ends of its pipes; its end is told by the channel; owned from now on.
        control: Acts on the program.
    """

    def __init__(self, ends: Ends, control: PumpControl) -> None:
        self.stdout: OutputStream = PipeReader(ends.stdout)
        self.stderr: OutputStream = PipeReader(ends.stderr)
        self.stdin: ByteSendStream | None = None
        if ends.stdin is not None:
            self.stdin = PipeWriter(ends.stdin, control.on_stdin_close)
        self.channel: OutputStream | None = None
        self._end = -1 if ends.channel is None else ends.channel
        self._control = control
        self._told = b""
        self._over = False

    @property
    def over(self) -> bool:
        """Whether its end is told."""
        return bool(select.select([self._end], [], [], 0)[0])

    async def wait(self) -> Exit:
        """Waits until the program has ended.

        Raises:
            SandboxFailed: the sandbox died under it.
            DriverUnavailable: the engine knows of it no more.
        """
        while not self._over and self._end >= 0:
            await anyio.wait_readable(self._end)
            piece = os.read(self._end, 64)
            self._told += piece
            self._over = not piece
        if not self._told.strip().isdigit():
            # It may go on in there, and nobody would know.
            await self._control.kill()
            raise DriverUnavailable(LOST)
        return await self._control.exit_of(int(self._told))

    async def signal(self, number: int) -> None:
        """Sends a signal to the program's process group."""
        await self._control.signal(number)

    async def kill(self) -> None:
        """Kills the program and everything that it started."""
        await self._control.kill()

    def mark(self, since: str | None = None) -> str:
        """Does nothing; an exec has neither moments nor limits that it could tell."""
        return since or ""

    async def interrupt(self, number: int) -> None:
        """Refuses.

        Raises:
            Unsupported: the engine cannot signal one process alone.
        """
        raise Unsupported(f"A command cannot get signal {number} alone here; {WHY}")

    def limits_hit(self) -> frozenset[Limit]:
        """Tells none; that of memory comes with the exit."""
        return frozenset()

    async def aclose(self) -> None:
        """Closes the streams."""
        for stream in (self.stdout, self.stderr, self.stdin):
            if stream is not None:
                await stream.aclose()
        end, self._end = self._end, -1
        if end >= 0:
            anyio.notify_closing(end)
            os.close(end)
        await self._control.on_close()
