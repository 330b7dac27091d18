"""The command group `huiyin cases`: cases that come in a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import click

from intake.cases import AT_ONCE, CaseDesk, Poster, Verdict
from models.clock import SystemClock
from models.errors import StoreError
from models.terms import Actor
from server.case_file import BadLine, CaseLine, read_cases
from server.command_line import config_option, fail, load_settings, opened, told

__all__ = ["Imported", "cases", "hand_in"]


@dataclass(slots=True)
class Imported:
    """What became of a file."""

    new: int = 0
    known: int = 0
    asked: int = 0
    bad: list[BadLine] = field(default_factory=list)


def hand_in(
    desk: CaseDesk, lines: Sequence[CaseLine], poster: Poster, progress: Callable[[int], None], imported: Imported
) -> None:
    """Stores the cases through the desk; blocks until all are committed or refused.

    Args:
        progress: told how many more are done.
    """
    for start in range(0, len(lines), AT_ONCE):
        chunk = lines[start : start + AT_ONCE]
        futures = desk.post([line.case for line in chunk], poster)
        for line, future in zip(chunk, futures, strict=True):
            _count(line, future, imported)
        progress(len(chunk))


def _count(line: CaseLine, future: Future[Verdict], imported: Imported) -> None:
    try:
        verdict = future.result()
    except StoreError as error:
        imported.bad.append(BadLine(line.number, f"the case could not be stored: {error}"))
        return
    if not verdict.taken:
        sentences = "; ".join(f"{one.field}: {one.sentence}" for one in verdict.problems)
        imported.bad.append(BadLine(line.number, sentences))
        return
    imported.new += verdict.status == 201
    imported.known += verdict.status == 200
    imported.asked += verdict.status == 201 and verdict.reason is None


@click.group()
def cases() -> None:
    """Cases of the case system."""


@cases.command("import")
@config_option
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--as",
    "name",
    metavar="TOKEN",
    default=Actor.COMMAND_LINE.value,
    help="Hand them in as this token's: its system may read, change and withdraw them.",
)
def import_(config: Path, file: Path, name: str) -> None:
    """Bring in closed cases from a file. What is known stays as it is, so a file may be given again."""
    with told():
        settings = load_settings(config)
        content = file.read_bytes()
        from models.door import Door
        from server.api import case_rules_of

        clock = SystemClock()
        imported = Imported()
        lines = _read(content, clock.now(), imported)
        with opened(settings) as database:
            database.take_writing_lock()
            keyring = database.open_keyring(settings.privacy.key_file)
            door = Door(database)
            try:
                desk = CaseDesk(door, keyring, clock, case_rules_of(settings))
                with click.progressbar(length=len(lines), label="cases", file=sys.stderr) as bar:
                    hand_in(desk, lines, Poster(name, Actor.COMMAND_LINE.value), bar.update, imported)
            finally:
                door.close()
        click.echo(
            f"{imported.new} new cases, {imported.asked} of them to be asked by SMS; {imported.known} were known; "
            f"{len(imported.bad)} lines not taken"
        )
        if imported.bad:
            fail(*(f"{file}: {line}" for line in sorted(imported.bad, key=lambda line: line.number)))


def _read(content: bytes, now: datetime, imported: Imported) -> list[CaseLine]:
    lines = []
    for line in read_cases(content, now):
        if isinstance(line, BadLine):
            imported.bad.append(line)
        else:
            lines.append(line)
    return lines
