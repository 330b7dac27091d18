"""The whole path once, in peace: a case by HTTP, its SMS, the citizen's reply, the evaluation, the centre."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.processes import until
from tests.faults.sms import PASSWORD, SmsServer, Stage, assert_whole, case, settled
from tests.sms.node.peer import NodeSmsc, node_missing, running

pytestmark = pytest.mark.slow


def test_from_the_case_to_the_centre(make_sms_server: Callable[..., SmsServer], stage: Stage) -> None:
    server = make_sms_server(token="")
    server.start()
    server.make_token()
    posted = [case(number) for number in stage.numbers(20)]
    assert server.post(posted) == [201] * 20
    assert server.post(posted) == [200] * 20
    settled(server, stage.smsc, rated=20)
    found = assert_whole(server, stage, posted, again=False)
    assert found.twice == 0
    assert found.shown > 20  # bad ratings were asked for their reason
    kinds = dict(server.rows("SELECT kind, count(*) FROM messages GROUP BY kind"))
    assert kinds["invitation"] == 20
    assert kinds["reason"] == found.shown - 20
    assert server.number("SELECT count(*) FROM segments WHERE state <> 'delivered'") == 0
    assert server.running.terminate() == 0


@pytest.fixture
def node_smsc() -> Iterator[NodeSmsc]:
    """npm's SMSC."""
    missing = node_missing()
    if missing:
        pytest.skip(missing)
    with running(password=PASSWORD) as peer:
        yield peer


@pytest.mark.peer
def test_from_the_case_to_the_centre_over_an_smsc_that_is_not_ours(
    make_sms_server: Callable[..., SmsServer], stage: Stage, node_smsc: NodeSmsc
) -> None:
    server = make_sms_server(smsc_port=node_smsc.port)
    server.start()
    story = "，工作人员很热情，处理得很及时，路灯修好了，服务态度也非常好，问题解决了，非常感谢政府"
    replies = ["2", "１", "非常满意", f"非常满意{story * 4}"]
    levels = [4, 5, 5, 5]
    posted = [case(number) for number in stage.numbers(len(replies))]
    assert server.post(posted) == [201] * len(replies)
    node_smsc.wait("message", count=len(replies))
    for one, text in zip(posted, replies, strict=True):
        [message] = node_smsc.seen("message", destination=f"86{one['phone']}")
        assert "办结" in message["text"]
        order = [3, 1, 2] if len(text) > 70 else None
        node_smsc.reply(f"86{one['phone']}", message["source"], text, order=order, label=one["case_no"])
    until("every evaluation stored", lambda: server.number("SELECT count(*) FROM evaluations") == 4)
    until("every evaluation at the centre", lambda: server.waiting() == 0)
    at_centre = {one["projectNo"]: int(one["satisfaction"]) for one in stage.centre.received().values()}
    stored = dict(server.rows("SELECT case_no, satisfaction FROM evaluations JOIN cases USING (subject_id)"))
    assert stored == {one["case_no"]: level for one, level in zip(posted, levels, strict=True)}
    assert stored.items() <= at_centre.items()
    answered = [one["status"] for one in node_smsc.seen("answered") if not one["label"].startswith("receipt")]
    assert answered == [0] * 6  # three short ones, and one of three parts
    until(
        "each message delivered", lambda: server.number("SELECT count(*) FROM messages WHERE state = 'delivered'") == 4
    )
    assert len(node_smsc.seen("message")) == 4
    assert stage.centre.violations() == []
    assert server.running.terminate() == 0
