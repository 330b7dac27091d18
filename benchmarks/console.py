"""The console beside three years of a hotline: its pages, its live boards, and an export while calls go on.

`python -m benchmarks.console URL FOLDER COUNT [pages,boards,export]` measures beside a record that
`benchmarks.hotline_years` has made, and prints what it finds; `python -m benchmarks` makes the record first.

Rules it keeps:
- `huiyin serve` runs as it is installed, with all its roles, and has the server's core, the child that exports
  included; who asks and the callers have the other, and so has PostgreSQL, a durable one of the benchmark's own that
  runs with its defaults, but for what lets the filling go past its log.
- A page is asked for over HTTP by somebody who is logged in, on a connection that stays open. Its time ends with its
  last byte, of a refusal (503: the database took too long) too. Anything else than these and 200 ends the measurement.
- Of each filter there are common values, rare ones and absent ones, and of the ranges near ones, far ones and whole
  ones. Each is asked for some times, and the slowest then as often as its figure says: that one is kept.
- CPU of the boards is that of the serving process and its children while callers rate, with boards minus without, in
  turn. A call's p99 with an export minus without likewise, in the same minute. An export that ends before its calls
  do, or has other rows than it should, ends the measurement.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

from benchmarks import hotline_years
from benchmarks.invitations import KEY
from benchmarks.process import BenchError, Cores, Server, cpu_seconds, generate, percentile, pinned
from config.values import Address
from console.pages.shell import SESSION_COOKIE
from console.passwords import Passwords
from console.people import add_user, find_user
from console.sessions import SessionRules, open_session
from console.viewer import ConsoleRole
from models.clock import SHANGHAI
from models.database import Database, open_database
from models.privacy import Keyring
from tests.console.browser import Browser
from tests.postgres import PostgresServer, postgres_missing

__all__ = [
    "QUICK",
    "Boards",
    "ConsoleFigures",
    "ConsoleLoad",
    "Exporting",
    "Pages",
    "load_of",
    "measure",
    "postgres_missing",
]

_PASSWORD = "Klee+Blatt-7"
_USER = "bench"
_LIFE = SessionRules(timedelta(hours=2), timedelta(hours=12))
BOARD_MS, PAGE_MS, PAIR_MS = 100.0, 200.0, 1000.0
PATIENCE_MS = 40_000.0
"""A page is not asked for any more once it has taken so long altogether."""
EXPORT_LIMIT = 1_800.0
"""Seconds that an export may take."""


@dataclass(frozen=True, slots=True)
class ConsoleLoad:
    """How much is measured.

    Attributes:
        sqlite, postgresql: effective evaluations.
        requests: of a page; of a pair of filters `pair_requests`; `probes`: of each value before.
        boards: open at once. ratings: a second, of which one in ten is bad; then all of them.
        seconds: of each half of a round, with and without.
        rows: of an export.
        every: of pairs, their addresses and those of sorted filters only each so many-th; above 1 two values of each.
    """

    sqlite: int = 1_000_000
    postgresql: int = 10_000_000
    requests: int = 100
    pair_requests: int = 20
    probes: int = 12
    pair_probes: int = 3
    boards: int = 200
    ratings: float = 20.0
    seconds: float = 30.0
    rounds: int = 3
    rows: int = 1_000_000
    every: int = 1


QUICK = ConsoleLoad(5_000, 10_000, 2, 1, 1, 1, 10, 20.0, 1.0, 1, 2_000, 11)


def load_of(*, quick: bool, crowd: int | None) -> ConsoleLoad:
    """The usual load, a short one, or one beside `crowd` evaluations (SQLite: a tenth)."""
    load = QUICK if quick else ConsoleLoad()
    if crowd is None:
        return load
    return replace(load, postgresql=crowd, sqlite=max(crowd // 10, 10_000), rows=min(load.rows, crowd // 20))


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of one kind; milliseconds. `slowest`: the address whose figure this is. `limit` 0: none."""

    title: str
    addresses: int
    requests: int
    p50: float
    p95: float
    limit: float
    slowest: str


@dataclass(slots=True)
class Boards:
    """Parts of a core, round by round."""

    title: str
    boards: int
    ratings: float
    without: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)
    """A second and board, most of all boards."""
    kib: list[float] = field(default_factory=list)
    """A second, of all boards."""

    @property
    def more(self) -> float:
        return median(with_ - without for with_, without in zip(self.beside, self.without, strict=True))


@dataclass(slots=True)
class Exporting:
    """Calls with and without an export of one form; milliseconds, round by round."""

    form: str
    rows: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0
    without: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    @property
    def more(self) -> float:
        return median(with_ - without for with_, without in zip(self.beside, self.without, strict=True))


@dataclass(slots=True)
class ConsoleFigures:
    """One kind of database."""

    title: str
    filled: hotline_years.Filled
    pages: list[Pages] = field(default_factory=list)
    boards: list[Boards] = field(default_factory=list)
    exports: list[Exporting] = field(default_factory=list)


def measure(load: ConsoleLoad, cores: Cores, tell: Callable[[str], None]) -> list[ConsoleFigures]:
    """Both databases, or SQLite alone where there is no PostgreSQL (`postgres_missing` says why)."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as folder:
        figures.append(_beside("SQLite", "sqlite:///bench.db", Path(folder), load.sqlite, load, cores, tell, []))
    if not postgres_missing():
        # A folder of its own: another user than ours reads it.
        with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as own, tempfile.TemporaryDirectory() as folder:
            settings = {"wal_level": "minimal", "max_wal_senders": "0"}
            server = PostgresServer(Path(own), settings=settings)
            try:
                server.start()  # fills on both cores
                url = server.new_database()
                pin = [lambda: _pin_tree(server, cores.generator)]
                figures.append(_beside("PostgreSQL", url, Path(folder), load.postgresql, load, cores, tell, pin))
            finally:
                server.stop()
    return figures


def _pin_tree(server: PostgresServer, core: int) -> None:
    """What is filled is written, and every process of the server goes to one core."""
    server.psql("CHECKPOINT")
    process = server._process
    assert process is not None
    for pid in (process.pid, *_descendants(process.pid)):
        os.sched_setaffinity(pid, {core})


def _beside(
    title: str,
    url: str,
    folder: Path,
    count: int,
    load: ConsoleLoad,
    cores: Cores,
    tell: Callable[[str], None],
    then: Sequence[Callable[[], None]],
) -> ConsoleFigures:
    database = open_database(url, folder)
    today = _today()
    try:
        database.ensure_schema()
        keyring = database.open_keyring(folder / KEY)
        filled = hotline_years.fill(database, keyring, count, today, tell)
        tell(f"{title}: {count:,} evaluations in {filled.seconds:.0f} s, {filled.size_mb:,.0f} MB")
        for step in then:
            step()
        return Console(title, database, keyring, folder, filled, load, cores, tell).measured()
    finally:
        database.close()


def _today() -> date:
    return datetime.now(UTC).astimezone(SHANGHAI).date()


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found += [child, *_descendants(child)]
    return found


def _cpu_of_tree(pid: int) -> float:
    total = cpu_seconds(pid)
    for child in _descendants(pid):
        try:
            total += cpu_seconds(child)
        except OSError:
            continue
    return total


# ── beside one record ─────────────────────────────────────────────────────────────────────────────────────────────────


class Console:
    """A filled database, `huiyin serve` on it, and what is measured there."""

    def __init__(
        self,
        title: str,
        database: Database,
        keyring: Keyring,
        folder: Path,
        filled: hotline_years.Filled,
        load: ConsoleLoad,
        cores: Cores,
        tell: Callable[[str], None],
    ) -> None:
        self.title = title
        self.database = database
        self.keyring = keyring
        self.folder = folder
        self.load = load
        self.cores = cores
        self.tell = tell
        self.figures = ConsoleFigures(title, filled)
        self.count = filled.count
        self.today = _today()
        self.calls_made = int(time.time()) % 1_000_000 * 100
        """The numbers of calls go on from run to run."""

    def measured(self, parts: Sequence[str] = ("pages", "boards", "export")) -> ConsoleFigures:
        self._make_user()
        with self._server() as server:
            web = int(server.wait_for(r"\(console\.listen\) on 127\.0\.0\.1:(\d+)")[1])
            with pinned(self.cores.generator):
                site = Site(web)
                if "pages" in parts:
                    self._pages(site)
                if "boards" in parts:
                    for bad, title in ((0.1, "one in ten bad"), (1.0, "all bad")):
                        self.figures.boards.append(self._boards(title, bad, server, web))
                if "export" in parts:
                    for form in ("csv", "xlsx"):
                        self.figures.exports.append(self._export(form, server, site))
        return self.figures

    def _make_user(self) -> None:
        hashed = Passwords().hash(_PASSWORD)
        with self.database.write_engine.begin() as connection:
            if find_user(connection, _USER) is None:
                now = datetime.now(UTC)
                add_user(connection, now, _USER, ConsoleRole.SUPERVISOR, hashed, actor="command_line")

    def _server(self) -> Server:
        url = self.database.url.render_as_string(hide_password=False)
        configuration = (
            f'[database]\nurl = "{url}"\n[ivr]\nlisten = "127.0.0.1:0"\n[console]\nlisten = "127.0.0.1:0"\n'
            f'export_rows = {self.load.rows}\n[privacy]\nkey_file = "{self.folder / KEY}"\n[log]\nlevel = "warning"\n'
        )
        argv = (sys.executable, "-c", "from server.cli import main; main()", "serve", "-c", "{folder}/huiyin.toml")
        ready = r"\(ivr\.listen\) on 127\.0\.0\.1:(\d+)"
        return Server(argv, self.cores.server, files={"huiyin.toml": configuration}, ready=ready)

    # ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _pages(self, site: Site) -> None:
        load = self.load
        values, ranges = self._values(), self._ranges()
        if load.every > 1:
            values = {name: some[:2] for name, some in values.items()}
        far = ("two years ago", "three years")
        self._kept("board", ["/"], site, BOARD_MS)
        self._kept("ratings, no filter", ["/ratings"], site, PAGE_MS)
        self._kept("ratings, a range alone", [_ratings(one) for one in ranges.values()], site, PAGE_MS)
        for name, some in values.items():
            self._kept(f"ratings, {name}", [_ratings(one) for one in some], site, PAGE_MS)
            within = [_ratings(one, ranges[name_]) for one in some if "hour" not in one for name_ in far]
            if within:
                self._kept(f"ratings, {name} in a range", within, site, PAGE_MS)
        sorts = [{"sort": sort} for sort in ("oldest", "worst", "best")]
        self._kept(
            "ratings, sorted", [_ratings(*one) for one in itertools.product(sorts, ranges.values())], site, PAGE_MS
        )
        named = [one for some in values.values() for one in some if "hour" not in one]
        sorted_ = [_ratings(one, sort, ranges[name]) for one in named for sort in sorts for name in far][:: load.every]
        self._kept("ratings, a filter in a range, sorted", sorted_, site, PAGE_MS, probes=load.pair_probes)
        self._kept("ratings, further pages", self._further(site, values, ranges["three years"]), site, PAGE_MS)
        pairs: list[Pages] = []
        names = [name for name in values if name != "hour"]
        for first, second in list(itertools.combinations(names, 2))[:: load.every]:
            pair = [
                _ratings(*one)
                for one in itertools.product(values[first][:3], values[second][:3], ({}, ranges["three years"]))
            ][:: load.every]
            title = f"{first} and {second}"
            pairs.append(self._slowest(title, pair, site, PAIR_MS, load.pair_probes, load.pair_requests))
        pairs.sort(key=lambda one: one.p95, reverse=True)
        self.figures.pages += pairs[:3]
        for one in pairs[:8]:
            self._say(one)
        addresses = sum(one.addresses for one in pairs)
        rest = pairs[len(pairs) // 2]
        self.figures.pages.append(
            Pages(
                f"the middle one of {len(pairs)} pairs",
                addresses,
                rest.requests,
                rest.p50,
                rest.p95,
                PAIR_MS,
                rest.slowest,
            )
        )
        self._others(site, ranges["three years"])
        self._kept("queues of work", self._queues(), site, 0.0)
        trends = [
            f"/trends?{urlencode({'by': by, 'range': chosen})}"
            for by in ("day", "agent", "dept", "queue", "channel", "reason")
            for chosen in ("week", "month", "last_quarter")
        ]
        self._kept("trends", trends, site, 0.0)

    def _values(self) -> dict[str, list[dict[str, str]]]:
        """Of each filter: common values, rare ones, absent ones, and what is not told."""
        middle = self.figures.filled.count // 2
        call = next(n for n in itertools.count(middle) if hotline_years.subject_kind(n) == "call")
        case = next(n for n in itertools.count(middle) if hotline_years.subject_kind(n) == "case")
        numbers = (
            hotline_years.case_no(case),
            f"H{hotline_years.call_key(call)}",
            "LX-nobody",
            hotline_years.call_key(call),
        )
        hours = [
            {"from": day, "to": day, "hour": "2"} for day in (f"{self.today}", f"{self.today - timedelta(days=400)}")
        ]
        listed: dict[str, tuple[str, ...]] = {
            "satisfaction": ("5", "1", "1,2", "3,4"),
            "channel": ("keypad", "system", "sms"),
            "origin": ("citizen", "default"),
            "kind": ("call", "case"),
            "agent": ("1001", hotline_years.RARE_AGENT, "nobody", ""),
            "queue": (hotline_years.QUEUES[0], hotline_years.RARE_QUEUE, "nobody", ""),
            "dept": ("12622900MB1234567X", "11622900MB0000", hotline_years.RARE_DEPT, "nobody", ""),
            "area": (hotline_years.AREAS[0], hotline_years.RARE_AREA, hotline_years.AREAS[-1], "000000"),
            "q": numbers,
            "tail": ("0001", hotline_years.ABSENT_TAIL),
            "reason": ("209", "999", "", "115"),
            "all": ("1",),
        }
        return {name: [{name: value} for value in some] for name, some in listed.items()} | {"hour": hours}

    def _ranges(self) -> dict[str, dict[str, str]]:
        today = self.today

        def days(first: int, last: int) -> dict[str, str]:
            return {"from": f"{today - timedelta(days=first)}", "to": f"{today - timedelta(days=last)}"}

        return {
            "today": days(0, 0),
            "a quarter": days(180, 90),
            "two years ago": days(820, 730),
            "three years": days(hotline_years.DAYS, 0),
            "before all": days(2_000, 1_900),
        }

    def _others(self, site: Site, whole: Mapping[str, str]) -> None:
        """Another value each time: what no page before has brought into memory."""
        number = self.figures.filled.count // 3
        several: dict[str, Callable[[int], str]] = {
            "agent": lambda n: str(1001 + n % hotline_years.AGENTS),
            "dept": lambda n: f"11622900MB{n % hotline_years.DEPTS:04d}",
            "tail": lambda n: f"{n * 61 % 9_999:04d}",
            "q": lambda n: hotline_years.case_no(number + n * 110 - number % 11 + 7),
        }
        for name, value in several.items():
            paths = [_ratings({name: value(n)}, whole) for n in range(self.load.requests)]
            times = {path: site.get(path).ms for path in paths}
            taken = list(times.values())
            slowest = max(times, key=lambda path: times[path])
            p50, p95 = percentile(taken, 50), percentile(taken, 95)
            found = Pages(f"ratings, another {name} each time", len(paths), len(taken), p50, p95, PAGE_MS, slowest)
            self.figures.pages.append(found)
            self._say(found)

    def _further(
        self, site: Site, values: Mapping[str, Sequence[dict[str, str]]], whole: Mapping[str, str]
    ) -> list[str]:
        """Addresses of pages behind the first one, each found by the link of the one before."""
        found = []
        steps = 10 if self.load.every == 1 else 1
        for some, sort in itertools.product(
            ({}, *(one[0] for one in values.values() if "hour" not in one[0])), ("", "worst")
        ):
            path: str | None = _ratings(some, whole, {"sort": sort} if sort else {})
            for step in range(steps):
                assert path is not None
                path = site.get(path).next
                if path is None:
                    break
                if step in (0, steps - 1):
                    found.append(path)
        return found

    @staticmethod
    def _queues() -> list[str]:
        replies = [f"/queues/replies?kind={kind}" for kind in ("unmatched", "mistaken", "unclear")]
        return ["/queues", *replies, "/queues/letters", "/queues/deadlines", "/queues/failures"]

    def _kept(self, title: str, paths: Sequence[str], site: Site, limit: float, *, probes: int | None = None) -> None:
        found = self._slowest(title, paths, site, limit, probes or self.load.probes, self.load.requests)
        self.figures.pages.append(found)
        self._say(found)

    def _say(self, one: Pages) -> None:
        late = f", {one.p95 - one.limit:.0f} ms too late" if one.limit and one.p95 > one.limit else ""
        self.tell(f"{self.title}: {one.title}: p50 {one.p50:.0f} ms, p95 {one.p95:.0f} ms{late} ({one.slowest})")

    @staticmethod
    def _slowest(title: str, paths: Sequence[str], site: Site, limit: float, probes: int, requests: int) -> Pages:
        """Each address some times; then the slowest of them as often as its figure needs."""
        times = {path: _times(site, path, probes) for path in paths} if len(paths) > 1 else {}
        slowest = max(times, key=lambda path: median(times[path])) if times else paths[0]
        taken = _times(site, slowest, requests)
        return Pages(title, len(paths), len(taken), percentile(taken, 50), percentile(taken, 95), limit, slowest)

    # ── live boards ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _boards(self, title: str, bad: float, server: Server, web: int) -> Boards:
        load = self.load
        found = Boards(title, load.boards, load.ratings)
        sessions = self._sessions(load.boards)
        self._rate(server, bad, min(load.seconds, 5.0))  # what is made once
        for number in range(load.rounds):
            for beside in (False, True) if number % 2 else (True, False):
                if beside:
                    with self._watched(web, sessions) as watch:
                        time.sleep(1.0)
                        _ask(watch)
                        found.beside.append(self._rate(server, bad, load.seconds))
                        told = _ask(watch)
                    found.updates.append(told["most"] / told["seconds"])
                    found.kib.append(told["bytes"] / 1024 / told["seconds"])
                    if told["fewest"] < told["seconds"] * 0.5:
                        raise BenchError(f"a board got {told['fewest']} updates in {told['seconds']:.0f} s")
                else:
                    found.without.append(self._rate(server, bad, load.seconds))
            self.tell(
                f"{self.title}: {load.boards} boards, {title}: round {number + 1}: {found.beside[-1]:.1%} of a core"
                f" with, {found.without[-1]:.1%} without; {found.updates[-1]:.2f} updates/s, {found.kib[-1]:,.0f} KiB/s"
            )
        return found

    def _sessions(self, count: int) -> list[str]:
        with self.database.write_engine.begin() as connection:
            user = find_user(connection, _USER)
            assert user is not None
            now = datetime.now(UTC)
            return [open_session(connection, now, user, _LIFE, "127.0.0.1") for _ in range(count)]

    @contextmanager
    def _watched(self, web: int, sessions: Sequence[str]) -> Iterator[Server]:
        argv = (sys.executable, "-m", "benchmarks.board_watch", str(web))
        watch = _Fed(argv, self.cores.generator, [*sessions, ""])
        with watch:
            yield watch

    def _rate(self, server: Server, bad: float, seconds: float) -> float:
        """So many ratings a second for a while; the part of a core that the serving process and its children took."""
        before, began = _cpu_of_tree(server.pid), time.monotonic()
        self._calls(server, bad, seconds)
        return (_cpu_of_tree(server.pid) - before) / (time.monotonic() - began)

    def _calls(self, server: Server, bad: float, seconds: float) -> list[dict[str, Any]]:
        """Callers, some of whom rate badly."""
        reports: list[dict[str, Any]] = []
        failed: list[BaseException] = []

        def some(script: str, rate: float, first: int) -> None:
            try:
                reports.append(
                    generate(
                        self.cores.generator,
                        seconds + 60.0,
                        port=server.port,
                        script=script,
                        calls=max(1, round(rate * seconds)),
                        first=first,
                        starts_per_second=rate,
                    )
                )
            except BaseException as error:  # noqa: BLE001 (raised again below, by the thread that waits)
                failed.append(error)

        threads = []
        for script, part in (("rating", bad), ("good", 1 - bad)):
            if part > 0:
                rate = self.load.ratings * part
                threads.append(threading.Thread(target=some, args=(script, rate, self.calls_made)))
                self.calls_made += round(rate * seconds) + 1
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in failed:
            raise error
        return reports

    # ── an export while calls go on ───────────────────────────────────────────────────────────────────────────────────

    def _export(self, form: str, server: Server, site: Site) -> Exporting:
        found = Exporting(form)
        found.without += [self._p99(server) for _ in range(self.load.rounds)]
        export = _Export(site, form, self._ranges()["three years"])
        export.start()
        export.begun.wait(60.0)
        for _ in range(self.load.rounds):
            beside = self._p99(server)
            if export.ended.is_set() and self.load.rows > 100_000:
                break  # part of these calls had no export beside them
            found.beside.append(beside)
        if not found.beside:
            raise BenchError(f"the export ended after {export.seconds:.0f} s, before the calls did")
        export.join(EXPORT_LIMIT)
        if not export.ended.is_set() or export.error:
            raise BenchError(f"the export failed: {export.error or 'it did not end'}")
        found.rows, found.seconds, found.megabytes = export.rows, export.seconds, export.bytes / 1e6
        if form == "csv" and found.rows < self.load.rows:
            raise BenchError(f"the export has {found.rows} rows instead of {self.load.rows}")
        self.tell(
            f"{self.title}: {form}: a call's p99 {found.beside} ms with an export, {found.without} without;"
            f" {self.load.rows:,} rows in {found.seconds:.0f} s, {found.megabytes:,.0f} MB"
        )
        return found

    def _p99(self, server: Server) -> float:
        [report] = self._calls(server, 1.0, self.load.seconds)
        return float(report["latency"]["p99"])


class _Fed(Server):
    """A process that is given lines before it is ready."""

    def __init__(self, argv: Sequence[str], core: int, lines: Sequence[str]) -> None:
        super().__init__(argv, core, talks=True)
        self._lines = lines
        self._reader = threading.Thread(target=self._feed_and_read, daemon=True)

    def _feed_and_read(self) -> None:
        for line in self._lines:
            self.tell(line)
        self._read()


def _ask(watch: Server) -> dict[str, Any]:
    watch.forget()
    watch.tell("so far")
    told: dict[str, Any] = json.loads(watch.wait_for(r"^answer (.*)$")[1])
    return told


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Answer:
    """A page: milliseconds, and the address of the next one."""

    ms: float
    text: str

    @property
    def next(self) -> str | None:
        found = re.search(r'<a rel="next" href="([^"]*)"', self.text)
        return unescape(found[1]) if found else None


class Site:
    """Somebody who is logged in, on one connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        browser = Browser(Address("127.0.0.1", port))
        page = browser.log_in(_USER, _PASSWORD)
        if page.status != 303:
            raise BenchError(f"nobody could log in: {page.status}")
        self.cookie = f"{SESSION_COOKIE}={browser.cookies[SESSION_COOKIE]}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, path: str) -> Answer:
        for again in (False, True):
            began = time.perf_counter()
            try:
                self._connection.request("GET", path, headers={"Cookie": self.cookie})
                answer = self._connection.getresponse()
                body = answer.read()
            except (ConnectionError, http.client.HTTPException):
                # A connection that was not used for a while is closed by the server.
                self._connection.close()
                if again:
                    raise
                continue
            took = (time.perf_counter() - began) * 1000
            if answer.status not in (200, 503):
                raise BenchError(f"{path} was answered {answer.status}")
            return Answer(took, body.decode())
        raise BenchError(f"{path} was not answered")


def _times(site: Site, path: str, requests: int) -> list[float]:
    """Of so many requests; of fewer where each takes seconds."""
    taken: list[float] = []
    while len(taken) < requests and sum(taken) < PATIENCE_MS:
        taken.append(site.get(path).ms)
    return taken


def _ratings(*filters: Mapping[str, str]) -> str:
    told = dict(itertools.chain.from_iterable(one.items() for one in filters))
    return f"/ratings?{urlencode(told)}" if told else "/ratings"


class _Export(threading.Thread):
    """Somebody who exports, reads the file and throws it away."""

    def __init__(self, site: Site, form: str, filters: Mapping[str, str]) -> None:
        super().__init__(daemon=True)
        self.begun, self.ended = threading.Event(), threading.Event()
        self.rows = self.bytes = 0
        self.seconds = 0.0
        self.error = ""
        csrf = re.search(r'name="csrf" value="([^"]*)"', site.get("/ratings").text)
        assert csrf is not None
        self._fields = urlencode({"csrf": unescape(csrf[1]), "query": urlencode(filters), "format": form})
        self._connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=EXPORT_LIMIT)
        self._headers = {"Cookie": site.cookie, "Content-Type": "application/x-www-form-urlencoded"}
        self._csv = form == "csv"

    def run(self) -> None:
        began = time.perf_counter()
        try:
            self._connection.request("POST", "/ratings/export", self._fields, self._headers)
            time.sleep(0.5)
            self.begun.set()  # an Excel file's first bytes come late; its work has begun
            answer = self._connection.getresponse()
            if answer.status != 200:
                self.error = f"answered {answer.status}"
                return
            while some := answer.read(1 << 18):
                self.bytes += len(some)
                if self._csv:
                    self.rows += some.count(b"\n")
        except (OSError, http.client.HTTPException) as error:
            self.error = type(error).__name__
        finally:
            self.seconds = time.perf_counter() - began
            self._connection.close()
            self.begun.set()
            self.ended.set()


def main(url: str, folder: Path, count: int, parts: Sequence[str]) -> None:
    """Beside a record that is there."""
    from benchmarks.process import choose_cores

    database = open_database(url, folder)
    try:
        filled = hotline_years.Filled(count, 0.0, hotline_years.size_mb(database), 0)
        load = ConsoleLoad()
        keyring = database.open_keyring(folder / KEY)
        kind = "SQLite" if database.is_sqlite else "PostgreSQL"
        tell: Callable[[str], None] = lambda line: print(line, flush=True)  # noqa: E731
        Console(kind, database, keyring, folder, filled, load, choose_cores(), tell).measured(parts)
    finally:
        database.close()


if __name__ == "__main__":
    main(
        sys.argv[1],
        Path(sys.argv[2]),
        int(sys.argv[3]),
        (sys.argv[4] if len(sys.argv) > 4 else "pages,boards,export").split(","),
    )
