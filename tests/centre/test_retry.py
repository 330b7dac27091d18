"""When a batch goes again, and how much may be on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from centre.retry import CROWD, PROBE_MOST, Backoff, Flow, Room

BACKOFF = Backoff(first=1.0, most=300.0)


def flow(limit: int = 4) -> Flow:
    return Flow(limit, BACKOFF, pause=60.0)


@pytest.mark.parametrize(("tries", "least", "most"), [(1, 0.5, 1), (2, 1, 2), (3, 2, 4), (9, 128, 256), (10, 150, 300)])
def test_back_off_doubles_with_half_of_it_by_chance(tries: int, least: float, most: float) -> None:
    assert BACKOFF.delay(tries, 0.0) == least
    assert BACKOFF.delay(tries, 1.0) == most


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_back_off_has_an_upper_end(tries: int, chance: float) -> None:
    assert 0.5 <= BACKOFF.delay(tries, chance) <= 300.0


def test_new_ones_may_take_every_place_and_earlier_ones_leave_one() -> None:
    assert flow().room(0.0, 0, 0) == Room(4, 4, 3)
    assert flow().room(0.0, 3, 3) == Room(1, 1, 0)
    assert flow().room(0.0, 3, 0) == Room(1, 1, 1)
    assert flow().room(0.0, 4, 2) == Room(0, 0, 0)
    assert flow(1).room(0.0, 0, 0) == Room(1, 1, 1)


def test_one_failing_batch_changes_nothing_for_others() -> None:
    watched = flow()
    for moment in range(1000):
        watched.failed("the same", float(moment), 0.5)
    assert not watched.struggling
    assert watched.room(1000.0, 0, 0) == Room(4, 4, 3)


def test_a_centre_that_answers_nothing_is_asked_one_request_at_a_time_at_growing_distances() -> None:
    watched = flow()
    for number in range(CROWD):
        watched.started(0.0, new=True)
        watched.failed(f"b{number}", 0.0, 1.0)
    assert watched.struggling
    assert watched.room(0.5, 0, 0).total == 0
    assert watched.room(1.0, 0, 0) == Room(1, 0, 1)
    assert watched.room(1.0, 1, 1).total == 0
    distances = []
    for _ in range(20):
        before = watched.opens_at
        watched.failed("b0", before, 1.0)
        distances.append(watched.opens_at - before)
    assert distances[:3] == [2.0, 4.0, 8.0]
    assert max(distances) == PROBE_MOST
    assert watched.room(400.0, 0, 0) == Room(1, 1, 1), "a new one has its turn now and then"
    assert watched.answered()
    assert watched.room(400.0, 0, 0) == Room(4, 4, 3)


def test_a_pause_lets_one_probe_through_when_it_is_over() -> None:
    watched = flow()
    assert watched.refused(10.0, "HTTP 401")
    assert not watched.refused(10.0, "HTTP 401"), "no second alarm"
    assert watched.room(69.9, 0, 0).total == 0
    assert watched.room(70.0, 0, 0).total == 1
    assert watched.room(70.0, 1, 0).total == 0
    watched.refused(70.0, "HTTP 401")
    assert watched.room(100.0, 0, 0).total == 0
    watched.probe()
    assert watched.room(100.0, 0, 0).total == 1
    assert watched.answered()
    assert watched.paused is None
    assert watched.room(100.0, 0, 0).total == 4


def test_429_holds_everything_until_its_time() -> None:
    watched = flow()
    watched.hold(5.0, 30.0)
    watched.hold(5.0, 1.0)
    assert watched.room(34.9, 0, 0).total == 0
    assert watched.room(35.0, 0, 0).total == 4


def test_an_answer_is_no_recovery_where_there_was_no_trouble() -> None:
    watched = flow()
    watched.failed("b", 0.0, 0.5)
    assert not watched.answered()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["answered", "failed", "refused", "hold", "probe"]), st.integers(0, 20), st.floats(0, 50)
        )
    ),
    st.integers(1, 8),
)
def test_whatever_happens_something_may_be_sent_in_the_end(events: list[tuple[str, int, float]], limit: int) -> None:
    watched, now = flow(limit), 0.0
    for kind, number, passed in events:
        now += passed
        match kind:
            case "answered":
                watched.answered()
            case "failed":
                watched.failed(f"b{number}", now, 0.5)
            case "refused":
                watched.refused(now, "HTTP 401")
            case "hold":
                watched.hold(now, passed)
            case _:
                watched.probe()
        room = watched.room(now, 0, 0)
        assert 0 <= room.new <= room.total <= limit
        assert 0 <= room.again <= room.total
    late = watched.room(max(now, watched.opens_at) + 300.0, 0, 0)
    assert late.total >= 1
    assert late.new >= 1 or watched._last_new > now
