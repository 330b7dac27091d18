"""What every test gets: a database of each kind, and a failure for whatever Twisted logged or left in a Deferred."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from hypothesis import settings
from twisted.internet.base import DelayedCall
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from models.clock import TurnedClock
from models.database import Database, open_database
from models.door import Door
from models.privacy import Keyring
from tests.moments import START
from tests.postgres import Copies, PostgresServer, postgres_missing

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
settings.register_profile("fuzz", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
_left_out: dict[str, set[str]] = {}
_looked_through = pytest.StashKey[Path]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Every test looks for forgotten Deferreds. What is there when a file's first test begins (modules, caches of
    statements and of patterns) holds none and is not looked through again: it would cost more than the tests."""
    file = item.path
    if item.config.stash.get(_looked_through, None) != file:
        item.config.stash[_looked_through] = file
        gc.collect()
        gc.freeze()
    return (yield)


# ── what cannot be had here ───────────────────────────────────────────────────────────────────────────────────────────


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _left_out.setdefault(report.longrepr[2].removeprefix("Skipped: "), set()).add(report.nodeid)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for reason, tests in sorted(_left_out.items()):
        terminalreporter.write_line(f"LEFT OUT: {len(tests)} tests: {reason}", red=IN_CI, yellow=not IN_CI)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if IN_CI and _left_out and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """pytest-twisted wraps a Hypothesis test anew for each of its parameters, the second time inside the first."""
    hypothesis = getattr(pyfuncitem.obj, "hypothesis", None)
    inner = getattr(hypothesis, "inner_test", None)
    try:
        return (yield)
    finally:
        if hypothesis is not None:
            hypothesis.inner_test = inner


# ── Twisted ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@implementer(ILogObserver)
class TwistedErrors:
    """Failures that Twisted logged during a test. `expect` takes those that the test meant to happen."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_failure") is not None or event.get("log_level") is LogLevel.critical:
            self.events.append(event)

    def expect(self, *kinds: type[BaseException]) -> int:
        """Removes the logged failures of these kinds and says how many there were."""
        gc.collect()
        kept = [e for e in self.events if e.get("log_failure") is None or not e["log_failure"].check(*kinds)]
        taken = len(self.events) - len(kept)
        self.events[:] = kept
        return taken


@pytest.fixture(autouse=True)
def twisted_errors() -> Iterator[TwistedErrors]:
    errors = TwistedErrors()
    globalLogPublisher.addObserver(errors)
    DelayedCall.debug = False
    try:
        yield errors
        gc.collect()  # a Deferred that nobody looked at tells of its failure when it goes
    finally:
        globalLogPublisher.removeObserver(errors)
    if errors.events:
        texts = []
        for event in errors.events:
            failure = event.get("log_failure")
            texts.append(failure.getTraceback() if failure is not None else str(event.get("log_format")))
        pytest.fail("Twisted logged failures:\n" + "\n".join(texts), pytrace=False)


# ── databases ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _run_postgres(*, durable: bool) -> Iterator[PostgresServer]:
    missing = postgres_missing()
    if missing:
        pytest.skip(missing)
    # Not below pytest's own folder: as root the server runs as another user, and pytest closes that folder to others
    # again and again.
    with tempfile.TemporaryDirectory(prefix="huiyin-pg-") as directory:
        server = PostgresServer(Path(directory), durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL on a socket of its own, shared by the tests; nobody kills it."""
    yield from _run_postgres(durable=False)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A durable PostgreSQL for one test, which may kill it."""
    yield from _run_postgres(durable=True)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database of its own on the real PostgreSQL."""
    url = postgres.new_database()
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'huiyin.db'}"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: migrating costs more than most tests."""
    directory = tmp_path_factory.mktemp("migrated")
    opened = open_database("sqlite:///huiyin.db", directory)
    opened.ensure_schema()
    opened.close()
    return directory / "huiyin.db"


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated database to copy."""
    url = postgres.new_database()
    opened = open_database(url, tmp_path_factory.mktemp("migrated"))
    opened.ensure_schema()
    opened.close()
    return str(opened.url.database)


@pytest.fixture(scope="session")
def copies(postgres: PostgresServer, migrated_postgres: str) -> Copies:
    return Copies(postgres, migrated_postgres)


@pytest.fixture
def migrated_postgres_url(copies: Copies) -> Iterator[str]:
    """A migrated database of its own on the real PostgreSQL."""
    url = copies.take()
    yield url
    copies.give_back(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database, SQLite and PostgreSQL in turn."""
    if request.param == "postgresql":
        url = str(request.getfixturevalue("migrated_postgres_url"))
    else:
        copyfile(request.getfixturevalue("migrated_sqlite"), tmp_path / "huiyin.db")
        url = "sqlite:///huiyin.db"
    opened = open_database(url, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def make_door(database: Database) -> Iterator[Callable[..., Door]]:
    """Opens doors that are closed at the end."""
    doors: list[Door] = []

    def make(**options: Any) -> Door:
        doors.append(Door(database, **options))
        return doors[-1]

    yield make
    for door in doors:
        door.close()


@pytest.fixture
def door(make_door: Callable[..., Door]) -> Door:
    return make_door()


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.generate()


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(START)
