"""The decisions of intake, as tables."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.decide import CaseVerdict, Effective, PushCalls, case_verdict, is_duplicate, merged_outcome, pushes_call
from models.terms import CallOutcome, Origin, Satisfaction
from tests.moments import START

O = CallOutcome  # noqa: E741
WINDOW = timedelta(days=30)


def effective(origin: Origin, *, overall: bool = False) -> Effective:
    return Effective("e", 1, Satisfaction.SATISFIED, origin, "r", START, overall)


@pytest.mark.parametrize(
    ("known", "duplicate", "verdict"),
    [
        (None, False, CaseVerdict.FIRST),
        (effective(Origin.DEFAULT), True, CaseVerdict.AFTER_DEFAULT),
        (effective(Origin.CITIZEN), True, CaseVerdict.ALREADY_RATED),
        (effective(Origin.CITIZEN, overall=True), True, CaseVerdict.AFTER_THEME),
    ],
)
def test_what_a_rating_finds(known: Effective | None, duplicate: bool, verdict: CaseVerdict) -> None:
    assert is_duplicate(known) is duplicate
    assert case_verdict(known, START, WINDOW) is verdict


@pytest.mark.parametrize(
    ("known", "in_time", "later"),
    [
        (effective(Origin.DEFAULT), CaseVerdict.AFTER_DEFAULT, CaseVerdict.TOO_LATE),
        (effective(Origin.CITIZEN, overall=True), CaseVerdict.AFTER_THEME, CaseVerdict.ALREADY_RATED),
    ],
)
def test_defaults_and_themes_give_way_inside_the_late_window(
    known: Effective, in_time: CaseVerdict, later: CaseVerdict
) -> None:
    assert case_verdict(known, START + WINDOW, WINDOW) is in_time
    assert case_verdict(known, START + WINDOW + timedelta(microseconds=1), WINDOW) is later
    assert (in_time.takes_rating, later.takes_rating) == (True, False)


@pytest.mark.parametrize(
    ("known", "new", "kept"),
    [
        (None, O.NO_INPUT, O.NO_INPUT),
        (O.NOT_OFFERED, O.HANGUP, O.HANGUP),
        (O.HANGUP, O.NOT_OFFERED, O.HANGUP),
        (O.NO_INPUT, O.RATED, O.RATED),
        (O.RATED, O.HANGUP, O.RATED),
        (O.RATED, O.NOT_OFFERED, O.RATED),
        (O.ERROR, O.NO_INPUT, O.NO_INPUT),
    ],
)
def test_a_call_told_of_twice(known: CallOutcome | None, new: CallOutcome, kept: CallOutcome) -> None:
    assert merged_outcome(known, new) is kept


@given(st.lists(st.sampled_from(list(O)), min_size=1))
def test_a_rated_call_stays_rated_whatever_else_is_told(outcomes: list[CallOutcome]) -> None:
    known: CallOutcome | None = None
    for outcome in outcomes:
        known = merged_outcome(known, outcome)
    assert (known is O.RATED) is (O.RATED in outcomes)
    assert (known is O.NOT_OFFERED) is (set(outcomes) == {O.NOT_OFFERED})


@pytest.mark.parametrize(
    ("policy", "case_carries_it", "pushed"),
    [
        (PushCalls.WITHOUT_CASE, False, True),
        (PushCalls.WITHOUT_CASE, True, False),
        (PushCalls.ALWAYS, True, True),
        (PushCalls.NEVER, False, False),
    ],
)
def test_which_calls_are_pushed(policy: PushCalls, case_carries_it: bool, pushed: bool) -> None:
    assert pushes_call(policy, case_carries_it=case_carries_it) is pushed
