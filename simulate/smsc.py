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
* With `keep=0` it neither joins nor keeps what comes, and is light: a peer for measurements.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from models.clock import SHANGHAI, Clock, SystemClock
from simulate.handset import Handset, PartOf, Parts, Split, Written, bare, shown, take_apart, write
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
from simulate.smsc_session import Account, Agenda, Delivery, Session
from sms import pdu as smpp
from sms.pdu import Message

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
_MOST_NUMBERS = 100_000
_SMS_OCTETS = 140
_SMS_SEPTETS = 160


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
        self.on_event = on_event
        self.on_shown = on_shown
        self.on_reply = on_reply
        self._accounts: dict[str, Account] = {}
        self.connections: dict[int, Session] = {}
        self._session_numbers = count(1)
        self.faults: list[_Planned] = []
        self.watches: list[_Watch] = []
        self._last: dict[str, tuple[str, str]] = {}
        self._references: Counter[str] = Counter()
        self._dates: tuple[int, str] = (-1, "")
        self._port: Any = None
        self.reactor: Any = None
        self.agenda: Any = None
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
        self.reactor = reactor
        self.agenda = Agenda(reactor)
        factory = Factory.forProtocol(lambda: Session(self, next(self._session_numbers)))
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
            await self.until(lambda: not self.connections)
            self.agenda.clear()

    # ── for tests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def plan(self, *faults: Fault) -> None:
        """Replaces what is to go wrong from now on; without faults: nothing."""
        self.faults = [_Planned(fault, fault.times, fault.skip) for fault in faults]

    @property
    def planned(self) -> list[Fault]:
        """What is still to go wrong."""
        return [replace(planned.fault, times=planned.left, skip=planned.skip) for planned in self.faults]

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fires when the condition holds; looked at whenever something came or a session ended."""
        watch = _Watch(condition)
        self.watches.append(watch)
        self.look()
        return watch.deferred

    def bound(self, sessions: int = 1) -> Deferred[None]:
        """Fires when so many sessions are bound."""
        return self.until(lambda: len(self.sessions) >= sessions)

    @property
    def sessions(self) -> list[tuple[int, str, str]]:
        """Number, system_id and kind of every bound session."""
        return [
            (session.number, session.system_id, session.kind) for session in self.connections.values() if session.kind
        ]

    @property
    def waiting(self) -> int:
        """deliver_sm that are not acknowledged: without a session, or without an answer."""
        unanswered = sum(len(session.unanswered) for session in self.connections.values())
        return unanswered + sum(len(account.waiting) for account in self._accounts.values())

    def to(self, number: str) -> list[Shown]:
        """What the phone of this number shows, oldest first."""
        number = bare(number)
        return [message for message in self.messages if message.number == number]

    def cut(self, system_id: str | None = None) -> int:
        """Cuts connections (of one system_id) without a word; says how many."""
        cut = [s for s in self.connections.values() if system_id is None or s.system_id == system_id]
        for session in cut:
            session.cut()
        return len(cut)

    async def unbind(self, system_id: str | None = None) -> None:
        """Unbinds sessions (of one system_id) and waits until their connections are closed."""
        ended = [s for s in self.connections.values() if s.kind and (system_id is None or s.system_id == system_id)]
        for session in ended:
            session.unbind()
        await self.until(lambda: not any(session.number in self.connections for session in ended))

    def send_raw(self, data: bytes, system_id: str | None = None) -> int:
        """Writes bytes as they are to every session (of one system_id), bound or not; says to how many."""
        told = [s for s in self.connections.values() if system_id is None or s.system_id == system_id]
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
        number = bare(number)
        self._references[number] += 1
        pieces = write(text, self._references[number], split, coding=coding)
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
        number = bare(number)
        last_to, last_system = self._last.get(number, (None, None))
        to = to if to is not None else last_to
        system_id = system_id or last_system or next((s.system_id for s in self.connections.values() if s.kind), None)
        if to is None or system_id is None:
            raise ValueError("nobody wrote to this number and nobody is bound: say `to` and `system_id`")
        options = self._options
        source, destination = options.number_prefix + number, to.removeprefix(options.strip)
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
        reply = Reply(number, to, text, parts)
        self.replies.append(reply)
        self.counts["replies"] += 1
        self.event(f"a reply of {len(parts)} segments")
        if self.on_reply is not None:
            self.on_reply(reply)
        self._send(self.account(system_id), parts)
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
        self._send(self.account(system_id or submitted.system_id), (delivery,))
        return delivery

    def look(self) -> None:
        for watch in [watch for watch in self.watches if watch.condition()]:
            self.watches.remove(watch)
            watch.deferred.callback(None)

    # ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def account(self, system_id: str) -> Account:
        account = self._accounts.get(system_id)
        if account is None:
            account = self._accounts[system_id] = Account(system_id)
        return account

    def event(self, line: str) -> None:
        if self.on_event is not None:
            self.on_event(line)

    def violate(self, what: str) -> None:
        """Keeps what a client may not do."""
        self.counts["violations"] += 1
        if len(self.violations) < _MOST_VIOLATIONS:
            self.violations.append(what)
        self.event(f"violation: {what}")

    def _send(self, account: Account, deliveries: Iterable[Delivery]) -> None:
        account.waiting.extend(deliveries)
        account.pump()

    def again(self, account: Account, deliveries: Sequence[Delivery], *, at_once: bool = True) -> None:
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
        for planned in self.faults:
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
                    self.faults.remove(planned)
            self.counts["faults"] += 1
            self.event(f"fault: {fault.kind} on {moment}")
            return fault
        return None

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, session: Session, message: Message, sequence: int) -> tuple[str, Callable[[], None] | None]:
        """Takes a message: its id, and what is to be done once the response is written (None: nothing)."""
        options = self._options
        number = self._next_id
        self._next_id = number + 1
        self.counts["submits"] += 1
        message_id = options.ids.write(number)
        submitted = Submitted(
            message, message_id, number, session.system_id, session.number, sequence, self.reactor.seconds()
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
                self.account(submitted.system_id),
                (self._receipt(submitted, "ENROUTE", self._options.receipts, intermediate=True),),
            )
        least, most = self._options.receipt_delay
        if most <= 0:
            self._deliver_receipts(submitted, outcome, timing)
        else:
            delay = least if least == most else self.chance.uniform(least, most)
            self.agenda.later(delay, self._deliver_receipts, submitted, outcome, timing)

    def _deliver_receipts(self, submitted: Submitted, outcome: str, timing: Timing) -> None:
        account = self.account(submitted.system_id)
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
                source=prefix + bare(message.destination) if prefix else message.destination,
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
        number = bare(message.destination)
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
        there = Shown(number, message.source, on_screen, segments, submitted.system_id, self.reactor.seconds())
        self.messages.append(there)
        self.event(f"a message of {segments} segments reached its phone")
        if self.on_shown is not None:
            self.on_shown(there)
        act = self.handset.react(number, on_screen) if self.handset is not None else None
        if act is not None:
            self.agenda.later(act.delay, self._answer, number, act.text, message.source, act.out_of_order)

    def _answer(self, number: str, text: str, to: str, out_of_order: bool) -> None:
        total = len(write(text, 1))
        order = list(range(1, total + 1))
        while out_of_order and total > 1 and order == sorted(order):
            self.chance.shuffle(order)
        self.send_reply(number, text, to, order=order)
