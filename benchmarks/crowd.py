"""Many open invitations that only lie there, made by the database itself: for the sweeps' measurements and plans.

Each has its closed case and its membership. Nine of ten are asked (their SMS was delivered, nobody answered), others
wait; nothing of them is due before tomorrow, and each stands in the index of every sweep. Ids follow one another, so a
part of the crowd is a range of them. Numbers are bytes that nothing can open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from benchmarks.invitations import START
from models.database import Database

__all__ = ["CASES", "CODES", "INVITATIONS", "MESSAGES", "MOST_MESSAGES", "asked", "fill", "identity"]

CASES, INVITATIONS, CODES, MESSAGES = 1, 2, 3, 4
"""What an id is of (`identity`)."""
MOST_MESSAGES = 1_000_000
"""So many of the first who were asked have their SMS in the database; the SMS of the others were deleted."""
_TABLES = ("cases", "case_keys", "invitations", "invitation_members", "codes", "messages")
_SQL_TIME = "%Y-%m-%d %H:%M:%S.%f"
_THEN = START - timedelta(days=1, hours=1)


def asked(count: int) -> int:
    """How many of a crowd are asked: the first ones."""
    return count * 9 // 10


def identity(kind: int, number: int) -> str:
    """The id of what a number of the crowd has; older than any that a run makes."""
    return f"01900000{kind:04x}7000{number:016x}"


@dataclass(frozen=True, slots=True)
class _Words:
    """How a database says it; `i` is the number within the crowd."""

    source: str
    id: str
    text: str
    sealed: str
    hash: str
    tail: str
    moment: str
    """`{at}` is a moment, `{spread}` a number of seconds."""
    no: str

    def of(self, kind: int) -> str:
        return self.id.format(kind=kind)

    def name(self, prefix: str) -> str:
        return self.text.format(prefix=prefix)

    def at(self, moment: datetime, spread: int = 86_400) -> str:
        """Within `spread` seconds from the moment, each another second."""
        return self.moment.format(at=moment.strftime(_SQL_TIME), spread=f"(i % {spread})")


_POSTGRESQL = _Words(
    source="generate_series(0, {last}) AS other(i)",
    id="('01900000{kind:04x}7000' || lpad(to_hex(i), 16, '0'))::uuid",
    text="('{prefix}' || lpad(i::text, 10, '0'))",
    sealed="decode(repeat(md5('sealed' || i), 3), 'hex')",
    hash="decode(md5('hash' || i), 'hex')",
    tail="decode(left(md5('tail' || i % 10000), 16), 'hex')",
    moment="('{at}+00'::timestamptz + {spread} * interval '1 second')",
    no="false",
)
_SQLITE = _Words(
    source="other WHERE i <= {last}",
    id="printf('01900000{kind:04x}7000%016x', i)",
    text="printf('{prefix}%010d', i)",
    sealed="sealed",
    hash="hash",
    tail="tail",
    moment="strftime('%Y-%m-%d %H:%M:%f000', '{at}', {spread} || ' seconds')",
    no="0",
)


def fill(database: Database, count: int) -> None:
    """Makes a crowd in an empty database that nobody uses. Table by table, then the indexes; millions take minutes."""
    database.read_engine.dispose()
    with database.write_engine.connect() as connection:
        if database.is_sqlite:
            _fill_sqlite(connection, count)
        else:
            _fill_postgresql(connection, count)


def _rows(words: _Words, count: int) -> Mapping[str, dict[str, str]]:
    """For each table its columns and their values; `#last` is the last number that has a row."""
    number = {
        "number_kind": "'mobile'",
        "number_sealed": words.sealed,
        "number_hash": words.hash,
        "number_tail": words.tail,
        "number_key_id": "1",
    }
    is_asked = f"i < {asked(count)}"
    deadline = words.at(START + timedelta(days=5))
    tomorrow = words.at(START + timedelta(days=1))
    told = min(asked(count), MOST_MESSAGES)
    then = words.at(_THEN, 1)
    return {
        "cases": {
            "subject_id": words.of(CASES),
            "case_no": words.name("OTHER"),
            "service_number": "1",
            "stub": words.no,
            **number,
            "title": "'路灯不亮'",
            "task_code": "'622900001'",
            "dept_code": "'12622900MB1234567X'",
            "lang": "'zh'",
            "closed_at": then,
            "deadline": deadline,
            "provisional": words.no,
            "default_at": deadline,
            "created_at": then,
        },
        "case_keys": {"case_no": words.name("OTHER"), "service_number": "1", "subject_id": words.of(CASES)},
        "invitations": {
            "id": words.of(INVITATIONS),
            "kind": "'case'",
            "state": f"CASE WHEN {is_asked} THEN 'asked' ELSE 'waiting' END",
            **number,
            "lang": "'zh'",
            "key_map": "'1=5,2=4,3=3,4=2,5=1'",
            "due_at": f"CASE WHEN {is_asked} THEN {deadline} ELSE {tomorrow} END",
            "not_after": f"CASE WHEN {is_asked} THEN NULL ELSE {deadline} END",
            "first_asked_at": f"CASE WHEN {is_asked} THEN {then} END",
            "asked_by": f"CASE WHEN {is_asked} THEN 'sms' END",
            "undelivered": words.no,
            "muted": words.no,
            "remind_at": tomorrow,
            "created_at": then,
            "changed_at": then,
        },
        "invitation_members": {"invitation_id": words.of(INVITATIONS), "subject_id": words.of(CASES)},
        "codes": {
            "#last": str(told - 1),
            "id": words.of(CODES),
            **number,
            "code": "'07'",
            "invitation_id": words.of(INVITATIONS),
            "given_at": then,
        },
        "messages": {
            "#last": str(told - 1),
            "id": words.of(MESSAGES),
            "direction": "'out'",
            "kind": "'invitation'",
            "state": "'delivered'",
            **number,
            "invitation_id": words.of(INVITATIONS),
            "link": "'bench'",
            "our_number": "'1069123407'",
            "code": "'07'",
            "lang": "'zh'",
            "tries": "1",
            "total": "1",
            "handed_at": then,
            "created_at": then,
            "changed_at": then,
        },
    }


def _inserts(words: _Words, count: int) -> list[str]:
    statements = []
    for table, columns in _rows(words, count).items():
        last = columns.pop("#last", str(count - 1))
        statements.append(
            f"INSERT INTO {table} ({', '.join(columns)})"
            f" SELECT {', '.join(columns.values())} FROM {words.source.format(last=last)}"
        )
    return statements


def _fill_sqlite(connection: Connection, count: int) -> None:
    raw: Any = connection.connection.dbapi_connection
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000"):
        raw.execute(f"PRAGMA {pragma}")
    raw.execute(
        "CREATE TEMP TABLE other AS WITH RECURSIVE one(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM one"
        " WHERE i + 1 < ?) SELECT i, randomblob(44) AS sealed, randomblob(16) AS hash, randomblob(8) AS tail FROM one",
        (count,),
    )
    indexes = raw.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        f" AND tbl_name IN ({', '.join('?' * len(_TABLES))})",
        _TABLES,
    ).fetchall()
    raw.execute("BEGIN IMMEDIATE")
    for name, _ in indexes:
        raw.execute(f"DROP INDEX {name}")
    for statement in _inserts(_SQLITE, count):
        raw.execute(statement)
    for _, statement in indexes:
        raw.execute(statement)
    raw.execute("COMMIT")
    raw.execute("DROP TABLE other")
    raw.execute("ANALYZE")
    connection.invalidate()  # nobody goes on with these settings


def _fill_postgresql(connection: Connection, count: int) -> None:
    names = ", ".join(f"'{name}'" for name in _TABLES)
    # The driver itself: a statement without parameters may hold a %.
    raw: Any = connection.connection.dbapi_connection
    for setting in ("statement_timeout = 0", "lock_timeout = 0", "maintenance_work_mem = '512MB'"):
        raw.execute(f"SET {setting}")
    keys = raw.execute(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        f" WHERE contype IN ('p', 'u') AND conrelid::regclass::text IN ({names})"
    ).fetchall()
    indexes = raw.execute(
        f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ({names})"
        " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
    ).fetchall()
    raw.commit()
    # Emptied in the same transaction: with wal_level=minimal nothing of it goes through the log.
    raw.execute(f"TRUNCATE {', '.join(_TABLES)}")
    for table, name, _ in keys:
        raw.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        raw.execute(f"DROP INDEX {name}")
    for statement in _inserts(_POSTGRESQL, count):
        raw.execute(statement)
    for table, name, definition in keys:
        raw.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for _, definition in indexes:
        raw.execute(definition)
    raw.commit()
    raw.autocommit = True
    for name in _TABLES:
        raw.execute(f"VACUUM (ANALYZE) {name}")
    connection.invalidate()
