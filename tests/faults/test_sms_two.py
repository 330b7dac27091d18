"""Two servers with the sms role on one PostgreSQL and one account at the SMSC; one is killed and stays away."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.faults.processes import until
from tests.faults.sms import Poster, SmsServer, Stage, assert_whole, settled

pytestmark = [pytest.mark.peer, pytest.mark.slow]


def test_one_of_two_servers_is_killed(
    make_sms_server: Callable[..., SmsServer], stage: Stage, postgres_url: str
) -> None:
    """Nobody is invited twice (but what the dead one may or may not have sent), every reply is read once."""
    # Half a second between a submit and its answer: the one that is killed has some of them under way.
    stage.smsc.ask("POST", "options", {"latency": 0.5})
    first = make_sms_server("first", postgres=postgres_url, system_id="both")
    second = make_sms_server("second", postgres=postgres_url, system_id="both", key_file=first.key_path)
    first.start()
    first.make_token()
    second.start()
    second.token = first.token
    until("both to be bound", lambda: sum(one["system_id"] == "both" for one in stage.smsc.state()["sessions"]) == 2)
    posters = [Poster(server, stage.numbers(50), group=4, every=0.05).start() for server in (second, second)]
    until("traffic", lambda: second.number("SELECT count(*) FROM invitations WHERE state = 'rated'") >= 10)
    owned = "SELECT count(*) FROM messages WHERE state = 'handed' AND lease_owner LIKE '{}/%'"
    until("both to be sending", lambda: all(second.number(owned.format(name)) for name in ("first", "second")))
    first.running.kill()
    posted = [one for poster in posters for one in poster.join()]
    # A question queued behind an SMS that the dead one had in hand waits with it: a number's messages keep their order.
    open_ = (
        "SELECT count(*) FROM messages WHERE state IN ('unread', 'partial') OR state = 'queued' AND NOT EXISTS"
        " (SELECT 1 FROM messages AS earlier WHERE earlier.number_hash = messages.number_hash"
        " AND earlier.id < messages.id AND earlier.state = 'handed' AND earlier.lease_owner LIKE 'first/%')"
    )
    until("the other to do what it can", lambda: not second.number(open_) and not second.number(owned.format("second")))
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as clock:
        # The dead one's lease would last two minutes more.
        left = clock.execute("UPDATE messages SET settle_at = now() WHERE lease_owner LIKE 'first/%'").rowcount
    # A batch that it was pushing goes when its lease ends, after two time-outs of the push and 15 s.
    settled(second, stage.smsc, rated=len(posted), seconds=60)
    found = assert_whole(second, stage, posted)
    print(f"{left} left with the dead one, {found}")
    assert left >= 1
    assert found.given_up == 0
    assert found.tries[2] <= left
    assert second.running.terminate() == 0
