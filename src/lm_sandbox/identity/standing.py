"""Whether access tokens still count: those that were revoked are kept by their `jti`, until they are over."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Column, DateTime, String, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError

from lm_sandbox.errors import Unauthenticated
from lm_sandbox.identity.logins import Logins
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA

REVOKED_TOKENS = Table(
    "revoked_tokens",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("until", DateTime(timezone=True), nullable=False),
)


class Standing:
    """Tells whether tokens, which are right by themselves, were taken back.

    Args:
        database: Holds those that were.
        logins: Tell whether the login that a token came from goes on.
        now: The time of day.
    """

    def __init__(
        self, database: Database, logins: Logins, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._logins = logins
        self._now = now

    async def require(self, token_id: str, login_id: str) -> None:
        """Lets a token count.

        Args:
            token_id: Its `jti`.
            login_id: Its `sid`; empty where it came from no login.

        Raises:
            Unauthenticated: it was revoked, or its login is over.
        """
        if login_id and not await self._logins.goes_on(login_id):
            raise Unauthenticated("The login of this token is over; log in again.")
        query = select(REVOKED_TOKENS.c.id).where(REVOKED_TOKENS.c.id == token_id)
        async with self._database.begin() as connection:
            if (await connection.execute(query)).first() is not None:
                raise Unauthenticated("This token was revoked; ask for a new one.")

    async def revoke(self, token_id: str, until: datetime) -> None:
        """Takes a token back for as long as it would have worked; idempotent."""
        try:
            async with self._database.begin() as connection:
                over = REVOKED_TOKENS.c.until <= self._now()
                await connection.execute(delete(REVOKED_TOKENS).where(over))
                await connection.execute(insert(REVOKED_TOKENS).values(id=token_id, until=until))
        except IntegrityError:
            # It was there already, which is what was asked for.
            return
