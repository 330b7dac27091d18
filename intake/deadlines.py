"""When a case is due and when its default rating is looked at: pure decisions over a frozen calendar.

Rules kept here:

1. `default_at` is the deadline, until somebody looked at whether a default 默认评价 follows. It is empty while the
   deadline is provisional: no default is ever recorded on one.
2. A deadline that had passed when the case arrived is backlog: nobody could rate in time, and a default cannot be
   called back. `schedule.default_backlog` makes one all the same.
3. An area code of the case's own goes before the hotline's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from intake.calendars import StoredCalendar
from intake.workdays import WorkingDays
from models.terms import DefaultReason

__all__ = ["DeadlineRules", "Due"]


@dataclass(frozen=True, slots=True)
class Due:
    """`default_reason`: why no default will follow, where that is known already."""

    deadline: datetime
    provisional: bool
    default_at: datetime | None
    default_reason: DefaultReason | None


@dataclass(frozen=True, slots=True)
class DeadlineRules:
    """What the configuration says about deadlines, and the calendar as this process knows it.

    `working_days`: `schedule.default_after_working_days`; `area_code`: the hotline's; `backlog`:
    `schedule.default_backlog`.
    """

    working_days: int = 5
    area_code: str | None = None
    backlog: bool = False
    calendar: StoredCalendar = field(default_factory=StoredCalendar, compare=False)

    def due(self, days: WorkingDays, closed_at: datetime, area_code: str | None, arrived_at: datetime) -> Due:
        """When a case is due.

        Args:
            days: the calendar, held for this transaction (`StoredCalendar.hold`).
            arrived_at: when the case became known here; a later change of it is none.
        """
        found = days.deadline(closed_at, self.working_days, area_code or self.area_code)
        if found.provisional:
            return Due(found.at, True, None, None)
        if found.at <= arrived_at and not self.backlog:
            return Due(found.at, False, None, DefaultReason.BACKLOG)
        return Due(found.at, False, found.at, None)
