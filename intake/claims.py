"""From the queue to a link: which messages it gets next, stored as handed before it has them.

The rules stand in intake/outgoing.py; here are 2, 4, 6 and 7.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any, ClassVar

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    union_all,
    update,
)

from intake.counted import ASKED_NAMES, ASKED_SET, asked_values, asked_whose, lock_invitations, whom_they_ask
from intake.outgoing import OUR_OWN_ACCORD, Unsent, leave_unsent
from models.door import Bulk, Many, Priority, Unit
from models.reads import Read, any_of
from models.rollups import Whose
from models.tables import invitations, messages, opt_outs, segments
from models.terms import InvitationState, MessageKind, MessageState, SegmentState, SubjectKind

__all__ = ["ClaimMessages", "Claimed", "HandedSegment", "Terms", "ToSend", "Unsendable"]


@dataclass(frozen=True, slots=True)
class ToSend:
    """A queued message as a link's text needs it. `text` and `reference` are set where it was tried before."""

    id: str
    kind: MessageKind
    number_sealed: bytes
    code: str
    lang: str
    fields: Mapping[str, str]
    text: str | None
    reference: int | None
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class HandedSegment:
    """`wire`: what the sender hands to the link; nothing here looks into it."""

    number: int
    wire: object


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message as it is to be sent. `segments` as `prepare` gives them: all; as a claim does: those that are to go."""

    text: str
    our_number: str
    reference: int
    segments: tuple[HandedSegment, ...]
    id: str = ""
    number_hash: bytes = b""
    total: int = 0
    kind: str = ""


class Unsendable(Exception):
    """This message can never be sent as it is; `reason` is stored with it (64 characters)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which rules a link is given messages.

    `lease`: how long one handed may stay without a word; `opening(t)`: t itself where what we send of our own accord
    may go, else when it may go next; `life`: how long a call's SMS invitation lives; `area`: of a case that tells none.
    """

    owner: str
    lease: timedelta
    life: timedelta
    opening: Callable[[datetime], datetime]
    area: str | None = None


# ── what is due ───────────────────────────────────────────────────────────────────────────────────────────────────────

_earlier = messages.alias("earlier")
_BEHIND_AN_EARLIER_ONE = exists().where(
    _earlier.c.number_hash == messages.c.number_hash,
    _earlier.c.id < messages.c.id,
    or_(
        _earlier.c.state == MessageState.HANDED.value,
        and_(_earlier.c.state == MessageState.QUEUED.value, _earlier.c.not_before <= bindparam("now")),
    ),
)


def _answers_in_time(table: Any) -> ColumnElement[bool]:
    return and_(
        *(table.c.kind != kind.value for kind in sorted(OUR_OWN_ACCORD)),
        or_(table.c.not_after.is_(None), table.c.not_after >= bindparam("now")),
    )


_BEHIND_AN_EARLIER_ANSWER = exists().where(
    _earlier.c.number_hash == messages.c.number_hash,
    _earlier.c.id < messages.c.id,
    or_(
        _earlier.c.state == MessageState.HANDED.value,
        and_(
            _earlier.c.state == MessageState.QUEUED.value,
            _earlier.c.not_before <= bindparam("now"),
            _answers_in_time(_earlier),
        ),
    ),
)
"""Not behind one that waits for the clock to be confirmed."""
# The carrier's word goes before the citizen's: "carrier" is the smaller of the two.
_REFUSED = (
    select(func.min(opt_outs.c.origin))
    .where(opt_outs.c.number_hash == messages.c.number_hash, opt_outs.c.ended_at.is_(None))
    .scalar_subquery()
)


def _due_of(whose: str, held: bool) -> Select[Any]:
    """Due messages of one carrier's, oldest first. Each carrier's are read by the index, as many as may be taken."""
    due = (
        select(
            messages.c.id,
            messages.c.kind,
            messages.c.number_sealed,
            messages.c.number_hash,
            messages.c.code,
            messages.c.lang,
            messages.c.fields,
            messages.c.text,
            messages.c.reference,
            messages.c.total,
            messages.c.our_number,
            messages.c.tries,
            messages.c.not_before,
            messages.c.not_after,
            messages.c.handed_at,
            messages.c.invitation_id,
            invitations.c.kind.label("invitation_kind"),
            invitations.c.state.label("invitation_state"),
            invitations.c.muted,
            _REFUSED.label("refused"),
        )
        .select_from(messages)
        .outerjoin(invitations, invitations.c.id == messages.c.invitation_id)
        .where(
            messages.c.state == MessageState.QUEUED.value,
            messages.c.carrier == bindparam(whose),
            messages.c.not_before <= bindparam("now"),
            *((_answers_in_time(messages), ~_BEHIND_AN_EARLIER_ANSWER) if held else (~_BEHIND_AN_EARLIER_ONE,)),
        )
        .order_by(messages.c.not_before, messages.c.id)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True, of=messages)
        .subquery()
    )
    return select(*due.c)


@cache
def _due(carriers: int, held: bool) -> Read:
    """Due messages of so many carriers. `held`: only those that answer a citizen, and in time."""
    names = [f"whose_{place}" for place in range(carriers)]
    due = [_due_of(name, held) for name in names]
    whole: Any = union_all(*due) if carriers > 1 else due[0]
    return Read(whole, ("now", "most", *names))


_TRIED = Read(
    select(segments.c.message_id, segments.c.number, segments.c.state).where(any_of(segments.c.message_id)), listed=True
)


# ── what is stored ────────────────────────────────────────────────────────────────────────────────────────────────────

_HAND = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(
        state=MessageState.HANDED.value,
        link=bindparam("over"),
        our_number=bindparam("ours"),
        text=bindparam("words"),
        reference=bindparam("ref"),
        total=bindparam("count"),
        tries=bindparam("tried"),
        lease_owner=bindparam("owner"),
        settle_at=bindparam("until"),
        handed_at=bindparam("first"),
        changed_at=bindparam("at"),
    ),
    ("message", "over", "ours", "words", "ref", "count", "tried", "owner", "until", "first", "at"),
)
_SEGMENTS = Bulk(segments, ("message_id", "number", "state", "link", "submitted_at"))
_FORGET_SEGMENTS = Many(delete(segments).where(segments.c.message_id == bindparam("message")), ("message",))
_SEGMENT_AGAIN = Many(
    update(segments)
    .where(segments.c.message_id == bindparam("message"), segments.c.number == bindparam("place"))
    .values(
        state=SegmentState.HANDED.value,
        link=bindparam("over"),
        submitted_at=bindparam("at"),
        smsc_id=None,
        status=None,
        answered_at=None,
        receipt=None,
        receipt_text=None,
        receipt_at=None,
    ),
    ("message", "place", "over", "at"),
)
_ASKED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"), invitations.c.state == InvitationState.WAITING.value)
    .values(
        state=InvitationState.ASKED.value,
        asked_by=bindparam("how"),
        first_asked_at=bindparam("first"),
        due_at=bindparam("due"),
        not_after=None,
        **ASKED_SET,
        changed_at=bindparam("at"),
    ),
    ("invitation", "how", "first", "due", *ASKED_NAMES, "at"),
)
_POSTPONE = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(not_before=bindparam("when"), changed_at=bindparam("at")),
    ("message", "when", "at"),
)

_OPEN = frozenset({InvitationState.WAITING.value, InvitationState.ASKED.value})
_OVER = frozenset({InvitationState.RATED.value, InvitationState.WITHDRAWN.value})
_SAID_OF_AN_OPT_OUT = frozenset({MessageKind.OPTED_OUT, MessageKind.OPTED_IN})


def _unwanted(kind: MessageKind, row: Any) -> str | None:
    """Why a message is not to be sent any more (rule 7); None: it is."""
    if row.number_sealed is None:
        return "forgotten"
    if kind in _SAID_OF_AN_OPT_OUT:
        return None
    if row.refused is not None:
        return "carrier_opt_out" if row.refused == "carrier" else "opted_out"
    if row.muted:
        return "opted_out"
    state = row.invitation_state
    if kind in (MessageKind.INVITATION, MessageKind.REMINDER) and state not in _OPEN:
        return state or "no_invitation"
    if kind is MessageKind.BY_HAND and state in _OVER:
        return str(state)
    return None


@lru_cache(maxsize=1024)
def _fields(stored: str) -> Mapping[str, str]:
    """What a text is made of; the same for all calls of a day."""
    fields: Mapping[str, str] = json.loads(stored)
    return fields


@dataclass(frozen=True, slots=True)
class ClaimMessages:
    """Takes up to `limit` due messages for one link. Result: what it is to send, already stored as handed (rule 2).

    `carriers`: under whose names it takes them. `prepare` makes text and segments of a message; it runs in the writer's
    thread, reads no clock and no database, and raises `Unsendable` where there is no way. `held`: nothing of our own
    accord goes, and nothing is too late (intake/pauses.py).
    """

    link: str
    carriers: tuple[str, ...]
    limit: int
    now: datetime
    terms: Terms
    prepare: Callable[[ToSend], Claimed]
    held: bool = False
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[ClaimMessages]) -> list[list[Claimed]]:
        return [command._claim(unit) for command in commands]

    def _claim(self, unit: Unit) -> list[Claimed]:
        rows = _due(len(self.carriers), self.held).rows(unit, (self.now, self.limit, *self.carriers))
        if not rows:
            return []
        if len(self.carriers) > 1:
            rows.sort(key=lambda row: (row.not_before, row.id))
        claim = _Claim(self, rows[: self.limit])
        claim.load(unit)
        claim.decide()
        claim.store(unit)
        return claim.claimed


class _Claim:
    """One claim: its rows, and the rows that it leads to."""

    def __init__(self, command: ClaimMessages, rows: Sequence[Any]) -> None:
        self.command = command
        self.rows = rows
        self.tried: dict[str, dict[int, str]] = {}
        self.claimed: list[Claimed] = []
        self.unsent: list[Unsent] = []
        self.later: list[tuple[Any, ...]] = []
        self.hand: list[tuple[Any, ...]] = []
        self.forgotten: list[tuple[Any, ...]] = []
        self.fresh: list[tuple[Any, ...]] = []
        self.again: list[tuple[Any, ...]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.invitations: dict[str, Any] = {}
        self.counted: list[tuple[Whose, bool]] = []
        self.whose: Mapping[str, Whose] = {}

    def load(self, unit: Unit) -> None:
        for row in _TRIED.rows(unit, values=[row.id for row in self.rows if row.text is not None]):
            self.tried.setdefault(row.message_id, {})[row.number] = row.state
        fresh = {
            row.invitation_id
            for row in self.rows
            if row.kind == MessageKind.INVITATION.value and row.invitation_state == InvitationState.WAITING.value
        }
        # As they are now: another process may have rated one since its message was read.
        self.invitations = lock_invitations(unit, fresh)
        never = [one.id for one in self.invitations.values() if one.first_asked_at is None]
        self.whose = whom_they_ask(unit, never, self.command.terms.area)

    def decide(self) -> None:
        command = self.command
        now = command.now
        opening = command.terms.opening(now)
        for row in self.rows:
            kind = MessageKind(row.kind)
            if (why := _unwanted(kind, row)) is not None:
                self._leave(row, MessageState.CANCELLED, why)
            elif row.not_after is not None and row.not_after < now:
                self._leave(row, MessageState.FAILED, "too_late")
            elif opening > now and kind in OUR_OWN_ACCORD:
                self.later.append((row.id, opening, now))
            else:
                try:
                    whole = command.prepare(
                        ToSend(
                            row.id,
                            kind,
                            row.number_sealed,
                            row.code or "",
                            row.lang or "",
                            _fields(row.fields or "{}"),
                            row.text,
                            row.reference,
                            row.not_after,
                        )
                    )
                except Unsendable as verdict:
                    self._leave(row, MessageState.FAILED, verdict.reason)
                else:
                    self._take(row, kind, whole)

    def _leave(self, row: Any, state: MessageState, reason: str) -> None:
        self.unsent.append(Unsent(row.id, state, reason, row.kind, row.invitation_id, row.invitation_state))

    def _take(self, row: Any, kind: MessageKind, whole: Claimed) -> None:
        command, now = self.command, self.command.now
        known = self.tried.get(row.id, {})
        if known and (row.our_number != whole.our_number or row.total != len(whole.segments)):
            # Another link cuts and signs in another way: a handset never joins what comes with what it has.
            self.forgotten.append((row.id,))
            known = {}
        left = tuple(
            segment
            for segment in whole.segments
            if known.get(segment.number, SegmentState.WAITING.value) == SegmentState.WAITING.value
        )
        terms = command.terms
        self.hand.append(
            (
                row.id,
                command.link,
                whole.our_number,
                whole.text,
                whole.reference,
                len(whole.segments),
                (row.tries or 0) + 1,
                terms.owner,
                now + terms.lease,
                row.handed_at or now,
                now,
            )
        )
        for segment in left:
            if segment.number in known:
                self.again.append((row.id, segment.number, command.link, now))
            else:
                self.fresh.append((row.id, segment.number, SegmentState.HANDED.value, command.link, now))
        asking = self.invitations.get(row.invitation_id) if kind is MessageKind.INVITATION else None
        if asking is not None and asking.state == InvitationState.WAITING.value:
            whose = asked_whose(asking) or self.whose.get(asking.id) or Whose(SubjectKind(asking.kind))
            if asking.first_asked_at is None:
                self.counted.append((whose, asking.responded_at is not None))
            self.asked.append(
                (
                    row.invitation_id,
                    asking.asked_by or "sms",
                    asking.first_asked_at or now,
                    # A case that joined the call's asking has its own deadline: the longer life counts.
                    max(now + terms.life, row.not_after or now) if row.invitation_kind == "call" else None,
                    *asked_values(whose),
                    now,
                )
            )
        self.claimed.append(
            Claimed(
                whole.text,
                whole.our_number,
                whole.reference,
                left,
                row.id,
                row.number_hash,
                len(whole.segments),
                kind.value,
            )
        )

    def store(self, unit: Unit) -> None:
        leave_unsent(unit, self.unsent, self.command.now)
        unit.many(_POSTPONE, self.later)
        unit.many(_HAND, self.hand)
        unit.many(_FORGET_SEGMENTS, self.forgotten)
        unit.insert(_SEGMENTS, self.fresh)
        unit.many(_SEGMENT_AGAIN, self.again)
        unit.many(_ASKED, self.asked)
        for whose, responded in self.counted:
            unit.deltas.invitation(1, whose, self.command.now, "sms", responded=responded)
