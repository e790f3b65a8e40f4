"""What happens as lines in the Elastic Common Schema. Never bodies, texts of commands or secrets."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lm_sandbox import __version__
from lm_sandbox.telemetry.happenings import CommandEnded, Happening, Origin, RequestEnded

ECS_VERSION = "8.11.0"
SERVICE = {"name": "lm-sandbox", "version": __version__}
FIRST_ERROR, FIRST_SERVER_ERROR = 400, 500
NANOSECONDS = 1_000_000
# They come every few seconds, and say nothing while all is well.
QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log.

    Attributes:
        at: When, in seconds since 1970.
        level: Of `logging`.
        message: For people.
        fields: ECS, nested.
    """

    at: float
    level: int
    message: str
    fields: Mapping[str, object]

    def document(self) -> Fields:
        """Returns the whole of it."""
        return {
            "@timestamp": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds"),
            "log.level": logging.getLevelName(self.level).lower(),
            "message": self.message,
            "ecs.version": ECS_VERSION,
            "service": SERVICE,
            **self.fields,
        }


def line_of(happening: Happening) -> Line | None:
    """Renders a request or a command; None for what has no line."""
    match happening:
        case RequestEnded():
            return _request(happening)
        case CommandEnded():
            return _command(happening)
    return None


def line_of_record(record: logging.LogRecord, origin: Origin, stack_trace: str = "") -> Line:
    """Renders what a module has logged."""
    fields: Fields = {"log": {"logger": record.name}, **_origin(origin), **_place(origin)}
    if stack_trace:
        kind = record.exc_info[0] if record.exc_info else None
        fields["error"] = {"type": kind.__name__ if kind else "", "stack_trace": stack_trace}
    return Line(record.created, record.levelno, record.getMessage(), fields)


def _request(ended: RequestEnded) -> Line:
    failed = ended.status >= FIRST_ERROR
    level = logging.DEBUG if ended.route in QUIET_ROUTES and not failed else logging.INFO
    fields: Fields = {
        "event": _event(ended.duration_ms, "request", "failure" if failed else "success", "web"),
        "http": {
            "request": {"id": ended.origin.request_id, "method": ended.method},
            "response": {"status_code": ended.status},
        },
        "labels": {"route": ended.route},
        **_user(ended),
        **_source(ended.origin),
        **_place(ended.origin),
    }
    if ended.code:
        fields["error"] = {"code": ended.code}
    message = f"{ended.method} {ended.route} {ended.status} in {ended.duration_ms:.1f} ms"
    worse = logging.ERROR if ended.status >= FIRST_SERVER_ERROR else level
    return Line(ended.at, worse, message, fields)


def _command(ended: CommandEnded) -> Line:
    outcome = "success" if ended.outcome == "ok" else "failure"
    fields: Fields = {
        "event": _event(ended.duration_ms, "command", outcome, "process"),
        "labels": {
            "sandbox": ended.sandbox,
            "command": ended.command,
            "driver": ended.driver,
            "outcome": ended.outcome,
        },
        **_user(ended),
        **_origin(ended.origin),
        **_place(ended.origin),
    }
    if ended.exit_code is not None:
        fields["process"] = {"exit_code": ended.exit_code}
    how = ended.signal or ", ".join(ended.limits) or ended.exit_code
    message = f"command {ended.command} in {ended.sandbox} ended {ended.outcome} ({how})"
    return Line(ended.at, logging.INFO, message, fields)


def _event(duration_ms: float, action: str, outcome: str, category: str) -> Fields:
    return {
        "action": action,
        "category": [category],
        "duration": int(duration_ms * NANOSECONDS),
        "kind": "event",
        "outcome": outcome,
        "type": ["end"],
    }


def _user(happening: Happening) -> Fields:
    user = {"id": happening.who, "name": happening.name}
    return {"user": {name: value for name, value in user.items() if value}} if happening.who else {}


def _origin(origin: Origin) -> Fields:
    request = {"http": {"request": {"id": origin.request_id}}} if origin.request_id else {}
    return {**request, **_source(origin)}


def _place(origin: Origin) -> Fields:
    place = origin.place
    return {"trace": {"id": place.trace}, "span": {"id": place.span}} if place else {}


def _source(origin: Origin) -> Fields:
    return {"source": {"address": origin.address}} if origin.address else {}
