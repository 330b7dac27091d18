"""What tests of the intake share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from tests.intake.replying import Replying


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
