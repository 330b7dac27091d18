"""The writes of a recorded sweep, by the database's driver alone, on other rows of the same crowd.

`python -m benchmarks.servers.bare_sql URL FILE SHIFT` says `ready 0`, waits for a line, writes, says
`done SECONDS ROWS`. FILE: what `sweeper record` left. SHIFT: how far on in the crowd the rows are that are changed now;
what the sweep made anew gets new ids here too.

The same transactions, the same statements, their values ready before the clock runs. A statement that changed no row
is left out. Nothing is looked for and nothing decided.
"""

from __future__ import annotations

import pickle
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.crowd import identity
from models.database import Database, open_database
from models.ids import new_id

_OF_CROWD = re.compile(r"01900000([0-9a-f]{4})7000([0-9a-f]{16})")
_ID = re.compile(r"[0-9a-f]{32}")

Group = list[tuple[str, list[Any]]]


def on_others(groups: list[list[tuple[str, Any, int]]], shift: int) -> list[Group]:
    """The recorded writes, meant for the rows that lie `shift` further on."""
    made: dict[str, str] = {}

    def another(found: re.Match[str]) -> str:
        known = _OF_CROWD.fullmatch(found[0])
        if known is not None:
            return identity(int(known[1], 16), int(known[2], 16) + shift)
        return made.setdefault(found[0], new_id())

    def value(of: Any) -> Any:
        return _ID.sub(another, of) if isinstance(of, str) else of

    def row(of: Any) -> Any:
        if isinstance(of, dict):
            return {name: value(one) for name, one in of.items()}
        return tuple(map(value, of))

    kept = []
    for group in groups:
        writes = [
            (statement, list(map(row, parameters if isinstance(parameters, list) else [parameters])))
            for statement, parameters, changed in group
            if changed > 0
        ]
        if writes:
            kept.append(writes)
    return kept


def write(database: Database, groups: list[Group]) -> float:
    """Seconds for all groups, each committed."""
    connection: Any = database.write_engine.raw_connection()
    raw = connection.dbapi_connection
    begin: Callable[[], object] = (lambda: raw.execute("BEGIN IMMEDIATE")) if database.is_sqlite else lambda: None
    cursor = raw.cursor()
    began = time.perf_counter()
    for group in groups:
        begin()
        for statement, rows in group:
            cursor.executemany(statement, rows)
        raw.commit()
    spent = time.perf_counter() - began
    connection.close()
    return spent


def main(url: str, file: Path, shift: int) -> None:
    database = open_database(url, file.parent)
    groups = on_others(pickle.loads(file.read_bytes()), shift)
    print("ready 0", flush=True)
    sys.stdin.readline()
    spent = write(database, groups)
    database.close()
    print("done", spent, sum(len(rows) for group in groups for _, rows in group), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
