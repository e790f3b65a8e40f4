"""The files of the audit: one segment a day or for so many bytes, named by its first record."""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"(\d{18})\.(\d{4}-\d{2}-\d{2})\.jsonl")
LOCK = "lock"
BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A file of records.

    Attributes:
        first: The number of its first record.
        day: Of its first record, such as `2026-01-31`.
        path: Where it is.
    """

    first: int
    day: str
    path: Path

    @classmethod
    def beginning(cls, folder: Path, first: int, day: str) -> "Segment":
        """Names a new one."""
        return cls(first, day, folder / f"{first:018}.{day}.jsonl")

    def size(self) -> int:
        """Its bytes."""
        return self.path.stat().st_size


@dataclass(frozen=True, slots=True)
class Tail:
    """How a segment ends.

    Attributes:
        line: Its last whole line; empty where it has none.
        whole: The bytes up to the end of that line.
        torn: The bytes behind it, of a line that was never finished.
    """

    line: bytes
    whole: int
    torn: int


def segments_of(folder: Path) -> list[Segment]:
    """Lists the segments, oldest first."""
    found = [(NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted(Segment(int(name[1]), name[2], path) for name, path in found if name is not None)


def read_tail(path: Path) -> Tail:
    """Looks at the end of a segment.

    A line that a crash of the machine has filled with zeros counts as torn.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        data, start = b"", size
        while start and data.rstrip(b"\0").count(b"\n") < 2:  # noqa: PLR2004 - two ends hold one whole line
            begin = max(0, start - BLOCK)
            file.seek(begin)
            data = file.read(start - begin) + data
            start = begin
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].split(b"\n")
    line = lines[-2] if len(lines) > 1 else b""
    return Tail(line, start + whole, size - start - whole)


class FolderLock:
    """Lets one process write at a time; whoever dies lets go.

    Args:
        folder: What is locked; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._token = secrets.token_bytes(16)
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Holds it, and tells whether nobody else has since it was held here the last time."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            alone = os.pread(self._descriptor, len(self._token), 0) == self._token
            if not alone:
                os.pwrite(self._descriptor, self._token, 0)
            yield alone
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._descriptor)


class OpenSegment:
    """The segment that is written to.

    Args:
        segment: Which; made where it is not there.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        new = not segment.path.exists()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(segment.path, flags, 0o600)
        self.size = os.fstat(self._descriptor).st_size
        if new:
            sync_folder(segment.path.parent)

    def is_as_left(self) -> bool:
        """Whether it is still there, and nobody has changed its size."""
        found = os.fstat(self._descriptor)
        return found.st_nlink > 0 and found.st_size == self.size

    def append(self, data: bytes) -> None:
        """Writes at the end; what is written survives the end of this process, but not yet of the machine.

        Raises:
            OSError: it could not be written; nothing of it is in the file then.
        """
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def sync(self) -> None:
        """Returns when all that was written is on the disk.

        Raises:
            OSError: it cannot be.
        """
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Closes it."""
        os.close(self._descriptor)


def sync_folder(folder: Path) -> None:
    """Makes sure that the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
