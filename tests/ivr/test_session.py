"""The wire: everything that comes may be wrong, late, too much or gone, and the next caller is served all the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from intake.record import Stored
from ivr.agi import (
    HEAD_LIMIT,
    LINE_LIMIT,
    AGIException,
    AGIInvalidCommand,
    AGIResultHangup,
    AGIUsageError,
    Unplayable,
)
from ivr.listener import Listener, Refusal
from ivr.request import Path
from ivr.session import CallLimit, Session
from models.terms import CallOutcome, Satisfaction
from simulate.caller import CallReport, HangUp, Late, Pace, Plan, environment_block, place_call
from tests.conftest import TwistedErrors
from tests.ivr.desk import DeskDouble, Fault
from tests.ivr.raw import connect
from tests.ivr.serving import RATE, TurnedReactor, on_reactor, reactor, serving

HEAD = environment_block(Plan(RATE), "127.0.0.1", 4573)
Dialogue = Callable[[Session, bytes], Coroutine[Any, Any, None]]


@asynccontextmanager
async def listening(dialogue: Dialogue, *, on: Any = None, **options: Any) -> AsyncIterator[Listener]:
    chosen: dict[str, Any] = {"allow": [ip_network("127.0.0.1")], "max_calls": 100, "call_limit": 20.0} | options
    listener = Listener(on or reactor(), dialogue, **chosen)
    listener.listen("127.0.0.1", 0)
    try:
        yield listener
    finally:
        await listener.stop(0.0)


async def spoken(speak: Callable[[Session], Awaitable[Any]], *answers: Any, **plan: Any) -> tuple[Any, CallReport]:
    """What a session's coroutine gave or raised, and the other side's report."""
    result: list[Any] = []

    async def dialogue(session: Session, head: bytes) -> None:
        try:
            result.append(await speak(session))
        except AGIException as error:
            result.append(error)

    async with listening(dialogue) as listener:
        report = await place_call(reactor(), Plan("rate", answers, **plan), port=listener.port)
    return result[0], report


COMMANDS: dict[str, tuple[Callable[[Session], Awaitable[Any]], tuple[Any, ...], dict[str, Any], Any]] = {
    "answer": (lambda s: s.answer(), (), {}, None),
    "play": (lambda s: s.stream_file("f"), (), {}, ""),
    "play, key": (lambda s: s.stream_file("f", "12"), ("2",), {}, "2"),
    "play, missing": (lambda s: s.stream_file("f"), (), {"missing": frozenset({"f"})}, Unplayable),
    "play, hung up": (lambda s: s.stream_file("f"), (), {"hang_up_on": "STREAM"}, AGIResultHangup),
    "background": (lambda s: s.background("a&b"), (), {}, ""),
    "background, key": (lambda s: s.background("a&b"), ("#",), {}, "#"),
    "question": (lambda s: s.question("a&b", 1000), (), {}, ""),
    "question, key while it plays": (lambda s: s.question("a&b", 1000), ("0",), {}, "0"),
    "question, key after it": (lambda s: s.question("a&b", 1000), (Late("9"),), {}, "9"),
    "question, missing": (lambda s: s.question("a&b", 1000), ("1",), {"missing": frozenset({"a"})}, Unplayable),
    "question, the last missing": (lambda s: s.question("a&b", 1000), (), {"missing": frozenset({"b"})}, Unplayable),
    "background, hung up": (lambda s: s.background("a&b"), (HangUp.HANG_UP,), {}, AGIResultHangup),
    "get data": (lambda s: s.get_data("f"), ("7",), {}, ("7", "")),
    "get data, #": (lambda s: s.get_data("f"), ("#",), {}, ("", "")),
    "get data, silence": (lambda s: s.get_data("f"), (), {}, ("", "timeout")),
    "get data, missing": (lambda s: s.get_data("f"), (), {"missing": frozenset({"f"})}, Unplayable),
    "get data, hung up": (lambda s: s.get_data("f"), (Late(HangUp.HANG_UP),), {}, AGIResultHangup),
    "wait": (lambda s: s.wait_for_digit(1000), ("*",), {}, "*"),
    "wait, silence": (lambda s: s.wait_for_digit(1000), (), {}, ""),
    "a variable not set": (lambda s: s.get_variable("V"), (), {}, ""),
    "pyst2's own": (lambda s: s.call("say_digits", "12"), (), {}, AGIInvalidCommand),
    "wrong use": (lambda s: s.call("wait_for_digit", ""), (), {}, AGIUsageError),
    "hang up": (lambda s: s.hangup(), (), {}, None),
}


@pytest.mark.parametrize("name", COMMANDS)
@on_reactor
async def test_commands_and_their_results(name: str) -> None:
    speak, answers, plan, expected = COMMANDS[name]
    result, report = await spoken(speak, *answers, **plan)
    if isinstance(expected, type):
        assert type(result) is expected
    elif isinstance(expected, tuple):
        assert (result.result, result.data) == expected
    else:
        assert result == expected
    assert report.clean


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("fails", [False, True])
@on_reactor
async def test_a_dialogue_may_wait_for_a_deferred(late: bool, fails: bool) -> None:
    async def speak(session: Session) -> str:
        deferred: Deferred[str] = Deferred()
        fire: Callable[[], None] = (
            (lambda: deferred.errback(KeyError("k"))) if fails else (lambda: deferred.callback("fired"))
        )
        if late:
            reactor().callLater(0.01, fire)
        else:
            fire()
        await session.answer()
        try:
            return await deferred
        except KeyError as error:
            await session.answer()
            return str(error)

    result, report = await spoken(speak)
    assert result == ("'k'" if fails else "fired")
    assert report.clean


@on_reactor
async def test_nothing_comes_between_playing_and_waiting_for_a_key() -> None:
    pace = Pace(file=0.6)
    _, report = await spoken(lambda s: s.question("a&b", 1000), Late("9"), pace=pace)
    assert [line.split()[0] for line in report.commands] == ["EXEC", "WAIT"]
    result, report = await spoken(lambda s: s.question("a&b&c", 1000), pace=pace, missing=frozenset({"c"}))
    assert [line.split()[0] for line in report.commands] == ["EXEC", "WAIT", "GET"]
    assert type(result) is Unplayable


@on_reactor
async def test_variables_can_be_set_and_read_after_a_hang_up() -> None:
    async def speak(session: Session) -> str:
        with pytest.raises(AGIResultHangup):
            await session.background("a")
        await session.set_variable("V", 'a "b" \\ c')
        assert session.hung_up
        value = await session.get_variable("V")
        with pytest.raises(AGIResultHangup):
            await session.stream_file("a")
        return value

    result, _ = await spoken(speak, HangUp.HANG_UP)
    assert result == 'a "b" \\ c'


@on_reactor
async def test_a_lost_connection_is_a_hang_up_now_and_ever() -> None:
    ended: Deferred[list[str]] = Deferred()

    async def dialogue(session: Session, head: bytes) -> None:
        seen = []
        for _ in range(3):
            try:
                await session.answer()
            except AGIResultHangup as error:
                seen.append(str(error))
        ended.callback(seen)

    async with listening(dialogue) as listener:
        peer = await connect(listener.port)
        peer.send(HEAD)
        await peer.until(b"ANSWER\n")
        peer.transport.abortConnection()
        assert await ended == ["the connection is lost"] * 3
        await settled(lambda: listener.in_progress == 0)


@on_reactor
async def test_a_dialogue_that_fails_closes_its_connection_and_no_other(twisted_errors: TwistedErrors) -> None:
    async def dialogue(session: Session, head: bytes) -> None:
        await session.answer()
        if b"bad" in head:
            raise RuntimeError("broken on purpose")

    async with listening(dialogue) as listener:
        bad = await place_call(reactor(), Plan("bad"), port=listener.port)
        good = await place_call(reactor(), Plan("good"), port=listener.port)
    assert bad.commands == good.commands == ["ANSWER"]
    assert twisted_errors.expect(RuntimeError) == 1


@on_reactor
async def test_a_dialogue_that_awaits_another_world_is_told_so(twisted_errors: TwistedErrors) -> None:
    async def dialogue(session: Session, head: bytes) -> None:
        await asyncio.sleep(0)

    async with listening(dialogue) as listener:
        report = await place_call(reactor(), Plan("x"), port=listener.port)
        assert listener.in_progress == 0
    assert report.commands == []
    assert twisted_errors.expect(TypeError) == 1


@on_reactor
async def test_a_dialogue_that_cannot_begin_closes_its_connection(twisted_errors: TwistedErrors) -> None:
    def dialogue(session: Session, head: bytes) -> Any:
        raise RuntimeError("broken on purpose")

    async with listening(dialogue) as listener:
        report = await place_call(reactor(), Plan("x"), port=listener.port)
    assert report.commands == []
    assert twisted_errors.expect(RuntimeError) == 1


# ── hostile peers ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def served(port: int) -> bool:
    """A caller is served as ever."""
    report = await place_call(reactor(), Plan(RATE, ("1",), unique_id="after"), port=port)
    return report.outcome in ("rated", "duplicate")


HOSTILE = {
    "nothing, then closes": b"",
    "an empty head": b"\n\n",
    "no head": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\n\n",
    "binary": bytes(range(256)) * 8 + b"\n\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300,
    "a head without an end": b"agi_x: " + b"y" * (HEAD_LIMIT + 1),
    "a huge head": b"agi_x: " + b"y" * 2_000_000 + b"\n\n",
    "many variables": b"".join(b"agi_arg_%d: x\n" % n for n in range(5000)) + b"\n",
    "replies before questions": HEAD + b"200 result=1\n" * 5000,
    "hang-ups only": HEAD + b"HANGUP\n" * 5000,
    "an endless reply": HEAD + b"200 result=" + b"1" * (LINE_LIMIT * 3),
    "an endless usage": HEAD + b"520-Usage\n" + b"200 result=1\n" * 5000,
    "not AGI": HEAD + b"+OK\n-ERR\n999\n200\n2000 result=x\n200 result=\xff\n200result\n",
    "codes nobody knows": HEAD + b"000 x\n600 y\n404 z\n100 w\n" * 50,
    "numbers beyond numbers": HEAD + b"200 result=" + b"9" * 9000 + b"\n200 result=-9 endpos=" + b"9" * 9000 + b"\n",
}


@pytest.mark.parametrize("name", HOSTILE)
@on_reactor
async def test_a_hostile_peer_harms_nobody_else(name: str) -> None:
    async with serving() as server:
        peer = await connect(server.server.port)
        peer.send(HOSTILE[name])
        assert await served(server.server.port)
        peer.transport.loseConnection()
        await peer.closed
        assert await served(server.server.port)
    assert server.server.in_progress == 0


@given(st.lists(st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"\n", b"\n\n", HEAD, b"HANGUP\n", b"200 result=-1\n", b"511 x\n", b"520-x\n", b"520 x\n",
                     b"200 result=49\n", b"200 result=0\n", b"200 result=1\n", b"200 result=0 endpos=0\n"]),
), max_size=12))  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@on_reactor
async def test_any_bytes_leave_the_server_serving(pieces: list[bytes]) -> None:
    async with serving() as server:
        peer = await connect(server.server.port)
        for piece in pieces:
            peer.transport.write(piece)
        assert await served(server.server.port)
        peer.transport.abortConnection()
        await peer.closed
    assert server.server.in_progress == 0


@on_reactor
async def test_one_byte_at_a_time_is_a_call_like_any_other() -> None:
    async with serving() as server:
        peer = await connect(server.server.port)
        for at in range(len(HEAD)):
            peer.transport.write(HEAD[at : at + 1])
            await deferLater(reactor(), 0)
        for awaited, reply in [
            (b"ANSWER", b"200 result=0\n"),
            (b"EXEC Background", b"200 result=49\n"),
            (b"HUIYIN_SATISFACTION", b"200 result=1\n"),
        ]:
            await peer.until(awaited)
            peer.received = b""
            for at in range(len(reply)):
                peer.transport.write(reply[at : at + 1])
                await deferLater(reactor(), 0)
        await peer.until(b"HUIYIN_EVALUATION")
        assert len(server.desk.rated) == 1
        peer.transport.abortConnection()
        await peer.closed


@on_reactor
async def test_a_peer_that_does_not_read_costs_one_command() -> None:
    """The command waits for room; what the peer has in its buffers is not ours to keep."""
    line = b"NOOP " + b"x" * 2_000_000 + b"\n"
    sessions: list[Session] = []

    async def dialogue(session: Session, head: bytes) -> None:
        assert session._sock is not None
        session._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        sessions.append(session)
        await session.ask(line)

    async with listening(dialogue) as listener:
        peer = await connect(listener.port)
        peer.transport.pauseProducing()
        peer.send(HEAD)
        await settled(lambda: bool(sessions) and 0 < len(sessions[0]._unsent) < len(line))
        peer.transport.resumeProducing()
        await peer.until(b"x\n")
        assert (len(peer.received), peer.received[:6]) == (len(line), line[:6])
        assert sessions[0]._unsent == b""
        peer.send(b"200 result=0\n")
        await peer.closed


@on_reactor
async def test_a_peer_that_goes_with_a_command_half_written() -> None:
    sessions: list[Session] = []

    async def dialogue(session: Session, head: bytes) -> None:
        sessions.append(session)
        assert session._sock is not None
        session._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        await session.ask(b"NOOP " + b"x" * 2_000_000 + b"\n")

    async with listening(dialogue) as listener:
        peer = await connect(listener.port)
        peer.transport.pauseProducing()
        peer.send(HEAD)
        await settled(lambda: bool(sessions) and bool(sessions[0]._unsent))
        peer.transport.abortConnection()
        await peer.closed
        await settled(lambda: listener.in_progress == 0)


async def settled(condition: Callable[[], bool]) -> None:
    """Turns of the reactor until it holds."""
    for _ in range(2000):
        if condition():
            return
        await deferLater(reactor(), 0.001)
    raise AssertionError("did not come to hold")


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def say_answer(session: Session, head: bytes) -> None:
    await session.answer()


@pytest.mark.parametrize(("allow", "admitted"), [
    ("127.0.0.1", True), ("127.0.0.0/8", True), ("10.0.0.0/8", False), ("::/0", False),
])  # fmt: skip
@on_reactor
async def test_peers_outside_allow_are_closed_before_anything_is_read(allow: str, admitted: bool) -> None:
    refused: list[Refusal] = []
    async with listening(say_answer, allow=[ip_network(allow)], refused=refused.append) as listener:
        report = await place_call(reactor(), Plan("rate"), port=listener.port)
    assert report.commands == (["ANSWER"] if admitted else [])
    assert refused == ([] if admitted else [Refusal.NOT_ALLOWED])


def test_an_ipv4_peer_on_an_ipv6_port_is_its_ipv4_address() -> None:
    listener = Listener(reactor(), say_answer, allow=[ip_network("10.0.0.0/8")], max_calls=1, call_limit=1.0)
    assert listener._allowed("::ffff:10.1.2.3")
    assert not listener._allowed("::ffff:127.0.0.1")
    assert not listener._allowed("fe80::1%eth0")


@on_reactor
async def test_one_call_too_many_is_closed_and_a_place_that_becomes_free_is_given() -> None:
    refused: list[Refusal] = []
    async with listening(say_answer, max_calls=2, refused=refused.append) as listener:
        peers = [await connect(listener.port) for _ in range(3)]
        for peer in peers:
            peer.transport.write(HEAD)
        assert await peers[2].closed == b""
        assert refused == [Refusal.FULL]
        assert listener.in_progress == 2
        peers[0].transport.abortConnection()
        await settled(lambda: listener.in_progress == 1)
        report = await place_call(reactor(), Plan("rate"), port=listener.port)
        assert report.commands == ["ANSWER"]
        peers[1].transport.abortConnection()


@pytest.mark.parametrize("said", [b"", b"agi_network: yes\n", HEAD[:-1]])
@on_reactor
async def test_whoever_does_not_finish_the_head_loses_the_place(said: bytes) -> None:
    refused: list[Refusal] = []
    time = TurnedReactor()
    async with listening(say_answer, on=time, head_seconds=10.0, refused=refused.append) as listener:
        peer = await connect(listener.port)
        peer.send(said)
        await settled(lambda: listener.in_progress == 1)
        time.advance(9.9)
        assert (listener.in_progress, refused) == (1, [])
        time.advance(0.1)
        assert await peer.closed == b""
    assert refused == [Refusal.NO_HEAD]


@on_reactor
async def test_a_head_in_time_stops_its_clock() -> None:
    time = TurnedReactor()
    async with listening(say_answer, on=time, head_seconds=10.0) as listener:
        peer = await connect(listener.port)
        peer.send(HEAD)
        await peer.until(b"ANSWER")
        time.advance(11.0)
        assert listener.in_progress == 1
        peer.send(b"200 result=0\n")
        await peer.closed


@on_reactor
async def test_no_call_outlasts_the_limit_and_the_first_in_is_the_first_out() -> None:
    ended: list[str] = []

    async def dialogue(session: Session, head: bytes) -> None:
        try:
            await session.answer()
        except CallLimit:
            ended.append(head.decode()[-1])

    time = TurnedReactor()
    async with listening(dialogue, on=time, call_limit=20.0) as listener:
        first, second = [await connect(listener.port) for _ in range(2)]
        first.send(b"x: 1\n\n")
        await first.until(b"ANSWER")
        time.advance(1.0)
        second.send(b"x: 2\n\n")
        await second.until(b"ANSWER")
        time.advance(18.9)
        assert ended == []
        time.advance(0.1)
        await first.closed
        assert ended == ["1"]
        time.advance(1.0)
        await second.closed
    assert ended == ["1", "2"]


LIMIT = timedelta(seconds=30)


def told(satisfaction: str, evaluation: str, outcome: str) -> bytes:
    """What Asterisk is told at the end of a call that ran out of time."""
    return (
        f'SET VARIABLE "HUIYIN_SATISFACTION" "{satisfaction}"\n'
        f'SET VARIABLE "HUIYIN_EVALUATION" "{evaluation}"\n'
        f'SET VARIABLE "HUIYIN_OUTCOME" "{outcome}"\n'
    ).encode()


@on_reactor
async def test_a_caller_at_the_limit_gets_the_error_outcome() -> None:
    time = TurnedReactor()
    async with serving(ivr={"call_limit": LIMIT}, on=time) as server:
        peer = await connect(server.server.port)
        peer.send(HEAD)
        await peer.until(b"ANSWER\n")
        peer.send(b"200 result=0\n")
        await peer.until(b"EXEC Background")
        time.advance(LIMIT.total_seconds())
        said = await peer.closed
    assert said.endswith(told("", "", "error"))
    assert [outcome.value for _, outcome in server.desk.ended] == ["error"]


BAD_RATING = [
    (b"ANSWER", b"200 result=0\n"),
    (b"EXEC", b"200 result=53\n"),
    (b"SATISFACTION", b"200 result=1\n"),
    (b"EVALUATION", b"200 result=1\n"),
    (b"OUTCOME", b"200 result=1\n"),
]


@on_reactor
async def test_the_limit_in_the_reason_question_takes_nothing_from_the_rating() -> None:
    time = TurnedReactor()
    async with serving(ivr={"call_limit": LIMIT}, on=time) as server:
        peer = await connect(server.server.port)
        peer.send(HEAD)
        for awaited, reply in BAD_RATING:
            await peer.until(awaited)
            peer.send(reply)
        await peer.until(b"EXEC")
        time.advance(LIMIT.total_seconds())
        assert (await peer.closed).endswith(told("1", "e-1", "rated"))
    assert len(server.desk.rated) == len(server.desk.released) == 1
    assert not server.desk.ended


@pytest.mark.parametrize("variable", [b"SATISFACTION", b"EVALUATION", b"OUTCOME"])
@on_reactor
async def test_the_limit_while_the_variables_are_being_set_loses_no_end(variable: bytes) -> None:
    time = TurnedReactor()
    desk = DeskDouble(faults={"rate": Fault.FAILS})
    async with serving(desk, ivr={"call_limit": LIMIT}, on=time) as server:
        peer = await connect(server.server.port)
        peer.send(HEAD)
        for awaited, reply in BAD_RATING:
            await peer.until(awaited)
            if awaited == variable:
                break
            peer.send(reply)
        time.advance(LIMIT.total_seconds())
        assert (await peer.closed).endswith(told("", "", "error"))
    assert [outcome.value for _, outcome in desk.ended] == ["error"], "once"


@on_reactor
async def test_the_limit_while_the_rating_is_being_stored_waits_for_the_store() -> None:
    desk = DeskDouble(faults={"rate": Fault.QUEUED})
    time = TurnedReactor()
    async with serving(desk, ivr={"call_limit": LIMIT, "store_timeout": 60.0}, on=time) as server:
        peer = await connect(server.server.port)
        peer.send(HEAD)
        for awaited, reply in BAD_RATING[:2]:
            await peer.until(awaited)
            peer.send(reply)
        await settled(lambda: bool(desk.pending))
        time.advance(LIMIT.total_seconds())
        [(_, future)] = desk.pending
        future.set_result(Stored(True, "e", Satisfaction.VERY_DISSATISFIED, "r", held=True))
        assert (await peer.closed).endswith(told("1", "e", "rated"))
    assert desk.released == ["r"]
    assert server.server.statistics.calls == {(Path.RATE, CallOutcome.RATED): 1}


@on_reactor
async def test_a_caller_gone_while_the_rating_is_being_stored_has_rated() -> None:
    desk = DeskDouble(faults={"rate": Fault.QUEUED})
    async with serving(desk, ivr={"store_timeout": 5.0}) as server:
        peer = await connect(server.server.port)
        peer.send(HEAD)
        for awaited, reply in BAD_RATING[:2]:
            await peer.until(awaited)
            peer.send(reply)
        await settled(lambda: bool(desk.pending))
        peer.transport.abortConnection()
        await peer.closed
        [session] = server.server._listener._sessions
        await settled(lambda: session.gone is not None)
        assert server.server.in_progress == 1, "the store is still waited for"
        [(_, future)] = desk.pending
        future.set_result(Stored(True, "e", Satisfaction.VERY_DISSATISFIED, "r", held=True))
        await settled(lambda: server.server.in_progress == 0)
    assert desk.released == ["r"], "no reason can come, so the push goes"
    assert not desk.ended


@pytest.mark.parametrize("refused", [b"ANSWER", b"SATISFACTION"])
@on_reactor
async def test_an_asterisk_that_refuses_a_command_does_not_stop_the_rating(refused: bytes) -> None:
    async with serving() as server:
        peer = await connect(server.server.port)
        peer.send(HEAD)
        for awaited, reply in BAD_RATING[:2]:
            await peer.until(awaited)
            peer.send(b"510 Invalid or unknown command\n" if awaited == refused else reply)
        await peer.until(b"SATISFACTION")
        if refused == b"SATISFACTION":
            peer.send(b"510 Invalid or unknown command\n")
            await peer.until(b"EXEC")
        assert len(server.desk.rated) == 1
        peer.transport.abortConnection()
        await peer.closed


@on_reactor
async def test_an_asterisk_without_background_ends_in_error() -> None:
    async with serving() as server:
        peer = await connect(server.server.port)
        peer.send(HEAD)
        for awaited, reply in [(b"ANSWER", b"200 result=0\n"), (b"EXEC", b"200 result=-2\n"),
                               (b"SATISFACTION", b"200 result=1\n"), (b"EVALUATION", b"200 result=1\n")]:  # fmt: skip
            await peer.until(awaited)
            peer.send(reply)
        assert b'"HUIYIN_OUTCOME" "error"' in await peer.until(b"OUTCOME")
        peer.transport.abortConnection()
        await peer.closed
    assert server.server.statistics.prompt_failures == 1


@on_reactor
async def test_many_at_once() -> None:
    async with serving(ivr={"max_calls": 300}) as server:
        calls = [
            place_call(reactor(), Plan(f"rate?call=c{number}", ("5", "1")), port=server.server.port)
            for number in range(250)
        ]
        reports = [await call for call in calls]
    assert {report.outcome for report in reports} == {"rated"}
    assert {facts.call_key for facts, *_ in server.desk.rated} == {f"c{number}" for number in range(250)}


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_stop_lets_calls_in_progress_finish_and_takes_no_new_ones() -> None:
    async with serving(ivr={"stop_grace": timedelta(seconds=20)}) as server:
        port = server.server.port
        peer = await connect(port)
        peer.send(HEAD)
        await peer.until(b"ANSWER\n")
        silent = await connect(port)
        await settled(lambda: server.server.in_progress == 2)
        stopping = server.server.stop()
        server.stopped = True
        assert await silent.closed == b"", "who has not begun is not waited for"
        with socket.socket() as late:
            late.settimeout(1)
            assert late.connect_ex(("127.0.0.1", port)) != 0
        for awaited, reply in [
            (b"ANSWER", b"200 result=0\n"), (b"EXEC", b"200 result=49\n"), (b"SATISFACTION", b"200 result=1\n"),
            (b"EVALUATION", b"200 result=1\n"), (b"OUTCOME", b"200 result=1\n"),
            (b"thanks", b"200 result=0 endpos=1\n"),
        ]:  # fmt: skip
            await peer.until(awaited)
            assert not stopping.called
            peer.send(reply)
        assert await stopping == 0
    assert len(server.desk.rated) == 1


@on_reactor
async def test_stop_cuts_off_what_outlasts_the_grace() -> None:
    async with serving(ivr={"stop_grace": timedelta(seconds=0.1)}) as server:
        peer = await connect(server.server.port)
        peer.send(HEAD)
        await peer.until(b"ANSWER\n")
        assert await server.stop() == 1
        assert (await peer.closed).endswith(b'SET VARIABLE "HUIYIN_OUTCOME" "error"\n')
    assert [outcome.value for _, outcome in server.desk.ended] == ["error"]


@on_reactor
async def test_stop_with_nobody_there_is_at_once() -> None:
    async with serving(ivr={"stop_grace": timedelta(seconds=60)}) as server:
        assert await server.stop() == 0
