"""The record that the console is measured beside: its rollups are those of its rows, and it is what it says it is."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, Table, func, select

from benchmarks.hotline_years import ABSENT_TAIL, DAYS, call_key, case_no, fill, subject_kind
from console.ratings import find_subjects, subjects_of_tail
from console.viewer import ConsoleRole, Viewer
from models.database import Database
from models.privacy import Keyring
from models.recount import count_all
from models.tables import calls, evaluations, rollup_days, rollup_hours, rollup_reasons

COUNT = 3_000
TODAY = date(2026, 11, 18)
SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)


def test_the_rollups_of_the_record_are_a_full_count_of_it(database: Database, keyring: Keyring) -> None:
    filled = fill(database, keyring, COUNT, TODAY)
    assert filled.count == COUNT
    with database.read_engine.connect() as connection:
        counted = dict(count_all(connection).rows(0))
        for table in (rollup_days, rollup_hours, rollup_reasons):
            stored = _stored(connection, table)
            assert stored
            assert stored == {tuple(row) for row in counted[table]}, table.name
        effective, first, last = connection.execute(
            select(func.count(), func.min(evaluations.c.assess_time), func.max(evaluations.c.assess_time)).where(
                evaluations.c.effective
            )
        ).one()
        assert effective == COUNT
        assert (last - first).days == DAYS - 1
        assert connection.execute(subjects_of_tail(SUPERVISOR, keyring.tail(ABSENT_TAIL))).first() is None
        tails = set(connection.execute(select(calls.c.number_tail)).scalars())
        assert tails <= {keyring.tail(f"{number:04d}") for number in range(10_000)}
        assert len(tails) > COUNT // 4
        for number in (0, 6):
            named = call_key(number) if subject_kind(number) == "call" else case_no(number)
            assert named in {one.number for one in find_subjects(connection, SUPERVISOR, named)}


def _stored(connection: Connection, table: Table) -> set[tuple[object, ...]]:
    return {tuple(row) for row in connection.execute(select(table))}
