"""The records of sandboxes, by which other servers know them, and who holds which."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import (
    Column,
    ColumnElement,
    Executable,
    Index,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lm_sandbox.errors import Conflict
from lm_sandbox.sandboxes.driver import Enforced
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.instant import Instant
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.mounts import VolumeMount
from lm_sandbox.sandboxes.nvidia import GpuDevice
from lm_sandbox.sandboxes.sandbox import Lifetime, Sandbox, SandboxState
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA, Moment
from lm_sandbox.storage.serving_process import this_server

SANDBOXES = Table(
    "sandboxes",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("record", Text, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("server", String(64), nullable=False, index=True),
    Column("created_at", Moment, nullable=True),
    Column("deleted_at", Moment, nullable=True),
    Index("uq_sandboxes_owner_name", "owner", "name", unique=True),
)
# So long it is known that there was one.
REMEMBERED = timedelta(days=1)
ALIVE = SANDBOXES.c.deleted_at.is_(None)


class SandboxRecord(BaseModel):
    """What is remembered of a sandbox; its variables, which may be secrets, are not among it.

    Attributes:
        id: Names it.
        owner: The id of the principal that made it.
        name: For people.
        metadata: The caller's own.
        created_at: When it was made.
        last_active_at: When it was last used.
        lifetime: When it goes by itself.
        egress: What it may reach.
        state: Where it is in its life.
        image: What was asked for as its root file system.
        enforced: What holds it.
        limits: What it may use.
        gpus: Those that are lent to it.
        server: The process that has it.
        boot: The start of the host that these are counted from.
        created_s: When it was made, in seconds from there; None where that was before.
        last_active_s: When it was last used, likewise.
    """

    id: str
    owner: str
    name: str
    metadata: Mapping[str, str]
    created_at: datetime
    last_active_at: datetime
    lifetime: Lifetime
    egress: EgressPolicy
    state: SandboxState
    image: str | None = None
    enforced: Enforced | None = None
    limits: Limits = Limits()
    gpus: tuple[GpuDevice, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    server: str
    boot: str = ""
    created_s: float | None = None
    last_active_s: float | None = None

    @classmethod
    def of(cls, sandbox: Sandbox) -> "SandboxRecord":
        """Describes a sandbox of this process as it is now."""
        told = {
            "server": this_server(),
            "boot": sandbox.used.boot,
            "created_s": sandbox.made.boot_s if sandbox.made.boot == sandbox.used.boot else None,
            "last_active_s": sandbox.used.boot_s,
        }
        own = {name: getattr(sandbox, name) for name in cls.model_fields if name not in told}
        return cls.model_validate(own | told)

    @property
    def made(self) -> Instant:
        """When it was made."""
        return _instant(self.created_at, self.boot, self.created_s)

    @property
    def used(self) -> Instant:
        """When it was last used."""
        return _instant(self.last_active_at, self.boot, self.last_active_s)

    def row(self) -> dict[str, object]:
        """Returns it as it is kept."""
        chosen_by = {"owner": self.owner, "name": self.name, "created_at": self.created_at}
        return {"id": self.id, "record": self.model_dump_json(), "server": self.server, **chosen_by}


class SandboxStore:
    """Keeps the records of sandboxes in the database.

    Args:
        database: Holds the rows.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: SandboxRecord) -> None:
        """Enters a new sandbox.

        Raises:
            Conflict: its owner has one of this name.
        """
        await self._enter(insert(SANDBOXES).values(**record.row()), record.name)

    async def change(self, record: SandboxRecord) -> None:
        """Enters how a sandbox of this process is now; does nothing where it was deleted.

        Raises:
            Conflict: its owner has another one of this name.
        """
        own = update(SANDBOXES).where(SANDBOXES.c.id == record.id, SANDBOXES.c.server == record.server, ALIVE)
        await self._enter(own.values(**record.row()), record.name)

    async def take(self, record: SandboxRecord, before: str) -> bool:
        """Enters this process as the one that has a sandbox, and tells whether that came about.

        Args:
            record: The sandbox as it is now.
            before: Who had it.
        """
        query = update(SANDBOXES).where(SANDBOXES.c.id == record.id, SANDBOXES.c.server == before, ALIVE)
        async with self._database.begin() as connection:
            return (await connection.execute(query.values(**record.row()))).rowcount == 1

    async def remove(self, sandbox_id: str) -> None:
        """Forgets a sandbox, all but that it was there; idempotent."""
        now = datetime.now(UTC)
        gone = {"deleted_at": now, "record": "", "server": "", "name": sandbox_id}
        async with self._database.begin() as connection:
            over = delete(SANDBOXES).where(SANDBOXES.c.deleted_at < now - REMEMBERED)
            await connection.execute(over)
            query = update(SANDBOXES).where(SANDBOXES.c.id == sandbox_id, ALIVE)
            await connection.execute(query.values(**gone))

    async def all(self) -> list[SandboxRecord]:
        """Returns every record, the oldest first."""
        return await self._read()

    async def page(self, owner: str | None, name: str | None, servers: Iterable[str]) -> list[SandboxRecord]:
        """Returns the records of what some processes have, of an owner or of all, the oldest first."""
        where: list[ColumnElement[bool]] = [SANDBOXES.c.server.in_(list(servers))]
        where += [SANDBOXES.c.owner == owner] if owner is not None else []
        where += [SANDBOXES.c.name == name] if name is not None else []
        return await self._read(*where)

    async def count(self, owner: str, without: str) -> int:
        """Tells how many sandboxes of an owner other processes have."""
        query = select(func.count()).where(SANDBOXES.c.owner == owner, SANDBOXES.c.server != without, ALIVE)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).scalar_one()

    async def holder(self, sandbox_id: str) -> tuple[str | None, str] | None:
        """Tells who has a sandbox, or None where it was deleted, and whose it is; None for an unknown one."""
        query = select(SANDBOXES.c.server, SANDBOXES.c.owner, SANDBOXES.c.deleted_at)
        async with self._database.begin() as connection:
            row = (await connection.execute(query.where(SANDBOXES.c.id == sandbox_id))).one_or_none()
        if row is None:
            return None
        return (row.server if row.deleted_at is None else None), row.owner

    async def mounts_volume(self, volume_id: str, connection: AsyncConnection) -> bool:
        """Tells whether a sandbox has a volume, as a transaction sees it."""
        query = select(SANDBOXES.c.record).where(ALIVE, SANDBOXES.c.record.contains(volume_id))
        found = (await connection.execute(query)).scalars().all()
        records = map(SandboxRecord.model_validate_json, found)
        return any(mount.id == volume_id for record in records for mount in record.mounts)

    async def _enter(self, query: Executable, name: str) -> None:
        try:
            async with self._database.begin() as connection:
                await connection.execute(query)
        except IntegrityError as error:
            raise Conflict(f"You have a sandbox named {name!r} already.") from error

    async def _read(self, *where: ColumnElement[bool]) -> list[SandboxRecord]:
        query = select(SANDBOXES.c.record, SANDBOXES.c.server).where(ALIVE, *where)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query.order_by(SANDBOXES.c.created_at, SANDBOXES.c.id))).all()
        return [SandboxRecord.model_validate_json(row.record) for row in rows]


def _instant(wall: datetime, boot: str, boot_s: float | None) -> Instant:
    return Instant(wall) if boot_s is None else Instant(wall, boot, boot_s)
