"""Logins of users, each with refresh tokens: used once each, and the end of the login when used twice.

Sources: RFC 6749, section 6; RFC 9700, section 4.14.2.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    ForeignKey,
    RowMapping,
    String,
    Table,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from lm_sandbox.errors import GrantRefused
from lm_sandbox.identity.principals import Scope
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA
from lm_sandbox.storage.times import utc

LOGINS = Table(
    "logins",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("user_id", String(64), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("client", String(128), nullable=False),
    Column("scopes", String(256), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True), nullable=True),
    Column("ended_by", String(16), nullable=False),
)
REFRESH_TOKENS = Table(
    "refresh_tokens",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("login_id", String(32), ForeignKey("logins.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True), nullable=True),
)
PREFIX = "lms_refresh_"


class EndedBy(StrEnum):
    """Why a login is over before its time."""

    REVOKED = "revoked"
    REUSE = "reuse"
    PASSWORD = "password"  # noqa: S105 - a reason
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Login:
    """A login of a user.

    Attributes:
        id: Names it; access tokens have it as `sid`.
        user_id: Whose it is.
        client: What the program that has logged in calls itself.
        scopes: What its tokens may be used for, at most.
        created_at: When the password was given.
        expires_at: When it has to be given again.
        ended_at: When it ended before that.
        ended_by: Why.
    """

    id: str
    user_id: str
    client: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    ended_by: str = ""

    def works(self, now: datetime) -> bool:
        """Whether it goes on."""
        return self.ended_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh token that was found.

    Attributes:
        login: What it is of.
        expires_at: When it is over by itself.
        used: Whether another one has taken its place.
    """

    login: Login
    expires_at: datetime
    used: bool

    def works(self, now: datetime) -> bool:
        """Whether it gives tokens."""
        return not self.used and now < self.expires_at and self.login.works(now)


class Reused(GrantRefused):
    """A refresh token came a second time: one who has it has stolen it, and the login is over."""

    def __init__(self, login: Login) -> None:
        super().__init__("This refresh token was used before; log in again.")
        self.login = login


class Logins:
    """Keeps logins and the hashes of their refresh tokens.

    Args:
        database: Holds them.
        waits: How long a refresh token waits to be used.
        lasts: After how long the password has to be given again.
        now: The time of day.
    """

    def __init__(
        self,
        database: Database,
        waits: timedelta,
        lasts: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._waits = waits
        self._lasts = lasts
        self._now = now

    async def begin(self, user_id: str, client: str, scopes: frozenset[Scope]) -> tuple[Login, str]:
        """Enters a login; returns it with its first refresh token, which is seen this once."""
        now = self._now()
        login = Login(f"login_{secrets.token_hex(8)}", user_id, client, scopes, now, now + self._lasts)
        token = _new_token()
        row = {name: getattr(login, name) for name in Login.__dataclass_fields__}
        async with self._database.begin() as connection:
            # What is over helps nobody any more.
            await connection.execute(delete(LOGINS).where(LOGINS.c.expires_at <= now))
            await connection.execute(insert(LOGINS).values(**row | {"scopes": " ".join(sorted(scopes))}))
            await connection.execute(insert(REFRESH_TOKENS).values(**self._row(login, token, now)))
        return login, token

    async def rotate(self, token: str, client: str | None) -> tuple[Login, str]:
        """Takes a refresh token for the next one.

        Args:
            token: Works this once.
            client: Must be the one that has logged in, where it is told.

        Raises:
            Reused: it has worked before; its login is over now.
            GrantRefused: it is none, or its time is over.
        """
        now, new = self._now(), _new_token()
        digest = digest_of(token)
        fresh = REFRESH_TOKENS.c.digest == digest, REFRESH_TOKENS.c.used_at.is_(None)
        reused = None
        async with self._database.begin() as connection:
            # Written first, looked at then: of two that come at once with one token, one sees it unused.
            first = (
                await connection.execute(update(REFRESH_TOKENS).where(*fresh).values(used_at=now))
            ).rowcount
            found = await _find(connection, digest)
            if found is None:
                raise GrantRefused("This is no refresh token of this server, or its time is over.")
            login = found.login
            if not first and login.works(now):
                reused = login
                await _end(connection, LOGINS.c.id == login.id, now, EndedBy.REUSE)
            elif not login.works(now) or found.expires_at <= now:
                raise GrantRefused("This login is over; log in again.")
            elif client is not None and client != login.client:
                raise GrantRefused("This refresh token was given to another client.")
            else:
                await self._succeed(connection, login, new, now)
        if reused is not None:
            raise Reused(reused)
        return login, new

    async def find(self, token: str) -> Refresh | None:
        """Finds a refresh token, whether it works or not."""
        async with self._database.begin() as connection:
            return await _find(connection, digest_of(token))

    def takes(self, refresh: Refresh) -> bool:
        """Whether a refresh token gives tokens now."""
        return refresh.works(self._now())

    async def goes_on(self, login_id: str) -> bool:
        """Whether a login is not over."""
        async with self._database.begin() as connection:
            query = select(LOGINS).where(LOGINS.c.id == login_id)
            row = (await connection.execute(query)).mappings().one_or_none()
        return row is not None and _login(row).works(self._now())

    async def of_user(self, user_id: str) -> list[Login]:
        """Lists the logins of a user that go on, oldest first."""
        query = select(LOGINS).where(LOGINS.c.user_id == user_id, LOGINS.c.ended_at.is_(None))
        async with self._database.begin() as connection:
            rows = (await connection.execute(query.order_by(LOGINS.c.created_at, LOGINS.c.id))).mappings()
            return [login for login in map(_login, rows) if login.works(self._now())]

    async def end(self, login_id: str, why: EndedBy) -> None:
        """Ends a login with all its tokens; idempotent."""
        async with self._database.begin() as connection:
            await _end(connection, LOGINS.c.id == login_id, self._now(), why)

    async def end_all(self, user_id: str, why: EndedBy) -> int:
        """Ends every login of a user; tells how many there were."""
        async with self._database.begin() as connection:
            return await _end(connection, LOGINS.c.user_id == user_id, self._now(), why)

    async def _succeed(self, connection: AsyncConnection, login: Login, new: str, now: datetime) -> None:
        mine = REFRESH_TOKENS.c.login_id == login.id
        # Long after its time it is refused as one that nobody knows.
        old = or_(REFRESH_TOKENS.c.expires_at <= now, REFRESH_TOKENS.c.used_at <= now - self._waits)
        await connection.execute(delete(REFRESH_TOKENS).where(mine, old))
        await connection.execute(insert(REFRESH_TOKENS).values(**self._row(login, new, now)))

    def _row(self, login: Login, token: str, now: datetime) -> dict[str, object]:
        ends = min(login.expires_at, now + self._waits)
        return {"digest": digest_of(token), "login_id": login.id, "expires_at": ends, "used_at": None}


def is_refresh_token(text: str) -> bool:
    """Whether it looks like a refresh token."""
    return text.startswith(PREFIX)


def digest_of(token: str) -> str:
    """Returns what is kept: a token has 256 bits of chance, so that it needs neither salt nor costly hash."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


async def _find(connection: AsyncConnection, digest: str) -> Refresh | None:
    token = REFRESH_TOKENS.c.expires_at.label("token_expires_at"), REFRESH_TOKENS.c.used_at
    query = select(LOGINS, *token).join(REFRESH_TOKENS).where(REFRESH_TOKENS.c.digest == digest)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    return Refresh(_login(row), utc(row["token_expires_at"]), row["used_at"] is not None)


async def _end(connection: AsyncConnection, which: ColumnElement[bool], now: datetime, why: EndedBy) -> int:
    changed = update(LOGINS).where(which, LOGINS.c.ended_at.is_(None))
    return (await connection.execute(changed.values(ended_at=now, ended_by=why.value))).rowcount


def _login(row: RowMapping) -> Login:
    values = {name: row[name] for name in Login.__dataclass_fields__}
    times = {name: utc(value) for name, value in values.items() if name.endswith("_at")}
    return Login(**{**values, **times, "scopes": frozenset(Scope(name) for name in row["scopes"].split())})
