"""The log: one line a request and a command, in ECS or for people, and nobody can write lines of their own into it."""

import io
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import anyio
import httpx
import pytest

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.insight import LogFormat, LogSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.surfaces.asgi import StreamingASGITransport
from lm_sandbox.telemetry.happenings import ORIGIN, CommandEnded, Origin, RequestEnded
from lm_sandbox.telemetry.logs import MOST_WAITING, Logs
from tests.conftest import KEY

pytestmark = pytest.mark.anyio

# The fields of ECS 8.11 that lines may have, by their types there.
ECS: dict[str, type | tuple[type, ...]] = {
    "@timestamp": str, "message": str, "ecs.version": str, "log.level": str, "log.logger": str,
    "service.name": str, "service.version": str,
    "event.action": str, "event.category": list, "event.duration": int, "event.kind": str, "event.outcome": str,
    "event.type": list,
    "http.request.id": str, "http.request.method": str, "http.response.status_code": int,
    "error.code": str, "error.type": str, "error.stack_trace": str,
    "user.id": str, "user.name": str, "source.address": str, "process.exit_code": int,
    "labels.route": str, "labels.sandbox": str, "labels.command": str, "labels.driver": str, "labels.outcome": str,
    "labels.lines_left_out": str, "trace.id": str, "span.id": str,
}  # fmt: skip
ALLOWED = {
    "event.kind": {"event"},
    "event.outcome": {"success", "failure", "unknown"},
    "event.category": {"web", "process"},
    "event.type": {"end"},
}


def flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def check_ecs(document: dict[str, Any]) -> None:
    assert list(document)[:3] == ["@timestamp", "log.level", "message"]
    assert datetime.fromisoformat(document["@timestamp"]).tzinfo is not None
    for name, value in flat(document).items():
        assert name in ECS, name
        assert isinstance(value, ECS[name]), name
        values = value if isinstance(value, list) else [value]
        assert name not in ALLOWED or set(values) <= ALLOWED[name]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@asynccontextmanager
async def logged(settings: Settings, stream: io.StringIO) -> AsyncIterator[httpx.AsyncClient]:
    """An app whose log is in the stream once the context is left."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        with Logs(settings.log, stream) as logs:
            app = create_app(settings)
            async with start_services(settings, [logs]) as services, anyio.create_task_group() as tasks:
                app.state.services = services
                headers = {"Authorization": f"Bearer {KEY}"}
                transport = StreamingASGITransport(app, tasks)
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://test", headers=headers
                ) as http:
                    yield http
                tasks.cancel_scope.cancel()
    finally:
        root.handlers[:] = before
        root.setLevel(level)


async def test_requests_and_commands_have_a_line_each_in_ecs(settings: Settings) -> None:
    stream = io.StringIO()
    async with logged(settings, stream) as http:
        made = (await http.post("/v1/sandboxes", json={})).json()
        path = f"/v1/sandboxes/{made['id']}"
        body = {"command": "echo secret-in-command; exit 2", "env": {"A": "secret-in-env"}}
        answer = await http.post(f"{path}/commands", json=body)
        await http.put(f"{path}/files/workspace/secret-name", content=b"secret-in-file")
        await http.get("/healthz")
        await http.get("/v1/sandboxes", headers={"Authorization": "Bearer secret-key-of-someone"})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    for line in lines:
        check_ecs(line)
    assert "secret" not in stream.getvalue()
    assert KEY not in stream.getvalue()
    requests = [line for line in lines if line.get("event", {}).get("action") == "request"]
    assert [line["http"]["response"]["status_code"] for line in requests] == [201, 200, 201, 401]
    assert requests[1]["labels"] == {"route": "/v1/sandboxes/{sandbox_id}/commands"}
    assert requests[1]["user"]["name"] == "local"
    assert requests[3]["error"] == {"code": "unauthenticated"}
    [command] = [line for line in lines if line.get("event", {}).get("action") == "command"]
    assert command["process"] == {"exit_code": 2}
    assert command["event"]["outcome"] == "failure"
    assert (
        command["http"]["request"]["id"]
        == requests[1]["http"]["request"]["id"]
        == answer.headers["x-request-id"]
    )


async def test_on_a_terminal_lines_are_for_people(settings: Settings) -> None:
    stream = Terminal()
    async with logged(settings, stream) as http:
        await http.get("/v1/sandboxes")
    [line] = stream.getvalue().splitlines()
    assert "GET /v1/sandboxes 200 in " in line
    with pytest.raises(ValueError, match=r"."):
        json.loads(line)


NASTY = 'a\nb\r\n{"log.level":"error"}\x1b[2J\x1b]0;t\x07\u2028\u202e\x00"}\x9b31m'


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.PRETTY])
def test_nobody_writes_lines_of_their_own(form: LogFormat) -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with Logs(LogSettings(format=form), stream) as logs:
        nasty = Origin(NASTY, NASTY)
        logs(
            RequestEnded(
                who=NASTY, name=NASTY, origin=nasty, method=NASTY, route=NASTY, parts={}, status=200, code=NASTY,
                duration_ms=1, begun_ms=1,
            )
        )  # fmt: skip
        logs(
            CommandEnded(
                who=NASTY, name=NASTY, origin=nasty, sandbox=NASTY, command=NASTY, driver=NASTY, outcome=NASTY,
                duration_ms=1, signal=NASTY,
            )
        )  # fmt: skip
        logging.getLogger("x").warning("said %s", NASTY)
    root.handlers[:] = before
    root.setLevel(level)
    text = stream.getvalue()
    assert len(text.split("\n")) == 4
    assert len(text.splitlines()) == 3
    for control in ("\x1b", "\x07", "\x00", "\u2028", "\u202e", "\x9b", "\r"):
        assert control not in text
    if form is LogFormat.JSON:
        assert all(json.loads(line)["message"] for line in text.splitlines())


def test_what_modules_log_names_its_request_and_its_stack() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with Logs(LogSettings(format=LogFormat.JSON), stream):
        token = ORIGIN.set(Origin("req_12345678", "192.0.2.1"))
        try:
            ["found"].index("lost")
        except ValueError:
            logging.getLogger("lm_sandbox.x").exception("it went wrong")
        ORIGIN.reset(token)
        logging.getLogger("lm_sandbox.x").debug("not told")
        logging.getLogger("httpx").info("GET https://me:secret@somewhere")
    root.handlers[:] = before
    root.setLevel(level)
    [line] = map(json.loads, stream.getvalue().splitlines())
    check_ecs(line)
    assert line["http"]["request"]["id"] == "req_12345678"
    assert line["error"]["type"] == "ValueError"
    assert "index" in line["error"]["stack_trace"]
    assert line["log"]["logger"] == "lm_sandbox.x"


def test_a_stream_that_takes_nothing_holds_nobody_up() -> None:
    class Broken(io.StringIO):
        closed_for_now = True

        def write(self, text: str) -> int:
            if self.closed_for_now:
                raise OSError("full")
            return super().write(text)

    stream = Broken()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with Logs(LogSettings(format=LogFormat.JSON), stream) as logs:
        for _ in range(MOST_WAITING * 2):
            logging.getLogger("x").warning("one")
        deadline = time.monotonic() + 20
        while not logs._queue.empty() and time.monotonic() < deadline:
            time.sleep(0.01)
        stream.closed_for_now = False
        logging.getLogger("x").warning("last")
    root.handlers[:] = before
    root.setLevel(level)
    last = json.loads(stream.getvalue().splitlines()[-1])
    assert last["message"] == "last"
    assert int(json.loads(stream.getvalue().splitlines()[0])["labels"]["lines_left_out"]) > 0
