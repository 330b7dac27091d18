"""The channel's rounds: a backlog goes at the pace, and what else is due has its turn meanwhile."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.testing import MemoryReactorClock

from config.settings import Settings
from intake.decide import PushCalls
from models.clock import TurnedClock
from models.door import Door
from models.futures import Wakeups
from models.privacy import Keyring
from sms.server import GROUP, SmsServer
from tests.intake.sending import SERVICE

PACE = 512
"""Eight groups a second."""


def test_a_backlog_of_invitations_goes_at_the_pace_and_lets_the_rest_by(
    door: Door, keyring: Keyring, clock: TurnedClock, monkeypatch: Any
) -> None:
    """A hundred full groups; receipts and leases are looked at every five seconds."""
    link = {"name": "m", "host": "127.0.0.1", "system_id": "x", "password": "p"}
    sms = {"service_number": SERVICE, "signature": "临夏12345", "links": [link]}
    settings = Settings.model_validate({"sms": sms, "schedule": {"rows_per_second": PACE}})
    reactor: Any = MemoryReactorClock()  # type: ignore[no-untyped-call]
    server = SmsServer(
        settings, door, keyring, Wakeups(reactor), reactor, clock,
        owner="node/1", push_calls=PushCalls.ALWAYS, wake_push=lambda: None,
    )  # fmt: skip
    done: Counter[str] = Counter()
    seen: list[tuple[str, int]] = []

    async def do(command: Any) -> Any:
        kind = type(command).__name__
        done[kind] += 1
        seen.append((kind, done["InviteDue"]))
        if kind == "InviteDue":
            total = GROUP if done[kind] <= 100 else 0
            return SimpleNamespace(queued=total, postponed=0, impossible=0, total=total)
        return {"SettleMessages": 0, "ExpireInvitations": 0}.get(kind)

    monkeypatch.setattr(server, "_do", do)
    swept: Any = ensureDeferred(server.sweep())
    for second in range(1, 13):
        reactor.pump([1 / 64] * 64)
        assert abs(done["InviteDue"] - 8 * second) <= 1, second
    assert not swept.called
    reactor.pump([1 / 64] * 64)
    assert swept.called
    assert done["InviteDue"] == 101
    settled = [invited for kind, invited in seen if kind == "SettleMessages"]
    assert settled == [0, 41, 82]  # a round's first group more than five seconds later is its last
