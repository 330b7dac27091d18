"""A real PostgreSQL for the tests: Debian's package, on a socket in a directory of its own, gone at the end."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

__all__ = ["Copies", "PostgresServer", "postgres_missing"]

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def postgres_missing() -> str | None:
    """Why there is no PostgreSQL here, in one line; None: there is."""
    if not any((directory / "initdb").exists() for directory in _BINARIES):
        return "PostgreSQL is missing (Debian: apt-get install postgresql)"
    return None


class PostgresServer:
    """One server; each test gets a database of its own, gone with the test.

    `durable`: commits reach the disk as in production. Without it making and dropping one is quicker. `settings`: more
    of PostgreSQL's own.
    """

    def __init__(self, directory: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._durable = durable
        self._settings = settings or {}
        self.data = directory / "data"
        self._binaries = next(directory for directory in _BINARIES if (directory / "initdb").exists())
        self._process: subprocess.Popen[bytes] | None = None
        self._names = (f"t{number}" for number in itertools.count(1))
        self._version = int(self._binaries.parent.name)
        # initdb refuses to run as root; the package brings a user of its own.
        self._user = "postgres" if os.geteuid() == 0 else None

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {}
        entry = pwd.getpwnam(self._user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": "/"}

    def start(self) -> None:
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
        run: list[str | Path] = [
            self._binaries / "initdb",
            "-D",
            self.data,
            "-A",
            "trust",
            "-U",
            "huiyin",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run(run, check=True, capture_output=True, **self._as_user())  # type: ignore[call-overload]
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "max_connections": "100",
            "deadlock_timeout": "200ms",
            "fsync": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "logging_collector": "off",
            **self._settings,
        }
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{key} = '{value}'\n" for key, value in settings.items())
        self.run()

    def run(self) -> None:
        """Starts the server on its data; also after `kill`."""
        log = (self.directory / "server.log").open("ab")
        self._process = subprocess.Popen(  # type: ignore[call-overload]
            [self._binaries / "postgres", "-D", self.data], stdout=log, stderr=log, **self._as_user()
        )
        log.close()
        deadline = time.monotonic() + 30
        probe: list[str | Path] = [self._binaries / "pg_isready", "-h", self.directory, "-U", "huiyin", "-q"]
        while subprocess.run(probe, check=False).returncode != 0:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self.directory / "server.log").read_text())
            time.sleep(0.05)

    def new_database(self, template: str = "template0") -> str:
        """The URL of a new database: empty, or a copy of another (which nobody may be connected to)."""
        name = next(self._names)
        # Of a server whose disk is not waited for, copying the files takes half as long as writing them to the log.
        copying = " STRATEGY file_copy" if not self._durable and self._version >= 15 else ""
        self.psql(f"CREATE DATABASE {name} TEMPLATE {template}{copying}")
        return f"postgresql+psycopg://huiyin@/{name}?host={self.directory}"

    def drop(self, url: str) -> None:
        """Removes a database of `new_database`. Hundreds left lying fill the disk, and a crash reads them all again."""
        name = url.partition("@/")[2].partition("?")[0]
        self.psql(f"DROP DATABASE {name} WITH (FORCE)")

    def psql(self, statement: str, database: str = "postgres") -> str:
        run: list[str | Path] = [
            self._binaries / "psql",
            "-h",
            self.directory,
            "-U",
            "huiyin",
            "-d",
            database,
            "-qAtc",
            statement,
        ]
        return str(subprocess.run(run, check=True, capture_output=True, text=True).stdout).strip()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
        shutil.rmtree(self.data, ignore_errors=True)

    def kill(self) -> None:
        """Ends the server at once, as a crash does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)


class Copies:
    """Copies of one migrated database, handed on from test to test: emptying one costs a fraction of making it anew.

    One that a test has changed otherwise (a table, an index, a setting) is dropped.
    """

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server = server
        self._template = template
        self._free: list[str] = []
        self._as_made: tuple[list[tuple[object, ...]], dict[str, bytes], dict[str, int | None]] | None = None

    def take(self) -> str:
        """The URL of a database as migrated; nobody else has it until it is given back."""
        if self._free:
            return self._free.pop()
        url = self._server.new_database(self._template)
        if self._as_made is None:
            with _administered(url) as connection:
                self._as_made = _shape(connection), _rows(connection), _sequences(connection)
        return url

    def give_back(self, url: str) -> None:
        """Ends who is still connected, and puts the rows and the sequences back to what the migrations made."""
        assert self._as_made is not None
        shape, rows, sequences = self._as_made
        with _administered(url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            as_migrated = _shape(connection) == shape
            if as_migrated:
                connection.execute("SET session_replication_role = replica")  # deletes in any order
                for table in _used(connection):
                    connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
                if grown := _grown(connection):
                    tables = sql.SQL(", ").join(map(sql.Identifier, grown))
                    connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(tables))
                for table, content in rows.items():
                    into = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
                    with connection.cursor() as cursor, cursor.copy(into) as copy:
                        copy.write(content)
                for name, last in _sequences(connection).items():
                    if last != (wanted := sequences[name]):
                        connection.execute("SELECT setval(%s, %s, %s)", (name, wanted or 1, wanted is not None))
                connection.execute("DELETE FROM pg_statistic WHERE starelid >= 16384")
        if as_migrated:
            self._free.append(url)
        else:
            self._server.drop(url)


def _administered(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def _shape(connection: psycopg.Connection[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """What is in the database besides rows."""
    return connection.execute(
        """
        SELECT 'relation', c.relname, c.relkind::text, coalesce(pg_get_indexdef(i.indexrelid), ''),
               coalesce(c.reloptions::text, '')
            FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
            WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace
        UNION ALL SELECT 'column', attrelid::regclass::text, attname, atttypid::text, attnotnull::text
            FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0 AND attrelid::regclass::text NOT LIKE 'pg_toast%'
        UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), ''
            FROM pg_constraint WHERE oid >= 16384
        UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, tgenabled::text, '' FROM pg_trigger
            WHERE NOT tgisinternal
        UNION ALL SELECT 'function', proname, '', '', '' FROM pg_proc WHERE oid >= 16384
        UNION ALL SELECT 'schema', nspname, '', '', '' FROM pg_namespace WHERE oid >= 16384
        UNION ALL SELECT 'setting', setrole::text, setconfig::text, '', '' FROM pg_db_role_setting
        ORDER BY 1, 2, 3, 4, 5
        """
    ).fetchall()


def _used(connection: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    """The tables that hold rows."""
    tables = [
        str(name) for (name,) in connection.execute("SELECT relname FROM pg_class WHERE oid >= 16384 AND relkind = 'r'")
    ]
    asked = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(table, sql.Identifier(table)) for table in tables
    )
    return [str(name) for (name,) in connection.execute(asked)]


def _grown(connection: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    """Tables whose dead rows later tests would have to read past. One TRUNCATE costs as much as twenty DELETE."""
    return [
        str(name)
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE oid >= 16384 AND relkind = 'r' AND pg_relation_size(oid) > 65536"
        )
    ]


def _rows(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, bytes]:
    kept = {}
    for table in _used(connection):
        with (
            connection.cursor() as cursor,
            cursor.copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy,
        ):
            kept[table] = b"".join(bytes(part) for part in copy)
    return kept


def _sequences(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, int | None]:
    found = connection.execute("SELECT sequencename, last_value FROM pg_sequences").fetchall()
    return {str(name): last if isinstance(last, int) else None for name, last in found}
