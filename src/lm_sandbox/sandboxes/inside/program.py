"""A program that runs in a sandbox, seen from the server: how it is signalled and killed, and how it ends."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import anyio.to_thread

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.moment import Moment
from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.process import Exit


class Hits(Protocol):
    """Counts how often the limits of a sandbox are hit, from a mark on."""

    def mark(self) -> None:
        """Counts from now on."""
        ...

    def new(self) -> frozenset[Limit]:
        """Tells which were hit since."""
        ...


@dataclass(frozen=True, slots=True)
class Reins:
    """What the server can do with a program.

    Attributes:
        hits: Tells which limits have been hit since its mark.
        signal: Sends a signal to a process group: the program's own, or the one that is given.
        kill_tree: Kills all that descends from a first process.
        interrupt: Sends a signal to a first process and kills what it started since a moment.
    """

    hits: Hits
    signal: Callable[[int, int | None], Awaitable[None]]
    kill_tree: Callable[[int], None]
    interrupt: Callable[[int, int, Moment], None]


class ConfinedProgram:
    """What commands and terminals have in common.

    Args:
        reins: What can be done with it.
    """

    def __init__(self, reins: Reins) -> None:
        self._reins = reins
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[int | None] = loop.create_future()
        self._ended: asyncio.Future[Exit | None] = loop.create_future()

    @property
    def over(self) -> bool:
        """Whether it has ended, or will never be known to."""
        return self._ended.done()

    def tell(self, message: Message) -> None:
        """Takes what the zygote says of this program."""
        if "pid" in message and not self._started.done():
            self._started.set_result(message["pid"])
        if "code" in message and not self._ended.done():
            code = message["code"]
            limits = self._reins.hits.new()
            if message.get("busy"):
                limits |= {Limit.PIDS}
            self._end(Exit(code, None, limits) if code >= 0 else Exit(None, -code, limits))

    def lost(self, *, sandbox_alive: bool) -> None:
        """The zygote is gone: how the program ended will never be known."""
        killed = Exit(None, int(signal.SIGKILL), self._reins.hits.new()) if sandbox_alive else None
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
        if not self.over:
            await self._reins.signal(number, None)

    async def kill(self) -> None:
        """Kills the program and everything that it started."""
        pid = await asyncio.shield(self._started)
        if pid is not None:
            await anyio.to_thread.run_sync(self._reins.kill_tree, pid)

    def _end(self, ended: Exit | None) -> None:
        if not self._started.done():
            self._started.set_result(None)
        if not self._ended.done():
            self._ended.set_result(ended)
