"""What happened to a sandbox that its owner may want to know: a bounded list."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

KEPT = 1000


class EventKind(StrEnum):
    """What sort of thing happened."""

    EGRESS_DENIED = "egress_denied"
    EGRESS_CHANGED = "egress_changed"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        number: Goes up from 1.
        at: When it happened last.
        kind: What sort.
        subject: What it is about, such as `evil.example:443`.
        detail: Why, for people.
        count: How often it happened in a row.
    """

    number: int
    at: datetime
    kind: EventKind
    subject: str
    detail: str
    count: int = 1


def _untold(event: Event) -> None:
    del event


class Events:
    """The last things that happened; the same thing again only counts.

    Args:
        now: The time of day.
        tell: Hears of each, once however often it happens in a row.
    """

    def __init__(
        self,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        tell: Callable[[Event], None] = _untold,
    ) -> None:
        self._now = now
        self._tell = tell
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._number = 0

    def add(self, kind: EventKind, subject: str, detail: str) -> None:
        """Notes something."""
        last = self._events[-1] if self._events else None
        if last is not None and (last.kind, last.subject, last.detail) == (kind, subject, detail):
            self._events[-1] = replace(last, at=self._now(), count=last.count + 1)
            return
        self._number += 1
        event = Event(self._number, self._now(), kind, subject, detail)
        self._events.append(event)
        self._tell(event)

    def after(self, number: int, limit: int) -> list[Event]:
        """Lists what came after a number, oldest first."""
        return [event for event in self._events if event.number > number][:limit]
