"""Huiyin's push beside a bare client that posts the same bodies to the same stand-in.

A round pushes a full outbox (a copy of one that is made once) to a fresh stand-in, then has the bare client post the
very bodies that Huiyin sent, as many in flight, to another fresh stand-in. Both run on the server's core, the stand-in
on the other. Huiyin's time ends when every answer is committed; the bare client's when it is read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.process import ROOT, BenchError, Cores, Server, pinned

SECRET = "bench"
IN_FLIGHT = 4
"""As `centre.in_flight` is by default."""
LIMIT = 300.0
"""Seconds that one push may take."""


@dataclass(slots=True)
class Push:
    """One kind of push over all rounds."""

    title: str
    batch: int
    evaluations: int
    huiyin: list[float] = field(default_factory=list)
    """Evaluations a second, a round each."""
    bare: list[float] = field(default_factory=list)

    @property
    def huiyin_per_second(self) -> float:
        """The median of the rounds."""
        return median(self.huiyin)

    @property
    def bare_per_second(self) -> float:
        """The median of the rounds."""
        return median(self.bare)

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return median(own / bare for own, bare in zip(self.huiyin, self.bare, strict=True))


def _stand_in(core: int, *keep: str) -> AbstractContextManager[Server]:
    return Server((sys.executable, "-m", "benchmarks.servers.centre", SECRET, *keep), core)


def _timed(argv: Sequence[str], core: int) -> tuple[float, int]:
    """Run a client that says `ready`, waits for a line, and says `done SECONDS COUNT`."""
    with pinned(core):
        client = subprocess.Popen(
            [sys.executable, "-m", *argv],
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        said, errors = client.communicate("go\n", timeout=LIMIT)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        raise BenchError(f"{argv[0]} had not pushed everything after {LIMIT:g} s") from None
    for line in said.splitlines():
        if line.startswith("done "):
            _, seconds, count = line.split()
            return float(seconds), int(count)
    raise BenchError(f"{argv[0]} failed:\n{errors[-2000:]}")


def _round(kind: Push, full: Path, cores: Cores) -> None:
    with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as folder:
        shutil.copytree(full, folder, dirs_exist_ok=True)
        bodies = f"{folder}/bodies"
        with _stand_in(cores.generator, bodies) as centre:
            url = f"http://127.0.0.1:{centre.port}/api"
            argv = ["benchmarks.servers.huiyin_push", "push", folder, url, SECRET, str(kind.batch), str(IN_FLIGHT)]
            seconds, count = _timed(argv, cores.server)
        if count != kind.evaluations:
            raise BenchError(f"{count} evaluations were pushed instead of {kind.evaluations}")
        with _stand_in(cores.generator) as centre:
            url = f"http://127.0.0.1:{centre.port}/api"
            argv = ["benchmarks.servers.bare_push", bodies, url, SECRET, str(IN_FLIGHT)]
            bare_seconds, _ = _timed(argv, cores.server)
    kind.huiyin.append(count / seconds)
    kind.bare.append(count / bare_seconds)


def measure(rounds: int, evaluations: int, cores: Cores, tell: Callable[[str], None]) -> Push:
    """Push an outbox that holds so many, `rounds` times, in the full batches that a backlog gives."""
    kind = Push("batches of 100", 100, evaluations)
    with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as full:
        fill = ["-m", "benchmarks.servers.huiyin_push", "fill", full, str(evaluations)]
        done = subprocess.run([sys.executable, *fill], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the outbox could not be filled:\n{done.stderr[-2000:]}")
        for number in range(1, rounds + 1):
            _round(kind, Path(full), cores)
            tell(
                f"round {number}: push, {kind.title}: Huiyin {kind.huiyin[-1]:,.0f}, "
                f"bare client {kind.bare[-1]:,.0f} evaluations a second"
            )
    return kind
