"""One session of the stand-in SMSC: what a client sends and is answered, what it gets and must answer.

The session speaks SMPP and keeps what is unanswered; what is taken, kept and delivered is the carrier's matter
(`simulate/smsc.py`), what goes wrong the plan's (`simulate/smsc_options.py`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any, ClassVar, Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from simulate.handset import bare
from simulate.smsc_options import Fault, FaultKind, Moment, SmscOptions
from sms import pdu as smpp
from sms.pdu import Command, Message, Pdu, Reader, Status, Unreadable

__all__ = ["Account", "Agenda", "Carrier", "Delivery", "Session"]

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

_MOST_LATE = 1000
_STRANGE = 0x0001_4242
_JUNK = bytes.fromhex("7fffffff0000000400000000000000ff") + b"GET / HTTP/1.0\r\n\r\n"


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


class Agenda:
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


class Account:
    """One system_id: its sessions that receive, and what waits for them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions: list[Session] = []
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


class Carrier(Protocol):
    """What a session needs of its SMSC."""

    connections: dict[int, Session]
    faults: list[Any]
    """What is planned; empty: nothing goes wrong."""
    watches: list[Any]
    """Who waits for something to happen."""
    counts: Counter[str]
    reactor: Any
    agenda: Any

    @property
    def options(self) -> SmscOptions: ...
    def account(self, system_id: str) -> Account: ...
    def again(self, account: Account, deliveries: Sequence[Delivery]) -> None: ...
    def fault(self, moment: Moment, number: str | None = None) -> Fault | None: ...
    def take(self, session: Session, message: Message, sequence: int) -> tuple[str, Callable[[], None] | None]: ...
    def violate(self, what: str) -> None: ...
    def event(self, line: str) -> None: ...
    def look(self) -> None: ...


class Session(TwistedProtocol):
    """One connection of a client."""

    transport: Any

    def __init__(self, smsc: Carrier, number: int) -> None:
        self.number = number
        self.system_id = ""
        self.kind = ""
        self.unanswered: dict[int, Delivery] = {}
        self._smsc = smsc
        self._reader = Reader(smsc.options.max_pdu)
        self._account: Account | None = None
        self._sends = self._receives = False
        self._sequence = 0
        self._unbinding = self._over = self._pinged = False
        self._late: dict[int, Delivery] = {}
        self._gathered: list[bytes] | None = None
        self._timers: dict[str, Any] = {}

    # ── the connection ────────────────────────────────────────────────────────────────────────────────────────────────

    def connectionMade(self) -> None:  # noqa: N802
        smsc = self._smsc
        smsc.connections[self.number] = self
        smsc.counts["connections"] += 1
        self.transport.setTcpNoDelay(True)
        self._after("bind", smsc.options.bind_within, self._never_bound)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        gathered: list[bytes] = []
        self._gathered = gathered
        submit = self._submit if self._sends and not self._smsc.faults else None
        for came in self._reader.feed(data):
            if self._over:
                break
            if submit is not None and came.command == _SUBMIT_SM:
                submit(came)
            else:
                self._came(came)
                submit = self._submit if self._sends and not self._smsc.faults else None
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
        if self._smsc.watches:
            self._smsc.look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        smsc = self._smsc
        self._over = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        smsc.connections.pop(self.number, None)
        smsc.event(f"session {self.number} ended")
        if self._account is not None:
            if self in self._account.sessions:
                self._account.sessions.remove(self)
            unanswered = list(self.unanswered.values())
            self.unanswered.clear()
            smsc.counts["resent"] += len(unanswered)
            smsc.again(self._account, unanswered)
        self.kind = ""
        smsc.look()

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
        self._timers[name] = self._smsc.reactor.callLater(seconds, run)

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
        fault = smsc.fault(Moment.BIND) if smsc.faults else None
        if self.is_bound():
            self.say(smpp.bind_response(came.command, came.sequence, _BOUND_ALREADY))
            return
        options = smsc.options
        if options.password is not None and asked.password != options.password:
            self._refuse_bind(came, _WRONG_PASSWORD)
            return
        account = smsc.account(asked.system_id)
        others = sum(session.system_id == asked.system_id for session in smsc.connections.values() if session.kind)
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
            smsc.event(f"session {self.number} bound as {self.kind}")
            if options.enquire_link is not None:
                self._after("enquire", options.enquire_link, self._ping)
            if self._receives:
                account.sessions.append(self)
                account.pump()

    def _refuse_bind(self, came: Pdu, status: int) -> None:
        self._smsc.counts["binds_refused"] += 1
        self._smsc.event(f"session {self.number}: bind refused, {smpp.status_name(status)}")
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
        fault = smsc.fault(Moment.SUBMIT, bare(message.destination)) if smsc.faults else None
        options = smsc.options
        account = self._account
        assert account is not None
        if (
            options.rate is not None
            and (fault is None or fault.kind.takes)
            and not account.admits(options.rate, smsc.reactor.seconds())
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
        fault = self._smsc.fault(Moment.ENQUIRE) if self._smsc.faults else None
        self._answer(came, fault, lambda: smpp.enquire_link_resp(came.sequence))

    def _asked_to_unbind(self, came: Pdu) -> None:
        smsc = self._smsc
        fault = smsc.fault(Moment.UNBIND) if smsc.faults else None
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
            self._smsc.agenda.later(seconds, self.say, answer)
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
        delivery.written_at = smsc.reactor.seconds()
        smsc.counts["deliveries"] += 1
        self.say(smpp.pdu(_DELIVER_SM, 0, sequence, delivery.body))
        if "resend" not in self._timers and smsc.options.resend_after is not None:
            self._after("resend", smsc.options.resend_after, self._resend)

    def _resend(self) -> None:
        """What has waited too long for its answer goes again."""
        smsc = self._smsc
        limit, now = smsc.options.resend_after, smsc.reactor.seconds()
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
        smsc.again(self._account, expired)
        smsc.look()

    def _delivered(self, came: Pdu) -> None:
        smsc = self._smsc
        if smsc.faults:
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
        delivery.answered_at = smsc.reactor.seconds()
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
        smsc.event(f"a delivery was answered {smpp.status_name(status)}")
        if self._account is not None:
            smsc.agenda.later(smsc.options.error_resend, smsc.again, self._account, (delivery,))

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

    _HANDLERS: ClassVar[dict[int, Callable[[Session, Pdu], None]]] = {
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
