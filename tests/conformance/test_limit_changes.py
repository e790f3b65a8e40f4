"""What every driver's limits do when they are changed, and cores when they are chosen."""

import os
from dataclasses import replace

import anyio
import pytest

from lm_sandbox.errors import Invalid, LimitInUse, SandboxNotFound
from lm_sandbox.sandboxes.driver import RunState, SandboxDriver, SandboxId
from lm_sandbox.sandboxes.limits import MIB, Limit
from tests.conformance.conftest import BOX, SMALL, Run, runner

pytestmark = pytest.mark.anyio
CORE = str(min(os.sched_getaffinity(0)))
CORES = "grep Cpus_allowed_list /proc/self/status"
HOG = "head -c 110M /dev/zero | tail -c 100M | wc -c"
# Bash holds it, and says when it does.
HOLDER = "(x=$(head -c 60M /dev/zero | tr '\\0' x); : > held; while :; do read -t 1000 <> <(:); done)"


async def test_a_lower_memory_limit_holds_from_then_on_and_a_higher_one_gives_room(
    run: Run, driver: SandboxDriver
) -> None:
    assert (await run(HOG)).exit_code == 0
    told = await driver.limit(BOX, replace(SMALL.limits, memory_bytes=48 * MIB))
    assert told["memory"].startswith("80 MiB (cgroup v")
    assert Limit.MEMORY in (await run(f"{HOG}; exit ${{PIPESTATUS[1]}}")).limits
    told = await driver.limit(BOX, replace(SMALL.limits, memory_bytes=256 * MIB))
    assert told["memory"].startswith("288 MiB")
    assert (await run(HOG)).stdout == b"104857600\n"


async def test_more_processes_than_before_are_there_as_soon_as_they_are_allowed(
    run: Run, driver: SandboxDriver
) -> None:
    start = "for i in {1..40}; do sleep 1000 & done 2>/dev/null; jobs -r | wc -l; kill $(jobs -p)"
    told = await driver.limit(BOX, replace(SMALL.limits, pids=24))
    assert told["pids"].startswith("24 (")
    refused = await run("for i in {1..40}; do sleep 1000 & done", timeout_s=2)
    assert b"Resource temporarily unavailable" in refused.stderr
    await driver.limit(BOX, replace(SMALL.limits, pids=96))
    assert (await run(start)).stdout == b"40\n"


async def test_limits_below_what_is_in_use_are_refused_and_nothing_changes(
    run: Run, driver: SandboxDriver
) -> None:
    await run(f"{HOLDER} >/dev/null 2>&1 & for i in {{1..20}}; do sleep 1000 >/dev/null 2>&1 & done; "
              "until [ -e held ]; do sleep 0.01; done")  # fmt: skip
    with pytest.raises(LimitInUse, match="memory_mib cannot be 16"):
        await driver.limit(BOX, replace(SMALL.limits, memory_bytes=16 * MIB))
    with pytest.raises(LimitInUse, match="pids cannot be 10"):
        await driver.limit(BOX, replace(SMALL.limits, pids=10, cpus=0.1))
    result = await run("pgrep -c sleep; head -c 100M /dev/zero | tail -c 90M | wc -c")
    assert (result.exit_code, result.stdout.split()[0], result.limits) == (0, b"20", ())


async def test_a_paused_sandbox_stays_paused_when_its_limits_change(run: Run, driver: SandboxDriver) -> None:
    await run("(while :; do :; done) >/dev/null 2>&1 &")
    await driver.set_state(BOX, RunState.PAUSED)
    await driver.limit(BOX, replace(SMALL.limits, cpus=0.5))
    used = (await driver.stats(BOX)).cpu_seconds or 0
    await anyio.sleep(0.2)
    assert (await driver.stats(BOX)).cpu_seconds == pytest.approx(used, abs=0.01)
    await driver.set_state(BOX, RunState.RUNNING)
    assert (await run("echo on")).stdout == b"on\n"


async def test_chosen_cores_hold_and_no_process_widens_them(driver: SandboxDriver) -> None:
    enforced = await driver.create(BOX, replace(SMALL, limits=replace(SMALL.limits, cpuset=CORE)))
    assert enforced.limits["cpuset"].startswith(f"{CORE} (cgroup v")
    result = await runner(driver, BOX)(f"taskset -pc 0-63 $$ >/dev/null; {CORES}; nproc")
    assert result.stdout.decode().split()[1:] == [CORE, "1"]


async def test_cores_are_chosen_for_a_living_sandbox_and_all_that_runs_in_it(
    run: Run, driver: SandboxDriver
) -> None:
    await run("sleep 1000 >/dev/null 2>&1 & echo $! > pid")
    assert (await driver.limit(BOX, replace(SMALL.limits, cpuset=CORE)))["cpuset"].startswith(f"{CORE} (")
    result = await run(f"{CORES}; grep Cpus_allowed_list /proc/$(cat pid)/status")
    assert result.stdout.decode().split()[1::2] == [CORE, CORE]


async def test_cores_that_the_host_does_not_have_are_refused(run: Run, driver: SandboxDriver) -> None:
    absent = replace(SMALL.limits, cpuset="8000-8001")
    with pytest.raises(Invalid, match="cpuset may be within"):
        await driver.limit(BOX, absent)
    with pytest.raises(Invalid, match="cpuset may be within") as refused:
        await driver.create(SandboxId("sb_absent"), replace(SMALL, limits=absent))
    assert refused.value.field == "limits.cpuset"
    assert (await run("echo alive")).stdout == b"alive\n"


async def test_limits_of_an_unknown_sandbox_are_not_changed(driver: SandboxDriver) -> None:
    with pytest.raises(SandboxNotFound):
        await driver.limit(SandboxId("sb_unknown"), SMALL.limits)
