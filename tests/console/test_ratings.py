"""The list of ratings: its filters against plain Python, its pages while rows come in, its address."""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

import console.ratings as ratings_module
from console.ratings import (
    COUNTED,
    Counted,
    Problem,
    RatingFilters,
    Sort,
    count_ratings,
    find_subjects,
    position_cursor,
    ratings_page,
    read_filters,
)
from console.viewer import ConsoleRole, Viewer
from models.database import Database
from models.privacy import Keyring
from models.tables import evaluations
from models.terms import Channel, Origin, Satisfaction, SubjectKind
from tests.console.record_rows import AGENTS, AREAS, DEPTS, QUEUES, Row, fill, naive
from tests.console.site import MakeBrowser, Record
from tests.moments import START

SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)
VIEWERS = (
    SUPERVISOR,
    Viewer("d", ConsoleRole.DEPARTMENT, (str(DEPTS[0]),)),
    Viewer("d2", ConsoleRole.DEPARTMENT, (str(DEPTS[0]), str(DEPTS[1]))),
    Viewer("a", ConsoleRole.DEPARTMENT, (), ("6229",)),
    Viewer("none", ConsoleRole.ADMIN),
)
TODAY = START.date()
RANGE: dict[str, Any] = {"first": TODAY - timedelta(days=29), "last": TODAY}
CHOICES: dict[str, list[Any]] = {
    "range": [RANGE, {"first": TODAY, "last": TODAY}, {"first": TODAY - timedelta(days=40), "last": None}],
    "levels": [(Satisfaction(1),), (Satisfaction(1), Satisfaction(2)), (Satisfaction(3), Satisfaction(5))],
    "channel": list(Channel),
    "origin": list(Origin),
    "counted": list(Counted),
    "kind": list(SubjectKind),
    "agent": [agent or "" for agent in AGENTS] + ["nobody"],
    "queue": [queue or "" for queue in QUEUES],
    "dept": [dept or "" for dept in DEPTS],
    "area": list(AREAS),
    "tail": ["0001", "1234", "9999"],
    "number": ["GD-1-5", "a1-1.3", "nothing"],
    "reason": ["209", "214", ""],
    "superseded": [True],
    "unseen": [True],
}


def made(wanted: dict[str, Any], sort: Sort = Sort.NEWEST) -> RatingFilters:
    values = dict(wanted)
    values |= values.pop("range", {})
    return RatingFilters(sort=sort, **values)


def every_page(
    connection: Any, keyring: Keyring, viewer: Viewer, filters: RatingFilters, limit: int = 7
) -> list[list[str]]:
    pages, cursor = [], None
    for _ in range(500):
        tail = keyring.tail(filters.tail) if filters.tail else None
        page = ratings_page(connection, viewer, filters, cursor, limit, tail=tail)
        assert len(page.rows) <= limit
        pages.append([one.row.id for one in page.rows])
        cursor = page.cursor
        if cursor is None:
            return pages
    raise AssertionError("the pages have no end")


@pytest.fixture
def rows(database: Database, keyring: Keyring) -> list[Row]:
    return fill(database, keyring, 160)


SINGLE = [{name: value} for name, values in CHOICES.items() for value in values]


@pytest.mark.parametrize("scan", [800, 20], ids=["as shipped", "a scan of few rows"])
def test_each_filter_alone_is_what_plain_python_finds_in_every_order(
    database: Database, keyring: Keyring, rows: list[Row], scan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratings_module, "SCAN", scan)
    monkeypatch.setattr(ratings_module, "SCAN_BY_TIME", scan)
    with database.read_engine.connect() as connection:
        looks = [(sort, SUPERVISOR) for sort in Sort] + [(Sort.NEWEST, one) for one in VIEWERS[1:]]
        for wanted, (sort, viewer) in itertools.product([{}, *SINGLE], looks):
            filters = made(wanted, sort)
            found = list(itertools.chain(*every_page(connection, keyring, viewer, filters, 70)))
            assert found == naive(rows, filters, viewer), (wanted, sort, viewer)


def test_pairs_and_more_are_what_plain_python_finds(
    database: Database, keyring: Keyring, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    pairs = [
        dict(zip(names, values, strict=True))
        for names in itertools.combinations(CHOICES, 2)
        for values in [[chance.choice(CHOICES[name]) for name in names]]
    ]
    threes = [{name: chance.choice(CHOICES[name]) for name in chance.sample(list(CHOICES), 3)} for _ in range(40)]
    nonempty = 0
    with database.read_engine.connect() as connection:
        for scan in (800, 61):
            monkeypatch.setattr(ratings_module, "SCAN", scan)
            monkeypatch.setattr(ratings_module, "SCAN_BY_TIME", scan)
            for wanted in pairs + threes:
                viewer, sort = chance.choice(VIEWERS[:4]), chance.choice(list(Sort))
                filters = made(wanted, sort)
                expected = naive(rows, filters, viewer)
                nonempty += bool(expected)
                found = list(itertools.chain(*every_page(connection, keyring, viewer, filters, 70)))
                assert found == expected, (wanted, sort, viewer)
    assert nonempty > 40


@pytest.mark.parametrize("sort", list(Sort))
def test_pages_show_each_row_once_while_rows_come_in(
    database: Database, keyring: Keyring, rows: list[Row], sort: Sort
) -> None:
    filters = RatingFilters(sort=sort)
    before = naive(rows, filters, SUPERVISOR)
    seen: list[str] = []
    cursor, seed = None, 100
    while True:
        with database.read_engine.connect() as connection:
            page = ratings_page(connection, SUPERVISOR, filters, cursor, 25)
        seen += [one.row.id for one in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
        seed += 1
        fill(database, keyring, 3, seed=seed)
    assert len(seen) == len(set(seen))
    assert set(before) <= set(seen)
    assert [one for one in seen if one in set(before)] == before


def test_rows_of_one_moment_are_told_apart(database: Database, keyring: Keyring) -> None:
    rows = fill(database, keyring, 40, days=1)
    with database.write_engine.begin() as connection:
        connection.execute(evaluations.update().values(assess_time=START, satisfaction=4))
    with database.read_engine.connect() as connection:
        for sort in Sort:
            pages = every_page(connection, keyring, SUPERVISOR, RatingFilters(sort=sort, superseded=True), 3)
            found = list(itertools.chain(*pages))
            assert len(found) == len(set(found)) == len(rows)


def test_what_is_counted_is_what_is_listed_up_to_a_bound(
    database: Database, keyring: Keyring, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.read_engine.connect() as connection:
        for wanted in [{}, *SINGLE]:
            filters = made(wanted)
            tail = keyring.tail(filters.tail) if filters.tail else None
            count = count_ratings(connection, SUPERVISOR, filters, tail=tail)
            assert count in (None, len(naive(rows, filters, SUPERVISOR)))
        assert count_ratings(connection, SUPERVISOR, RatingFilters()) == len(naive(rows, RatingFilters(), SUPERVISOR))
        monkeypatch.setattr(ratings_module, "COUNTED", 10)
        assert count_ratings(connection, SUPERVISOR, RatingFilters()) == 11
    assert COUNTED == 500


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("limit", [3, 100])
@pytest.mark.parametrize("viewer", [SUPERVISOR, VIEWERS[1]], ids=["all", "a department"])
def test_a_tail_of_many_calls_and_cases_is_shown_whole_the_newest_first(
    database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch, sort: Sort, limit: int, viewer: Viewer
) -> None:
    """Five after five of those that may be seen: what is of others makes no page shorter."""
    rows = fill(database, keyring, 60 if viewer is SUPERVISOR else 240)
    filters = RatingFilters(tail="0001", sort=sort, superseded=True)
    expected = naive(rows, filters, viewer)
    subjects = {row.id: row.subject_id for row in rows}
    by_age = sorted({subjects[one] for one in expected}, reverse=True)
    monkeypatch.setattr(ratings_module, "TAIL_MOST", 5)
    assert len(by_age) > 15
    some = [by_age[start : start + 5] for start in range(0, len(by_age), 5)]
    with database.read_engine.connect() as connection:
        page = ratings_page(connection, viewer, filters, None, limit, tail=keyring.tail("0001"))
        shown = list(itertools.chain(*every_page(connection, keyring, viewer, filters, limit)))
    assert page.subjects_from is not None
    assert abs(page.subjects_from - _came(some[0][-1])) < timedelta(seconds=1), "it is said where the others begin"
    # Five calls and cases after five; the rows of each in the order that was asked for.
    assert shown == [one for these in some for one in expected if subjects[one] in these]


def _came(subject_id: str) -> datetime:
    return datetime.fromtimestamp(int(subject_id[:12], 16) / 1000, UTC)


def test_a_tail_is_shown_once_while_calls_of_it_come_in(
    database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters = RatingFilters(tail="0001")
    before = naive(fill(database, keyring, 60), filters, SUPERVISOR)
    monkeypatch.setattr(ratings_module, "TAIL_MOST", 5)
    seen: list[str] = []
    cursor, seed = None, 100
    while True:
        with database.read_engine.connect() as connection:
            page = ratings_page(connection, SUPERVISOR, filters, cursor, 3, tail=keyring.tail("0001"))
        seen += [one.row.id for one in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
        seed += 1
        fill(database, keyring, 4, seed=seed, days=1, start=START + timedelta(days=seed))
    assert len(seen) == len(set(seen))
    assert set(seen) == set(before)


def test_a_page_says_that_a_tail_has_more_and_how_many_of_the_newest_are_unrated(
    browser: MakeBrowser, database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for row in fill(database, keyring, 160) if (row.phone or "").endswith("0001")]
    gone = max(rows, key=lambda row: row.subject_id)
    with database.write_engine.begin() as connection:
        connection.execute(evaluations.delete().where(evaluations.c.subject_id == gone.subject_id))
    assert len({row.subject_id for row in rows}) > 50
    someone = browser(ConsoleRole.SUPERVISOR)
    told = "号码后四位相同的来电和工单很多"
    asked = f"/ratings?tail=0001&from={START - timedelta(days=70):%Y-%m-%d}"
    assert told not in someone.get(asked).text
    monkeypatch.setattr(ratings_module, "TAIL_MOST", 5)
    page = someone.get(asked).text
    assert told in page
    assert page.count('href="/ratings/') <= 10
    following = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert someone.get(following).text.count('href="/ratings/') > 0
    monkeypatch.undo()
    assert "最近的 50 个来电和工单中，有 1 个尚无评价" in someone.get(asked).text


# ── the address ───────────────────────────────────────────────────────────────────────────────────────────────────────

codes = (
    st.text(st.characters(exclude_categories=["C"], exclude_characters="\u2028\u2029"), min_size=1, max_size=60)
    .map(str.strip)
    .filter(lambda text: text not in {"", "-"})
)
some_days = st.dates(date(2000, 1, 1), date(2199, 12, 31))


@st.composite
def filters_drawn(draw: st.DrawFn) -> RatingFilters:
    days = sorted(draw(st.lists(some_days, min_size=2, max_size=2)))
    number = draw(st.one_of(st.just(""), codes))
    one_day = draw(st.booleans())
    counted = draw(st.one_of(st.none(), st.sampled_from(Counted)))
    return RatingFilters(
        first=days[0],
        last=days[0] if one_day else days[1],
        told=True,
        hour=draw(st.one_of(st.none(), st.integers(0, 23))) if one_day else None,
        levels=tuple(sorted(draw(st.sets(st.sampled_from(Satisfaction), max_size=4)))),
        channel=draw(st.one_of(st.none(), st.sampled_from(Channel))),
        origin=draw(st.one_of(st.none(), st.sampled_from(Origin))),
        kind=draw(st.one_of(st.none(), st.sampled_from(SubjectKind))),
        agent=draw(st.one_of(st.none(), st.just(""), codes)),
        queue=draw(st.one_of(st.none(), st.just(""), codes)),
        dept=draw(st.one_of(st.none(), st.just(""), codes)),
        area=draw(st.one_of(st.none(), st.just(""), codes)),
        number=number,
        tail=draw(st.sampled_from(["", "0001"])),
        reason=draw(st.sampled_from([None, "", "213"])),
        counted=counted,
        superseded=counted is None and draw(st.booleans()),
        unseen=draw(st.booleans()),
        sort=draw(st.sampled_from(Sort)),
    )


@given(filters=filters_drawn())
def test_an_address_gives_back_the_filters_it_was_made_of(filters: RatingFilters) -> None:
    again, wrong = read_filters(parse_qsl(filters.query(), keep_blank_values=True), TODAY)
    assert (again, wrong) == (filters, {})


def test_without_a_range_it_is_the_last_thirty_days_and_for_a_number_all_time() -> None:
    plain, _ = read_filters([], TODAY)
    assert (plain.first, plain.last, plain.query()) == (TODAY - timedelta(days=29), TODAY, "")
    by_number, _ = read_filters([("q", "GD-1")], TODAY)
    assert (by_number.first, by_number.last, by_number.query()) == (None, None, "q=GD-1")


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("from=yesterday", {"from": Problem.DAY}),
        ("from=0001-01-01", {"from": Problem.DAY}),
        ("to=9999-12-31", {"to": Problem.DAY}),
        ("from=2026-11-18&to=2026-11-17", {"to": Problem.ORDER}),
        ("satisfaction=6", {"satisfaction": Problem.CHOICE}),
        ("satisfaction=1;DROP TABLE evaluations", {"satisfaction": Problem.CHOICE}),
        ("channel=fax", {"channel": Problem.CHOICE}),
        ("origin=' OR 1=1 --", {"origin": Problem.CHOICE}),
        ("kind=x", {"kind": Problem.CHOICE}),
        ("counted=1", {"counted": Problem.CHOICE}),
        ("sort=id", {"sort": Problem.CHOICE}),
        ("tail=12345", {"tail": Problem.TAIL}),
        ("tail=１２３４", {"tail": Problem.TAIL}),
        ("hour=3", {"hour": Problem.HOUR}),
        ("from=2026-11-18&to=2026-11-18&hour=24", {"hour": Problem.HOUR}),
        ("from=2026-11-18&to=2026-11-18&hour=٣", {"hour": Problem.HOUR}),
        ("agent=" + "x" * 201, {"agent": Problem.LONG}),
        ("q=a%00b", {"q": Problem.SIGNS}),
        ("reason=2%271", {"reason": Problem.CHOICE}),
    ],
)
def test_what_cannot_be_right_is_told_by_its_name(query: str, problem: dict[str, Problem]) -> None:
    assert read_filters(parse_qsl(query, keep_blank_values=True), TODAY)[1] == problem


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.mark.parametrize(
    "query",
    [
        "agent=' OR '1'='1",
        'agent="; DROP TABLE evaluations; --',
        "q=%27%3B--",
        "dept=%25",
        "area=%5C",
        "queue=" + "x" * 190,
        "cursor=0.0.x",
        "cursor=0.999999999999999999." + "f" * 32,
        "cursor=5.1." + "0" * 32 + "&sort=worst",
        "cursor=9.1." + "0" * 32,
        "tail=0001&cursor=0.0." + "f" * 32 + "." + "0" * 32,
        "tail=0001&cursor=0.0." + "f" * 32 + "." + "f" * 33,
        "cursor=" + "x" * 3000,
        "satisfaction=1&satisfaction=2&satisfaction=3&satisfaction=4&satisfaction=5",
        "from=2000-01-01&to=2199-12-31",
        "agent=" + quote(HOSTILE),
        "tail=0001&q=1",
    ],
)
def test_hostile_parameters_are_a_page(browser: MakeBrowser, record: Record, query: str) -> None:
    record.call("X", 5)
    page = browser(ConsoleRole.SUPERVISOR).get("/ratings?" + query.replace(" ", "%20").replace('"', "%22"))
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text


@pytest.mark.parametrize("query", ["from=x", "satisfaction=6", "tail=1", "agent=" + "x" * 300, "sort=%FF"])
def test_a_wrong_filter_is_told_on_the_page(browser: MakeBrowser, query: str) -> None:
    page = browser(ConsoleRole.SUPERVISOR).get(f"/ratings?{query}")
    assert page.status == 422
    assert "请修改" in page.text
    assert 'role="alert"' in page.text


def test_the_form_leads_to_an_address_with_what_was_asked_for_alone(browser: MakeBrowser) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    asked = (
        "/ratings?form=1&from=2026-11-01&to=2026-11-18&q=&tail=&agent=-&queue=&satisfaction=1&satisfaction=2&sort=worst"
    )
    page = someone.get(asked)
    to = "/ratings?from=2026-11-01&to=2026-11-18&satisfaction=1&satisfaction=2&agent=&sort=worst"
    assert (page.status, page.to) == (303, to)
    shown = someone.get(page.to).text
    assert '<input type="checkbox" name="satisfaction" value="1" checked>' in shown
    assert 'name="agent" type="text" value="-"' in shown


def test_an_hour_is_seen_and_taken_away_and_goes_when_the_days_change(browser: MakeBrowser) -> None:
    """A click on the board's chart leads to an hour; whoever then asks for other days has not asked for it."""
    someone = browser(ConsoleRole.SUPERVISOR)
    page = someone.get("/ratings?from=2026-11-18&to=2026-11-18&hour=10&kind=call").text
    assert "10–11 时" in page
    assert '<a href="/ratings?from=2026-11-18&amp;to=2026-11-18&amp;kind=call" aria-current="true" aria-label=' in page
    hidden = "".join(
        f"&{name}={value}" for name, value in re.findall(r'<input type="hidden" name="(hour\w*)" value="([^"]*)"', page)
    )
    assert "hour=10" in hidden
    for days, hour in (
        ("from=2026-11-18&to=2026-11-18", "&hour=10"),
        ("from=2026-11-01&to=2026-11-18", ""),
        ("from=2026-11-17&to=2026-11-17", ""),
    ):
        asked = someone.get(f"/ratings?form=1&{days}&q=&agent={hidden}")
        assert (asked.status, asked.to) == (303, f"/ratings?{days}{hour}")
    assert "10–11 时" not in someone.get(f"/ratings?form=1&from=2026-11-01&to=2026-11-18&tail=1{hidden}").text
    assert someone.get("/ratings?from=2026-11-01&to=2026-11-18&hour=10").status == 422  # by hand it is told


def test_a_department_sees_its_own_alone_and_others_pages_are_not_there(
    browser: MakeBrowser, record: Record, database: Database
) -> None:
    mine, theirs = record.case("A", 1), record.case("B", 2)
    with database.read_engine.connect() as connection:
        ids = {row.subject_id: row.id for row in connection.execute(select(evaluations))}
    someone = browser(ConsoleRole.DEPARTMENT, "dept", depts=("A",))
    listed = someone.get("/ratings").text
    assert (mine in listed, theirs in listed) == (True, False)
    for path, status in (
        (f"/ratings/{ids[mine]}", 200),
        (f"/cases/{mine}", 200),
        (f"/ratings/{ids[theirs]}", 404),
        (f"/cases/{theirs}", 404),
    ):
        assert someone.get(path).status == status, path
    assert someone.get(f"/find?q={mine}").to == f"/cases/{mine}"
    assert theirs not in someone.get(f"/find?q={theirs}").to
    assert f"/cases/{theirs}" not in someone.get(f"/find?q={theirs}").text
    for role in (ConsoleRole.AUDITOR, ConsoleRole.ADMIN):
        assert browser(role).get("/ratings").status == 403


@pytest.mark.parametrize("path", ["/ratings/x", "/ratings/" + "a" * 32, "/cases/..%2Fx", "/cases/" + "0" * 32])
def test_a_guess_is_no_page(browser: MakeBrowser, path: str) -> None:
    assert browser(ConsoleRole.SUPERVISOR).get(path).status == 404


def test_one_click_presets_are_there_and_mark_the_one_that_is_shown(browser: MakeBrowser) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    text = someone.get("/ratings").text
    for query in (
        "from=2026-11-18&amp;to=2026-11-18",
        "from=2026-11-17&amp;to=2026-11-17",
        "from=2026-11-16&amp;to=2026-11-18",
        "from=2026-11-01&amp;to=2026-11-18",
        "from=2026-07-01&amp;to=2026-09-30",
    ):
        assert f'href="/ratings?{query}"' in text
    assert '<a href="/ratings?" aria-current="true">' in text
    today = someone.get("/ratings?from=2026-11-18&to=2026-11-18").text
    assert '<a href="/ratings?from=2026-11-18&amp;to=2026-11-18" aria-current="true">' in today


def test_an_unrated_call_is_found_by_number_and_by_tail(
    browser: MakeBrowser, database: Database, keyring: Keyring
) -> None:
    rows = fill(database, keyring, 12)
    gone = next(row for row in rows if row.phone == "+8613800001234")
    with database.write_engine.begin() as connection:
        connection.execute(evaluations.delete().where(evaluations.c.subject_id == gone.subject_id))
    someone = browser(ConsoleRole.SUPERVISOR)
    assert someone.get(f"/find?q={gone.number}").to == f"/cases/{gone.subject_id}"
    listed = someone.get(f"/ratings?q={gone.number}").text
    assert f'href="/cases/{gone.subject_id}"' in listed
    assert "尚无评价" in listed
    assert f'href="/cases/{gone.subject_id}"' in someone.get("/ratings?tail=1234").text
    story = someone.get(f"/cases/{gone.subject_id}").text
    assert "还没有评价" in story
    with database.read_engine.connect() as connection:
        found = find_subjects(connection, SUPERVISOR, "", keyring.tail("1234"))
    assert {one.number for one in found} == {row.number for row in rows if (row.phone or "").endswith("1234")}


def test_a_cursor_leads_on_and_a_heading_sorts(browser: MakeBrowser, database: Database, keyring: Keyring) -> None:
    rows = fill(database, keyring, 80, days=5)
    someone = browser(ConsoleRole.SUPERVISOR)
    first = someone.get("/ratings?sort=worst").text
    expected = naive(rows, replace(RatingFilters(**RANGE), sort=Sort.WORST), SUPERVISOR)
    shown = [part.split('"')[0] for part in first.split('href="/ratings/')[1:]]
    assert shown == expected[:50]
    following = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    rest = someone.get(following).text
    assert [part.split('"')[0] for part in rest.split('href="/ratings/')[1:]] == expected[50:]
    assert 'aria-sort="ascending"' in first


def test_a_cursor_is_short_and_says_where_it_goes_on() -> None:
    assert position_cursor(0, START, "a" * 32) == f"0.{int(START.timestamp()) * 1_000_000}.{'a' * 32}"


def test_defaults_come_by_system_alone(database: Database) -> None:
    """The generator keeps the rule that a filter by origin rests on: defaults come by `system` alone."""
    made_rows = fill(database, Keyring.generate(), 200)
    assert all((row.origin == "default") == (row.channel == "system") for row in made_rows)
