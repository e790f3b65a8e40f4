"""A sandbox on this host, whatever made it: a first process in namespaces of its own."""

import os
import signal
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread

from lm_sandbox.errors import DriverUnavailable, SandboxFailed, Unsupported
from lm_sandbox.sandboxes.driver import FileChange, RunState, Stats
from lm_sandbox.sandboxes.inside import storage
from lm_sandbox.sandboxes.inside.cgroups import Group
from lm_sandbox.sandboxes.inside.confined_files import ConfinedFiles
from lm_sandbox.sandboxes.inside.entrance import Entrance, Identity, Left
from lm_sandbox.sandboxes.inside.file_questions import Questions
from lm_sandbox.sandboxes.inside.launch import Kept, Launcher
from lm_sandbox.sandboxes.inside.layout import FULL_BYTES, FULL_FILES
from lm_sandbox.sandboxes.inside.netns import NetworkNamespace
from lm_sandbox.sandboxes.inside.process import ConfinedProcess
from lm_sandbox.sandboxes.inside.pty import ConfinedTerminal
from lm_sandbox.sandboxes.inside.safekeeping import MEMORY, files_of
from lm_sandbox.sandboxes.inside.tree import kill_all
from lm_sandbox.sandboxes.limits import Limit, Limits
from lm_sandbox.sandboxes.process import CommandSpec
from lm_sandbox.sandboxes.terminal import TerminalSpec
from lm_sandbox.sandboxes.user import User, refuse_root

END_S = 10.0
PATH_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Premises:
    """What a sandbox consists of on the host.

    Attributes:
        init: A pidfd of its first process.
        init_pid: That process's number.
        group: Its control groups, where there are any.
        owner: Whose its files are.
        places: Its writable places by the names under which they are saved.
        disks: Those that are file systems of their own.
        spared: Processes that do not end when it is stopped.
    """

    init: int
    init_pid: int
    group: Group | None
    owner: storage.Owner
    places: Mapping[str, str]
    disks: tuple[str, ...]
    spared: frozenset[int]


class Occupied:
    """A sandbox whose first process is up; implements `Bounds`.

    Attributes:
        id: Names it to the launcher.
        env: Variables of every command.

    Args:
        identity: What a command in it becomes.
        premises: What it consists of; owned from now on.
        launcher: Forks its zygote.
        env: Variables of every command.

    Raises:
        OSError: it has ended already.
    """

    def __init__(
        self, identity: Identity, premises: Premises, launcher: Launcher, env: Mapping[str, str]
    ) -> None:
        self.id = identity.sandbox
        self.env = dict(env)
        self.premises = premises
        self._group = premises.group
        self.launcher = launcher
        self._paused = self._unlimited = False
        self._init, self._init_pid = premises.init, premises.init_pid
        with ExitStack() as held:
            # Held open, so that it never becomes the root of another process with the same number.
            self._root = os.open(f"/proc/{self._init_pid}/root", PATH_FLAGS)
            held.callback(os.close, self._root)
            self._disks = []
            for disk in premises.disks:
                self._disks.append(storage.open_place(self._root, disk))
                held.callback(os.close, self._disks[-1])
            self._open_files = held.pop_all()
        self._entrance = Entrance(launcher, identity, self._init, self)
        self.files = ConfinedFiles(Questions(launcher, identity, self._init, lambda: self.alive))
        self.network = NetworkNamespace(launcher, self._init_pid, lambda: self.alive)

    @property
    def alive(self) -> bool:
        """Whether its init runs."""
        if self._init < 0 or self._unlimited:
            return False
        try:
            signal.pidfd_send_signal(self._init, 0)
        except ProcessLookupError:
            return False
        return True

    @property
    def full(self) -> bool:
        """Whether its writable places have no room left."""
        with suppress(OSError):
            stats = [os.fstatvfs(disk) for disk in self._disks]
            return any(one.f_bavail * one.f_bsize < FULL_BYTES or one.f_favail < FULL_FILES for one in stats)
        return False

    def hits(self) -> Mapping[Limit, int]:
        """Counts how often each limit was hit so far."""
        try:
            return self._group.hits() if self._group else {}
        except OSError:
            # Whoever made the groups has removed them: nothing in it is limited any more.
            self._unlimited = True
            self._kill()
            return {}

    def members(self) -> Iterable[int]:
        """Lists its processes by their numbers on the host."""
        return self._group.members() if self._group else _in_namespace(self._init_pid)

    def freeze(self, *, frozen: bool) -> None:
        """Stops or continues all of them; nothing goes on in a paused sandbox."""
        if self._group is not None and not self._paused:
            with suppress(OSError):
                self._group.freeze(frozen=frozen)

    async def spawn(self, command: CommandSpec) -> ConfinedProcess:
        """Starts a program.

        Raises:
            SandboxFailed: the sandbox is dead.
            Unsupported: it has no root of its own.
        """
        entrance = self._entrance_of(command.user)
        return await entrance.spawn(replace(command, env={**self.env, **command.env}))

    async def open_terminal(self, spec: TerminalSpec) -> ConfinedTerminal:
        """Starts a program on a pseudo-terminal.

        Raises:
            NoCapacity: the kernel gives no more of them.
            SandboxFailed: the sandbox is dead.
        """
        entrance = self._entrance_of(spec.user)
        return await entrance.open_terminal(replace(spec, env={**self.env, **spec.env}))

    async def warm_up(self) -> None:
        """Starts what the first command would have to wait for.

        Raises:
            SandboxFailed: the sandbox is dead.
        """
        await self._entrance.warm_up()

    async def keep(self, name: str, file: int | None) -> None:
        """Has an open file kept for another server, or kept no longer.

        Raises:
            DriverUnavailable: the launcher is gone.
        """
        if file is None:
            await self.launcher.drop(self.id, MEMORY + name)
        else:
            await self.launcher.keep(self.id, MEMORY + name, "", [file])

    async def end_programs(self) -> None:
        """Ends all of its programs, where nobody knows them.

        Raises:
            SandboxFailed: they do not end.
        """
        self.freeze(frozen=False)
        await self._end_processes()

    async def adopt(self, kept: Mapping[str, Kept]) -> Left:
        """Takes over its zygotes and its named programs from an earlier server."""
        paused = self._group is not None and self._group.can_freeze and self._group.frozen
        # A halted zygote would tell nothing.
        self.freeze(frozen=False)
        left = Left()
        for entrance in self._entrances():
            one = await entrance.adopt(kept)
            left.processes.update(one.processes)
            left.terminals.update(one.terminals)
        left.files.update(files_of(kept))
        if paused:
            await self.set_state(RunState.PAUSED)
        return left

    async def set_state(self, state: RunState) -> None:
        """Lets it run, halts its processes, or ends them.

        Raises:
            SandboxFailed: it died.
            Unsupported: there is no cgroup to halt.
        """
        if not self.alive:
            raise SandboxFailed("The sandbox has ended on its own; make a new one.")
        if state is RunState.PAUSED:
            await self._halt()
            self._paused = True
            return
        self._paused = False
        self.freeze(frozen=False)
        if state is RunState.STOPPED:
            await self._end_processes()

    async def save(self, folder: Path) -> int:
        """Copies its files, as they are at one moment, and returns the bytes that takes."""
        async with self.halted():
            return await anyio.to_thread.run_sync(self._save, folder)

    async def changes(self, folder: Path, until: Path | None = None) -> list[FileChange]:
        """Tells which files are not as they were saved: now, or as they were saved later, until then."""
        if until is not None:
            return await anyio.to_thread.run_sync(self._compare, folder, until)
        async with self.halted():
            return await anyio.to_thread.run_sync(self._compare, folder)

    async def load(self, folder: Path) -> None:
        """Ends its processes and puts saved files in the place of its own.

        Raises:
            Unsupported: without a cgroup it is not known whether all have ended.
        """
        if self._group is None:
            raise Unsupported("This host has no control group that says what runs in a sandbox.")
        await self._end_processes()
        await anyio.to_thread.run_sync(self._load, folder)

    @asynccontextmanager
    async def halted(self) -> AsyncIterator[None]:
        """Halts its processes for a while, so that none can change what is looked at."""
        await self._halt()
        try:
            yield
        finally:
            self.freeze(frozen=False)

    async def _halt(self) -> None:
        if self._group is None or not self._group.can_freeze:
            raise Unsupported("This host has no control group that could halt a sandbox.")
        self.freeze(frozen=True)
        with anyio.fail_after(END_S):
            while not self._group.frozen:  # noqa: ASYNC110 - the kernel sets no event
                await anyio.sleep(0.002)

    async def _end_processes(self) -> None:
        ended = await anyio.to_thread.run_sync(kill_all, self.members, self._freeze, self.premises.spared)
        if not ended:
            raise SandboxFailed("The processes of the sandbox do not end; delete it.")
        for entrance in self._entrances():
            entrance.stop()

    @asynccontextmanager
    async def making_room(self, limits: Limits) -> AsyncIterator[Group]:
        """Halts its processes while limits are changed, so that what is in use does not grow meanwhile.

        Raises:
            SandboxFailed: it died.
            LimitInUse: it uses more than that.
            Unsupported: there is no cgroup that holds them.
        """
        if self._group is None:
            raise Unsupported("This host has no control group that could hold the limits of a sandbox.")
        if not self.alive:
            raise SandboxFailed("The sandbox has ended on its own; make a new one.")
        async with self.halted():
            self._group.in_use().require_room(limits)
            yield self._group

    async def stats(self) -> Stats:
        """Tells what it uses now."""
        used = self._group.stats() if self._group else Stats(pids=len(list(self.members())))
        with suppress(OSError):
            stats = [os.fstatvfs(disk) for disk in self._disks]
            taken = sum((one.f_blocks - one.f_bfree) * one.f_bsize for one in stats)
            return replace(used, disk_bytes=taken)
        return used

    async def end(self) -> None:
        """Kills everything in it, lets go of it, and has the launcher forget it."""
        self._paused = False
        self.freeze(frozen=False)
        if self._group is not None:
            self._group.unthrottle()
        self._kill()
        self._open_files.close()
        for entrance in self._entrances():
            entrance.close()
        self.files.close()
        with anyio.move_on_after(END_S):
            await anyio.wait_readable(self._init)
        init, self._init = self._init, -1
        os.close(init)
        with suppress(DriverUnavailable):
            await self.launcher.ask("forget", {"sandbox": self.id})

    def _kill(self) -> None:
        """Kills its first process, and with that all others."""
        if self._init >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init, signal.SIGKILL)

    def _freeze(self, frozen: bool) -> None:
        self.freeze(frozen=frozen)

    def _entrances(self) -> Sequence[Entrance]:
        """The ways in, one for each user."""
        return (self._entrance,)

    def _entrance_of(self, user: User) -> Entrance:
        refuse_root(user)
        return self._entrance

    def _save(self, folder: Path) -> int:
        return storage.save(self._root, self.premises.places, folder)

    def _load(self, folder: Path) -> None:
        storage.load(folder, self._root, self.premises.places, self.premises.owner)

    def _compare(self, folder: Path, until: Path | None = None) -> list[FileChange]:
        return list(storage.compare(folder, self._root, self.premises.places, until))


def _in_namespace(init_pid: int) -> list[int]:
    """Lists the processes of a pid namespace, where no cgroup does."""
    with suppress(OSError):
        wanted = Path(f"/proc/{init_pid}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != init_pid:
                with suppress(OSError):
                    if (entry / "ns/pid").readlink() == wanted:
                        found.append(int(entry.name))
        return found
    return []
