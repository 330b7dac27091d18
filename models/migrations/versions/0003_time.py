"""What time makes happen: when a default and a reminder are due, a calendar of ours, and what is to be forgotten."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from models.tables import Id, UtcTime

revision = "0003"
down_revision = "0002"


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "calendar_days",
        sa.Column("area", sa.String(length=12), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("works", sa.Boolean(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("imported_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("area", "day", name="pk_calendar_days"),
    )
    op.create_table(
        "calendar_years",
        sa.Column("area", sa.String(length=12), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("imported_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("area", "year", name="pk_calendar_years"),
    )
    op.create_table(
        "forgetting",
        sa.Column("evaluation_id", Id(), nullable=False),
        sa.Column("subject_id", Id(), nullable=False),
        sa.Column("assess_number", sa.Integer(), nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id", name="pk_forgetting"),
    )
    op.add_column("cases", sa.Column("default_at", UtcTime(), nullable=True))
    op.add_column("cases", sa.Column("default_reason", sa.String(length=32), nullable=True))
    # A day's deadlines are all of one second: who works them off in groups needs the rest of their order, too.
    op.create_index(
        "ix_cases_default", "cases", ["default_at", "subject_id"], unique=False, **_where("default_at IS NOT NULL")
    )
    op.create_index("ix_cases_provisional", "cases", ["deadline", "subject_id"], unique=False, **_where("provisional"))
    op.add_column("invitations", sa.Column("remind_at", UtcTime(), nullable=True))
    op.add_column("invitations", sa.Column("reminded_at", UtcTime(), nullable=True))
    op.add_column("invitations", sa.Column("reminder", sa.String(length=64), nullable=True))
    op.create_index(
        "ix_invitations_remind", "invitations", ["remind_at"], unique=False, **_where("remind_at IS NOT NULL")
    )
    op.add_column("push_batches", sa.Column("digest", sa.LargeBinary(length=32), nullable=True))

    postgresql = op.get_context().dialect.name == "postgresql"
    if postgresql:
        # A row that was due and is done leaves a dead entry at the front of its index, where every tick looks first,
        # until a VACUUM. By default that comes when a fifth of the table is dead, and may leave the indexes alone.
        for table in ("cases", "invitations"):
            op.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01, vacuum_index_cleanup = on)")
    now = "now()" if postgresql else "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    a_day_later = (
        "{0} + interval '24 hours'" if postgresql else "strftime('%Y-%m-%d %H:%M:%f000', {0}, '+24 hours')"
    ).format("min(cases.closed_at)")
    # What was due before anything could make it happen is left alone: a default cannot be called back.
    op.execute(
        f"UPDATE cases SET default_at = CASE WHEN deadline > {now} THEN deadline END,"  # noqa: S608 (our words)
        f" default_reason = CASE WHEN deadline > {now} THEN NULL ELSE 'backlog' END"
        " WHERE deadline IS NOT NULL AND withdrawn_at IS NULL AND NOT coalesce(provisional, false)"
    )
    op.execute(
        f"UPDATE invitations SET remind_at = (SELECT {a_day_later} FROM invitation_members JOIN cases"  # noqa: S608
        " ON cases.subject_id = invitation_members.subject_id WHERE invitation_members.invitation_id = invitations.id"
        " AND cases.withdrawn_at IS NULL) WHERE state IN ('waiting', 'asked')"
    )
    op.execute("UPDATE invitations SET remind_at = NULL, reminder = 'too_late' WHERE remind_at <= " + now)  # noqa: S608
