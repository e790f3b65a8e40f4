"""The database is brought to the schema that the code has, from every revision there ever was."""

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
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


def test_each_revision_follows_the_one_before_and_the_newest_is_what_the_code_asks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    chain = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert chain == REVISIONS[::-1]
    assert chain[0] == NEWEST_REVISION


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
