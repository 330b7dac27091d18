"""What is behind 通话, 邀请评价 and 参评率: as many rows as the figure says, for each figure and whoever looks."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from html import unescape
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from fastapi import FastAPI
from sqlalchemy import Connection

import console.asked as asked_module
from config.values import Address
from console.asked import (
    COUNTED,
    AskedFilters,
    AskedRow,
    What,
    asked_address,
    asked_page,
    count_asked,
    read_asked_filters,
)
from console.charts import Charts
from console.figures import WHOLE, By, Figures, Period, Sight, Slice, statistics
from console.formulas import Counts
from console.pages.app import mount_pages
from console.pages.shell import Console
from console.passwords import Passwords
from console.ratings import Problem
from console.viewer import ConsoleRole, Viewer
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.terms import Channel, SubjectKind
from server.health import HealthServer
from tests.console.asked_rows import AGENTS, AREAS, DEPTS, QUEUES, TEAMS, fill_asked
from tests.console.browser import Browser
from tests.console.site import PASSWORD, QUICK, RULES, MakeBrowser, MakeUser
from tests.moments import START

TODAY = START.date()
MONTH = Period(TODAY - timedelta(days=29), TODAY)
SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)
A, B = str(DEPTS[0]), str(DEPTS[1])
VIEWERS = {
    "supervisor": SUPERVISOR,
    "supervisor of an area": Viewer("s", ConsoleRole.SUPERVISOR, (), ("6229",)),
    "department": Viewer("d", ConsoleRole.DEPARTMENT, (A,)),
    "departments": Viewer("d2", ConsoleRole.DEPARTMENT, (A, B)),
    "department in an area": Viewer("d3", ConsoleRole.DEPARTMENT, (A,), ("622921",)),
}
PARTS: dict[str, Slice] = {
    "everything": WHOLE,
    **{f"agent {one}": Slice(agent=one or "") for one in AGENTS},
    **{f"team {one}": Slice(team=one) for one in sorted({*TEAMS.values(), "", "no such team"})},
    **{f"queue {one}": Slice(queue=one or "") for one in QUEUES},
    **{f"dept {one}": Slice(dept=one or "") for one in DEPTS},
    **{f"area {one}": Slice(area=one or "") for one in AREAS},
    **{f"channel {one}": Slice(channel=one) for one in Channel},
    "some of each": Slice(Channel.SMS, "1001", dept=A, team="一班"),
    "a team's queue": Slice(queue="12345", team="一班"),
}
WITH_KIND = ("everything", "agent 1001", f"dept {A}", "channel sms")


def figure(what: What, counts: Counts) -> int:
    if what is What.UNRATED:
        return counts.asked - counts.responded
    return int(getattr(counts, what.value))


def filters_of(address: str) -> AskedFilters:
    url = urlsplit(address)
    assert url.path == "/asked"
    filters, wrong = read_asked_filters(parse_qsl(url.query, keep_blank_values=True), TODAY)
    assert not wrong
    return filters


def every_row(connection: Connection, viewer: Viewer, filters: AskedFilters, limit: int = 100) -> list[AskedRow]:
    rows: list[AskedRow] = []
    cursor: str | None = None
    for _ in range(200):
        page = asked_page(connection, viewer, filters, cursor, limit)
        assert len(page.rows) <= limit
        rows += page.rows
        cursor = page.cursor
        if cursor is None:
            return rows
    raise AssertionError("the pages have no end")


@pytest.fixture
def filled(database: Database) -> Database:
    fill_asked(database, 200)
    return database


LOOKS = [(who, 400) for who in VIEWERS] + [("supervisor", 7), ("departments", 30)]
"""Who looks, and a scan as shipped or of few rows."""


@pytest.mark.parametrize(("who", "scan"), LOOKS)
def test_the_rows_behind_a_figure_are_as_many_as_it_says(
    filled: Database, who: str, scan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_module, "SCAN", scan)
    monkeypatch.setattr(asked_module, "SCAN_BY_TIME", scan * 10)
    viewer = VIEWERS[who]
    seen = 0
    with filled.read_engine.connect() as connection:
        looks = [(name, None) for name in PARTS] + [(name, kind) for name in WITH_KIND for kind in SubjectKind]
        for name, kind in looks:
            part = PARTS[name]
            days = statistics(connection, MONTH, By.DAY, Sight(viewer.depts, viewer.areas), part)
            whole = sum((row.figures for row in days), Figures())
            counts = whole.call + whole.case if kind is None else whole.of(kind)
            for what in What:
                told: dict[str, str] = {} if kind is None else {"kind": kind.value}
                filters = filters_of(asked_address(what, MONTH, part, **told))
                rows = every_row(connection, viewer, filters)
                assert len(rows) == len({row.id for row in rows}) == figure(what, counts), (name, kind, what)
                assert rows == sorted(rows, key=lambda row: (row.at, row.id), reverse=True)
                assert count_asked(connection, viewer, filters) in (len(rows), None)
                seen += len(rows)
    assert seen > 400


def test_what_a_row_tells(filled: Database) -> None:
    with filled.read_engine.connect() as connection:
        calls_of = every_row(connection, SUPERVISOR, AskedFilters(What.CALLS))
        assert {row.word for row in calls_of} == {"rated", "no_input", "hangup", "skipped", "not_offered"}
        assert all(row.rated == (row.word == "rated") for row in calls_of)
        asked = every_row(connection, SUPERVISOR, AskedFilters(What.ASKED))
        assert {row.rated for row in every_row(connection, SUPERVISOR, AskedFilters(What.UNRATED))} == {False}
        responded = every_row(connection, SUPERVISOR, AskedFilters(What.RESPONDED))
        assert all(row.rated and row.origin == "citizen" and row.level for row in responded)
        assert {row.origin for row in asked if not row.rated} == {None, "default"}
        assert {row.members for row in asked} == {1, 7}
        assert all(row.subject_id and row.number for row in asked)


def test_a_case_that_has_moved_counts_where_it_was_asked_and_is_not_shown_there(filled: Database) -> None:
    with filled.read_engine.connect() as connection:
        for viewer in (VIEWERS["department"], VIEWERS["department in an area"]):
            rows = every_row(connection, viewer, AskedFilters(What.ASKED))
            moved = [row for row in rows if row.subject_id is None]
            assert all(row.dept == A for row in rows)
            assert all((row.number, row.title, row.level) == ("", None, None) for row in moved)
            assert all(row.kind is SubjectKind.CASE for row in moved)
        assert [row for row in every_row(connection, VIEWERS["department"], AskedFilters()) if row.subject_id is None]
        for role in (ConsoleRole.ADMIN, ConsoleRole.AUDITOR):
            nobody = Viewer("x", role)
            for what in What:
                assert every_row(connection, nobody, AskedFilters(what)) == []
                assert count_asked(connection, nobody, AskedFilters(what)) == 0


def test_many_are_counted_no_further(database: Database) -> None:
    fill_asked(database, COUNTED + 120, days=10)
    with database.read_engine.connect() as connection:
        assert count_asked(connection, SUPERVISOR, AskedFilters(What.ASKED)) == COUNTED + 1


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def links(page: str) -> list[tuple[str, int]]:
    """The addresses of lists of what was asked, and how many rows each promises."""
    found = []
    for address, shown in re.findall(r'<a href="(/asked\?[^"]*)"[^>]*>(.*?)</a>', page, re.S):
        text = unescape(re.sub(r"<[^>]+>", " ", shown))
        number = re.search(r"n=([\d,]+)", text) or re.fullmatch(r"\s*([\d,]+)\s*", text)
        if number is not None:
            found.append((unescape(address), int(number[1].replace(",", ""))))
    return found


@pytest.fixture
def agrees(filled: Database) -> Callable[[Viewer, str], int]:
    """Looks after every promise of a page; gives how many there were."""

    def agrees(viewer: Viewer, page: str) -> int:
        promised = links(page)
        with filled.read_engine.connect() as connection:
            for address, n in promised:
                assert len(every_row(connection, viewer, filters_of(address))) == n, address
        return len(promised)

    return agrees


def test_the_page_tells_whose_day_it_goes_by_and_leads_to_each_story(browser: MakeBrowser, filled: Database) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    page = someone.get("/asked?what=unrated&channel=sms&kind=case")
    assert page.status == 200
    assert "至今没有市民评价的邀请" in page.text
    assert "&lt;b&gt;路灯&lt;/b&gt;" in page.text
    story = re.search(r'<a href="(/cases/[0-9a-f]{32})">工单 GD-', page.text)
    assert story is not None
    assert someone.get(story[1]).status == 200
    moved = browser(ConsoleRole.DEPARTMENT, depts=[A]).get("/asked?what=asked&kind=case").text
    assert "已转其他部门" in moved
    for role in (ConsoleRole.ADMIN, ConsoleRole.AUDITOR):
        assert browser(role).get("/asked").status == 403
    assert browser().get("/asked?what=calls").to == "/login?next=%2Fasked%3Fwhat%3Dcalls"


def test_a_form_leads_to_an_address_that_is_kept(browser: MakeBrowser) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    sent = someone.get("/asked?form=1&what=responded&from=2026-11-18&to=2026-11-18&agent=-&team=&queue=&area=")
    assert (sent.status, sent.to) == (303, "/asked?what=responded&from=2026-11-18&to=2026-11-18&agent=")
    assert 'name="agent" type="text" value="-"' in someone.get(sent.to).text


@pytest.mark.parametrize(
    ("query", "name", "why"),
    [
        ("what=x", "what", Problem.CHOICE),
        ("from=x", "from", Problem.DAY),
        ("from=2026-11-18&to=2026-11-01", "to", Problem.ORDER),
        ("channel=fax", "channel", Problem.CHOICE),
        ("kind=x", "kind", Problem.CHOICE),
        ("hour=3", "hour", Problem.HOUR),
        ("team=" + "x" * 201, "team", Problem.LONG),
    ],
)
def test_what_cannot_be_right_is_told(browser: MakeBrowser, query: str, name: str, why: Problem) -> None:
    assert read_asked_filters(parse_qsl(query), TODAY)[1] == {name: why}
    page = browser(ConsoleRole.SUPERVISOR).get(f"/asked?{query}")
    assert page.status == 422
    assert "请修改" in page.text


@pytest.mark.parametrize("cursor", ["", "x", "0.0", "9" * 18 + "." + "f" * 32, "1.<script>"])
def test_a_cursor_that_is_none_of_ours_is_the_beginning(filled: Database, cursor: str) -> None:
    with filled.read_engine.connect() as connection:
        assert (
            asked_page(connection, SUPERVISOR, AskedFilters(), cursor).rows
            == asked_page(connection, SUPERVISOR, AskedFilters()).rows
        )


def test_an_address_is_read_as_it_was_written() -> None:
    part = Slice(Channel.SMS, "00&42", "", A, "6229", "二班 & 夜班")
    filters = filters_of(asked_address(What.RESPONDED, Period(TODAY, TODAY), part, kind="call", hour=9))
    assert filters.part.first == filters.part.last == date(2026, 11, 18)
    assert (filters.what, filters.part.channel, filters.part.hour) == (What.RESPONDED, Channel.SMS, 9)
    assert (filters.part.agent, filters.part.queue, filters.part.team) == ("00&42", "", "二班 & 夜班")
    assert read_asked_filters(parse_qsl(filters.query(), keep_blank_values=True), TODAY)[0] == filters


@pytest.mark.parametrize("path", ["/reports/day?date=2026-11-16", "/reports/quarter?q=2026Q4"])
def test_a_report_has_charts_whose_bars_are_links(
    database: Database, door: Door, keyring: Keyring, clock: TurnedClock, user: MakeUser, path: str
) -> None:
    fill_asked(database, 150, days=4)
    charts = Charts(seconds=60)
    console = Console(door, keyring, clock, RULES, "临夏州12345", Passwords(QUICK), charts=charts)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_pages(app, console)
    server = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    server.start()
    try:
        someone = Browser(server.address)
        someone.log_in(user("ma", ConsoleRole.SUPERVISOR), PASSWORD)
        page = someone.get(path).text
    finally:
        server.stop()
        charts.close()
    pictures = re.findall(r'<figure class="card picture"[^>]*><figcaption>(.*?)</figcaption>(.*?)</figure>', page, re.S)
    first = "分时段评价" if "day" in path else "按日评价"
    assert [title for title, _ in pictures][:2] == [f"{first}，来电", f"{first}，工单"]
    assert {"满意率，部门，工单", "满意率，班组，来电"} <= {title for title, _ in pictures}
    assert all(re.search(r'<a href="/(ratings|asked)\?', picture) for _, picture in pictures)
    assert len(page.encode()) < 150 * 1024
    assert " style=" not in page


@pytest.mark.parametrize("who", [ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT])
def test_every_figure_of_what_was_asked_leads_to_as_many_rows(
    browser: MakeBrowser, agrees: Callable[[Viewer, str], int], who: ConsoleRole
) -> None:
    depts = (A,) if who is ConsoleRole.DEPARTMENT else ()
    viewer = Viewer("x", who, depts)
    someone = browser(who, depts=list(depts))
    days = "from=2026-10-20&to=2026-11-18"
    addresses = [f"/trends?{days}&by={view}" for view in ("day", "agent", "team", "dept", "queue", "channel")]
    addresses += [
        "/",
        f"/trends?{days}&by=agent&team={quote('二班 & 夜班')}",
        f"/trends?{days}&by=team&channel=sms",
        f"/trends?{days}&by=day&kind=case&dept={A}",
        "/reports/day?date=2026-11-16",
        "/reports/quarter?q=2026Q4",
    ]
    for address in addresses:
        page = someone.get(address)
        assert page.status == 200
        assert agrees(viewer, page.text) > 0, address
