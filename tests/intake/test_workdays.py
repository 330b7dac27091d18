"""Working days: the golden dates, what comes before what, unknown and unconfirmed days, what holds for every case."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.workdays import LIBRARY, DayEntry, DayKind, WorkingDays, YearEntry, area_of, area_prefix
from models.clock import SHANGHAI

DAYS = WorkingDays()
LINXIA, TOWN, COUNTY, NINGXIA = "622900", "622921001000", "622921", "640000"


def closed(day: str, time: str = "10:00:00") -> datetime:
    return datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=SHANGHAI)


def off(name: str = "开斋节", *, confirmed: bool = True) -> DayEntry:
    return DayEntry(False, name, "通知", confirmed)


def works(*, confirmed: bool = True) -> DayEntry:
    return DayEntry(True, None, "通知", confirmed)


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
    makes_up = DAYS.day(date(2026, 10, 10))
    assert (makes_up.kind, makes_up.source, makes_up.confirmed) == (DayKind.WORKS, LIBRARY, True), "a Saturday"
    assert DAYS.day(date(2026, 10, 1)).kind is DayKind.OFF
    unknown = DAYS.day(date(2027, 3, 1))
    assert (unknown.kind, unknown.source, unknown.confirmed) == (DayKind.UNKNOWN, None, False)


# ── what comes before what ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "area", "prefix"),
    [
        ("", "", ""),
        ("620000", "620000", "62"),
        ("622900", "622900", "6229"),
        ("622921", "622921", "622921"),
        ("622900000000", "622900", "6229"),
        ("622921001000", "622921001000", "622921001"),
        ("622921001002", "622921001002", "622921001002"),
        ("110000", "110000", "11"),
    ],
)
def test_an_area_holds_for_every_code_below_it(code: str, area: str, prefix: str) -> None:
    assert area_of(code) == area
    assert area_prefix(area) == prefix


@pytest.mark.parametrize("code", ["6229", "62290", "062900", "6229000", "临夏", "62290000000x", "٦٢٢٩٠٠"])
def test_what_is_no_area(code: str) -> None:
    assert area_of(code) is None


DAY = date(2026, 11, 20)
LAYERS = {
    ("", DAY): DayEntry(False, "国家", "国务院", True),
    (LINXIA, DAY): DayEntry(True, "州", "州政府", True),
    (COUNTY, DAY): DayEntry(False, "县", "县政府", True),
    (TOWN, DAY): DayEntry(True, "乡", "乡政府", True),
}


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (None, "国家"),
        ("622921001002", "乡"),
        ("622921001", "乡"),
        ("622921002000", "县"),
        ("622921", "县"),
        ("622900", "州"),
        ("622927", "州"),
        ("622900000000", "州"),
        ("620100", "国家"),
        ("62290", "州"),
        ("not a code", "国家"),
    ],
)
def test_the_nearest_area_comes_first(code: str | None, name: str) -> None:
    answer = WorkingDays(1, LAYERS).day(DAY, code)
    assert answer.name == name
    assert answer.kind is (DayKind.WORKS if name in {"州", "乡"} else DayKind.OFF)


def test_an_imported_day_comes_before_the_library_and_leaves_the_others_to_it() -> None:
    days = WorkingDays(1, {("", date(2026, 10, 10)): off("调休取消")})
    assert days.day(date(2026, 10, 10)).kind is DayKind.OFF
    assert days.deadline(closed("2026-09-30"), 5).at == closed("2026-10-14", "23:59:59")
    assert days.day(date(2026, 10, 1)).source == LIBRARY


def test_a_year_that_is_imported_whole_is_known_by_its_weekdays_and_days() -> None:
    days = WorkingDays(1, {("", date(2027, 1, 1)): off("元旦")}, {("", 2027): YearEntry("国办发明电", True)})
    assert days.day(date(2027, 1, 4)).source == "国办发明电"
    due = days.deadline(closed("2026-12-25"), 5)
    assert (due.at, due.provisional) == (closed("2027-01-04", "23:59:59"), False)
    assert days.day(date(2028, 1, 4)).kind is DayKind.UNKNOWN
    assert days.covered_until(date(2026, 11, 28)) == date(2027, 12, 31)


def test_a_whole_year_of_an_area_says_nothing_of_its_days() -> None:
    days = WorkingDays(1, {}, {(LINXIA, 2027): YearEntry("州政府", True)})
    assert days.day(date(2027, 3, 1), LINXIA).kind is DayKind.UNKNOWN


@pytest.mark.parametrize(
    ("days", "years"),
    [
        ({("", date(2026, 11, 20)): off(confirmed=False)}, {}),
        ({("", date(2026, 11, 20)): works(confirmed=False)}, {}),
        ({(LINXIA, date(2026, 11, 21)): off(confirmed=False)}, {}),  # a Saturday all the same
        ({}, {("", 2026): YearEntry("征求意见稿", False)}),
    ],
    ids=["a day off", "a working day", "a local day", "a year"],
)
def test_a_deadline_that_touches_what_nobody_confirmed_is_provisional(days: object, years: object) -> None:
    calendar = WorkingDays(1, days, years)  # type: ignore[arg-type]
    assert calendar.deadline(closed("2026-11-18"), 5, LINXIA).provisional
    later = calendar.deadline(closed("2026-11-23"), 5, LINXIA)
    assert later.provisional is bool(years), "behind the unconfirmed day"


def test_how_far_the_confirmed_calendar_reaches() -> None:
    today = date(2026, 11, 28)
    assert DAYS.covered_until(today) == date(2026, 12, 31)
    local = WorkingDays(1, {(LINXIA, date(2026, 12, 10)): off(confirmed=False)})
    assert local.covered_until(today, COUNTY) == date(2026, 12, 9)
    assert local.covered_until(today, NINGXIA) == date(2026, 12, 31)
    assert DAYS.covered_until(date(2027, 1, 1)) is None


def test_special_days_are_those_that_are_not_as_their_weekday_says() -> None:
    calendar = WorkingDays(1, {(LINXIA, date(2026, 11, 21)): off(confirmed=False)})
    shown = {one.day: one.answer for one in calendar.special_days(2026, LINXIA)}
    assert shown[date(2026, 10, 10)].kind is DayKind.WORKS
    assert shown[date(2026, 10, 1)].kind is DayKind.OFF
    assert shown[date(2026, 11, 21)].confirmed is False, "an import speaks of a plain Saturday"
    assert date(2026, 11, 22) not in shown
    assert WorkingDays().special_days(2027) == []


# ── for every case ────────────────────────────────────────────────────────────────────────────────────────────────────

moments = st.datetimes(datetime(2004, 1, 2), datetime(2026, 12, 1), timezones=st.just(SHANGHAI))
near = st.datetimes(datetime(2026, 9, 1), datetime(2027, 3, 1), timezones=st.just(SHANGHAI))
entries = st.builds(DayEntry, st.booleans(), st.none(), st.just("通知"), st.booleans())
dates = st.dates(date(2026, 9, 1), date(2027, 3, 31))
tables = st.dictionaries(st.tuples(st.sampled_from(["", LINXIA, COUNTY]), dates), entries, max_size=40)
areas = st.sampled_from([None, LINXIA, COUNTY, TOWN, NINGXIA])


def counted(calendar: WorkingDays, moment: datetime, at: datetime, area: str | None) -> list[bool]:
    """Whether each day from the closing day, excluded, to the deadline's is worked, as one would count by hand."""
    first, last = moment.date(), at.astimezone(SHANGHAI).date()
    answers = []
    for number in range(1, (last - first).days + 1):
        day = first + timedelta(days=number)
        kind = calendar.day(day, area).kind
        answers.append(day.weekday() < 5 if kind is DayKind.UNKNOWN else kind is DayKind.WORKS)
    return answers


@given(moments, st.integers(1, 12))
def test_a_deadline_is_never_on_a_day_off_and_counts_right(moment: datetime, days: int) -> None:
    deadline = DAYS.deadline(moment, days)
    assert not deadline.provisional
    answers = counted(DAYS, moment, deadline.at, None)
    assert answers[-1]
    assert sum(answers) == days


@given(near, st.integers(1, 12), tables, areas)
def test_it_counts_right_whatever_was_imported(
    moment: datetime, days: int, table: dict[tuple[str, date], DayEntry], area: str | None
) -> None:
    calendar = WorkingDays(1, table)
    deadline = calendar.deadline(moment, days, area)
    answers = counted(calendar, moment, deadline.at, area)
    assert answers[-1]
    assert sum(answers) == days
    touched = [calendar.day(moment.date() + timedelta(days=n), area) for n in range(1, len(answers) + 1)]
    assert deadline.provisional is any(not answer.confirmed or answer.kind is DayKind.UNKNOWN for answer in touched)


@given(near, st.timedeltas(timedelta(0), timedelta(days=30)), st.integers(1, 12), tables, areas)
def test_who_closes_later_is_never_due_sooner(
    moment: datetime, later: timedelta, days: int, table: dict[tuple[str, date], DayEntry], area: str | None
) -> None:
    for calendar in (DAYS, WorkingDays(1, table)):
        assert calendar.deadline(moment, days, area).at <= calendar.deadline(moment + later, days, area).at
        assert calendar.deadline(moment, days, area).at < calendar.deadline(moment, days + 1, area).at


@given(near, st.integers(1, 12), st.sets(dates, max_size=10), areas)
def test_local_days_off_push_later_there_and_move_nothing_elsewhere(
    moment: datetime, days: int, local: set[date], area: str | None
) -> None:
    calendar = WorkingDays(1, {(LINXIA, day): off() for day in local})
    before, after = DAYS.deadline(moment, days, area), calendar.deadline(moment, days, area)
    if area in {None, NINGXIA}:
        assert after == before
    else:
        assert after.at >= before.at
        hit = any(DAYS.day(day).kind is DayKind.WORKS for day in local if moment.date() < day <= before.at.date())
        assert (after.at > before.at) or not hit
