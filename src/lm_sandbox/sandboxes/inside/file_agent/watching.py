"""Tells what changes in a folder, as it happens."""

import ctypes
import errno
import json
import os
import select
import stat
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from . import paths, walking

IN_MODIFY, IN_ATTRIB, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 2, 4, 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_Q_OVERFLOW, IN_IGNORED, IN_ISDIR = 0x400, 0x800, 0x4000, 0x8000, 0x40000000
IN_ONLYDIR, IN_DONT_FOLLOW = 0x01000000, 0x02000000
WANTED = (
    IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR
)
MAX_FOLDERS = 8192
HEAD = struct.Struct("iIII")
BUFFER = 1 << 16
# The other half of a move comes at once, when there is one.
MOVE_MS = 20

Event = dict[str, Any]


class Raw(NamedTuple):
    """What the kernel tells: the folder by its number, what happened, the name in the folder."""

    folder: int
    mask: int
    cookie: int
    name: str


def watch(request: dict[str, Any], pipe: int) -> dict[str, Any]:
    """Writes a line of JSON for every change, until nobody reads them or the folder is gone."""
    watcher = Watcher(request["path"].rstrip("/") or "/", recursive=request["recursive"])
    with os.fdopen(pipe, "w", buffering=1) as sink:
        sink.write(json.dumps({"event": "ready"}) + "\n")
        for event in watcher.events(pipe):
            sink.write(json.dumps(event) + "\n")
    return {}


class Watcher:
    """An inotify instance and the folders that it looks at."""

    def __init__(self, path: str, *, recursive: bool) -> None:
        self._recursive = recursive
        self._folders: dict[int, str] = {}
        self._fd = paths.LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        # The top may be named by a link; what is below it is looked at only where it is none.
        self._add(path, 0)
        self._top = path
        if recursive:
            self._add_below(path)

    def events(self, reader: int) -> Iterator[Event]:
        """Yields what happens, until `reader` has no reader left."""
        waiting = select.poll()
        waiting.register(self._fd, select.POLLIN)
        waiting.register(reader, 0)
        while self._folders:
            if any(fd == reader for fd, _ in waiting.poll()):
                return
            yield from self._translate(self._read())

    def _add(self, path: str, flags: int = IN_DONT_FOLLOW) -> None:
        if len(self._folders) >= MAX_FOLDERS:
            raise OSError(errno.ENOSPC, "watches")
        number = paths.LIBC.inotify_add_watch(self._fd, os.fsencode(path), WANTED | flags)
        if number < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        self._folders[number] = path

    def _add_below(self, path: str) -> list[str]:
        """Looks at every folder below one, and returns what is in them."""
        found = []
        top = paths.open_at(path, paths.FOLDER)
        try:
            for relative, status in walking.walk(top, recursive=True):
                inner = f"{path.rstrip('/')}/{relative}"
                found.append(inner)
                if stat.S_ISDIR(status.st_mode):
                    self._add_quietly(inner)
        finally:
            os.close(top)
        return found

    def _add_quietly(self, path: str) -> None:
        try:
            self._add(path)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise

    def _read(self) -> list[Raw]:
        raw = self._read_once()
        if raw and raw[-1].mask & IN_MOVED_FROM and select.select([self._fd], [], [], MOVE_MS / 1000)[0]:
            raw += self._read_once()
        return raw

    def _read_once(self) -> list[Raw]:
        data, at, raw = os.read(self._fd, BUFFER), 0, []
        while at < len(data):
            number, mask, cookie, length = HEAD.unpack_from(data, at)
            at += HEAD.size
            name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
            raw.append(Raw(number, mask, cookie, name))
            at += length
        return raw

    def _translate(self, raw: list[Raw]) -> Iterator[Event]:
        arrivals = {row.cookie: self._path(row) for row in raw if row.mask & IN_MOVED_TO}
        departed = {row.cookie for row in raw if row.mask & IN_MOVED_FROM}
        last: Event | None = None
        for row in raw:
            if row.mask & IN_MOVED_TO and row.cookie in departed:
                continue
            arrival = arrivals.get(row.cookie) if row.mask & IN_MOVED_FROM else None
            for event in self._events_of(row, self._path(row), arrival):
                if event != last:
                    yield event
                last = event

    def _path(self, row: Raw) -> str:
        return f"{self._folders.get(row.folder, '').rstrip('/')}/{row.name}".rstrip("/")

    def _events_of(self, row: Raw, path: str, arrival: str | None) -> Iterator[Event]:
        if row.mask & IN_Q_OVERFLOW:
            yield {"event": "overflow"}
        elif row.mask & (IN_IGNORED | IN_DELETE_SELF):
            yield from self._ended(row)
        elif row.mask & IN_MOVED_FROM:
            yield {"event": "move", "path": path, "to": arrival} if arrival else _event("delete", path)
            self._moved(path, arrival)
        elif row.mask & (IN_CREATE | IN_MOVED_TO):
            yield from self._appeared(path, row.mask)
        else:
            yield _event("delete" if row.mask & IN_DELETE else "modify", path)

    def _ended(self, row: Raw) -> Iterator[Event]:
        is_top = self._folders.get(row.folder) == self._top
        if row.mask & IN_DELETE_SELF:
            if is_top:
                yield _event("delete", self._top)
            return
        self._folders.pop(row.folder, None)
        if is_top:
            self._folders.clear()

    def _appeared(self, path: str, mask: int) -> Iterator[Event]:
        yield _event("create", path)
        if self._recursive and mask & IN_ISDIR:
            try:
                self._add(path)
                inner = self._add_below(path)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise
                return  # It has gone again.
            yield from (_event("create", found) for found in inner)

    def _moved(self, path: str, to: str | None) -> None:
        """Calls the folders that were moved by their new names, and forgets those that left."""
        for number, folder in list(self._folders.items()):
            if folder == path or folder.startswith(path + "/"):
                if to is None:
                    paths.LIBC.inotify_rm_watch(self._fd, number)
                else:
                    self._folders[number] = to + folder[len(path) :]


def _event(name: str, path: str) -> Event:
    return {"event": name, "path": path}
