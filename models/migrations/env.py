"""Alembic's entry: the connection comes from `Database.upgrade`, which runs it all in one transaction."""

from __future__ import annotations

from alembic import context

from models.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
