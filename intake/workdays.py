"""Working days 工作日 and the deadline of a case: the end of the fifth working day after its closing.

Rules kept here:

* Days are counted from the day after the closing day, both in Asia/Shanghai. The deadline is the end (24:00) of the
  last one; it is stored as that day's last second, 23:59:59, which is also the time of a default rating.
* What is known of a day comes from the nearest that says something: an imported day of the case's area 行政区划, the
  longest one first; an imported day of the whole country; an imported whole year of the country, whose other days are
  as their weekday says; `chinesecalendar`, which knows the years that are published and raises for others.
* An area holds for every code below it: 622900 for 6229xx, 620000 for 62xxxx, "" for all.
* A deadline is provisional where a day that was counted for it is unknown, or not confirmed: no default rating is ever
  recorded on it. An unknown day is counted by its weekday.

A calendar is frozen: what is imported makes another one (intake/calendars.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType

import chinese_calendar  # type: ignore[import-untyped]

from models.clock import SHANGHAI

__all__ = [
    "LIBRARY",
    "NATIONAL",
    "Day",
    "DayAnswer",
    "DayEntry",
    "DayKind",
    "Deadline",
    "WorkingDays",
    "YearEntry",
    "area_of",
    "area_prefix",
]

LIBRARY = "chinesecalendar"
"""The source of what no import says."""
NATIONAL = ""
"""The area of what holds everywhere."""

_DAY = timedelta(days=1)
_LAST_SECOND = time(23, 59, 59)
_SATURDAY = 5
_KEPT = 4096
_FARTHEST = timedelta(days=3 * 366)
"""How far ahead anybody looks whether the calendar is known."""
_AREA = re.compile(r"[1-9]\d{5}(\d{6})?")


class DayKind(StrEnum):
    WORKS = "works"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DayEntry:
    """An imported day. `confirmed` false: expected, and nobody has decided it yet."""

    works: bool
    name: str | None
    source: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class YearEntry:
    """A year whose days off and make-up days were imported whole."""

    source: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class DayAnswer:
    """What is known of a day for an area. `source`: whose word it is, None where nobody has said anything."""

    kind: DayKind
    source: str | None
    confirmed: bool
    name: str | None = None
    area: str = NATIONAL


@dataclass(frozen=True, slots=True)
class Day:
    """A day that is not as its weekday says, or of which somebody says something."""

    day: date
    answer: DayAnswer


@dataclass(frozen=True, slots=True)
class Deadline:
    """`at`: the last second, in UTC. `provisional`: it rests on a day that is unknown or not confirmed."""

    at: datetime
    provisional: bool


def area_of(code: str) -> str | None:
    """An area's code as it is stored: 6 digits, 12 where it names a town or village, "" the country; None: no code."""
    if not code:
        return NATIONAL
    if not code.isascii() or _AREA.fullmatch(code) is None:
        return None
    return code[:6] if code[6:] in {"", "000000"} else code


def area_prefix(area: str) -> str:
    """The beginning that every code below an area has: `6229` of 622900."""
    if len(area) > 6:
        return area.removesuffix("000")
    while area.endswith("00"):
        area = area[:-2]
    return area


class WorkingDays:
    """The days on which a department works: what was imported, over `chinesecalendar`.

    Args:
        version: which state of the imported table this is; 0: nothing was ever imported.
        days: by area (as `area_of` gives it) and day.
        years: the same.
    """

    def __init__(
        self,
        version: int = 0,
        days: Mapping[tuple[str, date], DayEntry] | None = None,
        years: Mapping[tuple[str, int], YearEntry] | None = None,
    ) -> None:
        self.version = version
        self.days: Mapping[tuple[str, date], DayEntry] = MappingProxyType(dict(days or {}))
        self.years: Mapping[tuple[str, int], YearEntry] = MappingProxyType(dict(years or {}))
        areas = {area for area, _ in self.days} - {NATIONAL}
        self._local = tuple(sorted(((area_prefix(one), one) for one in areas), key=lambda pair: (-len(pair[0]), pair)))
        self._scopes: dict[str, tuple[str, ...]] = {}
        self._found: dict[tuple[date, int, tuple[str, ...]], Deadline] = {}

    # ── a day ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def day(self, day: date, area: str | None = None) -> DayAnswer:
        """What is known of a day in an area."""
        return self._answer(day, self._scope(area or NATIONAL))

    def special_days(self, year: int, area: str | None = None) -> list[Day]:
        """The days of a year that are not as their weekday says, and those of which an import says something."""
        scope = self._scope(area or NATIONAL)
        found, day = [], date(year, 1, 1)
        while day.year == year:
            answer = self._answer(day, scope)
            plain = DayKind.WORKS if day.weekday() < _SATURDAY else DayKind.OFF
            imported = any((one, day) in self.days for one in scope)
            if imported or answer.kind not in {plain, DayKind.UNKNOWN}:
                found.append(Day(day, answer))
            day += _DAY
        return found

    def covered_until(self, today: date, area: str | None = None) -> date | None:
        """The last day up to which every day from today on is known and confirmed; None: today is not."""
        scope, day = self._scope(area or NATIONAL), today
        while day - today < _FARTHEST:
            answer = self._answer(day, scope)
            if answer.kind is DayKind.UNKNOWN or not answer.confirmed:
                break
            day += _DAY
        return None if day == today else day - _DAY

    def _scope(self, code: str) -> tuple[str, ...]:
        """The areas whose days hold for a code, the nearest first, the country last."""
        scope = self._scopes.get(code)
        if scope is None:
            if len(self._scopes) >= _KEPT:
                self._scopes.clear()
            scope = (*(area for prefix, area in self._local if code.startswith(prefix)), NATIONAL)
            self._scopes[code] = scope
        return scope

    def _answer(self, day: date, scope: tuple[str, ...]) -> DayAnswer:
        for area in scope:
            entry = self.days.get((area, day))
            if entry is not None:
                kind = DayKind.WORKS if entry.works else DayKind.OFF
                return DayAnswer(kind, entry.source, entry.confirmed, entry.name, area)
        year = self.years.get((NATIONAL, day.year))
        if year is not None:
            kind = DayKind.WORKS if day.weekday() < _SATURDAY else DayKind.OFF
            return DayAnswer(kind, year.source, year.confirmed)
        try:
            off, name = chinese_calendar.get_holiday_detail(day)
        except NotImplementedError:
            return DayAnswer(DayKind.UNKNOWN, None, confirmed=False)
        return DayAnswer(DayKind.OFF if off else DayKind.WORKS, LIBRARY, confirmed=True, name=name)

    # ── a deadline ────────────────────────────────────────────────────────────────────────────────────────────────────

    def deadline(self, closed_at: datetime, days: int, area: str | None = None) -> Deadline:
        """The end of the working day that is `days` working days after the closing.

        Args:
            closed_at: when the case was closed; aware.
            days: how many, 1 at least (`schedule.default_after_working_days`).
            area: the case's 行政区划.
        """
        key = closed_at.astimezone(SHANGHAI).date(), days, self._scope(area or NATIONAL)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= _KEPT:
                self._found.clear()
            found = self._found[key] = self._count(*key)
        return found

    def doubts(self, closed_at: datetime, days: int, area: str | None = None) -> list[Day]:
        """The days that make a deadline provisional: unknown, or not confirmed. Arguments as of `deadline`."""
        scope = self._scope(area or NATIONAL)
        day, last = closed_at.astimezone(SHANGHAI).date(), self.deadline(closed_at, days, area).at.astimezone(SHANGHAI)
        found = []
        while day < last.date():
            day += _DAY
            answer = self._answer(day, scope)
            if not answer.confirmed:
                found.append(Day(day, answer))
        return found

    def _count(self, day: date, days: int, scope: tuple[str, ...]) -> Deadline:
        provisional = False
        while days > 0:
            day += _DAY
            answer = self._answer(day, scope)
            provisional = provisional or not answer.confirmed
            if answer.kind is DayKind.UNKNOWN:
                days -= day.weekday() < _SATURDAY
            else:
                days -= answer.kind is DayKind.WORKS
        return Deadline(datetime.combine(day, _LAST_SECOND, SHANGHAI).astimezone(UTC), provisional)
