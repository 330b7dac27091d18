"""An SMSC of raw sockets that does what a test tells it, and an owner of a link that notes what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, cast

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from sms import pdu
from sms.link import Answer, Delivery, Link, LinkOptions
from sms.pdu import Command, Pdu, Submit

P = ParamSpec("P")

MESSAGE = Submit("1069012345", "8613900000001", "您好".encode("utf-16-be"), 8, registered_delivery=1)
PATIENCE = 10.0
"""Seconds that a test waits for something that must happen."""
LAST_WORD = 0x7FFF_FFF0
"""The sequence number of the enquire_link with which a test finds out that everything before it has been read."""

OPTIONS = LinkOptions(
    name="test",
    host="127.0.0.1",
    port=0,
    system_id="huiyin",
    password="a-secret-that-no-log-shows",
    window=10,
    segments_per_second=0,
    enquire_link_seconds=20.0,
    response_seconds=20.0,
    bind_seconds=5.0,
    reconnect_first=0.02,
    reconnect_most=0.05,
    unbind_seconds=2.0,
    confirm_seconds=20.0,
)


def on_reactor(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Any]:
    """A test that runs on Twisted's reactor and awaits Deferreds."""
    return cast("Callable[P, Any]", pytest_twisted.ensureDeferred(test))


def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


class Waits:
    """Deferreds that fire as soon as a condition holds; conditions are looked at whenever something happened."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        self._waiting.append((condition, deferred))
        self.look()
        return deferred.addTimeout(PATIENCE, reactor())

    def look(self) -> None:
        for entry in [entry for entry in self._waiting if entry[0]()]:
            self._waiting.remove(entry)
            if not entry[1].called:
                entry[1].callback(None)


class Peer(TwistedProtocol):
    """One connection of the SMSC. What the test does not answer by hand is answered as `Smsc` says."""

    transport: Any

    def __init__(self, smsc: Smsc) -> None:
        self.smsc = smsc
        self.reader = pdu.Reader(1 << 20)
        self.received: list[Pdu] = []
        """Everything that came, in order."""
        self.bound = False
        self.closed = False
        self.bind: pdu.Bind | None = None

    def connectionMade(self) -> None:  # noqa: N802
        self.smsc.peers.append(self)
        self.smsc.waits.look()

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: N802
        self.closed = True
        self.smsc.waits.look()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        for came in self.reader.feed(data):
            self.received.append(came)
            self.smsc.answer(self, came)
        self.smsc.waits.look()

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def of(self, *commands: int) -> list[Pdu]:
        """What came of these commands."""
        return [came for came in self.received if came.command in commands]

    def submits(self) -> list[Pdu]:
        return self.of(Command.SUBMIT_SM)

    async def everything_read(self) -> None:
        """Returns once the link has read all that was sent, and what it answered has come; or it has closed."""
        self.send(pdu.enquire_link(LAST_WORD))
        asked = len([came for came in self.received if self._last_word(came)]) + 1
        await self.smsc.waits.until(
            lambda: self.closed or len([came for came in self.received if self._last_word(came)]) >= asked
        )

    @staticmethod
    def _last_word(came: Pdu) -> bool:
        return came.command == Command.ENQUIRE_LINK_RESP and came.sequence == LAST_WORD


class Smsc(Factory):
    """Listens on loopback.

    `bind_status`: with what binds are answered, None for not at all. `submit_status` alike; submits get ids 1, 2, 3 …
    """

    noisy = False

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.waits = Waits()
        self.bind_status: int | None = 0
        self.submit_status: int | None = None
        self.enquiries = True
        self.unbinds = True
        self._ids = 0
        self._port: Any = None

    def listen(self, context: Any = None) -> int:
        """Opens a port, with TLS where there is a context, and gives its number."""
        listen = reactor().listenTCP if context is None else reactor().listenSSL
        arguments = (0, self) if context is None else (0, self, context)
        self._port = listen(*arguments, interface="127.0.0.1")
        return int(self._port.getHost().port)

    def buildProtocol(self, addr: Any) -> Peer:  # noqa: N802
        return Peer(self)

    def answer(self, peer: Peer, came: Pdu) -> None:
        command = came.command
        if command in (Command.BIND_TRANSCEIVER, Command.BIND_TRANSMITTER, Command.BIND_RECEIVER):
            peer.bind = pdu.read_bind(came.body)
            if self.bind_status is not None:
                peer.send(pdu.bind_response(command, came.sequence, self.bind_status, "smsc"))
                peer.bound = not self.bind_status
        elif command == Command.ENQUIRE_LINK and self.enquiries:
            peer.send(pdu.enquire_link_resp(came.sequence))
        elif command == Command.UNBIND and self.unbinds:
            peer.send(pdu.unbind_resp(came.sequence))
        elif command == Command.SUBMIT_SM and self.submit_status is not None:
            self._ids += 1
            peer.send(
                pdu.submit_sm_resp(came.sequence, self.submit_status, "" if self.submit_status else f"{self._ids}")
            )

    async def peer(self, number: int = 1) -> Peer:
        """The connection of that number, from 1, once it is bound."""
        await self.waits.until(lambda: len(self.peers) >= number and self.peers[number - 1].bound)
        return self.peers[number - 1]

    async def close(self) -> None:
        if self._port is not None:
            await self._port.stopListening()
        for peer in self.peers:
            if not peer.closed:
                peer.transport.abortConnection()
        await self.waits.until(lambda: all(peer.closed for peer in self.peers))


class Owner:
    """Notes what a link tells. `respond`: the status that deliveries are answered with at once, None for not at all."""

    def __init__(self) -> None:
        self.waits = Waits()
        self.ups = 0
        self.downs: list[str] = []
        self.answers: list[tuple[object, Answer]] = []
        self.deliveries: list[Delivery] = []
        self.rooms = 0
        self.respond: int | None = 0
        self.on_room: Callable[[Link], None] | None = None
        self.order: list[str] = []

    def up(self, link: Link) -> None:
        self.ups += 1
        self._note("up")

    def down(self, link: Link, reason: str) -> None:
        self.downs.append(reason)
        self._note("down")

    def answered(self, link: Link, token: object, answer: Answer) -> None:
        self.answers.append((token, answer))
        self._note(f"answered {token}")

    def delivered(self, link: Link, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self.respond is not None:
            link.respond(delivery, self.respond)
        self._note("delivered")

    def room(self, link: Link) -> None:
        self.rooms += 1
        if self.on_room is not None:
            self.on_room(link)
        self._note("room")

    def _note(self, what: str) -> None:
        self.order.append(what)
        self.waits.look()


@dataclass(frozen=True, slots=True)
class Line:
    """A link on an SMSC, and who owns it."""

    link: Link
    owner: Owner
    smsc: Smsc

    async def up(self, number: int = 1) -> Peer:
        """Waits until the link is up, for the `number`th time over all connections, and gives the last connection."""
        await self.owner.waits.until(lambda: self.owner.ups >= number)
        return self.smsc.peers[-1]


@asynccontextmanager
async def line(owner: Owner | None = None, smsc: Smsc | None = None, **changes: Any) -> AsyncIterator[Line]:
    """A started link on an SMSC of its own; both are gone at the end."""
    owner = owner or Owner()
    smsc = smsc or Smsc()
    port = smsc.listen()
    link = Link(replace(OPTIONS, port=port, **changes), reactor(), owner)
    link.start()
    try:
        yield Line(link, owner, smsc)
    finally:
        await link.stop(0)
        await smsc.close()


async def passed(seconds: float) -> None:
    """Returns after this time, where the rule tested is that nothing happens until then."""
    deferred: Deferred[None] = Deferred()
    reactor().callLater(seconds, deferred.callback, None)
    await deferred
