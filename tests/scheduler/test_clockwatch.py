"""The wall clock against monotonic time: what is trusted, what is a jump, what is none after all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.clockwatch import SETTLED, STEP, ClockWatch

HOUR = 3600.0
DAY = 24 * HOUR


class Clocks:
    """Both clocks, looked at each second."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_000_000.0, 50.0
        self.watch = ClockWatch(self.wall, self.monotonic)

    def run(self, seconds: float, *, slew: float = 0.0) -> None:
        for _ in range(int(seconds)):
            self.wall += 1.0 + slew
            self.monotonic += 1.0
            assert self.watch.look(self.wall, self.monotonic) == 0.0

    def turn(self, seconds: float) -> float:
        self.wall += seconds
        return self.watch.look(self.wall, self.monotonic)


def test_clocks_that_run_together_are_not_ahead() -> None:
    clocks = Clocks()
    clocks.run(100)
    assert clocks.watch.ahead == 0.0


def test_a_slewing_time_service_is_trusted() -> None:
    clocks = Clocks()
    clocks.run(10_000, slew=0.5)  # 5,000 s in all, a thousand times what one does
    assert clocks.watch.ahead == pytest.approx(0.0)


def test_a_step_ahead_is_not_until_it_was_noted() -> None:
    clocks = Clocks()
    assert clocks.turn(2 * HOUR) == pytest.approx(2 * HOUR)
    clocks.run(100)
    assert clocks.watch.ahead == pytest.approx(2 * HOUR)
    clocks.watch.noted()
    assert clocks.watch.ahead == 0.0
    clocks.turn(HOUR)
    assert clocks.watch.ahead == pytest.approx(HOUR)


def test_steps_add_up() -> None:
    clocks = Clocks()
    for _ in range(6):
        clocks.turn(900)
        clocks.run(10)
    assert clocks.watch.ahead == pytest.approx(5400)


def test_a_clock_that_comes_back_to_where_it_was_has_not_jumped() -> None:
    clocks = Clocks()
    assert clocks.turn(-DAY) == pytest.approx(-DAY)
    assert clocks.watch.ahead == 0.0
    clocks.run(60)
    clocks.turn(DAY)
    assert clocks.watch.ahead == pytest.approx(0.0, abs=STEP)


def test_one_that_was_set_back_for_good_is_believed_and_may_jump_again() -> None:
    clocks = Clocks()
    clocks.turn(-DAY)
    clocks.run(SETTLED + 2)
    clocks.turn(DAY)
    assert clocks.watch.ahead == pytest.approx(DAY)


def test_a_clock_that_goes_back_to_the_trusted_time_is_ahead_no_more() -> None:
    clocks = Clocks()
    clocks.turn(DAY)
    clocks.turn(-DAY)
    assert clocks.watch.ahead == pytest.approx(0.0)


def test_a_noted_step_that_was_taken_back_is_a_step_when_it_comes_again() -> None:
    """A wrong time server: ahead, mended, ahead again within the hour."""
    clocks = Clocks()
    clocks.turn(2 * DAY)
    clocks.watch.noted()
    clocks.run(60)
    clocks.turn(-2 * DAY)
    assert clocks.watch.ahead == 0.0
    clocks.run(60)
    clocks.turn(2 * DAY)
    assert clocks.watch.ahead == pytest.approx(2 * DAY)


@pytest.mark.parametrize(("back", "ahead"), [(DAY, DAY), (3 * DAY, 2 * DAY)], ids=["some of it", "more than it"])
def test_what_is_taken_back_of_a_noted_step_is_not_trusted(back: float, ahead: float) -> None:
    clocks = Clocks()
    clocks.turn(2 * DAY)
    clocks.watch.noted()
    clocks.turn(-back)
    assert clocks.watch.ahead == 0.0
    clocks.turn(back)
    assert clocks.watch.ahead == pytest.approx(ahead)


def test_a_noted_step_that_has_stood_is_the_time() -> None:
    clocks = Clocks()
    clocks.turn(2 * DAY)
    clocks.watch.noted()
    clocks.run(SETTLED + 1)
    clocks.turn(-2 * DAY)
    clocks.run(60)
    clocks.turn(2 * DAY)
    assert clocks.watch.ahead == pytest.approx(0.0, abs=STEP)


@given(st.lists(st.floats(-DAY, DAY), max_size=20))
def test_never_ahead_by_more_than_all_steps_ahead_together(steps: list[float]) -> None:
    clocks = Clocks()
    for step in steps:
        clocks.turn(step)
    assert 0.0 <= clocks.watch.ahead <= sum(step for step in steps if step > 0) + STEP * len(steps)
