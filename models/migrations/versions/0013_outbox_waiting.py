"""What waits for the centre by an index, the oldest first: the console lists it, and asks how old the oldest is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["created_at", "evaluation_id"],
        unique=False,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
