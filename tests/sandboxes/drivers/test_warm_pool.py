"""Sandboxes that are made before anybody asks for them."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.warm_pool import Warm
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.mounts import DiskMount
from lm_sandbox.sandboxes.volume_store import make_disk
from tests.conformance.conftest import runner
from tests.conftest import eventually
from tests.sandboxes.imaged import needs_images

pytestmark = pytest.mark.anyio

LIMITS = Limits(memory_bytes=128 * MIB, disk_bytes=16 * MIB, pids=32)


def ready(driver: BubblewrapDriver) -> int:
    assert driver._pool is not None
    return driver._pool.ready


@pytest.fixture
async def driver() -> AsyncIterator[BubblewrapDriver]:
    async with BubblewrapDriver(warm=Warm(2, LIMITS)) as started:
        await eventually(lambda: ready(started) == 2)
        yield started


async def test_one_that_is_ready_is_taken_and_another_made(driver: BubblewrapDriver) -> None:
    one, two = SandboxId("sb_one"), SandboxId("sb_two")
    first = await driver.create(one, SandboxSpec(limits=LIMITS, env={"WHOSE": "mine"}))
    assert ready(driver) == 1
    second = await driver.create(two, SandboxSpec(limits=LIMITS))
    assert first.host_uid != second.host_uid
    assert first.limits["memory"].startswith("144 MiB")
    assert (await runner(driver, one)('echo "$WHOSE"; echo x > a; ls')).stdout == b"mine\na\n"
    assert (await runner(driver, two)('echo "$WHOSE"; ls')).stdout == b"\n"
    await eventually(lambda: ready(driver) == 2)


async def test_who_wants_other_limits_gets_one_that_is_made_for_them(driver: BubblewrapDriver) -> None:
    other = Limits(memory_bytes=64 * MIB, disk_bytes=16 * MIB, pids=32)
    made = await driver.create(SandboxId("sb_other"), SandboxSpec(limits=other))
    assert made.limits["memory"].startswith("80 MiB")
    assert ready(driver) == 2


@needs_images
async def test_who_wants_a_volume_gets_one_that_is_made_for_them(
    driver: BubblewrapDriver, tmp_path: Path
) -> None:
    make_disk(disk := tmp_path / "vol_wanted", 16 * MIB)
    box = SandboxId("sb_with_data")
    spec = SandboxSpec(limits=LIMITS, mounts=(DiskMount(disk, "/data", read_only=False),))
    await driver.create(box, spec)
    assert ready(driver) == 2
    assert (await runner(driver, box)("echo kept > /data/a; cat /data/a")).stdout == b"kept\n"


async def test_one_that_died_while_it_waited_is_not_given_to_anybody(driver: BubblewrapDriver) -> None:
    assert driver._pool is not None
    dead = list(driver._pool._ready)
    for waiting in dead:
        os.kill(waiting._init_pid, signal.SIGKILL)
        await eventually(lambda waiting=waiting: not waiting.alive)
    made = SandboxId("sb_after")
    await driver.create(made, SandboxSpec(limits=LIMITS))
    assert (await runner(driver, made)("echo well")).stdout == b"well\n"
    await eventually(lambda: not any(Path(path).exists() for one in dead for path in one._group.paths))  # type: ignore[union-attr]


async def test_those_that_nobody_took_end_with_the_driver() -> None:
    with anyio.fail_after(30):
        async with BubblewrapDriver(warm=Warm(3, LIMITS)) as driver:
            await eventually(lambda: ready(driver) >= 1)
            waiting = list(driver._pool._ready) if driver._pool else []
    assert waiting
    for sandbox in waiting:
        assert not sandbox.alive
