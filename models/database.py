"""Opening a database: engines, the lock of the embedded one, the schema's version, the key's fingerprint.

SQLite (WAL, synchronous=FULL) serves one process, which holds a lock on a file beside it. PostgreSQL serves any number.

On SQLite the driver runs with `isolation_level=None` and BEGIN is ours: with the driver's default no BEGIN comes before
a SAVEPOINT, and after SQLITE_FULL the rest would run outside any transaction while COMMIT raises nothing.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from alembic import command as alembic_command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from models.errors import DatabaseBusy, DatabaseNotReady, KeyMismatch, StoreError
from models.privacy import Keyring
from models.recount import rebuild
from models.tables import meta, metadata, number_tables, opt_outs

__all__ = ["Database", "SchemaState", "open_database", "parse_url"]

FINGERPRINT = "privacy.fingerprint"
ROTATING = "privacy.rotating"
EPOCH = "epoch"
RECOUNT = "figures.recount"
"""A migration has changed what the figures count; they are counted anew once the schema is whole."""
_SHARED_LOCK = 0x4875_6979  # PostgreSQL advisory lock: shared by who serves, exclusive for a key rotation
_MIGRATE_LOCK = _SHARED_LOCK + 1
_KEY_LOCK = _SHARED_LOCK + 2
_WRITER_LOCK = _SHARED_LOCK + 3
"""The first of two keys of the advisory locks that stand for writers' numbers; the second is the number."""
_WRITERS = 64
_GROUP_BUSY_MS = 400
_POSTGRES = {
    "connect_timeout": 5,
    # A caller waits 1.5 s at most: nothing of ours waits long for a lock, runs long, or trusts a host that went silent.
    # No statement of ours is so long that compiling it pays; a board's count would take a second for it.
    "options": f"-c lock_timeout={_GROUP_BUSY_MS} -c statement_timeout=15000 -c jit=off",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


@dataclass(frozen=True, slots=True)
class SchemaState:
    """`current` and `head`: Alembic revisions; None: an empty database."""

    current: str | None
    head: str
    empty: bool

    @property
    def ready(self) -> bool:
        return self.current == self.head


def parse_url(url: str, base: Path) -> URL:
    """The database's URL with a relative SQLite path resolved against `base`, the configuration's directory.

    Raises:
        ValueError: not a URL, or another kind of database.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise ValueError("not a database URL; write sqlite:///var/huiyin.db or postgresql+psycopg://…") from error
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        if not parsed.database or parsed.database == ":memory:":
            raise ValueError("a database in memory would lose every rating; name a file: sqlite:///var/huiyin.db")
        return parsed.set(drivername="sqlite", database=str((base / parsed.database).absolute()))
    if parsed.drivername in {"postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise ValueError(f"{parsed.drivername} is not supported; write sqlite:///var/huiyin.db or postgresql+psycopg://…")


class Database:
    """An opened database: one engine to write with (a single connection), one to read with."""

    def __init__(self, url: URL, readers: int = 4) -> None:
        self.url = url
        self.is_sqlite = url.drivername == "sqlite"
        self.readers = readers
        self._locks: list[IO[str]] = []
        self._shared: Connection | None = None
        self._fingerprint: str | None = None
        if self.is_sqlite:
            path = Path(str(url.database))
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():  # its owner's alone, and SQLite gives its -wal and -shm the same mode
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self.write_engine = self._sqlite_engine(writes=True)
            self.read_engine = self._sqlite_engine(writes=False)
        else:
            # What was to be stored stands in no error: a traceback shows those.
            options: dict[str, Any] = {
                "connect_args": dict(_POSTGRES),
                "pool_pre_ping": True,
                "hide_parameters": True,
            }
            self.write_engine = create_engine(url, pool_size=1, max_overflow=1, **options)
            self.read_engine = create_engine(url, pool_size=readers, max_overflow=0, **options)

    def _sqlite_engine(self, *, writes: bool) -> Engine:
        engine = create_engine(
            self.url,
            poolclass=QueuePool,
            pool_size=1 if writes else self.readers,
            max_overflow=1 if writes else 0,
            connect_args={"check_same_thread": False, "timeout": _GROUP_BUSY_MS / 1000},
            hide_parameters=True,
        )

        @event.listens_for(engine, "connect")
        def _connected(dbapi: Any, _record: Any) -> None:
            dbapi.isolation_level = None
            dbapi.execute("PRAGMA journal_mode=WAL")
            dbapi.execute("PRAGMA synchronous=FULL")
            dbapi.execute("PRAGMA foreign_keys=ON")
            dbapi.execute("PRAGMA wal_autocheckpoint=1000")
            if not writes:
                dbapi.execute("PRAGMA query_only=ON")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    # ── one serving process, or many ──────────────────────────────────────────────────────────────────────────────────

    def take_serving_lock(self, *, exclusive: bool = False) -> None:
        """Keeps others out while this process serves (SQLite), or a key rotation while anybody serves (PostgreSQL).

        Args:
            exclusive: nobody else may serve or write, on PostgreSQL too (for a key rotation).

        Raises:
            DatabaseBusy: another process holds it.
        """
        if self.is_sqlite:
            self._flock(
                "lock",
                fcntl.LOCK_EX,
                f"another Huiyin process serves {self.url.database}; stop it, or use PostgreSQL for several",
            )
        self._take_key_lock(exclusive=exclusive)

    def take_writing_lock(self) -> None:
        """For a command that writes numbers beside a serving process: keeps a key rotation out.

        Raises:
            DatabaseBusy: a key rotation is under way.
        """
        self._take_key_lock(exclusive=False)

    def _take_key_lock(self, *, exclusive: bool) -> None:
        busy = (
            "other Huiyin processes use this database; stop them first"
            if exclusive
            else "a key rotation is under way on this database; wait until it has ended"
        )
        if self.is_sqlite:
            self._flock("key.lock", fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, busy)
            return
        connection = self.read_engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        kind = "" if exclusive else "_shared"
        if not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{kind}({_SHARED_LOCK})").scalar_one():
            connection.close()
            raise DatabaseBusy(busy)
        connection.detach()
        self._shared = connection

    def _flock(self, name: str, how: int, busy: str) -> None:
        path = Path(f"{self.url.database}.{name}")
        lock = open(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "r+")  # noqa: SIM115 (held as long as we serve)
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise DatabaseBusy(busy) from error
        self._locks.append(lock)

    def keep_serving_lock(self) -> None:
        """Looks whether the lock is still ours (PostgreSQL gives it away when it restarts) and takes it again.

        Raises:
            DatabaseBusy: a key rotation has begun meanwhile; this process must not write on.
            KeyMismatch: a key rotation has happened meanwhile; this process must not write on.
        """
        if self._shared is None:
            return
        try:
            self._shared.exec_driver_sql("SELECT 1")
        except DBAPIError:
            lost, self._shared = self._shared, None
            _close_quietly(lost)
        else:
            return
        self._take_key_lock(exclusive=False)
        if self._fingerprint is not None and self.read_meta(FINGERPRINT) != self._fingerprint:
            raise KeyMismatch("the privacy key was rotated while the database was away; start this process again")

    def close(self) -> None:
        try:
            if self._shared is not None:
                # Given back by word: the server notices a closed connection only a moment later.
                with suppress(DBAPIError):
                    self._shared.exec_driver_sql("SELECT pg_advisory_unlock_all()")
                _close_quietly(self._shared)
                self._shared = None
        finally:
            self.write_engine.dispose()
            self.read_engine.dispose()
            for lock in self._locks:
                lock.close()
            self._locks.clear()

    def take_writer_number(self, connection: Connection) -> int:
        """A number for who writes by this connection, from 1: held as long as the connection lives, then free again."""
        if not self.is_sqlite:
            for number in range(1, _WRITERS):
                taken = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_WRITER_LOCK}, {number})")
                if taken.scalar_one():
                    return number
            return _WRITERS
        return 1

    # ── schema ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _alembic(self) -> AlembicConfig:
        config = AlembicConfig()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        return config

    def schema_state(self) -> SchemaState:
        head = ScriptDirectory.from_config(self._alembic()).get_current_head()
        assert head is not None
        with self.read_engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            tables = set(inspect(connection).get_table_names()) - {"alembic_version"}
        return SchemaState(current, head, empty=not tables & set(metadata.tables))

    def upgrade(self) -> None:
        """Brings the schema to this program's version. Safe to run twice, and by two processes at once."""
        config = self._alembic()
        with self.write_engine.begin() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATE_LOCK})")
            config.attributes["connection"] = connection
            alembic_command.upgrade(config, "head")
            if connection.execute(select(meta.c.value).where(meta.c.key == EPOCH)).first() is None:
                connection.execute(insert(meta).values(key=EPOCH, value=secrets.token_hex(8)))
            if connection.execute(meta.delete().where(meta.c.key == RECOUNT)).rowcount:
                rebuild(connection)

    def ensure_schema(self) -> None:
        """Creates an empty database; refuses an older one that holds data, and a newer one.

        Raises:
            DatabaseNotReady: `huiyin db upgrade` has to be run first.
        """
        state = self.schema_state()
        if state.ready:
            return
        if state.empty and state.current is None:
            self.upgrade()
            return
        known = {script.revision for script in ScriptDirectory.from_config(self._alembic()).walk_revisions()}
        if state.current is not None and state.current not in known:
            raise DatabaseNotReady("the database was made by a newer Huiyin; start that version")
        raise DatabaseNotReady("the database is older than this program; back it up and run: huiyin db upgrade -c FILE")

    # ── the privacy key ───────────────────────────────────────────────────────────────────────────────────────────────

    def holds_numbers(self) -> bool:
        with self.read_engine.connect() as connection:
            return any(
                connection.execute(
                    select(table.c.number_key_id).where(table.c.number_key_id.is_not(None)).limit(1)
                ).first()
                for table in number_tables
            )

    def open_keyring(self, path: Path) -> Keyring:
        """The keys of this database. A new key is made only where no encrypted row exists and none was ever named.

        Several processes may start at once: they come here one after the other.

        Raises:
            KeyMismatch: the file's key is not this database's.
            KeyUnreadable: the file is missing or damaged.
        """
        with self.write_engine.begin() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_KEY_LOCK})")
            values = {row.key: row.value for row in connection.execute(select(meta.c.key, meta.c.value))}
            if ROTATING in values:
                raise KeyMismatch("a key rotation was interrupted; finish it with: huiyin key rotate -c FILE")
            known = values.get(FINGERPRINT)
            # On PostgreSQL another host may serve with the key that is named: then it has to be copied from there.
            may_make = known is None or self.is_sqlite
            if may_make and not path.exists() and not self.holds_numbers():
                Keyring.generate().save(path, new=True)
                connection.execute(meta.delete().where(meta.c.key == FINGERPRINT))
                known = None
            keyring = Keyring.load(path)
            if known is None:
                connection.execute(insert(meta).values(key=FINGERPRINT, value=keyring.fingerprint))
            elif known != keyring.fingerprint:
                raise KeyMismatch(f"{path} is not the key of this database; restore the key that was backed up with it")
        self._fingerprint = keyring.fingerprint
        kept = self.kept_hashes(keyring.active_id)
        if missing := set(kept.values()) - set(keyring.ids):
            raise KeyMismatch(
                f"{path} lacks key {min(missing)}, by which an opt-out is known; restore the newest key file"
            )
        return keyring.keeping(kept)

    def kept_hashes(self, active_id: int) -> dict[bytes, int]:
        """Hashes of opt-outs that have outlived their number, made by a key before this one; each with its key.

        Only a rotation adds to them, and then nobody serves.
        """
        with self.read_engine.connect() as connection:
            rows = connection.execute(
                select(opt_outs.c.number_hash, opt_outs.c.number_key_id).where(
                    opt_outs.c.number_sealed.is_(None),
                    opt_outs.c.number_hash.is_not(None),
                    opt_outs.c.number_key_id < active_id,
                )
            )
            return {row.number_hash: row.number_key_id for row in rows}

    def read_meta(self, key: str) -> str | None:
        with self.read_engine.connect() as connection:
            return connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar_one_or_none()

    def write_meta(self, key: str, value: str | None) -> None:
        """Sets or (None) removes a word about the whole database."""
        with self.write_engine.begin() as connection:
            if value is None:
                connection.execute(meta.delete().where(meta.c.key == key))
            elif connection.execute(update(meta).where(meta.c.key == key).values(value=value)).rowcount == 0:
                connection.execute(insert(meta).values(key=key, value=value))


def _close_quietly(connection: Connection) -> None:
    """Closes a detached connection, also one whose server is gone: SQLAlchemy would raise at its rollback before."""
    if not connection.invalidated and (raw := connection.connection.dbapi_connection) is not None:
        raw.close()
    with suppress(DBAPIError):
        connection.close()


def open_database(url: str, base: Path, readers: int = 4) -> Database:
    """Opens a database and reaches it once.

    Raises:
        StoreError: it cannot be reached.
        ValueError: the URL is none.
    """
    database = Database(parse_url(url, base), readers)
    try:
        with database.read_engine.connect():
            pass
    except (OperationalError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise StoreError(f"the database cannot be opened: {str(cause).splitlines()[0]}") from error
    return database
