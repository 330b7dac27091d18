"""The board's pages: what stands on them, 已阅 and notes, the jump of a clock, and walls that show no person."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import select, update

from console import bad_ratings, board_state, queues
from console.bad_ratings import LONGEST_NOTE, SHOWN, MarkSeen, Unseen, count_unseen, latest_bad
from console.board_state import BoardRules, LinkShown, Machinery, read_machinery
from console.board_tokens import add_board_token
from console.link_beats import BeatLinks, LinkBeat, LinkWord
from console.pages import board_parts
from console.viewer import ConsoleRole, Viewer
from intake.calendars import StoredCalendar
from intake.desk import Intake
from intake.pauses import Jump, PauseForJump, read_jump
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import cases, evaluations, outbox, seen
from models.terms import Satisfaction
from tests.console.browser import Browser
from tests.console.site import Audited, MakeBrowser
from tests.console.streams import Stream
from tests.intake.test_calls import FACTS, RULES
from tests.moments import START

WAIT = 10
A, B = "11622900A", "11622900B"
SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)


@pytest.fixture
def intake(door: Door, keyring: Keyring, clock: TurnedClock) -> Intake:
    return Intake(door, keyring, clock, RULES)


@pytest.fixture
def bad(intake: Intake, database: Database) -> Callable[..., Any]:
    """Stores a bad rating of a call and gives its evaluation's row."""

    def bad(call: str = "a", level: int = 1, **facts: Any) -> Any:
        told = replace(FACTS, call_key=call, **facts)
        stored = intake.rate(told, Satisfaction(level), "x", hold=False).result(WAIT)
        with database.read_engine.connect() as connection:
            return connection.execute(select(evaluations).where(evaluations.c.id == stored.evaluation_id)).one()

    return bad


def marked(page: str) -> dict[str, str]:
    """The hidden fields of the first line's form."""
    form = page[page.index("data-marks") :]
    return dict(re.findall(r'name="(csrf|subject|number)" value="([^"]*)"', form)[:3])


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_figures_of_today(browser: MakeBrowser, bad: Any, intake: Intake, clock: TurnedClock) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    assert "今天还没有差评" in someone.get("/").text
    for place, level in enumerate((5, 5, 4, 3, 1)):
        bad(str(place), level)
    page = someone.get("/").text
    values = re.findall(r'<p class="value">(?:<a [^>]*>)?([^<]+)', page)
    assert values == ["5", "5", "5", "100.0%", "80.0%", "—"]
    assert "已评 5 / 已邀请 5" in page
    assert (
        'href="/ratings?from=2026-11-18&amp;to=2026-11-18&amp;satisfaction=5&amp;kind=call&amp;origin=citizen&amp;counted=yes">2<'
        in page
    )
    assert "hour=10" in page
    assert page.count('class="bad-rating"') == 1
    assert len(page.encode()) < 30_000


def test_behind_the_calls_that_were_answered_are_their_ratings_whatever_became_of_them(
    browser: MakeBrowser, bad: Any, database: Database
) -> None:
    for place in range(4):
        bad(str(place), 5, case_no=f"GD-{place}", closed=True)
    with database.write_engine.begin() as connection:
        ids = connection.execute(select(evaluations.c.id).where(evaluations.c.subject_kind == "call")).scalars().all()
        for one, column, value in zip(ids, ("effective", "adoption"), (False, "not_adopted"), strict=False):
            connection.execute(update(evaluations).where(evaluations.c.id == one).values({column: value}))
    someone = browser(ConsoleRole.SUPERVISOR)
    found = re.search(r'<h2>按键评价</h2>\s*<p class="value"><a href="([^"]*)">4</a>', someone.get("/").text)
    assert found is not None
    assert "共 4 条" in someone.get(unescape(found[1])).text


def test_a_board_without_a_script_loads_itself_and_has_the_link(browser: MakeBrowser) -> None:
    page = browser(ConsoleRole.SUPERVISOR).get("/").text
    assert '<noscript><meta http-equiv="refresh" content="30"></noscript>' in page
    assert re.search(r'<button type="button" id="alert"[^>]* hidden>', page)
    assert '<a class="button quiet" href="/">刷新</a>' in page


def test_a_board_counts_no_more_than_it_shows(
    database: Database, bad: Any, browser: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the centre is down: what waits is counted up to a bound."""
    for place in range(4):
        bad(str(place))
    with database.write_engine.begin() as connection:
        ids = list(connection.execute(select(outbox.c.evaluation_id).order_by(outbox.c.evaluation_id)).scalars())
        connection.execute(update(outbox).where(outbox.c.evaluation_id == ids[0]).values(batch_id=new_id()))
        connection.execute(update(outbox).where(outbox.c.evaluation_id == ids[3]).values(state="dead"))
    rules, days = BoardRules(), StoredCalendar()
    with database.read_engine.connect() as connection:
        found = read_machinery(connection, START + timedelta(minutes=3), rules, days)
        assert (found.waiting, found.dead, found.oldest_minutes) == (3, 1, 3)
        for module in (board_state, board_parts, queues):
            monkeypatch.setattr(module, "MOST", 2)
        found = read_machinery(connection, START, rules, days)
        assert (found.waiting, found.dead) == (3, 1)
    assert ">2 以上<" in browser(ConsoleRole.SUPERVISOR).get("/").text


def test_a_narrowed_supervisor_is_told_nothing_of_what_waits_of_others(
    browser: MakeBrowser, bad: Any, database: Database
) -> None:
    """Page and stream: the links are everybody's, what waits for the centre is of the record."""
    for place in range(3):
        bad(str(place), dept=B)
    with database.write_engine.begin() as connection:
        ids = connection.execute(select(outbox.c.evaluation_id)).scalars().all()
        connection.execute(update(outbox).where(outbox.c.evaluation_id == ids[0]).values(state="dead"))
    for depts, told in (((), True), ((A,), False)):
        someone = browser(ConsoleRole.SUPERVISOR, f"of{len(depts)}", depts=depts)
        page = someone.get("/").text
        with Stream(someone) as stream:
            streamed = stream.next().data["parts"]["machinery"]
        for text in (page[page.index('id="part-machinery"') :].partition("</section>")[0], streamed):
            assert "链路" in text
            assert [word in text for word in ("待推送", "推送失败待处理")] == [told, told]


def test_a_department_is_led_to_nothing_that_it_may_not_see(browser: MakeBrowser, bad: Any, database: Database) -> None:
    """Letters, deadlines and failures are the supervisors'; a department's board has neither their links nor counts."""
    bad("mine", dept=A, case_no="GD-1", closed=True)
    with database.write_engine.begin() as connection:
        connection.execute(update(cases).values(provisional=True))
        connection.execute(update(outbox).values(state="dead"))
    for role, depts, theirs in (
        (ConsoleRole.SUPERVISOR, (), {"/queues/letters", "/queues/deadlines", "/queues/failures"}),
        (ConsoleRole.DEPARTMENT, (A,), set()),
    ):
        someone = browser(role, depts=depts)
        links: set[str] = set()
        for path in ("/", "/queues", "/ratings", "/trends", "/reports/day"):
            found = re.findall(r'href="(/[^"]*)"', someone.get(path).text)
            links |= {unescape(link) for link in found if not link.startswith("/static/")}
        assert {link for link in links if re.match("/queues/(letters|deadlines|failures)", link)} == theirs
        one_each = {link.partition("?")[0]: link for link in links}
        assert len(one_each) > 8
        assert {link: someone.get(link).status for link in one_each.values()} == dict.fromkeys(one_each.values(), 200)


def test_the_machinery(database: Database, door: Door, intake: Intake, bad: Any, clock: TurnedClock) -> None:
    bad()
    beats = [LinkBeat(f"node-{place}", "mobile", LinkWord.UP, START) for place in (1, 2)]
    for beat in beats:
        door.submit(BeatLinks(beat.node, (beat,))).result(WAIT)
    jump = Jump(START, timedelta(hours=3), "node-1")
    door.submit(PauseForJump(jump)).result(WAIT)
    later = START + timedelta(minutes=12)
    with database.read_engine.connect() as connection:
        found = read_machinery(connection, later, BoardRules(calendar_warning=timedelta(0)), StoredCalendar())
        assert found == Machinery(
            waiting=1,
            oldest_minutes=12,
            links=(LinkShown("mobile", "node-1", LinkWord.SILENT), LinkShown("mobile", "node-2", LinkWord.SILENT)),
            jump=jump,
        )
        soon = read_machinery(connection, later, BoardRules(calendar_warning=timedelta(days=1000)), StoredCalendar())
        assert soon.calendar is not None
        assert soon.calendar.until is not None
        assert soon.calendar.until >= date(2026, 11, 18)


# ── marks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mark_is_seen_by_everybody_at_once_and_audited(
    browser: MakeBrowser, bad: Any, audited: Audited, clock: TurnedClock
) -> None:
    rating = bad().rating_id
    ma = browser(ConsoleRole.SUPERVISOR, "ma")
    li = browser(ConsoleRole.SUPERVISOR, "li")
    with Stream(li) as stream:
        stream.next()
        fields = marked(ma.get("/").text)
        assert ma.post("/board/seen", fields).status == 303
        [line] = stream.until_any()
        assert (line["id"], line["seen"]) == (rating, True)
        assert "ma 10:00 已阅" in line["html"]
        clock.turn(timedelta(minutes=5))
        note = "已回访 13800001234，市民满意"
        fields = marked(li.get("/").text) | {"note": note}
        assert li.post("/board/seen", fields).status == 303
        [line] = stream.until_any()
    assert "ma 10:00 已阅 · li 备注：已回访 138****1234，市民满意" in line["html"]
    assert [row for row in audited() if row[1].startswith("rating.") and row[0].startswith("user:")] == [
        ("user:ma", "rating.seen", None),
        ("user:li", "rating.noted", "已回访 138****1234，市民满意"),
    ]
    page = ma.get("/").text
    assert "li 备注：已回访 138****1234，市民满意" in page
    assert "13800001234" not in page


def test_a_script_is_told_whether_a_mark_is_stored(browser: MakeBrowser, bad: Any, database: Database) -> None:
    """204 and nothing else: a log-in that is over leads a form to a page, and a script must not take that for done."""
    bad()
    ma = browser(ConsoleRole.SUPERVISOR, "ma")
    fields = marked(ma.get("/").text) | {"note": "已回访"}
    script = {"Content-Type": "application/x-www-form-urlencoded", "X-Requested-With": "fetch"}

    def sends(who: Browser, **changed: str) -> int:
        return who.ask("POST", "/board/seen", urlencode(fields | changed).encode(), script).status

    def stored() -> int:
        with database.read_engine.connect() as connection:
            return len(connection.execute(select(seen)).all())

    assert sends(browser()) == 401
    assert sends(ma, csrf="x") == 403
    assert sends(ma, subject="0" * 32) == 404
    assert stored() == 0
    assert sends(ma) == 204
    assert stored() == 1
    cookies = dict(ma.cookies)
    ma.send("/logout", "/")
    assert sends(Browser(ma.address, cookies=cookies), note="晚了") == 401
    assert browser().post("/board/seen", fields).to.startswith("/login")  # a form is led there


@pytest.mark.parametrize(
    ("back", "to"), [("/ratings/x", "/ratings/x"), ("//evil.example", "/"), ("https://evil.example", "/"), ("", "/")]
)
def test_a_mark_leads_back_to_where_it_was_made(browser: MakeBrowser, bad: Any, back: str, to: str) -> None:
    bad()
    ma = browser(ConsoleRole.SUPERVISOR, "ma")
    assert ma.post("/board/seen", marked(ma.get("/").text) | {"back": back}).to == to


def test_a_mark_may_run_twice_and_two_at_once_have_one_first(
    bad: Any, database: Database, door: Door, make_door: Callable[..., Door], audited: Audited
) -> None:
    row = bad()
    mark = MarkSeen(SUPERVISOR, row.subject_id, 1, " 已处理 ", START)
    other = replace(mark, viewer=Viewer("li", ConsoleRole.SUPERVISOR), note="")
    # The intake's door and one more: as many as have connections to write of their own.
    doors = [door, make_door()] if not database.is_sqlite else [door]
    futures = [doors[place % len(doors)].submit(one) for place, one in enumerate((mark, other) * 8)]
    assert all(future.result(WAIT) for future in futures)
    with database.read_engine.connect() as connection:
        [stored] = connection.execute(select(seen)).all()
    assert (stored.note, stored.noted_by) == ("已处理", "ma")
    assert stored.seen_by in ("ma", "li")
    made = [action for _, action, _ in audited() if action.startswith("rating.seen")]
    assert len(made) == 1
    assert len([action for _, action, _ in audited() if action == "rating.noted"]) == 1


@pytest.mark.parametrize(
    ("subject", "number", "status"),
    [
        ("0" * 32, "1", 404),
        ("x", "1", 400),
        ("' OR 1=1 --" + "a" * 21, "1", 400),
        ("é" * 32, "1", 400),
        ("0" * 32, "", 400),
        ("0" * 32, "0", 400),
        ("0" * 32, "99999999999999999999", 400),
        ("0" * 32, "１", 400),
        ("z" * 32, "1", 400),
    ],
)
def test_a_mark_of_nothing(browser: MakeBrowser, subject: str, number: str, status: int) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    csrf = someone.get("/").text.split('data-csrf="', 1)[1].split('"', 1)[0]
    assert someone.post("/board/seen", {"csrf": csrf, "subject": subject, "number": number}).status == status


def test_who_may_mark(browser: MakeBrowser, bad: Any, database: Database, intake: Intake) -> None:
    theirs, good = bad("theirs", dept=B), bad("good", 5, dept=A)
    own = browser(ConsoleRole.DEPARTMENT, depts=[A])
    csrf = own.get("/").text.split('data-csrf="', 1)[1].split('"', 1)[0]
    for row in (theirs, good):
        fields = {"csrf": csrf, "subject": row.subject_id, "number": "1"}
        assert own.post("/board/seen", fields).status == 404
    mine = bad("mine", dept=A)
    fields = {"csrf": csrf, "subject": mine.subject_id, "number": "1"}
    assert own.post("/board/seen", fields | {"csrf": "x"}).status == 403
    assert own.post("/board/seen", fields | {"note": "长" * 1000}).status == 303
    for role in (ConsoleRole.ADMIN, ConsoleRole.AUDITOR):
        assert browser(role).post("/board/seen", fields).status == 403
    assert browser().post("/board/seen", fields).to.startswith("/login")
    with database.read_engine.connect() as connection:
        [stored] = connection.execute(select(seen)).all()
    assert stored.rating_id == mine.rating_id
    assert len(stored.note) == LONGEST_NOTE


def test_one_act_is_one_line_as_each_may_see_it(bad: Any, database: Database) -> None:
    bad("a", case_no="GD-1", closed=True, dept=A)
    with database.write_engine.begin() as connection:
        connection.execute(
            update(evaluations)
            .where(evaluations.c.subject_kind == "case")
            .values(dept_code=B, comment="请回电13800001234")
        )
    with database.read_engine.connect() as connection:
        [line] = latest_bad(connection, SUPERVISOR, START)
        assert (line.agent, line.dept_code, line.case_no, line.cases) == ("2001", B, "GD-1", 1)
        [of_call] = latest_bad(connection, Viewer("d", ConsoleRole.DEPARTMENT, (A,)), START)
        assert (of_call.agent, of_call.case_no, of_call.cases) == ("2001", None, 0)
        [of_case] = latest_bad(connection, Viewer("d", ConsoleRole.DEPARTMENT, (B,)), START)
        assert (of_case.agent, of_case.case_no, of_case.comment) == ("2001", "GD-1", "请回电138****1234")
        assert latest_bad(connection, SUPERVISOR, START + timedelta(seconds=1)) == []


def test_hostile_words_are_words(browser: MakeBrowser, bad: Any, database: Database) -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    bad("a", agent=hostile[:64], queue=hostile[:64])
    with database.write_engine.begin() as connection:
        connection.execute(update(evaluations).values(comment=hostile, reasons="<b>,115", dept_name=hostile))
    someone = browser(ConsoleRole.SUPERVISOR)
    cursor = write_start(database)
    page = someone.get("/").text
    with Stream(someone, cursor=cursor) as stream:
        [line] = stream.until_any()
    for text in (page, line["html"]):
        assert "<script>alert" not in text
        assert "<img" not in text.replace('<img src="/static/', "")
        assert "&lt;script&gt;" in text


def write_start(database: Database) -> str:
    """A place before everything."""
    from console.positions import START as BEGINNING
    from console.positions import read_epoch, write_cursor

    with database.read_engine.connect() as connection:
        return write_cursor(read_epoch(connection), BEGINNING)


# ── what nobody has seen ──────────────────────────────────────────────────────────────────────────────────────────────


def test_each_bad_rating_can_be_marked_however_many_there_are(
    browser: MakeBrowser, bad: Any, clock: TurnedClock
) -> None:
    """A board has room for the newest; the others are behind its count, and each one's own page has the form."""
    first = bad("first")
    for place in range(SHOWN):
        clock.turn(timedelta(seconds=1))
        bad(f"{place}", at=clock.now())
    bad("good", 5)
    ma = browser(ConsoleRole.SUPERVISOR, "ma")
    page = ma.get("/").text
    assert f'id="r-{first.rating_id}"' not in page
    link, told = unseen_of(page)
    assert told == f"近 7 日未阅差评 {SHOWN + 1} 件"
    listed = ma.get(link).text
    assert listed.count('class="level level-1"') == SHOWN + 1
    assert f'href="/ratings/{first.id}"' in listed
    story = ma.get(f"/ratings/{first.id}").text
    fields = dict(re.findall(r'name="(csrf|subject|number|back)" value="([^"]*)"', story[story.index("/board/seen") :]))
    assert ma.post("/board/seen", fields | {"note": "已回访"}).to == f"/ratings/{first.id}"
    story = ma.get(f"/ratings/{first.id}").text
    assert "ma 2026-11-18 10:00:20 已阅" in story
    assert "ma 备注：已回访" in story
    assert unseen_of(ma.get("/").text)[1] == f"近 7 日未阅差评 {SHOWN} 件"
    assert f'href="/ratings/{first.id}"' not in ma.get(link).text


def unseen_of(page: str) -> tuple[str, str]:
    """Where the count of unseen bad ratings leads, and what it says."""
    found = re.search(r'<span id="part-unseen"><a href="([^"]+)">([^<]+)</a>', page)
    assert found is not None
    return found[1].replace("&amp;", "&"), found[2]


def test_who_may_mark_sees_a_form_and_a_note_stands_in_each_story_of_its_rating(
    browser: MakeBrowser, bad: Any, door: Door, database: Database
) -> None:
    of_call, good = bad("a", case_no="GD-1", closed=True, dept=A), bad("good", 5)
    door.submit(MarkSeen(SUPERVISOR, of_call.subject_id, 1, "已致歉", START)).result(WAIT)
    with database.read_engine.connect() as connection:
        of_case = connection.execute(select(evaluations).where(evaluations.c.subject_kind == "case")).one()
    ma = browser(ConsoleRole.SUPERVISOR, "ma")
    for row in (of_call, of_case):
        assert "ma 备注：已致歉" in ma.get(f"/ratings/{row.id}").text
    assert "/board/seen" not in ma.get(f"/ratings/{good.id}").text


def test_what_nobody_has_seen_is_still_there_after_midnight_and_for_a_week(
    browser: MakeBrowser, bad: Any, door: Door, clock: TurnedClock, database: Database
) -> None:
    with database.write_engine.begin() as connection:
        secret = add_board_token(connection, START, "大厅", actor="command_line")
    read, unread = bad("read"), bad("unread", dept=A)
    door.submit(MarkSeen(SUPERVISOR, read.subject_id, 1, "", START)).result(WAIT)
    for days, there in ((1, True), (6, True), (1, False)):
        clock.turn(timedelta(days=days))
        page = browser(ConsoleRole.SUPERVISOR, f"ma{clock.now():%d}").get("/").text
        assert (f'id="r-{unread.rating_id}"' in page) == there
        assert ("2026-11-18 10:00</time>" in page) == there  # with its day
        assert f'id="r-{read.rating_id}"' not in page
        assert ("近 7 日未阅差评 1 件" in page) == there
        assert ("近 7 日差评均已阅" in page) == (not there)
        wall = browser()
        wall.get(f"/wall?token={secret}")
        assert 'class="bad-rating"' not in wall.get("/wall").text  # a wall shows today, and cannot mark
    mine = browser(ConsoleRole.DEPARTMENT, depts=[B]).get("/ratings?from=2026-11-18&to=2026-11-18&unseen=1").text
    assert unread.id not in mine


def test_behind_the_count_of_the_unseen_are_its_rows_also_those_not_adopted(
    browser: MakeBrowser, bad: Any, database: Database
) -> None:
    rows = [bad(str(place)) for place in range(3)]
    with database.write_engine.begin() as connection:
        connection.execute(update(evaluations).where(evaluations.c.id == rows[0].id).values(adoption="not_adopted"))
    ma = browser(ConsoleRole.SUPERVISOR)
    link, told = unseen_of(ma.get("/").text)
    assert told == "近 7 日未阅差评 3 件"
    listed = ma.get(link).text
    assert all(f'href="/ratings/{row.id}"' in listed for row in rows)


def test_the_count_of_the_unseen_is_live(browser: MakeBrowser, bad: Any) -> None:
    ma = browser(ConsoleRole.SUPERVISOR, "ma")
    with Stream(ma) as stream:
        assert "均已阅" in stream.next().data["parts"]["unseen"]
        bad()
        told = stream.next()
        assert "未阅差评 1 件" in told.data["parts"]["unseen"]
        ma.post("/board/seen", marked(ma.get("/").text))
        assert "均已阅" in stream.next().data["parts"]["unseen"]
        assert told.data["day"] == "2026-11-18"


def test_unseen_ones_are_counted_and_listed_up_to_a_bound(
    bad: Any, database: Database, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [bad(str(place), at=START + timedelta(seconds=place)) for place in range(4)]
    day, later = START.date(), START + timedelta(days=1)
    door.submit(MarkSeen(SUPERVISOR, rows[3].subject_id, 1, "", START)).result(WAIT)
    with database.read_engine.connect() as connection:
        assert count_unseen(connection, SUPERVISOR, day) == Unseen(day, 3)
        assert count_unseen(connection, Viewer("d", ConsoleRole.DEPARTMENT, (B,)), day) == Unseen(day, 0)
        assert [one.id for one in latest_bad(connection, SUPERVISOR, later, 2, START)] == [
            row.rating_id for row in (rows[2], rows[1])
        ]
        assert latest_bad(connection, SUPERVISOR, START, 4) == latest_bad(connection, SUPERVISOR, START, 4, START)
        monkeypatch.setattr(bad_ratings, "_COUNTED", 2)
        monkeypatch.setattr(bad_ratings, "_LINED", 2)
        assert count_unseen(connection, SUPERVISOR, day) == Unseen(day, 2, more=True)
        assert [one.id for one in latest_bad(connection, SUPERVISOR, later, 2, START)] == [rows[2].rating_id]


# ── the jump ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_supervisor_accepts_a_jump_and_it_is_audited(
    browser: MakeBrowser, door: Door, database: Database, audited: Audited
) -> None:
    door.submit(PauseForJump(Jump(START, timedelta(hours=3), "node-1"))).result(WAIT)
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    page = someone.get("/").text
    assert "突然前跳约 180 分钟，默认评价、短信邀评与提醒、到期与清理均已暂停" in page
    own = browser(ConsoleRole.DEPARTMENT, depts=[A])
    assert "突然前跳" not in own.get("/").text
    csrf = own.get("/").text.split('data-csrf="', 1)[1].split('"', 1)[0]
    assert own.post("/board/jump", {"csrf": csrf}).status == 403
    assert someone.post("/board/jump", {"csrf": "x"}).status == 403
    assert someone.get("/board/jump").status == 405
    assert someone.send("/board/jump", "/").to == "/"
    assert "突然前跳" not in someone.get("/").text
    with database.read_engine.connect() as connection:
        assert read_jump(connection) is None
    assert ("user:ma", "clock.jump_accepted", None) in audited()


# ── the wall ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_wall_shows_no_person(
    browser: MakeBrowser, bad: Any, database: Database, door: Door, clock: TurnedClock
) -> None:
    with database.write_engine.begin() as connection:
        secret = add_board_token(connection, START, "大厅", actor="command_line")
    wall = browser()
    assert wall.get(f"/wall?token={secret}").to == "/wall"
    row = bad("a", case_no="GD-4711", closed=True, number="13800001234", agent="工号8801", queue="12345")
    with database.write_engine.begin() as connection:
        connection.execute(update(evaluations).values(comment="王主任态度差", reasons="115"))
    door.submit(MarkSeen(Viewer("mazong", ConsoleRole.SUPERVISOR), row.subject_id, 1, "已致歉王女士", START)).result(
        WAIT
    )
    page = wall.get("/wall").text
    with Stream(wall, "/wall/live", cursor=write_start(database)) as stream:
        [line] = stream.until_any()
    assert "非常不满意" in page
    assert "非常不满意" in line["html"]
    told = page + line["html"]
    persons = ("8801", "GD-4711", "13800001234", "王主任", "mazong", "王女士", row.subject_id, "<form", 'name="csrf"')
    for person in persons:
        assert person not in told, person
    assert "/ratings" not in told  # nothing to click on, and nowhere to go


def test_a_narrowed_wall_shows_its_own(browser: MakeBrowser, bad: Any, database: Database) -> None:
    with database.write_engine.begin() as connection:
        secret = add_board_token(connection, START, "大厅", depts=[A], actor="command_line")
    bad("theirs", dept=B)
    wall = browser()
    wall.get(f"/wall?token={secret}")
    page = wall.get("/wall").text
    assert page.count('class="bad-rating"') == 0
    assert "part-machinery" not in page
    bad("mine", dept=A)
    page = wall.get("/wall").text
    assert page.count('class="bad-rating"') == 1
    assert '<p class="value">1</p>' in page
