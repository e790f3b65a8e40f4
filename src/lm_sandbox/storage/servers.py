"""The server processes over one data directory: where each is found, and who takes over from the dead.

Whether one lives is asked of the kernel, not told by a clock: what it has can be taken over in the moment in
which it is gone, and not before. So all of them are on one host.
"""

import fcntl
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import anyio.to_thread

from lm_sandbox.errors import Unavailable
from lm_sandbox.storage.serving_process import is_running, this_server

# The folder in a data directory in which the processes over it find each other.
SERVERS = "servers"
SOCKET, NOTE = ".socket", ".json"
LOCK = "lock"
BACKLOG = 512


class HeldElsewhere(Unavailable):
    """Another server process has it; the edge forwards the request to `holder` where it can."""

    code = "held_elsewhere"

    def __init__(self, holder: str) -> None:
        super().__init__("Another process of this server has this; try again in a moment.", retry_after_s=1)
        self.holder = holder


class Servers:
    """Who serves from a data directory.

    Attributes:
        name: Names this process.
        joins: Whether others find this one, and whether it takes over from the dead.
        listener: Where the others reach this one; only its own user can connect.

    Args:
        folder: Where each is entered, mode 0700.
        joins: As above.
    """

    def __init__(self, folder: Path, *, joins: bool = False) -> None:
        self.name = this_server()
        self.joins = joins
        self.listener: socket.socket | None = None
        self._folder = folder
        self._descriptor = -1
        self._read_at = -1
        self._others: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        """Enters this process."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if self.joins:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(self.address(self.name))
            self.listener.listen(BACKLOG)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Takes this process out."""
        if self.joins:
            self.remove(self.name)
        if self.listener is not None:
            self.listener.close()
        os.close(self._descriptor)

    def others(self) -> tuple[str, ...]:
        """Names the other ones, those too that have died since; costs a microsecond while nothing changes."""
        changed_at = os.fstat(self._descriptor).st_mtime_ns
        if changed_at != self._read_at:
            self._read_at = changed_at
            names = (path.stem for path in self._folder.glob(f"*{SOCKET}"))
            self._others = tuple(sorted(name for name in names if name != self.name))
        return self._others

    def dead(self) -> tuple[str, ...]:
        """Names those that have died and that nobody has taken over from yet."""
        return tuple(name for name in self.others() if not is_running(name))

    def address(self, name: str) -> str:
        """Returns the path of a process's socket, short enough for one (unix(7): 108 bytes)."""
        return f"/proc/self/fd/{self._descriptor}/{name}{SOCKET}"

    def remove(self, name: str) -> None:
        """Takes one out; idempotent."""
        for ending in (SOCKET, NOTE):
            (self._folder / f"{name}{ending}").unlink(missing_ok=True)

    def announce(self, url: str) -> None:
        """Writes down where this process serves, for programs of its user."""
        new = self._folder / f"{self.name}.new"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"url": url, "pid": os.getpid()}, file)
        new.replace(self._folder / f"{self.name}{NOTE}")

    def withdraw(self) -> None:
        """Says that this process takes no more that is new; what it has is asked for here as before."""
        (self._folder / f"{self.name}{NOTE}").unlink(missing_ok=True)

    @asynccontextmanager
    async def taking_over(self) -> AsyncIterator[None]:
        """Keeps the others from taking over from the dead meanwhile; whoever dies lets go."""
        lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await anyio.to_thread.run_sync(fcntl.flock, lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def is_alone(self) -> bool:
        """Whether no other process serves from the data directory now."""
        return all(not is_running(name) for name in self.others())


def serving_urls(folder: Path) -> list[tuple[str, int]]:
    """Tells where processes serve, with their numbers, the newest first."""
    found = []
    for path in folder.glob(f"*{NOTE}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(path.read_text())
            found.append((path.stat().st_mtime, str(note["url"]), int(note["pid"])))
    return [(url, pid) for _, url, pid in sorted(found, reverse=True)]
