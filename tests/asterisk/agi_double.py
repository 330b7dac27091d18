"""A FastAGI server for tests that records what Asterisk asks and answers as it is told.

It proves the dialplan alone: which URL comes, with which values, and when. Each connection is one Request with its
environment kept as bytes; what it says back is a function of the test, by default the outcome `rated` for /rate.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


class CallEnded(Exception):
    """Asterisk closed the connection, or answered that the channel is dead."""


@dataclass
class Request:
    """One FastAGI connection: its request, its environment, and every line that crossed."""

    environment: dict[str, bytes]
    lines: list[bytes] = field(default_factory=list)

    @property
    def path(self) -> str:
        """`rate` or `ended`."""
        return urlsplit(self.environment["agi_request"].decode()).path.lstrip("/")

    @property
    def raw_query(self) -> str:
        """The query as it came, still encoded."""
        return urlsplit(self.environment["agi_request"].decode()).query

    @property
    def values(self) -> dict[str, str]:
        """The query's values, decoded; empty ones included."""
        pairs = parse_qs(self.raw_query, keep_blank_values=True, strict_parsing=True)
        return {key: value[0] for key, value in pairs.items()}


class Talk:
    """What a script of the test has in hand: the request, and commands to the channel."""

    def __init__(self, request: Request, wire: socket.socket) -> None:
        self.request = request
        self._wire = wire
        self._file = wire.makefile("rb")

    def command(self, line: str) -> str:
        """Send one AGI command and return its reply; lines `HANGUP` are kept apart in `request.lines`.

        Raises CallEnded when the connection is closed.
        """
        self.request.lines.append(b"> " + line.encode())
        try:
            self._wire.sendall(line.encode() + b"\n")
            while True:
                reply = self._file.readline()
                if not reply:
                    raise CallEnded(line)
                self.request.lines.append(b"< " + reply.rstrip(b"\n"))
                if reply.strip() != b"HANGUP":
                    return reply.decode("utf-8", "surrogateescape").rstrip("\n")
        except OSError as error:
            raise CallEnded(line) from error


Script = Callable[[Talk], None]


def rated(talk: Talk) -> None:
    """The answers of a server that has stored a rating."""
    if talk.request.path == "rate":
        talk.command("SET VARIABLE HUIYIN_SATISFACTION 5")
        talk.command("SET VARIABLE HUIYIN_EVALUATION 1")
        talk.command("SET VARIABLE HUIYIN_OUTCOME rated")
    else:
        talk.command("SET VARIABLE HUIYIN_ENDED stored")


class AgiDouble:
    """The server. `script` may be changed between calls; `requests` holds all, in order of arrival."""

    def __init__(self, port: int = 0) -> None:
        self.script: Script = rated
        self.requests: list[Request] = []
        self.arrived: queue.Queue[Request] = queue.Queue()
        self.errors: list[BaseException] = []
        double = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                double._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> AgiDouble:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _serve(self, wire: socket.socket) -> None:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            environment: dict[str, bytes] = {}
            with wire.makefile("rb") as head:
                while (line := head.readline().rstrip(b"\n")) != b"":
                    key, _, value = line.partition(b": ")
                    environment[key.decode()] = value
            request = Request(environment)
            self.requests.append(request)
            self.arrived.put(request)
            with contextlib.suppress(CallEnded):
                self.script(Talk(request, wire))
        except Exception as error:  # noqa: BLE001 - a test asserts that this list is empty
            self.errors.append(error)

    def clear(self) -> None:
        """Forget what came; for a fixture shared by several tests."""
        self.requests.clear()
        self.errors.clear()
        while not self.arrived.empty():
            self.arrived.get_nowait()
