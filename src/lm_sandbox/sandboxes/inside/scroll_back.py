"""The last of what a terminal has shown: in bounded memory, and so that a screen can make sense of it.

Control sequences are those of ECMA-48 and of xterm (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html).
Imported by the launcher, too; standard library only.
"""

import json
import mmap
import os
import re
from typing import Self

# How far to look for a good place to begin.
LOOK_BYTES = 8 * 1024
# What a screen has to be told when the sequence that said it is gone: private modes that programs set.
MODES = frozenset(
    b"1 3 5 6 7 12 25 45 47 66 1000 1002 1003 1004 1005 1006 1007 1015 1047 1048 1049 2004".split()
)
MODE = re.compile(rb"\x1b(?:\[\?([0-9;]{1,64})([hl])|c)")
# A line's end, or the start of a sequence: whatever came before, nothing is cut in two there.
BEGINNING = re.compile(rb"\n|(?=\x1b[^\\])")
CONTINUATION = range(0x80, 0xC0)
LONGEST_CHARACTER = 4
MISSED = "[... {} bytes left out that were shown while no server was there ...]\r\n"
# A recording is written in pieces of so many bytes at most.
RING_SLACK = 64 * 1024
# What asks the screen for an answer: shown again, it would be answered again, as if it were typed.
QUESTION = re.compile(
    rb"\x05|\x1bZ"
    rb"|\x1b\[[>=?]?[0-9;]*c"
    rb"|\x1b\[\??[0-9;]*n"
    rb"|\x1b\[\??[0-9;]*\$p"
    rb"|\x1b\[[0-9;]*x"
    rb"|\x1b\[>[0-9;]*q"
    rb"|\x1b\[\?u"
    rb"|\x1b\[(?:1[13-689]|2[01])(?:;[0-9;]*)?t"
    rb"|\x1b\][0-9]+;(?:[^\x07\x1b]{0,64};)?\?(?:\x07|\x1b\\)"
    rb"|\x1bP[+$]q[^\x1b]{0,256}\x1b\\"
)


class ScrollBack:
    """Keeps the last bytes, numbered from the first that ever came.

    Attributes:
        start: The number of the first byte that is kept.

    Args:
        limit: The most bytes to keep.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._modes: dict[bytes, bytes] = {}
        self.start = 0

    @property
    def end(self) -> int:
        """The number of the byte that comes next."""
        return self.start + len(self._data)

    def write(self, data: bytes) -> None:
        """Takes the next bytes."""
        self._data += data
        surplus = len(self._data) - self._limit
        if surplus > 0:
            self._drop(surplus + _to_beginning(self._data, surplus))

    def read(self, position: int, most: int) -> bytes:
        """Returns bytes from a number on that is kept, or is the end."""
        place = position - self.start
        return bytes(self._data[place : place + most])

    def replay(self) -> bytes:
        """Returns what brings a screen to where the terminal is: modes, and the bytes without questions."""
        modes = b"".join(b"\x1b[?%s%s" % mode for mode in self._modes.items())
        return modes + QUESTION.sub(b"", self._data)

    def _drop(self, size: int) -> None:
        for match in MODE.finditer(self._data, 0, size):
            if match[1] is None:
                self._modes.clear()
            else:
                self._modes |= {mode: match[2] for mode in match[1].split(b";") if mode in MODES}
        del self._data[:size]
        self.start += size


class Recording(ScrollBack):
    """The same in a file as well, which servers write one after the other, and the launcher between them.

    Whoever is killed leaves it as it was before or after a piece: a piece goes where nothing is kept, then
    the first page says that it is there.

    Args:
        limit: The most bytes to keep.
        file: In memory; owned from now on.

    Attributes:
        missed: Bytes that were shown and dropped while no server was there.
    """

    def __init__(self, limit: int, file: int) -> None:
        super().__init__(limit)
        self._file = file
        self._ring_bytes = limit + RING_SLACK
        self._left_at: int | None = None
        self.missed = 0

    @classmethod
    def new(cls, limit: int) -> Self:
        """Begins one."""
        found = cls(limit, os.memfd_create("scroll-back"))
        os.ftruncate(found.file, mmap.PAGESIZE + found._ring_bytes)
        found._enter()
        return found

    @classmethod
    def load(cls, file: int) -> Self:
        """Returns what another process has recorded.

        Raises:
            ValueError: it is no recording.
        """
        told = json.loads(os.pread(file, mmap.PAGESIZE, 0).rstrip(b"\0"))
        found = cls(told["limit"], file)
        found._left_at, found.missed = told["left_at"], told["missed"]
        found.start = told["start"]
        found._modes = {mode.encode(): to.encode() for mode, to in told["modes"].items()}
        found._data += found._ring(told["start"], told["end"])
        return found

    @property
    def file(self) -> int:
        """Its descriptor; -1 once it was closed."""
        return self._file

    def write(self, data: bytes) -> None:
        """Takes the next bytes."""
        for start in range(0, len(data), RING_SLACK):
            piece = data[start : start + RING_SLACK]
            self._record(piece)
            super().write(piece)
            self._enter()

    def leave(self) -> None:
        """Says that from now on nobody looks at what comes."""
        if self._left_at is None:
            self._left_at = self.end
            self._enter()

    def come_back(self) -> None:
        """Says that somebody looks again."""
        if self._left_at is not None:
            self.missed += max(0, self.start - self._left_at)
        self._left_at = None
        self._enter()

    def replay(self) -> bytes:
        """Returns what brings a screen to where the terminal is, after a line that says what was missed."""
        told = MISSED.format(self.missed).encode() if self.missed else b""
        return told + super().replay()

    def close(self) -> None:
        """Goes on without the file; idempotent."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _record(self, piece: bytes) -> None:
        if self._file >= 0:
            place = self.end % self._ring_bytes
            before_its_end = self._ring_bytes - place
            os.pwrite(self._file, piece[:before_its_end], mmap.PAGESIZE + place)
            os.pwrite(self._file, piece[before_its_end:], mmap.PAGESIZE)

    def _ring(self, start: int, end: int) -> bytes:
        place, size = start % self._ring_bytes, end - start
        data = os.pread(self._file, min(size, self._ring_bytes - place), mmap.PAGESIZE + place)
        return data + os.pread(self._file, size - len(data), mmap.PAGESIZE)

    def _enter(self) -> None:
        """Writes the first page, in one piece."""
        if self._file < 0:
            return
        told = {
            "limit": self._limit,
            "start": self.start,
            "end": self.end,
            "left_at": self._left_at,
            "missed": self.missed,
            "modes": {mode.decode(): to.decode() for mode, to in self._modes.items()},
        }
        os.pwrite(self._file, json.dumps(told).encode().ljust(mmap.PAGESIZE, b"\0"), 0)


def _to_beginning(data: bytearray, place: int) -> int:
    """Counts the bytes from a place on to where a screen can begin."""
    found = BEGINNING.search(data, place, place + LOOK_BYTES)
    if found is not None:
        return found.end() - place
    ahead = data[place : place + LONGEST_CHARACTER]
    return next((count for count, byte in enumerate(ahead) if byte not in CONTINUATION), len(ahead))
