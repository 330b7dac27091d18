"""The shared evaluation record, the outbox and the audit. Plain tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from models.tables import Id, UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", Id(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject_id", Id(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_subject_id", "audit", ["subject_id"], unique=False)
    op.create_table(
        "call_keys",
        sa.Column("call_key", sa.String(length=200), nullable=False),
        sa.Column("subject_id", Id(), nullable=False),
        sa.PrimaryKeyConstraint("call_key", name="pk_call_keys"),
    )
    op.create_table(
        "calls",
        sa.Column("subject_id", Id(), nullable=False),
        sa.Column("call_key", sa.String(length=200), nullable=False),
        sa.Column("number_kind", sa.String(length=16), nullable=True),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("number_hash", sa.LargeBinary(length=16), nullable=True),
        sa.Column("number_tail", sa.LargeBinary(length=8), nullable=True),
        sa.Column("number_key_id", sa.SmallInteger(), nullable=True),
        sa.Column("agent", sa.String(length=64), nullable=True),
        sa.Column("queue", sa.String(length=64), nullable=True),
        sa.Column("dept", sa.String(length=64), nullable=True),
        sa.Column("case_no", sa.String(length=200), nullable=True),
        sa.Column("lang", sa.String(length=16), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("offered_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", name="pk_calls"),
    )
    op.create_index("ix_calls_created_at", "calls", ["created_at"], unique=False)
    op.create_index("ix_calls_number_hash", "calls", ["number_hash"], unique=False)
    op.create_index("ix_calls_number_tail", "calls", ["number_tail"], unique=False)
    op.create_table(
        "case_keys",
        sa.Column("case_no", sa.String(length=200), nullable=False),
        sa.Column("service_number", sa.Integer(), nullable=False),
        sa.Column("subject_id", Id(), nullable=False),
        sa.PrimaryKeyConstraint("case_no", "service_number", name="pk_case_keys"),
    )
    op.create_table(
        "cases",
        sa.Column("subject_id", Id(), nullable=False),
        sa.Column("case_no", sa.String(length=200), nullable=False),
        sa.Column("service_number", sa.Integer(), nullable=False),
        sa.Column("stub", sa.Boolean(), nullable=False),
        sa.Column("number_kind", sa.String(length=16), nullable=True),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("number_hash", sa.LargeBinary(length=16), nullable=True),
        sa.Column("number_tail", sa.LargeBinary(length=8), nullable=True),
        sa.Column("number_key_id", sa.SmallInteger(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("task_code", sa.String(length=64), nullable=True),
        sa.Column("task_name", sa.Text(), nullable=True),
        sa.Column("dept_code", sa.String(length=64), nullable=True),
        sa.Column("dept_name", sa.Text(), nullable=True),
        sa.Column("agent", sa.String(length=64), nullable=True),
        sa.Column("area_code", sa.String(length=16), nullable=True),
        sa.Column("batch_id", sa.String(length=200), nullable=True),
        sa.Column("theme_id", sa.String(length=200), nullable=True),
        sa.Column("consent", sa.Boolean(), nullable=True),
        sa.Column("closed_at", UtcTime(), nullable=True),
        sa.Column("deadline", UtcTime(), nullable=True),
        sa.Column("provisional", sa.Boolean(), nullable=True),
        sa.Column("withdrawn_at", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", name="pk_cases"),
    )
    op.create_index("ix_cases_number_hash", "cases", ["number_hash"], unique=False)
    op.create_index("ix_cases_number_tail", "cases", ["number_tail"], unique=False)
    op.create_table(
        "evaluations",
        sa.Column("subject_id", Id(), nullable=False),
        sa.Column("assess_number", sa.Integer(), nullable=False),
        sa.Column("id", Id(), nullable=False),
        sa.Column("rating_id", Id(), nullable=False),
        sa.Column("subject_kind", sa.String(length=8), nullable=False),
        sa.Column("effective", sa.Boolean(), nullable=False),
        sa.Column("satisfaction", sa.SmallInteger(), nullable=False),
        sa.Column("origin", sa.String(length=8), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("reasons", sa.String(length=200), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("assess_time", UtcTime(), nullable=False),
        sa.Column("project_no", sa.String(length=50), nullable=False),
        sa.Column("service_number", sa.Integer(), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=True),
        sa.Column("queue", sa.String(length=64), nullable=True),
        sa.Column("dept_code", sa.String(length=64), nullable=True),
        sa.Column("dept_name", sa.Text(), nullable=True),
        sa.Column("task_code", sa.String(length=64), nullable=True),
        sa.Column("task_name", sa.Text(), nullable=True),
        sa.Column("service_name", sa.Text(), nullable=True),
        sa.Column("area_code", sa.String(length=16), nullable=True),
        sa.Column("pushed_at", UtcTime(), nullable=True),
        sa.Column("centre_status", sa.String(length=32), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "assess_number", name="pk_evaluations"),
    )
    op.create_index("ix_evaluations_assess_time", "evaluations", ["assess_time"], unique=False)
    op.create_index("ix_evaluations_id", "evaluations", ["id"], unique=False)
    op.create_index(
        "uq_evaluations_effective",
        "evaluations",
        ["subject_id"],
        unique=True,
        sqlite_where=sa.text("effective"),
        postgresql_where=sa.text("effective"),
    )
    op.create_table(
        "invitation_members",
        sa.Column("invitation_id", Id(), nullable=False),
        sa.Column("subject_id", Id(), nullable=False),
        sa.PrimaryKeyConstraint("invitation_id", "subject_id", name="pk_invitation_members"),
    )
    op.create_index("ix_invitation_members_subject_id", "invitation_members", ["subject_id"], unique=False)
    op.create_table(
        "invitations",
        sa.Column("id", Id(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("number_kind", sa.String(length=16), nullable=True),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("number_hash", sa.LargeBinary(length=16), nullable=True),
        sa.Column("number_tail", sa.LargeBinary(length=8), nullable=True),
        sa.Column("number_key_id", sa.SmallInteger(), nullable=True),
        sa.Column("lang", sa.String(length=16), nullable=True),
        sa.Column("key_map", sa.String(length=64), nullable=False),
        sa.Column("first_asked_at", UtcTime(), nullable=True),
        sa.Column("asked_by", sa.String(length=8), nullable=True),
        sa.Column("due_at", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
    )
    op.create_index(
        "ix_invitations_due",
        "invitations",
        ["state", "due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_invitations_first_asked_at", "invitations", ["first_asked_at"], unique=False)
    op.create_index(
        "ix_invitations_number_hash",
        "invitations",
        ["number_hash"],
        unique=False,
        sqlite_where=sa.text("number_hash IS NOT NULL"),
        postgresql_where=sa.text("number_hash IS NOT NULL"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "outbox",
        sa.Column("evaluation_id", Id(), nullable=False),
        sa.Column("subject_id", Id(), nullable=False),
        sa.Column("assess_number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("not_before", UtcTime(), nullable=False),
        sa.Column("held_by", sa.String(length=100), nullable=True),
        sa.Column("batch_id", Id(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id", name="pk_outbox"),
    )
    op.create_index(
        "ix_outbox_batch_id",
        "outbox",
        ["batch_id"],
        unique=False,
        sqlite_where=sa.text("batch_id IS NOT NULL"),
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_due",
        "outbox",
        ["not_before"],
        unique=False,
        sqlite_where=sa.text("batch_id IS NULL AND state = 'waiting'"),
        postgresql_where=sa.text("batch_id IS NULL AND state = 'waiting'"),
    )
    op.create_index(
        "ix_outbox_held",
        "outbox",
        ["held_by"],
        unique=False,
        sqlite_where=sa.text("held_by IS NOT NULL"),
        postgresql_where=sa.text("held_by IS NOT NULL"),
    )
    op.create_table(
        "push_batches",
        sa.Column("id", Id(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("parent_id", Id(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", UtcTime(), nullable=False),
        sa.Column("lease_owner", sa.String(length=100), nullable=True),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("answered_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_push_batches"),
    )
    op.create_index(
        "ix_push_batches_open",
        "push_batches",
        ["not_before"],
        unique=False,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "push_members",
        sa.Column("batch_id", Id(), nullable=False),
        sa.Column("evaluation_id", Id(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", "evaluation_id", name="pk_push_members"),
    )
    op.create_index("ix_push_members_evaluation_id", "push_members", ["evaluation_id"], unique=False)
    op.create_table(
        "ratings",
        sa.Column("id", Id(), nullable=False),
        sa.Column("invitation_id", Id(), nullable=True),
        sa.Column("call_subject_id", Id(), nullable=True),
        sa.Column("message_id", Id(), nullable=True),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("origin", sa.String(length=8), nullable=False),
        sa.Column("raw_input", sa.Text(), nullable=False),
        sa.Column("key_map", sa.String(length=64), nullable=False),
        sa.Column("satisfaction", sa.SmallInteger(), nullable=False),
        sa.Column("reasons", sa.String(length=200), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("rated_at", UtcTime(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ratings"),
        sa.UniqueConstraint("call_subject_id", name="uq_ratings_call_subject_id"),
        sa.UniqueConstraint("message_id", name="uq_ratings_message_id"),
    )
