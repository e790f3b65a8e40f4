"""An answer as Ollama writes it, with its durations in nanoseconds; pure but for the clock."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter_ns
from typing import Any, Literal

from lm_sandbox.models.chat import ChatDelta, ToolCall, Usage
from lm_sandbox.surfaces.ollama.wire import Kind

Json = dict[str, Any]


class Answer:
    """Turns what a model says into lines, and counts.

    Args:
        model: The name by which the client asked.
        kind: Whether a message or a bare text is answered with.
        thinking: Whether the client wants to see the reasoning.
        clock: Nanoseconds that only go up.
    """

    def __init__(
        self,
        model: str,
        kind: Kind,
        *,
        thinking: bool = True,
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        self._model = model
        self._kind = kind
        self._thinking = thinking
        self._clock = clock
        self._begun = clock()
        self._ready: int | None = None
        self._first: int | None = None
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[Json] = []

    def lines(self, delta: ChatDelta) -> list[Json]:
        """Returns the lines that a piece makes; the last of all has `done`."""
        now = self._clock()
        if self._ready is None:
            self._ready = now
        text, calls = _split(delta)
        thoughts = delta.reasoning if self._thinking else ""
        if self._first is None and (text or delta.reasoning or calls):
            self._first = now
        lines = []
        if text or thoughts or calls:
            self._text.append(text)
            self._thoughts.append(thoughts)
            self._calls += calls
            lines.append(self._line(text, thoughts, calls))
        if delta.finish_reason is not None:
            lines.append(self._line("", "", []) | self._end(delta.finish_reason, delta.usage, now))
        return lines

    def whole(self, last: Json) -> Json:
        """Returns all of it as one object, from its last line."""
        return last | self._said("".join(self._text), "".join(self._thoughts), self._calls)

    def loaded(self, reason: Literal["load", "unload"]) -> Json:
        """Returns what a request is answered with that only loads or unloads."""
        return self._line("", "", []) | {"done": True, "done_reason": reason}

    def _line(self, text: str, thoughts: str, calls: list[Json]) -> Json:
        return {
            "model": self._model,
            "created_at": now_written(),
            **self._said(text, thoughts, calls),
            "done": False,
        }

    def _said(self, text: str, thoughts: str, calls: list[Json]) -> Json:
        more: Json = {"thinking": thoughts} if thoughts else {}
        if self._kind == "generate":
            return {"response": text, **more}
        more |= {"tool_calls": calls} if calls else {}
        return {"message": {"role": "assistant", "content": text, **more}}

    def _end(self, reason: str, usage: Usage | None, now: int) -> Json:
        ready = self._ready or now
        first = self._first or now
        usage = usage or Usage()
        return {
            "done": True,
            "done_reason": "length" if reason == "length" else "stop",
            "total_duration": now - self._begun,
            "load_duration": ready - self._begun,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": first - ready,
            "eval_count": usage.completion_tokens,
            "eval_duration": now - first,
        }


def now_written() -> str:
    """The time as Go writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _split(delta: ChatDelta) -> tuple[str, list[Json]]:
    """Returns the text and the calls; a call that makes no sense is text, as it is for Ollama."""
    text = delta.content
    calls: list[Json] = []
    for call in delta.tool_calls:
        arguments = _arguments(call)
        if arguments is None:
            text += f"{call.name}: {call.arguments}"
        else:
            function = {"index": len(calls), "name": call.name, "arguments": arguments}
            calls.append({"id": call.id, "function": function})
    return text, calls


def _arguments(call: ToolCall) -> Json | None:
    try:
        parsed = json.loads(call.arguments or "{}")
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
