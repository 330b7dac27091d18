"""How fast a link may send, and when it may try again: pure, in seconds of monotonic time.

Rules kept here:

1. `Pace` is a token bucket: in any stretch of t seconds not more than rate · t segments and one burst, a fiftieth of a
   second's worth, at least one segment.
2. Told that the SMSC is too busy, it halves: the rate that was really reached just now, not one that was only allowed.
   It sends nothing for PAUSE_FIRST seconds, twice as long each time until it has recovered a step, PAUSE_MOST at most.
   The rate never falls below FLOOR. Of segments that were on their way together the first answer counts: the others
   say nothing new.
3. It recovers by STEP every STEP_SECONDS up to the rate that the carrier allows.
4. `Backoff`: each try that fails doubles the time out of which the wait is drawn, from `first` to `most` (full jitter,
   so that links that fell together do not come back together). No wait is shorter than `first`.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff", "Pace"]

FLOOR = 1.0
"""Segments a second."""
PAUSE_FIRST = 0.5
PAUSE_MOST = 8.0
STEP = 1.5
STEP_SECONDS = 2.0
SHORTEST = 0.01
"""Seconds; no configuration makes a tight loop of it."""
UNLIMITED = 1_000_000.0
_BURST_SECONDS = 0.02
_GLANCE = 0.1
"""Seconds; what was sent in less says little about a rate."""


class Pace:
    """How many segments may go now.

    Args:
        limit: segments a second that the carrier allows; 0 for no limit.
    """

    __slots__ = (
        "_at",
        "_counted",
        "_counting_since",
        "_last_second",
        "_limit",
        "_pause",
        "_paused_until",
        "_rate",
        "_slowed_at",
        "_step_at",
        "_tokens",
    )

    def __init__(self, limit: float, now: float) -> None:
        self._limit = limit or UNLIMITED
        self._rate = self._limit
        self._tokens = self._burst
        self._at = now
        self._slowed_at = float("-inf")
        self._paused_until = float("-inf")
        self._pause = PAUSE_FIRST
        self._step_at = 0.0
        self._counted = 0
        self._counting_since = now
        self._last_second = 0.0

    @property
    def rate(self) -> float:
        """Segments a second allowed at the moment."""
        return self._rate

    @property
    def slowed(self) -> bool:
        """It has not recovered yet."""
        return self._rate < self._limit

    @property
    def _burst(self) -> float:
        return max(1.0, self._rate * _BURST_SECONDS)

    def room(self, now: float) -> int:
        """Segments that may go now."""
        if now < self._paused_until:
            return 0
        if now > self._at:
            self._refill(now)
        return int(self._tokens) if self._tokens > 0 else 0

    def take(self) -> bool:
        """One segment goes; true if one more may."""
        self._tokens -= 1.0
        self._counted += 1
        return self._tokens >= 1.0

    def wait(self, now: float) -> float:
        """Seconds until there is room; where there will be much, until half a burst may go, to wake less often."""
        if now < self._paused_until:
            return self._paused_until - now
        self._refill(now)
        return max(0.0, (max(1.0, self._burst / 2) - self._tokens) / self._rate)

    def slow(self, submitted_at: float, now: float) -> bool:
        """The SMSC was too busy for a segment submitted at that time; true where the pace changes."""
        if submitted_at <= self._slowed_at:
            return False
        self._refill(now)
        elapsed = now - self._counting_since
        reached = max(self._last_second, self._counted / max(elapsed, _GLANCE))
        self._rate = max(min(FLOOR, self._limit), min(self._rate, reached) / 2)
        self._tokens = min(self._tokens, 0.0) + 1.0
        self._slowed_at = now
        self._paused_until = self._at = now + self._pause
        self._step_at = self._paused_until + STEP_SECONDS
        self._pause = min(self._pause * 2, PAUSE_MOST)
        return True

    def _refill(self, now: float) -> None:
        if now - self._counting_since >= 1.0:
            self._last_second = self._counted / (now - self._counting_since)
            self._counted = 0
            self._counting_since = now
        if now <= self._at:
            return
        while self._rate < self._limit and now >= self._step_at:
            self._rate = min(self._limit, self._rate * STEP)
            self._step_at += STEP_SECONDS
            self._pause = PAUSE_FIRST
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


class Backoff:
    """How long to wait before the next try.

    Args:
        first, most: seconds.
        random: gives a number from 0 to 1.
    """

    def __init__(self, first: float, most: float, random: Callable[[], float]) -> None:
        self._first = max(first, SHORTEST)
        self._most = max(self._first, most)
        self._random = random
        self._failures = 0

    def succeeded(self) -> None:
        """The next failure is the first."""
        self._failures = 0

    def failed(self) -> float:
        """Seconds to wait after one more failure."""
        self._failures = min(self._failures + 1, 30)
        ceiling = min(self._most, self._first * 2.0**self._failures)
        return self._first + self._random() * (ceiling - self._first)

    def hopeless(self) -> float:
        """Seconds to wait where another try is not likely to do better."""
        self._failures = 30
        return self._most * (0.5 + self._random() / 2)
