"""Whether somebody has a user's password, found out no more often than guessing may be."""

from lm_sandbox.errors import GrantRefused, LmSandboxError, RateLimited
from lm_sandbox.identity.guesses import Guesses
from lm_sandbox.identity.passwords import Passwords
from lm_sandbox.identity.user_records import User, UserRecords, UserState
from lm_sandbox.identity.users import login_of
from lm_sandbox.telemetry.happenings import LoginTried, Tell, unheard

WRONG = "The name or the password is not right, or the account is disabled."


class PasswordProof:
    """Compares passwords; what it tells, and how long it takes, is the same where there is no such user.

    Args:
        records: The users.
        passwords: Compare.
        guesses: How much may be tried.
        tell: Hears of each try that fails.
    """

    def __init__(
        self, records: UserRecords, passwords: Passwords, guesses: Guesses, tell: Tell = unheard
    ) -> None:
        self._records = records
        self._passwords = passwords
        self._guesses = guesses
        self._tell = tell

    async def prove(self, name: str, password: str, place: str) -> User:
        """Returns the user of a name whose password this is.

        Raises:
            GrantRefused: no such user, another password, or the account is disabled.
            RateLimited: too many passwords were tried for the account.
            NoCapacity: too many wait.
        """
        login = login_of(name)
        found = await self._records.by_login(login)
        user, kept = found if found is not None else (None, "")
        try:
            await self._guesses.take(login, user, place)
            right = await self._passwords.matches(kept, password, place=place)
        except LmSandboxError as error:
            self._refused(user, "rate_limited" if isinstance(error, RateLimited) else error.code)
            raise
        if user is None or not right or user.state is UserState.DISABLED:
            # What is typed as a name may be a password: only those that there are get recorded.
            self._refused(user, "disabled" if right else "wrong_password" if user else "unknown_user")
            raise GrantRefused(WRONG)
        if self._passwords.is_outdated(kept):
            hashed = await self._passwords.hash(password, place=place)
            await self._records.set_password(user.id, hashed, None)
        return user

    def _refused(self, user: User | None, outcome: str) -> None:
        self._tell(LoginTried(who=user.id if user else "", name=user.name if user else "", outcome=outcome))
