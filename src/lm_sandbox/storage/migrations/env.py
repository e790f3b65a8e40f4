"""Runs the migrations on the database that the caller names."""

from alembic import context
from sqlalchemy import create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

# Two first starts at once: the second waits here and then finds nothing left to do.
ALONE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(5091977)"}
PATIENCE = {"sqlite": "PRAGMA busy_timeout=10000", "postgresql": "SET timezone = 'UTC'"}

engine = create_engine(context.config.attributes["url"])
system = engine.dialect.name


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.cursor().execute(PATIENCE[system])


event.listen(engine, "connect", _prepare)
with engine.connect() as connection:
    connection.exec_driver_sql(ALONE[system])
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
engine.dispose()
