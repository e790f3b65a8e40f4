"""What a user namespace makes of the files that are put into a sandbox."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.inside import storage

FIRST, SANDBOX = 300_000, 301_000
MOUNT = ("mount", "-t", "tmpfs", "-o", "uid=1000,gid=1000,size=1m", "t", "/mnt")


@pytest.fixture
def root() -> Iterator[int]:
    """The root of a user namespace in which /mnt is a file system of its own."""
    argv = ["unshare", "--mount", "--user", "sh", "-c", "echo apart && read -r _"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"apart\n"
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{name}").write_text(f"0 {FIRST} 65536")
        enter = ("nsenter", "--user", "--mount", "--setuid=0", "--setgid=0", f"--target={process.pid}")
        subprocess.run([*enter, *MOUNT], check=True)
        fd = os.open(f"/proc/{process.pid}/root", os.O_PATH)
        yield fd
        os.close(fd)
        process.communicate(b"\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root enters the namespaces of others")
def test_files_are_put_in_where_root_of_the_host_can_make_none(root: int, tmp_path: Path) -> None:
    source = tmp_path / "saved" / "workspace"
    (source / "closed").mkdir(parents=True, mode=0o700)
    (source / "closed" / "a").write_text("content")
    (source / "closed" / "a").chmod(0o4751)
    (source / "closed" / "hard").hardlink_to(source / "closed" / "a")
    (source / "link").symlink_to("/etc/shadow")
    (tmp_path / "saved").chmod(0o700)
    places = {"workspace": "/mnt"}
    storage.load(tmp_path / "saved", root, places, storage.MappedUser(SANDBOX))
    assert list(storage.compare(tmp_path / "saved", root, places)) == []
    storage.save(root, places, tmp_path / "again")
    owners = {path.lstat().st_uid for path in (tmp_path / "again").rglob("*")}
    assert owners == {SANDBOX}
    assert (tmp_path / "again" / "workspace" / "closed" / "hard").stat().st_nlink == 2
