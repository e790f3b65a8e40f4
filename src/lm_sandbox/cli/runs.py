"""`lm-sandbox runs`: stored runs, for people and as JSON Lines."""

import json
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from lm_sandbox.cli.connection import check, connect
from lm_sandbox.config.settings import Settings

PAGE = 100
LABEL = 9
LONGEST_CELL = 60
WIDE = 200
COLUMNS = ("when", "model", "status", "commands", "answer")
STYLES = {"completed": "green", "failed": "red", "incomplete": "yellow", "cancelled": "yellow"}

Body = dict[str, Any]
Query = dict[str, str | int]


async def list_runs(settings: Settings, limit: int, *, as_json: bool) -> int:
    """Lists the latest runs.

    Raises:
        LmSandboxError: the server refused.
    """
    async with connect(settings) as client:
        found = [run async for run in _newest(client, limit)]
    if as_json:
        print(json.dumps(found))  # noqa: T201
        return 0
    table = Table(Column("id", no_wrap=True, overflow="ignore"), *COLUMNS, box=None, header_style="dim")
    for run in found:
        when = datetime.fromtimestamp(run["created_at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        status = Text(run["status"], style=STYLES.get(run["status"], ""))
        commands = sum(item["type"] == "shell_call" for item in run["output"])
        table.add_row(run["id"], when, Text(run["model"]), status, str(commands), _short(_answer(run)))
    # What is not shown on a terminal is not cut to one.
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(table)
    return 0


async def show_run(settings: Settings, run_id: str, *, as_json: bool) -> int:
    """Shows one run.

    Raises:
        LmSandboxError: there is none of this id.
    """
    async with connect(settings) as client:
        run = await _whole(client, run_id)
    if as_json:
        print(json.dumps(run))  # noqa: T201
        return 0
    console = Console(highlight=False, soft_wrap=True)
    _line(console, "run", f"{run['id']} ({run['model']}, {run['status']})")
    for item in [*run["input"], *run["output"]]:
        _show_item(console, item)
    if run["error"]:
        _line(console, "error", run["error"]["message"], "bold red")
    if run["incomplete_details"]:
        _line(console, "stopped", run["incomplete_details"]["reason"].replace("_", " "), "bold red")
    return 0


async def export_runs(settings: Settings, run_ids: list[str]) -> int:
    """Prints runs as JSON Lines.

    Raises:
        LmSandboxError: there is none of an id.
    """
    async with connect(settings) as client:
        ids = run_ids or [run["id"] async for run in _newest(client, None)]
        for run_id in ids:
            print(json.dumps(await _whole(client, run_id)), flush=True)  # noqa: T201
    return 0


async def delete_runs(settings: Settings, run_ids: list[str]) -> int:
    """Forgets runs.

    Raises:
        LmSandboxError: there is none of an id.
    """
    async with connect(settings) as client:
        for run_id in run_ids:
            await check(await client.delete(f"/v1/responses/{run_id}"))
    return 0


async def _newest(client: httpx.AsyncClient, limit: int | None) -> AsyncIterator[Body]:
    after: str | None = None
    while limit is None or limit > 0:
        wanted = PAGE if limit is None else min(PAGE, limit)
        query: Query = {"limit": wanted} if after is None else {"limit": wanted, "after": after}
        page = (await check(await client.get("/v1/responses", params=query))).json()
        for run in page["data"]:
            yield run
        if not page["has_more"]:
            return
        after = page["last_id"]
        limit = None if limit is None else limit - wanted


async def _whole(client: httpx.AsyncClient, run_id: str) -> Body:
    run: Body = (await check(await client.get(f"/v1/responses/{run_id}"))).json()
    items: list[Body] = []
    query: Query = {"order": "asc", "limit": PAGE}
    more = True
    while more:
        page = (await check(await client.get(f"/v1/responses/{run_id}/input_items", params=query))).json()
        items += page["data"]
        more, query = page["has_more"], query | {"after": page["last_id"] or ""}
    return {**run, "input": items}


def _show_item(console: Console, item: Body) -> None:
    kind = item["type"]
    if kind == "message":
        label = {"user": "prompt", "assistant": "answer"}.get(item["role"], str(item["role"]))
        _line(console, label, _text(item), "bold green" if label == "answer" else "")
    elif kind == "shell_call":
        for command in item["action"]["commands"]:
            _line(console, "bash", command, "bold cyan")
    elif kind == "shell_call_output":
        for output in item["output"]:
            _show_output(console, output)
    elif kind == "function_call":
        _line(console, "call", f"{item['name']}({item['arguments']})", "bold cyan")
    elif kind == "function_call_output":
        _line(console, "", str(item["output"]))


def _show_output(console: Console, output: Body) -> None:
    for stream, style in (("stdout", ""), ("stderr", "yellow")):
        for line in output[stream].splitlines():
            _line(console, "", line, style)
    outcome = output["outcome"]
    _line(
        console,
        "",
        "(timed out)" if outcome["type"] == "timeout" else f"(exit {outcome['exit_code']})",
        "dim",
    )


def _line(console: Console, label: str, text: str, style: str = "") -> None:
    line = Text(f"{label:{LABEL}}", style="dim")
    line.append(text, style=style)
    console.print(line)


def _answer(run: Body) -> str:
    return " ".join(_text(item) for item in run["output"] if item["type"] == "message")


def _text(item: Body) -> str:
    content = item["content"]
    parts = [content] if isinstance(content, str) else [part.get("text") or "" for part in content]
    return "".join(parts)


def _short(text: str) -> Text:
    line = " ".join(text.split())
    return Text(line if len(line) <= LONGEST_CELL else f"{line[: LONGEST_CELL - 1]}…")
