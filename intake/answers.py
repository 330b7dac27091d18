"""What links answered to submits, what they gave back unsent, and what nobody answered.

The rules stand in intake/outgoing.py; here are 2, 3 and 5. Whatever is stored here names its owner: what another
process has taken over meanwhile, because the lease was over, is not touched any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, bindparam, exists, func, or_, select, update

from intake.counted import ASKED_NAMES, ASKED_SET, UNTOLD, asked_values, asked_whose, lock_invitations, note_invitation
from intake.outgoing import AGAIN_SEGMENTS, ASKS, STATE, TRIES, UNDELIVERED, Unsent, leave_unsent
from intake.pauses import clock_jumped
from intake.receipts import GIVEN_UP, SENT_AGAIN, Matched, Noted, ReceiptRules, look_again, settle_answered
from models.door import Many, Priority, Unit
from models.reads import Read, any_of, one_of
from models.tables import invitations, messages, segments
from models.terms import InvitationState, MessageKind, MessageState, SegmentState

__all__ = ["Fate", "GivenBack", "Outcome", "SegmentAnswer", "SettleMessages", "StoreAnswers"]

GROUP = 64


class Fate(StrEnum):
    """What became of a submit."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


_SEGMENT_STATE = {
    Fate.ACCEPTED: SegmentState.ACCEPTED.value,
    Fate.FAILED: SegmentState.FAILED.value,
    Fate.UNKNOWN: SegmentState.UNKNOWN.value,
    Fate.NOT_SENT: SegmentState.WAITING.value,
}


@dataclass(frozen=True, slots=True)
class SegmentAnswer:
    """`smsc_id`: in its normal form; `status`: the command_status, where the SMSC refused it."""

    message_id: str
    number: int
    fate: Fate
    at: datetime
    smsc_id: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The message after its last answer. `settle_at`: when an unknown one is looked at again; `several`: segments."""

    message_id: str
    state: MessageState
    reason: str | None
    settle_at: datetime | None
    number_hash: bytes | None = None
    several: bool = False


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A message that a link was given and did not send, or not all of.

    `not_before` None: the link had no time for it, it goes back to its old place. Else the SMSC refused it with the
    status `reason`, which says nothing against the message, and it goes no sooner. Neither counts as a try.
    """

    message_id: str
    not_before: datetime | None = None
    reason: str | None = None


def _answering(*conditions: ColumnElement[bool]) -> Many:
    """What a segment's answer said, where these are true of it."""
    return Many(
        update(segments)
        .where(segments.c.message_id == bindparam("message"), segments.c.number == bindparam("place"), *conditions)
        .values(
            state=bindparam("new"), smsc_id=bindparam("smsc"), status=bindparam("code"), answered_at=bindparam("at")
        ),
        ("message", "place", "new", "smsc", "code", "at"),
    )


# A receipt has said more than the answer can.
_ANSWER = _answering(
    segments.c.state != SegmentState.DELIVERED.value,
    segments.c.state != SegmentState.FAILED.value,
)
# One that went back for another go meanwhile is not unknown: the answer came too late to say anything.
_UNANSWERED = _answering(segments.c.state == SegmentState.HANDED.value)
_ANSWERED = Many(
    update(messages)
    .where(
        messages.c.id == bindparam("message"),
        or_(
            (messages.c.state == MessageState.HANDED.value) & (messages.c.lease_owner == bindparam("owner")),
            messages.c.state == MessageState.UNKNOWN.value,
        ),
    )
    .values(
        state=bindparam("new"),
        # Why it went once more stays, where nothing is said now: the route is learnt from it.
        reason=func.coalesce(bindparam("why"), messages.c.reason),
        lease_owner=None,
        settle_at=bindparam("settle"),
        changed_at=bindparam("at"),
    ),
    ("message", "owner", "new", "why", "settle", "at"),
)
_INVITATIONS = Read(
    select(messages.c.id, messages.c.invitation_id).where(
        any_of(messages.c.id),
        messages.c.invitation_id.is_not(None),
        one_of(messages.c.kind, sorted(ASKS)),
        messages.c.state == MessageState.FAILED.value,
    ),
    listed=True,
)


def _undelivered(unit: Unit, message_ids: Sequence[str], now: datetime) -> None:
    """Marks the invitations of messages that failed."""
    unit.many(UNDELIVERED, [(row.invitation_id, now) for row in _INVITATIONS.rows(unit, values=message_ids)])


@dataclass(frozen=True, slots=True)
class StoreAnswers:
    """What links answered to submits, and what they gave back. Result: the kept receipts that were waiting for that.

    `outcomes`, `back`: of messages that have every answer.
    """

    answers: tuple[SegmentAnswer, ...]
    outcomes: tuple[Outcome, ...]
    back: tuple[GivenBack, ...]
    owner: str
    now: datetime
    rules: ReceiptRules
    priority: ClassVar[Priority] = Priority.INBOUND

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[StoreAnswers]) -> list[Noted]:
        for statement, unknown in ((_ANSWER, False), (_UNANSWERED, True)):
            unit.many(
                statement,
                [
                    (a.message_id, a.number, _SEGMENT_STATE[a.fate], a.smsc_id and a.smsc_id[:80], a.status, a.at)
                    for command in commands
                    for a in command.answers
                    if (a.fate is Fate.UNKNOWN) is unknown
                ],
            )
        unit.many(
            _ANSWERED,
            [
                (o.message_id, command.owner, o.state.value, o.reason and o.reason[:64], o.settle_at, command.now)
                for command in commands
                for o in command.outcomes
            ],
        )
        for command in commands:
            _put_back(unit, command.back, command.owner, command.now)
        return [command._follow(unit) for command in commands]

    def _follow(self, unit: Unit) -> Noted:
        failed = [o.message_id for o in self.outcomes if o.state is MessageState.FAILED]
        _undelivered(unit, failed, self.now)
        several = [o.message_id for o in self.outcomes if o.several and o.state is not MessageState.FAILED]
        settle_answered(unit, several, self.rules, self.now)
        return look_again(
            unit,
            [answer.smsc_id for answer in self.answers if answer.smsc_id is not None],
            {o.number_hash for o in self.outcomes if o.number_hash},
            self.rules,
            self.now,
        )


# ── given back ────────────────────────────────────────────────────────────────────────────────────────────────────────


_REFUSED_FOR = timedelta(hours=24)
_LAST_MINUTE = timedelta(minutes=1)


def _again_at(wanted: datetime, not_after: datetime | None, now: datetime) -> datetime:
    """When a refused message goes again: half of its time away at most. In its last minute it is left until
    its time is over, and `SettleMessages` says that it is too late."""
    if not_after is None:
        return wanted
    left = not_after - now
    return not_after if left < _LAST_MINUTE else min(wanted, now + left / 2)


def _put_back(unit: Unit, given_back: Sequence[GivenBack], owner: str, now: datetime) -> None:
    """Messages that go back to the queue. One for which it is too late by then goes a last time before; one that would
    never be too late fails `_REFUSED_FOR` after it was queued."""
    if not given_back:
        return
    by_id = {one.message_id: one for one in given_back}
    rows = _OF_OWNER.rows(unit, (owner,), list(by_id))
    back: list[tuple[Any, ...]] = []
    failed: list[tuple[Any, ...]] = []
    unasked: list[tuple[Any, ...]] = []
    invited = lock_invitations(
        unit,
        {
            row.invitation_id
            for row in rows
            if row.kind == MessageKind.INVITATION.value and row.invitation_id is not None
        },
    )
    for row in rows:
        given = by_id[row.id]
        when = row.not_before
        if given.not_before is not None:
            if row.not_after is None and now >= row.created_at + _REFUSED_FOR:
                failed.append((row.id, MessageState.FAILED.value, given.reason or "refused", None, now))
                continue
            when = _again_at(given.not_before, row.not_after, now)
        never_sent = row.tries <= 1 and not row.sent
        back.append(
            (
                row.id,
                when,
                row.tries - 1,
                None if never_sent else row.handed_at,
                now,
            )
        )
        asking = invited.get(row.invitation_id) if never_sent else None
        if asking is not None and asking.state == InvitationState.ASKED.value:
            asked_now = asking.asked_by == "sms" and asking.first_asked_at == row.handed_at
            if asked_now:
                note_invitation(unit, -1, asking)
            whose = None if asked_now else asked_whose(asking)
            unasked.append(
                (
                    row.invitation_id,
                    None if asked_now else asking.asked_by,
                    None if asked_now else asking.first_asked_at,
                    *(UNTOLD if whose is None else asked_values(whose)),
                    row.not_after,
                    now,
                )
            )
    unit.many(_BACK_SEGMENTS, [(row.id,) for row in rows])
    unit.many(_BACK, back)
    unit.many(_UNASKED, unasked)
    unit.many(STATE, failed)
    _undelivered(unit, [identity for identity, *_ in failed], now)


_OF_OWNER = Read(
    select(
        messages.c.id,
        messages.c.kind,
        messages.c.tries,
        messages.c.not_before,
        messages.c.not_after,
        messages.c.handed_at,
        messages.c.created_at,
        messages.c.invitation_id,
        exists()
        .where(
            segments.c.message_id == messages.c.id,
            ~one_of(segments.c.state, (SegmentState.WAITING.value, SegmentState.HANDED.value)),
        )
        .label("sent"),
    )
    .where(
        messages.c.state == MessageState.HANDED.value,
        messages.c.lease_owner == bindparam("owner"),
        any_of(messages.c.id),
    )
    .with_for_update(of=messages),
    ("owner",),
    listed=True,
)
_BACK_SEGMENTS = Many(
    update(segments)
    .where(segments.c.message_id == bindparam("message"), segments.c.state == SegmentState.HANDED.value)
    .values(state=SegmentState.WAITING.value),
    ("message",),
)
_BACK = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(
        state=MessageState.QUEUED.value,
        not_before=bindparam("when"),
        tries=bindparam("tried"),
        handed_at=bindparam("first"),
        lease_owner=None,
        settle_at=messages.c.not_after,
        changed_at=bindparam("at"),
    ),
    ("message", "when", "tried", "first", "at"),
)
_UNASKED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"), invitations.c.state == InvitationState.ASKED.value)
    .values(
        state=InvitationState.WAITING.value,
        asked_by=bindparam("how"),
        first_asked_at=bindparam("first"),
        **ASKED_SET,
        due_at=None,
        not_after=bindparam("until"),
        changed_at=bindparam("at"),
    ),
    ("invitation", "how", "first", *ASKED_NAMES, "until", "at"),
)
"""No link took its SMS after all: nobody was asked by it."""


# ── what nobody answered ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SettleMessages:
    """What nobody has said anything about for too long. Result: how many were settled; GROUP: there may be more.

    `owner`, `node`: messages handed by an earlier process of this node are settled at once (`restarted`). A process's
    own are left alone while their lease lasts, which is longer than a link takes with any; one whose claim was
    committed while its answer was lost is found by it.
    """

    now: datetime
    unknown_after: timedelta
    owner: str
    node: str
    rules: ReceiptRules
    restarted: bool = False
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[SettleMessages]) -> list[int]:
        return [command._settle(unit) for command in commands]

    def _settle(self, unit: Unit) -> int:
        if not self.restarted and clock_jumped(unit):
            return 0  # what a link has is not over for a clock that nobody has looked at
        rows = self._overdue(unit)
        by_state: dict[str, list[Any]] = {}
        for row in rows:
            by_state.setdefault(row.state, []).append(row)
        self._lost(unit, by_state.pop(MessageState.HANDED.value, []))
        self._silent(unit, by_state.pop(MessageState.UNKNOWN.value, []))
        left = [row for several in by_state.values() for row in several]
        leave_unsent(
            unit,
            [
                Unsent(row.id, MessageState.FAILED, "too_late", row.kind, row.invitation_id, row.invitation_state)
                for row in left
            ],
            self.now,
        )
        return len(rows)

    def _overdue(self, unit: Unit) -> Sequence[Any]:
        wanted = (
            select(
                messages.c.id,
                messages.c.kind,
                messages.c.state,
                messages.c.tries,
                messages.c.number_hash,
                messages.c.invitation_id,
                invitations.c.state.label("invitation_state"),
            )
            .select_from(messages)
            .outerjoin(invitations, invitations.c.id == messages.c.invitation_id)
            .where(messages.c.settle_at.is_not(None))
        )
        if self.restarted:
            wanted = wanted.where(
                messages.c.state == MessageState.HANDED.value,
                messages.c.lease_owner.startswith(f"{self.node}/", autoescape=True),
                messages.c.lease_owner != self.owner,
            )
        else:
            wanted = wanted.where(messages.c.settle_at <= self.now)
        return unit.execute(
            wanted.order_by(messages.c.settle_at).limit(GROUP).with_for_update(skip_locked=True, of=messages)
        ).all()

    def _lost(self, unit: Unit, rows: Sequence[Any]) -> tuple[Matched, ...]:
        """Handed by a process that is no more: unknown, and perhaps a receipt has said more already."""
        if not rows:
            return ()
        ids = [row.id for row in rows]
        settle = self.now + self.unknown_after
        unit.many(STATE, [(identity, MessageState.UNKNOWN.value, None, settle, self.now) for identity in ids])
        unit.execute(
            update(segments)
            .where(segments.c.message_id.in_(ids), segments.c.state == SegmentState.HANDED.value)
            .values(state=SegmentState.UNKNOWN.value)
        )
        settle_answered(unit, ids, self.rules, self.now)
        return look_again(unit, (), {row.number_hash for row in rows if row.number_hash}, self.rules, self.now).matched

    def _silent(self, unit: Unit, rows: Sequence[Any]) -> None:
        """Unknown, and no receipt came: once more, then it has failed (rule 3)."""
        again = [row.id for row in rows if (row.tries or 0) < TRIES]
        unit.many(AGAIN_SEGMENTS, [(identity,) for identity in again])
        unit.many(_AGAIN, [(identity, SENT_AGAIN, self.now, self.now) for identity in again])
        failed = [row.id for row in rows if (row.tries or 0) >= TRIES]
        unit.many(STATE, [(identity, MessageState.FAILED.value, GIVEN_UP, None, self.now) for identity in failed])
        _undelivered(unit, failed, self.now)


_AGAIN = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(
        state=MessageState.QUEUED.value,
        reason=bindparam("why"),
        not_before=bindparam("when"),
        lease_owner=None,
        settle_at=messages.c.not_after,
        changed_at=bindparam("at"),
    ),
    ("message", "why", "when", "at"),
)
