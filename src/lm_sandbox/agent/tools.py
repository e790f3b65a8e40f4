"""The one tool that a model gets, and how it is told what a command did."""

import json
from collections.abc import Mapping

from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.limits import Limit

BASH_TOOL: Mapping[str, object] = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": (
            "Run a command with bash in an isolated Linux sandbox and read its output. "
            "Files stay between calls. There is no network."
        ),
        "parameters": {
            "type": "object",
            "properties": {"command": {"type": "string", "description": "what bash runs"}},
            "required": ["command"],
        },
    },
}

_NAMES = {
    Limit.MEMORY: "memory limit",
    Limit.PIDS: "process limit",
    Limit.DISK: "disk limit",
    Limit.OUTPUT: "output limit",
}


class BadToolCall(Exception):
    """The model called a tool in a way that cannot be carried out; the message goes back to it."""


def parse_bash_call(name: str, arguments: str) -> str:
    """Reads the command out of a tool call.

    Raises:
        BadToolCall: another tool, arguments that are not JSON, or no command in them.
    """
    if name != "bash":
        raise BadToolCall(f"There is no tool {name!r}; the only tool is 'bash'.")
    try:
        parsed = json.loads(arguments)
    except ValueError as error:
        raise BadToolCall('The arguments are not JSON; send {"command": "..."}.') from error
    command = parsed.get("command") if isinstance(parsed, dict) else None
    if not isinstance(command, str) or not command.strip() or "\0" in command:
        raise BadToolCall('The arguments need a text "command"; send {"command": "..."}.')
    return command


def describe_result(result: CommandResult, timeout_s: float, max_chars: int) -> str:
    """Writes a result for the model: how it ended where that matters, then its output.

    A success is its output, or `[no output]`. Anything else starts with one line in brackets:
    `[exit code 1]`, `[timed out after 30 s]`, `[killed by SIGKILL: memory limit]`.
    """
    output = _text(result.stdout) + _text(result.stderr)
    output = cut_middle(output.rstrip("\n"), max_chars)
    status = describe_end(result, timeout_s)
    if status is None:
        return output or "[no output]"
    return f"[{status}]\n{output}" if output else f"[{status}]"


def cut_middle(text: str, max_chars: int) -> str:
    """Keeps both ends of a text that is too long, with a line that tells what is missing."""
    if len(text) <= max_chars:
        return text
    head, tail = text[: max_chars - max_chars // 2], text[len(text) - max_chars // 2 :]
    missing = len(text[len(head) : len(text) - len(tail)].encode())
    return f"{head}\n[... {missing} bytes left out ...]\n{tail}"


def _text(data: bytes) -> str:
    text = data.decode(errors="replace")
    return text if text.endswith("\n") or not text else text + "\n"


def describe_end(result: CommandResult, timeout_s: float) -> str | None:
    """Says how a command ended where that matters; None after a plain success."""
    limits = ", ".join(_NAMES[limit] for limit in result.limits if limit in _NAMES)
    if result.timed_out:
        return f"timed out after {timeout_s:g} s"
    if result.signal is not None:
        return f"killed by {result.signal}" + (f": {limits}" if limits else "")
    if result.exit_code:
        return f"exit code {result.exit_code}" + (f"; {limits}" if limits else "")
    return limits or None
