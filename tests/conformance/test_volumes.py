"""What every driver's volumes are: shared, kept, limited, and without any right."""

from pathlib import Path

import anyio
import pytest

from lm_sandbox.errors import FileNotThere, FileRefused, Unsupported
from lm_sandbox.sandboxes.driver import ChangeKind, SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.mounts import DiskMount
from lm_sandbox.sandboxes.volume_store import make_disk
from tests.conformance.conftest import SMALL, Run, devices_of, runner
from tests.conftest import eventually

pytestmark = pytest.mark.anyio
ONE, OTHER = SandboxId("sb_one"), SandboxId("sb_other")
SIZE = 32 * MIB
DATA = "/mnt/deep er/data"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    made = tmp_path / "vol_of_this_test"
    make_disk(made, SIZE)
    return made


class Sandboxes:
    """Makes sandboxes with one volume."""

    def __init__(self, driver: SandboxDriver, disk: Path) -> None:
        self._driver = driver
        self._disk = disk

    async def make(self, sandbox: SandboxId, path: str = "/data", *, read_only: bool = False) -> Run:
        mounts = (DiskMount(self._disk, path, read_only),)
        await self._driver.create(sandbox, SandboxSpec(limits=SMALL.limits, mounts=mounts))
        return runner(self._driver, sandbox)


@pytest.fixture
def sandboxes(driver: SandboxDriver, disk: Path) -> Sandboxes:
    return Sandboxes(driver, disk)


async def text(run: Run, command: str) -> str:
    result = await run(command)
    return str((result.stdout + result.stderr).decode())


async def test_what_one_sandbox_writes_another_one_reads_and_changes(sandboxes: Sandboxes) -> None:
    one, other = await sandboxes.make(ONE), await sandboxes.make(OTHER, DATA)
    assert await text(one, "echo from one > /data/a; stat -c %U:%a /data /data/a") == (
        "sandbox:755\nsandbox:644\n"
    )
    assert await text(other, f"cd '{DATA}'; cat a && echo more >> a && chmod 600 a && stat -c %U a") == (
        "from one\nsandbox\n"
    )
    assert await text(one, "cat /data/a") == "from one\nmore\n"


async def test_two_sandboxes_that_write_at_once_lose_nothing(sandboxes: Sandboxes, disk: Path) -> None:
    runs = [await sandboxes.make(ONE), await sandboxes.make(OTHER)]
    assert len(devices_of(disk)) == 1, "two devices of one file system would destroy it"

    async def append(run: Run) -> None:
        await run("cd /data; for i in {1..200}; do echo line >> all; mkdir -p d$i; done")

    async with anyio.create_task_group() as tasks:
        for run in runs:
            tasks.start_soon(append, run)
    assert await text(runs[0], "wc -l < /data/all; ls -d /data/d* | wc -l") == "400\n200\n"


async def test_a_volume_that_is_only_to_be_read_is(sandboxes: Sandboxes) -> None:
    await (await sandboxes.make(ONE))("echo kept > /data/a")
    reader = await sandboxes.make(OTHER, read_only=True)
    for attempt in (
        "echo x > /data/a",
        "touch /data/b",
        "rm /data/a",
        "chmod 777 /data",
        "ln /data/a /data/c",
    ):
        assert (await reader(f"{attempt} && echo through")).stdout == b"", attempt
    assert await text(reader, "cat /data/a") == "kept\n"


async def test_a_volume_outlives_its_sandboxes_and_nothing_stays_mounted(
    driver: SandboxDriver, sandboxes: Sandboxes, disk: Path
) -> None:
    await (await sandboxes.make(ONE))("echo kept > /data/a")
    await driver.destroy(ONE)
    await eventually(lambda: devices_of(disk) == [])
    assert disk.name not in Path("/proc/self/mountinfo").read_text()
    assert await text(await sandboxes.make(ONE), "cat /data/a") == "kept\n"


async def test_a_volume_takes_no_more_than_its_size(sandboxes: Sandboxes, disk: Path) -> None:
    run = await sandboxes.make(ONE)
    filled = await run("head -c 100M /dev/zero > /data/big; stat -c %s /data/big; echo x > /workspace/a")
    assert b"No space left" in filled.stderr
    assert 20 * MIB < int(filled.stdout) < SIZE
    made = "rm /data/big; for i in {1..20000}; do : > /data/$i || exit; done"
    assert "No space left" in await text(run, made)
    assert disk.stat().st_size == SIZE
    assert disk.stat().st_blocks * 512 <= SIZE


async def test_nothing_in_a_volume_gives_rights(sandboxes: Sandboxes) -> None:
    one, other = await sandboxes.make(ONE), await sandboxes.make(OTHER)
    await one("cp /usr/bin/id /data/id; chmod 6755 /data/id; mknod /data/null c 1 3; mknod /data/disk b 7 0")
    assert await text(other, "/data/id -u; ls /data | grep -v lost") == "1000\nid\n"
    flags = (await other("grep ' /data ' /proc/self/mountinfo")).stdout.decode().split()[5].split(",")
    assert {"nosuid", "nodev"} <= set(flags)


async def test_links_in_a_volume_lead_nowhere_but_within_the_sandbox(
    sandboxes: Sandboxes, driver: SandboxDriver, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret of the host")
    run = await sandboxes.make(ONE)
    await run(
        f"cd /data; ln -s {secret} file; ln -s / up; ln -s ../../../../../{secret} far; ln -s /proc/1/root root"
    )
    for path in ("/data/file", f"/data/up{secret}", "/data/far", f"/data/root{secret}"):
        with pytest.raises((FileNotThere, FileRefused)):
            async with driver.files(ONE).read(file_path(path)):
                pass
    assert "secret of the host" not in await text(run, "cat /data/file /data/far")


async def test_snapshots_and_forks_have_nothing_of_a_volume(
    sandboxes: Sandboxes, driver: SandboxDriver, tmp_path: Path
) -> None:
    run = await sandboxes.make(ONE)
    await run("echo one > /data/a; echo one > /workspace/a")
    await driver.save(ONE, tmp_path / "saved")
    await run("echo two > /data/a; echo two > /workspace/a")
    changed = [(one.kind, one.path) for one in await driver.changes(ONE, tmp_path / "saved")]
    assert changed == [(ChangeKind.MODIFIED, "/workspace/a")]
    await driver.load(ONE, tmp_path / "saved")
    assert await text(run, "cat /workspace/a /data/a") == "one\ntwo\n"
    await driver.create(OTHER, SMALL)
    await driver.load(OTHER, tmp_path / "saved")
    assert await text(runner(driver, OTHER), "cat /workspace/a; ls /data 2>/dev/null") == "one\n"


async def test_a_volume_that_is_broken_or_gone_is_refused_and_nothing_is_left(
    driver: SandboxDriver, sandboxes: Sandboxes, disk: Path
) -> None:
    disk.write_bytes(bytes(SIZE))
    with pytest.raises(Unsupported, match="cannot mount a volume"):
        await sandboxes.make(ONE)
    disk.unlink()
    with pytest.raises(Unsupported, match="cannot mount a volume"):
        await sandboxes.make(ONE)
    assert devices_of(disk) == []
    await driver.create(ONE, SMALL)
    assert await text(runner(driver, ONE), "echo on") == "on\n"
