"""A database for each test, migrated once."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from lm_sandbox.storage.database import Database


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "empty.db"

    async def make() -> None:
        async with Database(path) as database, database.begin() as connection:
            # What is copied is the file alone.
            await connection.exec_driver_sql("SELECT 1")
        assert not path.with_name("empty.db-wal").exists()

    anyio.run(make)
    return path


@pytest.fixture
async def database(empty_database: Path, tmp_path: Path) -> AsyncIterator[Database]:
    path = tmp_path / "test.db"
    shutil.copyfile(empty_database, path)
    async with Database(path) as database:
        yield database
