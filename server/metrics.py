"""What /metrics shows: counts and times of this process, and how much waits for the centre.

Rules kept here:

* No label and no value tells who called.
* A scrape only reads memory: the parts' own counters, and figures of the database that a tick has read.
* A scrape runs in another thread than the parts. A whole dict is copied, a number read; nothing is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from centre.outbox import Backlog
from centre.push import PushStatistics
from intake.calendars import CalendarReach
from ivr.server import Statistics as CallStatistics
from models.door import Door

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

Source = Callable[[], Iterable[Metric]]


class _Sources(Collector):
    """Asks the parts for their counts, at each scrape."""

    def __init__(self) -> None:
        self.sources: list[Source] = []

    def collect(self) -> Iterable[Metric]:
        for source in self.sources:
            yield from source()

    def describe(self) -> Iterable[Metric]:
        return ()


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series of start times beside each count
        self.registry = CollectorRegistry()
        self._sources = _Sources()
        self.registry.register(self._sources)
        self._waiting = self._gauge("outbox_waiting", "Evaluations waiting for the centre, dead letters apart.")
        self._oldest = self._gauge("outbox_oldest_seconds", "Age of the oldest of them that nothing holds back.")
        self._dead = self._gauge("outbox_dead", "Dead letters: evaluations that need a person.")
        self._calendar = self._gauge("calendar_days_left", "Days that the confirmed calendar still reaches.")
        self._group_size = Histogram(
            "huiyin_commit_group_size",
            "Commands in a committed group.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self._commit_seconds = Histogram(
            "huiyin_commit_seconds",
            "Seconds from BEGIN to the end of COMMIT.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
            registry=self.registry,
        )

    def _gauge(self, name: str, sentence: str) -> Gauge:
        return Gauge(f"huiyin_{name}", sentence, registry=self.registry)

    # ── told ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def committed(self, commands: int, seconds: float) -> None:
        """A group was committed (the door's `observe`)."""
        self._group_size.observe(commands)
        self._commit_seconds.observe(seconds)

    def outbox(self, backlog: Backlog) -> None:
        """What waits for the centre, as a tick has counted it."""
        self._waiting.set(backlog.waiting)
        self._oldest.set(backlog.oldest.total_seconds())
        self._dead.set(backlog.dead)

    def calendar(self, reach: CalendarReach) -> None:
        """How far the calendar of the hotline's area reaches."""
        self._calendar.set(reach.days_left)

    # ── asked at each scrape ──────────────────────────────────────────────────────────────────────────────────────────

    def watch_door(self, door: Door) -> None:
        def source() -> Iterable[Metric]:
            counts = door.statistics
            yield _gauge("writer_queue", "Commands queued for the writer.", door.waiting())
            yield _counter("writer_commands", "Commands committed.", counts.commands)
            yield _counter("writer_failed_groups", "Groups rolled back and written one by one.", counts.failed_groups)
            yield _counter("writer_failed_commands", "Commands that could not be written.", counts.failed_commands)
            yield _counter("writer_withdrawn", "Commands withdrawn before they were written.", counts.withdrawn)

        self._sources.sources.append(source)

    def watch(self, source: Source) -> None:
        """A part that gives its metrics at each scrape; it only reads memory."""
        self._sources.sources.append(source)

    def watch_calls(self, statistics: CallStatistics, in_progress: Callable[[], int]) -> None:
        def source() -> Iterable[Metric]:
            yield _gauge("calls_in_progress", "Calls in the rating now.", in_progress())
            calls = CounterMetricFamily(
                "huiyin_calls", "Requests that are over, by outcome.", labels=["path", "outcome"]
            )
            for (path, outcome), count in statistics.calls.copy().items():
                calls.add_metric([path.value, outcome.value], count)
            yield calls
            yield _labelled("calls_refused", "Connections refused, by reason.", "reason", statistics.refusals.copy())
            yield _labelled(
                "call_store_failures",
                "Steps of calls that the database failed.",
                "step",
                statistics.store_failures.copy(),
            )
            yield _counter("call_prompt_failures", "Prompts that Asterisk could not play.", statistics.prompt_failures)

        self._sources.sources.append(source)

    def watch_push(self, statistics: PushStatistics) -> None:
        def source() -> Iterable[Metric]:
            results = {
                "accepted": statistics.accepted,
                "duplicate": statistics.duplicate,
                "rejected": statistics.rejected,
                "without_verdict": statistics.without_verdict,
                "unmappable": statistics.unmappable,
            }
            batches = {
                "sent": statistics.sent,
                "settled": statistics.settled,
                "retried": statistics.retried,
                "split": statistics.split,
                "refused": statistics.refused,
            }
            yield _labelled("push_results", "What became of evaluations pushed, by result.", "result", results)
            yield _labelled("push_batches", "What became of requests to the centre.", "what", batches)
            yield _gauge("push_in_flight", "Requests to the centre on the way.", statistics.in_flight)
            yield _gauge(
                "push_paused", "1: the centre refused us (401, 403) and the push rests.", bool(statistics.paused)
            )

        self._sources.sources.append(source)

    def text(self) -> bytes:
        """The exposition, as Prometheus reads it."""
        return generate_latest(self.registry)


def _gauge(name: str, sentence: str, value: float) -> Metric:
    return GaugeMetricFamily(f"huiyin_{name}", sentence, value=value)


def _counter(name: str, sentence: str, value: float) -> Metric:
    return CounterMetricFamily(f"huiyin_{name}", sentence, value=value)


def _labelled(name: str, sentence: str, label: str, counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(f"huiyin_{name}", sentence, labels=[label])
    for value, count in counts.items():
        family.add_metric([str(value)], count)
    return family
