"""Copies, carries and removes whole folders."""

import errno
import os
import stat
from typing import Any

from . import paths, walking

PIECE = 1 << 26
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
WITHOUT_RANGES = {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}


def copy(request: dict[str, Any]) -> dict[str, Any]:
    """Copies a file, link or folder; the target appears whole or not at all."""
    with paths.place(request["path"]) as source, paths.place(request["to"]) as target:
        temporary = paths.temporary_name()
        try:
            _copy(source, (target[0], temporary))
            paths.rename((target[0], temporary), target, replace=request["overwrite"])
        except BaseException:
            discard(target[0], temporary)
            raise
        return {"entry": paths.entry(request["to"], name=target[1], folder=target[0])}


def carry(request: dict[str, Any]) -> dict[str, Any]:
    """Moves to another file system: copies, then removes."""
    answer = copy(request)
    remove(request)
    return answer


def remove(request: dict[str, Any]) -> dict[str, Any]:
    """Removes a file, or a folder with all that is in it."""
    with paths.place(request["path"]) as (folder, name):
        remove_below(folder, name)
    return {}


def discard(folder: int, name: str) -> None:
    """Removes what is left of something that failed, as far as it can be."""
    try:
        remove_below(folder, name)
    except OSError:
        return  # It was never made, or the sandbox has taken it away.


def remove_below(folder: int, name: str) -> None:
    """Removes what a folder has under a name."""
    stack = [name]
    while stack:
        parent, last = _parent(folder, stack[-1])
        try:
            if _is_gone(parent, last):
                stack.pop()
            else:
                stack += [f"{stack[-1]}/{inner}" for inner in _folders_left(parent, last)]
        finally:
            os.close(parent)


def _parent(folder: int, path: str) -> tuple[int, str]:
    above, _, name = path.rpartition("/")
    return paths.open_below(folder, above or ".", os.O_PATH | os.O_DIRECTORY), name


def _is_gone(parent: int, name: str) -> bool:
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            return False
        raise
    return True


def _folders_left(parent: int, name: str) -> list[str]:
    """Removes everything from a folder but its folders, and names those."""
    fd = paths.open_below(parent, name, paths.FOLDER)
    try:
        folders = []
        with os.scandir(fd) as entries:
            for inner in entries:
                if inner.is_dir(follow_symlinks=False):
                    folders.append(inner.name)
                else:
                    os.unlink(inner.name, dir_fd=fd)
        return folders
    finally:
        os.close(fd)


def _copy(source: tuple[int, str], target: tuple[int, str]) -> None:
    status = os.stat(source[1], dir_fd=source[0], follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        if not _copy_one(source, target, status):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return
    os.mkdir(target[1], 0o700, dir_fd=target[0])
    top, made = _open_both(source, target)
    try:
        own = os.fstat(made)
        for path, found in walking.walk(top, recursive=True):
            # The copy itself may lie in what is copied.
            if not os.path.samestat(found, own) and not _within(path, target[1]):
                _copy_found((top, path), (made, path), found)
        os.fchmod(made, status.st_mode & 0o777)
    finally:
        os.close(top)
        os.close(made)


def _open_both(source: tuple[int, str], target: tuple[int, str]) -> tuple[int, int]:
    top = paths.open_below(*source, paths.FOLDER)
    try:
        return top, paths.open_below(*target, paths.FOLDER)
    except OSError:
        os.close(top)
        raise


def _within(path: str, temporary: str) -> bool:
    return temporary in path.split("/")


def _copy_found(source: tuple[int, str], target: tuple[int, str], status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(target[1], status.st_mode & 0o777 | 0o700, dir_fd=target[0])
    else:
        _copy_one(source, target, status)


def _copy_one(source: tuple[int, str], target: tuple[int, str], status: os.stat_result) -> bool:
    """Copies a file or a link, and tells whether it was one of them."""
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source[1], dir_fd=source[0]), target[1], dir_fd=target[0])
        return True
    if not stat.S_ISREG(status.st_mode):
        return False
    read = paths.open_regular(source[1], os.O_RDONLY | os.O_NOFOLLOW, folder=source[0], resolve=paths.BELOW)
    try:
        write = os.open(target[1], NEW, 0o600, dir_fd=target[0])
        try:
            _copy_content(read, write)
            os.fchmod(write, status.st_mode & 0o777)
        finally:
            os.close(write)
    finally:
        os.close(read)
    return True


def _copy_content(read: int, write: int) -> None:
    try:
        while os.copy_file_range(read, write, PIECE):
            continue
    except OSError as error:
        if error.errno not in WITHOUT_RANGES:
            raise
        while os.sendfile(write, read, None, PIECE):
            continue
