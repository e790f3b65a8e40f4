"""What files cost a sandbox and its server."""

import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from lm_sandbox.errors import Conflict, FileNotThere, Invalid, LimitReached, SandboxFailed, SandboxNotFound
from lm_sandbox.sandboxes.driver import RunState, SandboxDriver, SandboxId
from lm_sandbox.sandboxes.files import Copy, GrepQuery, SandboxFiles
from tests.conformance.conftest import BOX, SMALL, Run
from tests.conformance.filing import WORK, archive, at, names, pack, read, unpack, write

pytestmark = pytest.mark.anyio


async def test_a_full_disk_is_told_by_its_limit_and_leaves_no_rest(files: SandboxFiles, run: Run) -> None:
    async with files.write(at("a"), None) as writer:
        assert writer.room <= 32 << 20
        with pytest.raises(LimitReached) as full:
            await writer.write([bytes(1 << 20)] * 40)
    assert full.value.limit == "disk"
    assert await names(files) == []
    assert (await run("head -c 20000000 /dev/zero > a; cp a /tmp/b; ls")).stdout == b"a\n"
    with pytest.raises(LimitReached):
        await files.change(Copy(at("a"), at("c")))
    with pytest.raises(LimitReached):
        await unpack(files, WORK, archive((tarfile.TarInfo("x"), bytes(30_000_000))))
    await files.delete(at("x"), recursive=False)
    assert await names(files) == ["a"]


async def bomb(run: Run) -> None:
    await run("while :; do sleep 100 & done")


async def limit_of_copying(files: SandboxFiles) -> str:
    try:
        await files.change(Copy(at("d"), at("e"), overwrite=True))
    except LimitReached as reached:
        return reached.limit
    return ""


async def test_with_every_process_in_use_quick_work_goes_on_and_long_work_names_the_limit(
    files: SandboxFiles, run: Run
) -> None:
    await run("mkdir d")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bomb, run)
        limit = ""
        with anyio.fail_after(30):
            while not limit:
                limit = await limit_of_copying(files)
        assert limit == "pids"
        assert (await write(files, at("a"), b"x")).size == 1
        # Whether a copy came about before depends on how fast the processes were taken.
        assert {*await names(files)} - {"e"} == {"a", "d"}
        tasks.cancel_scope.cancel()


async def test_a_sandbox_without_commands_has_files_too(driver: SandboxDriver) -> None:
    await driver.create(BOX, SMALL)
    assert (await write(driver.files(BOX), at("a"), b"x")).size == 1
    with pytest.raises(SandboxNotFound):
        driver.files(SandboxId("sb_none"))


async def test_the_files_of_a_stopped_sandbox_are_there_and_a_stop_ends_what_goes_on(
    driver: SandboxDriver, files: SandboxFiles
) -> None:
    async with files.watch(WORK, recursive=False) as events:
        await anext(events)
        await driver.set_state(BOX, RunState.STOPPED)
        with pytest.raises(Conflict, match="ended"):
            await anext(events)
    await write(files, at("a"), b"x")
    assert await names(files) == ["a"]


async def test_whoever_waits_for_a_destroyed_sandbox_is_told(
    driver: SandboxDriver, files: SandboxFiles
) -> None:
    async with files.watch(WORK, recursive=False) as events:
        await anext(events)
        await driver.destroy(BOX)
        with pytest.raises(SandboxFailed):
            await anext(events)
    with pytest.raises(SandboxFailed):
        await files.stat(WORK)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def counted(driver: SandboxDriver, run: Run, files: SandboxFiles) -> AsyncIterator[None]:
    del driver
    await files.stat(WORK)
    await run("true")
    before = open_descriptors()
    yield
    assert open_descriptors() <= before


@pytest.mark.usefixtures("counted")
async def test_nothing_is_left_open(files: SandboxFiles, run: Run) -> None:
    await run("mkdir a; echo x > a/b")
    for _ in range(5):
        await write(files, at("c"), b"x")
        await read(files, at("c"))
        await pack(files, at("a"))
        with pytest.raises(Invalid):
            await unpack(files, at("a"), b"x" * 100_000)
        with pytest.raises(FileNotThere):
            await read(files, at("none"))
        with anyio.move_on_after(0.001):
            await files.grep(GrepQuery(WORK, "x", limit=10))
        with anyio.move_on_after(0.0005):
            async with files.read(at("c")) as reader:
                await reader.read(0, 1)
    assert (await run("ls -A")).stdout == b"a\nc\n"
