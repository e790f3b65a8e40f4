import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from lm_sandbox.errors import Conflict, Invalid, KeyExpired, KeyNotFound, KeyRevoked, Unauthenticated
from lm_sandbox.identity.key_records import KeyState
from lm_sandbox.identity.keys import CACHE_S, KeyChange, KeyStore, NewKey
from lm_sandbox.identity.local_key import LocalKey
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.quotas import Quotas
from lm_sandbox.storage.database import Database

pytestmark = pytest.mark.anyio


async def test_a_key_is_known_again_with_its_scopes(database: Database) -> None:
    issued = await KeyStore(database).issue("ci", frozenset({Scope.MODELS}))
    principal = await KeyStore(database).authenticate(issued.token)
    assert (principal.id, principal.name, principal.scopes) == (issued.id, "ci", frozenset({Scope.MODELS}))


async def test_nothing_in_the_database_gives_the_key_away(database: Database, tmp_path: Path) -> None:
    issued = await KeyStore(database).issue("ci", frozenset({Scope.ADMIN}))
    secret = issued.token.removeprefix("lms_")
    async with database.begin() as connection:
        rows = [*(await connection.execute(text("SELECT * FROM api_keys")))]
        rows += await connection.execute(text("SELECT * FROM api_key_secrets"))
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


async def test_the_database_opens_again_without_migrating(database: Database) -> None:
    await KeyStore(database).issue("kept", frozenset())
    async with Database(database.backend) as again:
        assert await KeyStore(again).count() == 1


MODELS = frozenset({Scope.MODELS})
START = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Clock:
    """A clock that is set by hand; both faces go together."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Database, clock: Clock) -> KeyStore:
    return KeyStore(database, clock=clock.monotonic, now=clock.now)


async def test_a_key_stops_at_its_time_to_the_moment_though_it_is_remembered(
    store: KeyStore, clock: Clock
) -> None:
    issued = await store.make(NewKey("ci", MODELS, expires_at=START + timedelta(seconds=60)))
    clock.seconds = 59.9
    await store.authenticate(issued.token)
    clock.seconds = 60.0
    with pytest.raises(KeyExpired):
        await store.authenticate(issued.token)
    assert (await store.find(issued.id)).state(clock.now()) is KeyState.EXPIRED
    with pytest.raises(Invalid):
        await store.make(NewKey("late", MODELS, expires_at=clock.now()))


async def test_an_expired_key_works_again_when_it_gets_more_time(store: KeyStore, clock: Clock) -> None:
    issued = await store.make(NewKey("ci", MODELS, expires_at=START + timedelta(seconds=60)))
    clock.seconds = 61.0
    await store.change(issued.id, KeyChange(expires_at=START + timedelta(hours=1)))
    assert (await store.authenticate(issued.token)).id == issued.id


async def test_a_revoked_key_is_refused_at_once_and_stays_in_the_list(store: KeyStore, clock: Clock) -> None:
    issued = await store.issue("ci", MODELS)
    await store.authenticate(issued.token)
    await store.revoke(issued.id)
    with pytest.raises(KeyRevoked):
        await store.authenticate(issued.token)
    [kept], more = await store.page(limit=10)
    assert (kept.state(clock.now()), more) == (KeyState.REVOKED, False)
    for change in (store.revoke(issued.id), store.rotate(issued.id), store.change(issued.id, KeyChange("x"))):
        with pytest.raises(Conflict):
            await change


async def test_another_process_learns_of_a_revocation_when_its_memory_is_over(
    store: KeyStore, database: Database, clock: Clock
) -> None:
    other = KeyStore(database, clock=clock.monotonic, now=clock.now)
    issued = await store.issue("ci", MODELS)
    await other.authenticate(issued.token)
    await store.revoke(issued.id)
    clock.seconds = CACHE_S
    with pytest.raises(KeyRevoked):
        await other.authenticate(issued.token)


async def test_a_rotated_key_is_the_same_principal_and_the_old_secret_is_worthless(store: KeyStore) -> None:
    issued = await store.issue("ci", MODELS)
    before = await store.authenticate(issued.token)
    renewed = await store.rotate(issued.id)
    with pytest.raises(Unauthenticated):
        await store.authenticate(issued.token)
    assert await store.authenticate(renewed.token) == before
    assert renewed.key.prefix == renewed.token[:8]


async def test_both_secrets_work_while_they_overlap_and_revoking_ends_both(
    store: KeyStore, clock: Clock
) -> None:
    issued = await store.issue("ci", MODELS)
    second = await store.rotate(issued.id, 60.0)
    clock.seconds = 30.0
    # Changing over once more leaves the first its time and no more.
    third = await store.rotate(issued.id, 3600.0)
    clock.seconds = 59.9
    for token in (issued.token, second.token, third.token):
        assert (await store.authenticate(token)).id == issued.id
    clock.seconds = 60.0
    with pytest.raises(Unauthenticated):
        await store.authenticate(issued.token)
    await store.revoke(issued.id)
    for token in (second.token, third.token):
        with pytest.raises(KeyRevoked):
            await store.authenticate(token)


async def test_what_was_lent_in_a_keys_name_ends_with_it(store: KeyStore, clock: Clock) -> None:
    issued = await store.issue("ci", MODELS)
    lent = store.lent.lend(Principal("x", "x", MODELS), issued.id, "sandbox sb_1", MODELS)
    assert (await store.authenticate(lent)).id == issued.id
    await store.revoke(issued.id)
    with pytest.raises(KeyRevoked):
        await store.authenticate(lent)
    expiring = await store.make(NewKey("ci", MODELS, expires_at=START + timedelta(seconds=1)))
    lent = store.lent.lend(Principal("x", "x", MODELS), expiring.id, "sandbox sb_2", MODELS)
    clock.seconds = 1.0
    with pytest.raises(KeyExpired):
        await store.authenticate(lent)


async def test_scopes_and_quotas_change_for_the_next_request(store: KeyStore) -> None:
    issued = await store.make(NewKey("ci", MODELS, Quotas(sandboxes=3)))
    assert (await store.authenticate(issued.token)).quotas == Quotas(sandboxes=3)
    await store.change(
        issued.id, KeyChange(scopes=frozenset({Scope.FILES}), quotas=Quotas(sandboxes=0, runs=2))
    )
    found = await store.authenticate(issued.token)
    assert (found.scopes, found.quotas) == (frozenset({Scope.FILES}), Quotas(sandboxes=0, runs=2))


async def test_an_unknown_key_is_not_found(store: KeyStore) -> None:
    for asked in (store.find("key_x"), store.revoke("key_x"), store.rotate("key_x")):
        with pytest.raises(KeyNotFound):
            await asked


async def test_use_is_noted_to_the_minute(store: KeyStore, clock: Clock) -> None:
    issued = await store.issue("ci", MODELS)
    for seconds, noted in ((1.0, 1.0), (30.0, 1.0), (61.0, 61.0)):
        clock.seconds = seconds
        await store.authenticate(issued.token)
        assert (await store.find(issued.id)).last_used_at == START + timedelta(seconds=noted)


async def test_a_configured_key_that_was_revoked_does_not_come_back(
    database: Database, tmp_path: Path
) -> None:
    local, store = LocalKey(tmp_path / "api-key"), KeyStore(database)
    token = await local.ensure(store, "a-key-of-my-own-choice")
    await store.revoke((await store.authenticate(token)).id)
    with pytest.raises(Invalid, match="no more"):
        await local.ensure(store, token)


async def test_a_local_key_that_was_revoked_is_replaced(database: Database, tmp_path: Path) -> None:
    local, store = LocalKey(tmp_path / "api-key"), KeyStore(database)
    token = await local.ensure(store)
    await store.revoke((await store.authenticate(token)).id)
    assert (again := await local.ensure(store)) != token
    assert Scope.ADMIN in (await store.authenticate(again)).scopes
