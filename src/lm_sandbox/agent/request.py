"""What a run starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lm_sandbox.models.chat import ChatMessage, ToolCall


class Consent(StrEnum):
    """What happens when the model asks for a command."""

    GIVEN = "given"  # it is run
    ASKED = "asked"  # the run ends, and goes on when the caller agrees
    HANDED_OVER = "handed_over"  # the run ends, and the caller runs it


@dataclass(frozen=True, slots=True)
class Shell:
    """The bash that a model gets.

    Attributes:
        sandbox_id: Where its commands run; empty where the caller runs them.
        network: What the sandbox reaches, as a sentence for the model.
        consent: What happens when the model asks for a command.
    """

    sandbox_id: str
    network: str = "There is no network."
    consent: Consent = Consent.GIVEN


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run starts from; a bound that is None is the server's, which is also the most.

    Attributes:
        model: The model's name.
        messages: The conversation so far, ending with what the model should answer.
        shell: Where its commands run; without one it gets no bash.
        functions: The caller's own tools, in the shape of chat completions.
        tool_choice: For the first turn, in the shape of chat completions.
        parallel_calls: Whether the model may call several tools in one turn.
        agreed: Calls that the conversation ends with and that are carried out first.
        sampling: Parameters for the model, by their OpenAI names.
        max_tokens: Tokens that the model may write in all turns together.
        max_steps: Model turns.
        max_commands: Commands; a model that wants more is told so once.
        command_timeout_s: Wall time of one command.
        max_output_chars: Characters of one output that the model sees.
    """

    model: str
    messages: Sequence[ChatMessage]
    shell: Shell | None = None
    functions: Sequence[Mapping[str, object]] = ()
    tool_choice: object = None
    parallel_calls: bool = True
    agreed: Sequence[ToolCall] = ()
    sampling: Mapping[str, object] = field(default_factory=dict)
    max_tokens: int | None = None
    max_steps: int | None = None
    max_commands: int | None = None
    command_timeout_s: float | None = None
    max_output_chars: int | None = None
