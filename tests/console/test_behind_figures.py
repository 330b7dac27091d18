"""A click on a figure leads to the rows that it counts: as many as it says, on the board, in trends and in reports.

The record holds what figures leave out beside what they count: ratings that the centre did not adopt, earlier ones of
the same subject, defaults, cases of an agent who is counted by calls alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qsl

import pytest
from sqlalchemy import insert, select, update

from console.charts import Chart, ChartKind
from console.figures import By, Period, reasons, statistics
from console.ratings import ratings_page, read_filters
from console.trend_charts import levels_by_day, reasons_given, satisfactions
from console.viewer import ConsoleRole, Viewer
from models.database import Database
from models.ids import new_id
from models.privacy import Keyring
from models.recount import rebuild
from models.tables import evaluations, invitations
from models.terms import SubjectKind
from tests.console.record_rows import AGENTS, DEPTS, QUEUES, fill
from tests.console.site import MakeBrowser
from tests.moments import START

TODAY = START.date()
PERIOD = Period(TODAY - timedelta(days=19), TODAY)
RANGE = f"from={PERIOD.first}&to={PERIOD.last}"
DEPT = str(DEPTS[0])
VIEWERS = {
    ConsoleRole.SUPERVISOR: Viewer("ma", ConsoleRole.SUPERVISOR),
    ConsoleRole.DEPARTMENT: Viewer("dept", ConsoleRole.DEPARTMENT, (DEPT,)),
}
Behind = Callable[..., int]


@dataclass(frozen=True)
class Linked:
    """A figure and where a click on it leads."""

    n: int
    address: str


@pytest.fixture
def record(database: Database, keyring: Keyring) -> None:
    """Some hundred ratings of today and of the weeks before."""
    fill(database, keyring, 160, days=20)
    fill(database, keyring, 90, seed=2, days=1, start=START)
    chance = random.Random(5)
    with database.write_engine.begin() as connection:
        for row in connection.execute(select(evaluations)).all():
            if row.origin == "default":
                values = {"asked": chance.random() < 0.5}
                connection.execute(update(evaluations).where(evaluations.c.id == row.id).values(values))
        connection.execute(insert(invitations), [_invitation(chance) for _ in range(150)])
        rebuild(connection)


def _invitation(chance: random.Random) -> dict[str, Any]:
    kind = chance.choice(("call", "case"))
    asked = START - timedelta(days=chance.randrange(20), minutes=chance.randrange(400))
    return {
        "id": new_id(),
        "kind": kind,
        "state": "asked",
        "key_map": "12345",
        "first_asked_at": asked,
        "asked_by": chance.choice(("voice", "sms")),
        "responded_at": START if chance.random() < 0.5 else None,
        "asked_kind": kind,
        "asked_agent": chance.choice(AGENTS) if kind == "call" else None,
        "asked_queue": chance.choice(QUEUES) if kind == "call" else None,
        "asked_dept": chance.choice(DEPTS),
        "created_at": asked,
        "changed_at": asked,
    }


@pytest.fixture
def behind(database: Database, record: None) -> Behind:
    """How many rows the list shows behind an address, on all its pages."""

    def count(address: str, role: ConsoleRole = ConsoleRole.SUPERVISOR) -> int:
        path, _, query = address.partition("?")
        assert path == "/ratings"
        filters, wrong = read_filters(parse_qsl(query, keep_blank_values=True), TODAY)
        assert wrong == {}, address
        rows, cursor = 0, None
        with database.read_engine.connect() as connection:
            while True:
                page = ratings_page(connection, VIEWERS[role], filters, cursor, 100)
                rows, cursor = rows + len(page.rows), page.cursor
                if cursor is None:
                    return rows

    return count


def figures_of(page: str) -> Iterator[Linked]:
    """Every figure of a page that leads to ratings: counts, the n of a rate (also beside a card's), hours, sums."""
    for address, text in re.findall(r'(?<!scope="row">)<a href="(/ratings\?[^"]*)">(.*?)</a>', page, re.S):
        words = re.sub(r"<[^>]+>|,", "", text).strip()
        if found := re.search(r"n=(\d+)", words) or re.fullmatch(r"(\d+)", words):
            yield Linked(int(found[1]), unescape(address))
        elif found := re.fullmatch(r"(\d+) / (\d+)", words):
            yield Linked(int(found[1]) + int(found[2]), unescape(address))
    card = r'<p class="value"><a href="(/ratings\?[^"]*)">[\d.]*[%—]</a></p>\s*<p class="note">\D*(\d+)'
    hour = r'<a href="(/ratings\?[^"]*)" aria-label="[^"]*评价 (\d+) 件'
    for address, n in re.findall(card, page) + re.findall(hour, page):
        yield Linked(int(n), unescape(address))


PAGES = {
    "board": ("/", 20),
    "trends by day": (f"/trends?by=day&{RANGE}", 60),
    "trends by day, of cases": (f"/trends?by=day&kind=case&{RANGE}", 40),
    "trends by agent": (f"/trends?by=agent&{RANGE}", 20),
    "trends by queue": (f"/trends?by=queue&{RANGE}", 15),
    "trends by team": (f"/trends?by=team&{RANGE}", 5),
    "trends of the agents of no team": (f"/trends?by=day&team=&{RANGE}", 10),
    "trends by department": (f"/trends?by=dept&{RANGE}", 15),
    "trends by channel": (f"/trends?by=channel&{RANGE}", 15),
    "trends by channel, of cases": (f"/trends?by=channel&kind=case&{RANGE}", 10),
    "trends by reason": (f"/trends?by=reason&{RANGE}", 3),
    "trends of one agent": (f"/trends?by=day&agent=1001&kind=case&{RANGE}", 10),
    "trends of a queue that was not told": (f"/trends?by=agent&queue=&{RANGE}", 10),
    "report of a day": ("/reports/day", 60),
    "report of a quarter": ("/reports/quarter", 100),
}


def test_behind_a_figure_are_as_many_rows_as_it_says(browser: MakeBrowser, behind: Behind) -> None:
    people = {
        ConsoleRole.SUPERVISOR: browser(ConsoleRole.SUPERVISOR),
        ConsoleRole.DEPARTMENT: browser(ConsoleRole.DEPARTMENT, depts=(DEPT,)),
    }
    for name, (path, least) in PAGES.items():
        for role, someone in people.items():
            found = {one.address: one.n for one in figures_of(someone.get(path).text)}
            if role is ConsoleRole.SUPERVISOR:
                assert len(found) >= least, f"{name}: the figures were not found"
                assert any(found.values()), f"{name}: nothing to look at"
            assert found == {address: behind(address, role) for address in found}, f"{name} as {role}"


def test_behind_a_bar_are_as_many_rows_as_it_says(database: Database, behind: Behind) -> None:
    charts: list[Chart] = []
    with database.read_engine.connect() as connection:
        for kind in SubjectKind:
            days = statistics(connection, PERIOD, By.DAY)
            charts.append(levels_by_day(days, kind))
            charts.append(reasons_given(reasons(connection, PERIOD, kind), PERIOD, kind))
            for by in By:
                if kind in by.kinds:
                    charts.append(satisfactions(statistics(connection, PERIOD, by), PERIOD, by, kind, 3))
    bars = [(chart.kind, bar) for chart in charts for bar in chart.bars]
    assert {kind for kind, _ in bars} == set(ChartKind)
    told = {bar.href: bar.n if kind is ChartKind.RATES else bar.value for kind, bar in bars}
    assert len(told) > 150
    assert told == {address: behind(address) for address in told}
