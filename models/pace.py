"""How fast work that can wait goes through the writer: between two groups it is free for calls and replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

__all__ = ["Pace", "PaceReactor"]


class PaceReactor(Protocol):
    """What a pace needs of the reactor."""

    def seconds(self) -> float: ...
    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> IDelayedCall: ...  # noqa: N802


class Pace:
    """Rests between groups. On the reactor's thread; `stop` ends every rest at once, and there are no more.

    Args:
        rows_per_second: how fast a backlog is worked off at most (`schedule.rows_per_second`).
    """

    def __init__(self, reactor: PaceReactor, rows_per_second: int) -> None:
        self._reactor = reactor
        self._rows_per_second = rows_per_second
        self._resting: dict[Deferred[None], IDelayedCall] = {}
        self._stopping = False

    def seconds(self) -> float:
        """The reactor's time, to be given to `rest`."""
        return self._reactor.seconds()

    async def rest(self, rows: int, began: float) -> None:
        """After a group of so many rows that was begun at `began`."""
        left = rows / self._rows_per_second - (self._reactor.seconds() - began)
        if left <= 0 or self._stopping:
            return
        over: Deferred[None] = Deferred()
        self._resting[over] = self._reactor.callLater(left, over.callback, None)
        try:
            await over
        finally:
            del self._resting[over]

    def stop(self) -> None:
        self._stopping = True
        for over, timer in list(self._resting.items()):
            timer.cancel()
            over.callback(None)
