"""Starting, pinning, reading and stopping the processes of a benchmark.

Rules it keeps:
- A server has one core and the generator another, so neither's work shows in the other's time.
- CPU time is the kernel's own count for the whole process, all threads, those that have ended too.
- Whatever was started is stopped by its own id, also when a measurement fails.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT = 30.0
"""Seconds that a server may take until it accepts calls."""
READY = r"^ready (\d+)$"
"""What a server of `benchmarks.servers` says: its port."""
STOP_LIMIT = 10.0
"""Seconds between SIGTERM and SIGKILL."""


class BenchError(Exception):
    """A measurement that could not be taken; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the two sides run."""

    server: int
    generator: int

    @property
    def apart(self) -> bool:
        """Whether they are two: on a machine of one core the figures are worth little."""
        return self.server != self.generator


def choose_cores() -> Cores:
    """The first core that this process may use for the server, the last for the generator."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(server=allowed[0], generator=allowed[-1])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run the block, and what it starts, on one core; a child inherits it, so none of its threads escapes."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, user and system, all its threads, in seconds.

    It is the sum of utime and stime in /proc/PID/stat, read from the process's CPU clock instead, which counts
    nanoseconds where that file counts hundredths (clock_getcpuclockid(3): the id is the inverted pid, shifted).
    """
    return time.clock_gettime((~pid << 3) | 2)


def percentile(values: Sequence[float], part: int) -> float:
    """The value below which `part` of a hundred lie."""
    return sorted(values)[min(len(values) - 1, len(values) * part // 100)]


class Server:
    """A measured server: a process that says on its output where it listens.

    `{folder}` in its command line is a temporary folder that lives as long as the process, in which `files` (name →
    text) lie. One that `talks` is told lines.
    """

    def __init__(
        self,
        argv: Sequence[str],
        core: int,
        env: Mapping[str, str] | None = None,
        *,
        files: Mapping[str, str] | None = None,
        ready: str = READY,
        talks: bool = False,
    ) -> None:
        self.talks = talks
        self.argv = list(argv)
        self.core = core
        self.env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        self.files = files or {}
        self.ready = re.compile(ready)
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._said: deque[str] = deque(maxlen=200)
        self._more = threading.Condition()
        self._silent = False
        self._heard: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)

    @property
    def pid(self) -> int:
        """The process id; BenchError before the start."""
        if self.process is None:
            raise BenchError(f"{self.argv[-1]} is not started")
        return self.process.pid

    def __enter__(self) -> Server:
        self._folder = tempfile.TemporaryDirectory(prefix="huiyin-bench-")
        for name, text in self.files.items():
            (Path(self._folder.name) / name).write_text(text, encoding="utf-8")
        argv = [word.replace("{folder}", self._folder.name) for word in self.argv]
        with pinned(self.core):
            self.process = subprocess.Popen(
                argv,
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.PIPE if self.talks else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._reader.start()
        try:
            port = self._heard.get(timeout=START_LIMIT)
        except queue.Empty:
            self.__exit__()
            raise BenchError(f"{self.argv} was not ready after {START_LIMIT:g} s:\n{self.said()}") from None
        if port is None:
            self.__exit__()
            raise BenchError(f"{self.argv} ended before it was ready:\n{self.said()}")
        self.port = port
        return self

    def _read(self) -> None:
        """Reads the output to its end, or a full pipe would stop the server."""
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self._said.append(line)
                self._more.notify_all()
            found = self.ready.search(line)
            if found:
                self._heard.put(int(found[1]))
        with self._more:
            self._silent = True
            self._more.notify_all()
        self._heard.put(None)

    def said(self) -> str:
        """The end of what it wrote."""
        return "".join(self._said)

    def wait_for(self, pattern: str, limit: float = START_LIMIT) -> re.Match[str]:
        """The first line that it wrote, or will write within so many seconds, and that the pattern fits."""
        end = time.monotonic() + limit
        wanted = re.compile(pattern, re.MULTILINE)
        with self._more:
            while (found := wanted.search(self.said())) is None:
                left = end - time.monotonic()
                if left <= 0 or self._silent:
                    raise BenchError(f"{self.argv} did not say {pattern}:\n{self.said()}")
                self._more.wait(left)
        return found

    def forget(self) -> None:
        """Forget what it wrote so far, before it is asked for more."""
        with self._more:
            self._said.clear()

    def tell(self, line: str) -> None:
        """Write it a line."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def __exit__(self, *_: object) -> None:
        process = self.process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process is not None and process.stdout is not None:
            self._reader.join()
            process.stdout.close()
        if process is not None and process.stdin is not None:
            process.stdin.close()
        if self._folder is not None:
            self._folder.cleanup()


def generate(core: int, time_limit: float, **options: float | str) -> dict[str, Any]:
    """Run the load generator on a core and return its report; BenchError when any call failed.

    `options` are those of `python -m benchmarks.agi_load`, with underscores.
    """
    argv = [sys.executable, "-m", "benchmarks.agi_load", "--core", str(core), "--time-limit", str(time_limit)]
    for name, value in options.items():
        argv += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=time_limit + START_LIMIT, check=False)
    if not done.stdout:
        raise BenchError(f"the generator failed: {done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    if report["failures"]:
        raise BenchError(f"calls failed: {report['failures']}; the first call said {report['first_transcript']}")
    return report
