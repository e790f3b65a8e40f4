"""Times go on over a restart of the server, whatever the host's clock says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.instant import Instant
from lm_sandbox.sandboxes.registry import SandboxRegistry
from lm_sandbox.sandboxes.sandbox import Lifetime, NewSandbox
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
THEN = Instant(NOON, "boot", 100.0)
ANNA = Principal("anna", "Anna", frozenset({Scope.SANDBOXES}))


@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(0), timedelta(days=-400)])
def test_a_clock_that_was_put_changes_no_distance(jump: timedelta) -> None:
    assert Instant(NOON + jump, "boot", 130.0).since(THEN) == 30


def test_over_a_restart_of_the_host_its_clock_counts_and_never_backwards() -> None:
    assert Instant(NOON + timedelta(seconds=40), "other", 3.0).since(THEN) == 40
    assert Instant(NOON - timedelta(days=1), "other", 3.0).since(THEN) == 0
    assert Instant(NOON + timedelta(seconds=40)).since(Instant(NOON)) == 40


def test_now_is_after_before() -> None:
    before = Instant.now()
    now = Instant.now()
    assert now.boot == before.boot
    assert 0 <= now.since(before) < 60


@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400)])
def test_a_sandbox_is_as_old_as_before_when_the_clock_was_put_while_no_server_was_there(
    tmp_path: Path, jump: timedelta
) -> None:
    before = SandboxRegistry(SandboxSettings(), tmp_path, lambda: 1000.0)
    made = before.add(ANNA, NewSandbox(lifetime=Lifetime(idle_timeout_s=50, max_age_s=100)))
    now = Instant.now()
    made.made = replace(now, wall=now.wall - jump, boot_s=now.boot_s - 60)
    made.used = replace(now, wall=now.wall - jump, boot_s=now.boot_s - 20)
    record = SandboxRecord.model_validate_json(SandboxRecord.of(made).model_dump_json())
    after = SandboxRegistry(SandboxSettings(), tmp_path, lambda: 5.0).picture(record, None)
    assert not after.is_over(5.0)
    assert not after.is_over(5.0 + 29)
    assert after.is_over(5.0 + 31), "it has been idle for 50 seconds"
    after.idle_since = 5.0 + 40
    assert not after.is_over(5.0 + 39)
    assert after.is_over(5.0 + 41), "it is 100 seconds old"


def test_a_record_of_an_older_release_is_understood(tmp_path: Path) -> None:
    made = SandboxRegistry(SandboxSettings(), tmp_path, lambda: 0.0).add(ANNA, NewSandbox())
    told = SandboxRecord.of(made).model_dump(mode="json")
    for name in ("boot", "created_s", "last_active_s"):
        del told[name]
    record = SandboxRecord.model_validate(told)
    assert record.made == Instant(made.created_at)
    assert Instant.now().since(record.used) < 60
