"""Invitations that are due: each becomes one SMS in the queue, or an end with its reason (docs/data-model.md).

Rules kept here:

1. An invitation's SMS is queued in the transaction that decides on it; whichever process does it first, the others find
   it done (`once_key`, and the invitation no longer due). One process decides at a time: a number's codes and its cap
   are counted over all of its invitations.
2. What cannot be sent is recorded with why: opted out, the carrier's blacklist, too late, no mobile.
3. The cap of a number a day and the sending hours postpone; they never end anything.
4. Over links without extensions a number has one open SMS invitation at a time; the next waits until it is answered, or
   is a day old while another waits.
5. While a jump of the clock waits for a word nothing is queued, put off or ended (intake/pauses.py).
6. A text counts and names what is still asked: a case withdrawn or rated meanwhile is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import and_, bindparam, select, update

from intake.codes import Choice, GivenCode, choose_code
from intake.endings import Ending, end_invitations
from intake.manners import Manners, SendingRules, alone
from intake.numbers import NumberKind
from intake.outgoing import NewMessage, StoredNumber, queue_messages
from intake.pauses import clock_jumped
from models.clock import SHANGHAI
from models.door import Bulk, Many, Priority, Unit
from models.errors import KeyUnreadable
from models.ids import new_id
from models.reads import Read, any_of
from models.tables import (
    calls,
    cases,
    codes,
    evaluations,
    invitation_members,
    invitations,
)
from models.terms import InvitationState, MessageKind, Origin

__all__ = ["GROUP", "ExpireInvitations", "InviteDue", "Invited", "facts_of", "text_facts"]

GROUP = 64
_SLOT = timedelta(hours=24)
"""A link without extensions: how long an open invitation keeps the next one waiting."""
_NEXT_LOOK = timedelta(minutes=10)
"""How often the next one looks whether that is over sooner."""
_NO_CODE_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Invited:
    """What became of one group of due invitations."""

    queued: int = 0
    postponed: int = 0
    impossible: int = 0

    @property
    def total(self) -> int:
        return self.queued + self.postponed + self.impossible


_CODES = Bulk(codes)
_QUEUED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(due_at=bindparam("due"), changed_at=bindparam("at")),
    ("invitation", "due", "at"),
)
_CODE_AGAIN = Many(
    update(codes)
    .where(codes.c.number_hash == bindparam("hash"), codes.c.code == bindparam("digits"))
    .values(invitation_id=bindparam("invitation"), given_at=bindparam("at"), ended_at=None),
    ("hash", "digits", "invitation", "at"),
)


@dataclass(frozen=True, slots=True)
class InviteDue:
    """Makes the SMS of up to GROUP due invitations, oldest first. Result: `Invited`; nothing while another process
    does."""

    now: datetime
    rules: SendingRules
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[InviteDue]) -> list[Invited]:
        return [command._invite(unit) for command in commands]

    def _invite(self, unit: Unit) -> Invited:
        if clock_jumped(unit) or not alone(unit):
            return Invited()
        rows = _DUE.rows(unit, (self.now,))
        if not rows:
            return Invited()
        group = _Group(self, unit, rows)
        for row in rows:
            group.decide(row)
        return group.store()


_DUE = Read(
    select(
        invitations.c.id,
        invitations.c.kind,
        invitations.c.number_kind,
        invitations.c.number_sealed,
        invitations.c.number_hash,
        invitations.c.number_tail,
        invitations.c.number_key_id,
        invitations.c.lang,
        invitations.c.key_map,
        invitations.c.not_after,
    )
    .where(invitations.c.state == InvitationState.WAITING.value, invitations.c.due_at <= bindparam("now"))
    .order_by(invitations.c.due_at)
    .limit(GROUP)
    .with_for_update(skip_locked=True),
    ("now",),
)
_GIVEN = Read(
    select(
        codes.c.number_hash,
        codes.c.code,
        codes.c.invitation_id,
        codes.c.ended_at,
        codes.c.given_at,
        invitations.c.state,
    )
    .select_from(codes)
    .outerjoin(invitations, invitations.c.id == codes.c.invitation_id)
    .where(any_of(codes.c.number_hash)),
    listed=True,
)


class _Group:
    """What is known of one group's numbers, and the rows that its decisions lead to."""

    def __init__(self, command: InviteDue, unit: Unit, rows: Sequence[Any]) -> None:
        self.unit = unit
        self.now = command.now
        self.rules = command.rules
        hashes = list({row.number_hash for row in rows if row.number_hash is not None})
        self.manners = Manners(unit, hashes, self.now, self.rules)
        self.given = _given_codes(unit, hashes)
        self.facts = text_facts(unit, [row.id for row in rows])
        self.extensions: dict[str, bool] = {}
        self.new: list[NewMessage] = []
        self.due: list[tuple[Any, ...]] = []
        self.endings: list[Ending] = []
        self.fresh: list[tuple[Any, ...]] = []
        self.again: list[tuple[Any, ...]] = []
        self.postponed = 0

    def decide(self, row: Any) -> None:
        if why := self._why_not(row):
            self.endings.append(Ending(row.id, InvitationState.IMPOSSIBLE, why, self.now))
            return
        if self.manners.capped(row.number_hash):
            self._postpone(row, self.manners.tomorrow())
            return
        try:
            carrier = self.manners.carrier(row)
        except KeyUnreadable:
            self.endings.append(Ending(row.id, InvitationState.IMPOSSIBLE, "number_unreadable", self.now))
            return
        known = self.given.setdefault(row.number_hash, [])
        choice = self._code(row, carrier, known)
        if choice is None:
            return
        number = StoredNumber(row.number_kind, row.number_sealed, row.number_hash, row.number_tail, row.number_key_id)
        if choice.taken:
            self.again.append((row.number_hash, choice.code, row.id, self.now))
            known[:] = [one for one in known if one.code != choice.code]
        else:
            self.fresh.append((new_id(), *number, choice.code, row.id, self.now, None))
        known.append(_Given(choice.code, row.id, None, self.now, InvitationState.ASKED))
        self.manners.sends(row.number_hash)
        self.new.append(
            NewMessage(
                id=new_id(),
                kind=MessageKind.INVITATION,
                once_key=f"invite:{row.id}",
                number=number,
                invitation_id=row.id,
                code=choice.code,
                lang=row.lang or "zh",
                fields={"keys": row.key_map, **self.facts.get(row.id, {})},
                carrier=carrier,
                not_before=self.manners.opening,
                not_after=row.not_after,
            )
        )
        self.due.append((row.id, None, self.now))

    def _why_not(self, row: Any) -> str | None:
        if row.number_kind not in (None, NumberKind.MOBILE.value):
            return str(row.number_kind)
        if row.number_sealed is None or row.number_hash is None:
            return "anonymous"
        if refusal := self.manners.refusal(row.number_hash):
            return refusal
        if row.not_after is not None and row.not_after < self.now:
            return "unsent"
        return None

    def _code(self, row: Any, carrier: str, known: Sequence[_Given]) -> Choice | None:
        """The code of this invitation; None: it has to wait (and was postponed)."""
        digits = self.rules.code_digits
        if carrier not in self.extensions:
            self.extensions[carrier] = bool(digits) and self.rules.extensions(carrier)
        if self.extensions[carrier]:
            choice = choose_code(known, digits)
            if choice is None:
                self._postpone(row, self.now + _NO_CODE_WAIT)
            return choice
        slot = next((one for one in known if one.code == ""), None)
        if slot is None:
            return Choice("", taken=False)
        if slot.ended_at is None and slot.state in _OPEN:
            if (free := slot.given_at + _SLOT) > self.now:
                # Whatever ends the other one, it is seen at the next look.
                self._postpone(row, min(free, self.now + _NEXT_LOOK))
                return None
            self.endings.append(Ending(slot.invitation_id, InvitationState.SUPERSEDED, None, self.now))
        return Choice("", taken=True)

    def _postpone(self, row: Any, until: datetime) -> None:
        until = self.rules.opening(until)
        # What would come too late is not forgotten: it is looked at again when it has to end.
        if row.not_after is not None:
            until = min(until, row.not_after + timedelta(seconds=1))
        self.due.append((row.id, until, self.now))
        self.postponed += 1

    def store(self) -> Invited:
        unit = self.unit
        end_invitations(unit, self.endings)
        unit.many(_CODE_AGAIN, self.again)
        unit.insert(_CODES, self.fresh)
        queue_messages(unit, self.new, self.now)
        unit.many(_QUEUED, self.due)
        impossible = sum(one.state is InvitationState.IMPOSSIBLE for one in self.endings)
        return Invited(len(self.new), self.postponed, impossible)


_OPEN = frozenset({InvitationState.WAITING, InvitationState.ASKED})


@dataclass(frozen=True, slots=True)
class _Given(GivenCode):
    """A code with its invitation's state."""

    given_at: datetime
    state: InvitationState


def _given_codes(unit: Unit, hashes: Sequence[bytes]) -> dict[bytes, list[_Given]]:
    given: dict[bytes, list[_Given]] = {}
    for row in _GIVEN.rows(unit, values=hashes):
        state = InvitationState(row.state) if row.state else InvitationState.EXPIRED
        given.setdefault(row.number_hash, []).append(
            _Given(row.code, row.invitation_id, row.ended_at, row.given_at, state)
        )
    return given


def text_facts(unit: Unit, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """What the text may name of each invitation's subjects (`facts_of`)."""
    subjects: dict[str, list[Any]] = {}
    for row in _SUBJECTS.rows(unit, values=ids):
        subjects.setdefault(row.invitation_id, []).append(row)
    return {identity: facts_of(rows) for identity, rows in subjects.items()}


def facts_of(rows: Sequence[Any]) -> dict[str, str]:
    """What is rated, the day, the case number, how many. Of a call and its case the case is named; of several the one
    closed last.

    Args:
        rows: of an invitation's subjects: `case_no`, `closed_at`, `withdrawn_at` and `origin` of the effective
            evaluation; of a call, whose `case_no` is None, `ended_at`.
    """
    asked = [row for row in rows if row.withdrawn_at is None and row.origin != Origin.CITIZEN.value]
    of_cases = [row for row in asked if row.case_no is not None]
    known = {"subject": "call", "count": str(len(of_cases))}
    if of_cases:
        last = max(of_cases, key=lambda row: (row.closed_at or _NEVER, row.case_no))
        known |= {"subject": "case" if len(of_cases) == 1 else "batch", "case_no": last.case_no}
        at = last.closed_at
    else:
        at = next((row.ended_at for row in asked if row.ended_at is not None), None)
    if at is not None:
        known["day"] = at.astimezone(SHANGHAI).date().isoformat()
    return known


_NEVER = datetime.min.replace(tzinfo=UTC)
_SUBJECTS = Read(
    select(
        invitation_members.c.invitation_id,
        cases.c.case_no,
        cases.c.closed_at,
        cases.c.withdrawn_at,
        calls.c.ended_at,
        evaluations.c.origin,
    )
    .select_from(invitation_members)
    .outerjoin(cases, cases.c.subject_id == invitation_members.c.subject_id)
    .outerjoin(calls, calls.c.subject_id == invitation_members.c.subject_id)
    .outerjoin(evaluations, and_(evaluations.c.subject_id == invitation_members.c.subject_id, evaluations.c.effective))
    .where(any_of(invitation_members.c.invitation_id)),
    listed=True,
)


@dataclass(frozen=True, slots=True)
class ExpireInvitations:
    """Ends asked invitations whose life is over (a call's; a case's ends with its deadline). Result: how many."""

    now: datetime
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[ExpireInvitations]) -> list[int]:
        return [command._expire(unit) for command in commands]

    def _expire(self, unit: Unit) -> int:
        if clock_jumped(unit):
            return 0
        over = (
            unit.execute(
                select(invitations.c.id)
                .where(invitations.c.state == InvitationState.ASKED.value, invitations.c.due_at <= self.now)
                .order_by(invitations.c.due_at)
                .limit(GROUP)
                .with_for_update(skip_locked=True)
            )
            .scalars()
            .all()
        )
        end_invitations(unit, [Ending(identity, InvitationState.EXPIRED, None, self.now) for identity in over])
        return len(over)
