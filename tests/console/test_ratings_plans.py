"""The plans of the ratings' list: an index leads each filter, and a page touches few buffers.

Rows here are few (tens of thousands), so PostgreSQL is told not to read whole tables: what is looked at is whether the
indexes can serve the statement, and how many buffers the page's bound allows. The times at ten million rows are
measured by the benchmarks.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from console.bad_ratings import count_unseen, latest_bad
from console.directory import Entry, EntryKind, Names
from console.named import with_codes
from console.pages.dates import midnight
from console.ratings import Counted, RatingFilters, Sort, count_ratings, find_subjects, ratings_page
from console.viewer import ConsoleRole, Viewer
from models.database import Database
from models.privacy import Keyring
from models.terms import Channel, Origin, Satisfaction, SubjectKind
from tests.console.plans import MOST_BUFFERS, Explained, buffers, filled_on_postgres, filled_on_sqlite, nodes
from tests.moments import START
from tests.postgres import PostgresServer

ROWS = 60_000
SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)
DEPARTMENT = Viewer("d", ConsoleRole.DEPARTMENT, ("D7",))
TODAY = START.date()
RANGE: dict[str, Any] = {"first": TODAY - timedelta(days=29), "last": TODAY}
ALONE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "level": {"levels": (Satisfaction(1),)},
    "bad": {"levels": (Satisfaction(1), Satisfaction(2))},
    "good level": {"levels": (Satisfaction(5),)},
    "channel": {"channel": Channel.SMS},
    "origin default": {"origin": Origin.DEFAULT},
    "origin citizen": {"origin": Origin.CITIZEN},
    "agent": {"agent": "7"},
    "an agent that nobody is": {"agent": "nobody"},
    "queue": {"queue": "Q3"},
    "dept": {"dept": "D7"},
    "area": {"area": "622921"},
    "number": {"number": "GD-77"},
    "tail": {"tail": "0001"},
    "kind": {"kind": SubjectKind.CASE},
    "unseen": {"unseen": True},
    "counted": {"counted": Counted.YES},
    "not adopted": {"counted": Counted.NO},
    "no agent": {"agent": ""},
    "no dept": {"dept": ""},
}
LEADS = {
    "nothing": "ix_evaluations_assess_time",
    "level": "ix_evaluations_satisfaction",
    "bad": "ix_evaluations_satisfaction",
    "good level": "ix_evaluations_satisfaction",
    "channel": "ix_evaluations_channel",
    "origin default": "ix_evaluations_channel",
    "origin citizen": "ix_evaluations_channel",
    "agent": "ix_evaluations_agent",
    "an agent that nobody is": "ix_evaluations_agent",
    "queue": "ix_evaluations_queue",
    "dept": "ix_evaluations_dept_code",
    "area": "ix_evaluations_area_code",
    "kind": "ix_evaluations_assess_time",
    "unseen": "ix_evaluations_bad",
    "counted": "ix_evaluations_assess_time",
    "not adopted": "ix_evaluations_assess_time",
}
ABSENT: dict[str, dict[str, Any]] = {
    "defaults that are very good": {"channel": Channel.SYSTEM, "levels": (Satisfaction(5),)},
    "defaults of a queue": {"origin": Origin.DEFAULT, "queue": "Q4"},
    "defaults of a department that has none": {"origin": Origin.DEFAULT, "dept": "D1"},
    "good levels of a department without defaults": {"levels": (Satisfaction(3), Satisfaction(4)), "dept": "D1"},
    "very good, no agent told": {"levels": (Satisfaction(5),), "agent": ""},
}
"""What no row is, or none of a channel: an index knows it at once, however common each part is."""
PAIRS = {
    f"{first} and {second}": ALONE[first] | ALONE[second]
    for first, second in itertools.combinations(
        ("bad", "channel", "agent", "queue", "dept", "area", "kind", "tail", "origin citizen", "counted", "unseen"), 2
    )
}

_SQL = {
    "sqlite": {
        "numbers": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)",
        "id": "'0192' || printf('%08x', i) || printf('%020x', i)",
        "at": "datetime('2026-11-18 02:00:00', '-' || ((:rows - i) * 60) || ' seconds') || '.000000'",
    },
    "postgresql": {
        "numbers": "WITH n AS (SELECT i FROM generate_series(1, :rows) AS i)",
        "id": "('0192' || lpad(to_hex(i), 8, '0') || lpad(to_hex(i), 20, '0'))::uuid",
        "at": "timestamptz '2026-11-18 02:00:00+00' - make_interval(secs => (:rows - i) * 60)",
    },
}


def _fill(connection: Connection, tail: bytes) -> None:
    """A call or case each minute, one after the other, each rated once. Defaults are of cases alone, and of one level.
    A call has the department D1, which has no case."""
    words = _SQL[connection.dialect.name]
    given = {"rows": ROWS}
    kind = "CASE WHEN i % 3 = 0 THEN 'case' ELSE 'call' END"
    level = (
        "CASE WHEN i % 33 = 0 THEN 3 WHEN i % 50 = 1 THEN 1 WHEN i % 50 = 2 THEN 2 WHEN i % 10 = 3 THEN 4 ELSE 5 END"
    )
    default = "i % 33 = 0"
    connection.execute(
        text(
            f"{words['numbers']} INSERT INTO evaluations (subject_id, assess_number, id, rating_id, subject_kind,"
            " effective, satisfaction, origin, channel, assess_time, project_no, service_number, agent, queue,"
            " dept_code, area_code, adoption, created_at)"
            f" SELECT {words['id']}, 1, {words['id']}, {words['id']}, {kind}, true, {level},"
            f" CASE WHEN {default} THEN 'default' ELSE 'citizen' END,"
            f" CASE WHEN {default} THEN 'system' WHEN i % 4 = 0"
            " THEN 'sms' ELSE 'keypad' END,"
            f" {words['at']}, 'x', 1,"
            " CASE WHEN i % 7 <> 0 THEN CAST(i % 97 AS varchar) END,"
            " CASE WHEN i % 33 <> 0 THEN 'Q' || (i % 5) END,"
            " CASE WHEN i % 3 <> 0 THEN 'D1' WHEN i % 100 <> 9 THEN 'D' || (2 + i % 39) END,"
            f" CASE WHEN i % 6 = 0 THEN '622921' ELSE '622900' END,"
            f" CASE WHEN i % 500 = 7 THEN 'not_adopted' END, {words['at']} FROM n"
        ),
        given,
    )
    connection.execute(
        text(  # of the bad ones all but each fiftieth
            f"{words['numbers']} INSERT INTO seen (rating_id, seen_by, seen_at)"
            f" SELECT {words['id']}, 'ma', {words['at']}"
            " FROM n WHERE i % 50 IN (1, 2) AND i % 2500 <> 1"
        ),
        given,
    )
    tailed = "CASE WHEN i % 100 = 0 THEN :tail END"
    connection.execute(
        text(
            f"{words['numbers']} INSERT INTO cases (subject_id, case_no, service_number, stub, created_at, number_tail)"
            f" SELECT {words['id']}, 'GD-' || i, 1, false, {words['at']}, {tailed} FROM n WHERE i % 3 = 0"
        ),
        given | {"tail": tail},
    )
    connection.execute(
        text(
            f"{words['numbers']} INSERT INTO case_keys (case_no, service_number, subject_id)"
            f" SELECT 'GD-' || i, 1, {words['id']} FROM n WHERE i % 3 = 0"
        ),
        given,
    )
    connection.execute(
        text(
            f"{words['numbers']} INSERT INTO calls (subject_id, call_key, outcome, source, created_at, number_tail)"
            f" SELECT {words['id']}, 'a.' || i, 'rated', 'ivr', {words['at']}, {tailed} FROM n WHERE i % 3 <> 0"
        ),
        given | {"tail": tail},
    )


KEYRING = Keyring({1: b"k" * 32})
TAIL = KEYRING.tail("0001")


@pytest.fixture(scope="module")
def filled_postgres(
    postgres: PostgresServer, migrated_postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    yield from filled_on_postgres(postgres, migrated_postgres, tmp_path_factory.mktemp("plans"), _fill_tailed)


@pytest.fixture(scope="module")
def filled_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    yield from filled_on_sqlite(migrated_sqlite, tmp_path_factory.mktemp("plans"), _fill_tailed)


def _fill_tailed(connection: Connection) -> None:
    _fill(connection, TAIL)


def look(connection: Connection, viewer: Viewer, filters: RatingFilters, pages: int = 2) -> None:
    tail = TAIL if filters.tail else None
    cursor: str | None = None
    for _ in range(pages):
        page = ratings_page(connection, viewer, filters, cursor, 50, tail=tail)
        cursor = page.cursor
        if cursor is None:
            return


def whole_pages(database: Database, viewer: Viewer, filters: RatingFilters) -> list[list[Any]]:
    """The plans of the first page and of the second, each with all of its statements."""
    found = []
    cursor: str | None = None
    for _ in range(2):
        with database.read_engine.connect() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            explained = Explained(connection)
            tail = TAIL if filters.tail else None
            page = ratings_page(connection, viewer, filters, cursor, 50, tail=tail)
            if cursor is None:
                count_ratings(connection, viewer, filters, tail=tail)
            found.append(explained.plans)
            cursor = page.cursor
        if cursor is None:
            break
    return found


LOOKS: dict[str, tuple[Viewer, RatingFilters]] = {}
for _name, _wanted in ALONE.items():
    LOOKS[_name] = (SUPERVISOR, RatingFilters(**_wanted))
    LOOKS[f"{_name} in a range"] = (SUPERVISOR, RatingFilters(**RANGE, **_wanted))
    LOOKS[f"{_name} by level"] = (SUPERVISOR, RatingFilters(**RANGE, sort=Sort.WORST, **_wanted))
    LOOKS[f"{_name} oldest first"] = (SUPERVISOR, RatingFilters(**RANGE, sort=Sort.OLDEST, **_wanted))
    LOOKS[f"{_name} of a department"] = (DEPARTMENT, RatingFilters(**RANGE, **_wanted))
for _name, _wanted in ABSENT.items():
    LOOKS[_name] = (SUPERVISOR, RatingFilters(first=TODAY - timedelta(days=1000), last=TODAY, **_wanted))
    LOOKS[f"{_name} by level"] = (SUPERVISOR, RatingFilters(**RANGE, sort=Sort.BEST, **_wanted))
for _name, _wanted in PAIRS.items():
    LOOKS[_name] = (SUPERVISOR, RatingFilters(**RANGE, **_wanted))


@pytest.mark.peer
@pytest.mark.parametrize("name", LOOKS)
def test_a_page_touches_few_buffers_and_reads_no_table_whole(filled_postgres: Database, name: str) -> None:
    viewer, filters = LOOKS[name]
    for plans in whole_pages(filled_postgres, viewer, filters):
        assert plans
        touched = sum(buffers(plan) for plan in plans)
        assert touched <= MOST_BUFFERS, (name, [buffers(plan) for plan in plans])
        for plan in plans:
            whole = [node for node in nodes(plan) if node["Node Type"] == "Seq Scan"]
            assert [node["Relation Name"] for node in whole if node["Relation Name"] == "evaluations"] == []


@pytest.mark.peer
@pytest.mark.parametrize("name", LEADS)
def test_the_index_of_the_filter_leads_on_postgresql(filled_postgres: Database, name: str) -> None:
    with filled_postgres.read_engine.connect() as connection:
        explained = Explained(connection)
        look(connection, SUPERVISOR, RatingFilters(**RANGE, **ALONE[name]), 1)
        used = {node.get("Index Name") for node in nodes(explained.plans[0])} - {None, "pk_seen"}
    # Of what every few rows are, the neighbours in time are as quick, and PostgreSQL may say so.
    common = {"good level", "channel", "origin default", "origin citizen", "queue"}
    assert used == {LEADS[name]} or (name in common and used == {LEADS["nothing"]})
    whole = {node["Relation Name"] for node in nodes(explained.plans[0]) if node["Node Type"] == "Seq Scan"}
    assert whole <= {"seen"}  # it is small here


@pytest.mark.parametrize("name", LEADS)
def test_the_index_of_the_filter_leads_on_sqlite(filled_sqlite: Database, name: str) -> None:
    with filled_sqlite.read_engine.connect() as connection:
        explained = Explained(connection)
        look(connection, SUPERVISOR, RatingFilters(**RANGE, **ALONE[name]), 1)
    steps = explained.plans[0]
    used = [step for step in steps if " evaluations " in f"{step} "]
    assert used
    assert all(f"USING INDEX {LEADS[name]} " in step for step in used), steps


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
@pytest.mark.parametrize("viewer", [SUPERVISOR, DEPARTMENT], ids=["all", "a department"])
def test_a_board_finds_what_nobody_has_seen_among_the_bad_ratings(
    kind: str, viewer: Viewer, request: pytest.FixtureRequest
) -> None:
    """The count of a week, and the lines of the days before today: by the index of the bad ratings (or of a
    department's few)."""
    database: Database = request.getfixturevalue("filled_sqlite" if kind == "sqlite" else "filled_postgres")
    with database.read_engine.connect() as connection:
        explained = Explained(connection)
        count_unseen(connection, viewer, TODAY - timedelta(days=7))
        latest_bad(connection, viewer, midnight(TODAY), 40, midnight(TODAY - timedelta(days=7)))
    assert len(explained.plans) == 3
    for plan in explained.plans:
        if kind == "postgresql":
            assert buffers(plan) <= MOST_BUFFERS
            assert "ix_evaluations_bad" in {node.get("Index Name") for node in nodes(plan)}
        else:
            index = r"SEARCH evaluations USING INDEX ix_evaluations_(bad|dept_code) .*assess_time>\?"
            assert any(re.search(index, step) for step in plan), plan


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def test_what_is_looked_for_by_a_number_reads_no_table_whole(kind: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue("filled_sqlite" if kind == "sqlite" else "filled_postgres")
    with database.read_engine.connect() as connection:
        if kind == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explained = Explained(connection)
        assert find_subjects(connection, SUPERVISOR, "GD-300")
        assert find_subjects(connection, SUPERVISOR, "0001", TAIL)
        assert find_subjects(connection, DEPARTMENT, "GD-300") == []
        for plan in explained.plans:
            if kind == "postgresql":
                assert buffers(plan) <= MOST_BUFFERS
                assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan)}
            else:
                assert not [
                    step
                    for step in plan
                    if step.startswith("SCAN")
                    and "SUBQUERY" not in step
                    and "(" not in step
                    and step.split()[1] in {"calls", "cases", "evaluations", "case_keys", "call_keys"}
                ]


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
@pytest.mark.parametrize("area", ["622921", "9"], ids=["theirs", "nobody's"])
def test_whose_a_name_is_costs_little(kind: str, area: str, request: pytest.FixtureRequest) -> None:
    """To look up a name costs a page at most, whether the viewer has rows of it or none."""
    database: Database = request.getfixturevalue("filled_sqlite" if kind == "sqlite" else "filled_postgres")
    viewer = Viewer("a", ConsoleRole.SUPERVISOR, areas=(area,))
    agents = {"7": Entry(EntryKind.AGENT, "7", "张三")}
    depts = {"D7": Entry(EntryKind.DEPT, "D7", "临夏市住建局")}
    filters = RatingFilters(agent="张三", dept="临夏市住建局")
    with database.read_engine.connect() as connection:
        if kind == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explained = Explained(connection)
        found, wrong = with_codes(connection, viewer, Names("1", agents, depts), filters)
        with_codes(connection, SUPERVISOR, Names(), filters)
    assert found.agent == (None if area == "9" else "7")
    assert ("agent" in wrong, "dept" in wrong or found.dept == "D7") == (area == "9", True)
    for plan in explained.plans:
        if kind == "postgresql":
            assert buffers(plan) <= MOST_BUFFERS
            assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan)}
        else:
            read = [step for step in plan if step.startswith(("SCAN", "SEARCH")) and "(subquery" not in step]
            assert all(" USING " in step for step in read if re.search(r" (evaluations|calls)\b", step)), plan
