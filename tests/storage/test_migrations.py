"""The database is brought to the schema that the code has, from every revision there ever was."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

import lm_sandbox.app  # noqa: F401 - every table hangs on the metadata then
from lm_sandbox.storage.backend import Backend
from lm_sandbox.storage.database import MIGRATIONS, NEWEST_REVISION, Database, migrate
from lm_sandbox.storage.schema import METADATA

REVISIONS = sorted(path.name[1:5] for path in (MIGRATIONS / "versions").glob("r[0-9]*.py"))


def test_the_newest_revision_is_the_one_that_the_code_asks_for() -> None:
    assert REVISIONS[-1] == NEWEST_REVISION
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert [script.revision for script in scripts.walk_revisions()][::-1] == REVISIONS


@pytest.mark.anyio
@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_earlier_database_is_brought_to_the_newest_schema(
    revision: str, backend: Backend
) -> None:
    migrate(backend, revision)
    async with Database(backend):
        pass
    engine = create_engine(backend.migrations_url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)
        assert [difference for difference in differences if difference[0] != "remove_index"] == []
        versions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        assert versions == [NEWEST_REVISION]
    engine.dispose()
