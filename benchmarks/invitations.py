"""Invitations for the SMS measurements, as rows: those that a run sends or gets replies to, and many that lie there.

`python -m benchmarks.invitations FOLDER COUNT` makes the database in FOLDER with COUNT open invitations of other
citizens: one half waits for tomorrow, the other has its SMS, delivered and unanswered. Their numbers are random bytes:
nothing that is measured opens them.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, insert

from benchmarks.clients import CODE, SERVICE_NUMBER, citizen
from models.database import Database, open_database
from models.ids import new_id
from models.privacy import Keyring
from models.tables import case_keys, cases, codes, invitation_members, invitations, messages, segments

__all__ = ["DATABASE", "KEY", "START", "BenchClock", "open_bench", "store"]

DATABASE = "sqlite:///bench.db"
KEY = "privacy.key"
START = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)
"""A Tuesday, ten in the morning in Shanghai: inside the sending hours whenever the benchmark is run."""
DEADLINE = START + timedelta(days=7)
_KEY_MAP = "1=5,2=4,3=3,4=2,5=1"
_LINK = "bench"
_SQL_TIME = "%Y-%m-%d %H:%M:%S.%f"


class BenchClock:
    """Runs from START on, and can be turned."""

    def __init__(self) -> None:
        self._start = START
        self._began = time.monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=time.monotonic() - self._began)

    def turn(self, by: timedelta) -> None:
        self._start += by


def open_bench(folder: Path) -> tuple[Database, Keyring]:
    """The folder's database, made where it is not there, and its key."""
    database = open_database(DATABASE, folder)
    database.ensure_schema()
    return database, database.open_keyring(folder / KEY)


def store(
    connection: Connection,
    keyring: Keyring,
    key_map: str,
    first: int,
    count: int,
    due_at: datetime,
    *,
    asked: bool = False,
) -> None:
    """Invitations of `count` citizens for a closed case each.

    Args:
        due_at: when their SMS is due.
        asked: it was sent an hour before START and delivered, and the code is given.
    """
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in ("cases", "invitations", "codes", "messages")}
    for number in range(first, first + count):
        phone = "+" + citizen(number)
        sealed = keyring.seal(phone)
        columns = {
            "number_kind": "mobile",
            "number_sealed": sealed.sealed,
            "number_hash": sealed.hash,
            "number_tail": sealed.tail,
            "number_key_id": sealed.key_id,
        }
        subject, invitation, then = new_id(), new_id(), START - timedelta(hours=1)
        rows["cases"].append(
            {
                "subject_id": subject,
                "case_no": f"BENCH{number:010d}",
                "service_number": 1,
                "stub": False,
                **columns,
                "title": "路灯不亮",
                "task_code": "622900001",
                "dept_code": "12622900MB1234567X",
                "lang": "zh",
                "closed_at": then,
                "deadline": DEADLINE,
                "provisional": False,
                "created_at": then,
            }
        )
        rows["invitations"].append(
            {
                "id": invitation,
                "kind": "case",
                "state": "asked" if asked else "waiting",
                **columns,
                "lang": "zh",
                "key_map": key_map,
                "due_at": DEADLINE if asked else due_at,
                "not_after": None if asked else DEADLINE,
                "first_asked_at": then if asked else None,
                "asked_by": "sms" if asked else None,
                "created_at": then,
                "changed_at": then,
                "undelivered": False,
                "muted": False,
            }
        )
        if asked:
            rows["codes"].append(
                {"id": new_id(), **columns, "code": CODE, "invitation_id": invitation, "given_at": then}
            )
            rows["messages"].append(
                {
                    "id": new_id(),
                    "direction": "out",
                    "kind": "invitation",
                    "state": "delivered",
                    **columns,
                    "invitation_id": invitation,
                    "link": _LINK,
                    "our_number": SERVICE_NUMBER + CODE,
                    "code": CODE,
                    "once_key": f"invite:{invitation}",
                    "lang": "zh",
                    "tries": 1,
                    "total": 1,
                    "handed_at": then,
                    "created_at": then,
                    "changed_at": then,
                }
            )
    connection.execute(insert(cases), rows["cases"])
    connection.execute(
        insert(case_keys),
        [{name: row[name] for name in ("case_no", "service_number", "subject_id")} for row in rows["cases"]],
    )
    connection.execute(insert(invitations), rows["invitations"])
    connection.execute(
        insert(invitation_members),
        [
            {"invitation_id": invitation["id"], "subject_id": case["subject_id"]}
            for invitation, case in zip(rows["invitations"], rows["cases"], strict=True)
        ],
    )
    if asked:
        connection.execute(insert(codes), rows["codes"])
        connection.execute(insert(messages), rows["messages"])
        connection.execute(
            insert(segments),
            [
                {
                    "message_id": row["id"],
                    "number": 1,
                    "state": "delivered",
                    "link": _LINK,
                    "smsc_id": f"old{row['id']}",
                    "submitted_at": row["created_at"],
                    "receipt": "delivered",
                }
                for row in rows["messages"]
            ],
        )


# ── many that only lie there ──────────────────────────────────────────────────────────────────────────────────────────

_NUMBER = "number_kind, number_sealed, number_hash, number_tail, number_key_id"
_OF = "'mobile', sealed, hash, tail, 1"
_ID = "printf('01900000{table:04x}7000%016x', i)"


def _id(table: int) -> str:
    """An id older than any that a run makes, in their order; a table each."""
    return _ID.format(table=table)


def fill(folder: Path, count: int) -> None:
    """Makes the database with so many open invitations of others."""
    database, _ = open_bench(folder)
    path = database.url.database
    database.close()
    assert path is not None
    raw = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "temp_store=MEMORY"):
        raw.execute(f"PRAGMA {pragma}")
    indexes = raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    raw.execute("BEGIN")
    for name, _ in indexes:
        raw.execute(f"DROP INDEX {name}")
    values = {
        "count": count,
        "half": count // 2,
        "then": (START - timedelta(days=1)).strftime(_SQL_TIME),
        "deadline": DEADLINE.strftime(_SQL_TIME),
        "tomorrow": (START + timedelta(days=1)).strftime(_SQL_TIME),
        "keys": _KEY_MAP,
        "number": SERVICE_NUMBER + CODE,
        "code": CODE,
        "link": _LINK,
    }
    statements = (
        "CREATE TEMP TABLE other AS WITH RECURSIVE one(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM one"
        " WHERE i + 1 < :count) SELECT i, randomblob(44) AS sealed, randomblob(16) AS hash, randomblob(8) AS tail"
        " FROM one",
        f"INSERT INTO cases (subject_id, case_no, service_number, stub, {_NUMBER}, title, task_code, dept_code, lang,"
        f" closed_at, deadline, provisional, created_at) SELECT {_id(1)}, printf('OTHER%010d', i), 1, 0, {_OF},"
        " '路灯不亮', '622900001', '12622900MB1234567X', 'zh', :then, :deadline, 0, :then FROM other",
        f"INSERT INTO case_keys (case_no, service_number, subject_id) SELECT printf('OTHER%010d', i), 1, {_id(1)}"
        " FROM other",
        f"INSERT INTO invitations (id, kind, state, {_NUMBER}, lang, key_map, due_at, not_after, first_asked_at,"
        f" asked_by, created_at, changed_at, undelivered, muted) SELECT {_id(2)}, 'case',"
        f" CASE WHEN i < :half THEN 'asked' ELSE 'waiting' END, {_OF}, 'zh', :keys,"
        " CASE WHEN i < :half THEN :deadline ELSE :tomorrow END, CASE WHEN i < :half THEN NULL ELSE :deadline END,"
        " CASE WHEN i < :half THEN :then END, CASE WHEN i < :half THEN 'sms' END, :then, :then, 0, 0 FROM other",
        f"INSERT INTO invitation_members (invitation_id, subject_id) SELECT {_id(2)}, {_id(1)} FROM other",
        f"INSERT INTO codes (id, {_NUMBER}, code, invitation_id, given_at) SELECT {_id(3)}, {_OF}, :code, {_id(2)},"
        " :then FROM other WHERE i < :half",
        f"INSERT INTO messages (id, direction, kind, state, {_NUMBER}, invitation_id, link, our_number, code, once_key,"
        f" lang, tries, total, handed_at, created_at, changed_at) SELECT {_id(4)}, 'out', 'invitation', 'delivered',"
        f" {_OF}, {_id(2)}, :link, :number, :code, 'invite:' || {_id(2)}, 'zh', 1, 1, :then, :then, :then FROM other"
        " WHERE i < :half",
        f"INSERT INTO segments (message_id, number, state, link, smsc_id, submitted_at, answered_at, receipt)"
        f" SELECT {_id(4)}, 1, 'delivered', :link, printf('other%010d', i), :then, :then, 'delivered' FROM other"
        " WHERE i < :half",
    )
    for statement in statements:
        raw.execute(statement, values if ":" in statement else {})
    for _, statement in indexes:
        raw.execute(statement)
    raw.execute("COMMIT")
    raw.close()


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]))
