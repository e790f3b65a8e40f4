"""A bash that stays: folders, variables and functions survive from one command to the next."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

import anyio
from anyio.abc import TaskGroup

from lm_sandbox.errors import Gone
from lm_sandbox.sandboxes.output import Stream
from lm_sandbox.sandboxes.process import CommandSpec, OutputStream, Process
from lm_sandbox.sandboxes.shell_notes import ShellNotes
from lm_sandbox.sandboxes.shell_process import ShellProcess, shell_command
from lm_sandbox.sandboxes.shell_run import ShellRun

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
        notes: What another server has to know of it; owned.
        tasks: What goes on beside the commands runs in it.
        busy: Whether a command runs in it.
        closed: Whether it was deleted.
    """

    id: str
    notes: ShellNotes
    tasks: TaskGroup
    busy: bool = False
    closed: bool = False
    _turn: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))
    _bash: ShellProcess | None = None
    _past: dict[int, ShellProcess] = field(default_factory=dict)
    _holding: "_Holding | None" = None

    @property
    def cwd(self) -> str:
        """The folder that it is in."""
        return self.notes.now.cwd

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        return self.notes.about.created_at

    async def begin(self, text: str, spawn: Spawn, command: str | None = None) -> ShellRun:
        """Sends a command when it is its turn.

        Args:
            text: What bash is to do; no NUL is in it.
            spawn: Starts a bash where there is none.
            command: Its id, where it is to go on when the server is killed.

        Raises:
            Gone: the shell was deleted.
            SandboxFailed: the sandbox died.
        """
        await self._turn.acquire()
        try:
            self.busy = True
            if self._holding is not None:
                await self._holding.stop()
            bash = await self._alive(spawn)
            return await self._send(bash, text.encode(errors="surrogateescape"), command)
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

    def resume(self, processes: Mapping[str, Process]) -> ShellRun | None:
        """Goes on where an earlier server was killed; returns the command that was running in it.

        Args:
            processes: What an earlier server has left, by name.
        """
        now = self.notes.now
        for number in now.past:
            if (process := processes.get(self._name(number))) is not None:
                self._past[number] = ShellProcess(process)
                self.tasks.start_soon(self._see_out, number)
        process = processes.get(self._name(now.bash))
        if process is None:
            return None
        bash = self._bash = ShellProcess(process, self._heard)
        bash.state, bash.cwd = self.notes.state, now.cwd
        self.tasks.start_soon(bash.watch)
        process.mark(now.since)
        if not now.busy or (now.status is not None and now.command is None):
            self._hold(bash)
            return None
        if now.status is not None:
            bash.remember(now.number, now.status, now.cwd)
        self._turn.acquire_nowait()
        self.busy = True
        return ShellRun(bash, now.number, before=(b"", b""), on_close=self._after)

    async def give_up(self, run: ShellRun) -> None:
        """Ends a command whose client went with an earlier server, with all that it started."""
        await run.kill()
        await run.wait()
        _discard(run.shell)
        await run.aclose()

    def names(self) -> set[str]:
        """Returns the names of its bashes."""
        now = self.notes.now
        return {self._name(number) for number in (*now.past, now.bash)}

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
        self.notes.notebook.close()

    def _all(self) -> list[ShellProcess]:
        return [*self._past.values(), *([self._bash] if self._bash else [])]

    async def _send(self, bash: ShellProcess, text: bytes, command: str | None) -> ShellRun:
        number = self.notes.now.number + 1
        since = bash.process.mark()
        self.notes.note(number=number, since=since, busy=True, command=command, status=None)
        run = ShellRun(
            bash,
            number,
            before=(self.notes.take(Stream.STDOUT), self.notes.take(Stream.STDERR)),
            on_close=self._after,
        )
        # Where bash is gone by now, that is how the command ends.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await bash.send(number, text)
        return run

    async def _after(self, run: ShellRun) -> None:
        self.notes.note(cwd=run.cwd or self.cwd, busy=False)
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
        before, number = self._bash, self.notes.now.bash
        if before is not None and before.ended is None:
            return before
        bash = self._bash = await self._new(spawn)
        if before is not None:
            self._past[number] = before
            self.notes.note(past=tuple(self._past))
            self.tasks.start_soon(self._see_out, number)
            if before.state is not None and not await self._restore(bash, before.state):
                bash = self._bash = await self._new(spawn)
        self.notes.note_state(b"")
        return bash

    async def _new(self, spawn: Spawn) -> ShellProcess:
        about, number = self.notes.about, self.notes.now.bash + 1
        command = shell_command(self.cwd)
        command = replace(command, env=about.env, user=about.user, name=self._name(number))
        bash = ShellProcess(await spawn(command), self._heard)
        self.notes.note(bash=number)
        self.tasks.start_soon(bash.watch)
        return bash

    def _name(self, number: int) -> str:
        """By what another server knows a bash again."""
        return f"{self.id}.{number}"

    def _heard(self, bash: ShellProcess) -> None:
        """Notes what a bash has told, before anything comes of it."""
        if bash is not self._bash:
            return
        if bash.done is not None and bash.done[0] == self.notes.now.number:
            self.notes.note(status=bash.done[1].status, cwd=bash.done[1].cwd)
        if bash.cwd is not None:
            self.notes.note(cwd=bash.cwd)
        if bash.state is not None:
            self.notes.note_state(bash.state)

    async def _restore(self, bash: ShellProcess, state: bytes) -> bool:
        """Makes a new bash know what another one told; without what it says to that."""
        with anyio.move_on_after(RESTORE_S), suppress(anyio.BrokenResourceError):
            await bash.send(RESTORING, state)
            if await bash.result(RESTORING):
                _discard(bash)
                return True
        await bash.process.kill()
        await bash.process.aclose()
        return False

    def _hold(self, bash: ShellProcess) -> None:
        """Takes what comes between two commands, so that what was left running never waits."""
        self._holding = _Holding(bash, self.notes)
        self.tasks.start_soon(self._holding.run)

    async def _see_out(self, number: int) -> None:
        """Goes on taking what the children of a bash that has ended write."""
        bash = self._past[number]
        await _Holding(bash, self.notes).run()
        if not self.closed:
            del self._past[number]
            self.notes.note(past=tuple(self._past))
            await bash.process.aclose()


def _discard(bash: ShellProcess) -> None:
    for stream in (bash.process.stdout, bash.process.stderr):
        with suppress(anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                stream.receive_nowait()


class _Holding:
    """Notes what comes on the streams of a bash, until it is stopped or nobody can write any more."""

    def __init__(self, bash: ShellProcess, notes: ShellNotes) -> None:
        self._process = bash.process
        self._notes = notes
        self._scope = anyio.CancelScope()
        self._stopped = anyio.Event()

    async def run(self) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._fill, Stream.STDOUT, self._process.stdout)
                    tasks.start_soon(self._fill, Stream.STDERR, self._process.stderr)
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._stopped.wait()

    async def _fill(self, stream: Stream, source: OutputStream) -> None:
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                self._notes.hold(stream, await source.receive())
