"""Evaluations by pages: filters, and a cursor behind which nothing ever appears."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import delete, insert, update

from console import reads
from console.reads import mask_words
from console.schemas import EvaluationsPage
from console.tokens import Scope
from intake.decide import PushCalls
from intake.desk import Intake
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.tables import evaluations, feed, meta
from models.terms import Satisfaction
from server.health import HealthServer
from tests.console.conftest import Client, MakeToken
from tests.intake.test_calls import FACTS, RULES

WAIT = 10
PATH = "/api/v1/evaluations"
Rate = Callable[..., None]


@pytest.fixture
def rate(door: Door, keyring: Keyring, clock: TurnedClock) -> Rate:
    """A call rated now; `case_no`: closed in it."""

    def rate(call: str, level: int = 5, case_no: str | None = None, **facts: Any) -> None:
        intake = Intake(door, keyring, clock, replace(RULES, push_calls=PushCalls.ALWAYS))
        told = replace(FACTS, call_key=call, case_no=case_no, closed=case_no is not None, at=clock.now(), **facts)
        intake.rate(told, Satisfaction(level), "x", hold=False).result(WAIT)

    return rate


def calls_of(body: dict[str, Any]) -> list[str]:
    return [one["call"] or one["case_no"] for one in body["evaluations"]]


def page(client: Client, query: str = "", cursor: str | None = None) -> Any:
    both = "&".join(part for part in (query, f"cursor={quote(cursor)}" if cursor else "") if part)
    reply = client.get(f"{PATH}?{both}")
    assert reply.status == 200, reply.body
    return reply.body


def test_an_evaluation_is_told_whole(reader: Client, rate: Rate) -> None:
    rate("c1", 2, "GD-1")
    body = page(reader)
    of_call, of_case = body["evaluations"]
    assert (of_call["subject"], of_call["call"], of_call["case_no"], of_call["project_no"]) == (
        "call",
        "c1",
        None,
        "Hc1",
    )
    assert (of_case["subject"], of_case["call"], of_case["case_no"], of_case["project_no"]) == (
        "case",
        None,
        "GD-1",
        "GD-1",
    )
    for one in body["evaluations"]:
        assert (one["satisfaction"], one["satisfaction_name"], one["channel"]) == (2, "不满意", "keypad")
        assert (one["origin"], one["effective"], one["late"], one["reasons"]) == ("citizen", True, False, [])
        assert (one["assess_time"], one["agent"]) == ("2026-11-18T10:00:00+08:00", "2001")
    EvaluationsPage.model_validate(body)


def test_pages_follow_each_other_and_the_last_one_can_be_followed(reader: Client, rate: Rate) -> None:
    for place in range(7):
        rate(f"c{place}")
    seen, cursor, pages = [], None, []
    while True:
        body = page(reader, "limit=3", cursor)
        pages.append(len(body["evaluations"]))
        seen += calls_of(body)
        cursor = body["cursor"]
        if not body["more"]:
            break
    assert seen == [f"c{place}" for place in range(7)]
    assert pages == [3, 3, 1]
    assert page(reader, "limit=3", cursor) == {"evaluations": [], "cursor": cursor, "more": False}
    rate("c7")
    assert calls_of(page(reader, "limit=3", cursor)) == ["c7"]


def test_a_reason_that_comes_later_reaches_the_follower(
    reader: Client, door: Door, keyring: Keyring, clock: TurnedClock
) -> None:
    intake = Intake(door, keyring, clock, replace(RULES, push_calls=PushCalls.ALWAYS))
    told = replace(FACTS, call_key="c1", case_no="GD-1", closed=True)
    stored = intake.rate(told, Satisfaction(1), "5", hold=True).result(WAIT)
    before = page(reader)
    assert [one["reasons"] for one in before["evaluations"]] == [[], []]
    intake.give_reason(stored, ("110", "115")).result(WAIT)
    after = page(reader, "", before["cursor"])
    assert [one["id"] for one in after["evaluations"]] == [one["id"] for one in before["evaluations"]]
    assert [one["reasons"] for one in after["evaluations"]] == [["110", "115"]] * 2
    assert page(reader, "", after["cursor"])["evaluations"] == []
    whole = page(reader)
    assert whole["evaluations"] == after["evaluations"], "once a page"
    assert whole["cursor"] == after["cursor"]
    one_by_one = page(reader, "limit=1")
    assert (calls_of(one_by_one), one_by_one["more"]) == (["c1"], True)


def test_an_empty_record_can_be_followed_from_its_beginning(reader: Client, rate: Rate) -> None:
    cursor = page(reader)["cursor"]
    rate("c1")
    assert calls_of(page(reader, "", cursor)) == ["c1"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("satisfaction=5", ["c1", "GD-1"]),
        ("satisfaction=5&satisfaction=1", ["c1", "GD-1", "c2", "c3"]),
        ("agent=2001", ["c1", "GD-1", "c3"]),
        ("agent=0042", ["c2"]),
        ("dept=A1", ["c2"]),
        ("channel=keypad", ["c1", "GD-1", "c2", "c3"]),
        ("channel=sms", []),
        ("origin=default", []),
        ("case_no=GD-1", ["GD-1"]),
        ("from=2026-11-18", ["c1", "GD-1", "c2", "c3"]),
        ("from=2026-11-19", ["c3"]),
        ("to=2026-11-18", ["c1", "GD-1", "c2"]),
        ("from=2026-11-18T12:00:00%2B08:00&to=2026-11-19T00:00:00Z", ["c2"]),
        ("from=2026-11-18T12:00:00+08:00&to=2026-11-18T12:00:00.5+08:00", ["c2"]),
    ],
)
def test_a_filter_leaves_what_it_names(
    reader: Client, rate: Rate, clock: TurnedClock, query: str, found: list[str]
) -> None:
    rate("c1", 5, "GD-1")
    clock.turn(timedelta(hours=2))
    rate("c2", 1, agent="0042", dept="A1")
    clock.turn(timedelta(hours=24))
    rate("c3", 1)
    body = page(reader, query)
    assert calls_of(body) == found
    assert page(reader, query, body["cursor"])["evaluations"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("satisfaction=6", "satisfaction"),
        ("satisfaction=x", "satisfaction"),
        ("channel=fax", "channel"),
        ("origin=x", "origin"),
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("to=9999-12-31", "to"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("colour=red", "colour"),
        ("cursor=xyz", "cursor"),
        ("cursor=MS4u", "cursor"),
        ("cursor=" + "A" * 300, "cursor"),
    ],
)
def test_a_filter_that_makes_no_sense_is_422(reader: Client, query: str, field: str) -> None:
    reply = reader.get(f"{PATH}?{query}")
    assert (reply.status, [one["field"] for one in reply.body["fields"]]) == (422, [field])


def test_a_narrowed_reader_sees_its_departments_and_areas(
    server: HealthServer, token: MakeToken, rate: Rate, database: Database
) -> None:
    rate("c1", dept="A1")
    rate("c2", dept="A2")
    with database.write_engine.begin() as connection:
        connection.execute(update(evaluations).where(evaluations.c.dept_code == "A2").values(area_code="622901"))
    assert calls_of(page(Client(server.address, token("d", Scope.READ, depts=["A1"])))) == ["c1"]
    assert calls_of(page(Client(server.address, token("a", Scope.READ, areas=["622901"])))) == ["c2"]
    both = Client(server.address, token("b", Scope.READ, depts=["A1"], areas=["622901"]))
    body = page(both)
    assert (body["evaluations"], body["more"]) == ([], False)
    assert calls_of(page(both, "dept=A2")) == []


def test_a_page_looks_at_a_bounded_piece_of_the_record(
    reader: Client, rate: Rate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "SCAN", 3)
    for place in range(7):
        rate(f"c{place}", 1 if place == 6 else 5)
    pages: list[Any] = []
    cursor = None
    while not pages or pages[-1]["more"]:
        pages.append(page(reader, "satisfaction=1", cursor))
        cursor = pages[-1]["cursor"]
    assert [calls_of(one) for one in pages] == [[], [], ["c6"]]


def test_a_cursor_of_another_database_is_gone(reader: Client, rate: Rate, database: Database) -> None:
    rate("c1")
    cursor = page(reader)["cursor"]
    with database.write_engine.begin() as connection:
        connection.execute(update(meta).where(meta.c.key == "epoch").values(value="another"))
    reply = reader.get(f"{PATH}?cursor={cursor}")
    assert (reply.status, reply.body["error"]) == (410, "cursor_gone")


def test_a_cursor_from_after_the_restored_backup_is_gone(reader: Client, rate: Rate, database: Database) -> None:
    rate("c1")
    version, epoch, _, _ = base64.urlsafe_b64decode(page(reader)["cursor"] + "==").decode().split(".")
    later = base64.urlsafe_b64encode(f"{version}.{epoch}.{2**40}.{2**40}".encode()).decode().rstrip("=")
    assert reader.get(f"{PATH}?cursor={later}").status == 410


@pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.peer)], indirect=True)
def test_what_commits_later_with_an_earlier_position_is_not_missed(
    reader: Client, rate: Rate, database: Database
) -> None:
    """Two writers on PostgreSQL: the one that took the lower position commits last. (SQLite has one writer.)"""
    rate("c1")
    rate("slow")
    with database.write_engine.connect() as slow:
        # A transaction that has its id, and the place of a row in the feed, before others that commit first.
        slow.execute(delete(feed).where(feed.c.position == 2))
        row = {"kind": "evaluation", "at": FACTS.at}
        [subject] = [
            one.subject_id for one in slow.execute(evaluations.select().where(evaluations.c.project_no == "Hslow"))
        ]
        slow.execute(insert(feed).values(subject_id=subject, assess_number=1, **row))
        rate("c3")
        first = page(reader)
        assert calls_of(first) == ["c1", "slow"], "c3 waits for the transaction that began before it"
        slow.commit()
    rest = page(reader, "", first["cursor"])
    assert calls_of(rest) == ["slow", "c3"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("服务好", "服务好"),
        ("打13800000001找我", "打138****0001找我"),
        ("打 138-0000-0001", "打 138****0001"),
        ("１３８０００００００１", "138****0001"),
        ("第20261118号", "第******18号"),
        ("等了30分钟，2026-11-18 之前", "等了30分钟，2026-11-18 之前"),
        (None, None),
    ],
)
def test_a_number_in_words_is_masked(words: str | None, shown: str | None) -> None:
    assert mask_words(words) == shown
