"""Writes `dashboard.ndjson`, the saved objects of the Kibana dashboard, from the panels below.

usage: python deploy/elk/generate.py
"""

import json
from pathlib import Path

VIEW = "lm-sandbox-logs"
# Title, the field whose values are counted, the query (KQL), and how it is drawn.
PANELS = (
    ("Requests by route", "labels.route", "event.action: request", "line"),
    ("Answers by status", "http.response.status_code", "event.action: request", "area"),
    ("Errors by code", "error.code", "error.code: *", "horizontal_bar"),
    ("Commands by outcome", "labels.outcome", "event.action: command", "histogram"),
    ("Who asks", "user.name", "event.action: request", "pie"),
    ("Where from", "source.address", "event.action: request", "horizontal_bar"),
    ("What modules warn of", "log.logger", "log.level: (warning or error) and not event.action: *", "table"),
)
OVER_TIME = {"line", "area", "histogram"}
WIDTH, HEIGHT, ACROSS = 24, 12, 2
SEARCH = "kibanaSavedObjectMeta.searchSourceJSON.index"


def saved(
    kind: str, name: str, attributes: dict[str, object], references: list[dict[str, str]]
) -> dict[str, object]:
    return {"id": name, "type": kind, "attributes": attributes, "references": references}


def view() -> dict[str, object]:
    return saved("index-pattern", VIEW, {"title": "logs-lm-sandbox*", "timeFieldName": "@timestamp"}, [])


def source(query: str) -> dict[str, object]:
    told = {"query": {"query": query, "language": "kuery"}, "filter": [], "indexRefName": SEARCH}
    return {"searchSourceJSON": json.dumps(told)}


def panel(number: int, title: str, field: str, query: str, drawn: str) -> dict[str, object]:
    terms = {"field": field, "size": 10, "order": "desc", "orderBy": "1"}
    split = "group" if drawn in OVER_TIME else "bucket" if drawn == "table" else "segment"
    measured: list[dict[str, object]] = [
        {"id": "1", "enabled": True, "type": "count", "schema": "metric", "params": {}},
        {"id": "2", "enabled": True, "type": "terms", "schema": split, "params": terms},
    ]
    if drawn in OVER_TIME:
        over = {"field": "@timestamp", "interval": "auto", "min_doc_count": 1}
        measured.append(
            {"id": "3", "enabled": True, "type": "date_histogram", "schema": "segment", "params": over}
        )
    state = {
        "title": title,
        "type": drawn,
        "aggs": measured,
        "params": {"addTooltip": True, "addLegend": True},
    }
    attributes: dict[str, object] = {
        "title": title,
        "visState": json.dumps(state),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": source(query),
    }
    return saved(
        "visualization",
        f"lm-sandbox-{number}",
        attributes,
        [{"name": SEARCH, "type": "index-pattern", "id": VIEW}],
    )


def dashboard() -> dict[str, object]:
    panels, references = [], []
    for number in range(len(PANELS)):
        at = {
            "x": number % ACROSS * WIDTH,
            "y": number // ACROSS * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
            "i": str(number),
        }
        panels.append(
            {
                "panelIndex": str(number),
                "gridData": at,
                "panelRefName": f"panel_{number}",
                "embeddableConfig": {},
            }
        )
        references.append({"name": f"panel_{number}", "type": "visualization", "id": f"lm-sandbox-{number}"})
    attributes: dict[str, object] = {
        "title": "lm-sandbox",
        "description": "Requests, commands and errors of lm-sandbox",
        "panelsJSON": json.dumps(panels),
        "optionsJSON": json.dumps({"useMargins": True}),
        "timeRestore": True,
        "timeFrom": "now-24h",
        "timeTo": "now",
        "version": 1,
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
    }
    return saved("dashboard", "lm-sandbox", attributes, references)


def objects() -> str:
    made = [view(), *(panel(number, *told) for number, told in enumerate(PANELS)), dashboard()]
    return "".join(json.dumps(one, sort_keys=True) + "\n" for one in made)


if __name__ == "__main__":
    Path(__file__).with_name("dashboard.ndjson").write_text(objects())
