"""The seam between sandboxes and whatever makes them.

A driver knows nothing of HTTP, keys or models. A command that fails is a result (`Exit`); a sandbox
that cannot be used is an error, and each method names the ones it may raise. `tests/conformance`
holds what every driver must do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from socket import SOCK_STREAM, SocketKind, socket
from typing import NewType, Protocol, Self

from lm_sandbox.sandboxes.files import SandboxFiles
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.mounts import DiskMount
from lm_sandbox.sandboxes.nvidia import GpuDevice
from lm_sandbox.sandboxes.process import CommandSpec, Process, Terminal
from lm_sandbox.sandboxes.remedies import Step
from lm_sandbox.sandboxes.terminal import TerminalSpec

SandboxId = NewType("SandboxId", str)


class RunState(StrEnum):
    """What the processes of a sandbox do."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a sandbox is made from.

    Attributes:
        limits: What it may use.
        env: Variables of every command.
        image: Its root file system; None takes the driver's default.
        gpus: The GPUs that its programs can use.
        mounts: What of outside is mounted in it.
    """

    limits: Limits = field(default_factory=Limits)
    env: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    gpus: tuple[GpuDevice, ...] = ()
    mounts: tuple[DiskMount, ...] = ()


@dataclass(frozen=True, slots=True)
class Enforced:
    """What holds a sandbox, as set up and not as asked for.

    Attributes:
        driver: The driver's name.
        user: The user inside.
        host_uid: The user id on the host, never 0.
        network: `none` while a sandbox has no way out.
        seccomp: Whether a filter is loaded.
        limits: For each limit, its value and what holds it (`cgroup v1`, `tmpfs`, `rlimit` ...).
        isolation: What parts it from the host: `namespaces`, or the runtime that does more.
        entry: How commands get in: `zygote`, or `docker exec` and why.
        gpus: The UUIDs of the GPUs that are in it.
    """

    driver: str
    user: str
    host_uid: int
    network: str
    seccomp: bool
    limits: Mapping[str, str]
    isolation: str = "namespaces"
    entry: str = "zygote"
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stats:
    """What a sandbox uses now; None where this host does not tell.

    Attributes:
        cpu_seconds: CPU time since it was made.
        throttled_seconds: How long it was held back by its CPU limit.
        memory_bytes: Memory in use, files in memory included.
        memory_peak_bytes: The most so far.
        pids: Processes and threads.
        disk_bytes: Bytes in its writable files.
    """

    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    pids: int | None = None
    disk_bytes: int | None = None


class ChangeKind(StrEnum):
    """What became of a file."""

    CREATED = "created"
    MODIFIED = "modified"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that is not as it was; `path` is absolute, inside the sandbox."""

    kind: ChangeKind
    path: str


@dataclass(frozen=True, slots=True)
class Door:
    """A port of a sandbox's own 127.0.0.1 that the server serves.

    Attributes:
        port: Its number; those below 1024 no command can take.
        kind: A stream or a datagram socket.
    """

    port: int
    kind: SocketKind = SOCK_STREAM


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the driver needs of this host.

    Attributes:
        name: What was looked at.
        ok: Whether it is there.
        detail: What was seen.
        fix: What a person can type or do when it is not, else an empty string.
        required: Whether the driver refuses to start without it.
        remedy: What `doctor --fix` does about it; nothing where a person has to decide.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    required: bool = True
    remedy: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Adopted:
    """A sandbox that an earlier, killed server has left.

    Attributes:
        sandbox: Its id.
        enforced: What holds it.
        processes: Those of its programs that have names.
        terminals: Likewise.
        files: What was kept by `keep`; the descriptors are the caller's.
    """

    sandbox: SandboxId
    enforced: Enforced
    processes: Mapping[str, Process]
    terminals: Mapping[str, Terminal] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)


class SandboxDriver(Protocol):
    """Makes and holds sandboxes."""

    name: str

    def checks(self) -> list[Check]:
        """Looks at this host and tells what it can and cannot give. Starts nothing that stays."""
        ...

    async def __aenter__(self) -> Self:
        """Starts the driver and removes what an earlier, killed server left behind.

        Raises:
            DriverUnavailable: a required check fails; the message names it and the fix.
        """
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Destroys every sandbox and leaves no process, mount, cgroup or file behind."""
        ...

    async def adopt(self) -> list[Adopted]:
        """Takes over what a killed server has left; what ran there without a name is ended.

        Raises:
            DriverUnavailable: the host refused.
        """
        ...

    async def create(self, sandbox: SandboxId, spec: SandboxSpec) -> Enforced:
        """Makes a sandbox that is ready for commands.

        Raises:
            DriverUnavailable: the host refused.
            NoCapacity: no host user id or memory is left for another one.
            Invalid: the driver has no such image, or the host no such cores.
            Unsupported: this host cannot hold one of the limits.
        """
        ...

    async def spawn(self, sandbox: SandboxId, command: CommandSpec) -> Process:
        """Starts a program in the sandbox; a program that does not exist is an `Exit` of 127.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            SandboxFailed: it died.
        """
        ...

    async def open_terminal(self, sandbox: SandboxId, spec: TerminalSpec) -> Terminal:
        """Starts a program that has a terminal of the kind `xterm-256color`.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            SandboxFailed: it died.
            NoCapacity: the host has no terminal left.
        """
        ...

    async def keep(self, sandbox: SandboxId, name: str, file: int | None) -> None:
        """Keeps an open file for the server that comes after this one was killed; None keeps it no longer.

        What a terminal of this name shows while no server is there goes into it, if it is its recording.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            DriverUnavailable: the host refused.
        """
        ...

    def files(self, sandbox: SandboxId) -> SandboxFiles:
        """Returns the way to the sandbox's files.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
        """
        ...

    async def set_state(self, sandbox: SandboxId, state: RunState) -> None:
        """Lets the sandbox run, halts its processes where they stand, or ends them and keeps its files.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            SandboxFailed: it died.
            Unsupported: this host cannot halt processes.
        """
        ...

    async def limit(self, sandbox: SandboxId, limits: Limits) -> Mapping[str, str]:
        """Changes what a living sandbox may use, all of it or nothing; tells it as `Enforced.limits` does.

        Those of `limits.LASTING` are as they were. Its processes may be halted for a moment.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            SandboxFailed: it died.
            LimitInUse: it uses more than that.
            Invalid: the host has no such cores.
            Unsupported: this host cannot hold one of them, or cannot change it.
        """
        ...

    async def save(self, sandbox: SandboxId, folder: Path) -> int:
        """Copies the sandbox's files, as they are at one moment, to a new folder; returns the bytes it takes.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            SandboxFailed: it died.
            NoCapacity: the disk is full.
            Unsupported: this host cannot halt processes.
        """
        ...

    async def load(self, sandbox: SandboxId, folder: Path) -> None:
        """Ends every process and puts saved files in the place of the sandbox's own.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            SandboxFailed: it died, or the files do not fit.
            Unsupported: this host does not tell what runs in a sandbox.
        """
        ...

    async def changes(self, sandbox: SandboxId, folder: Path, until: Path | None = None) -> list[FileChange]:
        """Tells which files are not as they were saved: now, or as they were saved later, until then.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            Unsupported: this host cannot halt processes.
        """
        ...

    async def listen(self, sandbox: SandboxId, doors: Sequence[Door]) -> list[socket]:
        """Listens inside the sandbox; the non-blocking sockets are the caller's, in the same order.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            SandboxFailed: it died.
            Conflict: a command has one of the ports.
        """
        ...

    async def connect(self, sandbox: SandboxId, port: int) -> socket:
        """Connects to what listens inside; the non-blocking socket is the caller's.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
            SandboxFailed: it died.
            Unreachable: nothing listens on that port.
        """
        ...

    async def stats(self, sandbox: SandboxId) -> Stats:
        """Tells what the sandbox uses now.

        Raises:
            SandboxNotFound: the driver has no such sandbox.
        """
        ...

    async def ended(self) -> list[SandboxId]:
        """Names the sandboxes that have died and were not destroyed; none where that is not known now."""
        ...

    async def destroy(self, sandbox: SandboxId) -> None:
        """Ends every process of the sandbox and removes all that belongs to it; idempotent."""
        ...
