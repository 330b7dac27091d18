"""A peer that sends bytes as it is told, for what no Asterisk would send."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from tests.ivr.serving import reactor


class Raw(Protocol):
    """Collects what comes; `closed` fires with all of it when the connection is over, `until` when something came."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.closed: Deferred[bytes] = Deferred()
        self._waiting: list[tuple[bytes, Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.received += data
        for part, deferred in list(self._waiting):
            if part in self.received:
                self._waiting.remove((part, deferred))
                deferred.callback(self.received)

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: N802
        waiting, self._waiting = self._waiting, []
        for part, deferred in waiting:
            deferred.errback(AssertionError(f"closed before {part!r} came: …{self.received[-200:]!r}"))
        self.closed.callback(self.received)

    def until(self, part: bytes) -> Deferred[bytes]:
        """Fires once this has been received since the last `send`."""
        deferred: Deferred[bytes] = Deferred()
        if part in self.received:
            deferred.callback(self.received)
        else:
            self._waiting.append((part, deferred))
        return deferred

    def send(self, data: bytes) -> None:
        self.received = b""
        self.transport.write(data)


async def connect(port: int, host: str = "127.0.0.1") -> Raw:
    endpoint = TCP4ClientEndpoint(reactor(), host, port)
    connecting: Deferred[Any] = connectProtocol(endpoint, Raw())  # type: ignore[no-untyped-call]
    peer = await connecting
    assert isinstance(peer, Raw)
    return peer
