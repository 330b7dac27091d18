"""The sweeps: group by group at a pace, what they tell, and a clock that jumps under them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as TwistedClock

from intake.deadlines import DeadlineRules
from intake.defaults import DefaultDue, Defaulted, DefaultRules
from intake.manners import SendingRules
from intake.pauses import OUR_CLOCK, Jump, Seen, SeeTime
from intake.recompute import Recomputed, RecomputeDeadlines
from intake.reminders import RemindDue, Reminded, ReminderRules
from models.clock import TurnedClock
from models.errors import CommandFailed
from scheduler.clockwatch import ClockWatch
from scheduler.sweeps import GROUP, Sweeps
from scheduler.timewatch import TimeWatch
from tests.moments import START

DAY = timedelta(days=1)


class Pen:
    """Stands in for door and wakeups: answers each command at once from a script, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answers: dict[type, list[Any]] = {}
        self.jump: Jump | None = None

    def submit(self, command: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if isinstance(command, SeeTime):
            future.set_result(self._see(command))
        else:
            self.asked.append(command)
            answers = self.answers.get(type(command), [])
            answer = answers.pop(0) if answers else type(command).empty
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        return future

    def _see(self, command: SeeTime) -> Seen:
        """As the database does; tests/scheduler/test_timewatch.py has the real one."""
        new = False
        if self.jump is None and command.mine is None and command.ahead > timedelta(hours=1):
            self.jump, new = Jump(command.now, command.ahead, command.node), True
        return Seen(self.jump, new=new)

    def deferred(self, future: Future[Any]) -> Deferred[Any]:
        fired: Deferred[Any] = Deferred()
        error = future.exception()
        if error is not None:
            fired.errback(error)
        else:
            fired.callback(future.result())
        return fired

    def kinds(self) -> Sequence[str]:
        return [type(one).__name__ for one in self.asked]


class World:
    """Two clocks, a pen, and the sweeps over them."""

    def __init__(self, rules: SendingRules) -> None:
        self.reactor = TwistedClock()
        self.clock = TurnedClock(START)
        self.watch = ClockWatch(self.clock.now().timestamp(), self.reactor.seconds())
        self.pen = Pen()
        self.woken: list[str] = []
        door: Any = self.pen
        self.time = TimeWatch(door, door, self.clock, self.compare, "here", OUR_CLOCK)
        self.sweeps = Sweeps(
            door,
            door,
            self.reactor,
            self.time,
            reminders=ReminderRules(DAY, rules),
            defaults=DefaultRules("1=5", None, None),
            deadlines=DeadlineRules(),
            rows_per_second=128,
            wake_sms=lambda: self.woken.append("sms"),
            wake_push=lambda: self.woken.append("push"),
            fault=self.woken.append,
        )

    def compare(self) -> ClockWatch:
        self.watch.look(self.clock.now().timestamp(), self.reactor.seconds())
        return self.watch

    def pass_time(self, seconds: float) -> None:
        self.clock.turn(timedelta(seconds=seconds))
        self.reactor.advance(seconds)


def started(sweep: Callable[[], Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(sweep())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(RemindDue, "empty", Reminded(), raising=False)
    monkeypatch.setattr(DefaultDue, "empty", Defaulted(), raising=False)
    monkeypatch.setattr(RecomputeDeadlines, "empty", Recomputed(), raising=False)
    return World(SendingRules(lambda moment: moment, 3, 2, lambda _: "", lambda _: True, lambda _: ""))


def done(fired: Deferred[Any]) -> Any:
    results: list[Any] = []
    fired.addCallback(results.append)
    [result] = results
    return result


def test_nothing_due_is_one_look_and_no_word(world: World) -> None:
    assert done(started(world.sweeps.reminders)) == {}
    assert done(started(world.sweeps.defaults)) == {}
    assert world.pen.kinds() == ["RemindDue", "DefaultDue"]
    assert world.woken == []
    assert not world.sweeps.statistics


def test_what_was_done_is_counted_and_told_to_who_sends(world: World) -> None:
    world.pen.answers[RemindDue] = [Reminded(queued=3, postponed=1, skipped={"rated": 2})]
    world.pen.answers[DefaultDue] = [Defaulted(defaulted=2, waiting=1, skipped={"rated": 5})]
    assert done(started(world.sweeps.reminders)) == {"queued": 3, "postponed": 1, "rated": 2}
    assert done(started(world.sweeps.defaults)) == {"defaulted": 2, "waiting": 1, "rated": 5}
    assert world.woken == ["reminded", "sms", "defaulted", "push"]
    assert world.sweeps.statistics["defaults", "rated"] == 5


def test_a_backlog_is_worked_off_at_the_pace(world: World) -> None:
    """128 rows a second: two groups of 64."""
    world.pen.answers[DefaultDue] = [Defaulted(defaulted=GROUP)] * 4 + [Defaulted(defaulted=1)]
    sweeping = started(world.sweeps.defaults)
    assert world.pen.kinds().count("DefaultDue") == 1
    for groups in (2, 3, 4, 5):
        world.pass_time(0.4)
        assert world.pen.kinds().count("DefaultDue") == groups - 1
        world.pass_time(0.1)
        assert world.pen.kinds().count("DefaultDue") == groups
    assert done(sweeping) == {"defaulted": 4 * GROUP + 1}


def test_what_is_under_way_ends_with_its_group(world: World) -> None:
    world.pen.answers[RemindDue] = [Reminded(queued=GROUP)] * 9
    sweeping = started(world.sweeps.reminders)
    world.sweeps.stop()
    assert done(sweeping) == {"queued": GROUP}
    assert world.pen.kinds() == ["RemindDue"]
    assert not world.reactor.getDelayedCalls()


def test_the_end_waits_for_no_pace_however_many_sweeps_rest(world: World) -> None:
    world.pen.answers[RemindDue] = [Reminded(queued=GROUP)] * 9
    world.pen.answers[DefaultDue] = [Defaulted(defaulted=GROUP)] * 9
    sweeping = [started(world.sweeps.reminders), started(world.sweeps.defaults)]
    world.sweeps.stop()
    assert [done(one) for one in sweeping] == [{"queued": GROUP}, {"defaulted": GROUP}]
    assert not world.reactor.getDelayedCalls()


def test_a_database_that_fails_ends_the_round_and_no_more(world: World) -> None:
    world.pen.answers[RemindDue] = [CommandFailed("gone"), Reminded(queued=1)]
    failed = started(world.sweeps.reminders)
    errors: list[Any] = []
    failed.addErrback(errors.append)
    assert errors[0].check(CommandFailed)
    assert done(started(world.sweeps.reminders)) == {"queued": 1}


def test_a_clock_that_jumps_ahead_is_gone_by_when_somebody_has_confirmed_it(world: World) -> None:
    done(started(world.sweeps.defaults))
    world.pen.asked.clear()
    world.clock.turn(timedelta(hours=2))
    world.pen.answers[DefaultDue] = [Defaulted(defaulted=1)]
    world.pen.answers[RemindDue] = [Reminded(queued=1)]
    assert done(started(world.sweeps.defaults)) == {}
    assert world.sweeps.paused == "clock_jumped"
    jump = world.pen.jump
    assert jump is not None
    assert (jump.ahead, jump.node) == (timedelta(hours=2), "here")
    assert done(started(world.sweeps.reminders)) == {}
    assert world.pen.kinds() == []
    # Confirmed, elsewhere: what is due is made.
    world.pen.jump = None
    assert done(started(world.sweeps.defaults)) == {"defaulted": 1}
    assert done(started(world.sweeps.reminders)) == {"queued": 1}
    assert world.sweeps.paused is None


def test_a_jump_between_two_groups_stops_before_the_next(world: World) -> None:
    world.pen.answers[DefaultDue] = [Defaulted(defaulted=GROUP)] * 3
    sweeping = started(world.sweeps.defaults)
    world.clock.turn(timedelta(hours=3))
    world.reactor.advance(1)
    assert done(sweeping) == {"defaulted": GROUP}
    assert world.pen.kinds() == ["DefaultDue"]
    done(started(world.sweeps.defaults))
    assert world.pen.kinds() == ["DefaultDue"]
    assert world.pen.jump is not None


@pytest.mark.parametrize("hours", [-24.0, 0.9, -0.9])
def test_a_clock_set_back_or_ahead_a_little_pauses_nothing(world: World, hours: float) -> None:
    world.clock.turn(timedelta(hours=hours))
    world.pen.answers[DefaultDue] = [Defaulted(defaulted=1)]
    assert done(started(world.sweeps.defaults)) == {"defaulted": 1}
    assert world.pen.jump is None


def test_a_clock_that_was_back_for_a_day_and_comes_forward_again_pauses_nothing(world: World) -> None:
    world.clock.turn(-DAY)
    done(started(world.sweeps.defaults))
    world.pass_time(60)
    world.clock.turn(DAY)
    world.pen.answers[DefaultDue] = [Defaulted(defaulted=1)]
    assert done(started(world.sweeps.defaults)) == {"defaulted": 1}
    assert world.sweeps.paused is None
    assert world.pen.jump is None


def test_an_import_that_was_killed_is_finished_group_by_group(world: World) -> None:
    world.pen.answers[RecomputeDeadlines] = [
        Recomputed(seen=GROUP, moved=3, left=True),
        Recomputed(seen=2, left=True),
        Recomputed(seen=1, final=1),
    ]
    sweeping = started(world.sweeps.deadlines)
    world.pass_time(1)
    world.pass_time(1)
    assert done(sweeping) == {"seen": GROUP + 3, "moved": 3, "final": 1}


def test_what_another_process_computes_is_left_to_it(world: World) -> None:
    world.pen.answers[RecomputeDeadlines] = [Recomputed(left=True, busy=True)]
    assert done(started(world.sweeps.deadlines)) == {}
    assert world.pen.kinds() == ["RecomputeDeadlines"]
