"""The rollups of a record against a full count of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from models.database import Database
from models.recount import count_all
from models.tables import rollup_days, rollup_hours, rollup_reasons

Counts = dict[str, dict[tuple[Any, ...], tuple[int, ...]]]


def in_rollups(database: Database) -> Counts:
    """What the rollups hold, the writers summed."""
    found: Counts = {}
    with database.read_engine.connect() as connection:
        for table in (rollup_days, rollup_hours, rollup_reasons):
            keys = [column for column in table.columns if column.primary_key and column.name != "writer"]
            sums = [func.sum(column) for column in table.columns if not column.primary_key]
            rows = connection.execute(select(*keys, *sums).group_by(*keys))
            counts = {tuple(row[: len(keys)]): tuple(map(int, row[len(keys) :])) for row in rows}
            found[table.name] = {key: some for key, some in counts.items() if any(some)}
    return found


def in_record(database: Database) -> Counts:
    """What a full count finds."""
    found: Counts = {table.name: {} for table in (rollup_days, rollup_hours, rollup_reasons)}
    with database.read_engine.connect() as connection:
        for table, rows in count_all(connection).rows(0):
            keys = len(table.primary_key.columns)
            writer = list(table.columns.keys()).index("writer")
            for row in rows:
                found[table.name][(*row[:writer], *row[writer + 1 : keys])] = tuple(row[keys:])
    return found


def agree(database: Database) -> Counts:
    """Fails where the rollups are not what a full count finds; gives them."""
    counts = in_rollups(database)
    assert counts == in_record(database)
    return counts
