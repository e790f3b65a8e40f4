"""A program that the engine has started in a container."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from anyio.abc import ByteSendStream, SocketStream

from lm_sandbox.errors import Unsupported
from lm_sandbox.sandboxes.drivers.docker.demultiplexer import (
    STDERR,
    STDOUT,
    Demultiplexer,
    FramedOutput,
    SocketInput,
)
from lm_sandbox.sandboxes.drivers.docker.unentered import WHY
from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.process import Exit, OutputStream


@dataclass(frozen=True, slots=True)
class Control:
    """What can be done about a started program.

    Attributes:
        ended: Waits for the end after that of the streams.
        signal: Sends a signal to its process group.
        kill: Kills all that it started.
    """

    ended: Callable[[], Awaitable[Exit]]
    signal: Callable[[int], Awaitable[None]]
    kill: Callable[[], Awaitable[None]]


class ExecProcess:
    """Implements `Process`.

    Args:
        connection: To the engine; owned from now on.
        frames: What comes over it.
        control: Acts on the program.
        stdin: Whether the program reads from it.
    """

    def __init__(
        self, connection: SocketStream, frames: Demultiplexer, control: Control, *, stdin: bool
    ) -> None:
        self.stdin: ByteSendStream | None = SocketInput(connection) if stdin else None
        self.stdout: OutputStream = FramedOutput(frames, STDOUT)
        self.stderr: OutputStream = FramedOutput(frames, STDERR)
        self.channel: OutputStream | None = None
        self._connection = connection
        self._frames = frames
        self._control = control

    async def wait(self) -> Exit:
        """Waits until the program has ended.

        Raises:
            SandboxFailed: the sandbox died under it.
        """
        await self._frames.to_the_end()
        return await self._control.ended()

    async def signal(self, number: int) -> None:
        """Sends a signal to the program's process group."""
        await self._control.signal(number)

    async def kill(self) -> None:
        """Kills the program and everything that it started.

        The engine tells of the end of one exec after the other, each when its output was read: so it is
        read meanwhile.
        """
        self._frames.drop_the_rest()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._frames.to_the_end)
            await self._control.kill()
            tasks.cancel_scope.cancel()

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
        await self._connection.aclose()
