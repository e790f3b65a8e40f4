"""Sends what happens as spans to an OpenTelemetry collector, by OTLP over HTTP.

A thread sends them in batches; what the collector does not take in time is left out, and nobody waits for it.
"""

from types import TracebackType
from typing import Self

import anyio.to_thread

from lm_sandbox import __version__
from lm_sandbox.config.insight import TraceSettings
from lm_sandbox.errors import Invalid
from lm_sandbox.telemetry.happenings import Happening
from lm_sandbox.telemetry.spans import Span, SpanKind, is_sampled, span_of

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags
    from opentelemetry.trace import SpanKind as WireKind
except ImportError as error:
    raise Invalid(
        "Traces need OpenTelemetry; install it with: pip install 'lm-sandbox[otel]'", field="traces.endpoint"
    ) from error

KINDS = {
    SpanKind.SERVER: WireKind.SERVER,
    SpanKind.CLIENT: WireKind.CLIENT,
    SpanKind.INTERNAL: WireKind.INTERNAL,
}
SCOPE = InstrumentationScope("lm_sandbox", __version__)
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
LEAVE_MS = 5000


class Traces:
    """Listens to what happens.

    Args:
        settings: Where spans are sent, and how many.
    """

    def __init__(self, settings: TraceSettings) -> None:
        self._settings = settings
        self._resource = Resource.create({"service.name": "lm-sandbox", "service.version": __version__})
        self._processor: BatchSpanProcessor | None = None

    async def __aenter__(self) -> Self:
        """Starts the thread that sends."""
        headers = {name: value.get_secret_value() for name, value in self._settings.headers.items()}
        exporter = OTLPSpanExporter(endpoint=self._settings.endpoint, headers=headers)
        self._processor = BatchSpanProcessor(exporter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sends what waits, for a few seconds."""
        if self._processor is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._processor.force_flush, LEAVE_MS)
                await anyio.to_thread.run_sync(self._processor.shutdown)

    def __call__(self, happening: Happening) -> None:
        """Takes what has happened."""
        place = happening.origin.place
        if self._processor is None or place is None or not is_sampled(place, self._settings.sample):
            return
        span = span_of(happening)
        if span is not None:
            self._processor.on_end(self._on_the_wire(span))

    def _on_the_wire(self, span: Span) -> ReadableSpan:
        place = span.place
        parent = _context(place.trace, place.parent) if place.parent else None
        attributes = {**span.attributes, "error.type": span.error} if span.error else span.attributes
        return ReadableSpan(
            name=span.name,
            context=_context(place.trace, place.span),
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            kind=KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=span.started_ns,
            end_time=span.ended_ns,
            instrumentation_scope=SCOPE,
        )


def _context(trace: str, span: str) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=False, trace_flags=SAMPLED)
