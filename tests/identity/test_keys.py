import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from lm_sandbox.errors import Invalid, Unauthenticated
from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.local_key import LocalKey
from lm_sandbox.identity.principals import Scope
from lm_sandbox.storage.database import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "test.db") as opened:
        yield opened


async def test_a_key_is_known_again_with_its_scopes(database: Database) -> None:
    issued = await KeyStore(database).issue("ci", frozenset({Scope.MODELS}))
    principal = await KeyStore(database).authenticate(issued.token)
    assert (principal.id, principal.name, principal.scopes) == (issued.id, "ci", frozenset({Scope.MODELS}))


async def test_nothing_in_the_database_gives_the_key_away(database: Database, tmp_path: Path) -> None:
    issued = await KeyStore(database).issue("ci", frozenset({Scope.ADMIN}))
    secret = issued.token.removeprefix("lms_")
    async with database.begin() as connection:
        rows = (await connection.execute(text("SELECT * FROM api_keys"))).all()
    assert secret not in str(rows)
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()


@pytest.mark.parametrize("wrong", ["", "lms_", "lms_wrong", "x" * 100_000, "ключ"])
async def test_a_wrong_key_is_refused(database: Database, wrong: str) -> None:
    store = KeyStore(database)
    issued = await store.issue("ci", frozenset())
    for token in (wrong, issued.token[:-1], issued.token + "x", issued.token.upper()):
        with pytest.raises(Unauthenticated):
            await store.authenticate(token)


async def test_a_short_chosen_key_is_refused(database: Database) -> None:
    with pytest.raises(Invalid, match="16"):
        await KeyStore(database).issue("me", frozenset(), token="secret")


async def test_the_local_key_is_made_once_and_only_its_user_can_read_it(
    database: Database, tmp_path: Path
) -> None:
    local, store = LocalKey(tmp_path / "api-key"), KeyStore(database)
    first = await local.ensure(store)
    assert await local.ensure(store) == first == local.read()
    assert stat.S_IMODE(local.path.stat().st_mode) == 0o600
    assert await store.count() == 1
    assert (local.first_showing(), local.first_showing()) == (True, False)


async def test_a_configured_key_works_and_is_not_written_down(database: Database, tmp_path: Path) -> None:
    local, store = LocalKey(tmp_path / "api-key"), KeyStore(database)
    assert await local.ensure(store, "a-key-of-my-own-choice") == "a-key-of-my-own-choice"
    assert (await store.authenticate("a-key-of-my-own-choice")).name == "local"
    assert not local.path.exists()


async def test_the_database_opens_again_without_migrating(database: Database, tmp_path: Path) -> None:
    await KeyStore(database).issue("kept", frozenset())
    async with Database(tmp_path / "test.db") as again:
        assert await KeyStore(again).count() == 1
