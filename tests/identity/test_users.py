"""Users, their passwords and their logins."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from lm_sandbox.config.access import LimitSettings, PasswordSettings
from lm_sandbox.errors import (
    Conflict,
    Forbidden,
    GrantRefused,
    Invalid,
    RateLimited,
    Unauthenticated,
    UserDisabled,
    UserNotFound,
)
from lm_sandbox.identity.logins import REFRESH_TOKENS, Reused
from lm_sandbox.identity.passwords import Passwords
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.quotas import Quotas
from lm_sandbox.identity.sign_in import Asked, Grant
from lm_sandbox.identity.user_records import USERS
from lm_sandbox.identity.users import NewUser, UserChange
from lm_sandbox.storage.database import Database
from lm_sandbox.telemetry.happenings import LoginEnded, LoginTried
from tests.identity.house import BOTH, CHEAP, DAY_S, HOME, PASSWORD, House

pytestmark = pytest.mark.anyio

MODELS = frozenset({Scope.MODELS})
ShutOut = Callable[[House, Principal, Grant], Awaitable[None]]


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


async def test_a_user_logs_in_and_what_the_tokens_make_belongs_to_the_user(house: House) -> None:
    user = await house.user()
    first, second = await house.log_in(), await house.log_in("ANNA")
    for grant in (first, second):
        found = await house.tokens.authenticate(grant.access.value)
        assert (found.id, found.name, found.scopes) == (user.id, "anna", BOTH)
    narrow = await house.log_in("anna", Scope.MODELS)
    assert (await house.tokens.authenticate(narrow.access.value)).scopes == MODELS
    with pytest.raises(Forbidden):
        await house.log_in("anna", Scope.ADMIN)


async def test_users_have_quotas_of_their_own(house: House) -> None:
    new = NewUser("anna", BOTH, Quotas(sandboxes=2), PASSWORD)
    user, _ = await house.users.make(new)
    token = (await house.log_in()).access.value
    assert (await house.tokens.authenticate(token)).quotas.sandboxes == 2
    await house.users.change(user.id, UserChange(quotas=Quotas(sandboxes=5, runs=1)))
    quotas = (await house.tokens.authenticate(token)).quotas
    assert (quotas.sandboxes, quotas.runs) == (5, 1)
    # What acts in the user's name has them too.
    lent = house.keys.lent.lend(await house.tokens.authenticate(token), user.id, "sandbox", MODELS)
    assert (await house.keys.authenticate(lent)).quotas.sandboxes == 5


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("too short", "12 to 1024"),
        ("x" * 1025, "12 to 1024"),
        ("aaaaaaaaaaaaaaaa", "guessed"),
        ("My-Name-Is-Anna!", "guessed"),
    ],
)
async def test_a_password_that_is_easily_guessed_is_refused(house: House, password: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        await house.users.make(NewUser("anna", BOTH, password=password))


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 129, "@x", "-x", "a/b", "a\u202eb"])
async def test_a_name_that_could_be_taken_for_something_else_is_refused(house: House, name: str) -> None:
    with pytest.raises(Invalid, match="name"):
        await house.users.make(NewUser(name, BOTH, password=PASSWORD))


async def test_a_password_that_is_made_is_never_refused(house: House) -> None:
    for name in ("x", "a"):
        user, password = await house.users.make(NewUser(name, BOTH))
        assert len(password) >= 24
        await house.sign_in.by_password(user.name, password, Asked(HOME))


async def test_one_name_is_one_user_however_it_is_written(house: House) -> None:
    await house.user("anna")
    for name in ("Anna", "ANNA", "\uff41nna"):
        with pytest.raises(Conflict):
            await house.user(name)


async def test_what_looks_the_same_is_the_same_password(house: House) -> None:
    await house.users.make(NewUser("anna", BOTH, password="Stra\u00dfe-u\u0308ber-A\u030angstr\u00f6m"))
    asked = Asked(HOME)
    grant = await house.sign_in.by_password("anna", "Stra\u00dfe-\u00fcber-\u00c5ngstro\u0308m", asked)
    assert grant.user.name == "anna"


async def test_only_a_costly_hash_of_the_password_is_kept_and_renewed_when_the_cost_changes(
    house: House, database: Database
) -> None:
    await house.user()
    costlier = House(database, passwords=Passwords(CHEAP.model_copy(update={"rounds": 2})))
    for server, cost in ((house, "t=1"), (costlier, "t=2")):
        await server.log_in()
        async with database.begin() as connection:
            [row] = (await connection.execute(USERS.select())).mappings().all()
        assert row["password"].startswith("$argon2id$")
        assert cost in row["password"]
        assert PASSWORD not in str(row)


def test_settings_below_the_floor_are_refused() -> None:
    with pytest.raises(ValueError, match="memory_kib"):
        PasswordSettings(memory_kib=1024)


async def test_a_wrong_password_and_a_user_that_is_not_there_cannot_be_told_apart(house: House) -> None:
    """By what is said, and by what is done: each costs one comparison with a whole hash."""
    compared: list[str] = []

    class Counted(Passwords):
        def _compare(self, kept: str, plain: str) -> bool:
            compared.append(kept)
            return super()._compare(kept, plain)

    house = House(house.database, passwords=Counted(CHEAP))
    user = await house.user()
    said = set()
    for name in ("anna", "nobody", "@x", "", "x" * 5000):
        with pytest.raises(GrantRefused) as refused:
            await house.sign_in.by_password(name, "wrong password", Asked(HOME))
        said.add(str(refused.value))
    await house.sign_in.change(user.id, UserChange(disabled=True))
    with pytest.raises(GrantRefused) as refused:
        await house.log_in()
    said.add(str(refused.value))
    assert len(said) == 1
    assert len(compared) == 6
    tries = [one for one in house.told if isinstance(one, LoginTried)]
    assert [(one.who, one.outcome) for one in tries] == [
        (user.id, "wrong_password"), *[("", "unknown_user")] * 4, (user.id, "disabled"),
    ]  # fmt: skip


async def test_a_refresh_token_gives_the_next_ones_once(house: House) -> None:
    await house.user()
    first = await house.log_in()
    second = await house.refresh(first.refresh)
    third = await house.refresh(second.refresh, Scope.MODELS)
    assert len({first.refresh, second.refresh, third.refresh}) == 3
    assert (await house.tokens.authenticate(third.access.value)).scopes == MODELS
    # Fewer scopes of one token are not fewer of the login.
    assert (await house.refresh(third.refresh)).access.scopes == BOTH


async def test_a_refresh_token_that_comes_twice_ends_its_login_and_no_other(house: House) -> None:
    user = await house.user()
    stolen, other = await house.log_in(), await house.log_in()
    thief = await house.refresh(stolen.refresh)
    await house.tokens.authenticate(thief.access.value)
    with pytest.raises(Reused):
        await house.refresh(stolen.refresh)
    with pytest.raises(GrantRefused):
        await house.refresh(thief.refresh)
    for grant in (stolen, thief):
        with pytest.raises(Unauthenticated):
            await house.tokens.authenticate(grant.access.value)
    await house.refresh(other.refresh)
    [ended] = [one for one in house.told if isinstance(one, LoginEnded)]
    assert (ended.who, ended.reason) == (user.id, "reuse")


async def test_of_many_that_come_at_once_with_one_refresh_token_one_gets_in_and_the_login_ends(
    house: House,
) -> None:
    await house.user()
    grant = await house.log_in()
    got: list[str] = []

    async def refresh() -> None:
        try:
            got.append((await house.refresh(grant.refresh)).refresh)
        except GrantRefused:
            got.append("")

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(refresh)
    [winner] = filter(None, got)
    with pytest.raises(GrantRefused):
        await house.refresh(winner)


async def test_refresh_tokens_and_logins_end_in_time(house: House) -> None:
    await house.user()
    unused = await house.log_in()
    house.seconds = 30 * DAY_S
    with pytest.raises(GrantRefused):
        await house.refresh(unused.refresh)
    grant = await house.log_in()
    for _ in range(3):
        house.seconds += 29 * DAY_S
        grant = await house.refresh(grant.refresh)
    house.seconds += 3 * DAY_S
    with pytest.raises(GrantRefused):
        await house.refresh(grant.refresh)


async def test_a_refresh_token_works_for_its_client_only(house: House) -> None:
    await house.user()
    grant = await house.log_in()
    with pytest.raises(GrantRefused, match="another client"):
        await house.refresh(grant.refresh, client="evil")
    await house.refresh(grant.refresh, client="app")


async def test_refresh_tokens_are_kept_as_hashes(house: House, database: Database) -> None:
    await house.user()
    grant = await house.log_in()
    async with database.begin() as connection:
        rows = (await connection.execute(REFRESH_TOKENS.select())).mappings().all()
    assert grant.refresh.removeprefix("lms_refresh_") not in str(rows)


NEW = "quite another password"


async def disabled(house: House, caller: Principal, _: Grant) -> None:
    await house.sign_in.change(caller.id, UserChange(disabled=True))


async def deleted(house: House, caller: Principal, _: Grant) -> None:
    await house.users.delete(caller.id)
    house.tokens.forget()


async def given_a_password(house: House, caller: Principal, _: Grant) -> None:
    await house.sign_in.set_password(caller.id, NEW)


async def changing_the_password(house: House, caller: Principal, _: Grant) -> None:
    await house.sign_in.change_password(caller, PASSWORD, NEW, HOME)


async def logged_out(house: House, _: Principal, grant: Grant) -> None:
    await house.sign_in.revoke(grant.refresh)


@pytest.mark.parametrize("shut_out", [disabled, deleted, given_a_password, changing_the_password, logged_out])
async def test_whoever_is_shut_out_is_out_at_once(house: House, shut_out: ShutOut) -> None:
    user = await house.user()
    grant = await house.log_in()
    caller = await house.tokens.authenticate(grant.access.value)
    lent = house.keys.lent.lend(caller, user.id, "sandbox", MODELS)
    await shut_out(house, caller, grant)
    with pytest.raises(Unauthenticated):
        await house.tokens.authenticate(grant.access.value)
    with pytest.raises(GrantRefused):
        await house.refresh(grant.refresh)
    if shut_out in {disabled, deleted}:
        with pytest.raises(Unauthenticated):
            await house.keys.authenticate(lent)
    if shut_out is logged_out:
        await house.log_in()
        return
    with pytest.raises(GrantRefused):
        await house.log_in()
    if shut_out in {given_a_password, changing_the_password}:
        await house.sign_in.by_password("anna", NEW, Asked(HOME))


async def test_a_login_that_is_ended_twice_is_told_of_once(house: House) -> None:
    user = await house.user()
    grant = await house.log_in()
    [login] = await house.logins.of_user(user.id)
    for _ in range(2):
        await house.sign_in.revoke(grant.refresh)
    assert [one.login for one in house.told if isinstance(one, LoginEnded)] == [login.id]
    assert await house.logins.of_user(user.id) == []


async def test_an_access_token_is_revoked_by_itself(house: House) -> None:
    await house.user()
    grant = await house.log_in()
    await house.tokens.revoke(grant.access.value)
    with pytest.raises(Unauthenticated):
        await house.tokens.authenticate(grant.access.value)
    next_one = await house.refresh(grant.refresh)
    await house.tokens.authenticate(next_one.access.value)


async def test_another_server_learns_of_it_within_two_seconds(house: House) -> None:
    user = await house.user()
    other = House(house.database)
    grant = await house.log_in()
    await other.tokens.authenticate(grant.access.value)
    await house.sign_in.change(user.id, UserChange(disabled=True))
    other.seconds = house.seconds = 2.0
    with pytest.raises(Unauthenticated):
        await other.tokens.authenticate(grant.access.value)


async def test_a_user_who_is_let_in_again_has_to_log_in(house: House) -> None:
    user = await house.user()
    grant = await house.log_in()
    await house.sign_in.change(user.id, UserChange(disabled=True))
    with pytest.raises(UserDisabled):
        await house.users.owner(user.id)
    await house.sign_in.change(user.id, UserChange(disabled=False))
    with pytest.raises(GrantRefused):
        await house.refresh(grant.refresh)
    await house.log_in()


async def test_a_user_that_is_made_again_is_another_one(house: House) -> None:
    first = await house.user()
    await house.users.delete(first.id)
    second = await house.user()
    assert first.id != second.id
    with pytest.raises(UserNotFound):
        await house.users.delete(first.id)


async def test_who_guesses_a_password_is_slowed_whether_the_account_is_there_or_not(
    database: Database,
) -> None:
    house = House(database, limits=LimitSettings(account_logins_per_minute=3))
    await house.user()
    for name in ("anna", "nobody"):
        for number in range(3):
            with pytest.raises(GrantRefused):
                await house.sign_in.by_password(name, "wrong password", Asked(f"203.0.113.{number}"))
        # Not even the right one is looked at.
        with pytest.raises(RateLimited):
            await house.sign_in.by_password(name.upper(), PASSWORD, Asked("203.0.113.9"))
    house.seconds += 60
    await house.log_in(place="203.0.113.9")


async def test_who_guesses_cannot_lock_out_a_user_at_a_place_that_was_used_before(database: Database) -> None:
    house = House(database, limits=LimitSettings(account_logins_per_minute=3))
    await house.user()
    await house.log_in()
    for minute in range(3):
        house.seconds = 60.0 * (minute + 1)
        for number in range(5):
            with pytest.raises((GrantRefused, RateLimited)):
                await house.sign_in.by_password("anna", "wrong password", Asked(f"203.0.113.{number}"))
        await house.log_in(place=HOME)
    # Nor may that place be used to guess without end.
    for _ in range(2):
        with pytest.raises(GrantRefused):
            await house.sign_in.by_password("anna", "wrong password", Asked(HOME))
    with pytest.raises(RateLimited):
        await house.log_in(place=HOME)


async def test_a_crowd_of_guesses_at_once_gets_no_more_tries(database: Database) -> None:
    house = House(database, limits=LimitSettings(account_logins_per_minute=3))
    await house.user()
    ended: list[type[Exception]] = []

    async def guess(number: int) -> None:
        try:
            await house.sign_in.by_password("anna", f"wrong password {number}", Asked("203.0.113.1"))
        except (GrantRefused, RateLimited) as error:
            ended.append(type(error))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(guess, number)
    assert ended.count(GrantRefused) == 3
    assert ended.count(RateLimited) == 17


async def test_only_the_last_places_of_a_user_are_kept(house: House) -> None:
    user = await house.user()
    for number in range(20):
        house.seconds += 1
        await house.records.note_login(user.id, f"198.51.100.{number}", house.now())
    since = house.now().replace(year=2029)
    known = [await house.records.knows_place(user.id, f"198.51.100.{n}", since) for n in range(20)]
    assert known == [False] * 4 + [True] * 16


async def test_users_are_listed_in_pages_and_found_by_name(house: House) -> None:
    made = []
    for number in range(3):
        house.seconds += 1
        made.append(replace(await house.user(f"user{number}")).id)
    first, more = await house.users.page(limit=2)
    second, end = await house.users.page(after=first[-1].id, limit=2)
    assert ([user.id for user in first + second], more, end) == (made, True, False)
    [found] = (await house.users.page(limit=9, name="USER1"))[0]
    assert found.id == made[1]
