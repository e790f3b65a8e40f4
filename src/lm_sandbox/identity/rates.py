"""How much may be taken in a time, and how much of it is left."""

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import time

from lm_sandbox.errors import RateLimited
from lm_sandbox.identity.counters import Counters, MemoryCounters

LOG = logging.getLogger(__name__)
RETRY_SHARED_S = 5.0


@dataclass(frozen=True, slots=True)
class Rate:
    """So much in so many seconds; an amount of 0 is no limit.

    Attributes:
        name: What is counted, such as `requests`.
        amount: The most of it.
        seconds: In how long a time, from the first on.
        whose: Whom it is counted for, as messages call it.
    """

    name: str
    amount: int
    seconds: int
    whose: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a rate.

    Attributes:
        rate: Of which.
        left: How much.
        reset_s: When all of it is there again, in seconds from now.
    """

    rate: Rate
    left: int
    reset_s: int

    def require(self) -> None:
        """Lets the call go on while there is something left.

        Raises:
            RateLimited: there is not.
        """
        if self.left < 0:
            rate = self.rate
            raise RateLimited(
                f"{rate.whose} may have {rate.amount} {rate.name} in {rate.seconds} seconds and no more; "
                f"try again in {self.reset_s} seconds.",
                retry_after_s=self.reset_s,
            )


class Rates:
    """Counts what is taken.

    Args:
        shared: Counts for several servers; while they cannot be reached, each counts for itself.
        now: Seconds since 1970.
    """

    def __init__(self, shared: Counters | None = None, now: Callable[[], float] = time) -> None:
        self._own = MemoryCounters(now)
        self._shared = shared
        self._shared_from = 0.0
        self._now = now

    async def take(self, rate: Rate, who: str, amount: int = 1) -> Allowance:
        """Counts what is taken now, also where it is too much; tells what is left, below 0 if it is."""
        return await self._with(self._take, rate, f"lm-sandbox/{rate.name}/{who}", amount)

    async def look(self, rate: Rate, who: str) -> Allowance:
        """Tells what would be left if one more were taken, and takes nothing."""
        return await self._with(self._look, rate, f"lm-sandbox/{rate.name}/{who}", 1)

    async def _with(
        self,
        count: Callable[[Counters, Rate, str, int], Awaitable[Allowance]],
        rate: Rate,
        key: str,
        amount: int,
    ) -> Allowance:
        if self._shared is not None and self._now() >= self._shared_from:
            try:
                return await count(self._shared, rate, key, amount)
            except Exception:
                # Whatever a store of another maker raises: limits must not take the server down with it.
                LOG.exception("the shared counts cannot be reached; this server counts for itself")
                self._shared_from = self._now() + RETRY_SHARED_S
        return await count(self._own, rate, key, amount)

    async def _take(self, counters: Counters, rate: Rate, key: str, amount: int) -> Allowance:
        taken = await counters.incr(key, rate.seconds, amount)
        return self._allowance(rate, taken, await counters.get_expiry(key))

    async def _look(self, counters: Counters, rate: Rate, key: str, amount: int) -> Allowance:
        taken = await counters.get(key) + amount
        return self._allowance(rate, taken, await counters.get_expiry(key))

    def _allowance(self, rate: Rate, taken: int, ends: float) -> Allowance:
        return Allowance(rate, rate.amount - taken, max(1, math.ceil(ends - self._now())))
