"""The pace: never faster than allowed, slower when told, and back again; the wait before the next try."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.pace import FLOOR, PAUSE_FIRST, PAUSE_MOST, STEP, STEP_SECONDS, Backoff, Pace


def send(pace: Pace, start: float, seconds: float, step: float = 0.001) -> list[float]:
    """Sends as soon as the pace allows; the times."""
    sent = []
    for tick in range(int(seconds / step)):
        now = start + tick * step
        for _ in range(pace.room(now)):
            pace.take()
            sent.append(now)
    return sent


@pytest.mark.parametrize("limit", [1.0, 7.5, 50.0, 900.0])
def test_no_stretch_of_time_holds_more_than_its_share_and_a_burst(limit: float) -> None:
    sent = send(Pace(limit, 0.0), 0.0, 5.0)
    burst = max(1.0, limit / 50)
    for seconds in (0.1, 1.0, 3.0):
        most = max(bisect_left(sent, start + seconds) - first for first, start in enumerate(sent))
        assert most <= limit * seconds + burst + 1
    assert len(sent) >= limit * 5 * 0.98 - 1


def test_no_limit_is_no_limit() -> None:
    assert len(send(Pace(0, 0.0), 0.0, 0.1)) > 10_000


@given(st.floats(1, 1000), st.floats(0, 3))
def test_after_the_wait_there_is_room(limit: float, started: float) -> None:
    pace = Pace(limit, 0.0)
    now = started
    while pace.room(now):
        pace.take()
    wait = pace.wait(now)
    assert 0 < wait <= max(1.0, limit / 50) / limit + 1e-6
    assert pace.room(now + wait + 1e-6) >= 1


def test_it_halves_what_it_reached_and_pauses() -> None:
    pace = Pace(100.0, 0.0)
    last = send(pace, 0.0, 2.0)[-1]
    assert pace.slow(last, 2.0)
    assert pace.rate == pytest.approx(50.0, rel=0.05)
    assert pace.slowed
    assert pace.room(2.0 + PAUSE_FIRST - 0.01) == 0
    assert pace.wait(2.0) == pytest.approx(PAUSE_FIRST)
    assert pace.room(2.0 + PAUSE_FIRST + 0.02) == 1


def test_a_rate_that_was_only_allowed_counts_for_nothing() -> None:
    pace = Pace(0, 0.0)
    for tick in range(200):
        pace.take()
        pace.room(tick * 0.01)
    pace.slow(1.99, 2.0)
    assert pace.rate == pytest.approx(50.0, rel=0.1)


def test_what_was_on_its_way_together_slows_down_once() -> None:
    pace = Pace(100.0, 0.0)
    assert pace.slow(0.9, 1.0)
    rate = pace.rate
    for submitted_at in (0.91, 0.95, 1.0):
        assert not pace.slow(submitted_at, 1.2)
    assert pace.rate == rate
    assert pace.slow(1.6, 1.7)


def test_it_falls_to_the_floor_and_the_pauses_grow_to_their_most() -> None:
    pace = Pace(1000.0, 0.0)
    now = 1.0
    pauses = []
    for _ in range(12):
        assert pace.slow(now - 0.01, now)
        pauses.append(pace.wait(now))
        now += pauses[-1] + 0.1
    assert pace.rate == FLOOR
    assert pauses[:3] == pytest.approx([PAUSE_FIRST, 2 * PAUSE_FIRST, 4 * PAUSE_FIRST])
    assert pauses[-1] == PAUSE_MOST


def test_it_recovers_step_by_step_to_the_limit_and_not_beyond() -> None:
    pace = Pace(100.0, 0.0)
    send(pace, 0.0, 2.0)
    pace.slow(1.9, 2.0)
    began = pace.rate
    now = 2.0 + PAUSE_FIRST
    rates = []
    for step in range(6):
        pace.room(now + step * STEP_SECONDS + 0.001)
        rates.append(pace.rate)
    assert rates[:2] == pytest.approx([began, began * STEP])
    assert rates[-1] == 100.0
    assert not pace.slowed


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.1, 5), st.floats(5, 300))
def test_a_wait_is_never_shorter_than_the_first_nor_longer_than_the_most(
    draws: list[float], first: float, most: float
) -> None:
    left = iter(draws)
    backoff = Backoff(first, most, lambda: next(left))
    waits = [backoff.failed() for _ in draws]
    for number, wait in enumerate(waits, start=1):
        assert first <= wait <= min(most, first * 2**number) + 1e-9


def test_waits_grow_and_begin_again_after_success() -> None:
    backoff = Backoff(1.0, 60.0, lambda: 1.0)
    assert [backoff.failed() for _ in range(7)] == [2, 4, 8, 16, 32, 60, 60]
    backoff.succeeded()
    assert backoff.failed() == 2
    assert 30 <= backoff.hopeless() <= 60
