"""Whether this process may go by its wall clock: looked at before every round, and known between two looks.

Rules kept here (intake/pauses.py has the words of the database):

* A clock that jumped ahead is noticed by whatever looks first: `now` compares the two clocks this very moment, and
  gives no time while they have parted by more than an hour and nobody has confirmed it.
* Until the first look has succeeded nothing goes by the clock: it may have been wrong before this process began.
* The database is asked when the clocks part, while a jump stands, and once a minute, which is what keeps the mark of
  the time last seen; otherwise a look costs nothing.
* What is trusted moves to the new time only when a person has confirmed it (`ClockWatch.noted`). So one that comes back
  is known for what it is, and all goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from intake.pauses import AHEAD, Jump, Seen, SeeTime, Trust
from models.clock import Clock
from models.door import Door
from models.futures import Wakeups
from scheduler.clockwatch import ClockWatch

__all__ = ["MARK", "TimeWatch"]

MARK = timedelta(minutes=1)
"""How often the time that is seen is stored."""

log = structlog.get_logger(__name__)


class TimeWatch:
    """See the module. One a process, for all its sweeps.

    Args:
        clocks: compares the two clocks now (`Ticker.compare`).
        node: which process of which machine, in what is said of a jump.
    """

    def __init__(
        self, door: Door, wakeups: Wakeups, clock: Clock, clocks: Callable[[], ClockWatch], node: str, trust: Trust
    ) -> None:
        self._door = door
        self._wakeups = wakeups
        self._clock = clock
        self._clocks = clocks
        self._node = node
        self._trust = trust
        self._mine: Jump | None = None
        self._seen_at: datetime | None = None
        self._looking = False
        self._held = True
        self._why: str | None = None

    def now(self) -> datetime | None:
        # In this order: a jump before the time was read is seen, one after it does no harm.
        now = self._clock.now()
        return None if self._held or self._ahead() > AHEAD else now

    @property
    def why_not(self) -> str | None:
        return self._why

    def _ahead(self) -> timedelta:
        return timedelta(seconds=self._clocks().ahead)

    async def look(self) -> None:
        now, ahead = self._clock.now(), self._ahead()
        quiet = ahead <= AHEAD and self._mine is None and not self._held
        if self._looking or (quiet and self._seen_at is not None and abs(now - self._seen_at) < MARK):
            return
        self._looking = True
        try:
            command = SeeTime(now, ahead, self._node, self._trust, self._mine)
            seen: Seen = await self._wakeups.deferred(self._door.submit(command))
        finally:
            self._looking = False
        self._learn(seen, now, ahead)

    def _learn(self, seen: Seen, now: datetime, ahead: timedelta) -> None:
        self._seen_at = now
        self._why = "clock_jumped" if seen.jump else "clock_ahead_of_database" if seen.beyond else None
        self._held = self._why is not None
        if seen.new and seen.jump is not None:
            log.critical(
                "the wall clock jumped ahead; nothing ends by it until it is confirmed: huiyin scheduler accept-jump",
                seconds=round(seen.jump.ahead.total_seconds()),
                unseen=seen.jump.unseen,
            )
        if seen.back:
            log.warning("the wall clock came back; what was held goes on")
        if ahead > AHEAD and seen.jump is None and self._mine is not None:
            self._clocks().noted()  # a person has confirmed it
        self._mine = seen.jump if seen.jump is not None and (ahead > AHEAD or seen.jump == self._mine) else None
