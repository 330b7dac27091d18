"""The command group `huiyin scheduler`: what a person has to say to the clockwork."""

from __future__ import annotations

from pathlib import Path

import click

from intake.pauses import AcceptJump, read_jump
from models.clock import SHANGHAI, SystemClock
from models.door import Door
from models.terms import Actor
from server.command_line import config_option, load_settings, opened, told
from server.errors import CannotDo

__all__ = ["scheduler"]

_SECONDS = 60.0


@click.group()
def scheduler() -> None:
    """What time makes happen: reminders and default ratings."""


@scheduler.command("accept-jump")
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def accept_jump(config: Path, yes: bool) -> None:
    """Confirm that the clock is right after it jumped ahead: default ratings go on.

    Look at the clock first. What falls due by a wrong one becomes a default that cannot be called back.
    """
    with told(), opened(load_settings(config)) as database:
        with database.read_engine.connect() as connection:
            jump = read_jump(connection)
        if jump is None:
            click.echo("nothing to do: no jump of the clock pauses the defaults")
            return
        now = SystemClock().now().astimezone(SHANGHAI)
        click.echo(
            f"{jump.node}: the clock went ahead by {jump.ahead} and showed"
            f" {jump.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}; here it is {now:%Y-%m-%d %H:%M:%S} (Asia/Shanghai)"
        )
        if not yes and not click.confirm("Is that the time?"):
            raise CannotDo("not confirmed; the defaults stay paused")
        door = Door(database)
        try:
            door.submit(AcceptJump(Actor.COMMAND_LINE.value, SystemClock().now())).result(_SECONDS)
        finally:
            door.close()
        click.echo("confirmed; default ratings go on")
