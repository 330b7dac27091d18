"""`kill -9` on the way of an SMS: what the SMSC was told is stored, nobody asked twice, no rating lost or doubled.

The one exception is the rule of the unknown message (intake/outgoing.py, rules 2 and 3): what may or may not have
gone goes once more, unless a receipt says that it arrived, and is stored as tried twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from tests.faults.processes import until
from tests.faults.sms import Poster, Smsc, SmsServer, Stage, assert_whole, case, settled

pytestmark = pytest.mark.slow

CITIZENS = 3


@dataclass(frozen=True)
class Point:
    """A fault point with what is stored when the process has died there.

    `cases`, `answers`, `replies`, `ratings`: whether any is stored (answers: submits that the SMSC has answered);
    `tries`: how often each invitation has been handed over in the end.
    """

    name: str
    cases: bool = True
    submitted: bool = True
    answers: bool | None = None
    replies: bool | None = None
    ratings: bool = False
    tries: int | None = 1


POINTS = (
    Point("before-commit-PostCase", cases=False, submitted=False, answers=False, replies=False),
    Point("after-commit-PostCase", submitted=False, answers=False, replies=False),
    Point("invited", submitted=False, answers=False, replies=False),
    # Nobody can tell that it never went: it is unknown, and goes again.
    Point("claimed", submitted=False, answers=False, replies=False, tries=2),
    # The receipt tells that it arrived: it does not go again.
    Point("answered", answers=False, replies=False),
    Point("after-commit-StoreAnswers", answers=True),
    Point("before-commit-NoteReceipts"),
    Point("receipt-stored"),
    Point("before-commit-StoreInbound", replies=False),
    Point("reply-stored", replies=True),
    Point("reply-read", replies=True),
    Point("before-commit-TakeReply", replies=True),
    Point("after-commit-TakeReply", replies=True, ratings=True),
    Point("after-push-before-mark", replies=True, ratings=True),
)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_killed_at_a_named_point(make_sms_server: Callable[..., SmsServer], stage: Stage, point: Point) -> None:
    server = make_sms_server()
    server.start(fault=point.name)
    pushes = stage.centre.requests()
    poster = Poster(server, stage.numbers(CITIZENS), group=CITIZENS).start()
    assert server.running.wait(30) == -9
    phones = {row["phone"] for row in poster.posting}
    assert server.any("cases") is point.cases
    assert any(one["number"] in phones for one in stage.smsc.shown()) is point.submitted
    for table, stored in (("segments WHERE state <> 'handed'", point.answers), ("parts", point.replies)):
        if stored is not None:
            assert server.any(table) is stored, table
    assert server.any("ratings") is server.any("evaluations") is point.ratings
    acknowledged = sum(one["acknowledged"] for one in stage.smsc.replies() if one["number"] in phones)
    assert acknowledged <= server.number("SELECT count(*) FROM messages WHERE direction = 'in'")
    server.start()
    posted = poster.join()
    settled(server, stage.smsc, rated=CITIZENS)
    found = assert_whole(server, stage, posted)
    assert found.given_up == 0
    invitations = [tries for (tries,) in server.rows("SELECT tries FROM messages WHERE kind = 'invitation'")]
    assert point.tries is None or invitations == [point.tries] * CITIZENS
    assert found.twice == 0
    if point.name == "after-push-before-mark":
        assert stage.centre.requests() >= pushes + 2
    assert server.running.terminate() == 0


def test_killed_while_the_smsc_owes_an_answer_that_nothing_replaces(
    make_sms_server: Callable[..., SmsServer], stage: Stage
) -> None:
    """The SMSC has taken the SMS and said nothing, sends no receipts, and the citizen says nothing either: the one case
    in which a phone shows it twice, each as a second try. It never goes a third time."""
    smsc = Smsc(behaviours=("silent",), receipts="none", latency=60.0)
    try:
        server = make_sms_server(smsc_port=smsc.port)
        server.start()
        posted = [case(number) for number in stage.numbers(CITIZENS)]
        server.post(posted)
        for tries in (1, 2):
            until("the SMSC to have them", partial(smsc.counts, "submits", tries * CITIZENS))
            server.running.kill()
            server.start()
        failed = "SELECT count(*) FROM messages WHERE kind = 'invitation' AND state = 'failed' AND reason = 'unknown'"
        until("each given up", lambda: server.number(failed) == CITIZENS)
        assert smsc.count("submits") == 2 * CITIZENS
        assert server.number("SELECT count(*) FROM invitations WHERE undelivered") == CITIZENS
        for one in posted:  # a reply is read all the same
            smsc.ask("POST", "replies", {"number": one["phone"], "text": "2"})
        settled(server, smsc, rated=CITIZENS)
        found = assert_whole(server, stage, posted, smsc=smsc)
        assert found.twice == CITIZENS
        assert server.running.terminate() == 0
    finally:
        smsc.close()


@pytest.mark.timeout(400)
def test_killed_twenty_times_at_random_with_traffic_in_flight(
    make_sms_server: Callable[..., SmsServer], stage: Stage
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kills, each = 20, 8
    # Answers take a while, and one receipt in five never comes: what was cut short stays unknown and goes again.
    timing = {"after": 6, "before": 1, "twice": 1, "never": 2}
    stage.smsc.ask("POST", "options", {"latency": 0.05, "timing": timing})
    server = make_sms_server()
    server.start()
    posters: list[Poster] = []
    in_flight = 0
    for _ in range(kills):
        posters.append(Poster(server, stage.numbers(each), group=2, every=0.02).start())
        before = stage.smsc.count("submits")
        until("an SMS on its way", partial(stage.smsc.counts, "submits", before + 1))
        posters[-1].pause(chance.uniform(0, 0.4))
        in_flight += not server.rests()
        server.running.kill()
        server.start()
    posted = [one for poster in posters for one in poster.join()]
    settled(server, stage.smsc, rated=len(posted), seconds=90)
    found = assert_whole(server, stage, posted)
    assert len(posted) == kills * each
    print(f"{in_flight} kills in flight, {found}")
    assert in_flight >= kills // 2
    assert server.running.terminate() == 0
