"""The records of sandboxes, by which another server knows them again."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import Column, String, Table, Text, delete, insert, select, update

from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.instant import Instant
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.nvidia import GpuDevice
from lm_sandbox.sandboxes.sandbox import Lifetime, Sandbox, SandboxState
from lm_sandbox.sandboxes.serving_process import this_server
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA

SANDBOXES = Table(
    "sandboxes",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("record", Text, nullable=False),
)


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
    limits: Limits = Limits()
    gpus: tuple[GpuDevice, ...] = ()
    server: str
    boot: str = ""
    created_s: float | None = None
    last_active_s: float | None = None

    @classmethod
    def of(cls, sandbox: Sandbox) -> "SandboxRecord":
        """Describes a sandbox as it is now."""
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


def _instant(wall: datetime, boot: str, boot_s: float | None) -> Instant:
    return Instant(wall) if boot_s is None else Instant(wall, boot, boot_s)


class SandboxStore:
    """Keeps the records of sandboxes in the database.

    Args:
        database: Holds the rows.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: SandboxRecord) -> None:
        """Enters a new sandbox."""
        row = {"id": record.id, "record": record.model_dump_json()}
        async with self._database.begin() as connection:
            await connection.execute(insert(SANDBOXES).values(**row))

    async def change(self, record: SandboxRecord) -> None:
        """Enters how a sandbox is now; does nothing where it was deleted."""
        query = update(SANDBOXES).where(SANDBOXES.c.id == record.id)
        async with self._database.begin() as connection:
            await connection.execute(query.values(record=record.model_dump_json()))

    async def remove(self, sandbox_id: str) -> None:
        """Forgets a sandbox; idempotent."""
        async with self._database.begin() as connection:
            await connection.execute(delete(SANDBOXES).where(SANDBOXES.c.id == sandbox_id))

    async def all(self) -> list[SandboxRecord]:
        """Returns every record."""
        async with self._database.begin() as connection:
            rows = (await connection.execute(select(SANDBOXES.c.record))).scalars().all()
        return [SandboxRecord.model_validate_json(row) for row in rows]
