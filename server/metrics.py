"""What /metrics shows: counts and times of this process, and how much waits for the centre.

No label and no value tells who called. Figures that need the database are read by a tick and kept here; a scrape only
reads memory. prometheus-client's metrics may be touched from any thread.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from centre.outbox import Backlog
from models.door import Door

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter("huiyin_calls", "Calls that ended, by outcome.", ["outcome"], registry=self.registry)
        self.refused = Counter(
            "huiyin_calls_refused",
            "Connections refused before a dialogue, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.pushed = Counter(
            "huiyin_push_results", "What the centre said to evaluations, by result.", ["result"], registry=self.registry
        )
        self.in_progress = Gauge("huiyin_calls_in_progress", "Calls in the rating now.", registry=self.registry)
        self.waiting = Gauge("huiyin_outbox_waiting", "Evaluations waiting for the centre.", registry=self.registry)
        self.oldest = Gauge(
            "huiyin_outbox_oldest_seconds", "Age of the oldest waiting evaluation.", registry=self.registry
        )
        self.dead = Gauge("huiyin_outbox_dead", "Dead letters: evaluations that need a person.", registry=self.registry)
        self.writer_queue = Gauge("huiyin_writer_queue", "Commands queued for the writer.", registry=self.registry)
        self.failed_groups = Gauge(
            "huiyin_writer_failed_groups", "Groups rolled back since the start.", registry=self.registry
        )
        self.failed_commands = Gauge(
            "huiyin_writer_failed_commands", "Commands that failed since the start.", registry=self.registry
        )
        self.group_size = Histogram(
            "huiyin_commit_group_size",
            "Commands in a committed group.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "huiyin_commit_seconds",
            "Seconds from BEGIN to the end of COMMIT.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
            registry=self.registry,
        )

    def committed(self, commands: int, seconds: float) -> None:
        """The door's `observe`."""
        self.group_size.observe(commands)
        self.commit_seconds.observe(seconds)

    def watch_door(self, door: Door) -> None:
        self.writer_queue.set_function(door.waiting)
        self.failed_groups.set_function(lambda: door.statistics.failed_groups)
        self.failed_commands.set_function(lambda: door.statistics.failed_commands)

    def watch_calls(self, in_progress: Callable[[], int]) -> None:
        self.in_progress.set_function(in_progress)

    def outbox(self, backlog: Backlog) -> None:
        """What waits for the centre, as a tick has counted it."""
        self.waiting.set(backlog.waiting)
        self.oldest.set(backlog.oldest.total_seconds())
        self.dead.set(backlog.dead)

    def text(self) -> bytes:
        """The exposition, as Prometheus reads it."""
        return generate_latest(self.registry)
