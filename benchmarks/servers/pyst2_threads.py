"""The baseline: pyst2's AGI class as it is meant to be used, a thread a call out of Twisted's pool.

Two ways to give the blocking class its wire, chosen by the first argument:
- `socket` (the default and the cheaper, so the fairer baseline): the thread reads and writes the socket itself.
- `reactor`: the reactor keeps the socket, feeds a queue that the thread waits on and writes what the thread hands
  over with `callFromThread`.

pyst2 0.5.1 cannot serve as it is: its `__init__` installs a signal handler, which raises in a thread, and it writes
every line it sees to standard error. Both are put right here and nothing else is.
"""

from __future__ import annotations

import queue
import socket
import sys
from typing import TYPE_CHECKING, Any, Protocol

from asterisk.agi import AGI
from twisted.internet import protocol, threads

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

THREADS = 64
"""As many as there are calls at once in the comparison: with fewer, calls would wait for a thread."""


class _Lines(Protocol):
    def readline(self) -> str | bytes: ...


class _Silent:
    """Standard error for pyst2, which reports every line."""

    def write(self, text: str) -> None:
        """Drop it."""


class UsableAgi(AGI):  # type: ignore[misc]  # pyst2 has no types
    """pyst2's class without the signal handler and the chatter."""

    def __init__(self, stdin: _Lines, stdout: Any) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = _Silent()
        self._got_sighup = False
        self.env: dict[str, str] = {}
        self._get_agi_env()


def rating(agi: UsableAgi) -> None:
    """The fixed dialogue (`benchmarks.scripts.FIXED`)."""
    agi.answer()
    agi.stream_file("rating-welcome")
    digit = agi.get_data("rating-ask", 8000, 1)
    agi.set_variable("RATING", digit)
    agi.set_variable("RATING_STATUS", "ok" if digit else "none")
    agi.stream_file("rating-thanks")
    agi.hangup()


def serve_socket(sock: socket.socket) -> None:
    """One call, in a thread, on a blocking socket."""
    with sock, sock.makefile("r", encoding="utf-8", newline="\n") as reader:
        writer = sock.makefile("w", encoding="utf-8", newline="\n")
        rating(UsableAgi(reader, writer))
        writer.close()


class SocketCall(protocol.Protocol):
    """Hands a fresh connection's socket to a thread and forgets it."""

    transport: Any  # Twisted describes its transports by zope interfaces, which mypy cannot follow

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        sock = self.transport.getHandle().dup()
        self.transport.stopReading()
        sock.setblocking(True)
        done = threads.deferToThread(serve_socket, sock)
        done.addBoth(self.ended)

    def ended(self, result: Any) -> None:
        """The thread is done: close the reactor's own end too."""
        self.transport.loseConnection()
        if result is not None:
            print(result, file=sys.stderr)


class ReactorCall(protocol.Protocol):
    """Keeps the connection in the reactor; the thread talks through a queue and `callFromThread`."""

    transport: Any

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.transport.setTcpNoDelay(True)
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.buffer = b""
        threads.deferToThread(self.serve).addBoth(self.ended)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.lines.put(line + b"\n")

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - Twisted's name
        self.lines.put(b"")

    def readline(self) -> bytes:
        """For pyst2: the next line, waiting for it."""
        return self.lines.get()

    def write(self, text: str) -> None:
        """For pyst2: hand a command to the reactor."""
        self.reactor.callFromThread(self.transport.write, text.encode())

    def flush(self) -> None:
        """Nothing is kept back."""

    def serve(self) -> None:
        """One call, in a thread."""
        rating(UsableAgi(self, self))

    def ended(self, result: Any) -> None:
        """The thread is done."""
        self.transport.loseConnection()
        if result is not None:
            print(result, file=sys.stderr)


class Factory(protocol.Factory):
    """Makes the protocol that the command line named."""

    noisy = False

    def __init__(self, kind: type[protocol.Protocol]) -> None:
        self.kind = kind

    def buildProtocol(self, addr: IAddress | None) -> protocol.Protocol:  # noqa: N802 - Twisted's name
        return self.kind()


def main() -> None:
    """Serve until SIGTERM."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    kind = {"socket": SocketCall, "reactor": ReactorCall}[sys.argv[1] if len(sys.argv) > 1 else "socket"]
    reactor.suggestThreadPoolSize(THREADS)
    port = reactor.listenTCP(0, Factory(kind), 4096, "127.0.0.1")
    print(f"ready {port.getHost().port}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
