"""What was written to the system of a sandbox: the layers on top of its image, saved, loaded and compared.

As with all its files, only while nothing in the sandbox runs.
"""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from lm_sandbox.errors import Conflict
from lm_sandbox.sandboxes.driver import ChangeKind, FileChange
from lm_sandbox.sandboxes.drivers.bubblewrap.system import Overlay, System
from lm_sandbox.sandboxes.inside.file_agent.paths import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, open_at
from lm_sandbox.sandboxes.inside.storage import HostRange, copy, empty

# Where the sandbox's tmpfs is mounted, in a mount namespace that nothing else is in.
STORAGE = "/mnt"
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
LABEL, SYSTEM = "image.json", "system"
HOST = "host"


class Layers:
    """The written layers of one sandbox.

    Args:
        system: What they are on top of.
        storage: A descriptor of the sandbox's storage, seen from where it is mounted; owned from now on.
        owner: Whose files they are.
    """

    def __init__(self, system: System, storage: int, owner: HostRange) -> None:
        self._system = system
        self._storage = storage
        self._owner = owner

    def close(self) -> None:
        """Lets go of the storage."""
        os.close(self._storage)

    def save(self, folder: Path) -> None:
        """Copies the layers beside what is saved already, and takes from all of it whose it was.

        Raises:
            NoCapacity: the disk is full.
        """
        (folder / SYSTEM).mkdir()
        for number in range(len(self._system.overlays)):
            copy(self._upper(number), str(folder / SYSTEM / str(number)))
        self._owner.take(str(folder))

    def load(self, folder: Path) -> None:
        """Puts saved layers in the place of these.

        Raises:
            NoCapacity: they do not fit.
        """
        for number, overlay in enumerate(self._system.overlays):
            upper = self._upper(number)
            # What things are mounted on, and what that is in, has to stay.
            empty(upper, keep=overlay.folders)
            self._owner.put(str(folder / SYSTEM / str(number)), upper)

    def compare(self, folder: Path) -> Iterator[FileChange]:
        """Tells what is different now from what was saved, by path."""
        for number, overlay in enumerate(self._system.overlays):
            before = _entries(str(folder / SYSTEM / str(number)))
            after = _entries(self._upper(number))
            for path in sorted(before.keys() | after.keys()):
                kind = _kind(overlay, path, before.get(path), after.get(path))
                if kind is not None:
                    yield FileChange(kind, f"{overlay.at.rstrip('/')}/{path}")

    def _upper(self, number: int) -> str:
        # By the number of this process, as `cp` is another; the dot, as it does not follow a link at the end.
        return f"/proc/{os.getpid()}/fd/{self._storage}/system/{number}/upper/."


def open_storage(monitor: int) -> int:
    """Opens a sandbox's storage by way of bwrap's own process, which sees where it is mounted.

    Raises:
        OSError: that process has ended.
    """
    return os.open(f"/proc/{monitor}/root{STORAGE}", FOLDER_FLAGS)


def write_label(folder: Path, system: System | None) -> None:
    """Notes in a saved folder what its files are on top of."""
    (folder / LABEL).write_text(json.dumps({"image": system.label if system else HOST}))


def check_label(folder: Path, system: System | None) -> None:
    """Refuses files that are on top of something else.

    Raises:
        Conflict: they are.
    """
    label = folder / LABEL
    found = json.loads(label.read_text())["image"] if label.exists() else HOST
    wanted = system.label if system else HOST
    if found != wanted:
        message = f"The snapshot is of a sandbox of the image {found!r}; this one is of {wanted!r}."
        raise Conflict(message)


Entry = tuple[int, int, int, str]


def _entries(top: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for path, folders, files, fd in os.fwalk(top, follow_symlinks=False):
        for name in (*folders, *files):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            target, size, changed = "", status.st_size, status.st_mtime_ns
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(name, dir_fd=fd)
            if not stat.S_ISREG(status.st_mode):
                size = changed = 0
            found[os.path.relpath(f"{path}/{name}", top)] = (status.st_mode, size, changed, target)
    return found


def _kind(overlay: Overlay, path: str, before: Entry | None, after: Entry | None) -> ChangeKind | None:
    """Tells what became of a path, as the sandbox sees it: through the layers below, too."""
    was, has = _visible(overlay, path, before), _visible(overlay, path, after)
    if was and has:
        changed = before != after and not _is_copied_folder(before, after)
        return ChangeKind.MODIFIED if changed else None
    if was or has:
        return ChangeKind.CREATED if has else ChangeKind.DELETED
    return None


def _visible(overlay: Overlay, path: str, entry: Entry | None) -> bool:
    if entry is not None:
        return not stat.S_ISCHR(entry[0])
    return any(_is_in(lower, path) for lower in overlay.lowers)


def _is_copied_folder(before: Entry | None, after: Entry | None) -> bool:
    """A folder gets into the layer also when only something in it is written."""
    return (before is None) != (after is None) and stat.S_ISDIR((before or after or (0,))[0])


def _is_in(lower: str, path: str) -> bool:
    top = os.open(lower, FOLDER_FLAGS)
    try:
        flags = os.O_PATH | os.O_NOFOLLOW
        os.close(open_at(path, flags, folder=top, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS))
    except OSError:
        return False
    finally:
        os.close(top)
    return True
