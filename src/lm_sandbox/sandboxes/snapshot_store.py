"""Snapshots: the saved files of sandboxes, which outlive them and this server."""

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import anyio.to_thread
from sqlalchemy import BigInteger, Column, RowMapping, String, Table, delete, func, insert, select

from lm_sandbox.errors import NoCapacity, SnapshotNotFound
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.paging import page_of
from lm_sandbox.sandboxes.sandbox import Sandbox
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA, Moment

SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("owner", String(64), nullable=False, index=True),
    Column("sandbox", String(32), nullable=False),
    Column("name", String(128), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False, index=True),
    Column("image", String(512), nullable=True),
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The saved files of a sandbox.

    Attributes:
        id: Names it.
        owner: The id of the principal that made it.
        sandbox: The sandbox that it was made of, which may be gone.
        name: For people.
        size_bytes: What it takes on disk.
        created_at: When it was made.
        image: What its files are on top of; None for the server's default.
    """

    id: str
    owner: str
    sandbox: str
    name: str
    size_bytes: int
    created_at: datetime
    image: str | None = None


class SnapshotStore:
    """Keeps snapshots: their rows in the database, their files each in a folder.

    Args:
        database: Holds the rows.
        folder: Holds the folders.
        most_bytes: What all of them may take together.
        alone: Tells whether no other process may be making one now.
    """

    def __init__(
        self, database: Database, folder: Path, most_bytes: int, alone: Callable[[], bool] = lambda: True
    ) -> None:
        self._alone = alone
        self._database = database
        self._folder = folder
        self._most_bytes = most_bytes

    async def __aenter__(self) -> Self:
        """Removes the folders that a killed server left half made."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In this order: what another process makes meanwhile is not among them.
        folders = list(self._folder.iterdir())
        if not self._alone():
            return self
        async with self._database.begin() as connection:
            known = set((await connection.execute(select(SNAPSHOTS.c.id))).scalars())
        for folder in folders:
            if folder.name not in known:
                await _remove(folder)
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def taken_by(self, owner: str) -> int:
        """Tells how many bytes the snapshots of an owner have."""
        query = select(func.sum(SNAPSHOTS.c.size_bytes)).where(SNAPSHOTS.c.owner == owner)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).scalar() or 0

    async def place(self, wanted_bytes: int) -> tuple[str, Path]:
        """Returns the id of a new snapshot and the folder to write it to.

        Raises:
            NoCapacity: the snapshots take as much as they may.
        """
        async with self._database.begin() as connection:
            taken = (await connection.execute(select(func.sum(SNAPSHOTS.c.size_bytes)))).scalar() or 0
        if taken + wanted_bytes > self._most_bytes:
            raise NoCapacity("The snapshots take all the disk that they may; delete some.")
        snapshot_id = f"snap_{secrets.token_hex(8)}"
        return snapshot_id, self.folder(snapshot_id)

    def folder(self, snapshot_id: str) -> Path:
        """Returns where the files of a snapshot are."""
        return self._folder / snapshot_id

    async def keep(self, snapshot: Snapshot) -> None:
        """Enters a snapshot whose files are written."""
        row = {name: getattr(snapshot, name) for name in SNAPSHOTS.c.keys()}  # noqa: SIM118 - not a dict
        async with self._database.begin() as connection:
            await connection.execute(insert(SNAPSHOTS).values(**row))

    async def drop(self, snapshot_id: str) -> None:
        """Removes the files of a snapshot that did not come about."""
        await _remove(self.folder(snapshot_id))

    async def find(self, principal: Principal, snapshot_id: str) -> Snapshot:
        """Finds one of the principal's snapshots.

        Raises:
            SnapshotNotFound: the principal has none of this id.
        """
        principal.require(Scope.SANDBOXES)
        query = select(SNAPSHOTS).where(SNAPSHOTS.c.id == snapshot_id)
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None or not principal.owns(row["owner"]):
            raise SnapshotNotFound(f"There is no snapshot {snapshot_id!r}.")
        return _snapshot(row)

    async def page(self, principal: Principal, after: str | None, limit: int) -> tuple[list[Snapshot], bool]:
        """Lists the principal's snapshots, oldest first, and tells whether there are more."""
        principal.require(Scope.SANDBOXES)
        query = select(SNAPSHOTS).order_by(SNAPSHOTS.c.created_at, SNAPSHOTS.c.id)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return page_of([_snapshot(row) for row in rows if principal.owns(row["owner"])], after, limit)

    async def delete(self, principal: Principal, snapshot_id: str) -> None:
        """Removes a snapshot.

        Raises:
            SnapshotNotFound: the principal has none of this id.
        """
        snapshot = await self.find(principal, snapshot_id)
        async with self._database.begin() as connection:
            await connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.id == snapshot.id))
        await self.drop(snapshot.id)


def new_snapshot(snapshot_id: str, sandbox: Sandbox, name: str | None, size: int) -> Snapshot:
    """Describes a snapshot of a sandbox that was just written."""
    now = datetime.now(UTC)
    return Snapshot(snapshot_id, sandbox.owner, sandbox.id, name or snapshot_id, size, now, sandbox.image)


def _snapshot(row: RowMapping) -> Snapshot:
    return Snapshot(**row)


async def _remove(folder: Path) -> None:
    await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
