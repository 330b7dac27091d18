"""The demo where something fails: it is counted and told, and the demo ends; and its SMS half."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock

from server.demo import _ARRIVAL_SECONDS, _PAUSE, DemoFailed, _Demo
from simulate.caller import CallReport
from simulate.centre import StandInCentre
from tests.conftest import TwistedErrors
from tests.server.running import run_command


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


def test_a_rating_by_sms_that_does_not_come_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    demo = _Demo(cast("Any", SimpleNamespace(listening={})), StandInCentre("secret"), clock, 0)
    asked: list[None] = []
    demo.ending = cast("Any", SimpleNamespace(asked=lambda: asked.append(None)))
    demo._sms = cast("Any", SimpleNamespace(waiting=1, received=1, replies=0, ratings=0))
    demo._look_for_end()
    assert asked == []
    clock.advance(_ARRIVAL_SECONDS)
    assert asked == [None]
    with pytest.raises(DemoFailed, match="1 cases or ratings by SMS did not come"):
        demo.sum_up()
    assert "短信：手机收到 1 条，市民回复 0 条，其中评价 0 个。" in capsys.readouterr().out


@pytest.mark.slow
def test_the_demo_shows_sms_beside_calls(tmp_path: Path) -> None:
    done = run_command("demo", "--calls", "2", "--dir", tmp_path / "demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"工单 DEMO\d+　138\*\*\*\*\d{4}　已办结，短信邀请评价", done.stdout)
    assert re.search(r"短信 138\*\*\*\*\d{4}　← 【临夏12345】您反映的事项已办结", done.stdout)
    told = re.search(r"^短信：手机收到 (\d+) 条，市民回复 (\d+) 条，其中评价 (\d+) 个。$", done.stdout, re.MULTILINE)
    assert told is not None
    shown = {kind: len(re.findall(rf"短信 \S+　{kind}", done.stdout)) for kind in ("←", "→")}
    assert (shown["←"], shown["→"]) == (int(told[1]), int(told[2]))
    assert not re.search(r"13800\d{6}", done.stdout)
