"""The figures: rollups that a writer adds to, what an invitation counts for, and the centre's word on an evaluation."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from models.tables import UtcTime

revision = "0005"
down_revision = "0004"

_MEASURES = (
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


def _day() -> sa.Column[Any]:
    return sa.Column("day", sa.Date(), nullable=False)


def _small(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.SmallInteger(), nullable=False)


def _rollup(name: str, keys: list[sa.Column[Any]], *whose: str, measures: tuple[str, ...] = _MEASURES) -> None:
    keys += [sa.Column(one, sa.String(length=64), nullable=False) for one in whose]
    counts = [sa.Column(one, sa.Integer(), nullable=False, server_default=sa.text("0")) for one in measures]
    op.create_table(name, *keys, *counts, sa.PrimaryKeyConstraint(*(key.name for key in keys), name=f"pk_{name}"))


def upgrade() -> None:
    op.add_column("calls", sa.Column("area_code", sa.String(length=16), nullable=True))
    op.add_column("invitations", sa.Column("responded_at", UtcTime(), nullable=True))
    op.add_column("invitations", sa.Column("asked_kind", sa.String(length=8), nullable=True))
    for name, length in (("agent", 64), ("queue", 64), ("dept", 64), ("area", 16)):
        op.add_column("invitations", sa.Column(f"asked_{name}", sa.String(length=length), nullable=True))
    op.add_column("evaluations", sa.Column("asked", sa.Boolean(), nullable=True))
    op.add_column("evaluations", sa.Column("adoption", sa.String(length=16), nullable=True))
    op.add_column("evaluations", sa.Column("follow_up", sa.String(length=16), nullable=True))
    op.add_column("evaluations", sa.Column("centre_note", sa.Text(), nullable=True))
    op.add_column("evaluations", sa.Column("centre_word_at", UtcTime(), nullable=True))
    _rollup("rollup_days", [_day(), _small("writer")], "kind", "channel", "agent", "queue", "dept", "area")
    _rollup("rollup_hours", [_day(), _small("hour"), _small("writer")], "kind", "channel", "dept", "area")
    _rollup(
        "rollup_reasons",
        [_day(), _small("writer")],
        *("kind", "channel", "reason", "agent", "queue", "dept", "area"),
        measures=("n",),
    )
    _tell_what_invitations_count_for()
    _count()


def _tell_what_invitations_count_for() -> None:
    """What was asked before: by its call where there is one, else by the first of its cases."""
    op.execute(
        "UPDATE calls SET area_code ="
        " (SELECT max(e.area_code) FROM evaluations e WHERE e.subject_id = calls.subject_id)"
    )
    call = (
        "(SELECT {0} FROM invitation_members m JOIN calls c ON c.subject_id = m.subject_id"
        " WHERE m.invitation_id = invitations.id ORDER BY m.subject_id LIMIT 1)"
    )
    case = (
        "(SELECT {0} FROM invitation_members m JOIN cases c ON c.subject_id = m.subject_id"
        " WHERE m.invitation_id = invitations.id ORDER BY m.subject_id LIMIT 1)"
    )
    asked = " WHERE first_asked_at IS NOT NULL"
    op.execute(
        "UPDATE invitations SET"  # noqa: S608 (our words)
        f" asked_kind = coalesce({call.format(chr(39) + 'call' + chr(39))},"
        f" {case.format(chr(39) + 'case' + chr(39))}, kind),"
        f" asked_agent = {call.format('c.agent')},"
        f" asked_queue = {call.format('c.queue')},"
        f" asked_dept = {call.format('c.dept')},"
        f" asked_area = {call.format('c.area_code')}{asked}"
    )
    op.execute(
        f"UPDATE invitations SET asked_dept = {case.format('c.dept_code')},"  # noqa: S608
        f" asked_area = {case.format('c.area_code')}{asked} AND asked_kind = 'case'"
    )
    # A rating is only stored where it counts; of those asked before, whoever was rated at all had an answer.
    op.execute(
        "UPDATE invitations SET responded_at = coalesce(ended_at, changed_at)"
        " WHERE state = 'rated' AND first_asked_at IS NOT NULL"
    )
    op.execute(
        "UPDATE evaluations SET asked = EXISTS (SELECT 1 FROM invitation_members m JOIN invitations i"
        " ON i.id = m.invitation_id WHERE m.subject_id = evaluations.subject_id AND i.first_asked_at IS NOT NULL)"
        " WHERE origin = 'default'"
    )


def _count() -> None:
    """What is there, as the counts of writer 0."""
    postgresql = op.get_context().dialect.name == "postgresql"
    day, hour = (
        ("CAST({0} AT TIME ZONE 'Asia/Shanghai' AS date)", "extract(hour FROM {0} AT TIME ZONE 'Asia/Shanghai')")
        if postgresql
        else ("date({0}, '+8 hours')", "CAST(strftime('%H', {0}, '+8 hours') AS integer)")
    )

    def source(table: str, where: str, at: str, kind: str, channel: str, whose: str, counts: dict[str, str]) -> str:
        measures = ", ".join(f"{counts.get(name, '0')} AS {name}" for name in _MEASURES)
        return (
            f"SELECT {day.format(at)} AS day, {hour.format(at)} AS hour, {kind} AS kind, {channel} AS channel,"  # noqa: S608
            f" {whose}, {measures} FROM {table} WHERE {where}"
        )

    def one_if(condition: str) -> str:
        return f"CASE WHEN {condition} THEN 1 ELSE 0 END"

    def whose(kind: str, agent: str, queue: str, dept: str, area: str) -> str:
        return (
            f"CASE WHEN {kind} = 'call' THEN coalesce({agent}, '') ELSE '' END AS agent,"
            f" CASE WHEN {kind} = 'call' THEN coalesce({queue}, '') ELSE '' END AS queue,"
            f" coalesce({dept}, '') AS dept, coalesce({area}, '') AS area"
        )

    rated = source(
        "evaluations",
        "effective",
        "assess_time",
        "subject_kind",
        "channel",
        whose("subject_kind", "agent", "queue", "dept_code", "area_code"),
        {f"level_{level}": one_if(f"satisfaction = {level} AND origin = 'citizen'") for level in (5, 4, 3, 2, 1)}
        | {
            "default_asked": one_if("origin = 'default' AND asked"),
            "default_unasked": one_if("origin = 'default' AND NOT coalesce(asked, false)"),
        },
    )
    asked = source(
        "invitations",
        "first_asked_at IS NOT NULL",
        "first_asked_at",
        "asked_kind",
        "CASE WHEN asked_by = 'sms' THEN 'sms' ELSE 'keypad' END",
        whose("asked_kind", "asked_agent", "asked_queue", "asked_dept", "asked_area"),
        {"asked": "1", "responded": one_if("responded_at IS NOT NULL")},
    )
    ended = "coalesce(ended_at, created_at)"
    called = source(
        "calls",
        f"{ended} IS NOT NULL",
        ended,
        "'call'",
        "'keypad'",
        whose("'call'", "agent", "queue", "dept", "area_code"),
        {"calls": "1", "offered": one_if("outcome <> 'not_offered'"), "answered": one_if("outcome = 'rated'")},
    )
    every = f"({rated} UNION ALL {asked} UNION ALL {called}) AS counted"
    sums = ", ".join(f"sum({name})" for name in _MEASURES)
    names = ", ".join(_MEASURES)
    for table, own, keys in (
        ("rollup_days", "day, 0", "day, writer, kind, channel, agent, queue, dept, area"),
        ("rollup_hours", "day, hour, 0", "day, hour, writer, kind, channel, dept, area"),
    ):
        rest = keys.split("writer, ")[1]
        grouped = keys.replace("writer, ", "")
        op.execute(
            f"INSERT INTO {table} ({keys}, {names}) SELECT {own}, {rest}, {sums} FROM {every} GROUP BY {grouped}"  # noqa: S608
        )
    connection = op.get_bind()
    found = connection.exec_driver_sql(
        f"SELECT {day.format('assess_time')}, subject_kind, channel, coalesce(reasons, ''),"  # noqa: S608
        f" {whose('subject_kind', 'agent', 'queue', 'dept_code', 'area_code')}, count(*) FROM evaluations"
        " WHERE effective AND origin = 'citizen' AND (satisfaction <= 2 OR coalesce(reasons, '') <> '')"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
    ).all()
    sums_of: dict[tuple[Any, ...], int] = {}
    for date, kind, channel, reasons, agent, queue, dept, area, count in found:
        for reason in [code for code in reasons.split(",") if code] or [""]:
            key = (date, 0, kind, channel, reason, agent, queue, dept, area)
            sums_of[key] = sums_of.get(key, 0) + count
    mark = "%s" if postgresql else "?"
    if sums_of:
        connection.exec_driver_sql(
            "INSERT INTO rollup_reasons (day, writer, kind, channel, reason, agent, queue, dept, area, n)"  # noqa: S608
            f" VALUES ({', '.join([mark] * 10)})",
            [(*key, count) for key, count in sums_of.items()],
        )
