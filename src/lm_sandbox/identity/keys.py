"""API keys: made once, shown once, kept only as salted hashes."""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Protocol

from sqlalchemy.exc import OperationalError

from lm_sandbox.errors import Invalid, KeyExpired, KeyRevoked, Unauthenticated
from lm_sandbox.identity.key_records import SHOWN_CHARACTERS, ApiKey, KeyRecords, KeyState
from lm_sandbox.identity.lent_keys import LentKeys
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.quotas import AS_THE_SERVER, Quotas
from lm_sandbox.storage.database import Database

PREFIX = "key_"
SHORTEST_KEY = 16
CACHED_KEYS = 1024
# So long may a key that another process has revoked still work here.
CACHE_S = 2.0
USE_NOTED_S = 60


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is asked for.

    Attributes:
        name: For people.
        scopes: What it may be used for.
        quotas: How much it may take.
        expires_at: When it stops working by itself.
    """

    name: str
    scopes: frozenset[Scope]
    quotas: Quotas = AS_THE_SERVER
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What is to be changed of a key; None leaves it."""

    name: str | None = None
    scopes: frozenset[Scope] | None = None
    quotas: Quotas | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new secret; `token` is the only time that its value is seen."""

    key: ApiKey
    token: str

    @property
    def id(self) -> str:
        """Names the key."""
        return self.key.id


class Owners(Protocol):
    """Owners that are no keys."""

    async def owner(self, owner: str) -> Principal | None:
        """Tells what an owner may do; None where there is none. Raises Unauthenticated for one shut out."""
        ...


class KeyStore:
    """Issues keys and tells whose a key is.

    A key that was right is remembered for `CACHE_S` seconds, by its hash, so that most requests
    cost no database read.

    Attributes:
        lent: Keys that are in no database.

    Args:
        database: Holds the keys.
        quotas: How much a key may take that says nothing of its own.
        others: Owners that are no keys, such as users.
        clock: Seconds that only go up.
        now: The time of day.
    """

    def __init__(
        self,
        database: Database,
        *,
        quotas: Quotas = AS_THE_SERVER,
        others: Owners | None = None,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.lent = LentKeys()
        self._records = KeyRecords(database)
        self._quotas = quotas
        self._others = others
        self._clock = clock
        self._now = now
        self._cache: dict[bytes, tuple[Principal, float]] = {}
        self._owners: dict[str, tuple[Principal | None, float]] = {}

    async def count(self) -> int:
        """Tells how many keys there are."""
        return await self._records.count()

    async def issue(self, name: str, scopes: frozenset[Scope], *, token: str | None = None) -> IssuedKey:
        """Makes a key that works until it is revoked; raises as `make` does."""
        return await self.make(NewKey(name, scopes), token=token)

    async def make(self, new: NewKey, *, token: str | None = None) -> IssuedKey:
        """Makes a key, or takes the value given as `token`.

        Raises:
            Invalid: the given value is too short to be safe, or its time is over already.
        """
        if token is None:
            token = _new_token()
        elif len(token) < SHORTEST_KEY:
            raise Invalid(
                f"An API key needs at least {SHORTEST_KEY} characters; this one has {len(token)}.",
                field="api_key",
            )
        now = self._now()
        self._check_expiry(new.expires_at, now)
        key = ApiKey(
            id=f"{PREFIX}{secrets.token_hex(8)}",
            name=new.name,
            prefix=token[:SHOWN_CHARACTERS],
            scopes=new.scopes,
            quotas=new.quotas,
            created_at=now,
            expires_at=new.expires_at,
        )
        await self._records.add(key, token)
        return IssuedKey(key, token)

    async def find(self, key_id: str) -> ApiKey:
        """Finds a key by its id.

        Raises:
            KeyNotFound: there is none.
        """
        return await self._records.find(key_id)

    async def page(
        self, *, after: str | None = None, limit: int, name: str | None = None
    ) -> tuple[list[ApiKey], bool]:
        """Lists all keys, or those of a name, oldest first, and tells whether there are more."""
        return await self._records.page(after, limit, name)

    async def change(self, key_id: str, change: KeyChange) -> ApiKey:
        """Changes what a key may do; it holds from the next request on.

        Raises:
            KeyNotFound: there is none.
            Conflict: it has been revoked.
            Invalid: the new time is over already.
        """
        self._check_expiry(change.expires_at, self._now())
        key = await self._records.find(key_id)
        changed = await self._records.change(
            replace(
                key,
                name=change.name or key.name,
                scopes=key.scopes if change.scopes is None else change.scopes,
                quotas=key.quotas if change.quotas is None else change.quotas.over(key.quotas),
                expires_at=change.expires_at or key.expires_at,
            )
        )
        self._forget()
        return changed

    async def rotate(self, key_id: str, overlap_s: float = 0.0) -> IssuedKey:
        """Gives a key a new secret; the old one works for `overlap_s` seconds more.

        Raises:
            KeyNotFound: there is none.
            Conflict: it has been revoked.
        """
        token, now = _new_token(), self._now()
        key = await self._records.renew(key_id, token, now, now + timedelta(seconds=overlap_s))
        self._forget()
        return IssuedKey(key, token)

    async def revoke(self, key_id: str) -> ApiKey:
        """Makes a key worthless for ever, and what was lent in its name with it.

        Raises:
            KeyNotFound: there is none.
            Conflict: it has been revoked already.
        """
        revoked = await self._records.revoke(key_id, self._now())
        self._forget()
        return revoked

    async def authenticate(self, token: str) -> Principal:
        """Tells whose this key is.

        Raises:
            Unauthenticated: it is no one's.
            KeyExpired: its time is over.
            KeyRevoked: it was revoked.
        """
        lent = self.lent.find(token)
        if lent is not None:
            return await self._lent(lent)
        fingerprint = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        cached = self._cache.get(fingerprint)
        if cached is not None and self._clock() < cached[1]:
            return cached[0]
        principal, seconds = await self._find(token)
        if len(self._cache) >= CACHED_KEYS:
            self._cache.clear()
        self._cache[fingerprint] = (principal, self._clock() + seconds)
        return principal

    async def authenticate_lent(self, token: str) -> Principal:
        """Tells for whom a key was lent; other keys do not count. Raises as `authenticate` does."""
        lent = self.lent.find(token)
        if lent is None:
            raise Unauthenticated("Inside a sandbox only its own key works: the one in OPENAI_API_KEY.")
        return await self._lent(lent)

    async def owner(self, owner: str) -> Principal | None:
        """Tells what an owner may do for whom something else than its key calls; None where there is none.

        Raises:
            KeyExpired: the time of the owner's key is over.
            KeyRevoked: the owner's key was revoked.
            UserDisabled: the owner is a user whom an admin has shut out.
        """
        if self._others is not None and not owner.startswith(PREFIX):
            return await self._others.owner(owner)
        cached = self._owners.get(owner)
        if cached is not None and self._clock() < cached[1]:
            return cached[0]
        key = await self._records.get(owner)
        if key is not None:
            self._check(key)
        principal = None if key is None else self._principal(key)
        if len(self._owners) >= CACHED_KEYS:
            self._owners.clear()
        self._owners[owner] = (principal, self._clock() + self._left(key.expires_at if key else None))
        return principal

    async def owner_quotas(self, owner: str) -> Quotas:
        """Tells how much an owner may take.

        Raises:
            Unauthenticated: there is none of this id any more, or as `owner` does.
        """
        principal = await self.owner(owner)
        if principal is None:
            raise Unauthenticated("Whoever this acts for is not known here any more.")
        return principal.quotas

    async def _find(self, token: str) -> tuple[Principal, float]:
        found = await self._records.match(token)
        now = self._now()
        if found is None or (found.until is not None and found.until <= now):
            raise Unauthenticated(
                "This API key is not valid. The key is printed at the first start of the server."
            )
        self._check(found.key)
        await self._note_use(found.key, now)
        return self._principal(found.key), self._left(found.until, found.key.expires_at)

    def _principal(self, key: ApiKey) -> Principal:
        return Principal(key.id, key.name, key.scopes, key.quotas.over(self._quotas))

    def _left(self, *ends: datetime | None) -> float:
        """For how many seconds what was found may be remembered."""
        now = self._now()
        return min([CACHE_S, *((end - now).total_seconds() for end in ends if end is not None)])

    async def _lent(self, lent: Principal) -> Principal:
        return replace(lent, quotas=await self.owner_quotas(lent.id))

    def _check(self, key: ApiKey) -> None:
        state = key.state(self._now())
        if state is KeyState.REVOKED:
            raise KeyRevoked("This API key was revoked; ask for a new one.")
        if state is KeyState.EXPIRED:
            raise KeyExpired("The time of this API key is over; ask for a new one.")

    async def _note_use(self, key: ApiKey, now: datetime) -> None:
        if key.last_used_at is None or (now - key.last_used_at).total_seconds() >= USE_NOTED_S:
            # Who may call does not hang on whether it can be written down.
            with suppress(OperationalError):
                await self._records.note_use(key.id, now)

    def _check_expiry(self, expires_at: datetime | None, now: datetime) -> None:
        if expires_at is not None and expires_at <= now:
            raise Invalid(
                "expires_at: this time is over already; revoke a key to end it.", field="expires_at"
            )

    def _forget(self) -> None:
        self._cache.clear()
        self._owners.clear()


def _new_token() -> str:
    return f"lms_{secrets.token_urlsafe(32)}"
