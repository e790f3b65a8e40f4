"""Times as databases give them back: SQLite forgets the zone, PostgreSQL tells its own."""

from datetime import UTC, datetime
from typing import overload


@overload
def utc(time: datetime) -> datetime: ...
@overload
def utc(time: None) -> None: ...
def utc(time: datetime | None) -> datetime | None:
    """Returns a time that was stored, in UTC."""
    if time is None:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
