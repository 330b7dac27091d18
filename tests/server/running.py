"""The real program in a process of its own, and one caller who does a step at a time."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from simulate.caller import Plan, environment_block, request_line

__all__ = ["COMMAND", "Caller", "Huiyin", "Program", "run_command", "write_config"]

COMMAND = [sys.executable, "-c", "from server.cli import main; main()"]
ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 30.0


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HUIYIN_", "COV_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **(extra or {})}


def write_config(folder: Path, text: str = "") -> Path:
    """A configuration in which everything listens on free ports, unless `text` says otherwise."""
    file = folder / "huiyin.toml"
    sections = {
        "ivr": 'listen = "127.0.0.1:0"',
        "console": 'listen = "127.0.0.1:0"',
        "health": 'listen = "127.0.0.1:0"',
    }
    free = "".join(f"[{name}]\n{line}\n" for name, line in sections.items() if f"[{name}]" not in text)
    file.write_text(free + text, encoding="utf-8")
    return file


def run_command(
    *arguments: str | Path, environ: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=_environment(environ),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Program:
    """A command that runs until it is stopped, at the latest at the end of a `with`."""

    def __init__(
        self, *arguments: str | Path, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        self.lines: list[str] = []
        self._unread: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [*prefix, *COMMAND, *map(str, arguments)],
            env=_environment(environ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._unread.put(line.rstrip("\n"))
        self._unread.put(None)

    def wait_for(self, pattern: str, seconds: float = _PATIENCE) -> re.Match[str]:
        """The next line of the log that the pattern finds."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self._unread.get(timeout=max(end - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"no line {pattern!r} within {seconds} s:\n" + "\n".join(self.lines)) from None
            if line is None:
                raise AssertionError(f"ended without a line {pattern!r}:\n" + "\n".join(self.lines))
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match

    def ready(self) -> Self:
        """Waits until it serves; notes where."""
        self.wait_for(r"\bready: ")
        return self

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = _PATIENCE) -> int:
        """Its exit code."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        while (line := self._unread.get()) is not None:
            self.lines.append(line)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Huiyin(Program):
    """`huiyin serve`."""

    def __init__(
        self, config: Path, *arguments: str, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        super().__init__("serve", "-c", config, *arguments, environ=environ, prefix=prefix)

    def port(self, part: str) -> int:
        """The port of `ivr`, `console` or `health`, once ready."""
        for line in self.lines:
            if match := re.search(rf"\({part}\.listen\) on 127\.0\.0\.1:(\d+)", line):
                return int(match[1])
        raise AssertionError(f"{part} does not listen:\n" + "\n".join(self.lines))

    def get(self, path: str, part: str = "console") -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port(part)}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def readiness(self, part: str = "console") -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.get("/readyz", part)[1])
        return document

    def becomes(self, status: str, part: str = "console") -> dict[str, Any]:
        """The readiness once it has this status; asked again and again, for nothing tells of it."""
        end = time.monotonic() + _PATIENCE
        while (found := self.readiness(part))["status"] != status:
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found


class Caller:
    """Asterisk's side of one call, a step at a time."""

    def __init__(self, port: int, path: str = "rate", number: str = "13800000001", **values: str) -> None:
        plan = Plan(request_line(path, **values), number=number, unique_id=values.get("call", "caller-1.1"))
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self._socket.sendall(environment_block(plan, "127.0.0.1", port))
        self._lines = self._socket.makefile("rb")
        self.variables: dict[str, str] = {}
        self.heard: list[str] = []

    def until(self, command: str) -> str:
        """Plays along until this command comes; it stays unanswered. "" where the server closed first."""
        for raw in self._lines:
            line = raw.decode().rstrip("\n")
            if line.startswith(command):
                return line
            self._take(line)
        return ""

    def press(self, key: str) -> None:
        """The key, as the answer to the command that stays unanswered."""
        self._say(f"200 result={ord(key)}")

    def silent(self) -> None:
        self._say("200 result=0")

    def finish(self) -> None:
        """Plays along to the end."""
        for raw in self._lines:
            self._take(raw.decode().rstrip("\n"))
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _take(self, line: str) -> None:
        if match := re.fullmatch(r'SET VARIABLE "?(\w+)"? "?(.*?)"?', line):
            self.variables[match[1]] = match[2]
            self._say("200 result=1")
        elif line.startswith("GET VARIABLE"):
            self._say("200 result=1 (SUCCESS)")
        else:
            if match := re.match(r'(?:STREAM FILE|EXEC "?Background"?) "?([^" ]+)', line):
                self.heard += match[1].split("&")
            self._say("200 result=0 endpos=8000" if line.startswith("STREAM") else "200 result=0")

    def _say(self, reply: str) -> None:
        try:
            self._socket.sendall(reply.encode() + b"\n")
        except OSError:
            return
