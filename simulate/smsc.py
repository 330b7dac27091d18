"""A stand-in for a carrier's SMSC, SMPP 3.4 over TCP: for the demo, for tests, for drills, and as the load's other end.

Rules kept here:

* It keeps what it accepted until it is told that it arrived: a deliver_sm without an answer, or with an error for one,
  is delivered again, on the same session after a while and on the next session at once.
* It believes nothing: what a client may never do (a segment longer than an SMS, an answer that nobody asked for, a
  submit on a receiver) is kept in `violations`.
* It is like the carriers it stands for, as far as `SmscOptions` says: forms of ids and receipts, receipts before the
  response, twice, on another link or never, throttling, a window. Whatever else goes wrong does so only as told, by
  `plan` or over HTTP (`simulate/smsc_control.py`).
* Chance comes from one seed. Nothing that it tells (`on_event`) has a number or a text in it.
* With `keep=0` it neither joins nor keeps what comes, and costs a few microseconds a PDU: a peer for measurements.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from models.clock import SHANGHAI, Clock, SystemClock
from simulate.handset import Handset, PartOf, Parts, Split, Written, shown, take_apart, write
from simulate.smsc_options import (
    DateForm,
    Fault,
    FaultKind,
    IdForm,
    Moment,
    ReceiptForm,
    SmscOptions,
    Timing,
)
from sms import pdu as smpp
from sms.pdu import Command, Message, Pdu, Reader, Status, Unreadable

__all__ = [
    "DateForm",
    "Delivery",
    "Fault",
    "FaultKind",
    "IdForm",
    "Moment",
    "ReceiptForm",
    "Reply",
    "Shown",
    "SmscOptions",
    "StandInSmsc",
    "Submitted",
    "Timing",
]

T = TypeVar("T")

_BINDS = {
    int(Command.BIND_TRANSMITTER): (True, False, "transmitter"),
    int(Command.BIND_RECEIVER): (False, True, "receiver"),
    int(Command.BIND_TRANSCEIVER): (True, True, "transceiver"),
}
_SUBMIT_SM = int(Command.SUBMIT_SM)
_DATA_SM = int(Command.DATA_SM)
_DELIVER_SM = int(Command.DELIVER_SM)
_DELIVER_SM_RESP = int(Command.DELIVER_SM_RESP)
_ENQUIRE_LINK = int(Command.ENQUIRE_LINK)
_ENQUIRE_LINK_RESP = int(Command.ENQUIRE_LINK_RESP)
_UNBIND = int(Command.UNBIND)
_UNBIND_RESP = int(Command.UNBIND_RESP)
_GENERIC_NACK = int(Command.GENERIC_NACK)
_NOT_BOUND = int(Status.ESME_RINVBNDSTS)
_BOUND_ALREADY = int(Status.ESME_RALYBND)
_WRONG_PASSWORD = int(Status.ESME_RINVPASWD)
_BIND_FAILED = int(Status.ESME_RBINDFAIL)
_NO_SUCH_COMMAND = int(Status.ESME_RINVCMDID)
_WRONG_LENGTH = int(Status.ESME_RINVCMDLEN)
_THROTTLED = int(Status.ESME_RTHROTTLED)

_RECEIPT = 0x04
_INTERMEDIATE = 0x20
"""esm_class of a receipt and of an intermediate notification (SMPP 3.4, 5.2.12)."""
_STATES = {
    "ENROUTE": 1,
    "DELIVRD": 2,
    "EXPIRED": 3,
    "DELETED": 4,
    "UNDELIV": 5,
    "ACCEPTD": 6,
    "UNKNOWN": 7,
    "REJECTD": 8,
}
"""message_state (5.2.28); a vendor's own word is told as UNDELIV there."""
_MOST_VIOLATIONS = 1000
_MOST_LATE = 1000
_MOST_NUMBERS = 100_000
_SMS_OCTETS = 140
_SMS_SEPTETS = 160
_STRANGE = 0x0001_4242
_JUNK = bytes.fromhex("7fffffff0000000400000000000000ff") + b"GET / HTTP/1.0\r\n\r\n"


# ── what it has seen ──────────────────────────────────────────────────────────────────────────────────────────────────


class Submitted(NamedTuple):
    """A submit_sm (or data_sm) that was taken. `at`: seconds of the reactor; `number`: its id as a number."""

    message: Message
    message_id: str
    number: int
    system_id: str
    session: int
    sequence: int
    at: float


@dataclass(frozen=True, slots=True)
class Shown:
    """A whole message on a phone. `source`: the service's number with its extension; `at`: seconds of the reactor."""

    number: str
    source: str
    text: str
    segments: int
    system_id: str
    at: float


@dataclass(slots=True, eq=False)
class Delivery:
    """A deliver_sm on its way to the client. Times are seconds of the reactor.

    `statuses`: the answers it got that were errors.
    """

    body: bytes
    receipt: bool
    tries: int = 0
    written_at: float | None = None
    answered_at: float | None = None
    statuses: list[int] = field(default_factory=list)
    acknowledged: bool = False
    given_up: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """What a citizen wrote, with its segments in the order in which they go."""

    number: str
    to: str
    text: str
    parts: tuple[Delivery, ...]

    @property
    def acknowledged(self) -> bool:
        """The client answered every segment with ESME_ROK."""
        return all(part.acknowledged for part in self.parts)


@dataclass(slots=True)
class _Planned:
    fault: Fault
    left: int | None
    skip: int


@dataclass(slots=True)
class _Watch:
    condition: Callable[[], bool]
    deferred: Deferred[None] = field(default_factory=Deferred)


class _Choice(Generic[T]):
    """Draws by weight; costs nothing where there is nothing to draw."""

    def __init__(self, weights: Mapping[T, float]) -> None:
        if not weights or min(weights.values()) < 0 or not sum(weights.values()):
            raise ValueError("weights are numbers from 0 on, one of them above 0")
        self._things = list(weights)
        self._weights = list(weights.values())

    def draw(self, chance: Random) -> T:
        if len(self._things) == 1:
            return self._things[0]
        return chance.choices(self._things, self._weights)[0]


class _Agenda:
    """Many things to do later with one timer of the reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = count()
        self._timer: Any = None
        self._armed = 0.0

    def later(self, seconds: float, act: Callable[..., object], *args: Any) -> None:
        due = self._reactor.seconds() + seconds
        heappush(self._heap, (due, next(self._order), act, args))
        if self._timer is None or due < self._armed:
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = due
        self._timer = self._reactor.callLater(max(0.0, due - self._reactor.seconds()), self._run)

    def _run(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        while self._heap and self._heap[0][0] <= now:
            _, _, act, args = heappop(self._heap)
            act(*args)
        if self._heap and (self._timer is None or self._heap[0][0] < self._armed):
            self._arm(self._heap[0][0])

    def clear(self) -> None:
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Account:
    """One system_id: its sessions that receive, and what waits for them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions: list[_Session] = []
        self.waiting: deque[Delivery] = deque()
        self.tokens = 1.0
        self.filled_at: float | None = None
        self._turn = 0

    def pump(self) -> None:
        """Delivers as much as the windows of the sessions take, in turns."""
        waiting = self.waiting
        while waiting:
            receivers = [session for session in self.sessions if session.has_room]
            if not receivers:
                return
            self._turn += 1
            receivers[self._turn % len(receivers)].deliver(waiting.popleft())

    def admits(self, rate: float, now: float) -> bool:
        """A bucket that holds a tenth of a second's worth, at least one."""
        most = max(1.0, rate / 10)
        since = 0.0 if self.filled_at is None else now - self.filled_at
        self.tokens = most if self.filled_at is None else min(most, self.tokens + since * rate)
        self.filled_at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


# ── the SMSC ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class StandInSmsc:
    """An SMSC on one port.

    Args:
        handset: who answers; None: nobody, but `send_reply`.
        seed: of everything left to chance; None: another each time.
        first_id: of the message ids; by default they begin somewhere, so that a second run repeats none.
        on_event: is told what happens, a line an event.
        on_shown, on_reply: are told of each message on a phone, of each reply.
    """

    def __init__(
        self,
        options: SmscOptions | None = None,
        *,
        handset: Handset | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        first_id: int | None = None,
        on_event: Callable[[str], None] | None = None,
        on_shown: Callable[[Shown], None] | None = None,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> None:
        self.handset = handset
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.chance = Random(seed)  # noqa: S311 (made-up faults)
        self._clock = clock or SystemClock()
        self._next_id = first_id if first_id is not None else Random().randrange(10**8, 10**9)  # noqa: S311
        self._on_event = on_event
        self._on_shown = on_shown
        self._on_reply = on_reply
        self._accounts: dict[str, _Account] = {}
        self._sessions: dict[int, _Session] = {}
        self._session_numbers = count(1)
        self._plan: list[_Planned] = []
        self._watches: list[_Watch] = []
        self._last: dict[str, tuple[str, str]] = {}
        self._references: Counter[str] = Counter()
        self._dates: tuple[int, str] = (-1, "")
        self._port: Any = None
        self._reactor: Any = None
        self._agenda: Any = None
        self._parts = Parts()
        self.options = options or SmscOptions()
        keep = self.options.keep
        self.received: deque[Submitted] = deque(maxlen=keep)
        self.messages: deque[Shown] = deque(maxlen=keep)
        self.replies: deque[Reply] = deque(maxlen=keep)

    @property
    def options(self) -> SmscOptions:
        """May be set at any time; `keep` counts from the start alone."""
        return self._options

    @options.setter
    def options(self, options: SmscOptions) -> None:
        self._outcomes = _Choice(options.outcomes)
        self._timing = _Choice(options.timing)
        self._options = options

    # ── running ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, reactor: Any, host: str = "127.0.0.1", port: int = 0, *, tls: Any = None) -> IListeningPort:
        """Starts; port 0 takes a free one (see `port`).

        Args:
            tls: a context factory of twisted.internet.ssl, for SMPP over TLS.
        """
        self._reactor = reactor
        self._agenda = _Agenda(reactor)
        factory = Factory.forProtocol(lambda: _Session(self, next(self._session_numbers)))
        factory.noisy = False
        if tls is None:
            self._port = reactor.listenTCP(port, factory, interface=host)
        else:
            self._port = reactor.listenSSL(port, factory, tls, interface=host)
        listening: IListeningPort = self._port
        return listening

    @property
    def port(self) -> int:
        return int(self._port.getHost().port)

    async def stop(self) -> None:
        """Closes the port and cuts the sessions; what was not delivered stays in `waiting`."""
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()
            self.cut()
            await self.until(lambda: not self._sessions)
            self._agenda.clear()

    # ── for tests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def plan(self, *faults: Fault) -> None:
        """Replaces what is to go wrong from now on; without faults: nothing."""
        self._plan = [_Planned(fault, fault.times, fault.skip) for fault in faults]

    @property
    def planned(self) -> list[Fault]:
        """What is still to go wrong."""
        return [replace(planned.fault, times=planned.left, skip=planned.skip) for planned in self._plan]

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fires when the condition holds; looked at whenever something came or a session ended."""
        watch = _Watch(condition)
        self._watches.append(watch)
        self._look()
        return watch.deferred

    def bound(self, sessions: int = 1) -> Deferred[None]:
        """Fires when so many sessions are bound."""
        return self.until(lambda: len(self.sessions) >= sessions)

    @property
    def sessions(self) -> list[tuple[int, str, str]]:
        """Number, system_id and kind of every bound session."""
        return [
            (session.number, session.system_id, session.kind) for session in self._sessions.values() if session.kind
        ]

    @property
    def waiting(self) -> int:
        """deliver_sm that are not acknowledged: without a session, or without an answer."""
        unanswered = sum(len(session.unanswered) for session in self._sessions.values())
        return unanswered + sum(len(account.waiting) for account in self._accounts.values())

    def to(self, number: str) -> list[Shown]:
        """What the phone of this number shows, oldest first."""
        bare = _bare(number)
        return [message for message in self.messages if message.number == bare]

    def cut(self, system_id: str | None = None) -> int:
        """Cuts connections (of one system_id) without a word; says how many."""
        cut = [s for s in self._sessions.values() if system_id is None or s.system_id == system_id]
        for session in cut:
            session.cut()
        return len(cut)

    async def unbind(self, system_id: str | None = None) -> None:
        """Unbinds sessions (of one system_id) and waits until their connections are closed."""
        ended = [s for s in self._sessions.values() if s.kind and (system_id is None or s.system_id == system_id)]
        for session in ended:
            session.unbind()
        await self.until(lambda: not any(session.number in self._sessions for session in ended))

    def send_raw(self, data: bytes, system_id: str | None = None) -> int:
        """Writes bytes as they are to every session (of one system_id), bound or not; says to how many."""
        told = [s for s in self._sessions.values() if system_id is None or s.system_id == system_id]
        for session in told:
            session.say(data)
        return len(told)

    deliver_raw = send_raw

    def send_reply(
        self,
        number: str,
        text: str,
        to: str | None = None,
        *,
        split: Split = Split.UDH8,
        order: Sequence[int] | None = None,
        coding: int | None = None,
        system_id: str | None = None,
    ) -> Reply:
        """A citizen writes.

        Args:
            to: the number written to; None: the one that wrote to this citizen last.
            order: of the segments, from 1; a number may be left out or stand twice.
            coding: see `handset.write`.
            system_id: who gets it; None: who wrote to this citizen last, else any that is bound.

        Raises:
            ValueError: nobody wrote to this citizen, and `to` or `system_id` was not given.
        """
        bare = _bare(number)
        self._references[bare] += 1
        pieces = write(text, self._references[bare], split, coding=coding)
        if len(self._references) > _MOST_NUMBERS:
            self._references.clear()
        return self.send_pieces(
            number, [pieces[place - 1] for place in order or range(1, len(pieces) + 1)], to, text, system_id=system_id
        )

    def send_pieces(
        self,
        number: str,
        pieces: Sequence[Written],
        to: str | None = None,
        text: str = "",
        *,
        system_id: str | None = None,
    ) -> Reply:
        """As `send_reply`, with the segments made by the caller: other codings, headers and contents."""
        bare = _bare(number)
        last_to, last_system = self._last.get(bare, (None, None))
        to = to if to is not None else last_to
        system_id = system_id or last_system or next((s.system_id for s in self._sessions.values() if s.kind), None)
        if to is None or system_id is None:
            raise ValueError("nobody wrote to this number and nobody is bound: say `to` and `system_id`")
        options = self._options
        source, destination = options.number_prefix + bare, to.removeprefix(options.strip)
        parts = tuple(
            Delivery(
                smpp.deliver_sm(
                    0,
                    smpp.Submit(
                        source=source,
                        source_ton=1,
                        source_npi=1,
                        destination=destination,
                        dest_ton=1,
                        dest_npi=1,
                        short_message=piece.text,
                        data_coding=piece.data_coding,
                        esm_class=piece.esm_class,
                        tlvs=piece.tlvs,
                    ),
                )[smpp.HEADER_LENGTH :],
                receipt=False,
            )
            for piece in pieces
        )
        reply = Reply(bare, to, text, parts)
        self.replies.append(reply)
        self.counts["replies"] += 1
        self._event(f"a reply of {len(parts)} segments")
        if self._on_reply is not None:
            self._on_reply(reply)
        self._send(self._account(system_id), parts)
        return reply

    def send_receipt(
        self,
        submitted: Submitted,
        outcome: str = "DELIVRD",
        *,
        form: ReceiptForm | None = None,
        intermediate: bool = False,
        system_id: str | None = None,
    ) -> Delivery:
        """A receipt for what was submitted, now."""
        delivery = self._receipt(submitted, outcome, form or self._options.receipts, intermediate=intermediate)
        self._send(self._account(system_id or submitted.system_id), (delivery,))
        return delivery

    def _look(self) -> None:
        for watch in [watch for watch in self._watches if watch.condition()]:
            self._watches.remove(watch)
            watch.deferred.callback(None)

    # ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _account(self, system_id: str) -> _Account:
        account = self._accounts.get(system_id)
        if account is None:
            account = self._accounts[system_id] = _Account(system_id)
        return account

    def _event(self, line: str) -> None:
        if self._on_event is not None:
            self._on_event(line)

    def violate(self, what: str) -> None:
        """Keeps what a client may not do."""
        self.counts["violations"] += 1
        if len(self.violations) < _MOST_VIOLATIONS:
            self.violations.append(what)
        self._event(f"violation: {what}")

    def _send(self, account: _Account, deliveries: Iterable[Delivery]) -> None:
        account.waiting.extend(deliveries)
        account.pump()

    def _again(self, account: _Account, deliveries: Sequence[Delivery], *, at_once: bool = True) -> None:
        """Delivers again what was not acknowledged, before what is new."""
        given_up = [delivery for delivery in deliveries if delivery.tries >= self._options.tries]
        for delivery in given_up:
            delivery.given_up = True
        self.counts["given_up"] += len(given_up)
        account.waiting.extendleft(reversed([delivery for delivery in deliveries if not delivery.given_up]))
        if at_once:
            account.pump()

    def fault(self, moment: Moment, number: str | None = None) -> Fault | None:
        """The first planned fault that fits, used up by one."""
        for planned in self._plan:
            fault = planned.fault
            if fault.on not in {moment, Moment.ANY} or (fault.number is not None and fault.number != number):
                continue
            if planned.skip > 0:
                planned.skip -= 1
                continue
            if fault.chance < 1.0 and self.chance.random() >= fault.chance:
                continue
            if planned.left is not None:
                planned.left -= 1
                if planned.left <= 0:
                    self._plan.remove(planned)
            self.counts["faults"] += 1
            self._event(f"fault: {fault.kind} on {moment}")
            return fault
        return None

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, session: _Session, message: Message, sequence: int) -> tuple[str, Callable[[], None] | None]:
        """Takes a message: its id, and what is to be done once the response is written (None: nothing)."""
        options = self._options
        number = self._next_id
        self._next_id = number + 1
        self.counts["submits"] += 1
        message_id = options.ids.write(number)
        submitted = Submitted(
            message, message_id, number, session.system_id, session.number, sequence, self._reactor.seconds()
        )
        outcome = self._outcomes.draw(self.chance)
        if options.keep:
            self.received.append(submitted)
            self._show(submitted, reaches=outcome.partition("/")[0] == "DELIVRD")
        if options.receipts is ReceiptForm.NONE or not (message.registered_delivery & 3 or options.unasked_receipts):
            return message_id, None
        if message.registered_delivery & 3 == 2 and outcome.startswith("DELIVRD"):
            return message_id, None  # asked for failures alone (5.2.17)
        timing = self._timing.draw(self.chance)
        if timing is Timing.NEVER:
            return message_id, None
        if timing is Timing.BEFORE:
            self._deliver_receipts(submitted, outcome, timing)
            return message_id, None
        return message_id, lambda: self._schedule_receipt(submitted, outcome, timing)

    def _schedule_receipt(self, submitted: Submitted, outcome: str, timing: Timing) -> None:
        if timing is Timing.INTERMEDIATE:
            self._send(
                self._account(submitted.system_id),
                (self._receipt(submitted, "ENROUTE", self._options.receipts, intermediate=True),),
            )
        least, most = self._options.receipt_delay
        if most <= 0:
            self._deliver_receipts(submitted, outcome, timing)
        else:
            delay = least if least == most else self.chance.uniform(least, most)
            self._agenda.later(delay, self._deliver_receipts, submitted, outcome, timing)

    def _deliver_receipts(self, submitted: Submitted, outcome: str, timing: Timing) -> None:
        account = self._account(submitted.system_id)
        if timing is Timing.OTHER_LINK:
            others = [other for other in self._accounts.values() if other.sessions and other is not account]
            account = others[0] if others else account
        form = self._options.receipts
        self._send(account, (self._receipt(submitted, outcome, form),))
        if timing is Timing.TWICE:
            self._send(account, (self._receipt(submitted, outcome, form),))

    def _receipt(
        self, submitted: Submitted, outcome: str, form: ReceiptForm, *, intermediate: bool = False
    ) -> Delivery:
        options = self._options
        stat, _, error = outcome.partition("/")
        delivered = stat == "DELIVRD"
        error = error or ("000" if delivered or intermediate else "001")
        message = submitted.message
        message_id = (options.receipt_ids or options.ids).write(submitted.number)
        text = b""
        tlvs: tuple[tuple[int, bytes], ...] = ()
        if form is not ReceiptForm.TLV:
            date = self._date(options.dates)
            dates = f"submit date:{date} done date:{date} " if date else ""
            text = (
                f"id:{message_id} sub:001 dlvrd:{'001' if delivered else '000'} {dates}stat:{stat} err:{error} text:"
            ).encode("latin-1")
        if form is not ReceiptForm.TEXT:
            tlvs = (
                (smpp.RECEIPTED_MESSAGE_ID, message_id.encode("latin-1") + b"\0"),
                (smpp.MESSAGE_STATE, bytes((_STATES.get(stat, 5),))),
                (smpp.NETWORK_ERROR_CODE, b"\x03" + (int(error) if error.isdigit() else 0xFFFF).to_bytes(2, "big")),
            )
        if options.echo_reference and smpp.USER_MESSAGE_REFERENCE in message.tlvs:
            tlvs = (*tlvs, (smpp.USER_MESSAGE_REFERENCE, message.tlvs[smpp.USER_MESSAGE_REFERENCE]))
        prefix = options.number_prefix
        receipt = smpp.deliver_sm(
            0,
            smpp.Submit(
                source=prefix + _bare(message.destination) if prefix else message.destination,
                source_ton=message.dest_ton,
                source_npi=message.dest_npi,
                destination=message.source.removeprefix(options.strip) if options.strip else message.source,
                dest_ton=message.source_ton,
                dest_npi=message.source_npi,
                short_message=text,
                esm_class=_INTERMEDIATE if intermediate else _RECEIPT,
                tlvs=tlvs,
            ),
        )
        self.counts["receipts"] += 1
        return Delivery(receipt[smpp.HEADER_LENGTH :], receipt=True)

    def _date(self, form: DateForm) -> str:
        if not form:
            return ""
        now = self._clock.now()
        second = int(now.timestamp())
        if self._dates[0] != second:
            self._dates = (second, now.astimezone(SHANGHAI).strftime(form))
        return self._dates[1]

    def _show(self, submitted: Submitted, *, reaches: bool) -> None:
        """Puts a segment on its phone; the citizen may answer once the message is whole."""
        message = submitted.message
        number = _bare(message.destination)
        self._last[number] = (message.source, submitted.system_id)
        if len(self._last) > _MOST_NUMBERS:
            del self._last[next(iter(self._last))]
        if len(message.short_message) > (_SMS_SEPTETS if message.data_coding == 0 else _SMS_OCTETS):
            self.violate(f"a segment of {len(message.short_message)} octets: an SMS holds {_SMS_OCTETS}")
        part: PartOf | None
        try:
            part, text = take_apart(message.esm_class, message.body, message.tlvs)
        except ValueError as error:
            self.violate(f"a segment: {error}")
            return
        segments = 1
        if part is not None:
            whole = self._parts.add((submitted.system_id, message.source, number), part, text)
            if whole is None:
                return
            text, segments = whole, part.total
        on_screen = shown(text, message.data_coding)
        if not reaches:
            return
        there = Shown(number, message.source, on_screen, segments, submitted.system_id, self._reactor.seconds())
        self.messages.append(there)
        self._event(f"a message of {segments} segments reached its phone")
        if self._on_shown is not None:
            self._on_shown(there)
        act = self.handset.react(number, on_screen) if self.handset is not None else None
        if act is not None:
            self._agenda.later(act.delay, self._answer, number, act.text, message.source, act.out_of_order)

    def _answer(self, number: str, text: str, to: str, out_of_order: bool) -> None:
        total = len(write(text, 1))
        order = list(range(1, total + 1))
        while out_of_order and total > 1 and order == sorted(order):
            self.chance.shuffle(order)
        self.send_reply(number, text, to, order=order)


class _Session(Protocol):
    """One connection of a client."""

    transport: Any

    def __init__(self, smsc: StandInSmsc, number: int) -> None:
        self.number = number
        self.system_id = ""
        self.kind = ""
        self.unanswered: dict[int, Delivery] = {}
        self._smsc = smsc
        self._reader = Reader(smsc.options.max_pdu)
        self._account: _Account | None = None
        self._sends = self._receives = False
        self._sequence = 0
        self._unbinding = self._over = self._pinged = False
        self._late: dict[int, Delivery] = {}
        self._gathered: list[bytes] | None = None
        self._timers: dict[str, Any] = {}

    # ── the connection ────────────────────────────────────────────────────────────────────────────────────────────────

    def connectionMade(self) -> None:  # noqa: N802
        smsc = self._smsc
        smsc._sessions[self.number] = self
        smsc.counts["connections"] += 1
        self.transport.setTcpNoDelay(True)
        self._after("bind", smsc.options.bind_within, self._never_bound)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        gathered: list[bytes] = []
        self._gathered = gathered
        submit = self._submit if self._sends and not self._smsc._plan else None
        for came in self._reader.feed(data):
            if self._over:
                break
            if submit is not None and came.command == _SUBMIT_SM:
                submit(came)
            else:
                self._came(came)
                submit = self._submit if self._sends and not self._smsc._plan else None
        self._gathered = None
        if self._over:
            return
        if gathered:
            self.transport.write(b"".join(gathered))
        if self._reader.broken is not None:
            self._smsc.violate("a PDU whose length cannot be")
            self.say(smpp.generic_nack(self._reader.broken.sequence, _WRONG_LENGTH))
            self._over = True
            self.transport.loseConnection()
        if self._smsc._watches:
            self._smsc._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        smsc = self._smsc
        self._over = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        smsc._sessions.pop(self.number, None)
        smsc._event(f"session {self.number} ended")
        if self._account is not None:
            if self in self._account.sessions:
                self._account.sessions.remove(self)
            unanswered = list(self.unanswered.values())
            self.unanswered.clear()
            smsc.counts["resent"] += len(unanswered)
            smsc._again(self._account, unanswered)
        self.kind = ""
        smsc._look()

    def say(self, data: bytes) -> None:
        """Writes, with whatever else this turn of the reactor brings."""
        if self._gathered is not None:
            self._gathered.append(data)
        elif not self._over:
            self.transport.write(data)

    def is_bound(self) -> bool:
        return self.kind != ""

    def cut(self) -> None:
        """Ends the connection as a broken line does; what was written a moment ago may be lost."""
        self._over = True
        self.transport.abortConnection()

    def unbind(self) -> None:
        self._unbinding = True
        self.say(smpp.unbind(self._next_sequence()))

    def _after(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        def run() -> None:
            del self._timers[name]
            act()

        before = self._timers.pop(name, None)
        if before is not None:
            before.cancel()
        self._timers[name] = self._smsc._reactor.callLater(seconds, run)

    def _never_bound(self) -> None:
        if not self.kind:
            self._smsc.counts["never_bound"] += 1
            self.cut()

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % smpp.MOST_SEQUENCE + 1
        return self._sequence

    # ── what the client sends ─────────────────────────────────────────────────────────────────────────────────────────

    def _came(self, came: Pdu) -> None:
        handle = self._HANDLERS.get(came.command)
        if handle is not None:
            handle(self, came)
        elif came.command & smpp.RESPONSE:
            self._smsc.violate(f"a response that nobody asked for: {smpp.command_name(came.command)}")
        else:
            self._smsc.counts["unknown_commands"] += 1
            self.say(smpp.generic_nack(came.sequence, _NO_SUCH_COMMAND))

    def _bind(self, came: Pdu) -> None:
        smsc = self._smsc
        try:
            asked = smpp.read_bind(came.body)
        except Unreadable as error:
            self._refuse_bind(came, error.status)
            return
        fault = smsc.fault(Moment.BIND) if smsc._plan else None
        if self.is_bound():
            self.say(smpp.bind_response(came.command, came.sequence, _BOUND_ALREADY))
            return
        options = smsc.options
        if options.password is not None and asked.password != options.password:
            self._refuse_bind(came, _WRONG_PASSWORD)
            return
        account = smsc._account(asked.system_id)
        others = sum(session.system_id == asked.system_id for session in smsc._sessions.values() if session.kind)
        if options.sessions is not None and others >= options.sessions:
            self._refuse_bind(came, _BIND_FAILED)
            return

        def take() -> bytes:
            self._sends, self._receives, self.kind = _BINDS[came.command]
            self.system_id = asked.system_id
            self._account = account
            return smpp.bind_response(came.command, came.sequence, 0, options.system_id)

        if fault is not None and fault.kind is FaultKind.STATUS:
            self._refuse_bind(came, fault.status)
            return
        self._answer(came, fault, take)
        if self.is_bound() and not self._over:
            smsc.counts["binds"] += 1
            smsc._event(f"session {self.number} bound as {self.kind}")
            if options.enquire_link is not None:
                self._after("enquire", options.enquire_link, self._ping)
            if self._receives:
                account.sessions.append(self)
                account.pump()

    def _refuse_bind(self, came: Pdu, status: int) -> None:
        self._smsc.counts["binds_refused"] += 1
        self._smsc._event(f"session {self.number}: bind refused, {smpp.status_name(status)}")
        self.say(smpp.bind_response(came.command, came.sequence, status))

    def _submit(self, came: Pdu) -> None:
        smsc = self._smsc
        response = came.command | smpp.RESPONSE
        if not self._sends:
            smsc.violate(f"{smpp.command_name(came.command)} on a session that is not bound to send")
            self.say(smpp.pdu(response, _NOT_BOUND, came.sequence))
            return
        try:
            message = smpp.read_message(came.body) if came.command == _SUBMIT_SM else smpp.read_data(came.body)
        except Unreadable as error:
            smsc.violate(f"a {smpp.command_name(came.command)} that cannot be read: {error}")
            self.say(smpp.pdu(response, error.status, came.sequence))
            return
        fault = smsc.fault(Moment.SUBMIT, _bare(message.destination)) if smsc._plan else None
        options = smsc.options
        account = self._account
        assert account is not None
        if (
            options.rate is not None
            and (fault is None or fault.kind.takes)
            and not account.admits(options.rate, smsc._reactor.seconds())
        ):
            smsc.counts["throttled"] += 1
            self.say(smpp.pdu(response, _THROTTLED, came.sequence))
            return
        if fault is None and not options.latency:
            message_id, then = smsc.take(self, message, came.sequence)
            self.say(smpp.pdu(response, 0, came.sequence, message_id.encode("latin-1") + b"\0"))
            if then is not None:
                then()
            return
        after: list[Callable[[], None]] = []

        def take() -> bytes:
            message_id, then = smsc.take(self, message, came.sequence)
            if then is not None:
                after.append(then)
            return smpp.pdu(response, 0, came.sequence, message_id.encode("latin-1") + b"\0")

        self._answer(came, fault, take)
        for then in after:
            then()

    def _enquire(self, came: Pdu) -> None:
        fault = self._smsc.fault(Moment.ENQUIRE) if self._smsc._plan else None
        self._answer(came, fault, lambda: smpp.enquire_link_resp(came.sequence))

    def _asked_to_unbind(self, came: Pdu) -> None:
        smsc = self._smsc
        fault = smsc.fault(Moment.UNBIND) if smsc._plan else None
        if fault is None:
            smsc.counts["unbinds"] += 1
            self._farewell(smpp.unbind_resp(came.sequence))
        else:
            self._answer(came, fault, lambda: smpp.unbind_resp(came.sequence))

    def _unbound(self, came: Pdu) -> None:
        if not self._unbinding:
            self._smsc.violate("a response that nobody asked for: unbind_resp")
        self._farewell(b"")

    def _farewell(self, last: bytes) -> None:
        """The last words, then the connection is closed in order."""
        if self._gathered:
            last, self._gathered = b"".join((*self._gathered, last)), []
        if last:
            self.transport.write(last)
        self._over = True
        self.transport.loseConnection()

    def _answer(self, came: Pdu, fault: Fault | None, take: Callable[[], bytes]) -> None:
        """Answers as the fault (None: the options) says; `take` takes what came and gives the right answer."""
        if fault is None:
            self._say_later(take(), self._smsc.options.latency if came.command == _SUBMIT_SM else 0.0)
            return
        match fault.kind:
            case FaultKind.STATUS:
                self.say(smpp.pdu(came.command | smpp.RESPONSE, fault.status, came.sequence))
            case FaultKind.NACK:
                self.say(smpp.generic_nack(came.sequence, fault.status))
            case FaultKind.DROP:
                pass
            case FaultKind.CUT:
                self._farewell(b"")
            case FaultKind.SILENT:
                take()
            case FaultKind.SLOW:
                self._say_later(take(), fault.seconds)
            case FaultKind.LOSE:
                take()
                self._farewell(b"")
            case FaultKind.HALF:
                answer = take()
                self._farewell(answer[: len(answer) // 2])
            case FaultKind.WRONG:
                answer = take()
                wrong = (came.sequence + 1_000_000) % smpp.MOST_SEQUENCE + 1
                self.say(answer[:12] + wrong.to_bytes(4, "big") + answer[16:])
            case FaultKind.GARBAGE:
                self.say(take() + (bytes.fromhex(fault.data) or _JUNK))
            case FaultKind.STRANGE:
                self.say(take() + smpp.pdu(_STRANGE, 0, self._next_sequence(), b"?\0"))
            case FaultKind.STALL:
                self.transport.pauseProducing()
                if fault.seconds:
                    self._after("stall", fault.seconds, self.transport.resumeProducing)
                self.say(take())

    def _say_later(self, answer: bytes, seconds: float) -> None:
        if seconds:
            self._smsc._agenda.later(seconds, self.say, answer)
        else:
            self.say(answer)

    # ── what the client gets ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def has_room(self) -> bool:
        return not self._over and not self._unbinding and len(self.unanswered) < self._smsc.options.window

    def deliver(self, delivery: Delivery) -> None:
        """Writes a deliver_sm; the caller has looked whether there is room."""
        smsc = self._smsc
        sequence = self._next_sequence()
        self.unanswered[sequence] = delivery
        delivery.tries += 1
        delivery.written_at = smsc._reactor.seconds()
        smsc.counts["deliveries"] += 1
        self.say(smpp.pdu(_DELIVER_SM, 0, sequence, delivery.body))
        if "resend" not in self._timers and smsc.options.resend_after is not None:
            self._after("resend", smsc.options.resend_after, self._resend)

    def _resend(self) -> None:
        """What has waited too long for its answer goes again."""
        smsc = self._smsc
        limit, now = smsc.options.resend_after, smsc._reactor.seconds()
        if limit is None or self._account is None:
            return
        expired: list[Delivery] = []
        for sequence, delivery in list(self.unanswered.items()):
            assert delivery.written_at is not None
            if delivery.written_at + limit > now + 1e-6:
                self._after("resend", delivery.written_at + limit - now, self._resend)
                break
            expired.append(self.unanswered.pop(sequence))
            self._late[sequence] = delivery
        while len(self._late) > _MOST_LATE:
            del self._late[next(iter(self._late))]
        smsc.counts["resent"] += len(expired)
        smsc._again(self._account, expired)
        smsc._look()

    def _delivered(self, came: Pdu) -> None:
        smsc = self._smsc
        if smsc._plan:
            fault = smsc.fault(Moment.RESPONSE)
            if fault is not None:
                if fault.kind in {FaultKind.CUT, FaultKind.LOSE, FaultKind.HALF}:
                    self._farewell(b"")
                if fault.kind is not FaultKind.LOSE:
                    return
        delivery = self.unanswered.pop(came.sequence, None)
        if delivery is None:
            delivery = self._late.pop(came.sequence, None)
            if delivery is None:
                smsc.violate("a response that nobody asked for: deliver_sm_resp")
                return
            smsc.counts["late_responses"] += 1
        delivery.answered_at = smsc._reactor.seconds()
        if came.status == 0:
            delivery.acknowledged = True
            smsc.counts["acknowledged"] += 1
        else:
            self._not_stored(delivery, came.status)
        account = self._account
        if account is not None and account.waiting:
            account.pump()

    def _not_stored(self, delivery: Delivery, status: int) -> None:
        smsc = self._smsc
        delivery.statuses.append(status)
        smsc.counts["refused"] += 1
        smsc._event(f"a delivery was answered {smpp.status_name(status)}")
        if self._account is not None:
            smsc._agenda.later(smsc.options.error_resend, smsc._again, self._account, (delivery,))

    def _nacked(self, came: Pdu) -> None:
        delivery = self.unanswered.pop(came.sequence, None)
        self._smsc.counts["nacks"] += 1
        if delivery is not None:
            self._not_stored(delivery, came.status)

    def _ping(self) -> None:
        if self._pinged:
            self._smsc.counts["dead_sessions"] += 1
            self.cut()
            return
        self._pinged = True
        self.say(smpp.enquire_link(self._next_sequence()))
        interval = self._smsc.options.enquire_link
        if interval is not None:
            self._after("enquire", interval, self._ping)

    def _ponged(self, came: Pdu) -> None:
        self._smsc.counts["pongs"] += 1
        self._pinged = False

    _HANDLERS: ClassVar[dict[int, Callable[[_Session, Pdu], None]]] = {
        **dict.fromkeys(_BINDS, _bind),
        _SUBMIT_SM: _submit,
        _DATA_SM: _submit,
        _DELIVER_SM_RESP: _delivered,
        _ENQUIRE_LINK: _enquire,
        _ENQUIRE_LINK_RESP: _ponged,
        _UNBIND: _asked_to_unbind,
        _UNBIND_RESP: _unbound,
        _GENERIC_NACK: _nacked,
    }


_COUNTRY = re.compile(r"\+?86(?=1\d{10}$)")


def _bare(number: str) -> str:
    """A mobile number as people say it: without the country."""
    return number if len(number) == 11 else _COUNTRY.sub("", number)
