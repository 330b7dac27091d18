"""The plans of the list of what was asked: few buffers for each filter, and no table read whole.

As tests/console/test_ratings_plans.py: rows are few, so PostgreSQL is told not to read whole tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from console.asked import AskedFilters, What, asked_page, count_asked
from console.ratings import RatingFilters
from console.viewer import ConsoleRole, Viewer
from models.database import Database
from models.tables import directory
from models.terms import Channel, SubjectKind
from tests.console.plans import MOST_BUFFERS, Explained, buffers, filled_on_postgres, filled_on_sqlite, nodes
from tests.console.test_ratings_plans import _SQL
from tests.moments import START
from tests.postgres import PostgresServer

ROWS = 40_000
SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)
DEPARTMENT = Viewer("d", ConsoleRole.DEPARTMENT, ("D7",))
IN_AREA = Viewer("a", ConsoleRole.DEPARTMENT, (), ("622921",))
TODAY = START.date()
RANGE: dict[str, Any] = {"first": TODAY - timedelta(days=29), "last": TODAY}
ALONE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "agent": {"agent": "7"},
    "an agent that nobody is": {"agent": "nobody"},
    "team": {"team": "T3"},
    "no team": {"team": ""},
    "queue": {"queue": "Q3"},
    "dept": {"dept": "D7"},
    "area": {"area": "622921"},
    "channel": {"channel": Channel.SMS},
    "kind": {"kind": SubjectKind.CASE},
    "agent and queue": {"agent": "7", "queue": "Q3"},
    "team and area": {"team": "T3", "area": "622921"},
}
LOOKS = {
    f"{what}, {name}{of}": (viewer, AskedFilters(what, RatingFilters(**RANGE, **wanted)))
    for what in (What.CALLS, What.ANSWERED, What.ASKED, What.UNRATED)
    for name, wanted in ALONE.items()
    for of, viewer in (("", SUPERVISOR), (" of a department", DEPARTMENT))
} | {f"{what} in an area": (IN_AREA, AskedFilters(what, RatingFilters(**RANGE))) for what in (What.CALLS, What.ASKED)}
LEADS = {
    "nothing": ("ix_calls_ended_at", "ix_invitations_first_asked_at"),
    "agent": ("ix_calls_agent", "ix_invitations_asked_agent"),
    "team": ("ix_calls_agent", "ix_invitations_asked_agent"),
    "dept": ("ix_calls_dept", "ix_invitations_asked_dept"),
    "queue": ("ix_calls_ended_at", "ix_invitations_first_asked_at"),
}


def _fill(connection: Connection) -> None:
    """A call or case each minute, each asked about once, by voice or SMS; two in five were rated."""
    sql = _SQL[connection.dialect.name]
    given = {"rows": ROWS}
    numbers, at, row_id = sql["numbers"], sql["at"], sql["id"]
    kind = "CASE WHEN i % 3 = 0 THEN 'case' ELSE 'call' END"
    area = "CASE WHEN i % 6 = 0 THEN '622921' ELSE '622900' END"
    whose = f"CAST(i % 97 AS varchar), 'Q' || (i % 5), 'D' || (i % 41), {area}"
    rated = "i % 5 < 2"
    for statement in (
        "INSERT INTO calls (subject_id, call_key, outcome, source, created_at, ended_at, agent, queue, dept, area_code)"
        f" SELECT {row_id}, 'a.' || i, CASE WHEN {rated} THEN 'rated' ELSE 'no_input' END, 'ivr', {at}, {at}, {whose}"
        " FROM n WHERE i % 3 <> 0",
        "INSERT INTO cases (subject_id, case_no, service_number, stub, created_at, dept_code, area_code)"
        f" SELECT {row_id}, 'GD-' || i, 1, false, {at}, 'D' || (i % 41), '622900' FROM n WHERE i % 3 = 0",
        "INSERT INTO invitations (id, kind, state, key_map, created_at, changed_at, first_asked_at, asked_by,"
        " asked_kind, asked_agent, asked_queue, asked_dept, asked_area, responded_at)"
        f" SELECT {row_id}, {kind}, 'asked', 'k', {at}, {at}, {at}, CASE WHEN i % 4 = 0 THEN 'sms' ELSE 'voice' END,"
        f" {kind}, {whose}, CASE WHEN {rated} THEN {at} END FROM n",
        f"INSERT INTO invitation_members (invitation_id, subject_id) SELECT {row_id}, {row_id} FROM n",
        "INSERT INTO evaluations (subject_id, assess_number, id, rating_id, subject_kind, effective, satisfaction,"
        " origin, channel, assess_time, project_no, service_number, dept_code, area_code, created_at)"
        f" SELECT {row_id}, 1, {row_id}, {row_id}, {kind}, true, 5, 'citizen', 'keypad', {at}, 'x', 1,"
        f" 'D' || (i % 41), '622900', {at} FROM n WHERE {rated}",
    ):
        connection.execute(text(f"{numbers} {statement}"), given)
    agents = [{"kind": "agent", "code": f"{one}", "name": f"{one}", "team": f"T{one % 12}"} for one in range(90)]
    connection.execute(insert(directory), agents)


@pytest.fixture(scope="module")
def filled_postgres(
    postgres: PostgresServer, migrated_postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    yield from filled_on_postgres(postgres, migrated_postgres, tmp_path_factory.mktemp("plans"), _fill)


@pytest.fixture(scope="module")
def filled_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    yield from filled_on_sqlite(migrated_sqlite, tmp_path_factory.mktemp("plans"), _fill)


def plans_of(database: Database, viewer: Viewer, filters: AskedFilters) -> Iterator[list[Any]]:
    """The plans of the first page and of the second, each with all of its statements."""
    cursor: str | None = None
    for _ in range(2):
        with database.read_engine.connect() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            explained = Explained(connection)
            page = asked_page(connection, viewer, filters, cursor)
            if cursor is None and page.cursor is not None:
                count_asked(connection, viewer, filters)
            yield explained.plans
            cursor = page.cursor
        if cursor is None:
            return


@pytest.mark.peer
@pytest.mark.parametrize("name", LOOKS)
def test_a_page_touches_few_buffers_and_reads_no_table_whole(filled_postgres: Database, name: str) -> None:
    for plans in plans_of(filled_postgres, *LOOKS[name]):
        assert plans
        assert sum(buffers(plan) for plan in plans) <= MOST_BUFFERS, [buffers(plan) for plan in plans]
        whole = {node["Relation Name"] for plan in plans for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
        assert whole <= {"directory"}


@pytest.mark.parametrize("what", [What.CALLS, What.ASKED, What.UNRATED])
@pytest.mark.parametrize("name", LEADS)
def test_the_index_of_the_filter_leads_on_sqlite(filled_sqlite: Database, name: str, what: What) -> None:
    filters = AskedFilters(what, RatingFilters(**RANGE, **ALONE[name]))
    plans = [plan for page in plans_of(filled_sqlite, SUPERVISOR, filters) for plan in page]
    table, index = ("calls", LEADS[name][0]) if what.of_calls else ("invitations", LEADS[name][1])
    steps = [step for plan in plans for step in plan if f" {table} " in f"{step} "]
    led = [step for step in steps if f"USING INDEX {index} " in step or f"USING COVERING INDEX {index} " in step]
    named = [step for step in steps if f"sqlite_autoindex_{table}_1" in step]
    assert led
    assert sorted(led + named) == sorted(steps)
