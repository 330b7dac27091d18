"""Ranges by name, and days summed so that a chart can be read."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.figures import Figures, Period, Row
from console.formulas import Counts
from console.spans import Before, Likeness, Range, before_of, days_of, in_spans, period_of, span_label

WEDNESDAY = date(2026, 11, 18)


@pytest.mark.parametrize(
    ("chosen", "today", "first", "last"),
    [
        (Range.TODAY, WEDNESDAY, "2026-11-18", "2026-11-18"),
        (Range.YESTERDAY, date(2027, 1, 1), "2026-12-31", "2026-12-31"),
        (Range.WEEK, WEDNESDAY, "2026-11-16", "2026-11-18"),
        (Range.WEEK, date(2026, 11, 16), "2026-11-16", "2026-11-16"),
        (Range.WEEK, date(2027, 1, 3), "2026-12-28", "2027-01-03"),
        (Range.MONTH, WEDNESDAY, "2026-11-01", "2026-11-18"),
        (Range.LAST_QUARTER, WEDNESDAY, "2026-07-01", "2026-09-30"),
        (Range.LAST_QUARTER, date(2026, 1, 1), "2025-10-01", "2025-12-31"),
        (Range.LAST_QUARTER, date(2024, 5, 31), "2024-01-01", "2024-03-31"),
    ],
)
def test_what_a_choice_means(chosen: Range, today: date, first: str, last: str) -> None:
    assert days_of(chosen, today) == Period(date.fromisoformat(first), date.fromisoformat(last))


def days(first: str, last: str) -> Period:
    return Period(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("chosen", "today", "likeness", "first", "last"),
    [
        (Range.TODAY, "2026-11-18", Likeness.DAY, "2026-11-17", "2026-11-17"),
        (Range.YESTERDAY, "2026-11-18", Likeness.DAY, "2026-11-16", "2026-11-16"),
        (Range.WEEK, "2026-11-18", Likeness.SAME_WEEKDAYS, "2026-11-09", "2026-11-11"),
        (Range.WEEK, "2026-11-16", Likeness.SAME_WEEKDAYS, "2026-11-09", "2026-11-09"),
        (Range.WEEK, "2026-11-22", Likeness.WEEK, "2026-11-09", "2026-11-15"),
        (Range.MONTH, "2026-11-18", Likeness.SAME_DATES, "2026-10-01", "2026-10-18"),
        (Range.MONTH, "2026-11-01", Likeness.SAME_DATES, "2026-10-01", "2026-10-01"),
        (Range.MONTH, "2026-03-30", Likeness.SAME_DATES, "2026-02-01", "2026-02-28"),
        (Range.MONTH, "2027-01-05", Likeness.SAME_DATES, "2026-12-01", "2026-12-05"),
        (Range.MONTH, "2026-11-30", Likeness.MONTH, "2026-10-01", "2026-10-31"),
        (Range.LAST_QUARTER, "2026-11-18", Likeness.QUARTER, "2026-04-01", "2026-06-30"),
        (Range.LAST_QUARTER, "2026-05-31", Likeness.QUARTER, "2025-10-01", "2025-12-31"),
    ],
)
def test_a_named_range_is_compared_with_its_like(
    chosen: Range, today: str, likeness: Likeness, first: str, last: str
) -> None:
    now = date.fromisoformat(today)
    assert before_of(days_of(chosen, now), chosen, now) == Before(days(first, last), likeness)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (("2026-11-18", "2026-11-18"), Before(days("2026-11-17", "2026-11-17"), Likeness.DAY)),
        (("2026-11-09", "2026-11-15"), Before(days("2026-11-02", "2026-11-08"), Likeness.WEEK)),
        (("2026-11-16", "2026-11-18"), Before(days("2026-11-09", "2026-11-11"), Likeness.SAME_WEEKDAYS)),
        (("2026-11-09", "2026-11-11"), Before(days("2026-11-06", "2026-11-08"), Likeness.AS_MANY)),
        (("2026-11-01", "2026-11-18"), Before(days("2026-10-01", "2026-10-18"), Likeness.SAME_DATES)),
        (("2026-11-01", "2026-11-17"), Before(days("2026-10-15", "2026-10-31"), Likeness.AS_MANY)),
        (("2026-02-01", "2026-02-28"), Before(days("2026-01-01", "2026-01-31"), Likeness.MONTH)),
        (("2026-07-01", "2026-09-30"), Before(days("2026-04-01", "2026-06-30"), Likeness.QUARTER)),
        (("2026-08-01", "2026-10-31"), Before(days("2026-05-01", "2026-07-31"), Likeness.AS_MANY)),
        (("2025-01-01", "2025-12-31"), Before(days("2024-01-01", "2024-12-31"), Likeness.YEAR)),
        (("2026-01-01", "2026-11-18"), Before(days("2025-02-13", "2025-12-31"), Likeness.AS_MANY)),
    ],
)
def test_days_of_ones_own_are_compared_with_their_like_or_as_many(own: tuple[str, str], expected: Before) -> None:
    assert before_of(days(*own), None, WEDNESDAY) == expected


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 400), st.sampled_from([None, *Range]))
def test_what_a_range_is_compared_with_is_over_before_it_begins(first: date, length: int, chosen: Range | None) -> None:
    period = Period(first, first + timedelta(days=length)) if chosen is None else days_of(chosen, first)
    before = before_of(period, chosen, period.last)
    assert before.period.last < period.first
    assert abs(before.period.days - period.days) <= 3


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(1, 366))
def test_spans_hold_each_day_once_and_lose_no_count(first: date, days: int) -> None:
    rows = [
        Row((first + timedelta(days=place)).isoformat(), Figures(call=Counts(level_5=place + 1)))
        for place in range(days)
    ]
    spans = in_spans(rows)
    assert len(spans) <= 31
    assert [day for span in spans for day in period_of(span.key).each] == [period_of(row.key).first for row in rows]
    assert sum(span.figures.call.level_5 for span in spans) == days * (days + 1) // 2


def test_a_span_is_named_by_its_days() -> None:
    assert [span_label(period_of(key)) for key in ("2026-11-18", "2026-11-16/2026-11-22")] == ["11-18", "11-16~11-22"]
