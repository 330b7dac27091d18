"""Calls with the real intake behind them, on SQLite and PostgreSQL: what the caller heard is what the record holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, select

from intake.decide import PushCalls
from intake.desk import Intake
from intake.record import Rules
from ivr.server import RatingServer
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.tables import calls, evaluations, outbox, ratings
from simulate.caller import HangUp, Plan, place_call, request_line
from tests.ivr.serving import on_reactor, reactor, settings

RULES = Rules(
    key_map="1=5,2=4,3=3,4=2,5=1",
    area_code="622900",
    service_name="12345热线",
    push_calls=PushCalls.WITHOUT_CASE,
    keypad_reason_hold=timedelta(seconds=90),
    invite_after=timedelta(minutes=1),
    node="here",
    boot="b1",
)

CASES: dict[str, tuple[tuple[Any, ...], str, str, list[tuple[int, str]], str | None]] = {
    "good": (("1",), "rated", "rated", [(5, "1")], None),
    "bad with a reason": (("5", "2"), "rated", "rated", [(1, "5")], "115"),
    "bad without a reason": (("4", "#"), "rated", "rated", [(2, "4")], None),
    "bad, then hung up": (("4", HangUp.HANG_UP), "rated", "rated", [(2, "4")], None),
    "skipped": (("#",), "skipped", "skipped", [], None),
    "silent": ((), "no_input", "no_input", [], None),
    "hung up": ((HangUp.HANG_UP,), "hangup", "hangup", [], None),
}


@pytest.mark.parametrize("name", CASES)
@on_reactor
async def test_what_was_heard_is_what_is_kept(
    name: str, database: Database, make_door: Callable[..., Door], keyring: Keyring, clock: TurnedClock
) -> None:
    answers, told, kept, rated, reason = CASES[name]
    door = make_door()
    server = RatingServer(Intake(door, keyring, clock, RULES), settings(), reactor(), clock)
    server.start()
    request = request_line("rate", call="lx1-17.1", agent="PJSIP/0071", queue="咨询", case="临夏1号")
    first = await place_call(reactor(), Plan(request, answers), port=server.port)
    again = await place_call(reactor(), Plan(request, ("1",)), port=server.port) if rated else None
    await server.stop()
    door.close()  # writes what was handed in and not waited for

    def rows(table: Table) -> list[Any]:
        with database.read_engine.connect() as connection:
            return list(connection.execute(select(table)))

    assert first.outcome == told
    [call] = rows(calls)
    assert (call.call_key, call.outcome, call.agent, call.queue) == ("lx1-17.1", kept, "0071", "咨询")
    assert [(row.satisfaction, row.raw_input) for row in rows(ratings)] == rated
    found = rows(evaluations)
    assert [row.id for row in found] == ([first.variables["HUIYIN_EVALUATION"]] if rated else [])
    assert [row.reasons for row in found] == [reason] * len(rated)
    assert [row.held_by for row in rows(outbox)] == [None] * len(rated), "no hold outlives the call"
    if again is not None:
        assert again.outcome == "duplicate"
        assert again.variables["HUIYIN_EVALUATION"] == first.variables["HUIYIN_EVALUATION"]
        assert again.variables["HUIYIN_SATISFACTION"] == first.variables["HUIYIN_SATISFACTION"]


@on_reactor
async def test_a_call_that_ended_and_is_then_rated_is_rated(
    database: Database, make_door: Callable[..., Door], keyring: Keyring, clock: TurnedClock
) -> None:
    server = RatingServer(Intake(make_door(), keyring, clock, RULES), settings(), reactor(), clock)
    server.start()
    ended = await place_call(reactor(), Plan("ended?call=c-1&agent=1", dead_from_start=True), port=server.port)
    rated = await place_call(reactor(), Plan("rate?call=c-1&agent=1", ("2",)), port=server.port)
    late = await place_call(reactor(), Plan("ended?call=c-1&agent=1", dead_from_start=True), port=server.port)
    await server.stop()
    assert ended.variables["HUIYIN_ENDED"] == late.variables["HUIYIN_ENDED"] == "stored"
    assert rated.outcome == "rated"
    with database.read_engine.connect() as connection:
        assert [row.outcome for row in connection.execute(select(calls))] == ["rated"]
