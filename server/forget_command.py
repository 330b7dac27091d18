"""The command `huiyin forget`: a citizen asks that nothing of him is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from intake.forgetting import ForgetGroup, Forgotten, NoteForgotten, Tally, tally
from intake.numbers import normalise_number
from models.clock import Clock, SystemClock
from models.door import Command, Door
from models.errors import CommandFailed
from models.privacy import mask
from server.command_line import config_option, load_settings, opened, told

__all__ = ["forget", "forget_all"]

_ATTEMPTS = 5
"""At one group, while a serving process is busy; each waits as long as the database lets it."""


def _done(door: Door, command: Command[Forgotten] | Command[None]) -> Forgotten | None:
    for left in reversed(range(_ATTEMPTS)):
        try:
            return door.submit(command).result()
        except CommandFailed:
            if not left:
                raise
    raise AssertionError("unreachable")


def forget_all(door: Door, hashes: tuple[bytes, ...], active_key: int, clock: Clock) -> Forgotten:
    """Group after group until nothing is left, then the audit's line. Blocks; what is interrupted is run again."""
    done = Forgotten()
    while group := _done(door, ForgetGroup(hashes, active_key, clock.now())):
        done += group
    _done(door, NoteForgotten.of(done, clock.now()))
    return done


@click.command()
@config_option
@click.argument("number", metavar="NUMBER")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(config: Path, number: str, yes: bool) -> None:
    """Remove what is kept of a person, by telephone number. With - the number is read from stdin.

    It works beside a running server. An opt-out stays, as a keyed hash.
    """
    with told():
        settings = load_settings(config)
        normalised = normalise_number(_typed() if number == "-" else number)
        if normalised.value is None:
            raise click.UsageError("that is no telephone number")
        with opened(settings) as database:
            database.take_writing_lock()
            keyring = database.open_keyring(settings.privacy.key_file)
            hashes, shown = keyring.hashes(normalised.value), mask(normalised.value)
            with database.read_engine.connect() as connection:
                found = tally(connection, hashes)
            click.echo(f"{shown}: {_counts(found)}", err=True)
            if not yes:
                click.confirm("Remove all of it? It cannot be brought back.", abort=True, err=True)
            door = Door(database)
            try:
                done = forget_all(door, hashes, keyring.active_id, SystemClock())
            finally:
                door.close()
        click.echo(
            f"{shown} is forgotten: {done.calls} calls, {done.cases} cases, {done.messages} messages, "
            f"{done.evaluations} evaluations blanked, {done.invitations} invitations ended"
        )
        if done.waiting:
            click.echo(f"{done.waiting} evaluations go to the centre first; their words go when it has answered")
        if found.opted_out:
            click.echo("the opt-out stays, as a keyed hash: no SMS is sent to this number")


def _typed() -> str:
    """The number from stdin: it stands in no shell history and no list of processes."""
    if sys.stdin.isatty():
        return str(click.prompt("Number", hide_input=True, err=True))
    return sys.stdin.readline()


def _counts(found: Tally) -> str:
    opted_out = "; opted out" if found.opted_out else ""
    return (
        f"{found.calls} calls, {found.cases} cases, {found.messages} messages, "
        f"{found.invitations} open invitations{opted_out}"
    )
