"""Many calls at once whose callers think: what a waiting call costs in memory, and how late a command comes.

The calls arrive evenly over the thinking time until all of them are open; a call that ends is replaced, so that the
server goes on working at the rate of arrivals while all the others wait. Beside them, in the same seconds, from the
same generator and on the server's own core, a bare echo server is asked: what the machine and the generator add is in
both figures, and the difference is the server's.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.agi_load import resident_kib
from benchmarks.contenders import Contender
from benchmarks.process import BenchError, Cores, Server, generate

WARM_UP_CALLS = 200
ROUNDS_OF_THINKING = 3.0
"""How many thinking times the run lasts: one to fill up, the rest with all calls open."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The outcome; memory in KiB, times in milliseconds."""

    contender: Contender
    at_once: int
    think: float
    calls: int
    idle_kib: int
    full_kib: int
    p50: float
    p99: float
    slowest_command: str
    """The command with the highest p99, and that p99: where the server waits."""
    slowest_p99: float
    echo_p50: float
    echo_p99: float

    @property
    def kib_per_call(self) -> float:
        """Resident memory a call over the idle process."""
        return (self.full_kib - self.idle_kib) / self.at_once

    @property
    def p99_over_echo(self) -> float:
        """Milliseconds that the server's p99 lies above the echo's."""
        return self.p99 - self.echo_p99


def measure(contender: Contender, at_once: int, think: float, cores: Cores) -> Waiting:
    """One run; BenchError when a call failed or the calls were never all open."""
    calls = round(at_once * ROUNDS_OF_THINKING)
    echo = Server((sys.executable, "-m", "benchmarks.servers.echo"), cores.server)
    with contender.server(cores) as server, echo:
        generate(cores.generator, 30.0, port=server.port, script=contender.script, calls=WARM_UP_CALLS)
        idle = resident_kib(server.pid)
        report = generate(
            cores.generator,
            think * (ROUNDS_OF_THINKING + 2) + 30.0,
            port=server.port,
            script=contender.script,
            calls=calls,
            first=WARM_UP_CALLS,
            at_once=at_once,
            starts_per_second=at_once / think,
            think=think,
            watch_pid=server.pid,
            echo_port=echo.port,
        )
    samples = report["resident_kib"]
    if not samples:
        raise BenchError(f"never {at_once} calls at once, at most {report['most_at_once']}: the server falls behind")
    slowest, figures = max(report["latency_by_command"].items(), key=lambda item: item[1]["p99"])
    return Waiting(
        contender=contender,
        at_once=at_once,
        think=think,
        calls=report["calls"],
        idle_kib=idle,
        full_kib=max(samples),
        p50=report["latency"]["p50"],
        p99=report["latency"]["p99"],
        slowest_command=slowest,
        slowest_p99=figures["p99"],
        echo_p50=report["echo"]["p50"],
        echo_p99=report["echo"]["p99"],
    )
