"""One SMPP session of ours (the ESME's side) as a pure state machine: bytes and wishes in, events and bytes out.

No I/O and no clock: every method that needs the time gets it, in seconds of monotonic time. Whoever holds the
connection gives `receive` what comes, writes what `take` gives, and calls `tick` a few times a second.

Rules kept here:

1. `State` changes in `_move` alone, along TRANSITIONS.
2. Every `submit` gets exactly one `Answered`: the SMSC's answer, or UNKNOWN (written, and no answer within
   `response_seconds` or before the end), or NOT_SENT (never taken by `take`; its bytes never leave). An answer that
   comes later is nobody's and only counted.
3. Never more than `window` submits without an answer.
4. A delivery is answered when the owner says so, in any order, once. One that cannot be read is answered here at once,
   and so is one too many (`most_unanswered`) and one that comes before the bind is answered, or while we leave:
   ESME_RSYSERR, send it again later.
5. What nobody asked for never ends the session. An unknown request is answered by generic_nack ESME_RINVCMDID (SMPP
   3.4, 4.3), a request that only an SMSC takes by its response with ESME_RINVBNDSTS; a response is never answered, or
   two programs could answer each other for ever. Each is a `Noticed`. Only a PDU length that cannot be ends the
   session: after it nobody knows where a PDU begins.
6. Nothing heard for `enquire_link_seconds`: enquire_link. Nothing at all heard `response_seconds` after that: the end.
   Any whole PDU counts, since an SMSC that sends is there.
7. That a response of ours has reached the SMSC is known when it has answered a request that we wrote after it
   (`is_confirmed`); what it sends of its own may have been on its way before. Where no request follows by itself, an
   enquire_link is one: after `confirm_seconds` for a citizen's message, else after `enquire_link_seconds`.
8. Sequence numbers run from 1 to 0x7FFFFFFF and begin again (3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from itertools import count
from math import inf
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from sms.pdu import (
    MOST_SEQUENCE,
    RESPONSE,
    Command,
    Message,
    Pdu,
    Reader,
    Status,
    Submit,
    Unreadable,
    bind,
    command_name,
    deliver_sm_resp,
    enquire_link,
    enquire_link_resp,
    generic_nack,
    pdu,
    read_bind_response,
    read_data,
    read_message,
    read_message_id,
    submit_sm,
    unbind,
    unbind_resp,
)

__all__ = [
    "TRANSITIONS",
    "Answer",
    "Answered",
    "Bound",
    "Delivered",
    "Delivery",
    "End",
    "Ended",
    "Event",
    "Happening",
    "LinkOptions",
    "NoRoom",
    "Notice",
    "Noticed",
    "Role",
    "Session",
    "State",
    "SubmitResult",
]


class Role(Enum):
    """What a session is bound as; the value is its bind request."""

    TRANSCEIVER = int(Command.BIND_TRANSCEIVER)
    TRANSMITTER = int(Command.BIND_TRANSMITTER)
    RECEIVER = int(Command.BIND_RECEIVER)


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What a link needs to know. Times are seconds.

    Args:
        name: of the link, in logs, metrics and deliveries.
        bind: one session both ways, or a transmitter and a receiver.
        tls_ca: PEM file of the authorities trusted instead of the system's.
        tls_name: the name in the SMSC's certificate where that is not `host`.
        window: submits without an answer at once.
        segments_per_second: what the carrier allows; 0 for no limit.
        enquire_link_seconds: of silence, before the SMSC is asked whether it is there.
        response_seconds: that the SMSC has to answer a request.
        bind_seconds: from the first SYN to the answer to the bind, TLS included.
        reconnect_first, reconnect_most: shortest wait before the next try, and what it grows to.
        max_pdu: bytes.
        unbind_seconds: that the SMSC has to answer our unbind.
        confirm_seconds: after which an enquire_link finds out that our answer to a citizen's message has arrived.
        most_unanswered: deliveries that the owner has not answered, at once.
    """

    name: str
    host: str
    port: int
    system_id: str
    password: str = field(repr=False)
    system_type: str = ""
    bind: Literal["transceiver", "pair"] = "transceiver"
    tls: bool = False
    tls_ca: Path | None = None
    tls_name: str | None = None
    window: int = 10
    segments_per_second: float = 50.0
    enquire_link_seconds: float = 30.0
    response_seconds: float = 30.0
    bind_seconds: float = 15.0
    reconnect_first: float = 1.0
    reconnect_most: float = 60.0
    max_pdu: int = 65_536
    unbind_seconds: float = 5.0
    confirm_seconds: float = 2.0
    most_unanswered: int = 1000


class NoRoom(RuntimeError):
    """More was handed over than there is room for; ask `room()` first."""


class SubmitResult(StrEnum):
    """How a submit ended."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    """ESME_RTHROTTLED: too fast. The same message may go again."""
    QUEUE_FULL = "queue_full"
    """ESME_RMSGQFUL: the same."""
    REJECTED = "rejected"
    """Any other status; `Answer.status`."""
    NACKED = "nacked"
    """generic_nack: the SMSC could not read it."""
    UNKNOWN = "unknown"
    """It was written, and nobody knows what became of it."""
    NOT_SENT = "not_sent"
    """It was not written."""


class Answer(NamedTuple):
    """What became of a submit. `message_id` as the SMSC wrote it, "" where it gave none."""

    result: SubmitResult
    status: int = 0
    message_id: str = ""


class Delivery(NamedTuple):
    """A deliver_sm or data_sm to answer. (A tuple, as for `Pdu`; shown without numbers and text.)"""

    session: int
    """Unique in the process."""
    sequence: int
    """The SMSC's; it may repeat."""
    link: str
    command: int
    source: str
    source_ton: int
    source_npi: int
    destination: str
    dest_ton: int
    dest_npi: int
    esm_class: int
    data_coding: int
    body: bytes
    """short_message, or MESSAGE_PAYLOAD where that is empty."""
    tlvs: Mapping[int, bytes]
    protocol_id: int
    service_type: str
    number: int
    """Which delivery of its session, from 1."""

    def __repr__(self) -> str:
        return f"Delivery(link={self.link!r}, session={self.session}, number={self.number})"


# ── states ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class State(Enum):
    """The life of a session."""

    NEW = auto()
    BINDING = auto()
    BOUND = auto()
    DRAINING = auto()
    """Bound, and leaving: nothing new, what is under way ends."""
    UNBINDING = auto()
    ENDED = auto()


class Happening(Enum):
    """What moves a session."""

    START = auto()
    BIND_ACCEPTED = auto()
    DRAIN = auto()
    UNBIND = auto()
    END = auto()


TRANSITIONS: Mapping[tuple[State, Happening], State] = {
    (State.NEW, Happening.START): State.BINDING,
    (State.NEW, Happening.END): State.ENDED,
    (State.BINDING, Happening.BIND_ACCEPTED): State.BOUND,
    (State.BINDING, Happening.END): State.ENDED,
    (State.BOUND, Happening.DRAIN): State.DRAINING,
    (State.BOUND, Happening.UNBIND): State.UNBINDING,
    (State.BOUND, Happening.END): State.ENDED,
    (State.DRAINING, Happening.UNBIND): State.UNBINDING,
    (State.DRAINING, Happening.END): State.ENDED,
    (State.UNBINDING, Happening.END): State.ENDED,
}


class End(StrEnum):
    """Why a session ended."""

    REFUSED = "bind refused"
    BIND_TIMED_OUT = "no answer to the bind"
    UNBOUND = "unbound"
    """By us; answered, or not in time."""
    PEER_UNBOUND = "unbound by the SMSC"
    SILENT = "no answer to enquire_link"
    BROKEN = "impossible PDU length"
    LOST = "connection lost"


class Notice(StrEnum):
    """What came that should not have; counted, with the command's or the flaw's name."""

    UNKNOWN_COMMAND = "unknown_command"
    NOT_FOR_US = "not_for_us"
    PASSED_OVER = "passed_over"
    UNMATCHED = "unmatched_response"
    UNREADABLE = "unreadable"
    FLAWED = "flawed"
    OUT_OF_STATE = "out_of_state"
    REFUSED_BUSY = "refused_busy"
    BROKEN = "impossible_length"


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Bound(NamedTuple):
    """The SMSC took the bind; it calls itself `system_id`."""

    system_id: str


class Answered(NamedTuple):
    """The one answer to a submit that was handed over at `submitted_at`."""

    token: object
    answer: Answer
    submitted_at: float


class Delivered(NamedTuple):
    """A delivery that the owner answers with `Session.respond`."""

    delivery: Delivery


class Noticed(NamedTuple):
    """Something that should not have come; it was answered as it has to be."""

    notice: Notice
    what: str


class Ended(NamedTuple):
    """The session is over; the connection is to be closed once what `take` gives is written."""

    end: End
    status: int = 0


Event: TypeAlias = Bound | Answered | Delivered | Noticed | Ended


# ── the machine ───────────────────────────────────────────────────────────────────────────────────────────────────────

_SUBMIT_SM = int(Command.SUBMIT_SM)
_SUBMIT_SM_BYTES = _SUBMIT_SM.to_bytes(4, "big")
_SUBMIT_SM_RESP = int(Command.SUBMIT_SM_RESP)
_DELIVER_SM = int(Command.DELIVER_SM)
_DATA_SM = int(Command.DATA_SM)
_MESSAGES = frozenset({_DELIVER_SM, _DATA_SM})
_ENQUIRE_LINK = int(Command.ENQUIRE_LINK)
_ENQUIRE_LINK_RESP = int(Command.ENQUIRE_LINK_RESP)
_UNBIND = int(Command.UNBIND)
_UNBIND_RESP = int(Command.UNBIND_RESP)
_GENERIC_NACK = int(Command.GENERIC_NACK)
_BIND_RESPONSES = frozenset(role.value | RESPONSE for role in Role)
_UNANSWERED = frozenset({int(Command.ALERT_NOTIFICATION), int(Command.OUTBIND)})
"""Requests that have no response (4.1.7, 4.12)."""
_NOT_FOR_US = frozenset(
    int(command)
    for command in (
        Command.BIND_RECEIVER,
        Command.BIND_TRANSMITTER,
        Command.BIND_TRANSCEIVER,
        Command.SUBMIT_SM,
        Command.SUBMIT_MULTI,
        Command.QUERY_SM,
        Command.REPLACE_SM,
        Command.CANCEL_SM,
    )
)
_OK = int(Status.ESME_ROK)
_THROTTLED = int(Status.ESME_RTHROTTLED)
_QUEUE_FULL = int(Status.ESME_RMSGQFUL)
_INVALID_LENGTH = int(Status.ESME_RINVCMDLEN)
_INVALID_COMMAND = int(Status.ESME_RINVCMDID)
_INVALID_STATE = int(Status.ESME_RINVBNDSTS)
_LATER = int(Status.ESME_RSYSERR)
"""An error of our system, not of the message: every SMSC sends it again (sms/inbox.py, rule 1)."""
_MESSAGE_TYPE = 0x3C
"""The bits of esm_class that are 0 in a citizen's message (5.2.12)."""
_ACCEPTED = SubmitResult.ACCEPTED
MOST_UNCONFIRMED = 100_000
"""Answered deliveries kept for `is_confirmed`; those before count as unconfirmed."""
_NUMBERS = count(1)


def _result(status: int, other: SubmitResult) -> SubmitResult:
    if status == _THROTTLED:
        return SubmitResult.THROTTLED
    if status == _QUEUE_FULL:
        return SubmitResult.QUEUE_FULL
    return other


class Session:
    """One session, from the bind to the end of its connection.

    Args:
        first_sequence: of the first request.
    """

    __slots__ = (
        "_bind_due",
        "_bind_sequence",
        "_confirm_at",
        "_deliveries",
        "_enquire_sequence",
        "_enquired_at",
        "_forgotten",
        "_heard_at",
        "_in_flight",
        "_open",
        "_options",
        "_out",
        "_reader",
        "_requests",
        "_role",
        "_sequence",
        "_state",
        "_unbind_due",
        "_unbind_sequence",
        "_unconfirmed",
        "_unwritten",
        "number",
    )

    def __init__(self, options: LinkOptions, role: Role, *, first_sequence: int = 1) -> None:
        self._options = options
        self._role = role
        self.number = next(_NUMBERS)
        """Unique in the process."""
        self._state = State.NEW
        self._reader = Reader(options.max_pdu)
        self._out: list[bytes] = []
        self._unwritten: list[int] = []
        """Sequence numbers of the submits in `_out`."""
        self._sequence = first_sequence - 1
        self._requests = 0
        """How many requests of ours are in the stream, `_out` included."""
        self._in_flight: dict[int, tuple[object, float, int]] = {}
        """By sequence number: token, time, and which request it was. The oldest is the first."""
        self._bind_sequence = 0
        self._bind_due = 0.0
        self._unbind_sequence = 0
        self._unbind_due = 0.0
        self._heard_at = 0.0
        self._enquire_sequence = 0
        """Of the enquire_link that has no answer yet, else 0."""
        self._enquired_at = (0.0, 0)
        """When, and which request it was."""
        self._confirm_at = inf
        self._deliveries = 0
        self._open: set[int] = set()
        """Numbers of the deliveries that the owner has not answered."""
        self._unconfirmed: dict[int, int] = {}
        """By number: answered deliveries, and how many requests of ours came before the answer. In that order."""
        self._forgotten = 0
        """Deliveries up to this number may be among those dropped from `_unconfirmed`."""

    # ── what the owner asks ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> State:
        return self._state

    @property
    def in_flight(self) -> int:
        """Submits that have no answer yet."""
        return len(self._in_flight)

    @property
    def unanswered(self) -> int:
        """Deliveries that the owner has not answered yet."""
        return len(self._open)

    def room(self) -> int:
        """How many submits the window takes now."""
        return self._options.window - len(self._in_flight) if self._state is State.BOUND else 0

    def is_confirmed(self, number: int) -> bool:
        """Our answer to this delivery is known to have reached the SMSC."""
        return number > self._forgotten and number not in self._open and number not in self._unconfirmed

    # ── what the owner does ───────────────────────────────────────────────────────────────────────────────────────────

    def start(self, now: float, due: float) -> None:
        """The connection is there: asks to bind. `due` is when there must be an answer.

        Raises:
            UnfitField: a name or the password.
        """
        options = self._options
        self._move(Happening.START)
        self._heard_at = now
        self._bind_due = due
        self._bind_sequence = self._request()
        self._out.append(
            bind(
                self._role.value,
                self._bind_sequence,
                system_id=options.system_id,
                password=options.password,
                system_type=options.system_type,
            )
        )

    def submit(self, submit: Submit, token: object, now: float) -> None:
        """Sends a segment; `Answered` with this token follows.

        Raises:
            NoRoom: not bound, or the window is full.
            UnfitField: a field that no PDU can hold. Nothing follows.
        """
        if self._state is not State.BOUND or len(self._in_flight) >= self._options.window:
            raise NoRoom("no room in the session; ask room() first")
        sequence = self._sequence + 1 if self._sequence < MOST_SEQUENCE else 1
        self._out.append(submit_sm(sequence, submit))
        self._sequence = sequence
        self._requests += 1
        self._in_flight[sequence] = (token, now, self._requests)
        self._unwritten.append(sequence)

    def respond(self, delivery: Delivery, status: int, now: float) -> bool:
        """Answers a delivery of this session; false where that is done already, or cannot be any more."""
        number = delivery.number
        if self._state is State.ENDED or number not in self._open:
            return False
        self._open.remove(number)
        if delivery.command == _DELIVER_SM:
            self._out.append(deliver_sm_resp(delivery.sequence, status))
        else:
            self._out.append(pdu(delivery.command | RESPONSE, status, delivery.sequence, b"\0"))
        unconfirmed = self._unconfirmed
        unconfirmed[number] = self._requests
        if len(unconfirmed) > MOST_UNCONFIRMED:
            oldest = next(iter(unconfirmed))
            del unconfirmed[oldest]
            self._forgotten = max(self._forgotten, oldest)
        options = self._options
        soon = options.enquire_link_seconds if delivery.esm_class & _MESSAGE_TYPE else options.confirm_seconds
        if now + soon < self._confirm_at:
            self._confirm_at = now + soon
        return True

    def drain(self) -> None:
        """Takes no submits and no deliveries any more; what is under way goes on."""
        if self._state is State.BOUND:
            self._move(Happening.DRAIN)

    def leave(self, now: float) -> list[Event]:
        """Unbinds where it is bound; ends at once where it is not."""
        if self._state in (State.BOUND, State.DRAINING):
            self._move(Happening.UNBIND)
            self._unbind_sequence = self._request()
            self._unbind_due = now + self._options.unbind_seconds
            self._out.append(unbind(self._unbind_sequence))
            return []
        return [] if self._state is State.UNBINDING else self._ended(End.UNBOUND)

    def lost(self) -> list[Event]:
        """The connection is gone."""
        return self._ended(End.LOST)

    def take(self) -> bytes:
        """What is to be written now. What has been taken counts as written."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._unwritten.clear()
        return data

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float) -> list[Event]:
        """What time makes happen; called a few times a second."""
        if self._state is State.BINDING:
            return self._ended(End.BIND_TIMED_OUT) if now >= self._bind_due else []
        if self._state is State.UNBINDING:
            return self._ended(End.UNBOUND) if now >= self._unbind_due else []
        if self._state not in (State.BOUND, State.DRAINING):
            return []
        options = self._options
        events: list[Event] = []
        in_flight = self._in_flight
        while in_flight:
            sequence, (token, submitted_at, _) = next(iter(in_flight.items()))
            if now < submitted_at + options.response_seconds:
                break
            del in_flight[sequence]
            events.append(Answered(token, Answer(self._fate(sequence)), submitted_at))
            self._withdraw(sequence)
        if self._enquire_sequence:
            asked_at, _ = self._enquired_at
            if now >= asked_at + options.response_seconds:
                if self._heard_at <= asked_at:
                    return events + self._ended(End.SILENT)
                self._enquire_sequence = 0  # it speaks, and leaves this unanswered
        elif now >= self._heard_at + options.enquire_link_seconds:
            self._enquire(now)
        if now >= self._confirm_at:
            self._confirm_at = inf
            if self._unconfirmed and not self._enquire_sequence:
                last = next(reversed(self._unconfirmed.values()))
                if last == self._requests:
                    self._enquire(now)
        return events

    def _enquire(self, now: float) -> None:
        self._enquire_sequence = self._request()
        self._enquired_at = (now, self._requests)
        self._out.append(enquire_link(self._enquire_sequence))

    def _request(self) -> int:
        """The sequence number of the next request."""
        self._sequence = self._sequence + 1 if self._sequence < MOST_SEQUENCE else 1
        self._requests += 1
        return self._sequence

    # ── what comes ────────────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, data: bytes, now: float) -> list[Event]:
        """What follows from bytes of the SMSC. Never raises, whatever they are."""
        events: list[Event] = []
        if self._state is State.ENDED:
            return events
        pdus = self._reader.feed(data)
        if pdus:
            self._heard_at = now
        in_flight = self._in_flight
        for came in pdus:
            command, status, sequence, body = came
            if command == _SUBMIT_SM_RESP and (flight := in_flight.pop(sequence, None)) is not None:
                token, submitted_at, request = flight
                result = _ACCEPTED if status == _OK else _result(status, SubmitResult.REJECTED)
                events.append(Answered(token, Answer(result, status, read_message_id(body)), submitted_at))
                if self._unconfirmed:
                    self._confirm(request)
            elif command in _MESSAGES:
                self._message(came, events)
            else:
                over = self._other(came, events)
                if over:
                    return events
        broken = self._reader.broken
        if broken is not None:
            events.append(Noticed(Notice.BROKEN, command_name(broken.command)))
            self._out.append(generic_nack(broken.sequence, _INVALID_LENGTH))
            events += self._ended(End.BROKEN)
        return events

    def _message(self, came: Pdu, events: list[Event]) -> None:
        command, _, sequence, body = came
        refused = _OK
        if self._state is not State.BOUND:
            # Before the answer to the bind, too: RINVBNDSTS would be true, and the SMSC would throw the message away.
            refused = _LATER
            events.append(Noticed(Notice.OUT_OF_STATE, command_name(command)))
        elif len(self._open) >= self._options.most_unanswered:
            refused = _LATER
            events.append(Noticed(Notice.REFUSED_BUSY, command_name(command)))
        else:
            try:
                message = read_message(body) if command == _DELIVER_SM else read_data(body)
            except Unreadable as error:
                refused = error.status
                events.append(Noticed(Notice.UNREADABLE, command_name(command)))
            else:
                if message.flaws:
                    events += [Noticed(Notice.FLAWED, flaw) for flaw in message.flaws]
                delivery = self._delivery(command, sequence, message)
                self._open.add(delivery.number)
                events.append(Delivered(delivery))
        if refused != _OK:
            self._out.append(pdu(command | RESPONSE, refused, sequence, b"\0"))

    def _delivery(self, command: int, sequence: int, message: Message) -> Delivery:
        self._deliveries += 1
        return Delivery(
            self.number,
            sequence,
            self._options.name,
            command,
            message.source,
            message.source_ton,
            message.source_npi,
            message.destination,
            message.dest_ton,
            message.dest_npi,
            message.esm_class,
            message.data_coding,
            message.body,
            message.tlvs,
            message.protocol_id,
            message.service_type,
            self._deliveries,
        )

    def _other(self, came: Pdu, events: list[Event]) -> bool:
        """True where it ends the session."""
        command, _, sequence, _ = came
        if command == _ENQUIRE_LINK:
            self._out.append(enquire_link_resp(sequence))
        elif command == _UNBIND:
            self._out.append(unbind_resp(sequence))
            events += self._ended(End.PEER_UNBOUND)
            return True
        elif command & RESPONSE:
            return self._response(came, events)
        elif command in _UNANSWERED:
            events.append(Noticed(Notice.PASSED_OVER, command_name(command)))
        elif command in _NOT_FOR_US:
            self._out.append(pdu(command | RESPONSE, _INVALID_STATE, sequence))
            events.append(Noticed(Notice.NOT_FOR_US, command_name(command)))
        else:
            self._out.append(generic_nack(sequence, _INVALID_COMMAND))
            events.append(Noticed(Notice.UNKNOWN_COMMAND, command_name(command)))
        return False

    def _response(self, came: Pdu, events: list[Event]) -> bool:
        """A response, but no submit_sm_resp to a submit that waits. True where it ends the session."""
        command, status, sequence, body = came
        nack = command == _GENERIC_NACK
        if self._state is State.BINDING and sequence == self._bind_sequence and (nack or command in _BIND_RESPONSES):
            if nack or status != _OK:
                events += self._ended(End.REFUSED, status)
                return True
            response = read_bind_response(body)
            events += [Noticed(Notice.FLAWED, flaw) for flaw in response.flaws]
            self._move(Happening.BIND_ACCEPTED)
            events.append(Bound(response.system_id))
        elif sequence == self._enquire_sequence and sequence and (nack or command == _ENQUIRE_LINK_RESP):
            self._enquire_sequence = 0
            self._confirm(self._enquired_at[1])
        elif self._state is State.UNBINDING and sequence == self._unbind_sequence and (nack or command == _UNBIND_RESP):
            events += self._ended(End.UNBOUND)
            return True
        elif nack and (flight := self._in_flight.pop(sequence, None)) is not None:
            token, submitted_at, request = flight
            answer = Answer(_result(status, SubmitResult.NACKED), status)
            events.append(Answered(token, answer, submitted_at))
            self._confirm(request)
        else:
            events.append(Noticed(Notice.UNMATCHED, command_name(command)))
        return False

    def _confirm(self, request: int) -> None:
        """The SMSC has answered this request of ours: it has read whatever we wrote before."""
        unconfirmed = self._unconfirmed
        while unconfirmed:
            number = next(iter(unconfirmed))
            if unconfirmed[number] >= request:
                return
            del unconfirmed[number]

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _withdraw(self, sequence: int) -> None:
        """Sees to it that a submit that nobody has taken never leaves."""
        if sequence in self._unwritten:
            self._unwritten.remove(sequence)
            end = sequence.to_bytes(4, "big")
            self._out[:] = [data for data in self._out if data[4:8] != _SUBMIT_SM_BYTES or data[12:16] != end]

    def _fate(self, sequence: int) -> SubmitResult:
        return SubmitResult.NOT_SENT if sequence in self._unwritten else SubmitResult.UNKNOWN

    def _ended(self, end: End, status: int = 0) -> list[Event]:
        if self._state is State.ENDED:
            return []
        events: list[Event] = [
            Answered(token, Answer(self._fate(sequence)), submitted_at)
            for sequence, (token, submitted_at, _) in self._in_flight.items()
        ]
        self._in_flight.clear()
        if self._unwritten:
            self._out[:] = [data for data in self._out if data[4:8] != _SUBMIT_SM_BYTES]
            self._unwritten.clear()
        self._move(Happening.END)
        events.append(Ended(end, status))
        return events

    def _move(self, happening: Happening) -> None:
        self._state = TRANSITIONS[self._state, happening]
