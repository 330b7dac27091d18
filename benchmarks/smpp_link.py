"""CPU that the link alone costs a message: submit_sm, its response, a receipt, its response, over TCP on loopback.

`python -m benchmarks.smpp_link` prints it beside the times of the codec. The SMSC is a process of its own on plain
sockets; its own CPU is printed too, to see that it was not the limit.
"""

from __future__ import annotations

import multiprocessing
import resource
import socket
import time
import timeit
from multiprocessing.connection import Connection
from typing import Any

from aiosmpplib import protocol as classes  # type: ignore[import-untyped]
from aiosmpplib.state import NPI, TON, PhoneNumber  # type: ignore[import-untyped]

from sms import pdu
from sms.link import Answer, Delivery, Link, LinkOptions

MESSAGES = 60_000
WINDOW = 50
TEXT = ("您对本次服务满意吗？" * 7)[:67].encode("utf-16-be")
MESSAGE = pdu.Submit("1069012345001", "8613900000001", TEXT, 8, registered_delivery=1, dest_ton=1, dest_npi=1)


def smsc(ready: Connection) -> None:
    """Answers each submit_sm and sends its receipt; sends its CPU seconds at the end."""
    port = socket.create_server(("127.0.0.1", 0))
    ready.send(port.getsockname()[1])
    peer, _ = port.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = pdu.Reader(65_536)
    number = 0
    receipt = pdu.Submit(
        "8613900000001",
        "1069012345001",
        b"id:0000000000 sub:001 dlvrd:001 submit date:2601011200 done date:2601011200 stat:DELIVRD err:000 text:",
        esm_class=4,
    )
    body = pdu.deliver_sm(1, receipt)[16:]
    at = body.index(b"id:") + 3
    before, after = body[:at], body[at + 10 :]
    while data := peer.recv(262_144):
        out = []
        for came in reader.feed(data):
            if came.command == 4:
                number += 1
                out.append(pdu.submit_sm_resp(came.sequence, 0, f"{number:010d}"))
                out.append(pdu.pdu(5, 0, number, before + b"%010d" % number + after))
            elif came.command == 9:
                out.append(pdu.bind_response(9, came.sequence, 0, "smsc"))
            elif came.command == 0x15:
                out.append(pdu.enquire_link_resp(came.sequence))
            elif came.command == 6:
                out.append(pdu.unbind_resp(came.sequence))
        peer.sendall(b"".join(out))
    used = resource.getrusage(resource.RUSAGE_SELF)
    ready.send(used.ru_utime + used.ru_stime)


class Owner:
    """Submits as long as there is room, and answers every receipt."""

    def __init__(self) -> None:
        self.sent = self.answered_ = self.receipts = 0
        self.began = self.cpu = self.cpu_used = self.wall = 0.0

    def up(self, link: Link) -> None:
        self.began, self.cpu = time.monotonic(), time.process_time()
        self.room(link)

    def down(self, link: Link, reason: str) -> None:
        assert reason == "stopped", reason

    def room(self, link: Link) -> None:
        for _ in range(min(link.room(), MESSAGES - self.sent)):
            self.sent += 1
            link.submit(MESSAGE, self.sent)

    def answered(self, link: Link, token: object, answer: Answer) -> None:
        self.answered_ += 1
        assert answer.result == "accepted"

    def delivered(self, link: Link, delivery: Delivery) -> None:
        self.receipts += 1
        link.respond(delivery, 0)
        if self.receipts == MESSAGES:
            self.cpu_used, self.wall = time.process_time() - self.cpu, time.monotonic() - self.began
            self.finished(link)

    def finished(self, link: Link) -> None:
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred

        at_end: Any = reactor
        stopping = Deferred.fromCoroutine(link.stop(1.0))
        stopping.addCallback(lambda _: at_end.stop())


def link_alone() -> None:
    from twisted.internet import reactor

    running: Any = reactor
    running.seconds = time.monotonic
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=smsc, args=(there,), daemon=True)
    process.start()
    owner = Owner()
    options = LinkOptions(
        "bench", "127.0.0.1", here.recv(), "huiyin", "secret", window=WINDOW, segments_per_second=0, max_pdu=65_536
    )
    running.callWhenRunning(Link(options, running, owner).start)
    running.run()
    peer_cpu = here.recv()
    process.join()
    print(f"messages            {MESSAGES}, window {WINDOW}")
    print(
        f"link: CPU/message   {owner.cpu_used / MESSAGES * 1e6:6.1f} µs  ({owner.cpu_used / owner.wall:.0%} of a core)"
    )
    print(f"SMSC: CPU/message   {peer_cpu / MESSAGES * 1e6:6.1f} µs")
    print(f"messages a second   {MESSAGES / owner.wall:6.0f}")


def codec() -> None:
    text = TEXT.decode("utf-16-be")

    def library() -> bytes:
        source, destination = PhoneNumber("1069012345001"), PhoneNumber("8613900000001", TON.INTERNATIONAL, NPI.ISDN)
        written: bytes = classes.SubmitSm(
            sequence_num=7, short_message=text, source=source, destination=destination, encoding="ucs2"
        ).pdu()
        return written

    def ours() -> bytes:
        message = pdu.Submit("1069012345001", "8613900000001", TEXT, 8, registered_delivery=1, dest_ton=1, dest_npi=1)
        return pdu.submit_sm(7, message)

    assert library() == ours()
    for name, theirs, mine in (
        ("submit_sm", library, ours),
        ("deliver_sm_resp", lambda: classes.DeliverSmResp(sequence_num=7).pdu(), lambda: pdu.deliver_sm_resp(7)),
        ("enquire_link", lambda: classes.EnquireLink(sequence_num=7).pdu(), lambda: pdu.enquire_link(7)),
    ):
        times = [min(timeit.repeat(function, number=20_000, repeat=5)) / 20_000 * 1e6 for function in (theirs, mine)]
        print(f"{name:<18}  aiosmpplib {times[0]:5.2f} µs, sms.pdu {times[1]:5.2f} µs")


if __name__ == "__main__":
    codec()
    link_alone()
