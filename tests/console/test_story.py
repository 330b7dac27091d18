"""The story of one call or case, and the reports: what stands there, for whom, and that hostile words are words."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from console.figures import Period
from console.links import link
from console.pages.options import RatingsOptions
from console.pages.ratings import presets
from console.pages.shell import Console
from console.passwords import Passwords
from console.reports import quarter
from console.viewer import ConsoleRole
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.recount import rebuild
from models.tables import (
    audit,
    calls,
    case_keys,
    cases,
    directory,
    evaluations,
    invitation_members,
    invitations,
    messages,
    push_batches,
    push_members,
    ratings,
    remarks,
    segments,
)
from tests.console.record_rows import fill
from tests.console.site import QUICK, RULES, MakeBrowser, Record
from tests.moments import START

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def console(door: Door, keyring: Keyring, clock: TurnedClock) -> Console:
    options = RatingsOptions(
        "https://rec.example/play?id={call}", "https://gd.example/{case_no}", reasons={"209": "拖"}
    )
    return Console(door, keyring, clock, RULES, "临夏州12345", Passwords(QUICK), ratings=options)


@pytest.fixture
def told(database: Database, record: Record) -> str:
    """A case with all of its story, hostile wherever somebody else's words stand."""
    subject = record.case("A", 1, number="+8613800001234")
    invitation, message = new_id(), new_id()
    minute = timedelta(minutes=1)
    with database.write_engine.begin() as connection:
        [one] = connection.execute(select(evaluations)).all()
        connection.execute(update(cases).values(title=HOSTILE, closed_at=START - minute))
        connection.execute(
            update(evaluations).values(comment=f"{HOSTILE} 13800001234", reasons="209", agent="7", centre_note=HOSTILE)
        )
        connection.execute(insert(directory).values(kind="agent", code="7", name=HOSTILE, team="一班"))
        for table, values in (
            (
                ratings,
                {
                    "id": one.rating_id,
                    "invitation_id": invitation,
                    "channel": "sms",
                    "origin": "citizen",
                    "raw_input": HOSTILE,
                    "key_map": "v1",
                    "satisfaction": 1,
                    "rated_at": START,
                    "late": False,
                    "created_at": START,
                },
            ),
            (
                invitations,
                {
                    "id": invitation,
                    "kind": "case",
                    "state": "rated",
                    "key_map": "v1",
                    "created_at": START,
                    "changed_at": START,
                    "first_asked_at": START + minute,
                    "asked_by": "sms",
                },
            ),
            (invitation_members, {"invitation_id": invitation, "subject_id": subject}),
            (
                messages,
                {
                    "id": message,
                    "direction": "in",
                    "kind": "reply",
                    "state": "read",
                    "outcome": "rated",
                    "text": HOSTILE,
                    "invitation_id": invitation,
                    "created_at": START,
                    "changed_at": START,
                },
            ),
            (
                segments,
                {
                    "message_id": message,
                    "number": 1,
                    "state": "failed",
                    "link": "mobile",
                    "submitted_at": START,
                    "receipt": "blocked",
                    "receipt_text": "MK:0012",
                    "receipt_at": START + 2 * minute,
                },
            ),
            (
                remarks,
                {
                    "id": new_id(),
                    "invitation_id": invitation,
                    "kind": "again",
                    "satisfaction": 5,
                    "text": HOSTILE,
                    "at": START,
                },
            ),
            (
                push_batches,
                {
                    "id": invitation,
                    "state": "answered",
                    "records": 1,
                    "tries": 2,
                    "not_before": START,
                    "created_at": START,
                    "answered_at": START + 3 * minute,
                },
            ),
            (
                push_members,
                {
                    "batch_id": invitation,
                    "evaluation_id": one.id,
                    "position": 0,
                    "verdict": "rejected",
                    "reason": "差评必须勾选详情",
                },
            ),
            (
                audit,
                {"id": new_id(), "at": START, "actor": "user:li", "action": "number.revealed", "subject_id": subject},
            ),
        ):
            connection.execute(insert(table).values(**values))
        rebuild(connection)
    return subject


def test_a_story_tells_every_part_and_hostile_words_are_words(browser: MakeBrowser, told: str) -> None:
    text = browser(ConsoleRole.SUPERVISOR).get(f"/cases/{told}").text
    expected = (
        "首次邀请 收到市民短信 内容被拦截 MK:0012 市民评价 再次评价（追评） 推送至好差评系统 差评必须勾选详情 被拒绝"
    )
    for words in [*expected.split(), "查看完整号码", "工单办结"]:
        assert words in text, words
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "13800001234" not in text
    assert "138****1234" in text
    assert f'href="https://gd.example/{told}"' in text
    assert "https://rec.example" not in text  # no call is known


@pytest.mark.parametrize("path", ["/ratings", "/find?q=GD", "/reports/day", "/reports/quarter?q=2026Q4"])
def test_hostile_words_are_words_on_every_page(browser: MakeBrowser, told: str, path: str) -> None:
    page = browser(ConsoleRole.SUPERVISOR).get(path)
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text
    assert not re.search(r"<[^>]* (?:style|on\w+)=", page.text.replace("&#34;", ""))


def test_a_case_leads_to_the_calls_that_named_it(browser: MakeBrowser, database: Database, keyring: Keyring) -> None:
    rows = fill(database, keyring, 30)
    case = next(row for row in rows if row.subject_kind == "case")
    call = next(row for row in rows if row.subject_kind == "call")
    with database.write_engine.begin() as connection:
        connection.execute(update(calls).where(calls.c.subject_id == call.subject_id).values(case_no=case.number))
    someone = browser(ConsoleRole.SUPERVISOR)
    text = someone.get(f"/cases/{case.subject_id}").text
    assert f'href="/cases/{call.subject_id}"' in text
    assert f'href="https://rec.example/play?id={call.number}"' in text
    both = someone.get(f"/find?q={case.number}").text
    assert f"/cases/{case.subject_id}" in both
    assert f"/cases/{call.subject_id}" in both


def name_case(database: Database, call: str, case_no: str, *closings: str) -> None:
    """A call says that it was about a case; each closing of that one is a subject of the record."""
    with database.write_engine.begin() as connection:
        connection.execute(update(calls).where(calls.c.subject_id == call).values(case_no=case_no))
        for number, subject in enumerate(closings, 1):
            connection.execute(
                update(cases).where(cases.c.subject_id == subject).values(case_no=case_no, service_number=number)
            )
            connection.execute(insert(case_keys).values(case_no=case_no, service_number=number, subject_id=subject))


def test_a_call_leads_to_the_case_that_it_was_about(browser: MakeBrowser, database: Database, record: Record) -> None:
    call, case = record.call("A"), record.case("A")
    name_case(database, call, "GD-OWN-1", case)
    for someone in (browser(ConsoleRole.SUPERVISOR), browser(ConsoleRole.DEPARTMENT, depts=["A"])):
        text = someone.get(f"/cases/{call}").text
        assert f'<a href="/cases/{case}">GD-OWN-1</a>' in text
        assert 'href="https://gd.example/GD-OWN-1"' in text


def test_of_a_case_that_was_closed_twice_a_call_leads_to_both(
    browser: MakeBrowser, database: Database, record: Record
) -> None:
    call, first, second = record.call("A"), record.case("A"), record.case("A")
    name_case(database, call, "GD-OWN-1", first, second)
    someone = browser(ConsoleRole.DEPARTMENT, depts=["A"])
    assert '<a href="/find?q=GD-OWN-1">GD-OWN-1</a>' in someone.get(f"/cases/{call}").text
    found = someone.get("/find?q=GD-OWN-1").text
    assert all(f'href="/cases/{one}"' in found for one in (call, first, second))


@pytest.mark.parametrize("known", [True, False], ids=["of another department", "not known yet"])
def test_a_call_tells_a_department_nothing_of_a_case_that_is_not_its_own(
    browser: MakeBrowser, database: Database, record: Record, known: bool
) -> None:
    call, case = record.call("A"), record.case("B")
    name_case(database, call, "GD-OTHER-9", *([case] if known else []))
    own = browser(ConsoleRole.DEPARTMENT, "own", depts=["A"])
    narrowed = browser(ConsoleRole.SUPERVISOR, "some", depts=["A"])
    for someone in (own, narrowed):
        text = someone.get(f"/cases/{call}").text
        assert "GD-OTHER-9" not in text
        assert case not in text
        # Nor does it say so to who has the number from elsewhere.
        assert "没有找到" in someone.get("/find?q=GD-OTHER-9").text
        assert f"/cases/{call}" not in someone.get("/ratings?q=GD-OTHER-9").text
    text = browser(ConsoleRole.SUPERVISOR, "all").get(f"/cases/{call}").text
    assert (f'<a href="/cases/{case}">GD-OTHER-9</a>' in text) is known
    assert "GD-OTHER-9" in text
    assert 'href="https://gd.example/GD-OTHER-9"' in text


@pytest.mark.parametrize(
    ("template", "fields", "address"),
    [
        ("", {"call": "1"}, None),
        ("https://x/{call}", {"call": "a/../b?c=1&d#e 中"}, "https://x/a%2F..%2Fb%3Fc%3D1%26d%23e%20%E4%B8%AD"),
        ("https://x/{call}", {"call": None}, None),
        ("https://x/{call}/{case_no}", {"call": "1"}, None),
        ("https://x/fixed", {}, "https://x/fixed"),
    ],
)
def test_what_a_record_holds_cannot_change_where_a_link_leads(
    template: str, fields: dict[str, Any], address: str | None
) -> None:
    assert link(template, fields) == address


# ── reports ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("2026Q4", Period(date(2026, 10, 1), date(2026, 12, 31))),
        ("2024Q1", Period(date(2024, 1, 1), date(2024, 3, 31))),
        ("2026Q5", None),
        ("1999Q1", None),
        ("2026q4", None),
        ("", None),
    ],
)
def test_a_quarter_is_its_days(text: str, period: Period | None) -> None:
    assert quarter(text) == period


def test_presets_begin_and_end_where_people_mean() -> None:
    found = presets(date(2026, 1, 4))  # a Sunday in the first quarter
    assert found["week"] == (date(2025, 12, 29), date(2026, 1, 4))
    assert found["month"] == (date(2026, 1, 1), date(2026, 1, 4))
    assert found["last_quarter"] == (date(2025, 10, 1), date(2025, 12, 31))


def test_a_report_counts_real_ratings_and_defaults_apart_and_a_departments_own_alone(
    browser: MakeBrowser, database: Database, keyring: Keyring
) -> None:
    rows = [row for row in fill(database, keyring, 300, days=20) if row.effective and row.subject_kind == "case"]
    rows = [row for row in rows if row.adoption != "not_adopted"]
    with database.write_engine.begin() as connection:
        rebuild(connection)
    dept = "11622900MB0001"
    real = [row for row in rows if row.origin == "citizen"]
    own = [row for row in real if row.dept_code == dept]
    defaults = len(rows) - len(real)
    text = browser(ConsoleRole.SUPERVISOR).get("/reports/quarter?q=2026Q4").text
    satisfied = sum(row.satisfaction >= 3 for row in real)
    assert f"{satisfied / len(real):.1%}" in text
    assert f"n={len(real)}" in text
    assert f"未邀请 {defaults} 条" in text
    assert f">{dept}</a>" in text
    mine = browser(ConsoleRole.DEPARTMENT, "dept", depts=(dept,)).get("/reports/quarter?q=2026Q4").text
    assert f"n={len(own)}" in mine
    assert "11622900MB0002" not in mine
    for role in (ConsoleRole.ADMIN, ConsoleRole.AUDITOR):
        assert browser(role).get("/reports/day").status == 403


@pytest.mark.parametrize("path", ["/reports/day?date=x", "/reports/day?date=9999-12-31", "/reports/quarter?q=2026Q9"])
def test_a_period_that_is_none_is_a_page(browser: MakeBrowser, path: str) -> None:
    assert browser(ConsoleRole.SUPERVISOR).get(path).status == 400
