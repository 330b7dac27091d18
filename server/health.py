"""/healthz, /readyz and /metrics, in every process.

Rules kept here:

* FastAPI on uvicorn, in a thread with its own loop: the reactor keeps the main thread and the signals.
* Handlers are `async` and only read memory. What they need of the database a tick has fetched before.
* No page from outside is needed: the documentation pages, which load from a CDN, are off.
* Nothing shown here tells who called.

`/healthz` says whether the process is alive (its reactor turns): if not, restart it. `/readyz` says whether it can do
its work: 503 and a sentence where not; "degraded" with 200 where ratings are safe but something needs a person.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from config.values import Address, Network
from server.errors import CannotListen
from server.metrics import CONTENT_TYPE, Metrics

__all__ = ["Condition", "Health", "HealthServer", "State", "health_app"]

PULSE_LIMIT = 10.0
"""Seconds without a turn of the reactor after which the process counts as stuck."""
WRITE_LIMIT = 30.0
"""Seconds without a write after which the database counts as gone; one is made on purpose each PROBE_SECONDS."""
PROBE_SECONDS = 5.0
HEAD_SECONDS = 10.0
"""How long the head of a request may take to come."""
LINGER_SECONDS = 5.0
"""How long the rest of a body that nobody reads may take to come, after its request was answered."""
UNREAD_SECONDS = 60.0
"""How long an answer under way may stay unread, with all buffers full, before its connection is cut."""
_GRACE = 2


class State(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Condition:
    """How one part of the process is, in a word and, where that is not "ok", a sentence."""

    state: State
    sentence: str = ""


class Health:
    """How this process is. Written by the reactor's and the writer's threads, read by the handlers'."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._pulse = seconds()
        self._written = seconds()
        self._started = False
        self._parts: dict[str, Callable[[], Condition]] = {}

    # ── told ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def beat(self) -> None:
        """The reactor turns."""
        self._pulse = self._seconds()

    def written(self) -> None:
        """A group was committed."""
        self._written = self._seconds()

    def started(self, ready: bool = True) -> None:
        """Everything listens (or, on the way out, no longer)."""
        self._started = ready

    def watch(self, part: str, condition: Callable[[], Condition]) -> None:
        """A part that is asked how it is, at each request and from the handlers' thread: it only reads memory."""
        self._parts[part] = condition

    # ── asked ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def unwritten_seconds(self) -> float:
        """Seconds since the last write."""
        return self._seconds() - self._written

    def alive(self) -> Condition:
        silent = self._seconds() - self._pulse
        if silent > PULSE_LIMIT:
            return Condition(State.FAILED, f"the event loop has not turned for {silent:.0f} s; restart this process")
        return Condition(State.OK)

    def conditions(self) -> dict[str, Condition]:
        """Every part; the process is ready where none has failed."""
        unwritten = self.unwritten_seconds
        database = (
            Condition(State.FAILED, f"the database has taken no write for {unwritten:.0f} s; see the log")
            if unwritten > WRITE_LIMIT
            else Condition(State.OK)
        )
        start = Condition(State.OK) if self._started else Condition(State.FAILED, "starting or stopping")
        return {"process": start, "reactor": self.alive(), "database": database} | {
            part: condition() for part, condition in self._parts.items()
        }


def health_app(health: Health, metrics: Metrics) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(title="Huiyin", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        condition = health.alive()
        alive = condition.state is State.OK
        return JSONResponse(
            {"status": "alive" if alive else "stuck", "detail": condition.sentence}, 200 if alive else 503
        )

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        conditions = health.conditions()
        states = {condition.state for condition in conditions.values()}
        if State.FAILED in states:
            status, code = "not ready", 503
        else:
            status, code = ("degraded" if State.DEGRADED in states else "ready"), 200
        checks: dict[str, Any] = {
            part: {"status": condition.state.value, "detail": condition.sentence}
            for part, condition in conditions.items()
        }
        return JSONResponse({"status": status, "checks": checks}, code)

    @app.get("/metrics")
    async def metrics_text() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return app


class _Server(uvicorn.Server):
    """Uvicorn's server, which tells when it takes requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.taking = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.taking.set()


class _Patient(H11Protocol):
    """Uvicorn's protocol, which closes a connection whose head of a request does not come within HEAD_SECONDS, or the
    rest of whose body does not within LINGER_SECONDS of the answer; and one whose peer stops reading for
    UNREAD_SECONDS, so that whatever makes the answer (an export's child) is not held by whoever reads a little and then
    waits.

    Uvicorn itself waits without end; a body's time until the answer is the application's to keep. (It is not closed at
    once: the answer could be lost with what is still coming.)
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_SECONDS, transport.close)
        self._unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        # Cut, not closed: that would wait for what is in the buffer to be read.
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_unread()

    def _end_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head.cancel()
        elif self._head.cancelled() and not self.transport.is_closing():
            # A later request on this connection has begun to come. (Between two, uvicorn's own time runs.)
            self._head = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_response_complete(self) -> None:
        answered = self.cycle
        super().on_response_complete()
        if self.cycle is answered and self.conn.their_state is h11.SEND_BODY:
            self.loop.call_later(LINGER_SECONDS, self._end_lingering, answered)

    def _end_lingering(self, answered: object) -> None:
        if self.cycle is answered and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.cancel()
        self._end_unread()
        super().connection_lost(exc)


class HealthServer:
    """Serves an ASGI application in a thread of its own.

    Raises:
        CannotListen: the address cannot be had.
    """

    def __init__(self, app: FastAPI, address: Address, key: str, *, proxies: Collection[Network] = ()) -> None:
        """Opens the port.

        Args:
            key: names the setting in the error.
            proxies: whose word counts on where a browser is and whether it came by https.
        """
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        # asyncio turns Nagle's algorithm off where TCP is named: else each answer on a kept connection waits 40 ms.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address.host, address.port))
            self._socket.listen(128)
        except OSError as error:
            self._socket.close()
            raise CannotListen(f"{key}: cannot listen on {address}: {error.strerror}") from error
        self.address = Address(address.host, self._socket.getsockname()[1])
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_Patient,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Uvicorn believes the loopback by default: whoever has an account here could be anybody.
            proxy_headers=bool(proxies),
            forwarded_allow_ips=[str(network) for network in proxies],
            timeout_graceful_shutdown=_GRACE,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="huiyin-web", daemon=True
        )

    def start(self, timeout: float = 10.0) -> None:
        """Starts the thread and waits until requests are taken."""
        self._thread.start()
        if not self._server.taking.wait(timeout):
            raise CannotListen(f"the web server did not start within {timeout:.0f} s; see the log")

    def stop(self) -> None:
        """Ends the thread; requests under way get two seconds."""
        if self._thread.is_alive():
            self._server.should_exit = True
            self._thread.join(_GRACE + 5)
        self._socket.close()
