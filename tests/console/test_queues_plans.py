"""The plans of what waits for a person: an index finds each queue in its order, and nothing reads a table whole.

Beside thirty thousand evaluations with their calls, cases, invitations and SMS, of which few hundred to a few thousand
wait. As in test_ratings_plans.py PostgreSQL is told not to read whole tables, so that what is looked at is whether an
index can serve. A page for who sees everything touches few buffers; a department looks up
whose each row is, so many for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from benchmarks.hotline_years import fill
from console.board_state import Sight, read_work
from console.queues import (
    deadlines_page,
    failure_reasons,
    failures_page,
    letters_page,
    queue_counts,
    replies_page,
)
from console.viewer import ConsoleRole, Viewer
from models.clock import SHANGHAI
from models.database import Database, open_database
from models.privacy import Keyring
from models.terms import QueueReason
from tests.console.test_ratings_plans import Explained, buffers, nodes
from tests.postgres import PostgresServer

COUNT = 30_000
MOST_BUFFERS = 2_000
KEYRING = Keyring({1: b"k" * 32})
SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)
DEPARTMENT = Viewer("d", ConsoleRole.DEPARTMENT, ("11622900MB0000",))
NOW = datetime(2026, 11, 18, 15, 59, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=700)
"""The SMS of the last weeks are few here."""
BIG = {"messages", "invitations", "invitation_members", "cases", "calls", "evaluations"}

Look = Callable[[Connection, Viewer, str | None], Any]
PAGES: dict[str, tuple[Look, str]] = {
    "unclear replies": (
        lambda connection, viewer, cursor: replies_page(connection, KEYRING, viewer, QueueReason.UNCLEAR, cursor, 50),
        "ix_messages_queue",
    ),
    "dead letters": (
        lambda connection, viewer, cursor: letters_page(connection, viewer, cursor, 50),
        "ix_outbox_dead",
    ),
    "provisional deadlines": (
        lambda connection, viewer, cursor: deadlines_page(connection, viewer, None, cursor, 50),
        "ix_cases_provisional",
    ),
    "failed SMS": (
        lambda connection, viewer, cursor: failures_page(connection, KEYRING, viewer, LONG_AGO, None, cursor, 50),
        "ix_messages_failed_asks",
    ),
}
COUNTS: dict[str, Callable[[Connection, Viewer], object]] = {
    "every queue": lambda connection, viewer: queue_counts(connection, viewer, NOW),
    "failures by reason": lambda connection, viewer: failure_reasons(connection, viewer, NOW),
    "the board's": lambda connection, viewer: read_work(connection, NOW, Sight.of(viewer)),
}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("queues")
    if request.param == "sqlite":
        migrated: Path = request.getfixturevalue("migrated_sqlite")
        (folder / "huiyin.db").write_bytes(migrated.read_bytes())
        database = open_database("sqlite:///huiyin.db", folder)
        fill(database, KEYRING, COUNT, NOW.astimezone(SHANGHAI).date())
        yield database
        database.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.new_database(request.getfixturevalue("migrated_postgres"))
    database = open_database(url, folder)
    fill(database, KEYRING, COUNT, NOW.astimezone(SHANGHAI).date())
    yield database
    database.close()
    server.drop(url)


def explained(database: Database, look: Callable[[Connection], Any]) -> tuple[Any, list[Any]]:
    """What a look found, and the plans of its statements."""
    with database.read_engine.connect() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        heard = Explained(connection)
        return look(connection), heard.plans


def read_whole(database: Database, plans: list[Any]) -> list[str]:
    """Tables that were read from end to end."""
    if database.is_sqlite:
        steps = [step.split() for plan in plans for step in plan if step.startswith("SCAN ")]
        return [words[1] for words in steps if words[1] in BIG and "INDEX" not in words]
    scans = [node for plan in plans for node in nodes(plan) if node["Node Type"] == "Seq Scan"]
    return [node["Relation Name"] for node in scans if node["Relation Name"] in BIG]


def used(database: Database, plans: list[Any]) -> str:
    if database.is_sqlite:
        return " ".join(step for plan in plans for step in plan)
    return " ".join(str(node.get("Index Name")) for plan in plans for node in nodes(plan))


@pytest.mark.parametrize("name", PAGES)
def test_an_index_finds_a_queue_page_by_page(filled: Database, name: str) -> None:
    look, index = PAGES[name]
    first, plans = explained(filled, lambda connection: look(connection, SUPERVISOR, None))
    assert len(first.rows) == 50
    second, more = explained(filled, lambda connection: look(connection, SUPERVISOR, first.cursor))
    assert second.rows
    assert not {row_of(row) for row in first.rows} & {row_of(row) for row in second.rows}
    for found in (plans, more):
        assert read_whole(filled, found) == []
        assert index in used(filled, found)
        if not filled.is_sqlite:
            assert sum(map(buffers, found)) <= MOST_BUFFERS


def row_of(row: Any) -> str:
    found = getattr(row, "id", None) or getattr(row, "evaluation_id", None) or row.subject_id
    return str(found)


@pytest.mark.parametrize("name", PAGES)
def test_a_department_reads_no_table_whole(filled: Database, name: str) -> None:
    look, _ = PAGES[name]
    _, plans = explained(filled, lambda connection: look(connection, DEPARTMENT, None))
    assert read_whole(filled, plans) == []


@pytest.mark.peer
@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("viewer", [SUPERVISOR, DEPARTMENT], ids=lambda viewer: viewer.role.value)
def test_counting_reads_no_table_whole(filled: Database, name: str, viewer: Viewer) -> None:
    count = COUNTS[name]
    _, plans = explained(filled, lambda connection: count(connection, viewer))
    assert plans
    assert read_whole(filled, plans) == []


def test_a_page_far_behind_is_as_quick_as_the_first(filled: Database) -> None:
    if filled.is_sqlite:
        pytest.skip("SQLite does not tell what it touched")
    cursor = None
    touched = []
    for _ in range(20):
        page, plans = explained(filled, lambda connection: deadlines_page(connection, SUPERVISOR, None, cursor, 50))  # noqa: B023
        touched.append(sum(map(buffers, plans)))
        cursor = page.cursor
        assert cursor is not None
    assert max(touched[1:]) <= touched[0] + 100


@pytest.mark.peer
def test_postgresql_compiles_no_statement_of_ours(filled: Database) -> None:
    """A department's counts are dear by PostgreSQL's estimate; compiling them took a second."""
    if filled.is_sqlite:
        pytest.skip("SQLite compiles nothing")
    with filled.read_engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW jit").scalar_one() == "off"
