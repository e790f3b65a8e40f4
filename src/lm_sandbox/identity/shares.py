"""What each principal takes now, and that it is no more than its share."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager

from lm_sandbox.errors import QuotaReached
from lm_sandbox.identity.principals import Principal
from lm_sandbox.identity.queueing import FairQueue
from lm_sandbox.identity.rates import Rate, Rates

MINUTE_S = 60
DAY_S = 86_400
MIB = 1024 * 1024
# What starts takes milliseconds: more at once would make none of them faster.
STARTS_AT_ONCE = 32
MOST_STARTS_WAITING = 4096

Store = Callable[[str], Awaitable[int]]


class Shares:
    """Counts what principals have at work in this server, and what they have taken.

    Attributes:
        stores: Each tells how many bytes of disk an owner has in it.
        starts: Where commands wait to be started, in turn by who starts them.

    Args:
        rates: Count what is taken in a time.
    """

    def __init__(self, rates: Rates | None = None) -> None:
        self.stores: list[Store] = []
        self.starts = FairQueue(STARTS_AT_ONCE, MOST_STARTS_WAITING, "a start")
        self._rates = rates or Rates()
        self._held: Counter[tuple[str, str]] = Counter()

    def command(self, principal: Principal) -> AbstractContextManager[None]:
        """One command at work, while its context lasts; raises QuotaReached on entry."""
        return self._hold("commands", principal, principal.quotas.commands)

    def run(self, principal: Principal) -> AbstractContextManager[None]:
        """One answer of a model being made, while its context lasts; raises QuotaReached on entry."""
        return self._hold("runs", principal, principal.quotas.runs)

    def starting(self, principal: Principal) -> AbstractAsyncContextManager[None]:
        """A turn to start a command, while its context lasts: who starts many does not hold up others.

        Raises on entry:
            NoCapacity: too many wait.
        """
        return self.starts.turn(principal.id)

    async def check_sandboxes(self, principal: Principal, taken: int) -> None:
        """Lets another sandbox be made.

        Raises:
            QuotaReached: the principal has as many as it may.
            RateLimited: they have been alive for as long as they may today.
        """
        _require("sandboxes", taken, principal.quotas.sandboxes)
        await self.check_seconds(principal)

    async def check_seconds(self, principal: Principal) -> None:
        """Lets sandboxes be used.

        Raises:
            RateLimited: the principal's sandboxes have been alive for as long as they may today.
        """
        if rate := _seconds(principal.quotas.sandbox_seconds_per_day):
            (await self._rates.look(rate, principal.id)).require()

    async def charge_seconds(self, owner: str, seconds: int) -> None:
        """Notes for how long a sandbox of an owner was alive."""
        if seconds:
            await self._rates.take(Rate("sandbox seconds", 0, DAY_S, ""), owner, seconds)

    async def check_tokens(self, principal: Principal) -> None:
        """Lets a model be asked.

        Raises:
            RateLimited: the principal has taken as many tokens as it may in a minute.
        """
        if rate := _tokens(principal.quotas.tokens_per_minute):
            (await self._rates.look(rate, principal.id)).require()

    async def charge_tokens(self, principal: Principal, tokens: int) -> None:
        """Notes how many tokens an answer took."""
        if rate := _tokens(principal.quotas.tokens_per_minute):
            await self._rates.take(rate, principal.id, tokens)

    async def check_room(self, principal: Principal, wanted_bytes: int) -> None:
        """Lets something be stored.

        Raises:
            QuotaReached: with it the principal would have more on disk than it may.
        """
        most = principal.quotas.stored_mib
        if not most:
            return
        taken = sum([await store(principal.id) for store in self.stores])
        if taken + wanted_bytes > most * MIB:
            raise QuotaReached(
                f"{most} MiB of files, snapshots and volumes are all that you may keep; delete some."
            )

    @contextmanager
    def _hold(self, name: str, principal: Principal, most: int | None) -> Iterator[None]:
        key = (name, principal.id)
        _require(name, self._held[key], most)
        self._held[key] += 1
        try:
            yield
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]


def _require(name: str, taken: int, most: int | None) -> None:
    if most and taken >= most:
        raise QuotaReached(f"{most} {name} at once are all that you may have; end one or wait.")


def _seconds(most: int | None) -> Rate | None:
    return Rate("sandbox seconds", most, DAY_S, "Your sandboxes") if most else None


def _tokens(most: int | None) -> Rate | None:
    return Rate("tokens", most, MINUTE_S, "You") if most else None
