"""Puts the layers of an image on top of each other in one folder, as hostile as they may be.

Every path is resolved by the kernel as if the folder were the root (openat2, RESOLVE_IN_ROOT), so that no
link of an earlier layer leads out. Devices are left out, and so are the bits that change the user.
https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md
"""

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from lm_sandbox.errors import Invalid, NoCapacity
from lm_sandbox.sandboxes.inside.file_agent.paths import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, open_at

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Without set-user-id and set-group-id.
MODE = 0o1777
PIECE = 1 << 20
# An empty file costs the disk something, too.
BYTES_PER_ENTRY = 1024
MOST_DEPTH = 256
MOST_ID, NOBODY = 65535, 65534


class Unpacking:
    """A folder that layers are put into.

    Attributes:
        size_bytes: What was written so far, without what a later layer has removed again.

    Args:
        root: The folder, empty.
        most_bytes: What may be written.
    """

    def __init__(self, root: Path, most_bytes: int) -> None:
        self._root = root
        self._most_bytes = most_bytes
        self._made: set[str] = set()
        self.size_bytes = 0

    def apply(self, layer: IO[bytes]) -> None:
        """Puts a layer on top: a tar archive, compressed or not.

        Raises:
            Invalid: it wants out of the folder.
            NoCapacity: it is larger than it may be.
            OSError: the disk does not take it.
            tarfile.TarError: it is no archive.
        """
        self._made = set()
        top = os.open(self._root, FOLDER_FLAGS)
        try:
            with tarfile.open(fileobj=layer) as tar:
                while (member := tar.next()) is not None:
                    self._put(tar, member, top)
                    # It would remember every one.
                    tar.members = []  # type: ignore[attr-defined]
        finally:
            os.close(top)

    def _put(self, tar: tarfile.TarFile, member: tarfile.TarInfo, top: int) -> None:
        path = _inside(member.name)
        if path is None:
            return
        self._count(BYTES_PER_ENTRY)
        with _folder(top, path.parent) as folder:
            if path.name == OPAQUE:
                self._hide_all(folder, path.parent)
            elif path.name.startswith(WHITEOUT):
                _remove(_inside_name(path.name.removeprefix(WHITEOUT)), folder)
            else:
                self._make(tar, member, path, (top, folder))
                self._made.add(str(path))

    def _make(
        self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: PurePosixPath, at: tuple[int, int]
    ) -> None:
        top, folder = at
        name = path.name
        if member.isdir():
            if not _is_folder(name, folder):
                _remove(name, folder)
                os.mkdir(name, dir_fd=folder)
            self._own(member, name, folder)
            return
        if member.islnk():
            self._link(member, name, (top, folder))
            return
        if member.issym():
            _remove(name, folder)
            os.symlink(member.linkname, name, dir_fd=folder)
            os.chown(name, _id(member.uid), _id(member.gid), dir_fd=folder, follow_symlinks=False)
            return
        if member.isfifo():
            _remove(name, folder)
            os.mkfifo(name, dir_fd=folder)
            self._own(member, name, folder)
        elif member.isreg():
            _remove(name, folder)
            self._write(tar, member, name, folder)

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, folder: int) -> None:
        source = tar.extractfile(member)
        if source is None:
            raise Invalid("The image has a file without content.")
        with os.fdopen(os.open(name, NEW_FLAGS, 0o600, dir_fd=folder), "wb") as target:
            while piece := source.read(PIECE):
                self._count(len(piece))
                target.write(piece)
            target.flush()
            os.fchown(target.fileno(), _id(member.uid), _id(member.gid))
            os.fchmod(target.fileno(), member.mode & MODE)
            os.utime(target.fileno(), (member.mtime, member.mtime))

    def _link(self, member: tarfile.TarInfo, name: str, at: tuple[int, int]) -> None:
        top, folder = at
        source = _inside(member.linkname)
        if source is None:
            raise Invalid("The image has a link to nothing.")
        with _folder(top, source.parent, make=False) as other:
            with suppress(FileNotFoundError):
                if os.path.samestat(
                    os.stat(source.name, dir_fd=other, follow_symlinks=False),
                    os.stat(name, dir_fd=folder, follow_symlinks=False),
                ):
                    return
            _remove(name, folder)
            os.link(source.name, name, src_dir_fd=other, dst_dir_fd=folder, follow_symlinks=False)

    def _own(self, member: tarfile.TarInfo, name: str, folder: int) -> None:
        """Gives a folder or a pipe, which was just made here, its owner and its mode."""
        os.chown(name, _id(member.uid), _id(member.gid), dir_fd=folder, follow_symlinks=False)
        os.chmod(name, member.mode & MODE, dir_fd=folder)

    def _hide_all(self, folder: int, path: PurePosixPath) -> None:
        """Removes what earlier layers have in a folder."""
        for name in os.listdir(folder):
            if str(path / name) not in self._made:
                _remove(name, folder)

    def _count(self, size: int) -> None:
        self.size_bytes += size
        if self.size_bytes > self._most_bytes:
            raise NoCapacity("The images take all the disk that they may; remove some.")


def _inside(name: str) -> PurePosixPath | None:
    """Returns a path in an archive without what leads up; None for the top itself.

    Raises:
        Invalid: it leads out.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in name:
        raise Invalid("The image is hostile: a path in it leads out of its root.")
    if len(parts) > MOST_DEPTH:
        raise Invalid(f"The image is hostile: folders in it are more than {MOST_DEPTH} deep.")
    return PurePosixPath(*parts) if parts else None


def _inside_name(name: str) -> str:
    if name in {"", ".", ".."}:
        raise Invalid("The image is hostile: it would remove what is not its own.")
    return name


@contextmanager
def _folder(top: int, path: PurePosixPath, *, make: bool = True) -> Iterator[int]:
    """Opens a folder below the top; those that are missing are made."""
    try:
        fd = open_at(str(path), FOLDER_FLAGS, folder=top, resolve=IN_ROOT)
    except FileNotFoundError:
        if not make or path == path.parent:
            raise
        with _folder(top, path.parent) as above:
            os.mkdir(path.name, 0o755, dir_fd=above)
        fd = open_at(str(path), FOLDER_FLAGS, folder=top, resolve=IN_ROOT)
    try:
        yield fd
    finally:
        os.close(fd)


def _is_folder(name: str, folder: int) -> bool:
    try:
        os.close(os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder))
    except OSError:
        return False
    return True


def _remove(name: str, folder: int) -> None:
    if _is_folder(name, folder):
        shutil.rmtree(name, dir_fd=folder)
        return
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _id(number: int) -> int:
    return number if 0 <= number <= MOST_ID else NOBODY
