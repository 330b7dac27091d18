"""npm's `smpp` as an SMSC for a test: a process of its own, driven by JSON lines (smsc.js).

Rules it keeps: the port is free and on 127.0.0.1; ready is what the process itself says; every event is kept and none
is waited for by a pause; stopped means that the process is gone. The module comes from the cache that
tools/test-programs.sh fills.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

__all__ = ["Event", "NodeFailed", "NodeSmsc", "node_missing", "running"]

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "smsc.js"
LOCK = HERE / "package-lock.json"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
WAIT_SECONDS = 20.0

Event = dict[str, Any]


def _modules() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "huiyin" / "node-smpp"


def node_missing() -> str | None:
    """What is missing for this peer, as a sentence; None: nothing."""
    if shutil.which("node") is None:
        return "node is missing (tools/test-programs.sh)"
    stamp = _modules() / ".pins"
    if not stamp.exists() or stamp.read_bytes() != LOCK.read_bytes():
        return "npm's smpp is missing (tools/test-programs.sh)"
    return None


class NodeFailed(Exception):
    """The peer did not do what it was asked within its time; the sentence carries what it said last."""


class NodeSmsc:
    """One running peer. `options` as smsc.js takes them.

    Blocking, for tests of processes; a test on the reactor awaits `came` instead of `wait`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.events: list[Event] = []
        self.port = 0
        self._news = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it, on the port that it had before if it had one; returns when it listens."""
        options = {**self.options, "port": self.port}
        began = len(self.events)
        self._process = subprocess.Popen(
            ["node", str(SCRIPT), json.dumps(options)],
            env={**os.environ, "NODE_PATH": str(_modules() / "node_modules")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        try:
            self.port = self.wait("ready", after=began, seconds=START_SECONDS)["port"]
        except NodeFailed:
            self.kill()
            raise

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def stop(self) -> None:
        """Ends it in order: its stdin is closed, and it goes."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        assert self._reader is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._reader.join(STOP_SECONDS)
        process.stdout.close()

    def kill(self) -> None:
        """Ends it as a power cut does: its connections break without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.stop()

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def do(self, command: str, **fields: Any) -> None:
        """One command of smsc.js."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **fields}) + "\n")
        self._process.stdin.flush()

    def reply(self, number: str, to: str, text: str, **fields: Any) -> None:
        """A citizen writes: `order` of the segments, `reference`, `label` for its `answered` events."""
        self.do("reply", **{"from": number, "to": to, "text": text, **fields})

    # ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def seen(self, event: str, after: int = 0, **fields: Any) -> list[Event]:
        """The events of this name with these fields, so far."""
        return [
            one
            for one in self.events[after:]
            if one["event"] == event and all(one.get(name) == value for name, value in fields.items())
        ]

    def wait(self, event: str, count: int = 1, after: int = 0, seconds: float = WAIT_SECONDS, **fields: Any) -> Event:
        """Blocks until there are so many of these events; the last one.

        Raises:
            NodeFailed: not within `seconds`, or the process is gone.
        """
        end = time.monotonic() + seconds
        with self._news:
            while len(found := self.seen(event, after, **fields)) < count:
                gone = self._process is None or self._process.poll() is not None
                if gone or not self._news.wait(max(0.0, end - time.monotonic())):
                    why = "the process is gone" if gone else f"not within {seconds:g} s"
                    raise NodeFailed(f"{event} {fields or ''}: {why}; last events: {self.events[-5:]}")
        return found[count - 1]

    async def came(self, event: str, count: int = 1, after: int = 0, **fields: Any) -> Event:
        """`wait` for tests on the reactor."""
        waited: Event = await deferToThread(self.wait, event, count, after, **fields)
        return waited

    def messages(self, number: str) -> list[str]:
        """The whole messages to a number, as the library joined them."""
        return [one["text"] for one in self.seen("message", destination=number)]


@contextlib.contextmanager
def running(**options: Any) -> Iterator[NodeSmsc]:
    """A peer for as long as the block."""
    peer = NodeSmsc(**options)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
