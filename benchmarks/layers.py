"""Where the time goes: a sampling profile of a server under load, summed up by layer.

py-spy reads the stacks of the running process from outside, all threads, without slowing the code it looks at as a
tracing profiler would (small functions cost most there and would look worst). A sample belongs to the innermost
frame that a rule of `LAYERS` knows. A thread that waits for the interpreter looks busy from outside, so each thread's
samples are weighed with the CPU time that the kernel counted for that thread.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.compare import WARM_UP_CALLS
from benchmarks.contenders import PYTHON_PACKAGES, Contender
from benchmarks.process import BenchError, Cores, cpu_seconds, generate

RATE = 500
"""Samples a second."""
PY_SPY = PYTHON_PACKAGES / "bin" / "py-spy"

WAITING = re.compile(
    r"^(Condition\.wait|Event\.wait|_worker|.*\.select|.*\.get|_wait_for_tstate_lock) "
    r"\((threading|concurrent/futures/thread|selectors|queue)\.py|^(?:.*\.)?doPoll \(twisted/internet/epollreactor"
)
"""The innermost frame of a thread that waits for work; such samples are no work and are left out."""

SYSTEM_CALLS: tuple[tuple[str, str], ...] = (
    ("sending (send)", r"^Session\.(ask|last_words|doWrite) \(ivr/session"),
    ("receiving (recv)", r"^Session\.doRead \(ivr/session"),
    (
        "opening and closing connections",
        r"\(socket\.py|^EPollReactor\._|^Session\.(__init__|_close) |^Listener\.doRead \(ivr/listener",
    ),
    ("COMMIT, with its write to the disk", r"do_commit \(sqlalchemy/"),
    ("statements inside the database", r"(do_execute|do_executemany|fetchall|fetchone|_fetchall_impl) \(sqlalchemy/"),
)
"""Looked for in the innermost frame alone: Python code whose own time is that of what it calls outside Python."""

LAYERS: tuple[tuple[str, str], ...] = (
    ("database in Python (door, SQLAlchemy)", r"\(models/(door|database|tables)|\(sqlalchemy/|\(sqlite3/|\(psycopg/"),
    ("phone numbers (phonenumbers)", r"\(phonenumbers/"),
    ("encryption and hashes", r"\(models/privacy|\(cryptography/|\(hmac\.py|\(hashlib"),
    ("ids and time", r"\(models/(ids|clock)|\(uuid_utils/"),
    ("intake", r"\(intake/"),
    ("AGI commands and replies (pyst2)", r"\(asterisk/agi\.py|\(ivr/agi"),
    ("AGI session and port", r"\(ivr/(session|listener)"),
    ("dialogue", r"\(ivr/"),
    ("metrics, health and logs", r"\(prometheus_client/|\(structlog/|\(logging/|\(server/"),
    ("Twisted: reactor and Deferreds", r"\(twisted/"),
    ("handing over between threads", r"\((threading|queue|concurrent)|\(models/futures"),
)
"""Layer → what a frame, written `function (file:line)`, looks like there; from the innermost frame outwards the first
frame that a rule fits decides."""
_THREAD = re.compile(r"(?:process \d+:.*?;)?thread \((\d+)\)")
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


def summarise(folded: str, used: Mapping[int, float]) -> tuple[dict[str, float], dict[str, float], int]:
    """CPU seconds by layer and by function, and the number of samples, from py-spy's raw output.

    Args:
        folded: `thread (ID): NAME;frame;frame;… count` a line.
        used: CPU seconds of each thread, by its id.
    """
    by_thread: dict[int, list[tuple[list[str], int]]] = {}
    for line in folded.splitlines():
        text, _, count = line.rpartition(" ")
        thread = _THREAD.match(text)
        stack = text.split(";")[1:]
        if thread is None or not stack or WAITING.search(stack[-1]):
            continue
        by_thread.setdefault(int(thread[1]), []).append((stack, int(count)))
    layers: defaultdict[str, float] = defaultdict(float)
    functions: defaultdict[str, float] = defaultdict(float)
    samples = 0
    for thread_id, stacks in by_thread.items():
        taken = sum(count for _, count in stacks)
        samples += taken
        weight = used.get(thread_id, 0.0) / taken
        for stack, number in stacks:
            layers[layer_of(stack)] += number * weight
            functions[re.sub(r":\d+\)$", ")", stack[-1])] += number * weight
    return layers, functions, samples


def thread_seconds(pid: int) -> dict[int, float]:
    """CPU seconds of each thread of a process (proc(5), schedstat's first field)."""
    return {
        int(task.name): int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def profile(contender: Contender, calls: int, cores: Cores) -> Profile:
    """Sample a contender while it serves `calls` calls, 64 at once."""
    with tempfile.TemporaryDirectory() as folder, contender.server(cores) as server:
        common: dict[str, Any] = {"port": server.port, "script": contender.script}
        generate(cores.generator, 30.0, calls=WARM_UP_CALLS, **common)
        out = Path(folder) / "folded"
        argv = [str(PY_SPY), "record", "--pid", str(server.pid), "--format", "raw", "--output", str(out)]
        argv += ["--rate", str(RATE), "--duration", "3600", "--threads"]
        spy = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            attached = _wait_for(spy, "Sampling process")
            before, threads = cpu_seconds(server.pid), thread_seconds(server.pid)
            generate(cores.generator, 120.0, calls=calls, first=WARM_UP_CALLS, **common)
            used = cpu_seconds(server.pid) - before
            by_thread = {
                thread: seconds - threads.get(thread, 0.0) for thread, seconds in thread_seconds(server.pid).items()
            }
        finally:
            spy.send_signal(2)
            said, _ = spy.communicate(timeout=30)
        if not out.exists():
            raise BenchError(f"py-spy wrote no profile: {attached}{said[-500:]}")
        layers, functions, samples = summarise(out.read_text(), by_thread)
    total = sum(layers.values())
    if not samples:
        raise BenchError("py-spy took no sample: the run was too short")
    return Profile(
        contender=contender,
        samples=samples,
        cpu_ms=used * 1e6 / calls,
        by_layer=_largest(layers, total),
        by_function=_largest(functions, total)[:15],
    )


def _largest(seconds: Mapping[str, float], total: float) -> list[tuple[str, float]]:
    return sorted(((name, part / total) for name, part in seconds.items()), key=lambda item: -item[1])


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
