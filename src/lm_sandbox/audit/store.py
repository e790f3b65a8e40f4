"""Appends to the chain on disk: one process at a time, in whole batches, on the disk."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    FolderLock,
    OpenSegment,
    Segment,
    Tail,
    read_tail,
    segments_of,
    sync_folder,
)
from lm_sandbox.audit.signing import SigningKey
from lm_sandbox.config.insight import AuditSettings

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
        self._lock: FolderLock | None = None
        self._link = Link()
        self._open: OpenSegment | None = None
        self._unsealed = 0
        self._unsynced = False

    def open(self) -> None:
        """Makes what is missing, repairs a torn end, and drops what is too old.

        Raises:
            OSError: the folder cannot be written.
            Invalid: the signing key is damaged.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = FolderLock(self.folder)
        with self._turn():
            self._key = SigningKey.ensure(self.folder)
        self.append([])
        self.prune()

    def close(self) -> None:
        """Lets go of the files."""
        self._leave()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def append(self, entries: Sequence[Entry]) -> None:
        """Writes entries at the end of the chain; from then on they survive the end of this process.

        Raises:
            OSError: they could not be written; none of them is in the chain then.
        """
        with self._turn() as alone:
            self._append(entries, alone=alone)

    def sync(self) -> None:
        """Returns when all that was appended is on the disk.

        Raises:
            OSError: it cannot be.
        """
        with self._turn() as alone:
            if self._unsynced:
                self._append([], alone=alone)
                self._sync()

    def seal(self) -> None:
        """Signs what was written since the last checkpoint, and has it on the disk."""
        with self._turn() as alone:
            if self._unsealed:
                self._append([], alone=alone, sealing=True)
                self._sync()

    def prune(self) -> None:
        """Drops the oldest segments that are over age, or over the bytes that may be kept."""
        with self._turn() as alone:
            self._append([], alone=alone)
            gone = self._surplus(segments_of(self.folder))
            following = read_line(_first_line(gone[-1][1].path)) if gone else None
            if following is None:
                return  # Nothing is to go, or what shows that something is damaged is to stay.
            through = Link(following.seq - 1, following.prev)
            self._append([dropped(self._link, through, self._signing)], alone=True, sealing=True)
            self._sync()
            for segment, _ in gone:
                segment.path.unlink()
            sync_folder(self.folder)

    @property
    def unsealed(self) -> int:
        """Records since the last checkpoint."""
        return self._unsealed

    @property
    def unsynced(self) -> bool:
        """Whether something may not be on the disk yet."""
        return self._unsynced

    @property
    def _signing(self) -> SigningKey:
        if self._key is None:
            raise RuntimeError("the audit is used before it was opened")
        return self._key

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Keeps other processes from writing; tells whether the chain still ends where it was left."""
        if self._lock is None:
            raise RuntimeError("the audit is used before it was opened")
        with self._lock.held() as alone:
            yield alone and self._open is not None and self._open.is_as_left()

    def _append(self, entries: Sequence[Entry], *, alone: bool, sealing: bool = False) -> None:
        entries = [*([] if alone else self._resume()), *entries]
        lines: list[bytes] = []
        link = self._link
        for entry in entries:
            line, link = seal(replace(entry, what=self._redactor.all(entry.what)), link)
            lines += (line, b"\n")
        unsealed = self._unsealed + len(entries)
        sealing = sealing or unsealed >= self._settings.checkpoint_records
        if sealing:
            line, link = seal(checkpoint(link, self._signing), link)
            lines += (line, b"\n")
        if not lines:
            return
        data = b"".join(lines)
        self._open_for(len(data)).append(data)
        self._link, self._unsynced = link, True
        self._unsealed = 0 if sealing else unsealed

    def _sync(self) -> None:
        if self._open is not None:
            self._open.sync()
            # Only now, or a crash of the machine would look like records cut off.
            write_head(self.folder, self._link, self._signing)
        self._unsynced = False

    def _leave(self) -> None:
        if self._open is not None:
            if self._unsynced:
                self._open.sync()
            self._open.close()
            self._open = None

    def _resume(self) -> list[Entry]:
        """Finds the chain's end, where another process may have gone on; returns what to tell of it."""
        self._leave()
        self._link = Link()
        found: list[Entry] = []
        for segment in reversed(segments_of(self.folder)):
            tail = _mended(segment, found, self._now())
            if self._open is None and tail.whole:
                self._open = OpenSegment(segment)
            last = read_line(tail.line)
            if last is not None:
                self._link = last.link
                break
        head = read_head(self.folder, self._signing.public)
        if head is not None and head.seq > self._link.seq:
            # Records are gone: going on behind them shows the gap for ever.
            self._link = head
        return found

    def _open_for(self, size: int) -> OpenSegment:
        day = datetime.fromtimestamp(self._now(), UTC).date().isoformat()
        current = self._open
        if (
            current is not None
            and current.segment.day >= day
            and current.size + size <= self._settings.segment_mib * MIB
        ):
            return current
        if current is not None:
            current.sync()
            current.close()
        self._open = OpenSegment(Segment.beginning(self.folder, self._link.seq + 1, day))
        return self._open

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
