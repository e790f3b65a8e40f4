"""A container that commands enter directly: its first process is a process of this host."""

import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from lm_sandbox.errors import DriverUnavailable
from lm_sandbox.sandboxes.driver import CommandSpec, Limit, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Container
from lm_sandbox.sandboxes.drivers.docker.confinement import Confinement, read_confinement
from lm_sandbox.sandboxes.drivers.docker.container import WRITABLE, rlimits
from lm_sandbox.sandboxes.inside.cgroups import Group, find_hierarchy, folders_of
from lm_sandbox.sandboxes.inside.entrance import ALL_NAMESPACES, Entrance, Identity
from lm_sandbox.sandboxes.inside.launch import Launcher
from lm_sandbox.sandboxes.inside.layout import ENVIRONMENT, FULL_BYTES, FULL_FILES, SANDBOX_UID
from lm_sandbox.sandboxes.inside.process import ConfinedProcess

# Where the engine remaps users there is a user namespace too, else the host's is shared.
OWN_NAMESPACES = frozenset(ALL_NAMESPACES) - {"user"}
CONFINED_S = 10.0
POLL_S = 0.002
UNCONFINED_MESSAGE = (
    "The Docker engine has not confined a container as asked; 'lm-sandbox doctor' says what is missing."
)
UNCONFINED = frozenset({"", "unconfined", "kernel"})


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why commands cannot enter a container directly."""

    reason: str


@dataclass(frozen=True, slots=True)
class Init:
    """A container's first process.

    Attributes:
        fd: A pidfd of it.
        pid: Its number.
        namespaces: Those that it does not share with this process.
        group: Its control groups, as far as limits are concerned.
        cgroups: The folders of all of them.
    """

    fd: int
    pid: int
    namespaces: tuple[str, ...]
    group: Group
    cgroups: tuple[str, ...]


def open_init(container: Container) -> Init | Obstacle:
    """Opens a container's first process, where it is one of this host."""
    pid = container.state.pid
    with ExitStack() as held:
        try:
            init = os.pidfd_open(pid)
            held.callback(os.close, init)
            # Read while the pidfd is held: the number is nobody else's.
            own = Path(f"/proc/{pid}/cgroup").read_text()
        except (OSError, ValueError):
            return Obstacle("its processes are not this host's")
        if container.id not in own:
            return Obstacle("its processes are not this host's")
        if (label := _label(pid)) not in UNCONFINED | {_label(os.getpid())}:
            return Obstacle(f"a security module confines it as {label}")
        namespaces = tuple(
            name for name in ALL_NAMESPACES if _namespace("self", name) != _namespace(pid, name)
        )
        group, cgroups = _groups(own)
        if group is None or pid not in group.members() or not set(namespaces) >= OWN_NAMESPACES:
            return Obstacle("it lacks namespaces or control groups of its own")
        held.pop_all()
    return Init(init, pid, namespaces, group, cgroups)


def _groups(own: str) -> tuple[Group | None, tuple[str, ...]]:
    mounts = Path("/proc/self/mounts").read_text()
    found = find_hierarchy(own, mounts, root=False)
    return (None if found is None else Group(found.version, found.parents)), folders_of(own, mounts)


def _label(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/attr/current").read_text().strip("\0\n")
    except OSError:
        return ""  # No security module labels processes.


def _namespace(pid: int | str, name: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{name}").readlink())


class DirectSandbox:
    """A running container; implements `Bounds`.

    Args:
        sandbox: Its id.
        spec: What it was made from.
        container: What the engine says of it.
        init: Its first process; owned from now on.
        launcher: Forks its zygote.
    """

    def __init__(
        self, sandbox: SandboxId, spec: SandboxSpec, container: Container, init: Init, launcher: Launcher
    ) -> None:
        self.id = sandbox
        self.container = container.id
        self._init = init
        self._launcher = launcher
        self._storage = _open_places(init)
        self._entrance = Entrance(launcher, _identity(sandbox, spec, container, init), init.fd, self)

    @property
    def alive(self) -> bool:
        """Whether its first process runs."""
        try:
            signal.pidfd_send_signal(self._init.fd, 0)
        except ProcessLookupError:
            return False
        return True

    @property
    def full(self) -> bool:
        """Whether one of its writable places has no room left."""
        stats = map(os.fstatvfs, self._storage)
        return any(stat.f_bavail * stat.f_bsize < FULL_BYTES or stat.f_favail < FULL_FILES for stat in stats)

    def hits(self) -> Mapping[Limit, int]:
        """Counts how often each limit was hit so far."""
        try:
            return self._init.group.hits()
        except OSError:
            return {}  # The engine has removed the groups.

    def members(self) -> Iterable[int]:
        """Lists its processes by their numbers on the host."""
        return self._init.group.members()

    def freeze(self, *, frozen: bool) -> None:
        """Stops or continues all of them."""
        with suppress(OSError):
            self._init.group.freeze(frozen=frozen)

    async def confinement(self) -> Confinement:
        """Waits until its first process is confined, which the runtime does last.

        Raises:
            DriverUnavailable: it stays without, or has ended.
        """
        with anyio.move_on_after(CONFINED_S):
            while True:
                found = _confinement_of(self._init.pid)
                if found is not None and found.complete:
                    return found
                await anyio.sleep(POLL_S)
        raise DriverUnavailable(UNCONFINED_MESSAGE)

    async def spawn(self, command: CommandSpec) -> ConfinedProcess:
        """Starts a program.

        Raises:
            SandboxFailed: the container has ended.
        """
        return await self._entrance.spawn(command)

    async def end(self) -> None:
        """Kills everything in it; the engine removes the rest."""
        self._init.group.unthrottle()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init.fd, signal.SIGKILL)
        for place in self._storage:
            os.close(place)
        self._entrance.close()
        self._init.group.forget()
        os.close(self._init.fd)
        with suppress(DriverUnavailable):
            await self._launcher.ask("forget", {"sandbox": self.id})


def _identity(sandbox: SandboxId, spec: SandboxSpec, container: Container, init: Init) -> Identity:
    told = dict(entry.partition("=")[::2] for entry in container.config.env or ())
    return Identity(
        sandbox=sandbox,
        host_uid=SANDBOX_UID,
        uid=SANDBOX_UID,
        namespaces=init.namespaces,
        cgroups=init.cgroups,
        rlimits={f"RLIMIT_{name.upper()}": value for name, value in rlimits(spec.limits).items()},
        env={**ENVIRONMENT, **told},
    )


def _open_places(init: Init) -> list[int]:
    """Opens the writable places and the counters of the groups, all or none; takes the init over."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    places = []
    with ExitStack() as held:
        held.callback(os.close, init.fd)
        try:
            for place in WRITABLE:
                places.append(os.open(f"/proc/{init.pid}/root{place}", flags))
                held.callback(os.close, places[-1])
            init.group.watch()
        except OSError as error:
            raise DriverUnavailable(UNCONFINED_MESSAGE) from error
        held.pop_all()
    return places


def _confinement_of(pid: int) -> Confinement | None:
    try:
        return read_confinement(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None  # It has ended.
