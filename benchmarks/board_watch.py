"""Many open live boards: each a stream of server-sent events that is read and compared with the others.

`python -m benchmarks.board_watch PORT` reads one session a line from its input until an empty line, opens a board for
each of them, and says `ready COUNT` once every one has its first update. It says one line of JSON for each line that
it is told from then on (`Told`), counted since the one before, and ends with its input.

A stream that ends, or is told anything but updates, ends the measurement. That all boards were told the same is looked
at by what each got: the same number of bytes but for the one that a request for the answer cuts in two.
"""

from __future__ import annotations

import json
import select
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass

from console.pages.shell import SESSION_COOKIE

__all__ = ["Told"]

_EVENT = b"event: "
_BOARD = b"event: board\n"


@dataclass(slots=True)
class Told:
    """Since the last time: seconds, updates that a board got at least and at most, bytes of all."""

    boards: int
    seconds: float
    fewest: int
    most: int
    bytes: int


class _Board:
    def __init__(self, port: int, session: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        request = (
            f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n"
            f"Cookie: {SESSION_COOKIE}={session}\r\n\r\n"
        )
        self.socket.sendall(request.encode())
        self.socket.setblocking(False)
        self.updates = 0
        self.bytes = 0
        self._rest = b""

    def read(self) -> None:
        """Counts updates; whatever else is told is an error."""
        try:
            some = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        if not some:
            raise RuntimeError("a board's stream has ended")
        self.bytes += len(some)
        data = self._rest + some
        # What could be the beginning of a line that goes on with the next part is looked at again then.
        end = data.rfind(b"\n") + 1
        data, self._rest = data[:end], data[end:][-4096:]
        events, updates = data.count(_EVENT), data.count(_BOARD)
        if events != updates or (data.startswith(b"HTTP/1.1 ") and b" 200 " not in data[:16]):
            raise RuntimeError(f"a board was told something else: {data[:200]!r}")
        self.updates += updates


def _sessions() -> list[str]:
    found = []
    for line in sys.stdin:
        if not line.strip():
            break
        found.append(line.strip())
    return found


def main(port: int) -> None:
    boards = [_Board(port, session) for session in _sessions()]
    poll = selectors.EpollSelector()
    for board in boards:
        poll.register(board.socket, selectors.EVENT_READ, board)
    waiting = True
    began = time.monotonic()
    before = [(0, 0)] * len(boards)
    while True:
        for key, _ in poll.select(0.05):
            key.data.read()
        if waiting:
            if all(board.updates for board in boards):
                print(f"ready {len(boards)}", flush=True)
                waiting = False
            continue
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                return
            now = time.monotonic()
            counts = [(board.updates, board.bytes) for board in boards]
            gained = [here[0] - there[0] for here, there in zip(counts, before, strict=True)]
            told = sum(here[1] - there[1] for here, there in zip(counts, before, strict=True))
            answer = Told(len(boards), now - began, min(gained), max(gained), told)
            began, before = now, counts
            print("answer", json.dumps(asdict(answer)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
