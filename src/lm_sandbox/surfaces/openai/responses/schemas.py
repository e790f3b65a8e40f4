"""What a client may ask of /v1/responses."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from lm_sandbox.errors import NotHonoured
from lm_sandbox.models.chat import ChatMessage
from lm_sandbox.surfaces.openai.responses.input_items import Item, MessageItem, OtherItem
from lm_sandbox.surfaces.openai.responses.tools import OtherTool, Tool, ToolChoice

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class ResponseCreate(BaseModel):
    """A run to start."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=256, examples=["nano"])
    input: str | Annotated[list[Item], Field(max_length=10_000)] = Field(
        default_factory=list, examples=["Which Linux is this?"]
    )
    instructions: str | None = None
    tools: list[Tool] = Field(default_factory=list, max_length=512)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_output_tokens: int | None = Field(None, gt=0)
    max_tool_calls: int | None = Field(None, gt=0)
    metadata: Metadata | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    moderation: Any = None
    top_logprobs: int | None = None
    truncation: str | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def stored(self) -> bool:
        """Whether it is kept."""
        return self.store is not False

    def items(self) -> list[Item]:
        """Returns the input as items."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input)]
        return self.input

    def opening(self) -> list[ChatMessage]:
        """Returns the instructions as the conversation's first message, where there are any."""
        return [ChatMessage("system", self.instructions)] if self.instructions else []

    def left_out(self) -> list[str]:
        """Names the types of tools and items that the model is not told of."""
        tools = {tool.type for tool in self.tools if isinstance(tool, OtherTool)}
        return sorted(tools | {item.type for item in self.items() if isinstance(item, OtherItem)})

    def fields_left_out(self) -> list[str]:
        """Names the fields that have no effect here."""
        return sorted(name for name, value in (self.model_extra or {}).items() if value is not None)

    def sampling(self) -> dict[str, object]:
        """Returns the parameters for the model, by the names of chat completions."""
        effort = (self.reasoning or {}).get("effort")
        wanted = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "reasoning_effort": effort,
            "response_format": self._response_format(),
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def refuse_what_changes_the_answer(self) -> None:
        """Stops a request that would be answered as if a part of it were not there.

        Raises:
            NotHonoured: names the field.
        """
        refused = {
            "conversation": (self.conversation, "send previous_response_id or the whole input instead"),
            "prompt": (self.prompt, "send its text as instructions instead"),
            "moderation": (self.moderation, "no model here moderates"),
            "top_logprobs": (self.top_logprobs, "use /v1/chat/completions for log probabilities"),
        }
        for name, (value, instead) in refused.items():
            if value:
                raise NotHonoured(f"{name} is not supported; {instead}.", field=name)
        if self.background and not self.stored:
            raise NotHonoured("background needs store; leave 'store' out or true.", field="store")

    def _response_format(self) -> dict[str, object] | None:
        wanted = (self.text or {}).get("format")
        kind = wanted.get("type") if isinstance(wanted, dict) else None
        if kind in {None, "text"}:
            return None
        if kind == "json_object":
            return {"type": "json_object"}
        if kind == "json_schema" and isinstance(wanted, dict):
            schema = {key: wanted[key] for key in ("name", "schema", "strict") if key in wanted}
            return {"type": "json_schema", "json_schema": schema}
        raise NotHonoured(f"text.format.type {kind!r} is not supported.", field="text.format.type")
