"""The rounds of `lm-sandbox verify` that the other suites do not make one by one."""

from dataclasses import replace

import pytest

from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.verification.attempts import Attempt
from lm_sandbox.sandboxes.verification.file_attempts import FILE_ATTEMPTS
from lm_sandbox.sandboxes.verification.outside import outside
from lm_sandbox.sandboxes.verification.verify import can_verify, rounds_on, verification
from tests.conformance.conftest import ENTERED

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not can_verify(), reason="the numbers of system calls are x86-64's"),
]


def test_each_driver_has_far_more_than_a_hundred_and_twenty_attempts_and_none_twice() -> None:
    for driver in ("bubblewrap", "docker"):
        rounds = rounds_on(driver, images=driver == "bubblewrap")
        names = [
            (attempt.group, attempt.name)
            for one in rounds
            for attempt in (*one.scripts, *(made.attempt for made in one.files), *one.outwards)
        ]
        assert len(set(names)) == len(names) == sum(one.size for one in rounds) > 400


@pytest.mark.parametrize("new_driver", ENTERED, indirect=True)
async def test_nothing_gets_through_the_file_api(new_driver: SandboxDriver) -> None:
    (files,) = [one for one in rounds_on(new_driver.name, images=False) if one.files]
    async with new_driver as driver, files.open(driver) as opened:
        outcomes = [await attempt() for attempt in opened.tries]
    assert len(outcomes) == len(FILE_ATTEMPTS) > 120
    assert [outcome for outcome in outcomes if not outcome.held] == []


@pytest.mark.parametrize("new_driver", ["bubblewrap"], indirect=True)
async def test_what_the_file_api_would_let_through_is_told(new_driver: SandboxDriver) -> None:
    async def leak(_: object, path: str) -> bytes:
        return file_path(path).encode()

    async with new_driver as driver, verification(driver) as (sandbox, _):
        named = replace(FILE_ATTEMPTS[0], path="{file}", use=leak)
        assert (await sandbox.run_by_files(named)).got_through
        after = replace(FILE_ATTEMPTS[0], after="echo THROUGH")
        assert (await sandbox.run_by_files(after)).got_through
        assert (await sandbox.run_by_files(FILE_ATTEMPTS[0])).held


@pytest.mark.parametrize("new_driver", ["bubblewrap"], indirect=True)
async def test_what_the_egress_policy_would_let_through_is_told(new_driver: SandboxDriver) -> None:
    async with new_driver as driver, verification(driver) as (sandbox, _), outside() as outer:
        async with sandbox.way_out(outer):
            inside = Attempt("egress", "what is allowed", "curl -sS http://up.test:$UP_PORT/")
            assert "reached" in (await sandbox.run_outwards(outer, inside)).output
            leak = Attempt("egress", "what is not", "echo THROUGH")
            assert (await sandbox.run_outwards(outer, leak)).got_through
            assert (await sandbox.run_outwards(outer, inside)).held
