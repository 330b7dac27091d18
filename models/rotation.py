"""`huiyin key rotate`: a new privacy key, and every stored number sealed and hashed with it.

Nobody may serve meanwhile (`Database.take_serving_lock(exclusive=True)`), for a half-rotated database finds half its
numbers. The steps are ordered so that a crash anywhere is finished by running the command again, and the file never
lacks a key that some row needs:

1. The file gets a newer key beside the old one.
2. The database notes that a rotation is under way; no process starts on it from here.
3. Rows go over in small transactions, each row carrying its key's id.
4. The database takes the new fingerprint.
5. Keys older than the one before leave the file. That one stays until the next rotation, which also takes along any row
   that was sealed with it since: a PostgreSQL that restarts forgets who serves, so a number is never made unreadable
   on the strength of the lock alone. The key of a hash that has outlived its number (models/privacy.py) stays, too.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Table, bindparam, insert, select, update

from models.clock import Clock
from models.database import FINGERPRINT, ROTATING, Database
from models.errors import KeyMismatch
from models.ids import new_id
from models.privacy import Keyring
from models.tables import audit, meta, number_tables
from models.terms import Actor, AuditAction

__all__ = ["rotate"]

_ROWS = 500


def rotate(database: Database, key_file: Path, clock: Clock) -> int:
    """Gives the database a new key; the caller holds the exclusive serving lock. Returns how many rows went over.

    Raises:
        KeyMismatch: the file's keys are not this database's.
        KeyUnreadable: the file is missing or damaged, or a row was sealed with a key that it lacks.
    """
    keyring = Keyring.load(key_file)
    known, rotating = database.read_meta(FINGERPRINT), database.read_meta(ROTATING)
    if known is not None and known not in keyring.fingerprints:
        raise KeyMismatch(f"{key_file} is not the key of this database; restore the key that was backed up with it")
    if rotating is None:
        if known is None or known == keyring.fingerprint:
            keyring = keyring.with_new_key()
            keyring.save(key_file)
        database.write_meta(ROTATING, keyring.fingerprint)
    elif rotating != keyring.fingerprint:
        raise KeyMismatch(f"{key_file} lacks the newer key of the interrupted rotation; restore the newest key file")
    kept = database.kept_hashes(keyring.active_id)
    keyring = keyring.keeping(kept)
    moved = sum(_move(database, table, keyring) for table in number_tables)
    with database.write_engine.begin() as connection:
        _finish(connection, keyring, clock, moved)
    keyring.without_older(min([keyring.active_id - 1, *kept.values()])).save(key_file)
    return moved


def _move(database: Database, table: Table, keyring: Keyring) -> int:
    """Re-seals the rows of one table that carry an older key's id."""
    [identity] = table.primary_key.columns
    older = (
        select(identity, table.c.number_sealed)
        .where(
            table.c.number_key_id.is_not(None),
            table.c.number_key_id != keyring.active_id,
            table.c.number_sealed.is_not(None),
        )
        .limit(_ROWS)
    )
    sealed = (
        update(table)
        .where(identity == bindparam("row"))
        .values(
            number_sealed=bindparam("sealed"),
            number_hash=bindparam("hash"),
            number_tail=bindparam("tail"),
            number_key_id=bindparam("key"),
        )
    )
    moved = 0
    while True:
        with database.write_engine.begin() as connection:
            rows = connection.execute(older).all()
            if not rows:
                return moved
            fresh = [(row[0], keyring.seal(keyring.open(row.number_sealed))) for row in rows]
            connection.execute(
                sealed,
                [
                    {"row": row, "sealed": new.sealed, "hash": new.hash, "tail": new.tail, "key": new.key_id}
                    for row, new in fresh
                ],
            )
        moved += len(rows)


def _finish(connection: Connection, keyring: Keyring, clock: Clock, moved: int) -> None:
    connection.execute(meta.delete().where(meta.c.key.in_([FINGERPRINT, ROTATING])))
    connection.execute(insert(meta).values(key=FINGERPRINT, value=keyring.fingerprint))
    connection.execute(
        insert(audit).values(
            id=new_id(),
            at=clock.now(),
            actor=Actor.COMMAND_LINE.value,
            action=AuditAction.KEY_ROTATED.value,
            detail=f"{moved} rows now under key {keyring.active_id}",
        )
    )
