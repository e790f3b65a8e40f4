"""One bash that takes commands, one after the other, and tells how each ended."""

import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.process import CommandSpec, Exit, Process

SCRIPT = Path(__file__).with_name("shell.bash").read_text()
BASH = ("/bin/bash", "--norc", "--noprofile", "-c", SCRIPT, "bash")
# How long bash may take to leave what it does and to tell what it knew.
LEAVE_S = 2.0
# What bash can tell of itself at its end; more is not remembered.
MOST_STATE_BYTES = 4 * 1024 * 1024


# Before what bash tells at its end. Where a server is killed while it reads, the next one sees only the rest,
# which does not begin so.
FOLDER, STATE = b"\1c", b"\1s"


def shell_command(cwd: str) -> CommandSpec:
    """Returns what starts a shell in a folder, or in the workspace where there is no such folder."""
    return CommandSpec((*BASH, cwd), cwd="/", stdin=True, channel=True)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and the folder that the shell is in."""

    status: int
    cwd: str


Heard = Callable[["ShellProcess"], None]


class ShellProcess:
    """Talks to a bash that runs `shell.bash`.

    Args:
        process: The bash.
        heard: Called whenever it has told something.

    Attributes:
        process: The bash.
        ended: How bash itself ended; None while it runs.
        cwd: The folder that it was in at its end, where it could tell.
        state: Commands that make another bash know what this one knew at its end, where it could tell.
    """

    def __init__(self, process: Process, heard: Heard = lambda _: None) -> None:
        if process.stdin is None or process.channel is None:
            raise ValueError("a shell needs an input and a channel")
        self.process = process
        self.ended: Exit | None = None
        self.cwd: str | None = None
        self.state: bytes | None = None
        self._heard = heard
        self._stdin = process.stdin
        self._channel = process.channel
        self._told = bytearray()
        self._done: tuple[int, Done] | None = None
        self._news = anyio.Event()
        self._end = anyio.Event()

    async def watch(self) -> None:
        """Takes what bash tells, to its end; runs beside everything else."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            try:
                ended = await self.process.wait()
            except SandboxFailed:
                ended = Exit(None, signal.SIGKILL)
            tasks.cancel_scope.cancel()
        with suppress(anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                self._take(self._channel.receive_nowait())
        self.ended = ended
        self._end.set()
        self._news.set()

    async def send(self, number: int, text: bytes) -> None:
        """Sends a command, which holds no NUL.

        Raises:
            anyio.BrokenResourceError: bash has ended.
        """
        await self._stdin.send(b"%d\0%b\0" % (number, text))

    async def result(self, number: int) -> Done | None:
        """Waits until a command has ended; None where bash itself has, with or without it."""
        while True:
            news = self._news
            if self._done is not None and self._done[0] == number:
                return self._done[1]
            if self.ended is not None:
                return None
            await news.wait()

    def remember(self, number: int, status: int, cwd: str) -> None:
        """Takes how a command ended from who has heard it before."""
        self._done = (number, Done(status, cwd))

    async def leave(self) -> None:
        """Ends bash and what it has started since its mark; what it knows it may tell before."""
        await self.process.interrupt(signal.SIGRTMAX)
        with anyio.move_on_after(LEAVE_S):
            await self._end.wait()
        await self.process.interrupt(signal.SIGKILL)
        await self._end.wait()

    async def _listen(self) -> None:
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                self._take(await self._channel.receive())

    def _take(self, data: bytes) -> None:
        self._told += data
        while (end := self._told.find(0)) >= 0:
            self._learn(bytes(self._told[:end]))
            del self._told[: end + 1]
        # What is too long loses its beginning, and with it what would make it count.
        if len(self._told) > MOST_STATE_BYTES:
            self._told[:] = b"?"

    def _learn(self, record: bytes) -> None:
        if record.startswith(STATE):
            self.state = record[len(STATE) :]
        elif record.startswith(FOLDER):
            self.cwd = record[len(FOLDER) :].decode(errors="surrogateescape")
        elif record.startswith(b"d"):
            self._done = _parse(record[1:]) or self._done
            self._heard(self)
            news, self._news = self._news, anyio.Event()
            news.set()
            return
        self._heard(self)

    @property
    def done(self) -> tuple[int, Done] | None:
        """The number of the last command that has ended, and how it did."""
        return self._done


def _parse(told: bytes) -> tuple[int, Done] | None:
    """Reads which command ended, and how; None where that was written by somebody else."""
    number, _, rest = told.partition(b" ")
    status, _, cwd = rest.partition(b" ")
    if not (number.isdigit() and status.isdigit() and cwd):
        return None
    return int(number), Done(int(status) & 0xFF, cwd.decode(errors="surrogateescape"))
