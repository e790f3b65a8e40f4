"""The server side of a sandbox's zygote: what is started in the sandbox goes through here."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Protocol

import anyio
import anyio.to_thread

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.inside.channel import Channel, Message
from lm_sandbox.sandboxes.inside.launch import Kept, Launcher
from lm_sandbox.sandboxes.inside.moment import Moment
from lm_sandbox.sandboxes.inside.process import ConfinedProcess, Ends, Pipes
from lm_sandbox.sandboxes.inside.program import ConfinedProgram, Reins
from lm_sandbox.sandboxes.inside.pty import ConfinedTerminal
from lm_sandbox.sandboxes.inside.resident import Resident
from lm_sandbox.sandboxes.inside.safekeeping import Safekeeping
from lm_sandbox.sandboxes.inside.tree import COOKIE, Interruption, interrupt_tree, kill_tree
from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.process import CommandSpec, Process, Terminal
from lm_sandbox.sandboxes.terminal import TerminalSpec

ALL_NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
TERM = "xterm-256color"
ENDED = "The sandbox has ended on its own; make a new one."
NO_MORE = "The sandbox takes no more commands; make a new one."

LIST_S = 10.0
BOTH_SIDES = 2


@dataclass(frozen=True, slots=True)
class Identity:
    """What a zygote becomes.

    Attributes:
        sandbox: The id of the sandbox.
        host_uid: The sandbox's own user on the host, or None where the server has no right to change it.
        uid: Its user inside.
        namespaces: Those to enter, by their names in `/proc/PID/ns`.
        cgroups: Folders of the control groups to join.
        rlimits: By their names in `resource`.
        env: Variables of every command.
        capabilities: The numbers of those that it keeps, in the sandbox's own user namespace.
    """

    sandbox: str
    host_uid: int | None
    uid: int
    namespaces: tuple[str, ...]
    cgroups: tuple[str, ...]
    rlimits: Mapping[str, int]
    env: Mapping[str, str]
    capabilities: tuple[int, ...] = ()

    @property
    def is_root(self) -> bool:
        """Whether it is the sandbox's own root."""
        return self.uid == 0

    def order(self) -> Message:
        """Writes it for the launcher."""
        return {
            "sandbox": self.sandbox,
            "uid": self.host_uid,
            "inner_uid": self.uid,
            "namespaces": list(self.namespaces),
            "cgroups": list(self.cgroups),
            "rlimits": dict(self.rlimits),
            "env": dict(self.env),
            "capabilities": list(self.capabilities),
        }


class Bounds(Protocol):
    """What holds the sandbox, as far as its commands have to do with it."""

    @property
    def alive(self) -> bool:
        """Whether the sandbox's first process runs."""
        ...

    def hits(self) -> Mapping[Limit, int]:
        """Counts, for each limit, how often it was hit so far."""
        ...

    @property
    def full(self) -> bool:
        """Whether the writable places have no room left."""
        ...

    def members(self) -> Iterable[int]:
        """Lists the sandbox's processes by their numbers on the host."""
        ...

    def freeze(self, *, frozen: bool) -> None:
        """Stops or continues all of them, where the host can."""
        ...


@dataclass(frozen=True, slots=True)
class Left:
    """What an earlier server has left, by the names that it gave; the files are the caller's."""

    processes: dict[str, Process] = field(default_factory=dict)
    terminals: dict[str, Terminal] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)


class Entrance:
    """Starts commands in one sandbox; its zygote is forked for the first one.

    Args:
        launcher: Forks the zygote.
        identity: What the zygote becomes.
        init: A pidfd of a process in the sandbox, owned by the caller.
        bounds: What holds the sandbox.
    """

    def __init__(self, launcher: Launcher, identity: Identity, init: int, bounds: Bounds) -> None:
        self._identity = identity
        self._bounds = bounds
        self._safe = Safekeeping(launcher, identity.sandbox, root=identity.is_root)
        self._zygote = Resident(
            "zygote",
            launcher=launcher,
            order=identity.order() | {"place": self._safe.zygote},
            init=init,
            alive=lambda: bounds.alive,
            on_message=self._on_message,
            on_end=self._on_end,
        )
        self._running: dict[int, ConfinedProgram] = {}
        # Another server must never give a number again.
        self._numbers = count(time.time_ns())
        self._listed: asyncio.Future[list[tuple[int, int]]] | None = None

    async def spawn(self, command: CommandSpec) -> ConfinedProcess:
        """Starts a program.

        Raises:
            SandboxFailed: the sandbox is dead.
        """
        for _ in range(2):
            zygote = await self._zygote.channel()
            with suppress(BrokenPipeError):
                return await self._spawn(zygote, command)
        raise SandboxFailed(NO_MORE)

    async def open_terminal(self, spec: TerminalSpec) -> ConfinedTerminal:
        """Starts a program on a pseudo-terminal.

        Raises:
            NoCapacity: the kernel gives no more of them.
            SandboxFailed: the sandbox is dead.
        """
        for _ in range(2):
            zygote = await self._zygote.channel()
            with suppress(BrokenPipeError):
                return await self._open_terminal(zygote, spec)
        raise SandboxFailed(NO_MORE)

    async def warm_up(self) -> None:
        """Has the zygote forked before the first command.

        Raises:
            SandboxFailed: the sandbox is dead.
        """
        await self._zygote.channel()

    def stop(self) -> None:
        """Ends the zygote, when everything it started was killed; the next command forks another."""
        self._zygote.close()
        self._lose_all(alive=True)

    def close(self) -> None:
        """Ends the zygote; commands that wait are told that the sandbox is dead."""
        self._zygote.close()
        self._lose_all(alive=False)

    async def adopt(self, kept: Mapping[str, Kept]) -> Left:
        """Takes over its zygote, if there is one, and those of its programs that have names; ends the others.

        Raises:
            DriverUnavailable: the launcher is gone.
        """
        left = Left()
        zygote = kept.get(self._safe.zygote)
        if zygote is None:
            return left
        for program, ends in self._safe.processes(kept):
            left.processes[program.name] = self._process(program.number, ends, program.name)
        for program in self._safe.terminals(kept):
            terminal = self._terminal(program.number, program.name)
            left.terminals[program.name] = terminal
            terminal.tell({"fds": list(program.fds)})
        self._zygote.adopt(zygote.fds[0])
        await self._match(await self._list())
        return left

    async def _match(self, running: list[tuple[int, int]]) -> None:
        """Ends what runs without a name, and tells what runs no more."""
        known = set(self._running)
        for number, pid in running:
            if number in known:
                self._running[number].tell({"pid": pid})
            else:
                await anyio.to_thread.run_sync(self._kill_tree, self._cookie(number), pid)
        for number in known - {number for number, _ in running}:
            if process := self._running.pop(number, None):
                process.lost(sandbox_alive=self._bounds.alive)

    async def _list(self) -> list[tuple[int, int]]:
        """Asks the zygote what runs."""
        self._listed = asyncio.get_running_loop().create_future()
        await self._zygote.send_if_there({"list": True})
        with anyio.move_on_after(LIST_S):
            return await self._listed
        return []

    async def _spawn(self, zygote: Channel, command: CommandSpec) -> ConfinedProcess:
        number = next(self._numbers)
        pipes = Pipes(command)
        process = self._process(number, pipes.ours, command.name)
        given = {"stdin": command.stdin, "channel": command.channel}
        try:
            self._require_alive()
            # Kept first: what runs and is not kept would answer to nobody.
            if command.name is not None:
                await self._safe.keep_process(command.name, number, pipes.ours)
            await zygote.send(self._order(number, command) | given, pipes.theirs)
        except BaseException:
            self._running.pop(number, None)
            await process.aclose()
            raise
        finally:
            pipes.close()
        return process

    def _require_alive(self) -> None:
        if not self._bounds.alive:
            raise SandboxFailed(ENDED)

    def _process(self, number: int, ends: Ends, name: str | None) -> ConfinedProcess:
        process = ConfinedProcess(
            ends,
            self._reins(number),
            on_close=self._safe.forget_process(name) if name else None,
            on_stdin_close=self._safe.forget_stdin(name) if name else None,
        )
        self._running[number] = process
        return process

    def _terminal(self, number: int, name: str | None) -> ConfinedTerminal:
        terminal = ConfinedTerminal(
            self._reins(number), on_close=self._safe.forget_terminal(name) if name else None
        )
        self._running[number] = terminal
        return terminal

    async def _open_terminal(self, zygote: Channel, spec: TerminalSpec) -> ConfinedTerminal:
        number = next(self._numbers)
        terminal = self._terminal(number, spec.name)
        order = self._order(number, replace(spec, env={"TERM": TERM, **spec.env}))
        try:
            await zygote.send(order | {"terminal": [spec.size.rows, spec.size.columns]})
        except BaseException:
            del self._running[number]
            raise
        await terminal.opened()
        # With one side left it has ended already.
        if spec.name is not None and len(sides := terminal.sides) == BOTH_SIDES:
            try:
                await self._safe.keep_terminal(spec.name, number, *sides)
            except BaseException:
                await terminal.abandon()
                raise
        return terminal

    def _reins(self, number: int) -> Reins:
        return Reins(
            hits=HitCount(self._bounds),
            signal=partial(self._signal, number),
            kill_tree=partial(self._kill_tree, self._cookie(number)),
            interrupt=partial(self._interrupt, self._cookie(number)),
        )

    def _order(self, number: int, spec: CommandSpec | TerminalSpec) -> Message:
        return {
            "id": number,
            "argv": list(spec.argv),
            "env": {**spec.env, COOKIE: self._cookie(number)},
            "cwd": spec.cwd,
        }

    def _cookie(self, number: int) -> str:
        return f"{self._identity.sandbox}-{number}"

    def _on_message(self, message: Message) -> None:
        if "running" in message:
            if self._listed is not None and not self._listed.done():
                self._listed.set_result([(number, pid) for number, pid in message["running"]])
            return
        program = self._running.get(message["id"])
        if program is not None:
            program.tell(message)
            if program.over:
                del self._running[message["id"]]

    def _on_end(self) -> None:
        if self._listed is not None and not self._listed.done():
            self._listed.set_result([])
        self._lose_all(alive=self._bounds.alive)

    def _lose_all(self, *, alive: bool) -> None:
        running, self._running = self._running, {}
        for process in running.values():
            process.lost(sandbox_alive=alive)

    async def _signal(self, number: int, signal_number: int, group: int | None) -> None:
        await self._zygote.send_if_there({"id": number, "signal": signal_number, "group": group})

    def _kill_tree(self, cookie: str, root: int) -> None:
        kill_tree(self._bounds.members, self._freeze, root, cookie)

    def _interrupt(self, cookie: str, root: int, number: int, since: Moment) -> None:
        interrupt_tree(self._bounds.members, self._freeze, Interruption(root, cookie, number, since))

    def _freeze(self, frozen: bool) -> None:
        self._bounds.freeze(frozen=frozen)


class HitCount:
    """Implements `Hits`; at first the mark is when it is made."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._before: Mapping[Limit, int] = {}
        self.mark()

    def mark(self) -> None:
        """Counts from now on."""
        self._before = self._bounds.hits()

    def new(self) -> frozenset[Limit]:
        """Tells which were hit since the mark; the disk when it is full now."""
        now = self._bounds.hits()
        hits = {limit for limit, counted in now.items() if counted > self._before.get(limit, 0)}
        return frozenset(hits | {Limit.DISK} if self._bounds.full else hits)
