"""The shared evaluation record as stored (`../docs/data-model.md` explains it; the first migration makes these tables).

Rules that hold for every table:

* Ids are UUIDv7 (models/ids.py); times are UTC; a level is the centre's number, 5 the best.
* No number in clear: three columns a number (`number_columns`), sealed, hash and tail, and the id of the key.
* No foreign key points into a table that may be partitioned one day (calls, ratings, evaluations, audit); the registry
  (`call_keys`, `case_keys`: natural key → subject id) is never partitioned and carries the uniqueness.
* Agent, queue and department are a snapshot in the record, not a reference.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator

__all__ = [
    "BAD_RATINGS",
    "BY_PEOPLE",
    "FAILED_ASKS",
    "MEASURES",
    "Id",
    "UtcTime",
    "api_tokens",
    "audit",
    "board_tokens",
    "calendar_days",
    "calendar_years",
    "call_keys",
    "calls",
    "case_keys",
    "cases",
    "codes",
    "directory",
    "evaluations",
    "feed",
    "forgetting",
    "invitation_members",
    "invitations",
    "login_attempts",
    "messages",
    "meta",
    "metadata",
    "number_routes",
    "number_tables",
    "opt_outs",
    "outbox",
    "parts",
    "push_batches",
    "push_members",
    "ratings",
    "receipts",
    "remarks",
    "rollup_days",
    "rollup_hours",
    "rollup_reasons",
    "seen",
    "segments",
    "sessions",
    "users",
    "work_owners",
]


class Id(TypeDecorator[str]):
    """A UUID as 32 hexadecimal digits in Python; `uuid` on PostgreSQL, CHAR(32) on SQLite."""

    impl = Uuid(as_uuid=False)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else str(value).replace("-", "")


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime; `timestamptz` on PostgreSQL, ISO text in UTC on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without offset cannot be stored; use an aware datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _where(condition: str) -> dict[str, Any]:
    """A partial index, on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def number_columns() -> list[Column[Any]]:
    """A citizen's number: what kind it is, sealed, hash, tail, key id (models/privacy.py). All null: anonymous."""
    return [
        Column("number_kind", String(16)),
        Column("number_sealed", LargeBinary),
        Column("number_hash", LargeBinary(16)),
        Column("number_tail", LargeBinary(8)),
        Column("number_key_id", SmallInteger),
    ]


meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

call_keys = Table(
    "call_keys",
    metadata,
    Column("call_key", String(200), primary_key=True),
    Column("subject_id", Id, nullable=False),
)

case_keys = Table(
    "case_keys",
    metadata,
    Column("case_no", String(200), nullable=False),
    Column("service_number", Integer, nullable=False),
    Column("subject_id", Id, nullable=False),
    PrimaryKeyConstraint("case_no", "service_number"),
)

calls = Table(
    "calls",
    metadata,
    Column("subject_id", Id, primary_key=True),
    Column("call_key", String(200), nullable=False),
    *number_columns(),
    Column("agent", String(64)),
    Column("queue", String(64)),
    Column("dept", String(64)),
    Column("case_no", String(200)),
    Column("lang", String(16)),
    Column("outcome", String(16), nullable=False),
    Column("source", String(16), nullable=False),
    Column("offered_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("area_code", String(16)),
    Index(None, "created_at"),
    Index(None, "number_hash"),
    Index("ix_calls_number_tail", "number_tail", "subject_id"),
    Index("ix_calls_case_no", "case_no", **_where("case_no IS NOT NULL")),
    Index("ix_calls_ended_at", "ended_at", "subject_id"),
    *(Index(f"ix_calls_{name}", name, "ended_at", "subject_id") for name in ("agent", "dept")),
)

cases = Table(
    "cases",
    metadata,
    Column("subject_id", Id, primary_key=True),
    Column("case_no", String(200), nullable=False),
    Column("service_number", Integer, nullable=False),
    Column("stub", Boolean, nullable=False),
    *number_columns(),
    Column("title", Text),
    Column("task_code", String(64)),
    Column("task_name", Text),
    Column("dept_code", String(64)),
    Column("dept_name", Text),
    Column("agent", String(64)),
    Column("area_code", String(16)),
    Column("batch_id", String(200)),
    Column("theme_id", String(200)),
    Column("consent", Boolean),
    Column("lang", String(16)),
    Column("group_size", Integer),
    Column("posted_by", String(64)),
    Column("closed_at", UtcTime),
    Column("deadline", UtcTime),
    Column("provisional", Boolean),
    Column("withdrawn_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("default_at", UtcTime),
    Column("default_reason", String(32)),
    Index(None, "number_hash"),
    Index("ix_cases_number_tail", "number_tail", "subject_id"),
    Index("ix_cases_default", "default_at", "subject_id", **_where("default_at IS NOT NULL")),
    Index("ix_cases_provisional", "deadline", "subject_id", **_where("provisional")),
    Index("ix_cases_backlog", "deadline", "subject_id", **_where("default_reason = 'backlog'")),
    Index("ix_cases_batch_id", "batch_id", **_where("batch_id IS NOT NULL")),
    Index("ix_cases_theme_id", "theme_id", **_where("theme_id IS NOT NULL")),
)

invitations = Table(
    "invitations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(64)),
    *number_columns(),
    Column("lang", String(16)),
    Column("key_map", String(64), nullable=False),
    Column("first_asked_at", UtcTime),
    Column("asked_by", String(8)),
    Column("due_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Column("group_key", String(208)),
    Column("not_after", UtcTime),
    Column("undelivered", Boolean, nullable=False, server_default=false()),
    Column("muted", Boolean, nullable=False, server_default=false()),
    Column("ended_at", UtcTime),
    Column("rating_id", Id),
    Column("clarified_at", UtcTime),
    Column("reason_asked_at", UtcTime),
    Column("reason_codes", String(200)),
    Column("remind_at", UtcTime),
    Column("reminded_at", UtcTime),
    Column("reminder", String(64)),
    Column("responded_at", UtcTime),
    Column("asked_kind", String(8)),
    Column("asked_agent", String(64)),
    Column("asked_queue", String(64)),
    Column("asked_dept", String(64)),
    Column("asked_area", String(16)),
    Index("ix_invitations_remind", "remind_at", **_where("remind_at IS NOT NULL")),
    Index("ix_invitations_due", "state", "due_at", **_where("due_at IS NOT NULL")),
    Index("ix_invitations_first_asked_at", "first_asked_at", "id", **_where("first_asked_at IS NOT NULL")),
    *(
        Index(f"ix_invitations_{name}", name, "first_asked_at", "id", **_where("first_asked_at IS NOT NULL"))
        for name in ("asked_agent", "asked_dept")
    ),
    Index("ix_invitations_number_hash", "number_hash", **_where("number_hash IS NOT NULL")),
    Index("ix_invitations_group_key", "group_key", unique=True, **_where("group_key IS NOT NULL")),
)

invitation_members = Table(
    "invitation_members",
    metadata,
    Column("invitation_id", Id, nullable=False),
    Column("subject_id", Id, nullable=False),
    PrimaryKeyConstraint("invitation_id", "subject_id"),
    Index(None, "subject_id"),
)

ratings = Table(
    "ratings",
    metadata,
    Column("id", Id, primary_key=True),
    Column("invitation_id", Id),
    Column("call_subject_id", Id, unique=True),
    Column("message_id", Id, unique=True),
    Column("channel", String(8), nullable=False),
    Column("origin", String(8), nullable=False),
    Column("raw_input", Text, nullable=False),
    Column("key_map", String(64), nullable=False),
    Column("satisfaction", SmallInteger, nullable=False),
    Column("reasons", String(200)),
    Column("comment", Text),
    Column("rated_at", UtcTime, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

BAD_RATINGS = "effective AND satisfaction <= 2 AND origin = 'citizen'"
"""差评: evaluations that stand, of citizens who were not satisfied; an index has these alone."""

evaluations = Table(
    "evaluations",
    metadata,
    Column("subject_id", Id, nullable=False),
    Column("assess_number", Integer, nullable=False),
    Column("id", Id, nullable=False),
    Column("rating_id", Id, nullable=False),
    Column("subject_kind", String(8), nullable=False),
    Column("effective", Boolean, nullable=False),
    Column("satisfaction", SmallInteger, nullable=False),
    Column("origin", String(8), nullable=False),
    Column("channel", String(8), nullable=False),
    Column("reasons", String(200)),
    Column("comment", Text),
    Column("assess_time", UtcTime, nullable=False),
    Column("project_no", String(50), nullable=False),
    Column("service_number", Integer, nullable=False),
    Column("agent", String(64)),
    Column("queue", String(64)),
    Column("dept_code", String(64)),
    Column("dept_name", Text),
    Column("task_code", String(64)),
    Column("task_name", Text),
    Column("service_name", Text),
    Column("area_code", String(16)),
    Column("pushed_at", UtcTime),
    Column("centre_status", String(32)),
    Column("created_at", UtcTime, nullable=False),
    Column("asked", Boolean),
    Column("adoption", String(16)),
    Column("follow_up", String(16)),
    Column("centre_note", Text),
    Column("centre_word_at", UtcTime),
    PrimaryKeyConstraint("subject_id", "assess_number"),
    Index(None, "id"),
    # What the list of ratings goes by (console/ratings.py): a filter and the channel, then time; last what is looked at
    # in the index.
    Index("ix_evaluations_assess_time", "assess_time", "id"),
    Index("ix_evaluations_satisfaction", "satisfaction", "channel", "assess_time", "id", "queue", "area_code"),
    Index("ix_evaluations_channel", "channel", "assess_time", "id"),
    *(
        Index(f"ix_evaluations_{name}", name, "channel", "assess_time", "id", "satisfaction")
        for name in ("agent", "queue", "dept_code", "area_code")
    ),
    # The few that people look after: with all that they are filtered by.
    Index(
        "ix_evaluations_bad",
        *("assess_time", "id", "satisfaction", "channel", "agent", "queue", "dept_code", "area_code", "rating_id"),
        **_where(BAD_RATINGS),
    ),
    Index("uq_evaluations_effective", "subject_id", unique=True, **_where("effective")),
)

outbox = Table(
    "outbox",
    metadata,
    Column("evaluation_id", Id, primary_key=True),
    Column("subject_id", Id, nullable=False),
    Column("assess_number", Integer, nullable=False),
    Column("state", String(8), nullable=False),
    Column("not_before", UtcTime, nullable=False),
    Column("held_by", String(100)),
    Column("batch_id", Id),
    Column("tries", Integer, nullable=False),
    Column("reason", Text),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_outbox_due", "not_before", **_where("batch_id IS NULL AND state = 'waiting'")),
    Index("ix_outbox_held", "held_by", **_where("held_by IS NOT NULL")),
    Index("ix_outbox_batch_id", "batch_id", **_where("batch_id IS NOT NULL")),
    Index("ix_outbox_waiting", "created_at", "evaluation_id", **_where("state = 'waiting'")),
    Index("ix_outbox_dead", "created_at", "evaluation_id", **_where("state = 'dead'")),
)

push_batches = Table(
    "push_batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("state", String(8), nullable=False),
    Column("body", LargeBinary),
    Column("records", Integer, nullable=False),
    Column("parent_id", Id),
    Column("tries", Integer, nullable=False),
    Column("not_before", UtcTime, nullable=False),
    Column("lease_owner", String(100)),
    Column("lease_until", UtcTime),
    Column("last_error", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("answered_at", UtcTime),
    Column("digest", LargeBinary(32)),
    Index("ix_push_batches_open", "not_before", **_where("state = 'open'")),
)

push_members = Table(
    "push_members",
    metadata,
    Column("batch_id", Id, nullable=False),
    Column("evaluation_id", Id, nullable=False),
    Column("position", Integer, nullable=False),
    Column("verdict", String(16)),
    Column("reason", Text),
    PrimaryKeyConstraint("batch_id", "evaluation_id"),
    Index(None, "evaluation_id"),
)

FAILED_ASKS = "state = 'failed' AND handled_at IS NULL AND kind IN ('invitation', 'reminder', 'by_hand')"
"""SMS of ours that did not reach their citizen and that nobody has looked at; an index has these alone."""

remarks = Table(
    "remarks",
    metadata,
    Column("id", Id, primary_key=True),
    Column("invitation_id", Id, nullable=False),
    Column("rating_id", Id),
    Column("message_id", Id, unique=True),
    Column("kind", String(16), nullable=False),
    Column("satisfaction", SmallInteger),
    Column("text", Text),
    Column("at", UtcTime, nullable=False),
    Index(None, "invitation_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Id, primary_key=True),
    Column("direction", String(4), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", String(64)),
    *number_columns(),
    Column("invitation_id", Id),
    Column("link", String(32)),
    Column("our_number", String(32)),
    Column("code", String(8)),
    Column("text", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    # out
    Column("once_key", String(80)),
    Column("lang", String(16)),
    Column("fields", Text),
    Column("carrier", String(12)),
    Column("not_before", UtcTime),
    Column("not_after", UtcTime),
    Column("answers_id", Id),
    Column("reference", Integer),
    Column("total", SmallInteger),
    Column("tries", SmallInteger),
    Column("lease_owner", String(100)),
    Column("settle_at", UtcTime),
    Column("handed_at", UtcTime),
    # in
    Column("assembly_key", LargeBinary(16)),
    Column("outcome", String(16)),
    Column("why", String(40)),
    Column("satisfaction", SmallInteger),
    Column("queue", String(16)),
    Column("queue_note", Text),
    Column("handled_at", UtcTime),
    Column("handled_by", String(64)),
    Column("handled_as", String(16)),
    Column("handled_note", Text),
    Index("uq_messages_once_key", "once_key", unique=True, **_where("once_key IS NOT NULL")),
    Index("ix_messages_queued", "carrier", "not_before", "id", **_where("state = 'queued'")),
    Index("ix_messages_settle", "settle_at", **_where("settle_at IS NOT NULL")),
    Index("ix_messages_number", "number_hash", "id"),
    Index("ix_messages_invitation", "invitation_id", **_where("invitation_id IS NOT NULL")),
    Index("ix_messages_assembly", "assembly_key", **_where("assembly_key IS NOT NULL")),
    Index("ix_messages_unread", "id", **_where("state = 'unread'")),
    Index("ix_messages_queue", "queue", "id", **_where("queue IS NOT NULL AND handled_at IS NULL")),
    Index("ix_messages_failed", "changed_at", **_where("state = 'failed' AND direction = 'out'")),
    Index("ix_messages_failed_asks", "created_at", "id", **_where(FAILED_ASKS)),
)

segments = Table(
    "segments",
    metadata,
    Column("message_id", Id, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("state", String(12), nullable=False),
    Column("link", String(32), nullable=False),
    Column("smsc_id", String(80)),
    Column("status", BigInteger),
    Column("submitted_at", UtcTime, nullable=False),
    Column("answered_at", UtcTime),
    Column("receipt", String(12)),
    Column("receipt_text", String(80)),
    Column("receipt_at", UtcTime),
    PrimaryKeyConstraint("message_id", "number"),
    Index("ix_segments_smsc_id", "smsc_id", **_where("smsc_id IS NOT NULL")),
)

receipts = Table(
    "receipts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("links", Text, nullable=False),
    Column("smsc_id", String(80)),
    Column("forms", Text),
    Column("number_hash", LargeBinary(16)),
    Column("our_number", String(32)),
    Column("reference", Integer),
    Column("receipt", String(12), nullable=False),
    Column("receipt_text", String(80)),
    Column("received_at", UtcTime, nullable=False),
    Index(None, "smsc_id"),
    Index(None, "number_hash"),
)

parts = Table(
    "parts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("message_id", Id, nullable=False),
    Column("fingerprint", LargeBinary(16), nullable=False),
    Column("link", String(32), nullable=False),
    Column("esm_class", SmallInteger, nullable=False),
    Column("data_coding", SmallInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("total", SmallInteger, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Index(None, "fingerprint"),
    Index(None, "message_id"),
)

codes = Table(
    "codes",
    metadata,
    Column("id", Id, primary_key=True),
    *number_columns(),
    Column("code", String(8), nullable=False),
    Column("invitation_id", Id, nullable=False),
    Column("given_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    UniqueConstraint("number_hash", "code"),
    Index(None, "invitation_id"),
    Index("ix_codes_open", "code", "given_at", **_where("ended_at IS NULL")),
)

opt_outs = Table(
    "opt_outs",
    metadata,
    Column("id", Id, primary_key=True),
    *number_columns(),
    Column("origin", String(8), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    UniqueConstraint("number_hash", "origin"),
)

number_routes = Table(
    "number_routes",
    metadata,
    Column("id", Id, primary_key=True),
    *number_columns(),
    Column("carrier", String(12), nullable=False),
    Column("learnt_at", UtcTime, nullable=False),
    UniqueConstraint("number_hash"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("scope", String(16), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False, unique=True),
    Column("depts", Text),
    Column("areas", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
)

feed = Table(
    "feed",
    metadata,
    # SQLite gives a position once only with AUTOINCREMENT, and that only with an INTEGER key.
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("xid", BigInteger),
    Column("kind", String(12), nullable=False),
    Column("subject_id", Id, nullable=False),
    Column("assess_number", Integer, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_feed_xid", "xid", "position"),
    sqlite_autoincrement=True,
)

calendar_days = Table(
    "calendar_days",
    metadata,
    Column("area", String(12), nullable=False),
    Column("day", Date, nullable=False),
    Column("works", Boolean, nullable=False),
    Column("name", Text),
    Column("source", Text, nullable=False),
    Column("confirmed", Boolean, nullable=False),
    Column("imported_at", UtcTime, nullable=False),
    PrimaryKeyConstraint("area", "day"),
)

calendar_years = Table(
    "calendar_years",
    metadata,
    Column("area", String(12), nullable=False),
    Column("year", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("confirmed", Boolean, nullable=False),
    Column("imported_at", UtcTime, nullable=False),
    PrimaryKeyConstraint("area", "year"),
)

forgetting = Table(
    "forgetting",
    metadata,
    Column("evaluation_id", Id, primary_key=True),
    Column("subject_id", Id, nullable=False),
    Column("assess_number", Integer, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
)

directory = Table(
    "directory",
    metadata,
    Column("kind", String(8), nullable=False),
    Column("code", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("team", Text),
    PrimaryKeyConstraint("kind", "code"),
)

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("depts", Text),
    Column("areas", Text),
    Column("must_change", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("password_changed_at", UtcTime, nullable=False),
    Column("disabled_at", UtcTime),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime, nullable=False),
    Index(None, "user_id"),
    Index(None, "ends_at"),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name_hash", LargeBinary(32), nullable=False),
    Column("address_hash", LargeBinary(32), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("failed", Boolean, nullable=False),
    Index(None, "name_hash", "at"),
    Index(None, "address_hash", "at"),
    Index(None, "at"),
)

board_tokens = Table(
    "board_tokens",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("secret_hash", LargeBinary(32), nullable=False, unique=True),
    Column("depts", Text),
    Column("areas", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
)

seen = Table(
    "seen",
    metadata,
    Column("rating_id", Id, primary_key=True),
    Column("seen_by", String(64), nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("note", Text),
    Column("noted_by", String(64)),
    Column("noted_at", UtcTime),
)

work_owners = Table(
    "work_owners",
    metadata,
    Column("kind", String(12), nullable=False),
    Column("item_id", Id, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("taken_at", UtcTime, nullable=False),
    PrimaryKeyConstraint("kind", "item_id"),
)

BY_PEOPLE = "substr(actor, 1, 5) = 'user:' OR actor = 'command_line'"
"""What people did, among the audit's many rows of the machinery; an index has these alone."""

audit = Table(
    "audit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject_id", Id),
    Column("detail", Text),
    Index(None, "subject_id"),
    Index("ix_audit_people", "id", **_where(BY_PEOPLE)),
)

MEASURES = (
    *(f"level_{level}" for level in (5, 4, 3, 2, 1)),
    "not_adopted",
    "default_asked",
    "default_unasked",
    "asked",
    "responded",
    "calls",
    "offered",
    "answered",
)
"""What a row of the rollups counts (docs/data-model.md, `rollup_days`)."""


def _counted(*keys: Column[Any], measures: tuple[str, ...] = MEASURES) -> list[Any]:
    """The columns of a rollup: its key, by day first, and counts that a writer adds to."""
    counts = [Column(name, Integer, nullable=False, server_default=text("0")) for name in measures]
    return [*keys, *counts, PrimaryKeyConstraint(*(key.name for key in keys))]


def _whose(*names: str) -> list[Column[Any]]:
    """Of what a count is; empty: not told. Not null, for a null is never equal to another one in a key."""
    return [Column(name, String(64), nullable=False) for name in names]


rollup_days = Table(
    "rollup_days",
    metadata,
    *_counted(
        Column("day", Date, nullable=False),
        Column("writer", SmallInteger, nullable=False),
        *_whose("kind", "channel", "agent", "queue", "dept", "area"),
    ),
)

rollup_hours = Table(
    "rollup_hours",
    metadata,
    *_counted(
        Column("day", Date, nullable=False),
        Column("hour", SmallInteger, nullable=False),
        Column("writer", SmallInteger, nullable=False),
        *_whose("kind", "channel", "dept", "area"),
    ),
)

rollup_reasons = Table(
    "rollup_reasons",
    metadata,
    *_counted(
        Column("day", Date, nullable=False),
        Column("writer", SmallInteger, nullable=False),
        *_whose("kind", "channel", "reason", "agent", "queue", "dept", "area"),
        measures=("n",),
    ),
)

number_tables: tuple[Table, ...] = (calls, cases, invitations, messages, codes, opt_outs, number_routes)
"""Tables with `number_columns`; `huiyin key rotate` goes through them."""
