"""The desk at which every channel hands in what it heard. Everything returns a future of the door; nothing blocks.

Numbers are normalised and sealed before they are queued: no queue, log or error holds one in clear.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from intake.calls import EndCall, GiveReason, RateCall, ReleaseHolds, ReleaseStaleHolds
from intake.lookups import LookUps
from intake.names import CALL_KEY_LENGTH, case_number, clean
from intake.numbers import normalise_number
from intake.record import CallFacts, Ids, Rules, Stored, Told
from models.clock import Clock
from models.door import Door
from models.privacy import Keyring
from models.terms import CallOutcome, Satisfaction

__all__ = ["Intake"]


class Intake:
    """The only way in."""

    def __init__(self, door: Door, keyring: Keyring, clock: Clock, rules: Rules) -> None:
        self._door = door
        self._keyring = keyring
        self._clock = clock
        self.rules = rules
        self._look_ups = LookUps(door.database)
        door.at_close(self._look_ups.close)

    def look_up(self, call_key: str) -> Future[Stored | None]:
        """The call's effective rating, None where it has none."""
        return self._look_ups.ask(call_key[:CALL_KEY_LENGTH])

    def rate(self, facts: CallFacts, satisfaction: Satisfaction, raw_input: str, *, hold: bool) -> Future[Stored]:
        """Stores a caller's rating: call, invitation, rating, evaluations, outbox and audit, in one transaction.

        Args:
            raw_input: the key as pressed.
            hold: keep the push back until the reason is given, the call is over, or `centre.keypad_reason_hold` is.
        """
        return self._door.submit(RateCall(self._taken(facts), satisfaction, raw_input, hold))

    def give_reason(self, stored: Stored, codes: tuple[str, ...]) -> Future[None]:
        """Stores reason codes with a rating and releases its push."""
        return self._door.submit(GiveReason(stored, codes, self._clock.now()))

    def release(self, stored: Stored) -> Future[None]:
        """The call is over without a reason: the push goes now."""
        return self._door.submit(ReleaseHolds(stored, self._clock.now()))

    def end_call(self, facts: CallFacts, outcome: CallOutcome, *, source: str = "ivr") -> Future[bool]:
        """Stores a call that is over unrated. The result: whether an SMS invitation waits for it."""
        return self._door.submit(EndCall(self._taken(facts, source), outcome))

    def release_stale_holds(self) -> Future[int]:
        """At start: the pushes that an earlier process of this node held back for a caller's reason."""
        return self._door.submit(ReleaseStaleHolds(self.rules, self._clock.now()))

    def _taken(self, facts: CallFacts, source: str = "ivr") -> Told:
        number = normalise_number(facts.number)
        sealed = self._keyring.seal(number.value) if number.value is not None else None
        return Told(
            replace(
                facts,
                call_key=facts.call_key[:CALL_KEY_LENGTH],
                number=None,
                agent=clean(facts.agent, 64),
                queue=clean(facts.queue, 64),
                dept=clean(facts.dept, 64),
                case_no=case_number(facts.case_no),
                lang=facts.lang[:16],
            ),
            number.kind,
            sealed,
            self._clock.now(),
            self.rules,
            Ids.new(),
            source,
        )
