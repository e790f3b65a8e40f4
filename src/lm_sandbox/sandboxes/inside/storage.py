"""The files of a sandbox, copied out, copied in and compared, while nothing in it runs.

Only used on a sandbox whose processes are halted or ended: names are followed from outside, and a
process inside could else put a link in their place.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lm_sandbox.errors import NoCapacity, SandboxFailed
from lm_sandbox.sandboxes.driver import ChangeKind, FileChange
from lm_sandbox.sandboxes.inside.file_agent.paths import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, open_at

IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
# How many users a sandbox has, where it has more than one.
IDS = 65536
# Whose saved files of such a sandbox are, from its root on: nobody's, on any host.
SAVED_FIRST = 2_143_000_000
COPY = ("cp", "--archive", "--sparse=always", "--reflink=auto", "--no-target-directory")

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

Places = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is compared of one file; of a folder only that it is one, and its mode."""

    mode: int
    size: int = 0
    changed_ns: int = 0
    target: str = ""


class Owner(Protocol):
    """Whose the files of a sandbox are."""

    def put(self, source: str, target: str) -> None:
        """Copies a folder's content for that user.

        Raises:
            NoCapacity: there is no room.
            SandboxFailed: it cannot be done.
        """
        ...


class Server:
    """The server's own user."""

    def put(self, source: str, target: str) -> None:
        """Leaves the files as they are."""
        copy(source, target)


@dataclass(frozen=True, slots=True)
class HostUser:
    """A user of this host, to whom the server as root can give files."""

    uid: int

    def put(self, source: str, target: str) -> None:
        """Makes the files, then gives them."""
        copy(source, target)
        _give(target, self.uid)


@dataclass(frozen=True, slots=True)
class MappedUser:
    """A user of another user namespace, whose file systems know no root of this host."""

    uid: int

    def put(self, source: str, target: str) -> None:
        """Makes the files as that user, who may look into the source nevertheless."""
        privileges = "-all,+dac_override,+fowner"
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups",
                  f"--inh-caps={privileges}", f"--ambient-caps={privileges}", "--"]  # fmt: skip
        # From within the target, as that user may not follow the descriptors of the server.
        _run([*become, *COPY, "--no-preserve=ownership", "--", source, "."], folder=target)


@dataclass(frozen=True, slots=True)
class HostRange:
    """Users of this host that stand for all those inside; saved files belong to a range of nobody's.

    Attributes:
        first: Root inside.
    """

    first: int

    def put(self, source: str, target: str) -> None:
        """Makes the files, then gives each to whom it belongs here."""
        copy(source, target)
        _renumber(target, SAVED_FIRST, self.first)

    def take(self, folder: str) -> None:
        """Takes files that were copied out from the sandbox's users; none changes its user when it is run."""
        _renumber(folder, self.first, SAVED_FIRST)


def open_place(root: int, place: str) -> int:
    """Opens a folder by its path inside. Links on the way, which an image may have, stay below the root.

    Raises:
        OSError: it is not there.
    """
    return open_at(place, os.O_PATH | os.O_DIRECTORY, folder=root, resolve=IN_ROOT)


def save(root: int, places: Places, folder: Path) -> int:
    """Copies the writable places to a new folder and returns how many bytes that takes.

    Args:
        root: A descriptor of the sandbox's root.
        places: The writable places by the names under which they are saved.
        folder: Where to, which must not exist.

    Raises:
        NoCapacity: the disk is full.
    """
    folder.mkdir(mode=0o700, parents=True)
    for name, place in places.items():
        with _top(root, place) as top:
            copy(top, str(folder / name))
    return bytes_taken(folder)


def load(folder: Path, root: int, places: Places, owner: Owner) -> None:
    """Puts saved files in the place of all that is there.

    Args:
        folder: What `save` made.
        root: A descriptor of the root of a sandbox without processes.
        places: As they were saved.
        owner: To whom they then belong.

    Raises:
        SandboxFailed: the files do not fit.
    """
    for name, place in places.items():
        with _top(root, place) as top:
            empty(top)
            fill(str(folder / name), top, owner)


def fill(source: str, target: str, owner: Owner) -> None:
    """Copies saved files into an empty folder.

    Raises:
        SandboxFailed: they do not fit.
    """
    try:
        owner.put(source, target)
    except NoCapacity as error:
        raise SandboxFailed("The snapshot does not fit in; raise the sandbox's disk limit.") from error


def compare(folder: Path, root: int, places: Places, until: Path | None = None) -> Iterator[FileChange]:
    """Tells what is different now from what was saved, or in what was saved later, by path."""
    for name, place in places.items():
        with _top(root, place) if until is None else nullcontext(str(until / name)) as top:
            before, after = dict(_entries(str(folder / name))), dict(_entries(top))
        for path in sorted(before.keys() | after.keys()):
            if path not in before:
                yield FileChange(ChangeKind.CREATED, f"{place}/{path}")
            elif path not in after:
                yield FileChange(ChangeKind.DELETED, f"{place}/{path}")
            elif before[path] != after[path]:
                yield FileChange(ChangeKind.MODIFIED, f"{place}/{path}")


@contextmanager
def _top(root: int, place: str) -> Iterator[str]:
    """Yields a way to a place that goes through no name of the sandbox."""
    fd = open_place(root, place)
    try:
        # By the number of this process, as `cp` is another; the dot, as it does not follow a link at the end.
        yield f"/proc/{os.getpid()}/fd/{fd}/."
    finally:
        os.close(fd)


def copy(source: str, target: str) -> None:
    """Copies a folder's content with all that belongs to it.

    Raises:
        NoCapacity: there is no room.
        SandboxFailed: it cannot be done.
    """
    _run([*COPY, "--", source, target], folder="/")


def _run(argv: Sequence[str], *, folder: str) -> None:
    done = subprocess.run(
        argv,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"PATH": os.defpath, "LC_ALL": "C"},
        check=False,
    )
    if done.returncode != 0:
        if b"No space left" in done.stderr or b"Disk quota" in done.stderr:
            raise NoCapacity("There is no room for the files of the sandbox.")
        raise SandboxFailed("The files of the sandbox could not be copied.")


def empty(top: str, keep: Collection[str] = ()) -> None:
    """Removes all that is in a folder, but for some folders below, whose content goes; follows no link.

    Raises:
        SandboxFailed: it cannot be done.
    """
    try:
        folder = os.open(top, FOLDER_FLAGS)
        try:
            _empty(folder, "", frozenset(keep))
        finally:
            os.close(folder)
    except OSError as error:
        raise SandboxFailed("The files of the sandbox could not be removed; delete it.") from error


def _empty(folder: int, place: str, kept: frozenset[str]) -> None:
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
        elif f"{place}{name}" in kept:
            below = os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
            try:
                _empty(below, f"{place}{name}/", kept)
            finally:
                os.close(below)
        else:
            shutil.rmtree(name, dir_fd=folder)


def _give(top: str, uid: int) -> None:
    for _, folders, files, fd in os.fwalk(top, follow_symlinks=False):
        os.chown(fd, uid, uid)
        for name in (*folders, *files):
            os.chown(name, uid, uid, dir_fd=fd, follow_symlinks=False)


def _renumber(top: str, first: int, new_first: int) -> None:
    """Gives the files of a range of users to another one, which clears the bits that change the user."""
    known = range(first, first + IDS)
    for _, folders, files, fd in os.fwalk(top, follow_symlinks=False):
        for name in (*folders, *files, "."):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            ids = [id_ - first + new_first if id_ in known else -1 for id_ in (status.st_uid, status.st_gid)]
            os.chown(name, *ids, dir_fd=fd, follow_symlinks=False)


def bytes_taken(folder: Path) -> int:
    """Tells how many bytes the files in a folder take."""
    return sum(
        os.stat(name, dir_fd=fd, follow_symlinks=False).st_blocks * 512
        for _, _, files, fd in os.fwalk(folder, follow_symlinks=False)
        for name in files
    )


def _entries(top: str) -> Iterator[tuple[str, Entry]]:
    for path, folders, files, fd in os.fwalk(top, follow_symlinks=False):
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            relative = os.path.relpath(f"{path}/{name}", top)
            if stat.S_ISDIR(found.st_mode):
                yield relative, Entry(found.st_mode)
            elif stat.S_ISLNK(found.st_mode):
                yield relative, Entry(found.st_mode, target=os.readlink(name, dir_fd=fd))
            else:
                yield relative, Entry(found.st_mode, found.st_size, found.st_mtime_ns)
