"""Writes the dashboard. usage: python deploy/grafana/generate.py."""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("dashboards") / "lm-sandbox.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 8, 7, 3
J = '{job=~"$job"}'

# Row, then panels: title, unit, and expressions with their legends.
Panel = tuple[str, str, dict[str, str]]
ROWS: dict[str, list[Panel]] = {
    "Requests": [
        ("Requests by route", "reqps", {f"job_route:lm_sandbox_requests:rate5m{J}": "{{route}}"}),
        (
            "Errors of the server",
            "percentunit",
            {f"job:lm_sandbox_request_errors:ratio_rate5m{J}": "{{job}}"},
        ),
        ("p95 to the first byte", "s", {f"job_route:lm_sandbox_request_seconds:p95_5m{J}": "{{route}}"}),
        ("Errors by code", "ops", {f"sum by (code) (rate(lm_sandbox_errors_total{J}[5m]))": "{{code}}"}),
        ("Limits hit", "ops", {f"sum by (limit) (rate(lm_sandbox_limits_hit_total{J}[5m]))": "{{limit}}"}),
        ("Event loop lag p99", "s", {f"job:lm_sandbox_event_loop_lag_seconds:p99_5m{J}": "{{job}}"}),
    ],
    "Sandboxes": [
        ("Sandboxes by state", "short", {f"sum by (state) (lm_sandbox_sandboxes{J})": "{{state}}"}),
        (
            "p95 to make one",
            "s",
            {f"job_driver:lm_sandbox_sandbox_create_seconds:p95_5m{J}": "{{driver}}"},
        ),
        (
            "p95 to start a command",
            "s",
            {f"job_driver:lm_sandbox_command_spawn_seconds:p95_5m{J}": "{{driver}}"},
        ),
        ("Commands", "ops", {f"sum by (outcome) (rate(lm_sandbox_commands_total{J}[5m]))": "{{outcome}}"}),
        (
            "File operations",
            "ops",
            {f"sum by (operation) (rate(lm_sandbox_file_operations_total{J}[5m]))": "{{operation}}"},
        ),
        ("Egress denied", "ops", {f"sum by (job) (rate(lm_sandbox_egress_denied_total{J}[5m]))": "{{job}}"}),
    ],
    "Models": [
        ("Tokens a second", "short", {f"job_model:lm_sandbox_model_tokens:rate5m{J}": "{{model}} {{kind}}"}),
        (
            "p95 to the first token",
            "s",
            {f"job_model:lm_sandbox_model_first_token_seconds:p95_5m{J}": "{{model}}"},
        ),
        (
            "Requests now",
            "short",
            {
                f"sum by (model) (lm_sandbox_model_waiting{J})": "{{model}} waiting",
                f"sum by (model) (lm_sandbox_model_served{J})": "{{model}} served",
            },
        ),
    ],
    "Machine": [
        ("GPU memory", "bytes", {f"lm_sandbox_gpu_memory_used_bytes{J}": "{{gpu}} {{name}}"}),
        ("GPU utilization", "percentunit", {f"lm_sandbox_gpu_utilization_ratio{J}": "{{gpu}} {{name}}"}),
        (
            "Server memory and CPU",
            "short",
            {
                f"process_resident_memory_bytes{J}": "bytes",
                f"rate(process_cpu_seconds_total{J}[5m])": "cores",
            },
        ),
    ],
}


def panel(number: int, place: tuple[int, int], shown: Panel) -> dict[str, Any]:
    """Returns one chart."""
    title, unit, expressions = shown
    x, y = place
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend, "datasource": SOURCE}
            for at, (expression, legend) in enumerate(expressions.items())
        ],
    }


def dashboard() -> dict[str, Any]:
    """Returns the whole dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, shown in ROWS.items():
        grid = {"x": 0, "y": y, "w": WIDTH * COLUMNS, "h": 1}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": grid, "panels": []})
        y += 1
        for at, one in enumerate(shown):
            place = (at % COLUMNS * WIDTH, y + at // COLUMNS * HEIGHT)
            panels.append(panel(len(panels) + 1, place, one))
        y += -(-len(shown) // COLUMNS) * HEIGHT
    return {
        "uid": "lm-sandbox",
        "title": "lm-sandbox",
        "tags": ["lm-sandbox"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "current": {}},
                {
                    "name": "job",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": "label_values(lm_sandbox_build_info, job)",
                    "includeAll": True,
                    "multi": True,
                    "refresh": 2,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": panels,
    }


def page() -> str:
    """Returns the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
