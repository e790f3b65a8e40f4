from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import (
    DriverUnavailable,
    Forbidden,
    Gone,
    Invalid,
    NoCapacity,
    SandboxNotFound,
    TooLarge,
)
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.sandbox import NewCommand, NewSandbox, SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxStore
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.storage.database import Database
from tests.conftest import eventually
from tests.sandboxes.fake_driver import Doomed, FakeDriver

ANNA = Principal("anna", "Anna", frozenset({Scope.SANDBOXES}))
BOB = Principal("bob", "Bob", frozenset({Scope.SANDBOXES}))
ADMIN = Principal("root", "Root", frozenset({Scope.ADMIN}))

pytestmark = pytest.mark.anyio


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
async def service(
    driver: FakeDriver, clock: Clock, tmp_path: Path, database: Database
) -> AsyncIterator[SandboxService]:
    settings = SandboxSettings(max_sandboxes=3, idle_timeout_s=100, max_command_bytes=1000)
    async with (
        SnapshotStore(database, tmp_path / "snapshots", 10 * MIB) as snapshots,
        SandboxService(
            driver, settings, snapshots, SandboxStore(database), tmp_path / "spool", clock=clock
        ) as started,
    ):
        yield started


async def test_a_sandbox_is_seen_by_its_owner_and_an_admin_only(service: SandboxService) -> None:
    made = await service.create(ANNA, NewSandbox())
    assert made.state is SandboxState.RUNNING
    assert service.get(ANNA, made.id) is service.get(ADMIN, made.id)
    with pytest.raises(SandboxNotFound):
        service.get(BOB, made.id)
    assert await service.page(BOB, limit=10) == ([], False)


async def test_a_deleted_sandbox_is_gone_for_its_owner_and_unknown_to_others(
    service: SandboxService, driver: FakeDriver
) -> None:
    made = await service.create(ANNA, NewSandbox())
    await service.delete(ANNA, made.id)
    assert not driver.alive
    with pytest.raises(Gone):
        service.get(ANNA, made.id)
    with pytest.raises(SandboxNotFound):
        service.get(BOB, made.id)


async def test_pages_follow_one_another_without_gap_or_repeat(service: SandboxService) -> None:
    made = [(await service.create(ANNA, NewSandbox())).id for _ in range(3)]
    first, more = await service.page(ANNA, limit=2)
    assert more
    second, more = await service.page(ANNA, after=first[-1].id, limit=2)
    assert not more
    assert [sandbox.id for sandbox in (*first, *second)] == made


async def test_idle_sandboxes_are_deleted_and_used_ones_stay(
    service: SandboxService, clock: Clock, driver: FakeDriver
) -> None:
    idle = await service.create(ANNA, NewSandbox())
    used = await service.create(ANNA, NewSandbox())
    clock.now = 99
    await service.run(ANNA, used.id, NewCommand("true"))
    clock.now = 100
    await service.reap()
    assert set(driver.alive) == {used.id}
    with pytest.raises(Gone):
        service.get(ANNA, idle.id)


async def test_a_sandbox_whose_files_are_used_is_not_idle_and_is_its_owners(
    service: SandboxService, clock: Clock, driver: FakeDriver
) -> None:
    made = await service.create(ANNA, NewSandbox())
    async with service.files(ANNA, made.id):
        clock.now = 500
        await service.reap()
    clock.now = 599
    await service.reap()
    assert set(driver.alive) == {made.id}
    with pytest.raises(SandboxNotFound):
        async with service.files(BOB, made.id):
            raise AssertionError


async def test_no_more_than_the_allowed_number_exist_at_once(service: SandboxService) -> None:
    for _ in range(3):
        await service.create(ANNA, NewSandbox())
    with pytest.raises(NoCapacity) as refusal:
        await service.create(BOB, NewSandbox())
    assert refusal.value.retry_after_s


async def test_a_failed_creation_leaves_nothing(service: SandboxService, driver: FakeDriver) -> None:
    driver.refuse = DriverUnavailable("no")
    with pytest.raises(DriverUnavailable):
        await service.create(ANNA, NewSandbox())
    assert await service.page(ANNA, limit=10) == ([], False)


async def test_a_sandbox_that_dies_under_a_command_in_the_background_has_failed(
    service: SandboxService, driver: FakeDriver
) -> None:
    made = await service.create(ANNA, NewSandbox())
    driver.start = Doomed
    await service.start(ANNA, made.id, NewCommand("sleep 9"))
    await eventually(lambda: made.state is SandboxState.FAILED)


async def test_limits_over_the_servers_own_are_refused_by_name(service: SandboxService) -> None:
    with pytest.raises(Invalid) as refusal:
        await service.create(ANNA, NewSandbox(limits=Limits(pids=100_000)))
    assert refusal.value.field == "limits.pids"


async def test_a_string_is_run_by_bash_and_a_list_as_it_is(
    service: SandboxService, driver: FakeDriver
) -> None:
    made = await service.create(ANNA, NewSandbox())
    await service.run(ANNA, made.id, NewCommand("echo $HOME"))
    await service.run(ANNA, made.id, NewCommand(("echo", "$HOME")))
    assert [command.argv for command in driver.commands] == [
        ("/bin/bash", "-c", "echo $HOME"),
        ("echo", "$HOME"),
    ]


async def test_long_commands_and_times_are_refused(service: SandboxService) -> None:
    made = await service.create(ANNA, NewSandbox())
    with pytest.raises(TooLarge):
        await service.run(ANNA, made.id, NewCommand("x" * 2000))
    with pytest.raises(Invalid) as refusal:
        await service.run(ANNA, made.id, NewCommand("true", timeout_s=1e9))
    assert refusal.value.field == "timeout_s"


async def test_a_key_without_the_scope_can_do_nothing(service: SandboxService) -> None:
    stranger = Principal("x", "X", frozenset({Scope.MODELS}))
    with pytest.raises(Forbidden):
        await service.create(stranger, NewSandbox())
