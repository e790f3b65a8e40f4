"""The shapes of terminals, over HTTP and over their WebSocket."""

import signal
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from lm_sandbox.errors import Invalid, LmSandboxError
from lm_sandbox.sandboxes.terminal import TerminalSize
from lm_sandbox.sandboxes.terminal_book import LiveTerminal
from lm_sandbox.sandboxes.terminals import NewTerminal
from lm_sandbox.sandboxes.user import User
from lm_sandbox.surfaces.errors import failure_of
from lm_sandbox.surfaces.native.schemas import ABOUT_USER, Body, Env, Text

Count = Annotated[int, Field(ge=1, le=1000)]


class TerminalStatus(StrEnum):
    """Where a terminal is; `failed` means that its sandbox died under it."""

    OPEN = "open"
    ENDED = "ended"
    FAILED = "failed"


class TerminalCreate(Body):
    """A terminal; `{}` opens a login shell in 24 rows and 80 columns."""

    rows: Count = 24
    columns: Count = 80
    command: Text | Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="instead of the shell; a string is run by bash, a list as it is"
    )
    cwd: str = Field("/workspace", pattern=r"^/[^\x00]*$", max_length=4096)
    env: Env = Field(default_factory=dict, description="TERM is xterm-256color unless it is here")
    user: User = Field(User.SANDBOX, description=ABOUT_USER)

    def to_new(self) -> NewTerminal:
        """Returns what the service takes."""
        command = tuple(self.command) if isinstance(self.command, list) else self.command
        size = TerminalSize(self.rows, self.columns)
        return NewTerminal(command, self.cwd, self.env, size, self.user)


class TerminalPatch(Body):
    """A new size, for everybody who looks at the terminal."""

    rows: Count
    columns: Count

    def to_size(self) -> TerminalSize:
        """Returns what the service takes."""
        return TerminalSize(self.rows, self.columns)


class TerminalOut(BaseModel):
    """A terminal; once its program has ended, `exit_code` or `signal` is set."""

    id: str
    status: TerminalStatus
    command: list[str]
    cwd: str
    rows: int
    columns: int
    viewers: int = Field(description="connections that are open to it")
    started_at: datetime
    exit_code: int | None
    signal: str | None
    limits: list[str] = Field(description="every limit that was hit")

    @classmethod
    def of(cls, terminal: LiveTerminal) -> Self:
        """Renders a terminal."""
        exited = terminal.exited
        return cls(
            id=terminal.id,
            status=_status_of(terminal),
            command=list(terminal.spec.argv),
            cwd=terminal.spec.cwd,
            rows=terminal.size.rows,
            columns=terminal.size.columns,
            viewers=terminal.viewers,
            started_at=terminal.started_at,
            exit_code=exited and exited.code,
            signal=None if exited is None or exited.signal is None else name_of(exited.signal),
            limits=sorted(exited.limits) if exited else [],
        )


class TerminalList(BaseModel):
    """A page of terminals; `next_after` goes into `after` for the next one."""

    data: list[TerminalOut]
    next_after: str | None


class Attached(BaseModel):
    """The first message: which terminal this is."""

    type: Literal["attached"] = "attached"
    id: str
    rows: int
    columns: int
    view: bool


class Replay(BaseModel):
    """The bytes that follow are the scroll-back; a screen is to be cleared first."""

    type: Literal["replay"] = "replay"
    rows: int
    columns: int


class ResizedOut(BaseModel):
    """Somebody has changed the size."""

    type: Literal["resized"] = "resized"
    rows: int
    columns: int


class ExitOut(BaseModel):
    """The last message of a terminal whose program has ended."""

    type: Literal["exit"] = "exit"
    exit_code: int | None
    signal: str | None
    limits: list[str]


class ErrorOut(BaseModel):
    """Something that was sent could not be done, or the terminal came to no end of its own."""

    type: Literal["error"] = "error"
    code: str
    detail: str
    field: str | None = None

    @classmethod
    def of(cls, error: LmSandboxError) -> Self:
        """Renders an error as the HTTP routes do."""
        failure = failure_of(error)
        return cls(code=failure.code, detail=failure.message, field=failure.field)


class Resize(TerminalPatch):
    """A client's screen has another size."""

    type: Literal["resize"]


class Signal(Body):
    """A signal for the process group in the foreground."""

    type: Literal["signal"]
    signal: str = Field(examples=["SIGINT", "INT"])

    def number(self) -> int:
        """Returns the signal's number.

        Raises:
            Invalid: there is none of this name.
        """
        try:
            return signal.Signals["SIG" + self.signal.removeprefix("SIG")].value
        except KeyError as error:
            raise Invalid(f"There is no signal {self.signal!r}; SIGINT is one.", field="signal") from error


Control = Resize | Signal
_CONTROL: TypeAdapter[Control] = TypeAdapter(Annotated[Control, Field(discriminator="type")])


def read_control(text: str) -> Control:
    """Reads what a client says beside what it types.

    Raises:
        Invalid: it is no such message; the field is named.
    """
    try:
        return _CONTROL.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise Invalid("A text message is JSON; what is typed goes into binary ones.") from error
        # Its first part is the message's type.
        wrong = ".".join(map(str, first["loc"][1:])) or "type"
        raise Invalid(f"{wrong}: {first['msg']}.", field=wrong) from error


def name_of(number: int) -> str:
    """Returns the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # Real-time signals between the named ends.


def _status_of(terminal: LiveTerminal) -> TerminalStatus:
    if terminal.running:
        return TerminalStatus.OPEN
    return TerminalStatus.ENDED if terminal.exited else TerminalStatus.FAILED
