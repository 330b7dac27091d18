"""`huiyin calendar`: working days and days off brought in, shown, and counted."""

from __future__ import annotations

from datetime import date, datetime, time
from pathlib import Path
from time import sleep

import click

from config.settings import Settings
from intake.calendars import ImportCalendar, Imported, Progress, deadlines_pending, read_calendar
from intake.deadlines import DeadlineRules
from intake.recompute import RecomputeDeadlines
from intake.workdays import NATIONAL, DayAnswer, DayKind, WorkingDays, area_of
from models.clock import SHANGHAI, SystemClock
from models.database import open_database, parse_url
from models.door import Door
from models.ids import new_id
from server.calendar_file import CalendarFile, read_calendar_file
from server.command_line import config_option, fail, load_settings, opened, told
from server.errors import CannotDo

__all__ = ["calendar", "computed", "stored_calendar"]

_WAIT = 60.0
_BUSY_WAIT = 0.2
_TOLD_EACH = 10_000
_FIFTH = 5
_KINDS = {DayKind.OFF: "off", DayKind.WORKS: "works", DayKind.UNKNOWN: "unknown"}


class _Area(click.ParamType[str]):
    name = "AREA"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        area = area_of(str(value))
        if area is None:
            self.fail(f"{value!r} is no 行政区划 of 6 or 12 digits such as 622900", param, ctx)
        return area


def stored_calendar(settings: Settings) -> WorkingDays:
    """The calendar as it is stored; where there is no database yet, what `chinesecalendar` knows. Makes nothing."""
    url = parse_url(settings.database.connection_url, settings.directory)
    if url.drivername == "sqlite" and not Path(str(url.database)).exists():
        return WorkingDays()
    database = open_database(settings.database.connection_url, settings.directory)
    try:
        state = database.schema_state()
        if state.empty and state.current is None:
            return WorkingDays()
        database.ensure_schema()
        with database.read_engine.connect() as connection:
            return read_calendar(connection)
    finally:
        database.close()


@click.group()
def calendar() -> None:
    """Working days and days off."""


# ── import ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@calendar.command("import")
@config_option
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path, dir_okay=False))
def import_(config: Path, file: Path) -> None:
    """Bring in working days and days off. Nothing is where a line is bad. Open deadlines are computed again."""
    with told():
        settings = load_settings(config)
        read = read_calendar_file(file.read_bytes())
        if read.bad:
            fail(
                *(f"{file}: {line}" for line in sorted(read.bad, key=lambda line: line.number)),
                f"{file}: nothing was imported",
            )
        from server.api import deadline_rules_of

        with opened(settings) as database:
            door = Door(database)
            try:
                imported, total = _bring_in(door, read, deadline_rules_of(settings))
            finally:
                door.close()
        click.echo(
            f"{imported.added} added, {imported.changed} changed, {imported.removed} taken back, "
            f"{imported.unchanged} as they were"
        )
        click.echo(_moved(total))


def _bring_in(door: Door, read: CalendarFile, rules: DeadlineRules) -> tuple[Imported, Progress | None]:
    command = ImportCalendar(tuple(read.days), tuple(read.years), SystemClock().now(), new_id())
    imported = door.submit(command).result(_WAIT)
    # One that changed nothing finishes what an earlier one left, and has otherwise nothing to tell.
    tells = imported.since is not None or door.write(deadlines_pending).result(_WAIT)
    total = computed(door, rules)
    return imported, total if tells else None


def computed(door: Door, rules: DeadlineRules) -> Progress | None:
    """Computes open deadlines again until none is left, by this process or another. None: nothing was ever imported."""
    told_of = 0
    while True:
        done = door.submit(RecomputeDeadlines(rules)).result(_WAIT)
        if not done.left:
            return done.total
        if done.busy:
            sleep(_BUSY_WAIT)
        elif done.total is not None and done.total.seen >= told_of + _TOLD_EACH:
            told_of = done.total.seen
            click.echo(f"{told_of} open deadlines computed again, {done.total.moved} moved", err=True)


def _moved(total: Progress | None) -> str:
    if total is None or (total.moved, total.final, total.provisional) == (0, 0, 0):
        return "no open deadline moved"
    line = f"{total.moved} open deadlines moved"
    if total.moved:
        line += f", from {_span(total.from_first, total.from_last)} to {_span(total.to_first, total.to_last)}"
    return f"{line}; {total.final} became final, {total.provisional} provisional"


def _span(first: str | None, last: str | None) -> str:
    return str(first) if first == last else f"{first}…{last}"


# ── show and due ──────────────────────────────────────────────────────────────────────────────────────────────────────


@calendar.command()
@config_option
@click.option("--year", type=click.IntRange(2004, 2199), help="Default: this year.")
@click.option("--area", type=_Area(), help="行政区划; default: the hotline's.")
def show(config: Path, year: int | None, area: str | None) -> None:
    """Show the days off and make-up days of a year, with whose word it is. Ordinary weekends are left out."""
    with told():
        settings = load_settings(config)
        today = SystemClock().now().astimezone(SHANGHAI).date()
        year, area = year or today.year, settings.hotline.area_code if area is None else area
        days = stored_calendar(settings)
        for one in days.special_days(year, area):
            click.echo("\t".join((str(one.day), _WEEKDAYS[one.day.weekday()], *_answered(one.answer))))
        for (of, number), entry in sorted(days.years.items()):
            if number == year and of == NATIONAL:
                click.echo(f"{year} is imported whole: {entry.source}{_mark(confirmed=entry.confirmed)}", err=True)
        if days.day(date(year, 12, 31), area).kind is DayKind.UNKNOWN:
            click.echo(
                f"{year} is not known: deadlines in it are provisional; see: huiyin calendar import FILE", err=True
            )


_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _mark(*, confirmed: bool) -> str:
    return "" if confirmed else ", not confirmed"


def _answered(answer: DayAnswer) -> tuple[str, ...]:
    where = answer.area or "national"
    return _KINDS[answer.kind] + _mark(confirmed=answer.confirmed), answer.name or "", where, answer.source or ""


@calendar.command()
@click.argument("day", metavar="DATE", type=click.DateTime(["%Y-%m-%d"]))
@click.option(
    "-c",
    "--config",
    "config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration; without it chinesecalendar alone is asked.",
)
@click.option("--area", type=_Area(), help="行政区划; default: the hotline's.")
def due(day: datetime, config: Path | None, area: str | None) -> None:
    """Say when a case closed on DATE is due: the end of the fifth working day, and whether it is provisional."""
    with told():
        days, number = WorkingDays(), _FIFTH
        if config is not None:
            settings = load_settings(config)
            days, number = stored_calendar(settings), settings.schedule.default_after_working_days
            area = settings.hotline.area_code if area is None else area
        if not 2004 <= day.year <= 2199:
            raise CannotDo("no calendar reaches so far; give a date between 2004 and 2199")
        found = days.deadline(datetime.combine(day.date(), time(12), SHANGHAI), number, area)
        word = "provisional" if found.provisional else "final"
        click.echo(f"{found.at.astimezone(SHANGHAI).isoformat()}\t{word}")
        if found.provisional:
            click.echo("it rests on days that are not known or not confirmed; no default is made on it", err=True)
