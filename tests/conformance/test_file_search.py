"""What every driver finds in files, and tells of their changes."""

import anyio
import pytest

from lm_sandbox.errors import EditMismatch, FileNotThere, Invalid
from lm_sandbox.sandboxes.editing import Edit, edit_file
from lm_sandbox.sandboxes.files import FileEvent, FileEventKind, FileQuery, GrepQuery, SandboxFiles
from tests.conformance.conftest import Run
from tests.conformance.filing import WORK, at, read, write

pytestmark = pytest.mark.anyio


async def test_globs(files: SandboxFiles, run: Run) -> None:
    await run(
        "mkdir -p src/deep/er .git; touch a.py b.txt src/c.py src/deep/d.py src/deep/er/e.py .git/f.py '[x].py'"
    )

    async def glob(pattern: str) -> list[str]:
        return [entry.path for entry in (await files.list(FileQuery(WORK, 100, glob=pattern))).entries]

    assert await glob("*.py") == ["[x].py", "a.py"]
    assert await glob("**/*.py") == [
        ".git/f.py", "[x].py", "a.py", "src/c.py", "src/deep/d.py", "src/deep/er/e.py",
    ]  # fmt: skip
    assert await glob("src/**/e.py") == ["src/deep/er/e.py"]
    assert await glob("src/**") == [
        "src/c.py",
        "src/deep",
        "src/deep/d.py",
        "src/deep/er",
        "src/deep/er/e.py",
    ]
    assert await glob("src/?.py") == ["src/c.py"]
    assert await glob("[!a].txt") == ["b.txt"]
    assert await glob("[[]x].py") == ["[x].py"]
    with pytest.raises(Invalid) as refused:
        await glob("[z-a]")
    assert refused.value.field == "glob"


async def test_grep_finds_lines(files: SandboxFiles, run: Run) -> None:
    await run(
        "mkdir sub; printf 'one\\ntwo héllo\\nthree Hello\\n' > a.txt; printf 'x.y\\nxzy\\n' > sub/b.txt; "
        "printf 'hello\\0' > binary; printf 'caf\\351 hello' > latin; chmod 0 sub/none 2>/dev/null"
    )

    async def grep(pattern: str, **more: object) -> list[tuple[str, int, int, str]]:
        page = await files.grep(GrepQuery(WORK, pattern, **{"limit": 100, **more}))  # type: ignore[arg-type]
        return [
            (match.path.removeprefix("/workspace/"), match.line, match.column, match.text)
            for match in page.matches
        ]

    assert await grep("llo") == [
        ("a.txt", 2, 7, "two héllo"), ("a.txt", 3, 9, "three Hello"), ("latin", 1, 8, "caf\udce9 hello"),
    ]  # fmt: skip
    assert [row[:2] for row in await grep("hello", ignore_case=True)] == [("a.txt", 3), ("latin", 1)]
    assert [row[:2] for row in await grep("x.y")] == [("sub/b.txt", 1), ("sub/b.txt", 2)]
    assert [row[:2] for row in await grep("x.y", literal=True)] == [("sub/b.txt", 1)]
    assert [row[0] for row in await grep("^", glob="*.txt")] == ["a.txt"] * 3 + ["sub/b.txt"] * 2
    assert [row[0] for row in await grep("^", glob="sub/*")] == ["sub/b.txt"] * 2
    page = await files.grep(GrepQuery(at("a.txt"), "o", limit=1))
    assert (len(page.matches), page.more) == (1, True)
    with pytest.raises(Invalid) as refused:
        await grep("(")
    assert refused.value.field == "pattern"


async def test_a_match_in_a_long_line_is_shown_with_what_is_around_it(files: SandboxFiles) -> None:
    await write(files, at("a"), b"x" * 50_000 + b"needle" + b"y" * 50_000)
    (found,) = (await files.grep(GrepQuery(WORK, "needle", limit=10))).matches
    assert found.column == 50_001
    assert "xxneedleyy" in found.text
    assert len(found.text) == 1000


async def test_an_edit_replaces_what_is_there_as_often_as_expected(files: SandboxFiles) -> None:
    await write(files, at("a"), b"one\r\ntwo\ntwo\n\xff\n", 0o755)
    with pytest.raises(EditMismatch, match=r"2 times \(lines 2, 3\)"):
        await edit_file(files, Edit(at("a"), "two", "2"))
    with pytest.raises(EditMismatch, match="not in the file"):
        await edit_file(files, Edit(at("a"), "three", "3"))
    assert await read(files, at("a")) == b"one\r\ntwo\ntwo\n\xff\n"
    info = await edit_file(files, Edit(at("a"), "two", "zwei", expected=2))
    assert info.mode == 0o755
    await edit_file(files, Edit(at("a"), "one\r\n", ""))
    assert await read(files, at("a")) == b"zwei\nzwei\n\xff\n"


async def test_changes_are_told_as_they_happen(files: SandboxFiles, run: Run) -> None:
    await run("mkdir old; touch old/file")
    async with files.watch(WORK, recursive=True) as events:
        assert await anext(events) == FileEvent(FileEventKind.READY)
        await run("echo x > a; mv a b; mkdir sub; mkdir sub/deep; mv old new; echo y > new/file; rm b")
        seen: list[FileEvent] = []
        with anyio.fail_after(20):
            while FileEvent(FileEventKind.DELETE, "/workspace/b") not in seen:
                seen.append(await anext(events))
    kinds = {(event.kind.value, event.path, event.to) for event in seen}
    assert kinds >= {
        ("create", "/workspace/a", None), ("modify", "/workspace/a", None), ("move", "/workspace/a", "/workspace/b"),
        ("create", "/workspace/sub", None), ("create", "/workspace/sub/deep", None),
        ("move", "/workspace/old", "/workspace/new"), ("modify", "/workspace/new/file", None),
    }  # fmt: skip


async def test_a_watch_ends_with_its_folder(files: SandboxFiles, run: Run) -> None:
    await run("mkdir a")
    async with files.watch(at("a"), recursive=False) as events:
        assert (await anext(events)).kind is FileEventKind.READY
        await run("rmdir a")
        with anyio.fail_after(20):
            assert [event async for event in events] == [FileEvent(FileEventKind.DELETE, "/workspace/a")]
    with pytest.raises(FileNotThere):
        async with files.watch(at("a"), recursive=False) as events:
            await anext(events)
