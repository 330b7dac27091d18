"""Ranges of days: those that people choose by name, and long ones cut so that a chart can be read.

Rules kept here: days are days in Asia/Shanghai; a week begins on Monday; what has no data yet is in no range. A row of
a span has the ISO interval as its key, `2026-11-16/2026-11-22`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum

from console.figures import Figures, Period, Row

__all__ = ["LONGEST", "Range", "days_of", "in_spans", "period_of", "span_label"]

LONGEST = 366
"""Days that a trend may have."""
_DAYS, _WEEKS = 31, 190
"""Up to so many days stand for themselves, up to so many weeks do; beyond it months."""


class Range(StrEnum):
    """What one click chooses."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    WEEK = "week"
    MONTH = "month"
    LAST_QUARTER = "last_quarter"


def days_of(chosen: Range, today: date) -> Period:
    """The days that a choice means."""
    if chosen is Range.TODAY:
        return Period(today, today)
    if chosen is Range.YESTERDAY:
        return Period(today - timedelta(days=1), today - timedelta(days=1))
    if chosen is Range.WEEK:
        return Period(today - timedelta(days=today.weekday()), today)
    if chosen is Range.MONTH:
        return Period(today.replace(day=1), today)
    begun = today.replace(month=(today.month - 1) // 3 * 3 + 1, day=1)
    last = begun - timedelta(days=1)
    return Period(last.replace(month=last.month - 2, day=1), last)


def period_of(key: str) -> Period:
    """The days of a row's key: one, or a span."""
    first, _, last = key.partition("/")
    return Period(date.fromisoformat(first), date.fromisoformat(last or first))


def span_label(period: Period) -> str:
    """How a chart and a table name it."""
    if period.days == 1:
        return f"{period.first:%m-%d}"
    return f"{period.first:%m-%d}~{period.last:%m-%d}"


def in_spans(rows: Sequence[Row]) -> list[Row]:
    """The rows of days, summed by weeks or months where they are many."""
    if len(rows) <= _DAYS:
        return list(rows)
    summed: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        day = date.fromisoformat(row.key)
        # A week of the ISO calendar has its own year.
        of = day.isocalendar()[:2] if len(rows) <= _WEEKS else (day.year, day.month)
        summed.setdefault(of, []).append(row)
    return [_sum(days) for days in summed.values()]


def _sum(days: Sequence[Row]) -> Row:
    whole = Figures()
    for row in days:
        whole += row.figures
    return Row(days[0].key if len(days) == 1 else f"{days[0].key}/{days[-1].key}", whole)
