"""The keys that sign tokens: made in time, kept in the database, known for as long as they may be needed."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Column, LargeBinary, String, Table, delete, insert, select

from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA, Moment

SIGNING_KEYS = Table(
    "signing_keys",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("private", LargeBinary(32), nullable=False),
    Column("created_at", Moment, nullable=False),
)
# So often it is looked whether another server has made a key.
READ_S = 2.0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key.

    Attributes:
        id: The `kid` of tokens.
        private: Signs.
        created_at: When it was made.
    """

    id: str
    private: Ed25519PrivateKey
    created_at: datetime

    @property
    def public(self) -> Ed25519PublicKey:
        """Checks what it has signed."""
        return self.private.public_key()


class SigningKeys:
    """Keeps the keys; the newest signs, the others check what they have signed.

    Args:
        database: Holds them.
        used_for: How long one signs.
        known_for: How much longer its signatures count: at least as long as a token lives.
        now: The time of day.
    """

    def __init__(
        self,
        database: Database,
        used_for: timedelta,
        known_for: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._used_for = used_for
        self._known_for = known_for
        self._now = now
        self._keys: list[SigningKey] = []
        self._read_at: datetime | None = None

    async def newest(self) -> SigningKey:
        """Returns the key that signs now; makes one where the last has done so for long enough."""
        known = await self.known()
        if not known or self._now() - known[0].created_at >= self._used_for:
            await self._make()
            known = await self.known()
        return known[0]

    async def find(self, key_id: str) -> SigningKey | None:
        """Returns the key of an id; None where its signatures do not count."""
        # Another server may have made it a moment ago.
        return _of(key_id, await self.known()) or _of(key_id, await self.known(max_age_s=READ_S))

    async def known(self, max_age_s: float = 60.0) -> list[SigningKey]:
        """Returns all whose signatures count, the newest first; as read so many seconds ago at most."""
        now = self._now()
        if self._read_at is None or (now - self._read_at).total_seconds() >= max_age_s:
            await self._read(now)
        since = now - self._used_for - self._known_for
        return [key for key in self._keys if key.created_at > since]

    async def _make(self) -> None:
        now = self._now()
        row = {
            "id": f"sig_{secrets.token_hex(8)}",
            "private": Ed25519PrivateKey.generate().private_bytes_raw(),
            "created_at": now,
        }
        over = SIGNING_KEYS.c.created_at <= now - self._used_for - self._known_for
        async with self._database.begin() as connection:
            await connection.execute(delete(SIGNING_KEYS).where(over))
            await connection.execute(insert(SIGNING_KEYS).values(**row))
        await self._read(now)

    async def _read(self, now: datetime) -> None:
        query = select(SIGNING_KEYS).order_by(SIGNING_KEYS.c.created_at.desc(), SIGNING_KEYS.c.id)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        self._keys = [
            SigningKey(
                row["id"],
                Ed25519PrivateKey.from_private_bytes(row["private"]),
                row["created_at"],
            )
            for row in rows
        ]
        self._read_at = now


def _of(key_id: str, keys: list[SigningKey]) -> SigningKey | None:
    return next((key for key in keys if key.id == key_id), None)
