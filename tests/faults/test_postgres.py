"""A real server on a real PostgreSQL that blocks, or goes away and comes back."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.faults.caller import Heard, call
from tests.faults.processes import Centre, Server, until
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.peer, pytest.mark.slow]


def evaluations(url: str) -> int:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT count(*) FROM evaluations").fetchone()
    assert row is not None
    return int(row[0])


def test_a_table_locked_by_another_holds_up_neither_a_caller_nor_the_end(
    make_server: Callable[..., Server], postgres_url: str
) -> None:
    server = make_server(extra=f'[database]\nurl = "{postgres_url}"\n')
    server.start()
    assert call(server.port, Heard("c-0", "13800000000", ["1"])).thanked
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE ratings")
        heard = call(server.port, Heard("c-1", "13800000001", ["2"]))
        assert heard.variables["HUIYIN_OUTCOME"] == "error"
        assert heard.prompts[-1].endswith("/sorry")
        assert server.running.terminate() == 0
    assert evaluations(postgres_url) == 1


def test_a_postgresql_that_restarts_under_the_server(
    make_server: Callable[..., Server], centre: Centre, own_postgres: PostgresServer
) -> None:
    postgres_url = own_postgres.new_database()
    server = make_server(centre, extra=f'[database]\nurl = "{postgres_url}"\n')
    server.start()
    assert call(server.port, Heard("c-0", "13800000000", ["1"])).thanked
    own_postgres.kill()
    gone = call(server.port, Heard("c-1", "13800000001", ["2"]))
    assert gone.variables["HUIYIN_OUTCOME"] == "error"
    own_postgres.run()
    # The first caller after it is served: every part finds a living connection by itself.
    back = call(server.port, Heard("c-2", "13800000002", ["3"]))
    assert back.thanked, back
    until("everything at the centre", lambda: len(centre.received()) == evaluations(postgres_url) >= 2)
    assert server.running.terminate() == 0
