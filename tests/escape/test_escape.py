"""Makes every attempt from inside and finds each in vain, with the sandbox well afterwards."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.verification.attempts import (
    ATTEMPTS,
    CANARY,
    SYSTEM_FILES,
    THROUGH,
    Attempt,
    attempts_on,
)
from lm_sandbox.sandboxes.verification.verify import Verification, can_verify, verification
from tests.conformance.conftest import BOX, ENTERED, SMALL, Run, runner

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not can_verify(), reason="the numbers of system calls are x86-64's"),
]

MADE = [
    pytest.param(driver, attempt, id=f"{driver}: {attempt.group}: {attempt.name}")
    for driver in ENTERED
    for attempt in attempts_on(driver)
]


@pytest.fixture
async def sandbox(new_driver: SandboxDriver) -> AsyncIterator[Verification]:
    async with new_driver as driver, verification(driver) as (made, _):
        yield made


@pytest.mark.parametrize(("new_driver", "attempt"), MADE, indirect=["new_driver"])
async def test_nothing_gets_through(attempt: Attempt, sandbox: Verification) -> None:
    outcome = await sandbox.run(attempt)
    assert outcome.held, outcome


@pytest.mark.parametrize("new_driver", ENTERED, indirect=True)
@pytest.mark.parametrize(
    "script",
    [
        "grep -q . /etc/passwd && echo THROUGH",
        "(echo x > /tmp/y) && echo THROUGH",
        f"{CANARY}=x env | grep -q CANARY && echo THROUGH",
        'test "$PORT" -gt 0 && test -n "$SERVER_FILE" && echo THROUGH',
    ],
)
async def test_an_attempt_that_nothing_stops_is_told(script: str, sandbox: Verification) -> None:
    outcome = await sandbox.run(replace(ATTEMPTS[0], script=script))
    assert outcome.got_through
    assert not outcome.held
    assert THROUGH in outcome.output


def test_there_are_enough_attempts_and_none_twice() -> None:
    names = [(attempt.group, attempt.name) for attempt in ATTEMPTS]
    assert len(set(names)) == len(names) >= 120
    assert len(attempts_on("docker")) == len(ATTEMPTS) - len(SYSTEM_FILES)


@pytest.fixture
async def run(new_driver: SandboxDriver) -> AsyncIterator[Run]:
    async with new_driver as driver:
        await driver.create(BOX, SMALL)
        yield runner(driver, BOX)


@pytest.mark.parametrize("new_driver", ENTERED, indirect=True)
async def test_every_way_in_carries_the_same_confinement(run: Run) -> None:
    fields = "grep -hE '^(Cap...|NoNewPrivs|Seccomp):' "
    init = (await run(f"{fields} /proc/1/status")).stdout
    keeper = (await run(f"for p in /proc/[0-9]*; do {fields} $p/status 2>/dev/null; done | sort -u")).stdout
    command = (await run(f"{fields} /proc/self/status")).stdout
    assert b"NoNewPrivs:\t1" in init
    assert b"Seccomp:\t2" in init
    assert init == command
    assert sorted(set(init.splitlines())) == sorted(set(keeper.splitlines()))
