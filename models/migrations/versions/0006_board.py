"""The live board: who has seen a bad rating, and indexes for what it looks at each second."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from models.tables import Id, UtcTime

revision = "0006"
down_revision = "0005"


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "seen",
        sa.Column("rating_id", Id(), nullable=False),
        sa.Column("seen_by", sa.String(length=64), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("noted_by", sa.String(length=64), nullable=True),
        sa.Column("noted_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("rating_id", name="pk_seen"),
    )
    op.create_index(
        "ix_evaluations_bad",
        "evaluations",
        ["assess_time"],
        unique=False,
        **_where("effective AND satisfaction <= 2 AND origin = 'citizen'"),
    )
    op.create_index(
        "ix_messages_failed",
        "messages",
        ["changed_at"],
        unique=False,
        **_where("state = 'failed' AND direction = 'out'"),
    )
