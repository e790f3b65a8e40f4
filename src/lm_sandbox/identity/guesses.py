"""How many passwords may be tried for one account: guessing is slow, and locks nobody out for ever.

Whoever guesses from many addresses uses up what may be tried together from all that the account was not used
from. Each that it was used from has as much for itself, which no guess from elsewhere takes away.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from lm_sandbox.config.access import LimitSettings
from lm_sandbox.identity.rates import Rate, Rates
from lm_sandbox.identity.user_records import User, UserRecords

MINUTE_S = 60
REMEMBERED = timedelta(days=90)


class Guesses:
    """Counts what is tried, also what is right, and also for accounts that are not there.

    Args:
        records: Tell from where an account was used.
        rates: Count.
        settings: How much may be tried.
        now: The time of day.
    """

    def __init__(
        self,
        records: UserRecords,
        rates: Rates,
        settings: LimitSettings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._records = records
        self._rates = rates
        self._rate = Rate("passwords", settings.account_logins_per_minute, MINUTE_S, "This account")
        self._now = now

    async def take(self, login: str, user: User | None, place: str) -> None:
        """Counts a password before it is looked at, so that no crowd of them slips by at once.

        Raises:
            RateLimited: too many were tried.
        """
        if not self._rate.amount:
            return
        since = self._now() - REMEMBERED
        # Asked for nobody too: it takes the same time then.
        known = await self._records.knows_place(user.id if user else "", place, since)
        account = hashlib.sha256(login.encode(errors="surrogatepass")).hexdigest()
        who = f"{account}/{place}" if known else account
        (await self._rates.take(self._rate, who)).require()
