"""The SMS channel: messages, segments, receipts, codes, opt-outs; cases as they are posted; tokens; the feed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from models.tables import Id, UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", Id(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("depts", sa.Text(), nullable=True),
        sa.Column("areas", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
        sa.UniqueConstraint("name", name="uq_api_tokens_name"),
        sa.UniqueConstraint("secret_hash", name="uq_api_tokens_secret_hash"),
    )
    op.create_table(
        "codes",
        sa.Column("id", Id(), nullable=False),
        sa.Column("number_kind", sa.String(length=16), nullable=True),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("number_hash", sa.LargeBinary(length=16), nullable=True),
        sa.Column("number_tail", sa.LargeBinary(length=8), nullable=True),
        sa.Column("number_key_id", sa.SmallInteger(), nullable=True),
        sa.Column("code", sa.String(length=8), nullable=False),
        sa.Column("invitation_id", Id(), nullable=False),
        sa.Column("given_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_codes"),
        sa.UniqueConstraint("number_hash", "code", name="uq_codes_number_hash_code"),
    )
    op.create_index("ix_codes_invitation_id", "codes", ["invitation_id"], unique=False)
    op.create_index(
        "ix_codes_open",
        "codes",
        ["code", "given_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "feed",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("subject_id", Id(), nullable=False),
        sa.Column("assess_number", sa.Integer(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_feed"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_feed_xid", "feed", ["xid", "position"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", Id(), nullable=False),
        sa.Column("direction", sa.String(length=4), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("number_kind", sa.String(length=16), nullable=True),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("number_hash", sa.LargeBinary(length=16), nullable=True),
        sa.Column("number_tail", sa.LargeBinary(length=8), nullable=True),
        sa.Column("number_key_id", sa.SmallInteger(), nullable=True),
        sa.Column("invitation_id", Id(), nullable=True),
        sa.Column("link", sa.String(length=32), nullable=True),
        sa.Column("our_number", sa.String(length=32), nullable=True),
        sa.Column("code", sa.String(length=8), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.Column("once_key", sa.String(length=80), nullable=True),
        sa.Column("lang", sa.String(length=16), nullable=True),
        sa.Column("fields", sa.Text(), nullable=True),
        sa.Column("carrier", sa.String(length=12), nullable=True),
        sa.Column("not_before", UtcTime(), nullable=True),
        sa.Column("not_after", UtcTime(), nullable=True),
        sa.Column("answers_id", Id(), nullable=True),
        sa.Column("reference", sa.Integer(), nullable=True),
        sa.Column("total", sa.SmallInteger(), nullable=True),
        sa.Column("tries", sa.SmallInteger(), nullable=True),
        sa.Column("lease_owner", sa.String(length=100), nullable=True),
        sa.Column("settle_at", UtcTime(), nullable=True),
        sa.Column("handed_at", UtcTime(), nullable=True),
        sa.Column("assembly_key", sa.LargeBinary(length=16), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("why", sa.String(length=40), nullable=True),
        sa.Column("satisfaction", sa.SmallInteger(), nullable=True),
        sa.Column("queue", sa.String(length=16), nullable=True),
        sa.Column("queue_note", sa.Text(), nullable=True),
        sa.Column("handled_at", UtcTime(), nullable=True),
        sa.Column("handled_by", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    op.create_index(
        "ix_messages_assembly",
        "messages",
        ["assembly_key"],
        unique=False,
        sqlite_where=sa.text("assembly_key IS NOT NULL"),
        postgresql_where=sa.text("assembly_key IS NOT NULL"),
    )
    op.create_index(
        "ix_messages_invitation",
        "messages",
        ["invitation_id"],
        unique=False,
        sqlite_where=sa.text("invitation_id IS NOT NULL"),
        postgresql_where=sa.text("invitation_id IS NOT NULL"),
    )
    op.create_index("ix_messages_number", "messages", ["number_hash", "id"], unique=False)
    op.create_index(
        "ix_messages_queue",
        "messages",
        ["queue", "id"],
        unique=False,
        sqlite_where=sa.text("queue IS NOT NULL AND handled_at IS NULL"),
        postgresql_where=sa.text("queue IS NOT NULL AND handled_at IS NULL"),
    )
    op.create_index(
        "ix_messages_queued",
        "messages",
        ["carrier", "not_before", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_messages_settle",
        "messages",
        ["settle_at"],
        unique=False,
        sqlite_where=sa.text("settle_at IS NOT NULL"),
        postgresql_where=sa.text("settle_at IS NOT NULL"),
    )
    op.create_index(
        "ix_messages_unread",
        "messages",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'unread'"),
        postgresql_where=sa.text("state = 'unread'"),
    )
    op.create_index(
        "uq_messages_once_key",
        "messages",
        ["once_key"],
        unique=True,
        sqlite_where=sa.text("once_key IS NOT NULL"),
        postgresql_where=sa.text("once_key IS NOT NULL"),
    )
    op.create_table(
        "number_routes",
        sa.Column("id", Id(), nullable=False),
        sa.Column("number_kind", sa.String(length=16), nullable=True),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("number_hash", sa.LargeBinary(length=16), nullable=True),
        sa.Column("number_tail", sa.LargeBinary(length=8), nullable=True),
        sa.Column("number_key_id", sa.SmallInteger(), nullable=True),
        sa.Column("carrier", sa.String(length=12), nullable=False),
        sa.Column("learnt_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_number_routes"),
        sa.UniqueConstraint("number_hash", name="uq_number_routes_number_hash"),
    )
    op.create_table(
        "opt_outs",
        sa.Column("id", Id(), nullable=False),
        sa.Column("number_kind", sa.String(length=16), nullable=True),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("number_hash", sa.LargeBinary(length=16), nullable=True),
        sa.Column("number_tail", sa.LargeBinary(length=8), nullable=True),
        sa.Column("number_key_id", sa.SmallInteger(), nullable=True),
        sa.Column("origin", sa.String(length=8), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_opt_outs"),
        sa.UniqueConstraint("number_hash", "origin", name="uq_opt_outs_number_hash_origin"),
    )
    op.create_table(
        "parts",
        sa.Column("id", Id(), nullable=False),
        sa.Column("message_id", Id(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=16), nullable=False),
        sa.Column("link", sa.String(length=32), nullable=False),
        sa.Column("esm_class", sa.SmallInteger(), nullable=False),
        sa.Column("data_coding", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("total", sa.SmallInteger(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_parts"),
    )
    op.create_index("ix_parts_fingerprint", "parts", ["fingerprint"], unique=False)
    op.create_index("ix_parts_message_id", "parts", ["message_id"], unique=False)
    op.create_table(
        "receipts",
        sa.Column("id", Id(), nullable=False),
        sa.Column("links", sa.Text(), nullable=False),
        sa.Column("smsc_id", sa.String(length=80), nullable=True),
        sa.Column("forms", sa.Text(), nullable=True),
        sa.Column("number_hash", sa.LargeBinary(length=16), nullable=True),
        sa.Column("our_number", sa.String(length=32), nullable=True),
        sa.Column("reference", sa.Integer(), nullable=True),
        sa.Column("receipt", sa.String(length=12), nullable=False),
        sa.Column("receipt_text", sa.String(length=80), nullable=True),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_receipts"),
    )
    op.create_index("ix_receipts_number_hash", "receipts", ["number_hash"], unique=False)
    op.create_index("ix_receipts_smsc_id", "receipts", ["smsc_id"], unique=False)
    op.create_table(
        "remarks",
        sa.Column("id", Id(), nullable=False),
        sa.Column("invitation_id", Id(), nullable=False),
        sa.Column("rating_id", Id(), nullable=True),
        sa.Column("message_id", Id(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("satisfaction", sa.SmallInteger(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_remarks"),
        sa.UniqueConstraint("message_id", name="uq_remarks_message_id"),
    )
    op.create_index("ix_remarks_invitation_id", "remarks", ["invitation_id"], unique=False)
    op.create_table(
        "segments",
        sa.Column("message_id", Id(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("link", sa.String(length=32), nullable=False),
        sa.Column("smsc_id", sa.String(length=80), nullable=True),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("submitted_at", UtcTime(), nullable=False),
        sa.Column("answered_at", UtcTime(), nullable=True),
        sa.Column("receipt", sa.String(length=12), nullable=True),
        sa.Column("receipt_text", sa.String(length=80), nullable=True),
        sa.Column("receipt_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("message_id", "number", name="pk_segments"),
    )
    op.create_index(
        "ix_segments_smsc_id",
        "segments",
        ["smsc_id"],
        unique=False,
        sqlite_where=sa.text("smsc_id IS NOT NULL"),
        postgresql_where=sa.text("smsc_id IS NOT NULL"),
    )
    op.add_column("cases", sa.Column("lang", sa.String(length=16), nullable=True))
    op.add_column("cases", sa.Column("group_size", sa.Integer(), nullable=True))
    op.add_column("cases", sa.Column("posted_by", sa.String(length=64), nullable=True))
    op.create_index(
        "ix_cases_batch_id",
        "cases",
        ["batch_id"],
        unique=False,
        sqlite_where=sa.text("batch_id IS NOT NULL"),
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_cases_theme_id",
        "cases",
        ["theme_id"],
        unique=False,
        sqlite_where=sa.text("theme_id IS NOT NULL"),
        postgresql_where=sa.text("theme_id IS NOT NULL"),
    )
    op.add_column("invitations", sa.Column("group_key", sa.String(length=208), nullable=True))
    op.add_column("invitations", sa.Column("not_after", UtcTime(), nullable=True))
    op.add_column("invitations", sa.Column("undelivered", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("invitations", sa.Column("muted", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("invitations", sa.Column("ended_at", UtcTime(), nullable=True))
    op.add_column("invitations", sa.Column("rating_id", Id(), nullable=True))
    op.add_column("invitations", sa.Column("clarified_at", UtcTime(), nullable=True))
    op.add_column("invitations", sa.Column("reason_asked_at", UtcTime(), nullable=True))
    op.add_column("invitations", sa.Column("reason_codes", sa.String(length=200), nullable=True))
    op.create_index(
        "ix_invitations_group_key",
        "invitations",
        ["group_key"],
        unique=True,
        sqlite_where=sa.text("group_key IS NOT NULL"),
        postgresql_where=sa.text("group_key IS NOT NULL"),
    )

    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE feed ALTER COLUMN xid SET DEFAULT (pg_current_xact_id()::text::bigint)")
    # What was rated before there was a feed stands in it too, in the order it was stored.
    op.execute(
        "INSERT INTO feed (kind, subject_id, assess_number, at)"
        " SELECT 'evaluation', subject_id, assess_number, created_at FROM evaluations ORDER BY created_at, id"
    )
    # Calls that were left unrated before anything could send an SMS: a day later it is too late for one.
    a_day_later = (
        "due_at + interval '24 hours'"
        if op.get_context().dialect.name == "postgresql"
        else "strftime('%Y-%m-%d %H:%M:%f000', due_at, '+24 hours')"
    )
    op.execute(f"UPDATE invitations SET not_after = {a_day_later} WHERE due_at IS NOT NULL")  # noqa: S608 (our words)
