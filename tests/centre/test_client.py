"""The client against servers that no HTTP library would make: bytes by hand over loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol

from centre.answers import Answer
from centre.client import ANSWER_MOST, CentreClient, NoAnswer
from models.clock import SystemClock
from tests.centre.bench import on_reactor, reactor, until
from tests.centre.rows import PLAIN


class Script(Protocol):
    """Answers the first bytes of each request as the test says."""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        factory: Any = self.factory
        factory.seen.append(data)
        factory.answer(self.transport)

    def connectionMade(self) -> None:  # noqa: N802
        factory: Any = self.factory
        factory.open.add(self)
        factory.connections += 1

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        factory: Any = self.factory
        factory.open.discard(self)
        if not factory.open:
            gone, factory.gone = factory.gone, Deferred()
            gone.callback(None)


class Server:
    def __init__(self, answer: Callable[[Any], None], timeout: float = 3.0) -> None:
        self.factory = cast(Any, Factory())
        self.factory.protocol = Script
        self.factory.noisy = False
        self.factory.answer = answer
        self.factory.seen = []
        self.factory.open = set()
        self.factory.connections = 0
        self.factory.gone = Deferred()
        self.port: Any = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.client = CentreClient(
            reactor,
            url=f"http://127.0.0.1:{self.port.getHost().port}/api",
            secret="s",
            profile=PLAIN,
            clock=SystemClock(),
            timeout=timeout,
            connections=2,
        )

    async def push(self) -> Answer:
        return await self.client.push(b'{"evaluations":[]}', "key-1")

    async def close(self) -> None:
        await self.client.close()
        await self.port.stopListening()
        if self.factory.open:
            gone = self.factory.gone
            for protocol in self.factory.open:
                protocol.transport.loseConnection()
            await gone


def sends(*parts: bytes, close: bool = False) -> Callable[[Any], None]:
    def answer(transport: Any) -> None:
        transport.writeSequence(parts)
        if close:
            transport.loseConnection()

    return answer


def floods(head: bytes, piece: bytes) -> Callable[[Any], None]:
    """Sends without end, as fast as the client reads."""

    def answer(transport: Any) -> None:
        class Source:
            def resumeProducing(self) -> None:  # noqa: N802
                transport.write(piece)

            def stopProducing(self) -> None:  # noqa: N802
                return None

        transport.write(head)
        transport.registerProducer(Source(), False)

    return answer


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@on_reactor
async def test_a_request_is_signed_and_the_connection_kept() -> None:
    server = Server(sends(OK))
    for _ in range(3):
        assert await server.push() == Answer(200, b"{}")
    assert server.factory.connections == 1
    head = server.factory.seen[0]
    assert head.startswith(b"POST /api/evaluations HTTP/1.1\r\n")
    assert b"Idempotency-Key: key-1\r\n" in head
    assert b"X-Huiyin-Signature: " in head
    assert b"Content-Length: 18\r\n" in head
    assert b"accept-encoding" not in head.lower()
    await server.close()


@on_reactor
async def test_headers_that_matter_are_read() -> None:
    server = Server(sends(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nDate: today\r\nContent-Length: 0\r\n\r\n"))
    assert await server.push() == Answer(503, b"", "7", "today")
    await server.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(sends(close=True), id="closes at once"),
        pytest.param(sends(b"HTTP/1.1 200", close=True), id="half a status line"),
        pytest.param(sends(b"SMTP ready\r\n\r\n"), id="another protocol"),
        pytest.param(sends(b"HTTP/1.1 abc OK\r\n\r\n"), id="status no number"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), id="broken header"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", close=True), id="shorter than said"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), id="negative length"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), id="broken chunk"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nzz\r\n"), id="unknown encoding"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n"), id="long header"),
    ],
)
@on_reactor
async def test_what_is_no_answer_is_told_as_such(answer: Callable[[Any], None]) -> None:
    server = Server(answer)
    with pytest.raises(NoAnswer) as caught:
        await server.push()
    assert "within" not in str(caught.value), "it was known before the time-out"
    await server.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(sends(), id="silent"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\n"), id="no end of headers"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"), id="no end of body"),
        pytest.param(floods(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), id="headers without end"),
        pytest.param(floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="continue without end"),
    ],
)
@on_reactor
async def test_the_time_out_bounds_everything(answer: Callable[[Any], None]) -> None:
    server = Server(answer, timeout=0.3)
    began = reactor.seconds()
    with pytest.raises(NoAnswer, match=r"within 0\.3 s"):
        await server.push()
    assert reactor.seconds() - began < 3
    if server.factory.open:
        await server.factory.gone
    await server.close()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="no length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", id="a great length"),
    ],
)
@on_reactor
async def test_an_answer_without_end_is_cut_off(head: bytes) -> None:
    server = Server(floods(head, b"x" * 65536), timeout=30.0)
    with pytest.raises(NoAnswer, match=str(ANSWER_MOST)):
        await server.push()
    if server.factory.open:
        await server.factory.gone
    await server.close()


@on_reactor
async def test_nobody_there() -> None:
    server = Server(sends(OK))
    await server.close()
    with pytest.raises(NoAnswer, match="connection refused"):
        await server.push()


@on_reactor
async def test_a_redirect_is_not_followed() -> None:
    server = Server(sends(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"))
    assert (await server.push()).status == 302
    assert server.factory.connections == 1
    await server.close()


@on_reactor
async def test_a_connection_that_the_centre_closed_meanwhile_is_made_anew() -> None:
    server = Server(sends(OK, close=True))
    assert await server.push() == Answer(200, b"{}")
    [[kept]] = server.client._pool._connections.values()
    await until(lambda: kept.state == "CONNECTION_LOST")
    assert await server.push() == Answer(200, b"{}")
    assert server.factory.connections == 2
    await server.close()


@on_reactor
async def test_cancelling_hangs_up() -> None:
    server = Server(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"), timeout=30.0)
    pushing = server.client.push(b"{}", "k")
    reactor.callLater(0.1, pushing.cancel)
    with pytest.raises((CancelledError, NoAnswer)):
        await pushing
    if server.factory.open:
        await server.factory.gone
    await server.close()
