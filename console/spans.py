"""Ranges of days: those that people choose by name, and long ones cut so that a chart can be read.

Rules kept here:

* Days are days in Asia/Shanghai; a week begins on Monday; what has no data yet is in no range.
* A range is compared with its like (`before_of`), and the page says with what: a whole quarter, month or year with the
  one before; a week or month that goes on with the same days of the one before, weekday by weekday or date by date;
  days of one's own with as many just before.
* A row of a span has the ISO interval as its key, `2026-11-16/2026-11-22`.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from console.figures import Figures, Period, Row

__all__ = ["LONGEST", "Before", "Likeness", "Range", "before_of", "days_of", "in_spans", "period_of", "span_label"]

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


class Likeness(StrEnum):
    """As what the period before is taken: the whole one before, the same days of the one before, or as many days."""

    DAY = "day"
    SAME_WEEKDAYS = "same_weekdays"
    WEEK = "week"
    SAME_DATES = "same_dates"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    AS_MANY = "as_many"


@dataclass(frozen=True, slots=True)
class Before:
    """What a period is compared with."""

    period: Period
    likeness: Likeness


_MONTHS = {Likeness.MONTH: 1, Likeness.QUARTER: 3, Likeness.YEAR: 12}


def before_of(period: Period, chosen: Range | None, today: date) -> Before:
    """What a period is compared with. `chosen` None: days of one's own, which may be a whole month or the like."""
    first, last = period.first, period.last
    weekly = first.weekday() == 0 and first + timedelta(days=6) >= last
    if period.days == 1 and chosen not in (Range.WEEK, Range.MONTH):
        return Before(_moved(period, 1), Likeness.DAY)
    if period.days == 7 and weekly:
        return Before(_moved(period, 7), Likeness.WEEK)
    for likeness, months in _MONTHS.items():
        begins = first.day == 1 and (first.month - 1) % months == 0
        if begins and last == _months_on(first, months) - timedelta(days=1):
            return Before(Period(_months_on(first, -months), first - timedelta(days=1)), likeness)
    if weekly and (chosen is Range.WEEK or (chosen is None and last == today)):
        return Before(_moved(period, 7), Likeness.SAME_WEEKDAYS)
    if chosen is Range.MONTH or (chosen is None and first.day == 1 and last == today and _months_on(first, 1) > last):
        begun = _months_on(first, -1)
        ended = begun.replace(day=min(last.day, monthrange(begun.year, begun.month)[1]))
        return Before(Period(begun, ended), Likeness.SAME_DATES)
    return Before(period.before, Likeness.AS_MANY)


def _moved(period: Period, days: int) -> Period:
    return Period(period.first - timedelta(days=days), period.last - timedelta(days=days))


def _months_on(first: date, months: int) -> date:
    """The first of a month, so many months later."""
    years, month = divmod(first.month - 1 + months, 12)
    return date(first.year + years, month + 1, 1)


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
