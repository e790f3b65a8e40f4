"""Reads lines out of a file of any size."""

from codecs import getincrementaldecoder
from dataclasses import dataclass

from lm_sandbox.sandboxes.files import FileReader

PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a file.

    Attributes:
        text: They; None where the file is no text.
        next_line: The number of the first that is not among them; None at the end of the file.
        cut_line: The number of one that is too long and was cut, if it is the last.
    """

    text: str | None
    next_line: int | None = None
    cut_line: int | None = None


async def read_lines(reader: FileReader, start_line: int, most_lines: int | None, most_bytes: int) -> Lines:
    """Reads from the line `start_line` on, at most so many lines and bytes."""
    offset = await _offset_of(reader, start_line)
    data = b""
    while len(data) <= most_bytes:
        piece = await reader.read(offset + len(data), most_bytes + 1 - len(data))
        if not piece:
            break
        data += piece
    return cut(data, start_line, most_lines, most_bytes)


def cut(data: bytes, start_line: int, most_lines: int | None, most_bytes: int) -> Lines:
    """Keeps whole lines of what was read, which may be one byte more than is wanted.

    Args:
        data: The bytes from the line `start_line` on.
        start_line: Its number, from 1.
        most_lines: The most lines to keep.
        most_bytes: The most bytes to keep.
    """
    more = len(data) > most_bytes
    lines = _split(data[:most_bytes])
    if more and len(lines) > 1:
        lines.pop()  # It may be cut.
    cut_line = start_line if more and len(lines) == 1 and not lines[0].endswith(b"\n") else None
    if most_lines is not None and len(lines) > most_lines:
        lines, more = lines[:most_lines], True
    text = _decoded(b"".join(lines), whole=cut_line is None)
    if text is None:
        return Lines(None)
    after = start_line + len(lines)
    return Lines(text, after if more else None, cut_line)


def _split(data: bytes) -> list[bytes]:
    # Nothing else ends a line for the tools of a shell.
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _decoded(data: bytes, *, whole: bool) -> str | None:
    if b"\0" in data:
        return None
    try:
        return getincrementaldecoder("utf-8")().decode(data, final=whole)
    except UnicodeDecodeError:
        return None


async def _offset_of(reader: FileReader, line: int) -> int:
    offset, left = 0, line - 1
    while left and (piece := await reader.read(offset, PIECE)):
        ends = piece.count(b"\n")
        if ends < left:
            left -= ends
            offset += len(piece)
            continue
        place = -1
        for _ in range(left):
            place = piece.index(b"\n", place + 1)
        return offset + place + 1
    return offset
