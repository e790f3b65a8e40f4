"""A chain on disk, and what somebody who wants to hide something might do to it."""

from collections.abc import Callable
from pathlib import Path

from lm_sandbox.audit.entry import Entry
from lm_sandbox.audit.redaction import Redactor
from lm_sandbox.audit.segments import segments_of
from lm_sandbox.audit.store import AuditStore
from lm_sandbox.config.insight import AuditSettings

DAY_S = 86_400.0
NOON = 1_780_000_000.0


class Clock:
    """A time of day that tests set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def new_store(
    folder: Path, settings: AuditSettings | None = None, now: Callable[[], float] = lambda: NOON
) -> AuditStore:
    store = AuditStore(folder, settings or AuditSettings(), Redactor(), now)
    store.open()
    return store


def write(store: AuditStore, written: list[Entry]) -> None:
    """Has them on the disk."""
    store.append(written)
    store.sync()


def entries(count: int, kind: str = "command.started") -> list[Entry]:
    return [Entry(kind, NOON + n, "key_1", "me", what={"text": f"echo {n}"}) for n in range(count)]


def lines_of(folder: Path) -> list[bytes]:
    """All lines of the only segment."""
    [segment] = segments_of(folder)
    return segment.path.read_bytes().splitlines(keepends=True)


def put_lines(folder: Path, lines: list[bytes]) -> None:
    [segment] = segments_of(folder)
    segment.path.write_bytes(b"".join(lines))
