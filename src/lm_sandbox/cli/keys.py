"""`lm-sandbox keys`: API keys, through the server that runs here or without one."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from lm_sandbox.cli.connection import check, connect
from lm_sandbox.cli.listing import PAGE, every
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Invalid

COLUMNS = ("id", "name", "prefix", "scopes", "state", "expires_at", "last_used_at")
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(\d{1,9})([smhd])")
QUOTA = re.compile(r"([a-z_]+)=(\d{1,15})")

Row = dict[str, Any]


async def create_key(
    settings: Settings, asked: Mapping[str, Any], expires_in_s: float | None, *, as_json: bool
) -> int:
    """Makes a key and prints it."""
    async with connect(settings) as client:
        body = {**asked, "expires_in_s": expires_in_s}
        made = (await check(await client.post("/v1/keys", json=body))).json()
    _print_secret(made, as_json=as_json)
    return 0


async def list_keys(settings: Settings, *, as_json: bool) -> int:
    """Prints every key."""
    async with connect(settings) as client:
        rows = await every(client, "/v1/keys")
    if as_json:
        print(json.dumps(rows))  # noqa: T201
    else:
        _print_table(rows)
    return 0


async def show_key(settings: Settings, name: str, *, as_json: bool) -> int:
    """Prints what is known of a key."""
    async with connect(settings) as client:
        key = (await check(await client.get(f"/v1/keys/{await _id_of(client, name)}"))).json()
    _print_key(key, as_json=as_json)
    return 0


async def revoke_key(settings: Settings, name: str, *, as_json: bool) -> int:
    """Revokes a key."""
    async with connect(settings) as client:
        key = (await check(await client.delete(f"/v1/keys/{await _id_of(client, name)}"))).json()
    _print_key(key, as_json=as_json)
    return 0


async def rotate_key(settings: Settings, name: str, overlap_s: float, *, as_json: bool) -> int:
    """Gives a key a new secret and prints it."""
    async with connect(settings) as client:
        path = f"/v1/keys/{await _id_of(client, name)}/rotate"
        made = (await check(await client.post(path, json={"overlap_s": overlap_s}))).json()
    _print_secret(made, as_json=as_json)
    return 0


def seconds_of(text: str | None) -> float | None:
    """Reads a duration such as `90d`.

    Raises:
        Invalid: it is none.
    """
    if text is None:
        return None
    found = DURATION.fullmatch(text)
    if found is None:
        raise Invalid(f"{text!r} is no duration; write a number and s, m, h or d, such as 90d.")
    return float(int(found[1]) * UNITS_S[found[2]])


def quotas_of(texts: Sequence[str]) -> dict[str, int]:
    """Reads quotas such as `sandboxes=4`.

    Raises:
        Invalid: one is not of this form.
    """
    quotas: dict[str, int] = {}
    for text in texts:
        found = QUOTA.fullmatch(text)
        if found is None:
            raise Invalid(f"{text!r} is no quota; write a name and a number, such as sandboxes=4.")
        quotas[found[1]] = int(found[2])
    return quotas


async def _id_of(client: httpx.AsyncClient, name: str) -> str:
    answer = await check(await client.get("/v1/keys", params={"name": name, "limit": PAGE}))
    found = [row for row in answer.json()["data"] if row["state"] != "revoked"]
    if len(found) > 1:
        raise Invalid(f"{len(found)} keys are named {name!r}; say which by its id.")
    return str(found[0]["id"]) if found else name


def _print_secret(made: Row, *, as_json: bool) -> None:
    print(json.dumps(made) if as_json else made["token"])  # noqa: T201
    if not as_json:
        message = f"This is the secret of {made['id']} ({made['name']}); it is shown this once."
        Console(stderr=True, highlight=False, soft_wrap=True).print(message, markup=False)


def _print_key(key: Row, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(key))  # noqa: T201
        return
    table = Table(show_header=False)
    for name in (*COLUMNS, "created_at", "revoked_at"):
        table.add_row(name, _cell(key[name]))
    for name, value in key["quotas"].items():
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
    text = str(value)
    return text[:19].replace("T", " ") if re.match(r"\d{4}-\d\d-\d\dT", text) else text
