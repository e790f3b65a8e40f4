"""Volumes that are removed by one process while another one makes a sandbox that has them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import Conflict, Invalid, LmSandboxError, VolumeNotFound
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.driver import Enforced, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.mounts import AskedMount
from lm_sandbox.sandboxes.sandbox import NewSandbox
from lm_sandbox.sandboxes.sandbox_store import SandboxStore
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.sandboxes.volume_store import VolumeStore
from lm_sandbox.sandboxes.volumes import Volumes
from lm_sandbox.storage.database import Database
from tests.sandboxes.fake_driver import FakeDriver

ANNA = Principal("anna", "Anna", frozenset({Scope.SANDBOXES}))
WITH_DATA = NewSandbox(mounts=(AskedMount("data", "/data"),))
SETTINGS = SandboxSettings()

pytestmark = pytest.mark.anyio


class Slow(FakeDriver):
    """Something else happens while it makes a sandbox."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def create(self, sandbox: SandboxId, spec: SandboxSpec) -> Enforced:
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super().create(sandbox, spec)


class Looked(SandboxStore):
    """Something else happens after it was looked up who has a volume."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def mounts_volume(self, volume_id: str, connection: AsyncConnection) -> bool:
        found = await super().mounts_volume(volume_id, connection)
        if self.meanwhile is not None:
            await self.meanwhile()
        return found


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> AsyncIterator[VolumeStore]:
    async with VolumeStore(database, tmp_path / "volumes") as entered:
        yield entered


class Process:
    """A server over the same database and the same files."""

    def __init__(self, database: Database, store: VolumeStore, folder: Path) -> None:
        self.driver = Slow()
        self.records = Looked(database)
        snapshots = SnapshotStore(database, folder / "snapshots", MIB)
        self.service = SandboxService(
            self.driver, SETTINGS, snapshots, self.records, folder / "spool", volumes=store
        )
        self.volumes = Volumes(store, SETTINGS, Shares(), self.service.holders)


@pytest.fixture
async def one(database: Database, store: VolumeStore, tmp_path: Path) -> AsyncIterator[Process]:
    process = Process(database, store, tmp_path / "one")
    async with process.service:
        yield process


@pytest.fixture
def other(database: Database, store: VolumeStore, tmp_path: Path) -> Process:
    return Process(database, store, tmp_path / "other")


async def test_a_volume_of_another_process_sandbox_stays(
    one: Process, other: Process, store: VolumeStore
) -> None:
    volume = await one.volumes.create(ANNA, "data", 16, {})
    sandbox = await one.service.create(ANNA, WITH_DATA)
    with pytest.raises(Conflict, match="mounted"):
        await other.volumes.delete(ANNA, "data")
    assert store.disk(volume.id).exists()
    assert await other.volumes.find(ANNA, "data") == volume
    await one.service.delete(ANNA, sandbox.id)
    await other.volumes.delete(ANNA, "data")
    assert not store.disk(volume.id).exists()


async def test_a_sandbox_whose_volume_another_process_removes_while_it_is_made_does_not_come_about(
    one: Process, other: Process
) -> None:
    await one.volumes.create(ANNA, "data", 16, {})

    async def remove() -> None:
        await other.volumes.delete(ANNA, "data")

    one.driver.meanwhile = remove
    with pytest.raises(Invalid) as refused:
        await one.service.create(ANNA, WITH_DATA)
    assert refused.value.field == "mounts"
    assert not one.driver.alive
    assert await one.records.all() == []
    with pytest.raises(VolumeNotFound):
        await one.volumes.find(ANNA, "data")


async def test_a_volume_is_never_both_removed_and_mounted(
    one: Process, other: Process, store: VolumeStore
) -> None:
    volume = await one.volumes.create(ANNA, "data", 16, {})
    looked, made = anyio.Event(), anyio.Event()

    async def wait_until_it_is_made() -> None:
        looked.set()
        with anyio.move_on_after(1):
            await made.wait()

    async def wait_until_it_was_looked_up() -> None:
        with anyio.fail_after(20):
            await looked.wait()

    async def remove() -> None:
        with suppress(Conflict):
            await other.volumes.delete(ANNA, "data")

    other.records.meanwhile = wait_until_it_is_made
    one.driver.meanwhile = wait_until_it_was_looked_up
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(remove)
        with suppress(LmSandboxError):
            await one.service.create(ANNA, WITH_DATA)
            made.set()
    mounted = [mount.id for record in await one.records.all() for mount in record.mounts]
    assert store.disk(volume.id).exists() == (mounted == [volume.id])
