"""The demo where something fails: it is counted and told, and the demo ends; and its SMS half."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock

from config.values import Address
from server.demo import _ARRIVAL_SECONDS, _PAUSE, DemoFailed, _Demo
from simulate.caller import CallReport
from simulate.centre import StandInCentre
from tests.conftest import TwistedErrors
from tests.console.browser import Browser
from tests.server.running import COMMAND, run_command


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


def logs_in(address: str, name: str, password: str) -> bool:
    host, _, port = address.rpartition(":")
    return Browser(Address(host, int(port))).log_in(name, password).status == 303


@pytest.mark.slow
def test_the_demo_says_where_the_console_is_and_how_to_log_in(tmp_path: Path) -> None:
    """The log-in that is printed is tried while the demo runs; a kept database takes a new one at each start."""
    passwords: list[str] = []
    for _ in range(2):
        with subprocess.Popen(
            [*COMMAND, "demo", "--dir", str(tmp_path / "demo")], stdout=subprocess.PIPE, text=True, encoding="utf-8"
        ) as program:
            assert program.stdout is not None
            try:
                line = next(line for line in program.stdout if line.startswith("控制台"))
                told = re.fullmatch(r"控制台 http://([\d.]+:\d+)/　用户名 (\S+)　密码 (\S+)\n", line)
                assert told is not None
                assert logs_in(*told.groups())
                assert not any(logs_in(told[1], told[2], old) for old in passwords)
                passwords.append(told[3])
            finally:
                program.send_signal(signal.SIGINT)
                program.stdout.read()
        assert program.returncode == 0
    assert passwords[0] != passwords[1]
    for file in (tmp_path / "demo").iterdir():
        assert not any(password.encode() in file.read_bytes() for password in passwords), file.name
