"""Volumes in sandboxes, real ones: what sandboxes share by them, what holds, and what is left."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from lm_sandbox.errors import FileNotThere, Unsupported
from lm_sandbox.sandboxes.driver import ChangeKind, RunState, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.mounts import DiskMount
from lm_sandbox.sandboxes.user import User
from lm_sandbox.sandboxes.volume_store import make_disk
from tests.conformance.conftest import Run, runner
from tests.conftest import eventually
from tests.sandboxes.imaged import ROOMY, driver_with_images, make_root, needs_images

pytestmark = [pytest.mark.anyio, needs_images]
ONE, OTHER = SandboxId("sb_one"), SandboxId("sb_other")
SIZE = 32 * MIB
IMAGES = (None, "host")


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[BubblewrapDriver]:
    async with driver_with_images(tmp_path) as started:
        yield started


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    made = tmp_path / "vol_of_this_test"
    make_disk(made, SIZE)
    return made


class Sandboxes:
    """Makes sandboxes with one volume."""

    def __init__(self, driver: BubblewrapDriver, disk: Path) -> None:
        self._driver = driver
        self._disk = disk

    async def make(
        self, sandbox: SandboxId, path: str = "/data", image: str | None = None, *, read_only: bool = False
    ) -> Run:
        mounts = (DiskMount(self._disk, path, read_only),)
        await self._driver.create(sandbox, SandboxSpec(limits=ROOMY, image=image, mounts=mounts))
        return runner(self._driver, sandbox)


@pytest.fixture
def sandboxes(driver: BubblewrapDriver, disk: Path) -> Sandboxes:
    return Sandboxes(driver, disk)


async def text(run: Run, command: str, user: User = User.SANDBOX) -> str:
    result = await run(command, user=user)
    return str((result.stdout + result.stderr).decode())


def devices_of(disk: Path) -> list[str]:
    told = subprocess.run(["losetup", "-j", str(disk)], capture_output=True, text=True, check=True).stdout
    return told.splitlines()


def all_devices() -> str:
    return subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("other_image", IMAGES)
async def test_sandboxes_share_files_whatever_user_each_has_on_the_host(
    sandboxes: Sandboxes, image: str | None, other_image: str | None
) -> None:
    one = await sandboxes.make(ONE, image=image)
    other = await sandboxes.make(OTHER, "/mnt/deep/er", other_image)
    assert await text(one, "ls -A /data; echo from one > /data/a; stat -c %U:%a /data /data/a") == (
        "sandbox:755\nsandbox:644\n"
    )
    assert await text(other, "cd /mnt/deep/er && cat a && echo more >> a && stat -c %U a") == (
        "from one\nsandbox\n"
    )
    assert await text(one, "cat /data/a") == "from one\nmore\n"


async def test_a_file_of_ones_root_is_the_others_roots(sandboxes: Sandboxes) -> None:
    one, other = await sandboxes.make(ONE, image="host"), await sandboxes.make(OTHER, image="host")
    plain = await sandboxes.make(SandboxId("sb_plain"))
    await one("echo secret > /data/a; chmod 600 /data/a", user=User.ROOT)
    assert await text(other, "stat -c %U /data/a; cat /data/a", User.ROOT) == "root\nsecret\n"
    assert "Permission denied" in await text(other, "cat /data/a")
    assert "Permission denied" in await text(plain, "cat /data/a; rm -f /data/a; cat /data/a")


@pytest.mark.parametrize("image", IMAGES)
async def test_a_volume_that_is_only_to_be_read_is(sandboxes: Sandboxes, image: str | None) -> None:
    await (await sandboxes.make(ONE))("echo kept > /data/a")
    reader = await sandboxes.make(OTHER, image=image, read_only=True)
    user = User.ROOT if image else User.SANDBOX
    for attempt in ("echo x > /data/a", "touch /data/b", "rm /data/a", "mount -o remount,rw /data"):
        assert (await reader(f"{attempt} && echo through", user=user)).stdout == b""
    assert await text(reader, "cat /data/a") == "kept\n"


async def test_what_is_in_a_volume_outlives_its_sandboxes_and_nothing_stays_mounted(
    driver: BubblewrapDriver, sandboxes: Sandboxes, disk: Path
) -> None:
    await (await sandboxes.make(ONE))("echo kept > /data/a")
    await (await sandboxes.make(OTHER))("true")
    assert len(devices_of(disk)) == 1, "two devices of one file system would destroy it"
    await driver.destroy(ONE)
    await driver.destroy(OTHER)
    await eventually(lambda: devices_of(disk) == [])
    assert str(disk) not in Path("/proc/self/mountinfo").read_text()
    assert await text(await sandboxes.make(ONE), "cat /data/a") == "kept\n"


async def test_many_sandboxes_that_come_at_once_get_the_same_file_system(
    sandboxes: Sandboxes, disk: Path
) -> None:
    runs: list[Run] = []

    async def make(number: int) -> None:
        runs.append(await sandboxes.make(SandboxId(f"sb_{number}")))

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(make, number)
    assert len(devices_of(disk)) == 1
    for number, run in enumerate(runs):
        await run(f"echo {number} >> /data/all")
    assert [await text(run, "wc -l < /data/all") for run in runs] == ["6\n"] * 6


async def test_a_volume_takes_no_more_than_its_size_and_gives_room_back(
    sandboxes: Sandboxes, disk: Path
) -> None:
    run = await sandboxes.make(ONE)
    filled = await run("head -c 100M /dev/zero > /data/big; stat -c %s /data/big; echo x > /workspace/a")
    assert b"No space left" in filled.stderr
    assert 20 * MIB < int(filled.stdout) < SIZE
    assert "No space left" in await text(
        run, "rm /data/big; for i in {1..20000}; do : > /data/$i || exit; done"
    )
    assert disk.stat().st_size == SIZE
    assert disk.stat().st_blocks * 512 <= SIZE
    assert await text(run, "cd /data && find . -type f -delete; echo small > a; cat a") == "small\n"


async def test_a_program_in_a_volume_gets_no_rights_and_a_device_cannot_be_made(sandboxes: Sandboxes) -> None:
    root = await sandboxes.make(ONE, image="host")
    plant = (
        "cp /usr/bin/id /data/id; chown 0:0 /data/id; chmod 6755 /data/id; "
        "mknod /data/null c 1 3; mknod /data/disk b 7 0; mkfifo /data/pipe; echo planted"
    )
    assert "planted" in await text(root, plant, User.ROOT)
    other = await sandboxes.make(OTHER, image="host")
    assert (await other("/data/id -u")).stdout == b"1000\n"
    assert (
        await text(other, "[ -c /data/null ] || [ -b /data/disk ] || echo none; ls /data")
        == "none\nid\npipe\n"
    )


async def test_links_in_a_volume_lead_nowhere_but_within_the_sandbox(
    sandboxes: Sandboxes, driver: BubblewrapDriver, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret of the host")
    run = await sandboxes.make(ONE)
    await run(f"ln -s {secret} /data/file; ln -s / /data/up; ln -s ../../../../../{secret} /data/far")
    files = driver.files(ONE)
    for path in ("/data/file", f"/data/up{secret}", "/data/far"):
        with pytest.raises(FileNotThere):
            async with files.read(file_path(path)):
                pass
    assert "secret of the host" not in await text(run, "cat /data/file /data/far")


async def test_files_of_a_volume_are_read_and_written_by_the_file_api(
    sandboxes: Sandboxes, driver: BubblewrapDriver
) -> None:
    run = await sandboxes.make(ONE)
    await run("mkdir /data/d; echo hello > /data/d/a")
    async with driver.files(ONE).write(file_path("/data/d/b"), None) as writer:
        await writer.write([b"from outside"])
        await writer.commit()
    assert await text(run, "cat /data/d/b; stat -c ' %U' /data/d/b") == "from outside sandbox\n"
    async with driver.files(ONE).read(file_path("/data/d/a")) as reader:
        assert await reader.read(0, 100) == b"hello\n"


@pytest.mark.parametrize("image", IMAGES)
async def test_snapshots_leave_a_volume_as_it_is(
    sandboxes: Sandboxes, driver: BubblewrapDriver, tmp_path: Path, image: str | None
) -> None:
    run = await sandboxes.make(ONE, image=image)
    await run("echo one > /data/a; echo one > a")
    await driver.save(ONE, tmp_path / "saved")
    assert not [path for path in (tmp_path / "saved").rglob("a") if "data" in path.parts]
    await run("echo two > /data/a; echo two > a")
    changed = [(one.kind, one.path) for one in await driver.changes(ONE, tmp_path / "saved")]
    assert changed == [(ChangeKind.MODIFIED, "/workspace/a")]
    await driver.load(ONE, tmp_path / "saved")
    assert await text(run, "cat a /data/a; echo three > /data/a; cat /data/a") == "one\ntwo\nthree\n"


async def test_a_volume_is_there_after_a_stop_and_a_pause(
    sandboxes: Sandboxes, driver: BubblewrapDriver
) -> None:
    run = await sandboxes.make(ONE)
    await run("echo kept > /data/a")
    for state in (RunState.STOPPED, RunState.RUNNING, RunState.PAUSED, RunState.RUNNING):
        await driver.set_state(ONE, state)
    assert await text(run, "cat /data/a") == "kept\n"


async def test_a_volume_whose_file_is_gone_or_broken_is_refused_and_nothing_is_left(
    driver: BubblewrapDriver, sandboxes: Sandboxes, disk: Path
) -> None:
    disk.write_bytes(bytes(SIZE))
    with pytest.raises(Unsupported, match="cannot mount a volume"):
        await sandboxes.make(ONE)
    disk.unlink()
    with pytest.raises(Unsupported, match="cannot mount a volume"):
        await sandboxes.make(ONE)
    await driver.create(ONE, SandboxSpec(limits=ROOMY))
    assert await text(runner(driver, ONE), "echo on") == "on\n"
    assert disk.name not in all_devices()


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Path]:
    """A disk of the host that has less room than a volume on it."""
    place = tmp_path / "narrow"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


async def test_a_volume_that_met_a_full_disk_is_refused_until_it_is_mended(
    driver: BubblewrapDriver, narrow: Path
) -> None:
    disk = narrow / "vol_on_a_full_disk"
    make_disk(disk, SIZE)
    sandboxes = Sandboxes(driver, disk)
    run = await sandboxes.make(ONE)
    assert "No space left" in await text(run, "head -c 20M /dev/zero > /data/a; sync /data/a")
    await run("for i in {1..2000}; do mkdir /data/$i; done; sync")
    assert "Read-only file system" in await text(run, "echo x > /data/b")
    await driver.destroy(ONE)
    await eventually(lambda: devices_of(disk) == [])
    await anyio.run_process(["mount", "-o", "remount,size=64m", str(narrow)])
    with pytest.raises(Unsupported, match="its file system is damaged"):
        await sandboxes.make(ONE)
    await anyio.run_process(["e2fsck", "-fy", str(disk)], check=False)
    assert await text(await sandboxes.make(ONE), "echo on > /data/b; cat /data/b") == "on\n"
    await driver.destroy(ONE)
    await eventually(lambda: devices_of(disk) == [])


async def test_a_volume_that_was_left_with_small_errors_is_mended(sandboxes: Sandboxes, disk: Path) -> None:
    await anyio.run_process(["debugfs", "-w", "-R", "set_super_value state 2", str(disk)])
    assert await text(await sandboxes.make(ONE), "echo on > /data/a; cat /data/a") == "on\n"
    told = await anyio.run_process(["dumpe2fs", "-h", str(disk)])
    assert b"clean with errors" not in told.stdout


async def test_links_of_an_image_where_a_volume_is_to_be_are_not_followed(tmp_path: Path, disk: Path) -> None:
    root = make_root(tmp_path / "root")
    (root / "data").symlink_to("/workspace")
    (root / "mnt").symlink_to("etc")
    async with driver_with_images(tmp_path, {"linked": root}) as driver:
        for path in ("/data", "/mnt/deep/er"):
            mounts = (DiskMount(disk, path, read_only=False),)
            await driver.create(ONE, SandboxSpec(limits=ROOMY, image="linked", mounts=mounts))
            run = runner(driver, ONE)
            script = f"echo x > {path}/a; ls /workspace /etc; echo ---; cat /proc/self/mountinfo"
            listed, _, mounted = (await run(("/bin/sh", "-c", script))).stdout.decode().partition("---")
            assert not {"a", "deep"} & set(listed.split())
            assert [line.split()[4] for line in mounted.splitlines() if "ext4 /dev/loop" in line] == [path]
            await driver.destroy(ONE)
