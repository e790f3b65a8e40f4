"""Volumes: files that outlive the sandboxes they are mounted in, each a file system in a file."""

import logging
import os
import secrets
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    RowMapping,
    String,
    Table,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lm_sandbox.errors import Conflict, NoCapacity, Unsupported, VolumeNotFound
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.inside.layout import SANDBOX_UID
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA, Moment

LOG = logging.getLogger(__name__)
PREFIX = "vol_"
# Of the file of a volume that is just being made, or being removed.
PART = ".part"
MKFS = "mkfs.ext4"
# Tells whether a volume is mounted, as a transaction sees it.
Uses = Callable[[str, AsyncConnection], Awaitable[bool]]
# Nothing is kept back for root, and the tables are written when they are needed.
MKFS_OPTIONS = (
    "-q",
    "-F",
    "-m",
    "0",
    "-E",
    f"root_owner={SANDBOX_UID}:{SANDBOX_UID},lazy_itable_init=1,nodiscard",
)
VOLUMES = Table(
    "volumes",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("created_at", Moment, nullable=False, index=True),
    Index("uq_volumes_owner_name", "owner", "name", unique=True),
)


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume.

    Attributes:
        id: Names it.
        owner: The id of the principal that made it.
        name: For people; unique among the owner's.
        size_bytes: What it can hold, its own tables included.
        created_at: When it was made.
        metadata: The owner's own, kept and given back.
    """

    id: str
    owner: str
    name: str
    size_bytes: int
    created_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def enforced(self) -> str:
        """What holds it to its size, wherever it can be mounted at all."""
        return f"{self.size_bytes / MIB:g} MiB (the size of its ext4 file system)"


class VolumeStore:
    """Keeps volumes: their rows in the database, each one's file system in a file.

    Args:
        database: Holds the rows.
        folder: Holds the files.
        alone: Tells whether no other process may be making one now.
    """

    def __init__(self, database: Database, folder: Path, alone: Callable[[], bool] = lambda: True) -> None:
        self._database = database
        self._folder = folder
        self._alone = alone

    async def __aenter__(self) -> Self:
        """Ends what a killed server has left half made, or half removed.

        Whole files stay, whatever the database says: it may be another one than theirs.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In this order: what another process makes meanwhile is not among them.
        files = list(self._folder.iterdir())
        if not self._alone():
            return self
        async with self._database.begin() as connection:
            known = set((await connection.execute(select(VOLUMES.c.id))).scalars())
        for file in files:
            volume_id = file.name.removesuffix(PART)
            if volume_id == file.name and volume_id not in known:
                LOG.warning("no volume has the file %s; it is left as it is", file)
            elif volume_id != file.name and volume_id in known:
                file.replace(self.disk(volume_id))
            elif volume_id != file.name:
                file.unlink(missing_ok=True)
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def taken_by(self, owner: str | None = None) -> int:
        """Tells how many bytes the volumes of an owner can hold, or all of them."""
        query = select(func.sum(VOLUMES.c.size_bytes))
        query = query if owner is None else query.where(VOLUMES.c.owner == owner)
        async with self._database.begin() as connection:
            return int((await connection.execute(query)).scalar() or 0)

    def disk(self, volume_id: str) -> Path:
        """Returns the file with a volume's file system."""
        return self._folder / volume_id

    def _part(self, volume_id: str) -> Path:
        return self._folder / f"{volume_id}{PART}"

    async def add(self, owner: str, name: str | None, size_bytes: int, metadata: Mapping[str, str]) -> Volume:
        """Makes an empty volume.

        Raises:
            Conflict: the owner has one of this name.
            NoCapacity: the disk has no room for it, were all volumes full.
            Unsupported: this host cannot make file systems.
        """
        if size_bytes > await anyio.to_thread.run_sync(room_for_disks, self._folder):
            raise NoCapacity("The server's disk has no room for a volume of this size.")
        volume_id = f"{PREFIX}{secrets.token_hex(8)}"
        made = Volume(volume_id, owner, name or volume_id, size_bytes, datetime.now(UTC), dict(metadata))
        row = {name: getattr(made, name) for name in VOLUMES.c.keys()}  # noqa: SIM118 - not a dict
        # Whoever asked for it may go away meanwhile; neither comes about without the other.
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(make_disk, self._part(made.id), size_bytes)
                async with self._database.begin() as connection:
                    await connection.execute(insert(VOLUMES).values(**row))
                self._part(made.id).rename(self.disk(made.id))
            except BaseException as error:
                self._part(made.id).unlink(missing_ok=True)
                if isinstance(error, IntegrityError):
                    raise Conflict(f"You have a volume named {made.name!r} already.") from error
                raise
        return made

    async def find(self, principal: Principal, named: str) -> Volume:
        """Finds one of the principal's volumes by its id, or by the name of one of its own.

        Raises:
            Forbidden: the principal lacks the scope.
            VolumeNotFound: the principal has no such volume.
        """
        principal.require(Scope.SANDBOXES)
        by_name = (VOLUMES.c.owner == principal.id) & (VOLUMES.c.name == named)
        query = select(VOLUMES).where((VOLUMES.c.id == named) | by_name)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        found = [_volume(row) for row in rows if principal.owns(row["owner"])]
        if not found:
            raise VolumeNotFound(f"There is no volume {named[:100]!r}.")
        # A name may look like the id of another one, which then is meant.
        return min(found, key=lambda one: one.id != named)

    async def all(self, principal: Principal) -> list[Volume]:
        """Lists the principal's volumes, oldest first."""
        principal.require(Scope.SANDBOXES)
        query = select(VOLUMES).order_by(VOLUMES.c.created_at, VOLUMES.c.id)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_volume(row) for row in rows if principal.owns(row["owner"])]

    async def has_all(self, volume_ids: Collection[str]) -> bool:
        """Tells whether none of some volumes was removed; one that is just being removed is waited for."""
        if not volume_ids:
            return True
        query = select(VOLUMES.c.id).where(VOLUMES.c.id.in_(volume_ids)).with_for_update(read=True)
        async with self._database.begin() as connection:
            return set((await connection.execute(query)).scalars()) == set(volume_ids)

    async def remove(self, volume: Volume, uses: Uses) -> None:
        """Removes a volume with all that is in it.

        Args:
            volume: Which.
            uses: Tells whether a sandbox has it.

        Raises:
            Conflict: a sandbox has it.
        """
        disk, part = self.disk(volume.id), self._part(volume.id)
        with anyio.CancelScope(shield=True):
            try:
                await self._forget(volume, uses)
            except BaseException:
                with suppress(FileNotFoundError):
                    part.rename(disk)
                raise
            part.unlink(missing_ok=True)

    async def _forget(self, volume: Volume, uses: Uses) -> None:
        async with self._database.begin() as connection:
            # In this order: a sandbox is written down first, and then looks whether its volumes are there.
            await connection.execute(delete(VOLUMES).where(VOLUMES.c.id == volume.id))
            if await uses(volume.id, connection):
                raise Conflict(f"Sandboxes have the volume {volume.name!r} mounted; delete them first.")
            with suppress(FileNotFoundError):
                self.disk(volume.id).rename(self._part(volume.id))


def _volume(row: RowMapping) -> Volume:
    return Volume(**row)


def room_for_disks(folder: Path) -> int:
    """Tells how many bytes are free beside those that the files there may still take; blocking."""
    disk = os.statvfs(folder)
    kept = [file.stat() for file in folder.iterdir()]
    return disk.f_bavail * disk.f_frsize - sum(max(0, one.st_size - one.st_blocks * 512) for one in kept)


def make_disk(file: Path, size_bytes: int) -> None:
    """Makes a file with an empty file system; blocking.

    Raises:
        Unsupported: this host cannot.
    """
    mkfs = shutil.which(MKFS, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if mkfs is None:
        raise Unsupported(f"{MKFS} is missing on the server; install e2fsprogs.")
    with file.open("xb") as made:
        file.chmod(0o600)
        made.truncate(size_bytes)
    done = subprocess.run([mkfs, *MKFS_OPTIONS, str(file)], capture_output=True, check=False, env={})
    if done.returncode != 0:
        raise Unsupported("The server could not make a file system of this size.")
