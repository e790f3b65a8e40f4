"""What happens in a run, as it happens."""

from dataclasses import dataclass
from enum import StrEnum

from lm_sandbox.agent.request import Consent
from lm_sandbox.models.chat import Usage
from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.output import OutputChunk


class EndReason(StrEnum):
    """Why a run ended."""

    ANSWERED = "answered"
    TOKEN_LIMIT = "token_limit"  # noqa: S105 - a count of words, no secret
    STEP_LIMIT = "step_limit"
    COMMAND_LIMIT = "command_limit"
    TIME_LIMIT = "time_limit"
    REPEATED_FAILURE = "repeated_failure"
    CALLERS_TURN = "callers_turn"
    HEARD_ENOUGH = "heard_enough"


class HeardEnough(Exception):
    """Who hears the events of a run needs no more of them: the run ends as it is."""


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The model thinks aloud."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """The model says something."""

    text: str


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The model has ended a turn, by an answer or by asking for commands."""

    usage: Usage | None


@dataclass(frozen=True, slots=True)
class CommandStarted:
    """The model asked for a command, and it runs now.

    Attributes:
        call_id: The model's name for the call.
        command: What bash runs.
        sandbox_id: Where.
    """

    call_id: str
    command: str
    sandbox_id: str


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """The running command wrote something."""

    call_id: str
    chunk: OutputChunk


@dataclass(frozen=True, slots=True)
class CommandFinished:
    """The command has ended.

    Attributes:
        call_id: The model's name for the call.
        command: What bash ran.
        result: How it ended.
        told: What the model gets to see of it.
    """

    call_id: str
    command: str
    result: CommandResult
    told: str


@dataclass(frozen=True, slots=True)
class CallRejected:
    """The model called a tool in a way that cannot be carried out, and was told so."""

    call_id: str
    told: str


@dataclass(frozen=True, slots=True)
class FunctionCalled:
    """The model called one of the caller's own tools; the run ends with this turn."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CommandProposed:
    """The model asked for a command that is not run here, or not yet; the run ends with this turn."""

    call_id: str
    command: str
    timeout_s: float | None
    consent: Consent


Event = (
    ReasoningDelta
    | AnswerDelta
    | TurnFinished
    | CommandStarted
    | CommandOutput
    | CommandFinished
    | CallRejected
    | FunctionCalled
    | CommandProposed
)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended; its events hold what it did.

    Attributes:
        reason: Why.
        usage: All turns together.
        steps: Turns of the model.
        unforced: Whether a tool had to be called, and nothing could make the model do it.
    """

    reason: EndReason
    usage: Usage
    steps: int
    unforced: bool = False
