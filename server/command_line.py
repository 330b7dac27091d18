"""What the commands share: how a failure is told, how a configuration and a database are opened."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from sqlalchemy.exc import DBAPIError

from config.errors import ConfigurationError
from config.loading import load
from config.settings import Settings
from models.database import Database, open_database
from models.errors import StoreError
from server.errors import CannotDo
from server.logs import configure

__all__ = ["config_option", "fail", "load_settings", "opened", "told"]


def fail(*lines: str) -> NoReturn:
    """Each on stderr, and exit code 1."""
    for line in lines:
        click.echo(f"huiyin: {line}", err=True)
    raise SystemExit(1)


@contextmanager
def told() -> Iterator[None]:
    """Turns what goes wrong into one line on stderr and exit code 1."""
    try:
        yield
    except ConfigurationError as error:
        fail(*error.lines())
    except DBAPIError as error:
        fail(f"the database refused: {_first_line(error.orig)}")
    except OSError as error:
        fail(f"{error.filename or 'system'}: {error.strerror or error}")
    except (click.exceptions.Exit, click.ClickException, click.Abort):
        raise
    except (CannotDo, StoreError) as error:
        fail(_first_line(error))
    except Exception as error:  # noqa: BLE001 (the last resort: a line that can be reported)
        where = traceback.extract_tb(error.__traceback__)[-1]
        fail(
            f"internal error: {type(error).__name__} at {Path(where.filename).name}:{where.lineno}: "
            f"{_first_line(error)}; please report it"
        )


def _first_line(error: object) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "-c",
        "--config",
        "config",
        required=True,
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="The configuration, see config/huiyin.example.toml.",
    )(function)


def load_settings(config: Path, *, quiet: bool = True) -> Settings:
    """The configuration; from here on the log is as it says."""
    settings = load(config)
    configure(settings.log, quiet=quiet)
    return settings


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The database of a command that works beside a serving process: its schema must be this program's."""
    database = open_database(settings.database.connection_url, settings.directory)
    try:
        database.ensure_schema()
        yield database
    finally:
        database.close()
