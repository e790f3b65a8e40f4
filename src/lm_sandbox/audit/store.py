"""Appends to the chain on disk: one process at a time, in whole batches, on the disk."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from time import time

from lm_sandbox.audit.chain import Link, read_line, seal
from lm_sandbox.audit.entry import Entry
from lm_sandbox.audit.head import read_head, write_head
from lm_sandbox.audit.redaction import Redactor
from lm_sandbox.audit.seals import REPAIRED, checkpoint, dropped
from lm_sandbox.audit.segments import (
    Segment,
    Tail,
    append,
    locked,
    read_tail,
    segments_of,
    sync_folder,
)
from lm_sandbox.audit.signing import SigningKey
from lm_sandbox.config import AuditSettings

MIB = 1024 * 1024


class AuditStore:
    """The chain of one folder; several processes may append to it in turn.

    Attributes:
        folder: Where it is kept.

    Args:
        folder: Where it is kept, mode 0700.
        settings: Bounds.
        redactor: Takes secrets out.
        now: Seconds since 1970.
    """

    def __init__(
        self, folder: Path, settings: AuditSettings, redactor: Redactor, now: Callable[[], float] = time
    ) -> None:
        self.folder = folder
        self._settings = settings
        self._redactor = redactor
        self._now = now
        self._key: SigningKey | None = None
        self._link = Link()
        self._segment: Segment | None = None
        self._size = 0
        self._unsealed = 0

    def open(self) -> None:
        """Makes what is missing, repairs a torn end, and drops what is too old.

        Raises:
            OSError: the folder cannot be written.
            Invalid: the signing key is damaged.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.folder):
            self._key = SigningKey.ensure(self.folder)
        self.append([])
        self.prune()

    def append(self, entries: Sequence[Entry]) -> None:
        """Writes entries at the end of the chain; they are on the disk when it returns.

        Raises:
            OSError: they could not be written; none of them is in the chain then.
        """
        with locked(self.folder):
            self._append(entries)

    def seal(self) -> None:
        """Signs what was written since the last checkpoint."""
        with locked(self.folder):
            if self._unsealed:
                self._append([], sealing=True)

    def prune(self) -> None:
        """Drops the oldest segments that are over age, or over the bytes that may be kept."""
        with locked(self.folder):
            self._append([])
            gone = self._surplus(segments_of(self.folder))
            following = read_line(_first_line(gone[-1][1].path)) if gone else None
            if following is None:
                return  # Nothing is to go, or what shows that something is damaged is to stay.
            through = Link(following.seq - 1, following.prev)
            self._append([dropped(self._link, through, self._signing)], sealing=True)
            for segment, _ in gone:
                segment.path.unlink()
            sync_folder(self.folder)

    @property
    def unsealed(self) -> int:
        """Records since the last checkpoint."""
        return self._unsealed

    @property
    def _signing(self) -> SigningKey:
        if self._key is None:
            raise RuntimeError("the audit is used before it was opened")
        return self._key

    def _append(self, entries: Sequence[Entry], *, sealing: bool = False) -> None:
        entries = [*self._resume(), *entries]
        lines: list[bytes] = []
        link = self._link
        for entry in entries:
            line, link = seal(replace(entry, what=self._redactor.all(entry.what)), link)
            lines += (line, b"\n")
        unsealed = self._unsealed + len(entries)
        if sealing or unsealed >= self._settings.checkpoint_records:
            line, link = seal(checkpoint(link, self._signing), link)
            lines += (line, b"\n")
            unsealed = 0
        if lines:
            self._write(b"".join(lines), link)
            self._unsealed = unsealed

    def _write(self, data: bytes, link: Link) -> None:
        segment = self._segment_for(len(data))
        append(segment.path, data)
        grown = self._size if segment == self._segment else 0
        self._segment, self._size, self._link = segment, grown + len(data), link
        write_head(self.folder, link, self._signing)

    def _resume(self) -> list[Entry]:
        """Finds the chain's end, where another process may have gone on; returns what to tell of it."""
        segments = segments_of(self.folder)
        if self._segment is not None and segments[-1:] == [self._segment]:
            with suppress(FileNotFoundError):
                if self._segment.size() == self._size:
                    return []
        self._link, self._segment, self._size = Link(), None, 0
        found: list[Entry] = []
        for segment in reversed(segments):
            tail = _mended(segment, found, self._now())
            if self._segment is None and tail.whole:
                self._segment, self._size = segment, tail.whole
            last = read_line(tail.line)
            if last is not None:
                self._link = last.link
                break
        head = read_head(self.folder, self._signing.public)
        if head is not None and head.seq > self._link.seq:
            # Records are gone: going on behind them shows the gap for ever.
            self._link = head
        return found

    def _segment_for(self, size: int) -> Segment:
        day = datetime.fromtimestamp(self._now(), UTC).date().isoformat()
        current = self._segment
        full = self._size + size > self._settings.segment_mib * MIB
        if current is None or full or current.day < day:
            return Segment.beginning(self.folder, self._link.seq + 1, day)
        return current

    def _surplus(self, segments: Sequence[Segment]) -> list[tuple[Segment, Segment]]:
        """The segments to drop, oldest first, each with the one that follows it; the newest always stays."""
        oldest = datetime.fromtimestamp(self._now(), UTC) - timedelta(days=self._settings.keep_days)
        limit = oldest.date().isoformat()
        total = sum(segment.size() for segment in segments)
        gone: list[tuple[Segment, Segment]] = []
        for segment, following in pairwise(segments):
            # What follows begins on the day on which this one ended, or later.
            if following.day > limit and total <= self._settings.keep_mib * MIB:
                break
            gone.append((segment, following))
            total -= segment.size()
        return gone


def _mended(segment: Segment, found: list[Entry], now: float) -> Tail:
    """Cuts off a line that was never finished, and notes it; a segment of which nothing is left goes."""
    tail = read_tail(segment.path)
    if tail.torn:
        os.truncate(segment.path, tail.whole)
        detail = "The last record was not finished when the server was killed; its bytes were removed."
        found.append(Entry(REPAIRED, now, what={"detail": detail, "bytes": tail.torn}))
    if not tail.whole:
        segment.path.unlink()
    return tail


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline().rstrip(b"\n")
