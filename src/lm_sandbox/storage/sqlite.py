"""SQLite: one file in the data directory, in WAL mode, so that readers do not wait for a writer."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Sqlite:
    """A database file.

    Attributes:
        path: Where it is; its folder must exist.
        wait_s: How long one writer waits for another.
    """

    path: Path
    wait_s: float = WAIT_S

    @property
    def migrations_url(self) -> URL:
        """What a program without an event loop connects to."""
        return URL.create("sqlite", database=str(self.path))

    def open(self) -> AsyncEngine:
        """Makes the file, for its user only, and the engine."""
        self.path.touch(mode=0o600, exist_ok=True)
        url = URL.create("sqlite+aiosqlite", database=str(self.path))
        engine = create_async_engine(url, pool_timeout=self.wait_s)
        event.listen(engine.sync_engine, "connect", self._prepare)
        return engine

    def _prepare(self, connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={round(self.wait_s * 1000)}",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
