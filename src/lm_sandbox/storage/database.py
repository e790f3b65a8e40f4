"""The database: opened once by the app, brought to the newest schema, closed at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import anyio.to_thread
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lm_sandbox.config.storage import DatabaseSettings
from lm_sandbox.errors import DatabaseUnavailable
from lm_sandbox.storage.backend import Backend
from lm_sandbox.storage.postgresql import PostgreSql
from lm_sandbox.storage.sqlite import Sqlite

NEWEST_REVISION = "0014"
MIGRATIONS = Path(__file__).parent / "migrations"
FILE = "lm-sandbox.db"
RETRY_AFTER_S = 2
# What SQLite, PostgreSQL and the kernel say of a disk without room.
FULL = ("disk is full", "No space left", "Disk quota exceeded", "could not extend file")


class Database:
    """A pool of connections to one database.

    Args:
        backend: The database; a path is that of a SQLite file.
    """

    def __init__(self, backend: Backend | Path) -> None:
        self.backend = Sqlite(backend) if isinstance(backend, Path) else backend
        self._engine: AsyncEngine | None = None

    async def __aenter__(self) -> Self:
        """Connects, and brings the schema forward.

        Raises:
            DatabaseUnavailable: it does not answer.
            Invalid: its driver is not installed.
        """
        self._engine = self.backend.open()
        async with self.begin() as connection:
            current = await connection.run_sync(_revision)
        if current != NEWEST_REVISION:
            try:
                await anyio.to_thread.run_sync(migrate, self.backend)
            except OperationalError as error:
                raise _unavailable(error) from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._engine is not None:
            await self._engine.dispose()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Opens a transaction that commits when its block ends well and rolls back otherwise.

        Raises:
            DatabaseUnavailable: the database is gone, its disk is full, or it is too busy. Nothing was
                changed, unless it went away in the very moment of the commit.
            IntegrityError: a row is there already, or refers to one that is not.
        """
        if self._engine is None:
            raise RuntimeError("the database is used outside its context")
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, InternalError, PoolTimeoutError) as error:
            raise _unavailable(error) from error


def backend_of(settings: DatabaseSettings, data_dir: Path) -> Backend:
    """Returns the database that the settings name.

    Raises:
        Invalid: the URL is of no database that is known here.
    """
    return PostgreSql.read(settings) if settings.url else Sqlite(data_dir / FILE, settings.wait_s)


def migrate(backend: Backend, revision: str = "head") -> None:
    """Brings a database to a revision of the schema; blocks."""
    # Imported here because it costs a third of a second, and an up-to-date database needs none of it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = backend.migrations_url
    command.upgrade(config, revision)


def _unavailable(error: SQLAlchemyError) -> DatabaseUnavailable:
    full = any(words in str(error) for words in FULL)
    what = "The database's disk is full" if full else "The database does not answer"
    return DatabaseUnavailable(f"{what}; try again in a moment.", retry_after_s=RETRY_AFTER_S)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
