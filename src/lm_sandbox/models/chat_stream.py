"""Reads a streamed chat completion: server-sent events with OpenAI's chunks."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lm_sandbox.errors import EngineUnavailable, UpstreamError
from lm_sandbox.models.chat import ChatDelta, ToolCall, ToolCallPiece, Usage

DONE = "[DONE]"


class ChatStream:
    """Takes the lines of a stream and gives what they add; forgives lines that make no sense."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}
        self._finish_reason: str | None = None
        self._usage: Usage | None = None

    def feed(self, line: str) -> Iterator[ChatDelta]:
        """Takes one line.

        Raises:
            UpstreamError: the line tells of an error.
        """
        if not line.startswith("data:"):
            return
        data = line[len("data:") :].strip()
        if data == DONE:
            return
        try:
            chunk: Any = json.loads(data)
        except ValueError:
            return
        if isinstance(chunk, dict):
            yield from self._chunk(chunk)

    def end(self) -> ChatDelta:
        """Returns the last delta.

        Raises:
            EngineUnavailable: the stream broke off before it was finished.
        """
        if self._finish_reason is None:
            raise EngineUnavailable("The engine broke off in the middle of its answer; try again.")
        calls = tuple(
            ToolCall(call["id"] or f"call_{index}", call["name"], call["arguments"])
            for index, call in sorted(self._calls.items())
        )
        return ChatDelta(tool_calls=calls, finish_reason=self._finish_reason, usage=self._usage)

    def _chunk(self, chunk: dict[str, Any]) -> Iterator[ChatDelta]:
        if "error" in chunk:
            error = chunk["error"]
            message = error.get("message") if isinstance(error, dict) else error
            raise UpstreamError(f"The engine failed while it answered: {message}")
        self._usage = usage_of(chunk) or self._usage
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            yield from self._choice(choices[0])

    def _choice(self, choice: dict[str, Any]) -> Iterator[ChatDelta]:
        if isinstance(choice.get("finish_reason"), str):
            self._finish_reason = choice["finish_reason"]
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = {"content": choice.get("text")}  # A completion without messages.
        content, reasoning = _text(delta, "content"), _text(delta, "reasoning_content")
        reasoning = reasoning or _text(delta, "reasoning")
        if content or reasoning:
            yield ChatDelta(content=content, reasoning=reasoning, usage=self._usage)
        for call in delta.get("tool_calls") or ():
            if isinstance(call, dict):
                yield ChatDelta(call=self._add_call(call), usage=self._usage)

    def _add_call(self, piece: dict[str, Any]) -> ToolCallPiece:
        index = piece.get("index")
        slot = index if isinstance(index, int) else len(self._calls)
        call = self._calls.setdefault(slot, {"id": "", "name": "", "arguments": ""})
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        call["id"] = call["id"] or _text(piece, "id")
        call["name"] = call["name"] or _text(function, "name")
        arguments = _text(function, "arguments")
        call["arguments"] += arguments
        return ToolCallPiece(slot, call["name"], arguments)


def usage_of(chunk: Mapping[str, Any]) -> Usage | None:
    """Reads what a chunk took so far: OpenAI's usage, or llama.cpp's timings."""
    usage, timings = chunk.get("usage"), chunk.get("timings")
    if isinstance(usage, dict):
        return Usage(_count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))
    if isinstance(timings, dict):
        prompt = _count(timings, "prompt_n") + _count(timings, "cache_n")
        return Usage(prompt, _count(timings, "predicted_n"))
    return None


def _text(mapping: dict[str, Any], key: str) -> str:
    value = mapping.get(key)
    return value if isinstance(value, str) else ""


def _count(mapping: Mapping[str, Any], key: str) -> int:
    value = mapping.get(key)
    return value if isinstance(value, int) else 0
