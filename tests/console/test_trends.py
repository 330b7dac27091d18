"""The trends page: its figures against counts by hand, its address, its weight."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from html import unescape
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from config.values import Address
from console.board_state import BoardRules
from console.charts import Charts
from console.figures import Period, Slice
from console.pages.app import mount_pages
from console.pages.assets import FOLDER
from console.pages.options import RatingsOptions
from console.pages.shell import Console
from console.pages.trends import View, read_asked
from console.passwords import Passwords
from console.spans import Range
from console.viewer import ConsoleRole
from intake.desk import Intake
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.tables import rollup_days
from models.terms import Channel, Satisfaction, SubjectKind
from server.health import HealthServer
from tests.console.browser import Browser
from tests.console.site import PASSWORD, QUICK, RULES, MakeBrowser, MakeUser
from tests.intake.test_calls import FACTS
from tests.intake.test_calls import RULES as INTAKE_RULES

WAIT = 10
TODAY = date(2026, 11, 18)
A, B = "11622900A", "11622900B"


@pytest.fixture
def rate(door: Door, keyring: Keyring, clock: TurnedClock) -> Callable[..., None]:
    intake = Intake(door, keyring, clock, INTAKE_RULES)

    def rate(day: int, *levels: int, **facts: Any) -> None:
        clock.turn(timedelta(days=day))
        for place, level in enumerate(levels):
            told = replace(FACTS, call_key=f"{day}-{place}-{sorted(facts.items())}", at=clock.now(), **facts)
            stored = intake.rate(told, Satisfaction(level), "x", hold=level < 3).result(WAIT)
            if level < 3:
                intake.give_reason(stored, ("115",) if place % 2 else ()).result(WAIT)
        clock.turn(timedelta(days=-day))

    return rate


def table(page: str) -> list[list[str]]:
    """The cells of the table's body."""
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    rows = re.findall(r"<tr.*?</tr>", body, re.S)
    cells = [re.findall(r"<t[hd].*?</t[hd]>", row, re.S) for row in rows]
    return [[" ".join(unescape(re.sub(r"<[^>]+>", "", cell)).split()) for cell in row] for row in cells]


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_agents_against_counts_by_hand(browser: MakeBrowser, rate: Any) -> None:
    rate(0, 5, 5, 4, 2, 1, agent="2001")
    rate(-1, 3, agent="2001")
    rate(0, 5, 5, agent="2002")
    rate(-7, 1, 1, 1, 5, 5, agent="2001")  # these days of the week before
    rate(-3, 1, 1, agent="2001")  # Sunday is compared with nothing
    page = browser(ConsoleRole.SUPERVISOR).get("/trends?by=agent&from=2026-11-16&to=2026-11-18").text
    whole, first, second = table(page)
    # name, 参评率, change, 满意率, change, five levels, 差评, before, defaults
    assert whole[0] == "合计"
    assert whole[1].startswith("100.0% ")
    assert whole[1].endswith("n=8")
    assert whole[3].startswith("75.0% 40.9%~92.9%")
    assert whole[5:] == ["4", "1", "1", "1", "1", "2", "3", "0"]
    assert first[0] == "2001"
    assert (first[3].split()[0], first[3].split()[-1]) == ("66.7%", "n=6")
    assert first[4] == "升 26.7 点"
    assert first[5:] == ["2", "1", "1", "1", "1", "2", "3", "0"]
    assert second[0] == "2002"
    assert second[3] == "— n=2"  # too few for a rate
    assert second[5:] == ["2", "0", "0", "0", "0", "0", "0", "0"]
    assert "来电评价，2026-11-16 至 2026-11-18，与上期（上周同期）2026-11-09 至 2026-11-11 比较。" in page
    address = (
        "/ratings?from=2026-11-16&to=2026-11-18&agent=2001&kind=call&origin=citizen&satisfaction=1%2C2&counted=yes"
    )
    assert f'<a href="{address}">2</a>' in unescape(page)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("by=day&range=week", ["合计", "11-16", "11-17", "11-18"]),
        ("by=queue&range=today", ["合计", "12345", "12346"]),
        ("by=channel&range=today", ["合计", "按键"]),
        ("by=dept&range=today", ["合计", "11622900"]),
        ("by=day&range=today&agent=2001", ["合计", "11-18"]),
    ],
)
def test_the_rows_of_each_view(browser: MakeBrowser, rate: Any, query: str, names: list[str]) -> None:
    rate(0, 5, 1, queue="12345", case_no="GD-1", closed=False)
    rate(0, 4, queue="12346", agent="2002")
    with_case = "by=dept" in query
    if with_case:
        rate(0, 3, case_no="GD-2", closed=True)
    found = table(browser(ConsoleRole.SUPERVISOR).get(f"/trends?{query}").text)
    assert [row[0] for row in found][: len(names)] == names
    if "agent=2001" in query:
        assert found[0][5:10] == ["1", "0", "0", "0", "1"]


def test_reasons_against_counts_by_hand(browser: MakeBrowser, rate: Any) -> None:
    rate(0, 1, 1, 1, 5)
    rate(-1, 2, 2)
    page = browser(ConsoleRole.SUPERVISOR).get("/trends?by=reason&range=today").text
    assert table(page) == [["115", "1", "1"], ["差评未说明原因", "2", "1"]]
    assert "reason=115" in page


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("range=today", "（前一天）2026-11-17 至 2026-11-17"),
        ("range=month", "（上月同期）2026-10-01 至 2026-10-18"),
        ("range=last_quarter", "（前一季度）2026-04-01 至 2026-06-30"),
        ("from=2026-11-02&to=2026-11-05", "（之前相同天数）2026-10-29 至 2026-11-01"),
    ],
)
@pytest.mark.parametrize("by", list(View))
def test_the_page_says_with_what_it_compares(browser: MakeBrowser, by: View, query: str, told: str) -> None:
    assert told in browser(ConsoleRole.SUPERVISOR).get(f"/trends?by={by}&{query}").text


def test_a_department_has_its_own_figures_alone(browser: MakeBrowser, rate: Any) -> None:
    rate(0, 5, 5, dept=A)
    rate(0, 1, 1, 1, dept=B)
    own = browser(ConsoleRole.DEPARTMENT, depts=[A])
    for query in ("by=agent&range=today", f"by=agent&range=today&dept={B}"):
        text = own.get(f"/trends?{query}").text
        if B in query:
            assert "这段时间没有数据" in text
        else:
            assert table(text)[0][5:10] == ["2", "0", "0", "0", "0"]
    assert "这段时间没有数据" in browser(ConsoleRole.DEPARTMENT, "nobody", areas=["99"]).get("/trends").text


def test_who_may_look(browser: MakeBrowser) -> None:
    for role in (ConsoleRole.ADMIN, ConsoleRole.AUDITOR):
        assert browser(role).get("/trends").status == 403
    assert browser().get("/trends?by=agent").to == "/login?next=%2Ftrends%3Fby%3Dagent"


# ── the address ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_address_says_everything() -> None:
    asked = read_asked({"by": "agent", "from": "2026-11-01", "to": "2026-11-03", "channel": "sms", "dept": ""}, TODAY)
    assert asked.view is View.AGENT
    assert asked.period == Period(date(2026, 11, 1), date(2026, 11, 3))
    assert asked.part == Slice(channel=Channel.SMS, dept="")
    assert not asked.wrong
    assert read_asked(asked.query(), TODAY) == asked
    assert read_asked({}, TODAY).chosen is Range.WEEK
    assert read_asked({"range": "last_quarter", "from": "2026-11-01"}, TODAY).period.first == date(2026, 7, 1)
    assert read_asked({"by": "dept", "kind": "call"}, TODAY).kind is SubjectKind.CASE
    # An agent's and a queue's figures are of calls alone.
    assert read_asked({"by": "day", "kind": "case", "agent": "2001"}, TODAY).kind is SubjectKind.CALL
    assert read_asked({"by": "channel", "kind": "case", "queue": ""}, TODAY).kind is SubjectKind.CALL


@pytest.mark.parametrize(
    "params",
    [
        {"by": "' OR 1=1"},
        {"range": "x"},
        {"kind": "<script>"},
        {"channel": "x"},
        {"from": "x", "to": "2026-11-18"},
        {"from": "2026-11-18", "to": "2026-11-01"},
        {"from": "0001-01-01", "to": "2026-11-01"},
        {"from": "9999-12-01", "to": "9999-12-31"},
        {"agent": "a" * 65},
        {"dept": "a\x00"},
    ],
)
def test_what_cannot_be_read_in_an_address_is_told(params: dict[str, str]) -> None:
    asked = read_asked(params, TODAY)
    assert asked.wrong
    assert asked.period.days <= 366


def test_a_wrong_address_is_a_page_that_says_so(browser: MakeBrowser) -> None:
    page = browser(ConsoleRole.SUPERVISOR).get("/trends?by=%3Cscript%3E&from=9999-99-99&agent=%3Cb%3E")
    assert page.status == 200
    assert "网址中有无法识别的条件" in page.text
    assert "<script>" not in page.text.replace("<script src", "")


# ── its weight ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def drawing(door: Door, keyring: Keyring, clock: TurnedClock) -> Iterator[HealthServer]:
    """A server whose pages have charts."""
    charts = Charts(seconds=60)
    rules = BoardRules(reasons={"115": "服务态度差效率低"})
    console = Console(door, keyring, clock, RULES, "临夏州12345", Passwords(QUICK), board_rules=rules, charts=charts)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_pages(app, console)
    server = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    server.start()
    yield server
    server.stop()
    charts.close()


def test_the_first_page_weighs_little_with_its_charts(
    drawing: HealthServer, database: Database, user: MakeUser
) -> None:
    with database.write_engine.begin() as connection:
        connection.execute(
            insert(rollup_days),
            [
                {
                    "day": TODAY - timedelta(days=day), "writer": 1, "kind": "call", "channel": "keypad",
                    "agent": f"{2000 + agent}", "queue": "12345", "dept": "", "area": "622900",
                    "level_5": 123 + agent, "level_4": 45, "level_3": 12, "level_2": 7, "level_1": 5 + day % 3,
                    "asked": 345, "responded": 200 + agent, "calls": 400, "offered": 350, "answered": 200,
                }
                for day in range(93) for agent in range(40)
            ],
        )  # fmt: skip
    someone = Browser(drawing.address)
    someone.log_in(user("ma", ConsoleRole.SUPERVISOR), PASSWORD)
    files = sum((FOLDER / name).stat().st_size for name in ("huiyin.css", "huiyin.js", "huiyin.svg"))
    weights = {}
    for query in ("", "?from=2026-10-19&to=2026-11-18", "?by=agent", "?from=2026-08-18&to=2026-11-18"):
        page = someone.get(f"/trends{query}")
        assert page.status == 200
        assert page.text.count("<svg") >= 2, query
        assert not re.search(r"<[^>]* style=|<style|https?://(?!www\.w3\.org)", page.text), query
        weights[query] = len(page.text.encode())
    assert weights[""] + files <= 100 * 1024, weights
    assert max(weights.values()) <= 150 * 1024, weights


@pytest.mark.parametrize(
    ("level", "told", "rate_told"),
    [
        (3, "基本满意及以上", "80.0%"),
        (4, "满意及以上", "60.0%"),
        (5, "非常满意", "40.0%"),
        (2, "不满意及以上", "100.0%"),
    ],
)
def test_trends_and_reports_state_the_formula_that_they_count_by(
    console: Console, browser: MakeBrowser, rate: Any, level: int, told: str, rate_told: str
) -> None:
    object.__setattr__(console, "board_rules", BoardRules(satisfied_from=level))
    object.__setattr__(console, "ratings", RatingsOptions(satisfied_from=level))
    rate(0, 5, 5, 4, 3, 2)
    someone = browser(ConsoleRole.SUPERVISOR)
    trends = someone.get("/trends?range=today&kind=call").text
    report = someone.get("/reports/day?date=2026-11-18").text
    assert f"满意率 = {told}的真实有效评价" in trends
    assert f"满意率为{told}所占比例" in report
    assert rate_told in trends
    assert rate_told in report


def test_without_a_chart_the_table_stands_alone(
    door: Door, keyring: Keyring, clock: TurnedClock, rate: Any, user: MakeUser
) -> None:
    rate(0, 5)
    charts = Charts(command=("false",))
    console = Console(door, keyring, clock, RULES, "临夏州12345", Passwords(QUICK), charts=charts)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_pages(app, console)
    server = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    server.start()
    try:
        someone = Browser(server.address)
        someone.log_in(user("ma", ConsoleRole.SUPERVISOR), PASSWORD)
        page = someone.get("/trends?range=today").text
    finally:
        server.stop()
        charts.close()
    assert "图表暂时无法生成，数据见下表。" in page
    assert table(page)[0][5] == "1"
