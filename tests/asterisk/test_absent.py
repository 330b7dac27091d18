"""Huiyin is not there: the caller notices nothing, and the call is not lost."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.asterisk.agi_double import AgiDouble, Talk
from tests.asterisk.conftest import MakePhones, StartAsterisk
from tests.asterisk.rig import Asterisk, free_port
from tests.asterisk.sipp import AwaitHangUp, HangUp, Sipp, Wait

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CALLER = "13993000003"
HUIYIN = str(Path(sys.executable).with_name("huiyin"))


@pytest.fixture(scope="module")
def alone(start_asterisk: StartAsterisk) -> Asterisk:
    """An Asterisk with nobody listening where the dialplan asks."""
    return start_asterisk(agi=f"127.0.0.1:{free_port()}")


def left_for_import(asterisk: Asterisk) -> list[list[str]]:
    """The lines of queue_log that the hangup handler wrote, in fields."""
    log = Path(asterisk.home / "log" / "queue_log")
    return [line.split("|") for line in log.read_text().splitlines() if "|HUIYINENDED|" in line]


def test_the_dialplan_goes_on_and_the_call_is_left_in_queue_log(alone: Asterisk, phones: MakePhones) -> None:
    before, start = len(alone.log()), time.monotonic()
    with phones(alone).caller("205", (AwaitHangUp(),), number=CALLER) as citizen:
        citizen.finish()
    alone.wait_idle()
    took = time.monotonic() - start

    assert "went on: error" in alone.log()[before:]
    # Half a second for Answer(), one of the agent, and no more than another.
    assert took < 3.5, "the caller waited for a server that is not there"
    (fields,) = left_for_import(alone)
    assert fields[1].startswith("lx1-")
    assert fields[2:] == ["NONE", "2001%40desks%2Fn", "HUIYINENDED", CALLER, "", "", "", "zh"]


def test_a_call_that_ends_with_the_agent_is_left_in_queue_log(alone: Asterisk, phones: MakePhones) -> None:
    sipp: Sipp = phones(alone)
    known = len(left_for_import(alone))
    with (
        sipp.agent(alone.phone_ports["1001"], (AwaitHangUp(),)) as phone,
        sipp.caller("12345", (Wait(2.0), HangUp()), number=CALLER) as citizen,
    ):
        citizen.finish()
        phone.finish()
    alone.wait_idle()

    (fields,) = left_for_import(alone)[known:]
    assert fields[2:] == ["hotline", "PJSIP%2F1001", "HUIYINENDED", CALLER, "", "", "", "zh"]


def test_what_queue_log_holds_is_brought_in(alone: Asterisk, phones: MakePhones, tmp_path: Path) -> None:
    """Asterisk's own file into `huiyin calls import`, twice: each call is there, once, with who served and called."""
    sipp: Sipp = phones(alone)
    with sipp.caller("201", (AwaitHangUp(),), number=CALLER) as citizen:
        citizen.finish()
    with (
        sipp.agent(alone.phone_ports["1001"], (AwaitHangUp(),)) as phone,
        sipp.caller("12345", (Wait(2.0), HangUp()), number=CALLER) as citizen,
    ):
        citizen.finish()
        phone.finish()
    alone.wait_idle()
    dialled, queued = (fields[1] for fields in left_for_import(alone)[-2:])

    configuration = tmp_path / "huiyin.toml"
    configuration.touch()
    for command in (
        ["db", "upgrade", "-c", str(configuration)],
        *[["calls", "import", "--queue-log", str(alone.home / "log" / "queue_log"), "-c", str(configuration)]] * 2,
    ):
        done = subprocess.run([HUIYIN, *command], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(f"file:{tmp_path / 'var' / 'huiyin.db'}?mode=ro", uri=True)) as database:
        found = {
            key: rest
            for key, *rest in database.execute("SELECT call_key, agent, queue, outcome, number_kind FROM calls")
        }
    assert found[dialled] == ["2001", None, "not_offered", "mobile"]
    assert found[queued] == ["1001", "hotline", "not_offered", "mobile"]


def test_nobody_served_leaves_nothing(alone: Asterisk, phones: MakePhones) -> None:
    known = len(left_for_import(alone))
    with phones(alone).caller("12345", (Wait(1.0), HangUp()), number=CALLER) as citizen:
        citizen.finish()
    alone.wait_idle()
    assert len(left_for_import(alone)) == known


def test_a_server_that_does_not_answer_costs_two_seconds(start_asterisk: StartAsterisk, phones: MakePhones) -> None:
    """As a machine that is off: Asterisk gives up by itself, and the hangup handler does not try again."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # the kernel takes these and then answers nobody
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        silent = start_asterisk(agi=f"127.0.0.1:{listener.getsockname()[1]}")
        start = time.monotonic()
        with phones(silent).caller("205", (AwaitHangUp(),), number=CALLER) as citizen:
            citizen.finish()
        took = time.monotonic() - start
        silent.wait_idle()
    # 1.5 s of Answer() and agent, 2 s of Asterisk's own limit.
    assert 3.0 < took < 5.0
    assert "went on: error" in silent.log()
    assert len(left_for_import(silent)) == 1


def test_a_server_that_closes_at_once(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    """Refused, or broken at its first step: no outcome, so the call goes on and is reported at its end; nobody says
    that it is stored, so it is left in queue_log."""
    agi.script = lambda talk: None
    before, left = len(asterisk.log()), len(left_for_import(asterisk))
    with sipp.caller("205", (AwaitHangUp(),), number=CALLER) as citizen:
        citizen.finish()
    asterisk.wait_idle()
    assert [request.path for request in agi.requests] == ["rate", "ended"]
    assert "went on: error" in asterisk.log()[before:]
    assert len(left_for_import(asterisk)) == left + 1


@pytest.mark.parametrize(("word", "lines"), [("stored", 0), ("error", 1)])
def test_only_what_is_not_stored_is_left_in_queue_log(
    agi: AgiDouble, asterisk: Asterisk, sipp: Sipp, word: str, lines: int
) -> None:
    def script(talk: Talk) -> None:
        if talk.request.path == "ended":
            talk.command(f"SET VARIABLE HUIYIN_ENDED {word}")

    agi.script = script
    left = len(left_for_import(asterisk))
    with sipp.caller("205", (AwaitHangUp(),), number=CALLER) as citizen:
        citizen.finish()
    asterisk.wait_idle()
    assert len(left_for_import(asterisk)) == left + lines
