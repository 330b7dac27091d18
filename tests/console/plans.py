"""How a database goes about a statement, and filled databases to ask."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, event

from models.database import Database, open_database
from tests.postgres import PostgresServer

__all__ = ["MOST_BUFFERS", "Explained", "Fill", "buffers", "filled_on_postgres", "filled_on_sqlite", "nodes"]

MOST_BUFFERS = 2_000
Fill = Callable[[Connection], None]


def filled_on_postgres(postgres: PostgresServer, migrated: str, folder: Path, fill: Fill) -> Iterator[Database]:
    """A copy of the migrated database, filled and analyzed; dropped afterwards."""
    url = postgres.new_database(migrated)
    yield from _filled(open_database(url, folder), fill, analyze=True)
    postgres.drop(url)


def filled_on_sqlite(migrated: Path, folder: Path, fill: Fill, *, analyze: bool = False) -> Iterator[Database]:
    (folder / "huiyin.db").write_bytes(migrated.read_bytes())
    yield from _filled(open_database("sqlite:///huiyin.db", folder), fill, analyze=analyze)


def _filled(database: Database, fill: Fill, *, analyze: bool) -> Iterator[Database]:
    with database.write_engine.begin() as connection:
        fill(connection)
    if analyze:
        with database.write_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    yield database
    database.close()


class Explained:
    """Every statement of a connection, explained before it runs."""

    def __init__(self, connection: Connection) -> None:
        self.plans: list[Any] = []
        self._connection = connection
        self._busy = False
        event.listen(connection, "before_cursor_execute", self._explain)

    def _explain(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> None:
        if self._busy or not statement.lstrip().upper().startswith(("SELECT", "WITH")):
            return
        self._busy = True
        try:
            with _Cursor(connection) as own:
                if connection.dialect.name == "postgresql":
                    found = _explain_prepared(own, statement, parameters)
                    self.plans.append((found if isinstance(found, list) else json.loads(found))[0]["Plan"])
                else:
                    own.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                    self.plans.append([row[3] for row in own.fetchall()])
        finally:
            self._busy = False


def _explain_prepared(cursor: Any, statement: str, parameters: Any) -> Any:
    """As the driver has it planned: with its values, or (`plan_cache_mode`) without them."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    prepared = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", statement).replace("%%", "%")
    given = ", ".join(sql.Literal(parameters[name]).as_string(cursor) for name in names)
    cursor.execute(f"PREPARE looked AS {prepared}")
    try:
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE looked {f'({given})' if names else ''}"
        return cursor.execute(explain).fetchone()[0]
    finally:
        cursor.execute("DEALLOCATE looked")


class _Cursor:
    """A cursor of the driver's, closed at the end."""

    def __init__(self, connection: Connection) -> None:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        self._cursor: Any = raw.cursor()

    def __enter__(self) -> Any:
        return self._cursor

    def __exit__(self, *_: object) -> None:
        self._cursor.close()


def nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def buffers(plan: Any) -> int:
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
