"""What Anthropic's clients ask for."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from lm_sandbox.surfaces.open_body import OpenBody

READ = frozenset(
    {
        "text",
        "image",
        "document",
        "search_result",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
    }
)


class OtherBlock(OpenBody):
    """A part of a message that means nothing here."""

    type: str


def _kind(block: object) -> str:
    kind = block.get("type") if isinstance(block, dict) else getattr(block, "type", None)
    return "read" if kind in READ else "other"


class Source(OpenBody):
    """Where an image or a document is."""

    type: str
    media_type: str | None = None
    data: str | None = None
    content: "str | list[AnyBlock] | None" = None


class Block(OpenBody):
    """A part of a message; which fields it has depends on its type."""

    type: str
    text: str | None = None
    source: Source | str | None = None
    title: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    is_error: bool | None = None
    content: "str | list[AnyBlock] | None" = None


AnyBlock = Annotated[
    Annotated[Block, Tag("read")] | Annotated[OtherBlock, Tag("other")], Discriminator(_kind)
]


class MessageIn(OpenBody):
    """A message."""

    role: Literal["user", "assistant", "system"]
    content: str | list[AnyBlock]


class ToolIn(OpenBody):
    """A tool: the client's own, with a schema, or one of Anthropic's, by its type."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(OpenBody):
    """Whether tools are to be used."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Thinking(OpenBody):
    """Whether the model thinks first, and whether that is shown."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None

    @property
    def shown(self) -> bool:
        """Whether the client wants to see it."""
        return self.type != "disabled" and self.display != "omitted"


class OutputFormat(OpenBody):
    """The form of the answer."""

    type: str
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class OutputConfig(OpenBody):
    """How the answer is to be."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Metadata(OpenBody):
    """Who asks."""

    user_id: str | None = None


class Conversation(OpenBody):
    """What is counted, or gone on with."""

    model: str = Field(min_length=1, max_length=256, examples=["nano"])
    messages: list[MessageIn] = Field(min_length=1)
    system: str | list[AnyBlock] | None = None
    tools: list[ToolIn] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: Any = Field(None, description="the engine caches by itself")


class MessagesIn(Conversation):
    """A conversation to go on with."""

    max_tokens: int = Field(ge=1)
    stream: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0)
    stop_sequences: list[str] | None = None
    metadata: Metadata | None = None
    service_tier: str | None = Field(None, description="there is one")
