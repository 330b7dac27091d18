"""What `huiyin check`, the log and the metrics say of the working-day calendar: how far it reaches, what lacks."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy.exc import SQLAlchemyError

from config.local_days import local_day_names
from config.settings import Settings
from intake.calendars import CalendarReach, calendar_reach
from intake.workdays import WorkingDays, area_of, area_prefix
from models.clock import SHANGHAI
from models.errors import StoreError
from server.calendar_commands import stored_calendar

__all__ = ["calendar_report", "ends_soon", "missing_local_days"]


def ends_soon(reach: CalendarReach, settings: Settings) -> bool:
    """Whether somebody has to bring in the calendar that follows; never where `schedule.calendar_warning` is 0."""
    if not settings.schedule.calendar_warning:
        return False
    return reach.until is None or reach.days_left < settings.schedule.calendar_warning.days


def calendar_report(settings: Settings, now: datetime) -> list[str]:
    """One line a thing that somebody should do; none of them keeps a server from serving."""
    lines = []
    try:
        calendar = stored_calendar(settings)
    except (StoreError, SQLAlchemyError):
        calendar = WorkingDays()
        lines.append("warning: the database could not be read; what was imported into its calendar is not looked at")
    reach = calendar_reach(calendar, now, settings.hotline.area_code)
    if ends_soon(reach, settings):
        until = f"reaches to {reach.until}, {reach.days_left} days" if reach.until is not None else "ended before today"
        lines.append(
            f"warning: the confirmed working-day calendar of {settings.hotline.area_code} {until}; "
            "behind it deadlines are provisional and no default is made; see: huiyin calendar import"
        )
    today = now.astimezone(SHANGHAI).date()
    years = [today.year]
    if (today + settings.schedule.calendar_warning).year > today.year:
        years.append(today.year + 1)
    for year in years:
        if names := missing_local_days(calendar, settings.hotline.area_code, year):
            lines.append(
                f"warning: no {'、'.join(names)} of {year} is in the calendar of {settings.hotline.area_code}; "
                "see: huiyin calendar import"
            )
    return lines


def missing_local_days(calendar: WorkingDays, code: str, year: int) -> list[str]:
    """The local days off that an area is known to have, and of which nothing was imported for a year.

    An area's whole year in the calendar says that there are no others.
    """
    area = area_of(code) or code
    wanted = [name for of, names in local_day_names().items() if area.startswith(area_prefix(of)) for name in names]
    above = {of for of, _ in (*calendar.days, *calendar.years) if of and area.startswith(area_prefix(of))}
    if any((of, year) in calendar.years for of in above):
        return []
    known = {
        entry.name or ""
        for (of, day), entry in calendar.days.items()
        if of in above and date(year, 1, 1) <= day <= date(year, 12, 31)
    }
    return [name for name in wanted if not any(name in one for one in known)]
