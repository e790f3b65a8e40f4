"""The database: opened once by the app, brought to the newest schema, closed at the end."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Self

import anyio.to_thread
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

NEWEST_REVISION = "0010"
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """A connection pool over SQLite in WAL mode.

    Args:
        path: The database file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine: AsyncEngine | None = None

    async def __aenter__(self) -> Self:
        self._path.touch(mode=0o600, exist_ok=True)
        self._engine = create_async_engine(f"sqlite+aiosqlite:///{self._path}")
        event.listen(self._engine.sync_engine, "connect", _prepare)
        async with self._engine.connect() as connection:
            current = await connection.run_sync(_revision)
        if current != NEWEST_REVISION:
            await anyio.to_thread.run_sync(_migrate, f"sqlite:///{self._path}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._engine is not None:
            await self._engine.dispose()

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Opens a transaction that commits when its block ends well and rolls back otherwise."""
        if self._engine is None:
            raise RuntimeError("the database is used outside its context")
        return self._engine.begin()


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "busy_timeout=5000",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(url: str) -> None:
    # Imported here because it costs a third of a second, and an up-to-date database needs none of it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, "head")
