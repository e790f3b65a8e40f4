"""Taking over from a server that has died, while others ask and die."""

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import SandboxNotFound
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.driver import Adopted, Enforced, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.sandbox import Lifetime, Sandbox, SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord, SandboxStore
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.servers import Servers
from lm_sandbox.storage.serving_process import server_of
from tests.sandboxes.fake_driver import FakeDriver

ANNA = Principal("anna", "Anna", frozenset({Scope.SANDBOXES}))
LEFT = SandboxId("sb_00000000000000aa")
DEAD = "999999999-1"
ENFORCED = Enforced("fake", "sandbox", 1, "none", True, {})

Leave = Callable[[str], Awaitable[None]]

pytestmark = pytest.mark.anyio


class Seen(SandboxStore):
    """Others see what is written down of a taken sandbox before the taker goes on."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.taken = anyio.Event()
        self.asked = anyio.Event()
        self.go_on = anyio.Event()
        self.go_on.set()

    async def take(self, record: SandboxRecord, before: str) -> bool:
        done = await super().take(record, before)
        self.taken.set()
        await self.go_on.wait()
        return done

    async def holder(self, sandbox_id: str) -> tuple[str | None, str] | None:
        found = await super().holder(sandbox_id)
        self.asked.set()
        return found


class Interrupted(FakeDriver):
    """While it looks for what dead servers have left, another one dies."""

    dying: subprocess.Popen[bytes] | None = None
    seen_at_once = True

    async def adopt(self) -> list[Adopted]:
        if self.dying is None:
            return self.adopted
        self.dying.kill()
        self.dying.wait()
        self.dying = None
        return self.adopted if self.seen_at_once else []


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Stands for another server: a process that runs until it is killed."""
    with subprocess.Popen(["sleep", "infinity"]) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def driver() -> Interrupted:
    return Interrupted()


@pytest.fixture
def records(database: Database) -> Seen:
    return Seen(database)


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    async with Servers(tmp_path / "servers", joins=True) as entered:
        yield entered


@pytest.fixture
async def service(
    driver: Interrupted, records: Seen, servers: Servers, tmp_path: Path, database: Database
) -> AsyncIterator[SandboxService]:
    async with (
        SnapshotStore(database, tmp_path / "snapshots", 10 * MIB) as snapshots,
        SandboxService(
            driver, SandboxSettings(), snapshots, records, tmp_path / "spool", servers=servers
        ) as started,
    ):
        yield started


@pytest.fixture
def leave(driver: Interrupted, records: Seen, tmp_path: Path) -> Leave:
    """Leaves what a server of a name has made, which has not taken itself out."""

    async def left(server: str) -> None:
        now = datetime.now(UTC)
        record = SandboxRecord(
            id=LEFT,
            owner=ANNA.id,
            name="left",
            metadata={},
            created_at=now,
            last_active_at=now,
            lifetime=Lifetime(),
            egress=EgressPolicy(),
            state=SandboxState.RUNNING,
            server=server,
        )
        await records.add(record)
        (tmp_path / f"servers/{server}.socket").touch()
        driver.alive[LEFT] = SandboxSpec()
        driver.adopted.append(Adopted(LEFT, ENFORCED, {}, {}, {}))

    return left


async def test_a_sandbox_that_is_just_being_taken_over_is_waited_for(
    service: SandboxService, records: Seen, leave: Leave
) -> None:
    await leave(DEAD)
    records.go_on = anyio.Event()
    found: list[Sandbox | SandboxNotFound] = []

    async def ask() -> None:
        try:
            found.append(await service.find(ANNA, LEFT))
        except SandboxNotFound as error:
            found.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.holders.take_over)
        await records.taken.wait()
        tasks.start_soon(ask)
        await records.asked.wait()
        await anyio.wait_all_tasks_blocked()
        records.go_on.set()
    assert found == [service.get(ANNA, LEFT)]


@pytest.mark.parametrize("seen_at_once", [True, False], ids=["seen", "not seen"])
async def test_what_a_server_had_that_dies_meanwhile_is_left_for_its_turn(
    service: SandboxService,
    driver: Interrupted,
    leave: Leave,
    other: subprocess.Popen[bytes],
    seen_at_once: bool,
) -> None:
    await leave(server_of(other.pid))
    driver.dying, driver.seen_at_once = other, seen_at_once
    await service.holders.take_over()
    assert LEFT in driver.alive
    assert (await service.find(ANNA, LEFT)).state is SandboxState.RUNNING


async def test_what_nothing_holds_any_more_has_failed_and_what_nobody_knows_is_destroyed(
    service: SandboxService, driver: Interrupted, leave: Leave
) -> None:
    await leave(DEAD)
    unknown = SandboxId("sb_00000000000000bb")
    driver.alive[unknown] = SandboxSpec()
    driver.adopted[:] = [Adopted(unknown, ENFORCED, {}, {}, {})]
    assert (await service.find(ANNA, LEFT)).state is SandboxState.FAILED
    assert unknown not in driver.alive
    with pytest.raises(SandboxNotFound):
        await service.find(ANNA, unknown)
