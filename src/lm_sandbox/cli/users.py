"""`lm-sandbox users`: users with a password, through the server that runs here or without one."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from lm_sandbox.cli.connection import check, connect
from lm_sandbox.cli.listing import every
from lm_sandbox.config.settings import Settings

COLUMNS = ("id", "name", "issuer", "scopes", "state", "last_seen_at")
TIME = re.compile(r"\d{4}-\d\d-\d\dT")

Row = dict[str, Any]


async def create_user(settings: Settings, asked: Mapping[str, Any], *, as_json: bool) -> int:
    """Makes a user and prints the password, where it was made here."""
    async with connect(settings) as client:
        made = (await check(await client.post("/v1/users", json=asked))).json()
    _print_password(made, as_json=as_json)
    return 0


async def list_users(settings: Settings, *, as_json: bool) -> int:
    """Prints every user."""
    async with connect(settings) as client:
        rows = await every(client, "/v1/users")
    if as_json:
        print(json.dumps(rows))  # noqa: T201
    else:
        _print_table(rows)
    return 0


async def show_user(settings: Settings, name: str, *, as_json: bool) -> int:
    """Prints what is known of a user."""
    async with connect(settings) as client:
        user = (await check(await client.get(f"/v1/users/{await _id_of(client, name)}"))).json()
    _print_user(user, as_json=as_json)
    return 0


async def change_user(settings: Settings, name: str, change: Mapping[str, Any], *, as_json: bool) -> int:
    """Changes a user."""
    async with connect(settings) as client:
        path = f"/v1/users/{await _id_of(client, name)}"
        user = (await check(await client.patch(path, json=change))).json()
    _print_user(user, as_json=as_json)
    return 0


async def set_password(settings: Settings, name: str, password: str | None, *, as_json: bool) -> int:
    """Gives a user another password and prints it, where it was made here."""
    async with connect(settings) as client:
        path = f"/v1/users/{await _id_of(client, name)}/password"
        body = {} if password is None else {"password": password}
        changed = (await check(await client.put(path, json=body))).json()
    _print_password(changed, as_json=as_json)
    return 0


async def delete_user(settings: Settings, name: str) -> int:
    """Forgets a user."""
    async with connect(settings) as client:
        await check(await client.delete(f"/v1/users/{await _id_of(client, name)}"))
    return 0


async def _id_of(client: httpx.AsyncClient, name: str) -> str:
    answer = await check(await client.get("/v1/users", params={"name": name}))
    found = answer.json()["data"]
    return str(found[0]["id"]) if found else name


def _print_password(user: Row, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(user))  # noqa: T201
        return
    if user["password"] is not None:
        print(user["password"])  # noqa: T201
    once = "; the password is shown this once" if user["password"] is not None else ""
    message = f"{user['id']} ({user['name']}){once}."
    Console(stderr=True, highlight=False, soft_wrap=True).print(message, markup=False)


def _print_user(user: Row, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(user))  # noqa: T201
        return
    table = Table(show_header=False)
    for name in (*COLUMNS, "subject", "created_at", "disabled_at", "password_changed_at"):
        table.add_row(name, _cell(user[name]))
    for name, value in user["quotas"].items():
        table.add_row(f"quota {name}", "as the server's" if value is None else f"{value:,}")
    Console(highlight=False).print(table)


def _print_table(rows: Sequence[Row]) -> None:
    table = Table()
    for name in COLUMNS:
        table.add_column(name, no_wrap=name == "id")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in COLUMNS))
    Console(highlight=False).print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(value)
    text = str(value).replace("[", r"\[")
    return text[:19].replace("T", " ") if TIME.match(text) else text
