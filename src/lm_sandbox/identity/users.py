"""Users: made, changed and shut out by admins; those from elsewhere come with their first token."""

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from sqlalchemy.exc import OperationalError

from lm_sandbox.errors import Conflict, Invalid, UserDisabled
from lm_sandbox.identity.keys import CACHE_S, CACHED_KEYS
from lm_sandbox.identity.passwords import Passwords
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.quotas import AS_THE_SERVER, Quotas
from lm_sandbox.identity.user_records import User, UserRecords, UserState

PREFIX = "user_"
NAME = re.compile(r"\w[\w.@+-]{0,127}")
SEEN_NOTED = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class NewUser:
    """What is asked for.

    Attributes:
        name: What is typed to log in.
        scopes: What the user may do.
        quotas: How much the user may take.
        password: None makes one.
    """

    name: str
    scopes: frozenset[Scope]
    quotas: Quotas = AS_THE_SERVER
    password: str | None = None


@dataclass(frozen=True, slots=True)
class UserChange:
    """What is to be changed of a user; None leaves it."""

    scopes: frozenset[Scope] | None = None
    quotas: Quotas | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, as an issuer elsewhere says.

    Attributes:
        issuer: The issuer's name in the settings.
        address: The issuer's own name for itself, the claim `iss`.
        subject: The claim `sub`.
        name: For people.
        scopes: What the claims give here.
    """

    issuer: str
    address: str
    subject: str
    name: str
    scopes: frozenset[Scope]

    @property
    def user_id(self) -> str:
        """One for each issuer and subject, and the same for ever."""
        named = f"{len(self.address)}:{self.address}{self.subject}"
        return PREFIX + hashlib.sha256(named.encode(errors="surrogatepass")).hexdigest()[:32]


class Users:
    """Keeps users and tells what each may do.

    Args:
        records: The rows.
        passwords: Hash.
        quotas: How much a user may take of whom nothing of its own is said.
        clock: Seconds that only go up.
        now: The time of day.
    """

    def __init__(
        self,
        records: UserRecords,
        passwords: Passwords,
        *,
        quotas: Quotas = AS_THE_SERVER,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._records = records
        self._passwords = passwords
        self._quotas = quotas
        self._clock = clock
        self._now = now
        self._cache: dict[str, tuple[User | None, float]] = {}

    async def make(self, new: NewUser) -> tuple[User, str]:
        """Makes a user with a password; returns both, and the password is seen this once.

        Raises:
            Invalid: the name or the password cannot be one.
            Conflict: there is a user of this name.
        """
        if not NAME.fullmatch(new.name):
            raise Invalid(
                "name: it has up to 128 letters, digits and . _ @ + -, and begins with none of the latter.",
                field="name",
            )
        password = self._chosen(new.password, new.name)
        now = self._now()
        user = User(
            id=f"{PREFIX}{secrets.token_hex(8)}",
            login=login_of(new.name),
            name=new.name,
            scopes=new.scopes,
            quotas=new.quotas,
            created_at=now,
            password_changed_at=now,
        )
        await self._records.add(user, await self._passwords.hash(password))
        return user, password

    async def find(self, user_id: str) -> User:
        """Finds a user by the id.

        Raises:
            UserNotFound: there is none.
        """
        return await self._records.find(user_id)

    async def known(self, user_id: str) -> User | None:
        """Finds a user by the id, as the database has it; None where there is none."""
        return await self._records.get(user_id)

    async def note_login(self, user_id: str, place: str, now: datetime) -> None:
        """Enters that a user has logged in, and from where."""
        await self._records.note_login(user_id, place, now)

    async def page(
        self, *, after: str | None = None, limit: int, name: str | None = None
    ) -> tuple[list[User], bool]:
        """Lists all users, or the one of a name, oldest first, and tells whether there are more."""
        return await self._records.page(after, limit, None if name is None else login_of(name))

    async def change(self, user_id: str, change: UserChange) -> User:
        """Changes what a user may do; it holds from the next request on.

        Raises:
            UserNotFound: there is none.
            Conflict: the scopes of a user from elsewhere are told by the issuer.
        """
        user = await self._records.find(user_id)
        if change.scopes is not None and user.issuer:
            raise Conflict(f"What this user may do is told by the issuer {user.issuer!r}; disable the user.")
        changes: dict[str, Any] = {}
        if change.scopes is not None:
            changes["scopes"] = change.scopes
        if change.quotas is not None:
            changes["quotas"] = change.quotas.over(user.quotas)
        if change.disabled is not None:
            changes["disabled_at"] = (user.disabled_at or self._now()) if change.disabled else None
        if changes:
            user = await self._records.change(replace(user, **changes), *changes)
        self._cache.clear()
        return user

    async def set_password(self, user_id: str, password: str | None, *, place: str = "") -> tuple[User, str]:
        """Gives a user another password, a new one where none is named; returns it, this once.

        Raises:
            UserNotFound: there is none.
            Conflict: the user's password is kept elsewhere.
            Invalid: the password cannot be one.
        """
        user = await self._records.find(user_id)
        if user.issuer:
            raise Conflict(f"This user logs in at the issuer {user.issuer!r} and has no password here.")
        password = self._chosen(password, user.name)
        hashed = await self._passwords.hash(password, place=place)
        return await self._records.set_password(user_id, hashed, self._now()), password

    async def delete(self, user_id: str) -> None:
        """Forgets a user with all tokens; what the user owns stays, for an admin to delete.

        Raises:
            UserNotFound: there is none.
        """
        await self._records.remove(user_id)
        self._cache.clear()

    async def owner(self, owner: str) -> Principal | None:
        """Tells what a user may do for whom something calls; None where there is none of this id.

        Raises:
            UserDisabled: an admin has shut the account.
        """
        user = await self._remembered(owner)
        return None if user is None else self.principal(user)

    async def recognise(self, identity: Identity) -> Principal:
        """Tells who somebody from elsewhere is here, and enters who comes for the first time.

        Raises:
            UserDisabled: an admin has shut the account.
        """
        user = await self._remembered(identity.user_id)
        now = self._now()
        if user is None:
            user = await self._enter(identity, now)
        elif _is_stale(user, identity, now):
            changed = replace(user, name=identity.name, scopes=identity.scopes, last_seen_at=now)
            # Who may call does not hang on whether it can be written down.
            with suppress(OperationalError):
                await self._records.change(changed, "name", "scopes", "last_seen_at")
            self._remember(user.id, changed)
            user = changed
        return replace(self.principal(user), scopes=identity.scopes)

    def principal(self, user: User) -> Principal:
        """Returns a user as a caller.

        Raises:
            UserDisabled: an admin has shut the account.
        """
        if user.state is UserState.DISABLED:
            raise UserDisabled("This account is disabled; ask an admin.")
        return Principal(user.id, user.name, user.scopes, user.quotas.over(self._quotas))

    def _chosen(self, password: str | None, name: str) -> str:
        if password is None:
            return _new_password()
        self._passwords.check(password, name)
        return password

    async def _enter(self, identity: Identity, now: datetime) -> User:
        user_id = identity.user_id
        user = User(
            id=user_id,
            login=f"@{user_id}",
            name=identity.name,
            scopes=identity.scopes,
            quotas=AS_THE_SERVER,
            created_at=now,
            issuer=identity.issuer,
            subject=identity.subject,
            last_seen_at=now,
        )
        # Two first requests at once: one of them enters the user.
        with suppress(Conflict):
            await self._records.add(user)
        user = await self._records.find(user_id)
        self._remember(user_id, user)
        return user

    async def _remembered(self, user_id: str) -> User | None:
        cached = self._cache.get(user_id)
        if cached is not None and self._clock() < cached[1]:
            return cached[0]
        user = await self._records.get(user_id)
        self._remember(user_id, user)
        return user

    def _remember(self, user_id: str, user: User | None) -> None:
        if len(self._cache) >= CACHED_KEYS:
            self._cache.clear()
        self._cache[user_id] = (user, self._clock() + CACHE_S)


def login_of(name: str) -> str:
    """Returns a name as it is compared: `Anna` and `anna` are one."""
    return unicodedata.normalize("NFKC", name).casefold()[:160]


def _is_stale(user: User, identity: Identity, now: datetime) -> bool:
    seen = user.last_seen_at
    told = (user.name, user.scopes) != (identity.name, identity.scopes)
    return told or seen is None or now - seen >= SEEN_NOTED


def _new_password() -> str:
    return secrets.token_urlsafe(18)
