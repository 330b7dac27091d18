"""The real processes of the fault tests: `huiyin serve` and `huiyin simulate centre`, started, killed, restarted."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Centre", "Server", "until"]

HUIYIN = str(Path(sys.executable).with_name("huiyin"))
_START = 60.0
_ADDRESS = re.compile(r"(127\.0\.0\.1:\d+)")


def until(what: str, condition: Callable[[], Any], seconds: float = 30.0, every: float = 0.02) -> Any:
    """Waits for a truth that no event tells of: something another process does to a file or a port. `every`: seconds
    between two looks.

    Raises:
        AssertionError: it did not come true in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(every)


class Process:
    """A command whose stderr is read as it comes."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self._condition = threading.Condition()
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._condition:
                self.lines.append(line)
                self._condition.notify_all()
        with self._condition:
            self.lines.append("")  # the end
            self._condition.notify_all()

    def wait_for(self, text: str, seconds: float = _START) -> str:
        """The first line with this text, as soon as it is there."""
        with self._condition:
            arrived = self._condition.wait_for(
                lambda: any(text in line for line in self.lines) or "" in self.lines, timeout=seconds
            )
            found = [line for line in self.lines if text in line]
            assert arrived, f"nothing said in {seconds:g} s"
            assert found, f"no line with {text!r}:\n{''.join(self.lines)}"
            return found[0]

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.wait()

    def terminate_child(self) -> None:
        """SIGTERM to the one process that this one started (strace keeps signals to itself)."""
        [child] = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)

    def wait(self, seconds: float = 60.0) -> int:
        code = self.popen.wait(seconds)
        self._reader.join(seconds)
        assert self.popen.stderr is not None
        self.popen.stderr.close()
        return code

    def close(self) -> None:
        """Ends it whatever its state."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.wait()


class Centre:
    """A stand-in centre in a process of its own; it outlives the server under test."""

    def __init__(self, directory: Path) -> None:
        self.secret = secrets.token_hex(16)
        journal = str(directory / "centre.jsonl")
        self._process = Process(
            [HUIYIN, "simulate", "centre", "--listen", "127.0.0.1:0", "--secret", self.secret, "--journal", journal]
        )
        self.url = self._process.wait_for("ready: a centre at").split()[-1]

    def _ask(self, path: str, content: Any = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{path}", data=data), timeout=10) as answer:
            return json.load(answer)

    def plan(self, *faults: dict[str, Any]) -> None:
        """What goes wrong from now on (simulate/centre.py, Fault); nothing: nothing."""
        self._ask("control", list(faults))

    def received(self) -> dict[str, dict[str, Any]]:
        """The records in effect, by evaluationId."""
        return {record["evaluationId"]: record for record in self._ask("received")["evaluations"]}

    def violations(self) -> list[str]:
        return list(self._ask("control")["violations"])

    def requests(self) -> int:
        return int(self._ask("control")["requests"])

    def close(self) -> None:
        self._process.close()


@dataclass
class Server:
    """A `huiyin serve` on a SQLite file in `directory`; ports are free ones, anew at each start.

    `env`: of each start.
    """

    directory: Path
    centre: Centre | None = None
    extra: str = ""
    prefix: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    process: Process | None = None
    port: int = 0
    web: str = ""
    starts: int = field(default=0)

    @property
    def database(self) -> Path:
        return self.directory / "var" / "huiyin.db"

    def _configuration(self) -> Path:
        path = self.directory / "huiyin.toml"
        lines = [
            "[ivr]",
            'listen = "127.0.0.1:0"',
            'node = "here"',
            "[console]",
            'listen = "127.0.0.1:0"',
            "[centre]",
            'retry_most = "2s"',
            'retry_first = "50ms"',
        ]
        if self.centre is not None:
            lines += [f'url = "{self.centre.url}"', f'secret = "{self.centre.secret}"']
        path.write_text("\n".join(lines) + "\n" + self.extra)
        return path

    def start(self, fault: str = "", env: Mapping[str, str] | None = None) -> None:
        environment = {**self.env, **(env or {}), **({"HUIYIN_FAULT": fault} if fault else {})}
        command = [*self.prefix, HUIYIN, "serve", "-c", str(self._configuration())]
        self.process = Process(command, environment)
        self.starts += 1
        self.process.wait_for("ready:")
        agi = _ADDRESS.search(self.process.wait_for("FastAGI for Asterisk"))
        web = _ADDRESS.search(self.process.wait_for("web:"))
        assert agi is not None
        assert web is not None
        self.port = int(agi[1].rsplit(":", 1)[1])
        self.web = f"http://{web[1]}"

    @property
    def running(self) -> Process:
        assert self.process is not None
        return self.process

    def get(self, path: str) -> tuple[int, str]:
        """A page of the web port: status and text."""
        try:
            with urllib.request.urlopen(f"{self.web}{path}", timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Reads the database file, with a connection of its own."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(statement).fetchall()

    def ratings(self) -> dict[str, list[tuple[str, int, str]]]:
        """By call: (evaluation id, level, reasons) of each evaluation stored."""
        found: dict[str, list[tuple[str, int, str]]] = {}
        for call, identity, level, reasons in self.rows(
            "SELECT k.call_key, e.id, e.satisfaction, coalesce(e.reasons, '') FROM evaluations e"
            " JOIN call_keys k ON k.subject_id = e.subject_id"
        ):
            found.setdefault(call, []).append((identity, level, reasons))
        return found

    def waiting(self) -> int:
        return int(self.rows("SELECT count(*) FROM outbox")[0][0])

    def close(self) -> None:
        if self.process is not None:
            self.process.close()
