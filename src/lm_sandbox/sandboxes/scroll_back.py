"""The last of what a terminal has shown: in bounded memory, and so that a screen can make sense of it. Pure.

Control sequences are those of ECMA-48 and of xterm (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html).
"""

import re

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


def _to_beginning(data: bytearray, place: int) -> int:
    """Counts the bytes from a place on to where a screen can begin."""
    found = BEGINNING.search(data, place, place + LOOK_BYTES)
    if found is not None:
        return found.end() - place
    ahead = data[place : place + LONGEST_CHARACTER]
    return next((count for count, byte in enumerate(ahead) if byte not in CONTINUATION), len(ahead))
