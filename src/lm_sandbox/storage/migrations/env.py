"""Runs the migrations on the database that the caller names."""

from alembic import context
from sqlalchemy import create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry


def _wait_for_writers(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.cursor().execute("PRAGMA busy_timeout=10000")


engine = create_engine(context.config.attributes["url"])
event.listen(engine, "connect", _wait_for_writers)
with engine.connect() as connection:
    # Two first starts at once: the second waits here and then finds nothing left to do.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
engine.dispose()
