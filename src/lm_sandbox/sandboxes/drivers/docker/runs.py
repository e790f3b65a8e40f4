"""Which containers belong to a server that is no more.

Each run of a server holds a lock on a file of its own in the data directory and writes its name on its
containers. The launcher holds it, too: a run goes on until nobody is left who could hand its sandboxes to
another server. The kernel lets go of the lock however they ended, also where process numbers mean nothing to
the next one.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".run"


@dataclass(frozen=True, slots=True)
class Run:
    """A run that this process holds.

    Attributes:
        name: Stands on its containers.
        fd: Holds the lock; whoever has a descriptor of it holds it as well.
        path: The file.
    """

    name: str
    fd: int
    path: Path

    def end(self) -> None:
        """Forgets it; nothing of it is left."""
        self.path.unlink(missing_ok=True)


@contextmanager
def released(run: Run) -> Iterator[Run]:
    """Lets go of a run when the context ends, and forgets it where that ends well."""
    try:
        yield run
        run.end()
    finally:
        os.close(run.fd)


def new_run(folder: Path) -> Run:
    """Begins a run."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = secrets.token_hex(8)
    path = folder / (name + SUFFIX)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return Run(name, fd, path)


def inherited_run(folder: Path, name: str, fd: int) -> Run:
    """Returns a run that an earlier server has begun and a launcher has held."""
    return Run(name, fd, folder / (name + SUFFIX))


def ended_runs(folder: Path) -> list[Run]:
    """Takes over every run that nobody holds any more; those that go on are left alone."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            found.append(Run(path.name.removesuffix(SUFFIX), fd, path))
    return found
