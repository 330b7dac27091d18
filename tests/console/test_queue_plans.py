"""How both databases go about the queues of work and the outbox, with tens of thousands waiting beside a hundred
thousand messages: by an index in its order, in few buffers, whoever looks and however far they have turned the pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from console.outbox import OutboxView, outbox_count, outbox_page
from console.queues import (
    deadlines_page,
    failure_reasons,
    failures_page,
    queue_counts,
    replies_page,
)
from console.viewer import ConsoleRole, Viewer
from models.database import Database
from models.privacy import Keyring
from models.terms import QueueReason
from tests.console.plans import MOST_BUFFERS, Explained, buffers, filled_on_postgres, filled_on_sqlite, nodes
from tests.moments import START

ROWS = 60_000
BIG = frozenset({"outbox", "evaluations", "messages", "cases", "invitations", "invitation_members", "push_batches"})
KEYRING = Keyring({1: b"k" * 32})
VIEWERS = {
    "all": Viewer("ma", ConsoleRole.SUPERVISOR),
    "narrow": Viewer("bai", ConsoleRole.SUPERVISOR, depts=("D7",)),
    "elsewhere": Viewer("bai", ConsoleRole.SUPERVISOR, depts=("D999",)),
    "department": Viewer("zhu", ConsoleRole.DEPARTMENT, depts=("D7",)),
}
_SQL = {
    "sqlite": {
        "numbers": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)",
        "id": "'0192' || printf('%08x', i) || printf('%020x', i)",
        "batch": "'0193' || printf('%08x', i / 50) || printf('%020x', i / 50)",
        "at": "datetime('2026-11-18 02:00:00', '-' || ((:rows - i) * 20) || ' seconds') || '.000000'",
        "later": "datetime('2026-11-18 02:00:00', '+' || i || ' seconds') || '.000000'",
    },
    "postgresql": {
        "numbers": "WITH n AS (SELECT i FROM generate_series(1, :rows) AS i)",
        "id": "('0192' || lpad(to_hex(i), 8, '0') || lpad(to_hex(i), 20, '0'))::uuid",
        "batch": "('0193' || lpad(to_hex(i / 50), 8, '0') || lpad(to_hex(i / 50), 20, '0'))::uuid",
        "at": "timestamptz '2026-11-18 02:00:00+00' - make_interval(secs => (:rows - i) * 20)",
        "later": "timestamptz '2026-11-18 02:00:00+00' + make_interval(secs => i)",
    },
}


def fill(connection: Connection) -> None:
    """A case each twenty seconds with its rating, its invitation, an SMS and a reply; of many the work is not done."""
    sql = _SQL[connection.dialect.name]
    own, at, later, batch = sql["id"], sql["at"], sql["later"], sql["batch"]
    dead, held, batched = "i <= 25000", "i > 59000", "i > 25000 AND i <= 29000"
    statements = (
        "INSERT INTO cases (subject_id, case_no, service_number, stub, dept_code, area_code, closed_at, deadline,"
        f" provisional, created_at) SELECT {own}, 'GD-' || i, 1, false, 'D' || (i % 41), '622900', {at}, {later},"
        f" i % 2 = 0, {at} FROM n",
        "INSERT INTO evaluations (subject_id, assess_number, id, rating_id, subject_kind, effective, satisfaction,"
        " origin, channel, assess_time, project_no, service_number, dept_code, area_code, created_at)"
        f" SELECT {own}, 1, {own}, {own}, 'case', true, 5, 'citizen', 'sms', {at}, 'GD-' || i, 1, 'D' || (i % 41),"
        f" '622900', {at} FROM n",
        "INSERT INTO invitations (id, kind, state, key_map, created_at, changed_at)"
        f" SELECT {own}, 'case', CASE WHEN i % 9 = 0 THEN 'rated' ELSE 'asked' END, 'x', {at}, {at} FROM n",
        f"INSERT INTO invitation_members (invitation_id, subject_id) SELECT {own}, {own} FROM n",
        "INSERT INTO messages (id, direction, kind, state, queue, text, invitation_id, created_at, changed_at)"
        f" SELECT {own}, 'in', 'reply', 'read', CASE WHEN i <= 25000 THEN 'unclear' WHEN i > 59900 THEN 'mistaken' END,"
        f" 'x', {own}, {at}, {at} FROM n",
        "INSERT INTO messages (id, direction, kind, state, reason, invitation_id, created_at, changed_at)"
        f" SELECT {batch.replace('/ 50', '+ 0')}, 'out', 'invitation', CASE WHEN i > 35000 THEN 'failed' ELSE"
        f" 'delivered' END, CASE WHEN i % 3 = 0 THEN 'too_late' ELSE 'dead_number' END, {own}, {at}, {at} FROM n",
        "INSERT INTO push_batches (id, state, records, tries, not_before, created_at, last_error)"
        f" SELECT {batch}, CASE WHEN {batched} THEN 'open' ELSE 'answered' END, 50, 2, {at}, {at}, 'HTTP 503'"
        " FROM n WHERE i % 50 = 0",
        "INSERT INTO outbox (evaluation_id, subject_id, assess_number, state, not_before, held_by, batch_id, tries,"
        f" created_at) SELECT {own}, {own}, 1, CASE WHEN {dead} THEN 'dead' ELSE 'waiting' END,"
        f" CASE WHEN {held} THEN {later} ELSE {at} END, CASE WHEN {held} THEN 'a/1' END,"
        f" CASE WHEN {batched} THEN {batch} END, 0, {at} FROM n",
    )
    for statement in statements:
        connection.execute(text(f"{sql['numbers']} {statement}"), {"rows": ROWS})


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("plans")
    if request.param == "postgresql":
        server, migrated = request.getfixturevalue("postgres"), request.getfixturevalue("migrated_postgres")
        yield from filled_on_postgres(server, migrated, folder, fill)
    else:
        yield from filled_on_sqlite(request.getfixturevalue("migrated_sqlite"), folder, fill, analyze=True)


Look = Callable[[Connection, Viewer, str | None], Any]


def _replies(reason: QueueReason) -> Look:
    return lambda connection, viewer, cursor: replies_page(connection, KEYRING, viewer, reason, cursor, 50)


def _outbox(view: OutboxView) -> Look:
    return lambda connection, viewer, cursor: outbox_page(connection, viewer, view, START, cursor, 50)


def _counted(view: OutboxView) -> Callable[[Connection, Viewer], Any]:
    return lambda connection, viewer: outbox_count(connection, viewer, view, START)


PAGES: dict[str, Look] = {
    "replies": _replies(QueueReason.UNCLEAR),
    "few replies": _replies(QueueReason.MISTAKEN),
    "deadlines": lambda connection, viewer, cursor: deadlines_page(connection, viewer, None, cursor, 50),
    "failures": lambda connection, viewer, cursor: failures_page(connection, KEYRING, viewer, START, None, cursor, 50),
    "failures of a reason": lambda connection, viewer, cursor: failures_page(
        connection, KEYRING, viewer, START, "too_late", cursor, 50
    ),
    **{f"outbox {view.value}": _outbox(view) for view in OutboxView},
}
COUNTS: dict[str, Callable[[Connection, Viewer], Any]] = {
    "of the queues": lambda connection, viewer: queue_counts(connection, viewer, START),
    **{f"of the outbox {view.value}": _counted(view) for view in OutboxView},
    "of the reasons": lambda connection, viewer: failure_reasons(connection, viewer, START),
}


@contextmanager
def looking(database: Database) -> Iterator[tuple[Connection, Explained]]:
    with database.read_engine.connect() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        yield connection, Explained(connection)


def complaints(database: Database, plans: list[Any], who: str, name: str) -> list[str]:
    """What the plans should not do. The first is the list's; what is looked up for its rows may be sorted.

    Who sees a part alone looks at what waits for others on the way to it; beside the outbox, where a week's backlog may
    lie, that is not bounded.
    """
    found = []
    bounded = who == "all" or "outbox" in name
    if database.is_sqlite and name in PAGES:
        found += [step for step in plans[0] if "TEMP B-TREE FOR ORDER BY" in step]
    for plan in plans:
        if database.is_sqlite:
            found += [
                step for step in plan if step.startswith("SCAN") and step.split()[1] in BIG and "INDEX" not in step
            ]
            continue
        if bounded and buffers(plan) > MOST_BUFFERS:
            found.append(f"{buffers(plan)} buffers")
        found += [
            f"reads {node['Relation Name']} whole"
            for node in nodes(plan)
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG
        ]
    return found


@pytest.mark.parametrize("who", VIEWERS)
@pytest.mark.parametrize("name", PAGES)
def test_three_pages_of_a_list_touch_few_buffers(filled: Database, name: str, who: str) -> None:
    cursor: str | None = None
    for _ in range(3):
        with looking(filled) as (connection, explained):
            page = PAGES[name](connection, VIEWERS[who], cursor)
        assert explained.plans
        assert complaints(filled, explained.plans, who, name) == []
        cursor = page.cursor
        if cursor is None:
            break


@pytest.mark.parametrize("who", VIEWERS)
@pytest.mark.parametrize("name", COUNTS)
def test_counts_look_at_so_many_rows_and_no_more(filled: Database, name: str, who: str) -> None:
    with looking(filled) as (connection, explained):
        COUNTS[name](connection, VIEWERS[who])
    assert complaints(filled, explained.plans, who, name) == []
