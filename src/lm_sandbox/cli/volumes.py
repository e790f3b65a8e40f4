"""`lm-sandbox volumes`: files that outlive sandboxes."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from lm_sandbox.cli.connection import check, connect_to_server
from lm_sandbox.cli.listing import every
from lm_sandbox.config.settings import Settings

MIB = 1024**2
COLUMNS = ("id", "name", "size", "created_at")


async def list_volumes(settings: Settings, *, as_json: bool) -> int:
    """Prints every volume."""
    async with connect_to_server(settings) as client:
        found = await every(client, "/v1/volumes")
    if as_json:
        print(json.dumps(found))  # noqa: T201
        return 0
    table = Table(*COLUMNS)
    for volume in found:
        table.add_row(*_row(volume).values())
    Console(highlight=False).print(table)
    return 0


async def create_volume(settings: Settings, name: str | None, size_mib: int | None, *, as_json: bool) -> int:
    """Makes a volume and prints its id."""
    asked = {"name": name, "size_mib": size_mib}
    body = {key: value for key, value in asked.items() if value is not None}
    async with connect_to_server(settings) as client:
        made = (await check(await client.post("/v1/volumes", json=body))).json()
    print(json.dumps(made) if as_json else made["id"])  # noqa: T201
    return 0


async def show_volume(settings: Settings, name: str, *, as_json: bool) -> int:
    """Prints a volume and who has it."""
    async with connect_to_server(settings) as client:
        found = (await check(await client.get(_path(name)))).json()
        sandboxes = await every(client, "/v1/sandboxes")
    places = [
        f"{mount['path']} of {sandbox['name']}" + (", read-only" if mount["read_only"] else "")
        for sandbox in sandboxes
        for mount in sandbox["mounts"]
        if mount["id"] == found["id"]
    ]
    if as_json:
        print(json.dumps(found | {"mounted": places}))  # noqa: T201
        return 0
    table = Table(show_header=False)
    for row in _row(found).items():
        table.add_row(*row)
    for place in places:
        table.add_row("mounted at", place)
    Console(highlight=False).print(table)
    return 0


async def delete_volume(settings: Settings, names: Sequence[str]) -> int:
    """Deletes volumes."""
    async with connect_to_server(settings) as client:
        for name in names:
            await check(await client.delete(_path(name)))
    return 0


def _row(volume: dict[str, Any]) -> dict[str, str]:
    return {
        "id": volume["id"],
        "name": volume["name"],
        "size": f"{volume['size_bytes'] / MIB:.0f} MiB",
        "created_at": volume["created_at"][:16],
    }


def _path(name: str) -> str:
    return f"/v1/volumes/{quote(name, safe='')}"
