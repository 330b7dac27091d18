"""`kill -9` on the way of an SMS: what the SMSC was told is stored, nobody asked twice, no rating lost or doubled.

The one exception is the rule of the unknown message (intake/outgoing.py, rules 2 and 3): what may or may not have
gone goes once more, unless a receipt says that it arrived, and is stored as tried twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.faults.processes import until
from tests.faults.sms import Poster, SmsServer, Stage, assert_whole, case, settled

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
    invitations = [tries for (tries,) in server.rows("SELECT tries FROM messages WHERE kind = 'invitation'")]
    assert point.tries is None or invitations == [point.tries] * CITIZENS
    assert found.twice == 0
    if point.name == "after-push-before-mark":
        assert stage.centre.requests() >= pushes + 2
    assert server.running.terminate() == 0


def test_killed_while_the_smsc_owes_an_answer_that_no_receipt_replaces(
    make_sms_server: Callable[..., SmsServer], stage: Stage
) -> None:
    """The SMSC has taken the SMS and said nothing, and sends no receipts: the one case in which a phone shows it twice,
    each as a second try; never a third."""
    stage.smsc.ask("POST", "options", {"receipts": "none", "latency": 5.0})
    server = make_sms_server()
    server.start()
    posted = [case(number) for number in stage.numbers(CITIZENS)]
    before = stage.smsc.count("submits")
    server.post(posted)
    until("the SMSC to have them", lambda: stage.smsc.count("submits") >= before + CITIZENS)
    server.running.kill()
    stage.smsc.ask("POST", "options", {"latency": 0.0})
    server.start()
    second = "SELECT count(*) FROM messages WHERE kind = 'invitation' AND tries = 2 AND state = 'sent'"
    until("each sent again", lambda: server.number(second) == CITIZENS)
    settled(server, stage.smsc, rated=CITIZENS)
    found = assert_whole(server, stage, posted)
    assert found.twice == CITIZENS
    assert server.running.terminate() == 0
