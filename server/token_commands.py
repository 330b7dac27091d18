"""The command group `huiyin token`: who may use the HTTP API, and for what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from console.tokens import NAME, Scope, add_token, list_tokens, revoke_token
from models.clock import SHANGHAI, SystemClock
from server.command_line import config_option, load_settings, opened, told
from server.errors import CannotDo

__all__ = ["token"]


class _Name(click.ParamType[str]):
    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not NAME.fullmatch(str(value)):
            self.fail("a name has letters, digits, dots, hyphens and underscores, 56 at most", param, ctx)
        return str(value)


@click.group()
def token() -> None:
    """Tokens for the HTTP API."""


@token.command()
@config_option
@click.argument("name", type=_Name())
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in Scope]),
    required=True,
    help="intake: posts, changes, withdraws and reads its own cases; read: reads, masked; centre: the status call.",
)
@click.option("--dept", "depts", multiple=True, metavar="CODE", help="Of scope read: this department; may be repeated.")
@click.option(
    "--area", "areas", multiple=True, metavar="PREFIX", help="Of scope read: areas that begin so; may be repeated."
)
def add(config: Path, name: str, scope: str, depts: tuple[str, ...], areas: tuple[str, ...]) -> None:
    """Make a token and show it, this once. The database keeps a hash of it."""
    if (depts or areas) and scope != Scope.READ.value:
        raise click.UsageError("--dept and --area narrow a token of scope read")
    if any(not part.strip() for part in (*depts, *areas)):
        raise click.UsageError("--dept and --area must not be empty")
    with told():
        settings = load_settings(config)
        with opened(settings) as database, database.write_engine.begin() as connection:
            secret = add_token(connection, SystemClock().now(), name, Scope(scope), depts=depts, areas=areas)
        click.echo(secret)
        click.echo("keep it now: nobody can show it again", err=True)


@token.command("list")
@config_option
def list_(config: Path) -> None:
    """List the tokens: name, scope, what it is narrowed to, since when, until when."""
    with told():
        settings = load_settings(config)
        with opened(settings) as database, database.read_engine.connect() as connection:
            found = list_tokens(connection)
        for one in found:
            narrowed = ",".join([*(f"dept={code}" for code in one.depts), *(f"area={area}" for area in one.areas)])
            since = f"{one.created_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
            until = f"revoked {one.revoked_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if one.revoked_at else ""
            click.echo("\t".join((one.name, one.scope.value, narrowed, since, until)))


@token.command()
@config_option
@click.argument("name", type=_Name())
def revoke(config: Path, name: str) -> None:
    """End a token at once."""
    with told():
        settings = load_settings(config)
        with opened(settings) as database, database.write_engine.begin() as connection:
            ended = revoke_token(connection, SystemClock().now(), name)
        if not ended:
            raise CannotDo(f"no token named {name} is in use; see: huiyin token list -c FILE")
        click.echo(f"{name} is revoked")
