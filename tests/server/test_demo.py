"""The demo where a call fails: it is counted and told, and the demo ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock

from server.demo import _PAUSE, DemoFailed, _Demo
from simulate.caller import CallReport
from simulate.centre import StandInCentre
from tests.conftest import TwistedErrors


@pytest.mark.parametrize("error", [ConnectionRefusedError, RuntimeError])
def test_a_call_that_fails_is_over_too(
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    twisted_errors: TwistedErrors,
) -> None:
    def refuse(*_: Any) -> Deferred[CallReport]:
        return fail(error("on purpose"))

    monkeypatch.setattr("server.demo.place_call", refuse)
    process = cast("Any", SimpleNamespace(listening={"ivr": "127.0.0.1:1"}))
    clock = Clock()
    demo = _Demo(process, StandInCentre("secret"), clock, 2)
    asked: list[None] = []
    demo.ending = cast("Any", SimpleNamespace(asked=lambda: asked.append(None)))
    demo._call()
    assert asked == []
    clock.advance(_PAUSE[1])
    assert asked == [None]
    assert clock.getDelayedCalls() == []
    with pytest.raises(DemoFailed, match="2 of 2 calls were not served"):
        demo.sum_up()
    said = capsys.readouterr().out
    assert said.count("未接通") == (2 if error is ConnectionRefusedError else 0)
    assert twisted_errors.expect(RuntimeError) == (2 if error is RuntimeError else 0)
