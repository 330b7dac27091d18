"""Whatever happens to our SMS, in whatever order: what must never be, and how every one of them ends."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from config.receipts import ReceiptClass
from intake.answers import Fate, GivenBack, Outcome
from intake.claims import Claimed
from models.clock import TurnedClock
from models.database import open_database
from models.door import Door
from models.privacy import Keyring
from models.tables import invitations, messages, segments
from models.terms import MessageKind, MessageState
from tests.intake.sending import HOUR, MINUTE, OWNER, Sending
from tests.moments import START

NUMBERS = st.integers(1, 3)
KINDS = st.sampled_from([MessageKind.INVITATION, MessageKind.REMINDER, MessageKind.CLARIFICATION])
FATES = st.sampled_from(Fate)
CLASSES = st.sampled_from(ReceiptClass)
ENDED = {"sent", "delivered", "failed", "cancelled"}


class Lives(RuleBasedStateMachine):
    """A queue, a link and an SMSC; `fresh` makes the database."""

    fresh: Any = None
    handed = Bundle("handed")
    accepted = Bundle("accepted")

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name)
        copyfile(type(self).fresh, path / "huiyin.db")
        self.database = open_database("sqlite:///huiyin.db", path)
        self.door = Door(self.database)
        self.clock = TurnedClock(START)
        self.sending = Sending(self.door, Keyring.generate(), self.clock)
        self.serial = 0
        self.written: dict[tuple[str, int], int] = {}
        """How often a segment may have reached the SMSC."""
        self.delivered: set[tuple[str, int]] = set()

    def teardown(self) -> None:
        if not hasattr(self, "door"):
            return
        try:
            self.end()
        finally:
            self.door.close()
            self.database.close()
            self.directory.cleanup()

    # ── what may happen ───────────────────────────────────────────────────────────────────────────────────────────────

    @rule(n=NUMBERS, kind=KINDS, parts=st.integers(1, 2), hours=st.sampled_from([None, 1, 100]))
    def queue(self, n: int, kind: MessageKind, parts: int, hours: int | None) -> None:
        now = self.clock.now()
        until = None if hours is None else now + hours * HOUR
        self.sending.queue(n, kind, parts=parts, not_before=now, not_after=until)

    @rule(target=handed, over=st.sampled_from(["m", "u"]))
    def claim(self, over: str) -> Any:
        carriers = ("mobile", "") if over == "m" else ("unicom", "")
        claimed = self.sending.claim(over, carriers, limit=2)
        for message in claimed:
            for segment in message.segments:
                assert (message.id, segment.number) not in self.delivered
        return [(message, over) for message in claimed]

    @rule(target=accepted, claimed=consumes(handed), fates=st.lists(FATES, min_size=4, max_size=4), apart=st.booleans())
    def answer(self, claimed: list[tuple[Claimed, str]], fates: list[Fate], apart: bool) -> Any:
        told = []
        given = iter(fates)
        for message, over in claimed:
            answers = []
            for segment in message.segments:
                fate = next(given)
                self.serial += 1
                smsc_id = f"{self.serial:x}" if fate is Fate.ACCEPTED else None
                if fate in (Fate.ACCEPTED, Fate.UNKNOWN):
                    place = (message.id, segment.number)
                    self.written[place] = self.written.get(place, 0) + 1
                    told.append((smsc_id or f"f{self.serial:x}", message, over))
                answers.append(self.sending.segment_answer(message, segment.number, fate, smsc_id))
            had = {answer.fate for answer in answers}
            if apart and len(answers) > 1:
                self.sending.store(answers[:1])
                answers = answers[1:]
            if Fate.FAILED in had:
                outcome: tuple[MessageState, str | None, Any] = (MessageState.FAILED, "ESME_RINVDSTADR", None)
            elif Fate.UNKNOWN in had:
                outcome = (MessageState.UNKNOWN, None, self.clock.now() + 10 * MINUTE)
            elif Fate.NOT_SENT in had:
                self.sending.store(answers, back=[GivenBack(message.id)])
                continue
            else:
                outcome = (MessageState.SENT, None, None)
            whole = Outcome(message.id, *outcome, message.number_hash, several=message.total > 1)
            self.sending.store(answers, [whole])
        return told

    @rule(claimed=consumes(handed))
    def die(self, claimed: list[tuple[Claimed, str]]) -> None:
        """The process ends; what it was about may have gone out."""
        for message, _ in claimed:
            for segment in message.segments:
                place = (message.id, segment.number)
                self.written[place] = self.written.get(place, 0) + 1
        self.sending.settle(restarted=True, owner="here/b2")

    @rule(told=accepted, kinds=st.lists(CLASSES, min_size=4, max_size=4), names=st.booleans())
    def receipts(self, told: list[tuple[str, Claimed, str]], kinds: list[ReceiptClass], names: bool) -> None:
        for (smsc_id, message, over), kind in zip(told, kinds, strict=False):
            fact = self.sending.fact(kind, smsc_id, n=None, links=(over,), our_number=message.our_number)
            if names:
                fact = replace(fact, number_hash=message.number_hash)
            self.sending.receipts(fact)

    @rule(minutes=st.sampled_from([1, 2, 10, 61, 1500]))
    def time(self, minutes: int) -> None:
        self.clock.turn(minutes * MINUTE)
        while self.sending.settle():
            pass

    # ── what must never be ────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def a_segment_goes_out_twice_at_most(self) -> None:
        if hasattr(self, "written"):
            assert all(count <= 2 for count in self.written.values())

    @invariant()
    def states_fit_together(self) -> None:
        if not hasattr(self, "sending"):
            return
        of_message: dict[str, list[str]] = {}
        for segment in self.sending.rows(segments):
            of_message.setdefault(segment.message_id, []).append(segment.state)
            if segment.state == "delivered":
                self.delivered.add((segment.message_id, segment.number))
        for row in self.sending.rows(messages):
            states = of_message.get(row.id, [])
            if row.state == "delivered":
                assert set(states) == {"delivered"}
            if row.state == "queued":
                assert "handed" not in states
                assert "unknown" not in states
                assert row.settle_at == row.not_after
            assert (row.lease_owner is not None) == (row.state == "handed")
            if row.state in ("handed", "unknown"):
                assert row.settle_at is not None
            if row.state in ENDED:
                assert row.settle_at is None
            assert row.tries <= 2
            assert row.lease_owner in (None, OWNER)

    def end(self) -> None:
        """Nobody does anything wrong any more: everything comes to its end."""
        for _ in range(12):
            for over, carriers in (("m", ("mobile", "")), ("u", ("unicom", ""))):
                for message in self.sending.claim(over, carriers):
                    for segment in message.segments:
                        assert (message.id, segment.number) not in self.delivered
                    self.serial += len(message.segments)
                    ids = [f"e{self.serial - place:x}" for place in range(len(message.segments))]
                    self.sending.answer(message, *ids)
            self.time(1500)
        rows = self.sending.rows(messages)
        assert {row.state for row in rows} <= ENDED
        asked = {row.invitation_id: row for row in rows if row.kind == "invitation"}
        for invitation in self.sending.rows(invitations):
            if (row := asked.get(invitation.id)) is not None:
                never = row.handed_at is None
                assert invitation.state == ("impossible" if never else "asked"), (row.state, row.reason)


@pytest.mark.parametrize("steps", [25])
def test_lives(migrated_sqlite: Path, steps: int) -> None:
    class Here(Lives):
        fresh = migrated_sqlite

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=60,
            stateful_step_count=steps,
            deadline=timedelta(minutes=1),
            suppress_health_check=list(HealthCheck),
        ),
    )
