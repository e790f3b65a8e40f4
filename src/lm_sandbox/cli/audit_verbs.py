"""The verbs of `lm-sandbox audit`; they read the data directory and need no server."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lm_sandbox.cli.program import AsJson, finish, load_settings

AUDIT = typer.Typer(help="Who did what, and when.", no_args_is_help=True)

Kind = Annotated[str, typer.Option(help="The kind, or how it begins, such as 'command'.")]
Who = Annotated[str, typer.Option(help="The principal's id or name.")]
SandboxId = Annotated[str, typer.Option("--sandbox", help="A sandbox's id.")]
RequestId = Annotated[str, typer.Option("--request", help="A request's id.")]
Count = Annotated[int, typer.Option("--lines", "-n", min=1, help="How many records.")]
Time = Annotated[datetime | None, typer.Option(help="In UTC, such as 2026-01-31T12:00:00.")]


@AUDIT.command("tail")
def tail(
    lines: Count = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last records."""
    from lm_sandbox.cli.audit import show_tail  # noqa: PLC0415 - each verb loads only its own

    finish(partial(show_tail, load_settings(), lines, follow=follow, as_json=as_json))


@AUDIT.command("search")
def search(  # noqa: PLR0913, PLR0917 - what records are found by
    text: Annotated[str, typer.Argument(help="Stands somewhere in the record.")] = "",
    kind: Kind = "",
    who: Who = "",
    sandbox: SandboxId = "",
    request: RequestId = "",
    outcome: Annotated[str, typer.Option(help="Such as 'ok' or 'denied'.")] = "",
    since: Time = None,
    until: Time = None,
    lines: Count = 100,
    as_json: AsJson = False,
) -> None:
    """Find records; the oldest of those shown stands first."""
    from lm_sandbox.audit.reading import Query  # noqa: PLC0415
    from lm_sandbox.cli.audit import show_found  # noqa: PLC0415

    query = Query(kind, who, sandbox, request, outcome, text, _utc(since), _utc(until))
    finish(partial(show_found, load_settings(), query, lines, as_json=as_json))


@AUDIT.command("verify")
def verify(
    folder: Annotated[Path | None, typer.Argument(help="A copy of the audit's folder; else the own.")] = None,
    key: Annotated[Path | None, typer.Option(help="The PEM file of the key that must have signed.")] = None,
    expect: Annotated[
        str | None, typer.Option(help="NUMBER:HASH of a record that was noted elsewhere.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go over the whole chain and say where it was tampered with; 1 where it was."""
    from lm_sandbox.cli.audit import report  # noqa: PLC0415

    finish(partial(report, load_settings(), folder, key, expect, as_json=as_json))


@AUDIT.command("export")
def export(
    to: Annotated[Path | None, typer.Argument(help="A file; else the standard output.")] = None,
) -> None:
    """Write every record, one JSON object a line, oldest first."""
    from lm_sandbox.cli.audit import export_to  # noqa: PLC0415

    finish(partial(export_to, load_settings(), to))


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
