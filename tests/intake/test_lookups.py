"""Look-ups are gathered, answered each for itself, and fail without taking the thread with them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

import intake.lookups as lookups
from intake.lookups import LookUps
from intake.record import Stored
from models.database import Database, open_database
from models.errors import CommandFailed, DoorClosed
from models.terms import Satisfaction
from tests.postgres import PostgresServer

WAIT = 10
STORED = Stored(new=False, evaluation_id="e", satisfaction=Satisfaction.SATISFIED, rating_id="r")


class Reads:
    """In the place of the database read: keeps what was asked, and the reader at a gate."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, _connection: Any, keys: set[str]) -> dict[str, Stored]:
        self.asked.append(keys)
        self.entered.release()
        assert self.gate.acquire(timeout=WAIT)
        if self.error is not None:
            raise self.error
        return {key: STORED for key in keys if key.startswith("rated")}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    found = Reads()
    monkeypatch.setattr(lookups, "effective_of_calls", found)
    return found


@pytest.fixture
def look(database: Database) -> Iterator[LookUps]:
    opened = LookUps(database)
    yield opened
    opened.close()


def test_who_asks_while_a_read_runs_shares_the_next(look: LookUps, reads: Reads) -> None:
    first = look.ask("rated-1")
    assert reads.entered.acquire(timeout=WAIT)
    others = [look.ask(name) for name in ("rated-2", "new-1", "rated-2", "new-2")]
    reads.gate.release(2)
    assert first.result(WAIT) == STORED
    assert [other.result(WAIT) for other in others] == [STORED, None, STORED, None]
    assert reads.asked == [{"rated-1"}, {"rated-2", "new-1", "new-2"}]


def test_a_withdrawn_question_is_not_read(look: LookUps, reads: Reads) -> None:
    first = look.ask("a")
    assert reads.entered.acquire(timeout=WAIT)
    withdrawn, kept = look.ask("b"), look.ask("c")
    assert withdrawn.cancel()
    reads.gate.release(2)
    assert first.result(WAIT) is None
    assert kept.result(WAIT) is None
    assert reads.asked == [{"a"}, {"c"}]


def test_a_read_that_fails_fails_those_who_asked_and_no_other(look: LookUps, reads: Reads) -> None:
    reads.error = OperationalError("SELECT 13800000001", {}, Exception("gone"))
    failed = look.ask("a")
    reads.gate.release(2)  # it tries twice: the connection may only have died while it was kept
    error = failed.exception(WAIT)
    assert isinstance(error, CommandFailed)
    assert "13800000001" not in str(error)
    reads.error = None
    reads.gate.release()
    assert look.ask("rated-a").result(WAIT) == STORED


@pytest.mark.peer
def test_a_connection_that_died_meanwhile_costs_no_caller(
    postgres: PostgresServer, migrated_postgres: str, tmp_path: Path
) -> None:
    database = open_database(postgres.new_database(migrated_postgres), tmp_path)
    look = LookUps(database)
    assert look.ask("a").result(WAIT) is None
    postgres.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert look.ask("a").result(WAIT) is None
    look.close()
    database.close()


def test_what_was_asked_before_the_end_is_answered_and_what_comes_later_refused(
    database: Database, reads: Reads
) -> None:
    look = LookUps(database)
    asked: list[Future[Stored | None]] = [look.ask("rated-1")]
    assert reads.entered.acquire(timeout=WAIT)
    asked += [look.ask(f"rated-{n}") for n in range(300)]
    reads.gate.release(10)
    look.close()
    assert all(one.result(WAIT) == STORED for one in asked)
    assert isinstance(look.ask("late").exception(WAIT), DoorClosed)


def test_nothing_is_started_before_anybody_asks(database: Database) -> None:
    before = threading.active_count()
    look = LookUps(database)
    assert threading.active_count() == before
    look.close()
