"""What wakes the push: ratings that may go, released holds, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from intake.decide import PushCalls
from intake.record import CallFacts, Rules
from models.clock import TurnedClock
from models.door import Door
from models.privacy import Keyring
from models.terms import CallOutcome, Satisfaction
from server.desk import WakingIntake


class Woken:
    def __init__(self) -> None:
        self.times = 0
        self.points: list[str] = []

    def wake(self) -> None:
        self.times += 1


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def intake(door: Door, keyring: Keyring, clock: TurnedClock, woken: Woken) -> WakingIntake:
    rules = Rules(
        key_map="1=5,2=4,3=3,4=2,5=1",
        area_code="622900",
        service_name="热线",
        push_calls=PushCalls.WITHOUT_CASE,
        keypad_reason_hold=timedelta(seconds=90),
        invite_after=timedelta(minutes=1),
        node="n",
        boot="b",
    )
    return WakingIntake(door, keyring, clock, rules, wake=woken.wake, fault=woken.points.append)


def facts(clock: TurnedClock, key: str = "c-1") -> CallFacts:
    return CallFacts(key, "13800000001", "1001", "q", None, None, False, "zh", clock.now())


def test_a_rating_that_may_go(intake: WakingIntake, clock: TurnedClock, woken: Woken) -> None:
    intake.rate(facts(clock), Satisfaction.SATISFIED, "2", hold=False).result(10)
    assert (woken.times, woken.points) == (1, ["after-commit-before-thanks"])


@pytest.mark.parametrize("reason", [True, False])
def test_a_held_one_wakes_when_it_is_released(
    intake: WakingIntake, clock: TurnedClock, woken: Woken, reason: bool
) -> None:
    stored = intake.rate(facts(clock), Satisfaction.DISSATISFIED, "4", hold=True).result(10)
    assert (woken.times, woken.points) == (0, ["after-commit-before-thanks"])
    (intake.give_reason(stored, ("209",)) if reason else intake.release(stored)).result(10)
    assert woken.times == 1


def test_what_stores_nothing_to_push(intake: WakingIntake, door: Door, clock: TurnedClock, woken: Woken) -> None:
    intake.end_call(facts(clock), CallOutcome.NO_INPUT).result(10)
    intake.look_up("c-1").result(10)
    door.close()
    assert intake.rate(facts(clock, "c-2"), Satisfaction.SATISFIED, "2", hold=False).exception(10) is not None
    assert (woken.times, woken.points) == (0, [])
