"""The verbs of `lm-sandbox runs`."""

from functools import partial
from typing import Annotated

import typer

from lm_sandbox.cli.program import AsJson, finish, load_settings
from lm_sandbox.cli.scope import enter_scope

RUNS = typer.Typer(help="What was asked for, done and answered.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(help="Its id, as 'lm-sandbox runs list' shows it.")]


@RUNS.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, help="How many of the latest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List stored runs, the newest first."""
    from lm_sandbox.cli.runs import list_runs as show  # noqa: PLC0415 - each verb loads only its own

    enter_scope()
    finish(partial(show, load_settings(), limit, as_json=as_json))


@RUNS.command("show")
def show_run(run_id: RunId, as_json: AsJson = False) -> None:
    """Show what was asked, which commands ran, what they gave, and the answer."""
    from lm_sandbox.cli.runs import show_run as show  # noqa: PLC0415

    enter_scope()
    finish(partial(show, load_settings(), run_id, as_json=as_json))


@RUNS.command("export")
def export_runs(
    run_ids: Annotated[list[str] | None, typer.Argument(help="Their ids; all of yours if left out.")] = None,
) -> None:
    """Print runs as JSON Lines: one run a line, with its input and output items."""
    from lm_sandbox.cli.runs import export_runs as export  # noqa: PLC0415

    enter_scope()
    finish(partial(export, load_settings(), run_ids or []))


@RUNS.command("delete")
def delete_runs(run_ids: Annotated[list[str], typer.Argument(help="Their ids.")]) -> None:
    """Forget runs."""
    from lm_sandbox.cli.runs import delete_runs as delete  # noqa: PLC0415

    enter_scope()
    finish(partial(delete, load_settings(), run_ids))
