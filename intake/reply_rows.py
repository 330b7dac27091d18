"""What a group of replies stores: rows by table, one statement a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, update

from intake.counted import ASKED_NAMES, ASKED_SET, EVALUATION_COLUMNS, no_longer_effective, reasons_given
from intake.endings import Ending, end_invitations
from intake.outgoing import NewMessage, queue_messages
from models.door import Bulk, Many, Unit
from models.tables import (
    UtcTime,
    audit,
    evaluations,
    feed,
    invitations,
    messages,
    opt_outs,
    outbox,
    ratings,
    remarks,
)
from models.terms import InvitationState, MessageKind, MessageState, OutboxState

__all__ = ["Rows"]

_RATINGS = Bulk(ratings)
_EVALUATIONS = Bulk(evaluations, EVALUATION_COLUMNS)
_OUTBOX = Bulk(outbox)
_FEED = Bulk(feed, ("kind", "subject_id", "assess_number", "at"))
_REMARKS = Bulk(remarks)
_OPTED_OUT = Bulk(opt_outs)
_AUDIT = Bulk(audit)

_READ = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(
        state=MessageState.READ.value,
        text=bindparam("words"),
        invitation_id=bindparam("invitation"),
        outcome=bindparam("became"),
        why=bindparam("rule"),
        satisfaction=bindparam("level"),
        queue=bindparam("waits"),
        queue_note=bindparam("note"),
        changed_at=bindparam("at"),
    ),
    ("message", "words", "invitation", "became", "rule", "level", "waits", "note", "at"),
)
_RATED_BY = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(
        state=InvitationState.RATED.value,
        reason=None,
        rating_id=bindparam("rating"),
        first_asked_at=bindparam("asked"),
        asked_by=bindparam("how"),
        **ASKED_SET,
        responded_at=func.coalesce(invitations.c.responded_at, bindparam("at", type_=UtcTime)),
        changed_at=bindparam("at"),
    ),
    ("invitation", "rating", "asked", "how", *ASKED_NAMES, "at"),
)
_CLARIFIED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(clarified_at=bindparam("at"), changed_at=bindparam("at")),
    ("invitation", "at"),
)
_REASON_ASKED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(reason_asked_at=bindparam("at"), reason_codes=bindparam("offered"), changed_at=bindparam("at")),
    ("invitation", "at", "offered"),
)
_NO_LONGER_EFFECTIVE = Many(
    update(evaluations)
    .where(evaluations.c.subject_id == bindparam("subject"), evaluations.c.assess_number == bindparam("number"))
    .values(effective=False),
    ("subject", "number"),
)
_SAID_OF_RATING = Many(
    update(ratings)
    .where(ratings.c.id == bindparam("rating"))
    .values(reasons=bindparam("codes"), comment=bindparam("words")),
    ("rating", "codes", "words"),
)
_SAID_OF_EVALUATION = Many(
    update(evaluations)
    .where(evaluations.c.subject_id == bindparam("subject"), evaluations.c.assess_number == bindparam("number"))
    .values(reasons=bindparam("codes"), comment=bindparam("words")),
    ("subject", "number", "codes", "words"),
)
_RELEASE = Many(
    update(outbox)
    .where(
        outbox.c.evaluation_id == bindparam("evaluation"),
        outbox.c.state == OutboxState.WAITING.value,
        outbox.c.batch_id.is_(None),
        outbox.c.not_before > bindparam("at"),
    )
    .values(not_before=bindparam("at")),
    ("evaluation", "at"),
)
_OPT_OUT_AGAIN = Many(
    update(opt_outs)
    .where(opt_outs.c.number_hash == bindparam("hash"), opt_outs.c.origin == "citizen")
    .values(at=bindparam("since"), ended_at=None),
    ("hash", "since"),
)
_OPT_IN = Many(
    update(opt_outs)
    .where(opt_outs.c.number_hash == bindparam("hash"), opt_outs.c.origin == "citizen", opt_outs.c.ended_at.is_(None))
    .values(ended_at=bindparam("until")),
    ("hash", "until"),
)
_MUTE = Many(
    update(invitations)
    .where(invitations.c.number_hash == bindparam("hash"), invitations.c.state == InvitationState.ASKED.value)
    .values(
        muted=True,
        # Nothing more is sent (ADR 0009).
        number_sealed=None,
        number_hash=None,
        number_tail=None,
        number_key_id=None,
        changed_at=bindparam("at"),
    ),
    ("hash", "at"),
)
_CANCEL = Many(
    update(messages)
    .where(
        messages.c.number_hash == bindparam("hash"),
        messages.c.state == MessageState.QUEUED.value,
        messages.c.kind != MessageKind.OPTED_OUT.value,
    )
    .values(state=MessageState.CANCELLED.value, reason="opted_out", settle_at=None, changed_at=bindparam("at")),
    ("hash", "at"),
)


@dataclass(slots=True)
class Rows:
    """What a wave stores, statement by statement."""

    read: list[tuple[Any, ...]] = field(default_factory=list)
    ratings: list[tuple[Any, ...]] = field(default_factory=list)
    evaluations: list[tuple[Any, ...]] = field(default_factory=list)
    superseded: list[tuple[Any, ...]] = field(default_factory=list)
    outbox: list[tuple[Any, ...]] = field(default_factory=list)
    feed: list[tuple[Any, ...]] = field(default_factory=list)
    remarks: list[tuple[Any, ...]] = field(default_factory=list)
    audit: list[tuple[Any, ...]] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    rated: list[tuple[Any, ...]] = field(default_factory=list)
    clarified: list[tuple[Any, ...]] = field(default_factory=list)
    reason_asked: list[tuple[Any, ...]] = field(default_factory=list)
    said_of_rating: list[tuple[Any, ...]] = field(default_factory=list)
    said_of_evaluation: list[tuple[Any, ...]] = field(default_factory=list)
    release: list[tuple[Any, ...]] = field(default_factory=list)
    opted_out: list[tuple[Any, ...]] = field(default_factory=list)
    opted_out_again: list[tuple[Any, ...]] = field(default_factory=list)
    opted_in: list[tuple[Any, ...]] = field(default_factory=list)
    muted: list[tuple[Any, ...]] = field(default_factory=list)
    answers: list[NewMessage] = field(default_factory=list)

    def store(self, unit: Unit, now: datetime) -> None:
        no_longer_effective(unit, set(self.superseded))
        reasons_given(unit, {(subject, number): codes for subject, number, codes, _ in self.said_of_evaluation})
        unit.many(_NO_LONGER_EFFECTIVE, self.superseded)
        unit.insert(_RATINGS, self.ratings)
        unit.insert(_EVALUATIONS, self.evaluations)
        unit.insert(_OUTBOX, self.outbox)
        unit.insert(_FEED, self.feed)
        unit.many(_SAID_OF_RATING, self.said_of_rating)
        unit.many(_SAID_OF_EVALUATION, self.said_of_evaluation)
        unit.many(_RELEASE, self.release)
        unit.insert(_REMARKS, self.remarks)
        end_invitations(unit, self.endings)
        unit.many(_RATED_BY, self.rated)
        unit.many(_CLARIFIED, self.clarified)
        unit.many(_REASON_ASKED, self.reason_asked)
        unit.insert(_OPTED_OUT, self.opted_out)
        unit.many(_OPT_OUT_AGAIN, self.opted_out_again)
        unit.many(_OPT_IN, self.opted_in)
        if self.muted:
            self._end_waiting(unit)
            unit.many(_MUTE, self.muted)
            unit.many(_CANCEL, self.muted)
        queue_messages(unit, self.answers, now)
        unit.many(_READ, self.read)
        unit.insert(_AUDIT, self.audit)

    def _end_waiting(self, unit: Unit) -> None:
        """What was to be asked of numbers that want nothing more."""
        at = dict(self.muted)
        waiting = unit.execute(
            select(invitations.c.id, invitations.c.number_hash).where(
                invitations.c.number_hash.in_(list(at)), invitations.c.state == InvitationState.WAITING.value
            )
        ).all()
        end_invitations(
            unit,
            [Ending(row.id, InvitationState.IMPOSSIBLE, "opted_out", at[row.number_hash]) for row in waiting],
        )
