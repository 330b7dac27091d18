"""What the board and the trends read, on both databases."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from console.figures import (
    By,
    Figures,
    Period,
    Reason,
    Sight,
    Slice,
    board,
    ratings_query,
    reasons,
    statistics,
    trend,
)
from intake.desk import Intake
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.terms import CallOutcome, Channel, Satisfaction, SubjectKind
from tests.intake.test_calls import FACTS, RULES

WAIT = 10
TODAY = date(2026, 11, 18)
WEEK = Period(TODAY - timedelta(days=6), TODAY)
T = TypeVar("T")


@pytest.fixture
def intake(door: Door, keyring: Keyring, clock: TurnedClock) -> Intake:
    return Intake(door, keyring, clock, RULES)


@pytest.fixture
def read(database: Database) -> Callable[..., Any]:
    def read(function: Callable[..., T], *arguments: Any, **more: Any) -> T:
        with database.read_engine.connect() as connection:
            return function(connection, *arguments, **more)

    return read


def rate(intake: Intake, clock: TurnedClock, call: str, level: int, **facts: Any) -> Any:
    told = replace(FACTS, call_key=call, at=clock.now(), **facts)
    return intake.rate(told, Satisfaction(level), "x", hold=False).result(WAIT)


def test_the_board_of_today(intake: Intake, clock: TurnedClock, read: Any) -> None:
    rate(intake, clock, "a", 5, case_no="GD-1", closed=True)
    clock.turn(timedelta(hours=2))
    rate(intake, clock, "b", 1)
    intake.end_call(replace(FACTS, call_key="c", at=clock.now()), CallOutcome.NO_INPUT).result(WAIT)
    shown = read(board, TODAY)
    whole = shown.whole
    assert (whole.call.calls, whole.call.offered, whole.call.answered) == (3, 3, 2)
    assert (whole.response.hits, whole.response.n) == (2, 3)
    assert (whole.call.levels[Satisfaction(5)], whole.call.levels[Satisfaction(1)], whole.case.rated) == (1, 1, 1)
    assert list(shown.channels) == [Channel.KEYPAD]
    assert {hour: figures.call.calls for hour, figures in shown.hours.items()} == {10: 1, 12: 2}
    assert read(board, TODAY - timedelta(days=1)).whole == Figures()
    assert read(board, TODAY, Sight(depts=("another",))).whole == Figures()


def test_a_trend_stands_beside_the_period_before(intake: Intake, clock: TurnedClock, read: Any) -> None:
    rate(intake, clock, "a", 5)
    clock.turn(timedelta(days=7))
    rate(intake, clock, "b", 1)
    rate(intake, clock, "c", 1, agent="2002")
    week = Period(TODAY + timedelta(days=1), TODAY + timedelta(days=7))
    shown = read(trend, week, By.AGENT)
    assert [(row.key, row.figures.call.rated) for row in shown.rows] == [("2001", 1), ("2002", 1)]
    assert {key: figures.call.level_5 for key, figures in shown.before.items()} == {"2001": 1}
    assert (shown.whole.call.rated, shown.whole_before.call.rated) == (2, 1)
    days = read(trend, week, By.DAY)
    assert [row.figures.call.rated for row in days.rows] == [0, 0, 0, 0, 0, 0, 2]
    assert days.before["2026-11-25"].call.level_5 == 1


def test_a_part_of_the_figures(intake: Intake, clock: TurnedClock, read: Any) -> None:
    rate(intake, clock, "a", 5, case_no="GD-1", closed=True)
    rate(intake, clock, "b", 1, agent="2002", queue=None)

    def rated(**part: Any) -> int:
        whole = sum((row.figures for row in read(statistics, WEEK, By.DAY, part=Slice(**part))), Figures())
        return whole.call.rated + whole.case.rated

    assert rated() == 3
    assert rated(agent="2001") == 1, "an agent's are calls alone"
    assert (rated(queue="support"), rated(queue="")) == (1, 1)
    assert (rated(channel=Channel.SMS), rated(channel=Channel.KEYPAD)) == (0, 3)


def test_reasons_by_how_often_they_were_given(intake: Intake, clock: TurnedClock, read: Any) -> None:
    for place, codes in enumerate((("209",), ("209", "214"), ("214",), ("209",), ())):
        stored = rate(intake, clock, f"c{place}", 2)
        if codes:
            intake.give_reason(stored, codes).result(WAIT)
    rate(intake, clock, "good", 5)
    assert read(reasons, WEEK, SubjectKind.CALL) == [Reason("209", 3), Reason("214", 2), Reason("", 1)]
    assert read(reasons, WEEK, SubjectKind.CASE) == []
    assert read(reasons, WEEK, SubjectKind.CALL, part=Slice(agent="another")) == []


days = st.dates(date(2000, 1, 1), date(2100, 1, 1))


@given(days, st.integers(0, 800))
def test_the_period_before_is_as_long_and_ends_the_day_before(first: date, length: int) -> None:
    period = Period(first, first + timedelta(days=length))
    before = period.before
    assert before.days == period.days == len(period.each)
    assert before.last + timedelta(days=1) == period.first


def test_a_period_does_not_end_before_it_begins() -> None:
    with pytest.raises(ValueError, match="ends before"):
        Period(TODAY, TODAY - timedelta(days=1))


def test_a_figure_leads_to_the_rows_behind_it() -> None:
    query = ratings_query(WEEK, Slice(Channel.SMS, agent="00&42", dept=""), satisfaction=1, origin="citizen")
    assert (
        query
        == "from=2026-11-12&to=2026-11-18&channel=sms&agent=00%2642&dept=&satisfaction=1&origin=citizen&counted=yes"
    )


@pytest.mark.parametrize("by", list(By))
def test_figures_are_read_by_the_key_of_their_days(database: Database, by: By) -> None:
    """The plan: a range of the primary key, never the whole table."""
    asked: list[tuple[str, Any]] = []
    with database.read_engine.connect() as connection:

        def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("SELECT"):
                asked.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", note)
        statistics(connection, WEEK, by)
        event.remove(connection, "before_cursor_execute", note)
        [(statement, parameters)] = asked
        if database.is_sqlite:
            plan = " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
            assert "USING INDEX sqlite_autoindex_rollup_days_1 (day>? AND day<?" in plan, plan
        else:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = " ".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
            assert re.search(r"pk_rollup_days.*Index Cond: \(\(day >=", plan), plan
