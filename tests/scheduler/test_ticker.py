"""Ticks on a turned clock: regular, daily, never overlapping, and unmoved by a wall clock that is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import apscheduler.schedulers.base
import pytest
import structlog
from sqlalchemy.exc import OperationalError
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as TwistedClock

from models.clock import SHANGHAI, TurnedClock
from models.errors import CommandFailed
from scheduler.ticker import Counts, Ticker

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=SHANGHAI)


class World(TwistedClock):
    """A reactor's time and a wall clock that go together, until the wall clock is turned."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = TurnedClock(NOON)

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:  # noqa: N802
        self.callLater(0, callable, *args, **kwargs)

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        """Both clocks go on, in small steps."""
        for _ in range(round(seconds / step)):
            self.clock.turn(timedelta(seconds=step))
            self.advance(step)
            self.advance(0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    class TurnedDatetime(datetime):
        """APScheduler's wall clock, which it takes from nowhere else."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return made.clock.now().astimezone(tz)

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", TurnedDatetime)
    return made


@pytest.fixture
def ticker(world: World) -> Iterator[Ticker]:
    made = Ticker(world, world.clock)
    yield made
    made.stop()
    world.advance(0)
    assert world.getDelayedCalls() == []


class Counted:
    """A sweep that remembers when it ran."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ran: list[datetime] = []

    async def __call__(self) -> Counts | None:
        self.ran.append(self.world.clock.now())
        return None


def test_a_regular_tick(world: World, ticker: Ticker) -> None:
    sweep = Counted(world)
    ticker.every(10, "regular", sweep)
    ticker.start()
    world.pass_time(65)
    assert [round((ran - NOON).total_seconds()) for ran in sweep.ran] == [10, 20, 30, 40, 50, 60]


def test_a_daily_tick_is_in_shanghai(world: World, ticker: Ticker) -> None:
    sweep = Counted(world)
    ticker.daily(time(3, 30), "daily", sweep)
    ticker.start()
    world.pass_time(48 * 3600, step=60)
    assert [ran.astimezone(SHANGHAI).strftime("%m-%d %H:%M") for ran in sweep.ran] == ["03-03 03:30", "03-04 03:30"]
    assert sweep.ran[0].astimezone(UTC).hour == 19


@pytest.mark.parametrize("turn", [timedelta(days=-1), timedelta(days=-400), timedelta(seconds=-5)])
def test_a_clock_set_back_stops_no_tick(world: World, ticker: Ticker, turn: timedelta) -> None:
    sweep = Counted(world)
    ticker.every(10, "regular", sweep)
    ticker.start()
    world.pass_time(25)
    world.clock.turn(turn)
    before = len(sweep.ran)
    world.pass_time(60)
    assert len(sweep.ran) - before in {5, 6}


def test_a_clock_set_forward_makes_no_flood(world: World, ticker: Ticker) -> None:
    sweep = Counted(world)
    ticker.every(10, "regular", sweep)
    ticker.start()
    world.pass_time(25)
    world.clock.turn(timedelta(days=400))
    before = len(sweep.ran)
    world.pass_time(60)
    assert len(sweep.ran) - before in {5, 6, 7}


def test_after_a_day_set_back_the_daily_tick_comes_at_its_hour(world: World, ticker: Ticker) -> None:
    sweep = Counted(world)
    ticker.daily(time(12, 1), "daily", sweep)
    ticker.start()
    world.pass_time(90)
    assert len(sweep.ran) == 1
    world.clock.turn(timedelta(days=-1))
    world.pass_time(24 * 3600, step=60)
    assert [ran.astimezone(SHANGHAI).strftime("%m-%d %H:%M") for ran in sweep.ran[1:]] == ["03-02 12:01"]


def test_a_clock_that_is_slewed_arms_nothing_anew(world: World, ticker: Ticker) -> None:
    sweep = Counted(world)
    ticker.every(10, "regular", sweep)
    ticker.start()
    with structlog.testing.capture_logs() as logs:
        for _ in range(600):
            world.clock.turn(timedelta(milliseconds=-5))
            world.pass_time(1)
    assert {entry["event"] for entry in logs} == {"sweep"}
    assert 55 <= len(sweep.ran) <= 60


def test_a_fast_clock_is_watched_in_the_reactors_seconds(world: World) -> None:
    """A thread that is held up for a tenth of a second between the two readings has seen no step of two minutes."""
    fast = Ticker(world, world.clock, speed=1440.0)
    world.advance(60)
    world.clock.turn(timedelta(seconds=60.1 * 1440))
    with structlog.testing.capture_logs() as logs:
        fast.compare()
    assert logs == []
    assert fast.clocks.ahead == 0
    world.clock.turn(timedelta(seconds=3601 * 1440))
    assert fast.compare().ahead == pytest.approx(3601)


def test_a_sweep_never_overlaps_itself(world: World, ticker: Ticker) -> None:
    gate: Deferred[None] = Deferred()
    started: list[int] = []

    async def slow() -> None:
        started.append(1)
        if len(started) == 1:
            await gate

    other = Counted(world)
    ticker.every(10, "slow", slow)
    ticker.every(10, "other", other)
    ticker.start()
    world.pass_time(35)
    assert len(started) == 1
    assert len(other.ran) == 3
    gate.callback(None)
    world.pass_time(10)
    assert len(started) == 2


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (LookupError("a bug"), "error"),
        (CommandFailed("the disk is full"), "warning"),
        (OperationalError("SELECT 1", None, Exception("gone")), "warning"),
    ],
)
def test_a_sweep_that_fails_is_logged_and_comes_again(
    world: World, ticker: Ticker, error: Exception, level: str
) -> None:
    ran: list[int] = []

    async def broken() -> None:
        ran.append(1)
        raise error

    ticker.every(10, "broken", broken)
    ticker.start()
    with structlog.testing.capture_logs() as logs:
        world.pass_time(25)
    assert len(ran) == 2
    assert [(entry["event"], entry["sweep"], entry["log_level"]) for entry in logs] == [
        ("sweep failed", "broken", level)
    ] * 2


def test_counts_are_one_line(world: World, ticker: Ticker) -> None:
    async def busy() -> Counts:
        return {"sent": 3, "failed": 0}

    ticker.every(10, "busy", busy)
    ticker.start()
    with structlog.testing.capture_logs() as logs:
        world.pass_time(15)
    assert logs == [{"event": "sweep", "sweep": "busy", "seconds": 0.0, "sent": 3, "failed": 0, "log_level": "info"}]


def test_stopping_waits_for_the_sweep_under_way(world: World, ticker: Ticker) -> None:
    gate: Deferred[None] = Deferred()
    started: list[int] = []

    async def slow() -> None:
        started.append(1)
        await gate

    ticker.every(10, "slow", slow)
    ticker.start()
    world.pass_time(15)
    stopped: list[None] = []
    ticker.stop().addCallback(stopped.append)
    assert stopped == []
    gate.callback(None)
    assert stopped == [None]
    world.pass_time(60)
    assert len(started) == 1


def test_two_sweeps_of_one_name_are_refused(world: World, ticker: Ticker) -> None:
    ticker.every(10, "a", Counted(world))
    with pytest.raises(ValueError, match="two sweeps are named a"):
        ticker.every(5, "a", Counted(world))
