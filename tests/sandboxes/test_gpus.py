"""Which GPUs a sandbox gets, and that models make way for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import DriverUnavailable, Invalid, NoCapacity, Unsupported
from lm_sandbox.models.gpu_leases import GpuLeases
from lm_sandbox.sandboxes.driver import Adopted
from lm_sandbox.sandboxes.gpus import Gpus, choose
from lm_sandbox.sandboxes.nvidia import GpuDevice, read_gpus
from lm_sandbox.sandboxes.sandbox import NewSandbox
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord, SandboxStore
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.servers import Servers
from tests.conftest import eventually
from tests.sandboxes.fake_driver import FakeDriver
from tests.sandboxes.test_service import ANNA

ZERO, ONE, TWO = (GpuDevice(f"GPU-{name}", minor) for minor, name in enumerate("abc"))
THERE = (ZERO, ONE, TWO)


@dataclass
class Tenant:
    """Holds one model on each GPU, of which one may be answering."""

    on: set[str] = field(default_factory=lambda: {gpu.id for gpu in THERE})
    answering: set[str] = field(default_factory=set)
    returns: int = 0

    async def vacate(self, gpu: str) -> None:
        if gpu in self.answering:
            await anyio.sleep_forever()
        self.on.discard(gpu)

    async def come_back(self) -> None:
        self.returns += 1


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


@pytest.fixture
def leases(tenant: Tenant) -> GpuLeases:
    leases = GpuLeases()
    leases.settle(tenant)
    return leases


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@asynccontextmanager
async def serving(
    driver: FakeDriver, leases: GpuLeases, database: Database, folder: Path
) -> AsyncIterator[SandboxService]:
    settings = SandboxSettings(gpus=("0", ONE.id), gpu_wait_s=0.05)
    gpus, records = Gpus(settings, leases, lambda: THERE), SandboxStore(database)
    spool = folder / "spool"
    async with (
        Servers(folder / "servers", joins=True) as servers,
        SnapshotStore(database, folder / "snapshots", 2**20) as snapshots,
        SandboxService(driver, settings, snapshots, records, spool, gpus=gpus, servers=servers) as started,
    ):
        yield started


@pytest.fixture
async def service(driver: FakeDriver, leases: GpuLeases, tmp_path: Path) -> AsyncIterator[SandboxService]:
    async with (
        Database(tmp_path / "test.db") as database,
        serving(driver, leases, database, tmp_path) as started,
    ):
        yield started


def test_gpus_are_read_as_the_driver_tells_of_them(tmp_path: Path) -> None:
    for bus, minor, uuid in (("0000:65:00.0", 1, "GPU-b"), ("0000:17:00.0", 0, "GPU-a")):
        folder = tmp_path / "gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(
            f"Model: \t\t NVIDIA RTX\nIRQ:   \t\t 30\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n"
        )
    broken = tmp_path / "gpus" / "0000:99:00.0"
    broken.mkdir()
    (broken / "information").write_text("GPU UUID: \t ?\nDevice Minor: \t 2\n")
    assert read_gpus(tmp_path) == (GpuDevice("GPU-a", 0, "NVIDIA RTX"), GpuDevice("GPU-b", 1, "NVIDIA RTX"))
    assert read_gpus(tmp_path / "nothing") == ()


@pytest.mark.parametrize(
    ("asked", "allowed", "chosen"),
    [
        (1, ("all",), (TWO,)),
        (3, ("all",), (TWO, ONE, ZERO)),
        (2, ("0", "1"), (ONE, ZERO)),
        (("GPU-b", "0", "1"), ("all",), (ONE, ZERO)),
    ],
)
def test_those_come_first_that_fewest_have(
    asked: int | tuple[str, ...], allowed: tuple[str, ...], chosen: tuple[GpuDevice, ...]
) -> None:
    assert choose(asked, allowed, THERE, {ZERO.id: 2, ONE.id: 1}) == chosen


@pytest.mark.parametrize(
    ("asked", "says"),
    [(3, "gpus may be 2 at most"), (("GPU-c",), "'GPU-c' is not lent"), (("7",), "'7' is not")],
)
def test_a_gpu_that_may_not_be_lent_is_refused(asked: int | tuple[str, ...], says: str) -> None:
    with pytest.raises(Invalid, match=says) as refused:
        choose(asked, ("0", ONE.id), THERE, {})
    assert refused.value.field == "gpus"


@pytest.mark.anyio
async def test_a_server_lends_none_unless_it_is_told_to_and_a_host_without_any_says_so() -> None:
    with pytest.raises(Invalid, match=r"sandbox\.gpus"):
        await Gpus(SandboxSettings(), look=lambda: THERE).choose(1)
    with pytest.raises(Unsupported, match="no NVIDIA driver"):
        await Gpus(SandboxSettings(gpus=("all",)), look=lambda: ()).choose(1)
    assert await Gpus(SandboxSettings()).choose(0) == ()


@pytest.mark.anyio
async def test_models_leave_the_gpu_of_a_sandbox_and_come_back_when_it_is_deleted(
    service: SandboxService, driver: FakeDriver, tenant: Tenant, leases: GpuLeases
) -> None:
    made = await service.create(ANNA, NewSandbox(gpus=("1",)))
    assert driver.alive[made.id].gpus == (ONE,)
    assert tenant.on == {ZERO.id, TWO.id}
    again = await service.create(ANNA, NewSandbox(gpus=2))
    assert leases.lent == {ZERO.id: 1, ONE.id: 2}
    await service.delete(ANNA, again.id)
    await eventually(lambda: tenant.returns == 1)
    assert leases.lent == {ONE.id: 1}
    await service.delete(ANNA, made.id)
    await eventually(lambda: tenant.returns == 2)


@pytest.mark.anyio
async def test_a_model_that_answers_is_not_ended_and_the_sandbox_is_asked_to_come_again(
    service: SandboxService, driver: FakeDriver, tenant: Tenant, leases: GpuLeases
) -> None:
    tenant.answering = {ONE.id}
    with pytest.raises(NoCapacity) as refused:
        await service.create(ANNA, NewSandbox(gpus=("0", "1")))
    assert refused.value.retry_after_s
    await eventually(lambda: not leases.lent)
    assert not driver.alive
    assert await service.page(ANNA, limit=9) == ([], False)


@pytest.mark.anyio
async def test_a_sandbox_that_does_not_come_up_gives_its_gpu_back(
    service: SandboxService, driver: FakeDriver, leases: GpuLeases
) -> None:
    driver.refuse = DriverUnavailable("no")
    with pytest.raises(DriverUnavailable):
        await service.create(ANNA, NewSandbox(gpus=1))
    await eventually(lambda: not leases.lent)


@pytest.mark.anyio
async def test_a_sandbox_that_outlived_its_server_keeps_its_gpu_from_the_models_of_the_next_one(
    driver: FakeDriver, leases: GpuLeases, tenant: Tenant, tmp_path: Path
) -> None:
    async with (
        Database(tmp_path / "first.db") as database,
        serving(driver, GpuLeases(), database, tmp_path) as first,
    ):
        made = await first.create(ANNA, NewSandbox(gpus=("1",)))
        record = SandboxRecord.of(made).model_copy(update={"server": "0-0"})
    assert made.enforced is not None
    async with Database(tmp_path / "second.db") as database:
        await SandboxStore(database).add(record)
        driver.adopted = [Adopted(made.id, made.enforced, {})]
        async with serving(driver, leases, database, tmp_path) as second:
            assert leases.lent == {ONE.id: 1}
            assert ONE.id not in tenant.on
            await second.delete(ANNA, made.id)
            await eventually(lambda: not leases.lent)
