"""A case that is rated and then completed, or moved to another department or area: its ratings go with it, everywhere.

What is looked at is what the department and its systems see: pages, API, feed, figures, the number, the push.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from threading import Event
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from centre.commands import Horizon, TakeBatches
from console.figures import By, Period, Sight, statistics
from console.reads import Filters, evaluations_page, read_case
from console.reveal import may_reveal
from console.tokens import Scope, Token
from console.viewer import ConsoleRole, Viewer, visible
from intake.cases import CaseDesk, Poster, Verdict
from intake.desk import Intake
from intake.posted import read_case as posted
from intake.posted import read_patch
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.recount import rebuild
from models.tables import calls, cases, codes, evaluations, feed, invitations, outbox
from models.terms import CallOutcome, Satisfaction
from tests.centre.rows import MAPPER
from tests.console.site import MakeBrowser
from tests.console.streams import Stream
from tests.intake.counting import agree
from tests.intake.replying import Replying, level
from tests.intake.test_calls import FACTS
from tests.intake.test_calls import RULES as CALL_RULES
from tests.intake.test_cases import RULES as CASE_RULES
from tests.moments import START

A, B = "11622900A", "11622900B"
DAY = Period(date(2026, 11, 18), date(2026, 11, 18))
NEAR, FAR = "622901", "622921"
POSTER = Poster("gongdan", "token:gongdan")
WAIT = 10
CLOSED = replace(FACTS, case_no="GD-77", closed=True, dept=None)


class Centre:
    """A hotline: calls, cases, and what a department or an area sees of it."""

    def __init__(self, door: Door, database: Database, keyring: Keyring, clock: TurnedClock) -> None:
        self.door, self.database, self.keyring, self.clock = door, database, keyring, clock
        self.intake = Intake(door, keyring, clock, CALL_RULES)
        self.desk = CaseDesk(door, keyring, clock, CASE_RULES)

    def rate(self, satisfaction: int = 1, **facts: Any) -> None:
        told = replace(CLOSED, **facts)
        self.intake.rate(told, Satisfaction(satisfaction), "5", hold=False).result(WAIT)

    def post(self, case_no: str = "GD-77", **more: Any) -> Verdict:
        raw = {"case_no": case_no, "phone": "13800000001", "closed_at": "2026-11-18T09:50:00", **more}
        [verdict] = [one.result(WAIT) for one in self.desk.post([posted(raw, self.clock.now())], POSTER)]
        return verdict

    def patch(self, case_no: str = "GD-77", **changes: Any) -> Verdict:
        patch = read_patch(changes, self.clock.now(), case_no=case_no)
        return self.desk.patch(case_no, None, patch, POSTER).result(WAIT)

    def rows(self, table: Any, *where: Any) -> list[Any]:
        with self.database.read_engine.connect() as connection:
            return list(connection.execute(select(table).where(*where)))

    def evaluation(self) -> Any:
        """That of the case."""
        [row] = self.rows(evaluations, evaluations.c.subject_kind == "case", evaluations.c.effective)
        return row

    def seen_by(self, dept: str | None = None, area: str | None = None) -> dict[str, int]:
        """What a department or an area has of the one rating of a case, in each place where it could be."""
        depts, areas = (dept,) if dept else (), (area,) if area else ()
        viewer = Viewer("d", ConsoleRole.DEPARTMENT, depts, areas)
        token = Token(new_id(), "t", Scope.READ, depts, areas, START, None)
        of_case = evaluations.c.subject_kind == "case"
        with self.database.read_engine.connect() as connection:

            def count(table: Any, *where: Any) -> int:
                return len(list(connection.execute(select(table).where(visible(viewer, table), *where))))

            page = evaluations_page(connection, token, Filters(), None, 10)["evaluations"]
            case = read_case(connection, self.keyring, token, "GD-77", None)
            figures = statistics(connection, DAY, By.DEPT, Sight(depts, areas))
            revealed = connection.execute(select(cases.c.subject_id).where(may_reveal(viewer, cases))).all()
            return {
                "list": count(evaluations, of_case),
                "story": count(cases),
                "number": len(revealed),
                "API": len([one for one in page if one["subject"] == "case"]),
                "API of the case": len(case["evaluations"]) if case is not None else 0,
                "statistics": sum(sum(row.figures.case.levels.values()) for row in figures),
            }

    def pushed(self) -> str:
        """The body of the batch that is made next."""
        at = Horizon(self.clock.now() + timedelta(minutes=5), timedelta(0), timedelta(0), timedelta(0))
        until = at.now + timedelta(minutes=1)
        taken = self.door.submit(TakeBatches("me", at, until, 1, 1, 1, 100, (), MAPPER)).result(WAIT)
        return b"".join(batch.body for batch in taken.batches).decode()


@pytest.fixture
def centre(door: Door, database: Database, keyring: Keyring, clock: TurnedClock) -> Centre:
    return Centre(door, database, keyring, clock)


EVERYWHERE = {"list": 1, "story": 1, "number": 1, "API": 1, "API of the case": 1, "statistics": 1}
NOWHERE = dict.fromkeys(EVERYWHERE, 0)


def rated_then_posted(centre: Centre) -> None:
    centre.rate()
    assert centre.post(dept_code=B, dept_name="住建局", task_code="T1").status == 201


def rated_then_moved(centre: Centre) -> None:
    assert centre.post(dept_code=A, dept_name="交通局").status == 201
    centre.rate()
    assert centre.seen_by(A) == EVERYWHERE
    assert centre.patch(dept_code=B, dept_name="住建局", task_code="T1").status == 200


FLOWS = [rated_then_posted, rated_then_moved]


@pytest.mark.parametrize("flow", FLOWS)
def test_the_department_that_a_case_comes_to_has_its_rating_and_no_other_has(
    centre: Centre, flow: Callable[[Centre], None]
) -> None:
    flow(centre)
    assert centre.seen_by(B) == EVERYWHERE
    assert centre.seen_by(A) == NOWHERE
    row = centre.evaluation()
    assert (row.dept_code, row.dept_name, row.task_code, row.satisfaction) == (B, "住建局", "T1", 1)
    agree(centre.database)


@pytest.mark.parametrize("flow", FLOWS)
def test_the_push_tells_the_department_of_now(centre: Centre, flow: Callable[[Centre], None]) -> None:
    flow(centre)
    assert f'"deptCode":"{B}"' in centre.pushed()


def test_a_batch_that_is_made_goes_again_as_it_is(centre: Centre) -> None:
    centre.rate()
    body = centre.pushed()
    assert "GD-77" in body
    centre.post(dept_code=B)
    assert centre.evaluation().dept_code == B
    assert centre.pushed() == body
    assert len(centre.rows(outbox)) == 1


@pytest.mark.parametrize("flow", FLOWS)
def test_the_feed_tells_it_once_more(centre: Centre, flow: Callable[[Centre], None]) -> None:
    flow(centre)
    row = centre.evaluation()
    told = centre.rows(feed, feed.c.subject_id == row.subject_id)
    assert [(one.kind, one.assess_number) for one in told] == [("evaluation", 1), ("again", 1), ("moved", 1)]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"dept_code": B, "dept_name": "住建局", "task_code": "T1"}, id="the same again"),
        pytest.param({"title": "路灯"}, id="what no evaluation copies"),
    ],
)
def test_what_changes_nothing_of_it_tells_nothing(centre: Centre, changes: dict[str, str]) -> None:
    rated_then_moved(centre)
    before = (centre.rows(evaluations), len(centre.rows(feed)), agree(centre.database))
    assert centre.patch(**changes).status == 200
    assert (centre.rows(evaluations), len(centre.rows(feed)), agree(centre.database)) == before


def test_pages_of_both_departments(centre: Centre, browser: MakeBrowser) -> None:
    rated_then_moved(centre)
    row = centre.evaluation()
    theirs, others = (browser(ConsoleRole.DEPARTMENT, name, depts=(dept,)) for name, dept in (("b", B), ("a", A)))
    for path in (f"/ratings/{row.id}", f"/cases/{row.subject_id}"):
        assert theirs.get(path).status == 200, path
        assert others.get(path).status == 404, path
    day = "/ratings?from=2026-11-18&to=2026-11-18"
    assert row.id in theirs.get(day).text
    assert row.id not in others.get(day).text
    assert "未评价" not in theirs.get(f"/cases/{row.subject_id}").text


@pytest.mark.parametrize("days", [0, 3])
def test_a_live_board_takes_away_what_is_of_others_and_gets_what_is_its_own(
    centre: Centre, browser: MakeBrowser, clock: TurnedClock, days: int
) -> None:
    """Of today, and of the days before: a board keeps what nobody has seen."""
    centre.post(dept_code=A)
    centre.rate()
    clock.turn(timedelta(days=days))
    rating = centre.evaluation().rating_id
    boards = {dept: browser(ConsoleRole.DEPARTMENT, f"of-{dept}", depts=(dept,)) for dept in (A, B, "C")}
    page = boards[A].get("/").text
    assert rating in page
    cursor = re.findall(r'data-cursor="([^"]+)"', page)[0]
    with Stream(boards[A], cursor=cursor) as old, Stream(boards[B]) as new, Stream(boards["C"]) as third:
        for stream in (old, new, third):
            stream.next()
        centre.patch(dept_code=B)
        new.until(rating)
        event = old.next()
        while not event.data["gone"]:
            assert event.lines == {}
            event = old.next()
        assert (event.data["gone"], event.lines) == ([rating], {})
        centre.rate(1, call_key="other", case_no=None, closed=False, dept="C")
        event = third.next()
        assert (event.data["gone"], len(event.lines)) == ([], 1)  # of the first it heard nothing
    with Stream(boards[A], cursor=cursor) as again:
        assert again.next().kind == "reload"
    with Stream(boards[B], cursor=cursor) as again:
        assert rating in again.next().lines


def test_an_area_moves_too(centre: Centre) -> None:
    centre.post(dept_code=A, area_code=NEAR)
    centre.rate()
    assert centre.seen_by(area=NEAR) == EVERYWHERE
    centre.patch(area_code=FAR)
    assert (centre.seen_by(area=NEAR), centre.seen_by(area=FAR)) == (NOWHERE, EVERYWHERE)
    agree(centre.database)


def test_a_default_and_what_replaced_it_both_move(
    centre: Centre, door: Door, database: Database, keyring: Keyring, clock: TurnedClock
) -> None:
    centre.post(dept_code=A)
    record = Replying(door, database, keyring, clock)
    [case] = centre.rows(cases)
    record.rated(case.subject_id, 3, origin="default")
    record.write(update(evaluations).values(dept_code=A, area_code="622900", agent=None))
    with database.write_engine.begin() as connection:
        rebuild(connection)
    centre.rate(2)
    centre.patch(dept_code=B)
    rows = centre.rows(evaluations, evaluations.c.subject_kind == "case")
    assert sorted((row.assess_number, row.effective, row.dept_code) for row in rows) == [(1, False, B), (2, True, B)]
    agree(database)


def test_a_case_takes_from_its_call_what_it_does_not_say(centre: Centre) -> None:
    """Its rating would, and then its department had a row without a story."""
    assert centre.post().status == 201
    centre.rate(dept=A)
    [case] = centre.rows(cases)
    assert (case.dept_code, case.agent) == (A, "2001")
    assert centre.seen_by(A) == EVERYWHERE
    assert centre.post().status == 200  # it says what it said
    assert centre.patch(dept_code=None).status == 200
    assert centre.seen_by(A) == EVERYWHERE
    agree(centre.database)


def test_a_call_told_of_in_two_parts_has_one_department(centre: Centre) -> None:
    bare = replace(FACTS, agent=None, queue=None, dept=None)
    centre.intake.end_call(bare, CallOutcome.NO_INPUT).result(WAIT)
    centre.intake.rate(replace(FACTS, dept=A), Satisfaction(1), "5", hold=False).result(WAIT)
    [call], [row] = centre.rows(calls), centre.rows(evaluations)
    assert (call.dept, call.agent, call.queue) == (row.dept_code, row.agent, row.queue) == (A, "2001", "support")
    agree(centre.database)


@pytest.mark.parametrize("group", ["batch_id", "theme_id"])
def test_of_a_batch_or_theme_only_the_moved_case_goes(
    centre: Centre, door: Door, database: Database, keyring: Keyring, clock: TurnedClock, group: str
) -> None:
    for case_no in ("GD-77", "GD-78"):
        assert centre.post(case_no, dept_code=A, **{group: "g"}).status == 201
    record = Replying(door, database, keyring, clock)
    [invitation] = centre.rows(invitations)
    record.change(invitations, invitation.id, state="asked", first_asked_at=START, asked_by="sms", asked_kind="case",
                  asked_dept=A, asked_area="622900", due_at=None)  # fmt: skip
    record.write(
        insert(codes).values(id=new_id(), code="07", invitation_id=invitation.id, given_at=START, **record.columns())
    )
    with database.write_engine.begin() as connection:
        rebuild(connection)
    record.reply(level(2))
    assert len(centre.rows(evaluations)) == 2
    centre.patch("GD-77", dept_code=B)
    assert {row.project_no: row.dept_code for row in centre.rows(evaluations)} == {"GD-77": B, "GD-78": A}
    [invitation] = centre.rows(invitations)
    assert invitation.asked_dept == B  # it counts for the first of its cases
    agree(database)
    centre.patch("GD-78", dept_code=B)
    agree(database)


# ── areas ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("closed", [True, False], ids=["known by a call alone", "posted"])
def test_a_case_that_names_no_area_lies_in_the_hotlines(centre: Centre, closed: bool) -> None:
    if not closed:
        assert centre.post().status == 201
    centre.rate(dept=A)
    [case], [call] = centre.rows(cases), centre.rows(calls)
    assert (case.area_code, call.area_code) == ("622900", "622900")
    assert centre.seen_by(area="6229") == EVERYWHERE
    if not closed:
        assert centre.post().status == 200
        assert centre.post(area_code="622900").status == 200
        assert centre.post(area_code=FAR).status == 409


def test_an_unrated_call_is_seen_where_it_is_counted(centre: Centre) -> None:
    centre.intake.end_call(FACTS, CallOutcome.NO_INPUT).result(WAIT)
    for area, n in (("6229", 1), (FAR, 0)):
        viewer = Viewer("s", ConsoleRole.SUPERVISOR, (), (area,))
        with centre.database.read_engine.connect() as connection:
            found = connection.execute(select(calls).where(visible(viewer, calls))).all()
            counted = statistics(connection, DAY, By.DEPT, Sight((), (area,)))
        assert (len(found), sum(row.figures.call.calls for row in counted)) == (n, n)


# ── two processes ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Pause:
    """Stops one group of a door before its COMMIT until it is let go."""

    def __init__(self, point: str) -> None:
        self._point = point
        self.reached, self.go = Event(), Event()

    def __call__(self, point: str) -> None:
        if point == self._point and not self.go.is_set():
            self.reached.set()
            assert self.go.wait(WAIT)


def somebody_waits(database: Database) -> bool:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with database.read_engine.connect() as connection:
        return bool(connection.execute(waiting).scalar_one())


@pytest.mark.peer
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("first", ["rating", "change"])
def test_a_rating_and_a_move_at_once_in_two_processes(
    first: str, database: Database, make_door: Callable[..., Door], keyring: Keyring, clock: TurnedClock
) -> None:
    pause = Pause("before-commit" if first == "rating" else "before-commit-PatchCase")
    here, there = (Centre(make_door(**how), database, keyring, clock) for how in ({"fault": pause}, {}))
    pause.go.set()
    here.post(dept_code=A)
    pause.go.clear()

    def rate(centre: Centre) -> Any:
        return centre.intake.rate(CLOSED, Satisfaction(1), "5", hold=False)

    def move(centre: Centre) -> Any:
        patch = read_patch({"dept_code": B}, clock.now(), case_no="GD-77")
        return centre.desk.patch("GD-77", None, patch, POSTER)

    one, other = (rate, move) if first == "rating" else (move, rate)
    begun = one(here)
    assert pause.reached.wait(WAIT)
    behind = other(there)
    until = monotonic() + WAIT
    while not somebody_waits(database) and monotonic() < until:
        sleep(0.005)
    pause.go.set()
    begun.result(WAIT)
    behind.result(WAIT)
    assert there.evaluation().dept_code == B
    assert there.seen_by(B) == EVERYWHERE
    agree(database)
