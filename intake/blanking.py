"""What it means that personal data goes, table by table; who is asked to go and when stands in intake/forgetting.py (a
citizen asks) and intake/keeping.py (time is over).

Rules kept here (docs/data-model.md, Keeping and forgetting):

1. Rows stay, and with them every count, level and state; numbers, words and texts in them go. Rows that hold nothing
   else go whole: parts, routes, receipts that wait for their message, opt-outs that were taken back.
2. The words of an evaluation that the centre has not answered for stay until it has: they are named in `forgetting`.
   A dead letter was answered. One without words waits, too: the centre's answer may name the citizen.
3. Nothing more can be sent without a number, so what is open ends and what is queued is cancelled. What a link has is
   left to its answer: nothing of the person is needed for that, and a claim cancels what comes back.
4. What others said of the citizen goes with that: the centre's note, its reasons for refusing, a supervisor's note, and
   what somebody typed to the audit (`TypedAction`), of which who, when and what was done stays.
5. Of a number that has opted out the keyed hash stays, and the id of its key (models/privacy.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, delete, exists, insert, or_, select, update

from models.door import Many, Unit
from models.push_faults import PushFault
from models.tables import (
    audit,
    evaluations,
    forgetting,
    invitation_members,
    messages,
    number_routes,
    opt_outs,
    outbox,
    parts,
    push_batches,
    push_members,
    ratings,
    remarks,
    seen,
)
from models.terms import TOLD_APART, BatchState, MessageState, OutboxState, TypedAction

__all__ = [
    "GROUP",
    "NO_NUMBER",
    "Words",
    "blank_acts",
    "blank_answered",
    "blank_numbers_of_nobody",
    "blank_ratings",
    "blank_texts",
    "blank_words",
]

GROUP = 64
"""Rows of one kind in a group at most."""
NO_NUMBER = {"number_sealed": None, "number_hash": None, "number_tail": None, "number_key_id": None}
"""The number columns of somebody whose number is kept no longer; its kind stays."""
_REASON_GONE = PushFault.WORDS_GONE.told()


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Words:
    """Evaluations that were looked at: how many were blanked, how many wait for the centre.

    `more`: there may be more of them.
    """

    blanked: int = 0
    waiting: int = 0
    more: bool = False


def blank_words(
    unit: Unit,
    now: datetime,
    *,
    subjects: Collection[str] = (),
    rating_ids: Collection[str] = (),
    evaluation_ids: Collection[str] = (),
    release: bool,
) -> Words:
    """Blanks the words of these subjects' evaluations, of these, and of whatever shares a rating with those.

    Args:
        rating_ids: whose words go, wherever an evaluation carries them.
        release: what the centre has not answered for goes to it at once.
    """
    given = set(rating_ids)
    if subjects:
        given |= set(
            unit.execute(select(evaluations.c.rating_id).where(evaluations.c.subject_id.in_(subjects))).scalars()
        )
    of_ratings: ColumnElement[bool] = evaluations.c.id.in_(evaluation_ids)
    if given:
        blank_ratings(unit, given)
        # Evaluations are found by their subject: those whom the rating's invitation asked about.
        asked_about = select(invitation_members.c.subject_id).where(
            invitation_members.c.invitation_id.in_(select(ratings.c.invitation_id).where(ratings.c.id.in_(given)))
        )
        of_ratings = or_(
            of_ratings,
            and_(evaluations.c.subject_id.in_(asked_about), evaluations.c.rating_id.in_(given)),
        )
    if subjects:
        of_ratings = or_(of_ratings, evaluations.c.subject_id.in_(subjects))
    found = unit.execute(
        select(
            evaluations.c.id,
            evaluations.c.subject_id,
            evaluations.c.assess_number,
            evaluations.c.comment,
            outbox.c.state,
        )
        .select_from(evaluations.outerjoin(outbox, outbox.c.evaluation_id == evaluations.c.id))
        .where(
            of_ratings,
            _MAY_HOLD_WORDS,
            ~exists().where(forgetting.c.evaluation_id == evaluations.c.id),
        )
        .order_by(evaluations.c.subject_id, evaluations.c.assess_number)
        .limit(GROUP)
        .with_for_update(of=evaluations)
    ).all()
    waiting = [row for row in found if row.state == OutboxState.WAITING.value]
    if waiting:
        unit.execute(
            insert(forgetting),
            [
                {
                    "evaluation_id": row.id,
                    "subject_id": row.subject_id,
                    "assess_number": row.assess_number,
                    "asked_at": now,
                }
                for row in waiting
            ],
        )
        if release:
            unit.many(_RELEASE, [(row.id, now) for row in waiting if row.comment is not None])
    answered = [row for row in found if row.state != OutboxState.WAITING.value]
    blank_answered(unit, answered)
    return Words(len(answered), len(waiting), len(found) == GROUP)


_MAY_HOLD_WORDS = or_(
    evaluations.c.comment.is_not(None),
    evaluations.c.centre_note.is_not(None),
    outbox.c.state == OutboxState.WAITING.value,
    outbox.c.reason != _REASON_GONE,
    exists().where(push_members.c.evaluation_id == evaluations.c.id, push_members.c.reason != _REASON_GONE),
    exists().where(
        push_members.c.evaluation_id == evaluations.c.id,
        push_batches.c.id == push_members.c.batch_id,
        push_batches.c.state != BatchState.OPEN.value,
        push_batches.c.last_error != _REASON_GONE,
    ),
)
"""Whatever has been blanked is not found again."""
_HAS_WORDS = or_(ratings.c.comment.is_not(None), ratings.c.raw_input != "")
_RELEASE = Many(
    update(outbox)
    .where(
        outbox.c.evaluation_id == bindparam("evaluation"),
        outbox.c.state == OutboxState.WAITING.value,
        outbox.c.batch_id.is_(None),
    )
    .values(not_before=bindparam("at"), held_by=None),
    ("evaluation", "at"),
)
_BLANK = Many(
    update(evaluations)
    .where(evaluations.c.subject_id == bindparam("subject"), evaluations.c.assess_number == bindparam("assessed"))
    .values(comment=None, centre_note=None),
    ("subject", "assessed"),
)


def blank_ratings(unit: Unit, rating_ids: Collection[str]) -> None:
    """Blanks what citizens said with these ratings, and what was noted about them: it may name who gave one.

    The audit names a note by its subject: with the note on one rating of a case go those on its others.
    """
    unit.execute(update(ratings).where(ratings.c.id.in_(rating_ids), _HAS_WORDS).values(comment=None, raw_input=""))
    unit.execute(update(seen).where(seen.c.rating_id.in_(rating_ids), seen.c.note.is_not(None)).values(note=None))
    of_ratings = select(ratings.c.invitation_id).where(ratings.c.id.in_(rating_ids))
    subjects = select(invitation_members.c.subject_id).where(invitation_members.c.invitation_id.in_(of_ratings))
    of_calls = select(ratings.c.call_subject_id).where(
        ratings.c.id.in_(rating_ids), ratings.c.call_subject_id.is_not(None)
    )
    rated = select(evaluations.c.subject_id).where(
        evaluations.c.subject_id.in_(subjects.union(of_calls)), evaluations.c.rating_id.in_(rating_ids)
    )
    _blank_details(
        unit,
        unit.execute(
            select(audit.c.id, audit.c.action, audit.c.detail).where(
                audit.c.subject_id.in_(rated),
                audit.c.action == TypedAction.RATING_NOTED.value,
                audit.c.detail.is_not(None),
            )
        ).all(),
    )


def blank_answered(unit: Unit, rows: Sequence[Any]) -> None:
    """Blanks evaluations that the centre has answered for, and what it said of them. Rows: id and primary key."""
    if not rows:
        return
    ids = [row.id for row in rows]
    unit.many(_BLANK, [(row.subject_id, row.assess_number) for row in rows])
    unit.execute(
        update(outbox)
        .where(outbox.c.evaluation_id.in_(ids), outbox.c.state == OutboxState.DEAD.value)
        .values(reason=_REASON_GONE)
    )
    batches = list(
        unit.execute(select(push_members.c.batch_id).where(push_members.c.evaluation_id.in_(ids)).distinct()).scalars()
    )
    unit.execute(
        update(push_members)
        .where(push_members.c.evaluation_id.in_(ids), push_members.c.reason.is_not(None))
        .values(reason=_REASON_GONE)
    )
    if batches:
        unit.execute(
            update(push_batches)
            .where(
                push_batches.c.id.in_(batches),
                push_batches.c.state != BatchState.OPEN.value,
                push_batches.c.last_error.is_not(None),
            )
            .values(last_error=_REASON_GONE)
        )


# ── what people typed to the audit ────────────────────────────────────────────────────────────────────────────────────


def blank_acts(unit: Unit, *, items: Collection[str] = (), ids: Collection[str] = ()) -> None:
    """Blanks what people typed when they did something to these calls, cases or SMS, or in these rows of the audit."""
    _blank_details(
        unit,
        unit.execute(
            select(audit.c.id, audit.c.action, audit.c.detail).where(
                audit.c.subject_id.in_(items) if items else audit.c.id.in_(ids),
                audit.c.action.in_([one.value for one in TypedAction]),
                audit.c.detail.is_not(None),
            )
        ).all(),
    )


def _blank_details(unit: Unit, rows: Sequence[Any]) -> None:
    unit.many(_BLANK_DETAIL, [(row.id, _without_words(row)) for row in rows])


def _without_words(row: Any) -> str | None:
    """A code of ours stays, such as what a number was of; what stands alone is words."""
    return None if row.action in _WORDS_ALONE else str(row.detail).partition(TOLD_APART)[0]


_WORDS_ALONE = frozenset({TypedAction.RATING_NOTED.value, TypedAction.WORDS_REVEALED.value})
_BLANK_DETAIL = Many(
    update(audit).where(audit.c.id == bindparam("act")).values(detail=bindparam("left")), ("act", "left")
)


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def blank_texts(unit: Unit, message_ids: Collection[str], now: datetime, reason: str, by: str) -> None:
    """Blanks what was written in these SMS, ours and citizens'. One that nobody has read by now never is.

    Args:
        reason: of what is cancelled and of what is not read: `forgotten`, `kept_no_longer`.
        by: who takes from the queue of people what has no words any more.
    """
    if not message_ids:
        return
    unit.execute(
        update(messages)
        .where(messages.c.id.in_(message_ids))
        .values(
            text=None,
            fields=None,
            queue_note=None,
            handled_note=None,
            assembly_key=None,
            reason=case((messages.c.state.in_(_ENDS), reason), else_=messages.c.reason),
            outcome=case((messages.c.state.in_(_UNREAD), reason), else_=messages.c.outcome),
            settle_at=case((messages.c.state == MessageState.QUEUED.value, None), else_=messages.c.settle_at),
            changed_at=case((messages.c.state.in_(_ENDS), now), else_=messages.c.changed_at),
            state=case(
                (messages.c.state == MessageState.QUEUED.value, MessageState.CANCELLED.value),
                (messages.c.state.in_(_UNREAD), MessageState.READ.value),
                else_=messages.c.state,
            ),
        )
    )
    unit.execute(
        update(messages)
        .where(messages.c.id.in_(message_ids), messages.c.queue.is_not(None), messages.c.handled_at.is_(None))
        .values(handled_at=now, handled_by=by)
    )
    unit.execute(delete(parts).where(parts.c.message_id.in_(message_ids)))
    unit.execute(update(remarks).where(remarks.c.message_id.in_(message_ids)).values(text=None))


_UNREAD = (MessageState.PARTIAL.value, MessageState.UNREAD.value)
_ENDS = (MessageState.QUEUED.value, *_UNREAD)


# ── numbers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def blank_numbers_of_nobody(unit: Unit, hashes: Collection[bytes], active_key: int) -> None:
    """What was learnt of numbers to and from which no SMS is left: routes go, of opt-outs the hash alone stays.

    One that was taken back goes whole; not if an older key made its hash, for rows of now are found by it.
    """
    if not hashes:
        return
    written = set(unit.execute(select(messages.c.number_hash).where(messages.c.number_hash.in_(hashes))).scalars())
    nobody = [each for each in set(hashes) if each not in written]
    if not nobody:
        return
    unit.execute(delete(number_routes).where(number_routes.c.number_hash.in_(nobody)))
    unit.execute(
        delete(opt_outs).where(
            opt_outs.c.number_hash.in_(nobody),
            opt_outs.c.ended_at.is_not(None),
            opt_outs.c.number_key_id == active_key,
        )
    )
    unit.execute(
        update(opt_outs)
        .where(opt_outs.c.number_hash.in_(nobody), opt_outs.c.number_sealed.is_not(None))
        .values(number_sealed=None, number_tail=None)
    )
