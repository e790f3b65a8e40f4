"""What a server stands on is taken from it: control groups, first processes, room on the disk."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.driver import SandboxId
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.process import CommandSpec
from tests.conformance.conftest import SMALL, runner
from tests.conftest import command_environment, eventually, serving
from tests.faults.conftest import MIB
from tests.processes import pids_with

pytestmark = pytest.mark.anyio
BOX, OTHER = SandboxId("sb_pulled"), SandboxId("sb_other")


def pull_away(group: str) -> None:
    """Moves all processes out of a control group and removes it, as an eager administrator could."""
    folder = Path(group)
    # Below /sys/fs/cgroup, and in version 1 below a controller.
    parts = 5 if (Path("/sys/fs/cgroup") / folder.parts[4] / "tasks").exists() else 4
    top = Path(*folder.parts[:parts])
    for _ in range(100):
        for pid in (folder / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (top / "cgroup.procs").write_text(pid)
        with suppress(OSError):
            folder.rmdir()
            return
    raise AssertionError(f"{group} is still in use")


async def test_a_sandbox_that_lost_its_control_groups_ends_as_nothing_would_hold_it() -> None:
    if os.geteuid() != 0:
        pytest.skip("control groups of others are moved as root only")
    async with BubblewrapDriver() as driver:
        for box in (BOX, OTHER):
            await driver.create(box, SMALL)
        assert (await runner(driver, BOX)("echo on")).stdout == b"on\n"
        command = CommandSpec(("/bin/bash", "-c", "setsid sleep 765198 & sleep 765198"))
        running = await driver.spawn(BOX, command)
        await eventually(lambda: len(pids_with("sleep\x00765198")) >= 2)
        group = driver._sandboxes[BOX].holding.group
        assert group is not None
        for path in group.paths:
            pull_away(path)
        with pytest.raises(SandboxFailed):
            await driver.spawn(BOX, command)
        # Whichever is seen first, its own end or the sandbox's.
        with suppress(SandboxFailed):
            assert (await running.wait()).signal == signal.SIGKILL
        await running.aclose()
        await eventually(lambda: not pids_with("sleep\x00765198"))
        assert await driver.ended() == [BOX]
        await driver.destroy(BOX)
        assert await driver.ended() == []
        assert (await runner(driver, OTHER)("echo well")).stdout == b"well\n"
        await driver.create(BOX, SMALL)
        assert (await runner(driver, BOX)("echo anew")).stdout == b"anew\n"


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """A file system of its own for a server's data."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "small", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes all room that there is."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64 * 1024))
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(512))
    return ballast


@pytest.mark.timeout(240)
def test_a_full_disk_leaves_nothing_half_done_and_room_mends_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("file systems are mounted as root only")
    with small_disk(tmp_path / "data", 160) as data, serving(command_environment(data)) as (_, server):
        headers = {"Authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:
            box = f"/v1/sandboxes/{http.post('/v1/sandboxes', json={}).json()['id']}"

            def run(command: str, **more: object) -> httpx.Response:
                return http.post(f"{box}/commands", json={"command": command, **more})

            assert run("echo before > file; head -c 8M /dev/urandom > large").is_success
            before = run("head -c 4000000 /dev/zero | tr '\\0' x; echo", background=True).json()
            ended: dict[str, Any] = http.get(f"{box}/commands/{before['id']}", params={"wait_s": 60}).json()
            assert ended["stdout_bytes"] == 4_000_001
            ballast = fill(data)
            # Commands go on; what of their output has no room on the disk is told.
            found = run("head -c 3000000 /dev/zero | tr '\\0' y").json()
            assert (found["exit_code"], found["stdout_bytes"]) == (0, 3_000_000)
            assert http.get(f"{box}/commands/{found['id']}").json()["output_complete"] is False
            refused = run("sleep 876231", background=True)
            assert refused.status_code == 503, refused.text
            assert refused.json()["code"] == "no_capacity"
            assert not pids_with("sleep\x00876231")
            snapshot = http.post(f"{box}/snapshots", json={})
            assert snapshot.status_code == 503, snapshot.text
            assert not list((data / "snapshots").iterdir())
            assert http.get("/healthz").status_code == 200
            ballast.unlink()
            assert http.get(f"{box}/commands/{before['id']}/stdout").text == "x" * 4_000_000 + "\n"
            assert run("cat file").json()["stdout"] == "before\n"
            assert http.post(f"{box}/snapshots", json={}).status_code == 201
            assert run("true", background=True).status_code == 201
            big = run("head -c 3000000 /dev/zero | tr '\\0' z").json()
            assert http.get(f"{box}/commands/{big['id']}").json()["output_complete"] is True
            assert http.delete(box).status_code == 204
        assert sum(file.stat().st_size for file in (data / "spool").rglob("*") if file.is_file()) < MIB
