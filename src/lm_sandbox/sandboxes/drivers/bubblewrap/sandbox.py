"""One sandbox: its init, its cgroups, its storage, and the way in."""

import os
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread

from lm_sandbox.errors import DriverUnavailable, SandboxFailed, Unsupported
from lm_sandbox.sandboxes.driver import (
    CommandSpec,
    FileChange,
    Limit,
    RunState,
    SandboxId,
    SandboxSpec,
    Stats,
)
from lm_sandbox.sandboxes.drivers.bubblewrap import storage
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import (
    ENVIRONMENT,
    SANDBOX_UID,
    WORKSPACE,
)
from lm_sandbox.sandboxes.drivers.bubblewrap.cgroups import Group
from lm_sandbox.sandboxes.drivers.bubblewrap.enforced import describe
from lm_sandbox.sandboxes.inside.confined_files import ConfinedFiles
from lm_sandbox.sandboxes.inside.entrance import Entrance, Identity
from lm_sandbox.sandboxes.inside.file_questions import Questions
from lm_sandbox.sandboxes.inside.launch import Kept, Launcher
from lm_sandbox.sandboxes.inside.netns import NetworkNamespace
from lm_sandbox.sandboxes.inside.process import ConfinedProcess
from lm_sandbox.sandboxes.inside.pty import ConfinedTerminal
from lm_sandbox.sandboxes.inside.tree import kill_all, parent_of
from lm_sandbox.sandboxes.terminal import TerminalSpec

END_S = 10.0
# Less than this free at the end of a command means that it met the disk limit.
FULL_BYTES = 64 * 1024
FULL_FILES = 4


@dataclass(frozen=True, slots=True)
class Holding:
    """What holds a sandbox on the host.

    Attributes:
        uid: Its host user id, or None for the server's own.
        group: Its cgroups, where there are any.
        init: A pidfd of its init.
        init_pid: The number of its init.
    """

    uid: int | None
    group: Group | None
    init: int
    init_pid: int


class BubblewrapSandbox:
    """A sandbox whose init is up; implements `Bounds`.

    Attributes:
        env: Variables of every command.
        uid: Its host user, or None for the server's own.
        enforced: What holds it.
        holding: The same, by its handles.

    Args:
        sandbox: Its id.
        spec: What it was made from.
        holding: What holds it; owned from now on.
        launcher: Forks its zygote.
    """

    def __init__(
        self,
        sandbox: SandboxId,
        spec: SandboxSpec,
        holding: Holding,
        launcher: Launcher,
    ) -> None:
        self.id = sandbox
        self.holding = holding
        self.env = dict(spec.env)
        self.uid = holding.uid
        self.enforced = describe(spec.limits, uid=holding.uid, group=holding.group)
        self._group = holding.group
        self._launcher = launcher
        self._paused = False
        self._init, self._init_pid = holding.init, holding.init_pid
        # All others of its cgroups end when it is stopped: its own processes, and ours that serve it.
        self._spared = frozenset({self._init_pid, parent_of(self._init_pid)})
        # Held open, so that it never becomes the root of another process with the same number.
        self._root_fd = os.open(f"/proc/{self._init_pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._root = Path(f"/proc/{os.getpid()}/fd/{self._root_fd}")
        self._storage = os.open(f"{self._root}{WORKSPACE}", os.O_RDONLY | os.O_CLOEXEC)
        identity = self._identity(spec)
        self._entrance = Entrance(launcher, identity, self._init, self)
        self.files = ConfinedFiles(Questions(launcher, identity, self._init, lambda: self.alive))
        self.network = NetworkNamespace(launcher, self._init_pid, lambda: self.alive)

    @property
    def alive(self) -> bool:
        """Whether its init runs."""
        try:
            signal.pidfd_send_signal(self._init, 0)
        except ProcessLookupError:
            return False
        return True

    @property
    def full(self) -> bool:
        """Whether its writable places have no room left."""
        with suppress(OSError):
            stat = os.fstatvfs(self._storage)
            return stat.f_bavail * stat.f_bsize < FULL_BYTES or stat.f_favail < FULL_FILES
        return False

    def hits(self) -> Mapping[Limit, int]:
        """Counts how often each limit was hit so far."""
        return self._group.hits() if self._group else {}

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
        """
        return await self._entrance.spawn(replace(command, env={**self.env, **command.env}))

    async def open_terminal(self, spec: TerminalSpec) -> ConfinedTerminal:
        """Starts a program on a pseudo-terminal.

        Raises:
            NoCapacity: the kernel gives no more of them.
            SandboxFailed: the sandbox is dead.
        """
        return await self._entrance.open_terminal(replace(spec, env={**self.env, **spec.env}))

    async def warm_up(self) -> None:
        """Starts what the first command would have to wait for.

        Raises:
            SandboxFailed: the sandbox is dead.
        """
        await self._entrance.warm_up()

    async def adopt(self, zygote: int, processes: Iterable[Kept]) -> dict[str, ConfinedProcess]:
        """Takes over its zygote and its named programs from an earlier server."""
        paused = self._group is not None and self._group.can_freeze and self._group.frozen
        # A halted zygote would tell nothing.
        self.freeze(frozen=False)
        named = await self._entrance.adopt(zygote, processes)
        if paused:
            await self.set_state(RunState.PAUSED)
        return named

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
        async with self._halted():
            return await anyio.to_thread.run_sync(storage.save, self._root, folder)

    async def changes(self, folder: Path) -> list[FileChange]:
        """Tells which files are not as they were saved."""
        async with self._halted():
            return await anyio.to_thread.run_sync(lambda: list(storage.compare(folder, self._root)))

    async def load(self, folder: Path) -> None:
        """Ends its processes and puts saved files in the place of its own.

        Raises:
            Unsupported: without a cgroup it is not known whether all have ended.
        """
        if self._group is None:
            raise Unsupported("This host has no control group that says what runs in a sandbox.")
        await self._end_processes()
        await anyio.to_thread.run_sync(storage.load, folder, self._root, self.uid)

    @asynccontextmanager
    async def _halted(self) -> AsyncIterator[None]:
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
        ended = await anyio.to_thread.run_sync(kill_all, self.members, self._freeze, self._spared)
        if not ended:
            raise SandboxFailed("The processes of the sandbox do not end; delete it.")
        self._entrance.stop()

    def stats(self) -> Stats:
        """Tells what it uses now."""
        used = self._group.stats() if self._group else Stats(pids=len(list(self.members())))
        with suppress(OSError):
            stat = os.fstatvfs(self._storage)
            return replace(used, disk_bytes=(stat.f_blocks - stat.f_bfree) * stat.f_bsize)
        return used

    async def end(self) -> None:
        """Kills everything in it and removes what it had."""
        self._paused = False
        self.freeze(frozen=False)
        if self._group is not None:
            self._group.unthrottle()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init, signal.SIGKILL)
        os.close(self._storage)
        os.close(self._root_fd)
        self._entrance.close()
        self.files.close()
        with anyio.move_on_after(END_S):
            await anyio.wait_readable(self._init)
        os.close(self._init)
        with suppress(DriverUnavailable):
            await self._launcher.ask("forget", {"sandbox": self.id})
        if self._group is not None:
            await self._group.remove_when_empty()

    def _freeze(self, frozen: bool) -> None:
        self.freeze(frozen=frozen)

    def _identity(self, spec: SandboxSpec) -> Identity:
        limits = spec.limits
        rlimits = {"RLIMIT_NOFILE": limits.open_files}
        if self._group is None:
            rlimits |= {"RLIMIT_DATA": limits.memory_bytes, "RLIMIT_NPROC": limits.pids}
        return Identity(
            sandbox=self.id,
            host_uid=self.uid,
            uid=SANDBOX_UID,
            cgroups=tuple(self._group.paths) if self._group else (),
            rlimits=rlimits,
            env=ENVIRONMENT,
        )


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
