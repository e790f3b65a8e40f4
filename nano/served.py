"""A model file served by llama.cpp, as the product serves it."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import xllamacpp

from nano.scenario import Step

Message = Mapping[str, Any]
BASH: Message = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Runs a command in a sandbox.",
        "parameters": {
            "type": "object",
            "properties": {"command": {"type": "string"}},
            "required": ["command"],
        },
    },
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said to one conversation.

    Attributes:
        command: What it wants bash to run, or None where it only talks.
        text: What it says.
        tokens: How many it wrote.
        seconds: How long it took, prompt and all.
    """

    command: str | None
    text: str
    tokens: int
    seconds: float


class Served:
    """One model file in memory.

    Args:
        path: The GGUF.
        threads: For llama.cpp; its waiting threads spin, so few.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        settings = xllamacpp.CommonParams()
        settings.model.path = str(path)
        settings.n_ctx = 4096
        settings.n_parallel = 1
        settings.sampling.temp = 0.0
        settings.cpuparams.n_threads = threads
        settings.cpuparams_batch.n_threads = threads
        settings.verbosity = 0
        self._server = xllamacpp.Server(settings)

    def reply(self, messages: Sequence[Message], *, shell: bool = True) -> Reply:
        """Answers one conversation, with or without the bash tool."""
        body: dict[str, Any] = {"messages": list(messages), "max_tokens": 160, "temperature": 0}
        if shell:
            body["tools"] = [BASH]
        started = time.perf_counter()
        answer = self._server.handle_chat_completions(body)
        seconds = time.perf_counter() - started
        if "choices" not in answer:
            return Reply(None, f"error: {answer}", 0, seconds)
        message = answer["choices"][0]["message"]
        command = None
        for call in message.get("tool_calls") or []:
            command = json.loads(call["function"]["arguments"]).get("command")
        written = answer.get("usage", {}).get("completion_tokens", 0)
        return Reply(command, message.get("content") or "", written, seconds)

    def tokens(self, text: str) -> list[int]:
        """Cuts a text as llama.cpp does."""
        found = self._post("/tokenize", {"content": text, "parse_special": True})
        return [int(token) for token in found["tokens"]]

    def prompt(self, messages: Sequence[Message], *, shell: bool = True) -> str:
        """Renders a conversation through the chat template in the file."""
        body: dict[str, Any] = {"messages": list(messages)}
        if shell:
            body["tools"] = [BASH]
        return str(self._post("/apply-template", body)["prompt"])

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        address = self._server.listening_address + path
        request = Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 - loopback
        with urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
            found: dict[str, Any] = json.load(response)
        return found


def user(text: str) -> Message:
    """Makes the message of a request."""
    return {"role": "user", "content": text}


def ran(command: str, told: str) -> list[Message]:
    """Makes the messages of one command and its result."""
    arguments = json.dumps({"command": command})
    call = {"id": "call_1", "type": "function", "function": {"name": "bash", "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": told},
    ]


def after(text: str, steps: Sequence[Step], results: Sequence[str]) -> list[Message]:
    """Makes a conversation up to the result of the last of these steps."""
    messages = [user(text)]
    for step, told in zip(steps, results, strict=True):
        messages += ran(step.command, told)
    return messages
