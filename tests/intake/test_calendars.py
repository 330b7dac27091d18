"""The imported calendar: what an import changes, who comes to know of it, and the deadlines that are computed again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from intake.calendars import (
    DayLine,
    ImportCalendar,
    Imported,
    Progress,
    YearLine,
    calendar_reach,
    deadlines_pending,
    read_calendar,
)
from intake.casebook import CaseRules
from intake.cases import CaseDesk, Poster, Verdict
from intake.deadlines import DeadlineRules
from intake.decide import PushCalls
from intake.desk import Intake
from intake.posted import read_case, read_patch
from intake.recompute import GROUP, NEXT, Recomputed, RecomputeDeadlines
from intake.record import CallFacts, Rules
from intake.workdays import DayEntry, WorkingDays, YearEntry
from models.clock import SHANGHAI, TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import audit, cases, invitations
from models.terms import CallOutcome, Satisfaction
from tests.moments import START

WAIT = 20
LINXIA = "622900"
SYSTEM = Poster("gongdan", "token:gongdan")
FRIDAY = date(2026, 11, 20)


def end_of(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T23:59:59").replace(tzinfo=SHANGHAI)


def off(day: date, area: str = "", *, confirmed: bool = True) -> DayLine:
    return DayLine(area, day, DayEntry(False, "开斋节", "州政府通知", confirmed))


def whole(year: int, *, confirmed: bool = True) -> YearLine:
    return YearLine("", year, YearEntry("国办发明电", confirmed))


class Process:
    """One serving process: its door, its desks, and the calendar as it knows it."""

    def __init__(self, door: Door, keyring: Keyring, clock: TurnedClock, *, backlog: bool = False) -> None:
        self.door, self.clock = door, clock
        self.rules = DeadlineRules(5, LINXIA, backlog)
        case_rules = CaseRules(
            key_map="1=5",
            area_code=LINXIA,
            service_name="12345热线",
            max_age=timedelta(hours=24),
            group_wait=timedelta(minutes=30),
            reason_hold=timedelta(minutes=10),
            deadlines=self.rules,
        )
        self.desk = CaseDesk(door, keyring, clock, case_rules)
        hour = timedelta(hours=1)
        call_rules = Rules(
            "1=5", LINXIA, None, PushCalls.WITHOUT_CASE, hour, hour, "node", "boot", deadlines=self.rules
        )
        self.calls = Intake(door, keyring, clock, call_rules)

    def post(self, case_no: str, closed_at: str = "2026-11-18T09:50:00", **more: Any) -> Verdict:
        raw = {"case_no": case_no, "phone": "13800000001", "closed_at": closed_at, **more}
        [future] = self.desk.post([read_case(raw, self.clock.now())], SYSTEM)
        return future.result(WAIT)

    def patch(self, case_no: str, **changes: Any) -> Verdict:
        return self.desk.patch(case_no, None, read_patch(changes, self.clock.now(), case_no=case_no), SYSTEM).result(
            WAIT
        )

    def closed_in_call(self, case_no: str, *, rated: bool = False) -> None:
        facts = CallFacts(f"c-{case_no}", "13800000001", "1001", None, None, case_no, True, "zh", self.clock.now())
        if rated:
            self.calls.rate(facts, Satisfaction(5), "1", hold=False).result(WAIT)
        else:
            self.calls.end_call(facts, CallOutcome.NO_INPUT).result(WAIT)

    def bring_in(self, *lines: DayLine | YearLine, identity: str | None = None) -> Imported:
        days = tuple(line for line in lines if isinstance(line, DayLine))
        years = tuple(line for line in lines if isinstance(line, YearLine))
        command = ImportCalendar(days, years, self.clock.now(), identity or new_id())
        return self.door.submit(command).result(WAIT)

    def group(self) -> Recomputed:
        return self.door.submit(RecomputeDeadlines(self.rules)).result(WAIT)

    def compute(self) -> Progress:
        """Everything that is left."""
        for _ in range(50):
            done = self.group()
            if not done.left:
                assert done.total is not None
                return done.total
        raise AssertionError("it does not come to an end")

    def pending(self) -> bool:
        return self.door.write(deadlines_pending).result(WAIT)


@pytest.fixture
def here(doors: Callable[[], Door], keyring: Keyring, clock: TurnedClock) -> Process:
    return Process(doors(), keyring, clock)


@pytest.fixture
def there(doors: Callable[[], Door], keyring: Keyring, clock: TurnedClock) -> Process:
    """Another process on the same database."""
    return Process(doors(), keyring, clock)


@pytest.fixture
def case(emptied: Database) -> Callable[[str], Any]:
    def read(case_no: str) -> Any:
        with emptied.read_engine.connect() as connection:
            return connection.execute(select(cases).where(cases.c.case_no == case_no)).one()

    return read


@pytest.fixture(autouse=True)
def without_words(emptied: Database) -> None:
    """The module's PostgreSQL keeps its words from test to test."""
    for key in ("calendar.version", "calendar.applied", "calendar.progress"):
        emptied.write_meta(key, None)


Case = Callable[[str], Any]
on_postgresql = pytest.mark.parametrize(
    "emptied", [pytest.param("postgresql", marks=pytest.mark.peer)], indirect=True, ids=["postgresql"]
)
"""SQLite has one writer at a time: there is nothing to race with."""


def standing(row: Any) -> tuple[datetime | None, bool | None, datetime | None, str | None]:
    return row.deadline, row.provisional, row.default_at, row.default_reason


# ── what a case gets when it comes ────────────────────────────────────────────────────────────────────────────────────


def test_a_case_has_its_default_at_the_deadline(here: Process, case: Case) -> None:
    here.post("GD-1")
    due = end_of("2026-11-25")
    assert standing(case("GD-1")) == (due, False, due, None)


def test_a_provisional_deadline_has_no_default(here: Process, clock: TurnedClock, case: Case) -> None:
    clock.turn(timedelta(days=38))  # 2026-12-26
    here.post("GD-1", "2026-12-26T08:00:00")
    assert standing(case("GD-1")) == (end_of("2027-01-01"), True, None, None)


@pytest.mark.parametrize("backlog", [False, True])
def test_a_deadline_that_has_passed_is_backlog(
    doors: Callable[[], Door], keyring: Keyring, clock: TurnedClock, case: Case, backlog: bool
) -> None:
    process = Process(doors(), keyring, clock, backlog=backlog)
    process.post("GD-1", "2026-11-10T09:00:00")
    due = end_of("2026-11-17")
    assert standing(case("GD-1")) == (due, False, due if backlog else None, None if backlog else "backlog")


@pytest.mark.parametrize("rated", [False, True])
def test_a_case_that_a_call_closed_is_due_too(here: Process, case: Case, rated: bool) -> None:
    here.closed_in_call("GD-1", rated=rated)
    due = end_of("2026-11-25")
    row = case("GD-1")
    assert row.stub
    assert row.closed_at == START
    assert standing(row) == (due, False, due, None)


def test_the_post_of_a_case_that_was_rated_in_its_call_brings_no_default(here: Process, case: Case) -> None:
    here.closed_in_call("GD-1", rated=True)
    here.post("GD-1", "2026-11-17T09:00:00")
    assert standing(case("GD-1")) == (end_of("2026-11-24"), False, None, "rated")


def test_a_changed_closing_or_area_computes_it_again(here: Process, case: Case) -> None:
    here.bring_in(off(FRIDAY, LINXIA))
    here.compute()
    here.post("GD-1", area_code="620100")
    assert case("GD-1").default_at == end_of("2026-11-25")
    here.patch("GD-1", area_code="622921")
    assert case("GD-1").default_at == end_of("2026-11-26")
    here.patch("GD-1", closed_at="2026-11-17T10:00:00")
    assert standing(case("GD-1")) == (end_of("2026-11-25"), False, end_of("2026-11-25"), None)
    here.patch("GD-1", closed_at="2026-11-02T10:00:00")
    assert standing(case("GD-1")) == (end_of("2026-11-09"), False, None, "backlog")


def test_a_rated_case_keeps_its_deadline_when_it_is_changed(here: Process, case: Case) -> None:
    here.post("GD-1")
    here.closed_in_call("GD-1", rated=True)
    here.patch("GD-1", closed_at="2026-11-16T10:00:00")
    assert case("GD-1").deadline == end_of("2026-11-25")


def test_a_withdrawn_case_has_no_default(here: Process, case: Case) -> None:
    here.post("GD-1")
    here.desk.withdraw("GD-1", None, SYSTEM).result(WAIT)
    assert standing(case("GD-1")) == (None, False, None, "withdrawn")


# ── an import ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_import_counts_what_it_changes_and_a_second_one_changes_nothing(here: Process, emptied: Database) -> None:
    lines = (off(FRIDAY, LINXIA), off(date(2027, 1, 1)), whole(2027))
    first = here.bring_in(*lines)
    assert first == Imported(1, added=3, since=FRIDAY)
    assert here.bring_in(*lines) == Imported(1, unchanged=3)
    back = here.bring_in(DayLine(LINXIA, FRIDAY, None), DayLine("", date(2030, 1, 1), None))
    assert back == Imported(2, removed=1, unchanged=1, since=FRIDAY)
    named = here.bring_in(off(date(2027, 1, 1), confirmed=False))
    assert named == Imported(3, changed=1, since=date(2027, 1, 1))
    with emptied.read_engine.connect() as connection:
        stored = read_calendar(connection)
        told = list(connection.execute(select(audit.c.actor, audit.c.action)))
    assert stored.version == 3
    assert dict(stored.days) == {("", date(2027, 1, 1)): DayEntry(False, "开斋节", "州政府通知", False)}
    assert dict(stored.years) == {("", 2027): YearEntry("国办发明电", True)}
    assert set(told) == {("command_line", "calendar.imported")}


def test_an_import_whose_answer_was_lost_imports_once(here: Process) -> None:
    identity = new_id()
    first = here.bring_in(off(FRIDAY), identity=identity)
    assert here.bring_in(off(FRIDAY), identity=identity) == first == Imported(1, added=1, since=FRIDAY)


def test_another_process_uses_the_new_calendar_at_once(here: Process, there: Process) -> None:
    assert there.post("GD-1").deadline == end_of("2026-11-25")
    here.bring_in(off(FRIDAY, LINXIA))
    assert there.post("GD-2").deadline == end_of("2026-11-26")
    there.closed_in_call("GD-3")
    assert there.post("GD-3", "2026-11-18T10:00:00").deadline == end_of("2026-11-26")


def test_no_default_is_made_between_an_import_and_its_last_deadline(here: Process, there: Process) -> None:
    here.post("GD-1")
    assert not there.pending()
    here.bring_in(off(FRIDAY))
    assert there.pending()
    assert there.group().left
    assert there.pending()
    there.compute()
    assert not here.pending()
    assert here.group() == Recomputed(total=here.group().total)


def test_the_open_deadlines_move_and_say_so(here: Process, case: Case) -> None:
    here.post("GD-1")
    here.post("GD-2", "2026-11-16T09:00:00")
    here.post("GD-3", area_code="620100")
    here.post("GD-4", "2026-11-12T09:00:00")  # due before the first day that changed
    here.closed_in_call("GD-5")
    here.bring_in(off(FRIDAY, LINXIA))
    total = here.compute()
    assert (total.moved, total.final, total.provisional) == (3, 0, 0)
    assert (total.from_first, total.from_last) == ("2026-11-23", "2026-11-25")
    assert (total.to_first, total.to_last) == ("2026-11-24", "2026-11-26")
    assert standing(case("GD-1")) == (end_of("2026-11-26"), False, end_of("2026-11-26"), None)
    assert case("GD-2").default_at == end_of("2026-11-24")
    assert case("GD-3").default_at == end_of("2026-11-25")
    assert case("GD-4").default_at == end_of("2026-11-19")
    assert case("GD-5").default_at == end_of("2026-11-26")
    here.bring_in(DayLine(LINXIA, FRIDAY, None))
    assert here.compute().moved == 3
    assert case("GD-1").default_at == end_of("2026-11-25")


def test_an_invitation_that_waits_may_be_sent_as_long_as_its_case_has_time(here: Process, emptied: Database) -> None:
    here.post("GD-1")
    here.bring_in(off(FRIDAY, LINXIA))
    here.compute()
    with emptied.read_engine.connect() as connection:
        assert connection.execute(select(invitations.c.not_after)).scalar_one() == end_of("2026-11-26")


def test_the_year_that_comes_makes_deadlines_final(here: Process, clock: TurnedClock, case: Case) -> None:
    clock.turn(timedelta(days=38))  # 2026-12-26
    here.post("GD-1", "2026-12-26T08:00:00")
    here.post("GD-2", "2026-12-23T08:00:00")
    here.bring_in(off(date(2027, 1, 1)), whole(2027, confirmed=False))
    total = here.compute()
    assert (total.moved, total.final) == (1, 0)
    assert standing(case("GD-1")) == (end_of("2027-01-04"), True, None, None)
    clock.turn(timedelta(days=20))  # it has passed meanwhile, and was known in time: no backlog
    here.bring_in(whole(2027))
    total = here.compute()
    assert (total.moved, total.final, total.provisional) == (0, 1, 0)
    assert standing(case("GD-1")) == (end_of("2027-01-04"), False, end_of("2027-01-04"), None)
    here.bring_in(DayLine("", date(2027, 1, 1), None), YearLine("", 2027, None))
    assert here.compute().provisional == 1
    assert standing(case("GD-1")) == (end_of("2027-01-01"), True, None, None)
    assert case("GD-2").default_at == end_of("2026-12-30")


def test_a_case_that_came_after_its_final_deadline_is_backlog_when_that_is_known(
    here: Process, clock: TurnedClock, case: Case
) -> None:
    clock.turn(timedelta(days=100))  # 2027-02-26
    here.post("GD-1", "2027-02-10T08:00:00")
    assert standing(case("GD-1")) == (end_of("2027-02-17"), True, None, None)
    here.bring_in(whole(2027))
    here.compute()
    assert standing(case("GD-1")) == (end_of("2027-02-17"), False, None, "backlog")


FEAST = tuple(date(2026, 11, day) for day in (19, 20, 23, 24))


@pytest.mark.parametrize(
    ("posted", "due", "opens"),
    [
        ("2026-11-26T10:00:00", "2026-12-01", True),
        ("2026-12-01T23:00:00", "2026-12-01", True),
        ("2026-12-02T00:10:00", "2026-12-01", False),
    ],
)
@pytest.mark.parametrize("allowed", [False, True])
def test_a_case_that_had_time_after_all_is_no_backlog_any_more(
    doors: Callable[[], Door], keyring: Keyring, clock: TurnedClock, case: Case, posted: str, due: str,
    opens: bool, allowed: bool,
) -> None:  # fmt: skip
    """Days off that are told late move its deadline behind its coming."""
    door = doors()
    here = Process(door, keyring, clock)
    clock.turn(datetime.fromisoformat(posted).replace(tzinfo=SHANGHAI) - clock.now())
    here.post("GD-1")
    here.post("GD-2")
    here.closed_in_call("GD-2", rated=True)
    assert standing(case("GD-1")) == (end_of("2026-11-25"), False, None, "backlog")
    here.bring_in(*(off(day, LINXIA) for day in FEAST))
    # What the configuration says now of those that come does not bring back those that came.
    total = Process(door, keyring, clock, backlog=allowed).compute()
    assert total.moved == 1
    moment = end_of(due)
    assert standing(case("GD-1")) == (moment, False, moment if opens else None, None if opens else "backlog")
    assert standing(case("GD-2")) == (end_of("2026-11-25"), False, None, "backlog")
    here.bring_in(*(DayLine(LINXIA, day, None) for day in FEAST))
    assert here.compute().moved == 1
    assert standing(case("GD-1")) == (end_of("2026-11-25"), False, None, "backlog")


def test_what_is_looked_at_rated_or_withdrawn_stays(here: Process, emptied: Database, case: Case) -> None:
    for number in range(1, 4):
        here.post(f"GD-{number}")
    here.closed_in_call("GD-1", rated=True)
    here.desk.withdraw("GD-2", None, SYSTEM).result(WAIT)
    with emptied.write_engine.begin() as connection:
        connection.execute(update(cases).where(cases.c.case_no == "GD-3").values(default_at=None))
    here.bring_in(off(FRIDAY))
    assert here.compute().moved == 0
    assert standing(case("GD-1")) == (end_of("2026-11-25"), False, None, "rated")
    assert standing(case("GD-2")) == (None, False, None, "withdrawn")
    assert standing(case("GD-3")) == (end_of("2026-11-25"), False, None, None)


def many(database: Database, number: int) -> None:
    """Open cases, all due in one second, every third provisional."""
    due = end_of("2026-11-25")
    with database.write_engine.begin() as connection:
        connection.execute(
            insert(cases),
            [
                {
                    "subject_id": new_id(),
                    "case_no": f"M-{place}",
                    "service_number": 1,
                    "stub": False,
                    "closed_at": START - timedelta(minutes=10),
                    "created_at": START,
                    "deadline": due,
                    "provisional": place % 3 == 0,
                    "default_at": None if place % 3 == 0 else due,
                }
                for place in range(number)
            ],
        )


def test_what_a_killed_import_left_is_finished_by_whoever_comes_next(
    here: Process, there: Process, emptied: Database
) -> None:
    many(emptied, 3 * GROUP)
    here.bring_in(off(FRIDAY))
    first = here.group()
    assert (first.seen, first.moved, first.left) == (GROUP, GROUP, True)
    total = there.compute()
    assert (total.moved, total.final) == (3 * GROUP, GROUP)
    with emptied.read_engine.connect() as connection:
        rows = set(connection.execute(select(cases.c.deadline, cases.c.default_at, cases.c.provisional)))
    assert rows == {(end_of("2026-11-26"), end_of("2026-11-26"), False)}
    assert not there.pending()


def test_an_import_in_the_middle_of_the_computing_begins_it_anew(here: Process, emptied: Database) -> None:
    many(emptied, 2 * GROUP)
    here.bring_in(off(FRIDAY))
    here.group()
    here.bring_in(off(date(2026, 11, 25)))
    here.compute()
    with emptied.read_engine.connect() as connection:
        assert set(connection.execute(select(cases.c.deadline)).scalars()) == {end_of("2026-11-27")}


@on_postgresql
def test_one_process_computes_at_a_time(here: Process, there: Process, emptied: Database) -> None:
    here.bring_in(off(FRIDAY))
    holds, ends = Event(), Event()

    def slow(unit: Any) -> None:
        RecomputeDeadlines.run(unit, [RecomputeDeadlines(there.rules)])
        holds.set()
        assert ends.wait(WAIT)

    held = there.door.write(slow)
    assert holds.wait(WAIT)
    assert here.group() == Recomputed(left=True, busy=True)
    ends.set()
    held.result(WAIT)


@on_postgresql
def test_a_post_that_races_with_an_import_never_keeps_an_old_deadline(
    here: Process, there: Process, emptied: Database
) -> None:
    """The import waits for the post's transaction, and then computes what it stored."""
    holds, ends = Event(), Event()

    def slow(unit: Any) -> None:
        days = there.rules.calendar.hold(unit)
        due = there.rules.due(days, START, None, START)
        holds.set()
        assert ends.wait(WAIT)
        unit.execute(
            insert(cases).values(
                subject_id=new_id(),
                case_no="GD-1",
                service_number=1,
                stub=False,
                closed_at=START,
                created_at=START,
                deadline=due.deadline,
                provisional=due.provisional,
                default_at=due.default_at,
            )
        )

    held = there.door.write(slow)
    assert holds.wait(WAIT)
    imported = here.door.submit(ImportCalendar((off(FRIDAY),), (), here.clock.now(), new_id()))
    with pytest.raises(TimeoutError):
        imported.result(0.2)
    ends.set()
    held.result(WAIT)
    assert imported.result(WAIT).added == 1
    assert here.compute().moved == 1
    with emptied.read_engine.connect() as connection:
        assert connection.execute(select(cases.c.default_at)).scalar_one() == end_of("2026-11-26")


@pytest.mark.parametrize(
    ("phase", "index"),
    [("final", "ix_cases_default"), ("provisional", "ix_cases_provisional"), ("backlog", "ix_cases_backlog")],
)
def test_each_group_is_found_by_an_index(emptied: Database, phase: str, index: str) -> None:
    """A day's deadlines are all of one second: without the whole order in the index each group would sort them all."""
    compiled = (
        NEXT[phase]
        .params(at=START, after="f" * 32)
        .compile(dialect=emptied.read_engine.dialect, compile_kwargs={"literal_binds": True})
    )
    with emptied.read_engine.connect() as connection:
        if not emptied.is_sqlite:  # so few rows are read faster without an index
            connection.execute(text("SET enable_seqscan = off"))
            connection.execute(text("SET enable_bitmapscan = off"))
        explain = "EXPLAIN QUERY PLAN" if emptied.is_sqlite else "EXPLAIN"
        plan = "\n".join(str(tuple(row)) for row in connection.exec_driver_sql(f"{explain} {compiled}"))
        connection.rollback()
    assert index in plan
    assert not any(word in plan for word in ("Sort", "TEMP B-TREE"))


def test_nothing_is_due_where_nothing_was_ever_imported(here: Process) -> None:
    assert here.group() == Recomputed()


def test_how_far_it_reaches_from_today_in_shanghai() -> None:
    reach = calendar_reach(WorkingDays(), datetime(2026, 11, 27, 16, 0, tzinfo=SHANGHAI), LINXIA)
    assert (reach.until, reach.days_left) == (date(2026, 12, 31), 34)
    gone = calendar_reach(WorkingDays(), datetime(2027, 2, 1, tzinfo=SHANGHAI), None)
    assert (gone.until, gone.days_left) == (None, 0)
