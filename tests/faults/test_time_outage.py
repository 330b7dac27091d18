"""The database gone for an hour, in which reminders and defaults fall due: all are worked off, once, oldest first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import psycopg
import pytest

from tests.faults.processes import until
from tests.faults.timed import BEFORE, LATER, Timed, in_groups
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.mark.parametrize("gone", [timedelta(minutes=55), timedelta(minutes=70)], ids=["trusted", "to be confirmed"])
def test_a_database_that_is_gone_for_an_hour(
    make_timed: Callable[..., Timed], own_postgres: PostgresServer, gone: timedelta
) -> None:
    """The hour is a turn of the wall clock: a short one is trusted, the longer one is a jump that holds what is due,
    which nobody can store while the database is gone."""
    url = own_postgres.new_database()
    timed = make_timed(url, "rows_per_second = 1000")
    timed.start(LATER)
    timed.post_late(150)
    timed.post_fresh(150, spread=timedelta(minutes=15))
    timed.finish(defaulted=0, reminded=0)
    timed.server.running.kill()
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        # All deadlines are a day's end; here they follow one another by a second, in no order of the rows.
        connection.execute(
            "UPDATE cases SET default_at = default_at + n * interval '1 second' FROM"
            " (SELECT subject_id, row_number() OVER (ORDER BY md5(case_no)) AS n FROM cases) AS placed"
            " WHERE placed.subject_id = cases.subject_id AND cases.default_reason IS NULL"
        )
    fell_due = dict(timed.server.rows("SELECT subject_id, default_at FROM cases"))
    to_remind = dict(timed.server.rows("SELECT id, remind_at FROM invitations WHERE remind_at IS NOT NULL"))

    timed.start(BEFORE)
    until("a look at what is due", lambda: timed.metric("huiyin_writer_commands_total") > 3)
    assert (timed.defaults(), timed.reminders()) == (0, 0)
    own_postgres.kill()
    timed.wall.turn(gone)
    timed.server.running.wait_for("sweep failed")
    own_postgres.run()
    if gone > timedelta(hours=1):
        until("the pause to be seen", lambda: timed.metric("huiyin_defaults_paused") == 1)
        assert "accept-jump" in timed.server.get("/readyz")[1]
        assert (timed.defaults(), timed.reminders()) == (0, 0)
        assert "confirmed" in timed.accept_jump()
    timed.finish()
    timed.assert_once()
    made = timed.server.rows("SELECT subject_id, created_at FROM evaluations")
    queued = timed.server.rows("SELECT invitation_id, created_at FROM messages WHERE kind = 'reminder'")
    for rows, due in ((made, fell_due), (queued, to_remind)):
        groups = list(in_groups([(due[identity], moment) for identity, moment in rows]))
        assert len(groups) >= 3
        for one, later in pairwise(groups):
            assert max(one) <= min(later)
    assert timed.server.running.terminate() == 0
