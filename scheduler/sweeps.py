"""The sweeps: what is due is looked for at each tick, and worked off group by group.

Rules kept here:

* A sweep finds what is due by an index, takes it in groups through the writer (one command a group, behind calls,
  replies and pushes), and begins again while a group was full. The longest overdue comes first.
* A backlog is worked off at `schedule.rows_per_second` at most (models/pace.py): between two groups the writer is free.
* Decision and effect are one transaction each (intake/reminders.py, intake/defaults.py), so several processes may sweep
  at once, and one that is killed has done a group whole or not at all.
* Before a round, and before each group, the two clocks are compared (scheduler/timewatch.py). While a wall clock that
  jumped ahead by more than an hour is not confirmed, nothing is decided by it, for everybody (intake/pauses.py).
* Each round leaves its counts: in the log where it did something (scheduler/ticker.py), and in `statistics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import structlog

from intake.deadlines import DeadlineRules
from intake.defaults import DefaultDue, Defaulted, DefaultRules
from intake.pauses import Time
from intake.recompute import Recomputed, RecomputeDeadlines
from intake.reminders import RemindDue, Reminded, ReminderRules
from models.door import Command, Door
from models.futures import Wakeups
from models.pace import Pace, PaceReactor
from scheduler.ticker import Counts

__all__ = ["GROUP", "Sweeps"]

GROUP = 64
"""A group that holds fewer was the last one."""

log = structlog.get_logger(__name__)
G = TypeVar("G")


class Sweeps:
    """See the module. Give `reminders`, `deadlines` and `defaults` to a ticker; `stop` once, before the ticker ends.

    Args:
        time: by which it goes, while it may.
        rows_per_second: how fast a backlog is worked off.
        wake_sms: told that an SMS was queued; `wake_push`: that something is due to go to the centre.
        fault: a fault point's switch, for tests only.
    """

    def __init__(
        self,
        door: Door,
        wakeups: Wakeups,
        reactor: PaceReactor,
        time: Time,
        *,
        reminders: ReminderRules,
        defaults: DefaultRules,
        deadlines: DeadlineRules,
        rows_per_second: int,
        wake_sms: Callable[[], None],
        wake_push: Callable[[], None],
        fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._door = door
        self._wakeups = wakeups
        self._time = time
        self._reminders = reminders
        self._defaults = defaults
        self._deadlines = deadlines
        self._pace = Pace(reactor, rows_per_second)
        self._wake_sms = wake_sms
        self._wake_push = wake_push
        self._fault = fault
        self._stopping = False
        self.statistics: Counter[tuple[str, str]] = Counter()
        """(sweep, outcome) → rows."""
        self.paused: str | None = None
        """Why no default was made at the last look; None: they are made."""

    # ── the sweeps ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def reminders(self) -> Counts:
        """One round of reminders."""
        counts: Counter[str] = Counter()

        def note(group: Reminded) -> int:
            counts.update({"queued": group.queued, "postponed": group.postponed, **group.skipped})
            if group.queued:
                self._fault("reminded")
                self._wake_sms()
            return group.total

        def group() -> RemindDue | None:
            now = self._time.now()
            return None if now is None else RemindDue(now, self._reminders)

        await self._time.look()
        await self.work_off(group, note)
        return self._counted("reminders", counts)

    async def deadlines(self) -> Counts:
        """Finishes what an import of the calendar left to be computed anew."""
        counts: Counter[str] = Counter()

        def note(group: Recomputed) -> int:
            counts.update(
                {"seen": group.seen, "moved": group.moved, "final": group.final, "provisional": group.provisional}
            )
            # What is left of it comes in whole groups, but for the last of each kind.
            return GROUP if group.left and not group.busy else 0

        await self.work_off(lambda: RecomputeDeadlines(self._deadlines), note)
        return self._counted("deadlines", counts)

    async def defaults(self) -> Counts:
        """One round of default ratings."""
        counts: Counter[str] = Counter()
        paused: list[str] = []

        def note(group: Defaulted) -> int:
            if group.paused is not None:
                paused.append(group.paused)
            counts.update({"defaulted": group.defaulted, "waiting": group.waiting, **group.skipped})
            if group.defaulted:
                self._fault("defaulted")
                self._wake_push()
            return group.total

        def group() -> DefaultDue | None:
            now = self._time.now()
            return None if now is None else DefaultDue(now, self._defaults)

        await self._time.look()  # raises where a jump cannot be stored, and nothing is made
        await self.work_off(group, note)
        self._say_paused(paused[-1] if paused else self._time.why_not)
        return self._counted("defaults", counts)

    def _say_paused(self, why: str | None) -> None:
        if why != self.paused:
            if why is not None:
                log.warning("defaults are paused", why=why)
            else:
                log.info("defaults go on")
        self.paused = why

    def _counted(self, sweep: str, counts: Counter[str]) -> Counts:
        for outcome, count in counts.items():
            if count:
                self.statistics[sweep, outcome] += count
        return +counts

    # ── group by group ────────────────────────────────────────────────────────────────────────────────────────────────

    async def work_off(self, make: Callable[[], Command[G] | None], note: Callable[[G], int]) -> None:
        """Submits commands while their groups are full, no faster than the pace.

        Args:
            make: the next group's command; None: no more of it now.
            note: takes its result and says how many rows it held.
        """
        while not self._stopping and (command := make()) is not None:
            began = self._pace.seconds()
            rows = note(await self._wakeups.deferred(self._door.submit(command)))
            if rows < GROUP:
                return
            await self._pace.rest(rows, began)

    def stop(self) -> None:
        """What is under way ends with its group."""
        self._stopping = True
        self._pace.stop()
