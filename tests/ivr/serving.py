"""A rating server on loopback for a test, with the desk double behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ParamSpec, cast

import pytest_twisted
from twisted.internet.task import Clock

from config.settings import IvrSection, RatingSection, Settings
from config.values import Address
from ivr.server import RatingServer
from models.clock import TurnedClock
from simulate.caller import Answer, CallReport, Plan, place_call, request_line
from tests.ivr.desk import DeskDouble
from tests.moments import START

P = ParamSpec("P")
RATE = request_line("rate", call="lx1-1760000000.1", agent="PJSIP/1001", queue="q12345", lang="zh")


def on_reactor(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Any]:
    """A test that runs on Twisted's reactor and awaits Deferreds."""
    return cast("Callable[P, Any]", pytest_twisted.ensureDeferred(test))


def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


class TurnedReactor:
    """The real reactor, but time passes only when `advance` says so."""

    def __init__(self) -> None:
        self._clock = Clock()
        self.advance = self._clock.advance
        self.callLater = self._clock.callLater
        self.seconds = self._clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor(), name)


def settings(ivr: dict[str, Any] | None = None, rating: dict[str, Any] | None = None) -> Settings:
    """Settings with a free port, no grace and no prompts on this machine."""
    chosen: dict[str, Any] = {
        "listen": Address("127.0.0.1", 0),
        "prompt_dir": Path("/nowhere/prompts"),
        "stop_grace": timedelta(0),
        "max_calls": 200,
    }
    # Copied, not validated: tests take limits that no operator may set.
    section = IvrSection().model_copy(update=chosen | (ivr or {}))
    return Settings(ivr=section, rating=RatingSection(**(rating or {})))


@dataclass
class Serving:
    """What a test has in hand."""

    server: RatingServer
    desk: DeskDouble
    stopped: bool = False

    async def call(self, *answers: Answer, request: str = RATE, **plan: Any) -> CallReport:
        """One caller, to the end of the call."""
        return await place_call(reactor(), Plan(request, answers, **plan), port=self.server.port)

    async def stop(self) -> int:
        self.stopped = True
        return await self.server.stop()


@asynccontextmanager
async def serving(
    desk: DeskDouble | None = None,
    *,
    ivr: dict[str, Any] | None = None,
    rating: dict[str, Any] | None = None,
    allow: str = "127.0.0.1",
    on: Any = None,
) -> AsyncIterator[Serving]:
    """`on`: another reactor than the installed one."""
    desk = desk or DeskDouble()
    chosen = settings({"allow": (ip_network(allow),)} | (ivr or {}), rating)
    server = RatingServer(desk, chosen, on or reactor(), TurnedClock(START))
    server.start()
    served = Serving(server, desk)
    try:
        yield served
    finally:
        if not served.stopped:
            await served.stop()
