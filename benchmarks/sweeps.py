"""The sweeps beside few and beside many open invitations: a tick that finds nothing, what is due, and memory.

Rules it keeps:
- The sweeping process has the server's core; PostgreSQL, a durable one of the benchmark's own, the other. Otherwise it
  runs with its defaults, but for what lets the filling go past its log.
- The bare SQL is what the sweep itself wrote, recorded once and written again by the driver alone, for other rows of
  the same crowd, in the same transactions (`benchmarks.servers.bare_sql`). Sweep and bare SQL take their turns.
- Buffers are those of the statements that a tick executes, by EXPLAIN (ANALYZE, BUFFERS), found in memory or not;
  PostgreSQL plans a prepared statement once, so planning's own are left out.
- What a sweep found or wrote too little ends the measurement.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, bindparam, update

from benchmarks.clients import citizen
from benchmarks.crowd import CASES, INVITATIONS, asked, fill, identity
from benchmarks.invitations import KEY, START
from benchmarks.process import ROOT, BenchError, Cores, Server, percentile, pinned
from models.database import Database, open_database
from models.privacy import Keyring
from models.tables import cases, invitations
from tests.postgres import PostgresServer, postgres_missing

__all__ = ["QUICK", "Beside", "Due", "SweepFigures", "SweepLoad", "load_of", "measure", "postgres_missing"]

LIMIT = 300.0
"""Seconds that one answer of the sweeping process may take."""
DUE_SWEEPS = ("reminders", "defaults")


@dataclass(frozen=True, slots=True)
class SweepLoad:
    """How long the measurements are. `due` × (1 + 2 × `rounds`) rows of the smallest crowd have to be asked ones."""

    few: int = 10_000
    many_sqlite: int = 1_000_000
    many_postgresql: int = 10_000_000
    ticks: int = 100
    rounds: int = 3
    due: int = 20 * 64

    def __post_init__(self) -> None:
        if self.due * (1 + 2 * self.rounds) > asked(self.few):
            raise ValueError(f"{self.few} invitations are too few for {self.rounds} rounds of {self.due} due rows")


QUICK = SweepLoad(many_sqlite=20_000, many_postgresql=50_000, ticks=20, rounds=1)


def load_of(*, quick: bool, crowd: int | None) -> SweepLoad:
    """The usual load, a short one, or one beside `crowd` open invitations at most."""
    load = QUICK if quick else SweepLoad()
    if crowd is None:
        return load
    return replace(load, many_postgresql=max(crowd, load.few), many_sqlite=max(crowd // 10, load.few))


@dataclass(slots=True)
class Due:
    """Due work of one sweep; rows a second, a round each."""

    rows: int
    own: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Round by round."""
        return [own / bare for own, bare in zip(self.own, self.bare, strict=True)]


@dataclass(slots=True)
class Beside:
    """What was measured beside a crowd of one size; times in milliseconds, memory in KiB."""

    count: int
    fill_seconds: float = 0.0
    size_mb: float = 0.0
    idle: dict[str, list[float]] = field(default_factory=dict)
    """A tick that finds nothing, by sweep."""
    idle_after: dict[str, list[float]] = field(default_factory=dict)
    """The same after the due work, before any VACUUM."""
    buffers: dict[str, int] = field(default_factory=dict)
    buffers_after: dict[str, int] = field(default_factory=dict)
    due: dict[str, Due] = field(default_factory=dict)
    resident_kib: int = 0


@dataclass(slots=True)
class SweepFigures:
    """One kind of database."""

    title: str
    few: Beside
    many: Beside

    @property
    def more_resident_mib(self) -> float:
        return (self.many.resident_kib - self.few.resident_kib) / 1024


def measure(load: SweepLoad, cores: Cores, tell: Callable[[str], None]) -> list[SweepFigures]:
    """Both databases, or SQLite alone where there is no PostgreSQL (`postgres_missing` says why)."""
    figures = [_kind("SQLite", load.few, load.many_sqlite, _sqlite, load, cores, tell)]
    if not postgres_missing():
        figures.append(_kind("PostgreSQL", load.few, load.many_postgresql, _postgresql, load, cores, tell))
    return figures


def _kind(
    title: str,
    few: int,
    many: int,
    start: Callable[[Path, Cores], Any],
    load: SweepLoad,
    cores: Cores,
    tell: Callable[[str], None],
) -> SweepFigures:
    measured = []
    for count in (few, many):
        with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as folder, start(Path(folder), cores) as url:
            measured.append(_Crowd(title, url, Path(folder), count, load, cores, tell).measured())
    return SweepFigures(title, *measured)


@contextmanager
def _sqlite(_folder: Path, _cores: Cores) -> Iterator[str]:
    yield "sqlite:///bench.db"


@contextmanager
def _postgresql(_folder: Path, cores: Cores) -> Iterator[str]:
    # A folder of its own: another user than ours reads it.
    with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as own:
        server = PostgresServer(Path(own), settings={"wal_level": "minimal", "max_wal_senders": "0"})
        try:
            with pinned(cores.generator):
                server.start()
            yield server.new_database()
        finally:
            server.stop()


# ── beside one crowd ──────────────────────────────────────────────────────────────────────────────────────────────────


class _Crowd:
    """A database with its crowd, and what is measured in it."""

    def __init__(
        self, title: str, url: str, folder: Path, count: int, load: SweepLoad, cores: Cores, tell: Callable[[str], None]
    ) -> None:
        self.title = title
        self.url = url
        self.folder = folder
        self.load = load
        self.cores = cores
        self.tell = tell
        self.beside = Beside(count)

    def measured(self) -> Beside:
        beside, load = self.beside, self.load
        began = perf_counter()
        database = open_database(self.url, self.folder)
        try:
            database.ensure_schema()
            keyring = database.open_keyring(self.folder / KEY)
            fill(database, beside.count)
            beside.fill_seconds = perf_counter() - began
            beside.size_mb = _size_mb(database)
            self.tell(
                f"{self.title}: {beside.count:,} open invitations in {beside.fill_seconds:.0f} s, "
                f"{beside.size_mb:,.0f} MB"
            )
            with self._sweeper() as sweeper:
                ask(sweeper, "ticks 5")
                beside.idle = ask(sweeper, f"ticks {load.ticks}")
                beside.buffers = self._buffers(database, sweeper)
                self._say_idle("nothing due", beside.idle, beside.buffers)
                for name in DUE_SWEEPS:
                    beside.due[name] = self._due(name, database, keyring, sweeper)
                beside.idle_after = ask(sweeper, f"ticks {load.ticks}")
                beside.buffers_after = self._buffers(database, sweeper)
                self._say_idle("nothing due any more", beside.idle_after, beside.buffers_after)
                beside.resident_kib = int(ask(sweeper, "memory")["HWM"])
                self.tell(f"{self.title}: at most {beside.resident_kib / 1024:.1f} MiB resident")
        finally:
            database.close()
        return beside

    def _sweeper(self) -> Server:
        argv = (sys.executable, "-m", "benchmarks.servers.sweeper", self.url, str(self.folder))
        return Server(argv, self.cores.server, talks=True)

    def _say_idle(self, what: str, times: dict[str, list[float]], buffers: dict[str, int]) -> None:
        for name, values in times.items():
            found = f", {buffers[name]} buffers" if buffers else ""
            self.tell(
                f"{self.title}, {self.beside.count:,}: {what}: {name} p50 {percentile(values, 50):.1f} ms, "
                f"p99 {percentile(values, 99):.1f} ms{found}"
            )

    # ── buffers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _buffers(self, database: Database, sweeper: Server) -> dict[str, int]:
        """Of a tick of each sweep; empty for SQLite, which does not tell."""
        if database.is_sqlite:
            return {}
        file = self.folder / "reads"
        ask(sweeper, f"reads {file}")
        with database.read_engine.connect() as connection:
            return {
                name: sum(_blocks(connection, statement, parameters) for statement, parameters in statements)
                for name, statements in pickle.loads(file.read_bytes()).items()
            }

    # ── due work ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _due(self, name: str, database: Database, keyring: Keyring, sweeper: Server) -> Due:
        """One recorded run, then rounds in which the sweep and the bare SQL begin in turn."""
        due, file = Due(self.load.due), self.folder / f"recorded-{name}"
        self._make_due(name, 0, database, keyring)
        self._whole(ask(sweeper, f"record {name} {file}"))
        for number in range(1, self.load.rounds + 1):
            for part in (0, 1) if number % 2 else (1, 0):
                first = (2 * number - 1 + part) * due.rows
                self._make_due(name, first, database, keyring)
                if part == 0:
                    due.own.append(due.rows / self._whole(ask(sweeper, f"work {name}")))
                else:
                    due.bare.append(due.rows / self._bare(file, first))
            self.tell(
                f"{self.title}, {self.beside.count:,}: round {number}: {name} {due.own[-1]:,.0f} rows a second, "
                f"bare SQL {due.bare[-1]:,.0f}, ratio {due.ratios[-1]:.2f}"
            )
        return due

    def _whole(self, done: dict[str, float]) -> float:
        if done["rows"] != self.load.due:
            raise BenchError(f"{done['rows']:g} rows were worked off instead of {self.load.due}")
        return done["seconds"]

    def _make_due(self, name: str, first: int, database: Database, keyring: Keyring) -> None:
        numbers = range(first, first + self.load.due)
        with database.write_engine.begin() as connection:
            if name == "reminders":
                connection.execute(_REMIND, [_reminder(number, keyring) for number in numbers])
            else:
                then = START - timedelta(hours=3)
                connection.execute(
                    _DEFAULT,
                    [{"subject": identity(CASES, one), "at": then + timedelta(milliseconds=one)} for one in numbers],
                )

    def _bare(self, file: Path, first: int) -> float:
        argv = [sys.executable, "-m", "benchmarks.servers.bare_sql", self.url, str(file), str(first)]
        with pinned(self.cores.server):
            done = subprocess.run(
                argv, cwd=ROOT, input="go\n", capture_output=True, text=True, timeout=LIMIT, check=False
            )
        for line in done.stdout.splitlines():
            if line.startswith("done "):
                return float(line.split()[1])
        raise BenchError(f"the bare SQL failed:\n{done.stderr[-2000:]}")


_REMIND = (
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(
        remind_at=bindparam("at"),
        number_sealed=bindparam("sealed"),
        number_hash=bindparam("hash"),
        number_tail=bindparam("tail"),
        number_key_id=bindparam("key"),
    )
)
_DEFAULT = (
    update(cases)
    .where(cases.c.subject_id == bindparam("subject"))
    .values(deadline=bindparam("at"), default_at=bindparam("at"))
)


def _reminder(number: int, keyring: Keyring) -> dict[str, object]:
    """Due a minute ago, of a number that can be opened: whose it is decides on the link."""
    sealed = keyring.seal("+" + citizen(number))
    return {
        "invitation": identity(INVITATIONS, number),
        "at": START - timedelta(minutes=1) + timedelta(milliseconds=number % 10_000),
        "sealed": sealed.sealed,
        "hash": sealed.hash,
        "tail": sealed.tail,
        "key": sealed.key_id,
    }


def ask(sweeper: Server, line: str) -> dict[str, Any]:
    """What the sweeping process answers."""
    sweeper.forget()
    sweeper.tell(line)
    found: dict[str, Any] = json.loads(sweeper.wait_for(r"^answer (.*)$", LIMIT)[1])
    return found


def _size_mb(database: Database) -> float:
    if database.is_sqlite:
        return Path(str(database.url.database)).stat().st_size / 1e6
    with database.read_engine.connect() as connection:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return float(size) / 1e6


def _blocks(connection: Connection, statement: str, parameters: Any) -> int:
    """Buffers that executing it takes, in memory or not. Nothing is kept of it."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
    [found] = connection.exec_driver_sql(explain, parameters or None).scalar_one()
    connection.rollback()
    plan = found["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
