"""Numbers are sealed, found again by their hash, and shown masked; a key belongs to its database, and is replaced."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

import models.rotation as rotation
from models.clock import TurnedClock
from models.database import Database, open_database
from models.errors import DatabaseBusy, KeyMismatch, KeyUnreadable
from models.ids import new_id
from models.privacy import Keyring, mask
from models.rotation import rotate
from models.tables import audit, calls
from tests.moments import START
from tests.postgres import PostgresServer

NUMBERS = st.from_regex(r"\+?[0-9]{1,20}", fullmatch=True)
KEYRING = Keyring.generate()


@given(NUMBERS)
def test_a_sealed_number_opens_to_itself_and_shows_nothing(number: str) -> None:
    sealed = KEYRING.seal(number)
    assert KEYRING.open(sealed.sealed) == number
    assert sealed.hash == KEYRING.hash(number)
    if len(number) > 4:
        assert sealed.tail == KEYRING.tail("9" + number[-4:])
        assert number.encode() not in sealed.sealed + sealed.hash + sealed.tail


def test_sealing_twice_gives_two_texts_and_one_hash() -> None:
    first, second = KEYRING.seal("+8613800000001"), KEYRING.seal("+8613800000001")
    assert first.sealed != second.sealed
    assert (first.hash, first.tail) == (second.hash, second.tail)


def test_another_key_neither_reads_nor_finds() -> None:
    other = Keyring.generate()
    sealed = KEYRING.seal("+8613800000001")
    assert other.hash("+8613800000001") != sealed.hash
    assert other.tail("+8613800000001") != sealed.tail
    with pytest.raises(KeyUnreadable, match="damaged or was sealed with another key"):
        other.open(sealed.sealed)


def test_a_digest_knows_the_same_again_under_the_same_key_alone() -> None:
    keyring = Keyring.generate()
    assert keyring.digest(b"13800000001 5") == keyring.digest(b"13800000001 5")
    assert len(keyring.digest(b"")) == 16
    assert keyring.digest(b"13800000001 5") != keyring.digest(b"13800000001 4")
    assert Keyring.generate().digest(b"13800000001 5") != keyring.digest(b"13800000001 5")
    assert keyring.digest(b"+8613800000001") != keyring.hash("+8613800000001")


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+8613800000001", "138****0001"),
        ("13800000001", "138****0001"),
        ("+869306212345", "****" + "****45"),
        ("8001", "**01"),
        ("12", "12"),
        ("", ""),
    ],
)
def test_masks(number: str, shown: str) -> None:
    assert mask(number) == shown


# ── the file ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "privacy.key"
    KEYRING.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Keyring.load(path).fingerprint == KEYRING.fingerprint
    path.chmod(0o640)
    with pytest.raises(KeyUnreadable, match="chmod 600"):
        Keyring.load(path)


@pytest.mark.parametrize(
    "content",
    ["", "[keys]\n", "keys = 3\n", '[keys]\n1 = "short"\n', '[keys]\n1 = "AAAA"\n', '[keys]\nx = "AA=="\n', "\xff"],
)
def test_a_damaged_file_is_told_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "privacy.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyUnreadable):
        Keyring.load(path)


def test_a_key_is_made_only_for_a_database_without_numbers(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "privacy.key"
    keyring = database.open_keyring(path)
    assert database.open_keyring(path).fingerprint == keyring.fingerprint
    path.unlink()
    if database.is_sqlite:
        again = database.open_keyring(path)  # no number was stored: nothing is lost
        assert again.fingerprint != keyring.fingerprint
    else:  # another host may serve with the key that is named
        with pytest.raises(KeyUnreadable, match="missing"):
            database.open_keyring(path)
        (again := keyring).save(path)
    store(database, again, "+8613800000001")
    path.unlink()
    with pytest.raises(KeyUnreadable, match="missing"):
        database.open_keyring(path)
    Keyring.generate().save(path)
    with pytest.raises(KeyMismatch):
        database.open_keyring(path)


# ── rotation ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def store(database: Database, keyring: Keyring, *numbers: str) -> None:
    with database.write_engine.begin() as connection:
        for number in numbers:
            sealed = keyring.seal(number)
            connection.execute(
                insert(calls).values(
                    subject_id=new_id(),
                    call_key=new_id(),
                    number_kind="mobile",
                    number_sealed=sealed.sealed,
                    number_hash=sealed.hash,
                    number_tail=sealed.tail,
                    number_key_id=sealed.key_id,
                    outcome="rated",
                    source="ivr",
                    created_at=START,
                )
            )


def stored(database: Database, keyring: Keyring) -> list[str]:
    with database.read_engine.connect() as connection:
        rows = connection.execute(select(calls)).all()
    for row in rows:
        number = keyring.open(row.number_sealed)
        assert (row.number_hash, row.number_tail) == (keyring.hash(number), keyring.tail(number))
    return sorted(keyring.open(row.number_sealed) for row in rows)


def test_rotation_moves_every_number_to_the_new_key(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "_ROWS", 3)
    path = tmp_path / "privacy.key"
    numbers = [f"+86138000000{n:02}" for n in range(10)]
    store(database, old := database.open_keyring(path), *numbers)
    assert rotate(database, path, TurnedClock(START)) == 10
    new = database.open_keyring(path)
    assert new.fingerprint != old.fingerprint
    assert stored(database, new) == numbers
    with pytest.raises(KeyUnreadable):
        stored(database, old)
    # The key before stays for one more turn; what was sealed with it meanwhile is taken along by the next.
    assert old.fingerprint in new.fingerprints
    store(database, old, "+8613899999999")
    assert rotate(database, path, TurnedClock(START)) == 11
    newest = database.open_keyring(path)
    assert old.fingerprint not in newest.fingerprints
    assert stored(database, newest) == [*numbers, "+8613899999999"]
    with database.read_engine.connect() as connection:
        assert [row.action for row in connection.execute(select(audit))] == ["key.rotated"] * 2


@pytest.mark.parametrize("point", ["after the file", "in the middle", "before the old key goes"])
def test_an_interrupted_rotation_is_finished_by_the_next(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(rotation, "_ROWS", 3)
    path = tmp_path / "privacy.key"
    numbers = [f"+86138000000{n:02}" for n in range(10)]
    store(database, database.open_keyring(path), *numbers)

    def stop(*_: object) -> None:
        raise OSError("the machine stops here")

    with monkeypatch.context() as interrupted, pytest.raises(OSError, match="stops here"):  # noqa: PT012
        if point == "after the file":
            interrupted.setattr(Database, "write_meta", stop)
        elif point == "in the middle":
            seal, left = Keyring.seal, iter(range(5))
            interrupted.setattr(
                Keyring, "seal", lambda self, number: seal(self, number) if next(left, None) is not None else stop()
            )
        else:
            interrupted.setattr(rotation, "_finish", stop)
        rotate(database, path, TurnedClock(START))
    if point != "after the file":
        with pytest.raises(KeyMismatch, match="key rotate"):
            database.open_keyring(path)
    rotate(database, path, TurnedClock(START))
    assert stored(database, database.open_keyring(path)) == numbers


def test_nobody_serves_while_the_key_is_rotated(database: Database, tmp_path: Path) -> None:
    serving = Database(database.url)
    serving.take_serving_lock()
    with pytest.raises(DatabaseBusy):
        database.take_serving_lock(exclusive=True)
    serving.close()
    database.take_serving_lock(exclusive=True)
    other = Database(database.url)
    with pytest.raises(DatabaseBusy):
        other.take_serving_lock()
    other.close()


def test_processes_that_start_at_once_get_one_key(database: Database, tmp_path: Path) -> None:
    """One key file and an empty database, opened by several at the same moment: one key is made, and all have it."""
    several = [Database(database.url) for _ in range(4)]
    meet = threading.Barrier(len(several), timeout=20)

    def start(one: Database) -> str:
        meet.wait()
        return one.open_keyring(tmp_path / "privacy.key").fingerprint

    with ThreadPoolExecutor(len(several)) as pool:
        found = list(pool.map(start, several))
    assert len(set(found)) == 1
    assert database.open_keyring(tmp_path / "privacy.key").fingerprint == found[0]
    assert [path.name for path in tmp_path.glob("*.new")] == []
    for one in several:
        one.close()


def test_a_command_that_writes_numbers_keeps_a_rotation_out(database: Database) -> None:
    serving, importing = Database(database.url), Database(database.url)
    serving.take_serving_lock()
    importing.take_writing_lock()
    serving.close()
    with pytest.raises(DatabaseBusy):
        database.take_serving_lock(exclusive=True)
    importing.close()
    database.close()
    database.take_serving_lock(exclusive=True)


@pytest.mark.peer
def test_a_postgresql_that_restarts_does_not_let_a_rotation_in(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """The lock goes with the server's memory; who serves notices and takes it again, or must stop."""
    postgres_url = own_postgres.new_database()
    path = tmp_path / "privacy.key"
    serving, turning = open_database(postgres_url, tmp_path), open_database(postgres_url, tmp_path)
    serving.ensure_schema()
    serving.open_keyring(path)
    serving.take_serving_lock()
    own_postgres.kill()
    own_postgres.run()
    serving.keep_serving_lock()
    with pytest.raises(DatabaseBusy):
        turning.take_serving_lock(exclusive=True)
    own_postgres.kill()
    own_postgres.run()
    turning.take_serving_lock(exclusive=True)  # quicker than the look of who serves
    with pytest.raises(DatabaseBusy):
        serving.keep_serving_lock()
    rotate(turning, path, TurnedClock(START))
    turning.close()
    serving.close()  # and its end is no error either

    again = open_database(postgres_url, tmp_path)
    again.open_keyring(path)
    again.take_serving_lock()
    own_postgres.kill()
    own_postgres.run()
    third = open_database(postgres_url, tmp_path)
    third.take_serving_lock(exclusive=True)
    rotate(third, path, TurnedClock(START))
    third.close()
    with pytest.raises(KeyMismatch, match="rotated"):
        again.keep_serving_lock()
    again.close()


def test_the_lock_goes_with_its_process(database: Database) -> None:
    if not database.is_sqlite:
        several = [Database(database.url) for _ in range(3)]
        for one in several:
            one.take_serving_lock()
        for one in several:
            one.close()
        return
    child = os.fork()
    if child == 0:
        Database(database.url).take_serving_lock()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    database.take_serving_lock()
