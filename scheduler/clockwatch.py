"""The wall clock against monotonic time: pure arithmetic over the difference of the two.

Rules kept here:

* A time service slews: what the clocks part by from one look to the next, up to `STEP`, is trusted.
* A step ahead is not. The steps add up until somebody has taken note of them (`noted`), so that six steps of a quarter
  of an hour are seen as what they are.
* A clock that was set back and comes back to where it was has not jumped ahead. One that stays back for `SETTLED`
  was wrong before, and is trusted where it is from then on.
* A step ahead that was noted and is taken back was wrong: what was trusted before it is trusted again at once, or the
  same step a minute later would pass for a clock that comes back.
* Linux stops monotonic time while a machine is suspended: waking up looks like a step ahead, and is treated as one.
"""

from __future__ import annotations

__all__ = ["SETTLED", "STEP", "ClockWatch"]

STEP = 1.0
"""Seconds by which the clocks may part between two looks; a slewing time service stays far below."""
SETTLED = 3600.0
"""Seconds after which a clock that was set back is believed."""


class ClockWatch:
    """Told both clocks again and again; says by how much the wall clock was turned."""

    def __init__(self, wall: float, monotonic: float) -> None:
        self._last = wall - monotonic
        self._trusted = self._last
        self._back_since: float | None = None
        self._monotonic = monotonic
        self._before: float | None = None
        """What was trusted before a step that was noted; None: there was none, or it has stood for SETTLED."""
        self._noted_at = monotonic

    def look(self, wall: float, monotonic: float) -> float:
        """Seconds by which the wall clock was turned since the last look; 0.0: it ran on."""
        difference = wall - monotonic
        turned = difference - self._last
        self._last, self._monotonic = difference, monotonic
        if abs(turned) <= STEP:
            self._trusted += turned
            turned = 0.0
        if self._before is not None:
            if monotonic - self._noted_at >= SETTLED:
                self._before = None
            elif difference < self._trusted - STEP:
                self._trusted = max(difference, self._before)
        if difference >= self._trusted - STEP:
            self._back_since = None
        elif self._back_since is None:
            self._back_since = monotonic
        elif monotonic - self._back_since >= SETTLED:
            self._trusted, self._back_since = difference, None
        return turned

    @property
    def ahead(self) -> float:
        """Seconds by which the clock is ahead of what is trusted; never below 0."""
        return max(0.0, self._last - self._trusted)

    def noted(self) -> None:
        """What it is ahead by was taken note of; from here on it is the time."""
        if self._last > self._trusted:
            self._before = self._trusted if self._before is None else self._before
            self._noted_at = self._monotonic
            self._trusted = self._last
