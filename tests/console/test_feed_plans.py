"""What a look of the live boards costs while a sweep writes defaults: the feed is read in its order, up to a bound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from console.bad_ratings import SCAN, told_between
from console.positions import START, read_edge
from models.database import Database
from tests.console.plans import MOST_BUFFERS, Explained, buffers, filled_on_postgres, filled_on_sqlite, nodes
from tests.postgres import PostgresServer

ROWS = 3 * SCAN


def _fill(connection: Connection) -> None:
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)"
        if connection.dialect.name == "sqlite"
        else "WITH n AS (SELECT i FROM generate_series(1, :rows) AS i)"
    )
    connection.execute(
        text(
            f"{numbers} INSERT INTO feed (kind, subject_id, assess_number, at)"
            " SELECT 'default', '01920000000070008000000000000000', 1, '2026-11-18 02:00:00.000000+00:00' FROM n"
        ),
        {"rows": ROWS},
    )


@pytest.fixture(scope="module")
def filled_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    yield from filled_on_sqlite(migrated_sqlite, tmp_path_factory.mktemp("feed"), _fill)


@pytest.fixture(scope="module")
def filled_postgres(
    postgres: PostgresServer, migrated_postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    yield from filled_on_postgres(postgres, migrated_postgres, tmp_path_factory.mktemp("feed"), _fill)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def test_a_look_behind_a_sweep_reads_the_feed_in_its_order_and_up_to_a_bound(
    kind: str, request: pytest.FixtureRequest
) -> None:
    database: Database = request.getfixturevalue("filled_sqlite" if kind == "sqlite" else "filled_postgres")
    with database.read_engine.connect() as connection:
        edge = read_edge(connection)
        explained = Explained(connection)
        assert told_between(connection, START, edge) is None  # more than a look goes through
    assert len(explained.plans) == 2
    for plan in explained.plans:
        if kind == "postgresql":
            assert buffers(plan) <= MOST_BUFFERS
            assert "ix_feed_xid" in {node.get("Index Name") for node in nodes(plan)}
        else:
            assert any("SEARCH feed USING INTEGER PRIMARY KEY" in step for step in plan), plan
