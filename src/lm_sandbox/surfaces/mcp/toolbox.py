"""The tools: their names, what models are told of them, and what does the work."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from lm_sandbox.errors import Invalid
from lm_sandbox.surfaces.mcp.arguments import (
    Bash,
    BashOutput,
    BashStop,
    CreateSandbox,
    EditFile,
    ListFiles,
    ReadFile,
    WriteFile,
)
from lm_sandbox.surfaces.mcp.caller import Call
from lm_sandbox.surfaces.mcp.commands import CommandTools
from lm_sandbox.surfaces.mcp.files import FileTools
from lm_sandbox.surfaces.mcp.sandboxes import CallSandboxes
from lm_sandbox.surfaces.mcp.told import Told

INSTRUCTIONS = (
    "These tools work in an isolated Linux sandbox of your own; bash and the file tools share its files, "
    "which stay between calls. /workspace is the working folder. There is no network unless the user has "
    "opened it."
)


KEPT = ("type", "properties", "required", "additionalProperties", "$defs")


@dataclass(frozen=True, slots=True)
class SandboxTool:
    """One tool.

    Attributes:
        name: What it is called by.
        title: For people.
        description: For models.
        takes: Its arguments.
        do: Does it.
        reads_only: Whether it changes nothing.
    """

    name: str
    title: str
    description: str
    takes: type[BaseModel]
    do: Callable[[Call, Any], Awaitable[Told]]
    reads_only: bool = False

    async def call(self, call: Call, arguments: Mapping[str, object]) -> Told:
        """Reads the arguments and does the work.

        Raises:
            Invalid: an argument is wrong; the message names it.
            LmSandboxError: what the work raises.
        """
        try:
            parsed = self.takes.model_validate(arguments)
        except ValidationError as error:
            raise self._invalid(error) from error
        return await self.do(call, parsed)

    def schema(self) -> dict[str, Any]:
        """Returns the JSON schema of its arguments, without what only costs a model's context."""
        schema = self.takes.model_json_schema()
        fields = {name: _plain(field) for name, field in schema["properties"].items()}
        return {key: schema[key] for key in KEPT if key in schema} | {"properties": fields}

    def _invalid(self, error: ValidationError) -> Invalid:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(self.takes.model_fields)
            return Invalid(f"{self.name} takes no {place!r}; it takes {known}.", field=place)
        return Invalid(f"{place}: {first['msg']}.", field=place)


class Toolbox:
    """All tools, by their names."""

    def __init__(self, tools: Iterable[SandboxTool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    @classmethod
    def of(cls, commands: CommandTools, files: FileTools, sandboxes: CallSandboxes) -> Self:
        """Lays out the tools."""
        return cls([*_for_commands(commands), *_for_files(files), _for_sandboxes(sandboxes)])

    def __iter__(self) -> Iterator[SandboxTool]:
        return iter(self._tools.values())

    def get(self, name: str) -> SandboxTool | None:
        """Returns the tool of this name, where there is one."""
        return self._tools.get(name)


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """Says of a field that may be left out no more than what it may be: some hosts know no `anyOf`."""
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    given = kinds[0] if len(kinds) == 1 else {}
    dropped = {"title"} | ({"anyOf", "default"} if given else set())
    return given | {key: value for key, value in field.items() if key not in dropped}


def _for_commands(commands: CommandTools) -> list[SandboxTool]:
    return [
        SandboxTool(
            "bash",
            "Run a command",
            "Run a command with bash in an isolated Linux sandbox and read its output. Each call is a new "
            "bash; files stay. What takes over 45 seconds goes on by itself, and bash_output shows more.",
            Bash,
            commands.bash,
        ),
        SandboxTool(
            "bash_output",
            "Look at a command",
            "Read the output of a command that runs or has ended, and see how it stands.",
            BashOutput,
            commands.output,
            reads_only=True,
        ),
        SandboxTool(
            "bash_stop",
            "Stop a command",
            "End a running command with everything that it started.",
            BashStop,
            commands.stop,
        ),
    ]


def _for_files(files: FileTools) -> list[SandboxTool]:
    return [
        SandboxTool(
            "read_file",
            "Read a file",
            "Read lines of a text file, or look at a picture.",
            ReadFile,
            files.read,
            reads_only=True,
        ),
        SandboxTool(
            "write_file",
            "Write a file",
            "Write a whole file; what was there is replaced, missing folders are made.",
            WriteFile,
            files.write,
        ),
        SandboxTool(
            "edit_file",
            "Edit a file",
            "Replace text in a file. It must be there exactly as often as expected, else nothing is changed.",
            EditFile,
            files.edit,
        ),
        SandboxTool(
            "list_files",
            "List files",
            "List a folder, or find files by a pattern.",
            ListFiles,
            files.list,
            reads_only=True,
        ),
    ]


def _for_sandboxes(sandboxes: CallSandboxes) -> SandboxTool:
    async def create(call: Call, arguments: CreateSandbox) -> Told:
        sandbox = await sandboxes.create(call.principal, arguments.name)
        told = f'[made the sandbox {sandbox.id}; other tools work in it with "sandbox": "{sandbox.id}"]'
        return Told(told, {"sandbox": sandbox.id})

    return SandboxTool(
        "create_sandbox",
        "Make another sandbox",
        "Make another sandbox, apart from your own. You need none to begin with.",
        CreateSandbox,
        create,
    )
