"""API keys: made once, shown once, kept only as a salted hash."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from sqlalchemy import (
    Column,
    DateTime,
    LargeBinary,
    RowMapping,
    String,
    Table,
    func,
    insert,
    select,
)

from lm_sandbox.errors import Invalid, Unauthenticated
from lm_sandbox.identity.lent_keys import LentKeys
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("lookup", String(16), nullable=False, index=True),
    Column("salt", LargeBinary(16), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("scopes", String(256), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

SHORTEST_KEY = 16
SHOWN_CHARACTERS = 8
CACHED_KEYS = 1024
CACHE_S = 10.0


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key; `token` is the only time its value is seen."""

    id: str
    name: str
    token: str


class KeyStore:
    """Issues keys and tells whose a key is.

    A key that was right is remembered for `CACHE_S` seconds, by its hash, so that most requests
    cost no database read.

    Attributes:
        lent: Keys that are in no database.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = monotonic) -> None:
        self.lent = LentKeys()
        self._database = database
        self._clock = clock
        self._cache: dict[bytes, tuple[Principal, float]] = {}

    async def count(self) -> int:
        """Tells how many keys there are."""
        async with self._database.begin() as connection:
            return (await connection.execute(select(func.count()).select_from(API_KEYS))).scalar_one()

    async def issue(self, name: str, scopes: frozenset[Scope], *, token: str | None = None) -> IssuedKey:
        """Makes a key, or takes the value given as `token`.

        Raises:
            Invalid: the given value is too short to be safe.
        """
        if token is None:
            token = f"lms_{secrets.token_urlsafe(32)}"
        elif len(token) < SHORTEST_KEY:
            raise Invalid(
                f"An API key needs at least {SHORTEST_KEY} characters; this one has {len(token)}.",
                field="api_key",
            )
        salt = secrets.token_bytes(16)
        key_id = f"key_{secrets.token_hex(8)}"
        async with self._database.begin() as connection:
            await connection.execute(
                insert(API_KEYS).values(
                    id=key_id,
                    name=name,
                    prefix=token[:SHOWN_CHARACTERS],
                    lookup=_lookup(token),
                    salt=salt,
                    digest=_digest(salt, token),
                    scopes=" ".join(sorted(scopes)),
                    created_at=datetime.now(UTC),
                )
            )
        return IssuedKey(key_id, name, token)

    async def authenticate(self, token: str) -> Principal:
        """Tells whose key this is.

        Raises:
            Unauthenticated: it is no one's.
        """
        lent = self.lent.find(token)
        if lent is not None:
            return lent
        fingerprint = hashlib.sha256(token.encode()).digest()
        cached = self._cache.get(fingerprint)
        if cached is not None and self._clock() < cached[1]:
            return cached[0]
        principal = await self._find(token)
        if len(self._cache) >= CACHED_KEYS:
            self._cache.clear()
        self._cache[fingerprint] = (principal, self._clock() + CACHE_S)
        return principal

    async def _find(self, token: str) -> Principal:
        query = select(API_KEYS).where(API_KEYS.c.lookup == _lookup(token))
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        for row in rows:
            if hmac.compare_digest(row["digest"], _digest(row["salt"], token)):
                return _principal(row)
        raise Unauthenticated(
            "This API key is not valid. The key is printed at the first start of the server."
        )


def _lookup(token: str) -> str:
    """Finds the row of a key without holding enough of its hash to check a guess."""
    return hashlib.sha256(b"lookup:" + token.encode()).hexdigest()[:8]


def _digest(salt: bytes, token: str) -> bytes:
    return hmac.digest(salt, token.encode(), "sha256")


def _principal(row: RowMapping) -> Principal:
    scopes = frozenset(Scope(name) for name in row["scopes"].split())
    return Principal(row["id"], row["name"], scopes)
