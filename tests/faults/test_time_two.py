"""Two servers on one PostgreSQL that work off one backlog; one of them is killed in the middle and stays away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.faults.processes import until
from tests.faults.timed import BEFORE, LATER, Timed

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.mark.timeout(300)
def test_one_of_two_servers_is_killed(make_timed: Callable[..., Timed], postgres_url: str) -> None:
    """No default and no reminder twice, none missing; an SMS that the dead one had in hand goes once more at most."""
    # A group each two seconds and process, and SMS that take about as long.
    timed = make_timed(postgres_url, "rows_per_second = 32", segments_per_second=40.0)
    timed.start(LATER)
    timed.post_late(350)
    timed.post_fresh(200)
    timed.finish(defaulted=0, reminded=0)
    timed.server.running.kill()

    timed.smsc.ask("POST", "options", {"latency": 0.2})
    timed.wall.turn_to(BEFORE)
    first, second = timed.server, timed.another("two")
    first.start()
    second.start()
    both = "both to be bound"
    until(both, lambda: sum(one["system_id"] == first.system_id for one in timed.smsc.state()["sessions"]) == 2)
    assert timed.defaults() == 0
    timed.wall.turn(timedelta(minutes=50))
    # What each is doing, not what is left: both have sent some, and have more in hand.
    owned = "SELECT count(*) FROM messages WHERE state = 'handed' AND lease_owner LIKE '{}/%'"
    until("some defaults to be made", timed.defaults)
    until("both to be sending", lambda: all(timed.server.number(owned.format(name)) for name in ("one", "two")))
    first.running.kill()
    left, made, queued = second.number(owned.format("one")), timed.defaults(), timed.reminders()

    timed.server = second
    until("the other to do what it can", lambda: timed.done_but_for("one"), 90, every=0.1)
    timed.wall.turn(timedelta(minutes=5))  # the dead one's leases are over
    timed.finish(seconds=90)
    found = timed.assert_once(again=left)
    print(f"{made} defaults and {queued} reminders at the death, {left} left with the dead one, {found}")
    assert left >= 1
    assert found.given_up == 0
    assert set(found.again) <= {"reminder"}
    assert second.running.terminate() == 0
