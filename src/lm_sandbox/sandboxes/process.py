"""Programs in sandboxes, as whoever started them sees them."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from anyio.abc import ByteReceiveStream, ByteSendStream

from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.terminal import TerminalSize
from lm_sandbox.sandboxes.user import User


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
        user: Who it runs as.
    """

    argv: tuple[str, ...]
    cwd: str = "/workspace"
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bool = False
    channel: bool = False
    name: str | None = None
    user: User = User.SANDBOX


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

    async def receive_there(self, max_bytes: int = 65536) -> bytes:
        """Returns what is there already, by the same way as `receive`; raises as `receive_nowait` does."""
        return self.receive_nowait(max_bytes)


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
    def available(self) -> int:
        """Tells how many bytes are there."""

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

    def mark(self, since: str | None = None) -> str:
        """Remembers this moment for `interrupt` and `limits_hit`, which otherwise count from the start.

        It is told, so that another server can have it remembered again by `since`.
        """
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
