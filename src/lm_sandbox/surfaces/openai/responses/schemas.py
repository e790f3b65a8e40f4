"""What a client may ask of /v1/responses."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lm_sandbox.errors import Invalid
from lm_sandbox.models.chat import ChatMessage, Role, ToolCall


class _Open(BaseModel):
    """Agents send fields that we do not know; they are no error."""

    model_config = ConfigDict(extra="allow")


class Part(_Open):
    """A piece of a message."""

    type: str
    text: str | None = None


class MessageItem(_Open):
    """A message; the type may be left out."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]


class Action(_Open):
    """What a shell call ran."""

    commands: list[str]


class ShellCallItem(_Open):
    """An earlier call of the shell."""

    type: Literal["shell_call"]
    call_id: str
    action: Action


class OutcomeIn(_Open):
    """How an earlier command ended."""

    type: Literal["exit", "timeout"]
    exit_code: int = 0


class OutputIn(_Open):
    """What an earlier command wrote."""

    stdout: str = ""
    stderr: str = ""
    outcome: OutcomeIn


class ShellOutputItem(_Open):
    """What an earlier call of the shell gave."""

    type: Literal["shell_call_output"]
    call_id: str
    output: list[OutputIn]


class ReasoningItem(_Open):
    """Earlier reasoning, which a local model is not shown again."""

    type: Literal["reasoning"]


Item = MessageItem | ShellCallItem | ShellOutputItem | ReasoningItem


class ContainerAuto(_Open):
    """A new sandbox for this response."""

    type: Literal["container_auto"]


class ContainerReference(_Open):
    """A sandbox that exists."""

    type: Literal["container_reference"]
    container_id: str


class ShellTool(_Open):
    """The hosted shell."""

    type: Literal["shell"]
    environment: Annotated[ContainerAuto | ContainerReference | None, Field(discriminator="type")] = None


class OtherTool(_Open):
    """A tool that does not run here; the model is not told of it."""

    type: str


class ResponseCreate(_Open):
    """A run to start."""

    model: str = Field(examples=["nano"])
    input: str | list[Item] = Field(examples=["Which Linux is this?"])
    instructions: str | None = None
    tools: list[ShellTool | OtherTool] = Field(default_factory=list)
    stream: bool = False
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_output_tokens: int | None = Field(None, gt=0)
    max_tool_calls: int | None = Field(None, gt=0)
    metadata: dict[str, str] | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    text: dict[str, Any] | None = None

    def shell(self) -> ShellTool | None:
        """Returns the shell tool, where the model may have one."""
        return next((tool for tool in self.tools if isinstance(tool, ShellTool)), None)

    def left_out(self) -> list[str]:
        """Names the types of tools that do not run here."""
        return sorted({tool.type for tool in self.tools if not isinstance(tool, ShellTool)})

    def refuse_what_changes_the_answer(self) -> None:
        """Stops a request that would be answered as if a part of it were not there.

        Raises:
            Invalid: names the field.
        """
        refused = {
            "background": self.background,
            "previous_response_id": self.previous_response_id,
            "conversation": self.conversation,
            "text.format": (self.text or {}).get("format", {}).get("type") not in {None, "text"},
        }
        for name, value in refused.items():
            if value:
                raise Invalid(f"{name} is not supported yet; send the whole input instead.", field=name)
        if any(tool.type == "function" for tool in self.tools):
            raise Invalid(
                "Function tools are not supported in responses yet; use /v1/chat/completions.",
                field="tools",
            )

    def messages(self) -> list[ChatMessage]:
        """Returns the conversation that the model goes on from.

        Raises:
            Invalid: a message has content that is no text.
        """
        opening = [ChatMessage("system", self.instructions)] if self.instructions else []
        if isinstance(self.input, str):
            return [*opening, ChatMessage("user", self.input)]
        return [*opening, *(m for i, item in enumerate(self.input) for m in _convert(i, item))]


def _convert(index: int, item: Item) -> Iterator[ChatMessage]:
    if isinstance(item, MessageItem):
        role: Role = "system" if item.role == "developer" else item.role
        yield ChatMessage(role, _text(index, item))
    elif isinstance(item, ShellCallItem):
        arguments = json.dumps({"command": "\n".join(item.action.commands)})
        yield ChatMessage("assistant", None, (ToolCall(item.call_id, "bash", arguments),))
    elif isinstance(item, ShellOutputItem):
        told = "\n".join(_told(output) for output in item.output)
        yield ChatMessage("tool", told, tool_call_id=item.call_id)


def _told(output: OutputIn) -> str:
    text = (output.stdout + output.stderr).rstrip("\n")
    if output.outcome.type == "timeout":
        return f"[timed out]\n{text}"
    if output.outcome.exit_code:
        return f"[exit code {output.outcome.exit_code}]\n{text}"
    return text or "[no output]"


def _text(index: int, item: MessageItem) -> str:
    if isinstance(item.content, str):
        return item.content
    field = f"input.{index}.content"
    for part in item.content:
        if part.text is None:
            raise Invalid(f"{field}: only text is supported, not {part.type!r}.", field=field)
    return "".join(part.text or "" for part in item.content)
