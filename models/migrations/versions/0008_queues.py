"""Queues of work: who has taken what, what a person made of a message; dead letters and failed SMS by an index."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from models.tables import FAILED_ASKS, Id, UtcTime

revision = "0008"
down_revision = "0007"


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.add_column("messages", sa.Column("handled_as", sa.String(length=16), nullable=True))
    op.add_column("messages", sa.Column("handled_note", sa.Text(), nullable=True))
    op.create_table(
        "work_owners",
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("item_id", Id(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("taken_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "item_id", name="pk_work_owners"),
    )
    op.create_index("ix_messages_failed_asks", "messages", ["created_at", "id"], unique=False, **_where(FAILED_ASKS))
    op.create_index(
        "ix_outbox_dead", "outbox", ["created_at", "evaluation_id"], unique=False, **_where("state = 'dead'")
    )
