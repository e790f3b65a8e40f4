"""Files that are being written, under another name until they are whole."""

import errno
import os
import stat
from dataclasses import dataclass
from typing import Any

from . import paths
from .trees import discard

NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PERMISSIONS = 0o777
DEFAULT_MODE = 0o644


@dataclass(frozen=True)
class Upload:
    """A file on its way.

    Attributes:
        folder: A descriptor of the folder that it goes into.
        temporary: What it is called meanwhile.
        name: What it will be called.
        path: The whole path, for the answer.
    """

    folder: int
    temporary: str
    name: str
    path: str


class Uploads:
    """All of them, by the number of the request that began each."""

    def __init__(self) -> None:
        self._open: dict[int, Upload] = {}

    def create(self, request: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Opens a new file beside the path and returns its descriptor."""
        path = paths.settle(request["path"])
        paths.make_parents(path)
        folder, name = paths.split(path)
        folder_fd = paths.open_at(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            existing = _existing(folder_fd, name)
            temporary = paths.temporary_name()
            fd = os.open(temporary, NEW, 0o600, dir_fd=folder_fd)
        except BaseException:
            os.close(folder_fd)
            raise
        self._open[request["id"]] = Upload(folder_fd, temporary, name, request["path"])
        mode = request["mode"] if request["mode"] is not None else existing
        os.fchmod(fd, (DEFAULT_MODE if mode is None else mode) & PERMISSIONS)
        return {"existed": existing is not None}, fd

    def commit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Gives the file its name, in the place of what had it."""
        upload = self._open[request["upload"]]
        names = (upload.folder, upload.temporary), (upload.folder, upload.name)
        paths.rename(*names, replace=True)
        del self._open[request["upload"]]
        try:
            return {"entry": paths.entry(upload.path, name=upload.name, folder=upload.folder)}
        finally:
            os.close(upload.folder)

    def abort(self, number: int) -> None:
        """Removes what was written; does nothing when it was committed."""
        upload = self._open.pop(number, None)
        if upload is not None:
            discard(upload.folder, upload.temporary)
            os.close(upload.folder)

    def abort_all(self) -> None:
        """Removes everything that was not committed."""
        for number in list(self._open):
            self.abort(number)


def _existing(folder: int, name: str) -> int | None:
    """Returns the mode of the file that is to be replaced, if there is one."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    return status.st_mode
