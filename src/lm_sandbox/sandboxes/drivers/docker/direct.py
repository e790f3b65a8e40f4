"""A container that commands enter directly: its first process is a process of this host."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from lm_sandbox.errors import DriverUnavailable, SandboxFailed
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Container
from lm_sandbox.sandboxes.drivers.docker.confinement import Confinement, outer_uid, read_confinement
from lm_sandbox.sandboxes.drivers.docker.container import SAVED, WRITABLE, rlimits
from lm_sandbox.sandboxes.inside.cgroups import Group, find_hierarchy, folders_of
from lm_sandbox.sandboxes.inside.entrance import ALL_NAMESPACES, Identity
from lm_sandbox.sandboxes.inside.launch import Launcher
from lm_sandbox.sandboxes.inside.layout import ENVIRONMENT, SANDBOX_UID
from lm_sandbox.sandboxes.inside.occupied import Occupied, Premises
from lm_sandbox.sandboxes.inside.storage import HostUser, MappedUser

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
        try:
            namespaces = tuple(
                name for name in ALL_NAMESPACES if _namespace("self", name) != _namespace(pid, name)
            )
        except FileNotFoundError as error:
            raise SandboxFailed("The sandbox's container has ended; make a new one.") from error
        group, cgroups = _groups(own)
        if group is None or pid not in group.members() or not set(namespaces) >= OWN_NAMESPACES:
            return Obstacle("it lacks namespaces or control groups of its own")
        held.pop_all()
    return Init(init, pid, namespaces, group, cgroups)


def _groups(own: str) -> tuple[Group | None, tuple[str, ...]]:
    mounts = Path("/proc/self/mounts").read_text()
    found = find_hierarchy(own, mounts, top=False)
    return (None if found is None else Group(found.version, found.parents)), folders_of(own, mounts)


def _label(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/attr/current").read_text().strip("\0\n")
    except OSError:
        return ""  # No security module labels processes.


def _namespace(pid: int | str, name: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{name}").readlink())


class DirectSandbox(Occupied):
    """A running container.

    Args:
        sandbox: Its id.
        spec: What it was made from.
        container: What the engine says of it.
        init: Its first process; owned from now on.
        launcher: Forks its zygote.

    Raises:
        DriverUnavailable: it is not as it was asked for.
    """

    def __init__(
        self, sandbox: SandboxId, spec: SandboxSpec, container: Container, init: Init, launcher: Launcher
    ) -> None:
        self.container = container.id
        self._first = init
        try:
            init.group.open()
            super().__init__(_identity(sandbox, spec, container, init), _premises(init), launcher, spec.env)
        except OSError as error:
            init.group.forget()
            os.close(init.fd)
            raise DriverUnavailable(UNCONFINED_MESSAGE) from error

    async def confinement(self) -> Confinement:
        """Waits until its first process is confined, which the runtime does last; tells a command's user.

        Raises:
            DriverUnavailable: it stays without, or has ended.
        """
        with anyio.move_on_after(CONFINED_S):
            while True:
                found = _confinement_of(self._first.pid)
                if found is not None and found.complete:
                    return replace(found, uid=_user_of_commands(self._first.pid))
                await anyio.sleep(POLL_S)
        raise DriverUnavailable(UNCONFINED_MESSAGE)

    @contextmanager
    def open_mounts(self) -> Iterator[int]:
        """Opens its mount namespace."""
        fd = os.open(f"/proc/{self._first.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    def mountinfo(self) -> str:
        """The kernel's list of what is mounted in it."""
        return Path(f"/proc/{self._first.pid}/mountinfo").read_text()

    async def end(self) -> None:
        """Kills everything in it; the engine removes the rest."""
        await super().end()
        self._first.group.forget()


def _premises(init: Init) -> Premises:
    user = _user_of_commands(init.pid)
    return Premises(
        init=init.fd,
        init_pid=init.pid,
        group=init.group,
        owner=MappedUser(user) if "user" in init.namespaces else HostUser(user),
        places=SAVED,
        disks=tuple(WRITABLE),
        spared=frozenset({init.pid}),
    )


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


def _user_of_commands(pid: int) -> int:
    return outer_uid(Path(f"/proc/{pid}/uid_map").read_text(), SANDBOX_UID)


def _confinement_of(pid: int) -> Confinement | None:
    try:
        return read_confinement(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None  # It has ended.
