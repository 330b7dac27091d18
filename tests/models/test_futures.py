"""From futures to Deferreds: one wake for many, patience that ends, and nobody starved."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from models.futures import Patience, TimedOut, Wakeups
from tests.conftest import TwistedErrors


class Threads:
    """callFromThread, kept until the reactor would come round."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []

    def callFromThread(self, callable: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N802
        self.calls.append(lambda: callable(*args, **kwargs))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for function in calls:
            function()


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def wakeups(threads: Threads) -> Wakeups:
    return Wakeups(threads)


def results(deferreds: list[Deferred[Any]]) -> list[Any]:
    found: list[Any] = [None] * len(deferreds)
    for place, deferred in enumerate(deferreds):
        deferred.addBoth(partial(found.__setitem__, place))
    return found


def test_a_group_wakes_the_reactor_once(threads: Threads, wakeups: Wakeups) -> None:
    futures: list[Future[int]] = [Future() for _ in range(64)]
    found = results([wakeups.deferred(future) for future in futures])
    for number, future in enumerate(futures):
        future.set_result(number)
    assert len(threads.calls) == 1
    assert found == [None] * 64  # nothing happens on the writer's thread
    threads.turn()
    assert found == list(range(64))
    late: Future[int] = Future()
    found = results([wakeups.deferred(late)])
    late.set_result(99)
    assert len(threads.calls) == 1
    threads.turn()
    assert found == [99]


def test_failures_and_withdrawals_arrive_as_such(threads: Threads, wakeups: Wakeups) -> None:
    failed: Future[int] = Future()
    withdrawn: Future[int] = Future()
    found = results([wakeups.deferred(failed), wakeups.deferred(withdrawn)])
    failed.set_exception(ValueError("why"))
    withdrawn.cancel()
    threads.turn()
    assert found[0].check(ValueError)
    assert found[1].check(CancelledError)


def test_cancelling_the_deferred_withdraws_what_has_not_started(threads: Threads, wakeups: Wakeups) -> None:
    queued: Future[int] = Future()
    deferred = wakeups.deferred(queued)
    found = results([deferred])
    deferred.cancel()
    assert queued.cancelled()
    threads.turn()
    assert found[0].check(CancelledError)


def test_a_waiter_that_raises_starves_nobody(
    threads: Threads, wakeups: Wakeups, twisted_errors: TwistedErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    futures: list[Future[int]] = [Future() for _ in range(3)]
    deferreds = [wakeups.deferred(future) for future in futures]
    found = results(deferreds)

    def broken(_: int) -> None:
        raise RuntimeError("a waiter's own fault")

    monkeypatch.setattr(deferreds[1], "callback", broken)
    for future in futures:
        future.set_result(1)
    threads.turn()
    assert found == [1, None, 1]
    assert twisted_errors.expect(RuntimeError) == 1


# ── patience ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture
def patience(time: Clock, wakeups: Wakeups) -> Patience:
    return Patience(time, wakeups, 1.5)


def test_what_comes_in_time_is_the_result_and_no_timer_stays(time: Clock, threads: Threads, patience: Patience) -> None:
    future: Future[int] = Future()
    found = results([patience.wait(future)])
    time.advance(1.4)
    future.set_result(7)
    threads.turn()
    assert found == [7]
    time.advance(0.2)
    assert time.getDelayedCalls() == []
    assert found == [7]


@pytest.mark.parametrize("started", [False, True])
def test_what_comes_too_late_is_withdrawn_if_it_has_not_started(
    time: Clock, threads: Threads, patience: Patience, started: bool
) -> None:
    future: Future[int] = Future()
    if started:
        assert future.set_running_or_notify_cancel()
    found = results([patience.wait(future)])
    time.advance(1.49)
    assert found == [None]
    time.advance(0.02)
    threads.turn()
    assert found[0].check(TimedOut)
    assert found[0].value.withdrawn is not started
    assert future.cancelled() is not started
    if started:  # it stands when it commits, and nobody hears of it twice
        future.set_result(1)
        threads.turn()


def test_one_timer_serves_all_waits_each_for_its_full_time(time: Clock, threads: Threads, patience: Patience) -> None:
    futures: list[Future[int]] = [Future() for _ in range(4)]
    deferreds = []
    for future in futures:
        deferreds.append(patience.wait(future))
        time.advance(0.3)
    found = results(deferreds)
    assert len(time.getDelayedCalls()) == 1
    futures[1].set_result(5)
    threads.turn()
    kinds: list[Any] = []
    for advance in (0.29, 0.02, 0.57, 0.04, 0.27, 0.02):
        time.advance(advance)
        kinds.append([getattr(value, "type", value) for value in found])
    assert kinds == [
        [None, 5, None, None],
        [TimedOut, 5, None, None],
        [TimedOut, 5, None, None],
        [TimedOut, 5, TimedOut, None],
        [TimedOut, 5, TimedOut, None],
        [TimedOut, 5, TimedOut, TimedOut],
    ]
    assert time.getDelayedCalls() == []
    patience.stop()
