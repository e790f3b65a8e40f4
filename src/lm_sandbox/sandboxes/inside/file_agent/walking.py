"""Goes through folders in an order that a later call can go on from."""

import os
import stat
from collections.abc import Iterator, Sequence

from . import globs, paths

Found = tuple[str, os.stat_result]
# What is too much for one answer goes into the next.
PAGE_BYTES = 1 << 20


def walk(top: int, *, recursive: bool, after: Sequence[str] = ()) -> Iterator[Found]:
    """Yields what is in a folder by its path from there, each folder before what is in it.

    What cannot be read, or goes away meanwhile, is left out.

    Args:
        top: The folder.
        recursive: Whether to go into folders.
        after: The parts of the path that was last, of those that need not come again.
    """
    stack = [("", _names(top, "", after[:1]))]
    while stack:
        folder, names = stack[-1]
        if not names:
            stack.pop()
            continue
        path = folder + names.pop()
        try:
            status = os.stat(path, dir_fd=top, follow_symlinks=False)
        except OSError:
            continue
        seen = _parts_of(path) == list(after[: len(stack)])
        if not seen:
            yield path, status
        if recursive and stat.S_ISDIR(status.st_mode):
            rest = after[len(stack) : len(stack) + 1] if seen else ()
            stack.append((path + "/", _names(top, path, rest)))


def _parts_of(path: str) -> list[str]:
    return path.split("/")


def _names(top: int, path: str, after: Sequence[str]) -> list[str]:
    try:
        fd = paths.open_below(top, path or ".", paths.FOLDER)
    except OSError:
        if not path:
            raise
        return []
    try:
        names = os.listdir(fd)
    finally:
        os.close(fd)
    return sorted((name for name in names if not after or name >= after[0]), reverse=True)


def page(request: dict[str, object]) -> dict[str, object]:
    """Lists a folder: as much as is asked for and fits, and whether there is more."""
    path, limit, pattern = str(request["path"]), int(str(request["limit"])), request["pattern"]
    wanted = globs.translate(str(pattern)) if pattern is not None else None
    after = [part for part in str(request["after"]).split("/") if part]
    found: list[paths.Entry] = []
    room = PAGE_BYTES
    top = paths.open_at(path, paths.FOLDER)
    try:
        for relative, status in walk(top, recursive=bool(request["recursive"]), after=after):
            if wanted is not None and not wanted.fullmatch(relative):
                continue
            if len(found) == limit or room < 0:
                return {"entries": found, "more": True}
            found.append(_entry(top, relative, status))
            room -= len(relative)
    finally:
        os.close(top)
    return {"entries": found, "more": False}


def _entry(top: int, path: str, status: os.stat_result) -> paths.Entry:
    target = None
    if stat.S_ISLNK(status.st_mode):
        try:
            target = os.readlink(path, dir_fd=top)
        except OSError:
            target = ""  # It has just been replaced.
    return path, status.st_mode, status.st_size, status.st_mtime_ns, target
