"""Ranges by name, and days summed so that a chart can be read."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.figures import Figures, Period, Row
from console.formulas import Counts
from console.spans import Range, days_of, in_spans, period_of, span_label

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
