"""The `Range` header, for one range of bytes (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

from fastapi import HTTPException

SINGLE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a file: its first byte and how many there are."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        """Writes the header of an answer with only this piece."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def parse_range(header: str | None, size: int) -> Span | None:
    """Reads what is asked for; None for the whole file, also where the header makes no sense.

    Raises:
        HTTPException: 416, the file has nothing there.
    """
    asked = SINGLE.fullmatch(header or "")
    if asked is None or asked.groups() == ("", ""):
        return None
    first, last = asked.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise HTTPException(
            416,
            f"The file has {size} bytes, none of them in this range.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Span(start, end - start)
