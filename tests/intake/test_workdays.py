"""Working days: the golden dates, unknown years, and what holds for every closing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.workdays import WorkingDays
from models.clock import SHANGHAI

DAYS = WorkingDays()


def closed(day: str, time: str = "10:00:00") -> datetime:
    return datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("day", "due"),
    [
        ("2026-02-12", "2026-02-26"),  # over the Spring Festival, with its make-up days
        ("2026-04-30", "2026-05-11"),  # over Labour Day
        ("2026-09-30", "2026-10-13"),  # over the National Day
        ("2026-11-18", "2026-11-25"),  # a plain week
        ("2026-11-21", "2026-11-27"),  # closed on a Saturday
        ("2026-12-24", "2026-12-31"),
    ],
)
def test_the_deadline_is_the_last_second_of_the_fifth_working_day(day: str, due: str) -> None:
    deadline = DAYS.deadline(closed(day), 5)
    assert (deadline.at, deadline.provisional) == (closed(due, "23:59:59"), False)
    assert deadline.at.tzinfo is UTC


def test_the_closing_day_is_that_of_shanghai() -> None:
    """23:30 there is 15:30 UTC; half an hour into the next day there is still the day before in UTC."""
    late = datetime(2026, 11, 18, 15, 30, tzinfo=UTC)
    assert DAYS.deadline(late, 5).at == closed("2026-11-25", "23:59:59")
    assert DAYS.deadline(late + timedelta(hours=1), 5).at == closed("2026-11-26", "23:59:59")


@pytest.mark.parametrize(
    ("day", "due", "provisional"),
    [("2026-12-24", "2026-12-31", False), ("2026-12-25", "2027-01-01", True), ("2027-03-01", "2027-03-08", True)],
)
def test_a_deadline_that_touches_an_unpublished_year_is_provisional(day: str, due: str, provisional: bool) -> None:
    deadline = DAYS.deadline(closed(day), 5)
    assert (deadline.at, deadline.provisional) == (closed(due, "23:59:59"), provisional)


def test_nobody_knows_the_working_days_of_an_unpublished_year() -> None:
    assert DAYS.is_working_day(date(2026, 10, 10)) is True, "a Saturday that makes up"
    assert DAYS.is_working_day(date(2026, 10, 1)) is False
    assert DAYS.is_working_day(date(2027, 3, 1)) is None


moments = st.datetimes(datetime(2004, 1, 2), datetime(2026, 12, 1), timezones=st.just(SHANGHAI))


@given(moments, st.integers(1, 12))
def test_a_deadline_is_never_on_a_day_off_and_counts_right(moment: datetime, days: int) -> None:
    day = DAYS.deadline(moment, days).at.astimezone(SHANGHAI).date()
    assert DAYS.is_working_day(day)
    between = [moment.date() + timedelta(days=n) for n in range(1, (day - moment.date()).days + 1)]
    assert sum(bool(DAYS.is_working_day(one)) for one in between) == days


@given(moments, st.timedeltas(timedelta(0), timedelta(days=30)), st.integers(1, 12))
def test_who_closes_later_is_never_due_sooner(moment: datetime, later: timedelta, days: int) -> None:
    assert DAYS.deadline(moment, days).at <= DAYS.deadline(moment + later, days).at
    assert DAYS.deadline(moment, days).at < DAYS.deadline(moment, days + 1).at
