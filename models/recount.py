"""The figures counted from the record, whole: what the rollups must be equal to, and what mends them.

The rows of the record are counted by the hour of their time, as the database groups them, so that it takes one pass
over each table and little memory.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, cast, func, insert, select

from models.rollups import Deltas, Whose
from models.tables import calls, evaluations, invitations, rollup_days, rollup_hours, rollup_reasons
from models.terms import Adoption, CallOutcome, Channel, Origin, Satisfaction, SubjectKind

__all__ = ["count_all", "rebuild"]

_REBUILT = 0
"""The writer's number of what a migration or `rebuild` has counted."""
_AT_ONCE = 1000


def count_all(connection: Connection) -> Deltas:
    """Every effective evaluation, every invitation that was asked, every call."""
    counted = Deltas()
    of = evaluations.c
    hour = _hour(connection, of.assess_time)
    keys: tuple[Any, ...] = (
        hour,
        of.subject_kind,
        of.agent,
        of.queue,
        of.dept_code,
        of.area_code,
        of.satisfaction,
        of.channel,
    )
    keys += (of.origin, of.asked, of.adoption, of.reasons)
    for row in connection.execute(select(*keys, func.count().label("n")).where(of.effective).group_by(*keys)):
        counted.evaluation(
            row.n,
            Whose(SubjectKind(row.subject_kind), row.agent, row.queue, row.dept_code, row.area_code),
            _moment(row.hour),
            Satisfaction(row.satisfaction),
            Channel(row.channel),
            Origin(row.origin),
            asked=row.asked,
            adopted=row.adoption != Adoption.NOT_ADOPTED.value,
            reasons=row.reasons,
        )
    about = invitations.c
    hour = _hour(connection, about.first_asked_at)
    responded = about.responded_at.is_not(None).label("responded")
    keys = (hour, about.asked_kind, about.asked_agent, about.asked_queue, about.asked_dept, about.asked_area)
    keys += (about.asked_by, about.kind, responded)
    asked = select(*keys, func.count().label("n")).where(about.first_asked_at.is_not(None)).group_by(*keys)
    for row in connection.execute(asked):
        kind = SubjectKind(row.asked_kind or row.kind)
        whose = Whose(kind, row.asked_agent, row.asked_queue, row.asked_dept, row.asked_area)
        counted.invitation(row.n, whose, _moment(row.hour), row.asked_by, responded=bool(row.responded))
    call = calls.c
    hour = _hour(connection, func.coalesce(call.ended_at, call.created_at))
    keys = (hour, call.agent, call.queue, call.dept, call.area_code, call.outcome)
    for row in connection.execute(select(*keys, func.count().label("n")).group_by(*keys)):
        whose = Whose(SubjectKind.CALL, row.agent, row.queue, row.dept, row.area_code)
        counted.call(row.n, whose, _moment(row.hour), CallOutcome(row.outcome))
    return counted


def rebuild(connection: Connection) -> int:
    """Counts everything anew, in place of what the rollups hold. Nobody else may write meanwhile. Gives the rows."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    stored = 0
    counted = count_all(connection)
    for table in (rollup_days, rollup_hours, rollup_reasons):
        connection.execute(table.delete())
    for table, rows in counted.rows(_REBUILT):
        stored += len(rows)
        names = [column.name for column in table.columns]
        for start in range(0, len(rows), _AT_ONCE):
            some = [dict(zip(names, row, strict=True)) for row in rows[start : start + _AT_ONCE]]
            connection.execute(insert(table), some)
    return stored


def _hour(connection: Connection, column: ColumnElement[Any]) -> ColumnElement[str]:
    """The hour of a time, in UTC: `2026-11-18T02`; Asia/Shanghai is whole hours away."""
    if connection.dialect.name == "sqlite":
        return func.replace(func.substr(cast(column, String), 1, 13), " ", "T").label("hour")
    return func.to_char(func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24').label("hour")


def _moment(hour: str) -> datetime:
    return datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC)
