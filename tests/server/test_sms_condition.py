"""What `/readyz` says of the links."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from server.health import State
from server.sms_metrics import sms_condition
from sms.link import LinkState
from sms.server import SmsServer

TABLE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    # the link; its lane; what is said
    ("up", {}, {}, ""),
    ("down", {"state": LinkState.CONNECTING, "problem": "closed"}, {}, "link m is not up: closed"),
    ("resting", {}, {"rests_until": 9.0, "rests_because": "10 refused"}, "link m rests: 10 refused"),
    (
        "up, and its SMSC takes nothing",
        {"trouble": "ESME_RSYSERR"},
        {},
        "link m: the SMSC refuses what it gets, ESME_RSYSERR; it goes again later",
    ),
]


@pytest.mark.parametrize(("link", "lane", "said"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_link_that_sends_nothing_is_named_with_why(link: dict[str, Any], lane: dict[str, Any], said: str) -> None:
    one = SimpleNamespace(**{"name": "m", "state": LinkState.UP, "problem": "", "trouble": "", **link})
    lanes = {"m": SimpleNamespace(**{"rests_until": None, "rests_because": "", **lane})}
    sms = SimpleNamespace(links=(one,), sender=SimpleNamespace(lanes=lanes))
    condition = sms_condition(cast("SmsServer", sms))
    assert (condition.state, condition.sentence) == (State.DEGRADED if said else State.OK, said)
