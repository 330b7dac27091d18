"""The figures that the board, the trends and the API show: read from the rollups, the writers summed.

Rules kept here:

* A figure of today is one query over the hours of one day; a trend is one over the days of its range. Neither looks at
  the record, so that ten million evaluations cost them nothing.
* What a viewer may not see is not in any sum: `Sight` is a condition of each query.
* Agents and queues are figures of calls, departments of cases; the others show the two side by side, never summed. An
  invitation is one, whatever it asks about: the response rate covers both.
* Who looks at a figure can see the rows behind it, these and no others: `ratings_query` writes the address of the
  ratings list. Behind calls, offers and response rates are other rows: console/asked.asked_address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select

from console.directory import in_team
from console.formulas import Counts, Rate
from models.rollups import NO_REASON
from models.tables import MEASURES, rollup_days, rollup_hours, rollup_reasons
from models.terms import Channel, SubjectKind

__all__ = [
    "EVERYTHING",
    "WHOLE",
    "Board",
    "By",
    "Figures",
    "Period",
    "Reason",
    "Row",
    "Sight",
    "Slice",
    "Trend",
    "board",
    "ratings_query",
    "reasons",
    "shown_row",
    "statistics",
    "trend",
]


class By(StrEnum):
    """What figures are told by."""

    DAY = "day"
    AGENT = "agent"
    DEPT = "dept"
    CHANNEL = "channel"
    QUEUE = "queue"

    @property
    def kinds(self) -> tuple[SubjectKind, ...]:
        """Of whose ratings it tells."""
        if self in (By.AGENT, By.QUEUE):
            return (SubjectKind.CALL,)
        if self is By.DEPT:
            return (SubjectKind.CASE,)
        return (SubjectKind.CALL, SubjectKind.CASE)


@dataclass(frozen=True, slots=True)
class Period:
    """Days in Asia/Shanghai, both of them in it."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError("a period ends before it begins")

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> Period:
        """As many days, just before."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1))

    @property
    def each(self) -> list[date]:
        return [self.first + timedelta(days=place) for place in range(self.days)]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a viewer may see: departments, and areas by their beginning; empty: all."""

    depts: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the figures; the names are the ratings list's parameters. None: whatever, empty text: not told.

    `team`: a 班组 as the directory has it now.
    """

    channel: Channel | None = None
    agent: str | None = None
    queue: str | None = None
    dept: str | None = None
    area: str | None = None
    team: str | None = None


EVERYTHING, WHOLE = Sight(), Slice()


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of calls and of cases, apart."""

    call: Counts = field(default_factory=Counts)
    case: Counts = field(default_factory=Counts)

    def __add__(self, other: Figures) -> Figures:
        return Figures(self.call + other.call, self.case + other.case)

    def of(self, kind: SubjectKind) -> Counts:
        return self.call if kind is SubjectKind.CALL else self.case

    @property
    def response(self) -> Rate:
        """参评率 over all invitations."""
        return Rate(self.call.responded + self.case.responded, self.call.asked + self.case.asked)


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one day, agent, department, channel or queue. `key` empty: not told."""

    key: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Reason:
    """`code` empty: a bad rating without one."""

    code: str
    n: int


@dataclass(frozen=True, slots=True)
class Board:
    """Today, whole, by channel and by hour; hours without anything are missing."""

    whole: Figures
    channels: Mapping[Channel, Figures]
    hours: Mapping[int, Figures]


@dataclass(frozen=True, slots=True)
class Trend:
    """A period beside the one before it.

    `before`: the figures then, by the same keys; by day, of the same place. The last days of a longer one before are in
    its whole alone, and a day that a shorter one does not have is missing.
    """

    period: Period
    rows: Sequence[Row]
    whole: Figures
    whole_before: Figures
    before: Mapping[str, Figures] = field(default_factory=dict)


# ── reads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def statistics(
    connection: Connection, period: Period, by: By, sight: Sight = EVERYTHING, part: Slice = WHOLE
) -> list[Row]:
    """The figures of a period, in the order of their keys. A day without anything has its row, too."""
    key = rollup_days.c[by.value]
    found: dict[str, Figures] = {}
    if by is By.DAY:
        found = {day.isoformat(): Figures() for day in period.each}
    conditions = [*_inside(rollup_days, period), *_seen(rollup_days, sight), *_part(rollup_days, part)]
    statement = (
        select(key.label("key"), rollup_days.c.kind, *_sums(rollup_days))
        .where(*conditions)
        .group_by(key, rollup_days.c.kind)
    )
    if by in (By.AGENT, By.QUEUE):
        statement = statement.where(rollup_days.c.kind == SubjectKind.CALL.value)
    for row in connection.execute(statement):
        name = row.key.isoformat() if by is By.DAY else row.key
        found[name] = found.get(name, Figures()) + _figures(row)
    return [Row(name, figures) for name, figures in sorted(found.items()) if by is By.DAY or figures != Figures()]


def trend(
    connection: Connection,
    period: Period,
    by: By,
    sight: Sight = EVERYTHING,
    part: Slice = WHOLE,
    *,
    before: Period | None = None,
) -> Trend:
    """A period and the one before it. `before`: which that is (console/spans.before_of); None: as many days."""
    rows = statistics(connection, period, by, sight, part)
    earlier = statistics(connection, before or period.before, by, sight, part)
    if by is By.DAY:
        then_by_key = {row.key: then.figures for row, then in zip(rows, earlier, strict=False)}
    else:
        then_by_key = {row.key: row.figures for row in earlier}
    return Trend(period, rows, _sum(rows), _sum(earlier), then_by_key)


def reasons(
    connection: Connection,
    period: Period,
    kind: SubjectKind,
    sight: Sight = EVERYTHING,
    part: Slice = WHOLE,
) -> list[Reason]:
    """How often each reason was given, most often first; bad ratings without one are the last."""
    table = rollup_reasons
    statement = (
        select(table.c.reason, func.sum(table.c.n).label("n"))
        .where(*_inside(table, period), *_seen(table, sight), *_part(table, part), table.c.kind == kind.value)
        .group_by(table.c.reason)
    )
    found = [Reason(row.reason, int(row.n)) for row in connection.execute(statement) if row.n]
    return sorted(found, key=lambda one: (one.code == NO_REASON, -one.n, one.code))


def board(connection: Connection, day: date, sight: Sight = EVERYTHING) -> Board:
    """One day, in one query."""
    table = rollup_hours
    statement = (
        select(table.c.hour, table.c.kind, table.c.channel, *_sums(table))
        .where(table.c.day == day, *_seen(table, sight))
        .group_by(table.c.hour, table.c.kind, table.c.channel)
    )
    whole = Figures()
    channels: dict[Channel, Figures] = {}
    hours: dict[int, Figures] = {}
    for row in connection.execute(statement):
        figures = _figures(row)
        channel = Channel(row.channel)
        whole += figures
        channels[channel] = channels.get(channel, Figures()) + figures
        hours[row.hour] = hours.get(row.hour, Figures()) + figures
    return Board(whole, channels, dict(sorted(hours.items())))


def ratings_query(period: Period, part: Slice = WHOLE, *, counted: bool | None = True, **more: str | int) -> str:
    """The query of the ratings list that shows what is behind a figure.

    Args:
        counted: what the figures count; False: 不予采纳 alone; None: both.
        more: `satisfaction`, `origin`, …
    """
    named: dict[str, str | int] = {"from": period.first.isoformat(), "to": period.last.isoformat()}
    for name in Slice.__slots__:
        value = getattr(part, name)
        if value is not None:
            named[name] = value
    named |= more
    if counted is not None:
        named["counted"] = "yes" if counted else "no"
    return urlencode(named)


# ── as the API tells it ───────────────────────────────────────────────────────────────────────────────────────────────


def shown_row(row: Row, by: By, satisfied_from: int) -> dict[str, Any]:
    """A row of `GET /api/v1/statistics` (console/schemas.py, StatisticsRow)."""
    figures = row.figures
    whole = figures.call + figures.case
    told: dict[str, Any] = {
        "key": row.key,
        "response": _shown_rate(figures.response),
        "calls": {"ended": whole.calls, "offered": whole.offered, "rated": whole.answered},
    }
    for kind in SubjectKind:
        counts = figures.of(kind)
        told[kind.value] = (
            {
                "levels": {str(level.value): count for level, count in counts.levels.items()},
                "satisfaction": _shown_rate(counts.satisfaction(satisfied_from)),
                "not_adopted": counts.not_adopted,
                "defaults": {"asked": counts.default_asked, "never_asked": counts.default_unasked},
            }
            if kind in by.kinds
            else None
        )
    return told


def _shown_rate(rate: Rate) -> dict[str, Any]:
    value, interval = rate.value, rate.interval
    return {
        "hits": rate.hits,
        "n": rate.n,
        "rate": None if value is None else round(value, 4),
        "interval": None if interval is None else {"low": round(interval.low, 4), "high": round(interval.high, 4)},
    }


# ── parts of a query ──────────────────────────────────────────────────────────────────────────────────────────────────


def _sums(table: Table) -> list[ColumnElement[Any]]:
    return [func.sum(table.c[name]).label(name) for name in MEASURES]


def _figures(row: Any) -> Figures:
    counts = Counts(*(int(getattr(row, name)) for name in MEASURES))
    return Figures(call=counts) if row.kind == SubjectKind.CALL.value else Figures(case=counts)


def _sum(rows: Iterable[Row]) -> Figures:
    whole = Figures()
    for row in rows:
        whole += row.figures
    return whole


def _inside(table: Table, period: Period) -> list[ColumnElement[bool]]:
    return [table.c.day >= period.first, table.c.day <= period.last]


def _seen(table: Table, sight: Sight) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if sight.depts:
        conditions.append(table.c.dept.in_(sight.depts))
    if sight.areas:
        conditions.append(or_(*(table.c.area.startswith(area, autoescape=True) for area in sight.areas)))
    return conditions


def _part(table: Table, part: Slice) -> list[ColumnElement[bool]]:
    wanted = {name: getattr(part, name) for name in ("channel", "agent", "queue", "dept", "area")}
    if part.agent is not None or part.queue is not None or part.team is not None:
        wanted["kind"] = SubjectKind.CALL
    conditions = [table.c[name] == value for name, value in wanted.items() if value is not None]
    if part.team is not None:
        conditions.append(in_team(table.c.agent, part.team))
    return conditions
