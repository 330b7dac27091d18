"""The one door to the database: commands in, a future out, and nobody is told success before COMMIT has returned.

Rules kept here:

1. Every write is a command of frozen rows, queued to one writer thread of the process, in the order of `Priority`:
   calls, inbound SMS, push results, sweeps (one sweep a group).
2. The writer gathers: up to `GATHER` seconds after the first command (not at all when the last group held one), at most
   `GROUP` commands, into one explicit transaction. Commands of one kind run together, in bulk.
3. A group that fails in any way (full disk, I/O error, busy, deadlock, failed COMMIT) is rolled back, and each of its
   commands runs once more, alone. A command therefore touches nothing but its unit of work, and may run twice.
4. Whether the database is still inside our transaction is looked at after each step and before COMMIT: SQLite leaves it
   by itself when the disk is full, and COMMIT then succeeds with half a group.
5. A command that is still queued can be withdrawn by `future.cancel()`; one that has started stands if it commits.
6. Each waiter is woken under its own try.
7. What a group changes in the figures is gathered in its unit (models/rollups.py) and stored once, before COMMIT, to
   rows that carry the writer's number.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from operator import itemgetter
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

import structlog
from sqlalchemy import Connection, Dialect, Executable, LargeBinary, Table, UpdateBase
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import OperationalError

from models.database import Database
from models.errors import CommandFailed, DoorClosed, StoreError, TransactionLost
from models.rollups import Deltas
from models.tables import Id, UtcTime, rollup_days, rollup_hours, rollup_reasons

__all__ = ["Bulk", "Command", "Door", "DoorStatistics", "Many", "Priority", "Unit"]

GATHER = 0.005
GROUP = 64
CLOSE_SECONDS = 20.0
"""How long the end may wait for the database. SQLite and PostgreSQL give up sooner by themselves."""

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
log = structlog.get_logger(__name__)


class Priority(IntEnum):
    CALL = 0
    INBOUND = 1
    PUSH = 2
    SWEEP = 3


_Prepared = tuple[str, list[tuple[int, Callable[[Any], Any]]]]


class Bulk:
    """One prepared INSERT of a table for tuples, in the order of `columns`; several times faster than `insert()`."""

    def __init__(self, table: Table, columns: Sequence[str] | None = None) -> None:
        self.table = table
        self.columns = tuple(columns or (column.name for column in table.columns))
        self._ready: dict[str, _Prepared] = {}

    def prepare(self, dialect: Dialect) -> _Prepared:
        """The statement for a database, and which places of a row want a conversion."""
        ready = self._ready.get(dialect.name)
        if ready is None:
            mark = "?" if dialect.paramstyle == "qmark" else "%s"
            names = ", ".join(dialect.identifier_preparer.quote(name) for name in self.columns)
            statement = (
                f"INSERT INTO {dialect.identifier_preparer.quote(self.table.name)} ({names})"  # noqa: S608 (our names)
                f" VALUES ({', '.join([mark] * len(self.columns))})"
            )
            processors: list[tuple[int, Callable[[Any], Any]]] = []
            for place, name in enumerate(self.columns):
                kind = self.table.c[name].type
                processor = kind.dialect_impl(dialect).bind_processor(dialect)
                # Both drivers take bytes as they are, and ids are made in the form that is stored.
                if processor is not None and not isinstance(kind, LargeBinary | Id):
                    fast = isinstance(kind, UtcTime) and dialect.name == "sqlite"
                    processors.append((place, _sqlite_time if fast else processor))
            ready = self._ready[dialect.name] = (statement, processors)
        return ready


class _Adding(Bulk):
    """An INSERT that adds to the counts of the row that is there."""

    def prepare(self, dialect: Dialect) -> _Prepared:
        known = self._ready.get(dialect.name)
        if known is None:
            statement, processors = super().prepare(dialect)
            table = dialect.identifier_preparer.quote(self.table.name)
            keys = ", ".join(column.name for column in self.table.primary_key.columns)
            sums = ", ".join(
                f"{column.name} = {table}.{column.name} + excluded.{column.name}"
                for column in self.table.columns
                if not column.primary_key
            )
            known = self._ready[dialect.name] = (
                f"{statement} ON CONFLICT ({keys}) DO UPDATE SET {sums}",
                processors,
            )
        return known


_ADDING = {table: _Adding(table) for table in (rollup_days, rollup_hours, rollup_reasons)}


class _Times:
    """Times as SQLite's text, each moment converted once: the rows of a group share a few `now`s among many columns."""

    def __init__(self) -> None:
        self._seen: dict[datetime, str] = {}

    def __call__(self, value: datetime) -> str:
        text = self._seen.get(value)
        if text is None:
            if value.tzinfo is None:
                raise ValueError("a time without offset cannot be stored; use an aware datetime")
            text = value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
            if len(self._seen) >= 4 * GROUP:
                self._seen.clear()
            self._seen[value] = text
        return text


_sqlite_time = _Times()


@dataclass(frozen=True, slots=True)
class _Filled:
    """A statement compiled for one kind of database, and how its parameters come from a row of ours.

    `fixed`: values of the statement's own, put behind our row; `pick`: from both, in the order of the driver's.
    """

    text: str
    fixed: tuple[Any, ...]
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    processors: tuple[tuple[int, Callable[[Any], Any]], ...]
    names: tuple[str, ...] | None


class Many:
    """One UPDATE or DELETE for many rows of parameters: a SQLAlchemy statement with `bindparam`s, compiled once.

    Args:
        names: the order in which a row of `Unit.many` gives the parameters.
    """

    def __init__(self, statement: UpdateBase, names: Sequence[str]) -> None:
        self.statement = statement
        self.names = tuple(names)
        self._ready: dict[str, _Filled] = {}

    def rows(self, dialect: Dialect, rows: Sequence[tuple[Any, ...]]) -> tuple[str, list[Any]]:
        """The statement's text and its parameters as the driver wants them."""
        ready = self._ready.get(dialect.name)
        if ready is None:
            ready = self._ready[dialect.name] = self._prepare(dialect)
        fixed, pick, processors = ready.fixed, ready.pick, ready.processors
        filled: list[Any] = []
        for row in rows:
            values = row + fixed
            if processors:
                changed = list(values)
                for place, processor in processors:
                    if (value := changed[place]) is not None:
                        changed[place] = processor(value)
                values = tuple(changed)
            filled.append(pick(values))
        if ready.names is not None:
            filled = [dict(zip(ready.names, values, strict=True)) for values in filled]
        return ready.text, filled

    def _prepare(self, dialect: Dialect) -> _Filled:
        compiled: Any = self.statement.compile(dialect=dialect)
        names = tuple(compiled.positiontup if compiled.positional else compiled.params)
        places: list[int] = []
        fixed: list[Any] = []
        processors: dict[int, Callable[[Any], Any]] = {}
        for name in names:
            process = compiled._bind_processors.get(name)
            kind = compiled.binds[name].type
            if isinstance(kind, LargeBinary | Id):
                process = None
            elif isinstance(kind, UtcTime) and dialect.name == "sqlite":
                process = _sqlite_time
            if name in self.names:
                place = self.names.index(name)
                if process is not None:
                    processors[place] = process
            else:
                place = len(self.names) + len(fixed)
                value = compiled.params[name]
                fixed.append(value if process is None or value is None else process(value))
            places.append(place)
        return _Filled(
            compiled.string,
            tuple(fixed),
            _picker(places),
            tuple(processors.items()),
            None if compiled.positional else names,
        )


def _picker(places: Sequence[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[place] for place in places)


class Unit:
    """The unit of work of one group: everything a command may touch."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect
        self._raw: Any = connection.connection.dbapi_connection
        self.is_sqlite = connection.dialect.name == "sqlite"
        self._begun = False
        self.deltas = Deltas()
        """What the group changes in the figures; each command notes its own."""

    def check(self) -> None:
        """Raises TransactionLost where the database has left our transaction (rule 4).

        On PostgreSQL the driver begins with the first statement; before it there is nothing to leave.
        """
        inside = self._raw.in_transaction if self.is_sqlite else self._raw.info.transaction_status == 2
        if not inside and (self.is_sqlite or self._begun):
            raise TransactionLost("the database ended the transaction by itself")

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    def fetch(self, text: str, parameters: Any) -> Sequence[Any]:
        """The driver's own rows, for `models.reads.Read`."""
        result: Any = self._connection.exec_driver_sql(text, parameters)
        rows: Sequence[Any] = result.cursor.fetchall()
        result.close()
        self._begun = True
        self.check()
        return rows

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """A SQLAlchemy statement, for reads and for rare writes."""
        result = self._connection.execute(statement, parameters)
        self._begun = True
        self.check()
        return cast("CursorResult[Any]", result)

    def insert(self, bulk: Bulk, rows: list[tuple[Any, ...]]) -> None:
        """Rows in the order of the bulk's columns, as one prepared statement."""
        if not rows:
            return
        statement, processors = bulk.prepare(self._dialect)
        if processors:
            converted = []
            for row in rows:
                values = list(row)
                for place, processor in processors:
                    if (value := values[place]) is not None:
                        values[place] = processor(value)
                converted.append(tuple(values))
            rows = converted
        self._connection.exec_driver_sql(statement, rows)
        self._begun = True
        self.check()

    def many(self, many: Many, rows: Sequence[tuple[Any, ...]]) -> None:
        """One statement for many rows of parameters, in the order of the statement's names."""
        if rows:
            self._connection.exec_driver_sql(*many.rows(self._dialect, rows))
            self._begun = True
            self.check()

    def settle(self, writer: Callable[[], int]) -> None:
        """Stores what was gathered for the figures (rule 7). `writer`: the number of who writes."""
        if self.deltas:
            for table, rows in self.deltas.rows(writer()):
                self.insert(_ADDING[table], rows)


class Command(Protocol[R_co]):
    """A write. `run` gets every command of its kind in the group and gives their results in the same order."""

    priority: ClassVar[Priority]

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[R_co]: ...


@dataclass(frozen=True, slots=True)
class _Function(Generic[R]):
    """A free-form write, for rare work."""

    function: Callable[[Unit], R]
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[_Function[R]]) -> Sequence[R]:
        return [command.function(unit) for command in commands]


@dataclass(slots=True)
class DoorStatistics:
    """Counts since the start; `seconds` are spent from BEGIN to the end of COMMIT."""

    groups: int = 0
    commands: int = 0
    failed_groups: int = 0
    failed_commands: int = 0
    withdrawn: int = 0
    seconds: float = 0.0


class _Job(Generic[R]):
    __slots__ = ("command", "future")

    def __init__(self, command: Command[R]) -> None:
        self.command = command
        self.future: Future[R] = Future()


FaultPoint = Callable[[str], None]
"""Called with the name of a point on the way; tests end the process there. Nothing in production."""


def _no_fault(_point: str) -> None:
    return None


class Door:
    """Commands are written by one thread, reads run on a small pool.

    Args:
        observe: told (commands in the group, seconds from BEGIN to COMMIT) after each committed group.
        fault: a fault point's switch, for tests only; called before and after the COMMIT of a group: `before-commit`
            and `after-commit` where it holds calls, and `before-commit-StoreInbound`, … of each kind of command.
    """

    def __init__(
        self,
        database: Database,
        *,
        observe: Callable[[int, float], None] | None = None,
        fault: FaultPoint = _no_fault,
    ) -> None:
        self.database = database
        self.statistics = DoorStatistics()
        self._observe = observe
        self._fault = fault
        self._queues: tuple[deque[_Job[Any]], ...] = tuple(deque() for _ in Priority)
        self._condition = threading.Condition()
        self._idle = False
        self._full = GROUP
        self._closing = False
        self._last_group = 1
        self._connection: Connection | None = None
        self._writer: int | None = None
        self._at_close: list[Callable[[], None]] = []
        self._readers = ThreadPoolExecutor(database.readers, thread_name_prefix="huiyin-read")
        self._thread = threading.Thread(target=self._run, name="huiyin-write", daemon=True)
        self._thread.start()

    # ── for everybody ─────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, command: Command[R]) -> Future[R]:
        """Queues a command. The future holds its result once it is committed; `cancel()` withdraws it while queued.

        Raises (from the future):
            CommandFailed: it failed in its group and again alone.
            DoorClosed: the process is ending.
        """
        job = _Job(command)
        with self._condition:
            if self._closing:
                job.future.set_exception(DoorClosed("Huiyin is stopping; nothing more is written"))
                return job.future
            self._queues[command.priority].append(job)
            if self._idle or self._waiting() >= self._full:
                self._condition.notify()
        return job.future

    def write(self, function: Callable[[Unit], R]) -> Future[R]:
        """A free-form write in a group of its own kind, behind everything else. It may run twice."""
        return self.submit(_Function(function))

    def read(self, function: Callable[[Connection], R]) -> Future[R]:
        """Runs a read on the pool, in a read transaction of its own."""

        def run() -> R:
            with self.database.read_engine.connect() as connection:
                return function(connection)

        try:
            return self._readers.submit(run)
        except RuntimeError:
            refused: Future[R] = Future()
            refused.set_exception(DoorClosed("Huiyin is stopping; nothing more is read"))
            return refused

    def waiting(self) -> int:
        """Commands queued and not yet started."""
        with self._condition:
            return self._waiting()

    def at_close(self, function: Callable[[], None]) -> None:
        """Something that reads beside the door and ends with it."""
        self._at_close.append(function)

    def close(self) -> None:
        """Writes what is queued, then ends everything. Blocks until the last group is committed, or CLOSE_SECONDS."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.error("the database holds up the end; what it has not taken is not written", waiting=self.waiting())
        for function in self._at_close:
            function()
        self._readers.shutdown(wait=not self._thread.is_alive(), cancel_futures=True)

    # ── the writer thread ─────────────────────────────────────────────────────────────────────────────────────────────

    def _waiting(self) -> int:
        return sum(map(len, self._queues))

    def _run(self) -> None:
        while (group := self._gather()) is not None:
            started = [job for job in group if job.future.set_running_or_notify_cancel()]
            self.statistics.withdrawn += len(group) - len(started)
            if started:
                self._perform(started)
            del group, started
        self._drop_connection()

    def _gather(self) -> list[_Job[Any]] | None:
        with self._condition:
            while not self._waiting():
                if self._closing:
                    return None
                self._idle = True
                self._condition.wait()
                self._idle = False
            if self._last_group > 1 and not self._closing:
                end = time.monotonic() + GATHER
                while self._waiting() < GROUP and (left := end - time.monotonic()) > 0:
                    self._condition.wait(left)
            group: list[_Job[Any]] = []
            for priority, queue in zip(Priority, self._queues, strict=True):
                room = GROUP - len(group) if priority is not Priority.SWEEP else min(1, GROUP - len(group))
                for _ in range(min(room, len(queue))):
                    group.append(queue.popleft())
            self._last_group = len(group)
            return group

    def _perform(self, group: list[_Job[Any]]) -> None:
        try:
            results = self._transaction([job.command for job in group])
        except Exception as error:  # noqa: BLE001 (whatever it was, each command gets its second run alone)
            self.statistics.failed_groups += 1
            log.warning("group failed", commands=len(group), cause=_short(error))
            self._perform_alone(group)
            return
        for job, result in zip(group, results, strict=True):
            _wake(job, result)

    def _perform_alone(self, group: list[_Job[Any]]) -> None:
        """Rule 3. Once a busy database has let one command wait in vain, the others of the group do not wait again."""
        patient = True
        for job in group:
            try:
                [result] = self._transaction([job.command], patient=patient)
            except Exception as error:  # noqa: BLE001 (it goes to the waiter, whole)
                patient = patient and not _is_busy(error)
                self.statistics.failed_commands += 1
                log.error("command failed", command=type(job.command).__name__, cause=_short(error))
                failure = CommandFailed(f"{type(job.command).__name__} could not be written: {_short(error)}")
                failure.__cause__ = error
                _wake_failed(job, failure)
            else:
                _wake(job, result)

    def _transaction(self, commands: list[Command[Any]], *, patient: bool = True) -> list[Any]:
        """One explicit transaction. The results are in the order of the commands."""
        began = time.perf_counter()
        try:
            connection = self._connection
            if connection is None:
                connection = self._connection = self.database.write_engine.connect()
            if not patient and self.database.is_sqlite:
                raw: Any = connection.connection.dbapi_connection
                raw.execute("PRAGMA busy_timeout=0")
            transaction = connection.begin()
            if not patient and not self.database.is_sqlite:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 1")
            unit = Unit(connection)
            results: list[Any] = [None] * len(commands)
            for kind, places in _by_kind(commands):
                answers = kind.run(unit, [commands[place] for place in places])
                unit.check()
                for place, answer in zip(places, answers, strict=True):
                    results[place] = answer
            unit.settle(self._number)
            unit.check()
            self._pass("before-commit", commands)
            transaction.commit()
        except BaseException:
            self._drop_connection()
            raise
        self._pass("after-commit", commands)
        if not patient:
            self._drop_connection()
        spent = time.perf_counter() - began
        self.statistics.groups += 1
        self.statistics.commands += len(commands)
        self.statistics.seconds += spent
        if self._observe is not None:
            try:
                self._observe(len(commands), spent)
            except Exception as error:  # noqa: BLE001 (it is committed: no word of an observer makes it run again)
                log.error("observer raised", cause=_short(error))
        return results

    def _pass(self, point: str, commands: Sequence[Command[Any]]) -> None:
        """A fault point: by its name for a group with calls, and with each kind of command in the group behind it."""
        if self._fault is _no_fault:
            return
        if commands[0].priority is Priority.CALL:
            self._fault(point)
        for kind in dict.fromkeys(map(type, commands)):
            self._fault(f"{point}-{kind.__name__}")

    def _number(self) -> int:
        """This writer's number, held with its connection: the smallest that no other connection has.

        Were two ever to have the same, they would wait for each other and count no less: a row is only added to.
        """
        if self._writer is None:
            assert self._connection is not None
            self._writer = self.database.take_writer_number(self._connection)
        return self._writer

    def _drop_connection(self) -> None:
        """Rolls back and closes: whatever state the driver is in, the next group begins with a new connection."""
        connection, self._connection = self._connection, None
        self._writer = None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except Exception as error:  # noqa: BLE001 (a broken connection may fail to close, too)
                log.warning("connection did not close", cause=_short(error))


def _by_kind(commands: Sequence[Command[Any]]) -> Iterable[tuple[type[Command[Any]], list[int]]]:
    """The places of the commands of each kind, kinds in the order of first appearance."""
    places: dict[type[Command[Any]], list[int]] = {}
    for place, command in enumerate(commands):
        places.setdefault(type(command), []).append(place)
    return places.items()


def _wake(job: _Job[Any], result: Any) -> None:
    try:
        job.future.set_result(result)
    except Exception as error:  # noqa: BLE001 (rule 6: one waiter that raises must not starve the others)
        log.error("waiter raised", cause=_short(error))


def _wake_failed(job: _Job[Any], failure: Exception) -> None:
    try:
        job.future.set_exception(failure)
    except Exception as error:  # noqa: BLE001 (as above)
        log.error("waiter raised", cause=_short(error))


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, OperationalError) and any(
        word in str(error.orig) for word in ("locked", "lock timeout", "statement timeout")
    )


_NAMES_NO_VALUE = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""Classes of PostgreSQL's errors whose sentence is about connection, transaction, lock, disk or shutdown. Those about
data (22), constraints (23) or a function's own may quote what was to be stored."""


def _short(error: BaseException) -> str:
    """The kind of an error, and what helps to find it that can hold no value: a number, a name, a citizen's words.

    A database's sentence where it is about the database; of errors in data the names of table, column and constraint;
    of any other error its place, for its words may be anything.
    """
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}{_without_values(cause)}"[:200]


def _without_values(cause: BaseException) -> str:
    if isinstance(cause, StoreError):
        return f": {cause}"
    if isinstance(cause, OSError):
        return f": {cause.strerror}" if cause.strerror else ""
    if isinstance(cause, sqlite3.OperationalError | sqlite3.IntegrityError):
        return f": {_first_line(str(cause))}"
    diag: Any = getattr(cause, "diag", None)
    if diag is not None and diag.sqlstate is not None:
        if diag.sqlstate[:2] in _NAMES_NO_VALUE:
            return f": {_first_line(diag.message_primary or '')} ({diag.sqlstate})"
        names = [name for name in (diag.table_name, diag.column_name, diag.constraint_name) if name]
        return f": {' '.join([diag.sqlstate, *names])}"
    if diag is not None and type(cause).__name__ == "OperationalError":  # there was no answer: the driver's own words
        return f": {_first_line(str(cause))}"
    steps = traceback.extract_tb(cause.__traceback__)
    return f" in {os.path.basename(steps[-1].filename)}, line {steps[-1].lineno}" if steps else ""


def _first_line(words: str) -> str:
    return words.partition("\n")[0]
