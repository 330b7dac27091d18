"""The board's pages: what stands on them, 已阅 and notes, the jump of a clock, and walls that show no person."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from html import unescape
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from console.bad_ratings import LONGEST_NOTE, MarkSeen, latest_bad
from console.board_state import BoardRules, LinkShown, Machinery, Sight, Work, read_machinery, read_work
from console.board_tokens import add_board_token
from console.link_beats import BeatLinks, LinkBeat, LinkWord
from console.viewer import ConsoleRole, Viewer
from intake.calendars import StoredCalendar
from intake.desk import Intake
from intake.pauses import Jump, PauseForJump, read_jump
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import cases, evaluations, messages, outbox, seen
from models.terms import Satisfaction
from tests.console.site import Audited, MakeBrowser, Record
from tests.console.streams import Stream
from tests.intake.test_calls import FACTS, RULES
from tests.moments import START

WAIT = 10
A, B = "11622900A", "11622900B"
SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)
ALL = Sight(ConsoleRole.SUPERVISOR)


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


def test_what_people_look_after_is_counted_as_they_may_see_it(
    database: Database, record: Record, clock: TurnedClock
) -> None:
    mine = record.case(A, 1)
    record.case(B, 1)
    with database.write_engine.begin() as connection:
        for queue, handled in (("unclear", None), ("unmatched", None), ("mistaken", None), ("unclear", START)):
            connection.execute(
                insert(messages).values(
                    id=new_id(), direction="in", kind="reply", state="read", queue=queue, handled_at=handled,
                    created_at=START, changed_at=START,
                )
            )  # fmt: skip
        for ago in (timedelta(0), timedelta(days=1)):
            connection.execute(
                insert(messages).values(
                    id=new_id(), direction="out", kind="invitation", state="failed", created_at=START - ago,
                    changed_at=START - ago,
                )
            )  # fmt: skip
        connection.execute(update(cases).values(provisional=True))
        for row in connection.execute(select(evaluations)).all():
            connection.execute(
                insert(outbox).values(
                    evaluation_id=row.id, subject_id=row.subject_id, assess_number=1, state="dead",
                    not_before=START, tries=1, created_at=START,
                )
            )  # fmt: skip
    with database.read_engine.connect() as connection:
        assert read_work(connection, START, ALL) == Work(replies=2, mistaken=1, dead=2, provisional=2, failed=1)
        own = Sight(ConsoleRole.DEPARTMENT, (A,))
        assert read_work(connection, START, own) == Work(replies=0, mistaken=0, dead=1, provisional=1, failed=0)
        assert read_work(connection, START, Sight(ConsoleRole.DEPARTMENT)) == Work()
    assert mine


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


# ── the jump ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_supervisor_accepts_a_jump_and_it_is_audited(
    browser: MakeBrowser, door: Door, database: Database, audited: Audited
) -> None:
    door.submit(PauseForJump(Jump(START, timedelta(hours=3), "node-1"))).result(WAIT)
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    page = someone.get("/").text
    assert "突然前跳约 180 分钟，默认评价已暂停" in page
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
