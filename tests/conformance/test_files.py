"""What every driver does with files, whatever is underneath."""

import anyio
import pytest

from lm_sandbox.errors import FileConflict, FileNotThere, FileRefused, Invalid
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.files import Copy, FileKind, FileQuery, MakeFolder, Move, SandboxFiles, SetMode
from tests.conformance.conftest import Run
from tests.conformance.filing import WORK, at, names, read, write

pytestmark = pytest.mark.anyio


async def test_what_is_written_is_read_by_the_api_and_by_commands(files: SandboxFiles, run: Run) -> None:
    info = await write(files, at("a/b/c.bin"), b"x\0\xff" * 1000)
    assert (info.path, info.kind, info.size, info.mode) == (
        "/workspace/a/b/c.bin",
        FileKind.FILE,
        3000,
        0o644,
    )
    assert await read(files, at("a/b/c.bin")) == b"x\0\xff" * 1000
    assert (await run("stat -c '%s %U %a' a/b/c.bin; whoami")).stdout == b"3000 sandbox 644\nsandbox\n"
    await run("echo from a command > /tmp/d")
    assert await read(files, file_path("/tmp/d")) == b"from a command\n"


async def test_a_range_is_read_and_behind_the_end_is_nothing(files: SandboxFiles) -> None:
    await write(files, at("a"), bytes(range(256)))
    async with files.read(at("a")) as reader:
        assert reader.info.size == 256
        assert await reader.read(10, 3) == b"\x0a\x0b\x0c"
        assert await reader.read(250, 100) == bytes(range(250, 256))
        assert await reader.read(256, 1) == b""


async def test_a_write_is_seen_whole_or_not_at_all(files: SandboxFiles, run: Run) -> None:
    await write(files, at("a"), b"old")
    async with files.write(at("a"), None) as writer:
        assert writer.existed
        await writer.write([b"new", b"er"])
        assert await read(files, at("a")) == b"old"
        await writer.commit()
    assert await read(files, at("a")) == b"newer"
    async with files.write(at("a"), None) as writer:
        await writer.write([b"never committed"])
    assert await read(files, at("a")) == b"newer"
    assert (await run("ls -A")).stdout == b"a\n"


async def test_a_cancelled_write_leaves_nothing(files: SandboxFiles, run: Run) -> None:
    started = anyio.Event()

    async def hang() -> None:
        async with files.write(at("a"), None) as writer:
            await writer.write([b"x"])
            started.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hang)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert await names(files) == []
    assert (await run("ls -A | wc -l")).stdout == b"0\n"


async def test_a_mode_is_kept_or_set(files: SandboxFiles) -> None:
    assert (await write(files, at("a"), b"", 0o750)).mode == 0o750
    assert (await write(files, at("a"), b"new")).mode == 0o750
    assert (await files.change(SetMode(at("a"), 0o600))).mode == 0o600
    assert (await files.stat(at("a"))).mode == 0o600


async def test_a_link_is_written_and_read_through_and_told_as_a_link(files: SandboxFiles, run: Run) -> None:
    await run("mkdir real; echo old > real/file; ln -s real/file link; ln -s nowhere dangling")
    await write(files, at("link"), b"new\n")
    assert (await run("cat real/file; readlink link")).stdout == b"new\nreal/file\n"
    assert await read(files, at("link")) == b"new\n"
    info = await files.stat(at("link"))
    assert (info.kind, info.target) == (FileKind.LINK, "real/file")
    await write(files, at("dangling"), b"made")
    assert await read(files, at("nowhere")) == b"made"


async def test_append_adds_at_the_end_and_makes_what_is_missing(files: SandboxFiles) -> None:
    for number in range(3):
        async with files.append(at("log/a")) as writer:
            assert writer.existed is (number > 0)
            await writer.write([b"%d\n" % number])
            assert (await writer.commit()).size == 2 * (number + 1)
    assert await read(files, at("log/a")) == b"0\n1\n2\n"


async def test_missing_things_and_wrong_kinds_are_told_apart(files: SandboxFiles, run: Run) -> None:
    await run("mkdir folder; echo x > folder/file; mkfifo pipe; ln -s loop loop")
    with pytest.raises(FileNotThere):
        await read(files, at("nothing"))
    with pytest.raises(FileConflict, match="folder"):
        await read(files, at("folder"))
    with pytest.raises(FileConflict, match="folder"):
        await write(files, at("folder"), b"")
    with pytest.raises(FileConflict):
        await write(files, at("folder/file/deeper"), b"")
    for path in (at("pipe"), file_path("/dev/null"), file_path("/dev/zero"), file_path("/dev/tty")):
        with pytest.raises((FileConflict, FileRefused)):
            await read(files, path)
    for kind in (files.append, lambda path: files.write(path, None)):
        with pytest.raises((FileConflict, FileRefused)):
            async with kind(at("pipe")) as writer:
                await writer.write([b"x"])
    with pytest.raises(FileConflict):
        await read(files, at("loop"))
    with pytest.raises(FileConflict, match="recursive"):
        await files.delete(at("folder"), recursive=False)
    with pytest.raises(FileRefused):
        await write(files, file_path("/usr/bin/evil"), b"")
    for folder in ("/", "/..", "/workspace/.."):
        with pytest.raises((FileConflict, Invalid)):
            await files.delete(file_path(folder), recursive=True)
    assert (await run("cat folder/file")).stdout == b"x\n"


async def test_folders_are_made_listed_and_deleted(files: SandboxFiles, run: Run) -> None:
    made = await files.change(MakeFolder(at("a/b/c"), 0o700))
    assert (made.kind, made.mode) == (FileKind.DIRECTORY, 0o700)
    with pytest.raises(FileConflict):
        await files.change(MakeFolder(at("a")))
    await run("echo hello > a/file; ln -s file a/link; mkfifo a/pipe")
    listed = {entry.path: entry for entry in (await files.list(FileQuery(at("a"), 100))).entries}
    assert [(name, entry.kind.value) for name, entry in listed.items()] == [
        ("b", "directory"), ("file", "file"), ("link", "link"), ("pipe", "other"),
    ]  # fmt: skip
    assert (listed["file"].size, listed["link"].target) == (6, "file")
    await files.delete(at("a/pipe"), recursive=False)
    await files.delete(at("a/b/c"), recursive=False)
    await files.delete(at("a"), recursive=True)
    assert await names(files) == []
    with pytest.raises(FileNotThere):
        await files.delete(at("a"), recursive=True)
    with pytest.raises(FileConflict):
        await files.list(FileQuery(file_path("/etc/passwd"), 10))


async def test_a_recursive_listing_pages_through_everything_once(files: SandboxFiles, run: Run) -> None:
    await run("mkdir -p a/x a/y b; touch a/x/1 a/x/2 a/y/3 a.txt b/4 z 'a b'; ln -s / a/y/root")
    expected = sorted(
        (await run("find . -mindepth 1 | cut -c3-")).stdout.decode().splitlines(),
        key=lambda path: path.split("/"),
    )
    for limit in (1, 2, 3, 100):
        found: list[str] = []
        more, after = True, ""
        while more:
            page = await files.list(FileQuery(WORK, limit, recursive=True, after=after))
            found += [entry.path for entry in page.entries]
            more, after = page.more, found[-1]
        assert found == expected


async def test_a_folder_of_many_names_is_paged(files: SandboxFiles, run: Run) -> None:
    await run("for i in $(seq 1500); do : > $(printf '%0200d' $i); done")
    found, after, pages = 0, "", 0
    while True:
        page = await files.list(FileQuery(WORK, 1000, after=after))
        found, pages = found + len(page.entries), pages + 1
        if not page.more:
            break
        after = page.entries[-1].path
    assert (found, pages) == (1500, 2)


async def test_moves_and_copies(files: SandboxFiles, run: Run) -> None:
    await run(
        "mkdir -p a/b; echo 1 > a/one; echo 2 > a/b/two; ln -s one a/link; chmod 700 a/b; mkfifo a/pipe; echo t > t"
    )
    moved = await files.change(Move(at("a"), at("c")))
    assert moved.path == "/workspace/c"
    copied = await files.change(Copy(at("c"), at("d")))
    assert copied.kind is FileKind.DIRECTORY
    shown = await run(
        "cat d/one d/b/two; readlink d/link; stat -c %a d/b; test -e d/pipe || echo no pipe; ls -A"
    )
    assert shown.stdout == b"1\n2\none\n700\nno pipe\nc\nd\nt\n"
    for change in (Move, Copy):
        with pytest.raises(FileConflict, match="already"):
            await files.change(change(at("t"), at("d/one")))
        assert (await files.change(change(at("t"), at("d/one"), overwrite=True))).size == 2
        await run("echo t > t")
        with pytest.raises(FileNotThere):
            await files.change(change(at("none"), at("e")))
        with pytest.raises(FileNotThere):
            await files.change(change(at("t"), at("no/folder")))


async def test_a_folder_is_copied_into_itself_once(files: SandboxFiles, run: Run) -> None:
    await run("mkdir -p a/b; echo 1 > a/b/one")
    await files.change(Copy(at("a"), at("a/copy")))
    assert (await run("find a | sort")).stdout.decode().split() == [
        "a", "a/b", "a/b/one", "a/copy", "a/copy/b", "a/copy/b/one",
    ]  # fmt: skip


async def test_a_move_may_cross_file_systems(files: SandboxFiles, run: Run) -> None:
    await run("mkdir a; echo 1 > a/one")
    await files.change(Move(at("a"), file_path("/tmp/moved")))
    assert (await run("cat /tmp/moved/one; ls -A")).stdout == b"1\n"
