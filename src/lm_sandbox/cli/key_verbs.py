"""The verbs of `lm-sandbox keys`."""

from functools import partial
from typing import Annotated

import typer

from lm_sandbox.cli.program import FAILED, AsJson, complain, finish, load_settings
from lm_sandbox.cli.scope import enter_scope

KEYS = typer.Typer(help="API keys.", no_args_is_help=True)

KeyName = Annotated[str, typer.Argument(help="Its id, or its name.")]


@KEYS.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="A name for people.")],
    scopes: Annotated[
        list[str], typer.Option("--scope", help="models, sandboxes, files or admin; may be repeated.")
    ],
    expires: Annotated[str | None, typer.Option(help="Works for so long, such as 90d, 12h or 30m.")] = None,
    quotas: Annotated[
        list[str] | None, typer.Option("--quota", help="Such as sandboxes=4 or requests_per_minute=600.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it; it is shown this once."""
    from lm_sandbox.cli.keys import create_key as create  # noqa: PLC0415 - each verb loads only its own
    from lm_sandbox.cli.keys import quotas_of, seconds_of  # noqa: PLC0415

    enter_scope()

    async def make() -> int:
        asked = {"name": name, "scopes": scopes, "quotas": quotas_of(quotas or [])}
        return await create(load_settings(), asked, seconds_of(expires), as_json=as_json)

    finish(make)


@KEYS.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List all keys, also those that work no more."""
    from lm_sandbox.cli.keys import list_keys as show  # noqa: PLC0415

    enter_scope()
    finish(partial(show, load_settings(), as_json=as_json))


@KEYS.command("revoke")
def revoke_key(name: KeyName, as_json: AsJson = False) -> None:
    """Make a key worthless, at once and for ever."""
    from lm_sandbox.cli.keys import revoke_key as revoke  # noqa: PLC0415

    enter_scope()
    finish(partial(revoke, load_settings(), name, as_json=as_json))


@KEYS.command("rotate")
def rotate_key(
    name: KeyName,
    overlap: Annotated[str, typer.Option(help="The old secret works for so long, such as 1h.")] = "0s",
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret and print it; it is shown this once."""
    from lm_sandbox.cli.keys import rotate_key as rotate  # noqa: PLC0415
    from lm_sandbox.cli.keys import seconds_of  # noqa: PLC0415

    enter_scope()

    async def change() -> int:
        return await rotate(load_settings(), name, seconds_of(overlap) or 0.0, as_json=as_json)

    finish(change)


@KEYS.command("show")
def show_key(
    name: Annotated[
        str | None, typer.Argument(help="Its id or name; if left out, this machine's own key is printed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the key that this machine's own command line uses, or tell about another."""
    if name is not None:
        from lm_sandbox.cli.keys import show_key as show  # noqa: PLC0415

        enter_scope()
        finish(partial(show, load_settings(), name, as_json=as_json))
    from lm_sandbox.identity.local_key import local_key  # noqa: PLC0415

    key = local_key(load_settings()).read()
    if key is None:
        complain("There is no key yet; 'lm-sandbox serve' makes one.")
        raise typer.Exit(FAILED)
    typer.echo(key)
