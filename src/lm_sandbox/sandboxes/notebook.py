"""Pages in a file in memory that outlives who writes it; each is there as it was before, or after."""

import os
import struct
from collections.abc import Sequence
from itertools import accumulate

# Of each page: in which of its two places it is, and how long it is.
ENTRY = struct.Struct("<II")
HEADER_BYTES = 4096


class Notebook:
    """A file with some pages and a loose leaf, which takes room only while there is something on it.

    Args:
        file: Owned from now on.
        rooms: The most bytes of each page.
    """

    def __init__(self, file: int, rooms: Sequence[int]) -> None:
        self._file = file
        self._rooms = rooms
        ends = list(accumulate((2 * room for room in rooms), initial=HEADER_BYTES))
        self._places, self._leaf = ends[:-1], ends[-1]
        entries = os.pread(file, ENTRY.size * len(rooms), 0).ljust(ENTRY.size * len(rooms), b"\0")
        self._entries = list(ENTRY.iter_unpack(entries))
        if os.fstat(file).st_size < self._leaf:
            os.ftruncate(file, self._leaf)

    @classmethod
    def new(cls, name: str, rooms: Sequence[int]) -> "Notebook":
        """Returns an empty one."""
        return cls(os.memfd_create(name), rooms)

    @property
    def file(self) -> int:
        """Its descriptor; -1 once it was closed."""
        return self._file

    def read(self, page: int) -> bytes:
        """Returns what is on a page."""
        half, size = self._entries[page]
        return os.pread(self._file, size, self._places[page] + half * self._rooms[page])

    def write(self, page: int, data: bytes) -> None:
        """Writes a page anew.

        Raises:
            ValueError: it has not so much room.
        """
        if len(data) > self._rooms[page]:
            raise ValueError(f"page {page} takes {self._rooms[page]} bytes")
        if self._file < 0:
            return
        half = 1 - self._entries[page][0]
        os.pwrite(self._file, data, self._places[page] + half * self._rooms[page])
        self._entries[page] = (half, len(data))
        os.pwrite(self._file, ENTRY.pack(half, len(data)), page * ENTRY.size)

    def leaf(self) -> bytes:
        """Returns what is on the loose leaf."""
        return os.pread(self._file, os.fstat(self._file).st_size - self._leaf, self._leaf)

    def write_leaf(self, data: bytes) -> None:
        """Writes the loose leaf anew; what was on it goes first."""
        if self._file >= 0:
            os.ftruncate(self._file, self._leaf)
            os.pwrite(self._file, data, self._leaf)

    def close(self) -> None:
        """Lets go of it; idempotent."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
