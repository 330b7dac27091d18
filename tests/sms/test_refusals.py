"""What an SMSC's refusals say, and when they say it of the message or of the link."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.pdu import Status
from sms.refusals import FIRST_WAIT, LONGEST_WAIT, REFUSALS, Refusal, Refusals, Running, refusal, wait_after

FOR_NOW, SET_UP, FINAL = Refusal.FOR_NOW, Refusal.SET_UP, Refusal.FINAL
TABLE: list[tuple[int, Refusal]] = [
    (int(Status.ESME_RSYSERR), FOR_NOW),
    (int(Status.ESME_RSUBMITFAIL), FOR_NOW),
    (int(Status.ESME_RX_T_APPN), FOR_NOW),
    (int(Status.ESME_RINVBNDSTS), SET_UP),
    (int(Status.ESME_RINVSRCADR), SET_UP),
    (int(Status.ESME_RINVSYSID), SET_UP),
    (int(Status.ESME_RINVSERTYP), SET_UP),
    (int(Status.ESME_RINVDSTTON), SET_UP),
    (int(Status.ESME_RINVEXPIRY), SET_UP),
    (int(Status.ESME_ROPTPARNOTALLWD), SET_UP),
    (int(Status.ESME_RINVDSTADR), FINAL),
    (int(Status.ESME_RINVMSGLEN), FINAL),
    (int(Status.ESME_RX_P_APPN), FINAL),
    (0x400, FINAL),
    (0x8000_0401, FINAL),
]


@pytest.mark.parametrize(("status", "says"), TABLE, ids=[hex(row[0]) for row in TABLE])
def test_what_a_status_says(status: int, says: Refusal) -> None:
    assert refusal(status) is says


@given(st.integers(1, 10_000))
def test_a_wait_is_never_shorter_than_the_one_before_and_bounded(times: int) -> None:
    assert FIRST_WAIT <= wait_after(times) <= wait_after(times + 1) <= LONGEST_WAIT


def test_each_status_has_a_count_of_its_own_and_an_accepted_one_ends_all() -> None:
    running = Running()
    assert [running.refused("a", 3), running.refused("b", 3), running.refused("a", 3)] == [False] * 3
    assert running.is_trial(3)
    assert [running.refused("a", 3), running.refused("a", 3)] == [True, True], "after a rest one is enough"
    running.accepted()
    assert not running.is_trial(3)
    assert [running.refused("a", 3), running.refused("b", 3), running.refused("b", 3)] == [False] * 3


def test_while_a_link_takes_nothing_no_refusal_is_held_against_a_message() -> None:
    refusals = Refusals()
    waits = [refusals.refused("m", "link", 7) for _ in range(100)]
    assert None not in waits
    assert waits[-1] == timedelta(minutes=15)


def test_another_link_says_nothing_about_this_one() -> None:
    """Which has accepted more or less, but not between two refusals of this message."""
    refusals = Refusals()
    assert None not in [refusals.refused("m", f"link {turn % 2}", turn) for turn in range(100)]


def test_what_others_are_accepted_between_is_held_against_it() -> None:
    refusals = Refusals()
    assert None not in [refusals.refused("m", "link", turn) for turn in range(REFUSALS)]
    assert refusals.refused("m", "link", REFUSALS) is None
    assert len(refusals) == 0


def test_a_message_that_is_over_is_forgotten_and_memory_is_bounded() -> None:
    refusals = Refusals()
    refusals.refused("m", "link", 0)
    refusals.over("m")
    refusals.over("never seen")
    assert len(refusals) == 0
    for number in range(10_050):
        refusals.refused(str(number), "link", 0)
    assert len(refusals) == 10_000
