"""The signed records of the chain: checkpoints, and what retention has dropped."""

from collections.abc import Mapping
from time import time

from pydantic import JsonValue

from lm_sandbox.audit.chain import GENESIS, Link
from lm_sandbox.audit.entry import Entry
from lm_sandbox.audit.signing import PublicKey, SigningKey

CHECKPOINT = "audit.checkpoint"
DROPPED = "audit.dropped"
REPAIRED = "audit.repaired"
LOST = "audit.lost"


def checkpoint(before: Link, key: SigningKey) -> Entry:
    """Makes the record that signs all that came before it."""
    return _signed(CHECKPOINT, before, key, Link())


def dropped(before: Link, through: Link, key: SigningKey) -> Entry:
    """Makes the record that says up to which record the chain may be missing."""
    return _signed(DROPPED, before, key, through)


def is_genuine(kind: str, before: Link, what: Mapping[str, object], key: PublicKey) -> bool:
    """Whether the key has signed this record behind that one."""
    message = _message(kind, before, through_of(what))
    return what.get("key") == key.fingerprint and key.signed(message, str(what.get("signature")))


def through_of(what: Mapping[str, object]) -> Link:
    """Reads up to where the chain was dropped."""
    seq, digest = what.get("through"), what.get("through_hash")
    if isinstance(seq, int) and isinstance(digest, str):
        return Link(seq, digest)
    return Link()


def _signed(kind: str, before: Link, key: SigningKey, through: Link) -> Entry:
    signature = key.sign(_message(kind, before, through))
    what: dict[str, JsonValue] = {"key": key.public.fingerprint, "signature": signature}
    if through.hash != GENESIS:
        what |= {"through": through.seq, "through_hash": through.hash}
    return Entry(kind, time(), what=what)


def _message(kind: str, before: Link, through: Link) -> str:
    return f"{kind} {before.seq} {before.hash} {through.seq} {through.hash}"
