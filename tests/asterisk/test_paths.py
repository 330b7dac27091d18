"""The dialplan on a real Asterisk: the six ways to the rating, their gates, and the report at a call's end.

The FastAGI server here only records and answers; what a rating then becomes is tested with the real server.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.asterisk.agi_double import AgiDouble, Talk, rated
from tests.asterisk.rig import Asterisk
from tests.asterisk.sipp import AwaitHangUp, Dial, HangUp, KeysBy, Press, Reaction, Refer, Sipp, Step, Wait

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CALLER = "13993000001"
AFTER_TALK: tuple[Step, ...] = (Wait(1.0), HangUp())
SHORT_TALK = Wait(1.0)


def paths(agi: AgiDouble) -> list[str]:
    """What was asked, in order."""
    return [request.path for request in agi.requests]


def call_served_by(
    sipp: Sipp,
    asterisk: Asterisk,
    extension: str,
    agent: Sequence[Step],
    caller: Sequence[Step] = (AwaitHangUp(),),
    name: bytes = b"",
) -> None:
    """One call to `extension` that phone 1001 answers, from start to the last channel's end."""
    with (
        sipp.agent(asterisk.phone_ports["1001"], agent) as phone,
        sipp.caller(extension, caller, number=CALLER, name=name) as citizen,
    ):
        citizen.finish()
        phone.finish()
    asterisk.wait_idle()


# ── the six ways ──────────────────────────────────────────────────────────────────────────────────────────────────────

WAYS = [
    pytest.param("12345", AFTER_TALK, id="Queue c: the agent hangs up"),
    pytest.param("12346", AFTER_TALK, id="Dial g: the agent hangs up"),
    pytest.param("12345", (SHORT_TALK, Dial("*9"), AwaitHangUp()), id="Queue: feature code"),
    pytest.param("12346", (SHORT_TALK, Dial("*9"), AwaitHangUp()), id="Dial: feature code"),
    pytest.param("12345", (SHORT_TALK, Refer("8800")), id="Queue: REFER"),
    pytest.param("12346", (SHORT_TALK, Refer("8800")), id="Dial: REFER"),
    pytest.param("12345", (SHORT_TALK, Dial("#1"), Wait(1.0), Dial("8800"), AwaitHangUp()), id="Queue: DTMF"),
    pytest.param("12346", (SHORT_TALK, Dial("#1"), Wait(1.0), Dial("8800"), AwaitHangUp()), id="Dial: DTMF"),
]


def asked_and_rated(talk: Talk) -> None:
    """A rating that takes its second, as a real one does."""
    if talk.request.path == "rate":
        talk.command('STREAM FILE huiyin/zh/press-1 ""')
    rated(talk)


@pytest.mark.parametrize(("extension", "agent"), WAYS)
def test_a_served_caller_is_asked_once(
    agi: AgiDouble, asterisk: Asterisk, sipp: Sipp, extension: str, agent: Sequence[Step]
) -> None:
    agi.script = asked_and_rated
    call_served_by(sipp, asterisk, extension, agent)

    assert paths(agi) == ["rate"]
    request = agi.requests[0]
    values = request.values
    assert values.pop("call") == request.environment["agi_uniqueid"].decode()
    assert values.pop("agent") in ({"PJSIP/1001"} if extension == "12345" else {"PJSIP/1001", "1001"})
    assert values == {
        "queue": "hotline" if extension == "12345" else "",
        "dept": "",
        "case": "",
        "closed": "",
        "lang": "zh",
    }
    assert request.environment["agi_callerid"] == CALLER.encode()


def test_a_called_citizen_is_asked_when_the_agent_hangs_up(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    with (
        sipp.agent(asterisk.phone_ports["trunk"], (AwaitHangUp(),)) as citizen,
        sipp.caller(f"9{CALLER}", AFTER_TALK, number="1001") as agent,
    ):
        agent.finish()
        citizen.finish()
    asterisk.wait_idle()

    assert paths(agi) == ["rate"]
    request = agi.requests[0]
    assert request.values["agent"] == "PJSIP/1001"
    assert request.values["queue"] == ""
    assert request.values["lang"] == "zh"
    assert request.environment["agi_callerid"] == CALLER.encode(), "the citizen's number, not the agent's"
    # The call's name is the agent's leg, which began it: one name for both legs.
    assert request.values["call"].startswith("lx1-")
    assert request.values["call"] != request.environment["agi_uniqueid"].decode()
    assert request.environment["agi_channel"].startswith(b"PJSIP/trunk-")


def test_an_agent_behind_a_local_channel(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    for extension, agent, queue in (("200", "Local/2001@desks/n", "desks"), ("201", "2001@desks/n", "")):
        agi.clear()
        with sipp.caller(extension, (AwaitHangUp(),), number=CALLER) as citizen:
            citizen.finish()
        asterisk.wait_idle()
        assert paths(agi) == ["rate"]
        assert (agi.requests[0].values["agent"], agi.requests[0].values["queue"]) == (agent, queue)


def test_every_value_arrives_as_it_was(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    with sipp.caller("204", (AwaitHangUp(),), name='王"五\\'.encode("gbk")) as citizen:
        citizen.finish()
    asterisk.wait_idle()

    assert paths(agi) == ["rate"]
    values = agi.requests[0].values
    assert values["dept"] == '1162 29&agent=9999#,"x"'
    assert values["case"] == "LX/2026?&closed=1;工单%20+"
    assert values["closed"] == ""
    assert values["agent"] == "Local/2001@desks/n"


def test_a_case_answered_in_the_call(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    with sipp.caller("207", (AwaitHangUp(),)) as citizen:
        citizen.finish()
    asterisk.wait_idle()

    values = agi.requests[0].values
    assert (values["case"], values["closed"], values["lang"]) == ("LX20260001", "1", "bo")


# ── the gates ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_is_asked_whom_no_agent_served(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    cases: list[tuple[str, str, Reaction, Sequence[Step]]] = [
        ("gives up in the queue while the phone rings", "12345", Reaction.RING, (Wait(1.5), HangUp())),
        ("gives up while one agent's phone rings", "12346", Reaction.RING, (Wait(1.5), HangUp())),
        ("the agent is busy", "12346", Reaction.BUSY, (AwaitHangUp(),)),
        ("the queue's time is over", "203", Reaction.RING, (AwaitHangUp(),)),
    ]
    for label, extension, reaction, caller in cases:
        agi.clear()
        with (
            sipp.agent(asterisk.phone_ports["1001"], reaction=reaction) as phone,
            sipp.caller(extension, caller, number=CALLER) as citizen,
        ):
            citizen.finish()
            phone.finish()
        asterisk.wait_idle()
        assert paths(agi) == [], label


def test_who_dials_the_ratings_extension_is_not_asked(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    before = len(asterisk.log())
    with sipp.caller("8800", (AwaitHangUp(),), number="1001") as phone:
        assert phone.process.wait(20) != 0, "refused without an answer, which is no scenario of a caller"
    asterisk.wait_idle()
    assert "[s@huiyin-transferred:1]" in asterisk.log()[before:]
    assert paths(agi) == []


def test_an_agent_no_longer_there_does_not_vouch_for_the_next(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    with (
        sipp.agent(asterisk.phone_ports["1002"], reaction=Reaction.RING) as second,
        sipp.caller("206", (AwaitHangUp(),), number=CALLER) as citizen,
    ):
        citizen.finish()
        second.finish()
    asterisk.wait_idle()

    assert paths(agi) == ["ended"], "not served by the second agent, so not asked; but the first one served"
    assert agi.requests[0].values["agent"] == "2001@desks/n"


def test_the_last_agent_is_the_one_who_is_rated(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    with sipp.agent(asterisk.phone_ports["1002"], AFTER_TALK) as second:
        call_served_by(sipp, asterisk, "12345", (SHORT_TALK, Refer("1002")))
        second.finish()
    asterisk.wait_idle()

    assert paths(agi) == ["rate"]
    assert (agi.requests[0].values["agent"], agi.requests[0].values["queue"]) == ("1002", "")


# ── the end of a call ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("extension", ["12345", "12346"])
def test_a_caller_who_hangs_up_on_the_agent_is_reported(
    agi: AgiDouble, asterisk: Asterisk, sipp: Sipp, extension: str
) -> None:
    call_served_by(sipp, asterisk, extension, (AwaitHangUp(),), (Wait(2.0), HangUp()))

    assert paths(agi) == ["ended"]
    request = agi.requests[0]
    assert request.values["agent"] in ("PJSIP/1001", "1001")
    assert request.values["queue"] == ("hotline" if extension == "12345" else "")
    assert request.values["call"] == request.environment["agi_uniqueid"].decode()
    assert request.environment["agi_callerid"] == CALLER.encode()


def test_a_citizen_who_hangs_up_on_the_calling_agent_is_reported(
    agi: AgiDouble, asterisk: Asterisk, sipp: Sipp
) -> None:
    with (
        sipp.agent(asterisk.phone_ports["trunk"], (Wait(1.5), HangUp())) as citizen,
        sipp.caller(f"9{CALLER}", (AwaitHangUp(),), number="1001") as agent,
    ):
        agent.finish()
        citizen.finish()
    asterisk.wait_idle()

    assert paths(agi) == ["ended"]
    assert agi.requests[0].values["agent"] == "PJSIP/1001"
    assert agi.requests[0].environment["agi_callerid"] == CALLER.encode()


def test_a_citizen_who_does_not_answer_is_not_reported(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    with (
        sipp.agent(asterisk.phone_ports["trunk"], reaction=Reaction.BUSY) as citizen,
        sipp.caller(f"9{CALLER}", (AwaitHangUp(),), number="1001") as agent,
    ):
        agent.process.wait(20)  # refused before an answer, which is no scenario of a caller
        citizen.finish()
    asterisk.wait_idle()
    assert paths(agi) == []


def test_an_agent_served_but_nobody_asked_is_reported(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    with sipp.caller("202", (AwaitHangUp(),)) as citizen:
        citizen.finish()
    asterisk.wait_idle()
    assert paths(agi) == ["ended"]
    assert (agi.requests[0].values["agent"], agi.requests[0].values["queue"]) == ("Local/2001@desks/n", "desks")


@pytest.mark.parametrize(
    ("outcome", "reported"),
    [
        ("rated", False),
        ("duplicate", False),
        ("no_input", True),
        ("invalid", True),
        ("hangup", True),
        ("skipped", True),
        ("error", True),
    ],
)
def test_who_leaves_the_rating_is_reported(
    agi: AgiDouble, asterisk: Asterisk, sipp: Sipp, outcome: str, reported: bool
) -> None:
    def answer(talk: Talk) -> None:
        if talk.request.path == "rate":
            talk.command(f"SET VARIABLE HUIYIN_OUTCOME {outcome}")

    agi.script = answer
    with sipp.caller("201", (AwaitHangUp(),)) as citizen:
        citizen.finish()
    asterisk.wait_idle()
    assert paths(agi) == (["rate", "ended"] if reported else ["rate"])
    if reported:
        assert agi.requests[1].values == agi.requests[0].values


def test_hanging_up_after_the_rating_reports_nothing(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    """The outcome is set after the hangup too, so a rating that is stored is not asked for again by SMS."""

    def thank(talk: Talk) -> None:
        if talk.request.path == "rate":
            assert talk.command('STREAM FILE huiyin/zh/ask ""').startswith("200 result=-1"), "hung up while it played"
            rated(talk)

    agi.script = thank
    with sipp.caller("100", (Wait(1.5), HangUp())) as citizen:
        citizen.finish()
    asterisk.wait_idle()
    assert paths(agi) == ["rate"]


def test_the_dialplan_goes_on_after_the_rating(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    before = len(asterisk.log())
    with sipp.caller("205", (AwaitHangUp(),)) as citizen:
        citizen.finish()
    asterisk.wait_idle()
    assert "went on: rated 5 1" in asterisk.log()[before:]


def test_a_sites_own_features_stay(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp) -> None:
    before = len(asterisk.log())
    with sipp.caller("208", (AwaitHangUp(),)) as citizen:
        citizen.finish()
    asterisk.wait_idle()
    said = [
        line.rpartition("app_verbose.c: ")[2] for line in asterisk.log()[before:].splitlines() if "app_verbose" in line
    ]
    assert said == ["features: record#huiyin-rate", "without: record"]
    assert paths(agi) == []


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by", list(KeysBy))
@pytest.mark.parametrize("key", ["5", "0", "*", "#"])
def test_a_key_interrupts_the_question(agi: AgiDouble, asterisk: Asterisk, sipp: Sipp, by: KeysBy, key: str) -> None:
    heard: list[str] = []

    def ask(talk: Talk) -> None:
        question = "huiyin/zh/ask&huiyin/zh/level-very-satisfied&huiyin/zh/press-1"
        if talk.request.path == "rate":
            heard.append(talk.command(f"EXEC Read HUIYIN_TEST,{question},1,,1,8"))
            heard.append(talk.command('GET FULL VARIABLE "${READSTATUS}:${HUIYIN_TEST}"'))
            rated(talk)

    agi.script = ask
    with sipp.caller("100", (Wait(1.0), Press(key, by), AwaitHangUp())) as citizen:
        citizen.finish()
    asterisk.wait_idle()
    assert heard == ["200 result=0", f"200 result=1 (OK:{'' if key == '#' else key})"]
