"""aiosmpplib's own ESME as its documentation runs it: a broker to queue in, a hook to hear of responses and receipts.

It knows no window, so what is queued waits for responses here.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from aiosmpplib import ESME  # type: ignore[import-untyped]
from aiosmpplib.hook import AbstractHook  # type: ignore[import-untyped]
from aiosmpplib.protocol import DeliverSm, SubmitSm, SubmitSmResp  # type: ignore[import-untyped]
from aiosmpplib.state import NPI, TON, PhoneNumber  # type: ignore[import-untyped]

from benchmarks.clients import SERVICE_NUMBER, TEXT, WINDOW, citizen, go_on


class Hook(AbstractHook):  # type: ignore[misc]
    """Opens the window and counts receipts."""

    def __init__(self) -> None:
        self.window = asyncio.Semaphore(WINDOW)
        self.done = asyncio.Event()
        self.receipts = self.most = 0

    async def sending(self, smpp_message: Any, pdu: bytes, client_id: str) -> None:
        pass

    async def received(self, smpp_message: Any, pdu: bytes, client_id: str) -> None:
        if isinstance(smpp_message, SubmitSmResp):
            self.window.release()
        elif isinstance(smpp_message, DeliverSm):
            self.receipts += 1
            if self.receipts == self.most:
                self.done.set()

    async def send_error(self, smpp_message: Any, error: Exception, client_id: str) -> None:
        raise error


async def main(port: int, warm: int, count: int) -> None:
    hook = Hook()
    esme = ESME("127.0.0.1", port, "huiyin", "secret", hook=hook, log_level=logging.WARNING)
    running = asyncio.create_task(esme.start())
    source = PhoneNumber(SERVICE_NUMBER, TON.UNKNOWN, NPI.ISDN)
    number = 0
    for word, more in (("warm", warm), ("done", count)):
        hook.most += more
        hook.done.clear()
        for _ in range(more):
            await hook.window.acquire()
            number += 1
            destination = PhoneNumber(citizen(number), TON.INTERNATIONAL, NPI.ISDN)
            message = SubmitSm(
                short_message=TEXT, source=source, destination=destination, encoding="ucs2", log_id=str(number)
            )
            await esme.broker.enqueue(message)
        await hook.done.wait()
        go_on(word)
    await esme.stop()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
