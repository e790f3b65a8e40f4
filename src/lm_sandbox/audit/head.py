"""Where the chain ends: a signed note beside it, so that its last records cannot be cut off unseen."""

import json
import os
from pathlib import Path

from lm_sandbox.audit.chain import Link
from lm_sandbox.audit.signing import PublicKey, SigningKey

FILE = "head.json"


def write_head(folder: Path, link: Link, key: SigningKey) -> None:
    """Writes the note in place of the last one."""
    note = {"seq": link.seq, "hash": link.hash, "signature": key.sign(_message(link))}
    new = folder / f"{FILE}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(note, file)
    new.replace(folder / FILE)


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
