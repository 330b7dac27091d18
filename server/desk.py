"""The intake as the telephone sees it here: each stored rating wakes the push of this process.

A committed group alone is no reason to wake it, for the push's own bookkeeping is committed too, and would wake it for
ever.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from intake.desk import Intake
from intake.record import CallFacts, Rules, Stored
from models.clock import Clock
from models.door import Door
from models.privacy import Keyring
from models.terms import Satisfaction

__all__ = ["WakingIntake"]


class WakingIntake(Intake):
    """Wakes whoever pushes after each commit that gives it something to push.

    Args:
        wake: called from the writer's thread.
        fault: a fault point's switch, for tests only: called with "after-commit-before-thanks".
    """

    def __init__(
        self,
        door: Door,
        keyring: Keyring,
        clock: Clock,
        rules: Rules,
        *,
        wake: Callable[[], None],
        fault: Callable[[str], None],
    ) -> None:
        super().__init__(door, keyring, clock, rules)
        self._wake = wake
        self._fault = fault

    def rate(self, facts: CallFacts, satisfaction: Satisfaction, raw_input: str, *, hold: bool) -> Future[Stored]:
        future = super().rate(facts, satisfaction, raw_input, hold=hold)
        future.add_done_callback(self._rated if not hold else self._rated_and_held)
        return future

    def give_reason(self, stored: Stored, codes: tuple[str, ...]) -> Future[None]:
        future = super().give_reason(stored, codes)
        future.add_done_callback(self._released)
        return future

    def release(self, stored: Stored) -> Future[None]:
        future = super().release(stored)
        future.add_done_callback(self._released)
        return future

    def _rated(self, future: Future[Any]) -> None:
        self._rated_and_held(future)
        self._released(future)

    def _rated_and_held(self, future: Future[Any]) -> None:
        if _succeeded(future):
            self._fault("after-commit-before-thanks")

    def _released(self, future: Future[Any]) -> None:
        if _succeeded(future):
            self._wake()


def _succeeded(future: Future[Any]) -> bool:
    return not future.cancelled() and future.exception() is None
