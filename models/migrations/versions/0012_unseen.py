"""Bad ratings that nobody has seen: the index of bad ratings also holds what they are filtered by."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_BAD = "effective AND satisfaction <= 2 AND origin = 'citizen'"


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.drop_index("ix_evaluations_bad", table_name="evaluations")
    op.create_index(
        "ix_evaluations_bad",
        "evaluations",
        ["assess_time", "id", "satisfaction", "channel", "agent", "queue", "dept_code", "area_code", "rating_id"],
        unique=False,
        **_where(_BAD),
    )
