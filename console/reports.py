"""Reports to print: a day, or a quarter (每季度末反馈), by the formulas of console/formulas.py.

Rules kept here: real and default ratings stand apart; calls and cases are never summed; every rate has its n, and under
LEAST there is none. What a viewer may not see is in no figure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from console.directory import Names
from console.figures import By, Figures, Period, Reason, Row, Sight, reasons, statistics
from console.viewer import Viewer
from models.terms import SubjectKind

__all__ = ["Line", "Report", "Table", "month", "quarter", "quarter_name", "read_report", "sight_of"]

_QUARTER = re.compile(r"(\d{4})Q([1-4])", re.A)


@dataclass(frozen=True, slots=True)
class Line:
    """`key`: the code behind a line (for the address of its rows); None: no rows can be named (a 班组)."""

    name: str
    key: str | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class Table:
    """`by`: a word of the catalogue's `by`; `kinds`: whose figures its columns are."""

    by: str
    kinds: Sequence[SubjectKind]
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Report:
    period: Period
    whole: Figures
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


def month(text: str) -> Period:
    """`2026-10` as its days."""
    first = date.fromisoformat(f"{text}-01")
    after = (first + timedelta(days=31)).replace(day=1)
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
    tables = [
        _table("dept", By.DEPT, rows(By.DEPT), names.dept),
        Table("team", (SubjectKind.CALL,), [Line(name, None, figures) for name, figures in sorted(teams.items())]),
        _table("agent", By.AGENT, agents, names.agent),
        _table("queue", By.QUEUE, rows(By.QUEUE), str),
        _table("channel", By.CHANNEL, rows(By.CHANNEL), str),
    ]
    if not names.teams:
        tables = [table for table in tables if table.by != "team"]
    if period.days > 1:
        tables.append(_by_month(days))
    return Report(period, whole, tables, {kind: reasons(connection, period, kind, sight) for kind in SubjectKind})


def _table(name: str, by: By, rows: Sequence[Row], named: Any) -> Table:
    """The lines with most real ratings first."""
    kinds = by.kinds
    kept = [row for row in rows if any(_counts(row.figures, kind) for kind in kinds)]
    kept.sort(key=lambda row: (-sum(row.figures.of(kind).rated for kind in kinds), row.key))
    return Table(name, kinds, [Line(named(row.key), row.key, row.figures) for row in kept])


def _counts(figures: Figures, kind: SubjectKind) -> int:
    counts = figures.of(kind)
    return counts.rated + counts.defaults + counts.asked + counts.not_adopted


def _by_month(days: Sequence[Row]) -> Table:
    months: dict[str, Figures] = {}
    for row in days:
        months[row.key[:7]] = months.get(row.key[:7], Figures()) + row.figures
    return Table("month", tuple(SubjectKind), [Line(name, name, figures) for name, figures in sorted(months.items())])
