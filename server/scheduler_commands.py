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
    """Confirm that the clock is right after it jumped ahead, or a long outage: what is due goes on.

    Look at the clock first. What falls due by a wrong one is defaulted, ended or blanked, and cannot be called back.
    """
    with told(), opened(load_settings(config)) as database:
        with database.read_engine.connect() as connection:
            jump = read_jump(connection)
        if jump is None:
            click.echo("nothing to do: no jump of the clock waits for a word")
            return
        now = SystemClock().now().astimezone(SHANGHAI)
        what = (
            f"nobody saw the time for {jump.ahead}; it" if jump.unseen else f"the clock went ahead by {jump.ahead} and"
        )
        click.echo(
            f"{jump.node}: {what} showed"
            f" {jump.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}; here it is {now:%Y-%m-%d %H:%M:%S} (Asia/Shanghai)"
        )
        if not yes and not click.confirm("Is that the time?"):
            raise CannotDo("not confirmed; what is due stays where it is")
        door = Door(database)
        try:
            door.submit(AcceptJump(Actor.COMMAND_LINE.value, SystemClock().now())).result(_SECONDS)
        finally:
            door.close()
        click.echo("confirmed; what is due goes on")
