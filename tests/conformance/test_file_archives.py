"""What every driver does with archives."""

import io
import tarfile

import pytest

from lm_sandbox.errors import FileNotThere, Invalid
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.files import SandboxFiles
from tests.conformance.conftest import Run
from tests.conformance.filing import WORK, archive, at, pack, read, unpack

pytestmark = pytest.mark.anyio


async def test_a_folder_goes_through_an_archive_whole(files: SandboxFiles, run: Run) -> None:
    await run(
        "mkdir -p a/b a/empty; head -c 3000000 /dev/urandom > a/b/big; echo x > a/run; chmod 755 a/run; "
        "ln -s b/big a/link; mkfifo a/pipe; touch -d @1000000000 a/run; printf x > a/$'new\\nline'; printf y > a/$'\\377'"
    )
    data = await pack(files, at("a"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert "b/big" in tar.getnames()
        assert "pipe" not in tar.getnames()
    assert await unpack(files, at("c/d"), data) == 7
    assert (await run("rm a/pipe; diff -r a c/d && stat -c '%a %Y' c/d/run")).stdout == b"755 1000000000\n"
    with tarfile.open(fileobj=io.BytesIO(await pack(files, at("a/run")))) as tar:
        assert tar.getnames() == ["run"]
    with pytest.raises(FileNotThere):
        await pack(files, at("none"))


async def test_a_sparse_file_comes_out_whole(files: SandboxFiles, run: Run) -> None:
    await run("truncate -s 5M a; echo end >> a; tar -Scf /tmp/a.tar a")
    data = await read(files, file_path("/tmp/a.tar"))
    assert len(data) < 1_000_000
    assert await unpack(files, at("out"), data) == 1
    assert (await run("cmp a out/a && echo same")).stdout == b"same\n"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
async def test_archives_may_be_compressed(files: SandboxFiles, mode: str) -> None:
    member = tarfile.TarInfo("a" * 200 + "/ü")
    assert await unpack(files, WORK, archive((member, b"content" * 100_000), mode=mode)) == 1
    assert await read(files, at("a" * 200 + "/ü")) == b"content" * 100_000


@pytest.mark.parametrize(
    "data", [b"", b"no archive" * 1000, archive((tarfile.TarInfo("x"), b"y" * 99_999))[:60_000]]
)
async def test_what_is_no_whole_archive_is_refused(files: SandboxFiles, data: bytes) -> None:
    with pytest.raises(Invalid):
        await unpack(files, WORK, data)
