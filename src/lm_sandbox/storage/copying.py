"""A copy of a database that is the same for every system: a JSON line a row, all of one moment."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, MetaData, Row, Table, create_engine, insert, inspect, select, text

from lm_sandbox.errors import Conflict
from lm_sandbox.storage.backend import Backend
from lm_sandbox.storage.database import migrate

VERSIONS = "alembic_version"
# One moment for all tables; in SQLite that is what a transaction sees, in PostgreSQL one that asks for it.
MOMENT = {"sqlite": "BEGIN", "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"}
ROWS_AT_ONCE = 500


class Copied:
    """A database as it is at one moment.

    Attributes:
        revision: Of its schema.

    Args:
        connection: In a transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tables = _tables(connection)
        self.revision: str = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalar_one()  # noqa: S608 - no one's input

    def lines(self, without: Iterable[str]) -> Iterator[bytes]:
        """Gives every row of all tables but some, those first that others refer to."""
        for table in self._tables:
            if table.name in without:
                continue
            for row in self._connection.execute(select(table)):
                yield json.dumps([table.name, _told(row)]).encode() + b"\n"

    def ids(self, name: str) -> list[str]:
        """Returns the ids in a table."""
        table = next(one for one in self._tables if one.name == name)
        return list(self._connection.execute(select(table.c.id).order_by(table.c.id)).scalars())


@contextmanager
def copied(backend: Backend) -> Iterator[Copied]:
    """Opens a database for copying, while others go on to use it; blocks."""
    engine = create_engine(backend.migrations_url)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(MOMENT[engine.dialect.name])
            yield Copied(connection)
    finally:
        engine.dispose()


@contextmanager
def filled(backend: Backend, revision: str, lines: Iterable[bytes]) -> Iterator[int]:
    """Fills an empty database with a copy and brings it to the newest schema; what fails inside undoes it.

    Yields:
        How many rows there are.

    Raises:
        Conflict: something is in it, or its schema is newer than the copy's.
    """
    engine = create_engine(backend.migrations_url)
    try:
        with engine.connect() as connection:
            _require_empty(connection, revision)
        migrate(backend, revision)
        with engine.begin() as connection:
            yield _fill(connection, lines)
    finally:
        engine.dispose()
    migrate(backend)


def _require_empty(connection: Connection, revision: str) -> None:
    if not inspect(connection).has_table(VERSIONS):
        return
    if any(connection.execute(select(table).limit(1)).first() for table in _tables(connection)):
        raise Conflict("There is something in this database already; nothing is overwritten.")
    if connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalar() != revision:  # noqa: S608
        raise Conflict("This empty database has another schema than the backup; remove it or name a new one.")


def _fill(connection: Connection, lines: Iterable[bytes]) -> int:
    tables = {table.name: table for table in _tables(connection)}
    count = 0
    rows_left = map(json.loads, lines)
    while batch := list(islice(rows_left, ROWS_AT_ONCE)):
        for name in dict.fromkeys(row[0] for row in batch):
            rows = [_row(tables[name], values) for other, values in batch if other == name]
            connection.execute(insert(tables[name]), rows)
            count += len(rows)
    return count


def _tables(connection: Connection) -> list[Table]:
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != VERSIONS]


def _row(table: Table, values: Mapping[str, Any]) -> dict[str, object]:
    """A number that the database counts itself is given anew: nothing refers to one."""
    counted = table.autoincrement_column
    return {name: _read(value) for name, value in values.items() if counted is None or name != counted.name}


def _told(row: Row[Any]) -> dict[str, object]:
    return {name: _write(value) for name, value in row._mapping.items()}  # noqa: SLF001 - its public name


def _write(value: object) -> object:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        # SQLite keeps no zone: what is in it is UTC.
        zoned = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return {"time": zoned.isoformat()}
    return value


def _read(value: object) -> object:
    if isinstance(value, dict):
        if "bytes" in value:
            return base64.b64decode(value["bytes"])
        return datetime.fromisoformat(value["time"])
    return value
