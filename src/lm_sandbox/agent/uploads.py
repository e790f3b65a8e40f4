"""Files that callers hand in, for responses and for sandboxes."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Self

import anyio.to_thread
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    RowMapping,
    String,
    Table,
    delete,
    func,
    insert,
    or_,
    select,
)

from lm_sandbox.errors import NoCapacity, NotFound, TooLarge
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.paging import page_of
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA, Moment

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False, index=True),
    Column("name", String(512), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False, index=True),
    Column("expires_at", Moment, nullable=True),
)
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was handed in.

    Attributes:
        id: Names it.
        owner: The id of the principal that handed it in.
        name: As the caller called it; never a path here.
        purpose: What the caller says that it is for.
        size_bytes: Its content.
        created_at: When it came.
        expires_at: When it goes by itself.
    """

    id: str
    owner: str
    name: str
    purpose: str
    size_bytes: int
    created_at: datetime
    expires_at: datetime | None


class Uploads:
    """Keeps files: their rows in the database, their contents each in a file.

    Args:
        database: Holds the rows.
        folder: Holds the contents.
        most_bytes: What all may take together.
        largest_bytes: What one may take.
        shares: How much each principal may keep.
        alone: Tells whether no other process may be taking one in now.
    """

    def __init__(  # noqa: PLR0913 - its two places, its three bounds, and who else is there
        self,
        database: Database,
        folder: Path,
        most_bytes: int,
        largest_bytes: int,
        shares: Shares,
        *,
        alone: Callable[[], bool] = lambda: True,
    ) -> None:
        self._alone = alone
        self._database = database
        self._folder = folder
        self._most_bytes = most_bytes
        self._largest_bytes = largest_bytes
        self._shares = shares

    async def __aenter__(self) -> Self:
        """Removes what has expired, and contents that a killed server left without a row."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self.forget_expired()
        # In this order: what another process takes in meanwhile is not among them.
        files = list(self._folder.iterdir())
        if not self._alone():
            return self
        async with self._database.begin() as connection:
            known = set((await connection.execute(select(UPLOADS.c.id))).scalars())
        for file in files:
            if file.name not in known:
                file.unlink()
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def forget_expired(self) -> None:
        """Deletes the files whose time is over."""
        over = UPLOADS.c.expires_at <= datetime.now(UTC)
        async with self._database.begin() as connection:
            ids = (await connection.execute(select(UPLOADS.c.id).where(over))).scalars().all()
            await connection.execute(delete(UPLOADS).where(over))
        for upload_id in ids:
            (self._folder / upload_id).unlink(missing_ok=True)

    async def add(
        self, principal: Principal, name: str, purpose: str, content: BinaryIO, kept_s: float | None
    ) -> Upload:
        """Takes a file in.

        Raises:
            TooLarge: it is over the size of one.
            NoCapacity: the files take as much as they may, or the disk takes no more.
            QuotaReached: the principal keeps as much as it may.
        """
        principal.require(Scope.FILES)
        await self.forget_expired()
        upload_id = f"file-{secrets.token_hex(12)}"
        path = self._folder / upload_id
        try:
            size = await anyio.to_thread.run_sync(_copy, content, path, self._largest_bytes)
            await self._shares.check_room(principal, size)
            now = datetime.now(UTC)
            expires = None if kept_s is None else now + timedelta(seconds=kept_s)
            upload = Upload(upload_id, principal.id, name, purpose, size, now, expires)
            await self._enter(upload)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise NoCapacity("The server's disk takes no more; delete something.") from error
            raise
        return upload

    async def taken_by(self, owner: str) -> int:
        """Tells how many bytes the files of an owner have."""
        query = select(func.sum(UPLOADS.c.size_bytes)).where(UPLOADS.c.owner == owner)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).scalar() or 0

    async def find(self, principal: Principal, upload_id: str) -> Upload:
        """Finds one of the principal's files.

        Raises:
            NotFound: the principal has none of this id.
        """
        principal.require(Scope.FILES)
        query = select(UPLOADS).where(UPLOADS.c.id == upload_id, _lasting())
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None or not principal.owns(row["owner"]):
            raise NotFound(f"There is no file {upload_id!r}.")
        return _upload(row)

    async def page(
        self, principal: Principal, purpose: str | None, after: str | None, limit: int, *, newest: bool
    ) -> tuple[list[Upload], bool]:
        """Lists the principal's files by their age, and tells whether there are more."""
        principal.require(Scope.FILES)
        query = select(UPLOADS).where(_lasting()).order_by(UPLOADS.c.created_at, UPLOADS.c.id)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        own = [_upload(row) for row in rows if principal.owns(row["owner"])]
        wanted = [upload for upload in own if purpose in {None, upload.purpose}]
        return page_of(wanted[::-1] if newest else wanted, after, limit)

    async def delete(self, principal: Principal, upload_id: str) -> None:
        """Removes a file.

        Raises:
            NotFound: the principal has none of this id.
        """
        upload = await self.find(principal, upload_id)
        async with self._database.begin() as connection:
            await connection.execute(delete(UPLOADS).where(UPLOADS.c.id == upload.id))
        (self._folder / upload.id).unlink(missing_ok=True)

    @asynccontextmanager
    async def content(self, upload: Upload) -> AsyncIterator[AsyncIterator[bytes]]:
        """Opens a file's content, piece by piece.

        Raises:
            NotFound: it was deleted meanwhile.
        """
        try:
            file = await anyio.open_file(self._folder / upload.id, "rb")
        except FileNotFoundError as error:
            raise NotFound(f"There is no file {upload.id!r}.") from error
        async with file:

            async def pieces() -> AsyncIterator[bytes]:
                while piece := await file.read(PIECE):
                    yield piece

            yield pieces()

    async def _enter(self, upload: Upload) -> None:
        row = {name: getattr(upload, name) for name in UPLOADS.c.keys()}  # noqa: SIM118 - not a dict
        async with self._database.begin() as connection:
            taken = (await connection.execute(select(func.sum(UPLOADS.c.size_bytes)))).scalar() or 0
            if taken + upload.size_bytes > self._most_bytes:
                raise NoCapacity("The uploaded files take all the disk that they may; delete some.")
            await connection.execute(insert(UPLOADS).values(**row))


def _lasting() -> ColumnElement[bool]:
    return or_(UPLOADS.c.expires_at.is_(None), UPLOADS.c.expires_at > datetime.now(UTC))


def _copy(content: BinaryIO, path: Path, most: int) -> int:
    size = 0
    with path.open("xb") as file:
        while piece := content.read(PIECE):
            size += len(piece)
            if size > most:
                raise TooLarge(f"A file may have {most // MIB} MiB at most.")
            file.write(piece)
    return size


def _upload(row: RowMapping) -> Upload:
    return Upload(**row)
