"""Tries to get out of a sandbox, or to harm it, by archives."""

import io
import tarfile

import anyio
import pytest

from lm_sandbox.errors import FileConflict, Invalid, LmSandboxError
from lm_sandbox.sandboxes.files import SandboxFiles
from tests.conformance.conftest import Run
from tests.conformance.filing import WORK, archive, at, pack, unpack

pytestmark = pytest.mark.anyio


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    made.devmajor, made.devminor = 1, 3
    return made


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("/tmp/evil")],
        [member("a/../../evil")],
        [member("..")],
        [member("a/..", tarfile.DIRTYPE)],
        [member("link", tarfile.SYMTYPE, "/etc/passwd")],
        [member("link", tarfile.SYMTYPE, "../../etc/passwd")],
        [member("a/link", tarfile.SYMTYPE, "b/../../../etc")],
        [member("dir", tarfile.SYMTYPE, "."), member("dir/x")],
        [member("hard", tarfile.LNKTYPE, "../outside")],
        [member("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [member("null", tarfile.CHRTYPE)],
        [member("disk", tarfile.BLKTYPE)],
        [member("pipe", tarfile.FIFOTYPE)],
        [member("out/evil")],
        [member("out/tmp", tarfile.DIRTYPE)],
        [member("file/deeper")],
    ],
    ids=lambda members: f"{members[-1].name} {members[-1].type.decode()} {members[-1].linkname}".replace(
        "\0", ""
    ),
)
async def test_an_archive_that_leads_out_is_refused(
    files: SandboxFiles, run_inside: Run, members: list[tarfile.TarInfo]
) -> None:
    await run_inside("mkdir box; ln -s / box/out; echo x > box/file; echo keep > outside")
    with pytest.raises((Invalid, FileConflict)):
        await unpack(files, at("box"), archive(*((entry, b"") for entry in members)))
    shown = await run_inside(
        "ls /workspace /tmp; cat outside; find box -type c -o -type b -o -type p -o -links +1 -type f"
    )
    assert shown.stdout == b"/tmp:\n\n/workspace:\nbox\noutside\nkeep\n"


async def test_an_archive_sets_no_one_elses_rights(files: SandboxFiles, run_inside: Run) -> None:
    entry = member("tool")
    entry.mode, entry.uid, entry.gid, entry.uname = 0o6777, 0, 0, "root"
    assert await unpack(files, WORK, archive((entry, b"#!/bin/sh\nid -u\n"))) == 1
    assert (await run_inside("stat -c '%a %U' tool; ./tool")).stdout == b"777 sandbox\n1000\n"


async def test_an_entry_replaces_a_link_and_not_what_it_points_at(
    files: SandboxFiles, run_inside: Run
) -> None:
    await run_inside("mkdir box; echo keep > outside; ln -s ../outside box/a; ln outside box/b")
    assert await unpack(files, at("box"), archive((member("a"), b"new"), (member("b"), b"new"))) == 2
    assert (
        await run_inside("cat outside; cat box/a box/b; test -L box/a || echo plain")
    ).stdout == b"keep\nnewnewplain\n"


async def test_a_bomb_of_zeros_ends_at_the_disk_limit(files: SandboxFiles) -> None:
    bomb = archive((member("zeros"), bytes(300 << 20)), mode="w:gz")
    assert len(bomb) < 1 << 20
    with pytest.raises(LmSandboxError) as full:
        await unpack(files, WORK, bomb)
    assert full.value.code == "limit_reached"


async def test_a_file_that_changes_size_while_it_is_packed_keeps_the_archive_whole(
    files: SandboxFiles, run_inside: Run
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(resize, run_inside)
        for _ in range(20):
            with tarfile.open(fileobj=io.BytesIO(await pack(files, WORK))) as tar:
                assert set(tar.getnames()) <= {"a"}
        tasks.cancel_scope.cancel()


async def resize(run_inside: Run) -> None:
    await run_inside("while :; do head -c 2000000 /dev/zero > a; : > a; done", timeout_s=120)
