"""The databases that tests hand on to one another are as the migrations made them."""

from __future__ import annotations

import psycopg
import pytest

from tests.postgres import Copies, PostgresServer

pytestmark = pytest.mark.peer


def _connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def _content(url: str) -> tuple[list[tuple[object, ...]], ...]:
    with _connect(url) as connection:
        return tuple(
            connection.execute(question).fetchall()
            for question in (
                "SELECT key, value FROM meta ORDER BY key",
                "SELECT version_num FROM alembic_version",
                "SELECT nextval('feed_position_seq')",
                "SELECT count(*) FROM outbox",
            )
        )


def test_what_a_test_stored_changed_and_held_is_gone(copies: Copies) -> None:
    url = copies.take()
    before = _content(url)
    held = _connect(url)
    held.execute("DELETE FROM meta")
    held.execute("INSERT INTO meta (key, value) VALUES ('left', 'behind')")
    held.execute("SELECT setval('feed_position_seq', 77)")
    held.execute("BEGIN")
    held.execute("LOCK TABLE meta")
    copies.give_back(url)
    with pytest.raises(psycopg.OperationalError):
        held.execute("SELECT 1")
    again = copies.take()
    assert again == url
    assert _content(again) == before
    copies.give_back(again)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE left_behind (x int)",
        "DROP INDEX ix_calls_ended_at",
        "ALTER TABLE meta ALTER COLUMN value DROP NOT NULL",
        "ALTER DATABASE {} SET enable_seqscan = off",
    ],
)
def test_one_with_another_shape_is_not_handed_on(copies: Copies, postgres: PostgresServer, change: str) -> None:
    url = copies.take()
    name = url.partition("@/")[2].partition("?")[0]
    with _connect(url) as connection:
        connection.execute(change.format(name).encode())
    copies.give_back(url)
    assert postgres.psql(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == "0"
    assert copies.take() != url
