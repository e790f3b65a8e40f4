"""Sandboxes with images: what they are made of, what they keep, and what the driver refuses."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lm_sandbox.errors import Conflict, Invalid
from lm_sandbox.sandboxes.driver import ChangeKind, RunState, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.inside.keeper import keeper_program
from lm_sandbox.sandboxes.process import CommandSpec
from lm_sandbox.sandboxes.terminal import TerminalSpec
from lm_sandbox.sandboxes.user import User
from tests.conformance.conftest import Run, runner
from tests.sandboxes.imaged import BOX, HOST_SPEC, ROOMY, driver_with_images, make_root, needs_images

pytestmark = [pytest.mark.anyio, needs_images]
FORK = SandboxId("sb_fork")
SMALL_SPEC = SandboxSpec(limits=ROOMY, image="small")


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[BubblewrapDriver]:
    async with driver_with_images(tmp_path, {"small": make_root(tmp_path / "small")}) as started:
        yield started


@pytest.fixture
async def run(driver: BubblewrapDriver) -> Run:
    await driver.create(BOX, HOST_SPEC)
    return runner(driver, BOX)


async def text(run: Run, command: str | tuple[str, ...], user: User = User.ROOT) -> str:
    result = await run(command, user=user)
    return str((result.stdout + result.stderr).decode())


def sh(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


async def test_both_users_are_who_they_say(run: Run) -> None:
    who = "id -un; id -u; echo $HOME $USER; pwd; touch /etc/own 2>/dev/null && echo wrote; umask"
    assert await text(run, who) == "root\n0\n/root root\n/workspace\nwrote\n0022\n"
    assert await text(run, who, User.SANDBOX) == "sandbox\n1000\n/home/sandbox sandbox\n/workspace\n0022\n"


async def test_root_may_become_any_user_and_nobody_becomes_root(run: Run) -> None:
    told = await text(run, "setpriv --reuid 33 --regid 33 --clear-groups id -un; su sandbox -c 'id -un'")
    assert told.split() == ["www-data", "sandbox"]
    assert "uid=0" not in await text(run, "su -c id; setpriv --reuid 0 id", User.SANDBOX)


async def test_files_of_root_are_roots_and_those_of_the_api_the_sandboxs(
    driver: BubblewrapDriver, run: Run
) -> None:
    await text(run, "echo r > /workspace/r; mkdir -m 700 /workspace/d")
    assert "Permission denied" in await text(run, "stat -c %U r d; echo x > r", User.SANDBOX)
    async with driver.files(BOX).write(file_path("/workspace/new"), None) as upload:
        await upload.write([b"x"])
        await upload.commit()
    assert await text(run, "stat -c %U new") == "sandbox\n"


async def test_terminals_are_roots_where_asked_for(driver: BubblewrapDriver, run: Run) -> None:
    assert await text(run, "true") == ""
    terminal = await driver.open_terminal(BOX, TerminalSpec(("/usr/bin/id", "-un"), user=User.ROOT))
    assert (await terminal.wait()).code == 0
    assert b"root" in await terminal.output.receive()
    await terminal.aclose()


async def test_what_root_started_ends_with_its_command_and_with_the_sandbox(
    driver: BubblewrapDriver, run: Run
) -> None:
    process = await driver.spawn(
        BOX, CommandSpec(("/bin/bash", "-c", "setsid sleep 4711 & sleep 4711"), user=User.ROOT)
    )
    await process.kill()
    assert (await process.wait()).signal == 9
    await process.aclose()
    assert await text(run, "pgrep -fx 'sleep 4711'") == ""
    other = await driver.spawn(BOX, CommandSpec(("sleep", "4712"), user=User.ROOT))
    await driver.set_state(BOX, RunState.STOPPED)
    assert (await other.wait()).signal == 9
    await other.aclose()
    await driver.set_state(BOX, RunState.RUNNING)
    assert await text(run, "id -un") == "root\n"


async def test_a_fork_has_owners_modes_and_removed_files(
    driver: BubblewrapDriver, run: Run, tmp_path: Path
) -> None:
    await text(
        run,
        "set -e; chown www-data /opt; mkdir -m 750 /opt/d; echo x > /opt/d/x; chown 33:34 /opt/d/x; rm /usr/bin/env; "
        "rm -rf /usr/share/doc; mkdir /usr/share/doc; echo own > /usr/share/doc/own; ln -s d /opt/l; "
        "echo w > /workspace/w; chown 1000 /workspace/w; echo r > /workspace/r; mkfifo /opt/pipe",
    )
    await driver.save(BOX, tmp_path / "saved")
    await driver.create(FORK, HOST_SPEC)
    await driver.load(FORK, tmp_path / "saved")
    look = (
        "stat -c '%U %G %a' /opt /opt/d /opt/d/x w r /usr/share/doc; ls /usr/share/doc; ls /usr/bin/env; "
        "readlink /opt/l; test -p /opt/pipe && echo pipe"
    )
    told = await text(runner(driver, FORK), look)
    assert told == await text(run, look)
    assert told.startswith(
        "www-data root 755\nroot root 750\nwww-data backup 644\nsandbox root 644\nroot root 644\n"
    )
    assert "\nown\n" in told
    assert "pipe\n" in told
    assert await driver.changes(FORK, tmp_path / "saved") == []


async def test_changes_are_what_the_sandbox_sees(driver: BubblewrapDriver, run: Run, tmp_path: Path) -> None:
    await text(run, "echo a > /opt/a; echo b > /opt/b")
    await driver.save(BOX, tmp_path / "saved")
    await text(
        run,
        "echo later >> /opt/a; rm /opt/b; echo c > /opt/c; rm /usr/bin/env; echo x >> /etc/services; "
        "touch /usr/share/misc/new; rm -rf /usr/share/bug; mkdir /usr/share/bug; echo w > /workspace/w",
    )
    changes = {change.path: change.kind for change in await driver.changes(BOX, tmp_path / "saved")}
    await driver.save(BOX, tmp_path / "later")
    then = await driver.changes(BOX, tmp_path / "saved", until=tmp_path / "later")
    assert {change.path: change.kind for change in then} == changes
    below = {path for path in changes if path.startswith("/usr/share/bug/")}
    assert below
    assert all(changes[path] is ChangeKind.DELETED for path in below)
    assert {path: kind for path, kind in changes.items() if path not in below} == {
        "/opt/a": ChangeKind.MODIFIED,
        "/opt/b": ChangeKind.DELETED,
        "/opt/c": ChangeKind.CREATED,
        "/usr/bin/env": ChangeKind.DELETED,
        "/etc/services": ChangeKind.MODIFIED,
        "/usr/share/misc/new": ChangeKind.CREATED,
        "/workspace/w": ChangeKind.CREATED,
    }


async def test_going_back_undoes_again_and_again(driver: BubblewrapDriver, run: Run, tmp_path: Path) -> None:
    await text(run, "echo one > /etc/own; rm /usr/bin/env; mkdir /usr/share/kept; echo k > /usr/share/kept/k")
    await driver.save(BOX, tmp_path / "saved")
    for number in range(3):
        assert (
            await text(
                run,
                f"cat /etc/own /usr/share/kept/k; ls /usr/bin/env /usr/bin/id /usr/share/doc | wc -l; echo {number} > /etc/own; "
                "cp /usr/bin/id /usr/bin/env; rm -rf /usr/bin/id /usr/share/doc /usr/share/kept; mkdir /usr/share/kept; "
                "touch /tmp/x ~/y /usr/share/kept/other",
            )
            != ""
        )
        assert len(await driver.changes(BOX, tmp_path / "saved")) > 5
        await driver.load(BOX, tmp_path / "saved")
        assert await driver.changes(BOX, tmp_path / "saved") == []
        assert await text(
            run, "cat /etc/own; ls /usr/share/kept /usr/bin/id; ls /tmp ~; test -e /usr/bin/env"
        ) == ("one\n/usr/bin/id\n\n/usr/share/kept:\nk\n/root:\n\n/tmp:\n")
        assert int(await text(run, "ls /usr/share/doc | wc -l")) > 10


async def test_files_of_one_image_do_not_go_onto_another(driver: BubblewrapDriver, tmp_path: Path) -> None:
    await driver.create(BOX, HOST_SPEC)
    await driver.save(BOX, tmp_path / "saved")
    for number, spec in enumerate((SMALL_SPEC, SandboxSpec(limits=ROOMY))):
        other = SandboxId(f"sb_{number}")
        await driver.create(other, spec)
        with pytest.raises(Conflict, match="image host") as caught:
            await driver.load(other, tmp_path / "saved")
        assert str(tmp_path) not in caught.value.message
        await driver.save(other, tmp_path / f"other{number}")
        with pytest.raises(Conflict):
            await driver.changes(BOX, tmp_path / f"other{number}")


async def test_a_folder_is_an_image_and_needs_no_program_of_ours(
    driver: BubblewrapDriver, tmp_path: Path
) -> None:
    await driver.create(BOX, SMALL_SPEC)
    run = runner(driver, BOX)
    assert await text(run, sh("id; cat /etc/passwd; echo x > /bin/own; ls /bin/own")) == (
        "uid=0(root) gid=0(root)\nroot:x:0:0:root:/root:/bin/sh\n"
        "sandbox:*:1000:1000:sandbox:/home/sandbox:/bin/bash\n"
        "nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n/bin/own\n"
    )  # fmt: skip
    assert await text(run, sh("id -u; touch /bin/x"), User.SANDBOX) == (
        "1000\ntouch: /bin/x: Permission denied\n"
    )
    assert (await run("true")).exit_code == 127
    assert not (tmp_path / "small/bin/own").exists()


async def test_the_first_process_collects_orphans(driver: BubblewrapDriver) -> None:
    assert keeper_program() is not None
    assert keeper_program("s390x") is None
    await driver.create(BOX, HOST_SPEC)
    run = runner(driver, BOX)
    await text(run, "for n in 1 2 3 4 5; do (setsid sh -c 'sleep 0.05' &) ; done")
    assert await text(run, "sleep 0.3; ps -eo stat= | grep -c Z") == "0\n"


async def test_there_are_no_other_images(driver: BubblewrapDriver) -> None:
    for name in ("none", "../small", "/etc", " ", "host/..", "x" * 500):
        with pytest.raises(Invalid, match="there are: host, small") as caught:
            await driver.create(BOX, SandboxSpec(limits=ROOMY, image=name))
        assert caught.value.field == "image"
    async with BubblewrapDriver() as without:
        with pytest.raises(Invalid, match="no images"):
            await without.create(BOX, HOST_SPEC)


async def test_sandboxes_are_made_of_the_default_image(tmp_path: Path) -> None:
    small = {"small": make_root(tmp_path / "small")}
    async with driver_with_images(tmp_path, small, default="small") as driver:
        await driver.create(BOX, SandboxSpec(limits=ROOMY))
        assert await text(runner(driver, BOX), sh("ls /bin/busybox")) == "/bin/busybox\n"


async def test_the_hosts_own_etc_is_not_all_there(run: Run) -> None:
    told = await text(run, "ls /etc; cat /etc/resolv.conf /etc/hosts; ls /root /home /boot /sys")
    listed = told.split()
    assert "shadow" not in listed
    assert "ssh" not in listed
    assert "machine-id" not in listed
    assert os.uname().nodename not in listed
