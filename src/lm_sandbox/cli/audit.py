"""`lm-sandbox audit`: shows, finds, checks and writes out the records."""

import json
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anyio
from rich.console import Console
from rich.markup import escape

from lm_sandbox.audit.chain import Link
from lm_sandbox.audit.opening import audit_folder
from lm_sandbox.audit.reading import Query, export, search
from lm_sandbox.audit.signing import PublicKey
from lm_sandbox.audit.verification import Report, verify
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Invalid, NotFound

POLL_S = 0.5
MOST = 10_000
EXPECTED = re.compile(r"(\d{1,18}):([0-9a-f]{64})")
# What a terminal would obey, from whoever chose the text of a command.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
TAMPERED = 1

Record = dict[str, Any]


async def show_tail(settings: Settings, lines: int, *, follow: bool, as_json: bool) -> int:
    """Prints the last records, and those that come."""
    folder = _folder(settings)
    console = Console(highlight=False, soft_wrap=True)
    last = _print(console, search(folder, Query(), lines).records, as_json=as_json)
    while follow:
        await anyio.sleep(POLL_S)
        last = _print(console, search(folder, Query(after=last), MOST).records, as_json=as_json) or last
    return 0


async def show_found(settings: Settings, query: Query, lines: int, *, as_json: bool) -> int:
    """Prints the records that are wanted, the newest last."""
    found: list[Record] = []
    page = search(_folder(settings), query, lines)
    while len(found) + len(page.records) < lines and page.next_before is not None:
        found += page.records
        page = search(_folder(settings), replace(query, before=page.next_before), lines - len(found))
    found += page.records
    _print(Console(highlight=False, soft_wrap=True), found, as_json=as_json)
    return 0


async def report(
    settings: Settings, folder: Path | None, key: Path | None, expect: str | None, *, as_json: bool
) -> int:
    """Prints what going over the chain has found; returns 1 where it is not whole."""
    expected = _expected(expect) if expect else None
    public = PublicKey.read(key) if key else None
    found = verify(folder or _folder(settings), public, expected)
    if as_json:
        print(json.dumps({"whole": found.whole, **asdict(found)}))  # noqa: T201
    else:
        _print_report(found)
    return 0 if found.whole else TAMPERED


async def export_to(settings: Settings, to: Path | None) -> int:
    """Writes every record."""
    with ExitStack() as files:
        out = files.enter_context(to.open("wb")) if to else sys.stdout.buffer
        for piece in export(_folder(settings)):
            out.write(piece)
        out.flush()
    return 0


def _folder(settings: Settings) -> Path:
    folder = audit_folder(settings.data_dir)
    if not folder.is_dir():
        raise NotFound("There is no audit yet; a server begins it.")
    return folder


def _expected(text: str) -> Link:
    found = EXPECTED.fullmatch(text)
    if found is None:
        raise Invalid("--expect takes NUMBER:HASH, as an earlier 'audit verify' has printed it.")
    return Link(int(found[1]), found[2])


def _print(console: Console, records: Sequence[Record], *, as_json: bool) -> int:
    for record in reversed(records):
        if as_json:
            print(json.dumps(record), flush=True)  # noqa: T201
        else:
            console.print(_line(record))
    return records[0]["seq"] if records else 0


def _line(record: Record) -> str:
    what = record.get("what") or {}
    shown = " ".join(f"{name}={_plain(value)}" for name, value in what.items())
    who = _plain(record.get("name") or record.get("who") or "-")
    colour = "green" if record["outcome"] == "ok" else "yellow"
    return (
        f"[dim]{record['seq']} {_plain(record['at'])[:19]}[/] [bold]{_plain(record['kind'])}[/] "
        f"[{colour}]{_plain(record['outcome'])}[/] {who} {shown}"
    )


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return escape(CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text))


def _print_report(found: Report) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{found.records} records, {found.first} to {found.last.seq}; {found.checkpoints} genuine "
        f"checkpoints; signed up to record {found.signed}."
    )
    if found.note:
        console.print(found.note)
    for finding in found.findings:
        place = f" ({finding.file}, line {finding.line})" if finding.file else ""
        console.print(f"[red]{finding.kind}[/] {escape(finding.detail)}{escape(place)}")
    if found.whole:
        console.print("[green]The chain is whole.[/] To hold it to this later, note this elsewhere:")
        console.print(f"  lm-sandbox audit verify --expect {found.last.seq}:{found.last.hash}")
