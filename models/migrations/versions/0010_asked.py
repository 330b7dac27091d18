"""Calls, and invitations that were asked: the lists behind 通话 and 参评率 find their rows in the order of time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # Each call has told of its end since there are calls; one by hand may not have.
    op.execute("UPDATE calls SET ended_at = created_at WHERE ended_at IS NULL")
    op.create_index("ix_calls_ended_at", "calls", ["ended_at", "subject_id"])
    for name in ("agent", "dept"):
        op.create_index(f"ix_calls_{name}", "calls", [name, "ended_at", "subject_id"])
    asked = sa.text("first_asked_at IS NOT NULL")
    op.drop_index("ix_invitations_first_asked_at", table_name="invitations")
    for name, columns in (
        ("first_asked_at", ["first_asked_at", "id"]),
        ("asked_agent", ["asked_agent", "first_asked_at", "id"]),
        ("asked_dept", ["asked_dept", "first_asked_at", "id"]),
    ):
        op.create_index(f"ix_invitations_{name}", "invitations", columns, sqlite_where=asked, postgresql_where=asked)
