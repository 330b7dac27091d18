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

__all__ = ["PostgresServer", "postgres_missing"]

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
