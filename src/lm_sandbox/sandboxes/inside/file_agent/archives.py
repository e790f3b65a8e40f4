"""Writes and reads tar archives."""

import bz2
import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from . import paths, walking
from .refused import Refused

BUFFER = 1 << 20
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MODE = 0o777
# Looked up by tarfile when it needs them, which is too late for an import.
DECOMPRESSORS = (bz2, lzma, zlib)
CORRUPT = (tarfile.TarError, EOFError, UnicodeError, ValueError, lzma.LZMAError, zlib.error)


def pack(request: dict[str, Any], pipe: int) -> dict[str, Any]:
    """Writes a folder's content, or one file, into a pipe; pipes, sockets and devices are left out."""
    folder, name = paths.split(request["path"])
    top = paths.open_at(request["path"], os.O_PATH)
    is_folder = stat.S_ISDIR(os.fstat(top).st_mode)
    os.close(top)
    top = paths.open_at(request["path"] if is_folder else folder, paths.FOLDER)
    if is_folder:
        for path, status in walking.walk(top, recursive=True):
            _add(pipe, top, path, status)
    else:
        _add(pipe, top, name, os.stat(name, dir_fd=top))
    _write_all(pipe, bytes(2 * tarfile.BLOCKSIZE))
    return {}


def _add(pipe: int, top: int, path: str, status: os.stat_result) -> None:
    member = tarfile.TarInfo(path)
    member.mode, member.mtime = status.st_mode & MODE, status.st_mtime
    member.uid, member.gid = status.st_uid, status.st_gid
    if stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
        _write_all(pipe, _header(member))
    elif stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path, dir_fd=top)
        _write_all(pipe, _header(member))
    elif stat.S_ISREG(status.st_mode):
        _add_file(pipe, top, member)


def _add_file(pipe: int, top: int, member: tarfile.TarInfo) -> None:
    try:
        fd = paths.open_regular(member.name, os.O_RDONLY, folder=top, resolve=paths.BELOW)
    except OSError:
        return  # Not for this user, or gone.
    try:
        member.size = os.fstat(fd).st_size
        _write_all(pipe, _header(member))
        left = member.size
        while left and (sent := os.sendfile(pipe, fd, None, left)):
            left -= sent
    finally:
        os.close(fd)
    # It may have become shorter; what was told must be kept.
    _write_zeros(pipe, left + -member.size % tarfile.BLOCKSIZE)


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _write_zeros(fd: int, count: int) -> None:
    while count:
        piece = min(count, BUFFER)
        _write_all(fd, bytes(piece))
        count -= piece


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def unpack(request: dict[str, Any], pipe: int) -> dict[str, Any]:
    """Extracts what comes through a pipe, compressed or not, below a folder; follows no link.

    Raises:
        Refused: an entry would land elsewhere, or is no file, folder or link; or it is no archive.
    """
    os.makedirs(request["path"], exist_ok=True)
    top = paths.open_at(request["path"], paths.FOLDER)
    entries = 0
    try:
        with os.fdopen(pipe, "rb") as source, tarfile.open(
            mode="r|*", fileobj=source, bufsize=BUFFER
        ) as archive:  # fmt: skip
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]
                _extract(archive, member, top)
                entries += 1
            while source.read(BUFFER):
                continue  # Padding, which who writes wants to be rid of.
    except CORRUPT as error:
        raise Refused(f"This is no archive that can be read: {error}.", "body") from error
    return {"entries": entries}


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, top: int) -> None:
    parts = safe_parts(member.name, member.name)
    if not parts:
        return
    parent = _make_folder(top, parts[:-1], member.name)
    try:
        if member.isdir():
            os.close(_make_folder(top, parts, member.name, member.mode))
        else:
            _extract_one(archive, member, top, parent, parts[-1])
    finally:
        os.close(parent)


def _extract_one(archive: tarfile.TarFile, member: tarfile.TarInfo, top: int, parent: int, name: str) -> None:
    if member.issym():
        _check_link(member)
        _clear(parent, name)
        os.symlink(member.linkname, name, dir_fd=parent)
    elif member.islnk():
        _clear(parent, name)
        _link(member, top, parent, name)
    elif member.isreg():
        _clear(parent, name)
        _write(archive, member, parent, name)
    else:
        raise Refused(f"The entry {member.name!r} is a device or a pipe; only files, folders and links "
                      "are taken.", "body")  # fmt: skip


def safe_parts(path: str, told: str) -> list[str]:
    """Splits the name of an entry.

    Raises:
        Refused: it is absolute or has `..`.
    """
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/") or ".." in parts:
        raise Refused(f"The entry {told!r} leads out of the folder.", "body")
    return parts


def _check_link(member: tarfile.TarInfo) -> None:
    depth = len(safe_parts(member.name, member.name)) - 1
    if member.linkname.startswith("/"):
        depth = -1
    for part in member.linkname.split("/"):
        if part == "..":
            depth -= 1
        elif part not in {"", "."}:
            depth += depth >= 0
        if depth < 0:
            raise Refused(f"The link {member.name!r} leads out of the folder.", "body")


def _make_folder(top: int, parts: list[str], told: str, mode: int = 0o755) -> int:
    """Opens a folder below the top, and makes what is missing of it."""
    fd = os.dup(top)
    for part in parts:
        with suppress(FileExistsError):
            os.mkdir(part, mode & MODE | 0o700, dir_fd=fd)
        try:
            inner = paths.open_below(fd, part, paths.FOLDER)
        except NotADirectoryError as error:
            raise Refused(f"The entry {told!r} would go through a file or a link.", "body") from error
        finally:
            os.close(fd)
        fd = inner
    return fd


def _clear(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _link(member: tarfile.TarInfo, top: int, parent: int, name: str) -> None:
    *folders, last = safe_parts(member.linkname, member.name) or [""]
    holder = paths.open_below(top, "/".join(folders) or ".", os.O_PATH | os.O_DIRECTORY)
    try:
        os.link(last, name, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(holder)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
    fd = os.open(name, NEW, 0o600, dir_fd=parent)
    try:
        for data in _content(archive, member):
            _write_all(fd, data)
        os.fchmod(fd, member.mode & MODE)
        os.utime(fd, (member.mtime, member.mtime))
    finally:
        os.close(fd)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    source = archive.extractfile(member) if member.issparse() else archive.fileobj
    left = member.size
    while left:
        # Where it is not sparse the stream stands at its content, and this saves two copies of it.
        data = source.read(min(left, BUFFER)) if source is not None else b""
        if not data:
            raise EOFError("it ends in the middle of an entry")
        yield data
        left -= len(data)
