"""The items that a client sends: what was said and done so far."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter


class _Open(BaseModel):
    """Agents send fields that we do not know; they are no error."""

    model_config = ConfigDict(extra="allow")


class Part(_Open):
    """A piece of a message: a text or a picture."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_id: str | None = None


class MessageItem(_Open):
    """A message; the type may be left out."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]


class FunctionCallItem(_Open):
    """An earlier call of one of the client's own tools."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class FunctionOutputItem(_Open):
    """What one of the client's own tools gave."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[Part]


class Action(_Open):
    """What a shell call ran."""

    commands: list[str]


class ShellCallItem(_Open):
    """An earlier call of the shell."""

    type: Literal["shell_call"]
    call_id: str
    action: Action
    environment: dict[str, Any] | None = None

    @property
    def is_hosted(self) -> bool:
        """Whether it ran here."""
        return (self.environment or {}).get("type") == "container_reference"

    @property
    def arguments(self) -> str:
        """The call as the model made it."""
        return json.dumps({"command": "\n".join(self.action.commands)})


class OutcomeIn(_Open):
    """How an earlier command ended."""

    type: Literal["exit", "timeout"]
    exit_code: int = 0


class OutputIn(_Open):
    """What an earlier command wrote."""

    stdout: str = ""
    stderr: str = ""
    outcome: OutcomeIn

    @property
    def told(self) -> str:
        """What the model gets to see of it."""
        text = (self.stdout + self.stderr).rstrip("\n")
        if self.outcome.type == "timeout":
            return f"[timed out]\n{text}"
        if self.outcome.exit_code:
            return f"[exit code {self.outcome.exit_code}]\n{text}"
        return text or "[no output]"


class ShellOutputItem(_Open):
    """What an earlier call of the shell gave."""

    type: Literal["shell_call_output"]
    call_id: str
    output: list[OutputIn]


class ReasoningItem(_Open):
    """Earlier reasoning, which a local model is not shown again."""

    type: Literal["reasoning"]


class ApprovalRequestItem(_Open):
    """A command that awaited its approval."""

    type: Literal["mcp_approval_request"]
    id: str
    name: str
    arguments: str


class ApprovalResponseItem(_Open):
    """Whether it may be run."""

    type: Literal["mcp_approval_response"]
    approval_request_id: str
    approve: bool
    reason: str | None = None


class CompactionItem(_Open):
    """What stands for an earlier part of the conversation."""

    type: Literal["compaction"]
    encrypted_content: str


class OtherItem(_Open):
    """An item of a tool that does not run here; the model is not shown it."""

    type: str


def _kind(value: object) -> str:
    kind = value.get("type", "message") if isinstance(value, dict) else getattr(value, "type", "message")
    return kind if kind in _KNOWN else "other"


_KNOWN = frozenset(
    {
        "message",
        "function_call",
        "function_call_output",
        "shell_call",
        "shell_call_output",
        "reasoning",
        "mcp_approval_request",
        "mcp_approval_response",
        "compaction",
    }
)

Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionOutputItem, Tag("function_call_output")]
    | Annotated[ShellCallItem, Tag("shell_call")]
    | Annotated[ShellOutputItem, Tag("shell_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[ApprovalRequestItem, Tag("mcp_approval_request")]
    | Annotated[ApprovalResponseItem, Tag("mcp_approval_response")]
    | Annotated[CompactionItem, Tag("compaction")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(_kind),
]
ITEMS: TypeAdapter[list[Item]] = TypeAdapter(Annotated[list[Item], Field(max_length=100_000)])
