"""What is recorded of each thing that happens."""

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from lm_sandbox.audit.entry import Entry
from lm_sandbox.telemetry.happenings import (
    CommandEnded,
    CommandStarted,
    EgressNoted,
    FilesTouched,
    Happening,
    LoginEnded,
    LoginTried,
    ModelUsed,
    RequestEnded,
    SandboxGone,
    SandboxMade,
    TerminalOpened,
)

FIRST_ERROR = 400
UNAUTHENTICATED, FORBIDDEN = 401, 403
# They would be most of the records, and say nothing of anyone.
UNRECORDED_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "unmatched", "/openapi.json", "/docs"})
REUSE = "reuse"
SECRET_PARTS = frozenset({"token"})


class Recorder:
    """Listens to what happens and records it.

    Args:
        add: Takes entries.
        reads: Whether requests that change nothing are recorded too.
    """

    def __init__(self, add: Callable[[Entry], None], *, reads: bool) -> None:
        self._add = add
        self._reads = reads

    def __call__(self, happening: Happening) -> None:
        """Records something."""
        if isinstance(happening, RequestEnded) and not self._is_wanted(happening):
            return
        entry = entry_of(happening)
        if entry is not None:
            self._add(entry)

    def _is_wanted(self, ended: RequestEnded) -> bool:
        if ended.status in {UNAUTHENTICATED, FORBIDDEN}:
            return True
        if ended.route in UNRECORDED_ROUTES:
            return False
        return self._reads or ended.method not in {"GET", "HEAD", "OPTIONS"}


def entry_of(happening: Happening) -> Entry | None:  # noqa: PLR0911, C901 - one a kind
    """Renders what happened; None for what is not recorded."""
    match happening:
        case RequestEnded():
            return _request(happening)
        case CommandStarted():
            return _entry(happening, "command.started", "ok", _started(happening), happening.spawn_ms)
        case CommandEnded():
            return _entry(
                happening, "command.ended", happening.outcome, _ended(happening), happening.duration_ms
            )
        case FilesTouched():
            what = {"sandbox": happening.sandbox, "path": happening.path, "to": happening.to}
            kind = f"files.{happening.operation}"
            return _entry(happening, kind, happening.outcome, what, happening.duration_ms)
        case TerminalOpened():
            what = {"sandbox": happening.sandbox, "terminal": happening.terminal, "cwd": happening.cwd}
            return _entry(happening, "terminal.opened", "ok", {**what, "command": [*happening.text]})
        case EgressNoted():
            return _egress(happening)
        case SandboxMade():
            return _entry(
                happening, "sandbox.made", happening.outcome, _made(happening), happening.duration_ms
            )
        case SandboxGone():
            gone = {"sandbox": happening.sandbox, "reason": happening.reason}
            return _entry(happening, "sandbox.gone", "ok", gone)
        case LoginTried():
            return _entry(happening, "login", happening.outcome, {"login": happening.login})
        case LoginEnded():
            what = {"login": happening.login, "reason": happening.reason}
            return _entry(happening, "login.ended", "reused" if happening.reason == REUSE else "ok", what)
        case ModelUsed():
            return _entry(
                happening, "model.used", happening.outcome, _model(happening), happening.duration_ms
            )
    return None


def _entry(
    happening: Happening,
    kind: str,
    outcome: str,
    what: Mapping[str, JsonValue],
    duration_ms: float | None = None,
) -> Entry:
    return Entry(
        kind,
        happening.at,
        happening.who,
        happening.name,
        happening.origin.address,
        happening.origin.request_id,
        outcome,
        duration_ms,
        {name: value for name, value in what.items() if value not in (None, "", [])},
    )


def _request(ended: RequestEnded) -> Entry:
    parts: dict[str, JsonValue] = {
        name: str(value) for name, value in ended.parts.items() if name not in SECRET_PARTS
    }
    what: dict[str, JsonValue] = {
        "method": ended.method,
        "route": ended.route,
        "status": ended.status,
        "sandbox": parts.pop("sandbox_id", None) or parts.pop("container_id", None),
        "asked": ended.asked,
        **parts,
    }
    failed = ended.status >= FIRST_ERROR
    outcome = (ended.code or "failed") if failed else "ok"
    return _entry(ended, _kind_of(ended), outcome, what, ended.duration_ms)


def _kind_of(ended: RequestEnded) -> str:
    if ended.status == UNAUTHENTICATED:
        return "key.refused"
    if ended.status == FORBIDDEN:
        return "scope.refused"
    return "admin" if ended.changes_the_server else "request"


def _made(made: SandboxMade) -> dict[str, JsonValue]:
    return {"sandbox": made.sandbox, "driver": made.driver, "volumes": [*made.volumes]}


def _started(started: CommandStarted) -> dict[str, JsonValue]:
    text: JsonValue = started.text if isinstance(started.text, str) else [*started.text]
    return {
        "sandbox": started.sandbox,
        "command": started.command,
        "text": text,
        "cwd": started.cwd,
        "env": [*started.env],
    }


def _ended(ended: CommandEnded) -> dict[str, JsonValue]:
    return {
        "sandbox": ended.sandbox,
        "command": ended.command,
        "exit_code": ended.exit_code,
        "signal": ended.signal,
        "limits": [*ended.limits],
    }


def _egress(noted: EgressNoted) -> Entry:
    what: dict[str, JsonValue] = {
        "sandbox": noted.sandbox,
        "subject": noted.subject,
        "detail": noted.detail,
        "left_out": noted.left_out or None,
    }
    return _entry(noted, f"egress.{noted.decision}", "ok" if noted.decision == "changed" else "denied", what)


def _model(used: ModelUsed) -> dict[str, JsonValue]:
    return {
        "engine": used.engine,
        "model": used.model,
        "waited_ms": round(used.waited_ms, 3),
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
    }
