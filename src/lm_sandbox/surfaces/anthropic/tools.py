"""Anthropic's tools as a model is told of them; pure."""

from collections.abc import Mapping, Sequence

from lm_sandbox.errors import Invalid
from lm_sandbox.surfaces.anthropic.wire import ToolChoice, ToolIn

Tool = dict[str, object]

# Those that the client runs, but whose schemas only Anthropic's own models know.
_BASH = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "description": "what bash runs"},
        "restart": {"type": "boolean", "description": "start bash anew"},
    },
}
_EDITOR = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
        "path": {"type": "string", "description": "an absolute path"},
        "file_text": {"type": "string", "description": "for create: what the file holds"},
        "old_str": {"type": "string", "description": "for str_replace: text that is there once"},
        "new_str": {"type": "string", "description": "for str_replace: what comes in its place"},
        "insert_line": {"type": "integer", "description": "for insert: after which line"},
        "insert_text": {"type": "string", "description": "for insert: what is inserted"},
        "view_range": {"type": "array", "items": {"type": "integer"}, "description": "for view: two lines"},
    },
    "required": ["command", "path"],
}
_KNOWN = {
    "bash_": ("bash", "Run a command in a bash that stays.", _BASH),
    "text_editor_": ("str_replace_based_edit_tool", "View, create and edit files.", _EDITOR),
}


def offered(tools: Sequence[ToolIn], choice: ToolChoice | None) -> tuple[list[Tool], list[str]]:
    """Translates tools, and names those that nothing here runs, which the model is not told of.

    Raises:
        Invalid: a tool has no schema, or one is chosen that is not there.
    """
    found: list[Tool] = []
    left_out: list[str] = []
    for index, tool in enumerate(tools):
        translated = _translated(index, tool)
        if translated is None:
            left_out.append(f"tools.{tool.type}")
        elif choice is None or choice.type != "tool" or choice.name == tool.name:
            found.append(translated)
    if choice is not None and choice.type == "tool" and not found:
        raise Invalid(f"tool_choice: there is no tool {choice.name!r}.", field="tool_choice.name")
    return found, left_out


def choice_of(choice: ToolChoice | None) -> dict[str, object]:
    """Translates whether tools are to be used; where one is chosen, it is the only one offered."""
    if choice is None:
        return {}
    wire: dict[str, object] = {
        "tool_choice": {"any": "required", "tool": "required"}.get(choice.type, choice.type)
    }
    if choice.disable_parallel_tool_use:
        wire["parallel_tool_calls"] = False
    return wire


def _translated(index: int, tool: ToolIn) -> Tool | None:
    if tool.type in {None, "custom"}:
        if not tool.name or tool.input_schema is None:
            raise Invalid(f"tools.{index} needs a name and an input_schema.", field=f"tools.{index}")
        return _function(tool.name, tool.description or "", tool.input_schema)
    for start, (name, description, schema) in _KNOWN.items():
        if (tool.type or "").startswith(start):
            return _function(tool.name or name, description, schema)
    return None


def _function(name: str, description: str, schema: Mapping[str, object]) -> Tool:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
