"""What a database does when it is well, gone, full, or asked by too many at once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from subprocess import run

import anyio
import pytest
from pydantic import SecretStr
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError, StatementError

from lm_sandbox.config.storage import DatabaseSettings
from lm_sandbox.errors import DatabaseUnavailable, Invalid
from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.signing_keys import SIGNING_KEYS
from lm_sandbox.storage.database import Database, backend_of
from tests.postgresql import PostgreSqlServer, postgresql_server

pytestmark = pytest.mark.anyio
ROW = {"id": "sig", "private": b"", "created_at": datetime(2030, 1, 1, tzinfo=UTC)}


@pytest.fixture
def own_server() -> Iterator[PostgreSqlServer]:
    with postgresql_server() as server:
        yield server


async def test_a_time_comes_back_with_its_zone_whatever_zone_it_was_told_in(database: Database) -> None:
    moment = datetime(2030, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
    there = moment.astimezone(timezone(timedelta(hours=9)))
    store = KeyStore(database, now=lambda: there)
    issued = await store.issue("far", frozenset())
    found = (await store.find(issued.id)).created_at
    assert (found, found.utcoffset()) == (moment, timedelta(0))


async def test_a_time_without_a_zone_is_not_taken(database: Database) -> None:
    zoneless = datetime(2030, 1, 1)  # noqa: DTZ001 - what is refused
    with pytest.raises(StatementError, match="without a zone"):
        async with database.begin() as connection:
            await connection.execute(insert(SIGNING_KEYS).values(**{**ROW, "created_at": zoneless}))


async def test_what_fails_half_way_leaves_nothing(database: Database) -> None:
    async def fail_half_way() -> None:
        async with database.begin() as connection:
            await connection.execute(insert(SIGNING_KEYS).values(**ROW))
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await fail_half_way()
    async with database.begin() as connection:
        assert (await connection.execute(select(SIGNING_KEYS))).all() == []


async def test_a_row_that_is_there_already_is_no_outage(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(SIGNING_KEYS).values(**ROW))
    with pytest.raises(IntegrityError):
        async with database.begin() as connection:
            await connection.execute(insert(SIGNING_KEYS).values(**ROW))


async def test_many_at_once_wait_for_each_other(database: Database) -> None:
    store = KeyStore(database)
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(store.issue, f"key {number}", frozenset())
    assert await store.count() == 40


async def test_while_postgresql_is_gone_it_says_so_and_afterwards_it_works_by_itself(
    own_server: PostgreSqlServer, tmp_path: Path
) -> None:
    settings = DatabaseSettings(url=SecretStr(own_server.new_url()))
    async with Database(backend_of(settings, tmp_path)) as database:
        store = KeyStore(database)
        await store.issue("before", frozenset())
        own_server.stop()
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable, match="does not answer") as caught:
                await store.count()
            assert caught.value.retry_after_s
        own_server.start()
        assert await store.count() == 1
        await store.issue("after", frozenset())
        assert await store.count() == 2


async def test_a_database_that_is_not_there_at_the_start_is_told(
    own_server: PostgreSqlServer, tmp_path: Path
) -> None:
    url = own_server.new_url()
    own_server.stop()
    with pytest.raises(DatabaseUnavailable):
        async with Database(backend_of(DatabaseSettings(url=SecretStr(url)), tmp_path)):
            pass


async def test_who_waits_too_long_for_a_connection_is_told_to_come_back(
    postgresql: PostgreSqlServer, tmp_path: Path
) -> None:
    settings = DatabaseSettings(url=SecretStr(postgresql.new_url()), pool=1, overflow=0, wait_s=0.1)
    async with Database(backend_of(settings, tmp_path)) as database, database.begin():
        with pytest.raises(DatabaseUnavailable):
            await KeyStore(database).count()


async def test_a_statement_has_an_end(postgresql: PostgreSqlServer, tmp_path: Path) -> None:
    settings = DatabaseSettings(url=SecretStr(postgresql.new_url()), statement_s=0.1)
    async with Database(backend_of(settings, tmp_path)) as database:
        with pytest.raises(DatabaseUnavailable):
            async with database.begin() as connection:
                await connection.execute(text("SELECT pg_sleep(60)"))
        with pytest.raises(ProgrammingError):
            async with database.begin() as connection:
                await connection.execute(text("SELECT nonsense"))


@pytest.mark.parametrize("url", ["mysql://host/name", "nonsense", "sqlite:///x.db"])
def test_other_databases_are_refused_without_telling_the_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="postgresql://") as caught:
        backend_of(DatabaseSettings(url=SecretStr(url)), tmp_path)
    assert url not in str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        run(["umount", "--lazy", str(folder)], check=True)


async def test_while_the_disk_is_full_it_says_so_and_afterwards_it_works_by_itself(small_disk: Path) -> None:
    async with Database(small_disk / "test.db") as database:
        store = KeyStore(database)
        await store.issue("before", frozenset())
        ballast = small_disk / "ballast"
        _fill(ballast)
        with pytest.raises(DatabaseUnavailable, match="disk is full") as caught:
            await _until_it_fails(lambda number: store.issue(f"key {number}", frozenset()))
        assert caught.value.retry_after_s
        count = await store.count()
        ballast.unlink()
        await store.issue("after", frozenset())
        assert await store.count() == count + 1


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


async def _until_it_fails(work: Callable[[int], object]) -> None:
    for number in range(1000):
        await work(number)  # type: ignore[misc]
