"""How users get tokens: for a password, then for refresh tokens, until the login ends."""

from dataclasses import dataclass, replace

from lm_sandbox.errors import GrantRefused, Unauthenticated
from lm_sandbox.identity.logins import EndedBy, Login, Logins, Reused
from lm_sandbox.identity.password_proof import WRONG, PasswordProof
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.tokens import AccessToken, Tokens
from lm_sandbox.identity.user_records import User, UserState
from lm_sandbox.identity.users import UserChange, Users
from lm_sandbox.telemetry.happenings import LoginEnded, LoginTried, Tell, unheard


@dataclass(frozen=True, slots=True)
class Asked:
    """What a program asks for in a user's name.

    Attributes:
        place: Where it comes from, as `Visit.address`.
        client: What it calls itself; None where it does not say.
        scopes: What the tokens are to be for; none for all that the user may do.
    """

    place: str
    client: str | None = None
    scopes: frozenset[Scope] = frozenset()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a program gets.

    Attributes:
        user: In whose name.
        access: What is sent as `Bearer`.
        refresh: Gives the next ones.
    """

    user: Principal
    access: AccessToken
    refresh: str


class SignIn:
    """Lets users in, and out again.

    Args:
        users: Who there is.
        proof: Tells who has a password.
        logins: Kept for as long as they go on.
        tokens: Made for them.
        tell: Hears of each try.
    """

    def __init__(
        self,
        users: Users,
        proof: PasswordProof,
        logins: Logins,
        tokens: Tokens,
        tell: Tell = unheard,
    ) -> None:
        self._users = users
        self._proof = proof
        self._logins = logins
        self._tokens = tokens
        self._tell = tell

    async def by_password(self, name: str, password: str, asked: Asked) -> Grant:
        """Lets a user in who has the password.

        Raises:
            GrantRefused: no such user, another password, or the account is disabled.
            Forbidden: the user lacks one of the scopes.
            RateLimited: too many passwords were tried for the account.
            NoCapacity: too many wait.
        """
        user = await self._proof.prove(name, password, asked.place)
        caller = self._users.principal(user)
        for scope in asked.scopes:
            caller.require(scope)
        scopes = asked.scopes or caller.scopes
        login, refresh = await self._logins.begin(user.id, asked.client or "", scopes)
        access = await self._tokens.issue(replace(caller, scopes=scopes), frozenset(), login)
        await self._users.note_login(user.id, asked.place, login.created_at)
        self._tell(LoginTried(who=user.id, name=user.name, outcome="ok", login=login.id))
        return Grant(caller, access, refresh)

    async def by_refresh_token(self, token: str, asked: Asked) -> Grant:
        """Gives the next tokens for a refresh token, which works no more then.

        Raises:
            GrantRefused: it is none, has worked before, or its login or user may not go on.
            Forbidden: the login is not for one of the scopes.
        """
        try:
            login, refresh = await self._logins.rotate(token, asked.client)
        except Reused as error:
            await self._note_end(error.login, EndedBy.REUSE)
            raise
        try:
            user = await self._users.owner(login.user_id)
        except Unauthenticated as error:
            raise GrantRefused(WRONG) from error
        if user is None:
            raise GrantRefused("The user of this login is not known here any more.")
        scopes = login.scopes if Scope.ADMIN in user.scopes else login.scopes & user.scopes
        access = await self._tokens.issue(replace(user, scopes=scopes), asked.scopes, login)
        return Grant(user, access, refresh)

    async def revoke(self, token: str) -> Principal | None:
        """Ends the login of a refresh token; tells whose it was, None where it was nobody's."""
        found = await self._logins.find(token)
        if found is None:
            return None
        login = found.login
        user = await self._users.known(login.user_id)
        if login.ended_at is None:
            await self._logins.end(login.id, EndedBy.REVOKED)
            await self._note_end(login, EndedBy.REVOKED)
        return None if user is None else Principal(user.id, user.name, login.scopes)

    async def change_password(self, caller: Principal, old: str, new: str, place: str) -> None:
        """Gives a user who has the old password another, and ends all logins.

        Raises:
            GrantRefused: the old password is not right, or the caller is no user with a password here.
            Invalid: the new one cannot be one.
            RateLimited: too many passwords were tried for the account.
        """
        user = await self._users.known(caller.id)
        if user is None or user.issuer:
            raise GrantRefused("Only users with a password here have one to change.")
        await self._proof.prove(user.name, old, place)
        await self._users.set_password(user.id, new, place=place)
        await self.end_all(user.id, EndedBy.PASSWORD)

    async def set_password(self, user_id: str, password: str | None) -> tuple[User, str]:
        """Gives a user another password in an admin's name, and ends all logins; raises as `Users` does."""
        changed = await self._users.set_password(user_id, password)
        await self.end_all(user_id, EndedBy.PASSWORD)
        return changed

    async def change(self, user_id: str, change: UserChange) -> User:
        """Changes a user in an admin's name; one that is shut out is logged out. Raises as `Users` does."""
        user = await self._users.change(user_id, change)
        if user.state is UserState.DISABLED:
            await self.end_all(user_id, EndedBy.DISABLED)
        return user

    async def end_all(self, user_id: str, why: EndedBy) -> int:
        """Ends every login of a user; tells how many there were."""
        ended = await self._logins.of_user(user_id)
        await self._logins.end_all(user_id, why)
        for login in ended:
            await self._note_end(login, why)
        return len(ended)

    async def _note_end(self, login: Login, why: EndedBy) -> None:
        self._tokens.forget()
        user = await self._users.known(login.user_id)
        name = user.name if user else ""
        self._tell(LoginEnded(who=login.user_id, name=name, login=login.id, reason=why.value))
