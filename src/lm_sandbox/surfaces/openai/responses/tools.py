"""The tools of a request, and which of them the model may use."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from lm_sandbox.agent.request import Consent
from lm_sandbox.agent.tools import BASH
from lm_sandbox.errors import Invalid
from lm_sandbox.surfaces.openai.containers.schemas import MOST_SKILLS, ContainerSpec
from lm_sandbox.surfaces.openai.containers.skills import LocalSkill

FunctionSpec = dict[str, object]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class ContainerAuto(ContainerSpec):
    """A sandbox of its own for this conversation."""

    type: Literal["container_auto"]


class ContainerReference(_Open):
    """A sandbox that exists."""

    type: Literal["container_reference"]
    container_id: str


class Local(_Open):
    """The client runs the commands itself."""

    type: Literal["local"]
    skills: list[LocalSkill] = Field(default_factory=list, max_length=MOST_SKILLS)


Environment = Annotated[ContainerAuto | ContainerReference | Local, Field(discriminator="type")]


class ShellTool(_Open):
    """The hosted shell; with `require_approval` each command waits until the client agrees."""

    type: Literal["shell"]
    environment: Environment | None = None
    require_approval: Literal["always", "never"] = "never"

    @property
    def consent(self) -> Consent:
        """What happens when the model asks for a command."""
        if isinstance(self.environment, Local):
            return Consent.HANDED_OVER
        return Consent.ASKED if self.require_approval == "always" else Consent.GIVEN


class FunctionTool(_Open):
    """A tool of the client's own."""

    type: Literal["function"]
    name: str = Field(min_length=1, max_length=128, pattern=r"^[\w.-]+$")
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def to_chat(self) -> FunctionSpec:
        """Describes it as chat completions do."""
        empty: dict[str, object] = {"type": "object", "properties": {}}
        described = {"name": self.name, "parameters": self.parameters or empty}
        if self.description:
            described["description"] = self.description
        return {"type": "function", "function": described}


class OtherTool(_Open):
    """A tool that does not run here; the model is not told of it."""

    type: str


def _kind(value: object) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if kind in {"shell", "function"} else "other"


Tool = Annotated[
    Annotated[ShellTool, Tag("shell")]
    | Annotated[FunctionTool, Tag("function")]
    | Annotated[OtherTool, Tag("other")],
    Discriminator(_kind),
]


class Choice(_Open):
    """A tool that must be used, or those that may be."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required"] = "auto"
    tools: list[dict[str, Any]] = Field(default_factory=list)


ToolChoice = Literal["none", "auto", "required"] | Choice


class Toolset:
    """The tools that the model gets.

    Args:
        tools: All that the client names.
        choice: Which of them may, or must, be used.

    Raises:
        Invalid: the choice names a tool that is not there, or two tools share a name.
    """

    def __init__(self, tools: list[Tool], choice: ToolChoice) -> None:
        shells = [tool for tool in tools if isinstance(tool, ShellTool)]
        functions = [tool for tool in tools if isinstance(tool, FunctionTool)]
        names = [tool.name for tool in functions] + [BASH for _ in shells]
        if len(set(names)) < len(names):
            raise Invalid("tools: two tools have the same name; the shell's is 'bash'.", field="tools")
        allowed = self._allowed(choice, names)
        self.shell = shells[0] if shells and BASH in allowed else None
        self.functions = [tool.to_chat() for tool in functions if tool.name in allowed]
        self.choice = _chat_choice(choice)

    @staticmethod
    def _allowed(choice: ToolChoice, names: list[str]) -> set[str]:
        if choice == "none":
            return set()
        if isinstance(choice, str):
            return set(names)
        wanted = [choice.model_dump()] if choice.type != "allowed_tools" else choice.tools
        chosen = {_name(tool) for tool in wanted}
        for name in chosen:
            if name not in names:
                raise Invalid(f"tool_choice: there is no tool {name!r} among the tools.", field="tool_choice")
        return chosen if choice.type == "allowed_tools" else set(names)


def _name(tool: dict[str, Any]) -> str:
    return BASH if tool.get("type") == "shell" else str(tool.get("name") or tool.get("type"))


def _chat_choice(choice: ToolChoice) -> object:
    if isinstance(choice, str):
        return None if choice == "auto" else choice
    if choice.type == "allowed_tools":
        return None if choice.mode == "auto" else choice.mode
    return {"type": "function", "function": {"name": _name(choice.model_dump())}}
