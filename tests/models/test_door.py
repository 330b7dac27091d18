"""Every sentence about the writer in docs/architecture.md, on SQLite and on a real PostgreSQL.

What was acknowledged is compared with what is on disk, read by a connection of its own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError

import models.door as door_module
from models.database import Database, open_database
from models.door import GROUP, Bulk, Door, Priority, Unit
from models.errors import CommandFailed, DoorClosed, TransactionLost
from models.tables import audit, meta

WAIT = 20
_META = Bulk(meta)


class Journal:
    """What ran, in order; and a gate at which the writer can be kept."""

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()


@dataclass(frozen=True, eq=False)
class Put:
    """Stores one row in `meta`. `fails`: raises when run in company ("group"), or always ("always")."""

    key: str
    journal: Journal
    fails: str = ""
    size: int = 1
    action: Callable[[Unit], None] | None = None
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Put]) -> list[str]:
        commands[0].journal.runs.append([command.key for command in commands])
        for command in commands:
            if command.action is not None:
                command.action(unit)
            if command.fails == "always" or (command.fails == "group" and len(commands) > 1):
                raise ValueError(f"{command.key} fails on purpose")
        unit.insert(_META, [(command.key, "x" * command.size) for command in commands])
        return [command.key.upper() for command in commands]


@dataclass(frozen=True, eq=False)
class PutInbound(Put):
    priority: ClassVar[Priority] = Priority.INBOUND


@dataclass(frozen=True, eq=False)
class PutPush(Put):
    priority: ClassVar[Priority] = Priority.PUSH


@dataclass(frozen=True, eq=False)
class PutSweep(Put):
    priority: ClassVar[Priority] = Priority.SWEEP


@dataclass(frozen=True, eq=False)
class Hold:
    """Keeps the writer busy until the gate opens, so that what is queued behind it makes one group."""

    journal: Journal
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Hold]) -> list[None]:
        commands[0].journal.entered.set()
        assert commands[0].journal.gate.wait(WAIT)
        return [None] * len(commands)


@pytest.fixture
def journal() -> Journal:
    return Journal()


def queued(door: Door, journal: Journal, commands: Sequence[Put]) -> list[Future[Any]]:
    """Submits the commands while the writer is kept busy, then lets it go."""
    held = door.submit(Hold(journal))
    assert journal.entered.wait(WAIT)
    futures = [door.submit(command) for command in commands]
    journal.gate.set()
    held.result(WAIT)
    return futures


def on_disk(database: Database) -> set[str]:
    with database.read_engine.connect() as connection:
        return {key for (key,) in connection.execute(select(meta.c.key)) if key.startswith("k")}


def acknowledged(futures: Sequence[Future[Any]]) -> set[str]:
    return {str(future.result(WAIT)).lower() for future in futures if future.exception(WAIT) is None}


# ── groups ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_is_written_as_one_group_in_bulk(door: Door, journal: Journal, database: Database) -> None:
    futures = queued(door, journal, [Put(f"k{n}", journal) for n in range(40)])
    assert [future.result(WAIT) for future in futures] == [f"K{n}" for n in range(40)]
    assert [len(run) for run in journal.runs] == [40]
    assert on_disk(database) == {f"k{n}" for n in range(40)}
    assert door.statistics.commands == 41


def test_a_group_holds_at_most_64(door: Door, journal: Journal, database: Database) -> None:
    futures = queued(door, journal, [Put(f"k{n}", journal) for n in range(150)])
    assert acknowledged(futures) == on_disk(database) == {f"k{n}" for n in range(150)}
    assert [len(run) for run in journal.runs] == [GROUP, GROUP, 22]


def test_the_queue_is_taken_by_rank_and_one_sweep_a_group(door: Door, journal: Journal) -> None:
    commands = [
        PutSweep("k-sweep-1", journal),
        PutPush("k-push", journal),
        PutSweep("k-sweep-2", journal),
        PutInbound("k-inbound", journal),
        Put("k-call-1", journal),
        Put("k-call-2", journal),
    ]
    for future in queued(door, journal, commands):
        future.result(WAIT)
    assert journal.runs == [["k-call-1", "k-call-2"], ["k-inbound"], ["k-push"], ["k-sweep-1"], ["k-sweep-2"]]
    assert door.statistics.groups == 3  # the one that was held, the four kinds together, the second sweep


def test_a_full_house_of_calls_comes_before_everything_else(door: Door, journal: Journal) -> None:
    commands: list[Put] = [PutPush("k-push", journal), *(Put(f"k{n}", journal) for n in range(70))]
    for future in queued(door, journal, commands):
        future.result(WAIT)
    assert [len(run) for run in journal.runs] == [64, 6, 1]
    assert journal.runs[-1] == ["k-push"]


def test_a_lone_command_does_not_wait_for_company(
    make_door: Callable[..., Door], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "GATHER", 3600.0)
    door = make_door()
    for number in range(3):
        assert door.submit(Put(f"k{number}", journal)).result(WAIT)


def test_after_a_group_of_several_the_writer_gathers_up_to_64(
    make_door: Callable[..., Door], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = make_door()
    for future in queued(door, journal, [Put("k-a", journal), Put("k-b", journal)]):
        future.result(WAIT)
    monkeypatch.setattr(door_module, "GATHER", 3600.0)
    futures = [door.submit(Put(f"k{n}", journal)) for n in range(GROUP)]
    for future in futures:
        future.result(WAIT)
    assert len(journal.runs[-1]) == GROUP


def test_gathering_ends_by_itself(door: Door, journal: Journal) -> None:
    for future in queued(door, journal, [Put("k-a", journal), Put("k-b", journal)]):
        future.result(WAIT)
    assert door.submit(Put("k-c", journal)).result(WAIT) == "K-C"


# ── a group that fails ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fails", ["group", "always"])
def test_each_command_of_a_failed_group_runs_once_more_alone(
    door: Door, journal: Journal, database: Database, fails: str
) -> None:
    futures = queued(door, journal, [Put(f"k{n}", journal, fails=fails if n == 3 else "") for n in range(6)])
    bad = {"k3"} if fails == "always" else set()
    assert acknowledged(futures) == on_disk(database) == {f"k{n}" for n in range(6)} - bad
    assert journal.runs == [[f"k{n}" for n in range(6)], *([f"k{n}"] for n in range(6))]
    if bad:
        assert isinstance(futures[3].exception(), CommandFailed)
        assert isinstance(futures[3].exception().__cause__, ValueError)  # type: ignore[union-attr]


def test_a_failure_names_no_value(door: Door, journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    door.submit(Put("k-13800000001", journal)).result(WAIT)
    failed = door.submit(Put("k-13800000001", journal)).exception(WAIT)
    assert isinstance(failed, CommandFailed)
    assert "13800000001" not in str(failed)
    assert "13800000001" not in capsys.readouterr().out
    # Nor does a traceback of the cause show the statement's parameters.
    [sentence] = [line for line in str(failed.__cause__).splitlines() if "parameters" in line]
    assert "13800000001" not in sentence


def _int_of_words(_: Unit) -> None:
    int("张三的手机")


def _key_error(_: Unit) -> None:
    names: dict[str, str] = {}
    names["张三的手机"]


def _cast(unit: Unit) -> None:
    """A sentence of PostgreSQL's that quotes the value; SQLite makes a 0 of it, so there it is another error."""
    unit.execute(text("SELECT CAST(:words AS integer)"), {"words": "张三的手机"})
    raise ValueError("张三的手机")


def _twice(unit: Unit) -> None:
    for _ in range(2):
        unit.execute(meta.insert().values(key="张三的手机", value="x"))


def _nothing(unit: Unit) -> None:
    unit.execute(meta.insert().values(key="张三的手机", value=None))


FAILURES: list[tuple[Callable[[Unit], None], str, str]] = [
    # what a command does; what is said of it on SQLite, on PostgreSQL
    (_int_of_words, "ValueError in test_door.py, line ", "ValueError in test_door.py, line "),
    (_key_error, "KeyError in test_door.py, line ", "KeyError in test_door.py, line "),
    (_cast, "ValueError in test_door.py, line ", "InvalidTextRepresentation: 22P02"),
    (_twice, "IntegrityError: UNIQUE constraint failed: meta.key", "UniqueViolation: 23505 meta pk_meta"),
    (_nothing, "IntegrityError: NOT NULL constraint failed: meta.value", "NotNullViolation: 23502 meta value"),
]


@pytest.mark.parametrize(("action", "sqlite", "postgresql"), FAILURES, ids=[row[0].__name__ for row in FAILURES])
def test_of_an_error_is_told_what_can_hold_no_value(
    door: Door,
    journal: Journal,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    action: Callable[[Unit], None],
    sqlite: str,
    postgresql: str,
) -> None:
    failed = door.submit(Put("k1", journal, action=action)).exception(WAIT)
    assert str(failed).startswith(f"Put could not be written: {sqlite if database.is_sqlite else postgresql}")
    said = str(failed) + capsys.readouterr().out
    assert "group failed" in said
    assert "张三" not in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/somewhere/张三"), "OSError: No space left on device"),
        (psycopg.OperationalError("connection refused\nIs it running?"), "OperationalError: connection refused"),
        (psycopg.DataError("cannot dump 张三"), "DataError"),
        (sqlite3.ProgrammingError("Error binding 张三"), "ProgrammingError"),
        (TransactionLost("the database ended it"), "TransactionLost: the database ended it"),
    ],
)
def test_what_is_told_of_errors_elsewhere(error: Exception, said: str) -> None:
    assert door_module._short(error) == said
    assert door_module._short(OperationalError("SELECT", {}, error)) == said


@given(fates=st.lists(st.sampled_from(["", "", "group", "always"]), min_size=1, max_size=80))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_fails_the_acknowledged_are_on_disk_and_the_refused_are_not(
    fates: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with closing(open_database("sqlite:///x.db", tmp_path_factory.mktemp("fates"))) as database:
        database.ensure_schema()
        door, journal = Door(database), Journal()
        futures = queued(door, journal, [Put(f"k{n}", journal, fails=fate) for n, fate in enumerate(fates)])
        door.close()
        expected = {f"k{n}" for n, fate in enumerate(fates) if fate != "always"}
        assert acknowledged(futures) == on_disk(database) == expected


# ── the disk is full, the database is busy, COMMIT fails ──────────────────────────────────────────────────────────────


@pytest.fixture
def sqlite(tmp_path: Path) -> Database:
    opened = open_database("sqlite:///full.db", tmp_path)
    opened.ensure_schema()
    return opened


def test_a_disk_that_fills_in_the_middle_of_a_group(sqlite: Database, journal: Journal) -> None:
    """SQLITE_FULL ends the transaction by itself; the small commands pass alone, the large ones fail."""
    with sqlite.write_engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    @event.listens_for(sqlite.write_engine, "connect")
    def _small_disk(dbapi: Any, _record: Any) -> None:
        dbapi.execute(f"PRAGMA max_page_count={pages + 30}")

    sqlite.write_engine.dispose()
    door = Door(sqlite)
    commands = [Put(f"k{n}", journal, size=500_000 if n in (5, 9) else 10) for n in range(20)]
    futures = queued(door, journal, commands)
    expected = {f"k{n}" for n in range(20)} - {"k5", "k9"}
    assert acknowledged(futures) == on_disk(sqlite) == expected
    cause = futures[5].exception()
    assert cause is not None
    assert "full" in str(cause)
    # and it recovers by itself when there is room again
    assert door.submit(Put("k99", journal)).result(WAIT) == "K99"
    door.close()
    sqlite.close()


def test_a_transaction_that_sqlite_left_is_noticed_before_commit(sqlite: Database, journal: Journal) -> None:
    def leave(unit: Unit) -> None:
        unit.execute(text("ROLLBACK"))

    door = Door(sqlite)
    futures = queued(door, journal, [Put("k0", journal), Put("k1", journal, action=leave), Put("k2", journal)])
    assert acknowledged(futures) == on_disk(sqlite) == {"k0", "k2"}
    assert isinstance(futures[1].exception().__cause__, TransactionLost)  # type: ignore[union-attr]
    door.close()
    sqlite.close()


def test_a_locked_sqlite_fails_in_bounded_time_and_recovers(sqlite: Database, journal: Journal) -> None:
    door = Door(sqlite)
    assert sqlite.url.database
    with closing(sqlite3.connect(sqlite.url.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        futures = [door.submit(Put(f"k{n}", journal)) for n in range(20)]
        causes = [future.exception(WAIT) for future in futures]
        assert all(isinstance(cause, CommandFailed) for cause in causes)
        assert all("locked" in str(cause) for cause in causes)
        other.execute("ROLLBACK")
    assert door.submit(Put("k-after", journal)).result(WAIT)
    assert on_disk(sqlite) == {"k-after"}
    door.close()
    sqlite.close()


def test_a_commit_that_fails_acknowledges_nothing(
    door: Door, journal: Journal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = database.write_engine.dialect.do_commit
    fail = [True]

    def do_commit(dbapi: Any) -> None:
        if fail.pop() if fail else False:
            raise OperationalError("COMMIT", {}, Exception("disk I/O error"))
        commit(dbapi)

    held_first = door.submit(Hold(journal))
    assert journal.entered.wait(WAIT)
    futures = [door.submit(Put(f"k{n}", journal)) for n in range(5)]
    monkeypatch.setattr(database.write_engine.dialect, "do_commit", do_commit)
    fail[:] = [True, False]  # taken from the end: the held one commits, the group's COMMIT fails
    journal.gate.set()
    held_first.result(WAIT)
    assert acknowledged(futures) == on_disk(database) == {f"k{n}" for n in range(5)}
    assert [len(run) for run in journal.runs] == [5, 1, 1, 1, 1, 1]
    assert door.statistics.failed_groups == 1


@pytest.mark.peer
def test_a_deadlock_on_postgresql_costs_nobody_a_rating(postgres_url: str, tmp_path: Path) -> None:
    """Two writers update two rows in opposite order: PostgreSQL ends one, whose commands run again alone."""
    databases = [open_database(postgres_url, tmp_path) for _ in range(2)]
    databases[0].ensure_schema()
    journals = [Journal(), Journal()]
    doors = [Door(database) for database in databases]
    doors[0].submit(Put("a", journals[0])).result(WAIT)
    doors[0].submit(Put("b", journals[0])).result(WAIT)
    meet = threading.Barrier(2, timeout=WAIT)
    met = [False, False]

    def lock(which: int, first: str, second: str) -> Callable[[Unit], None]:
        def action(unit: Unit) -> None:
            unit.execute(meta.update().where(meta.c.key == first).values(value="1"))
            if not met[which]:
                met[which] = True
                meet.wait()
            unit.execute(meta.update().where(meta.c.key == second).values(value="2"))

        return action

    futures = [
        doors[0].submit(Put("k0", journals[0], action=lock(0, "a", "b"))),
        doors[1].submit(Put("k1", journals[1], action=lock(1, "b", "a"))),
    ]
    assert acknowledged(futures) == on_disk(databases[0]) == {"k0", "k1"}
    assert sum(door.statistics.failed_groups for door in doors) == 1
    for door, database in zip(doors, databases, strict=True):
        door.close()
        database.close()


@pytest.mark.peer
def test_postgresql_that_goes_away_and_comes_back(postgres_url: str, tmp_path: Path, journal: Journal) -> None:
    database = open_database(postgres_url, tmp_path)
    database.ensure_schema()
    door = Door(database)
    assert door.submit(Put("k0", journal)).result(WAIT)
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    # The group fails on the dead connection; the command's second run finds a living one.
    assert door.submit(Put("k1", journal)).result(WAIT)
    assert on_disk(database) == {"k0", "k1"}
    door.close()
    database.close()


# ── waiters ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_queued_command_can_be_withdrawn_and_a_started_one_stands(
    door: Door, journal: Journal, database: Database
) -> None:
    held = door.submit(Hold(journal))
    assert journal.entered.wait(WAIT)
    futures = [door.submit(Put(f"k{n}", journal)) for n in range(3)]
    assert futures[1].cancel()
    assert not held.cancel()
    journal.gate.set()
    assert futures[0].result(WAIT)
    assert futures[2].result(WAIT)
    assert on_disk(database) == {"k0", "k2"}
    assert door.statistics.withdrawn == 1


def test_a_waiter_that_raises_starves_nobody(door: Door, journal: Journal) -> None:
    woken: list[int] = []

    def wake(number: int) -> Callable[[Future[Any]], None]:
        def woke(_future: Future[Any]) -> None:
            woken.append(number)
            raise RuntimeError("a waiter's own fault")

        return woke

    held = door.submit(Hold(journal))
    assert journal.entered.wait(WAIT)
    futures = [door.submit(Put(f"k{n}", journal)) for n in range(5)]
    for number, future in enumerate(futures):
        future.add_done_callback(wake(number))
    journal.gate.set()
    held.result(WAIT)
    assert door.submit(Put("k-last", journal)).result(WAIT)
    assert woken == [0, 1, 2, 3, 4]


def test_nobody_is_told_success_before_commit(make_door: Callable[..., Door], journal: Journal) -> None:
    seen: list[tuple[str, bool]] = []
    futures: list[Future[Any]] = []
    door = make_door(fault=lambda point: seen.append((point, any(future.done() for future in futures))))
    held = door.submit(Hold(journal))
    assert journal.entered.wait(WAIT)
    futures += [door.submit(Put(f"k{n}", journal)) for n in range(3)]
    journal.gate.set()
    held.result(WAIT)
    for future in futures:
        future.result(WAIT)
    assert seen[4:] == [
        (point, False) for point in ("before-commit", "before-commit-Put", "after-commit", "after-commit-Put")
    ]


def test_what_is_queued_at_the_end_is_written_and_what_comes_later_is_refused(
    database: Database, journal: Journal
) -> None:
    door = Door(database)
    held = door.submit(Hold(journal))
    assert journal.entered.wait(WAIT)
    futures = [door.submit(Put(f"k{n}", journal)) for n in range(100)]
    closing_thread = threading.Thread(target=door.close)
    closing_thread.start()
    journal.gate.set()
    closing_thread.join(WAIT)
    held.result(WAIT)
    assert acknowledged(futures) == on_disk(database) == {f"k{n}" for n in range(100)}
    with pytest.raises(DoorClosed):
        door.submit(Put("late", journal)).result(WAIT)
    with pytest.raises(DoorClosed):
        door.read(lambda connection: 1).result(WAIT)


def test_free_form_writes_and_reads(door: Door, database: Database) -> None:
    written = door.write(lambda unit: bool(unit.execute(meta.insert().values(key="k1", value="v"))))
    assert written.result(WAIT)
    assert (
        door.read(
            lambda connection: connection.execute(select(meta.c.value).where(meta.c.key == "k1")).scalar()
        ).result(WAIT)
        == "v"
    )


def test_the_reading_side_cannot_write(sqlite: Database) -> None:
    door = Door(sqlite)
    failed = door.read(lambda connection: connection.execute(audit.delete())).exception(WAIT)
    assert isinstance(failed, OperationalError)
    door.close()
    sqlite.close()
