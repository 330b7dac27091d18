"""`huiyin forget NUMBER`: a citizen asks that nothing of him is kept.

Rules kept here (what goes of which row: intake/blanking.py):

1. A group is one transaction of at most 64 rows of one kind. It finds them by the number's hash, blanks first what only
   leads to the person by way of them, and takes the hash away last; so whatever is interrupted is found again.
2. Open invitations end without a default, and no reminder and default follow for the citizen's cases. His are also
   those without a number that his call is asked about with: one that only the call named, or that was posted anonymous.
3. What the centre has not answered for goes to it first, at once: its words are needed for that. `BlankAnswered` takes
   them when it has answered.
4. Of an opt-out the keyed hash stays: it keeps the promise that nothing more is sent.
5. What comes later of the same number begins anew. The audit says that somebody was forgotten, and how many rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Connection, Table, and_, case, delete, func, insert, or_, select, update

from intake.blanking import (
    GROUP,
    NO_NUMBER,
    blank_acts,
    blank_answered,
    blank_numbers_of_nobody,
    blank_texts,
    blank_words,
)
from intake.endings import Ending, end_invitations
from models.door import Priority, Unit
from models.ids import new_id
from models.tables import (
    audit,
    calls,
    cases,
    codes,
    forgetting,
    invitation_members,
    invitations,
    messages,
    number_routes,
    opt_outs,
    outbox,
    ratings,
    receipts,
)
from models.terms import Actor, AuditAction, InvitationState, OutboxState

__all__ = ["BlankAnswered", "ForgetGroup", "Forgotten", "NoteForgotten", "Tally", "tally"]

REASON = "forgotten"
_MAY_BE_DEFAULTED = or_(
    cases.c.default_at.is_not(None),
    # A provisional deadline has no default yet, and gets none when its calendar comes.
    and_(cases.c.provisional, func.coalesce(cases.c.default_reason, "") != REASON),
)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was blanked. `waiting`: evaluations that the centre has to answer for first; `others`: codes, routes…"""

    invitations: int = 0
    calls: int = 0
    cases: int = 0
    messages: int = 0
    evaluations: int = 0
    waiting: int = 0
    others: int = 0

    def __add__(self, more: Forgotten) -> Forgotten:
        return Forgotten(*(getattr(self, one.name) + getattr(more, one.name) for one in fields(self)))

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True, slots=True)
class ForgetGroup:
    """One group. Result: `Forgotten`; one that is false: nothing is left of these hashes.

    `hashes`: of the number, by every key of the file (`Keyring.hashes`); `active_key`: the newest key's id.
    """

    hashes: tuple[bytes, ...] = field(repr=False)
    active_key: int
    now: datetime
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[ForgetGroup]) -> list[Forgotten]:
        return [command._forget(unit) for command in commands]

    def _forget(self, unit: Unit) -> Forgotten:
        # Cases before calls: the order in which everybody locks, and the way to those without a number.
        for step in (self._invitations, self._cases_of_calls, self._calls, self._cases, self._messages, self._others):
            if done := step(unit):
                return done
        return Forgotten()

    def _ids(self, unit: Unit, table: Table, *more: Any) -> list[Any]:
        """Rows of the number, locked, so that nobody adds to what follows from them."""
        [identity] = table.primary_key.columns
        wanted = select(identity, *more).where(table.c.number_hash.in_(self.hashes)).order_by(identity).limit(GROUP)
        return list(unit.execute(wanted.with_for_update()).all())

    def _invitations(self, unit: Unit) -> Forgotten:
        found = [row.id for row in self._ids(unit, invitations)]
        self._end(unit, found)
        return Forgotten(invitations=len(found))

    def _end(self, unit: Unit, ids: Sequence[str]) -> None:
        if not ids:
            return
        end_invitations(unit, [Ending(one, InvitationState.WITHDRAWN, REASON, self.now) for one in ids])
        unit.execute(
            update(invitations)
            .where(invitations.c.id.in_(ids))
            .values(
                **NO_NUMBER,
                remind_at=None,
                reminder=case((invitations.c.remind_at.is_not(None), REASON), else_=invitations.c.reminder),
            )
        )

    def _cases_of_calls(self, unit: Unit) -> Forgotten:
        """Cases without a number that are asked about together with a call of the number."""
        with_them = invitation_members.alias()
        wanted = (
            select(cases.c.subject_id)
            .where(
                cases.c.subject_id.in_(
                    select(with_them.c.subject_id)
                    .select_from(calls)
                    .join(invitation_members, invitation_members.c.subject_id == calls.c.subject_id)
                    .join(with_them, with_them.c.invitation_id == invitation_members.c.invitation_id)
                    .where(calls.c.number_hash.in_(self.hashes))
                ),
                cases.c.number_hash.is_(None),
                or_(cases.c.title.is_not(None), _MAY_BE_DEFAULTED),
            )
            .order_by(cases.c.subject_id)
            .limit(GROUP)
            .with_for_update()
        )
        return self._forget_cases(unit, list(unit.execute(wanted).scalars()))

    def _calls(self, unit: Unit) -> Forgotten:
        found = [row.subject_id for row in self._ids(unit, calls)]
        if not found:
            return Forgotten()
        if late := self._cases_of_calls(unit):  # its call named one since we looked
            return late
        given = unit.execute(select(ratings.c.id).where(ratings.c.call_subject_id.in_(found))).scalars().all()
        words = blank_words(unit, self.now, subjects=found, rating_ids=given, release=True)
        if words.more:
            return Forgotten(evaluations=words.blanked, waiting=words.waiting)
        ended = self._end_of(unit, found)
        blank_acts(unit, items=found)
        unit.execute(update(calls).where(calls.c.subject_id.in_(found)).values(**NO_NUMBER))
        return Forgotten(invitations=ended, calls=len(found), evaluations=words.blanked, waiting=words.waiting)

    def _cases(self, unit: Unit) -> Forgotten:
        return self._forget_cases(unit, [row.subject_id for row in self._ids(unit, cases)])

    def _forget_cases(self, unit: Unit, found: Sequence[str]) -> Forgotten:
        if not found:
            return Forgotten()
        words = blank_words(unit, self.now, subjects=found, release=True)
        if words.more:
            return Forgotten(evaluations=words.blanked, waiting=words.waiting)
        ended = self._end_of(unit, found)
        blank_acts(unit, items=found)
        unit.execute(
            update(cases)
            .where(cases.c.subject_id.in_(found))
            .values(
                **NO_NUMBER,
                title=None,
                default_reason=case((_MAY_BE_DEFAULTED, REASON), else_=cases.c.default_reason),
                default_at=None,
            )
        )
        return Forgotten(invitations=ended, cases=len(found), evaluations=words.blanked, waiting=words.waiting)

    def _end_of(self, unit: Unit, subjects: Sequence[str]) -> int:
        """Ends what is open about these and has no number any more: muted by an opt-out."""
        muted = (
            unit.execute(
                select(invitations.c.id)
                .where(
                    invitations.c.id.in_(
                        select(invitation_members.c.invitation_id).where(invitation_members.c.subject_id.in_(subjects))
                    ),
                    invitations.c.number_hash.is_(None),
                    or_(
                        invitations.c.state == InvitationState.WAITING.value,
                        invitations.c.state == InvitationState.ASKED.value,
                    ),
                )
                .order_by(invitations.c.id)
                .with_for_update()
            )
            .scalars()
            .all()
        )
        self._end(unit, muted)
        return len(muted)

    def _messages(self, unit: Unit) -> Forgotten:
        found = [row.id for row in self._ids(unit, messages)]
        if not found:
            return Forgotten()
        given = unit.execute(select(ratings.c.id).where(ratings.c.message_id.in_(found))).scalars().all()
        words = blank_words(unit, self.now, rating_ids=given, release=True)
        if words.more:
            return Forgotten(evaluations=words.blanked, waiting=words.waiting)
        blank_texts(unit, found, self.now, REASON, Actor.COMMAND_LINE.value)
        blank_acts(unit, items=found)
        unit.execute(update(messages).where(messages.c.id.in_(found)).values(**NO_NUMBER))
        return Forgotten(messages=len(found), evaluations=words.blanked, waiting=words.waiting)

    def _others(self, unit: Unit) -> Forgotten:
        given = [row.id for row in self._ids(unit, codes)]
        unit.execute(
            update(codes)
            .where(codes.c.id.in_(given))
            .values(**NO_NUMBER, ended_at=func.coalesce(codes.c.ended_at, self.now))
        )
        told = select(receipts.c.id).where(receipts.c.number_hash.in_(self.hashes)).limit(GROUP)
        gone = unit.execute(delete(receipts).where(receipts.c.id.in_(told))).rowcount
        learnt = (
            unit.execute(
                select(number_routes.c.number_hash)
                .where(number_routes.c.number_hash.in_(self.hashes))
                .union_all(
                    select(opt_outs.c.number_hash).where(
                        opt_outs.c.number_hash.in_(self.hashes),
                        or_(
                            opt_outs.c.number_sealed.is_not(None),
                            and_(opt_outs.c.ended_at.is_not(None), opt_outs.c.number_key_id == self.active_key),
                        ),
                    )
                )
            )
            .scalars()
            .all()
        )
        blank_numbers_of_nobody(unit, learnt, self.active_key)
        return Forgotten(others=len(given) + gone + len(learnt))


@dataclass(frozen=True, slots=True)
class NoteForgotten:
    """The audit's line at the end: counts, and nothing by which the person could be found."""

    id: str
    done: Forgotten
    now: datetime
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def of(cls, done: Forgotten, now: datetime) -> NoteForgotten:
        return cls(new_id(), done, now)

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[NoteForgotten]) -> list[None]:
        for command in commands:
            if unit.execute(select(audit.c.id).where(audit.c.id == command.id)).first() is None:
                unit.execute(
                    insert(audit).values(
                        id=command.id,
                        at=command.now,
                        actor=Actor.COMMAND_LINE.value,
                        action=AuditAction.PERSON_FORGOTTEN.value,
                        detail=json.dumps(asdict(command.done)),
                    )
                )
        return [None] * len(commands)


@dataclass(frozen=True, slots=True)
class BlankAnswered:
    """Words that waited for the centre's answer, and it has come. Result: how many; GROUP: there may be more."""

    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[BlankAnswered]) -> list[int]:
        return [command._blank(unit) for command in commands]

    def _blank(self, unit: Unit) -> int:
        rows = unit.execute(_ANSWERED).all()
        if rows:
            blank_answered(unit, rows)
            unit.execute(delete(forgetting).where(forgetting.c.evaluation_id.in_([row.id for row in rows])))
        return len(rows)


_ANSWERED = (
    select(forgetting.c.evaluation_id.label("id"), forgetting.c.subject_id, forgetting.c.assess_number)
    .select_from(forgetting.outerjoin(outbox, outbox.c.evaluation_id == forgetting.c.evaluation_id))
    .where(or_(outbox.c.evaluation_id.is_(None), outbox.c.state == OutboxState.DEAD.value))
    .order_by(forgetting.c.evaluation_id)
    .limit(GROUP)
    .with_for_update(of=forgetting, skip_locked=True)
)


# ── before ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Tally:
    """What there is of a number."""

    calls: int
    cases: int
    messages: int
    invitations: int
    opted_out: bool


def tally(connection: Connection, hashes: Sequence[bytes]) -> Tally:
    """Counts what there is of a number, for a person to look at before it goes."""

    def of(table: Table) -> int:
        query = select(func.count()).select_from(table).where(table.c.number_hash.in_(hashes))
        return int(connection.execute(query).scalar_one())

    out = select(opt_outs.c.id).where(opt_outs.c.number_hash.in_(hashes), opt_outs.c.ended_at.is_(None)).limit(1)
    return Tally(of(calls), of(cases), of(messages), of(invitations), connection.execute(out).first() is not None)
