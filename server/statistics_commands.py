"""The command group `huiyin statistics`: the figures' counts."""

from __future__ import annotations

from pathlib import Path

import click

from models.recount import rebuild as count_anew
from server.command_line import config_option, load_settings, opened, told

__all__ = ["statistics"]


@click.group()
def statistics() -> None:
    """The figures' counts."""


@statistics.command()
@config_option
def rebuild(config: Path) -> None:
    """Count everything anew, in place of the counts that are there. Stop every server first."""
    with told():
        settings = load_settings(config)
        with opened(settings) as database:
            database.take_serving_lock(exclusive=True)
            with database.write_engine.begin() as connection:
                rows = count_anew(connection)
        click.echo(f"counted anew: {rows} rows")
