"""The command `huiyin export`: one row an evaluation, as the console's pages export them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO

import click

from console.auditing import Action, note
from console.exports import Ended, ExportFormat
from console.pages.export_rows import Done, Query, write_export
from console.ratings import RatingFilters, Sort
from console.viewer import ConsoleRole, Viewer
from models.clock import SystemClock
from models.terms import Actor
from server.command_line import config_option, load_settings, opened, told
from server.errors import CannotDo
from server.pages import reason_words

__all__ = ["export"]

_DAY = click.DateTime(["%Y-%m-%d"])


def _format(output: Path | None) -> ExportFormat:
    if output is None:
        return ExportFormat.CSV
    try:
        return ExportFormat(output.suffix.lower().removeprefix("."))
    except ValueError:
        raise click.UsageError(f"{output.name} ends in neither .csv nor .xlsx, so its form is not known") from None


@click.command()
@config_option
@click.option("--from", "first", type=_DAY, required=True, help="The first day of the ratings (YYYY-MM-DD).")
@click.option("--to", "last", type=_DAY, required=True, help="The last day, in it.")
@click.option(
    "-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="FILE.csv or FILE.xlsx; default: CSV, stdout."
)
def export(config: Path, first: datetime, last: datetime, output: Path | None) -> None:
    """Write the evaluations of some days, one a row, oldest first; numbers masked. It stands in the audit."""
    form = _format(output)
    if last < first:
        raise click.UsageError("--to is before --from")
    with told():
        settings = load_settings(config)
        with opened(settings) as database:
            keyring = database.open_keyring(settings.privacy.key_file)

            def down(action: Action, detail: str) -> None:
                with database.write_engine.begin() as connection:
                    note(connection, SystemClock().now(), Actor.COMMAND_LINE.value, action, detail=detail)

            asked = f"{form.value} masked from={first:%Y-%m-%d} to={last:%Y-%m-%d}"
            down(Action.EXPORTED, asked)
            section = settings.console
            query = Query(
                Viewer(Actor.COMMAND_LINE.value, ConsoleRole.SUPERVISOR),
                _all_of(first.date(), last.date()),
                rows=section.export_rows,
                seconds=section.export_time.total_seconds(),
                reasons=reason_words(settings),
            )
            if output is None:
                done = write_export(database, keyring, query, form, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            else:
                done = _into_file(output, lambda out: write_export(database, keyring, query, form, out))
            down(Action.EXPORT_ENDED, f"{form.value} masked {done.rows} rows")
        if done.ended is Ended.ROWS:
            raise CannotDo(f"stopped at {done.rows} rows (console.export_rows); give fewer days, or raise it")
        if done.ended is Ended.TIME:
            raise CannotDo(f"stopped after {done.rows} rows (console.export_time); give fewer days, or raise it")
        click.echo(f"{done.rows} evaluations", err=True)


def _all_of(first: date, last: date) -> RatingFilters:
    return RatingFilters(first, last, superseded=True, sort=Sort.OLDEST)


def _into_file(output: Path, write: Callable[[BinaryIO], Done]) -> Done:
    """Writes the file whole or not at all; its owner's alone."""
    new = output.with_name(f"{output.name}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            done = write(out)
            out.flush()
            os.fsync(out.fileno())
        new.replace(output)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return done
