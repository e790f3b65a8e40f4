"""The files of a sandbox with an image: its places and the layers on top, saved, loaded and compared.

Only while nothing in the sandbox runs, and by way of its storage: its own root may have put links in the
place of what leads to its places from inside.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lm_sandbox.errors import Conflict
from lm_sandbox.sandboxes.driver import ChangeKind, FileChange
from lm_sandbox.sandboxes.drivers.bubblewrap.system import Overlay, System
from lm_sandbox.sandboxes.inside import storage
from lm_sandbox.sandboxes.inside.file_agent.paths import BELOW, open_at
from lm_sandbox.sandboxes.inside.storage import FOLDER_FLAGS, HostRange, Places

# Where the sandbox's tmpfs is mounted, in a mount namespace that nothing else is in.
STORAGE = "/mnt"
LABEL, SYSTEM = "image", "system"
OPAQUE = "trusted.overlay.opaque"


class Layers:
    """The files of one sandbox.

    Args:
        system: What its layers are on top of.
        places: Its writable places, by the names that they have in the storage.
        folder: A descriptor of the storage, seen from where it is mounted; owned by the caller.
        owner: Whose files they are.
    """

    def __init__(self, system: System, places: Places, folder: int, owner: HostRange) -> None:
        self._system = system
        self._places = places
        self._stored = {name: f"/{name}" for name in places}
        self._folder = folder
        self._owner = owner

    def save(self, folder: Path) -> int:
        """Copies everything to a new folder and returns how many bytes that takes.

        Raises:
            NoCapacity: the disk is full.
        """
        size = storage.save(self._folder, self._stored, folder)
        (folder / SYSTEM).mkdir()
        for number in range(len(self._system.overlays)):
            storage.copy(self._upper(number), str(folder / SYSTEM / str(number)))
        self._owner.take(str(folder))
        (folder / LABEL).write_text(self._system.label)
        return size + storage.bytes_taken(folder / SYSTEM)

    def load(self, folder: Path) -> None:
        """Puts saved files in the place of these.

        Raises:
            SandboxFailed: they do not fit.
        """
        storage.load(folder, self._folder, self._stored, self._owner)
        for number, overlay in enumerate(self._system.overlays):
            upper = self._upper(number)
            # What things are mounted on, and what that is in, has to stay.
            storage.empty(upper, keep=overlay.folders)
            storage.fill(str(folder / SYSTEM / str(number)), upper, self._owner)

    def compare(self, folder: Path, until: Path | None = None) -> Iterator[FileChange]:
        """Tells what is different now from what was saved, or in what was saved later, by path."""
        for name, place in self._places.items():
            for change in storage.compare(folder, self._folder, {name: f"/{name}"}, until):
                yield replace(change, path=place + change.path.removeprefix(f"/{name}"))
        for number, overlay in enumerate(self._system.overlays):
            before = Written.read(str(folder / SYSTEM / str(number)))
            after = Written.read(str(until / SYSTEM / str(number)) if until else self._upper(number))
            for path, kind in _changes(overlay, before, after):
                yield FileChange(kind, f"{overlay.at.rstrip('/')}/{path}")

    def _upper(self, number: int) -> str:
        # By the number of this process, as `cp` is another; the dot, as it does not follow a link at the end.
        return f"/proc/{os.getpid()}/fd/{self._folder}/{SYSTEM}/{number}/upper/."


def open_storage(monitor: int) -> int:
    """Opens a sandbox's storage by way of bwrap's own process, which sees where it is mounted.

    Raises:
        OSError: that process has ended.
    """
    return os.open(f"/proc/{monitor}/root{STORAGE}", FOLDER_FLAGS)


def check_label(folder: Path, wanted: str | None) -> None:
    """Refuses files that are on top of something else.

    Raises:
        Conflict: they are.
    """
    label = folder / LABEL
    found = label.read_text() if label.is_file() else None
    if found != wanted:
        raise Conflict(f"The snapshot is of a sandbox with {_told(found)}; this one is with {_told(wanted)}.")


def _told(label: str | None) -> str:
    return "no image" if label is None else f"the image {label}"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is compared of one file in a layer; of what is no regular file neither size nor time."""

    mode: int
    size: int
    changed_ns: int
    target: str
    whiteout: bool

    @property
    def is_folder(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class Written:
    """What is in the layer on top of others.

    Attributes:
        entries: By path.
        opaque: The folders that hide what is below them.
    """

    entries: dict[str, Entry]
    opaque: frozenset[str]

    @classmethod
    def read(cls, top: str) -> "Written":
        """Looks through a layer; follows no link."""
        entries, opaque = {}, set()
        for path, folders, files, fd in os.fwalk(top, follow_symlinks=False):
            place = os.path.relpath(path, top)
            if _is_opaque(fd):
                opaque.add(place)
            for name in (*folders, *files):
                entries[os.path.normpath(f"{place}/{name}")] = _entry(name, fd)
        return cls(entries, frozenset(opaque))

    def shows(self, overlay: Overlay, path: str) -> bool:
        """Whether there is something at a path, in this layer or through it."""
        entry = self.entries.get(path)
        if entry is not None:
            return not entry.whiteout
        if self._hides(path):
            return False
        found = (_found_in(lower, path) for lower in overlay.lowers)
        return next((there for there in found if there is not None), False)

    def _hides(self, path: str) -> bool:
        for above in map(str, PurePosixPath(path).parents):
            entry = self.entries.get(above)
            if above in self.opaque or (entry is not None and not entry.is_folder):
                return True
        return False


def _changes(overlay: Overlay, before: Written, after: Written) -> Iterator[tuple[str, ChangeKind]]:
    """Tells what became of each path, as the sandbox sees it: through the layers below, too."""
    hidden = {
        path
        for folder in before.opaque ^ after.opaque
        for lower in overlay.lowers
        for path in _below(lower, folder)
    }
    for path in sorted(before.entries.keys() | after.entries.keys() | hidden):
        was, has = before.shows(overlay, path), after.shows(overlay, path)
        if was and has and _differ(before.entries.get(path), after.entries.get(path)):
            yield path, ChangeKind.MODIFIED
        elif was != has:
            yield path, ChangeKind.CREATED if has else ChangeKind.DELETED


def _differ(before: Entry | None, after: Entry | None) -> bool:
    if before is None or after is None:
        # A folder gets into the layer also when only something in it is written.
        there = before or after
        return there is not None and not there.is_folder
    return before != after


def _entry(name: str, folder: int) -> Entry:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    regular = stat.S_ISREG(status.st_mode)
    return Entry(
        # Saved files have not got the bits that change the user, which mean nothing in a sandbox either.
        mode=status.st_mode & ~(stat.S_ISUID | stat.S_ISGID),
        size=status.st_size if regular else 0,
        changed_ns=status.st_mtime_ns if regular else 0,
        target=os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else "",
        whiteout=stat.S_ISCHR(status.st_mode) and status.st_rdev == 0,
    )


def _is_opaque(folder: int) -> bool:
    try:
        return os.getxattr(folder, OPAQUE) == b"y"
    except OSError:
        return False


def _found_in(lower: str, path: str) -> bool | None:
    """Whether a layer has something at a path; None where it says nothing about that."""
    top = os.open(lower, FOLDER_FLAGS)
    try:
        fd = open_at(path, os.O_PATH | os.O_NOFOLLOW, folder=top, resolve=BELOW)
    except OSError:
        return None
    finally:
        os.close(top)
    try:
        status = os.fstat(fd)
        return not (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0)
    finally:
        os.close(fd)


def _below(lower: str, folder: str) -> Iterator[str]:
    """Lists what a folder of a layer has in it; nothing where it is none."""
    try:
        top = os.open(lower, FOLDER_FLAGS)
        try:
            fd = open_at(folder, FOLDER_FLAGS, folder=top, resolve=BELOW)
        finally:
            os.close(top)
    except OSError:
        return
    try:
        for path, folders, files, _ in os.fwalk(".", dir_fd=fd, follow_symlinks=False):
            for name in (*folders, *files):
                yield os.path.normpath(f"{folder}/{path}/{name}")
    finally:
        os.close(fd)
