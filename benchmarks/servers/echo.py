"""A bare line echo on epoll: what a round trip costs on this machine when the server does nothing at all."""

from __future__ import annotations

import select
import signal
import socket
import sys


def main() -> int:
    """Echo whatever comes until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"ready {listener.getsockname()[1]}", flush=True)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    peers: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            peer = peers.get(fd)
            if peer is None:
                peer, _ = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers[peer.fileno()] = peer
                poll.register(peer.fileno(), select.EPOLLIN)
                continue
            data = peer.recv(4096)
            if data:
                peer.sendall(data)
            else:
                poll.unregister(fd)
                peers.pop(fd).close()


if __name__ == "__main__":
    sys.exit(main())
