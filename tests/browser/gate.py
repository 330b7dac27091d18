"""A line between a browser and the server that a test can cut: what a pulled cable or a proxy that starts anew does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

__all__ = ["Gate", "gate_to"]

_CHUNK = 65536


class Gate:
    """Forwards every connection to `port` until `cut`; from then on refuses them, until `mend`."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._passes = True
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Every connection breaks, and no new one is taken."""
        with self._lock:
            self._passes = False
            broken, self._open = self._open, set()
        for one in broken:
            _end(one)

    def mend(self) -> None:
        with self._lock:
            self._passes = True

    def close(self) -> None:
        self.cut()
        _end(self._listening)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                with self._lock:
                    passes = self._passes
                if not passes:
                    _end(near)
                    continue
                far = socket.create_connection(self._to)
                with self._lock:
                    self._open |= {near, far}
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while some := source.recv(_CHUNK):
                target.sendall(some)
        with self._lock:
            self._open -= {source, target}
        _end(source)
        _end(target)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextlib.contextmanager
def gate_to(web: str) -> Iterator[Gate]:
    """A gate to a server's address."""
    gate = Gate(int(web.rsplit(":", 1)[1]))
    try:
        yield gate
    finally:
        gate.close()
