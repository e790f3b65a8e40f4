"""The chain: how a record is sealed into a line, and how a line is read back. Pure.

A line is one JSON object whose first members are `seq`, `prev` and `kind`, and whose last one is `hash`:
SHA-256, in hex, over all bytes of the line before `,"hash"`. As `prev` is the hash of the line before,
the hash of one line stands for all that came before it.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from lm_sandbox.audit.entry import Entry

GENESIS = "0" * 64
MARK = b',"hash":"'
# The mark, 64 digits of hash, and the end.
TAIL_BYTES = len(MARK) + 64 + len(b'"}')
HEAD = re.compile(rb'\{"seq":(\d{1,18}),"prev":"([0-9a-f]{64})","kind":"([a-z_.]{1,64})"')


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: the number and the hash of its last record."""

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Sealed:
    """A line as it stands in a file.

    Attributes:
        seq: Its number, from 1.
        prev: The hash of the record before it.
        kind: Its kind.
        hash: The hash that it claims.
        genuine: Whether that is the hash of its bytes.
    """

    seq: int
    prev: str
    kind: str
    hash: str
    genuine: bool

    @property
    def link(self) -> Link:
        """Its place."""
        return Link(self.seq, self.hash)


def seal(entry: Entry, before: Link) -> tuple[bytes, Link]:
    """Writes an entry as the next line, without the line's end, and returns its place too."""
    record: dict[str, object] = {
        "seq": before.seq + 1,
        "prev": before.hash,
        "kind": entry.kind,
        "at": datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="microseconds"),
    }
    named = {"who": entry.who, "name": entry.name, "from": entry.address, "request": entry.request_id}
    record |= {name: value for name, value in named.items() if value}
    record["outcome"] = entry.outcome
    if entry.duration_ms is not None:
        record["ms"] = round(entry.duration_ms, 3)
    if entry.what:
        record["what"] = dict(entry.what)
    body = json.dumps(record, separators=(",", ":")).encode()[:-1]
    digest = sha256(body).hexdigest()
    return body + MARK + digest.encode() + b'"}', Link(before.seq + 1, digest)


def read_line(line: bytes) -> Sealed | None:
    """Reads a line, without its end, back; None where it is no record at all."""
    found = HEAD.match(line)
    body, tail = line[:-TAIL_BYTES], line[-TAIL_BYTES:]
    if found is None or not tail.startswith(MARK) or not tail.endswith(b'"}'):
        return None
    claimed = tail[len(MARK) : -2].decode("ascii", "replace")
    return Sealed(
        seq=int(found[1]),
        prev=found[2].decode(),
        kind=found[3].decode(),
        hash=claimed,
        genuine=sha256(body).hexdigest() == claimed,
    )


def content_of(line: bytes) -> dict[str, Any]:
    """Parses a line; empty where it is no JSON object."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
