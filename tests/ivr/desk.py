"""The intake's desk in memory: same answers as intake/desk.py, with faults on demand.

What was handed in stands in `rated`, `reasons`, `released` and `ended`, in order.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from threading import Timer
from typing import Any

from intake.record import CallFacts, Stored
from models.errors import CommandFailed
from models.terms import CallOutcome, Satisfaction


class Fault(Enum):
    """What a step of the desk does instead of its work."""

    FAILS = auto()
    """The future fails."""
    FAILS_LATER = auto()
    """The future fails in another thread, while somebody waits."""
    QUEUED = auto()
    """Never gets its turn; can be withdrawn."""
    STARTED = auto()
    """Has started and does not end; cannot be withdrawn."""
    RAISES = auto()
    """The call itself raises: a bug."""
    BUG = auto()
    """The future fails with what no store raises."""
    TAKEN = auto()
    """`rate` alone: somebody else rated this call a moment before."""


@dataclass
class DeskDouble:
    """Answers at once, unless a fault is set for a step: look_up, rate, give_reason, release, end_call."""

    faults: dict[str, Fault] = field(default_factory=dict)
    known: dict[str, Stored] = field(default_factory=dict)
    rated: list[tuple[CallFacts, Satisfaction, str, bool]] = field(default_factory=list)
    reasons: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    ended: list[tuple[CallFacts, CallOutcome]] = field(default_factory=list)
    pending: list[tuple[str, Future[Any]]] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def _faulty(self, step: str) -> Future[Any] | None:
        self.steps.append(step)
        fault = self.faults.get(step)
        future: Future[Any] = Future()
        match fault:
            case None | Fault.TAKEN:
                return None
            case Fault.RAISES:
                raise RuntimeError(f"{step} is broken on purpose")
            case Fault.FAILS:
                future.set_exception(CommandFailed("broken on purpose"))
            case Fault.BUG:
                future.set_exception(RuntimeError("broken on purpose"))
            case Fault.FAILS_LATER:
                future.set_running_or_notify_cancel()
                Timer(0.02, future.set_exception, [CommandFailed("broken on purpose")]).start()
            case Fault.STARTED:
                future.set_running_or_notify_cancel()
                self.pending.append((step, future))
            case Fault.QUEUED:
                self.pending.append((step, future))
        return future

    def look_up(self, call_key: str) -> Future[Stored | None]:
        return self._faulty("look_up") or _done(self.known.get(call_key))

    def rate(self, facts: CallFacts, satisfaction: Satisfaction, raw_input: str, *, hold: bool) -> Future[Stored]:
        if (faulty := self._faulty("rate")) is not None:
            return faulty
        if self.faults.get("rate") is Fault.TAKEN:
            return _done(Stored(False, "e-earlier", Satisfaction.SATISFIED, "r-earlier"))
        if (known := self.known.get(facts.call_key)) is not None:
            return _done(known)
        self.rated.append((facts, satisfaction, raw_input, hold))
        number = len(self.rated)
        stored = Stored(True, f"e-{number}", satisfaction, f"r-{number}", hold)
        self.known[facts.call_key] = Stored(False, stored.evaluation_id, satisfaction, stored.rating_id)
        return _done(stored)

    def give_reason(self, stored: Stored, codes: tuple[str, ...]) -> Future[None]:
        if (faulty := self._faulty("give_reason")) is not None:
            return faulty
        self.reasons.append((stored.rating_id, codes))
        return _done(None)

    def release(self, stored: Stored) -> Future[None]:
        if (faulty := self._faulty("release")) is not None:
            return faulty
        self.released.append(stored.rating_id)
        return _done(None)

    def end_call(self, facts: CallFacts, outcome: CallOutcome) -> Future[bool]:
        if (faulty := self._faulty("end_call")) is not None:
            return faulty
        self.ended.append((facts, outcome))
        return _done(True)


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
