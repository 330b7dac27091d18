"""The command group `huiyin user`: who may use the console. The first admin is made here."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from console.passwords import SHORTEST, Fault, Passwords, password_fault
from console.people import (
    User,
    add_user,
    disable_user,
    enable_user,
    find_user,
    list_users,
    set_password,
    user_problem,
)
from console.viewer import ConsoleRole
from models.clock import SHANGHAI, SystemClock
from models.terms import Actor
from server.command_line import config_option, load_settings, opened, told
from server.errors import CannotDo

__all__ = ["user"]

_ROLES = [role.value for role in ConsoleRole if role is not ConsoleRole.BOARD]
_FAULTS = {
    Fault.TOO_SHORT: f"needs {SHORTEST} characters or more",
    Fault.TOO_LONG: "is too long",
    Fault.TOO_SIMPLE: "is too simple; mix letters, digits and signs, or take 16 characters or more",
    Fault.LIKE_NAME: "holds the user's name",
    Fault.COMMON: "is one of those that are tried first",
}


@click.group()
def user() -> None:
    """People of the console."""


def _keep(function: click.decorators.FC) -> click.decorators.FC:
    return click.option("--keep", is_flag=True, help="The user need not change the password with the first log-in.")(
        function
    )


def _new_password(name: str) -> str:
    """A password for this user, asked for or from stdin, as a hash."""
    if sys.stdin.isatty():
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise CannotDo("no password came on stdin; give it as the first line, or run this in a terminal")
    if fault := password_fault(password, name):
        raise CannotDo(f"the password {_FAULTS[fault]}")
    return Passwords().hash(password)


@user.command()
@config_option
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    required=True,
    help="supervisor: sees all; department: its own; auditor: the audit; admin: users and tokens.",
)
@click.option("--dept", "depts", multiple=True, metavar="CODE", help="Sees this department's; may be repeated.")
@click.option("--area", "areas", multiple=True, metavar="PREFIX", help="Sees areas that begin so; may be repeated.")
@_keep
def add(config: Path, name: str, role: str, depts: tuple[str, ...], areas: tuple[str, ...], keep: bool) -> None:
    """Make a user. The password is asked for, or read as the first line of stdin."""
    if problem := user_problem(name, ConsoleRole(role), depts, areas):
        raise click.UsageError(problem)
    with told():
        settings = load_settings(config)
        hashed = _new_password(name)
        with opened(settings) as database, database.write_engine.begin() as connection:
            add_user(
                connection,
                SystemClock().now(),
                name,
                ConsoleRole(role),
                hashed,
                depts=depts,
                areas=areas,
                must_change=not keep,
                actor=Actor.COMMAND_LINE.value,
            )
        click.echo(f"{name} may log in as {role}" + ("" if keep else "; the password is changed with the first log-in"))


@user.command("list")
@config_option
def list_(config: Path) -> None:
    """List the users: name, role, what they see, since when, disabled when."""
    with told():
        settings = load_settings(config)
        with opened(settings) as database, database.read_engine.connect() as connection:
            found = list_users(connection)
        for one in found:
            click.echo("\t".join(_columns(one)))


def _columns(one: User) -> tuple[str, ...]:
    narrowed = ",".join([*(f"dept={code}" for code in one.depts), *(f"area={area}" for area in one.areas)])
    since = f"{one.created_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
    until = f"disabled {one.disabled_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if one.disabled_at else ""
    return (one.name, one.role.value, narrowed, since, until)


@user.command()
@config_option
@click.argument("name")
def disable(config: Path, name: str) -> None:
    """Lock a user out at once."""
    with told():
        settings = load_settings(config)
        with opened(settings) as database, database.write_engine.begin() as connection:
            changed = disable_user(connection, SystemClock().now(), name, actor=Actor.COMMAND_LINE.value)
        click.echo(f"{name} is disabled" if changed else f"{name} was disabled already")


@user.command()
@config_option
@click.argument("name")
def enable(config: Path, name: str) -> None:
    """Let a disabled user in again, with the password as it was."""
    with told():
        settings = load_settings(config)
        with opened(settings) as database, database.write_engine.begin() as connection:
            changed = enable_user(connection, SystemClock().now(), name, actor=Actor.COMMAND_LINE.value)
        click.echo(f"{name} may log in again" if changed else f"{name} was not disabled")


@user.command()
@config_option
@click.argument("name")
@_keep
def password(config: Path, name: str, keep: bool) -> None:
    """Set a user's password and log them out everywhere. It is asked for, or read as the first line of stdin."""
    with told():
        settings = load_settings(config)
        with opened(settings) as database:
            with database.read_engine.connect() as connection:
                if find_user(connection, name) is None:
                    raise CannotDo(f"no user is named {name}; see: huiyin user list -c FILE")
            hashed = _new_password(name)
            with database.write_engine.begin() as connection:
                set_password(
                    connection,
                    SystemClock().now(),
                    name,
                    hashed,
                    must_change=not keep,
                    actor=Actor.COMMAND_LINE.value,
                )
        click.echo(f"{name} has a new password and is logged out")
