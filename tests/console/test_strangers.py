"""Tokens that nobody has: few an address, without shutting out those who have one."""

from __future__ import annotations

from typing import Any

import pytest

from console import api
from console.limits import STRANGERS, Strangers
from console.tokens import Scope, find_token
from server.health import HealthServer
from tests.console.conftest import Client, Hand, MakeToken

HERE, THERE = "10.0.0.1", "10.0.0.2"


def test_an_address_may_try_some_and_then_waits_until_the_first_is_a_period_old() -> None:
    hand = Hand()
    strangers = Strangers(most=3, period=60.0, seconds=hand)
    for place in range(3):
        assert strangers.wait(HERE, f"hy_{place}") == 0
        strangers.looked_up(HERE, f"hy_{place}", good=False)
        hand.now += 10
    assert strangers.wait(HERE, "hy_x") == 30
    assert strangers.wait(THERE, "hy_x") == 0
    hand.now += 30
    assert strangers.wait(HERE, "hy_x") == 0


def test_a_token_that_was_good_is_looked_up_whoever_guesses_beside_it() -> None:
    strangers = Strangers(most=2, seconds=Hand())
    strangers.looked_up(THERE, "hy_good", good=True)
    for _ in range(2):
        strangers.looked_up(HERE, "hy_bad", good=False)
    assert strangers.wait(HERE, "hy_good") == 0
    assert strangers.wait(HERE, "hy_bad") > 0
    strangers.looked_up(HERE, "hy_good", good=False)  # revoked
    assert strangers.wait(HERE, "hy_good") > 0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.limits._ADDRESSES", 5)
    strangers = Strangers(seconds=Hand())
    for place in range(100):
        strangers.looked_up(f"10.0.0.{place}", "hy_bad", good=False)
    assert list(strangers._tried) == [f"10.0.0.{place}" for place in range(95, 100)]


def test_the_api_looks_up_no_more_of_them(
    server: HealthServer, token: MakeToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Client(server.address, token("desk", Scope.INTAKE))
    assert good.case("GD-1").status == 404
    looked: list[str] = []

    def counted(connection: Any, secret: str) -> Any:
        looked.append(secret)
        return find_token(connection, secret)

    monkeypatch.setattr(api, "find_token", counted)
    bad = Client(server.address, "hy_guess")
    statuses = [bad.case("GD-1").status for _ in range(STRANGERS + 5)]
    assert statuses == [401] * STRANGERS + [429] * 5
    assert int(bad.case("GD-1").headers["retry-after"]) > 0
    assert len(looked) == STRANGERS
    assert good.case("GD-1").status == 404
