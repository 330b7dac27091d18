"""The centre's word beside other writers: what it locks, and in which order."""

from __future__ import annotations

import time
from dataclasses import replace

import psycopg
import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy import delete, select, update

from intake.centre_word import CentreWord, Heard, StoreCentreWord
from intake.desk import Intake
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.tables import evaluations, outbox
from models.terms import Adoption, Satisfaction
from tests.intake.test_calls import FACTS, RULES

WAIT = 20
WORD = CentreWord(adoption=Adoption.NOT_ADOPTED)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.peer)], indirect=True)
def test_evaluations_are_locked_by_subject_as_every_other_writer_does(
    database: Database, door: Door, keyring: Keyring, clock: TurnedClock
) -> None:
    """Their ids stand the other way round. Somebody holds the first subject's: the second's must still be free."""
    intake = Intake(door, keyring, clock, RULES)
    for key in ("c1", "c2"):
        intake.rate(replace(FACTS, call_key=key), Satisfaction.SATISFIED, "2", hold=False).result(WAIT)
    with database.write_engine.begin() as connection:
        connection.execute(delete(outbox))
        first, second = connection.execute(
            select(evaluations.c.subject_id).order_by(evaluations.c.subject_id)
        ).scalars()
        for subject, identity in ((first, "f" * 32), (second, "0" * 32)):
            connection.execute(update(evaluations).where(evaluations.c.subject_id == subject).values(id=identity))
    words = [StoreCentreWord(identity, WORD, "系统", clock.now()) for identity in ("0" * 32, "f" * 32)]
    lock = "SELECT 1 FROM evaluations WHERE subject_id = %s FOR UPDATE NOWAIT"
    address = database.url.render_as_string(hide_password=False).replace("+psycopg", "")
    with psycopg.connect(address) as other, psycopg.connect(address, autocommit=True) as looking:
        other.execute(lock, [first])
        stored = door.write(lambda unit: StoreCentreWord.run(unit, words))
        end = time.monotonic() + WAIT
        while looking.execute(WAITING).fetchone() == (0,):
            assert time.monotonic() < end
        try:
            looking.execute(lock, [second])
        except LockNotAvailable:
            pytest.fail("the second subject's is held while the first's is waited for")
        other.rollback()
    assert [standing.heard for standing in stored.result(WAIT) if standing is not None] == [Heard.NEW, Heard.NEW]
