"""Which containers belong to a server that is no more.

Each run of a server holds a lock on a file of its own in the data directory and writes its name on its
containers. The kernel lets go of the lock however the server ends, also where process numbers mean
nothing to the next one.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = ".run"


@contextmanager
def held_run(folder: Path) -> Iterator[str]:
    """Names this run for as long as the context lasts."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = secrets.token_hex(8)
    path = folder / (name + SUFFIX)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield name
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)


@contextmanager
def ended_run(path: Path) -> Iterator[str | None]:
    """Holds the file of a run that has ended, and forgets the run when the context ends well.

    None where the run goes on.
    """
    with suppress(FileNotFoundError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield path.name.removesuffix(SUFFIX)
        path.unlink(missing_ok=True)


def all_runs(folder: Path) -> list[Path]:
    """Lists the files of every run that is not forgotten."""
    return sorted(folder.glob(f"*{SUFFIX}"))
