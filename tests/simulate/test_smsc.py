"""The stand-in SMSC itself: it must keep what it accepted, catch what a client may never do, and fail only as told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from models.clock import TurnedClock
from simulate.handset import Behaviour, Handset, Split, write
from simulate.smsc import (
    DateForm,
    Fault,
    FaultKind,
    IdForm,
    Moment,
    ReceiptForm,
    SmscOptions,
    StandInSmsc,
    Timing,
)
from sms import pdu as smpp
from sms.pdu import Command, Message, Status
from tests.moments import START
from tests.simulate.esme import Esme, connect, reactor, submit

P = ParamSpec("P")
Maker = Callable[..., StandInSmsc]
NUMBER = "13800000001"


def on_reactor(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Any]:
    """A test that runs on Twisted's reactor and awaits Deferreds."""
    return cast("Callable[P, Any]", pytest_twisted.ensureDeferred(test))


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def start() -> AsyncIterator[Callable[..., Awaitable[tuple[StandInSmsc, Esme]]]]:
    """Makes an SMSC, and a client that is bound to it."""
    made: list[StandInSmsc] = []
    clients: list[Esme] = []

    async def make(**options: Any) -> tuple[StandInSmsc, Esme]:
        handset = options.pop("handset", None)
        smsc = StandInSmsc(SmscOptions(**options), handset=handset, clock=TurnedClock(START), seed=1, first_id=0xABC)
        smsc.listen(reactor)
        made.append(smsc)
        clients.append(await connect(smsc))
        assert await clients[-1].bind(password=options.get("password") or "") == 0
        return smsc, clients[-1]

    yield make
    for client in clients:
        await client.close()
    for smsc in made:
        await smsc.stop()


Start = Callable[..., Awaitable[tuple[StandInSmsc, Esme]]]


def later(seconds: float) -> Deferred[None]:
    """Real time, where its length is the point."""
    deferred: Deferred[None] = Deferred()
    reactor.callLater(seconds, deferred.callback, None)
    return deferred


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_a_bind_needs_the_password(start: Start) -> None:
    smsc, _ = await start(password="secret")
    client = await connect(smsc)
    assert await client.bind(password="wrong") == Status.ESME_RINVPASWD
    assert await client.bind(password="secret") == 0
    assert await client.bind(password="secret") == Status.ESME_RALYBND
    await client.close()


@pytest.mark.parametrize(
    ("command", "sends", "receives"),
    [
        (Command.BIND_TRANSMITTER, True, False),
        (Command.BIND_RECEIVER, False, True),
        (Command.BIND_TRANSCEIVER, True, True),
    ],
)
@on_reactor
async def test_each_kind_of_bind_does_what_it_is_for(start: Start, command: int, sends: bool, receives: bool) -> None:
    smsc, other = await start()
    client = await connect(smsc)
    assert await client.bind("second", command=command) == 0
    answer = await client.submit(submit(registered_delivery=0))
    assert answer.status == (0 if sends else Status.ESME_RINVBNDSTS)
    smsc.send_reply(NUMBER, "5", "10691234501", system_id="second")
    assert smsc.waiting == 1
    if receives:
        assert (await client.deliveries(1))[-1].short_message == b"5"
    else:
        await other.submit(submit())
        assert not any(message.short_message == b"5" for message in client.delivered + other.delivered)
    assert bool(smsc.violations) is not sends
    await client.close()


@on_reactor
async def test_what_comes_before_a_bind_is_refused(start: Start) -> None:
    smsc, _ = await start()
    client = await connect(smsc)
    assert (await client.submit(submit())).status == Status.ESME_RINVBNDSTS
    assert "not bound" in smsc.violations[0]
    await client.close()


@on_reactor
async def test_a_client_that_never_binds_is_cut(start: Start) -> None:
    smsc, _ = await start(bind_within=0.05)
    client = await connect(smsc)
    await client.closed
    assert smsc.counts["never_bound"] == 1


@on_reactor
async def test_a_carrier_that_allows_one_session_refuses_the_second(start: Start) -> None:
    smsc, first = await start(sessions=1)
    client = await connect(smsc)
    assert await client.bind() == Status.ESME_RBINDFAIL
    await first.close()
    await smsc.until(lambda: not smsc.sessions)
    assert await client.bind() == 0
    await client.close()


@on_reactor
async def test_unbind_both_ways(start: Start) -> None:
    smsc, client = await start()
    await smsc.unbind()
    await client.closed
    second = await connect(smsc)
    await second.bind()
    sequence = second.sequence()
    second.send(smpp.unbind(sequence))
    assert (await second.answer(sequence)).command == Command.UNBIND_RESP
    await second.closed
    assert smsc.violations == []


@on_reactor
async def test_enquire_link_both_ways_and_a_dead_client_is_cut(start: Start) -> None:
    smsc, client = await start(enquire_link=0.05)
    sequence = client.sequence()
    client.send(smpp.enquire_link(sequence))
    assert (await client.answer(sequence)).command == Command.ENQUIRE_LINK_RESP
    await smsc.until(lambda: smsc.counts["pongs"] >= 2)
    client.answers_enquiries = False
    await client.closed
    assert smsc.counts["dead_sessions"] == 1


@on_reactor
async def test_an_unknown_command_and_a_length_that_cannot_be(start: Start) -> None:
    _, client = await start()
    client.send(smpp.pdu(0x00000199, 0, 7))
    await client.until(lambda: client.came[-1].command == Command.GENERIC_NACK)
    assert client.came[-1][:3] == (Command.GENERIC_NACK, Status.ESME_RINVCMDID, 7)
    client.send(b"\x7f\xff\xff\xff" + bytes(12))
    await client.closed
    assert client.came[-1].status == Status.ESME_RINVCMDLEN


# ── what is submitted ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "receipt_form", "given", "receipted"),
    [
        (IdForm.DECIMAL, None, "2748", "2748"),
        (IdForm.HEX, None, "abc", "abc"),
        (IdForm.HEX_UPPER, IdForm.DECIMAL, "ABC", "2748"),
        (IdForm.PADDED, IdForm.HEX, "0000002748", "abc"),
        (IdForm.PADDED_HEX, IdForm.DECIMAL, "00000ABC", "2748"),
        (IdForm.NONE, IdForm.DECIMAL, "", "2748"),
    ],
)
@on_reactor
async def test_forms_of_ids(
    start: Start, form: IdForm, receipt_form: IdForm | None, given: str, receipted: str
) -> None:
    _, client = await start(ids=form, receipt_ids=receipt_form)
    assert smpp.read_message_id((await client.submit(submit())).body) == given
    assert f"id:{receipted} " in (await client.deliveries(1))[0].short_message.decode()


@on_reactor
async def test_ids_like_uuids_differ(start: Start) -> None:
    _, client = await start(ids=IdForm.UUID)
    first, second = [smpp.read_message_id((await client.submit(submit())).body) for _ in range(2)]
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first)


LONG = "尊敬的市民，您反映的事项已办结，请您评价。" * 6


@pytest.mark.parametrize("split", Split)
@on_reactor
async def test_segments_become_the_message_that_was_meant(start: Start, split: Split) -> None:
    smsc, client = await start()
    pieces = write(LONG, 700, split)
    assert len(pieces) == (1 if split is Split.PAYLOAD else 2)
    for piece in reversed(pieces):
        await client.submit(
            submit(esm_class=piece.esm_class, short_message=piece.text, data_coding=piece.data_coding, tlvs=piece.tlvs)
        )
    (message,) = smsc.to(NUMBER)
    assert (message.text, message.segments, message.source) == (LONG, len(pieces), "10691234501")
    assert smsc.to("+86" + NUMBER) == [message]
    assert smsc.violations == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"short_message": LONG[:80].encode("utf-16-be")}, "a segment of 160 octets"),
        ({"short_message": b"\x05\x00\x03\x01\x02\x03" + b"55", "esm_class": 0x40}, "part 3 of 2"),
        ({"short_message": b"\x09\x00", "esm_class": 0x40}, "longer than the text"),
    ],
)
@on_reactor
async def test_segments_that_no_phone_could_show_are_caught(start: Start, changes: dict[str, Any], what: str) -> None:
    smsc, client = await start()
    assert (await client.submit(submit(**changes))).status == 0
    assert what in smsc.violations[0]


@on_reactor
async def test_above_its_rate_it_throttles(start: Start) -> None:
    smsc, client = await start(rate=20)
    answers = [(await client.submit(submit())).status for _ in range(5)]
    assert Status.ESME_RTHROTTLED in answers
    assert answers.count(0) == smsc.counts["submits"] < 5
    await later(0.06)
    assert (await client.submit(submit())).status == 0


@on_reactor
async def test_a_latency_delays_every_response(start: Start) -> None:
    _, client = await start(latency=0.05, receipts=ReceiptForm.NONE)
    began = reactor.seconds()
    await client.submit(submit())
    assert reactor.seconds() - began >= 0.05


# ── receipts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "outcome", "text", "state"),
    [
        (
            ReceiptForm.TEXT,
            "DELIVRD",
            "01 submit date:2611181000 done date:2611181000 stat:DELIVRD err:000",
            None,
        ),
        (ReceiptForm.TEXT, "MK:0012/103", "stat:MK:0012 err:103", None),
        (ReceiptForm.TLV, "DELIVRD", "", 2),
        (ReceiptForm.BOTH, "EXPIRED", "stat:EXPIRED err:001", 3),
    ],
)
@on_reactor
async def test_forms_of_receipts(start: Start, form: ReceiptForm, outcome: str, text: str, state: int | None) -> None:
    _, client = await start(receipts=form, outcomes={outcome: 1})
    answer = await client.submit(submit(tlvs=((smpp.USER_MESSAGE_REFERENCE, b"\x12\x34"),)))
    (receipt,) = await client.deliveries(1)
    assert (receipt.esm_class, receipt.source, receipt.destination) == (4, NUMBER, "10691234501")
    assert text in receipt.short_message.decode()
    assert receipt.tlvs[smpp.USER_MESSAGE_REFERENCE] == b"\x12\x34"
    if state is not None:
        assert receipt.tlvs[smpp.MESSAGE_STATE] == bytes((state,))
        assert receipt.tlvs[smpp.RECEIPTED_MESSAGE_ID] == answer.body


@pytest.mark.parametrize(
    ("dates", "text"),
    [(DateForm.SECONDS, "date:261118100000 "), (DateForm.LONG, "date:20261118100000 "), (DateForm.NONE, "001 stat:")],
)
@on_reactor
async def test_dates_of_receipts(start: Start, dates: DateForm, text: str) -> None:
    _, client = await start(dates=dates)
    await client.submit(submit())
    assert text in (await client.deliveries(1))[0].short_message.decode()


@pytest.mark.parametrize(
    ("timing", "order"),
    [
        (Timing.AFTER, ["response", "DELIVRD"]),
        (Timing.BEFORE, ["DELIVRD", "response"]),
        (Timing.TWICE, ["response", "DELIVRD", "DELIVRD"]),
        (Timing.INTERMEDIATE, ["response", "ENROUTE", "DELIVRD"]),
        (Timing.OTHER_LINK, ["response", "DELIVRD"]),  # there is no other
        (Timing.NEVER, ["response"]),
    ],
)
@on_reactor
async def test_when_receipts_come(start: Start, timing: Timing, order: list[str]) -> None:
    _, client = await start(timing={timing: 1})
    await client.submit(submit())
    sequence = client.sequence()
    client.send(smpp.enquire_link(sequence))
    await client.answer(sequence)
    seen = []
    for pdu in client.came[1:-1]:
        if pdu.command == Command.DELIVER_SM:
            stat = re.search(rb"stat:(\w+)", smpp.read_message(pdu.body).short_message)
            assert stat is not None
            seen.append(stat[1].decode())
        else:
            seen.append("response")
    assert seen == order


@on_reactor
async def test_a_receipt_may_come_on_the_other_link(start: Start) -> None:
    smsc, client = await start(timing={Timing.OTHER_LINK: 1}, receipt_delay=(0.01, 0.02))
    other = await connect(smsc)
    await other.bind("other")
    await client.submit(submit())
    assert len(await other.deliveries(1)) == 1
    assert client.delivered == []
    await other.close()


@pytest.mark.parametrize(("asked", "outcome", "receipts"), [(0, "DELIVRD", 0), (2, "DELIVRD", 0), (2, "EXPIRED", 1)])
@on_reactor
async def test_receipts_as_asked_for(start: Start, asked: int, outcome: str, receipts: int) -> None:
    smsc, client = await start(outcomes={outcome: 1})
    await client.submit(submit(registered_delivery=asked))
    assert smsc.counts["receipts"] == receipts
    assert [message.text for message in smsc.to(NUMBER)] == (["请评价"] if outcome == "DELIVRD" else [])


# ── deliveries ────────────────────────────────────────────────────────────────────────────────────────────────────────


def texts(messages: list[Message]) -> list[bytes]:
    return [message.short_message for message in messages]


@on_reactor
async def test_no_more_than_the_window_is_unanswered(start: Start) -> None:
    smsc, client = await start(window=3)
    client.answers = None
    for number in range(5):
        smsc.send_reply(NUMBER, str(number), "10691234501")
    assert texts(await client.deliveries(3)) == [b"0", b"1", b"2"]
    assert (smsc.waiting, smsc.counts["deliveries"]) == (5, 3)
    client.answers = 0
    client.send(b"".join(smpp.deliver_sm_resp(p.sequence) for p in client.came if p.command == Command.DELIVER_SM))
    assert texts(await client.deliveries(5))[3:] == [b"3", b"4"]
    await smsc.until(lambda: all(reply.acknowledged for reply in smsc.replies))
    assert smsc.waiting == 0


@on_reactor
async def test_an_unanswered_delivery_goes_again_after_a_while(start: Start) -> None:
    smsc, client = await start(resend_after=0.05)
    client.answers = None
    reply = smsc.send_reply(NUMBER, "5", "10691234501")
    assert texts(await client.deliveries(2)) == [b"5", b"5"]
    late, last = [p.sequence for p in client.came if p.command == Command.DELIVER_SM][:2]
    client.send(smpp.deliver_sm_resp(last) + smpp.deliver_sm_resp(late))
    await smsc.until(lambda: smsc.counts["late_responses"] == 1)
    assert reply.acknowledged
    assert (reply.parts[0].tries, smsc.counts["resent"], smsc.violations) == (2, 1, [])


@on_reactor
async def test_a_delivery_answered_with_an_error_goes_again_until_it_is_taken(start: Start) -> None:
    smsc, client = await start(error_resend=0.02)
    client.answers = int(Status.ESME_RSYSERR)
    reply = smsc.send_reply(NUMBER, "5", "10691234501")
    await client.deliveries(2)
    assert not reply.acknowledged
    client.answers = 0
    await smsc.until(lambda: reply.acknowledged)
    assert reply.parts[0].statuses[:2] == [8, 8]


@on_reactor
async def test_a_delivery_is_given_up_after_its_tries(start: Start) -> None:
    smsc, client = await start(error_resend=0.0, tries=3)
    client.answers = int(Status.ESME_RSYSERR)
    reply = smsc.send_reply(NUMBER, "5", "10691234501")
    await client.deliveries(3)
    sequence = client.sequence()
    await later(0.01)
    client.send(smpp.enquire_link(sequence))
    await client.answer(sequence)
    assert (reply.parts[0].given_up, len(client.delivered), smsc.waiting) == (True, 3, 0)


@on_reactor
async def test_what_was_not_acknowledged_comes_first_in_the_next_session(start: Start) -> None:
    smsc, client = await start(window=2)
    client.answers = None
    replies = [smsc.send_reply(NUMBER, str(number), "10691234501") for number in range(3)]
    await client.deliveries(2)
    smsc.cut()
    await client.closed
    assert smsc.waiting == 3
    second = await connect(smsc)
    await second.bind()
    assert texts(await second.deliveries(3)) == [b"0", b"1", b"2"]
    await smsc.until(lambda: all(reply.acknowledged for reply in replies))
    await second.close()


@on_reactor
async def test_two_sessions_of_one_client_share_what_is_delivered(start: Start) -> None:
    smsc, first = await start()
    second = await connect(smsc)
    await second.bind()
    for number in range(4):
        smsc.send_reply(NUMBER, str(number), "10691234501")
    await first.deliveries(2)
    await second.deliveries(2)
    assert sorted(texts(first.delivered + second.delivered)) == [b"0", b"1", b"2", b"3"]
    await second.close()


@on_reactor
async def test_a_reply_goes_to_the_number_that_wrote_last(start: Start) -> None:
    smsc, client = await start(number_prefix="86", strip="106912345", receipts=ReceiptForm.NONE)
    with pytest.raises(ValueError, match="nobody wrote"):
        StandInSmsc().send_reply(NUMBER, "5")
    await client.submit(submit(source="10691234507"))
    smsc.send_reply(NUMBER, "满意")
    (message,) = await client.deliveries(1)
    assert (message.source, message.destination, message.data_coding) == ("86" + NUMBER, "07", 8)
    assert message.short_message == "满意".encode("utf-16-be")


@on_reactor
async def test_a_long_reply_in_any_order(start: Start) -> None:
    smsc, client = await start()
    smsc.send_reply(NUMBER, LONG, "10691234501", order=(2, 1, 1))
    came = await client.deliveries(3)
    assert [message.short_message[:6].hex() for message in came] == ["050003010202", "050003010201", "050003010201"]
    assert all(message.esm_class == 0x40 for message in came)


@on_reactor
async def test_raw_bytes_come_as_they_are(start: Start) -> None:
    smsc, client = await start()
    assert smsc.send_raw(smpp.pdu(0x12345, 0, 99, b"x")) == 1
    await client.until(lambda: client.came[-1].command == 0x12345)
    client.send(smpp.deliver_sm_resp(4711))
    await smsc.until(lambda: bool(smsc.violations))
    assert smsc.violations == ["a response that nobody asked for: deliver_sm_resp"]


@on_reactor
async def test_a_receipt_on_demand(start: Start) -> None:
    smsc, client = await start(receipts=ReceiptForm.NONE)
    await client.submit(submit())
    smsc.send_receipt(smsc.received[0], "UNDELIV/069", form=ReceiptForm.TEXT)
    assert b"stat:UNDELIV err:069" in (await client.deliveries(1))[0].short_message


# ── faults ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def sent(client: Esme) -> int:
    sequence = client.sequence()
    client.send(smpp.submit_sm(sequence, submit(registered_delivery=0)))
    return sequence


@pytest.mark.parametrize(
    ("fault", "command", "status", "taken"),
    [
        (Fault(FaultKind.STATUS, status=0x14), Command.SUBMIT_SM_RESP, 0x14, 0),
        (Fault(FaultKind.NACK, status=3), Command.GENERIC_NACK, 3, 0),
        (Fault(FaultKind.SLOW, seconds=0.03), Command.SUBMIT_SM_RESP, 0, 1),
        (Fault(FaultKind.STRANGE), Command.SUBMIT_SM_RESP, 0, 1),
        (Fault(FaultKind.GARBAGE), Command.SUBMIT_SM_RESP, 0, 1),
        (Fault(FaultKind.STALL, seconds=0.03), Command.SUBMIT_SM_RESP, 0, 1),
        (Fault(FaultKind.STATUS, number="13800000002"), Command.SUBMIT_SM_RESP, 0, 1),
    ],
)
@on_reactor
async def test_faults_that_answer(start: Start, fault: Fault, command: int, status: int, taken: int) -> None:
    smsc, client = await start()
    smsc.plan(fault)
    answer = await client.answer(await sent(client))
    assert (answer.command, answer.status, smsc.counts["submits"]) == (command, status, taken)
    assert len(smsc.to(NUMBER)) == taken
    assert smsc.planned == ([] if fault.number is None else [fault])
    if fault.kind is not FaultKind.GARBAGE:
        assert (await client.answer(await sent(client))).status == 0
    if fault.kind is FaultKind.STRANGE:
        assert any(pdu.command == 0x00014242 for pdu in client.came)


@pytest.mark.parametrize(("kind", "taken"), [(FaultKind.CUT, 0), (FaultKind.LOSE, 1), (FaultKind.HALF, 1)])
@on_reactor
async def test_faults_that_cut(start: Start, kind: FaultKind, taken: int) -> None:
    smsc, client = await start()
    smsc.plan(Fault(kind, skip=2))
    for _ in range(3):
        await sent(client)
    await client.closed
    assert smsc.counts["submits"] == 2 + taken
    assert Counter(pdu.command for pdu in client.came)[Command.SUBMIT_SM_RESP] == 2


@pytest.mark.parametrize(("kind", "taken"), [(FaultKind.DROP, 0), (FaultKind.SILENT, 1), (FaultKind.WRONG, 1)])
@on_reactor
async def test_faults_that_answer_nothing(start: Start, kind: FaultKind, taken: int) -> None:
    smsc, client = await start()
    smsc.plan(Fault(kind))
    unanswered = await sent(client)
    assert (await client.answer(await sent(client))).status == 0
    assert not any(pdu.sequence == unanswered for pdu in client.came[1:])
    assert smsc.counts["submits"] == 1 + taken


@on_reactor
async def test_a_fault_of_chance_is_the_seeds(start: Start) -> None:
    smsc, client = await start()
    smsc.plan(Fault(FaultKind.STATUS, times=None, chance=0.5))
    statuses = [(await client.answer(await sent(client))).status for _ in range(40)]
    assert 10 < statuses.count(0) < 30
    assert smsc.planned == [Fault(FaultKind.STATUS, times=None, chance=0.5)]


@on_reactor
async def test_faults_of_other_moments(start: Start) -> None:
    smsc, client = await start()
    smsc.plan(
        Fault(FaultKind.STATUS, on=Moment.BIND, status=0x0D), Fault(FaultKind.DROP, on=Moment.ENQUIRE, times=None)
    )
    second = await connect(smsc)
    assert await second.bind() == 0x0D
    assert await second.bind() == 0
    client.send(smpp.enquire_link(77))
    assert (await client.answer(await sent(client))).status == 0
    assert not any(pdu.sequence == 77 for pdu in client.came)
    await second.close()


@on_reactor
async def test_a_response_that_never_reached_it_brings_the_reply_again(start: Start) -> None:
    smsc, client = await start()
    smsc.plan(Fault(FaultKind.CUT, on=Moment.RESPONSE))
    reply = smsc.send_reply(NUMBER, "5", "10691234501")
    await client.closed
    assert not reply.acknowledged
    second = await connect(smsc)
    await second.bind()
    await smsc.until(lambda: reply.acknowledged)
    assert reply.parts[0].tries == 2
    await second.close()


# ── citizens ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_a_citizen_answers_what_their_phone_shows(start: Start) -> None:
    handset = Handset(delay=(0.0, 0.01))
    _, client = await start(handset=handset, receipts=ReceiptForm.NONE)
    handset.cast(NUMBER, Behaviour.DIGIT)
    handset.cast("13800000002", Behaviour.LONG)
    await client.submit(submit())
    await client.submit(submit(number="13800000002", source="10691234502"))
    came = await client.deliveries(4)
    assert [message.short_message for message in came if message.source == NUMBER] == [b"1"]
    parts = [message.short_message[5] for message in came if message.source != NUMBER]
    assert sorted(parts) == [1, 2, 3] != parts


@on_reactor
async def test_a_message_that_was_not_delivered_is_on_no_phone(start: Start) -> None:
    handset = Handset(behaviours={Behaviour.DIGIT: 1}, delay=(0, 0))
    smsc, client = await start(handset=handset, outcomes={"UNDELIV": 1})
    await client.submit(submit())
    assert b"stat:UNDELIV" in (await client.deliveries(1))[0].short_message
    assert (smsc.to(NUMBER), list(smsc.replies)) == ([], [])


# ── what is kept ──────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_what_is_kept_is_bounded(start: Start) -> None:
    smsc, client = await start(keep=3)
    for _ in range(5):
        await client.submit(submit())
    assert (len(smsc.received), len(smsc.messages), smsc.counts["submits"]) == (3, 3, 5)


@on_reactor
async def test_a_lean_one_keeps_nothing_and_still_receipts(start: Start) -> None:
    smsc, client = await start(keep=0)
    await client.submit(submit(short_message=bytes(200)))
    assert len(await client.deliveries(1)) == 1
    assert (len(smsc.received), len(smsc.messages), smsc.violations) == (0, 0, [])


@on_reactor
async def test_events_have_neither_numbers_nor_texts() -> None:
    lines: list[str] = []
    smsc = StandInSmsc(handset=Handset(behaviours={Behaviour.WORDS: 1}, delay=(0, 0)), on_event=lines.append)
    smsc.listen(reactor)
    client = await connect(smsc)
    await client.bind()
    await client.submit(submit())
    await client.deliveries(2)
    await client.close()
    await smsc.stop()
    assert len(lines) >= 4
    assert not [line for line in lines if re.search(r"\d{5}|[一-鿿]", line)]


@pytest.mark.parametrize(
    "content",
    [{"colour": 1}, {"ids": "roman"}, {"timing": {"never": "x"}}, {"receipt_delay": 1}, [], {"timing": {"soon": 1}}],
)
def test_options_that_are_none_are_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="option"):
        SmscOptions.changed(SmscOptions(), content)


def test_options_from_json() -> None:
    changed = SmscOptions.changed(
        SmscOptions(password="x"),
        {"ids": "hex", "receipts": "tlv", "timing": {"twice": 1}, "receipt_delay": [1, 2], "rate": 5},
    )
    assert changed == SmscOptions(
        password="x",
        ids=IdForm.HEX,
        receipts=ReceiptForm.TLV,
        timing={Timing.TWICE: 1.0},
        receipt_delay=(1.0, 2.0),
        rate=5,
    )
