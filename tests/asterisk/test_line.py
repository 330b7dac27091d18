"""The line as a whole: a sipp caller, a real Asterisk with the shipped dialplan, `huiyin serve`, and a centre.

What became of a call is read from the database file and from what the centre holds, with connections of their own.
The question's prompts are cut to a quarter of a second each, so that the question lasts three seconds and waits for
three more; what is said at the end keeps its length.
"""

from __future__ import annotations

import shutil
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.asterisk.conftest import MakePhones, StartAsterisk
from tests.asterisk.rig import SOUNDS, Asterisk, wait_until
from tests.asterisk.sipp import AwaitHangUp, Dial, HangUp, KeysBy, Press, Refer, Sipp, Step, Wait
from tests.faults.processes import Centre, Server

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CLOSING = {"thanks", "already-rated", "goodbye", "sorry"}
CALLER = "13993000004"
DURING, AFTER = Wait(0.8), Wait(4.0)
TO_THE_END = AwaitHangUp(40.0)


@dataclass
class Line:
    """Everything between a caller and the centre."""

    asterisk: Asterisk
    server: Server
    centre: Centre

    def call_keys(self) -> set[str]:
        """The calls that the database knows."""
        return {key for (key,) in self.server.rows("SELECT call_key FROM calls")}

    def call(self, key: str) -> dict[str, Any]:
        """One call as it is stored, its invitation's state, and how often it was rated."""
        ((agent, queue, outcome, kind, sealed, state, ratings),) = self.server.rows(
            "SELECT c.agent, c.queue, c.outcome, c.number_kind, c.number_sealed, i.state,"
            " (SELECT count(*) FROM ratings r WHERE r.call_subject_id = c.subject_id)"
            " FROM calls c LEFT JOIN invitation_members m ON m.subject_id = c.subject_id"
            f" LEFT JOIN invitations i ON i.id = m.invitation_id WHERE c.call_key = '{key}'"
        )
        assert kind == "mobile"
        assert CALLER.encode() not in sealed
        return {"agent": agent, "queue": queue, "outcome": outcome, "invitation": state, "ratings": ratings}

    def pushed(self, key: str) -> dict[str, Any]:
        """The record of the call at the centre, once nothing waits to be sent."""
        wait_until("the outbox is empty", lambda: self.server.waiting() == 0, 20.0)
        ((identity, _level, _reasons),) = self.server.ratings()[key]
        assert self.centre.violations() == []
        return self.centre.received()[identity]


@pytest.fixture(scope="module")
def line(start_asterisk: StartAsterisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    home = tmp_path_factory.mktemp("line")
    centre = Centre(home)
    server = Server(home, centre)
    try:
        server.start(env={"HUIYIN_IVR__DIGIT_TIMEOUT": "3"})
        asterisk = start_asterisk(agi=f"127.0.0.1:{server.port}", sounds=short_sounds(home / "sounds"))
        yield Line(asterisk, server, centre)
        assert server.running.terminate() == 0
    finally:
        server.close()
        centre.close()


def short_sounds(folder: Path) -> Path:
    """The shipped prompts, those of the questions cut to a quarter of a second."""
    shutil.copytree(SOUNDS, folder / "huiyin")
    for file in (folder / "huiyin").rglob("*.wav"):
        if file.stem not in CLOSING:
            with wave.open(str(file), "rb") as sound:
                form, frames = sound.getparams(), sound.readframes(2000)
            with wave.open(str(file), "wb") as sound:
                sound.setparams(form)
                sound.writeframes(frames)
    return folder


@pytest.fixture
def sipp(line: Line, phones: MakePhones) -> Iterator[Sipp]:
    """Phones of the line's Asterisk."""
    yield phones(line.asterisk)
    if line.asterisk.active_channels():
        line.asterisk.cli("channel request hangup all")
        line.asterisk.wait_idle()


def call(line: Line, sipp: Sipp, extension: str, steps: Sequence[Step], name: bytes = b"") -> str:
    """One call, from its start to its last channel's end; the key under which it is stored."""
    before = line.call_keys()
    with sipp.caller(extension, steps, number=CALLER, name=name) as citizen:
        citizen.finish()
    line.asterisk.wait_idle()
    return new_call(line, before)


def new_call(line: Line, before: set[str]) -> str:
    """The one call that is stored now and was not before."""
    wait_until("the call is stored", lambda: line.call_keys() != before, 10.0)
    (key,) = line.call_keys() - before
    return key


# ── what a caller does ────────────────────────────────────────────────────────────────────────────────────────────────

RATED = [
    pytest.param((DURING, Press("1"), TO_THE_END), 5, id="during the prompt"),
    pytest.param((DURING, Press("1", KeysBy.INFO), TO_THE_END), 5, id="during the prompt, by INFO"),
    pytest.param((AFTER, Press("2"), TO_THE_END), 4, id="after the prompt"),
    pytest.param((DURING, Press("9"), Wait(1.2), Press("3"), TO_THE_END), 3, id="a wrong key, then a right one"),
    pytest.param((DURING, Press("*"), Wait(1.0), Press("1"), TO_THE_END), 5, id="heard again by *"),
    pytest.param((DURING, Press("0"), Wait(1.0), Press("1"), TO_THE_END), 5, id="heard again by 0"),
    pytest.param((DURING, Press("1", KeysBy.INFO), Wait(0.7), HangUp()), 5, id="hangs up while thanked"),
]


@pytest.mark.parametrize(("steps", "level"), RATED)
def test_a_rating_reaches_the_centre(line: Line, sipp: Sipp, steps: Sequence[Step], level: int) -> None:
    key = call(line, sipp, "100", steps)

    assert line.call(key) == {
        "agent": "1001",
        "queue": "hotline",
        "outcome": "rated",
        "invitation": "rated",
        "ratings": 1,
    }
    record = line.pushed(key)
    assert int(record["satisfaction"]) == level
    assert record["projectNo"] == f"H{key}"
    assert str(record["proManager"]) == "1001"


def test_a_caller_whose_name_is_gbk(line: Line, sipp: Sipp) -> None:
    key = call(line, sipp, "100", (DURING, Press("1"), TO_THE_END), name='临夏"王五\\'.encode("gbk"))
    assert int(line.pushed(key)["satisfaction"]) == 5


UNRATED = [
    pytest.param((TO_THE_END,), "no_input", id="presses nothing"),
    pytest.param((DURING, Press("9"), Wait(1.2), Press("8"), TO_THE_END), "invalid", id="presses wrong keys"),
    pytest.param((Wait(1.5), HangUp()), "hangup", id="hangs up in the prompt"),
    pytest.param((DURING, Press("#"), TO_THE_END), "skipped", id="skips"),
]


@pytest.mark.parametrize(("steps", "outcome"), UNRATED)
def test_a_call_left_unrated(line: Line, sipp: Sipp, steps: Sequence[Step], outcome: str) -> None:
    key = call(line, sipp, "100", steps)

    stored = line.call(key)
    assert (stored["outcome"], stored["ratings"]) == (outcome, 0), "the report at the call's end changes nothing"
    assert stored["invitation"] != "rated"
    assert key not in line.server.ratings()


def test_a_bad_rating_with_its_reason(line: Line, sipp: Sipp) -> None:
    key = call(line, sipp, "100", (DURING, Press("5"), Wait(0.8), Press("2"), TO_THE_END))

    record = line.pushed(key)
    assert int(record["satisfaction"]) == 1
    assert record["evalDetail"] == "115", "the second of the reasons for 非常不满意"


@pytest.mark.parametrize("end", [(Wait(0.8), Press("#"), TO_THE_END), (Wait(0.8), HangUp())], ids=["#", "hangs up"])
def test_a_bad_rating_without_a_reason(line: Line, sipp: Sipp, end: Sequence[Step]) -> None:
    key = call(line, sipp, "100", (DURING, Press("4"), *end))

    assert line.call(key)["outcome"] == "rated"
    record = line.pushed(key)
    assert int(record["satisfaction"]) == 2
    assert not record.get("evalDetail")
    assert record["writingEvaluation"], "the profile's true text"


def test_a_call_is_rated_once(line: Line, sipp: Sipp) -> None:
    start = len(line.asterisk.log())
    key = call(line, sipp, "101", (DURING, Press("2", KeysBy.INFO), TO_THE_END))

    assert line.call(key)["ratings"] == 1
    ((evaluation, level, _),) = line.server.ratings()[key]
    assert level == 4
    assert f"went on: duplicate 4 {evaluation}" in line.asterisk.log()[start:]


def test_the_dialplan_learns_the_outcome(line: Line, sipp: Sipp) -> None:
    start = len(line.asterisk.log())
    key = call(line, sipp, "100", (DURING, Press("1", KeysBy.INFO), TO_THE_END))
    ((evaluation, _, _),) = line.server.ratings()[key]
    assert f"went on: rated 5 {evaluation}" in line.asterisk.log()[start:]


def test_a_case_answered_in_the_call_is_rated_with_it(line: Line, sipp: Sipp) -> None:
    key = call(line, sipp, "102", (DURING, Press("2"), TO_THE_END))

    wait_until("the outbox is empty", lambda: line.server.waiting() == 0, 20.0)
    found = line.server.rows(
        "SELECT e.subject_kind, e.satisfaction, e.project_no FROM evaluations e JOIN ratings r ON r.id = e.rating_id"
        f" JOIN calls c ON c.subject_id = r.call_subject_id WHERE c.call_key = '{key}' ORDER BY 1"
    )
    assert [(kind, level) for kind, level, _ in found] == [("call", 4), ("case", 4)]
    assert found[1][2] == "LX20260001"
    assert "LX20260001" in {record["projectNo"] for record in line.centre.received().values()}


# ── the six ways, to the centre ───────────────────────────────────────────────────────────────────────────────────────

TALK = Wait(1.0)
WAYS = [
    pytest.param("12345", (TALK, HangUp()), 2.6, id="Queue c: the agent hangs up"),
    pytest.param("12346", (TALK, HangUp()), 2.6, id="Dial g: the agent hangs up"),
    pytest.param("12345", (TALK, Dial("*9"), AwaitHangUp()), 3.0, id="Queue: feature code"),
    pytest.param("12346", (TALK, Dial("*9"), AwaitHangUp()), 3.0, id="Dial: feature code"),
    pytest.param("12345", (TALK, Refer("8800")), 2.6, id="Queue: REFER"),
    pytest.param("12346", (TALK, Refer("8800")), 2.6, id="Dial: REFER"),
    pytest.param("12345", (TALK, Dial("#1"), Wait(1.0), Dial("8800"), AwaitHangUp()), 5.5, id="Queue: DTMF"),
    pytest.param("12346", (TALK, Dial("#1"), Wait(1.0), Dial("8800"), AwaitHangUp()), 5.5, id="Dial: DTMF"),
]


@pytest.mark.parametrize(("extension", "agent", "pressed_after"), WAYS)
def test_every_way_to_the_centre(
    line: Line, sipp: Sipp, extension: str, agent: Sequence[Step], pressed_after: float
) -> None:
    with sipp.agent(line.asterisk.phone_ports["1001"], agent) as phone:
        key = call(line, sipp, extension, (Wait(pressed_after), Press("2"), TO_THE_END))
        phone.finish()

    assert line.call(key) == {
        "agent": "1001",
        "queue": "hotline" if extension == "12345" else None,
        "outcome": "rated",
        "invitation": "rated",
        "ratings": 1,
    }
    assert int(line.pushed(key)["satisfaction"]) == 4


def test_a_called_citizen_to_the_centre(line: Line, sipp: Sipp) -> None:
    before = line.call_keys()
    pressed = (Wait(2.6), Press("2", KeysBy.INFO), AwaitHangUp())
    with (
        sipp.agent(line.asterisk.phone_ports["trunk"], pressed) as citizen,
        sipp.caller(f"9{CALLER}", (TALK, HangUp()), number="1001") as agent,
    ):
        agent.finish()
        citizen.finish()
    line.asterisk.wait_idle()
    key = new_call(line, before)

    stored = line.call(key)
    assert (stored["agent"], stored["outcome"]) == ("1001", "rated")
    assert int(line.pushed(key)["satisfaction"]) == 4


def test_a_caller_who_hangs_up_on_the_agent_waits_for_his_sms(line: Line, sipp: Sipp) -> None:
    with sipp.agent(line.asterisk.phone_ports["1001"], (AwaitHangUp(),)) as phone:
        key = call(line, sipp, "12345", (Wait(2.0), HangUp()))
        phone.finish()

    stored = line.call(key)
    assert (stored["agent"], stored["queue"]) == ("1001", "hotline")
    assert (stored["outcome"], stored["invitation"], stored["ratings"]) == ("not_offered", "waiting", 0)


def test_a_caller_whom_nobody_served_is_not_stored(line: Line, sipp: Sipp) -> None:
    before = line.call_keys()
    with sipp.caller("203", (TO_THE_END,), number=CALLER) as citizen:
        citizen.finish()
    line.asterisk.wait_idle()
    assert line.call_keys() == before
