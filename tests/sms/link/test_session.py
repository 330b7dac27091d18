"""The session machine: what every kind of PDU leads to, and that no order of events costs or doubles an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sms import pdu
from sms.pdu import MOST_SEQUENCE, Command, Pdu, Reader, Status, Submit
from sms.session import (
    TRANSITIONS,
    Answer,
    Answered,
    Bound,
    Delivered,
    Delivery,
    End,
    Ended,
    Event,
    Happening,
    NoRoom,
    Notice,
    Noticed,
    Role,
    Session,
    State,
    SubmitResult,
)
from tests.sms.link.rig import OPTIONS

WINDOW = 4
CHOSEN = replace(
    OPTIONS,
    window=WINDOW,
    enquire_link_seconds=30.0,
    response_seconds=10.0,
    unbind_seconds=5.0,
    confirm_seconds=2.0,
    most_unanswered=3,
)
ROLES = {Command.BIND_TRANSCEIVER: Role.TRANSCEIVER, Command.BIND_RECEIVER: Role.RECEIVER}


def message(text: bytes = b"x", **more: Any) -> Submit:
    return Submit("1069012345", "8613900000001", text, **more)


def taken(session: Session) -> list[Pdu]:
    """What the session writes now."""
    return Reader(1 << 20).feed(session.take())


def bound(now: float = 0.0, **more: Any) -> Session:
    """A bound session, its bind taken."""
    session = Session(replace(CHOSEN, **more), Role.TRANSCEIVER)
    session.start(now, now + 5)
    (bind,) = taken(session)
    (event,) = session.receive(pdu.bind_response(bind.command, bind.sequence, 0, "smsc"), now)
    assert event == Bound("smsc")
    return session


def only(events: list[Event]) -> Event:
    (event,) = events
    return event


def delivery_of(session: Session, sequence: int = 1, now: float = 0.0, **more: Any) -> Delivery:
    (event,) = session.receive(pdu.deliver_sm(sequence, message(**more)), now)
    assert isinstance(event, Delivered)
    return event.delivery


# ── bind and unbind ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_state_can_end_and_the_end_is_the_end() -> None:
    assert {state for state, happening in TRANSITIONS if happening is Happening.END} == set(State) - {State.ENDED}
    assert not [state for state, _ in TRANSITIONS if state is State.ENDED]


@pytest.mark.parametrize("role", Role)
def test_binds_as_what_it_is(role: Role) -> None:
    session = Session(CHOSEN, role)
    session.start(0, 5)
    (bind,) = taken(session)
    assert (bind.command, bind.sequence) == (role.value, 1)
    assert pdu.read_bind(bind.body)[:2] == (CHOSEN.system_id, CHOSEN.password)


BIND_ANSWERS: dict[str, tuple[Callable[[int], bytes], Event]] = {
    "accepted": (lambda s: pdu.bind_response(9, s, 0, "smsc"), Bound("smsc")),
    "accepted without a version": (lambda s: pdu.bind_response(9, s, 0, "smsc", None), Bound("smsc")),
    "accepted as a transmitter": (lambda s: pdu.bind_response(2, s, 0, "smsc"), Bound("smsc")),
    "accepted without a body": (lambda s: pdu.pdu(0x8000_0009, 0, s), Bound("")),
    "refused": (lambda s: pdu.bind_response(9, s, 0xE), Ended(End.REFUSED, 0xE)),
    "refused with a vendor's status": (lambda s: pdu.bind_response(9, s, 0x451), Ended(End.REFUSED, 0x451)),
    "generic_nack": (lambda s: pdu.generic_nack(s, 3), Ended(End.REFUSED, 3)),
    "unbind": (lambda _: pdu.unbind(9), Ended(End.PEER_UNBOUND)),
    "another's response": (
        lambda s: pdu.bind_response(9, s + 1, 0),
        Noticed(Notice.UNMATCHED, "bind_transceiver_resp"),
    ),
    "an answer to nothing": (pdu.submit_sm_resp, Noticed(Notice.UNMATCHED, "submit_sm_resp")),
}


@pytest.mark.parametrize("case", BIND_ANSWERS)
def test_answers_to_a_bind(case: str) -> None:
    answer, expected = BIND_ANSWERS[case]
    session = Session(CHOSEN, Role.TRANSCEIVER)
    session.start(0, 5)
    (bind,) = taken(session)
    assert session.receive(answer(bind.sequence), 1) == [expected]


def test_a_bind_without_an_answer_ends_when_its_time_is_over() -> None:
    session = Session(CHOSEN, Role.TRANSCEIVER)
    session.start(0, 5)
    assert session.tick(4.9) == []
    assert session.tick(5.0) == [Ended(End.BIND_TIMED_OUT)]


def test_a_message_before_the_bind_is_answered_is_refused() -> None:
    session = Session(CHOSEN, Role.TRANSCEIVER)
    session.start(0, 5)
    session.take()
    assert session.receive(pdu.deliver_sm(9, message()), 0) == [Noticed(Notice.OUT_OF_STATE, "deliver_sm")]
    assert taken(session) == [Pdu(int(Command.DELIVER_SM_RESP), int(Status.ESME_RSYSERR), 9, b"\0")]


def test_leaving_unbinds_and_ends_with_the_answer_or_without_one() -> None:
    for answer in (pdu.unbind_resp, lambda s: pdu.generic_nack(s, 3)):
        session = bound()
        assert session.leave(0) == []
        (unbind,) = taken(session)
        assert unbind.command == Command.UNBIND
        assert session.receive(answer(unbind.sequence), 0) == [Ended(End.UNBOUND)]
    session = bound()
    session.leave(0)
    assert session.tick(4.9) == []
    assert session.tick(5.0) == [Ended(End.UNBOUND)]


def test_the_smsc_may_unbind_at_any_time() -> None:
    session = bound()
    session.submit(message(), "written", 0)
    session.take()
    session.submit(message(), "unwritten", 0)
    assert session.receive(pdu.unbind(77) + pdu.enquire_link(78), 0) == [
        Answered("written", Answer(SubmitResult.UNKNOWN), 0),
        Answered("unwritten", Answer(SubmitResult.NOT_SENT), 0),
        Ended(End.PEER_UNBOUND),
    ]
    assert taken(session) == [Pdu(int(Command.UNBIND_RESP), 0, 77, b"")]
    assert session.receive(pdu.enquire_link(79), 0) == []
    assert session.lost() == []


# ── submits ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SUBMIT_ANSWERS: dict[str, tuple[Callable[[int], bytes], Answer]] = {
    "accepted": (lambda s: pdu.submit_sm_resp(s, 0, "id"), Answer(SubmitResult.ACCEPTED, 0, "id")),
    "accepted without an id": (lambda s: pdu.pdu(0x8000_0004, 0, s), Answer(SubmitResult.ACCEPTED)),
    "accepted, no NUL": (lambda s: pdu.pdu(0x8000_0004, 0, s, b"id"), Answer(SubmitResult.ACCEPTED, 0, "id")),
    "throttled": (lambda s: pdu.submit_sm_resp(s, 0x58), Answer(SubmitResult.THROTTLED, 0x58)),
    "queue full": (lambda s: pdu.submit_sm_resp(s, 0x14), Answer(SubmitResult.QUEUE_FULL, 0x14)),
    "rejected": (lambda s: pdu.submit_sm_resp(s, 0xB), Answer(SubmitResult.REJECTED, 0xB)),
    "rejected with an id": (lambda s: pdu.submit_sm_resp(s, 0xB, "id"), Answer(SubmitResult.REJECTED, 0xB, "id")),
    "a vendor's status": (lambda s: pdu.submit_sm_resp(s, 0x500), Answer(SubmitResult.REJECTED, 0x500)),
    "generic_nack": (lambda s: pdu.generic_nack(s, 2), Answer(SubmitResult.NACKED, 2)),
    "generic_nack that means throttled": (lambda s: pdu.generic_nack(s, 0x58), Answer(SubmitResult.THROTTLED, 0x58)),
}


@pytest.mark.parametrize("case", SUBMIT_ANSWERS)
def test_answers_to_a_submit_count_once(case: str) -> None:
    answer, expected = SUBMIT_ANSWERS[case]
    session = bound()
    session.submit(message(), "token", 3)
    (sent,) = taken(session)
    assert session.receive(answer(sent.sequence), 4) == [Answered("token", expected, 3)]
    again = session.receive(answer(sent.sequence), 4)
    assert [type(event) for event in again] == [Noticed]
    assert session.in_flight == 0


@pytest.mark.parametrize("command", [0x8000_0015, 0x8000_0005, 0x8000_0103, 0x8000_9999, 0x8000_0006])
def test_a_response_of_another_kind_answers_no_submit(command: int) -> None:
    session = bound()
    session.submit(message(), "token", 0)
    (sent,) = taken(session)
    assert session.receive(pdu.pdu(command, 0, sent.sequence), 0) == [
        Noticed(Notice.UNMATCHED, pdu.command_name(command))
    ]
    assert taken(session) == []
    assert session.in_flight == 1


def test_the_window_is_never_exceeded() -> None:
    session = bound()
    for number in range(WINDOW):
        assert session.room() == WINDOW - number
        session.submit(message(), number, 0)
    with pytest.raises(NoRoom):
        session.submit(message(), "one more", 0)
    session.receive(pdu.submit_sm_resp(taken(session)[2].sequence), 0)
    assert session.room() == 1


def test_a_submit_without_an_answer_in_time_is_unknown_and_its_late_answer_nobodys() -> None:
    session = bound()
    session.submit(message(), "early", 0)
    session.submit(message(), "late", 5)
    early, _ = taken(session)
    assert session.tick(9.9) == []
    assert session.tick(10.0) == [Answered("early", Answer(SubmitResult.UNKNOWN), 0)]
    assert session.receive(pdu.submit_sm_resp(early.sequence), 11) == [Noticed(Notice.UNMATCHED, "submit_sm_resp")]
    assert session.tick(15.0) == [Answered("late", Answer(SubmitResult.UNKNOWN), 5)]


def test_what_was_never_written_is_not_sent_and_never_leaves() -> None:
    session = bound()
    session.submit(message(b"a"), "a", 0)
    session.submit(message(b"b"), "b", 5)
    assert session.tick(10.0) == [Answered("a", Answer(SubmitResult.NOT_SENT), 0)]
    assert [pdu.read_message(sent.body).body for sent in taken(session)] == [b"b"]
    session.submit(message(b"c"), "c", 10)
    assert session.lost() == [
        Answered("b", Answer(SubmitResult.UNKNOWN), 5),
        Answered("c", Answer(SubmitResult.NOT_SENT), 10),
        Ended(End.LOST),
    ]
    assert taken(session) == []


def test_sequence_numbers_begin_again() -> None:
    session = Session(CHOSEN, Role.TRANSCEIVER, first_sequence=MOST_SEQUENCE - 1)
    session.start(0, 5)
    (bind,) = taken(session)
    session.receive(pdu.bind_response(9, bind.sequence), 0)
    for number in range(3):
        session.submit(message(), number, 0)
    sequences = [sent.sequence for sent in taken(session)]
    assert [bind.sequence, *sequences] == [MOST_SEQUENCE - 1, MOST_SEQUENCE, 1, 2]
    answers = session.receive(b"".join(pdu.submit_sm_resp(each) for each in reversed(sequences)), 0)
    assert [event.token for event in answers if isinstance(event, Answered)] == [2, 1, 0]


# ── deliveries ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_delivery_is_answered_once_in_any_order() -> None:
    session = bound()
    first, second = delivery_of(session, 5), delivery_of(session, 5)
    assert session.respond(second, 0, 0)
    assert session.respond(first, 0x14, 0)
    assert not session.respond(first, 0, 0)
    command = int(Command.DELIVER_SM_RESP)
    assert taken(session) == [Pdu(command, 0, 5, b"\0"), Pdu(command, 0x14, 5, b"\0")]


def test_a_data_sm_is_a_delivery_too() -> None:
    session = bound()
    (event,) = session.receive(pdu.data_sm(6, message(b"hello")), 0)
    assert isinstance(event, Delivered)
    assert event.delivery.body == b"hello"
    session.respond(event.delivery, 0, 0)
    assert taken(session) == [Pdu(int(Command.DATA_SM_RESP), 0, 6, b"\0")]


def test_one_too_many_is_told_to_come_later() -> None:
    session = bound()
    for _ in range(CHOSEN.most_unanswered):
        delivery_of(session)
    assert session.receive(pdu.deliver_sm(9, message()), 0) == [Noticed(Notice.REFUSED_BUSY, "deliver_sm")]
    assert taken(session) == [Pdu(int(Command.DELIVER_SM_RESP), int(Status.ESME_RSYSERR), 9, b"\0")]


def test_draining_takes_nothing_new_and_ends_what_is_under_way() -> None:
    session = bound()
    open_delivery = delivery_of(session)
    session.submit(message(), "token", 0)
    (sent,) = taken(session)
    session.drain()
    with pytest.raises(NoRoom):
        session.submit(message(), "new", 0)
    assert session.receive(pdu.deliver_sm(9, message()), 0) == [Noticed(Notice.OUT_OF_STATE, "deliver_sm")]
    assert taken(session)[0].status == Status.ESME_RSYSERR
    assert session.receive(pdu.submit_sm_resp(sent.sequence), 0) == [
        Answered("token", Answer(SubmitResult.ACCEPTED), 0)
    ]
    assert session.respond(open_delivery, 0, 0)


# ── what nobody asked for ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_impossible_length_ends_the_session_after_what_came_before() -> None:
    session = bound()
    stream = pdu.deliver_sm(1, message()) + b"\0\0\0\x08" + b"\0\0\0\x04" + bytes(4) + b"\0\0\0\x09"
    events = session.receive(stream, 0)
    assert [type(event) for event in events] == [Delivered, Noticed, Ended]
    assert events[-1] == Ended(End.BROKEN)
    assert taken(session) == [Pdu(int(Command.GENERIC_NACK), int(Status.ESME_RINVCMDLEN), 9, b"")]


# ── silence ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_silence_is_asked_about_and_then_ends() -> None:
    session = bound()
    assert session.tick(29.9) == []
    assert taken(session) == []
    assert session.tick(30.0) == []
    (asked,) = taken(session)
    assert asked.command == Command.ENQUIRE_LINK
    assert session.tick(39.9) == []
    assert session.tick(40.0) == [Ended(End.SILENT)]


@pytest.mark.parametrize(
    "answer", [pdu.enquire_link_resp, lambda s: pdu.generic_nack(s, 3), lambda _: pdu.pdu(0x1234, 0, 1)]
)
def test_an_smsc_that_says_anything_is_there(answer: Any) -> None:
    session = bound()
    session.tick(30.0)
    (asked,) = taken(session)
    session.receive(answer(asked.sequence), 31)
    session.take()
    assert session.tick(40.0) == []
    assert session.tick(60.9) == []
    assert taken(session) == []
    session.tick(61.0)
    assert [sent.command for sent in taken(session)] == [Command.ENQUIRE_LINK]


def test_half_a_pdu_is_no_sign_of_life() -> None:
    session = bound()
    session.receive(pdu.enquire_link(1)[:10], 29)
    session.tick(30.0)
    assert [sent.command for sent in taken(session)] == [Command.ENQUIRE_LINK]


# ── what is known to have arrived ─────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_is_confirmed_by_the_answer_to_a_later_request_only() -> None:
    session = bound()
    session.submit(message(), "before", 0)
    first = delivery_of(session, 1)
    assert not session.is_confirmed(first.number)
    session.respond(first, 0, 0)
    session.submit(message(), "after", 0)
    before, _, after = taken(session)
    session.receive(pdu.submit_sm_resp(before.sequence), 0)
    delivery_of(session, 2)
    assert not session.is_confirmed(first.number), "what was on its way before says nothing"
    session.receive(pdu.submit_sm_resp(after.sequence), 0)
    assert session.is_confirmed(first.number)


def test_a_citizens_message_that_no_request_follows_is_asked_about() -> None:
    session = bound()
    reply = delivery_of(session)
    session.respond(reply, 0, 0)
    session.take()
    session.tick(1.9)
    assert taken(session) == []
    session.tick(2.0)
    (asked,) = taken(session)
    assert asked.command == Command.ENQUIRE_LINK
    session.receive(pdu.enquire_link_resp(asked.sequence), 2.1)
    assert session.is_confirmed(reply.number)


def test_receipts_are_not_asked_about_so_soon() -> None:
    session = bound()
    receipt = delivery_of(session, esm_class=4)
    session.respond(receipt, 0, 0)
    session.take()
    session.tick(29.0)
    assert taken(session) == []


def test_nothing_is_confirmed_by_the_end() -> None:
    session = bound()
    answered, unanswered = delivery_of(session), delivery_of(session)
    session.respond(answered, 0, 0)
    session.take()
    session.lost()
    assert not session.is_confirmed(answered.number)
    assert not session.is_confirmed(unanswered.number)
    assert not session.respond(unanswered, 0, 0)


# ── any order ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: one answer a submit, one a delivery, never more than the window."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = Session(CHOSEN, Role.TRANSCEIVER, first_sequence=MOST_SEQUENCE - 20)
        self.session.start(0, 5)
        self.reader = Reader(1 << 20)
        self.sent: dict[int, Submit] = {}
        self.answers: dict[int, Answer] = {}
        self.written: dict[int, int] = {}
        """Sequence numbers that left, and whose text they carried."""
        self.requests: list[Pdu] = []
        self.deliveries: list[Delivery] = []
        self.responses = self.expected_responses = 0
        self.ends = 0
        self.take()

    def take(self) -> None:
        for came in self.reader.feed(self.session.take()):
            if came.command == Command.SUBMIT_SM:
                self.written[came.sequence] = int(pdu.read_message(came.body).body)
            elif came.command in (Command.DELIVER_SM_RESP, Command.DATA_SM_RESP):
                self.responses += 1
            elif not came.command & pdu.RESPONSE:
                self.requests.append(came)

    def events(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Answered):
                assert isinstance(event.token, int)
                assert event.token not in self.answers, "answered twice"
                self.answers[event.token] = event.answer
            elif isinstance(event, Delivered):
                self.deliveries.append(event.delivery)
            elif isinstance(event, Ended):
                self.ends += 1

    @rule()
    @precondition(lambda self: self.session.room() > 0)
    def submit(self) -> None:
        token = len(self.sent)
        self.sent[token] = message(b"%d" % token)
        self.session.submit(self.sent[token], token, self.now)

    @rule()
    def write(self) -> None:
        self.take()

    @rule(status=st.sampled_from([0, 0, 0, 0x58, 0x14, 0x45, 0x500]), which=st.integers(0, 40), nack=st.booleans())
    @precondition(lambda self: self.written)
    def answer(self, status: int, which: int, nack: bool) -> None:
        sequence = list(self.written)[which % len(self.written)]
        data = pdu.generic_nack(sequence, status) if nack and status else pdu.submit_sm_resp(sequence, status, "x")
        self.events(self.session.receive(data, self.now))

    @rule()
    @precondition(lambda self: self.requests)
    def answer_request(self) -> None:
        came = self.requests.pop(0)
        self.events(self.session.receive(pdu.pdu(came.command | pdu.RESPONSE, 0, came.sequence, b"smsc\0"), self.now))

    @rule(sequence=st.integers(0, 3), whole=st.booleans())
    @precondition(lambda self: self.session.state in (State.BOUND, State.DRAINING, State.UNBINDING))
    def deliver(self, sequence: int, whole: bool) -> None:
        data = pdu.deliver_sm(sequence, message(b"reply"))
        if not whole:
            data = pdu.pdu(int(Command.DELIVER_SM), 0, sequence, data[16:-3])
        before = len(self.deliveries)
        self.events(self.session.receive(data, self.now))
        if len(self.deliveries) == before:
            self.expected_responses += 1

    @rule(which=st.integers(0, 40), status=st.sampled_from([0, 0x64]))
    @precondition(lambda self: self.deliveries)
    def respond(self, which: int, status: int) -> None:
        if self.session.respond(self.deliveries[which % len(self.deliveries)], status, self.now):
            self.expected_responses += 1

    @rule(command=st.sampled_from([0x777, 0x8000_0777, 0x3, 0x102, 0xB, 0x8000_0103]), body=st.binary(max_size=9))
    def junk(self, command: int, body: bytes) -> None:
        self.events(self.session.receive(pdu.pdu(command, 0, 0x7777, body), self.now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 9.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.events(self.session.tick(self.now))

    @rule()
    def drain(self) -> None:
        self.session.drain()

    @rule(how=st.sampled_from(["leave", "lost", "unbind", "broken"]))
    @precondition(lambda self: len(self.sent) > 6)
    def end(self, how: str) -> None:
        if how == "leave":
            self.events(self.session.leave(self.now))
        elif how == "lost":
            self.events(self.session.lost())
        else:
            self.events(self.session.receive(pdu.unbind(1) if how == "unbind" else b"\xff" * 16, self.now))

    @invariant()
    def the_window_holds(self) -> None:
        assert self.session.in_flight <= WINDOW
        assert self.session.unanswered <= CHOSEN.most_unanswered
        assert len(self.sent) - len(self.answers) == self.session.in_flight

    @invariant()
    def it_ends_once(self) -> None:
        assert self.ends == (self.session.state is State.ENDED)

    def teardown(self) -> None:
        self.take()
        assert self.responses == self.expected_responses
        self.events(self.session.lost())
        assert set(self.answers) == set(self.sent)
        left = set(self.written.values())
        for token, answer in self.answers.items():
            assert (answer.result is not SubmitResult.NOT_SENT) == (token in left), (token, answer)


AnyOrder.TestCase.settings = settings(
    max_examples=min(settings().max_examples, 1500), deadline=None, stateful_step_count=60
)
TestAnyOrder = AnyOrder.TestCase
