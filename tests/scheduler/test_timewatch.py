"""What a process makes of its wall clock, on both databases: a jump, one that comes back, a time that nobody saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from twisted.internet.task import Clock as TwistedClock

from intake.pauses import AcceptJump, Jump, SeeTime, Trust, last_seen, read_jump
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.futures import Wakeups
from models.tables import audit, meta
from scheduler.clockwatch import ClockWatch
from scheduler.timewatch import TimeWatch
from tests.moments import START
from tests.sms.link.rig import on_reactor, reactor

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
THREE = Trust(longest_downtime=3 * DAY)
WAIT = 10


def reading(database: Database, look: Callable[[Any], Any]) -> Any:
    with database.read_engine.connect() as connection:
        return look(connection)


class Process:
    """One process's clocks and what it sees by them. Time is `clock`'s; monotonic time runs with `pass_time`."""

    def __init__(self, door: Door, clock: TurnedClock, node: str, trust: Trust) -> None:
        self.clock = clock
        self.monotonic = TwistedClock()
        self._watch = ClockWatch(clock.now().timestamp(), 0.0)
        self.time = TimeWatch(door, Wakeups(reactor()), clock, self._compare, node, trust)

    def _compare(self) -> ClockWatch:
        self._watch.look(self.clock.now().timestamp(), self.monotonic.seconds())
        return self._watch

    def pass_time(self, by: timedelta) -> None:
        self.clock.turn(by)
        self.monotonic.advance(by.total_seconds())

    async def goes(self) -> bool:
        """Looks, and says whether it goes by its clock."""
        await self.time.look()
        return self.time.now() is not None


@pytest.fixture
def begin(door: Door, database: Database, clock: TurnedClock) -> Iterator[Callable[..., Process]]:
    def made(node: str = "here", trust: Trust = THREE, at: TurnedClock | None = None) -> Process:
        return Process(door, at or clock, node, trust)

    yield made
    door.write(lambda unit: unit.execute(meta.delete().where(meta.c.key.startswith("scheduler.")))).result(WAIT)


def jump_of(database: Database) -> Jump | None:
    found: Jump | None = reading(database, read_jump)
    return found


def accept(door: Door, clock: TurnedClock) -> None:
    assert door.submit(AcceptJump("user:li", clock.now())).result(WAIT) is not None


def told(database: Database) -> list[str]:
    found = reading(database, lambda connection: list(connection.execute(audit.select().order_by(audit.c.id))))
    return [row.action for row in found if row.action.startswith("clock.")]


# ── under a running process ───────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_nothing_goes_by_a_clock_that_was_not_looked_at(begin: Any) -> None:
    process = begin()
    assert process.time.now() is None
    assert await process.goes()
    assert process.time.now() == START


@on_reactor
async def test_a_jump_is_known_before_it_is_stored_and_holds_for_all(begin: Any, database: Database) -> None:
    process, other = begin(), begin("there", at=TurnedClock(START))
    assert await process.goes()
    assert await other.goes()
    process.clock.turn(10 * DAY)
    assert process.time.now() is None  # at once
    assert not await process.goes()
    found = jump_of(database)
    assert found is not None
    assert (found.at, found.ahead, found.node, found.unseen) == (START + 10 * DAY, 10 * DAY, "here", False)
    other.pass_time(timedelta(minutes=1))
    assert not await other.goes()
    assert process.time.why_not == other.time.why_not == "clock_jumped"


@on_reactor
async def test_confirmed_it_is_the_time_and_is_not_asked_about_again(
    begin: Any, door: Door, database: Database
) -> None:
    process = begin()
    await process.goes()
    process.clock.turn(10 * DAY)
    assert not await process.goes()
    process.pass_time(5 * HOUR)
    accept(door, process.clock)
    await process.goes()  # hears of it
    for _ in range(3):
        process.pass_time(HOUR)
        assert await process.goes()
    assert jump_of(database) is None
    assert told(database) == ["clock.jumped", "clock.jump_accepted"]


@pytest.mark.parametrize("meanwhile", [timedelta(0), 3 * HOUR, 30 * DAY], ids=str)
@on_reactor
async def test_one_that_comes_back_goes_on_by_itself(begin: Any, database: Database, meanwhile: timedelta) -> None:
    process = begin()
    await process.goes()
    process.clock.turn(10 * DAY)
    assert not await process.goes()
    process.pass_time(meanwhile)
    assert not await process.goes()
    process.clock.turn(-10 * DAY)
    assert await process.goes()
    assert process.time.now() == START + meanwhile
    assert told(database) == ["clock.jumped", "clock.came_back"]
    # And what was wrong once is asked about once more.
    process.clock.turn(10 * DAY)
    assert not await process.goes()


@on_reactor
async def test_one_machine_does_not_say_for_another_that_its_clock_came_back(begin: Any, database: Database) -> None:
    process, other = begin(), begin("there", at=TurnedClock(START))
    process.clock.turn(10 * DAY)
    assert not await process.goes()
    assert not await other.goes()
    assert jump_of(database) is not None


# ── across a restart ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("down", "asked"), [(HOUR, False), (3 * DAY, False), (3 * DAY + HOUR, True), (400 * DAY, True)], ids=str
)
@on_reactor
async def test_a_time_that_nobody_saw_for_long_is_asked_about(
    begin: Any, door: Door, database: Database, clock: TurnedClock, down: timedelta, asked: bool
) -> None:
    assert await begin().goes()
    clock.turn(down)
    process = begin()
    assert await process.goes() is not asked
    found = jump_of(database)
    assert (found is not None) is asked
    if found is not None:
        assert (found.ahead, found.unseen) == (down, True)
        assert not await begin().goes()  # nor after another restart
        accept(door, clock)
        assert await process.goes()
        clock.turn(HOUR)
        assert await begin().goes()


@on_reactor
async def test_a_wrong_clock_at_the_start_that_is_put_right_goes_on_by_itself(
    begin: Any, database: Database, clock: TurnedClock
) -> None:
    """The machine starts with a wrong one, and its time service comes a minute later."""
    assert await begin().goes()
    clock.turn(400 * DAY)
    process = begin()
    assert not await process.goes()
    process.pass_time(timedelta(minutes=1))
    process.clock.turn(-400 * DAY)
    assert await process.goes()
    assert told(database) == ["clock.jumped", "clock.came_back"]


@on_reactor
async def test_a_restart_between_the_jump_and_the_word_changes_nothing(
    begin: Any, database: Database, clock: TurnedClock
) -> None:
    process = begin()
    await process.goes()
    clock.turn(2 * DAY)  # less than a long outage: the running process has seen that it was none
    assert not await process.goes()
    assert not await begin().goes()
    clock.turn(-2 * DAY)
    assert await begin().goes()
    assert jump_of(database) is None


@on_reactor
async def test_the_time_is_marked_once_a_minute_and_never_by_a_clock_that_is_asked_about(
    begin: Any, database: Database
) -> None:
    process = begin()

    def mark() -> Any:
        return reading(database, last_seen)

    await process.goes()
    process.pass_time(timedelta(seconds=50))
    await process.goes()
    assert mark() == START
    process.pass_time(timedelta(seconds=10))
    await process.goes()
    assert mark() == START + timedelta(minutes=1)
    process.clock.turn(10 * DAY)
    process.pass_time(HOUR)
    await process.goes()
    assert mark() == START + timedelta(minutes=1)


@on_reactor
async def test_a_database_in_use_for_the_first_time_and_a_limit_of_none_ask_nothing(
    begin: Any, clock: TurnedClock
) -> None:
    assert await begin().goes()
    clock.turn(4000 * DAY)
    assert await begin(trust=Trust()).goes()


@pytest.mark.peer
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_one_ahead_of_the_database_server_holds_its_process_alone(door: Door, database: Database) -> None:
    trust = Trust(database_clock=True, longest_downtime=3 * DAY)
    ahead = START + 4000 * DAY
    for _ in range(2):
        seen = door.submit(SeeTime(ahead, timedelta(0), "here", trust)).result(WAIT)
        assert (seen.jump, seen.beyond) == (None, True)
    assert jump_of(database) is None
    assert reading(database, last_seen) is None
