"""What every driver does, whatever is underneath."""

import hashlib
import secrets
from pathlib import Path

import anyio
import pytest

from lm_sandbox.errors import SandboxFailed, SandboxNotFound
from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.driver import RunState, SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.output import OutputChunk, Stream
from lm_sandbox.sandboxes.process import CommandSpec
from tests.conformance.conftest import BOX, SMALL, Run, runner
from tests.conftest import eventually
from tests.control_groups import control_groups

pytestmark = pytest.mark.anyio


async def test_streams_and_exit_code_come_apart(run: Run) -> None:
    result = await run("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code, result.signal) == (b"out\n", b"err\n", 3, None)
    assert result.duration_ms > 0


async def test_a_signal_is_told_by_name(run: Run) -> None:
    result = await run("kill -TERM $$")
    assert (result.exit_code, result.signal) == (None, "SIGTERM")


async def test_a_list_is_run_without_a_shell(run: Run) -> None:
    result = await run(("/usr/bin/printf", "%s|", "a b", "$HOME", "*"))
    assert result.stdout == b"a b|$HOME|*|"


async def test_a_program_is_found_in_path_and_a_missing_one_is_127(run: Run) -> None:
    assert (await run(("true",))).exit_code == 0
    missing = await run(("no-such-program",))
    assert missing.exit_code == 127
    assert b"no-such-program" in missing.stderr


async def test_a_file_that_is_no_program_is_126(run: Run) -> None:
    await run("echo hi > /workspace/plain")
    assert (await run(("/workspace/plain",))).exit_code == 126


async def test_a_missing_working_directory_is_told(run: Run) -> None:
    result = await run("true", cwd="/nowhere")
    assert result.exit_code in {126, 127}
    assert b"/nowhere" in result.stderr


async def test_cwd_env_and_stdin_reach_the_program(run: Run) -> None:
    result = await run('pwd; echo "$GREETING"; cat', cwd="/tmp", env={"GREETING": "hé llo"}, stdin=b"in\0put")
    assert result.stdout == "/tmp\nhé llo\nin\0put".encode()


async def test_without_stdin_the_input_is_empty(run: Run) -> None:
    assert (await run("wc -c")).stdout.strip() == b"0"


async def test_large_input_and_output_pass_through_whole(run: Run) -> None:
    result = await run("sha256sum", stdin=b"x" * 5_000_000)
    assert result.stdout.split()[0].decode() == hashlib.sha256(b"x" * 5_000_000).hexdigest()
    counted = await run("head -c 3000000 /dev/zero")
    assert counted.stdout_bytes == 3_000_000
    assert counted.truncated


async def test_a_long_command_and_environment_arrive_whole(run: Run) -> None:
    result = await run(
        "echo -n '" + "y" * 100_000 + "' | wc -c", env={f"V{i}": "z" * 30_000 for i in range(4)}
    )
    assert result.stdout.strip() == b"100000"


async def test_files_stay_from_one_command_to_the_next(run: Run) -> None:
    await run("echo kept > /workspace/a; echo kept > ~/b; echo kept > /tmp/c")
    assert (await run("cat /workspace/a ~/b /tmp/c")).stdout == b"kept\n" * 3


async def test_output_is_told_as_it_comes(run: Run) -> None:
    chunks: list[OutputChunk] = []

    async def sink(chunk: OutputChunk) -> None:
        chunks.append(chunk)

    await run("echo one; echo two >&2; echo three", sink=sink)
    out = [chunk for chunk in chunks if chunk.stream is Stream.STDOUT]
    assert b"".join(chunk.data for chunk in out) == b"one\nthree\n"
    assert [chunk.offset for chunk in out] == [0, 4][: len(out)] or len(out) == 1


async def test_it_is_over_when_the_shell_ends_though_a_child_holds_the_pipe(run: Run) -> None:
    with anyio.fail_after(10):
        result = await run("sleep 60 & echo started")
    assert result.stdout == b"started\n"
    assert (await run("pgrep -c sleep || ls /proc | grep -c '^[0-9]'")).exit_code == 0


@pytest.mark.parametrize(
    "stubborn",
    [
        "sleep 60",
        "trap '' TERM INT HUP; sleep 60",
        "(setsid sleep 60 &) ; sleep 60",
        "nohup setsid sleep 60 & wait",
    ],
)
async def test_a_time_out_ends_all_that_was_started(run: Run, stubborn: str) -> None:
    result = await run(stubborn, timeout_s=0.5)
    assert result.timed_out
    assert Limit.WALL_TIME in result.limits
    left = await run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert b"sleep 60" not in left.stdout.replace(b"cat /proc", b"")


async def test_cancelling_ends_the_command(run: Run) -> None:
    with anyio.move_on_after(0.3):
        await run("trap '' TERM; sleep 61")
    left = await run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert b"sleep 61" not in left.stdout


async def test_a_fork_bomb_meets_the_process_limit_and_the_sandbox_goes_on(run: Run) -> None:
    result = await run("bomb() { bomb | bomb & }; bomb; sleep 30", timeout_s=2)
    assert Limit.PIDS in result.limits
    after = await run("echo alive")
    assert after.stdout == b"alive\n"
    assert Limit.PIDS not in after.limits


async def test_a_memory_hog_is_killed_and_told(run: Run) -> None:
    result = await run("head -c 600M /dev/zero | tail -c 500M | wc -c")
    assert Limit.MEMORY in result.limits
    assert result.oom_killed
    assert (await run("echo alive")).stdout == b"alive\n"


async def test_a_disk_filler_meets_the_disk_limit(run: Run) -> None:
    result = await run("head -c 100M /dev/zero > /workspace/big")
    assert Limit.DISK in result.limits
    assert result.exit_code != 0
    freed = await run("rm /workspace/big; echo alive > /workspace/x; cat /workspace/x")
    assert freed.stdout == b"alive\n"
    assert Limit.DISK not in freed.limits


async def test_a_filler_of_empty_files_meets_the_disk_limit(run: Run) -> None:
    result = await run("mkdir /workspace/d; cd /workspace/d; seq 100000 | xargs touch", timeout_s=60)
    assert Limit.DISK in result.limits
    assert (await run("rm -r /workspace/d && echo alive")).stdout == b"alive\n"


async def test_endless_output_is_ended_and_told(run: Run) -> None:
    result = await run("yes", output_limit=2_000_000)
    assert Limit.OUTPUT in result.limits
    assert result.truncated
    assert len(result.stdout) < 200_000
    assert (await run("echo alive")).stdout == b"alive\n"


async def test_a_slow_reader_slows_the_command_and_loses_nothing(run: Run) -> None:
    seen = 0

    async def slow(chunk: OutputChunk) -> None:
        nonlocal seen
        seen += len(chunk.data)
        await anyio.lowlevel.checkpoint()

    result = await run("head -c 1000000 /dev/zero", sink=slow)
    assert seen == result.stdout_bytes == 1_000_000


async def test_descriptors_are_limited(run: Run) -> None:
    result = await run('for i in $(seq 300); do eval "exec {fd$i}</dev/null" || exit 9; done')
    assert result.exit_code != 0


async def test_eight_commands_run_at_once_without_mixing(run: Run) -> None:
    results: dict[int, bytes] = {}

    async def one(number: int) -> None:
        results[number] = (await run(f"sleep 0.05; echo {number}")).stdout

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(one, number)
    assert results == {number: f"{number}\n".encode() for number in range(8)}


async def test_neighbours_share_nothing(driver: SandboxDriver, run: Run) -> None:
    other = SandboxId("sb_neighbour")
    await driver.create(other, SMALL)
    neighbour = runner(driver, other)
    await run("echo secret > /tmp/mine; sleep 62 & disown")
    seen = await neighbour("ls /tmp /workspace; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert b"mine" not in seen.stdout
    assert b"sleep 62" not in seen.stdout


async def test_neighbours_have_host_users_of_their_own(driver: SandboxDriver) -> None:
    first, second = await driver.create(BOX, SMALL), await driver.create(SandboxId("sb_second"), SMALL)
    assert first.host_uid != second.host_uid


async def test_what_is_told_as_enforced_is_what_the_kernel_has(driver: SandboxDriver) -> None:
    sandbox = SandboxId("sb_enforced")
    enforced = await driver.create(sandbox, SMALL)
    marker = _marker()
    result = await runner(driver, sandbox)(f"cat /proc/self/status; sleep {marker} & disown")
    text = result.stdout.decode()
    assert "NoNewPrivs:\t1" in text
    assert "Seccomp:\t2" in text
    assert _users_of(marker) == {enforced.host_uid}
    assert enforced.host_uid != 0
    assert enforced.network == "none"
    assert "64" in enforced.limits["pids"]


async def test_a_sandbox_that_is_destroyed_under_a_command_is_told_as_failed(
    driver: SandboxDriver, run: Run
) -> None:
    started = anyio.Event()

    async def sink(chunk: OutputChunk) -> None:
        del chunk
        started.set()

    async def destroy() -> None:
        await started.wait()
        await driver.destroy(BOX)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(destroy)
        with pytest.raises(SandboxFailed):
            await run("echo started; sleep 60", sink=sink)


async def test_an_unknown_or_destroyed_sandbox_is_not_found(driver: SandboxDriver) -> None:
    sandbox = SandboxId("sb_short")
    await driver.create(sandbox, SMALL)
    await driver.destroy(sandbox)
    await driver.destroy(sandbox)
    with pytest.raises(SandboxNotFound):
        await driver.spawn(sandbox, CommandSpec(("true",)))


async def test_many_commands_leave_no_descriptor_and_no_process(run: Run) -> None:
    await run("true")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(100):
        await run("echo x; echo y >&2")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert int((await run("ls /proc | grep -c '^[0-9]'")).stdout) <= 8


async def test_destroying_leaves_no_process_mount_or_group(driver: SandboxDriver) -> None:
    mounts = Path("/proc/self/mounts").read_text()
    sandbox = SandboxId("sb_leak_check")
    await driver.create(sandbox, SandboxSpec())
    marker = _marker()
    await runner(driver, sandbox)(f"setsid sleep {marker} & echo x > /workspace/f")
    await driver.destroy(sandbox)
    assert Path("/proc/self/mounts").read_text() == mounts
    assert not control_groups(sandbox)
    await eventually(lambda: not _users_of(marker))


def _marker() -> str:
    """A number of seconds that no other process sleeps."""
    return f"600.{secrets.randbelow(10**9):09}"


def _users_of(marker: str) -> set[int]:
    """The host's users of the processes that sleep so long."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.add(entry.stat().st_uid)
        except OSError:
            continue
    return found


async def test_a_paused_sandbox_uses_no_cpu_time_and_goes_on_where_it_was(
    run: Run, driver: SandboxDriver
) -> None:
    await run("(i=0; while :; do i=$((i+1)); echo $i > /workspace/count; done) >/dev/null 2>&1 &")
    await driver.set_state(BOX, RunState.PAUSED)
    before = (await driver.stats(BOX)).cpu_seconds or 0
    await anyio.sleep(0.3)
    assert (await driver.stats(BOX)).cpu_seconds == pytest.approx(before, abs=0.01)
    await driver.set_state(BOX, RunState.RUNNING)
    first = int((await run("cat /workspace/count")).stdout or b"0")
    second = await run(f"until [ $(cat /workspace/count) -gt {first} ] 2>/dev/null; do :; done; echo on")
    assert second.stdout == b"on\n"


async def test_a_stopped_sandbox_has_no_processes_and_keeps_its_files(
    run: Run, driver: SandboxDriver
) -> None:
    await run("echo kept > /workspace/a; setsid nohup sleep 1000 >/dev/null 2>&1 & trap '' TERM")
    await driver.set_state(BOX, RunState.STOPPED)
    await driver.set_state(BOX, RunState.RUNNING)
    result = await run("cat /workspace/a; pgrep -c sleep")
    assert result.stdout == b"kept\n0\n"


async def test_a_command_that_runs_when_its_sandbox_is_stopped_ends_killed(
    run: Run, driver: SandboxDriver
) -> None:
    results: list[CommandResult] = []

    async def long() -> None:
        results.append(await run("echo on > /workspace/on; sleep 1000"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(long)
        await run("until [ -e /workspace/on ]; do sleep 0.01; done")
        await driver.set_state(BOX, RunState.STOPPED)
    assert results[0].signal == "SIGKILL"


async def test_a_paused_sandbox_can_be_destroyed(run: Run, driver: SandboxDriver) -> None:
    await run("sleep 1000 >/dev/null 2>&1 &")
    await driver.set_state(BOX, RunState.PAUSED)
    with anyio.fail_after(20):
        await driver.destroy(BOX)
    with pytest.raises(SandboxNotFound):
        await driver.stats(BOX)


async def test_stats_follow_what_is_used(run: Run, driver: SandboxDriver) -> None:
    before = await driver.stats(BOX)
    await run("head -c 8000000 /dev/zero > /workspace/a; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
    after = await driver.stats(BOX)
    assert before.disk_bytes is not None
    assert after.disk_bytes is not None
    assert before.cpu_seconds is not None
    assert after.cpu_seconds is not None
    assert after.disk_bytes - before.disk_bytes >= 8_000_000
    assert after.cpu_seconds > before.cpu_seconds
    assert (after.memory_peak_bytes or 0) >= 8_000_000
    assert (after.pids or 0) >= 1


async def test_a_detached_command_is_ended_without_what_it_left_running(run: Run) -> None:
    script = "setsid sleep 987 >/dev/null 2>&1 & sleep 0.1; exec sleep 1000"
    result = await run(script, timeout_s=1, detach=True)
    assert result.timed_out
    assert (await run("pgrep -cf '[s]leep 987'")).stdout == b"1\n"
