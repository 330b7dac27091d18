"""The live board's stream: over real HTTP, on both databases, with another process beside it."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from queue import Queue
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from config.values import Address
from console import bad_ratings, live
from console.bad_ratings import MOST, Lines, MarkSeen, lines_of_board, told_between, visible_lines
from console.board_state import Sight, today
from console.board_tokens import add_board_token, revoke_board_token
from console.live import _KEPT, LiveBoards, _Channel
from console.pages.app import mount_pages
from console.pages.shell import Console
from console.passwords import Passwords
from console.people import disable_user
from console.positions import Position, read_edge, write_cursor
from console.sessions import SessionRules, touch, watching_touch
from console.viewer import ConsoleRole, Viewer
from intake.calls import GiveReason
from intake.centre_word import CentreWord, StoreCentreWord
from intake.desk import Intake
from intake.record import EvaluationKey, Stored
from intake.restated import Copied, evaluations_follow
from models.clock import TurnedClock
from models.database import EPOCH, Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import evaluations, feed, meta, sessions
from models.terms import Adoption, FeedKind, FollowUp, Satisfaction
from server.health import HealthServer
from tests.console.browser import Browser
from tests.console.site import QUICK, RULES, MakeBrowser
from tests.console.streams import Stream
from tests.intake.replying import Replying, level
from tests.intake.test_calls import FACTS
from tests.intake.test_calls import RULES as INTAKE_RULES
from tests.moments import START

WAIT = 10
Rate = Callable[..., str]


def values(top: str) -> list[str]:
    """The figures of a board's first line, in order."""
    return re.findall(r'<p class="value">(?:<a [^>]*>)?([^<]+)', top)


@pytest.fixture
def rate(door: Door, keyring: Keyring, clock: TurnedClock, database: Database) -> Rate:
    """Stores a rating of a call and gives the rating's id."""
    intake = Intake(door, keyring, clock, INTAKE_RULES)

    def rate(call: str, level: int = 1, **facts: Any) -> str:
        told = replace(FACTS, call_key=call, at=clock.now(), **facts)
        stored = intake.rate(told, Satisfaction(level), "x", hold=False).result(WAIT)
        with database.read_engine.connect() as connection:
            found: str = connection.execute(
                select(evaluations.c.rating_id).where(evaluations.c.id == stored.evaluation_id)
            ).scalar_one()
            return found

    return rate


@pytest.fixture
def other(make_door: Callable[..., Door], keyring: Keyring, clock: TurnedClock) -> Iterator[HealthServer]:
    """Another process on the same database: a door and boards of its own, which no commit of the first one wakes."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_pages(app, Console(make_door(), keyring, clock, RULES, "另一台", Passwords(QUICK)))
    made = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    made.start()
    yield made
    made.stop()


def cursor_of(page: str) -> str:
    found = re.search(r'data-cursor="([^"]+)"', page)
    assert found is not None
    return found[1]


# ── what comes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bad_rating_comes_by_itself_with_the_figures(browser: MakeBrowser, rate: Rate) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    page = someone.get("/").text
    with Stream(someone, f"/live?after={cursor_of(page)}") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        first = stream.next()
        assert (first.kind, first.lines) == ("board", {})
        assert set(first.data["parts"]) == {"top", "levels", "channels", "hours", "machinery", "work", "unseen"}
        began = time.monotonic()
        rated = rate("a", 1)
        [*_, told] = stream.until(rated)
        assert told.at - began < 2.0
    assert told.lines == {rated: False}
    assert {"top", "levels", "channels", "hours"} <= set(told.data["parts"])
    assert "work" not in told.data["parts"]
    [line] = told.data["lines"]
    assert "2001" in line["html"]
    assert 'name="csrf" value=""' in line["html"]  # shared by everybody: a secret is nobody's
    good = rate("b", 5)
    with Stream(someone, cursor=told.id) as again:
        assert good not in again.next().lines


def test_a_commit_of_this_process_wakes_the_boards(
    make_door: Callable[..., Door], keyring: Keyring, clock: TurnedClock, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK", 3600.0)
    woken: list[Callable[[], None]] = []
    door = make_door(observe=lambda _commands, _seconds: [wake() for wake in woken] and None)
    console = Console(door, keyring, clock, RULES, "临夏州12345", Passwords(QUICK))
    woken.append(console.live.wake)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_pages(app, console)
    server = HealthServer(app, Address("127.0.0.1", 0), "console.listen")
    server.start()
    try:
        someone = Browser(server.address)
        someone.log_in(user("ma"), "Klee+Blatt-7")
        with Stream(someone) as stream:
            stream.next()
            Intake(door, keyring, clock, INTAKE_RULES).rate(FACTS, Satisfaction(1), "5", hold=False).result(WAIT)
            assert len(stream.next().lines) == 1
    finally:
        server.stop()


# ── no gap ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_connection_comes_back_without_a_gap_to_whichever_process(
    browser: MakeBrowser, other: HealthServer, rate: Rate
) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    elsewhere = Browser(other.address, cookies=someone.cookies)
    told: list[str] = []
    cursor = cursor_of(someone.get("/").text)
    rated = []
    for place, who in enumerate((someone, elsewhere, elsewhere, someone)):
        rated += [rate(f"{place}-before-{more}") for more in range(3)]
        rate(f"{place}-good", 5)
        with Stream(who, cursor=cursor) as stream:
            events = stream.until(*rated[-3:])
            rated.append(rate(f"{place}-during"))
            events += stream.until(rated[-1])
        told += [one for event in events for one in event.lines]
        cursor = events[-1].id
    assert sorted(told) == sorted(rated)  # each once, and no other


def test_two_processes_tell_the_same(browser: MakeBrowser, other: HealthServer, rate: Rate) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    with Stream(someone) as here, Stream(Browser(other.address, cookies=someone.cookies)) as there:
        here.next(), there.next()
        rated = [rate(str(place)) for place in range(5)]
        for stream in (here, there):
            assert sorted(one for event in stream.until(*rated) for one in event.lines) == sorted(rated)


def test_a_reason_that_comes_later_is_told_with_the_same_line(
    browser: MakeBrowser, door: Door, keyring: Keyring, clock: TurnedClock, rate: Rate
) -> None:
    intake = Intake(door, keyring, clock, INTAKE_RULES)
    with Stream(browser(ConsoleRole.SUPERVISOR)) as stream:
        stream.next()
        facts = replace(FACTS, case_no="GD-1", closed=True)
        stored = intake.rate(facts, Satisfaction(1), "5", hold=True).result(WAIT)
        [rated] = stream.until_any()
        intake.give_reason(stored, ("115",)).result(WAIT)
        [again] = stream.until_any()
    assert rated["id"] == again["id"]
    assert "GD-1" in rated["html"]  # one act, one line, whatever it rated
    assert "115" not in rated["html"]
    assert "115" in again["html"]
    assert "GD-1" in again["html"]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "1",
        "-" * 199,
        "9" * 5000,
        "MS4uLg",
        "%00%0d%0aevent: x",
        base64.urlsafe_b64encode(b"1.e.-1.-1").decode(),
        base64.urlsafe_b64encode(b"1.e.0.99999999999999999999999").decode(),
        base64.urlsafe_b64encode("1.é.0.1".encode()).decode(),
        "<script>alert(1)</script>",
        "' OR 1=1 --",
    ],
)
def test_a_place_that_nobody_gave_out_makes_the_page_load_anew(browser: MakeBrowser, cursor: str) -> None:
    with Stream(browser(ConsoleRole.SUPERVISOR), cursor=cursor) as stream:
        assert stream.status == 200
        assert stream.next().kind == "reload"
        assert stream.raw() == b""


def test_a_place_of_before_a_restore_or_of_a_time_to_come_makes_the_page_load_anew(
    browser: MakeBrowser, database: Database, rate: Rate
) -> None:
    rate("a")
    someone = browser(ConsoleRole.SUPERVISOR)
    with Stream(someone) as stream:
        old = stream.next().id
    with database.write_engine.begin() as connection:
        epoch = connection.execute(select(meta.c.value).where(meta.c.key == EPOCH)).scalar_one()
        connection.execute(update(meta).where(meta.c.key == EPOCH).values(value="0123456789abcdef"))
    for cursor in (old, write_cursor("0123456789abcdef", Position(2**62, 2**62))):
        with Stream(someone, cursor=cursor) as stream:
            assert stream.next().kind == "reload"
    assert epoch != "0123456789abcdef"


def test_a_place_too_far_back_makes_the_page_load_anew(browser: MakeBrowser, door: Door, rate: Rate) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    with Stream(someone) as stream:
        cursor = stream.next().id
    rows = [{"kind": "seen", "subject_id": "0" * 32, "assess_number": 1, "at": START} for _ in range(MOST + 1)]
    door.write(lambda unit: unit.execute(feed.insert(), rows)).result(WAIT)
    with Stream(someone, cursor=cursor) as stream:
        assert stream.next().kind == "reload"


def test_a_reader_too_slow_for_what_is_kept_is_told_so() -> None:
    channel = _Channel(Sight(ConsoleRole.SUPERVISOR))
    for place in range(_KEPT + 1):
        channel.publish(str(place).encode())
    assert channel.since(_KEPT + 1) == []
    assert channel.since(_KEPT - 1) == [str(_KEPT - 1).encode(), str(_KEPT).encode()]
    assert channel.since(1) == [str(place).encode() for place in range(1, _KEPT + 1)]
    assert channel.since(0) is None


# ── what it costs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_boards_of_one_sight_share_one_body(console: Console, browser: MakeBrowser, rate: Rate) -> None:
    people = [browser(ConsoleRole.SUPERVISOR, f"ma{place}") for place in range(3)]
    with ExitStack() as opened:
        streams = [opened.enter_context(Stream(people[place % 3])) for place in range(20)]
        for stream in streams:
            stream.next()
        assert console.live.streams == 20
        before = console.live.rendered
        rate("a")
        bodies = [stream.raw() for stream in streams]
        assert len(set(bodies)) == 1
        assert console.live.rendered - before == 1


def test_a_board_gets_one_update_a_second_at_most(
    browser: MakeBrowser, rate: Rate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by the sender's clock: on the way to a reader an update may lose time that the next one does not."""
    told: list[float] = []
    publish = live._Channel.publish

    def watched(channel: live._Channel, body: bytes) -> None:
        if body != live._ALIVE:
            told.append(time.monotonic())
        publish(channel, body)

    with Stream(browser(ConsoleRole.SUPERVISOR)) as stream:
        stream.next()
        monkeypatch.setattr(live._Channel, "publish", watched)
        rated = [rate(f"{place}") for place in range(40)]
        events = stream.until(*rated)
        rated.append(rate("one more"))
        events += stream.until(rated[-1])
        rated.append(rate("and one more"))
        events += stream.until(rated[-1])
    assert sorted(one for event in events for one in event.lines) == sorted(rated)
    assert len(told) >= len(events) >= 3
    assert min(after - before for before, after in pairwise(told)) > live.SPACING - 0.05


def test_what_did_not_change_is_not_sent(console: Console, browser: MakeBrowser, rate: Rate) -> None:
    with Stream(browser(ConsoleRole.SUPERVISOR)) as stream:
        stream.next()
        before = console.live.rendered
        rated = rate("a")
        event = stream.until(rated)[-1]
        assert "machinery" not in event.data["parts"] or console.live.rendered - before <= 2
        assert "work" not in event.data["parts"]


def test_the_poller_ends_with_the_last_board(console: Console, browser: MakeBrowser, rate: Rate) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    with Stream(someone) as stream:
        stream.next()
    end = time.monotonic() + WAIT
    while console.live._poller is not None:
        rate(str(time.monotonic()), 5)  # a write to a connection that is gone shows that it is
        assert time.monotonic() < end, "somebody still looks"
    with Stream(someone) as stream:
        assert stream.next().kind == "board"


# ── who may look ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_may_look(browser: MakeBrowser) -> None:
    for role, status in ((ConsoleRole.ADMIN, 403), (ConsoleRole.AUDITOR, 403)):
        with Stream(browser(role)) as stream:
            assert stream.status == status
    with Stream(browser()) as stream:
        assert stream.status == 401
    with Stream(browser(), "/wall/live") as stream:
        assert stream.status == 403
    with Stream(browser(ConsoleRole.SUPERVISOR), "/wall/live") as stream:
        assert stream.status == 403


def test_a_department_is_told_its_own_and_nothing_of_the_machinery(browser: MakeBrowser, rate: Rate) -> None:
    own = browser(ConsoleRole.DEPARTMENT, depts=["11622900A"])
    with Stream(own) as stream:
        assert set(stream.next().data["parts"]) == {"top", "levels", "channels", "hours", "work", "unseen"}
        rate("theirs", dept="11622900B")
        mine = rate("mine", dept="11622900A")
        events = stream.until(mine)
    assert [one for event in events for one in event.lines] == [mine]
    assert values(events[-1].data["parts"]["top"])[0] == "1"


def test_a_stream_ends_with_its_session_and_its_token(
    browser: MakeBrowser, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "CHECK", 0.1)
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    wall = browser()
    with database.write_engine.begin() as connection:
        secret = add_board_token(connection, START, "大厅", actor="command_line")
    assert wall.get(f"/wall?token={secret}").status == 303
    with Stream(someone) as stream, Stream(wall, "/wall/live") as screen:
        stream.next(), screen.next()
        with database.write_engine.begin() as connection:
            disable_user(connection, START, "ma", actor="command_line")
            revoke_board_token(connection, START, "大厅", actor="command_line")
        for ended in (stream, screen):
            assert ended.next().kind == "over"
            assert ended.raw() == b""


def test_a_board_that_is_only_watched_stays_logged_in_for_as_long_as_a_session_lives(
    browser: MakeBrowser, clock: TurnedClock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its use is noted every few minutes, not at each look; a tab that was hidden meanwhile is logged out."""
    monkeypatch.setattr(live, "CHECK", 0.1)
    noted: Queue[datetime] = Queue()

    def noting(unit: Any, now: datetime, session: Any) -> None:
        touch(unit, now, session)
        noted.put(now)

    monkeypatch.setattr("console.pages.board.touch", noting)
    watching, hidden = browser(ConsoleRole.SUPERVISOR, "ma"), browser(ConsoleRole.SUPERVISOR, "li")
    with Stream(watching) as stream:
        stream.next()
        for _ in range(13):
            clock.turn(timedelta(minutes=50))
            assert noted.get(timeout=WAIT) == clock.now()
        assert hidden.get("/").to == "/login"
        assert watching.get("/").status == 200
        seen_at = select(sessions.c.seen_at).order_by(sessions.c.seen_at.desc()).limit(1)
        with database.read_engine.connect() as connection:
            assert connection.execute(seen_at).scalar_one() == clock.now()
        assert noted.empty()
        clock.turn(timedelta(hours=2))  # its life is over, whoever looks
        while (event := stream.next()).kind == "board":
            pass
        assert event.kind == "over"


@pytest.mark.parametrize(("idle", "every"), [(120, 5), (20, 5), (8, 2), (1, 0.25)])
def test_watching_is_noted_well_before_a_session_is_idle(idle: int, every: float) -> None:
    rules = SessionRules(timedelta(minutes=idle), timedelta(hours=12))
    assert watching_touch(rules) == timedelta(minutes=every)


def test_a_session_has_so_many_streams_and_the_oldest_ends_with_a_word(
    console: Console, browser: MakeBrowser, rate: Rate
) -> None:
    ma, bai = browser(ConsoleRole.SUPERVISOR, "ma"), browser(ConsoleRole.SUPERVISOR, "bai")
    with ExitStack() as opened:

        def look(someone: Browser) -> Stream:
            stream: Stream = opened.enter_context(Stream(someone))
            stream.next()
            return stream

        other = look(bai)
        streams = [look(ma) for _ in range(live.OF_A_SESSION)]
        last = look(ma)
        assert streams[0].next().kind == "crowded"
        assert streams[0].raw() == b""
        assert console.live.streams == live.OF_A_SESSION + 1
        rated = rate("a")
        for stream in (*streams[1:], last, other):
            stream.until(rated)
        streams[1].close()
        last.close()
    with Stream(ma) as again:
        assert again.next().kind == "board"


# ── trouble ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_database_that_does_not_answer_is_told_and_then_everything_comes_again(
    console: Console, browser: MakeBrowser, rate: Rate, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [False]
    look = LiveBoards._look

    def failing(self: LiveBoards, *arguments: Any) -> Any:
        if broken[0]:
            raise OperationalError("SELECT 13800001234", {}, Exception("gone"))
        return look(self, *arguments)

    monkeypatch.setattr(LiveBoards, "_look", failing)
    with Stream(browser(ConsoleRole.SUPERVISOR)) as stream:
        stream.next()
        broken[0] = True
        assert stream.next().kind == "stalled"
        rated = rate("a")
        broken[0] = False
        told = stream.next()
    assert told.lines == {rated: False}
    assert set(told.data["parts"]) == {"top", "levels", "channels", "hours", "machinery", "work", "unseen"}


def test_after_trouble_everything_comes_again_though_nothing_has_changed(
    browser: MakeBrowser, rate: Rate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards that were open hear that it is over; one that is opened then gets a whole page, and none is wiped."""
    broken = [False]
    look = LiveBoards._look

    def failing(self: LiveBoards, *arguments: Any) -> Any:
        if broken[0]:
            raise OperationalError("SELECT 1", {}, Exception("gone"))
        return look(self, *arguments)

    monkeypatch.setattr(LiveBoards, "_look", failing)
    someone = browser(ConsoleRole.SUPERVISOR)
    rate("a")
    cursor = cursor_of(someone.get("/").text)
    with Stream(someone, cursor=cursor) as old:
        whole = old.next().data["parts"]
        broken[0] = True
        assert old.next().kind == "stalled"
        with Stream(someone, cursor=cursor) as opened:  # meanwhile: what is known, and that it is not the latest
            assert opened.next().data["parts"] == whole
            assert opened.next().kind == "stalled"
        broken[0] = False
        told = old.next()
        assert (told.kind, told.data["parts"], told.lines) == ("board", whole, {})
        with Stream(someone, cursor=told.id) as new:
            assert new.next().data["parts"] == whole


def test_a_slow_answer_is_told_and_then_everything_comes_again(
    browser: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    answers.set()
    look = LiveBoards._look

    def slow(self: LiveBoards, *arguments: Any) -> Any:
        assert answers.wait(WAIT)
        return look(self, *arguments)

    monkeypatch.setattr(LiveBoards, "_look", slow)
    with Stream(browser(ConsoleRole.SUPERVISOR)) as stream:
        whole = stream.next().data["parts"]
        monkeypatch.setattr(live, "STALL", 0.1)
        answers.clear()
        assert stream.next().kind == "stalled"
        answers.set()
        assert stream.next().data["parts"] == whole


def test_a_board_that_cannot_be_told_what_it_missed_comes_back_later(
    browser: MakeBrowser, rate: Rate, monkeypatch: pytest.MonkeyPatch
) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    cursor = cursor_of(someone.get("/").text)
    rated = rate("a")

    def gone(_connection: Any) -> str:
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    with Stream(someone) as first:
        first.next()  # the poller has looked once
        with monkeypatch.context() as patched:
            patched.setattr(live, "read_epoch", gone)
            with Stream(someone, cursor=cursor) as stream:
                assert stream.next().kind == "stalled"
                assert stream.raw() == b""
        with Stream(someone, cursor=cursor) as stream:
            assert stream.next().lines == {rated: False}


# ── what is new ───────────────────────────────────────────────────────────────────────────────────────────────────────

MA = Viewer("ma", ConsoleRole.SUPERVISOR)
OF_A, OF_B = (Viewer("d", ConsoleRole.DEPARTMENT, (dept,)) for dept in ("11622900A", "11622900B"))
Happens = Callable[[Door, Any, datetime], Any]


def the_centre_speaks(door: Door, row: Any, now: datetime) -> None:
    word = CentreWord(Adoption.NOT_ADOPTED, FollowUp.IN_PROGRESS)
    door.submit(StoreCentreWord(row.id, word, "token:centre", now)).result(WAIT)


def somebody_marks_it(door: Door, row: Any, now: datetime) -> None:
    assert door.submit(MarkSeen(MA, row.subject_id, row.assess_number, "已回访", now)).result(WAIT)


def its_reason_comes(door: Door, row: Any, now: datetime) -> None:
    key = EvaluationKey(row.id, row.subject_id, row.assess_number)
    stored = Stored(True, row.id, Satisfaction.VERY_DISSATISFIED, row.rating_id, keys=(key,))
    door.submit(GiveReason(stored, ("115",), now)).result(WAIT)


@pytest.mark.parametrize("happens", [the_centre_speaks, somebody_marks_it, its_reason_comes])
@pytest.mark.parametrize(
    ("days", "seen_before", "on_board", "on_wall"),
    [(0, False, True, True), (3, False, True, False), (3, True, True, False), (8, False, False, False)],
)
def test_what_comes_to_a_rating_that_was_told_is_no_new_rating(
    door: Door, database: Database, rate: Rate, clock: TurnedClock,
    days: int, seen_before: bool, on_board: bool, on_wall: bool, happens: Happens,
) -> None:  # fmt: skip
    """A board hears of it where its page has such a line; where the page would not begin with it, it adds none."""
    rated = rate("old")
    with database.read_engine.connect() as connection:
        [row] = connection.execute(select(evaluations)).all()
    if seen_before:
        door.submit(MarkSeen(MA, row.subject_id, 1, "", clock.now())).result(WAIT)
    clock.turn(timedelta(days=days, minutes=4))
    with following(database) as follow:
        happens(door, row, clock.now())
        for viewer, wall, there in ((MA, False, on_board), (Viewer("", ConsoleRole.BOARD), True, on_wall)):
            lines, page = follow(viewer, today(clock.now()), wall)
            assert ids(lines) == ({rated} if there else set())
            assert ids(lines) - lines.kept == page
            assert not lines.new


@pytest.mark.parametrize(
    ("asked_before", "understood_after", "on_board", "on_wall"),
    [(0, 0, True, True), (6, 0, True, True), (0, 1, True, False), (0, 8, False, False)],
)
def test_a_reply_is_new_when_it_is_understood_and_of_the_day_on_which_it_came(
    door: Door, database: Database, keyring: Keyring, clock: TurnedClock,
    asked_before: int, understood_after: int, on_board: bool, on_wall: bool,
) -> None:  # fmt: skip
    """As the figures have it: today's for a case of last week; that of a reply which somebody ties later."""
    record = Replying(door, database, keyring, clock)
    record.invite(record.case(), first_asked_at=clock.now())
    clock.turn(timedelta(days=asked_before))
    reply = record.stored()
    clock.turn(timedelta(days=understood_after))
    with following(database) as follow:
        record.take(reply, level(1))
        rated = record.one(evaluations).rating_id
        for viewer, wall, there in ((MA, False, on_board), (Viewer("", ConsoleRole.BOARD), True, on_wall)):
            lines, page = follow(viewer, today(clock.now()), wall)
            assert ids(lines) == lines.new == page == ({rated} if there else set())


def test_a_case_that_comes_to_a_department_brings_its_rating_as_a_new_one(
    door: Door, database: Database, rate: Rate
) -> None:
    rated = rate("a", case_no="GD-1", closed=True, dept="11622900A")
    with database.read_engine.connect() as connection:
        of_case = connection.execute(select(evaluations).where(evaluations.c.subject_kind == "case")).one()
    said = Copied(None, "11622900B", None, None, None, of_case.area_code)
    with following(database) as follow:
        door.write(lambda unit: evaluations_follow(unit, {of_case.subject_id: said}, START)).result(WAIT)
        for viewer, new in ((MA, set()), (OF_A, set()), (OF_B, {rated})):
            lines, page = follow(viewer, today(START), False)
            assert ids(lines) == page
            assert lines.new == new


def ids(lines: Lines) -> set[str]:
    return {one.id for one in lines.standing}


@contextmanager
def following(database: Database) -> Iterator[Callable[[Viewer, date, bool], tuple[Lines, set[str]]]]:
    """What the feed tells a board from here on, and what its page shows by then."""
    with database.read_engine.connect() as connection:
        after = read_edge(connection)

    def follow(viewer: Viewer, day: date, wall: bool) -> tuple[Lines, set[str]]:
        with database.read_engine.connect() as connection:
            told = told_between(connection, after, read_edge(connection))
            assert told is not None
            page = lines_of_board(connection, viewer, day, today_alone=wall)
            return visible_lines(told, viewer, day, today_alone=wall), {one.id for one in page}

    yield follow


def test_a_stream_says_of_each_line_whether_it_is_new(browser: MakeBrowser, door: Door, rate: Rate) -> None:
    with Stream(browser(ConsoleRole.SUPERVISOR)) as stream:
        stream.next()
        rated = rate("a")
        [line] = stream.until(rated)[-1].data["lines"]
        assert (line["new"], line["kept"]) == (True, False)
        door.write(lambda unit: unit.execute(feed.insert(), [told_again(database_row(door, rated))])).result(WAIT)
        [line] = stream.until(rated)[-1].data["lines"]
        assert (line["new"], line["kept"]) == (False, False)


def database_row(door: Door, rated: str) -> Any:
    of_rating = select(evaluations).where(evaluations.c.rating_id == rated)
    return door.read(lambda connection: connection.execute(of_rating).one()).result(WAIT)


def told_again(row: Any) -> dict[str, Any]:
    return {
        "kind": FeedKind.AGAIN.value, "subject_id": row.subject_id, "assess_number": row.assess_number, "at": START
    }  # fmt: skip


# ── more than can be told ─────────────────────────────────────────────────────────────────────────────────────────────


def fed(door: Door, kind: FeedKind, n: int) -> None:
    rows = [{"kind": kind.value, "subject_id": "0" * 32, "assess_number": 1, "at": START} for _ in range(n)]
    door.write(lambda unit: unit.execute(feed.insert(), rows)).result(WAIT)


def test_a_sweep_of_defaults_does_not_load_the_boards_anew(
    browser: MakeBrowser, door: Door, rate: Rate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of them between two looks hide no bad rating and are no reason for a whole page."""
    with Stream(browser(ConsoleRole.SUPERVISOR)) as stream:
        cursor = stream.next().id
        rated = []
        for place in range(3):
            fed(door, FeedKind.DEFAULT, 2 * MOST)
            rated.append(rate(str(place)))
            stream.until(rated[-1])
    someone = browser(ConsoleRole.SUPERVISOR, "li")
    with Stream(someone, cursor=cursor) as stream:  # who was away hears of the ratings, too
        assert sorted(stream.next().lines) == sorted(rated)
    monkeypatch.setattr(bad_ratings, "SCAN", 100)  # up to a bound
    with Stream(someone, cursor=cursor) as stream:
        assert stream.next().kind == "reload"


def test_more_than_can_be_told_one_by_one_is_told_as_the_whole_list_made_once(
    console: Console, browser: MakeBrowser, door: Door, rate: Rate
) -> None:
    first = rate("first")
    people = [browser(ConsoleRole.SUPERVISOR, name) for name in ("ma", "li")]
    cursor = cursor_of(people[0].get("/").text)
    with ExitStack() as opened:
        streams = [opened.enter_context(Stream(people[place % 2], cursor=cursor)) for place in range(6)]
        for stream in streams:
            stream.next()
        before = console.live.rendered
        for turn in range(3):
            fed(door, FeedKind.SEEN, MOST + 1)
            bodies = {stream.raw() for stream in streams}
            assert len(bodies) == 1, turn
        assert console.live.rendered - before == 3
        data = json.loads(bodies.pop().decode().partition("data: ")[2])
        assert data["whole"] is True
        assert [(line["id"], line["new"]) for line in data["lines"]] == [(first, False)]


def test_boards_of_a_database_that_was_restored_beneath_the_server_load_anew_once(
    browser: MakeBrowser, database: Database, rate: Rate
) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    with Stream(someone) as stream:
        stream.next()
        with database.write_engine.begin() as connection:
            connection.execute(update(meta).where(meta.c.key == EPOCH).values(value="0123456789abcdef"))
        assert stream.next().kind == "reload"
        rated = rate("a")
        cursor = stream.until(rated)[-1].id
    with Stream(someone, cursor=cursor) as stream:  # a tab that was hidden comes back to where it was
        assert stream.next().kind == "board"


# ── what no longer counts ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bad_rating_that_another_one_replaces_is_taken_off(
    browser: MakeBrowser, rate: Rate, database: Database
) -> None:
    """A case is rated anew: its line goes. A call that was rated with it stays, and then the line stays."""
    alone, with_call = rate("a", 1), rate("b", 1, case_no="GD-1", closed=True)
    with database.read_engine.connect() as connection:
        of_case = connection.execute(select(evaluations).where(evaluations.c.subject_kind == "case")).one()
        of_call = connection.execute(select(evaluations).where(evaluations.c.rating_id == alone)).one()
    assert of_case.rating_id == with_call
    with Stream(browser(ConsoleRole.SUPERVISOR)) as stream:
        cursor = stream.next().id
        with database.write_engine.begin() as connection:
            for row in (of_case, of_call):
                connection.execute(update(evaluations).where(evaluations.c.id == row.id).values(effective=False))
                again = dict(row._mapping) | {
                    "id": new_id(), "rating_id": new_id(), "assess_number": 2, "satisfaction": 5, "effective": True
                }  # fmt: skip
                connection.execute(evaluations.insert().values(**again))
                connection.execute(
                    feed.insert().values(kind="evaluation", subject_id=row.subject_id, assess_number=2, at=START)
                )
        [*_, told] = stream.until(with_call)
    assert told.data["gone"] == [alone]
    assert "GD-1" not in told.data["lines"][0]["html"]
    with Stream(browser(ConsoleRole.SUPERVISOR, "li"), cursor=cursor) as stream:  # and one that missed it
        assert stream.next().data["gone"] == [alone]


def test_midnight_begins_a_new_day(browser: MakeBrowser, rate: Rate, clock: TurnedClock) -> None:
    rate("a")
    with Stream(browser(ConsoleRole.SUPERVISOR)) as stream:
        assert values(stream.next().data["parts"]["top"])[0] == "1"
        clock.turn(timedelta(hours=1))  # a session lasts two without use
        clock.turn(timedelta(hours=13))
        assert values(stream.next().data["parts"]["top"])[0] == "0"
