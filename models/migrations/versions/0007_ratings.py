"""The list of ratings: what each filter finds its rows by, in the order of time; names of agents and departments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_AGENT_AND_SO_ON = ("agent", "queue", "dept_code", "area_code")


def upgrade() -> None:
    op.drop_index("ix_evaluations_assess_time", table_name="evaluations")
    op.create_index("ix_evaluations_assess_time", "evaluations", ["assess_time", "id"])
    op.create_index(
        "ix_evaluations_satisfaction",
        "evaluations",
        ["satisfaction", "assess_time", "id", "channel", "queue", "area_code"],
    )
    op.create_index("ix_evaluations_channel", "evaluations", ["channel", "assess_time", "id", "satisfaction"])
    for name in _AGENT_AND_SO_ON:
        op.create_index(f"ix_evaluations_{name}", "evaluations", [name, "assess_time", "id", "satisfaction", "channel"])
    for table in ("calls", "cases"):
        op.drop_index(f"ix_{table}_number_tail", table_name=table)
        op.create_index(f"ix_{table}_number_tail", table, ["number_tail", "subject_id"])
    given = sa.text("case_no IS NOT NULL")
    op.create_index("ix_calls_case_no", "calls", ["case_no"], sqlite_where=given, postgresql_where=given)
    op.create_table(
        "directory",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "code", name="pk_directory"),
    )
