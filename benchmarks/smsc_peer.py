"""An SMSC made for load: as little work a message as Python on plain sockets allows, so that the client is the limit.

- `python -m benchmarks.smsc_peer receipts SECONDS`: answers each submit_sm at once and sends its receipt so much later,
  in one write for all that came in one read. Says `ready PORT`, and at the end of each connection `closed SUBMITS
  ANSWERED`: how many submits came and how many receipts were answered ESME_ROK.
- `python -m benchmarks.smsc_peer replies UNANSWERED WARM COUNT FIRST`: says `ready PORT`, and once a client is bound
  sends WARM replies of the citizens from FIRST on, never more than UNANSWERED without a response; says `warm`, waits
  for a line, sends COUNT more, says `done` with a JSON object: `seconds` and the `latency` of each response in ms.

A submit whose text is not the benchmark's, a status other than ESME_ROK, and whatever else no client should send ends
it with a sentence: figures of a client that does something else are worth nothing.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections import deque

from benchmarks.clients import CODE, SERVICE_NUMBER, TEXT, citizen, go_on, hear, say

_HEADER = struct.Struct(">IIII")
_BINDS = {0x1, 0x2, 0x9}
_SUBMIT_SM, _SUBMIT_SM_RESP = 0x4, 0x8000_0004
_DELIVER_SM, _DELIVER_SM_RESP = 0x5, 0x8000_0005
_UNBIND, _UNBIND_RESP = 0x6, 0x8000_0006
_ENQUIRE_LINK, _ENQUIRE_LINK_RESP = 0x15, 0x8000_0015
_RESPONSE = 0x8000_0000
_TEXT = TEXT.encode("utf-16-be")
_RECEIPT_TEXT = b"id:%010d sub:001 dlvrd:001 submit date:2603031200 done date:2603031200 stat:DELIVRD err:000 text:"
_RECEIPT = b"\0\1\1%b\0\0\1%b\0\4\0\0\0\0\0\0\0\0" + bytes([len(_RECEIPT_TEXT) - len("%010d") + 10]) + _RECEIPT_TEXT
"""The body of a deliver_sm, but for the numbers and the message id."""
_SYSTEM_ID = b"smsc\0"
_READ = 262_144


class Odd(Exception):
    """The client did what it should not."""


def _listen() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0))
    say(f"ready {listening.getsockname()[1]}")
    return listening


def _accept(listening: socket.socket) -> socket.socket:
    peer, _ = listening.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def _session(command: int, status: int, sequence: int) -> bytes:
    """The answer to a request that keeps the session going; b"" to a response."""
    if command == _ENQUIRE_LINK:
        return _HEADER.pack(16, _ENQUIRE_LINK_RESP, 0, sequence)
    if command in _BINDS:
        return _HEADER.pack(16 + len(_SYSTEM_ID), command | _RESPONSE, 0, sequence) + _SYSTEM_ID
    if command == _UNBIND:
        return _HEADER.pack(16, _UNBIND_RESP, 0, sequence)
    if command & _RESPONSE and status == 0:
        return b""
    raise Odd(f"the client sent command 0x{command:08x} with status 0x{status:x}")


def receipts(later: float) -> None:
    """Serves one client after the other."""
    listening = _listen()
    number = 0
    while True:
        number = _serve(_accept(listening), number, later)


def _serve(peer: socket.socket, number: int, later: float) -> int:
    """One connection; `number` of the last message id given, and returned."""
    first, answered = number, 0
    unpack, pack = _HEADER.unpack_from, _HEADER.pack
    kept = b""
    due: deque[tuple[float, bytes]] = deque()
    while True:
        wait = due[0][0] - time.monotonic() if due else None
        if wait is not None and wait <= 0:
            data = b""
        else:
            peer.settimeout(wait)
            try:
                data = peer.recv(_READ)
            except TimeoutError:
                data = b""
            else:
                if not data:
                    break
        now = time.monotonic()
        if kept:
            data = kept + data
        at, end = 0, len(data)
        out: list[bytes] = []
        while due and due[0][0] <= now:
            out.append(due.popleft()[1])
        came: list[bytes] = []
        while end - at >= 16:
            length, command, status, sequence = unpack(data, at)
            if end - at < length:
                break
            if command == _SUBMIT_SM:
                if data.find(_TEXT, at, at + length) < 0:
                    raise Odd("a submit_sm does not hold the benchmark's text")
                number += 1
                # service_type, source TON and NPI, source, destination TON and NPI, destination
                source = data.index(0, at + 16)
                dest = data.index(0, source + 3)
                after = data.index(0, dest + 3)
                body = _RECEIPT % (data[dest + 3 : after], data[source + 3 : dest], number)
                out.append(pack(27, _SUBMIT_SM_RESP, 0, sequence) + b"%010d\0" % number)
                came.append(pack(16 + len(body), _DELIVER_SM, 0, number) + body)
            elif command == _DELIVER_SM_RESP and status == 0:
                answered += 1
            else:
                out.append(_session(command, status, sequence))
            at += length
        kept = data[at:]
        if came and later:
            due.append((now + later, b"".join(came)))
        else:
            out += came
        if out:
            peer.settimeout(None)
            peer.sendall(b"".join(out))
    say(f"closed {number - first} {answered}")
    return number


def _reply(number: int) -> bytes:
    """A citizen says 1, over the code of the invitation."""
    source, destination = citizen(number).encode(), (SERVICE_NUMBER + CODE).encode()
    body = b"\0\1\1%b\0\0\1%b\0\0\0\0\0\0\0\0\x08\0\x02\0\x31" % (source, destination)
    return _HEADER.pack(16 + len(body), _DELIVER_SM, 0, number) + body


def replies(unanswered: int, warm: int, count: int, first: int) -> None:
    """Serves one client, which binds once."""
    peer = _accept(_listen())
    _, command, _, sequence = _HEADER.unpack_from(peer.recv(_READ))
    if command not in _BINDS:
        raise Odd("the client did not bind first")
    peer.sendall(_session(command, 0, sequence))
    _fire(peer, unanswered, first, warm)
    go_on("warm")
    began = time.perf_counter()
    latency = _fire(peer, unanswered, first + warm, count)
    seconds = time.perf_counter() - began
    latency.sort()
    report = {
        "seconds": seconds,
        "p50": latency[len(latency) // 2] * 1000,
        "p99": latency[min(len(latency) - 1, len(latency) * 99 // 100)] * 1000,
        "most": latency[-1] * 1000,
    }
    say(f"done {json.dumps(report)}")
    _keep_up(peer)
    hear()


def _keep_up(peer: socket.socket) -> None:
    """Answers what the client asks until it closes."""
    kept = b""
    while data := peer.recv(_READ):
        kept += data
        while len(kept) >= 16:
            length, command, status, sequence = _HEADER.unpack_from(kept)
            if len(kept) < length:
                break
            if answer := _session(command, status, sequence):
                peer.sendall(answer)
            kept = kept[length:]


def _fire(peer: socket.socket, unanswered: int, first: int, count: int) -> list[float]:
    """Sends the replies of these citizens; returns when the last is answered. Seconds from each to its response."""
    ready = [_reply(number) for number in range(first, first + count)]
    sent: dict[int, float] = {}
    latency: list[float] = []
    at = 0
    kept = b""
    while len(latency) < count:
        room = min(unanswered - len(sent), count - at)
        if room:
            now = time.perf_counter()
            for number in range(first + at, first + at + room):
                sent[number] = now
            peer.sendall(b"".join(ready[at : at + room]))
            at += room
        data = peer.recv(_READ)
        if not data:
            raise Odd("the client closed the connection")
        now = time.perf_counter()
        kept += data
        place = 0
        while len(kept) - place >= 16:
            length, command, status, sequence = _HEADER.unpack_from(kept, place)
            if len(kept) - place < length:
                break
            if command == _DELIVER_SM_RESP:
                if status:
                    raise Odd(f"a reply was answered 0x{status:x}")
                latency.append(now - sent.pop(sequence))
            elif command != _SUBMIT_SM and (answer := _session(command, status, sequence)):
                peer.sendall(answer)
            elif command == _SUBMIT_SM:
                raise Odd("the client sent an SMS where only replies are measured")
            place += length
        kept = kept[place:]
    return latency


if __name__ == "__main__":
    try:
        if sys.argv[1] == "receipts":
            receipts(float(sys.argv[2]))
        else:
            replies(*map(int, sys.argv[2:]))
    except Odd as odd:
        sys.exit(f"smsc_peer: {odd}")
