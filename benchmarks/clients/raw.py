"""The floor: asyncio, ready bytes, nothing looked at but headers. What the SMSC and the machine allow."""

from __future__ import annotations

import asyncio
import struct
import sys

from benchmarks.clients import SERVICE_NUMBER, TEXT, WINDOW, citizen, go_on

_HEADER = struct.Struct(">IIII")
_BIND = b"huiyin\0secret\0\0\x34\0\0\0"


def submit(sequence: int) -> bytes:
    """A submit_sm."""
    text = TEXT.encode("utf-16-be")
    body = b"\0\0\1%b\0\1\1%b\0\0\0\0\0\0\1\0\x08\0%c%b" % (
        SERVICE_NUMBER.encode(),
        citizen(sequence).encode(),
        len(text),
        text,
    )
    return _HEADER.pack(16 + len(body), 4, 0, sequence) + body


class Raw(asyncio.Protocol):
    """Submits while the window has room, answers receipts."""

    def __init__(self) -> None:
        self.bound = asyncio.Event()
        self.done = asyncio.Event()
        self.sent = self.most = self.in_flight = self.receipts = 0
        self._kept = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_HEADER.pack(16 + len(_BIND), 9, 0, 1) + _BIND)

    def begin(self, count: int) -> None:
        self.most += count
        self.done.clear()
        self.transport.write(b"".join(self._more()))

    def _more(self) -> list[bytes]:
        room = min(WINDOW - self.in_flight, self.most - self.sent)
        new = [submit(self.sent + number) for number in range(1, room + 1)]
        self.sent += room
        self.in_flight += room
        return new

    def data_received(self, data: bytes) -> None:
        data = self._kept + data
        at, end = 0, len(data)
        out: list[bytes] = []
        while end - at >= 16:
            length, command, _, sequence = _HEADER.unpack_from(data, at)
            if end - at < length:
                break
            at += length
            if command == 0x8000_0004:
                self.in_flight -= 1
            elif command == 5:
                self.receipts += 1
                out.append(_HEADER.pack(17, 0x8000_0005, 0, sequence) + b"\0")
            elif command == 0x8000_0009:
                self.bound.set()
        self._kept = data[at:]
        self.transport.write(b"".join(out + self._more()))
        if self.receipts == self.most:
            self.done.set()


async def main(port: int, warm: int, count: int) -> None:
    _, raw = await asyncio.get_running_loop().create_connection(Raw, "127.0.0.1", port)
    await raw.bound.wait()
    for word, number in (("warm", warm), ("done", count)):
        raw.begin(number)
        await raw.done.wait()
        go_on(word)
    raw.transport.close()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
