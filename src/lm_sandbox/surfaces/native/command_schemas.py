"""The shapes of commands."""

import signal
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, Field

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.output import Capture
from lm_sandbox.sandboxes.sandbox import NewCommand
from lm_sandbox.sandboxes.user import User
from lm_sandbox.surfaces.native.schemas import ABOUT_USER, Body, Env, Folder, Text


class Encoding(StrEnum):
    """How bytes stand in JSON."""

    UTF8 = "utf-8"
    BASE64 = "base64"

    def write(self, data: bytes) -> str:
        """Renders bytes; in UTF-8 those that are none show as U+FFFD."""
        return b64encode(data).decode() if self is Encoding.BASE64 else data.decode(errors="replace")

    def read(self, text: str, field: str) -> bytes:
        """Reads what a client sent.

        Raises:
            Invalid: it is no Base64.
        """
        if self is Encoding.UTF8:
            return text.encode(errors="surrogatepass")
        try:
            return b64decode(text, validate=True)
        except Base64Error as error:
            raise Invalid(f"{field} is not valid Base64: {error}.", field=field) from error


class CommandStatus(StrEnum):
    """Where a command is; `failed` means that its sandbox died under it."""

    RUNNING = "running"
    ENDED = "ended"
    FAILED = "failed"


class CommandCreate(Body):
    """A command; a string is run by bash, a list as it is."""

    command: Text | Annotated[list[Text], Field(min_length=1)] = Field(examples=["echo hi"])
    cwd: Folder = "/workspace"
    env: Env = Field(default_factory=dict)
    user: User = Field(User.SANDBOX, description=ABOUT_USER)
    stdin: str | None = None
    keep_stdin_open: bool = Field(False, description="more input may follow by .../stdin")
    timeout_s: float | None = Field(None, gt=0, description="wall time, in seconds")
    background: bool = Field(False, description="answer at once; it goes on by itself")
    stream: bool = Field(False, description="answer with server-sent events as it writes")
    detach: bool = Field(False, description="ending it spares what has left its process group")
    checkpoint: bool = Field(
        False, description="save the files before it, so that what it changes can be seen and undone"
    )
    encoding: Encoding = Field(Encoding.UTF8, description="of stdin here and of the output")

    def to_new(self, checkpoint: str | None = None) -> NewCommand:
        """Returns what the service takes, with the snapshot that was made before it.

        Raises:
            Invalid: stdin is no Base64.
        """
        return NewCommand(
            command=self.command if isinstance(self.command, str) else tuple(self.command),
            cwd=self.cwd,
            env=self.env,
            stdin=None if self.stdin is None else self.encoding.read(self.stdin, "stdin"),
            keep_stdin_open=self.keep_stdin_open,
            timeout_s=self.timeout_s,
            detach=self.detach,
            lasting=self.background,
            checkpoint=checkpoint,
            user=self.user,
        )


class InputCreate(Body):
    """More input for a running command."""

    data: str = ""
    encoding: Encoding = Encoding.UTF8
    end: bool = Field(False, description="whether nothing follows")


class SignalCreate(Body):
    """A signal for the process group of a running command."""

    signal: str = Field(examples=["SIGINT"])

    def number(self) -> int:
        """Returns the signal's number.

        Raises:
            Invalid: there is none of this name.
        """
        try:
            return signal.Signals[self.signal].value
        except KeyError as error:
            raise Invalid(f"There is no signal {self.signal!r}; SIGINT is one.", field="signal") from error


class CommandOut(BaseModel):
    """How a command ended: `exit_code` or `signal` is set. While it runs, what it wrote so far."""

    id: str
    status: CommandStatus
    exit_code: int | None = None
    signal: str | None = None
    stdout: str
    stderr: str
    encoding: Encoding
    stdout_bytes: int
    stderr_bytes: int
    truncated: bool
    timed_out: bool = False
    oom_killed: bool = False
    limits: list[str] = Field(default_factory=list, description="every limit that was hit")
    duration_ms: float | None = None
    checkpoint: str | None = Field(None, description="the snapshot of the files as they were before it")

    @classmethod
    def of(cls, result: CommandResult, encoding: Encoding, checkpoint: str | None = None) -> Self:
        """Renders a result, with the snapshot that was made before."""
        return cls(
            id=result.id,
            status=CommandStatus.ENDED,
            exit_code=result.exit_code,
            signal=result.signal,
            stdout=encoding.write(result.stdout),
            stderr=encoding.write(result.stderr),
            encoding=encoding,
            stdout_bytes=result.stdout_bytes,
            stderr_bytes=result.stderr_bytes,
            truncated=result.truncated,
            timed_out=result.timed_out,
            oom_killed=result.oom_killed,
            limits=[limit.value for limit in result.limits],
            duration_ms=result.duration_ms,
            checkpoint=checkpoint,
        )


class CommandDetail(CommandOut):
    """A command that was started on its own, with what it was."""

    command: list[str]
    cwd: str
    started_at: datetime
    output_complete: bool = Field(description="false when old output was dropped for room")

    @classmethod
    def of_command(cls, command: Command, captures: tuple[Capture, Capture], encoding: Encoding) -> Self:
        """Renders a command with head and tail of its output."""
        stdout, stderr = captures
        result = command.result
        return cls(
            id=command.id,
            status=status_of(command),
            exit_code=result and result.exit_code,
            signal=result and result.signal,
            stdout=encoding.write(stdout.bytes()),
            stderr=encoding.write(stderr.bytes()),
            encoding=encoding,
            stdout_bytes=result.stdout_bytes if result else stdout.total,
            stderr_bytes=result.stderr_bytes if result else stderr.total,
            truncated=bool(stdout.left_out or stderr.left_out) or not command.log.complete,
            timed_out=bool(result and result.timed_out),
            oom_killed=bool(result and result.oom_killed),
            limits=[limit.value for limit in result.limits] if result else [],
            duration_ms=result and result.duration_ms,
            checkpoint=command.request.checkpoint,
            command=list(command.request.argv),
            cwd=command.request.cwd,
            started_at=command.started_at,
            output_complete=command.log.complete,
        )


class CommandInfo(BaseModel):
    """A command in a list, without its output."""

    id: str
    status: CommandStatus
    command: list[str]
    started_at: datetime
    exit_code: int | None
    signal: str | None

    @classmethod
    def of(cls, command: Command) -> Self:
        """Renders a command."""
        result = command.result
        return cls(
            id=command.id,
            status=status_of(command),
            command=list(command.request.argv),
            started_at=command.started_at,
            exit_code=result and result.exit_code,
            signal=result and result.signal,
        )


class CommandList(BaseModel):
    """A page of commands; `next_after` goes into `after` for the next one."""

    data: list[CommandInfo]
    next_after: str | None


def status_of(command: Command) -> CommandStatus:
    """Tells where a command is."""
    if command.running:
        return CommandStatus.RUNNING
    return CommandStatus.FAILED if command.failure else CommandStatus.ENDED
