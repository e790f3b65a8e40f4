"""A bash that stays: folders, variables and functions survive from one command to the next."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

import anyio
from anyio.abc import TaskGroup

from lm_sandbox.errors import Gone
from lm_sandbox.sandboxes.output import Stream
from lm_sandbox.sandboxes.process import CommandSpec, OutputStream, Process
from lm_sandbox.sandboxes.shell_process import ShellProcess, shell_command
from lm_sandbox.sandboxes.shell_run import ShellRun
from lm_sandbox.sandboxes.user import User

# What comes between two commands is shown with the next one; of more than this the beginning is lost.
HELD_BYTES = 64 * 1024
RESTORING = 0
RESTORE_S = 5.0

Spawn = Callable[[CommandSpec], Awaitable[Process]]


class Survival(StrEnum):
    """What became of the shell in a command."""

    KEPT = "kept"
    RESTORED = "restored"
    LOST = "lost"


@dataclass(slots=True)
class Shell:
    """A shell of a sandbox; commands wait for each other.

    When bash ends in a command, by `exit`, `set -e`, a time-out or a signal, the next command gets another
    one, which knows what the first could tell at its end; where it could not, it starts anew in that folder.

    Attributes:
        id: Names it.
        env: Variables that it starts with.
        cwd: The folder that it is in.
        tasks: What goes on beside the commands runs in it.
        user: Who it runs as.
        created_at: When it was made.
        busy: Whether a command runs in it.
        closed: Whether it was deleted.
    """

    id: str
    env: Mapping[str, str]
    cwd: str
    tasks: TaskGroup
    user: User = User.SANDBOX
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    busy: bool = False
    closed: bool = False
    _turn: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))
    _number: int = RESTORING
    _bash: ShellProcess | None = None
    _past: list[ShellProcess] = field(default_factory=list)
    _held: dict[Stream, "_Held"] = field(default_factory=lambda: {stream: _Held() for stream in Stream})
    _holding: "_Holding | None" = None

    async def begin(self, text: str, spawn: Spawn) -> ShellRun:
        """Sends a command when it is its turn.

        Args:
            text: What bash is to do; no NUL is in it.
            spawn: Starts a bash where there is none.

        Raises:
            Gone: the shell was deleted.
            SandboxFailed: the sandbox died.
        """
        await self._turn.acquire()
        try:
            self.busy = True
            if self._holding is not None:
                await self._holding.stop()
            return await self._send(await self._alive(spawn), text.encode(errors="surrogateescape"))
        except BaseException:
            self._pass_on()
            raise

    async def start(self, spawn: Spawn) -> None:
        """Starts its bash.

        Raises:
            SandboxFailed: the sandbox died.
        """
        self._hold(await self._alive(spawn))

    def survival(self) -> Survival:
        """Tells what the next command will find."""
        if self._bash is None or self._bash.ended is None:
            return Survival.KEPT
        return Survival.LOST if self._bash.state is None else Survival.RESTORED

    async def end(self) -> None:
        """Ends it with all that it started."""
        for bash in self._all():
            await bash.process.kill()
        await self.drop()

    async def drop(self) -> None:
        """Forgets it; what it started is gone."""
        self.closed = True
        if self._holding is not None:
            await self._holding.stop()
        for bash in self._all():
            await bash.process.aclose()

    def _all(self) -> list[ShellProcess]:
        return [*self._past, *([self._bash] if self._bash else [])]

    async def _send(self, bash: ShellProcess, text: bytes) -> ShellRun:
        self._number += 1
        bash.process.mark()
        run = ShellRun(
            bash,
            self._number,
            before=(self._held[Stream.STDOUT].take(), self._held[Stream.STDERR].take()),
            on_close=self._after,
        )
        # Where bash is gone by now, that is how the command ends.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await bash.send(self._number, text)
        return run

    async def _after(self, run: ShellRun) -> None:
        self.cwd = run.cwd or self.cwd
        if not self.closed:
            self._hold(run.shell)
        self._pass_on()

    def _pass_on(self) -> None:
        self.busy = False
        self._turn.release()

    async def _alive(self, spawn: Spawn) -> ShellProcess:
        """Returns its bash, or another one that knows what it knew."""
        if self.closed:
            raise Gone("The shell was deleted.")
        before = self._bash
        if before is not None and before.ended is None:
            return before
        bash = self._bash = await self._new(spawn)
        if before is not None:
            self._past.append(before)
            self.tasks.start_soon(self._see_out, before)
            if before.state is not None and not await self._restore(bash, before.state):
                bash = self._bash = await self._new(spawn)
        return bash

    async def _new(self, spawn: Spawn) -> ShellProcess:
        command = shell_command(self.cwd)
        bash = ShellProcess(await spawn(replace(command, env=self.env, user=self.user)))
        self.tasks.start_soon(bash.watch)
        return bash

    async def _restore(self, bash: ShellProcess, state: bytes) -> bool:
        """Makes a new bash know what another one told; without what it says to that."""
        with anyio.move_on_after(RESTORE_S), suppress(anyio.BrokenResourceError):
            await bash.send(RESTORING, state)
            if await bash.result(RESTORING):
                for stream in (bash.process.stdout, bash.process.stderr):
                    with suppress(anyio.WouldBlock, anyio.EndOfStream):
                        while True:
                            stream.receive_nowait()
                return True
        await bash.process.kill()
        await bash.process.aclose()
        return False

    def _hold(self, bash: ShellProcess) -> None:
        """Takes what comes between two commands, so that what was left running never waits."""
        self._holding = _Holding(bash, self._held)
        self.tasks.start_soon(self._holding.run)

    async def _see_out(self, bash: ShellProcess) -> None:
        """Goes on taking what the children of a bash that has ended write."""
        await _Holding(bash, self._held).run()
        if not self.closed:
            self._past.remove(bash)
            await bash.process.aclose()


class _Held:
    """The last of what came on one stream between two commands."""

    def __init__(self) -> None:
        self._data = bytearray()

    async def fill(self, source: OutputStream) -> None:
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                self._data += await source.receive()
                del self._data[:-HELD_BYTES]

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


class _Holding:
    """Fills what is held from the streams of a bash, until it is stopped or nobody can write any more."""

    def __init__(self, bash: ShellProcess, held: Mapping[Stream, _Held]) -> None:
        self._process = bash.process
        self._held = held
        self._scope = anyio.CancelScope()
        self._stopped = anyio.Event()

    async def run(self) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._held[Stream.STDOUT].fill, self._process.stdout)
                    tasks.start_soon(self._held[Stream.STDERR].fill, self._process.stderr)
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._stopped.wait()
