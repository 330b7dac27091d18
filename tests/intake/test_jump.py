"""While a jump of the clock waits for a word nothing that is due is ended, put off or taken away; afterwards all goes
on as if nothing had been, whether the clock came back or was right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from intake.answers import Fate
from intake.invitations import ExpireInvitations, InviteDue
from intake.keeping import WALKS, KeepGroup
from intake.manners import SendingRules
from intake.pauses import AcceptJump, Jump, PauseForJump, SeeTime
from intake.receipts import ForgetReceipts
from intake.reminders import RemindDue, ReminderRules
from models.clock import TurnedClock
from models.database import Database
from models.ids import new_id
from models.privacy import Keyring
from models.tables import cases, invitation_members, invitations, messages, meta, receipts
from models.terms import InvitationState, MessageKind
from tests.intake.replying import WAIT, Replying
from tests.intake.sending import DAY, HOUR, MINUTE, Sending
from tests.intake.test_forgetting import HIM, TITLE, Person, everything
from tests.intake.test_reminders import DEADLINE, asked, hours
from tests.moments import START

FAR = 10 * DAY
"""Behind every deadline."""
JUMPED = ("scheduler.jump", "scheduler.seen")


class Sweeping:
    """Everything that time makes happen, at a clock's word."""

    def __init__(self, person: Person, keyring: Keyring) -> None:
        self.sending = SendingRules(hours, 3, 2, lambda _: "mobile", lambda _: True, keyring.open)
        self.record = person.record
        self.door = person.door
        self.clock = person.clock

    def sweep(self) -> dict[str, Any]:
        now = self.clock.now()
        keep = timedelta(days=5)
        commands: dict[str, Any] = {
            "reminders": RemindDue(now, ReminderRules(DAY, self.sending)),
            "invitations": InviteDue(now, self.sending),
            "expiry": ExpireInvitations(now),
            "receipts": ForgetReceipts(now),
            **{f"keep {walk}": KeepGroup(walk, keep, self.record.keyring.active_id, now) for walk in WALKS},
        }
        done = {name: self.door.submit(command).result(WAIT) for name, command in commands.items()}
        return {name: getattr(one, "total", one) for name, one in done.items() if getattr(one, "total", one)}

    def jump(self, by: timedelta = FAR) -> None:
        self.clock.turn(by)
        assert self.door.submit(PauseForJump(Jump(self.clock.now(), by, "here"))).result(WAIT)

    def come_back(self, by: timedelta = FAR) -> None:
        self.clock.turn(-by)
        assert self.door.submit(SeeTime(self.clock.now(), timedelta(0), "here")).result(WAIT).back

    def accept(self) -> None:
        assert self.door.submit(AcceptJump("user:li", self.clock.now())).result(WAIT) is not None


def rows(database: Database) -> dict[str, list[Any]]:
    """Whatever is stored, but for the words about the jump itself."""
    found = everything(database)
    found["meta"] = [row for row in found["meta"] if row.key not in JUMPED]
    found["audit"] = [row for row in found["audit"] if not row.action.startswith("clock.")]
    return found


@pytest.fixture
def sweeping(doors: Any, emptied: Database, keyring: Keyring, clock: TurnedClock) -> Iterator[Sweeping]:
    """A case to be reminded of, one to be asked about, a call's invitation that ends, a receipt, and old rows."""
    person = Person(Replying(doors(), emptied, keyring, clock))
    record, now = person.record, clock.now()
    invited = asked(record, 1)
    case = record.one(invitation_members, invitation_id=invited).subject_id
    changes = update(cases).where(cases.c.subject_id == case)
    record.write(changes.values(title=TITLE, deadline=DEADLINE, default_at=DEADLINE))
    waits = record.case("GD-2", raw=HIM, closed_at=now, deadline=DEADLINE)
    due: dict[str, Any] = {"due_at": now + HOUR, "not_after": DEADLINE}
    record.invite(waits, state=InvitationState.WAITING, code=None, raw=HIM, **due)
    record.invite(record.call("c3", HIM), kind="call", code="09", raw=HIM)
    record.write(
        insert(receipts).values(id=new_id(), links="m", our_number="106", receipt="delivered", received_at=now)
    )
    yield Sweeping(person, keyring)
    record.write(meta.delete().where(meta.c.key.startswith("keeping.") | meta.c.key.in_(JUMPED)))


def test_without_a_word_the_same_jump_would_end_all_of_it(sweeping: Sweeping) -> None:
    """The test below looks at something."""
    sweeping.clock.turn(FAR)
    assert {"reminders", "invitations", "expiry", "receipts", "keep calls", "keep cases", "keep messages"} <= set(
        sweeping.sweep()
    )


def test_while_it_waits_no_row_changes(sweeping: Sweeping, emptied: Database) -> None:
    before = rows(emptied)
    sweeping.jump()
    for _ in range(3):
        assert sweeping.sweep() == {}
        sweeping.clock.turn(HOUR)
    assert rows(emptied) == before


def test_when_the_clock_came_back_all_goes_on_as_if_nothing_had_been(sweeping: Sweeping, emptied: Database) -> None:
    before = rows(emptied)
    sweeping.jump()
    sweeping.sweep()
    sweeping.come_back()
    assert sweeping.sweep() == {}
    assert rows(emptied) == before
    sweeping.clock.turn(DAY)
    assert sweeping.sweep() == {"reminders": 1, "invitations": 1}
    assert {row.reminder for row in sweeping.record.rows(invitations)} == {"queued", None}
    assert len(sweeping.record.rows(messages, kind="invitation", state="queued")) == 1
    assert sweeping.record.one(cases, case_no="GD-1").title == TITLE


def test_when_it_was_right_what_fell_due_meanwhile_is_worked_off(sweeping: Sweeping) -> None:
    sweeping.jump()
    sweeping.sweep()
    sweeping.accept()
    assert {"reminders", "invitations", "expiry", "receipts", "keep calls", "keep cases"} <= set(sweeping.sweep())
    assert "call" in {row.kind for row in sweeping.record.rows(invitations, state="expired")}


# ── SMS ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def jumped(sending: Sending) -> Iterator[Callable[[], None]]:
    def jump() -> None:
        sending.clock.turn(FAR)
        pause = PauseForJump(Jump(sending.clock.now(), FAR, "here"))
        assert sending.door.submit(pause).result(WAIT)

    yield jump
    sending.change(meta.delete().where(meta.c.key.in_(JUMPED)))


@pytest.mark.parametrize("kind", [MessageKind.INVITATION, MessageKind.REMINDER, MessageKind.BY_HAND])
def test_what_we_send_of_our_own_accord_stays_queued_and_is_not_too_late(
    sending: Sending, jumped: Callable[[], None], kind: MessageKind
) -> None:
    identity = sending.queue(kind=kind, not_after=START + DAY)
    before = sending.message(identity)
    jumped()
    assert sending.claim(held=True) == []
    assert sending.message(identity) == before
    sending.clock.turn(-FAR)
    assert [one.id for one in sending.claim()] == [identity]


def test_answers_go_on_past_those_that_wait(sending: Sending, jumped: Callable[[], None]) -> None:
    """As many wait as a claim may take, of the same citizen and of others, and one answer is too late by this clock."""
    waiting = [sending.queue(1, MessageKind.REMINDER), *(sending.queue(n, MessageKind.REMINDER) for n in (2, 3, 4))]
    late = sending.queue(5, MessageKind.REASON, not_after=START + HOUR)
    jumped()
    answer = sending.queue(1, MessageKind.OPTED_OUT, not_after=None)
    assert [one.id for one in sending.claim(limit=4, held=True)] == [answer]
    assert {sending.message(one).state for one in (*waiting, late)} == {"queued"}


def test_what_a_link_has_is_not_lost_for_a_clock_that_jumped(sending: Sending, jumped: Callable[[], None]) -> None:
    handed, unknown = sending.hand(sending.queue(1)), sending.lose(2)
    jumped()
    assert sending.settle() == 0
    assert (sending.message(handed.id).state, sending.message(unknown).state) == ("handed", "unknown")
    sending.clock.turn(-FAR)
    sending.answer(handed, "77", fates=[Fate.ACCEPTED])
    assert sending.message(handed.id).state == "sent"
    sending.clock.turn(11 * MINUTE)
    assert sending.settle() == 0  # still not confirmed
    sending.change(meta.delete().where(meta.c.key.in_(JUMPED)))
    assert sending.settle() == 1
