"""OpenAI's chat messages, as they come in."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lm_sandbox.agent.transcript import parse
from lm_sandbox.errors import Invalid, NotHonoured
from lm_sandbox.models.chat import ChatMessage, Image, Role, ToolCall


class _Open(BaseModel):
    """Clients send fields that we do not know; they are no error."""

    model_config = ConfigDict(extra="allow")


class PictureIn(_Open):
    """A picture of a message."""

    url: str


class TextPart(_Open):
    """A piece of a message's content."""

    type: str
    text: str | None = None
    image_url: PictureIn | str | None = None

    @property
    def picture(self) -> str | None:
        """The address of the picture that it is, if it is one."""
        return self.image_url.url if isinstance(self.image_url, PictureIn) else self.image_url


class FunctionIn(_Open):
    """The function that a call names."""

    name: str
    arguments: str


class ToolCallIn(_Open):
    """An earlier call of the assistant."""

    id: str
    type: str = "function"
    function: FunctionIn


class MessageIn(_Open):
    """A message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCallIn] | None = None
    tool_call_id: str | None = None


class ChatRequest(_Open):
    """The fields of a chat completion that matter to us; the engine gets all of them."""

    model: str = Field(examples=["nano+bash"])
    messages: list[MessageIn] = Field(min_length=1)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None


def to_messages(messages: list[MessageIn]) -> list[ChatMessage]:
    """Turns messages into the conversation that the tool loop goes on from.

    Raises:
        Invalid: a message has content that is neither a text nor a picture.
    """
    return [ours for index, message in enumerate(messages) for ours in _convert(index, message)]


def refuse_far_pictures(messages: list[MessageIn]) -> None:
    """Stops a request that would have an engine fetch something, from where only this host can reach.

    Raises:
        NotHonoured: a picture is no data URL.
    """
    for index, message in enumerate(messages):
        for part in message.content if isinstance(message.content, list) else ():
            if part.picture is not None and not part.picture.startswith("data:"):
                field = f"messages.{index}.content"
                raise NotHonoured(
                    f"{field}: send a picture as a data: URL; this server fetches none.", field=field
                )


def text_of(message: MessageIn, field: str) -> str | None:
    """Returns the text of a message.

    Raises:
        Invalid: a part of it is neither a text nor a picture.
    """
    if not isinstance(message.content, list):
        return message.content
    for part in message.content:
        if part.text is None and part.picture is None:
            raise Invalid(
                f"{field}: only texts and pictures can be sent to a model with a shell, not {part.type!r}.",
                field=field,
            )
    return "".join(part.text or "" for part in message.content)


def _convert(index: int, message: MessageIn) -> list[ChatMessage]:
    text = text_of(message, f"messages.{index}.content")
    if message.role == "assistant" and not message.tool_calls:
        return parse(text or "")
    role: Role = "system" if message.role == "developer" else message.role
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()
    )
    parts = message.content if isinstance(message.content, list) else ()
    end = len(text or "")
    images = tuple(Image(part.picture, end) for part in parts if part.picture is not None)
    return [ChatMessage(role, text, calls, message.tool_call_id, images)]
