"""The databases that everything which is stored is tested on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from lm_sandbox.config.storage import DatabaseSettings
from lm_sandbox.storage.backend import Backend
from lm_sandbox.storage.database import Database, backend_of
from tests.postgresql import PostgreSqlServer

SYSTEMS = ["sqlite", "postgresql"]


@pytest.fixture(params=SYSTEMS)
def database_settings(request: pytest.FixtureRequest) -> DatabaseSettings:
    """The settings of an empty database, of each system in turn."""
    if request.param == "sqlite":
        return DatabaseSettings()
    server: PostgreSqlServer = request.getfixturevalue("postgresql")
    return DatabaseSettings(url=SecretStr(server.new_url()))


@pytest.fixture
def backend(database_settings: DatabaseSettings, tmp_path: Path) -> Backend:
    """An empty database, of each system in turn."""
    return backend_of(database_settings, tmp_path)


@pytest.fixture
async def database(backend: Backend) -> AsyncIterator[Database]:
    """An open database with the newest schema, of each system in turn."""
    async with Database(backend) as opened:
        yield opened
