"""The seam between sandboxes and whatever makes them.

A driver knows nothing of HTTP, keys or models. A command that fails is a result (`Exit`); a sandbox
that cannot be used is an error, and each method names the ones it may raise. `tests/conformance`
holds what every driver must do.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from socket import SOCK_STREAM, SocketKind, socket
from typing import NewType, Protocol, Self

from anyio.abc import ByteReceiveStream, ByteSendStream

from lm_sandbox.sandboxes.files import SandboxFiles
from lm_sandbox.sandboxes.terminal import TerminalSize, TerminalSpec

SandboxId = NewType("SandboxId", str)

MIB = 1024 * 1024


class RunState(StrEnum):
    """What the processes of a sandbox do."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class Limit(StrEnum):
    """A bound on what a sandbox or a command may use, by the name told when it is hit."""

    MEMORY = "memory"
    PIDS = "pids"
    DISK = "disk"
    OUTPUT = "output"
    WALL_TIME = "wall_time"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use, over all of its commands together.

    Attributes:
        cpus: CPU time per wall-clock time, in cores.
        memory_bytes: Memory, in bytes, with the page cache it dirties.
        pids: Processes and threads alive at once.
        disk_bytes: Bytes in all the files the sandbox can write.
        open_files: Descriptors one process may hold.
    """

    cpus: float = 2.0
    memory_bytes: int = 1024 * MIB
    pids: int = 256
    disk_bytes: int = 512 * MIB
    open_files: int = 4096


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a sandbox is made from.

    Attributes:
        limits: What it may use.
        env: Variables of every command.
        image: Its root file system; None takes the driver's default.
    """

    limits: Limits = field(default_factory=Limits)
    env: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One program to start, its streams on pipes.

    Attributes:
        argv: The program and its arguments; the program is looked up in the sandbox's PATH.
        cwd: An absolute path inside the sandbox.
        env: Added to the sandbox's own variables.
        stdin: Whether the program gets a pipe; otherwise it reads an empty input.
        channel: Whether it gets a pipe as descriptor 3, to tell more than its output.
        name: By what another server knows it again when this one is killed; None ends it with the server.
    """

    argv: tuple[str, ...]
    cwd: str = "/workspace"
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bool = False
    channel: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended: `code` or `signal` is set, never both.

    Attributes:
        code: The exit status, 0 to 255.
        signal: The signal number that ended it.
        limits: Limits of the sandbox that were hit while it ran.
    """

    code: int | None
    signal: int | None
    limits: frozenset[Limit] = frozenset()


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
    """

    driver: str
    user: str
    host_uid: int
    network: str
    seccomp: bool
    limits: Mapping[str, str]
    isolation: str = "namespaces"
    entry: str = "zygote"


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
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    required: bool = True


class OutputStream(ByteReceiveStream):
    """What a program writes."""

    @abstractmethod
    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        """Returns what is there already.

        Raises:
            anyio.WouldBlock: nothing is.
            anyio.EndOfStream: nobody can write any more.
            anyio.ClosedResourceError: this end was closed.
        """


class MovableStream(OutputStream):
    """What a program writes, where it can go to a file without passing through this process."""

    @abstractmethod
    async def ready(self) -> int:
        """Waits until bytes are there, and tells how many.

        Raises:
            anyio.EndOfStream: nobody can write any more.
            anyio.ClosedResourceError: this end was closed.
        """

    @abstractmethod
    def move(self, fd: int, offset: int, size: int) -> int:
        """Moves bytes that are there into a file, so that they are always either here or there.

        Raises:
            OSError: the file does not take them.
        """


class Running(Protocol):
    """A program that was started; `kill` may be called at any time."""

    async def wait(self) -> Exit:
        """Waits until the program itself has ended, also while children hold its streams open.

        Raises:
            SandboxFailed: the sandbox died under it.
        """
        ...

    async def signal(self, number: int) -> None:
        """Sends a signal to the program's process group; does nothing once it has ended."""
        ...

    async def kill(self) -> None:
        """Kills the program and everything that it started, whatever sessions those made."""
        ...

    async def aclose(self) -> None:
        """Closes the streams and forgets the program; it does not kill."""
        ...


class Process(Running, Protocol):
    """A command; `interrupt` may be called at any time, too."""

    stdin: ByteSendStream | None
    stdout: OutputStream
    stderr: OutputStream
    channel: OutputStream | None

    def mark(self) -> None:
        """Remembers this moment for `interrupt` and `limits_hit`, which otherwise count from the start."""
        ...

    async def interrupt(self, number: int) -> None:
        """Sends a signal to the program alone, and kills what it started since the mark, nothing else."""
        ...

    def limits_hit(self) -> frozenset[Limit]:
        """Tells which limits of the sandbox were hit since the mark."""
        ...


class Terminal(Running, Protocol):
    """A program on a pseudo-terminal; signals go to the process group that is in its foreground.

    `output` ends when the program has ended and what it wrote was read, also while children go on.
    Closing it tells them by SIGHUP.
    """

    input: ByteSendStream
    output: ByteReceiveStream

    async def resize(self, size: TerminalSize) -> None:
        """Changes the size, of which SIGWINCH tells; does nothing once it was closed."""
        ...


@dataclass(frozen=True, slots=True)
class Adopted:
    """A sandbox that an earlier, killed server has left.

    Attributes:
        sandbox: Its id.
        enforced: What holds it.
        processes: Those of its programs that have names.
    """

    sandbox: SandboxId
    enforced: Enforced
    processes: Mapping[str, Process]


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
            Invalid: the driver has no such image.
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

    async def changes(self, sandbox: SandboxId, folder: Path) -> list[FileChange]:
        """Tells which files are not as they were saved.

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

    async def destroy(self, sandbox: SandboxId) -> None:
        """Ends every process of the sandbox and removes all that belongs to it; idempotent."""
        ...
