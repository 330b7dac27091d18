"""Where the time goes: a sampling profile of a server under load, summed up by layer.

py-spy reads the stacks of the running process from outside, all threads, without slowing the code it looks at as a
tracing profiler would (small functions cost most there and would look worst). A sample belongs to the innermost
frame that a rule of `LAYERS` knows, so SQLAlchemy's own frames count for the code that called it only where no rule
names them.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.compare import WARM_UP_CALLS
from benchmarks.contenders import PYTHON_PACKAGES, Contender
from benchmarks.process import BenchError, Cores, Server, cpu_seconds, generate

RATE = 500
"""Samples a second."""
PY_SPY = PYTHON_PACKAGES / "bin" / "py-spy"

SYSTEM_CALLS: tuple[tuple[str, str], ...] = (
    ("sending (send)", r"^(?:.*\.)?(_write|write|send|doWrite|writeSomeData) \((ivr/|twisted/internet/)"),
    ("receiving (recv)", r"^(?:.*\.)?doRead \(twisted/internet/tcp"),
    ("waiting for events (epoll)", r"^(?:.*\.)?doPoll \(twisted/internet/epollreactor"),
    (
        "opening and closing connections",
        r"^socket\.accept|\(socket\.py|^EPollReactor\.|^(?:.*\.)?(_closeSocket|__init__|buildProtocol) "
        r"\(twisted/internet/(tcp|abstract)",
    ),
)
"""Looked for in the innermost frame alone: Python code whose own time is that of the system call it makes."""

LAYERS: tuple[tuple[str, str], ...] = (
    ("writer: SQL and COMMIT", r"\(models/(door|database|commands|tables)|\(sqlalchemy/|\(sqlite3/|\(psycopg/"),
    ("phone numbers (phonenumbers)", r"\(phonenumbers/"),
    ("encryption and hashes", r"\(models/privacy|\(cryptography/|\(hmac\.py|\(hashlib"),
    ("ids and time", r"\(models/(ids|clock)|\(uuid_utils/"),
    ("intake", r"\(intake/"),
    ("AGI commands and replies (pyst2)", r"\(asterisk/agi\.py"),
    ("AGI wire", r"\(ivr/agi"),
    ("dialogue", r"\(ivr/"),
    ("metrics and logs", r"\(prometheus_client/|\(structlog/|\(logging/"),
    ("Twisted: reactor and Deferreds", r"\(twisted/"),
    ("handing over between threads", r"\((threading|queue|concurrent)|\(models/futures"),
)
"""Layer → what a frame, written `function (file:line)`, looks like there; from the innermost frame outwards the first
frame that a rule fits decides."""
_INNERMOST = tuple((layer, re.compile(pattern)) for layer, pattern in SYSTEM_CALLS)
_COMPILED = tuple((layer, re.compile(pattern)) for layer, pattern in LAYERS)


@dataclass(frozen=True, slots=True)
class Profile:
    """The samples of one contender under load."""

    contender: Contender
    samples: int
    cpu_ms: float
    """CPU per 1,000 calls while it was looked at."""
    by_layer: list[tuple[str, float]]
    """Layer, its part of all samples (0…1); largest first."""
    by_function: list[tuple[str, float]]
    """`function (file)`, its own part without what it calls; the fifteen largest."""


def missing() -> str:
    """Empty when a profile can be taken here, else why not."""
    return "" if PY_SPY.is_file() else "profile: py-spy is not installed (tools/bench-programs.sh)"


def layer_of(stack: Sequence[str]) -> str:
    """The layer of one sample, whose innermost frame is the last."""
    for layer, pattern in _INNERMOST:
        if pattern.search(stack[-1]):
            return layer
    for frame in reversed(stack):
        for layer, pattern in _COMPILED:
            if pattern.search(frame):
                return layer
    return "the rest"


def summarise(folded: str) -> tuple[Counter[str], Counter[str]]:
    """Samples by layer and by function from py-spy's raw output: `frame;frame;… count` a line."""
    layers: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in folded.splitlines():
        text, _, count = line.rpartition(" ")
        if not text:
            continue
        stack = text.split(";")
        layers[layer_of(stack)] += int(count)
        functions[re.sub(r":\d+\)$", ")", stack[-1])] += int(count)
    return layers, functions


def profile(contender: Contender, calls: int, cores: Cores) -> Profile:
    """Sample a contender while it serves `calls` calls, 64 at once."""
    with tempfile.TemporaryDirectory() as folder, Server(contender.argv, cores.server, contender.env) as server:
        common: dict[str, Any] = {"port": server.port, "script": contender.script}
        generate(cores.generator, 30.0, calls=WARM_UP_CALLS, **common)
        out = Path(folder) / "folded"
        argv = [str(PY_SPY), "record", "--pid", str(server.pid), "--format", "raw", "--output", str(out)]
        argv += ["--rate", str(RATE), "--duration", "3600"]
        spy = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            attached = _wait_for(spy, "Sampling process")
            before = cpu_seconds(server.pid)
            generate(cores.generator, 120.0, calls=calls, first=WARM_UP_CALLS, **common)
            used = cpu_seconds(server.pid) - before
        finally:
            spy.send_signal(2)
            said, _ = spy.communicate(timeout=30)
        if not out.exists():
            raise BenchError(f"py-spy wrote no profile: {attached}{said[-500:]}")
        layers, functions = summarise(out.read_text())
    total = layers.total()
    if not total:
        raise BenchError("py-spy took no sample: the run was too short")
    return Profile(
        contender=contender,
        samples=total,
        cpu_ms=used * 1e6 / calls,
        by_layer=[(name, count / total) for name, count in layers.most_common()],
        by_function=[(name, count / total) for name, count in functions.most_common(15)],
    )


def _wait_for(process: subprocess.Popen[str], words: str) -> str:
    """Read the process's output until it has said `words` ."""
    assert process.stdout is not None
    said = ""
    while words not in said:
        piece = process.stdout.readline()
        if not piece:
            raise BenchError(f"py-spy ended: {said[-500:]}")
        said += piece
    return said
