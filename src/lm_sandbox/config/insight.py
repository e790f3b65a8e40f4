"""Settings of the audit, the metrics and the log."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, SecretStr

from lm_sandbox.config.section import Positive, PositiveSeconds, Section


class AuditSettings(Section):
    """The record of who did what."""

    reads: bool = Field(True, description="whether requests that change nothing are recorded too")
    keep_days: Positive = Field(90, description="days for which records are kept")
    keep_mib: Positive = Field(1024, description="disk for records, in MiB; the oldest go first")
    segment_mib: Positive = Field(64, description="size of one file of records, in MiB")
    checkpoint_records: Positive = Field(1000, description="a signed checkpoint after so many records")
    checkpoint_s: PositiveSeconds = Field(300.0, description="and so long after a record, at the latest")
    max_text_chars: Positive = Field(32 * 1024, description="characters of one command that are recorded")
    redact: tuple[str, ...] = Field(
        (), description="regular expressions of secrets besides the usual ones; a group `keep` stays"
    )


class MetricsAccess(StrEnum):
    """Who may read `/metrics`."""

    KEY = "key"
    LOOPBACK = "loopback"
    OFF = "off"


class MetricsSettings(Section):
    """What Prometheus reads."""

    access: MetricsAccess = Field(
        MetricsAccess.KEY,
        description="who may read `/metrics`: `key` with the scope `metrics`, `loopback` who is on this "
        "machine too, `off` nobody",
    )


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    PRETTY = "pretty"
    JSON = "json"


class LogSettings(Section):
    """What a server logs to its standard error."""

    format: LogFormat = Field(
        LogFormat.AUTO,
        description="`pretty`, `json` (Elastic Common Schema), or `auto`: pretty on a terminal",
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="what is left out below it"
    )


class TraceSettings(Section):
    """Spans of requests, runs, calls of models and tools, and commands, for OpenTelemetry (extra `otel`)."""

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/\s@]+\S*$",
        description="where an OTLP collector takes traces, such as `http://127.0.0.1:4318/v1/traces`; "
        "default: none are made",
    )
    headers: dict[str, SecretStr] = Field({}, description="sent to the collector, such as its key")
    sample: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of traces that are sent; a caller's `traceparent` decides itself",
    )
