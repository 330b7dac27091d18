"""The imported calendar: how it is changed, and how every process comes to know of a change.

Rules kept here:

1. `calendar.version` in `meta` moves with every import; `calendar.applied` follows when all open deadlines have been
   computed again (intake/recompute.py). While they differ no default is made (`deadlines_pending`).
2. A transaction that stores a deadline holds the calendar: no import commits until it has ended, and where the version
   moved the calendar is read again first. So a case that races with an import is either computed with the new calendar,
   or stored before the import and computed again after it. On PostgreSQL this is an advisory lock, shared by who stores
   and exclusive for an import; SQLite has one writer at a time.
3. An import is one transaction, and running it twice imports once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from secrets import token_hex
from typing import Any, ClassVar

from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from intake.workdays import DayEntry, WorkingDays, YearEntry
from models.clock import SHANGHAI
from models.door import Bulk, Many, Priority, Unit
from models.reads import Read
from models.tables import audit, calendar_days, calendar_years, meta
from models.terms import Actor, AuditAction

__all__ = [
    "APPLIED",
    "VERSION",
    "CalendarReach",
    "DayLine",
    "ImportCalendar",
    "Imported",
    "Progress",
    "StoredCalendar",
    "YearLine",
    "calendar_reach",
    "deadlines_pending",
    "hold_calendar",
    "read_calendar",
    "read_word",
    "write_word",
]

VERSION = "calendar.version"
APPLIED = "calendar.applied"
PROGRESS = "calendar.progress"
_LOCK = 0x4875_6990  # PostgreSQL advisory lock: shared by who stores a deadline, exclusive for an import
_HOLD = text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")
_ALONE = text(f"SELECT pg_advisory_xact_lock({_LOCK})")
_PATIENT = text("SET LOCAL lock_timeout = '10s'")  # the groups in flight end within it; a writer's own limit is shorter
_VERSION = Read(select(meta.c.value).where(meta.c.key == VERSION))
_DAYS = Bulk(calendar_days, ("area", "day", "works", "name", "source", "confirmed", "imported_at"))
_YEARS = Bulk(calendar_years, ("area", "year", "source", "confirmed", "imported_at"))
_FORGET_DAY = Many(
    delete(calendar_days).where(calendar_days.c.area == bindparam("of"), calendar_days.c.day == bindparam("on")),
    ("of", "on"),
)
_FORGET_YEAR = Many(
    delete(calendar_years).where(
        calendar_years.c.area == bindparam("of"), calendar_years.c.year == bindparam("during")
    ),
    ("of", "during"),
)
_AUDIT = Bulk(audit, ("id", "at", "actor", "action", "subject_id", "detail"))


# ── words of the database ─────────────────────────────────────────────────────────────────────────────────────────────


def read_word(unit: Unit | Connection, key: str) -> str | None:
    """A word of `meta`."""
    found: str | None = unit.execute(select(meta.c.value).where(meta.c.key == key)).scalar_one_or_none()
    return found


def write_word(unit: Unit, key: str, value: str) -> None:
    """Sets a word of `meta`."""
    if unit.execute(update(meta).where(meta.c.key == key).values(value=value)).rowcount == 0:
        unit.execute(insert(meta).values(key=key, value=value))


def _number(word: str | None) -> int:
    return int(word.partition(":")[0]) if word else 0


def hold_calendar(unit: Unit) -> None:
    """Keeps imports out until this transaction ends."""
    if not unit.is_sqlite:
        unit.execute(_HOLD)


def deadlines_pending(unit: Unit) -> bool:
    """Whether deadlines still have to be computed again after an import; no default may be made then.

    Asked in the transaction that would make one: no import commits until it has ended.
    """
    hold_calendar(unit)
    return read_word(unit, VERSION) != read_word(unit, APPLIED)


# ── read ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_calendar(unit: Unit | Connection) -> WorkingDays:
    """The calendar as it is stored."""
    return _read(unit, read_word(unit, VERSION))


def _read(unit: Unit | Connection, word: str | None) -> WorkingDays:
    # The version first: what an import commits meanwhile is then read again at the next look.
    days = {
        (row.area, row.day): DayEntry(row.works, row.name, row.source, row.confirmed)
        for row in unit.execute(select(calendar_days))
    }
    years = {(row.area, row.year): YearEntry(row.source, row.confirmed) for row in unit.execute(select(calendar_years))}
    return WorkingDays(_number(word), days, years)


class StoredCalendar:
    """The stored calendar as this process knows it: in memory, read again where its version moved."""

    def __init__(self) -> None:
        # One object, so that readers of other threads never see a word with another's days.
        self._known: tuple[str | None, WorkingDays] = (None, WorkingDays())

    def hold(self, unit: Unit) -> WorkingDays:
        """The calendar for a transaction that stores deadlines; no import commits until it has ended."""
        hold_calendar(unit)
        rows = _VERSION.rows(unit)
        return self._moved(unit, rows[0].value if rows else None)

    def read(self, connection: Connection) -> WorkingDays:
        """The calendar, for who only looks."""
        return self._moved(connection, read_word(connection, VERSION))

    def _moved(self, unit: Unit | Connection, word: str | None) -> WorkingDays:
        known, days = self._known
        if word != known:
            days = _read(unit, word)
            self._known = (word, days)
        return days


@dataclass(frozen=True, slots=True)
class CalendarReach:
    """How far the calendar is known and confirmed. `until` None: not even today is."""

    area: str | None
    until: date | None
    days_left: int


def calendar_reach(calendar: WorkingDays, now: datetime, area: str | None) -> CalendarReach:
    """How far a calendar reaches for an area, from today in Asia/Shanghai."""
    today = now.astimezone(SHANGHAI).date()
    until = calendar.covered_until(today, area)
    return CalendarReach(area, until, (until - today).days if until is not None else 0)


# ── import ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DayLine:
    """A day of a file. `entry` None: what was imported of it is taken back."""

    area: str
    day: date
    entry: DayEntry | None


@dataclass(frozen=True, slots=True)
class YearLine:
    """A year of a file, whole. Of an area alone it says that its local days are all there (`huiyin check`)."""

    area: str
    year: int
    entry: YearEntry | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import changed. `since`: the first day of which it says something else than before."""

    version: int
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    since: date | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the computing after an import is: a word of `meta`, as JSON.

    `since`: deadlines before this day stay. `phase`: which index is gone through; `at`, `after`: the last row of it.
    The earliest and latest deadline that moved: from when, and to when.
    """

    import_id: str
    imported: dict[str, Any]
    since: str
    phase: str = "final"
    at: str | None = None
    after: str | None = None
    seen: int = 0
    moved: int = 0
    final: int = 0
    provisional: int = 0
    from_first: str | None = None
    from_last: str | None = None
    to_first: str | None = None
    to_last: str | None = None

    @classmethod
    def load(cls, unit: Unit | Connection) -> Progress | None:
        word = read_word(unit, PROGRESS)
        return cls(**json.loads(word)) if word is not None else None

    def save(self, unit: Unit) -> None:
        write_word(unit, PROGRESS, json.dumps(asdict(self)))


@dataclass(frozen=True, slots=True)
class ImportCalendar:
    """The lines of a file. Result: `Imported`. The open deadlines are computed again afterwards.

    Args:
        id: made with the command; the audit's.
    """

    days: tuple[DayLine, ...]
    years: tuple[YearLine, ...]
    now: datetime
    id: str
    actor: str = Actor.COMMAND_LINE.value
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[ImportCalendar]) -> list[Imported]:
        return [command._run(unit) for command in commands]

    def _run(self, unit: Unit) -> Imported:
        if not unit.is_sqlite:
            unit.execute(_PATIENT)
            unit.execute(_ALONE)
        before = Progress.load(unit)
        if before is not None and before.import_id == self.id:  # the first run's COMMIT held, its answer was lost
            return _imported(before)
        version = read_word(unit, VERSION)
        known = read_calendar(unit)
        result = Imported(known.version)
        days: list[DayLine] = []
        years: list[YearLine] = []
        since: list[date] = []
        for day in self.days:
            result, differs = _counted(result, known.days.get((day.area, day.day)), day.entry)
            if differs:
                days.append(day)
                since.append(day.day)
        for whole in self.years:
            result, differs = _counted(result, known.years.get((whole.area, whole.year)), whole.entry)
            if differs:
                years.append(whole)
                since.append(date(whole.year, 1, 1))
        if not since:
            return result
        self._store(unit, days, years)
        result = replace(result, version=known.version + 1, since=min(since))
        if before is not None and version != read_word(unit, APPLIED):  # what an earlier import left is done with this
            since.append(date.fromisoformat(before.since))
        # The number alone could come again after a backup was restored.
        write_word(unit, VERSION, f"{result.version}:{token_hex(4)}")
        told = asdict(result) | {"since": str(result.since)}
        Progress(self.id, told, str(min(since))).save(unit)
        detail = (
            f"version {result.version}: {result.added} added, {result.changed} changed, {result.removed} taken back; "
            f"from {result.since} on"
        )
        unit.insert(_AUDIT, [(self.id, self.now, self.actor, AuditAction.CALENDAR_IMPORTED.value, None, detail)])
        return result

    def _store(self, unit: Unit, days: Sequence[DayLine], years: Sequence[YearLine]) -> None:
        unit.many(_FORGET_DAY, [(line.area, line.day) for line in days])
        unit.many(_FORGET_YEAR, [(line.area, line.year) for line in years])
        unit.insert(
            _DAYS,
            [
                (line.area, line.day, entry.works, entry.name, entry.source, entry.confirmed, self.now)
                for line in days
                if (entry := line.entry) is not None
            ],
        )
        unit.insert(
            _YEARS,
            [
                (line.area, line.year, whole.source, whole.confirmed, self.now)
                for line in years
                if (whole := line.entry) is not None
            ],
        )


def _counted(result: Imported, before: object, after: object) -> tuple[Imported, bool]:
    """The counts with one line more, and whether it changes anything."""
    if before == after:
        return replace(result, unchanged=result.unchanged + 1), False
    if before is None:
        return replace(result, added=result.added + 1), True
    if after is None:
        return replace(result, removed=result.removed + 1), True
    return replace(result, changed=result.changed + 1), True


def _imported(progress: Progress) -> Imported:
    told = progress.imported
    return Imported(**(told | {"since": date.fromisoformat(told["since"])}))
