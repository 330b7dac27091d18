"""Whole calls: the stand-in for Asterisk on one side, the desk in memory on the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from intake.record import Stored
from models.terms import CallOutcome, Satisfaction
from simulate.caller import Answer, HangUp, Late, Silent, request_line
from tests.conftest import TwistedErrors
from tests.ivr.desk import DeskDouble, Fault
from tests.ivr.serving import on_reactor, serving

SILENT, HANG_UP = Silent.SILENT, HangUp.HANG_UP
CALL_KEY = "lx1-1760000000.1"


@dataclass(frozen=True)
class Case:
    name: str
    answers: tuple[Answer, ...]
    outcome: str
    closing: str | None
    satisfaction: str = ""
    rated: tuple[tuple[int, str, bool], ...] = ()
    reasons: tuple[tuple[str, ...], ...] = ()
    released: int = 0
    ended: tuple[CallOutcome, ...] = ()
    questions: int = 1
    options: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("presses while it plays", ("1",), "rated", "thanks", "5", ((5, "1", False),)),
    Case("presses after it", (Late("2"),), "rated", "thanks", "4", ((4, "2", False),)),
    Case("wrong key, then right", ("9", "1"), "rated", "thanks", "5", ((5, "1", False),), questions=2),
    Case("silence, then right", (SILENT, Late("3")), "rated", "thanks", "3", ((3, "3", False),), questions=2),
    Case("* plays it again", ("*", "1"), "rated", "thanks", "5", ((5, "1", False),), questions=2),
    Case("0 plays it again, without a try", ("0", "0", SILENT, "1"), "rated", "thanks", "5", ((5, "1", False),),
         questions=4),
    Case("nothing at all", (), "no_input", "goodbye", ended=(CallOutcome.NO_INPUT,), questions=2),
    Case("two wrong keys", ("8", "9"), "invalid", "goodbye", ended=(CallOutcome.INVALID,), questions=2),
    Case("wrong key, then nothing", ("8",), "no_input", "goodbye", ended=(CallOutcome.NO_INPUT,), questions=2),
    Case("nothing, then a wrong key", (SILENT, "8"), "invalid", "goodbye", ended=(CallOutcome.INVALID,), questions=2),
    Case("# skips", ("#",), "skipped", "goodbye", ended=(CallOutcome.SKIPPED,)),
    Case("hangs up in the prompt", (HANG_UP,), "hangup", None, ended=(CallOutcome.HANGUP,)),
    Case("hangs up after the prompt", (Late(HANG_UP),), "hangup", None, ended=(CallOutcome.HANGUP,)),
    Case("hangs up before the question", (), "hangup", None, ended=(CallOutcome.HANGUP,), questions=0,
         options={"hang_up_on": "^ANSWER"}),
    Case("hangs up in thanks", ("1",), "rated", "thanks", "5", ((5, "1", False),), options={"hang_up_on": "thanks"}),
    Case("hangs up while told the outcome", ("1",), "rated", None, "5", ((5, "1", False),),
         options={"hang_up_on": "HUIYIN_SATISFACTION"}),
    Case("bad, and why", ("5", "2"), "rated", "thanks", "1", ((1, "5", True),), (("115",),), questions=2),
    Case("bad, and why after a wrong key", ("4", "9", "3"), "rated", "thanks", "2", ((2, "4", True),), (("214",),),
         questions=3),
    Case("bad, # for no reason", ("4", "#"), "rated", "thanks", "2", ((2, "4", True),), released=1, questions=2),
    Case("bad, silent about why", ("4",), "rated", "thanks", "2", ((2, "4", True),), released=1, questions=3),
    Case("bad, hangs up instead of why", ("4", HANG_UP), "rated", None, "2", ((2, "4", True),), released=1,
         questions=2),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@on_reactor
async def test_a_call(case: Case) -> None:
    async with serving() as server:
        report = await server.call(*case.answers, **case.options)
        desk = server.desk
    assert report.outcome == case.outcome
    assert report.variables["HUIYIN_SATISFACTION"] == case.satisfaction
    assert report.variables["HUIYIN_EVALUATION"] == ("e-1" if case.rated else "")
    assert [(int(level), key, hold) for _, level, key, hold in desk.rated] == list(case.rated)
    assert [codes for _, codes in desk.reasons] == list(case.reasons)
    assert len(desk.released) == case.released
    assert [outcome for _, outcome in desk.ended] == list(case.ended)
    closings = [line for line in report.commands if line.startswith("STREAM FILE")]
    assert closings == ([f'STREAM FILE "huiyin/zh/{case.closing}" "" 0'] if case.closing else [])
    assert sum(line.startswith("EXEC Background") for line in report.commands) == case.questions
    assert server.server.statistics.calls.total() == 1
    assert server.server.in_progress == 0


@on_reactor
async def test_variables_come_before_the_closing_prompt_and_the_outcome_is_the_last_of_them() -> None:
    async with serving() as server:
        report = await server.call("1")
    assert [line.split('"')[1] for line in report.commands[-4:]] == [
        "HUIYIN_SATISFACTION",
        "HUIYIN_EVALUATION",
        "HUIYIN_OUTCOME",
        "huiyin/zh/thanks",
    ]


@on_reactor
async def test_variables_of_a_bad_rating_come_before_its_reason_question() -> None:
    async with serving() as server:
        report = await server.call("5", HANG_UP)
    asked = [at for at, line in enumerate(report.commands) if line.startswith("EXEC")]
    told = next(at for at, line in enumerate(report.commands) if "HUIYIN_OUTCOME" in line)
    assert asked[0] < told < asked[1]


@on_reactor
async def test_what_was_asked_is_composed_from_the_key_map() -> None:
    async with serving(rating={"keys": {"9": 5, "3": 1}, "reasons": {"1": ("110",)}}) as server:
        report = await server.call("3", "1")
    assert [name.removeprefix("huiyin/zh/") for name in report.commands[1].split('"')[1].split("&")] == [
        "ask",
        "level-very-dissatisfied",
        "press-3",
        "level-very-satisfied",
        "press-9",
        "repeat-or-skip",
    ]
    assert server.desk.rated[0][1] is Satisfaction.VERY_DISSATISFIED
    assert server.desk.reasons == [("r-1", ("110",))]


@on_reactor
async def test_no_reason_is_asked_where_that_is_switched_off() -> None:
    async with serving(rating={"ask_reason": False}) as server:
        report = await server.call("5")
    assert report.outcome == "rated"
    assert server.desk.rated[0][3] is False, "nothing to wait for, so nothing is held"
    assert sum(line.startswith("EXEC") for line in report.commands) == 1


@on_reactor
async def test_a_call_rated_before_is_not_asked_again() -> None:
    desk = DeskDouble(known={CALL_KEY: Stored(False, "e-old", Satisfaction.DISSATISFIED, "r-old")})
    async with serving(desk) as server:
        report = await server.call("1")
    assert report.outcome == "duplicate"
    assert report.variables["HUIYIN_SATISFACTION"] == "2"
    assert report.variables["HUIYIN_EVALUATION"] == "e-old"
    assert report.played == ["huiyin/zh/already-rated"]
    assert not desk.rated
    assert not desk.ended


@on_reactor
async def test_a_call_rated_by_somebody_else_meanwhile_is_a_duplicate_not_a_thank_you() -> None:
    async with serving(DeskDouble(faults={"rate": Fault.TAKEN})) as server:
        report = await server.call("5")
    assert report.outcome == "duplicate"
    assert report.variables["HUIYIN_SATISFACTION"] == "4"
    assert report.variables["HUIYIN_EVALUATION"] == "e-earlier"
    assert report.played[-1] == "huiyin/zh/already-rated"
    assert not server.desk.released


# ── faults of ours ────────────────────────────────────────────────────────────────────────────────────────────────────

FAULTY_STEPS = [(step, fault) for step in ("look_up", "rate") for fault in Fault if fault is not Fault.TAKEN]


@pytest.mark.parametrize(("step", "fault"), FAULTY_STEPS, ids=lambda value: getattr(value, "name", value))
@on_reactor
async def test_a_store_that_fails_or_is_slow_ends_in_sorry(
    step: str, fault: Fault, twisted_errors: TwistedErrors
) -> None:
    desk = DeskDouble(faults={step: fault})
    async with serving(desk, ivr={"store_timeout": 0.1}) as server:
        report = await server.call("1")
    assert report.outcome == "error"
    assert report.variables["HUIYIN_SATISFACTION"] == ""
    assert report.variables["HUIYIN_EVALUATION"] == ""
    assert report.played[-1] == "huiyin/zh/sorry"
    assert "huiyin/zh/thanks" not in report.played
    assert [outcome for _, outcome in desk.ended] == [CallOutcome.ERROR]
    if fault in (Fault.QUEUED, Fault.STARTED):
        [(_, future)] = desk.pending
        assert future.cancelled() is (fault is Fault.QUEUED), "what is queued is withdrawn, what has started stands"
    if fault in (Fault.RAISES, Fault.BUG):
        assert twisted_errors.expect(RuntimeError) == 1
    if fault is not Fault.RAISES:
        assert server.server.statistics.store_failures == {step: 1}


@pytest.mark.parametrize("fault", [Fault.FAILS, Fault.FAILS_LATER, Fault.STARTED])
@on_reactor
async def test_a_reason_that_is_not_stored_takes_nothing_from_the_rating(fault: Fault) -> None:
    async with serving(DeskDouble(faults={"give_reason": fault}), ivr={"store_timeout": 0.1}) as server:
        report = await server.call("5", "1")
    assert report.outcome == "rated"
    assert report.played[-1] == "huiyin/zh/thanks"
    assert server.server.statistics.store_failures == {"give_reason": 1}


@pytest.mark.parametrize("fault", [Fault.FAILS, Fault.STARTED, Fault.RAISES])
@on_reactor
async def test_nobody_waits_for_the_end_of_an_unrated_call(fault: Fault, twisted_errors: TwistedErrors) -> None:
    async with serving(DeskDouble(faults={"end_call": fault}), ivr={"store_timeout": 5.0}) as server:
        report = await server.call("#")
    assert report.outcome == "skipped"
    assert report.played[-1] == "huiyin/zh/goodbye"
    twisted_errors.expect(RuntimeError)


MISSING = {
    "the first file of the question": ("huiyin/zh/ask", ("1",), "error", "sorry"),
    "a file in the middle": ("huiyin/zh/press-3", (), "error", "sorry"),
    "the reason's question": ("huiyin/zh/reason-ask", ("5",), "rated", "thanks"),
    "thanks": ("huiyin/zh/thanks", ("1",), "rated", "thanks"),
}


@pytest.mark.parametrize("name", MISSING)
@on_reactor
async def test_a_prompt_that_does_not_play(name: str) -> None:
    file, answers, outcome, closing = MISSING[name]
    async with serving() as server:
        report = await server.call(*answers, missing=frozenset({file}))
    assert report.outcome == outcome
    assert f'STREAM FILE "huiyin/zh/{closing}" "" 0' in report.commands
    assert server.server.statistics.prompt_failures == 1
    assert len(server.desk.ended) == (outcome == "error")
    assert len(server.desk.released) == (name == "the reason's question")


@on_reactor
async def test_no_prompt_at_all() -> None:
    async with serving() as server:
        missing = frozenset(f"huiyin/zh/{name}" for name in ("ask", "sorry", "thanks"))
        report = await server.call("1", missing=missing)
    assert report.outcome == "error"
    assert report.clean


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_ended_stores_the_call_and_plays_nothing() -> None:
    request = request_line("ended", call="c-1", agent="Local/2001@agents/n", queue="q")
    async with serving() as server:
        report = await server.call(request=request, dead_from_start=True)
    [(facts, outcome)] = server.desk.ended
    assert outcome is CallOutcome.NOT_OFFERED
    assert (facts.call_key, facts.agent, facts.queue, facts.number) == ("c-1", "2001", "q", "13800138000")
    assert report.commands == ['SET VARIABLE "HUIYIN_ENDED" "stored"']


@pytest.mark.parametrize("fault", [Fault.FAILS, Fault.QUEUED])
@on_reactor
async def test_ended_says_so_when_it_could_not_store(fault: Fault) -> None:
    async with serving(DeskDouble(faults={"end_call": fault}), ivr={"store_timeout": 0.1}) as server:
        report = await server.call(request=request_line("ended", call="c-1"), dead_from_start=True)
    assert report.commands == ['SET VARIABLE "HUIYIN_ENDED" "error"']


@pytest.mark.parametrize("request_of_asterisk", ["callback?followup=7", "nonsense", "", "rate/../ended?call=1", "RATE"])
@on_reactor
async def test_what_is_not_built_is_an_error_at_once(request_of_asterisk: str) -> None:
    async with serving() as server:
        report = await server.call("1", request=request_of_asterisk)
    assert report.outcome == "error"
    assert report.played == []
    assert not server.desk.steps


@on_reactor
async def test_a_call_without_any_name_is_an_error() -> None:
    async with serving() as server:
        report = await server.call("1", request="rate?agent=1001", unique_id="")
    assert report.outcome == "error"
    assert report.played == ["huiyin/zh/sorry"]
    assert not server.desk.steps


@on_reactor
async def test_a_call_without_call_is_its_channel() -> None:
    async with serving() as server:
        await server.call("1", request="rate?agent=1001", unique_id="lx1-17.5")
    assert server.desk.rated[0][0].call_key == "lx1-17.5"
