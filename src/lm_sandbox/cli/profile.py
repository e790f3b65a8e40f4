"""`lm-sandbox serve --profile`: what takes the server's time, as a page with its call tree."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from lm_sandbox.errors import Invalid

if TYPE_CHECKING:
    from pyinstrument import Profiler

EVERY_S = 0.001


def unprofiled() -> None:
    """Ends nothing."""


def start_profile(path: Path) -> Callable[[], None]:
    """Samples what the event loop does from now on, until what it returns is called, which writes it down.

    Raises:
        Invalid: pyinstrument is not installed, or the file cannot be written.
    """
    try:
        from pyinstrument import Profiler  # noqa: PLC0415 - an extra that may not be there
    except ImportError as error:
        raise Invalid(
            "Profiles need pyinstrument; install it with: pip install 'lm-sandbox[profile]'", field="profile"
        ) from error
    try:
        page = path.open("w", encoding="utf-8")
    except OSError as error:
        raise Invalid(f"The profile cannot be written: {error.strerror}.", field="profile") from error
    profiler = Profiler(interval=EVERY_S, async_mode="disabled")
    profiler.start()
    return partial(_finish, profiler, page, path)


def _finish(profiler: "Profiler", page: TextIO, path: Path) -> None:
    profiler.stop()
    with page:
        page.write(profiler.output_html())
    Console(stderr=True, highlight=False).print(f"The profile is in {path}.")
