"""What the root of a sandbox tries, and what it leaves in its layers for those who look in from outside."""

import os
import shutil
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest

from lm_sandbox.errors import Invalid, Unsupported
from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.driver import SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.user import User
from lm_sandbox.sandboxes.verification.root_attempts import ROOT_ATTEMPTS
from lm_sandbox.sandboxes.verification.verify import can_verify, verification
from tests.conformance.conftest import Run, runner
from tests.sandboxes.imaged import (
    BOX,
    HOST_SPEC,
    ROOMY,
    driver_with_images,
    every_file,
    make_root,
    needs_images,
)

pytestmark = [pytest.mark.anyio, needs_images]
SECRET = "a secret of the host"
OTHER = SandboxId("sb_other")
BOMB = """
import os, signal, time
made = []
try:
    for _ in range(1000):
        made.append(os.fork())
        if made[-1] == 0:
            time.sleep(60)
except BlockingIOError:
    for pid in made:
        os.kill(pid, signal.SIGKILL)
print(len(made))
"""


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[BubblewrapDriver]:
    async with driver_with_images(tmp_path) as started:
        yield started


@pytest.fixture
async def run(driver: BubblewrapDriver) -> Run:
    await driver.create(BOX, HOST_SPEC)
    return as_root(driver, BOX)


def as_root(driver: SandboxDriver, sandbox: SandboxId) -> Run:
    run_one = runner(driver, sandbox)

    async def run(command: str, **more: object) -> CommandResult:
        return await run_one(command, user=User.ROOT, **more)

    return run


@pytest.mark.skipif(not can_verify(), reason="the numbers of system calls are x86-64's")
async def test_nothing_that_root_tries_gets_through(driver: BubblewrapDriver) -> None:
    spec = replace(HOST_SPEC, limits=replace(ROOMY, open_files=128))
    async with verification(driver, spec, User.ROOT) as (sandbox, enforced):
        assert enforced.user == "sandbox, root"
        assert enforced.host_uid > 1_900_000_000
        outcomes = [await sandbox.run(attempt) for attempt in ROOT_ATTEMPTS]
    assert [outcome for outcome in outcomes if not outcome.held] == []
    assert len(outcomes) > 150


async def test_what_root_does_to_the_system_does_not_reach_the_host_or_a_neighbour(
    run: Run, driver: BubblewrapDriver
) -> None:
    before = {path: os.lstat(path) for path in ("/usr/bin/env", "/usr/bin", "/usr", "/var/lib/dpkg/status")}
    done = await run(
        "set -e; rm /usr/bin/env; echo evil > /usr/bin/id; chmod 4777 /usr/bin; chown 1000 /usr "
        "; echo evil > /var/lib/dpkg/status; mkdir /usr/evil; mv /usr/share/doc /usr/doc2; echo x > /evil"
    )
    assert done.exit_code == 0, done
    await driver.create(OTHER, HOST_SPEC)
    other = await as_root(driver, OTHER)(
        "ls /usr/bin/env /usr/share/doc | head -1; id -u; ls /usr/evil /evil"
    )
    assert other.stdout.startswith(b"/usr/bin/env\n")
    assert other.stdout.endswith(b"0\n")
    for path, status in before.items():
        now = os.lstat(path)
        assert (now.st_mode, now.st_uid, now.st_ino, now.st_size, now.st_mtime_ns) == (
            status.st_mode, status.st_uid, status.st_ino, status.st_size, status.st_mtime_ns,
        )  # fmt: skip
    assert not Path("/usr/evil").exists()
    assert not Path("/evil").exists()


async def test_what_not_everybody_may_read_of_the_host_root_may_not_read_either(tmp_path: Path) -> None:
    with TemporaryDirectory(dir="/usr/local/share") as folder:
        Path(folder).chmod(0o755)
        secret, within = Path(folder) / "secret", Path(folder) / "private"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        within.mkdir(mode=0o700)
        (within / "open").write_text(SECRET)
        (Path(folder) / "shown").write_text("shown")
        async with driver_with_images(tmp_path) as driver:
            await driver.create(BOX, HOST_SPEC)
            found = await as_root(driver, BOX)(f"ls {folder}; cat {secret} {within}/open")
    assert found.stdout == b"shown\n"


async def test_neighbours_share_no_user(driver: BubblewrapDriver, run: Run) -> None:
    await driver.create(OTHER, HOST_SPEC)
    maps = [
        (await one("cat /proc/self/uid_map /proc/self/gid_map")).stdout
        for one in (run, as_root(driver, OTHER))
    ]
    first, second = (int(told.split()[1]) for told in maps)
    assert all(told.split()[2] == told.split()[5] == b"65536" for told in maps)
    assert abs(first - second) >= 65536


async def test_saved_layers_belong_to_nobody_and_change_no_user(
    driver: BubblewrapDriver, run: Run, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    made = await run(
        "set -e; for place in /usr/bin /workspace /opt; do cp /bin/bash $place/suid; chown 0:0 $place/suid; "
        "chmod 6755 $place/suid; cp /bin/bash $place/own; chown 1000:1000 $place/own; chmod 4755 $place/own; done; "
        "setcap cap_setuid+ep /opt/own"
    )
    assert made.exit_code == 0, made
    await driver.save(BOX, saved)
    files = every_file(saved)
    assert len([path for path in files if path.name in {"suid", "own"}]) == 6
    for path in files:
        status = path.lstat()
        if path.is_symlink() or path.parent == saved:
            continue
        assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID), path
        assert 2_143_000_000 <= status.st_uid < 2_143_065_536, path
        assert "security.capability" not in os.listxattr(path, follow_symlinks=False), path
    assert saved.stat().st_mode & 0o077 == 0


async def test_links_in_layers_and_places_lead_nowhere_when_saved_compared_and_loaded(
    driver: BubblewrapDriver, run: Run, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "sandbox").mkdir()
    for folder in (outside, outside / "sandbox"):
        (folder / "secret").write_text(SECRET)
    saved = tmp_path / "saved"
    await driver.save(BOX, saved)
    before = {path: path.lstat() for path in every_file(outside)}
    linked = await run(
        f"set -e; cd /; mv /home /h; ln -s {outside} /home; ln -s {outside} /workspace/out; ln -s {outside} /opt/out; "
        f"rm -rf /srv /mnt; ln -s {outside} /srv; ln -s / /mnt; ln -s /proc/1/root /workspace/root"
    )
    assert linked.exit_code == 0, linked
    again = tmp_path / "again"
    await driver.save(BOX, again)
    for path in every_file(again):
        assert path.is_symlink() or not path.is_file() or path.read_bytes() != SECRET.encode(), path
    changes = {change.path for change in await driver.changes(BOX, saved)}
    assert {"/workspace/out", "/opt/out"} <= changes
    assert not [path for path in changes if "secret" in path]
    try:
        await driver.load(BOX, saved)
    finally:
        assert {path: path.lstat() for path in every_file(outside)} == before


async def test_a_link_to_what_only_the_kernel_and_root_see_is_not_copied(
    driver: BubblewrapDriver, run: Run, tmp_path: Path
) -> None:
    await run("mkdir /evil; ln -s /proc /evil/sandbox; mv /home /h; ln -s /evil /home")
    await driver.save(BOX, tmp_path / "saved")
    assert not list((tmp_path / "saved/home").iterdir())


async def test_attributes_that_only_overlays_of_ordinary_users_know_mean_nothing(
    driver: BubblewrapDriver, run: Run, tmp_path: Path
) -> None:
    code = (
        "import os; os.setxattr('/usr/share', 'user.overlay.opaque', b'y'); os.mkdir('/usr/r'); "
        "os.setxattr('/usr/r', 'user.overlay.redirect', b'/share/doc')"
    )
    await run(f'/usr/bin/python3 -c "{code}"')
    await driver.save(BOX, tmp_path / "saved")
    await driver.load(BOX, tmp_path / "saved")
    assert (await run("ls /usr/share/doc | head -1; ls /usr/r")).stdout.count(b"\n") == 1


async def test_root_inside_meets_the_limits(run: Run) -> None:
    filled = await run("head -c 400M /dev/zero > /usr/filler; stat -c %s /usr/filler; rm /usr/filler")
    assert int(filled.stdout) <= ROOMY.disk_bytes
    assert b"No space left" in filled.stderr
    bomb = await run(f'/usr/bin/python3 -c "{BOMB}"')
    assert int(bomb.stdout) < ROOMY.pids
    assert Limit.PIDS in bomb.limits
    assert (await run("echo well")).stdout == b"well\n"


async def test_a_sandbox_without_an_image_has_no_root(driver: BubblewrapDriver) -> None:
    await driver.create(BOX, SandboxSpec(limits=ROOMY))
    with pytest.raises(Unsupported, match="image"):
        await as_root(driver, BOX)("id")


async def test_an_image_cannot_lead_out_by_what_its_places_are(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "tmp").mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_text(f"secret:{SECRET}\n")
    root = make_root(tmp_path / "root")
    for name in ("proc", "dev", "tmp", "home", "var", "workspace", "root"):
        (root / name).symlink_to(outside)
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to(secret)
    (root / "etc/group").unlink()
    (root / "etc/group").symlink_to("../../../../../../../../../" + str(secret))
    (root / "etc/resolv.conf").symlink_to(outside / "resolv.conf")
    async with driver_with_images(tmp_path, {"evil": root}) as driver:
        await driver.create(BOX, SandboxSpec(limits=ROOMY, image="evil"))
        one = runner(driver, BOX)
        for user in User:
            made = await one(
                ("/bin/sh", "-c", "cat /etc/passwd /etc/group; touch /tmp/x /workspace/x /home/sandbox/x"),
                user=user,
            )
            assert made.exit_code == 0, made
            assert SECRET.encode() not in made.stdout
        await driver.save(BOX, tmp_path / "saved")
        await driver.load(BOX, tmp_path / "saved")
    assert [path.name for path in every_file(outside)] == ["tmp"]
    assert {path.name for path in (root / "etc").iterdir()} == {"passwd", "group", "resolv.conf"}


async def test_nothing_is_left_on_the_host(tmp_path: Path) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    async with driver_with_images(tmp_path) as driver:
        await driver.create(OTHER, SandboxSpec(limits=ROOMY))
        before = _descriptors()
        for _ in range(2):
            await driver.create(BOX, HOST_SPEC)
            uid = int((await as_root(driver, BOX)("cat /proc/self/uid_map")).stdout.split()[1])
            await driver.save(BOX, tmp_path / "saved")
            await driver.load(BOX, tmp_path / "saved")
            await driver.changes(BOX, tmp_path / "saved")
            await driver.destroy(BOX)
            shutil.rmtree(tmp_path / "saved")
            with anyio.fail_after(10):
                while _processes_of(uid) or _descriptors() != before:
                    await anyio.sleep(0.01)
        with pytest.raises(Invalid):
            await driver.create(BOX, replace(HOST_SPEC, image="none"))
        assert _descriptors() == before
    assert Path("/proc/self/mountinfo").read_text() == mounts


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _processes_of(first: int) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            owner = path.stat().st_uid
        except FileNotFoundError:
            continue
        if first <= owner < first + 65536:
            found.append(path)
    return found
