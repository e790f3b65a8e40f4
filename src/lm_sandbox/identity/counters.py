"""Where counts are kept that end by themselves: in memory, or in a Redis that many servers share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import time
from typing import Any, Protocol

from lm_sandbox.errors import Invalid

ANSWER_S = 0.5
MOST_COUNTS = 100_000


class Counters(Protocol):
    """The part that is used of a storage of the `limits` library."""

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Adds to a count, which ends `expiry` seconds after its first; returns what it is now."""
        ...

    async def get(self, key: str) -> int:
        """Returns a count; 0 where there is none."""
        ...

    async def get_expiry(self, key: str) -> float:
        """Tells when a count ends, in seconds since 1970."""
        ...


class MemoryCounters:
    """Counts in memory. The storage of `limits` looks at every count at every call; this one does not.

    Args:
        now: Seconds since 1970.
    """

    def __init__(self, now: Callable[[], float] = time) -> None:
        self._now = now
        self._counts: dict[str, tuple[int, float]] = {}

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Adds to a count, which ends `expiry` seconds after its first; returns what it is now."""
        now = self._now()
        count, ends = self._counts.get(key, (0, 0.0))
        if ends <= now:
            self._make_room(now)
            count, ends = 0, now + expiry
        self._counts[key] = count + amount, ends
        return count + amount

    async def get(self, key: str) -> int:
        """Returns a count; 0 where there is none."""
        count, ends = self._counts.get(key, (0, 0.0))
        return count if ends > self._now() else 0

    async def get_expiry(self, key: str) -> float:
        """Tells when a count ends, in seconds since 1970."""
        return max(self._counts.get(key, (0, 0.0))[1], self._now())

    def _make_room(self, now: float) -> None:
        if len(self._counts) < MOST_COUNTS:
            return
        self._counts = {key: held for key, held in self._counts.items() if held[1] > now}
        for key in list(self._counts)[: len(self._counts) - MOST_COUNTS // 2]:
            # Somebody has very many addresses; the oldest counts are what can be done without.
            del self._counts[key]


@asynccontextmanager
async def shared_counters(url: str) -> AsyncIterator[Counters]:
    """Yields counters in a Redis, such as `redis://host:6379/0`.

    Raises:
        Invalid: the extra `redis` is not installed, or the address is none.
    """
    try:
        # Imported here because most servers count in memory.
        from limits.storage import storage_from_string  # noqa: PLC0415
        from redis.asyncio import ConnectionPool  # noqa: PLC0415

        pool = ConnectionPool.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)
    except ModuleNotFoundError as error:
        raise Invalid("Shared limits need the extra 'redis' of lm-sandbox.", field="limits.store") from error
    except ValueError as error:
        raise Invalid("It is an address such as redis://host:6379/0.", field="limits.store") from error
    options: dict[str, Any] = {"implementation": "redispy", "connection_pool": pool}
    counters: Any = storage_from_string(f"async+{url}", **options)
    try:
        yield counters
    finally:
        await pool.disconnect()
