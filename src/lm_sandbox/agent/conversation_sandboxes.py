"""The records of conversations: which sandbox each has, for every server process that is asked."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, String, Table, delete, insert, select, update

from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA, Moment

SANDBOXES_OF = Table(
    "conversation_sandboxes",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("sandbox", String(32), nullable=False),
    Column("used_at", Moment, nullable=False, index=True),
)
# Longer than any sandbox may rest.
KEPT = timedelta(days=8)


class ConversationSandboxes:
    """Keeps which conversation has which sandbox.

    Args:
        database: Holds the rows.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: str) -> str | None:
        """Returns the id of the sandbox that a conversation last had."""
        query = select(SANDBOXES_OF.c.sandbox).where(SANDBOXES_OF.c.id == key)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def enter(self, key: str, sandbox_id: str) -> None:
        """Notes which sandbox a conversation has; forgets those that rested for too long."""
        now = datetime.now(UTC)
        values = {"sandbox": sandbox_id, "used_at": now}
        async with self._database.begin() as connection:
            await connection.execute(delete(SANDBOXES_OF).where(SANDBOXES_OF.c.used_at < now - KEPT))
            query = update(SANDBOXES_OF).where(SANDBOXES_OF.c.id == key).values(**values)
            if not (await connection.execute(query)).rowcount:
                await connection.execute(insert(SANDBOXES_OF).values(id=key, **values))

    async def remove(self, key: str) -> None:
        """Forgets a conversation; idempotent."""
        async with self._database.begin() as connection:
            await connection.execute(delete(SANDBOXES_OF).where(SANDBOXES_OF.c.id == key))
