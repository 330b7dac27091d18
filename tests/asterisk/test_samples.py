"""What an administrator includes does what the documents say, and Asterisk has nothing to say against it."""

from __future__ import annotations

import re
import socket

import pytest

from tests.asterisk.agi_double import AgiDouble
from tests.asterisk.rig import Asterisk
from tests.asterisk.sipp import AwaitHangUp, Sipp

pytestmark = [pytest.mark.peer, pytest.mark.slow]


def test_asterisk_starts_without_a_word_against_it(asterisk: Asterisk) -> None:
    """No warning or error of the dialplan, the queues, the features, the manager or the log."""
    ours = ("pbx", "app_queue", "features", "manager", "logger", "config.c", "huiyin")
    assert [line for line in asterisk.warnings() if any(part in line for part in ours)] == []


def test_every_context_is_there(asterisk: Asterisk) -> None:
    for context in (
        *("huiyin-before", "huiyin-after-queue", "huiyin-after-dial", "huiyin-transferred"),
        *("huiyin-before-outbound", "huiyin-outbound-answered", "huiyin-outbound", "huiyin-served"),
        *("huiyin-phone", "huiyin-rate", "huiyin-hangup", "huiyin-request"),
    ):
        assert f"[ Context '{context}' created by 'pbx_config' ]" in asterisk.cli(f"dialplan show {context}")


def test_the_names_of_the_six_ways_are_in_the_sample(asterisk: Asterisk) -> None:
    shown = asterisk.cli("dialplan show huiyin-sample-in") + asterisk.cli("dialplan show huiyin-sample-agents")
    for word in ("Queue(hotline,ct", "Dial(PJSIP/1001,30,gt)", "huiyin-transferred", "F(huiyin-outbound^s^1)"):
        assert word in shown


def test_the_sites_values_are_globals(asterisk: Asterisk, agi: AgiDouble) -> None:
    shown = asterisk.cli("dialplan show globals")
    assert f"HUIYIN_AGI=127.0.0.1:{agi.port}" in shown
    assert "HUIYIN_LANG=zh" in shown
    assert "HUIYIN_FEATURE=huiyin-rate" in shown


def test_the_system_has_a_name(asterisk: Asterisk) -> None:
    assert re.search(r"^ *System name: +lx1$", asterisk.cli("core show settings"), re.M)


def test_the_features_are_there(asterisk: Asterisk) -> None:
    shown = asterisk.cli("features show")
    assert re.search(r"^huiyin-rate +no +def +\*9 *$", shown, re.M)
    assert re.search(r"^Blind Transfer +# +#1 *$", shown, re.M)


def test_the_manager_user_cannot_log_in_without_a_secret(asterisk: Asterisk) -> None:
    assert "huiyin" in asterisk.cli("manager show users")
    for secret in ("", "…", "huiyin"):
        with socket.create_connection(("127.0.0.1", asterisk.ami_port), 5) as wire, wire.makefile("rwb") as talk:
            assert talk.readline().startswith(b"Asterisk Call Manager")
            talk.write(f"Action: Login\r\nUsername: huiyin\r\nSecret: {secret}\r\n\r\n".encode())
            talk.flush()
            assert talk.readline().strip() == b"Response: Error"


def test_queue_log_is_written(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    with sipp.caller("200", (AwaitHangUp(),), number="13993000002") as citizen:
        citizen.finish()
    asterisk.wait_idle()
    call = agi.requests[0].values["call"]
    lines = (asterisk.home / "log" / "queue_log").read_text().splitlines()
    events = [line.split("|") for line in lines if f"|{call}|" in line]
    assert [event[4] for event in events] == ["ENTERQUEUE", "CONNECT", "COMPLETEAGENT"]
    assert events[0][6] == "13993000002"
