"""Ticks: the only thing APScheduler does here. What is due is a column with an index, looked at by a sweep.

Rules kept here:

* A job is a plain function that hands a sweep to the reactor's thread; a coroutine given to the scheduler would never
  be awaited, and be reported as done.
* A sweep is an `async def` on the reactor. It never overlaps itself; one that fails is logged and tried at its next
  tick.
* APScheduler takes its next run from the wall clock. A watch on monotonic time compares the two clocks once a second
  (scheduler/clockwatch.py) and arms every job anew when the wall clock was turned, so that a clock set back a day stops
  nothing, and one set forward a year makes one tick, not thirty million.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, time, timedelta
from typing import Any, Protocol

import structlog
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from models.clock import SHANGHAI, Clock
from models.errors import StoreError
from scheduler.clockwatch import ClockWatch

__all__ = ["Counts", "Sweep", "Ticker", "TickerReactor"]

WATCH = 1.0

Counts = Mapping[str, int]
Sweep = Callable[[], Awaitable[Counts | None]]

log = structlog.get_logger(__name__)


class TickerReactor(Protocol):
    """What a ticker needs of the reactor. `seconds` is monotonic (the composition root sees to that)."""

    def seconds(self) -> float: ...
    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> IDelayedCall: ...  # noqa: N802
    def callFromThread(self, callable: Callable[..., object], *args: object) -> None: ...  # noqa: N802


class _Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """A regular tick, counted from the last one: missed ticks are not made up for."""

    def __init__(self, interval: timedelta) -> None:
        self.interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        return now + self.interval


class _Line:
    """One sweep and whether it is under way."""

    def __init__(self, name: str, sweep: Sweep) -> None:
        self.name = name
        self.sweep = sweep
        self.running: Deferred[None] | None = None


class Ticker:
    """Starts sweeps by the clock, from `start` to `stop`. `speed`: how many of its seconds are one of the reactor's."""

    def __init__(self, reactor: TickerReactor, clock: Clock, *, speed: float = 1.0) -> None:
        # Imported here: the module takes the reactor that is installed by then, and installs one where there is none.
        from apscheduler.executors.debug import DebugExecutor
        from apscheduler.schedulers.twisted import TwistedScheduler

        self._reactor = reactor
        self._clock = clock
        self._speed = speed
        self._lines: dict[str, _Line] = {}
        # "debug" runs a job where the scheduler runs: on the reactor's thread. A job only calls callFromThread.
        self._scheduler = TwistedScheduler(
            reactor=reactor, timezone=SHANGHAI, executors={"default": DebugExecutor()}, jobstore_retry_interval=WATCH
        )
        self._watch: IDelayedCall | None = None
        self.clocks = self._fresh_watch()

    # ── what ticks ────────────────────────────────────────────────────────────────────────────────────────────────────

    def every(self, seconds: float, name: str, sweep: Sweep) -> None:
        """Starts `sweep` each `seconds`, the first time after as long."""
        self._add(name, sweep, _Every(timedelta(seconds=seconds)))

    def daily(self, at: time, name: str, sweep: Sweep) -> None:
        """Starts `sweep` each day at this time in Asia/Shanghai."""
        self._add(name, sweep, CronTrigger(hour=at.hour, minute=at.minute, second=at.second, timezone=SHANGHAI))

    def _add(self, name: str, sweep: Sweep, trigger: Any) -> None:
        if name in self._lines:
            raise ValueError(f"two sweeps are named {name}")
        self._lines[name] = _Line(name, sweep)
        self._scheduler.add_job(
            self._tick, trigger, args=(name,), id=name, max_instances=1, coalesce=True, misfire_grace_time=None
        )

    # ── start and stop ────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self.clocks = self._fresh_watch()
        self._scheduler.start()
        self._watch = self._reactor.callLater(WATCH, self._look)

    def stop(self) -> Deferred[None]:
        """No tick any more. Fires when the sweeps under way have ended."""
        if self._watch is not None:
            if self._watch.active():
                self._watch.cancel()
            self._watch = None
            self._scheduler.shutdown(wait=False)
        return Deferred.fromCoroutine(self._ended())

    async def _ended(self) -> None:
        for line in self._lines.values():
            if line.running is not None:
                ended: Deferred[None] = Deferred()
                line.running.chainDeferred(ended)
                await ended

    # ── the ticks ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tick(self, name: str) -> None:
        self._reactor.callFromThread(self.run, name)

    def run(self, name: str) -> None:
        """Starts a sweep now, unless it is under way. On the reactor's thread."""
        line = self._lines[name]
        if line.running is not None:
            log.debug("sweep still under way", sweep=name)
            return
        running: Deferred[None] = Deferred.fromCoroutine(self._sweep(line))
        if not running.called:
            line.running = running

    async def _sweep(self, line: _Line) -> None:
        began = self._reactor.seconds()
        try:
            counts = await line.sweep()
        except (StoreError, DBAPIError) as error:
            # The database is away or full: no bug, so no traceback every few seconds.
            log.warning("sweep failed", sweep=line.name, cause=type(error).__name__)
        except Exception:
            log.exception("sweep failed", sweep=line.name)
        else:
            spent = round(self._reactor.seconds() - began, 3)
            if counts and any(counts.values()):
                log.info("sweep", sweep=line.name, seconds=spent, **counts)
            else:
                log.debug("sweep", sweep=line.name, seconds=spent, **(counts or {}))
        finally:
            line.running = None

    # ── two clocks ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fresh_watch(self) -> ClockWatch:
        return ClockWatch(*self._both())

    def _both(self) -> tuple[float, float]:
        # In seconds of the reactor: a thread that is held up between the two readings is no step of a fast clock.
        return self._clock.now().timestamp() / self._speed, self._reactor.seconds()

    def _look(self) -> None:
        self._watch = self._reactor.callLater(WATCH, self._look)
        self.compare()

    def compare(self) -> ClockWatch:
        """Looks at both clocks now; where the wall clock was turned, every job is armed anew."""
        turned = self.clocks.look(*self._both())
        if turned:
            log.warning("the wall clock was turned; ticks are armed anew", seconds=round(turned, 1))
            now = self._clock.now().astimezone(SHANGHAI)
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=job.trigger.get_next_fire_time(None, now))
        return self.clocks
