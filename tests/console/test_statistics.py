"""GET /api/v1/statistics and the centre's word, over real HTTP, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from console.schemas import CentreStatusOut, StatisticsOut
from console.tokens import Scope
from intake.desk import Intake
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.tables import audit, evaluations
from models.terms import CallOutcome, Satisfaction
from server.health import HealthServer
from tests.console.conftest import Client, MakeToken
from tests.intake.counting import agree
from tests.intake.test_calls import FACTS, RULES

WAIT = 10
PATH = "/api/v1/statistics"
STATUS = "/api/v1/centre/status"
Rows = Callable[[Any], list[Any]]


@pytest.fixture
def intake(door: Door, keyring: Keyring, clock: TurnedClock) -> Intake:
    return Intake(door, keyring, clock, RULES)


@pytest.fixture
def centre(server: HealthServer, token: MakeToken) -> Client:
    return Client(server.address, token("centre", Scope.CENTRE))


def rate(intake: Intake, clock: TurnedClock, call: str, level: int, **facts: Any) -> str:
    told = replace(FACTS, call_key=call, at=clock.now(), **facts)
    return intake.rate(told, Satisfaction(level), "x", hold=False).result(WAIT).evaluation_id


def figures(client: Client, query: str = "") -> dict[str, Any]:
    reply = client.get(f"{PATH}?{query}")
    assert reply.status == 200, reply.body
    StatisticsOut.model_validate(reply.body)
    return {row["key"]: row for row in reply.body["rows"]}


def test_a_period_is_told_by_day_and_a_day_without_anything_too(
    reader: Client, intake: Intake, clock: TurnedClock
) -> None:
    for place, level in enumerate((5, 5, 4, 3, 1)):
        rate(intake, clock, f"c{place}", level)
    intake.end_call(replace(FACTS, call_key="x"), CallOutcome.NO_INPUT).result(WAIT)
    intake.end_call(replace(FACTS, call_key="y"), CallOutcome.NOT_OFFERED).result(WAIT)
    rows = figures(reader, "from=2026-11-17&to=2026-11-18")
    assert list(rows) == ["2026-11-17", "2026-11-18"]
    today = rows["2026-11-18"]
    assert today["call"]["levels"] == {"5": 2, "4": 1, "3": 1, "2": 0, "1": 1}
    satisfaction = today["call"]["satisfaction"]
    assert (satisfaction["hits"], satisfaction["n"], satisfaction["rate"]) == (4, 5, 0.8)
    assert satisfaction["interval"]["low"] < 0.8 < satisfaction["interval"]["high"]
    response = today["response"]
    assert (response["hits"], response["n"], response["rate"]) == (5, 6, 0.8333)
    assert today["calls"] == {"ended": 7, "offered": 6, "rated": 5}
    empty = rows["2026-11-17"]
    assert (empty["response"], empty["call"]["satisfaction"]["rate"]) == (
        {"hits": 0, "n": 0, "rate": None, "interval": None},
        None,
    )


def test_without_a_range_the_last_thirty_days_are_told(reader: Client) -> None:
    days = list(figures(reader))
    assert (len(days), days[0], days[-1]) == (30, "2026-10-20", "2026-11-18")


@pytest.mark.parametrize(
    ("by", "keys", "call", "case"),
    [
        ("agent", ["2001", "2002"], True, False),
        ("queue", ["support"], True, False),
        ("dept", ["11622900", "Y"], False, True),
        ("channel", ["keypad"], True, True),
        ("day", ["2026-11-18"], True, True),
    ],
)
def test_agents_and_queues_are_of_calls_departments_of_cases(
    reader: Client, intake: Intake, clock: TurnedClock, by: str, keys: list[str], call: bool, case: bool
) -> None:
    rate(intake, clock, "a", 5, case_no="GD-1", closed=True)
    rate(intake, clock, "b", 2, agent="2002", dept="Y")
    rows = figures(reader, f"from=2026-11-18&by={by}")
    assert list(rows) == keys
    for row in rows.values():
        assert (row["call"] is not None, row["case"] is not None) == (call, case)
    if case and not call:
        assert [row["case"]["satisfaction"]["n"] for row in rows.values()] == [1, 0]
    if call and not case:
        assert sum(row["call"]["satisfaction"]["n"] for row in rows.values()) == 2


@pytest.mark.parametrize(
    ("narrowed", "agents"),
    [
        ({}, ["2001", "2002"]),
        ({"depts": ["Y"]}, ["2002"]),
        ({"areas": ["6229"]}, ["2001", "2002"]),
        ({"areas": ["6201"]}, []),
        ({"depts": ["Y"], "areas": ["62_9"]}, []),
    ],
)
def test_a_narrowed_token_has_only_its_departments_and_areas_in_any_sum(
    server: HealthServer,
    token: MakeToken,
    intake: Intake,
    clock: TurnedClock,
    narrowed: dict[str, list[str]],
    agents: list[str],
) -> None:
    rate(intake, clock, "a", 5)
    rate(intake, clock, "b", 2, agent="2002", dept="Y")
    client = Client(server.address, token("narrow", Scope.READ, **narrowed))
    assert list(figures(client, "by=agent")) == agents


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-11-32", "from"),
        ("to=20261118", "to"),
        ("from=2026-11-18T10:00:00", "from"),
        ("from=2026-11-18&to=2026-11-17", "to"),
        ("from=2020-01-01", "from"),
        ("by=weather", "by"),
        ("agent=2001", "agent"),
    ],
)
def test_what_cannot_be_told_says_which_field(reader: Client, query: str, field: str) -> None:
    reply = reader.get(f"{PATH}?{query}")
    assert (reply.status, reply.body["fields"][0]["field"]) == (422, field)


def test_only_a_token_that_reads_is_told_figures(client: Client, centre: Client) -> None:
    assert [one.get(PATH).status for one in (client, centre)] == [403, 403]


# ── the centre's word ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_centre_does_not_adopt_leaves_the_figures_and_comes_back(
    reader: Client, centre: Client, intake: Intake, clock: TurnedClock, database: Database, rows: Rows
) -> None:
    evaluation = rate(intake, clock, "a", 1)
    clock.turn(timedelta(days=1))
    said = {"evaluation_id": evaluation, "status": "not_adopted", "note": "与办理事项无关"}
    for changed in (True, False):
        reply = centre.ask("POST", STATUS, said)
        assert reply.status == 200, reply.body
        CentreStatusOut.model_validate(reply.body)
        assert (reply.body["changed"], reply.body["status"]) == (changed, "not_adopted")
        row = figures(reader, "by=agent&from=2026-11-18")["2001"]["call"]
        assert (row["not_adopted"], row["levels"]["1"], row["satisfaction"]["n"]) == (1, 0, 0)
        assert agree(database)["rollup_reasons"] == {}
    assert [row.action for row in rows(audit) if row.action == "centre.word"] == ["centre.word"]
    assert centre.ask("POST", STATUS, {"evaluation_id": evaluation, "status": "accepted"}).body["changed"]
    row = figures(reader, "by=agent&from=2026-11-18")["2001"]["call"]
    assert (row["not_adopted"], row["levels"]["1"]) == (0, 1)
    assert len(agree(database)["rollup_reasons"]) == 1
    [stored] = rows(evaluations)
    assert (stored.satisfaction, stored.adoption, stored.centre_note) == (1, "accepted", "与办理事项无关")


def test_how_the_follow_up_goes_changes_no_figure_and_is_told_to_who_follows(
    reader: Client, centre: Client, intake: Intake, clock: TurnedClock
) -> None:
    evaluation = rate(intake, clock, "a", 1)
    before = figures(reader, "by=agent")
    cursor = reader.get("/api/v1/evaluations").body["cursor"]
    dashed = f"{evaluation[:8]}-{evaluation[8:12]}-{evaluation[12:16]}-{evaluation[16:20]}-{evaluation[20:]}"
    assert centre.ask("POST", STATUS, {"evaluation_id": dashed.upper(), "follow_up": "rectified"}).status == 200
    assert figures(reader, "by=agent") == before
    [again] = reader.get(f"/api/v1/evaluations?cursor={cursor}").body["evaluations"]
    assert (again["id"], again["follow_up"], again["adoption"]) == (evaluation, "rectified", None)


@pytest.mark.parametrize(
    ("said", "status", "field"),
    [
        ({"evaluation_id": "0" * 32, "status": "accepted"}, 404, None),
        ({"evaluation_id": "0" * 32}, 422, "status"),
        ({"evaluation_id": "0" * 32, "status": "maybe"}, 422, "status"),
        ({"evaluation_id": "1", "status": "accepted"}, 422, "evaluation_id"),
        ({"evaluation_id": "0" * 33, "status": "accepted"}, 422, "evaluation_id"),
        ({"evaluation_id": "0" * 32, "status": "accepted", "level": 5}, 422, "level"),
        ({"evaluation_id": "0" * 32, "status": "accepted", "note": "x" * 501}, 422, "note"),
        ([], 422, ""),
    ],
)
def test_a_word_that_cannot_be_taken(centre: Client, said: Any, status: int, field: str | None) -> None:
    reply = centre.ask("POST", STATUS, said)
    assert reply.status == status, reply.body
    assert [one["field"] for one in reply.body["fields"]] == ([] if field is None else [field])


def test_only_the_centre_speaks_for_the_centre(client: Client, reader: Client, centre: Client) -> None:
    assert [one.ask("POST", STATUS, {}).status for one in (client, reader)] == [403, 403]
    assert centre.ask("POST", STATUS, raw=b"{").status == 400
