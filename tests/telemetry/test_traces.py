"""Traces: a request, its run, its model calls, tools and commands in one, sent by the real exporter to a receiver."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.insight import TraceSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.surfaces.asgi import StreamingASGITransport
from lm_sandbox.telemetry.places import Place
from lm_sandbox.telemetry.spans import is_sampled
from tests.conftest import KEY

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
pytestmark = pytest.mark.anyio


class _Receiving(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        assert isinstance(server, Receiver)
        server.keys.add(self.headers.get("x-key", ""))
        for told in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {one.key: one.value.string_value for one in told.resource.attributes}
            assert names["service.name"] == "lm-sandbox"
            server.spans += [span for scope in told.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


class Receiver(ThreadingHTTPServer):
    """Takes traces as a collector does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiving)
        self.spans: list[WireSpan] = []
        self.keys: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1/traces"

    def named(self, name: str) -> list[WireSpan]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@asynccontextmanager
async def traced(settings: Settings, traces: TraceSettings) -> AsyncIterator[httpx.AsyncClient]:
    """An app that has sent its traces once the context is left."""
    settings = settings.model_copy(update={"traces": traces})
    app = create_app(settings)
    async with start_services(settings) as services, anyio.create_task_group() as tasks:
        app.state.services = services
        transport = StreamingASGITransport(app, tasks)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://t", headers=headers, timeout=60
        ) as http:
            yield http
        tasks.cancel_scope.cancel()


def attributes(span: WireSpan) -> dict[str, str]:
    return {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes}


async def test_a_run_is_one_trace_from_the_request_to_the_command(
    settings: Settings, receiver: Receiver
) -> None:
    began = time()
    body = {"model": "nano", "input": "how many lines are in /etc/passwd?", "tools": [{"type": "shell"}]}
    async with traced(settings, TraceSettings(endpoint=receiver.url, headers={"x-key": "a"})) as http:
        assert (await http.post("/v1/responses", json=body)).json()["status"] == "completed"
    [request] = receiver.named("POST /v1/responses")
    [run] = receiver.named("invoke_agent lm-sandbox")
    [tool] = receiver.named("execute_tool bash")
    [command] = receiver.named("command")
    calls = receiver.named("chat nano")
    assert len(calls) == 2
    assert {span.trace_id for span in receiver.spans} == {request.trace_id}
    assert run.parent_span_id == request.span_id
    assert tool.parent_span_id == run.span_id
    assert command.parent_span_id == tool.span_id
    assert {call.parent_span_id for call in calls} == {run.span_id}
    assert not request.parent_span_id
    assert attributes(run)["lm_sandbox.run.end_reason"] == "answered"
    assert all(int(attributes(call)["gen_ai.usage.output_tokens"]) > 0 for call in calls)
    for span in receiver.spans:
        assert began <= span.start_time_unix_nano / 1e9 <= span.end_time_unix_nano / 1e9 <= time()
        assert "passwd" not in str(span)
    assert request.start_time_unix_nano <= run.start_time_unix_nano <= command.start_time_unix_nano
    assert receiver.keys == {"a"}


async def test_a_caller_that_traces_has_us_in_its_trace_or_not_at_all(
    settings: Settings, receiver: Receiver
) -> None:
    async with traced(settings, TraceSettings(endpoint=receiver.url, sample=0.0)) as http:
        for flags in ("01", "00"):
            await http.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-{flags}"})
        await http.get("/v1/models")
    [span] = receiver.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)


async def test_a_collector_that_is_not_there_costs_spans_and_nothing_else(settings: Settings) -> None:
    async with traced(settings, TraceSettings(endpoint="http://127.0.0.1:9/v1/traces")) as http:
        assert (await http.get("/v1/models")).is_success


@pytest.mark.parametrize(
    "said",
    [b"", b"nonsense", f"00-{'0' * 32}-{PARENT}-01".encode(), f"00-{TRACE}-{'0' * 16}-01".encode(),
     f"ff-{TRACE}-{PARENT}-01".encode(), f"00-{TRACE.upper()}-{PARENT}-01".encode(),
     f"00-{TRACE}-{PARENT}-01-more".encode(), f"00-{TRACE}-{PARENT}".encode()],
)  # fmt: skip
def test_what_names_no_trace_begins_one(said: bytes) -> None:
    place = Place.of(said)
    assert re.fullmatch("[0-9a-f]{32}", place.trace)
    assert place.trace != TRACE
    assert (place.parent, place.sampled) == ("", None)


def test_a_version_to_come_may_say_more() -> None:
    assert Place.of(f"cc-{TRACE}-{PARENT}-03-more".encode()).trace == TRACE


@given(st.binary(max_size=80))
def test_no_header_is_too_strange(said: bytes) -> None:
    assert len(Place.of(said).span) == 16


def test_all_servers_choose_the_same_share_of_traces() -> None:
    places = [Place.of(None) for _ in range(2000)]
    chosen = [place for place in places if is_sampled(place, 0.25)]
    assert 350 < len(chosen) < 650
    assert all(is_sampled(place.within(), 0.25) for place in chosen)
