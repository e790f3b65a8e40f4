"""A tool that must be called, where asking for it is not enough: how a model is left no other choice.

Engines take a `tool_choice` and small models answer with words all the same. What cannot be disobeyed is a
schema for the answer: so a model that did not call is asked again, first for a tool where there are several,
then for the arguments of that tool, each as JSON of a schema, and its answers are made a call. Pure.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from lm_sandbox.models.chat import ToolCall

Json = Mapping[str, Any]
WHICH = 'Call one of these tools now:\n{tools}\nAnswer with its name alone, as JSON: {{"name": "..."}}'
HOW = "Call the tool {name} now. {description}\nAnswer with its arguments alone, as JSON: {schema}"
# A function without parameters takes none; whatever else a model may make up has no end.
NOTHING: Json = {"type": "object", "properties": {}, "additionalProperties": False}
LENGTHS = ("max_tokens", "max_completion_tokens")
# A schema may leave a text open, and a weak model finds no end of one.
MOST_TOKENS = 1024
# What belongs to tools or to the form of an answer has no place where the form is a schema.
DROPPED = frozenset(
    {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"}
    | {"stream", "stream_options", "logprobs", "top_logprobs", "n", "stop", "grammar", "json_schema"}
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked in addition, and the schema of what it may answer."""

    text: str
    schema: Json


@dataclass(frozen=True, slots=True)
class Forced:
    """The tools of which one must be called.

    Attributes:
        tools: Their functions, by name, in the shape of chat completions.
    """

    tools: Mapping[str, Json]

    @classmethod
    def of(cls, request: Json) -> "Forced | None":
        """Tells which tools a chat completion must call; None where it may answer with words."""
        choice, offered = request.get("tool_choice"), _functions(request.get("tools"))
        if choice == "required" and offered:
            return cls(offered)
        name = _named(choice)
        return cls({name: offered[name]}) if name in offered else None

    @classmethod
    def any_of(cls, tools: Sequence[Json]) -> "Forced | None":
        """Takes all the tools of a request; None where it has none."""
        offered = _functions(list(tools))
        return cls(offered) if offered else None

    def obeyed(self, names: Iterable[str]) -> bool:
        """Whether calls of these tools are what was wanted."""
        called = list(names)
        return bool(called) and all(name in self.tools for name in called)

    def which(self) -> Question:
        """Asks for one of the tools."""
        told = "\n".join(f"- {name}: {_description(function)}" for name, function in self.tools.items())
        name = {"type": "string", "enum": list(self.tools)}
        schema = {"type": "object", "properties": {"name": name}, "required": ["name"]}
        return Question(WHICH.format(tools=told), schema)

    def how(self, name: str) -> Question:
        """Asks for the arguments of a tool."""
        function = self.tools[name]
        schema = function.get("parameters") or NOTHING
        text = HOW.format(name=name, description=_description(function), schema=json.dumps(schema))
        return Question(text, schema)


def constrained(request: Json, question: Question) -> dict[str, object]:
    """Returns the chat completion that asks this question after the same conversation."""
    kept = {name: value for name, value in request.items() if name not in DROPPED}
    schema = {"name": "call", "strict": True, "schema": question.schema}
    least = min([MOST_TOKENS, *(most for most in map(kept.get, LENGTHS) if isinstance(most, int))])
    return {
        **{name: value for name, value in kept.items() if name not in LENGTHS},
        "max_tokens": least,
        "messages": _asked(request["messages"], question.text),
        "response_format": {"type": "json_schema", "json_schema": schema},
    }


def name_in(text: str, forced: Forced) -> str | None:
    """Reads which tool an answer names."""
    parsed = _parsed(text)
    name = parsed.get("name") if parsed is not None else None
    return name if isinstance(name, str) and name in forced.tools else None


def call_in(text: str, name: str) -> ToolCall | None:
    """Reads a call of a tool from an answer with its arguments."""
    parsed = _parsed(text)
    return None if parsed is None else ToolCall(f"call_{uuid4().hex[:24]}", name, json.dumps(parsed))


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _asked(messages: Sequence[Json], text: str) -> list[Json]:
    """Adds a question; many templates bear no two messages of a user in a row."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    if last.get("role") != "user":
        return [*messages, {"role": "user", "content": text}]
    if isinstance(content, list):
        return [*messages[:-1], {**last, "content": [*content, {"type": "text", "text": f"\n\n{text}"}]}]
    return [*messages[:-1], {**last, "content": f"{content or ''}\n\n{text}"}]


def _functions(tools: object) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            found[function["name"]] = function
    return found


def _named(choice: object) -> str:
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""


def _description(function: Json) -> str:
    return str(function.get("description") or "")
