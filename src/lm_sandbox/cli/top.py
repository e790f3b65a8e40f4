"""`lm-sandbox top`: what a server does now, on one screen."""

import json
import sys
from typing import Any

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lm_sandbox.cli.connection import connect_to_server
from lm_sandbox.cli.readings import Labels, Reading, Row, Span, read
from lm_sandbox.config.settings import Settings

MIB = 1024**2
LAG, TOKENS = "lm_sandbox_event_loop_lag_seconds", "lm_sandbox_model_tokens_total"
GPU = "lm_sandbox_gpu_"
WIDE = 120
STATES = {"running": "green", "paused": "yellow", "stopped": "dim", "failed": "red"}


async def watch(settings: Settings, every_s: float, *, once: bool, as_json: bool) -> int:
    """Shows a server until it is told to stop, or once.

    Raises:
        Unavailable: no server runs here, or it refused.
    """
    async with connect_to_server(settings) as client:
        before = await read(client)
        await anyio.sleep(every_s)
        span = Span(before, await read(client))
        if as_json:
            print(json.dumps(summary_of(span)))  # noqa: T201
            return 0
        if once or not sys.stdout.isatty():
            width = None if sys.stdout.isatty() else WIDE
            Console(highlight=False, width=width).print(screen_of(span))
            return 0
        with Live(screen_of(span), screen=True, auto_refresh=False) as live:
            while True:
                await anyio.sleep(every_s)
                span = Span(span.now, await read(client))
                live.update(screen_of(span), refresh=True)


def summary_of(span: Span) -> dict[str, Any]:
    """Says for programs what the screen says for people."""
    now = span.now
    return {
        "server": {
            "requests_per_s": round(span.rate("lm_sandbox_requests_total"), 2),
            "commands_per_s": round(span.rate("lm_sandbox_commands_total"), 2),
            "errors_per_s": round(span.rate("lm_sandbox_errors_total"), 2),
            "cpu_cores": round(span.rate("process_cpu_seconds_total"), 3),
            "memory_bytes": int(now.total("process_resident_memory_bytes")),
            "loop_lag_p99_s": span.quantile(LAG, 0.99),
        },
        "sandboxes": [
            {"id": one["id"], "name": one["name"], "state": one["state"], "cpu_cores": span.cpu_share(one)}
            | dict(one["stats"])
            for one in now.sandboxes
        ],
        "models": [
            {"engine": one["engine"], "name": one["name"], "state": one["state"], **_model(span, one)}
            for one in now.models
        ],
        "runs": [{"id": one["id"], "model": one["model"], "status": one["status"]} for one in now.runs],
        "gpus": [_gpu(now, labels) for labels in _gpus(now)],
    }


def screen_of(span: Span) -> Group:
    """Renders everything."""
    parts = [_head(span), _sandboxes(span), _models(span)]
    if span.now.runs:
        parts.append(_runs(span.now))
    if _gpus(span.now):
        parts.append(_gpu_table(span.now))
    return Group(*parts)


def _head(span: Span) -> Table:
    now = span.now
    lag = span.quantile(LAG, 0.99)
    states = now.by("lm_sandbox_sandboxes", "state")
    counts = ", ".join(f"{count:.0f} {state}" for state, count in states.items() if count)
    table = Table.grid(padding=(0, 3))
    table.add_row(
        _pair("requests/s", f"{span.rate('lm_sandbox_requests_total'):.1f}"),
        _pair("commands/s", f"{span.rate('lm_sandbox_commands_total'):.1f}"),
        _pair("errors/s", f"{span.rate('lm_sandbox_errors_total'):.1f}"),
        _pair("denied/s", f"{span.rate('lm_sandbox_egress_denied_total'):.1f}"),
    )
    table.add_row(
        _pair("server cpu", f"{span.rate('process_cpu_seconds_total'):.2f} cores"),
        _pair("memory", _size(now.total("process_resident_memory_bytes"))),
        _pair("loop lag p99", "-" if lag is None else f"{lag * 1000:g} ms"),
        _pair("sandboxes", counts or "none"),
    )
    return table


def _sandboxes(span: Span) -> Table:
    table = _table("sandbox", "state", "cpu", "memory", "processes", "disk", "last used")
    used = [(span.cpu_share(one), one) for one in span.now.sandboxes]
    for cpu, one in sorted(used, key=lambda pair: -(pair[0] or 0.0)):
        stats = one["stats"]
        table.add_row(
            Text(one["name"]),
            Text(one["state"], style=STATES.get(one["state"], "")),
            "-" if cpu is None else f"{cpu:.2f}",
            _size(stats.get("memory_bytes")),
            str(stats.get("pids") or "-"),
            _size(stats.get("disk_bytes")),
            str(one["last_active_at"])[11:19],
        )
    return table


def _models(span: Span) -> Table:
    table = _table("model", "engine", "state", "waiting", "at work", "tokens/s")
    for one in span.now.models:
        told = _model(span, one)
        waiting, served, tokens = (told[name] for name in ("waiting", "served", "tokens_per_s"))
        name, engine = Text(one["name"]), Text(one["engine"])
        table.add_row(name, engine, one["state"], f"{waiting:.0f}", f"{served:.0f}", f"{tokens:.0f}")
    return table


def _model(span: Span, model: Row) -> dict[str, float]:
    labels = {"engine": str(model["engine"]), "model": str(model["name"])}
    return {
        "waiting": span.now.total("lm_sandbox_model_waiting", **labels),
        "served": span.now.total("lm_sandbox_model_served", **labels),
        "tokens_per_s": round(span.rate(TOKENS, kind="completion", **labels), 1),
    }


def _runs(now: Reading) -> Table:
    table = _table("run", "model", "status", "commands")
    for run in now.runs:
        commands = sum(item["type"] == "shell_call" for item in run["output"])
        table.add_row(run["id"], Text(str(run["model"])), run["status"], str(commands))
    return table


def _gpus(now: Reading) -> list[Labels]:
    return sorted((labels for name, labels in now.samples if name == f"{GPU}memory_bytes"), key=sorted)


def _gpu(now: Reading, labels: Labels) -> dict[str, Any]:
    names = ("memory_used_bytes", "memory_bytes", "utilization_ratio", "temperature_celsius", "power_watts")
    return dict(labels) | {name: now.samples.get((f"{GPU}{name}", labels)) for name in names}


def _gpu_table(now: Reading) -> Table:
    table = _table("gpu", "memory", "busy", "temperature", "power")
    for labels in _gpus(now):
        gpu = _gpu(now, labels)
        busy, heat, power = (
            gpu[name] for name in ("utilization_ratio", "temperature_celsius", "power_watts")
        )
        table.add_row(
            Text(f"{gpu['gpu']} {gpu['name']}"),
            f"{_size(gpu['memory_used_bytes'])} of {_size(gpu['memory_bytes'])}",
            "-" if busy is None else f"{busy:.0%}",
            "-" if heat is None else f"{heat:.0f} °C",
            "-" if power is None else f"{power:.0f} W",
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=True, justify="left" if number < 1 else "right")
    return table


def _pair(name: str, value: str) -> Text:
    return Text.assemble((f"{name} ", "dim"), (value, "bold"))


def _size(size: float | None) -> str:
    return "-" if size is None else f"{size / MIB:,.0f} MiB"
