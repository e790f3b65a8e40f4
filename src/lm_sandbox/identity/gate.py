"""Where every caller comes in: how often an address may come, and whose key it shows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from lm_sandbox.config.access import LimitSettings
from lm_sandbox.errors import Unauthenticated
from lm_sandbox.identity.issuers import Issuers
from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.principals import Principal
from lm_sandbox.identity.rates import Allowance, Rate, Rates
from lm_sandbox.identity.tokens import Tokens, is_token

MINUTE_S = 60
T = TypeVar("T")


@dataclass(slots=True)
class Visit:
    """One request on its way in.

    Attributes:
        address: Where it comes from.
        caller: Who it turned out to be.
        allowance: What is left of the limit that was counted last.
    """

    address: str
    caller: Principal | None = None
    allowance: Allowance | None = None

    def hold(self, allowance: Allowance) -> None:
        """Notes what is left, and goes no further where nothing is.

        Raises:
            RateLimited: nothing is.
        """
        self.allowance = allowance
        allowance.require()


class Gate:
    """Counts requests and failures by address, then requests by key.

    Args:
        keys: Tell whose a key is.
        tokens: Tell for whom a token stands.
        rates: Count.
        settings: How much an address may take.
        issuers: Tell who comes with a token from elsewhere.
    """

    def __init__(
        self,
        keys: KeyStore,
        tokens: Tokens,
        rates: Rates,
        settings: LimitSettings,
        issuers: Issuers | None = None,
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._rates = rates
        self._issuers = issuers
        self._requests = Rate("requests", settings.address_requests_per_minute, MINUTE_S, "This address")
        self._failures = Rate("wrong keys", settings.address_failures_per_minute, MINUTE_S, "This address")

    async def arrive(self, visit: Visit) -> None:
        """Counts a request before anything is known of it but where it comes from.

        Raises:
            RateLimited: too many come from there.
        """
        if self._requests.amount:
            visit.hold(await self._rates.take(self._requests, visit.address))

    async def enter(self, visit: Visit, token: str) -> Principal:
        """Tells whose key this is, and counts a request of its.

        A right key is not even looked at while too many wrong ones come from where it does: else
        they could be tried out without an end.

        Raises:
            Unauthenticated: it is no one's, or works no more.
            RateLimited: too many wrong keys came from there, or too many requests with this one.
            IssuerUnavailable: it is of an issuer that does not answer.
        """
        return await self._count(visit, await self._recognise(visit, token))

    async def enter_with_key(self, visit: Visit, key: str) -> Principal:
        """Does as `enter`, but takes no token and no key that was lent: they give no other tokens."""
        if is_token(key) or self._keys.lent.find(key) is not None:
            raise Unauthenticated("Tokens are given for an API key; this is none.")
        return await self.enter(visit, key)

    async def _count(self, visit: Visit, caller: Principal) -> Principal:
        visit.caller = caller
        amount = caller.quotas.requests_per_minute
        if amount:
            rate = Rate("requests", amount, MINUTE_S, "You")
            visit.hold(await self._rates.take(rate, caller.id))
        return caller

    async def attempt(self, visit: Visit, work: Callable[[], Awaitable[T]]) -> T:
        """Does what may turn out to be a guess, such as a password, and counts it where it does.

        Raises:
            Unauthenticated: as the work does.
            RateLimited: too many wrong keys and passwords came from there.
        """
        if not self._failures.amount:
            return await work()
        (await self._rates.look(self._failures, visit.address)).require()
        try:
            return await work()
        except Unauthenticated:
            (await self._rates.take(self._failures, visit.address)).require()
            raise

    async def _recognise(self, visit: Visit, token: str) -> Principal:
        return await self.attempt(visit, lambda: self._whose(token))

    async def _whose(self, token: str) -> Principal:
        if not is_token(token):
            return await self._keys.authenticate(token)
        if self._issuers is not None and self._issuers.knows(token):
            return await self._issuers.authenticate(token)
        return await self._tokens.authenticate(token)


class InnerGate(Gate):
    """The gate for sandboxes, which all have one address.

    It opens to keys that were lent to them only, at which nobody can guess.
    """

    async def arrive(self, visit: Visit) -> None:
        """Counts nothing; the key will be counted."""

    async def _recognise(self, visit: Visit, token: str) -> Principal:
        del visit
        return await self._keys.authenticate_lent(token)
