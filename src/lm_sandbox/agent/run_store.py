"""The records of runs, kept in the database: what came in, what was done, and what came of it.

A record holds documents of a surface as they are; nothing here looks into them.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Self

from sqlalchemy import (
    Column,
    LargeBinary,
    RowMapping,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    tuple_,
    update,
)

from lm_sandbox.errors import NotFound
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.storage.database import Database
from lm_sandbox.storage.schema import METADATA, Moment
from lm_sandbox.storage.serving_process import is_running, this_server

RUNS = Table(
    "runs",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False, index=True),
    Column("created_at", Moment, nullable=False, index=True),
    Column("server", String(64), nullable=True, index=True),
    Column("document", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("events", LargeBinary, nullable=False),
)

_HEAD = (RUNS.c.id, RUNS.c.owner, RUNS.c.created_at, RUNS.c.document, RUNS.c.server)
FORGET_S = 3600.0


@dataclass(frozen=True, slots=True)
class RunHead:
    """A run as lists show it.

    Attributes:
        id: Names it.
        owner: The id of the principal that asked for it.
        created_at: When it began.
        document: What it is or has become, as JSON.
        running: Whether a server that lives is at work on it.
        server: Which.
    """

    id: str
    owner: str
    created_at: datetime
    document: str
    running: bool = field(default=False, kw_only=True)
    server: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class RunRecord(RunHead):
    """A run as it is kept.

    Attributes:
        inputs: What it started from, as JSON.
        events: What happened, one JSON text each.
    """

    inputs: str
    events: Sequence[str] = ()


class RunStore:
    """Keeps records of runs.

    Args:
        database: Holds the rows.
        kept_days: How long one is kept.
        clock: Seconds that only go up.
    """

    def __init__(
        self, database: Database, kept_days: float, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._database = database
        self._kept = timedelta(days=kept_days)
        self._clock = clock
        self._forgot_at = clock()

    async def __aenter__(self) -> Self:
        await self.forget_old()
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def forget_old(self) -> None:
        """Deletes what has been kept for long enough."""
        self._forgot_at = self._clock()
        query = delete(RUNS).where(RUNS.c.created_at < datetime.now(UTC) - self._kept)
        async with self._database.begin() as connection:
            await connection.execute(query)

    async def add(self, record: RunRecord) -> None:
        """Enters a run, which this server works on or has worked on; now and then forgets old ones."""
        if self._clock() - self._forgot_at >= FORGET_S:
            await self.forget_old()
        row = {
            "id": record.id,
            "owner": record.owner,
            "created_at": record.created_at,
            "server": this_server() if record.running else None,
            "document": record.document,
            "inputs": record.inputs,
            "events": _packed(record.events),
        }
        async with self._database.begin() as connection:
            await connection.execute(insert(RUNS).values(**row))

    async def finish(self, run_id: str, document: str, events: Sequence[str]) -> None:
        """Enters how a run ended; does nothing where it was deleted."""
        changed = {"document": document, "events": _packed(events), "server": None}
        async with self._database.begin() as connection:
            await connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(**changed))

    async def find(self, principal: Principal, run_id: str) -> RunRecord:
        """Finds one of the principal's runs.

        Raises:
            NotFound: the principal has none of this id.
        """
        principal.require(Scope.MODELS)
        query = select(RUNS).where(RUNS.c.id == run_id)
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None or not principal.owns(row["owner"]):
            raise NotFound(f"There is no response {run_id!r}; it was never stored, or has been deleted.")
        return _record(row)

    async def page(self, principal: Principal, after: str | None, limit: int) -> tuple[list[RunHead], bool]:
        """Lists the principal's runs, newest first, and tells whether there are more."""
        principal.require(Scope.MODELS)
        place = tuple_(RUNS.c.created_at, RUNS.c.id)
        query = select(*_HEAD).order_by(RUNS.c.created_at.desc(), RUNS.c.id.desc()).limit(limit + 1)
        if not principal.owns(""):
            query = query.where(RUNS.c.owner == principal.id)
        if after is not None:
            before = select(RUNS.c.created_at, RUNS.c.id).where(RUNS.c.id == after)
            query = query.where(place < before.scalar_subquery())
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        heads = [_head(row) for row in rows]
        return heads[:limit], len(heads) > limit

    async def delete(self, principal: Principal, run_id: str) -> None:
        """Forgets a run.

        Raises:
            NotFound: the principal has none of this id.
        """
        record = await self.find(principal, run_id)
        async with self._database.begin() as connection:
            await connection.execute(delete(RUNS).where(RUNS.c.id == record.id))


def _head(row: RowMapping) -> RunHead:
    return RunHead(
        row["id"], row["owner"], row["created_at"], row["document"], running=_runs(row), server=row["server"]
    )


def _runs(row: RowMapping) -> bool:
    return row["server"] is not None and is_running(row["server"])


def _record(row: RowMapping) -> RunRecord:
    text = zlib.decompress(row["events"]).decode()
    return RunRecord(
        id=row["id"],
        owner=row["owner"],
        created_at=row["created_at"],
        document=row["document"],
        inputs=row["inputs"],
        events=text.split("\n") if text else [],
        running=_runs(row),
        server=row["server"],
    )


def _packed(events: Sequence[str]) -> bytes:
    # JSON texts have no line ends of their own.
    return zlib.compress("\n".join(events).encode(errors="surrogatepass"), 1)
