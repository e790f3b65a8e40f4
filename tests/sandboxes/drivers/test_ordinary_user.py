"""The bubblewrap driver run by an ordinary user, without any right of root and without control groups."""

import json
import os
import subprocess
import sys
from pathlib import Path

import lm_sandbox

NOBODY = 65534
LIMIT_S = 120
SCRIPT = """
import asyncio, json, os, signal, tempfile
from dataclasses import replace
from pathlib import Path
from lm_sandbox.errors import Unsupported
from lm_sandbox.sandboxes.commands import CommandRequest, run_command
from lm_sandbox.sandboxes.driver import RunState, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.mounts import DiskMount
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.inside.launch import Recovery
from lm_sandbox.sandboxes.terminal import TerminalSpec
from lm_sandbox.sandboxes.verification.attempts import ATTEMPTS
from lm_sandbox.sandboxes.verification.verify import verification

BOX = SandboxId("sb_user")
LEFT = SandboxId("sb_left")
RECOVERY = Recovery(Path(tempfile.mkdtemp()), 60)
COUNT = CommandRequest(("/bin/bash", "-c", "echo on; sleep 0.3; echo off; exit 3"), 20, 100_000, 1 << 26)

async def leave(told):
    async with BubblewrapDriver(require_cgroups=False, recovery=RECOVERY) as driver:
        await driver.create(LEFT, SandboxSpec())
        await driver.spawn(LEFT, replace(COUNT.spec(), name="count"))
        await driver.spawn(LEFT, CommandRequest(("sleep", "4244"), 20, 100_000, 1 << 26).spec())
        os.write(told, b"left")
        await asyncio.Event().wait()

async def adopt(report):
    async with BubblewrapDriver(require_cgroups=False, recovery=RECOVERY) as driver:
        (adopted,) = await driver.adopt()
        result = await run_command("c", adopted.processes["count"], COUNT)
        report["adopted"] = [adopted.sandbox, result.stdout.decode(), result.exit_code]
        request = CommandRequest(("pgrep", "-cfx", "sleep 4244"), 20, 100_000, 1 << 26)
        result = await run_command("c", await driver.spawn(LEFT, request.spec()), request)
        report["unnamed"] = result.stdout.decode()

async def main():
    report = {"euid": os.geteuid()}
    await adopt(report)
    async with BubblewrapDriver(require_cgroups=False) as driver:
        enforced = await driver.create(BOX, SandboxSpec(limits=Limits(disk_bytes=8 << 20)))
        report["host_uid"], report["limits"] = enforced.host_uid, dict(enforced.limits)
        async def run(script, timeout_s=20):
            request = CommandRequest(("/bin/bash", "-c", script), timeout_s, 100_000, 1 << 26)
            return await run_command("c", await driver.spawn(BOX, request.spec()), request)
        report["who"] = (await run("whoami; id -u; pwd; echo kept > a")).stdout.decode()
        report["timed_out"] = (await run("setsid sleep 4242 & sleep 4242", 0.5)).timed_out
        report["left"] = (await run("pgrep -cf '[s]leep 4242'")).stdout.decode()
        report["disk"] = sorted((await run("head -c 20000000 /dev/zero > big")).limits)
        terminal = await driver.open_terminal(BOX, TerminalSpec(("bash", "-c", "tty; stty size; setsid sleep 4243 & read x; echo $x; exit 3")))
        await terminal.input.send(b"typed\\n")
        report["terminal"] = b"".join([piece async for piece in terminal.output]).decode().split()
        report["exit"] = (await terminal.wait()).code
        await terminal.aclose()
        terminal = await driver.open_terminal(BOX, TerminalSpec(("bash", "-c", "setsid sleep 4242 & echo on; sleep 4242")))
        await terminal.output.receive()
        await terminal.kill()
        report["killed"] = (await terminal.wait()).signal
        await terminal.aclose()
        report["left_there"] = (await run("pgrep -cf '[s]leep 4242'")).stdout.decode()
        await driver.set_state(BOX, RunState.STOPPED)
        await driver.set_state(BOX, RunState.RUNNING)
        report["kept"] = (await run("cat a")).stdout.decode()
        mounted = SandboxSpec(mounts=(DiskMount(Path("vol_x"), "/data", False),))
        for name, work in (("volume", driver.create(SandboxId("sb_more"), mounted)), ("pause", driver.set_state(BOX, RunState.PAUSED)), ("save", driver.save(BOX, Path("x")))):
            try:
                await work
            except Unsupported:
                report[name] = "unsupported"
        async with verification(driver) as (sandbox, _):
            outcomes = [await sandbox.run(attempt) for attempt in ATTEMPTS]
        report["through"] = [f"{o.attempt.group}: {o.attempt.name}: {o.output}" for o in outcomes if not o.held]
    print(json.dumps(report))

told, tell = os.pipe()
if (child := os.fork()) == 0:
    asyncio.run(leave(tell))
os.read(told, 4)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
asyncio.run(main())
"""


def python() -> str:
    """A Python that an ordinary user may run."""
    return "/usr/bin/python3" if os.geteuid() == 0 else sys.executable


def test_an_ordinary_user_gets_the_same_isolation(importable: Path) -> None:
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [python(), "-c", SCRIPT],
        env={"PYTHONPATH": str(importable), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        **user,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["euid"] == report["host_uid"] != 0
    assert report["who"] == "sandbox\n1000\n/workspace\n"
    assert report["through"] == []
    assert (report["adopted"], report["unnamed"]) == (["sb_left", "on\noff\n", 3], "0\n")
    assert (report["timed_out"], report["left"]) == (True, "0\n")
    # What was typed shows where the terminal was when it came.
    assert sorted(report["terminal"]) == sorted(["/dev/pts/0", "24", "80", "typed", "typed"])
    assert (report["exit"], report["killed"], report["left_there"]) == (3, 9, "0\n")
    assert report["disk"] == ["disk"]
    assert report["kept"] == "kept\n"
    assert [report[name] for name in ("volume", "pause", "save")] == ["unsupported"] * 3
    assert "rlimit" in report["limits"]["memory"]
    assert lm_sandbox.__version__
