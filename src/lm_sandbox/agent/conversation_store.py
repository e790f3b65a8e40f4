"""Conversations that callers keep here: items that grow, of which responses go on.

An item is a document of a surface as it is; nothing here looks into it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from lm_sandbox.errors import Conflict, NotFound
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA

CONVERSATIONS = Table(
    "conversations",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False, index=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True), nullable=False, index=True),
    Column("metadata", Text, nullable=False),
    Column("sandbox_id", String(64), nullable=True),
)
ITEMS = Table(
    "conversation_items",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column(
        "conversation_id",
        String(64),
        ForeignKey("conversations.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("id", String(128), nullable=False),
    Column("document", Text, nullable=False),
)
MOST_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class KeptConversation:
    """A conversation without its items.

    Attributes:
        id: Names it.
        owner: The id of the principal that made it.
        created_at: When.
        metadata: The caller's own.
        sandbox_id: The sandbox that its latest response had.
    """

    id: str
    owner: str
    created_at: datetime
    metadata: Mapping[str, str]
    sandbox_id: str | None = None


@dataclass(frozen=True, slots=True)
class KeptItem:
    """An item of a conversation: its name, and what it is as JSON."""

    id: str
    document: str


class ConversationStore:
    """Keeps conversations.

    Args:
        database: Holds the rows.
        kept_days: How long one is kept that nobody uses.
    """

    def __init__(self, database: Database, kept_days: float) -> None:
        self._database = database
        self._kept = timedelta(days=kept_days)

    async def add(
        self, principal: Principal, metadata: Mapping[str, str], items: Sequence[KeptItem]
    ) -> KeptConversation:
        """Makes a conversation; on the way those are forgotten that nobody has used for long."""
        principal.require(Scope.MODELS)
        now = datetime.now(UTC)
        made = KeptConversation(f"conv_{token_hex(16)}", principal.id, now, dict(metadata))
        row = {
            "id": made.id,
            "owner": made.owner,
            "created_at": now,
            "used_at": now,
            "metadata": json.dumps(made.metadata),
        }
        async with self._database.begin() as connection:
            await connection.execute(delete(CONVERSATIONS).where(CONVERSATIONS.c.used_at < now - self._kept))
            await connection.execute(insert(CONVERSATIONS).values(**row))
            await _append(connection, made.id, items)
        return made

    async def find(self, principal: Principal, conversation_id: str) -> KeptConversation:
        """Finds one of the principal's conversations.

        Raises:
            NotFound: the principal has none of this id.
        """
        principal.require(Scope.MODELS)
        query = select(CONVERSATIONS).where(CONVERSATIONS.c.id == conversation_id)
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None or not principal.owns(row["owner"]):
            raise NotFound(f"There is no conversation {conversation_id!r}.")
        return KeptConversation(
            row["id"],
            row["owner"],
            row["created_at"].replace(tzinfo=UTC),
            json.loads(row["metadata"]),
            row["sandbox_id"],
        )

    async def change(
        self, principal: Principal, conversation_id: str, metadata: Mapping[str, str]
    ) -> KeptConversation:
        """Gives a conversation new metadata in place of all the old; raises as `find`."""
        await self.find(principal, conversation_id)
        await self._set(conversation_id, metadata=json.dumps(dict(metadata)))
        return await self.find(principal, conversation_id)

    async def delete(self, principal: Principal, conversation_id: str) -> None:
        """Forgets a conversation with its items; raises as `find`."""
        await self.find(principal, conversation_id)
        async with self._database.begin() as connection:
            await connection.execute(delete(CONVERSATIONS).where(CONVERSATIONS.c.id == conversation_id))

    async def items(self, principal: Principal, conversation_id: str) -> list[KeptItem]:
        """Returns all items, the oldest first; raises as `find`."""
        await self.find(principal, conversation_id)
        query = (
            select(ITEMS.c.id, ITEMS.c.document)
            .where(ITEMS.c.conversation_id == conversation_id)
            .order_by(ITEMS.c.number)
        )
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).all()
        return [KeptItem(row.id, row.document) for row in rows]

    async def append(self, principal: Principal, conversation_id: str, items: Sequence[KeptItem]) -> None:
        """Adds items at the end.

        Raises:
            NotFound: the principal has none of this id.
            Conflict: the conversation is full, or one of these names is in it.
        """
        await self.find(principal, conversation_id)
        async with self._database.begin() as connection:
            await _append(connection, conversation_id, items)
        await self._set(conversation_id)

    async def remove(self, principal: Principal, conversation_id: str, item_id: str) -> None:
        """Takes an item out.

        Raises:
            NotFound: the principal has no such conversation, or it has no such item.
        """
        await self.find(principal, conversation_id)
        query = delete(ITEMS).where(ITEMS.c.conversation_id == conversation_id, ITEMS.c.id == item_id)
        async with self._database.begin() as connection:
            removed = (await connection.execute(query)).rowcount
        if not removed:
            raise NotFound(f"There is no item {item_id[:100]!r} in this conversation.")

    async def settle(self, conversation_id: str, sandbox_id: str | None) -> None:
        """Notes which sandbox a conversation has; does nothing where it was deleted."""
        if sandbox_id is not None:
            await self._set(conversation_id, sandbox_id=sandbox_id)

    async def _set(self, conversation_id: str, **changed: object) -> None:
        query = update(CONVERSATIONS).where(CONVERSATIONS.c.id == conversation_id)
        async with self._database.begin() as connection:
            await connection.execute(query.values(used_at=datetime.now(UTC), **changed))


async def _append(connection: AsyncConnection, conversation_id: str, items: Sequence[KeptItem]) -> None:
    if not items:
        return
    inside = ITEMS.c.conversation_id == conversation_id
    count = (await connection.execute(select(func.count()).where(inside))).scalar_one()
    if count + len(items) > MOST_ITEMS:
        raise Conflict(f"A conversation has {MOST_ITEMS} items at most; begin a new one.")
    names = [item.id for item in items]
    taken = (
        (await connection.execute(select(ITEMS.c.id).where(inside, ITEMS.c.id.in_(names)))).scalars().all()
    )
    if taken or len(set(names)) < len(names):
        raise Conflict("An item of this id is in the conversation already; leave the id out.")
    rows = [{"conversation_id": conversation_id, "id": item.id, "document": item.document} for item in items]
    await connection.execute(insert(ITEMS), rows)
