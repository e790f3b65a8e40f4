"""An answer as Anthropic writes it: events in their order, or the whole message; pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from secrets import token_hex
from typing import Any

from lm_sandbox.models.chat import ChatDelta, ToolCallPiece, Usage
from lm_sandbox.surfaces.anthropic.stops import StopScanner
from lm_sandbox.surfaces.unforced import UNFORCED

Json = dict[str, Any]
# Clients send thinking back with its signature; nobody here checks it.
SIGNATURE = "lm-sandbox"


class MessageWriter:
    """Turns what a model says into content blocks.

    Args:
        model: The name by which the client asked.
        thinking: Whether the client wants to see the reasoning.
        stops: What ends the answer.
        max_tokens: How long it may be.
    """

    def __init__(
        self, model: str, *, thinking: bool = True, stops: Sequence[str] = (), max_tokens: int = 0
    ) -> None:
        self._id = f"msg_{token_hex(12)}"
        self._model = model
        self._thinking = thinking
        self._scanner = StopScanner(stops)
        self._max_tokens = max_tokens
        self._blocks: list[Json] = []
        self._calls: dict[int, int] = {}
        self._arguments: dict[int, str] = {}
        self._open: int | None = None
        self._begun = False
        self._usage = Usage()
        self._pieces = 0
        self._finish = ""
        self.stopped_at: str | None = None
        self.unforced = False

    def feed(self, delta: ChatDelta) -> list[Json]:
        """Takes a piece and returns the events that it makes; none after a stop sequence."""
        if delta == ChatDelta() or self.stopped_at is not None:
            return []
        self._count(delta)
        return [*self._begin(), *self._events(delta)]

    def close(self) -> list[Json]:
        """Returns the events that end the message."""
        events = [*self._begin(), *self._text(self._scanner.flush()), *self._close_block()]
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": self.stopped_at}
        events.append(
            {"type": "message_delta", "delta": delta, "usage": self._usage_written(), **self._told()}
        )
        return [*events, {"type": "message_stop"}]

    def message(self) -> Json:
        """Returns the whole message, once it is closed."""
        for index, text in self._arguments.items():
            self._blocks[index]["input"] = _parsed(text)
        return {
            **self._head(),
            "content": self._blocks,
            "stop_reason": self._stop_reason(),
            "stop_sequence": self.stopped_at,
            "usage": self._usage_written(),
            **self._told(),
        }

    def _told(self) -> Mapping[str, object]:
        return UNFORCED if self.unforced else {}

    def _events(self, delta: ChatDelta) -> Iterator[Json]:
        if delta.reasoning and self._thinking:
            yield from self._thought(delta.reasoning)
        if delta.content:
            scanned = self._scanner.feed(delta.content)
            yield from self._text(scanned.text)
            self.stopped_at = scanned.stop
        if delta.call is not None:
            yield from self._call(delta.call)
        if not self._calls:
            for slot, call in enumerate(delta.tool_calls):
                yield from self._call(ToolCallPiece(slot, call.name, call.arguments))
        self._finish = delta.finish_reason or self._finish
        self.unforced = self.unforced or delta.unforced

    def _thought(self, text: str) -> Iterator[Json]:
        if self._current() != "thinking":
            yield from self._start({"type": "thinking", "thinking": "", "signature": ""})
        self._blocks[-1]["thinking"] += text
        yield self._delta({"type": "thinking_delta", "thinking": text})

    def _text(self, text: str) -> Iterator[Json]:
        if not text:
            return
        if self._current() != "text":
            yield from self._start({"type": "text", "text": ""})
        self._blocks[-1]["text"] += text
        yield self._delta({"type": "text_delta", "text": text})

    def _call(self, piece: ToolCallPiece) -> Iterator[Json]:
        if piece.slot not in self._calls:
            yield from self._text(self._scanner.flush())
            block = {"type": "tool_use", "id": f"toolu_{token_hex(12)}", "name": piece.name, "input": {}}
            yield from self._start(block)
            self._calls[piece.slot] = len(self._blocks) - 1
        index = self._calls[piece.slot]
        self._arguments[index] = self._arguments.get(index, "") + piece.arguments
        if piece.arguments:
            delta = {"type": "input_json_delta", "partial_json": piece.arguments}
            yield {"type": "content_block_delta", "index": index, "delta": delta}

    def _start(self, block: Json) -> Iterator[Json]:
        yield from self._close_block()
        self._blocks.append(block)
        self._open = len(self._blocks) - 1
        # Of a copy, as the block goes on growing.
        yield {"type": "content_block_start", "index": self._open, "content_block": dict(block)}

    def _delta(self, delta: Json) -> Json:
        return {"type": "content_block_delta", "index": self._open, "delta": delta}

    def _close_block(self) -> Iterator[Json]:
        if self._open is None:
            return
        if self._current() == "thinking":
            self._blocks[self._open]["signature"] = SIGNATURE
            yield self._delta({"type": "signature_delta", "signature": SIGNATURE})
        yield {"type": "content_block_stop", "index": self._open}
        self._open = None

    def _current(self) -> str | None:
        return None if self._open is None else str(self._blocks[self._open]["type"])

    def _begin(self) -> list[Json]:
        if self._begun:
            return []
        self._begun = True
        message = {**self._head(), "content": [], "stop_reason": None, "stop_sequence": None}
        usage = self._usage_written() | {"output_tokens": 0}
        return [{"type": "message_start", "message": message | {"usage": usage}}]

    def _head(self) -> Json:
        return {"id": self._id, "type": "message", "role": "assistant", "model": self._model}

    def _count(self, delta: ChatDelta) -> None:
        self._pieces += bool(delta.content or delta.reasoning or delta.call)
        # Where the engine does not count as it goes, a piece is a token, until it tells at the end.
        self._usage = delta.usage or Usage(self._usage.prompt_tokens, self._pieces)

    def _usage_written(self) -> Json:
        return {
            "input_tokens": self._usage.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": self._usage.completion_tokens,
        }

    def _stop_reason(self) -> str:
        if self.stopped_at is not None:
            return "stop_sequence"
        if self._finish == "length":
            full = 0 < self._usage.completion_tokens < self._max_tokens
            return "model_context_window_exceeded" if full else "max_tokens"
        return "tool_use" if self._calls else "end_turn"


def _parsed(arguments: str) -> Json:
    """Reads a call's arguments; what is no object goes to the client's own check by a name of ours."""
    try:
        parsed = json.loads(arguments or "{}")
    except ValueError:
        return {"malformed_arguments": arguments}
    return parsed if isinstance(parsed, dict) else {"malformed_arguments": arguments}
