"""A database, a stand-in centre, and pushers between them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ParamSpec, cast

import pytest_twisted
from pydantic import SecretStr
from sqlalchemy import create_engine
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred

from centre.push import Pusher
from config.settings import CentreSection
from models.clock import SystemClock
from models.database import Database
from models.door import Door
from simulate.centre import StandInCentre
from tests.centre.rows import PLAIN, SITE, Record, add

reactor: Any = _reactor
SECRET = "钥匙-secret"


P = ParamSpec("P")


def on_reactor(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Any]:
    """A test that runs on Twisted's reactor and awaits Deferreds."""
    return cast("Callable[P, Any]", pytest_twisted.ensureDeferred(test))


class OffsetClock:
    """The system's clock, set wrong by as much as a test likes."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return SystemClock().now() + self.offset


@dataclass
class Bench:
    """A database, a centre, and pushers between them."""

    database: Database
    door: Door
    centre: StandInCentre
    clock: OffsetClock
    pushers: list[Pusher]

    @property
    def record(self) -> Record:
        return Record(self.database)

    def add(self, count: int = 1, **changes: Any) -> list[str]:
        engine = create_engine(self.database.url) if self.database.is_sqlite else self.database.write_engine
        try:
            return add(engine, count, now=self.clock.now(), **changes)
        finally:
            if self.database.is_sqlite:
                engine.dispose()

    def pusher(self, door: Door | None = None, **changes: Any) -> Pusher:
        fault = changes.pop("fault", lambda _point: None)
        speed = changes.pop("speed", 1.0)
        settings = {
            "url": changes.pop("url") if "url" in changes else self.centre.url,
            "secret": SecretStr(SECRET),
            "timeout": 5.0,
            "retry_first": 0.05,
            "retry_most": 0.4,
            "pause": 0.3,
            **changes,
        }
        made = Pusher(
            door or self.door,
            CentreSection(**settings),
            PLAIN,
            reactor,
            self.clock,
            site=SITE,
            speed=speed,
            fault=fault,
            chance=lambda: 0.5,
        )
        made.start()
        self.pushers.append(made)
        return made

    async def settled(self) -> None:
        """Until nothing waits any more."""
        await until(lambda: not self.record.outbox)


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Looks until it is so; the pusher's own tables have no event to wait for."""
    end = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < end, "it did not happen"
        pause: Deferred[None] = Deferred()
        reactor.callLater(0.01, pause.callback, None)
        await pause
