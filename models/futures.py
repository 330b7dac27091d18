"""From the door's futures to Twisted's Deferreds, with one wake of the reactor for a whole group.

`reactor.callFromThread` writes a byte to the reactor's pipe each time; a group of 64 would wake it 64 times. Here the
first future that is done wakes the reactor, and whatever is done by then comes along.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

__all__ = ["ReactorThreads", "ReactorTime", "TimedOut", "Timer", "Wakeups", "within"]

T = TypeVar("T")


class TimedOut(Exception):
    """The time allowed is over. `withdrawn`: it never started, and never will."""

    def __init__(self, *, withdrawn: bool) -> None:
        super().__init__("withdrawn before it started" if withdrawn else "started, its fate is unknown")
        self.withdrawn = withdrawn


class Timer(Protocol):
    """IDelayedCall, as far as we use it (zope interfaces say nothing to a type checker)."""

    def cancel(self) -> None: ...

    def active(self) -> bool: ...


class ReactorTime(Protocol):
    """IReactorTime: durations, on monotonic time."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object) -> Timer: ...  # noqa: N802


class ReactorThreads(Protocol):
    def callFromThread(self, callable: Any, *args: Any, **kwargs: Any) -> None: ...  # noqa: N802


class Wakeups:
    """Hands results over to the reactor's thread."""

    _log = Logger()

    def __init__(self, reactor: ReactorThreads) -> None:
        self._reactor = reactor
        self._lock = Lock()
        self._done: list[tuple[Deferred[Any], Future[Any]]] = []

    def deferred(self, future: Future[T]) -> Deferred[T]:
        """A Deferred that fires on the reactor's thread. Cancelling it withdraws what has not started yet."""

        def withdraw(_: Deferred[T]) -> None:
            future.cancel()

        deferred: Deferred[T] = Deferred(withdraw)

        def done(future: Future[T]) -> None:
            with self._lock:
                first = not self._done
                self._done.append((deferred, future))
            if first:
                self._reactor.callFromThread(self._hand_over)

        future.add_done_callback(done)
        return deferred

    def _hand_over(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        for deferred, future in done:
            try:
                if not deferred.called:
                    _fire(deferred, future)
            except Exception:  # noqa: BLE001 (one waiter that raises must not starve the others)
                self._log.failure("a waiter of the database raised")


def _fire(deferred: Deferred[Any], future: Future[Any]) -> None:
    if future.cancelled():
        deferred.errback(CancelledError())
    elif (error := future.exception()) is not None:
        deferred.errback(error)
    else:
        deferred.callback(future.result())


async def within(reactor: ReactorTime, wakeups: Wakeups, future: Future[T], seconds: float) -> T:
    """The future's result, or TimedOut after `seconds` of monotonic time; a queued command is then withdrawn.

    Raises:
        TimedOut: with `withdrawn` false the command had started and stands if it commits.
    """
    deferred = wakeups.deferred(future)
    late: list[bool] = []

    def expire() -> None:
        late.append(future.cancel())
        if not deferred.called:
            deferred.cancel()

    timer = reactor.callLater(seconds, expire)
    try:
        return await deferred
    except CancelledError:
        if late:
            raise TimedOut(withdrawn=late[0]) from None
        raise
    finally:
        if timer.active():
            timer.cancel()
