"""What every verb of the command line shares: its settings, and how it ends."""

import gc
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import anyio
import typer
from pydantic import ValidationError
from rich.console import Console

from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import LmSandboxError

FAILED = 1
BAD_USE = 2

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


DriverName = Annotated[str | None, typer.Option("--driver", help="bubblewrap or docker.")]


def load_settings(*, host: str | None = None, port: int | None = None, driver: str | None = None) -> Settings:
    """Reads the settings; flags that were given win."""
    given: dict[str, object] = {"host": host, "port": port, "sandbox": driver and {"driver": driver}}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"])
            complain(f"Setting {place}: {problem['msg']}.")
        raise typer.Exit(BAD_USE) from error


def finish(work: Callable[[], Awaitable[int]]) -> None:
    """Does the work of a verb and ends the program with its status, its errors as messages."""
    # What is loaded by now stays, and is not looked through again.
    gc.freeze()
    gc.enable()
    try:
        status = anyio.run(_awaited, work)
    except* LmSandboxError as group:
        for error in _flat(group):
            complain(str(error))
        status = FAILED
    except* KeyboardInterrupt:
        status = 130
    sys.exit(status)


async def _awaited(work: Callable[[], Awaitable[int]]) -> int:
    return await work()


def _flat(group: BaseExceptionGroup[LmSandboxError]) -> list[BaseException]:
    flat: list[BaseException] = []
    for error in group.exceptions:
        flat += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return flat


def complain(message: str) -> None:
    """Prints an error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(message, style="bold red", markup=False)
