"""The items of a response, in the shapes of the official SDK's types."""

import json
from secrets import token_hex

from lm_sandbox.sandboxes.commands import CommandResult

Item = dict[str, object]

PREFIXES = {"message": "msg", "function_call_output": "fco", "shell_call_output": "sho"}
SIGNAL_EXIT = 137  # What a shell reports for SIGKILL; the API knows no signals.


def message(item_id: str, text: str, status: str) -> Item:
    """An assistant's message."""
    content = [text_part(text)] if status != "in_progress" else []
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def text_part(text: str) -> Item:
    """The text of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def reasoning(item_id: str, text: str, status: str) -> Item:
    """What the model thought."""
    content = [{"type": "reasoning_text", "text": text}] if status != "in_progress" else []
    return {
        "id": item_id,
        "type": "reasoning",
        "summary": [],
        "content": content,
        "status": status,
    }


def shell_call(item_id: str, call_id: str, action: Item, environment: Item, status: str) -> Item:
    """Commands that the model asked for."""
    return {
        "id": item_id,
        "type": "shell_call",
        "call_id": call_id,
        "status": status,
        "action": action,
        "environment": environment,
        "caller": {"type": "direct"},
    }


def action(commands: list[str], timeout_s: float | None = None) -> Item:
    """What a shell call runs."""
    timeout_ms = None if timeout_s is None else round(timeout_s * 1000)
    return {"commands": commands, "timeout_ms": timeout_ms, "max_output_length": None}


def in_container(sandbox_id: str) -> Item:
    """The environment of a command that is run here."""
    return {"type": "container_reference", "container_id": sandbox_id}


def function_call(item_id: str, call_id: str, name: str, arguments: str, status: str) -> Item:
    """A call of one of the client's own tools."""
    return {
        "id": item_id,
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": status,
    }


def approval_request(call_id: str, command: str) -> Item:
    """A command that waits for the client's approval."""
    return {
        "id": call_id,
        "type": "mcp_approval_request",
        "name": "bash",
        "arguments": json.dumps({"command": command}),
        "server_label": "shell",
    }


def shell_output(item_id: str, call_id: str, output: list[Item], status: str) -> Item:
    """What a command gave."""
    return {
        "id": item_id,
        "type": "shell_call_output",
        "call_id": call_id,
        "status": status,
        "max_output_length": None,
        "output": output,
        "caller": {"type": "direct"},
    }


def output_content(result: CommandResult) -> Item:
    """The streams of a command and how it ended; `limits` and `duration_ms` are ours."""
    outcome: Item = {"type": "timeout"}
    if not result.timed_out:
        code = SIGNAL_EXIT if result.exit_code is None else result.exit_code
        outcome = {"type": "exit", "exit_code": code}
    return {
        "stdout": result.stdout.decode(errors="replace"),
        "stderr": result.stderr.decode(errors="replace"),
        "outcome": outcome,
        "limits": [limit.value for limit in result.limits],
        "duration_ms": result.duration_ms,
    }


def new_id(prefix: str) -> str:
    """Makes an id."""
    return f"{prefix}_{token_hex(16)}"


def named_item(item: Item) -> Item:
    """Writes an input item with an id, and a message with parts."""
    if item["type"] == "message" and isinstance(item["content"], str):
        part: Item = {"type": "input_text", "text": item["content"]}
        item = {**item, "content": [text_part(item["content"]) if item["role"] == "assistant" else part]}
    if "id" in item:
        return item
    return {"id": new_id(PREFIXES.get(str(item["type"]), "item")), "status": "completed", **item}
