"""Finds lines in files."""

import io
import os
import re
import stat
from collections.abc import Iterator
from typing import Any

from . import globs, paths, walking
from .refused import Refused

# A longer line is looked at in pieces of this size.
LINE_BYTES = 1 << 20
SHOWN_CHARACTERS = 1000
PROBE_BYTES = 8192
NOT_UTF8 = "surrogateescape"


def compile_pattern(request: dict[str, Any]) -> "re.Pattern[str]":
    """Makes the expression that lines are searched for.

    Raises:
        Refused: it is no regular expression.
    """
    text = re.escape(request["pattern"]) if request["literal"] else request["pattern"]
    try:
        return re.compile(text, re.IGNORECASE if request["ignore_case"] else 0)
    except (re.error, RecursionError, OverflowError) as error:
        raise Refused(f"The pattern is no regular expression: {error}.", "pattern") from error


def grep(request: dict[str, Any]) -> dict[str, Any]:
    """Finds the first match of every line that has one, in the order of the walk."""
    pattern = compile_pattern(request)
    matches: list[tuple[str, int, int, str]] = []
    room = walking.PAGE_BYTES
    for path, fd in _files(request):
        with io.BufferedReader(io.FileIO(fd), LINE_BYTES) as file:
            if b"\0" in file.peek(PROBE_BYTES)[:PROBE_BYTES]:
                continue
            for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES), b""), 1):
                text = line.decode(errors=NOT_UTF8)
                found = pattern.search(text.rstrip("\r\n"))
                if found is None:
                    continue
                if len(matches) == request["limit"] or room < 0:
                    return {"matches": matches, "more": True}
                matches.append((path, number, found.start() + 1, _shown(text, found.start())))
                room -= len(path) + len(matches[-1][3])
    return {"matches": matches, "more": False}


def _shown(line: str, at: int) -> str:
    """Cuts a long line to what stands around the match."""
    start = max(0, at - SHOWN_CHARACTERS // 2) if len(line) > SHOWN_CHARACTERS else 0
    return line[start : start + SHOWN_CHARACTERS].rstrip("\r\n")


def _files(request: dict[str, Any]) -> Iterator[tuple[str, int]]:
    top = paths.open_at(request["path"], os.O_PATH)
    try:
        if not stat.S_ISDIR(os.fstat(top).st_mode):
            yield request["path"], paths.open_regular(request["path"], os.O_RDONLY)
            return
        include = _included(request["include"])
        for path, status in walking.walk(top, recursive=True):
            if stat.S_ISREG(status.st_mode) and include(path):
                fd = _opened(top, path)
                if fd >= 0:
                    yield f"{request['path'].rstrip('/')}/{path}", fd
    finally:
        os.close(top)


def _included(glob: str | None) -> Any:  # noqa: ANN401 - a predicate
    if glob is None:
        return lambda _: True
    wanted = globs.translate(glob)
    if "/" in glob:
        return wanted.fullmatch
    return lambda path: wanted.fullmatch(path.rpartition("/")[2])


def _opened(top: int, path: str) -> int:
    try:
        return paths.open_regular(path, os.O_RDONLY | os.O_NOFOLLOW, folder=top, resolve=paths.BELOW)
    except OSError:
        return -1  # Not for this user, or gone.
