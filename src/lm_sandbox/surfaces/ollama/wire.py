"""What Ollama's clients ask for."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lm_sandbox.errors import NotHonoured
from lm_sandbox.surfaces.ollama.options import Options
from lm_sandbox.surfaces.open_body import OpenBody

Kind = Literal["chat", "generate"]
FUNCTION = frozenset({None, "function"})
Level = Literal["low", "medium", "high", "max"]


class CalledFunction(OpenBody):
    """The function that a call names; some clients send its arguments as text."""

    name: str
    arguments: dict[str, Any] | str = Field(default_factory=dict)


class ToolCallIn(OpenBody):
    """An earlier call of the model."""

    function: CalledFunction
    id: str | None = None


class MessageIn(OpenBody):
    """A message; `images` are Base64 without a `data:` prefix."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCallIn] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class FunctionIn(OpenBody):
    """What a tool takes."""

    name: str = Field(min_length=1)


class ToolIn(OpenBody):
    """A tool that the client runs; others mean nothing here."""

    type: str | None = None
    function: FunctionIn | None = None


class Named(OpenBody):
    """A body that names a model; older clients call that `name`."""

    model: str = Field(min_length=1, max_length=256)

    @model_validator(mode="before")
    @classmethod
    def _take_the_older_name(cls, body: Any) -> Any:  # noqa: ANN401 - JSON as it came
        if isinstance(body, dict) and "model" not in body and "name" in body:
            body = {**body, "model": body["name"]}
            del body["name"]
        return body


class Kept(Named):
    """What loads a model, and may say for how long."""

    keep_alive: float | str | None = None


class Generation(Kept):
    """What chatting and generating have in common."""

    kind: ClassVar[Kind]

    stream: bool | None = None
    format: str | dict[str, Any] | None = Field(None, description='`"json"` or a JSON schema')
    options: Options | None = None
    think: bool | Level | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    truncate: bool | None = Field(None, description="nothing is ever cut; what is too long is refused")
    shift: bool | None = Field(None, description="likewise")

    @property
    def streamed(self) -> bool:
        """Whether the answer comes line by line, as it does where nothing is said."""
        return self.stream is not False

    def left_out(self) -> list[str]:
        """Names what means nothing here."""
        options = self.options.unknown() if self.options else []
        return [*self.unknown(), *(f"options.{name}" for name in options)]


class ChatIn(Generation):
    """A conversation to go on with; without messages the model is only loaded."""

    kind = "chat"

    messages: list[MessageIn] = Field(default_factory=list)
    tools: list[ToolIn] | None = None

    def left_out(self) -> list[str]:
        """Names what means nothing here, tools of other kinds too."""
        others = {f"tools.{tool.type}" for tool in self.tools or () if tool.type not in FUNCTION}
        return [*super().left_out(), *sorted(others)]


class GenerateIn(Generation):
    """A prompt; without one the model is only loaded."""

    kind = "generate"

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = None
    images: list[str] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None


class EmbedIn(Kept):
    """Texts to embed."""

    input: str | list[str]
    truncate: bool | None = None
    dimensions: int | None = Field(None, ge=1)
    options: Options | None = None


class EmbeddingsIn(Kept):
    """A text to embed, as older clients ask."""

    prompt: str = ""
    options: Options | None = None


class PullIn(Named):
    """A model to get: `hf:owner/repo:quant`, `hf.co/owner/repo:quant`, or what an Ollama knows."""

    stream: bool | None = None
    insecure: bool | None = None


class CopyIn(OpenBody):
    """A model to copy."""

    source: str
    destination: str


class CreateIn(Named):
    """A model to make from another; what would change it is refused."""

    from_: str | None = Field(None, alias="from")
    stream: bool | None = None
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    template: str | None = None
    system: str | None = None
    parameters: dict[str, Any] | None = None
    messages: list[Any] | None = None
    quantize: str | None = None

    def refuse_changes(self) -> None:
        """Stops what would make another model.

        Raises:
            NotHonoured: names the field.
        """
        for name in ("files", "adapters", "template", "system", "parameters", "messages", "quantize"):
            if getattr(self, name):
                raise NotHonoured(f"{name} is not supported: a model is made as it is.", field=name)
