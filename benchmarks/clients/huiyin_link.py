"""Huiyin's link alone, under an owner that submits as long as there is room and answers receipts; nothing stored."""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.internet.defer import Deferred

from benchmarks.clients import SERVICE_NUMBER, TEXT, WINDOW, citizen, fail, go_on
from sms.link import Answer, Delivery, Link, LinkOptions, Submit, SubmitResult


class Owner:
    """Makes each message anew, as the sender does."""

    def __init__(self, reactor: Any, warm: int, count: int) -> None:
        self._reactor = reactor
        self._stages = [("warm", warm), ("done", warm + count)]
        self._sent = self._receipts = 0

    def up(self, link: Link) -> None:
        self.room(link)

    def down(self, link: Link, reason: str) -> None:
        if reason != "stopped":
            fail(f"the link went down: {reason}")

    def room(self, link: Link) -> None:
        for _ in range(min(link.room(), self._stages[0][1] - self._sent if self._stages else 0)):
            self._sent += 1
            submit = Submit(
                source=SERVICE_NUMBER,
                destination=citizen(self._sent),
                short_message=TEXT.encode("utf-16-be"),
                data_coding=8,
                registered_delivery=1,
                source_npi=1,
                dest_ton=1,
                dest_npi=1,
            )
            link.submit(submit, self._sent)

    def answered(self, link: Link, token: object, answer: Answer) -> None:
        if answer.result is not SubmitResult.ACCEPTED:
            fail(f"a message was {answer.result}")

    def delivered(self, link: Link, delivery: Delivery) -> None:
        self._receipts += 1
        link.respond(delivery, 0)
        if self._receipts == self._stages[0][1]:
            self._reactor.callLater(0, self._stage, link)  # the response goes out in this turn

    def _stage(self, link: Link) -> None:
        word, _ = self._stages.pop(0)
        go_on(word)
        if self._stages:
            self.room(link)
        else:
            Deferred.fromCoroutine(link.stop(1.0)).addCallback(lambda _: self._reactor.stop())


def main(port: int, warm: int, count: int) -> None:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    reactor.seconds = time.monotonic
    options = LinkOptions(
        "bench",
        "127.0.0.1",
        port,
        "huiyin",
        "secret",
        window=WINDOW,
        segments_per_second=0,
    )
    reactor.callWhenRunning(Link(options, reactor, Owner(reactor, warm, count)).start)
    reactor.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
