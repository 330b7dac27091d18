"""Working days 工作日 and the deadline of a case: the end of the fifth working day after its closing.

Rules kept here:

* Days are counted from the day after the closing day, both in Asia/Shanghai. The deadline is the end (24:00) of the
  last one; it is stored as that day's last second, 23:59:59, which is also the time of a default rating.
* Statutory days off and make-up working days come from `chinesecalendar`. It knows the years that are published and
  raises for others; a year it does not know is counted by weekdays, and the deadline that touches it is provisional: no
  default rating is ever recorded on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import chinese_calendar  # type: ignore[import-untyped]

from models.clock import SHANGHAI

__all__ = ["Deadline", "WorkingDays"]

_DAY = timedelta(days=1)
_LAST_SECOND = time(23, 59, 59)
_SATURDAY = 5
_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Deadline:
    """`at`: the last second, in UTC. `provisional`: it rests on a year whose calendar is not known."""

    at: datetime
    provisional: bool


class WorkingDays:
    """The days on which a department works."""

    def __init__(self) -> None:
        self._found: dict[tuple[date, int], Deadline] = {}

    def is_working_day(self, day: date) -> bool | None:
        """Whether people work on that day; None: nobody has published it yet."""
        try:
            return bool(chinese_calendar.is_workday(day))
        except NotImplementedError:
            return None

    def deadline(self, closed_at: datetime, days: int) -> Deadline:
        """The end of the working day that is `days` working days after the closing.

        Args:
            closed_at: when the case was closed; aware.
            days: how many, 1 at least (`schedule.default_after_working_days`).
        """
        closing_day = closed_at.astimezone(SHANGHAI).date()
        found = self._found.get((closing_day, days))
        if found is None:
            if len(self._found) >= _KEPT:
                self._found.clear()
            found = self._found[closing_day, days] = self._count(closing_day, days)
        return found

    def _count(self, day: date, days: int) -> Deadline:
        provisional = False
        while days > 0:
            day += _DAY
            works = self.is_working_day(day)
            if works is None:
                provisional = True
                works = day.weekday() < _SATURDAY
            days -= works
        return Deadline(datetime.combine(day, _LAST_SECOND, SHANGHAI).astimezone(UTC), provisional)
