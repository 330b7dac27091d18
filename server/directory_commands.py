"""The command group `huiyin directory`: names of agents and departments for the console."""

from __future__ import annotations

from pathlib import Path

import click

from console.directory import import_entries
from models.clock import SystemClock
from models.terms import Actor
from server.command_line import config_option, fail, load_settings, opened, told
from server.directory_file import read_directory_file

__all__ = ["directory"]


@click.group()
def directory() -> None:
    """Names of agents and departments."""


@directory.command("import")
@config_option
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--replace", is_flag=True, help="Remove what the file does not have.")
def import_(config: Path, file: Path, *, replace: bool) -> None:
    """Bring in names (agent number, name, team; department code, name). Nothing is where a line is bad."""
    with told():
        settings = load_settings(config)
        read = read_directory_file(file.read_bytes())
        if read.bad:
            fail(
                *(f"{file}: {line}" for line in sorted(read.bad, key=lambda line: line.number)),
                f"{file}: nothing was imported",
            )
        with opened(settings) as database, database.write_engine.begin() as connection:
            done = import_entries(
                connection, SystemClock().now(), read.entries, replace=replace, actor=Actor.COMMAND_LINE.value
            )
        click.echo(f"{done.added} added, {done.changed} changed, {done.removed} removed")
