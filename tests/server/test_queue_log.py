"""Asterisk's queue_log: which calls it says were served and over, which lines are bad, and that handing in is safe."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from intake.decide import PushCalls
from intake.desk import Intake
from intake.record import CallFacts, Rules
from models.clock import TurnedClock
from models.door import Door
from models.privacy import Keyring
from models.tables import calls, evaluations, invitations
from models.terms import CallOutcome, InvitationState, Satisfaction
from server.queue_log import hand_in, read_queue_log

DAY = """\
1772409600|NONE|NONE|NONE|QUEUESTART|
1772409601|ast1-1772409601.1|12345|NONE|DID|12345
1772409601|ast1-1772409601.1|12345|NONE|ENTERQUEUE||13800000001|1
1772409605|ast1-1772409601.1|12345|PJSIP/1001|RINGNOANSWER|1000
1772409610|ast1-1772409601.1|12345|PJSIP/1002|CONNECT|9|ast1-1772409608.2|2
1772409700|ast1-1772409601.1|12345|PJSIP/1002|COMPLETEAGENT|9|90|1
1772409701|ast1-1772409701.3|12345|NONE|ENTERQUEUE||unknown|1
1772409702|ast1-1772409701.3|12345|Local/2001@agents/n|CONNECT|1|ast1-1772409701.4|1
1772409750|ast1-1772409701.3|12345|Local/2001@agents/n|COMPLETECALLER|1|48|1
1772409751|ast1-1772409751.5|12345|NONE|ENTERQUEUE||13800000002|1
1772409760|ast1-1772409751.5|12345|NONE|ABANDON|1|1|9
1772409761|ast1-1772409761.6|12345|NONE|ENTERQUEUE||13800000003|1
1772409762|ast1-1772409761.6|12345|1003|CONNECT|1|ast1-1772409761.7|1
"""


def test_served_calls_that_are_over() -> None:
    reading = read_queue_log(DAY.splitlines(keepends=True))
    assert reading.bad == ()
    assert [(c.facts.call_key, c.facts.number, c.facts.agent, c.facts.queue, c.line) for c in reading.calls] == [
        ("ast1-1772409601.1", "13800000001", "1002", "12345", 6),
        ("ast1-1772409701.3", "unknown", "2001", "12345", 9),
    ]
    assert reading.calls[0].facts.at == datetime.fromtimestamp(1772409700, UTC)


@pytest.mark.parametrize("event", ["COMPLETECALLER", "COMPLETEAGENT", "BLINDTRANSFER", "ATTENDEDTRANSFER", "TRANSFER"])
def test_each_way_to_leave_an_agent(event: str) -> None:
    [call] = read_queue_log([f"1772409700|c1|q|PJSIP/1001|{event}|x|y"]).calls
    assert (call.facts.call_key, call.facts.agent, call.facts.number) == ("c1", "1001", None)


def test_what_our_dialplan_left_there_while_huiyin_was_down() -> None:
    """dialplans/huiyin.conf, huiyin-hangup; it says more than Asterisk, and counts wherever it stands."""
    text = """\
1772409600|ast1-1.1|12345|NONE|ENTERQUEUE||13800000001|1
1772409610|ast1-1.1|12345|PJSIP/1001|COMPLETEAGENT|9|90|1
1772409611|ast1-1.1|12345|PJSIP%2F1001|HUIYINENDED|13800000001|622901|GD%2F2026%7C7|1|en
1772409612|ast1-1.1|12345|PJSIP/1001|COMPLETECALLER|9|90|1
1772409613|ast1-2.1|NONE|%D5%C5%C8%FD|HUIYINENDED|||||
1772409614|ast1-3.1|NONE|1003|HUIYINENDED
"""
    first, second, third = read_queue_log(text.splitlines()).calls
    assert first.line == 3
    assert first.facts == CallFacts(
        call_key="ast1-1.1",
        number="13800000001",
        agent="1001",
        queue="12345",
        dept="622901",
        case_no="GD/2026|7",
        closed=True,
        lang="en",
        at=datetime.fromtimestamp(1772409611, UTC),
    )
    assert (second.facts.agent, second.facts.queue, second.facts.number) == ("张三", None, None)
    assert (third.facts.agent, third.facts.closed, third.facts.lang) == ("1003", False, "zh")


def test_of_a_call_in_two_queues_the_last_agent_counts() -> None:
    text = """\
1772409600|c1|first|NONE|ENTERQUEUE||13800000001|1
1772409601|c1|first|1001|CONNECT|1|x|1
1772409602|c1|first|1001|BLINDTRANSFER|2002|agents|1|1|1
1772409603|c2|first|1005|COMPLETECALLER|1|1|1
1772409604|c1|second|NONE|ENTERQUEUE||13800000001|1
1772409605|c1|second|1002|COMPLETEAGENT|1|1|1
"""
    reading = read_queue_log(text.splitlines())
    assert [(c.facts.call_key, c.facts.agent, c.facts.queue) for c in reading.calls] == [
        ("c2", "1005", "first"),
        ("c1", "1002", "second"),
    ]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("garbage", "has fewer than five fields"),
        ("1772409600|c|q|a", "has fewer than five fields"),
        ("2026-03-02 08:00:00|c|q|a|COMPLETEAGENT|1|1|1", "does not begin with a time"),
        ("|c|q|a|COMPLETEAGENT|1|1|1", "does not begin with a time"),
        ("12|c|q|a|COMPLETEAGENT|1|1|1", "does not begin with a time"),
        ("99999999999999999999999|c|q|a|COMPLETEAGENT|1|1|1", "does not begin with a time"),
        ("0" * 12 + "9" * 30 + "|c|q|a|COMPLETEAGENT|1|1|1", "does not begin with a time"),
        ("001772409600" + "0" * 30 + "|c|q|a|COMPLETEAGENT|1|1|1", "does not begin with a time"),
        ("1772409600|c|q|a||1|1|1", "names no event"),
        ("1772409600|NONE|q|a|COMPLETEAGENT|1|1|1", "COMPLETEAGENT without a callid"),
        ("1772409600||q|NONE|ENTERQUEUE||1|1", "ENTERQUEUE without a callid"),
        ("1772409600|c|q|NONE|COMPLETEAGENT|1|1|1", "COMPLETEAGENT without an agent"),
        ("1772409600|c|q|a|COMPLETEAGENT|\x00|1|1", "holds control characters"),
        ("1772409600|c|q|a|COMPLETEAGENT|\u2028|1|1", "holds control characters"),
        ("1772409600|c|q|a|COMPLETEAGENT|\ud800|1|1", "holds control characters"),
        (f"1772409600|{'c' * 300}|q|a|COMPLETEAGENT|1|1|1", "its callid has 300 characters"),
        (f"1772409600|c|q|a|COMPLETEAGENT|{'x' * 5000}", "no event is as long"),
    ],
)
def test_a_bad_line_is_named_and_the_others_count(line: str, sentence: str) -> None:
    good = "1772409600|c1|q|1001|COMPLETEAGENT|1|1|1"
    reading = read_queue_log([good + "\n", line + "\n", "\n", good.replace("c1", "c2")])
    assert [call.facts.call_key for call in reading.calls] == ["c1", "c2"]
    [bad] = reading.bad
    assert bad.number == 2
    assert sentence in bad.sentence


def test_a_name_in_gbk_breaks_nothing() -> None:
    line = "1772409600|c1|技能组|张三|COMPLETEAGENT|1|1|1".encode("gbk").decode("utf-8", "surrogateescape")
    [call] = read_queue_log([line]).calls
    assert call.facts.call_key == "c1"


@pytest.mark.parametrize("name", ["张\u3000三", "张\u00a0三", "张\u200b三"])
def test_a_space_of_any_kind_in_a_name_breaks_nothing(name: str) -> None:
    reading = read_queue_log([f"1772409600|c1|hotline|{name}|COMPLETEAGENT|1|1|1"])
    assert reading.bad == ()
    assert [call.facts.call_key for call in reading.calls] == ["c1"]


@given(st.lists(st.text(max_size=60), max_size=20))
def test_no_text_breaks_the_reader(lines: list[str]) -> None:
    reading = read_queue_log(lines)
    assert len(reading.calls) + len(reading.bad) <= len(lines)


# ── into the record ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def clock() -> TurnedClock:
    """An hour after the day's last call."""
    return TurnedClock(datetime.fromtimestamp(1772409701 + 3600, UTC))


@pytest.fixture
def intake(door: Door, keyring: Keyring, clock: TurnedClock) -> Intake:
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
    return Intake(door, keyring, clock, rules)


def test_handing_in_twice_stores_once(door: Door, intake: Intake) -> None:
    reading = read_queue_log(DAY.splitlines())
    for _ in range(2):
        imported = hand_in(intake, reading.calls)
        assert (imported.handed_in, imported.invited, imported.failed) == (2, 1, [])
    stored = door.read(lambda c: c.execute(select(calls).order_by(calls.c.call_key)).all()).result(10)
    assert [(row.call_key, row.agent, row.queue, row.outcome, row.source) for row in stored] == [
        ("ast1-1772409601.1", "1002", "12345", "not_offered", "queue_log"),
        ("ast1-1772409701.3", "2001", "12345", "not_offered", "queue_log"),
    ]
    assert [row.ended_at for row in stored] == [call.facts.at for call in reading.calls]
    states = door.read(lambda c: set(c.execute(select(invitations.c.state)).scalars())).result(10)
    assert states == {InvitationState.WAITING, InvitationState.IMPOSSIBLE}


def test_a_call_that_was_rated_stays_rated(door: Door, intake: Intake, clock: TurnedClock) -> None:
    reading = read_queue_log(DAY.splitlines())
    rated = CallFacts(
        reading.calls[0].facts.call_key, "13800000001", "1002", "12345", None, None, False, "zh", clock.now()
    )
    intake.rate(rated, Satisfaction.SATISFIED, "2", hold=False).result(10)
    assert hand_in(intake, reading.calls).invited == 0
    outcome = door.read(lambda c: c.execute(select(calls.c.outcome).where(calls.c.agent == "1002")).scalar_one())
    assert outcome.result(10) == CallOutcome.RATED
    assert door.read(lambda c: len(c.execute(select(evaluations)).all())).result(10) == 1


def test_a_call_that_cannot_be_stored_is_named_and_the_others_count(
    door: Door, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = read_queue_log(DAY.splitlines())
    real: Callable[..., object] = intake.end_call

    def end_call(facts: CallFacts, outcome: CallOutcome, **options: object) -> object:
        if facts.agent == "1002":
            return door.write(lambda unit: 1 // 0)
        return real(facts, outcome, **options)

    monkeypatch.setattr(intake, "end_call", end_call)
    imported = hand_in(intake, reading.calls)
    assert imported.handed_in == 1
    [failed] = imported.failed
    assert failed.number == 6
    assert "could not be stored" in str(failed)
