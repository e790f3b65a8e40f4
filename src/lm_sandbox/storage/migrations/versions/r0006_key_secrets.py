"""Keys that expire, are revoked and rotated, with quotas; their secrets in a table of their own.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key_secrets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key_id", sa.String(32), sa.ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
        sa.Column("lookup", sa.String(16), nullable=False),
        sa.Column("salt", sa.LargeBinary(16), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
    )
    for name in ("key_id", "lookup"):
        op.create_index(f"ix_api_key_secrets_{name}", "api_key_secrets", [name])
    op.execute(
        "INSERT INTO api_key_secrets (key_id, lookup, salt, digest)"
        " SELECT id, lookup, salt, digest FROM api_keys"
    )
    op.drop_index("ix_api_keys_lookup", "api_keys")
    for name in ("lookup", "salt", "digest"):
        op.drop_column("api_keys", name)
    op.add_column("api_keys", sa.Column("quotas", sa.Text, nullable=False, server_default="{}"))
    for name in ("expires_at", "revoked_at", "last_used_at"):
        op.add_column("api_keys", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    # What had been part of this scope is one of its own now.
    op.execute("UPDATE api_keys SET scopes = 'files ' || scopes WHERE ' ' || scopes || ' ' LIKE '% models %'")
