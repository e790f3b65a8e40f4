"""The records of API keys: what each may do, until when, and salted hashes of its secrets."""

import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    RowMapping,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from lm_sandbox.errors import Conflict, KeyNotFound
from lm_sandbox.identity.principals import Scope
from lm_sandbox.identity.quotas import Quotas
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA, Moment

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("scopes", String(256), nullable=False),
    Column("quotas", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=True),
    Column("revoked_at", Moment, nullable=True),
    Column("last_used_at", Moment, nullable=True),
)
SECRETS = Table(
    "api_key_secrets",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("key_id", String(32), ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("lookup", String(16), nullable=False, index=True),
    Column("salt", LargeBinary(16), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("until", Moment, nullable=True),
)
SHOWN_CHARACTERS = 8


class KeyState(StrEnum):
    """Whether a key works."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, without its secret.

    Attributes:
        id: Names it, and owns what is made with it.
        name: For people.
        prefix: How its secret begins.
        scopes: What it may be used for.
        quotas: How much it may take.
        created_at: When it was made.
        expires_at: When it stops working by itself.
        revoked_at: When it was revoked.
        last_used_at: When it was last seen, to the minute.
    """

    id: str
    name: str
    prefix: str
    scopes: frozenset[Scope]
    quotas: Quotas
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def state(self, now: datetime) -> KeyState:
        """Whether it works."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        over = self.expires_at is not None and self.expires_at <= now
        return KeyState.EXPIRED if over else KeyState.ACTIVE


@dataclass(frozen=True, slots=True)
class Match:
    """A key and until when the secret that was given is one of it."""

    key: ApiKey
    until: datetime | None


class KeyRecords:
    """Keeps keys in the database.

    Args:
        database: Holds the rows.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self) -> int:
        """Tells how many keys there are, whether they work or not."""
        async with self._database.begin() as connection:
            return (await connection.execute(select(func.count()).select_from(API_KEYS))).scalar_one()

    async def add(self, key: ApiKey, token: str) -> None:
        """Enters a key with its first secret."""
        async with self._database.begin() as connection:
            await connection.execute(insert(API_KEYS).values(**_row(key)))
            await connection.execute(insert(SECRETS).values(**_secret(key.id, token)))

    async def match(self, token: str) -> Match | None:
        """Finds the key of a secret, whether it works or not."""
        secret = (SECRETS.c.salt, SECRETS.c.digest, SECRETS.c.until)
        query = select(API_KEYS, *secret).join(SECRETS).where(SECRETS.c.lookup == _lookup(token))
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        for row in rows:
            if hmac.compare_digest(row["digest"], _digest(row["salt"], token)):
                return Match(_key(row), row["until"])
        return None

    async def get(self, key_id: str) -> ApiKey | None:
        """Finds a key by its id."""
        async with self._database.begin() as connection:
            return await _get(connection, key_id)

    async def find(self, key_id: str) -> ApiKey:
        """Finds a key by its id.

        Raises:
            KeyNotFound: there is none.
        """
        key = await self.get(key_id)
        if key is None:
            raise KeyNotFound(f"There is no key {key_id!r}.")
        return key

    async def page(self, after: str | None, limit: int, name: str | None) -> tuple[list[ApiKey], bool]:
        """Lists keys, oldest first, and tells whether there are more."""
        place = tuple_(API_KEYS.c.created_at, API_KEYS.c.id)
        query = select(API_KEYS).order_by(API_KEYS.c.created_at, API_KEYS.c.id).limit(limit + 1)
        if name is not None:
            query = query.where(API_KEYS.c.name == name)
        if after is not None:
            before = select(API_KEYS.c.created_at, API_KEYS.c.id).where(API_KEYS.c.id == after)
            query = query.where(place > before.scalar_subquery())
        async with self._database.begin() as connection:
            keys = [_key(row) for row in (await connection.execute(query)).mappings()]
        return keys[:limit], len(keys) > limit

    async def change(self, key: ApiKey) -> ApiKey:
        """Enters what is new of a key.

        Raises:
            Conflict: it has been revoked.
        """
        changed = {name: _row(key)[name] for name in ("name", "scopes", "quotas", "expires_at")}
        return await self._change(key.id, changed)

    async def renew(self, key_id: str, token: str, now: datetime, old_until: datetime) -> ApiKey:
        """Gives a key another secret; those it had work until a time.

        Raises:
            KeyNotFound: there is none.
            Conflict: it has been revoked.
        """
        lasting = or_(SECRETS.c.until.is_(None), SECRETS.c.until > old_until)
        async with self._database.begin() as connection:
            key = await _require(connection, key_id)
            old = SECRETS.c.key_id == key_id
            await connection.execute(update(SECRETS).where(old, lasting).values(until=old_until))
            await connection.execute(delete(SECRETS).where(old, SECRETS.c.until <= now))
            await connection.execute(insert(SECRETS).values(**_secret(key_id, token)))
            prefix = token[:SHOWN_CHARACTERS]
            await connection.execute(update(API_KEYS).where(API_KEYS.c.id == key_id).values(prefix=prefix))
        return replace(key, prefix=prefix)

    async def revoke(self, key_id: str, now: datetime) -> ApiKey:
        """Makes a key worthless for ever.

        Raises:
            KeyNotFound: there is none.
            Conflict: it has been revoked already.
        """
        return await self._change(key_id, {"revoked_at": now})

    async def note_use(self, key_id: str, now: datetime) -> None:
        """Enters when a key was seen."""
        async with self._database.begin() as connection:
            changed = update(API_KEYS).where(API_KEYS.c.id == key_id).values(last_used_at=now)
            await connection.execute(changed)

    async def _change(self, key_id: str, values: dict[str, object]) -> ApiKey:
        async with self._database.begin() as connection:
            await _require(connection, key_id)
            await connection.execute(update(API_KEYS).where(API_KEYS.c.id == key_id).values(**values))
            return await _require_any(connection, key_id)


async def _get(connection: AsyncConnection, key_id: str) -> ApiKey | None:
    query = select(API_KEYS).where(API_KEYS.c.id == key_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _key(row)


async def _require_any(connection: AsyncConnection, key_id: str) -> ApiKey:
    key = await _get(connection, key_id)
    if key is None:
        raise KeyNotFound(f"There is no key {key_id!r}.")
    return key


async def _require(connection: AsyncConnection, key_id: str) -> ApiKey:
    key = await _require_any(connection, key_id)
    if key.revoked_at is not None:
        raise Conflict(f"The key {key_id} has been revoked; make a new one.")
    return key


def _lookup(token: str) -> str:
    """Finds the row of a key without holding enough of its hash to check a guess."""
    return hashlib.sha256(b"lookup:" + _bytes(token)).hexdigest()[:8]


def _digest(salt: bytes, token: str) -> bytes:
    return hmac.digest(salt, _bytes(token), "sha256")


def _bytes(token: str) -> bytes:
    return token.encode(errors="surrogatepass")


def _secret(key_id: str, token: str) -> dict[str, object]:
    salt = secrets.token_bytes(16)
    return {"key_id": key_id, "lookup": _lookup(token), "salt": salt, "digest": _digest(salt, token)}


def _row(key: ApiKey) -> dict[str, object]:
    row = {column.name: getattr(key, column.name) for column in API_KEYS.columns}
    own = {name: value for name, value in asdict(key.quotas).items() if value is not None}
    return row | {"scopes": " ".join(sorted(key.scopes)), "quotas": json.dumps(own)}


def _key(row: RowMapping) -> ApiKey:
    values = {column.name: row[column.name] for column in API_KEYS.columns}
    scopes = frozenset(Scope(name) for name in values["scopes"].split())
    return ApiKey(**{**values, "scopes": scopes, "quotas": Quotas(**json.loads(values["quotas"]))})
