"""`kill -9` on the way of a default rating and of a reminder: each comes exactly once, and none is missing.

A reminder that was with a link when its process died follows the rule of the unknown message (intake/outgoing.py, rules
2 and 3): at most once more, and stored so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from intake.defaults import GROUP
from tests.faults.processes import until
from tests.faults.timed import DUE, LATER, Timed

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of a database on PostgreSQL; "": on SQLite."""
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgresql" else ""


@dataclass(frozen=True)
class Point:
    """Where a process dies, of reminders and of defaults. `stored`: the group it dies with is on disk."""

    reminders: str
    defaults: str
    stored: bool


POINTS = (
    Point("before-commit-RemindDue", "before-commit-DefaultDue", stored=False),
    Point("after-commit-RemindDue", "after-commit-DefaultDue", stored=True),
    Point("reminded", "defaulted", stored=True),
)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.reminders)
def test_killed_at_a_named_point(make_timed: Callable[..., Timed], store: str, point: Point) -> None:
    timed = make_timed(store, "rows_per_second = 100")
    timed.start(LATER)
    timed.post_late(GROUP + 6)
    timed.post_fresh(6)
    timed.finish(defaulted=0, reminded=0)
    timed.server.running.kill()

    timed.start(DUE, fault=point.reminders)
    assert timed.server.running.wait(30) == -9
    assert timed.reminders() == (6 if point.stored else 0)

    before = timed.defaults()
    timed.start(fault=point.defaults)
    assert timed.server.running.wait(30) == -9
    assert timed.defaults() - before == (min(GROUP, GROUP + 6 - before) if point.stored else 0)

    timed.start()
    timed.finish()
    assert timed.assert_once(again=6).given_up == 0
    assert timed.server.running.terminate() == 0


@pytest.mark.timeout(400)
def test_killed_ten_times_at_random_with_a_backlog_under_way(
    make_timed: Callable[..., Timed], postgres_url: str
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kills = 10
    # A group each 0.6 s, and SMS that take longer than that: most lives end with some of each under way.
    timed = make_timed(postgres_url, "rows_per_second = 100", segments_per_second=20.0)
    timed.grow_old(60)
    timed.post_late(130)
    timed.post_fresh(150)
    timed.finish(defaulted=0, reminded=60)
    timed.server.running.kill()
    timed.smsc.ask("POST", "options", {"latency": 0.2})
    timed.wall.turn_to(DUE)
    in_flight = 0
    for _ in range(kills):
        timed.start()
        before = timed.progress()
        until("something to be done", partial(timed.goes_on, before))
        timed.pause(chance, 0.8)
        in_flight += bool(timed.under_way())
        timed.server.running.kill()
    timed.start()
    timed.finish(seconds=90)
    found = timed.assert_once(again=kills * 20)  # two windows are with a link at most
    print(f"{in_flight} kills in flight, {found}")
    assert in_flight >= kills // 2
    assert set(found.again) <= {"reminder"}
    assert timed.server.running.terminate() == 0
