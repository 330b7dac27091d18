"""A client of an SMSC that does nothing by itself: what it sends and answers, the test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from simulate.smsc import StandInSmsc
from sms import pdu as smpp
from sms.pdu import Command, Message, Pdu, Reader, Submit

reactor: Any = _reactor

__all__ = ["Esme", "connect", "submit"]


class Esme(Protocol):
    """Keeps what comes in `came`; answers deliver_sm with `answers` (None: not at all) and enquire_link."""

    transport: Any

    def __init__(self) -> None:
        self.came: list[Pdu] = []
        self.answers: int | None = 0
        self.answers_enquiries = True
        self.closed: Deferred[None] = Deferred()
        self.over = False
        self._reader = Reader(1 << 20)
        self._sequence = 0
        self._waits: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        for pdu in self._reader.feed(data):
            self.came.append(pdu)
            if pdu.command == Command.DELIVER_SM and self.answers is not None:
                self.transport.write(smpp.deliver_sm_resp(pdu.sequence, self.answers))
            elif pdu.command == Command.ENQUIRE_LINK and self.answers_enquiries:
                self.transport.write(smpp.enquire_link_resp(pdu.sequence))
            elif pdu.command == Command.UNBIND:
                self.transport.write(smpp.unbind_resp(pdu.sequence))
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        self.over = True
        self.closed.callback(None)
        self._look()

    def _look(self) -> None:
        for wait in [wait for wait in self._waits if wait[0]()]:
            self._waits.remove(wait)
            wait[1].callback(None)

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fires when the condition holds; looked at whenever something came."""
        deferred: Deferred[None] = Deferred()
        self._waits.append((condition, deferred))
        self._look()
        return deferred

    def sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    async def bind(self, system_id: str = "huiyin", password: str = "", command: int = Command.BIND_TRANSCEIVER) -> int:
        """Binds and says with which status."""
        sequence = self.sequence()
        self.send(smpp.bind(command, sequence, system_id=system_id, password=password))
        return (await self.answer(sequence)).status

    async def answer(self, sequence: int) -> Pdu:
        """The response to what went under this sequence number."""

        def found() -> list[Pdu]:
            return [pdu for pdu in self.came if pdu.command & smpp.RESPONSE and pdu.sequence == sequence]

        await self.until(lambda: bool(found()))
        return found()[0]

    async def submit(self, message: Submit) -> Pdu:
        """Submits and awaits the response."""
        sequence = self.sequence()
        self.send(smpp.submit_sm(sequence, message))
        return await self.answer(sequence)

    @property
    def delivered(self) -> list[Message]:
        """Every deliver_sm so far."""
        return [smpp.read_message(pdu.body) for pdu in self.came if pdu.command == Command.DELIVER_SM]

    async def deliveries(self, count: int) -> list[Message]:
        """So many deliver_sm."""
        await self.until(lambda: len(self.delivered) >= count)
        return self.delivered

    async def close(self) -> None:
        if not self.over:
            self.transport.abortConnection()
            await self.closed


async def connect(smsc: StandInSmsc) -> Esme:
    """A connection to it."""
    client = Esme()
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", smsc.port), client)  # type: ignore[no-untyped-call]
    return client


def submit(text: str = "请评价", number: str = "13800000001", **changes: Any) -> Submit:
    """An SMS of one segment with a receipt asked for."""
    fields: dict[str, Any] = {
        "source": "10691234501",
        "destination": number,
        "short_message": text.encode("utf-16-be"),
        "data_coding": 8,
        "registered_delivery": 1,
    }
    return Submit(**{**fields, **changes})
