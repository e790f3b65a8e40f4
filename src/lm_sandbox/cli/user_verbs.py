"""The verbs of `lm-sandbox users`."""

import sys
from functools import partial
from typing import Annotated, Any, Literal

import typer

from lm_sandbox.cli.program import AsJson, finish, load_settings
from lm_sandbox.cli.scope import enter_scope

USERS = typer.Typer(help="Users, who log in with a password.", no_args_is_help=True)

UserName = Annotated[str, typer.Argument(help="Its name, or its id.")]
PasswordFrom = Annotated[
    Literal["stdin", "prompt"] | None, typer.Option("--password-from", help="Else one is made and printed.")
]
Quota = Annotated[
    list[str] | None, typer.Option("--quota", help="Such as sandboxes=4 or requests_per_minute=600.")
]


@USERS.command("create")
def create_user(
    name: Annotated[str, typer.Argument(help="What is typed to log in.")],
    scopes: Annotated[
        list[str], typer.Option("--scope", help="models, sandboxes, files or admin; may be repeated.")
    ],
    quotas: Quota = None,
    source: PasswordFrom = None,
    as_json: AsJson = False,
) -> None:
    """Make a user and print the password, which is shown this once."""
    from lm_sandbox.cli.keys import quotas_of  # noqa: PLC0415 - each verb loads only its own
    from lm_sandbox.cli.users import create_user as create  # noqa: PLC0415

    enter_scope()
    password = _password(source)

    async def make() -> int:
        asked: dict[str, Any] = {"name": name, "scopes": scopes, "quotas": quotas_of(quotas or [])}
        if password is not None:
            asked["password"] = password
        return await create(load_settings(), asked, as_json=as_json)

    finish(make)


@USERS.command("list")
def list_users(as_json: AsJson = False) -> None:
    """List all users, also those from elsewhere who have come."""
    from lm_sandbox.cli.users import list_users as show  # noqa: PLC0415

    enter_scope()
    finish(partial(show, load_settings(), as_json=as_json))


@USERS.command("show")
def show_user(name: UserName, as_json: AsJson = False) -> None:
    """Tell about a user."""
    from lm_sandbox.cli.users import show_user as show  # noqa: PLC0415

    enter_scope()
    finish(partial(show, load_settings(), name, as_json=as_json))


@USERS.command("passwd")
def set_password(name: UserName, source: PasswordFrom = None, as_json: AsJson = False) -> None:
    """Give a user another password and end all its logins; one that is made is shown this once."""
    from lm_sandbox.cli.users import set_password as change  # noqa: PLC0415

    enter_scope()
    password = _password(source)
    finish(partial(change, load_settings(), name, password, as_json=as_json))


@USERS.command("disable")
def disable_user(name: UserName, as_json: AsJson = False) -> None:
    """Shut a user out, at once and with all logins and tokens."""
    _change(name, {"disabled": True}, as_json=as_json)


@USERS.command("enable")
def enable_user(name: UserName, as_json: AsJson = False) -> None:
    """Let a user log in again."""
    _change(name, {"disabled": False}, as_json=as_json)


@USERS.command("delete")
def delete_user(name: UserName) -> None:
    """Forget a user; what the user owns stays, for an admin to delete."""
    from lm_sandbox.cli.users import delete_user as delete  # noqa: PLC0415

    enter_scope()
    finish(partial(delete, load_settings(), name))


def _change(name: str, change: dict[str, Any], *, as_json: bool) -> None:
    from lm_sandbox.cli.users import change_user  # noqa: PLC0415

    enter_scope()
    finish(partial(change_user, load_settings(), name, change, as_json=as_json))


def _password(source: str | None) -> str | None:
    if source == "prompt":
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n") if source == "stdin" else None
