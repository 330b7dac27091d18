"""The stand-in for Asterisk says what a real Asterisk 22.10 was seen to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError

from ivr.agi import AGIResultHangup
from ivr.listener import Listener
from ivr.session import Session
from simulate.caller import (
    Answer,
    CallReport,
    HangUp,
    Late,
    Pace,
    Plan,
    Silent,
    environment_block,
    place_call,
    request_line,
    words,
)
from tests.ivr.serving import on_reactor, reactor

SILENT, HANG_UP = Silent.SILENT, HangUp.HANG_UP


async def asked(commands: tuple[str, ...], plan: Plan) -> tuple[list[str], CallReport]:
    """The replies of the stand-in to these commands, and its report."""
    replies: list[str] = []

    async def dialogue(session: Session, head: bytes) -> None:
        for line in commands:
            replies.append((await session.ask(line.encode() + b"\n")).decode().strip("\n"))

    listener = Listener(reactor(), dialogue, allow=[ip_network("127.0.0.1")], max_calls=1, call_limit=10.0)
    listener.listen("127.0.0.1", 0)
    try:
        report = await place_call(reactor(), plan, port=listener.port)
    finally:
        await listener.stop(0.0)
    return replies, report


@dataclass(frozen=True)
class Case:
    name: str
    commands: tuple[str, ...]
    replies: tuple[str, ...]
    answers: tuple[Answer, ...] = ()
    missing: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)


STATUS, READ = 'GET VARIABLE "BACKGROUNDSTATUS"', 'GET FULL VARIABLE "${READSTATUS}:${V}"'
DEAD = "511 Command Not Permitted on a dead channel or intercept routine"
CASES = [
    Case("GET DATA does not join", ('GET DATA "a&b" 2000 1',), ("200 result=-1",)),
    Case("GET DATA, missing", ('GET DATA "a" 2000 1', "ANSWER"), ("200 result=-1", "200 result=0"),
         missing=frozenset({"a"})),
    Case("GET DATA, key", ("GET DATA a 2000 1",), ("200 result=5",), ("5",)),
    Case("GET DATA, key after", ("GET DATA a 2000 1",), ("200 result=*",), (Late("*"),)),
    Case("GET DATA, #", ("GET DATA a 2000 1",), ("200 result=",), ("#",)),
    Case("GET DATA, silence", ("GET DATA a 2000 1",), ("200 result= (timeout)",)),
    Case("GET DATA, no file", ('GET DATA "" 1000 1',), ("200 result= (timeout)",)),
    Case("GET DATA, hung up", ("GET DATA a 2000 1", "SET VARIABLE V x", "GET VARIABLE V", 'STREAM FILE a ""'),
         ("200 result=-1", "200 result=1", "200 result=1 (x)", DEAD), (HANG_UP,)),
    Case("STREAM FILE", ('STREAM FILE a ""',), ("200 result=0 endpos=8000",)),
    Case("STREAM FILE does not join", ('STREAM FILE "a&b" ""',), ("200 result=-1 endpos=0",)),
    Case("STREAM FILE, escape", ('STREAM FILE a "12"',), ("200 result=50 endpos=4000",), ("2",)),
    Case("STREAM FILE, a key that is no escape", ('STREAM FILE a "12"',), ("200 result=0 endpos=4000",), ("3",)),
    Case("STREAM FILE keeps no key", ('STREAM FILE a ""', "WAIT FOR DIGIT 1"),
         ("200 result=0 endpos=8000", "200 result=53"), ("5",)),
    Case("Background", ("EXEC Background a&b", STATUS), ("200 result=0", "200 result=1 (SUCCESS)")),
    Case("Background, key", ('EXEC Background "a&b"',), ("200 result=53",), ("5",)),
    Case("Background, #", ("EXEC Background a&b",), ("200 result=35",), ("#",)),
    Case("Background, missing", ("EXEC Background a&b&c", STATUS), ("200 result=0", "200 result=1 (FAILED)"),
         missing=frozenset({"b"})),
    Case("Background, hung up", ("EXEC Background a&b", "ANSWER"), ("200 result=-1", DEAD), (HANG_UP,)),
    Case("Playback", ("EXEC Playback a&b", "GET VARIABLE PLAYBACKSTATUS"),
         ("200 result=0", "200 result=1 (FAILED)"), missing=frozenset({"b"})),
    Case("Read, key", ("EXEC Read V,a&b,1,,1,8", READ), ("200 result=0", "200 result=1 (OK:5)"), ("5",)),
    Case("Read, #", ("EXEC Read V,a&b,1,,1,8", READ), ("200 result=0", "200 result=1 (OK:)"), ("#",)),
    Case("Read, silence", ('EXEC Read "V,a&b,1,,1,0.5"', READ), ("200 result=0", "200 result=1 (TIMEOUT:)")),
    Case("Read, hung up", ("EXEC Read V,a,1,,1,8", READ), ("200 result=0", "200 result=1 (HANGUP:)"), (HANG_UP,)),
    Case("Read skips what is missing", ("EXEC Read V,a&b,1,,1,8", READ), ("200 result=0", "200 result=1 (OK:1)"),
         ("1",), frozenset({"a"})),
    Case("unknown application", ("EXEC Nonsense x",), ("200 result=-2",)),
    Case("unknown command", ("DANCE now",), ("510 Invalid or unknown command",)),
    Case("wrong use", ("WAIT FOR DIGIT",), ("520 End of proper usage.",)),
    Case("WAIT FOR DIGIT", ("WAIT FOR DIGIT 1000", "WAIT FOR DIGIT 1000"), ("200 result=35", "200 result=0"), ("#",)),
    Case("GET OPTION", ("GET OPTION a 12* 100",), ("200 result=42 endpos=8000",), ("*",)),
    Case("a variable that is not set", ("GET VARIABLE V",), ("200 result=0",)),
    Case("CHANNEL STATUS", ("CHANNEL STATUS",), ("200 result=6",)),
    Case("HANGUP", ("HANGUP", "SET VARIABLE V x", "ANSWER"), ("200 result=1", "200 result=1", DEAD)),
    Case("a hang-up anywhere", ("ANSWER", "NOOP", "ANSWER"), ("200 result=0", "200 result=0", DEAD),
         options={"hang_up_on": "NOOP"}),
    Case("the hangup handler's channel", ("SET VARIABLE V x", "ANSWER"), ("200 result=1", DEAD),
         options={"dead_from_start": True}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@on_reactor
async def test_replies_as_asterisk_gives_them(case: Case) -> None:
    plan = Plan("rate", case.answers, missing=case.missing, **case.options)
    replies, report = await asked(case.commands, plan)
    assert tuple(replies) == case.replies
    assert report.clean
    assert report.commands == list(case.commands)


@on_reactor
async def test_the_line_hangup_comes_just_before_the_next_reply() -> None:
    _, report = await asked(("WAIT FOR DIGIT 9", "SET VARIABLE V x"), Plan("rate", (HANG_UP,)))
    assert report.lines == [
        "> WAIT FOR DIGIT 9",
        "< 200 result=-1",
        "> SET VARIABLE V x",
        "< HANGUP",
        "< 200 result=1",
    ]


@on_reactor
async def test_a_command_out_of_turn_is_not_taken() -> None:
    said: list[bytes] = []

    async def dialogue(session: Session, head: bytes) -> None:
        said.append(await session.ask(b"WAIT FOR DIGIT 9\nNOOP\n"))

    listener = Listener(reactor(), dialogue, allow=[ip_network("127.0.0.1")], max_calls=1, call_limit=10.0)
    listener.listen("127.0.0.1", 0)
    await place_call(reactor(), Plan("rate", pace=Pace(silence=0.05)), port=listener.port)
    await listener.stop(0.0)
    assert said == [b"520 a command came while another ran: FastAGI takes turns"]


@on_reactor
async def test_pace() -> None:
    before = reactor().seconds()
    await asked(("EXEC Background a&b", "WAIT FOR DIGIT 50"), Plan("rate", pace=Pace(file=0.05, silence=None)))
    assert 0.15 <= reactor().seconds() - before < 2.0


@on_reactor
async def test_a_call_can_be_broken_off() -> None:
    gone: list[AGIResultHangup] = []

    async def dialogue(session: Session, head: bytes) -> None:
        reactor().callLater(0, calling.cancel)
        try:
            await session.wait_for_digit(60_000)
        except AGIResultHangup as error:
            gone.append(error)

    listener = Listener(reactor(), dialogue, allow=[ip_network("127.0.0.1")], max_calls=1, call_limit=10.0)
    listener.listen("127.0.0.1", 0)
    calling = place_call(reactor(), Plan("rate", pace=Pace(silence=None)), port=listener.port)
    with pytest.raises(CancelledError):
        await calling
    await listener.stop(5.0)
    assert len(gone) == 1


@on_reactor
async def test_nobody_listens() -> None:
    with pytest.raises(ConnectError):
        await place_call(reactor(), Plan("rate"), port=1)


WORDS = {
    "plain": ("GET DATA a 1", ["GET", "DATA", "a", "1"]),
    "quotes": ('SET VARIABLE "a b" ""', ["SET", "VARIABLE", "a b", ""]),
    "escapes": (r'X "a\"b\\" c\ d', ["X", 'a"b\\', "c d"]),
    "quotes in a word": ('a"b c"d', ["ab cd"]),
    "blanks": ("  a\t b  ", ["a", "b"]),
    "nothing": ("", []),
}


@pytest.mark.parametrize("name", WORDS)
def test_words(name: str) -> None:
    line, expected = WORDS[name]
    assert words(line) == expected


@given(st.text())
def test_any_line_can_be_taken_apart(line: str) -> None:
    assert all(isinstance(word, str) for word in words(line))


def test_the_environment_is_asterisks() -> None:
    block = environment_block(Plan(request_line("rate", call="c 1", queue="咨询"), name=b"\xcd\xf5"), "127.0.0.1", 4573)
    lines = block.split(b"\n")
    assert lines[:3] == [
        b"agi_network: yes",
        b"agi_network_script: rate?call=c%201&queue=%E5%92%A8%E8%AF%A2",
        b"agi_request: agi://127.0.0.1:4573/rate?call=c%201&queue=%E5%92%A8%E8%AF%A2",
    ]
    assert b"agi_calleridname: \xcd\xf5" in lines
    assert request_line("rate", agent="\udcd5\udcc5", queue=b"\xd5\xc5") == "rate?agent=%D5%C5&queue=%D5%C5"
    assert block.endswith(b"\n\n")
