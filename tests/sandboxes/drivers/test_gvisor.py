"""Sandboxes of the Docker driver with gVisor, the real one: a kernel of their own between them and the host's."""

import platform
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.sandboxes.driver import Enforced, RunState, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.driver import DockerDriver
from lm_sandbox.sandboxes.limits import MIB, Limits
from tests.conformance.conftest import BOX, Run, runner
from tests.conftest import eventually
from tests.processes import pids_with

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
SPEC = SandboxSpec(
    limits=Limits(memory_bytes=192 * MIB, disk_bytes=32 * MIB, pids=64), env={"GREETING": "hello"}
)


@pytest.fixture
async def driver(docker_engine: Path, tmp_path: Path) -> AsyncIterator[DockerDriver]:
    async with DockerDriver(DockerSettings(socket=docker_engine, runtime="gvisor"), tmp_path) as started:
        yield started


@pytest.fixture
async def enforced(driver: DockerDriver) -> Enforced:
    return await driver.create(BOX, SPEC)


@pytest.fixture
def run(driver: DockerDriver, enforced: Enforced) -> Run:
    assert enforced.isolation == "a kernel of its own (gvisor)"
    return runner(driver, BOX)


async def test_its_kernel_is_not_the_hosts(run: Run) -> None:
    told = await run("uname -r; dmesg | head -3; cat /proc/sys/kernel/random/boot_id 2>/dev/null || true")
    assert platform.release() not in told.stdout.decode()
    assert "gVisor" in told.stdout.decode(), told.stderr


async def test_commands_are_run_by_exec_with_all_that_they_are_given(run: Run, enforced: Enforced) -> None:
    assert "exec" in enforced.entry
    told = await run(
        "cat; echo $GREETING $MORE; pwd; id -u; echo err >&2; exit 5", stdin=b"in ", env={"MORE": "you"}
    )
    assert told.stdout == b"in hello you\n/workspace\n1000\n"
    assert (told.stderr, told.exit_code) == (b"err\n", 5)


async def test_it_has_no_rights_and_no_network(run: Run) -> None:
    told = await run(
        "grep -E '^(NoNewPrivs|CapEff)' /proc/self/status; touch /etc/x /usr/x; "
        "timeout 5 bash -c 'echo > /dev/tcp/1.1.1.1/80' || echo no way out; mount -t tmpfs none /mnt && echo mounted"
    )
    shown = told.stdout.decode()
    assert "CapEff:\t0000000000000000" in shown
    assert "no way out" in shown
    assert "mounted" not in shown
    assert told.stderr.decode().count("cannot touch") == 2


async def test_a_command_over_its_time_ends_with_all_that_it_started(run: Run) -> None:
    told = await run("setsid sleep 1234567 & sleep 1234567", timeout_s=3)
    assert told.timed_out
    assert (await run("pgrep -c sleep || true")).stdout.strip() == b"0"


async def test_what_it_writes_stays_for_the_next_command_and_goes_with_it(
    driver: DockerDriver, run: Run
) -> None:
    await run("echo kept > a; sleep 7654321 &")
    assert (await run("cat a")).stdout == b"kept\n"
    await driver.destroy(BOX)
    await eventually(lambda: not pids_with("sleep\0007654321"))


async def test_it_is_halted_and_goes_on(driver: DockerDriver, run: Run) -> None:
    await driver.set_state(BOX, RunState.PAUSED)
    await driver.set_state(BOX, RunState.RUNNING)
    with anyio.fail_after(60):
        assert (await run("echo on")).stdout == b"on\n"
