"""Alembic migrations, forward from every released version."""
