"""What comes over a link goes to the sender as a receipt or to the inbox as words, however the SMSC marks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from config.settings import Settings
from intake.decide import PushCalls
from intake.receipts import ReceiptFacts
from models.clock import TurnedClock
from models.door import Door
from models.futures import Wakeups
from models.privacy import Keyring
from sms.link import Delivery, Link
from sms.server import SmsServer
from tests.intake.sending import SERVICE

WHOLE = "id:7 sub:001 dlvrd:001 submit date:2611221730 done date:2611221731 stat:DELIVRD err:000 text:"
SHORT = "id:7 stat:DELIVRD err:000"
CAME: list[tuple[str, int, str, bool | None]] = [
    ("marked", 0x04, WHOLE, True),
    ("marked, and short", 0x04, SHORT, True),
    ("not marked", 0x00, WHOLE, True),
    ("not marked, and short", 0x00, SHORT, False),
    ("a phone's acknowledgement", 0x08, WHOLE, True),
    ("its user's acknowledgement", 0x10, WHOLE, True),
    ("a reply", 0x00, "5", None),
    ("a reply in an acknowledgement", 0x10, "5", None),
]
"""What it is, esm_class, text; whether it is a sure receipt, None: words."""


@pytest.mark.parametrize(("esm_class", "text", "sure"), [row[1:] for row in CAME], ids=[row[0] for row in CAME])
def test_where_a_delivery_goes(
    door: Door, keyring: Keyring, clock: TurnedClock, tmp_path: Path, esm_class: int, text: str, sure: bool | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    link = {"name": "m", "host": "127.0.0.1", "system_id": "x", "password": "p"}
    settings = Settings.model_validate({"sms": {"service_number": SERVICE, "signature": "临夏12345", "links": [link]}})
    reactor: Any = MemoryReactorClock()  # type: ignore[no-untyped-call]
    server = SmsServer(
        settings, door, keyring, Wakeups(reactor), reactor, clock,
        owner="node/1", push_calls=PushCalls.ALWAYS, wake_push=lambda: None,
    )  # fmt: skip
    receipts: list[ReceiptFacts] = []
    words: list[Delivery] = []
    monkeypatch.setattr(server.sender, "receipt", lambda _link, _delivery, facts: receipts.append(facts))
    monkeypatch.setattr(server.inbox, "take", lambda _link, delivery: words.append(delivery))
    delivery = Delivery(
        1, 1, "m", 5, "8613800000001", 1, 1, f"{SERVICE}07", 0, 1, esm_class, 0, text.encode(), {}, 0, "", 1
    )
    wire: Link = server.sender.lanes["m"].link
    server.delivered(wire, delivery)
    assert [facts.sure for facts in receipts] == ([] if sure is None else [sure])
    assert words == ([delivery] if sure is None else [])
    assert [facts.forms for facts in receipts] == [("7",)] * len(receipts)
