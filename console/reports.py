"""Reports to print: a day, or a quarter (每季度末反馈), by the formulas of console/formulas.py.

Rules kept here: real and default ratings stand apart; calls and cases are never summed; every rate has its n, and under
LEAST there is none. What a viewer may not see is in no figure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from console.directory import Names
from console.figures import WHOLE, By, Figures, Period, Reason, Row, Sight, Slice, board, reasons, statistics
from console.viewer import Viewer
from models.terms import Channel, SubjectKind

__all__ = ["Line", "Report", "Table", "quarter", "quarter_name", "read_report", "sight_of"]

_QUARTER = re.compile(r"(\d{4})Q([1-4])", re.A)


@dataclass(frozen=True, slots=True)
class Line:
    """`part`, `period`: of what and when it tells, for the address of its rows."""

    name: str
    part: Slice
    period: Period
    figures: Figures


@dataclass(frozen=True, slots=True)
class Table:
    """`by`: a word of the catalogue's `by`; `kinds`: whose figures its columns are."""

    by: str
    kinds: Sequence[SubjectKind]
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Report:
    """`days`: the figures of each day; `hours`: of a single day, those of its hours."""

    period: Period
    whole: Figures
    days: Sequence[Row]
    hours: Mapping[int, Figures]
    tables: Sequence[Table]
    reasons: Mapping[SubjectKind, Sequence[Reason]]


def sight_of(viewer: Viewer) -> Sight | None:
    """What of the figures a viewer may see; None: nothing."""
    return Sight(viewer.depts, viewer.areas) if viewer.sees_record else None


def quarter(text: str) -> Period | None:
    """`2026Q4` as its days; None: it is none."""
    match = _QUARTER.fullmatch(text)
    if match is None or not 2000 <= int(match[1]) <= 2199:
        return None
    year, number = int(match[1]), int(match[2])
    first = date(year, 3 * number - 2, 1)
    after = date(year + number // 4, 3 * number % 12 + 1, 1)
    return Period(first, after - timedelta(days=1))


def quarter_name(day: date) -> str:
    return f"{day.year}Q{(day.month + 2) // 3}"


def read_report(connection: Connection, viewer: Viewer, names: Names, period: Period) -> Report | None:
    """The report of a period; None: this viewer sees no figures."""
    sight = sight_of(viewer)
    if sight is None:
        return None

    def rows(by: By) -> list[Row]:
        return statistics(connection, period, by, sight)

    days = rows(By.DAY)
    whole = Figures()
    for row in days:
        whole += row.figures
    agents = rows(By.AGENT)
    teams: dict[str, Figures] = {}
    for row in agents:
        team = names.team(row.key)
        teams[team] = teams.get(team, Figures()) + row.figures
    of_teams = [Line(name, Slice(team=name), period, figures) for name, figures in sorted(teams.items())]
    tables = [
        _table(By.DEPT, period, rows(By.DEPT), names.dept),
        Table("team", (SubjectKind.CALL,), of_teams),
        _table(By.AGENT, period, agents, names.agent),
        _table(By.QUEUE, period, rows(By.QUEUE), str),
        _table(By.CHANNEL, period, rows(By.CHANNEL), str),
    ]
    if not names.teams:
        tables = [table for table in tables if table.by != "team"]
    if period.days > 1:
        tables.append(_by_month(period, days))
    hours = board(connection, period.first, sight).hours if period.days == 1 else {}
    return Report(
        period, whole, days, hours, tables, {kind: reasons(connection, period, kind, sight) for kind in SubjectKind}
    )


def _table(by: By, period: Period, rows: Sequence[Row], named: Callable[[str], str]) -> Table:
    """The lines with most real ratings first."""
    kinds = by.kinds
    kept = [row for row in rows if any(_counts(row.figures, kind) for kind in kinds)]
    kept.sort(key=lambda row: (-sum(row.figures.of(kind).rated for kind in kinds), row.key))
    return Table(by.value, kinds, [Line(named(row.key), _part(by, row.key), period, row.figures) for row in kept])


def _part(by: By, key: str) -> Slice:
    told: dict[str, Any] = {by.value: Channel(key) if by is By.CHANNEL else key}
    return Slice(**told)


def _counts(figures: Figures, kind: SubjectKind) -> int:
    counts = figures.of(kind)
    return counts.rated + counts.defaults + counts.asked + counts.not_adopted


def _by_month(period: Period, days: Sequence[Row]) -> Table:
    months: dict[str, Figures] = {}
    for row in days:
        months[row.key[:7]] = months.get(row.key[:7], Figures()) + row.figures
    lines = []
    for name, figures in sorted(months.items()):
        inside = [day for day in period.each if day.isoformat().startswith(name)]
        lines.append(Line(name, WHOLE, Period(inside[0], inside[-1]), figures))
    return Table("month", tuple(SubjectKind), lines)
