"""The console script."""

import gc


def start() -> None:
    """Runs the command line; while it is loaded nothing is garbage, so none is looked for until `finish`."""
    gc.disable()
    from lm_sandbox.cli.main import app  # noqa: PLC0415 - what this is about

    app()
