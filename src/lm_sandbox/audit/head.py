"""Where the chain ends: a signed note beside it, so that its last records cannot be cut off unseen."""

import json
import os
from pathlib import Path

from lm_sandbox.audit.chain import Link
from lm_sandbox.audit.signing import PublicKey, SigningKey

FILE = "head.json"
# A sector of any disk.
NOTE_BYTES = 512


def write_head(folder: Path, link: Link, key: SigningKey) -> None:
    """Writes the note over the last one; so few bytes at once are there whole or not at all."""
    note = {"seq": link.seq, "hash": link.hash, "signature": key.sign(_message(link))}
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, json.dumps(note).ljust(NOTE_BYTES).encode(), 0)
    finally:
        os.close(descriptor)


def read_head(folder: Path, key: PublicKey) -> Link | None:
    """Reads the note; None where there is none that the key has signed."""
    try:
        note = json.loads((folder / FILE).read_bytes())
        link = Link(int(note["seq"]), str(note["hash"]))
        genuine = key.signed(_message(link), str(note["signature"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return link if genuine else None


def _message(link: Link) -> str:
    return f"head {link.seq} {link.hash}"
