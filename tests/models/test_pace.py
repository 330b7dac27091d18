"""What can wait goes at a pace, and its end waits for no pace."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from models.pace import Pace


def test_a_group_takes_as_long_as_the_pace_says_what_it_took_itself_included() -> None:
    clock = Clock()
    pace = Pace(clock, 64)
    began = pace.seconds()
    clock.advance(0.25)
    rest = ensureDeferred(pace.rest(64, began))
    clock.advance(0.5)
    assert not rest.called
    clock.advance(0.25)
    assert rest.called


def test_a_slow_group_is_followed_at_once() -> None:
    clock = Clock()
    pace = Pace(clock, 64)
    began = pace.seconds()
    clock.advance(2)
    assert ensureDeferred(pace.rest(64, began)).called


def test_the_end_ends_every_rest_and_there_are_no_more() -> None:
    clock = Clock()
    pace = Pace(clock, 1)
    rests = [ensureDeferred(pace.rest(64, pace.seconds())) for _ in range(3)]
    pace.stop()
    assert all(rest.called for rest in rests)
    assert clock.getDelayedCalls() == []
    assert ensureDeferred(pace.rest(64, pace.seconds())).called
