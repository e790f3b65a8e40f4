"""`lm-sandbox sandbox`: the sandboxes of the server that runs here."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from lm_sandbox.cli.connection import check, connect_to_server
from lm_sandbox.cli.listing import every
from lm_sandbox.config.settings import Settings

COLUMNS = ("id", "name", "state", "created_at", "last_active_at")


async def list_sandboxes(settings: Settings, *, as_json: bool) -> int:
    """Prints every sandbox that the key may see."""
    async with connect_to_server(settings) as client:
        rows = await every(client, "/v1/sandboxes")
    if as_json:
        print(json.dumps(rows))  # noqa: T201
    else:
        _print_table(rows)
    return 0


async def create_sandbox(settings: Settings, body: Mapping[str, Any], *, as_json: bool) -> int:
    """Makes a sandbox and prints its id."""
    async with connect_to_server(settings) as client:
        made = (await check(await client.post("/v1/sandboxes", json=body))).json()
    print(json.dumps(made) if as_json else made["id"])  # noqa: T201
    return 0


async def show_sandbox(settings: Settings, name: str, *, as_json: bool) -> int:
    """Prints what holds a sandbox and what it uses."""
    async with connect_to_server(settings) as client:
        path = f"/v1/sandboxes/{await id_of(client, name)}"
        found = (await check(await client.get(path))).json()
        stats = (await check(await client.get(f"{path}/stats"))).json()
    if as_json:
        print(json.dumps(found | {"stats": stats}))  # noqa: T201
        return 0
    console = Console(highlight=False)
    rows = {name: str(found[name]) for name in COLUMNS}
    rows |= {name: str(value) for name, value in found["enforced"].items() if name != "limits"}
    rows |= {
        f"volume at {one['path']}": one["volume"] + (", read-only" if one["read_only"] else "")
        for one in found["mounts"]
    }
    rows |= {f"limit {name}": value for name, value in found["enforced"]["limits"].items()}
    rows |= {name: f"{value:,}" for name, value in stats.items() if value is not None}
    table = Table(show_header=False)
    for row in rows.items():
        table.add_row(*row)
    console.print(table)
    return 0


async def limit_sandbox(settings: Settings, name: str, limits: Mapping[str, Any]) -> int:
    """Changes the limits of a sandbox and prints what holds each."""
    async with connect_to_server(settings) as client:
        path = f"/v1/sandboxes/{await id_of(client, name)}"
        found = (await check(await client.patch(path, json={"limits": limits}))).json()
    for limit, held in found["enforced"]["limits"].items():
        print(f"{limit}: {held}")  # noqa: T201
    return 0


async def act(settings: Settings, name: str, action: str) -> int:
    """Pauses, resumes, stops or starts a sandbox."""
    async with connect_to_server(settings) as client:
        await check(await client.post(f"/v1/sandboxes/{await id_of(client, name)}/{action}"))
    return 0


async def delete_sandbox(settings: Settings, names: Sequence[str]) -> int:
    """Deletes sandboxes."""
    async with connect_to_server(settings) as client:
        for name in names:
            await check(await client.delete(f"/v1/sandboxes/{await id_of(client, name)}"))
    return 0


async def id_of(client: httpx.AsyncClient, name: str) -> str:
    """Takes a name as well as an id."""
    found = (await check(await client.get("/v1/sandboxes", params={"name": name}))).json()["data"]
    return str(found[0]["id"]) if found else name


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table()
    for name in COLUMNS:
        table.add_column(name, no_wrap=name == "id")
    for row in rows:
        times = [str(row[name])[:19].replace("T", " ") for name in COLUMNS[3:]]
        called = "" if row["name"] == row["id"] else row["name"]
        table.add_row(row["id"], called, row["state"], *times)
    Console(highlight=False).print(table)
