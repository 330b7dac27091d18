"""From the door's futures to Twisted's Deferreds, with one wake of the reactor for a whole group.

`reactor.callFromThread` writes a byte to the reactor's pipe each time; a group of 64 would wake it 64 times. Here the
first future that is done wakes the reactor, and whatever is done by then comes along.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

__all__ = ["Deadlines", "Patience", "ReactorThreads", "ReactorTime", "TimedOut", "Timer", "Wakeups"]

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
        self._done: list[_Wait[Any]] = []

    def deferred(self, future: Future[T]) -> Deferred[T]:
        """A Deferred that fires on the reactor's thread. Cancelling it withdraws what has not started yet."""
        return _Wait(self, future).deferred

    def done(self, wait: _Wait[Any]) -> None:
        """Called on whatever thread a future is done."""
        with self._lock:
            first = not self._done
            self._done.append(wait)
        if first:
            self._reactor.callFromThread(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        for wait in done:
            try:
                wait.fire()
            except Exception:  # noqa: BLE001 (one waiter that raises must not starve the others)
                self._log.failure("a waiter of the database raised")


class _Wait(Generic[T]):
    """One future that somebody on the reactor waits for."""

    __slots__ = ("deferred", "future", "patience", "wakeups")

    def __init__(self, wakeups: Wakeups, future: Future[T], patience: Patience | None = None) -> None:
        self.wakeups = wakeups
        self.future = future
        self.patience = patience
        self.deferred: Deferred[T] = Deferred(self._withdraw)
        future.add_done_callback(self._done)

    def _withdraw(self, _: Deferred[T]) -> None:
        self.future.cancel()

    def _done(self, _: Future[T]) -> None:
        self.wakeups.done(self)

    def fire(self) -> None:
        """Hands the result to the Deferred, unless it has one by now."""
        if self.patience is not None:
            self.patience.forget(self)
        future, deferred = self.future, self.deferred
        if deferred.called:
            return
        if future.cancelled():
            deferred.errback(CancelledError())
        elif (error := future.exception()) is not None:
            deferred.errback(error)
        else:
            deferred.callback(future.result())


class Deadlines(Generic[T]):
    """Things that all get the same time from when they are added, so that the first in is the first out, and one timer
    serves them all.

    Args:
        seconds: of monotonic time.
    """

    def __init__(self, reactor: ReactorTime, seconds: float, expire: Callable[[T], None]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._expire = expire
        self._due: dict[T, float] = {}
        self._timer: Timer | None = None

    def add(self, thing: T) -> None:
        self._due[thing] = self._reactor.seconds() + self._seconds
        if self._timer is None:
            self._timer = self._reactor.callLater(self._seconds, self._tick)

    def remove(self, thing: T) -> None:
        """Takes a thing out; one that is not in is fine."""
        self._due.pop(thing, None)

    def stop(self) -> None:
        """No thing expires any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        while self._due:
            thing, due = next(iter(self._due.items()))
            if due > now:
                self._timer = self._reactor.callLater(due - now, self._tick)
                return
            del self._due[thing]
            self._expire(thing)


class Patience:
    """Waits for futures that all get the same time.

    Args:
        seconds: of monotonic time.
    """

    def __init__(self, reactor: ReactorTime, wakeups: Wakeups, seconds: float) -> None:
        self._wakeups = wakeups
        self._deadlines: Deadlines[_Wait[Any]] = Deadlines(reactor, seconds, _give_up)

    def wait(self, future: Future[T]) -> Deferred[T]:
        """Fires with the future's result, or fails with TimedOut; a command that is still queued then is withdrawn.

        With `TimedOut.withdrawn` false the command had started, and stands if it commits.
        """
        wait = _Wait(self._wakeups, future, self)
        self._deadlines.add(wait)
        return wait.deferred

    def forget(self, wait: _Wait[Any]) -> None:
        self._deadlines.remove(wait)

    def stop(self) -> None:
        """Ends the timer; nobody waits any more."""
        self._deadlines.stop()


def _give_up(wait: _Wait[Any]) -> None:
    withdrawn = wait.future.cancel()
    if not wait.deferred.called:
        wait.deferred.errback(TimedOut(withdrawn=withdrawn))
