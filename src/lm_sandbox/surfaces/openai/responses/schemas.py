"""What a client may ask of /v1/responses."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from lm_sandbox.errors import Invalid, NotHonoured
from lm_sandbox.models.chat import ChatMessage
from lm_sandbox.surfaces.openai.responses.input_items import Item, MessageItem, OtherItem
from lm_sandbox.surfaces.openai.responses.tools import OtherTool, Tool, ToolChoice
from lm_sandbox.surfaces.runs.draft import Asked
from lm_sandbox.surfaces.runs.items import named_item

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class ConversationNamed(BaseModel):
    """A conversation, by its id."""

    id: str


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
    conversation: str | ConversationNamed | None = None
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

    def asked(self) -> Asked:
        """Returns what is kept of it."""
        choice = self.tool_choice
        told = {
            "instructions": self.instructions,
            "previous_response_id": self.previous_response_id,
            "conversation": None if self.conversation_id is None else {"id": self.conversation_id},
            "tools": [tool.model_dump(exclude_unset=True) for tool in self.tools],
            "tool_choice": choice if isinstance(choice, str) else choice.model_dump(exclude_unset=True),
            "parallel_tool_calls": self.parallel_tool_calls,
            "truncation": self.truncation,
            "text": self.text,
            "top_p": self.top_p,
            "temperature": self.temperature,
            "reasoning": {"effort": None, "summary": None, **(self.reasoning or {})},
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "metadata": self.metadata,
            "safety_identifier": self.safety_identifier,
            "prompt_cache_key": self.prompt_cache_key,
        }
        return Asked(
            model=self.model,
            input=[named_item(item.model_dump(exclude_none=True)) for item in self.items()],
            fields={name: value for name, value in told.items() if value is not None},
            stored=self.stored,
            background=bool(self.background),
        )

    def items(self) -> list[Item]:
        """Returns the input as items."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input)]
        return self.input

    def opening(self, more: str = "") -> list[ChatMessage]:
        """Returns the instructions, and more of them, as the first message, where there are any."""
        instructions = "\n\n".join(text for text in (self.instructions, more) if text)
        return [ChatMessage("system", instructions)] if instructions else []

    @property
    def conversation_id(self) -> str | None:
        """Names the conversation that it goes on with."""
        named = self.conversation
        return named.id if isinstance(named, ConversationNamed) else named

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
            Invalid: two fields exclude each other.
        """
        refused = {
            "prompt": (self.prompt, "send its text as instructions instead"),
            "moderation": (self.moderation, "no model here moderates"),
            "top_logprobs": (self.top_logprobs, "use /v1/chat/completions for log probabilities"),
        }
        for name, (value, instead) in refused.items():
            if value:
                raise NotHonoured(f"{name} is not supported; {instead}.", field=name)
        if self.conversation is not None and self.previous_response_id is not None:
            raise Invalid("conversation and previous_response_id exclude each other.", field="conversation")
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


class TokenCount(ResponseCreate):
    """A response that is only measured; without a model, for the default one."""

    model: str = Field("", max_length=256)
