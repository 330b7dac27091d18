"""The wall clock, as an object that tests can turn.

Dates (deadlines, the time of a rating) come from here; durations never do: they run on monotonic time
(`reactor.seconds`, `time.monotonic`), so that a clock set back stops nothing. Stored in UTC, shown in Asia/Shanghai.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

__all__ = ["SHANGHAI", "Clock", "ScaledClock", "SystemClock", "TurnedClock"]

SHANGHAI = ZoneInfo("Asia/Shanghai")


class Clock(Protocol):
    def now(self) -> datetime:
        """The time now, aware, in UTC."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class TurnedClock:
    """A clock that stands still until it is turned."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def turn(self, by: timedelta) -> None:
        self._now += by


class ScaledClock:
    """A clock that begins somewhere and runs `speed` times as fast as monotonic time: days in minutes."""

    def __init__(self, start: datetime, speed: float, seconds: Callable[[], float] = time.monotonic) -> None:
        self.speed = speed
        self._start = start.astimezone(UTC)
        self._seconds = seconds
        self._began = seconds()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=(self._seconds() - self._began) * self.speed)
