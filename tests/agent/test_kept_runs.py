"""Runs as they are kept and as they go on in the background."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from lm_sandbox.agent.background import BackgroundRuns
from lm_sandbox.agent.event_log import EventLog
from lm_sandbox.agent.run_store import FORGET_S, RunRecord, RunStore
from lm_sandbox.errors import NotFound, QuotaReached
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.storage.database import Database

pytestmark = pytest.mark.anyio
ANNA = Principal("anna", "Anna", frozenset({Scope.MODELS}))
BOB = Principal("bob", "Bob", frozenset({Scope.MODELS}))
NEW = RunRecord("r1", "anna", datetime.now(UTC), "{}", "[]", ('{"a": 1}', '{"b": 2}'))


async def test_a_run_comes_back_as_it_was_to_its_owner_alone(database: Database) -> None:
    runs = RunStore(database, 30)
    await runs.add(NEW)
    found = await runs.find(ANNA, "r1")
    assert list(found.events) == list(NEW.events)
    assert replace(found, events=NEW.events) == NEW
    with pytest.raises(NotFound):
        await runs.find(BOB, "r1")
    assert await runs.page(BOB, None, 10) == ([], False)


async def test_old_runs_are_forgotten_while_the_server_runs(database: Database) -> None:
    now = 0.0
    runs = RunStore(database, 30, clock=lambda: now)
    await runs.add(replace(NEW, id="old", created_at=datetime.now(UTC) - timedelta(days=31)))
    await runs.add(NEW)
    assert (await runs.find(ANNA, "old")).id == "old"
    now = FORGET_S
    await runs.add(replace(NEW, id="r2"))
    with pytest.raises(NotFound):
        await runs.find(ANNA, "old")
    assert {head.id for head in (await runs.page(ANNA, None, 10))[0]} == {"r1", "r2"}


async def test_a_list_tells_what_runs_as_the_run_itself_does(database: Database) -> None:
    runs = RunStore(database, 30)
    await runs.add(replace(NEW, running=True))
    assert [head.running for head in (await runs.page(ANNA, None, 10))[0]] == [True]
    await runs.finish("r1", "{}", [])
    assert [head.running for head in (await runs.page(ANNA, None, 10))[0]] == [False]


async def test_a_run_that_fails_in_the_background_ends_no_other() -> None:
    go_on, ended = anyio.Event(), anyio.Event()

    async def fail() -> None:
        raise OSError(28, "No space left on device")

    async def work() -> None:
        await go_on.wait()
        ended.set()

    async with BackgroundRuns(2) as background:
        background.start("good", "anna", EventLog(), work)
        background.start("bad", "anna", EventLog(), fail)
        with pytest.raises(QuotaReached):
            background.start("more", "anna", EventLog(), work)
        await background.cancel("bad")
        assert background.log("bad") is None
        go_on.set()
        with anyio.fail_after(10):
            await ended.wait()
