"""smpplib as its users run it: one thread listens, one sends and waits for the window on a semaphore."""

from __future__ import annotations

import sys
import threading
from typing import Any

import smpplib.client  # type: ignore[import-not-found]
import smpplib.consts  # type: ignore[import-not-found]
import smpplib.gsm  # type: ignore[import-not-found]

from benchmarks.clients import SERVICE_NUMBER, TEXT, WINDOW, citizen, go_on


def main(port: int, warm: int, count: int) -> None:
    window = threading.Semaphore(WINDOW)
    done = threading.Event()
    receipts = most = 0

    def sent(pdu: Any) -> None:
        window.release()

    def received(pdu: Any) -> None:
        nonlocal receipts
        receipts += 1
        if receipts == most:
            done.set()

    client = smpplib.client.Client("127.0.0.1", port, allow_unknown_opt_params=True)
    client.set_message_sent_handler(sent)
    client.set_message_received_handler(received)
    client.connect()
    client.bind_transceiver(system_id="huiyin", password="secret")
    threading.Thread(target=client.listen, daemon=True).start()
    number = 0
    for word, more in (("warm", warm), ("done", count)):
        most += more
        done.clear()
        for _ in range(more):
            window.acquire()
            number += 1
            parts, coding, message_type = smpplib.gsm.make_parts(TEXT)
            for part in parts:
                client.send_message(
                    source_addr_ton=0,
                    source_addr_npi=1,
                    source_addr=SERVICE_NUMBER,
                    dest_addr_ton=1,
                    dest_addr_npi=1,
                    destination_addr=citizen(number),
                    short_message=part,
                    data_coding=coding,
                    esm_class=message_type,
                    registered_delivery=True,
                )
        done.wait()
        go_on(word)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
