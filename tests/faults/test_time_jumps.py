"""The wall clock set back and forward under the running process: nothing skipped, nothing done twice, and no default by
a clock that nobody has looked at. Nor anything else that cannot be brought back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from models.clock import SHANGHAI
from tests.faults.processes import until
from tests.faults.timed import DUE, LATER, Timed

pytestmark = [pytest.mark.peer, pytest.mark.slow]

DAY = timedelta(days=1)
CITIZENS = 5


def paused(timed: Timed) -> bool:
    return timed.metric("huiyin_defaults_paused") == 1 and "degraded" in timed.server.get("/readyz")[1]


def test_a_day_back_and_a_day_forward(make_timed: Callable[..., Timed]) -> None:
    timed = make_timed()
    timed.start(LATER)
    timed.post_late(CITIZENS)
    timed.post_fresh(CITIZENS)
    timed.finish(defaulted=0, reminded=0)
    timed.server.running.kill()
    timed.start(DUE)
    timed.finish()

    timed.wall.turn(-DAY)
    # What comes in meanwhile is asked by the clock as it is; what was done a day later is not done once more.
    timed.post_late(CITIZENS)
    timed.post_fresh(CITIZENS)
    timed.finish(defaulted=CITIZENS, reminded=CITIZENS)
    timed.server.running.wait_for("the wall clock was turned")

    timed.wall.turn(DAY + timedelta(minutes=5))
    timed.finish()
    assert not paused(timed)
    timed.assert_once()
    assert timed.server.running.terminate() == 0


def held(timed: Timed, done: int) -> None:
    """Everything that is due waits: so many are defaulted and reminded of, as before; the server is well."""
    until("the pause to be seen", lambda: paused(timed))
    looks = timed.metric("huiyin_writer_commands_total")
    until("some rounds", lambda: timed.metric("huiyin_writer_commands_total") > looks + 10)
    assert timed.server.get("/healthz")[0] == 200
    assert (timed.defaults(), timed.reminders()) == (done, done)


def test_two_days_ahead_hold_what_is_due_until_a_person_confirms(make_timed: Callable[..., Timed]) -> None:
    """And again, where the wrong time comes back after it was mended and confirmed."""
    timed = make_timed()
    timed.start(LATER)
    timed.post_late(CITIZENS)
    timed.post_fresh(CITIZENS)
    timed.finish(defaulted=0, reminded=0)

    timed.wall.turn(2 * DAY)
    held(timed, 0)
    said = timed.accept_jump()
    assert re.search(r"the clock went ahead by (2 days|1 day, 23:59).* and showed 2025-11-27 ", said), said
    timed.finish()
    assert not paused(timed)

    timed.wall.turn(-2 * DAY)
    timed.post_late(CITIZENS)
    timed.post_fresh(CITIZENS)
    timed.finish(defaulted=CITIZENS, reminded=CITIZENS)
    timed.wall.turn(2 * DAY)
    held(timed, CITIZENS)
    timed.accept_jump()
    timed.finish()
    timed.assert_once()
    actions = "SELECT action, count(*) FROM audit WHERE action LIKE 'clock.%' GROUP BY action ORDER BY action"
    assert timed.server.rows(actions) == [("clock.jump_accepted", 2), ("clock.jumped", 2)]
    assert timed.server.running.terminate() == 0


def test_ten_days_ahead_and_back_are_as_if_nothing_had_been(make_timed: Callable[..., Timed]) -> None:
    """Behind every deadline: what would have come too late is done at its time."""
    timed = make_timed()
    timed.start(LATER)
    timed.post_late(CITIZENS)
    timed.post_fresh(CITIZENS)
    timed.finish(defaulted=0, reminded=0)
    due = "SELECT id, state, remind_at, due_at FROM invitations ORDER BY id"
    before = timed.server.rows(due)
    timed.wall.turn(10 * DAY)
    held(timed, 0)
    timed.wall.turn(-10 * DAY)
    until("the pause to be over", lambda: not paused(timed))
    assert timed.server.rows(due) == before
    assert "nothing to do" in timed.accept_jump()
    timed.wall.turn(timedelta(minutes=50))
    timed.server.running.kill()
    timed.start(DUE)
    timed.finish()
    timed.assert_once()
    assert timed.server.running.terminate() == 0


def test_a_machine_that_starts_with_a_clock_days_ahead_asks(make_timed: Callable[..., Timed]) -> None:
    """It cannot tell that from a long outage; `huiyin check` says so, too."""
    timed = make_timed("", 'longest_downtime = "3d"')
    timed.start(LATER)
    timed.post_late(CITIZENS)
    timed.post_fresh(CITIZENS)
    timed.finish(defaulted=0, reminded=0)
    timed.server.running.kill()
    timed.start(LATER + 4 * DAY)
    held(timed, 0)
    assert "accept-jump" in timed.check()
    timed.server.running.kill()
    timed.start(LATER + 4 * DAY + timedelta(minutes=1))
    held(timed, 0)
    assert "nobody saw the time for 4 days" in timed.accept_jump()
    timed.finish()
    timed.assert_once()
    assert "accept-jump" not in timed.check()
    assert timed.server.running.terminate() == 0


def test_a_clock_ahead_of_the_databases_makes_no_default(make_timed: Callable[..., Timed], postgres_url: str) -> None:
    """Confirmed or not, and from the first moment on: on PostgreSQL its server's clock has to bear ours out."""
    timed = make_timed(postgres_url, 'longest_downtime = "1000d"')  # the machine's own time comes a year later
    timed.start(LATER)
    timed.post_late(CITIZENS)
    timed.finish(defaulted=0)
    timed.server.running.kill()
    timed.start(datetime.now(SHANGHAI) + 2 * DAY)
    until("the pause to be seen", lambda: paused(timed))
    assert "mend the clock" in timed.server.get("/readyz")[1]
    assert "nothing to do" in timed.accept_jump()
    assert timed.defaults() == 0
    timed.wall.turn(-2 * DAY)
    timed.finish()
    timed.assert_once()
    assert not paused(timed)
    assert timed.server.running.terminate() == 0
