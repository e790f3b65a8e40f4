"""Goes over the chain and tells where it was tampered with."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lm_sandbox.audit.chain import Link, Sealed, content_of, read_line
from lm_sandbox.audit.head import FILE as HEAD_FILE
from lm_sandbox.audit.head import read_head
from lm_sandbox.audit.seals import CHECKPOINT, DROPPED, is_genuine, through_of
from lm_sandbox.audit.segments import segments_of
from lm_sandbox.audit.signing import PUBLIC, PublicKey

MOST_FINDINGS = 1000


class FindingKind(StrEnum):
    """What is wrong."""

    ALTERED = "altered"
    MISSING = "missing"
    MOVED = "moved"
    UNCHAINED = "unchained"
    UNREADABLE = "unreadable"
    FORGED = "forged"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where.

    Attributes:
        kind: What sort.
        seq: The number of the record that it is about.
        file: The segment in which it shows; empty where it is none.
        line: The line there, from 1.
        detail: For people.
    """

    kind: FindingKind
    seq: int
    file: str
    line: int
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        records: How many were read.
        first: The number of the first.
        last: The place of the last.
        checkpoints: How many genuine ones there are.
        signed: The number of the last record that a checkpoint or the note of the end stands for.
        findings: What is wrong, at most `MOST_FINDINGS`; nothing where the chain is whole.
        note: What is to be known besides, else empty.
    """

    records: int
    first: int
    last: Link
    checkpoints: int
    signed: int
    findings: tuple[Finding, ...]
    note: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing was tampered with."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    line: int


def verify(folder: Path, key: PublicKey | None = None, expected: Link | None = None) -> Report:
    """Reads every record and checks every hash and signature.

    Args:
        folder: The audit's, or a copy of it.
        key: What must have signed; the folder's own where it is None.
        expected: A record that was noted elsewhere and must be in the chain.

    Raises:
        Invalid: there is no public key.
    """
    key = key or PublicKey.read(folder / PUBLIC)
    # Read before the records: those that are written meanwhile only lie behind it.
    head = read_head(folder, key)
    walk = _Walk(key, {link.seq: link.hash for link in (head, expected) if link is not None})
    for place, line, ended in _lines(folder):
        walk.take(place, line, ended=ended)
    return walk.report(head, head_is_there=(folder / HEAD_FILE).exists())


class _Walk:
    def __init__(self, key: PublicKey, anchors: dict[int, str]) -> None:
        self._key = key
        self._anchors = anchors
        self._findings: list[Finding] = []
        self._gaps: list[tuple[int, int, _Place]] = []
        self._last = Link()
        self._first: Sealed | None = None
        self._before_first = Link()
        self._dropped: list[Link] = []
        self._records = self._checkpoints = self._signed = 0
        self._note = ""

    def take(self, place: _Place, line: bytes, *, ended: bool) -> None:
        sealed = read_line(line)
        if not ended:
            self._note = "The last record is not finished: it is being written, or the server was killed."
            return
        if sealed is None:
            seq = self._last.seq + 1
            self._find(FindingKind.UNREADABLE, seq, place, "This line is no record.")
            return
        self._records += 1
        if self._first is None:
            self._first, self._last = sealed, Link(sealed.seq - 1, sealed.prev)
            self._before_first = self._last
        if self._in_order(place, sealed):
            self._check_hashes(place, sealed)
            self._check_seal(place, sealed, line)
            self._last = sealed.link

    def _in_order(self, place: _Place, sealed: Sealed) -> bool:
        expected = self._last.seq + 1
        if sealed.seq > expected:
            self._gaps.append((expected, sealed.seq - 1, place))
        elif sealed.seq < expected:
            where = f"Record {sealed.seq} stands behind record {self._last.seq}."
            self._find(FindingKind.MOVED, sealed.seq, place, where)
            self._fill_gap(sealed.seq)
            return False
        return True

    def _check_hashes(self, place: _Place, sealed: Sealed) -> None:
        if not sealed.genuine:
            self._find(FindingKind.ALTERED, sealed.seq, place, f"Record {sealed.seq} was altered.")
        elif sealed.seq == self._last.seq + 1 and sealed.prev != self._last.hash:
            before = f"Record {self._last.seq} is not the one on which record {sealed.seq} was built."
            self._find(FindingKind.UNCHAINED, self._last.seq, place, before)
        noted = self._anchors.pop(sealed.seq, None)
        if noted is not None and noted != sealed.hash:
            self._find(FindingKind.FORGED, sealed.seq, place, self._rewritten(sealed.seq))
        elif noted is not None:
            self._signed = sealed.seq

    def _check_seal(self, place: _Place, sealed: Sealed, line: bytes) -> None:
        if sealed.kind not in {CHECKPOINT, DROPPED} or not sealed.genuine:
            return
        what = content_of(line).get("what") or {}
        if not is_genuine(sealed.kind, Link(sealed.seq - 1, sealed.prev), what, self._key):
            self._find(FindingKind.FORGED, sealed.seq, place, self._rewritten(sealed.seq))
            return
        if sealed.kind == DROPPED:
            self._dropped.append(through_of(what))
        self._checkpoints += 1
        self._signed = sealed.seq

    def _rewritten(self, seq: int) -> str:
        return f"What stands from record {self._signed + 1} to {seq} is not what the server's key has signed."

    def _fill_gap(self, seq: int) -> None:
        for number, (first, last, place) in enumerate(self._gaps):
            if first <= seq <= last:
                parts = ((first, seq - 1, place), (seq + 1, last, place))
                self._gaps[number : number + 1] = [part for part in parts if part[0] <= part[1]]
                return

    def report(self, head: Link | None, *, head_is_there: bool) -> Report:
        for first, last, place in self._gaps:
            self._missing(first, last, place)
        self._check_beginning()
        self._check_end(head, head_is_there=head_is_there)
        findings = sorted(self._findings, key=lambda finding: finding.seq)
        return Report(
            records=self._records,
            first=self._first.seq if self._first else 0,
            last=self._last,
            checkpoints=self._checkpoints,
            signed=self._signed,
            findings=tuple(findings),
            note=self._note,
        )

    def _check_beginning(self) -> None:
        start = self._before_first
        through = max(self._dropped, key=lambda link: link.seq, default=Link())
        # Where dropping was broken off, some that might go are still there.
        if start.seq >= through.seq and start != through:
            self._missing(through.seq + 1, max(start.seq, 1), _Place("", 0))

    def _check_end(self, head: Link | None, *, head_is_there: bool) -> None:
        place = _Place("", 0)
        if head is None and self._records:
            detail = "was not signed by this key" if head_is_there else "is gone"
            self._find(
                FindingKind.FORGED,
                self._last.seq,
                place,
                f"The note of where the chain ends {detail}; what stands behind record {self._signed} may "
                "be changed or cut off.",
            )
        for seq in self._anchors:
            if seq > self._last.seq:
                self._missing(self._last.seq + 1, seq, place)

    def _missing(self, first: int, last: int, place: _Place) -> None:
        which = f"Record {first} is" if first == last else f"Records {first} to {last} are"
        self._find(FindingKind.MISSING, first, place, f"{which} missing.")

    def _find(self, kind: FindingKind, seq: int, place: _Place, detail: str) -> None:
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(Finding(kind, seq, place.file, place.line, detail))


def _lines(folder: Path) -> Iterator[tuple[_Place, bytes, bool]]:
    segments = segments_of(folder)
    for segment in segments:
        with segment.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                ended = line.endswith(b"\n") or segment is not segments[-1]
                yield _Place(segment.path.name, number), line.rstrip(b"\n"), ended
