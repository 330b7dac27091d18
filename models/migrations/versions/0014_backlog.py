"""Cases that came after their deadline by an index, by that deadline: a calendar may say later that they had time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    backlog = sa.text("default_reason = 'backlog'")
    op.create_index(
        "ix_cases_backlog",
        "cases",
        ["deadline", "subject_id"],
        unique=False,
        sqlite_where=backlog,
        postgresql_where=backlog,
    )
