"""One sandbox: its init, its cgroups, its storage, and the way in."""

import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from lm_sandbox.errors import DriverUnavailable
from lm_sandbox.sandboxes.driver import CommandSpec, Limit, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import (
    ENVIRONMENT,
    SANDBOX_UID,
    WORKSPACE,
)
from lm_sandbox.sandboxes.drivers.bubblewrap.cgroups import Group
from lm_sandbox.sandboxes.inside.entrance import Entrance, Identity
from lm_sandbox.sandboxes.inside.launch import Launcher
from lm_sandbox.sandboxes.inside.netns import NetworkNamespace
from lm_sandbox.sandboxes.inside.process import ConfinedProcess

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
        self.uid = holding.uid
        self._group = holding.group
        self._launcher = launcher
        self._init, self._init_pid = holding.init, holding.init_pid
        self._storage = os.open(f"/proc/{self._init_pid}/root{WORKSPACE}", os.O_RDONLY | os.O_CLOEXEC)
        self._entrance = Entrance(launcher, self._identity(spec), self._init, self)
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
        """Stops or continues all of them."""
        if self._group is not None:
            with suppress(OSError):
                self._group.freeze(frozen=frozen)

    async def spawn(self, command: CommandSpec) -> ConfinedProcess:
        """Starts a program.

        Raises:
            SandboxFailed: the sandbox is dead.
        """
        return await self._entrance.spawn(command)

    async def end(self) -> None:
        """Kills everything in it and removes what it had."""
        if self._group is not None:
            self._group.unthrottle()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init, signal.SIGKILL)
        os.close(self._storage)
        self._entrance.close()
        with anyio.move_on_after(END_S):
            await anyio.wait_readable(self._init)
        os.close(self._init)
        with suppress(DriverUnavailable):
            await self._launcher.ask("forget", {"sandbox": self.id})
        if self._group is not None:
            await self._group.remove_when_empty()

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
            env={**ENVIRONMENT, **spec.env},
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
