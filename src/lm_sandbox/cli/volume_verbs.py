"""The verbs of `lm-sandbox volumes`."""

from functools import partial
from typing import Annotated

import typer

from lm_sandbox.cli.program import AsJson, finish, load_settings

VOLUMES = typer.Typer(help="Files that outlive the sandboxes they are mounted in.", no_args_is_help=True)

VolumeName = Annotated[str, typer.Argument(help="Its id or its name.")]


@VOLUMES.command("list")
def list_volumes(as_json: AsJson = False) -> None:
    """List your volumes."""
    from lm_sandbox.cli.volumes import list_volumes as show  # noqa: PLC0415 - each verb loads only its own

    finish(partial(show, load_settings(), as_json=as_json))


@VOLUMES.command("create")
def create_volume(
    name: Annotated[str | None, typer.Argument(help="A name, unique among yours.")] = None,
    size_mib: Annotated[int | None, typer.Option("--size-mib", help="What it can hold, in MiB.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an empty volume and print its id; `sandbox create --mount` puts it in."""
    from lm_sandbox.cli.volumes import create_volume as create  # noqa: PLC0415

    finish(partial(create, load_settings(), name, size_mib, as_json=as_json))


@VOLUMES.command("show")
def show_volume(name: VolumeName, as_json: AsJson = False) -> None:
    """Show a volume, and which of your sandboxes have it mounted."""
    from lm_sandbox.cli.volumes import show_volume as show  # noqa: PLC0415

    finish(partial(show, load_settings(), name, as_json=as_json))


@VOLUMES.command("delete")
def delete_volume(names: Annotated[list[str], typer.Argument(help="Ids or names.")]) -> None:
    """Delete volumes with all that is in them; those that a sandbox has mounted stay."""
    from lm_sandbox.cli.volumes import delete_volume as delete  # noqa: PLC0415

    finish(partial(delete, load_settings(), names))
