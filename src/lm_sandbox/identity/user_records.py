"""The records of users: those with a password here, and those whom an issuer elsewhere vouches for."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    RowMapping,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lm_sandbox.errors import Conflict, UserNotFound
from lm_sandbox.identity.principals import Scope
from lm_sandbox.identity.quotas import Quotas
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA
from lm_sandbox.storage.times import utc

USERS = Table(
    "users",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("login", String(160), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    Column("issuer", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("password", String(255), nullable=False),
    Column("scopes", String(256), nullable=False),
    Column("quotas", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("disabled_at", DateTime(timezone=True), nullable=True),
    Column("password_changed_at", DateTime(timezone=True), nullable=True),
    Column("last_seen_at", DateTime(timezone=True), nullable=True),
)
PLACES = Table(
    "user_places",
    METADATA,
    Column("user_id", String(64), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("place", String(64), primary_key=True),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)
MOST_PLACES = 16


class UserState(StrEnum):
    """Whether a user may come in."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class User:
    """A user, without the password.

    Attributes:
        id: Names the user, and owns what is made in its name.
        login: The name as it is compared; of those from elsewhere nothing that can be typed.
        name: For people.
        issuer: Who vouches for the user, by its name in the settings; empty for one with a password here.
        subject: What the issuer calls the user.
        scopes: What the user may do; of those from elsewhere what their last token said.
        quotas: How much the user may take.
        created_at: When it was made, or first came.
        disabled_at: When an admin shut the account.
        password_changed_at: When the password was set.
        last_seen_at: When the user logged in, or came with a token from elsewhere.
    """

    id: str
    login: str
    name: str
    scopes: frozenset[Scope]
    quotas: Quotas
    created_at: datetime
    issuer: str = ""
    subject: str = ""
    disabled_at: datetime | None = None
    password_changed_at: datetime | None = None
    last_seen_at: datetime | None = None

    @property
    def state(self) -> UserState:
        """Whether the user may come in."""
        return UserState.ACTIVE if self.disabled_at is None else UserState.DISABLED


class UserRecords:
    """Keeps users in the database.

    Args:
        database: Holds the rows.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user: User, password: str = "") -> None:
        """Enters a user with the hash of a password.

        Raises:
            Conflict: there is one of this name.
        """
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(USERS).values(**_row(user), password=password))
        except IntegrityError as error:
            raise Conflict(f"There is a user {user.name!r} already.") from error

    async def get(self, user_id: str) -> User | None:
        """Finds a user by the id."""
        async with self._database.begin() as connection:
            return await _get(connection, user_id)

    async def find(self, user_id: str) -> User:
        """Finds a user by the id.

        Raises:
            UserNotFound: there is none.
        """
        async with self._database.begin() as connection:
            return await _require(connection, user_id)

    async def by_login(self, login: str) -> tuple[User, str] | None:
        """Finds a user with the hash of the password; it is empty where there is none."""
        async with self._database.begin() as connection:
            row = (
                (await connection.execute(select(USERS).where(USERS.c.login == login)))
                .mappings()
                .one_or_none()
            )
        return None if row is None else (_user(row), row["password"])

    async def page(self, after: str | None, limit: int, login: str | None) -> tuple[list[User], bool]:
        """Lists users, oldest first, and tells whether there are more."""
        query = select(USERS).order_by(USERS.c.created_at, USERS.c.id).limit(limit + 1)
        if login is not None:
            query = query.where(USERS.c.login == login)
        if after is not None:
            before = select(USERS.c.created_at, USERS.c.id).where(USERS.c.id == after)
            query = query.where(tuple_(USERS.c.created_at, USERS.c.id) > before.scalar_subquery())
        async with self._database.begin() as connection:
            users = [_user(row) for row in (await connection.execute(query)).mappings()]
        return users[:limit], len(users) > limit

    async def change(self, user: User, *names: str) -> User:
        """Enters what is new of a user, and leaves what is not named: another server may have changed it.

        Raises:
            UserNotFound: there is none.
        """
        row = _row(user)
        return await self._change(user.id, {name: row[name] for name in names})

    async def set_password(self, user_id: str, password: str, now: datetime | None) -> User:
        """Enters the hash of a password; without a time it is the same one, hashed anew.

        Raises:
            UserNotFound: there is none.
        """
        values: dict[str, object] = {"password": password}
        return await self._change(user_id, values | ({"password_changed_at": now} if now else {}))

    async def remove(self, user_id: str) -> None:
        """Forgets a user, with all logins.

        Raises:
            UserNotFound: there is none.
        """
        async with self._database.begin() as connection:
            found = await connection.execute(delete(USERS).where(USERS.c.id == user_id))
        if not found.rowcount:
            raise _missing(user_id)

    async def knows_place(self, user_id: str, place: str, since: datetime) -> bool:
        """Whether a user has logged in from a place."""
        query = select(PLACES.c.place).where(
            PLACES.c.user_id == user_id, PLACES.c.place == place, PLACES.c.seen_at > since
        )
        async with self._database.begin() as connection:
            return (await connection.execute(query)).first() is not None

    async def note_login(self, user_id: str, place: str, now: datetime) -> None:
        """Enters that a user has logged in, and from where; only the last few places are kept."""
        own = PLACES.c.user_id == user_id
        row = {"user_id": user_id, "place": place, "seen_at": now}
        kept = select(PLACES.c.place).where(own).order_by(PLACES.c.seen_at.desc()).limit(MOST_PLACES)
        async with self._database.begin() as connection:
            await connection.execute(update(USERS).where(USERS.c.id == user_id).values(last_seen_at=now))
            changed = update(PLACES).where(own, PLACES.c.place == place).values(seen_at=now)
            if not (await connection.execute(changed)).rowcount:
                await connection.execute(insert(PLACES).values(**row))
                places = (await connection.execute(kept)).scalars().all()
                await connection.execute(delete(PLACES).where(own, PLACES.c.place.not_in(places)))

    async def _change(self, user_id: str, values: dict[str, object]) -> User:
        async with self._database.begin() as connection:
            await connection.execute(update(USERS).where(USERS.c.id == user_id).values(**values))
            return await _require(connection, user_id)


async def _get(connection: AsyncConnection, user_id: str) -> User | None:
    row = (await connection.execute(select(USERS).where(USERS.c.id == user_id))).mappings().one_or_none()
    return None if row is None else _user(row)


async def _require(connection: AsyncConnection, user_id: str) -> User:
    user = await _get(connection, user_id)
    if user is None:
        raise _missing(user_id)
    return user


def _missing(user_id: str) -> UserNotFound:
    return UserNotFound(f"There is no user {user_id!r}.")


def _row(user: User) -> dict[str, object]:
    row = {name: getattr(user, name) for name in User.__dataclass_fields__}
    own = {name: value for name, value in asdict(user.quotas).items() if value is not None}
    return row | {"scopes": " ".join(sorted(user.scopes)), "quotas": json.dumps(own)}


def _user(row: RowMapping) -> User:
    values = {name: row[name] for name in User.__dataclass_fields__}
    times = {name: utc(value) for name, value in values.items() if name.endswith("_at")}
    scopes = frozenset(Scope(name) for name in values["scopes"].split())
    return User(**{**values, **times, "scopes": scopes, "quotas": Quotas(**json.loads(values["quotas"]))})
