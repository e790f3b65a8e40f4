"""What every driver's copies of a sandbox's files hold."""

from pathlib import Path

import pytest

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.driver import ChangeKind, RunState, SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.limits import MIB, Limits
from tests.conformance.conftest import BOX, Run, runner

pytestmark = pytest.mark.anyio
FORK = SandboxId("sb_fork")


async def fork(driver: SandboxDriver, folder: Path) -> Run:
    await driver.create(FORK, SandboxSpec(limits=Limits(disk_bytes=32 * MIB)))
    await driver.load(FORK, folder)
    return runner(driver, FORK)


async def test_a_fork_has_the_files_of_its_origin_and_can_change_them(
    run: Run, driver: SandboxDriver, tmp_path: Path
) -> None:
    await run(
        "mkdir -p a/b && echo one > a/b/c && ln -s c a/b/link && ln a/b/c a/hard && chmod 751 a/b/c "
        "&& echo home > ~/h && echo tmp > /tmp/t && mkfifo pipe && touch \"$(printf 'odd\\n\\xff')\""
    )
    await driver.save(BOX, tmp_path / "saved")
    await run("echo later > a/b/c")
    forked = await fork(driver, tmp_path / "saved")
    result = await forked(
        "cat a/b/c a/b/link ~/h /tmp/t && stat -c %a,%U,%h a/b/c && [ -p pipe ] && ls | grep -c odd "
        "&& echo two > a/b/c && cat a/hard && touch a/b/new && rm -r a"
    )
    assert result.stdout == b"one\none\nhome\ntmp\n751,sandbox,2\n1\ntwo\n", result.stderr
    assert (await run("cat a/b/c")).stdout == b"later\n"


async def test_a_link_out_of_the_sandbox_stays_a_link_and_nothing_behind_it_is_copied(
    run: Run, driver: SandboxDriver, tmp_path: Path
) -> None:
    outside = tmp_path / "secret"
    outside.write_text("secret of the host")
    await run(f"ln -s {outside} file; ln -s {tmp_path} folder; ln -s /proc/self/root/etc up; mkdir d")
    await driver.save(BOX, tmp_path / "saved")
    copied = [path for path in (tmp_path / "saved").rglob("*") if not path.is_symlink() and path.is_file()]
    assert copied == []
    forked = await fork(driver, tmp_path / "saved")
    result = await forked("readlink file; cat file folder/secret")
    assert result.stdout.decode().strip() == str(outside)
    assert b"secret of the host" not in result.stdout


async def test_a_sparse_file_takes_no_more_room_than_it_has(
    run: Run, driver: SandboxDriver, tmp_path: Path
) -> None:
    await run("truncate -s 100G hole; echo end >> hole")
    assert await driver.save(BOX, tmp_path / "saved") < MIB
    forked = await fork(driver, tmp_path / "saved")
    assert (await forked("stat -c %s hole; tail -c 4 hole")).stdout == b"107374182404\nend\n"


async def test_changes_are_told_by_path(run: Run, driver: SandboxDriver, tmp_path: Path) -> None:
    await run("echo 1 > same; echo 1 > edited; echo 1 > gone; mkdir dir; ln -s a link; chmod 600 same")
    await driver.save(BOX, tmp_path / "saved")
    assert await driver.changes(BOX, tmp_path / "saved") == []
    await run("echo 2 > edited; rm gone; echo 1 > dir/new; ln -sf b link; touch ~/x; touch /dev/shm/no")
    found = {(change.kind, change.path) for change in await driver.changes(BOX, tmp_path / "saved")}
    assert found == {
        (ChangeKind.MODIFIED, "/workspace/edited"),
        (ChangeKind.MODIFIED, "/workspace/link"),
        (ChangeKind.DELETED, "/workspace/gone"),
        (ChangeKind.CREATED, "/workspace/dir/new"),
        (ChangeKind.CREATED, "/home/sandbox/x"),
    }


async def test_what_one_of_several_commands_changed_is_told_by_what_was_saved_before_and_after(
    run: Run, driver: SandboxDriver, tmp_path: Path
) -> None:
    for number, command in enumerate(("echo 1 > a; echo 1 > b", "rm b; echo 1 > c", "echo 2 > a; rm c")):
        await driver.save(BOX, tmp_path / str(number))
        await run(command)
    found = await driver.changes(BOX, tmp_path / "1", until=tmp_path / "2")
    assert {(change.kind, change.path) for change in found} == {
        (ChangeKind.DELETED, "/workspace/b"),
        (ChangeKind.CREATED, "/workspace/c"),
    }
    assert await driver.changes(BOX, tmp_path / "1", until=tmp_path / "1") == []


async def test_going_back_undoes_everything_and_ends_what_runs(
    run: Run, driver: SandboxDriver, tmp_path: Path
) -> None:
    await run("echo before > a")
    await driver.save(BOX, tmp_path / "saved")
    await run(
        "echo after > a; mkdir -p deep/er; chmod 0 deep; (while :; do date > b; done) >/dev/null 2>&1 &"
    )
    await driver.load(BOX, tmp_path / "saved")
    result = await run("cat a; ls; pgrep -cf '[d]ate > b'")
    assert result.stdout == b"before\na\n0\n"
    assert await driver.changes(BOX, tmp_path / "saved") == []


async def test_the_files_are_of_one_moment(run: Run, driver: SandboxDriver, tmp_path: Path) -> None:
    script = "(while :; do i=$((i+1)); echo $i > a; echo $i > b; done) >/dev/null 2>&1 & until [ -s b ]; do :; done"
    await run(script)
    for number in range(5):
        saved = tmp_path / f"saved{number}"
        await driver.save(BOX, saved)
        texts = [(saved / "workspace" / name).read_text().strip() or "0" for name in "ab"]
        assert int(texts[0]) - int(texts[1]) in {0, 1} or "0" in texts


async def test_a_paused_sandbox_is_saved_and_stays_paused(
    run: Run, driver: SandboxDriver, tmp_path: Path
) -> None:
    await run("(while :; do :; done) >/dev/null 2>&1 &")
    await driver.set_state(BOX, RunState.PAUSED)
    await driver.save(BOX, tmp_path / "saved")
    used = (await driver.stats(BOX)).cpu_seconds or 0
    await driver.save(BOX, tmp_path / "again")
    assert (await driver.stats(BOX)).cpu_seconds == pytest.approx(used, abs=0.01)


async def test_files_that_do_not_fit_are_refused(run: Run, driver: SandboxDriver, tmp_path: Path) -> None:
    await run("head -c 20000000 /dev/urandom > big")
    await driver.save(BOX, tmp_path / "saved")
    await driver.create(FORK, SandboxSpec(limits=Limits(disk_bytes=4 * MIB)))
    with pytest.raises(SandboxFailed, match="does not fit"):
        await driver.load(FORK, tmp_path / "saved")
