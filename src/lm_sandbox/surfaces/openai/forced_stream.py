"""A streamed chat completion that must call a tool, held back while it only talks. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lm_sandbox.models.chat import ToolCall, Usage
from lm_sandbox.models.chat_stream import usage_of
from lm_sandbox.models.forcing import Forced
from lm_sandbox.surfaces.streams import sse
from lm_sandbox.surfaces.unforced import UNFORCED

Chunk = dict[str, Any]
END = b"\n\n"
DATA = b"data:"
DONE = b"data: [DONE]\n\n"


class ForcedStream:
    """Takes the bytes of a stream and gives those that can be passed on.

    Args:
        forced: The tools of which one must be called.

    Attributes:
        called: Whether the model has called one.
        cut: Whether it came to the end of the tokens that it may write.
        usage: What it took, as far as the engine told.
    """

    def __init__(self, forced: Forced) -> None:
        self.called = False
        self.cut = False
        self.usage = Usage()
        self._forced = forced
        self._rest = b""
        self._held: list[bytes] = []
        self._head: Chunk = {}

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Takes the next bytes and yields whole events."""
        *events, self._rest = (self._rest + piece).split(END)
        for event in events:
            yield from self._event(event + END)

    def words(self) -> Iterator[bytes]:
        """Yields what was held back, which says that the choice was not honoured."""
        for event in self._held:
            chunk = _chunk(event)
            ends = chunk is not None and any(c.get("finish_reason") for c in _choices(chunk))
            yield sse({**chunk, **UNFORCED}) if chunk is not None and ends else event

    def call(self, call: ToolCall, usage: Usage | None) -> Iterator[bytes]:
        """Yields a call in the place of what was held back; with the usage where it is wanted."""
        head: Chunk = {name: self._head[name] for name in ("id", "created", "model") if name in self._head}
        head["object"] = "chat.completion.chunk"
        told = {"index": 0, **called(call)}
        yield sse({**head, "choices": [_choice({"tool_calls": [told]}, None)]})
        yield sse({**head, "choices": [_choice({}, "tool_calls")]})
        if usage is not None:
            yield sse({**head, "choices": [], "usage": written(usage)})
        yield DONE

    def _event(self, event: bytes) -> Iterator[bytes]:
        chunk = _chunk(event)
        if chunk is not None:
            self._look(chunk)
        if self.called:
            yield from self._held
            self._held = []
            yield event
        elif self._held or chunk is None or not _only_begins(chunk):
            self._held.append(event)
        else:
            yield event

    def _look(self, chunk: Chunk) -> None:
        self._head = self._head or chunk
        self.usage = usage_of(chunk) or self.usage
        for choice in _choices(chunk):
            self.cut = self.cut or choice.get("finish_reason") == "length"
            self.called = self.called or self._forced.obeyed(names_in(choice.get("delta")))


def names_in(message: object) -> Iterable[str]:
    """Returns the names of the tools that a message calls, or begins to."""
    calls = message.get("tool_calls") if isinstance(message, Mapping) else None
    functions = [call.get("function") for call in calls or () if isinstance(call, Mapping)]
    names = [function.get("name") for function in functions if isinstance(function, Mapping)]
    return [name for name in names if isinstance(name, str)]


def called(call: ToolCall) -> Chunk:
    """Writes a call as messages have them."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def written(usage: Usage) -> dict[str, int]:
    """Writes what an answer took."""
    total = usage.prompt_tokens + usage.completion_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": total,
    }


def _chunk(event: bytes) -> Chunk | None:
    data = event.strip().removeprefix(DATA)
    try:
        chunk: Any = json.loads(data)
    except ValueError:
        return None
    return chunk if isinstance(chunk, dict) else None


def _choices(chunk: Chunk) -> list[Chunk]:
    choices = chunk.get("choices")
    return [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []


def _only_begins(chunk: Chunk) -> bool:
    """Whether a chunk says nothing yet, or only thinks."""
    choices = _choices(chunk)
    return bool(choices) and all(
        not choice.get("finish_reason")
        and not (choice.get("delta") or {}).get("content")
        and not (choice.get("delta") or {}).get("tool_calls")
        for choice in choices
    )


def _choice(delta: Chunk, finish: str | None) -> Chunk:
    return {"index": 0, "delta": delta, "finish_reason": finish}
