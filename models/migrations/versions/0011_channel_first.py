"""The indexes of the ratings' list have the channel before the time: what no row is, such as a department's defaults
where it has none, is found at once instead of by going through all rows of the department. The channel's own
index loses the level: with the channel it leads the index of the levels.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

_NAMED = ("agent", "queue", "dept_code", "area_code")


def upgrade() -> None:
    for name in ("satisfaction", "channel", *_NAMED):
        op.drop_index(f"ix_evaluations_{name}", table_name="evaluations")
    op.create_index(
        "ix_evaluations_satisfaction",
        "evaluations",
        ["satisfaction", "channel", "assess_time", "id", "queue", "area_code"],
    )
    op.create_index("ix_evaluations_channel", "evaluations", ["channel", "assess_time", "id"])
    for name in _NAMED:
        op.create_index(f"ix_evaluations_{name}", "evaluations", [name, "channel", "assess_time", "id", "satisfaction"])
