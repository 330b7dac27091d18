"""HTTP to the centre: one signed request, one bounded answer.

Rules kept here:

* A request is over after `timeout` seconds of monotonic time, whatever the centre does: accepts and stays silent, sends
  its headers a byte at a time, or a body without end. An answer above `ANSWER_MOST` is no answer.
* No redirects (a POST would become a GET), no cookies, no compressed answers (a small one can be made to fill the
  memory), no second try of its own: retrying is the batch's business.
* Connections are kept open between requests.
* An error names its kind; it holds nothing of what was sent or received.

This is Twisted's own Agent; treq would add the redirects, cookies and decompression that must not be.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Protocol
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from centre.answers import Answer
from centre.signing import headers
from config.profile import Profile
from models.clock import Clock
from models.push_faults import PushFault

__all__ = ["ANSWER_MOST", "CentreClient", "NoAnswer", "Reactor", "Timer"]

ANSWER_MOST = 4 * 1024 * 1024
"""Bytes. A batch's results come to some 30 KiB, a day's ids of a large hotline to 1 MiB."""

KEPT = 60
"""Seconds that an idle connection is kept; firewalls forget one after some minutes without telling."""


class Timer(Protocol):
    """What `callLater` gives (twisted's IDelayedCall)."""

    def active(self) -> bool: ...

    def cancel(self) -> None: ...


class Reactor(Protocol):
    """The part of Twisted's reactor that the push uses. `seconds` is monotonic (the composition root sees to it)."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> Timer: ...  # noqa: N802

    def callFromThread(self, callable: Any, *args: Any, **kwargs: Any) -> None: ...  # noqa: N802


class NoAnswer(Exception):
    """The centre gave no answer that can be read."""


class CentreClient:
    """Signed requests to one centre.

    Args:
        timeout: seconds for a whole request, from connecting to the answer's last byte.
        connections: how many are kept open.
    """

    def __init__(
        self,
        reactor: Reactor,
        *,
        url: str,
        secret: str,
        profile: Profile,
        clock: Clock,
        timeout: float,
        connections: int,
    ) -> None:
        self._reactor = reactor
        self._base = url.rstrip("/")
        self._secret = secret
        self._profile = profile
        self._clock = clock
        self._timeout = timeout
        self._pool = HTTPConnectionPool(reactor, persistent=True)  # type: ignore[no-untyped-call]
        self._pool.maxPersistentPerHost = connections
        self._pool.retryAutomatically = False
        self._pool.cachedConnectionTimeout = KEPT
        self._agent = Agent(reactor, pool=self._pool, connectTimeout=timeout)  # type: ignore[no-untyped-call]
        self._post_address = (self._base + profile.request.path).encode()

    def push(self, body: bytes, key: str) -> Deferred[Answer]:
        """Posts a stored body under its Idempotency-Key, with a timestamp and signature of now. Cancelling ends it.

        Raises (from the Deferred):
            NoAnswer: with why.
            CancelledError: it was cancelled; the centre may have it all the same.
        """
        return Deferred.fromCoroutine(self._request(b"POST", self._post_address, body, key))

    def held_on(self, day: date) -> Deferred[Answer]:
        """Asks which evaluations of a day the centre holds. Raises as `push`."""
        rule = self._profile.reconcile
        address = f"{self._base}{rule.path}?{urlencode({rule.date: day.isoformat()})}".encode()
        return Deferred.fromCoroutine(self._request(b"GET", address, b"", None))

    def close(self) -> Deferred[None]:
        """Closes the idle connections."""
        closing: Deferred[None] = self._pool.closeCachedConnections()  # type: ignore[no-untyped-call]
        return closing

    async def _request(self, method: bytes, address: bytes, body: bytes, key: str | None) -> Answer:
        timestamp = int(self._clock.now().timestamp())
        fields = {
            "Content-Type": "application/json; charset=utf-8",
            "Accept": "application/json",
            "User-Agent": "Huiyin",
            **headers(self._secret, timestamp, body, key),
        }
        if method == b"GET":
            del fields["Content-Type"]
        sending: Any = self._agent.request(
            method,
            address,
            Headers({name: [value] for name, value in fields.items()}),
            _Bytes(body) if body else None,
        )
        waiting: list[Deferred[Any]] = [sending]
        late: list[bool] = []

        def expire() -> None:
            late.append(True)
            waiting[0].cancel()

        timer = self._reactor.callLater(self._timeout, expire)
        try:
            response: IResponse = await sending
            collecting = _collect(response)
            waiting[0] = collecting
            content = await collecting
        except NoAnswer:
            raise
        except Exception as error:
            if late:
                raise NoAnswer(PushFault.NO_ANSWER.told(seconds=f"{self._timeout:g}")) from None
            if isinstance(error, CancelledError):
                raise
            raise _no_answer(error) from error
        finally:
            if timer.active():
                timer.cancel()
        return Answer(response.code, content, _header(response, b"Retry-After"), _header(response, b"Date"))


def _no_answer(error: Exception) -> NoAnswer:
    if isinstance(error, ConnectionRefusedError):
        return NoAnswer(PushFault.NOT_CONNECTED.told())
    if isinstance(error, DNSLookupError):
        return NoAnswer(PushFault.NAME_UNKNOWN.told())
    if isinstance(error, ConnectError):
        return NoAnswer(PushFault.NO_CONNECTION.told(kind=type(error).__name__))
    if isinstance(error, ResponseFailed):
        kinds = ", ".join(sorted({type(reason.value).__name__ for reason in error.reasons}))
        return NoAnswer(PushFault.CONNECTION_LOST.told(kind=kinds))
    return NoAnswer(PushFault.REQUEST_FAILED.told(kind=type(error).__name__))


def _header(response: IResponse, name: bytes) -> str | None:
    values = response.headers.getRawHeaders(name)
    return values[-1].decode("latin-1") if values else None


@implementer(IBodyProducer)
class _Bytes:
    """A request's body, written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:  # noqa: N802
        consumer.write(self._body)
        return succeed(None)

    def stopProducing(self) -> None:  # noqa: N802
        return None

    def pauseProducing(self) -> None:  # noqa: N802
        return None

    def resumeProducing(self) -> None:  # noqa: N802
        return None


def _collect(response: IResponse) -> Deferred[bytes]:
    """The answer's body. Cancelling closes the connection."""
    collector = _Collector()
    response.deliverBody(collector)  # type: ignore[no-untyped-call]
    return collector.done


class _Collector(TwistedProtocol):
    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._hang_up())
        self._parts: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._size += len(data)
        if self._size <= ANSWER_MOST:
            self._parts.append(data)
        elif not self.done.called:
            self._parts.clear()
            self.done.errback(NoAnswer(PushFault.TOO_LONG.told(most=ANSWER_MOST)))
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # type: ignore[no-untyped-call]
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(reason)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
