"""The hourly round: every walk until it has nothing to do, a failing one at the next tick."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from config.settings import PrivacySection
from intake.keeping import KeepGroup
from intake.pauses import Unwatched
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.futures import Wakeups
from models.pace import Pace
from models.privacy import Keyring
from models.tables import calls, evaluations
from scheduler import keeping
from scheduler.keeping import KeepingSweep
from tests.intake.replying import Replying
from tests.intake.test_forgetting import HIM, Person, many_calls
from tests.sms.link.rig import on_reactor, reactor

KEEP = PrivacySection(retention_days=100).retention
DAYS = timedelta(days=100)


@pytest.fixture
def person(door: Door, database: Database, keyring: Keyring, clock: TurnedClock) -> Person:
    return Person(Replying(door, database, keyring, clock))


@pytest.fixture
def sweep(person: Person) -> KeepingSweep:
    active = person.record.keyring.active_id
    pace = Pace(reactor(), 100_000)
    return KeepingSweep(person.door, Wakeups(reactor()), Unwatched(person.clock), KEEP, active, pace)


@on_reactor
async def test_a_round_goes_through_everything_and_counts(person: Person, sweep: KeepingSweep) -> None:
    many_calls(person, 150)
    assert await sweep.sweep() == {}
    person.clock.turn(DAYS)
    assert await sweep.sweep() == {"calls": 150}
    assert {row.number_hash for row in person.record.rows(calls)} == {None}
    assert await sweep.sweep() == {}


@on_reactor
async def test_forgotten_words_go_with_the_centres_answer(person: Person, sweep: KeepingSweep) -> None:
    subject = person.rated_by_sms(HIM)
    assert person.forget().waiting == 1
    assert await sweep.sweep() == {}
    person.settle(person.take())
    assert await sweep.sweep() == {"answered": 1}
    assert person.record.one(evaluations, subject_id=subject).comment is None


@on_reactor
async def test_one_round_is_bounded_and_the_next_goes_on(
    person: Person, sweep: KeepingSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "ROUND", 2)
    many_calls(person, 150)
    person.clock.turn(DAYS)
    assert [await sweep.sweep() for _ in range(3)] == [{"calls": 128}, {"calls": 22}, {}]


class _Noted(Pace):
    """A pace that notes how many rows it was to rest after."""

    def __init__(self) -> None:
        super().__init__(reactor(), 100_000)
        self.rows: list[int] = []

    async def rest(self, rows: int, began: float) -> None:
        self.rows.append(rows)


@on_reactor
async def test_between_two_full_groups_the_writer_is_free(person: Person) -> None:
    pace = _Noted()
    active = person.record.keyring.active_id
    sweep = KeepingSweep(person.door, Wakeups(reactor()), Unwatched(person.clock), KEEP, active, pace)
    many_calls(person, 150)
    person.clock.turn(DAYS)
    assert await sweep.sweep() == {"calls": 150}
    assert pace.rows == [64, 64]


@on_reactor
async def test_a_walk_that_fails_is_tried_at_the_next_tick(
    person: Person, sweep: KeepingSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_calls(person, 3)
    person.clock.turn(DAYS)

    def broken(*_: Any) -> Any:
        raise OSError("the disk is full")

    with monkeypatch.context() as failing:
        failing.setattr(KeepGroup, "_walk", broken)
        assert await sweep.sweep() == {}
    assert await sweep.sweep() == {"calls": 3}


@on_reactor
async def test_on_the_way_out_nothing_more_is_begun(person: Person, sweep: KeepingSweep) -> None:
    many_calls(person, 3)
    person.clock.turn(DAYS)
    sweep.stop()
    assert await sweep.sweep() == {}
    assert None not in {row.number_hash for row in person.record.rows(calls)}
