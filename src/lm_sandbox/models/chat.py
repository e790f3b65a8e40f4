"""What is said between a caller and a model, in the terms of the OpenAI chat completions."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to use a tool; `arguments` is JSON as the model wrote it, maybe broken."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A part of a call that is still being written.

    Attributes:
        slot: Which of the answer's calls.
        name: Of the tool, as far as it is known.
        arguments: What to add to its arguments.
    """

    slot: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a message: a `data:` URL, and before which character of the text it stands."""

    url: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation.

    Attributes:
        role: Who speaks.
        content: The text; None for an assistant's message that only calls tools.
        tool_calls: What an assistant's message calls.
        tool_call_id: Which call a tool's message answers.
        images: Pictures, in the order in which they stand.
        reasoning: What an assistant's message was thought out from, for models that want it back.
    """

    role: Role
    content: str | None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    images: tuple[Image, ...] = ()
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a request took."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """The next piece of a streamed answer.

    Attributes:
        content: Text to add to the answer.
        reasoning: Text to add to the reasoning.
        call: A part of a call, as it is written.
        tool_calls: Whole calls, on the last piece only.
        finish_reason: Set on the last piece: `stop`, `length`, `tool_calls` ...
        usage: On the last piece, where the engine tells it; on others where it tells as it goes.
        unforced: On the last piece: a tool had to be called, and nothing could make the model do it.
    """

    content: str = ""
    reasoning: str = ""
    call: ToolCallPiece | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    unforced: bool = False
