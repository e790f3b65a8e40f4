"""The database is brought to the schema that the code has, from every revision there ever was."""

import re
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

import lm_sandbox.app  # noqa: F401 - every table hangs on the metadata then
from lm_sandbox.storage.database import MIGRATIONS, NEWEST_REVISION, Database
from lm_sandbox.storage.schema import METADATA

REVISIONS = sorted(path.name[1:5] for path in (MIGRATIONS / "versions").glob("r[0-9]*.py"))


def migrated(path: Path, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = f"sqlite:///{path}"
    command.upgrade(config, revision)


def test_the_newest_revision_is_the_one_that_the_code_asks_for() -> None:
    assert REVISIONS[-1] == NEWEST_REVISION
    assert [re.sub(r"\D", "", revision) for revision in REVISIONS] == [
        f"{n:04}" for n in range(1, len(REVISIONS) + 1)
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_earlier_database_is_brought_to_the_newest_schema(revision: str, tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    migrated(path, revision)
    async with Database(path):
        pass
    with create_engine(f"sqlite:///{path}").connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert [difference for difference in differences if difference[0] != "remove_index"] == []
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(NEWEST_REVISION,)]
