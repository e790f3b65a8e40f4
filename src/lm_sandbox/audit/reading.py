"""Reads records back, the newest first."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lm_sandbox.audit.chain import content_of
from lm_sandbox.audit.segments import segments_of

BLOCK = 256 * 1024
# One page looks at so many at most; the next one goes on from there.
MOST_SCANNED = 100_000


@dataclass(frozen=True, slots=True)
class Query:
    """Which records are wanted; what is left empty takes any.

    Attributes:
        kind: The kind, or how it begins: `command` takes `command.started` too.
        who: The id or the name of the principal.
        sandbox: Its id.
        request: The request's id.
        outcome: Such as `ok`.
        text: Stands somewhere in the record, in any case.
        since: Not before.
        until: Before.
        before: Only records of lower numbers.
        after: Only records of higher numbers.
    """

    kind: str = ""
    who: str = ""
    sandbox: str = ""
    request: str = ""
    outcome: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    after: int = 0

    def takes(self, record: dict[str, Any]) -> bool:
        """Whether a record is one of them."""
        kind = str(record.get("kind"))
        what = record.get("what") or {}
        return (
            (not self.kind or kind == self.kind or kind.startswith(f"{self.kind}."))
            and (not self.who or self.who in {record.get("who"), record.get("name")})
            and (not self.sandbox or what.get("sandbox") == self.sandbox)
            and (not self.request or record.get("request") == self.request)
            and (not self.outcome or record.get("outcome") == self.outcome)
            and self._in_time(datetime.fromisoformat(record["at"]))
            and (not self.text or self.text.lower() in str([record.get("name"), what]).lower())
        )

    def _in_time(self, at: datetime) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def is_past(self, record: dict[str, Any]) -> bool:
        """Whether this record, and with it all older ones, are too old."""
        if record["seq"] <= self.after:
            return True
        # A clock that was set back must hide nothing, so that a day is given.
        since = self.since
        return since is not None and (since - datetime.fromisoformat(record["at"])).days >= 1


@dataclass(frozen=True, slots=True)
class Page:
    """Records, the newest first, and the number from which the next page goes on, if there is more."""

    records: tuple[dict[str, Any], ...]
    next_before: int | None


def search(folder: Path, query: Query, limit: int) -> Page:
    """Finds records, the newest first; lines that are none are passed over."""
    found: list[dict[str, Any]] = []
    for scanned, record in enumerate(_records_backwards(folder, query.before)):
        if query.is_past(record):
            return Page(tuple(found), None)
        if len(found) == limit or scanned == MOST_SCANNED:
            return Page(tuple(found), record["seq"] + 1)
        if query.takes(record):
            found.append(record)
    return Page(tuple(found), None)


def export(folder: Path) -> Iterator[bytes]:
    """Yields every record as it stands on the disk, oldest first, in pieces of whole or partial lines."""
    for segment in segments_of(folder):
        with segment.path.open("rb") as file:
            while piece := file.read(BLOCK):
                yield piece


def _records_backwards(folder: Path, before: int | None) -> Iterator[dict[str, Any]]:
    for segment in reversed(segments_of(folder)):
        if before is not None and segment.first >= before:
            continue
        for line in _lines_backwards(segment.path):
            record = content_of(line)
            if {"seq", "kind", "at"} <= record.keys() and (before is None or record["seq"] < before):
                yield record


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """Yields whole lines, last first; what is written meanwhile is not seen."""
    with path.open("rb") as file:
        left = file.seek(0, os.SEEK_END)
        rest = b""
        torn = True
        while left:
            begin = max(0, left - BLOCK)
            file.seek(begin)
            lines = (file.read(left - begin) + rest).split(b"\n")
            left = begin
            rest = lines.pop(0)
            if lines and torn:
                lines.pop()
                torn = False
            yield from reversed(lines)
        if not torn:
            yield rest
