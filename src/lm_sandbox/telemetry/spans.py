"""What happens as spans of a trace, named and described by OpenTelemetry's semantic conventions (1.37).

Never prompts, answers, texts of commands, paths or names that a caller chose.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lm_sandbox.telemetry.happenings import (
    CommandEnded,
    Happening,
    ModelUsed,
    RequestEnded,
    RunEnded,
    SandboxMade,
    ToolCalled,
)
from lm_sandbox.telemetry.places import Place

FIRST_SERVER_ERROR = 500
NANOSECONDS_IN_S, NANOSECONDS_IN_MS = 1_000_000_000, 1_000_000
OPERATIONS = {"chat": "chat", "embedding": "embeddings"}
FINE = frozenset({"ok", "answered", "callers_turn", "heard_enough", "proposed"})
# These are their span themselves; what else happens has one within it.
OWNERS = (RequestEnded, RunEnded, ToolCalled)

Attributes = Mapping[str, str | int | float | bool]


class SpanKind(StrEnum):
    """Which end of a call a span is."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Span:
    """One span.

    Attributes:
        place: Its ids.
        name: Of a bounded number of names.
        kind: Which end of a call it is.
        started_ns: Since 1970.
        ended_ns: Since 1970.
        attributes: What is known of it.
        error: What went wrong, from a bounded number of codes; empty where nothing did.
    """

    place: Place
    name: str
    kind: SpanKind
    started_ns: int
    ended_ns: int
    attributes: Attributes
    error: str = ""


def span_of(happening: Happening) -> Span | None:  # noqa: PLR0911, C901 - one a kind
    """Renders what happened; None for what is not a part of a trace."""
    place = happening.origin.place
    if place is None:
        return None
    if not isinstance(happening, OWNERS):
        place = Place(place.trace, secrets.token_hex(8), place.span, place.sampled)
    match happening:
        case RequestEnded():
            return _request(happening, place)
        case ModelUsed():
            return _model(happening, place)
        case RunEnded():
            return _run(happening, place)
        case ToolCalled():
            return _tool(happening, place)
        case CommandEnded():
            return _command(happening, place)
        case SandboxMade():
            made = {"lm_sandbox.sandbox": happening.sandbox, "lm_sandbox.driver": happening.driver}
            return _within(happening, place, "make sandbox", made, happening.outcome)
    return None


def is_sampled(place: Place, share: float) -> bool:
    """Whether a trace is recorded: as its caller does, else by its id, so that all servers agree."""
    if place.sampled is not None:
        return place.sampled
    return int(place.trace[16:], 16) < share * 2**64


def _request(ended: RequestEnded, place: Place) -> Span:
    failed = ended.status >= FIRST_SERVER_ERROR
    attributes: dict[str, str | int | float | bool] = {
        "http.request.method": ended.method,
        "http.route": ended.route,
        "http.response.status_code": ended.status,
        "client.address": ended.origin.address,
        "user.id": ended.who,
        "lm_sandbox.request_id": ended.origin.request_id,
    }
    name = f"{ended.method} {ended.route}"
    return _span(ended, place, name, SpanKind.SERVER, attributes, ended.code or "500" if failed else "")


def _model(used: ModelUsed, place: Place) -> Span:
    operation = OPERATIONS.get(used.kind, used.kind)
    attributes: dict[str, str | int | float | bool] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": used.engine,
        "gen_ai.request.model": used.model,
        "lm_sandbox.waited_ms": round(used.waited_ms, 3),
    }
    if used.first_ms is not None:
        attributes["lm_sandbox.first_token_ms"] = round(used.first_ms, 3)
    if used.prompt_tokens is not None:
        attributes["gen_ai.usage.input_tokens"] = used.prompt_tokens
    if used.completion_tokens is not None:
        attributes["gen_ai.usage.output_tokens"] = used.completion_tokens
    error = "" if used.outcome in FINE else used.outcome
    whole = used.waited_ms + used.duration_ms
    name = f"{operation} {used.model}"
    return _span(used, place, name, SpanKind.CLIENT, attributes, error, whole)


def _run(ended: RunEnded, place: Place) -> Span:
    attributes: Attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "lm-sandbox",
        "gen_ai.request.model": ended.model,
        "gen_ai.usage.input_tokens": ended.prompt_tokens,
        "gen_ai.usage.output_tokens": ended.completion_tokens,
        "lm_sandbox.run.steps": ended.steps,
        "lm_sandbox.run.end_reason": ended.outcome,
    }
    return _within(ended, place, "invoke_agent lm-sandbox", attributes, ended.outcome)


def _tool(called: ToolCalled, place: Place) -> Span:
    attributes: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": called.tool,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": called.call,
    }
    return _within(called, place, f"execute_tool {called.tool}", attributes, called.outcome)


def _command(ended: CommandEnded, place: Place) -> Span:
    attributes: dict[str, str | int | float | bool] = {
        "lm_sandbox.sandbox": ended.sandbox,
        "lm_sandbox.command": ended.command,
        "lm_sandbox.driver": ended.driver,
        "lm_sandbox.outcome": ended.outcome,
    }
    if ended.exit_code is not None:
        attributes["process.exit.code"] = ended.exit_code
    return _within(ended, place, "command", attributes, ended.outcome)


def _within(
    happening: RunEnded | ToolCalled | CommandEnded | SandboxMade,
    place: Place,
    name: str,
    attributes: Attributes,
    outcome: str,
) -> Span:
    return _span(happening, place, name, SpanKind.INTERNAL, attributes, "" if outcome in FINE else outcome)


def _span(  # noqa: PLR0913, PLR0917 - the parts of a span
    happening: RequestEnded | ModelUsed | RunEnded | ToolCalled | CommandEnded | SandboxMade,
    place: Place,
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    error: str,
    duration_ms: float | None = None,
) -> Span:
    ended_ns = int(happening.at * NANOSECONDS_IN_S)
    took = happening.duration_ms if duration_ms is None else duration_ms
    told = {name: value for name, value in attributes.items() if value != ""}
    return Span(place, name, kind, ended_ns - int(took * NANOSECONDS_IN_MS), ended_ns, told, error)
