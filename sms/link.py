"""A link to an SMSC: connection, TLS, bind, reconnecting, pace; the session itself is sms/session.py.

Rules kept here:

1. One link is one session both ways, or a transmitter and a receiver; it is up while all of its sessions are bound.
2. Every `submit` gets exactly one `answered`, over whatever happens to the connection.
3. A connection that is lost, refused, cut by its peer or never bound comes back after a wait (sms/pace.py), never at
   once. A bind refused for its name or password waits long, since only a person can mend it. Each reason is told once,
   until another takes its place or the link is up.
4. ESME_RTHROTTLED and ESME_RMSGQFUL slow down the whole link, and so do several refusals running that tell of the
   SMSC's own trouble (sms/refusals.py); it recovers by itself. ESME_RINVBNDSTS to a submit: the SMSC does not know of
   our bind any more, so the session is left and bound anew.
5. What is written in one turn of the reactor goes out together. An SMSC that does not read what we write is not read
   either, and gets no submits, until it does: what is kept for it is bounded.
6. The TLS certificate must be of an authority trusted (`tls_ca`, else the system's) and of the host's name.
7. `stop` takes nothing new, waits for what is under way, unbinds, closes.
8. The log has the link's name, statuses and counts; no number, no text, no password. What an SMSC sends wrongly is
   logged once a kind and connection, and always counted.
9. The owner's callbacks run in the reactor's thread, without a Deferred a message. One that raises is logged; a
   delivery whose callback raised is answered ESME_RSYSERR, for nobody has it.
"""

from __future__ import annotations

import random as _random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import structlog
from OpenSSL.crypto import Error as CertificateError
from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer

from models.futures import Timer
from sms.pace import Backoff, Pace
from sms.pdu import Status, Submit, UnfitField, bind, status_name
from sms.refusals import SLOW_AFTER, Refusal, refusal
from sms.session import (
    Answer,
    Answered,
    Bound,
    Delivered,
    Delivery,
    End,
    Ended,
    Event,
    LinkOptions,
    NoRoom,
    Noticed,
    Role,
    Session,
    State,
    SubmitResult,
)

__all__ = [
    "Answer",
    "Delivery",
    "Link",
    "LinkEvents",
    "LinkOptions",
    "LinkState",
    "LinkStatistics",
    "NoRoom",
    "Submit",
    "SubmitResult",
    "UnfitField",
    "UnusableTrust",
]

log = structlog.get_logger(__name__)

STABLE_SECONDS = 10.0
"""A session bound for less failed, as far as the next wait is concerned."""
KINDS_KEPT = 200
"""Kinds of unasked PDUs, and statuses, that are counted apart: an SMSC can make up four thousand million of each."""
OTHER_STATUS = -1
"""What the statuses beyond those are counted as."""
_KINDS_LOGGED = 20
"""A connection."""
_LINGER_SECONDS = 3.0
"""For what is still to be written when a connection is closed."""
_REMEMBERED = 64
"""Sessions that are over and still asked for what is confirmed."""
_LATER = int(Status.ESME_RSYSERR)
_NEEDS_A_PERSON = frozenset(
    map(int, (Status.ESME_RINVPASWD, Status.ESME_RINVSYSID, Status.ESME_RINVSYSTYP, Status.ESME_RINVBNDSTS))
)
_NOT_BOUND = int(Status.ESME_RINVBNDSTS)
_BUSY = frozenset({SubmitResult.THROTTLED, SubmitResult.QUEUE_FULL})


class UnusableTrust(Exception):
    """`tls_ca` cannot be used; the sentence says what to change."""


class LinkState(StrEnum):
    """What a link is doing."""

    IDLE = "idle"
    """Not started."""
    CONNECTING = "connecting"
    """Connecting, binding, or waiting for the next try."""
    UP = "up"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(slots=True)
class LinkStatistics:
    """What a link has counted since it was made."""

    submits: Counter[SubmitResult] = field(default_factory=Counter)
    """By how they ended."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Statuses other than ESME_ROK that submits were answered with."""
    deliveries: int = 0
    responses: Counter[int] = field(default_factory=Counter)
    """Statuses that deliveries were answered with, by the owner."""
    noticed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What should not have come: kind and command or flaw (`sms.session.Notice`)."""
    slowdowns: int = 0
    connections: int = 0
    """Attempts."""
    binds: int = 0
    """That the SMSC took."""
    refusals: Counter[int] = field(default_factory=Counter)
    """Binds refused, by status."""
    ends: Counter[End] = field(default_factory=Counter)
    """Sessions, by why they ended."""
    bytes_in: int = 0
    bytes_out: int = 0

    def notice(self, noticed: Noticed) -> None:
        """Counts what should not have come."""
        key = (noticed.notice.value, noticed.what)
        if key not in self.noticed and len(self.noticed) >= KINDS_KEPT:
            key = (noticed.notice.value, "other")
        self.noticed[key] += 1

    def status(self, counter: Counter[int], status: int) -> None:
        """Counts a status of the SMSC's."""
        counter[status if status in counter or len(counter) < KINDS_KEPT else OTHER_STATUS] += 1


class LinkEvents(Protocol):
    """The link's owner. Called in the reactor's thread."""

    def up(self, link: Link) -> None:
        """Bound: there may be room."""
        ...

    def down(self, link: Link, reason: str) -> None:
        """It was up and is no more. What was in flight is answered before."""
        ...

    def answered(self, link: Link, token: object, answer: Answer) -> None:
        """Exactly once for every submit."""
        ...

    def delivered(self, link: Link, delivery: Delivery) -> None:
        """To be answered by `link.respond`, now or later."""
        ...

    def room(self, link: Link) -> None:
        """There is room again, after there was none."""
        ...


class Link:
    """See the module.

    Args:
        reactor: Twisted's (IReactorTime, and what endpoints need); `seconds` must be monotonic.
        random: gives a number from 0 to 1.

    Raises:
        UnusableTrust: `tls_ca` cannot be read.
        UnfitField: a sign in `system_id`, `password` or `system_type` that no bind can hold.
    """

    def __init__(
        self,
        options: LinkOptions,
        reactor: Any,
        events: LinkEvents,
        *,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.options = options
        self.name = options.name
        self.state = LinkState.IDLE
        self.problem = ""
        """Why it is not up, in a few words; "" while it is, and before it was started."""
        self.statistics = LinkStatistics()
        self._reactor = reactor
        self._seconds: Callable[[], float] = reactor.seconds
        self._events = events
        self._log = log.bind(link=options.name)
        self._pace = Pace(options.segments_per_second, reactor.seconds())
        names = {"system_id": options.system_id, "password": options.password, "system_type": options.system_type}
        bind(Role.TRANSCEIVER.value, 1, **names)  # so that what cannot be sent is told now
        roles = (Role.TRANSCEIVER,) if options.bind == "transceiver" else (Role.TRANSMITTER, Role.RECEIVER)
        endpoint = _endpoint(options, reactor)
        self._legs = [_Leg(self, role, endpoint, reactor, random) for role in roles]
        self._sender = self._legs[0]
        self._past: deque[Session] = deque(maxlen=_REMEMBERED)
        self._turn: Timer | None = None
        self._in_turn = False
        self._wanted = False
        """The owner has found no room, and is told once there is."""
        self._room_timer: Timer | None = None
        self.trouble = ""
        """The status by which the SMSC tells of trouble of its own, again and again; "" while it takes what it gets."""
        self._in_trouble = 0
        """Submits that met the SMSC's own trouble, since it accepted one."""
        self._quiet: Deferred[None] | None = None
        """Fires when nothing is under way any more; there while stopping."""

    # ── the owner's side ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def in_flight(self) -> int:
        """Submits without an answer."""
        return self._sender.session.in_flight

    @property
    def rate(self) -> float:
        """Segments a second allowed now: the carrier's, or less while the SMSC is too busy."""
        return self._pace.rate

    @property
    def slowed(self) -> bool:
        """It sends slower than it may, because the SMSC was too busy."""
        return self._pace.slowed

    def start(self) -> None:
        """Connects, and from now on keeps the link up.

        Raises:
            RuntimeError: it was started before.
        """
        if self.state is not LinkState.IDLE:
            raise RuntimeError("a link is started once")
        self.state = LinkState.CONNECTING
        for leg in self._legs:
            leg.connect()

    async def stop(self, grace: float) -> None:
        """Ends the link. What is in flight and what the owner has not answered gets `grace` seconds."""
        if self.state in (LinkState.STOPPING, LinkState.STOPPED):
            return
        was_up = self.state is LinkState.UP
        self.state = LinkState.STOPPING
        if self._room_timer is not None:
            self._room_timer.cancel()
            self._room_timer = None
        for leg in self._legs:
            leg.drain()
        self._schedule()
        if self._under_way():
            self._quiet = Deferred()
            timer = self._reactor.callLater(grace, self._be_quiet)
            await self._quiet
            if timer.active():
                timer.cancel()
        for leg in self._legs:
            await leg.close()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self.state = LinkState.STOPPED
        self.problem = "stopped"
        self._log.info("link stopped")
        if was_up:
            self._tell(self._events.down, "stopped")

    def room(self) -> int:
        """How many submits may be handed over now: window, pace and slow-down."""
        if self.state is not LinkState.UP:
            return 0
        room = 0 if self._sender.choked else self._sender.session.room()
        if room > 0:
            room = min(room, self._pace.room(self._seconds()))
        if room <= 0:
            self._want_room()
            return 0
        return room

    def submit(self, submit: Submit, token: object) -> None:
        """Sends one segment; `answered` follows with this token, never before this returns.

        Raises:
            NoRoom: the link is not up, or the window is full.
            UnfitField: a field that no PDU can hold. Nothing follows.
        """
        if self.state is not LinkState.UP:
            raise NoRoom("the link is not up; ask room() first")
        session = self._sender.session
        session.submit(submit, token, self._seconds())
        more = self._pace.take()
        if not self._in_turn:
            self._schedule()
        if not more or session.room() <= 0:
            self._want_room()

    def respond(self, delivery: Delivery, status: int) -> None:
        """Answers a delivery, once; of a session that is gone it is ignored."""
        for leg in self._legs:
            if leg.session.number == delivery.session:
                if leg.session.respond(delivery, status, self._seconds()):
                    self.statistics.responses[status] += 1
                    if not self._in_turn:
                        self._schedule()
                return

    def is_confirmed(self, delivery: Delivery) -> bool:
        """Our answer is known to have reached the SMSC: in the same session it answered something that we wrote later.

        False for what is not answered, and for sessions too long ago.
        """
        for leg in self._legs:
            if leg.session.number == delivery.session:
                return leg.session.is_confirmed(delivery.number)
        for session in self._past:
            if session.number == delivery.session:
                return session.is_confirmed(delivery.number)
        return False

    # ── turns of the reactor ──────────────────────────────────────────────────────────────────────────────────────────

    def _schedule(self) -> None:
        """Sees to it that what the sessions have to write is written in the next turn."""
        if self._turn is None:
            self._turn = self._reactor.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        self.handle(self._sender, [])

    def _want_room(self) -> None:
        if not self._wanted:
            self._wanted = True
            if not self._in_turn:
                self._schedule()

    def handle(self, leg: _Leg, events: list[Event]) -> None:
        """Tells the owner what happened to one of the sessions, then writes what came of it."""
        nested, self._in_turn = self._in_turn, True
        try:
            for event in events:
                self._one(leg, event)
            if nested:
                return
            if self._wanted:
                self._give_room()
            for each in self._legs:
                each.flush()
        finally:
            self._in_turn = nested
        if self._quiet is not None and not self._under_way():
            self._be_quiet()

    def _one(self, leg: _Leg, event: Event) -> None:
        if type(event) is Answered:
            token, answer, submitted_at = event
            result, status, _ = answer
            self.statistics.submits[result] += 1
            if status:
                self.statistics.status(self.statistics.statuses, status)
                self._refused(leg, result, status, submitted_at)
            elif result is SubmitResult.ACCEPTED:
                self._in_trouble, self.trouble = 0, ""
            try:
                self._events.answered(self, token, answer)
            except Exception:  # noqa: BLE001 (the owner's fault must not cost the link its other messages)
                self._log.exception("the answer to a segment was not taken")
        elif type(event) is Delivered:
            delivery = event.delivery
            self.statistics.deliveries += 1
            try:
                self._events.delivered(self, delivery)
            except Exception:  # noqa: BLE001 (as above)
                self._log.exception("a delivery was not taken; the SMSC is told to send it again")
                self.respond(delivery, _LATER)
        elif isinstance(event, Noticed):
            self.statistics.notice(event)
            leg.noticed(event)
        elif isinstance(event, Bound):
            self.statistics.binds += 1
            leg.bound()
            self._check_up()
        elif isinstance(event, Ended):
            self.statistics.ends[event.end] += 1
            leg.ended(event)

    def _tell(self, function: Callable[..., None], *args: object) -> None:
        try:
            function(self, *args)
        except Exception:  # noqa: BLE001 (as above)
            self._log.exception("a callback of the link's owner failed")

    def _refused(self, leg: _Leg, result: SubmitResult, status: int, submitted_at: float) -> None:
        """Rule 4."""
        if result in _BUSY:
            self._slow(submitted_at, status)
        elif result is not SubmitResult.REJECTED:
            return
        elif refusal(status) is Refusal.FOR_NOW:
            self._in_trouble += 1
            if self._in_trouble >= SLOW_AFTER:
                self.trouble = status_name(status)
                self._slow(submitted_at, status)
        elif status == _NOT_BOUND and self.state is LinkState.UP:
            leg.bind_anew("the SMSC does not know of our bind any more")

    def _slow(self, submitted_at: float, status: int) -> None:
        if self._pace.slow(submitted_at, self._seconds()):
            self.statistics.slowdowns += 1
            self._log.warning(
                "the SMSC is too busy; the link slows down",
                status=status_name(status),
                segments_per_second=round(self._pace.rate, 1),
            )

    def _give_room(self) -> None:
        """Tells the owner of room, or sees to it that the pace does when it has some."""
        if self.state is not LinkState.UP:
            return
        if self._room():
            self._wanted = False
            self._tell(self._events.room)
        if self._wanted and self._room_timer is None and not self._sender.choked and self._sender.session.room() > 0:
            wait = self._pace.wait(self._seconds())
            self._room_timer = self._reactor.callLater(wait, self._pace_has_room)

    def _room(self) -> bool:
        sender = self._sender
        return not sender.choked and sender.session.room() > 0 and self._pace.room(self._seconds()) > 0

    def _pace_has_room(self) -> None:
        self._room_timer = None
        self.handle(self._sender, [])

    # ── up and down ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_up(self) -> None:
        if self.state is LinkState.CONNECTING and all(leg.session.state is State.BOUND for leg in self._legs):
            self.state = LinkState.UP
            self.problem = ""
            self._in_trouble, self.trouble = 0, ""
            self._wanted = False
            self._log.info("link up")
            self._tell(self._events.up)

    def session_ended(self, session: Session, reason: str, *, hopeless: bool = False) -> None:
        """A leg is down; whatever the reason, the leg comes back by itself."""
        self._past.append(session)
        was_up = self.state is LinkState.UP
        if not was_up and self.state is not LinkState.CONNECTING:
            return
        self.state = LinkState.CONNECTING
        if reason == self.problem:
            self._log.debug("link still down", reason=reason)
        elif hopeless:
            self._log.error("the SMSC refuses the bind; check system_id, password and system_type", reason=reason)
        else:
            self._log.warning("link down", reason=reason)
        self.problem = reason
        if was_up:
            self._tell(self._events.down, reason)

    def _under_way(self) -> bool:
        return any(leg.busy for leg in self._legs)

    def _be_quiet(self) -> None:
        quiet, self._quiet = self._quiet, None
        if quiet is not None:
            quiet.callback(None)


class _Leg:
    """One of a link's sessions and its connection, again and again."""

    def __init__(self, link: Link, role: Role, endpoint: Any, reactor: Any, random: Callable[[], float]) -> None:
        options = link.options
        self._link = link
        self._options = options
        self._role = role
        self._endpoint = endpoint
        self._reactor = reactor
        self._seconds: Callable[[], float] = reactor.seconds
        self._backoff = Backoff(options.reconnect_first, options.reconnect_most, random)
        self._log = log.bind(link=options.name, role=role.name.lower())
        self.session = Session(options, role)
        self._wire: _Wire | None = None
        self._connecting: Deferred[Any] | None = None
        self._due = 0.0
        self._bound_at: float | None = None
        self._timer: Timer | None = None
        """The next try, or the next tick of the session."""
        times = (options.enquire_link_seconds, options.response_seconds, options.bind_seconds, options.unbind_seconds)
        self._tick_seconds = min(0.5, min(*times, options.confirm_seconds) / 4)
        self._told: set[Noticed] = set()
        self._reason = ""
        self._leaving = ""
        """Why we unbind, where that is not the end."""
        self._hopeless = False
        self._closed: Deferred[None] | None = None
        self.choked = False
        """The SMSC does not read what we write."""

    # ── connecting ────────────────────────────────────────────────────────────────────────────────────────────────────

    def connect(self) -> None:
        self._timer = None
        self._link.statistics.connections += 1
        self._due = self._seconds() + self._options.bind_seconds
        factory = Factory.forProtocol(lambda: _Wire(self, tls=self._options.tls))
        factory.noisy = False
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._not_connected)

    def _connected(self, wire: object) -> None:
        self._connecting = None

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if self._link.state is LinkState.CONNECTING:
            cause = "cancelled" if isinstance(failure.value, CancelledError) else _cause(failure)
            self._again(f"no connection: {cause}")

    def _again(self, reason: str, *, hopeless: bool = False) -> None:
        """This try is over; the next one comes after a wait."""
        session, self.session = self.session, Session(self._options, self._role)
        self._link.session_ended(session, reason, hopeless=hopeless)
        if self._link.state is LinkState.CONNECTING:
            wait = self._backoff.hopeless() if hopeless else self._backoff.failed()
            self._timer = self._reactor.callLater(wait, self.connect)

    # ── a connection ──────────────────────────────────────────────────────────────────────────────────────────────────

    def made(self, wire: _Wire) -> None:
        """The connection is there (with TLS, the handshake is still to come)."""
        self._wire = wire
        self._reason = ""
        self._leaving = ""
        self._hopeless = False
        self._bound_at = None
        self._told.clear()
        self.choked = False
        if self._link.state is not LinkState.CONNECTING:
            wire.close()
            return
        self.session.start(self._seconds(), self._due)
        self._tick_later()
        self.flush()

    def received(self, data: bytes) -> None:
        link = self._link
        link.statistics.bytes_in += len(data)
        link.handle(self, self.session.receive(data, self._seconds()))

    def flush(self) -> None:
        """Writes what the session has to say."""
        wire = self._wire
        if wire is not None:
            data = self.session.take()
            if data:
                self._link.statistics.bytes_out += len(data)
                wire.write(data)

    def choke(self, choked: bool) -> None:
        """The SMSC has stopped, or begun again, to read what we write."""
        self.choked = choked
        if not choked:
            self._link.handle(self, [])

    def lost(self, failure: Failure) -> None:
        """The connection is gone."""
        session = self.session
        self._wire = None
        self._stop_timer()
        self._link.handle(self, session.lost())
        reason = self._reason or _cause(failure)
        if self._bound_at is not None and self._seconds() - self._bound_at >= STABLE_SECONDS:
            self._backoff.succeeded()
        self._again(reason, hopeless=self._hopeless)
        closed, self._closed = self._closed, None
        if closed is not None:
            closed.callback(None)

    def _tick_later(self) -> None:
        self._timer = self._reactor.callLater(self._tick_seconds, self._tick)

    def _tick(self) -> None:
        self._tick_later()
        self._link.handle(self, self.session.tick(self._seconds()))

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # ── events of the session ─────────────────────────────────────────────────────────────────────────────────────────

    def bound(self) -> None:
        self._bound_at = self._seconds()
        if self._link.state is not LinkState.CONNECTING:
            self.session.drain()

    def bind_anew(self, reason: str) -> None:
        """Leaves the session; the next one comes after the usual wait."""
        if self.session.state is State.BOUND:
            self._leaving = reason
            self._link.handle(self, self.session.leave(self._seconds()))

    def noticed(self, noticed: Noticed) -> None:
        """Logs what should not have come, once a kind and connection: an SMSC may send it a thousand times a second."""
        if noticed not in self._told and len(self._told) < _KINDS_LOGGED:
            self._told.add(noticed)
            self._log.warning(
                "the SMSC sent what it should not; answered, counted and passed over",
                kind=noticed.notice.value,
                what=noticed.what,
            )

    def ended(self, event: Ended) -> None:
        """The session is over: writes its last words and closes the connection."""
        if event.end is End.REFUSED:
            self._link.statistics.status(self._link.statistics.refusals, event.status)
            self._reason = f"bind refused: {status_name(event.status)}"
            self._hopeless = event.status in _NEEDS_A_PERSON
        elif event.end is not End.LOST:
            self._reason = self._leaving or event.end.value
        self.flush()
        if self._wire is not None:
            self._wire.close()

    # ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def busy(self) -> bool:
        """Something is under way that a stop waits for."""
        return self._wire is not None and bool(self.session.in_flight or self.session.unanswered)

    def drain(self) -> None:
        """Takes nothing new; a try to connect is given up."""
        if self._wire is None:
            self._stop_timer()
            if self._connecting is not None:
                self._connecting.cancel()
        else:
            self.session.drain()

    async def close(self) -> None:
        """Unbinds and closes; returns once the connection is gone."""
        if self._wire is not None:
            self._closed = Deferred()
            self._link.handle(self, self.session.leave(self._seconds()))
            if self._closed is not None:
                await self._closed
        self._stop_timer()


@implementer(IPushProducer, IHandshakeListener)
class _Wire(TwistedProtocol):
    """The connection of a leg."""

    transport: Any

    def __init__(self, leg: _Leg, *, tls: bool) -> None:
        self._leg = leg
        self._shaking_hands = tls
        self._closing: Timer | None = None

    def connectionMade(self) -> None:  # noqa: N802
        if (no_delay := getattr(self.transport, "setTcpNoDelay", None)) is not None:
            no_delay(True)
        self.transport.registerProducer(self, True)
        self._leg.made(self)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._leg.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._leg.lost(reason)

    def handshakeCompleted(self) -> None:  # noqa: N802
        self._shaking_hands = False

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def close(self) -> None:
        """Closes once everything is written, and after a while in any case."""
        if self._closing is None:
            self._closing = self._leg._reactor.callLater(_LINGER_SECONDS, self.transport.abortConnection)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    # What the transport says of its own buffer (IPushProducer): stop writing, go on.

    def pauseProducing(self) -> None:  # noqa: N802
        if not self._shaking_hands:  # TLS says this too when it has to read before it can write
            self.transport.pauseProducing()
        self._leg.choke(True)

    def resumeProducing(self) -> None:  # noqa: N802
        self.transport.resumeProducing()
        self._leg.choke(False)

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is gone; `connectionLost` says so too."""


def _cause(failure: Failure) -> str:
    """In a few words why there is no connection; nothing that was sent."""
    error = failure.value
    if isinstance(error, TlsError):
        reasons = [str(part[-1]) for part in error.args[0] if part] if error.args and error.args[0] else []
        return f"TLS: {'; '.join(reasons) or 'handshake failed'}"
    if isinstance(error, VerificationError):
        return "TLS: the certificate is for another name; set tls_name where that is right"
    if isinstance(error, ConnectionDone):
        return "closed by the SMSC"
    return f"{type(error).__name__}"


def _endpoint(options: LinkOptions, reactor: Any) -> Any:
    tcp = HostnameEndpoint(reactor, options.host, options.port, timeout=options.bind_seconds)
    if not options.tls:
        return tcp
    if options.tls_ca is None:
        trust: Any = platformTrust()  # type: ignore[no-untyped-call]
    else:
        try:
            pem = options.tls_ca.read_bytes()
            blocks = [block + _END for block in pem.split(_END)[:-1]]
            authorities = [Certificate.loadPEM(block) for block in blocks]
        except (OSError, ValueError, CertificateError) as error:
            raise UnusableTrust(f"tls_ca of link {options.name!r} cannot be read: {error}") from error
        if not authorities:
            raise UnusableTrust(f"tls_ca of link {options.name!r} holds no certificate; it is to be a PEM file")
        trust = trustRootFromCertificates(authorities)  # type: ignore[no-untyped-call]
    return wrapClientTLS(optionsForClientTLS(options.tls_name or options.host, trustRoot=trust), tcp)


_END = b"-----END CERTIFICATE-----"
