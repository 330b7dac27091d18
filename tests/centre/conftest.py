"""The bench of the push's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from models.database import Database
from models.door import Door
from simulate.centre import StandInCentre
from tests.centre.bench import SECRET, Bench, OffsetClock, reactor


@pytest.fixture
def centre() -> StandInCentre:
    made = StandInCentre(SECRET)
    made.listen(reactor)
    return made


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def bench(database: Database, door: Door, centre: StandInCentre) -> AsyncIterator[Bench]:
    made = Bench(database, door, centre, OffsetClock(), [])
    yield made
    for pusher in made.pushers:
        await pusher.stop(0.0)
    await centre.stop()
    assert centre.violations == []
