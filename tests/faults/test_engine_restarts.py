"""A Docker engine that restarts, with and without containers that outlive it."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.errors import DriverUnavailable, SandboxFailed
from lm_sandbox.sandboxes.driver import RunState, SandboxId
from lm_sandbox.sandboxes.drivers.docker.driver import DockerDriver
from lm_sandbox.sandboxes.process import CommandSpec
from tests.conformance.conftest import SMALL, runner
from tests.docker_engine import _lacking
from tests.drivers import RUNTIMES
from tests.faults.own_engine import IMAGE, OwnEngine, own_engine

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
BOX, OTHER = SandboxId("sb_restart"), SandboxId("sb_other")
COUNTING = "for i in $(seq 1 100); do echo $i; sleep 0.05; done"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[OwnEngine]:
    if (lacking := _lacking("dockerd")) is not None:
        if os.environ.get("CI") or os.geteuid() == 0:
            pytest.fail(lacking)
        pytest.skip(lacking)
    # A socket's path is short.
    with own_engine(
        Path("/tmp") / f"lm-sandbox-own-{os.getpid()}-{tmp_path.name[-12:]}", "--live-restore"
    ) as one:
        yield one


def driver_at(engine: OwnEngine, folder: Path, way: str) -> DockerDriver:
    settings = DockerSettings(socket=engine.socket, runtime=RUNTIMES[way][0])
    return DockerDriver(settings, folder / way, IMAGE)


async def test_an_engine_that_restarts_is_waited_for_and_takes_no_sandbox_with_it(
    engine: OwnEngine, tmp_path: Path
) -> None:
    async with (
        driver_at(engine, tmp_path, "docker") as entered,
        driver_at(engine, tmp_path, "docker exec") as told,
    ):
        for driver in (entered, told):
            await driver.create(BOX, SMALL)
            assert (await runner(driver, BOX)("echo before > file; cat file")).stdout == b"before\n"
        counting = CommandSpec(("/bin/bash", "-c", COUNTING), name="counting")
        goes_on, is_lost = await entered.spawn(BOX, counting), await told.spawn(BOX, counting)
        await anyio.to_thread.run_sync(engine.stop)
        for driver in (entered, told):
            with pytest.raises(DriverUnavailable, match="does not answer"):
                await driver.create(OTHER, SMALL)
        # Where commands enter directly they need no engine.
        assert (await runner(entered, BOX)("cat file")).stdout == b"before\n"
        with pytest.raises(DriverUnavailable):
            await told.spawn(BOX, replace(counting, name=None))
        await anyio.to_thread.run_sync(engine.start, "--live-restore")
        for driver in (entered, told):
            await driver.create(OTHER, SMALL)
            assert (await runner(driver, BOX)("cat file")).stdout == b"before\n"
        data = b""
        async for piece in goes_on.stdout:
            data += piece
        assert data.split() == [b"%d" % number for number in range(1, 101)]
        assert (await goes_on.wait()).code == 0
        with pytest.raises(DriverUnavailable, match="how that ended is not known"):
            await is_lost.wait()
        assert (
            b"seq" not in (await runner(told, BOX)("cat /proc/[0-9]*/cmdline")).stdout.split(b"cat /proc")[0]
        )
        for process in (goes_on, is_lost):
            await process.aclose()
    assert engine.containers() == 0


async def test_what_dies_with_its_engine_is_told_as_failed_and_others_can_be_made(
    engine: OwnEngine, tmp_path: Path
) -> None:
    async with (
        driver_at(engine, tmp_path, "docker") as entered,
        driver_at(engine, tmp_path, "docker exec") as told,
    ):
        for driver in (entered, told):
            await driver.create(BOX, SMALL)
        command = CommandSpec(("/bin/bash", "-c", "sleep 1000"), name="sleeping")
        sleeping = await entered.spawn(BOX, command)
        # Started without it, an engine ends what the one before has left.
        await anyio.to_thread.run_sync(engine.stop)
        await anyio.to_thread.run_sync(engine.start)
        # Whichever is seen first, its own end or the sandbox's.
        with suppress(SandboxFailed):
            assert (await sleeping.wait()).signal == signal.SIGKILL
        await sleeping.aclose()
        for driver in (entered, told):
            with pytest.raises(SandboxFailed):
                await driver.spawn(BOX, command)
            with pytest.raises(SandboxFailed):
                await driver.set_state(BOX, RunState.PAUSED)
            await driver.create(OTHER, SMALL)
            assert (await runner(driver, OTHER)("echo well")).stdout == b"well\n"
            await driver.destroy(BOX)
        assert engine.containers() == 2
    assert engine.containers() == 0
