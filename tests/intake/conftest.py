"""What tests of the intake share: a record in which citizens reply, and what the outgoing side starts from.

A database of PostgreSQL costs most of a second: a module has one, emptied after each test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from models.clock import TurnedClock
from models.database import Database, open_database
from models.door import Door
from models.privacy import Keyring
from models.tables import metadata
from tests.intake.replying import Replying
from tests.intake.sending import Sending

_KEPT = {"meta"}


@pytest.fixture
def record(door: Door, database: Database, keyring: Keyring, clock: TurnedClock) -> Replying:
    """An empty record in which citizens reply."""
    return Replying(door, database, keyring, clock)


@pytest.fixture
def another_door(database: Database) -> Iterator[Callable[[], Door]]:
    """Doors of other processes, or of later lives of this one, to the same database."""
    with ExitStack() as stack:

        def make() -> Door:
            own = Database(database.url)
            stack.callback(own.close)
            door = Door(own)
            stack.callback(door.close)
            return door

        yield make


@pytest.fixture(scope="module")
def module_postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    template = request.getfixturevalue("migrated_postgres")
    opened = open_database(
        request.getfixturevalue("postgres").new_database(template), tmp_path_factory.mktemp("module")
    )
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def emptied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database without a row, SQLite and PostgreSQL in turn."""
    if request.param == "postgresql":
        opened: Database = request.getfixturevalue("module_postgres")
        yield opened
        with opened.write_engine.begin() as connection:
            for table in metadata.tables.values():
                if table.name not in _KEPT:
                    connection.execute(table.delete())
    else:
        copyfile(request.getfixturevalue("migrated_sqlite"), tmp_path / "huiyin.db")
        opened = open_database("sqlite:///huiyin.db", tmp_path)
        yield opened
        opened.close()


@pytest.fixture
def doors(emptied: Database) -> Iterator[Any]:
    """Opens doors to the one database, as several processes have them."""
    opened: list[Door] = []

    def make() -> Door:
        opened.append(Door(emptied))
        return opened[-1]

    yield make
    for door in opened:
        door.close()


@pytest.fixture
def sending(doors: Any, keyring: Keyring, clock: TurnedClock) -> Sending:
    return Sending(doors(), keyring, clock)
