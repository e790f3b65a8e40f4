"""Which process holds a sandbox, what lists choose by, and which one a conversation has.

Revision ID: 0013
"""

import json
from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("owner", sa.String(64), nullable=False, server_default=""),
        sa.Column("name", sa.String(256), nullable=False, server_default=""),
        sa.Column("server", sa.String(64), nullable=False, server_default=""),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("sandboxes", column)
    sandboxes = sa.table(
        "sandboxes",
        *(sa.column(name, sa.String) for name in ("id", "record", "owner", "name", "server")),
        sa.column("created_at", sa.DateTime(timezone=True)),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(sandboxes.c.id, sandboxes.c.record)).all():
        record = json.loads(row.record)
        values = {name: record.get(name, "") for name in ("owner", "name", "server")}
        values["created_at"] = datetime.fromisoformat(record["created_at"])
        connection.execute(sa.update(sandboxes).where(sandboxes.c.id == row.id).values(**values))
    op.create_index("uq_sandboxes_owner_name", "sandboxes", ["owner", "name"], unique=True)
    op.create_index("ix_sandboxes_server", "sandboxes", ["server"])
    op.create_table(
        "conversation_sandboxes",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("sandbox", sa.String(32), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False, index=True),
    )
