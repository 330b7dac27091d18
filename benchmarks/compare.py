"""CPU per 1,000 calls of every contender: interleaved runs, medians, ratios to the baseline.

A round starts each contender afresh on the server's core, warms it up, and measures a fixed number of calls from the
other core; the next round does all of them again. Interleaving spreads whatever else the machine does over all of
them, and the ratio is taken within a round, where it was the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.contenders import BASELINE, Contender
from benchmarks.process import Cores, cpu_seconds, generate

WARM_UP_CALLS = 300


@dataclass(frozen=True, slots=True)
class Load:
    """How long a measurement is."""

    rounds: int = 5
    calls: int = 3000
    at_once: int = 64
    time_limit: float = 60.0
    """Seconds that one contender may take for one round."""


@dataclass(slots=True)
class Figures:
    """One contender over all rounds."""

    contender: Contender
    cpu_ms: list[float] = field(default_factory=list)
    """CPU milliseconds per 1,000 calls, a round each."""
    calls_per_second: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)

    def ratios(self, baseline: Figures) -> list[float]:
        """CPU relative to the baseline of the same round."""
        return [own / other for own, other in zip(self.cpu_ms, baseline.cpu_ms, strict=True)]

    def ratio(self, baseline: Figures) -> float:
        """The median of the rounds' ratios."""
        return median(self.ratios(baseline))


def measure_once(contender: Contender, load: Load, cores: Cores, figures: Figures) -> None:
    """One contender, one round; BenchError when it fails or any call differs from its script."""
    with contender.server(cores) as server:
        common: dict[str, float | str] = {"port": server.port, "script": contender.script, "at_once": load.at_once}
        generate(cores.generator, load.time_limit, calls=WARM_UP_CALLS, first=0, **common)
        before = cpu_seconds(server.pid)
        report = generate(cores.generator, load.time_limit, calls=load.calls, first=WARM_UP_CALLS, **common)
        used = cpu_seconds(server.pid) - before
    figures.cpu_ms.append(used * 1e6 / load.calls)
    figures.calls_per_second.append(report["calls"] / report["seconds"])
    figures.p50.append(report["latency"]["p50"])
    figures.p99.append(report["latency"]["p99"])


def compare(
    contenders: Sequence[Contender], load: Load, cores: Cores, tell: Callable[[str], None]
) -> dict[str, Figures]:
    """Measure all of them, `load.rounds` times; the baseline has to be among them."""
    table = {contender.key: Figures(contender) for contender in contenders}
    assert BASELINE in table
    for number in range(1, load.rounds + 1):
        for figures in table.values():
            measure_once(figures.contender, load, cores, figures)
            tell(f"round {number}: {figures.contender.title}: {figures.cpu_ms[-1]:.0f} ms CPU per 1,000 calls")
    return table
