"""Our SMS, from the queue to the last receipt: what is stored before and after each step a link takes.

Rules kept here (docs/data-model.md, `messages` and `segments`):

1. Nothing is queued twice for one reason: `once_key` is unique, over restarts and on several machines.
2. A message is `handed`, its segments stored, before a link gets it. Whoever dies between leaves it `handed`; when its
   lease is over it is `unknown`, exactly as if the answer had been lost, for nobody can tell the two apart.
3. What is `unknown` waits for a receipt. Without one it goes once more, only the segments not known delivered; after
   that it has failed.
4. Messages to one number keep their order: none is handed while an earlier one of that number is due or under way.
5. A receipt that finds no segment is kept: it may be earlier than the answer that brings its id, or stand for a segment
   whose answer never came.
6. What is sent of our own accord goes inside the sending hours; an answer to a citizen goes at once or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import bindparam, delete, insert, or_, select, update

from config.receipts import ReceiptClass
from models.door import Bulk, Many, Priority, Unit
from models.ids import new_id
from models.tables import invitations, messages, number_routes, opt_outs, receipts, segments
from models.terms import InvitationState, MessageKind, MessageState, SegmentState

__all__ = [
    "OUR_OWN_ACCORD",
    "ClaimMessages",
    "Claimed",
    "Fate",
    "ForgetReceipts",
    "HandedSegment",
    "Matched",
    "NewMessage",
    "NoteReceipts",
    "Outcome",
    "PutBack",
    "ReceiptFacts",
    "ReceiptRules",
    "SegmentAnswer",
    "SettleMessages",
    "StoreAnswers",
    "StoredNumber",
    "Terms",
    "ToSend",
    "Unsendable",
    "queue_messages",
]

OUR_OWN_ACCORD = frozenset({MessageKind.INVITATION, MessageKind.REMINDER, MessageKind.BY_HAND})
"""Kinds bound to the sending hours and to the daily cap."""
TRIES = 2
"""How often a message is handed to a link at most, throttled tries apart."""
GROUP = 64
_RECEIPTS_KEPT = timedelta(days=3)


class StoredNumber(NamedTuple):
    """The number columns of a row."""

    kind: str | None
    sealed: bytes | None
    hash: bytes | None
    tail: bytes | None
    key_id: int | None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """An SMS of ours to be queued. Its text is made when it is handed to a link, from `kind`, `lang` and `fields`.

    `carrier`: whose number it is taken for, "" where that is not known; `not_after`: not sent at all later than this.
    """

    id: str
    kind: MessageKind
    once_key: str
    number: StoredNumber
    invitation_id: str | None
    code: str
    lang: str
    fields: Mapping[str, str]
    carrier: str
    not_before: datetime
    not_after: datetime | None
    answers_id: str | None = None


_QUEUE = Bulk(
    messages,
    (
        "id",
        "direction",
        "kind",
        "state",
        "number_kind",
        "number_sealed",
        "number_hash",
        "number_tail",
        "number_key_id",
        "invitation_id",
        "code",
        "once_key",
        "lang",
        "fields",
        "carrier",
        "not_before",
        "not_after",
        "settle_at",
        "answers_id",
        "tries",
        "created_at",
        "changed_at",
    ),
)


def queue_messages(unit: Unit, new: Sequence[NewMessage], now: datetime) -> list[bool]:
    """Queues messages. False: one was queued for the same reason before, and nothing was stored (rule 1)."""
    if not new:
        return []
    known = {
        key
        for (key,) in unit.execute(
            select(messages.c.once_key).where(messages.c.once_key.in_([message.once_key for message in new]))
        )
    }
    rows, results = [], []
    for message in new:
        results.append(message.once_key not in known)
        if message.once_key in known:
            continue
        known.add(message.once_key)
        rows.append(
            (
                message.id,
                "out",
                message.kind.value,
                MessageState.QUEUED.value,
                *message.number,
                message.invitation_id,
                message.code,
                message.once_key,
                message.lang,
                json.dumps(dict(message.fields), ensure_ascii=False, separators=(",", ":")),
                message.carrier,
                message.not_before,
                message.not_after,
                message.not_after,
                message.answers_id,
                0,
                now,
                now,
            )
        )
    unit.insert(_QUEUE, rows)
    return results


# ── handing to a link ─────────────────────────────────────────────────────────────────────────────────────────────────


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
    """A message as it is to be sent. `segments` of one tried before: all; those delivered are left out by the claim."""

    text: str
    our_number: str
    reference: int
    segments: tuple[HandedSegment, ...]
    id: str = ""
    number_hash: bytes = b""


class Unsendable(Exception):
    """This message can never be sent as it is; `reason` is stored with it (64 characters)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which rules a link is given messages.

    `lease`: how long one handed may stay without a word; `hours`: when what we send of our own accord may go again,
    None: now; `life`: how long a call's SMS invitation lives.
    """

    owner: str
    lease: timedelta
    life: timedelta
    opening: Callable[[datetime], datetime]


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
        changed_at=bindparam("at"),
    ),
    ("invitation", "how", "first", "due", "at"),
)
_STATE = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(
        state=bindparam("new"),
        reason=bindparam("why"),
        lease_owner=None,
        settle_at=bindparam("settle"),
        changed_at=bindparam("at"),
    ),
    ("message", "new", "why", "settle", "at"),
)
_POSTPONE = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(not_before=bindparam("when"), changed_at=bindparam("at")),
    ("message", "when", "at"),
)


@dataclass(frozen=True, slots=True)
class ClaimMessages:
    """Takes up to `limit` due messages for one link. Result: what it is to send, already stored as handed (rule 2).

    `prepare` makes text and segments of a message; it runs in the writer's thread, reads no clock and no database, and
    raises `Unsendable` where there is no way.
    """

    link: str
    carriers: tuple[str, ...]
    limit: int
    now: datetime
    terms: Terms
    prepare: Callable[[ToSend], Claimed]
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[ClaimMessages]) -> list[list[Claimed]]:
        return [command._claim(unit) for command in commands]

    def _claim(self, unit: Unit) -> list[Claimed]:
        rows = self._due(unit)
        if not rows:
            return []
        tried = self._tried(unit, [row.id for row in rows if row.tries or row.text is not None])
        opening = self.terms.opening(self.now)
        claimed: list[Claimed] = []
        hand, again, fresh, asked, over, later = [], [], [], [], [], []
        for row in rows:
            kind = MessageKind(row.kind)
            if row.not_after is not None and row.not_after < self.now:
                over.append((row.id, MessageState.FAILED.value, "too_late", None, self.now))
                continue
            if kind in OUR_OWN_ACCORD and opening > self.now:
                later.append((row.id, opening, self.now))
                continue
            try:
                whole = self.prepare(
                    ToSend(
                        row.id,
                        kind,
                        row.number_sealed,
                        row.code or "",
                        row.lang or "",
                        json.loads(row.fields or "{}"),
                        row.text,
                        row.reference,
                        row.not_after,
                    )
                )
            except Unsendable as verdict:
                over.append((row.id, MessageState.FAILED.value, verdict.reason[:64], None, self.now))
                continue
            known = tried.get(row.id, {})
            open_segments = tuple(
                segment
                for segment in whole.segments
                if known.get(segment.number, SegmentState.WAITING.value) == SegmentState.WAITING.value
            )
            hand.append(
                (
                    row.id,
                    self.link,
                    whole.our_number,
                    whole.text,
                    whole.reference,
                    len(whole.segments),
                    (row.tries or 0) + 1,
                    self.terms.owner,
                    self.now + self.terms.lease,
                    row.handed_at or self.now,
                    self.now,
                )
            )
            for segment in open_segments:
                if segment.number in known:
                    again.append((row.id, segment.number, self.link, self.now))
                else:
                    fresh.append((row.id, segment.number, SegmentState.HANDED.value, self.link, self.now))
            if kind is MessageKind.INVITATION and row.invitation_id is not None and row.handed_at is None:
                asked.append((row.invitation_id, row.invitation_kind, row.first_asked_at, row.asked_by))
            claimed.append(
                Claimed(whole.text, whole.our_number, whole.reference, open_segments, row.id, row.number_hash)
            )
        unit.many(_STATE, over)
        unit.many(_POSTPONE, later)
        unit.many(_HAND, hand)
        unit.insert(_SEGMENTS, fresh)
        unit.many(_SEGMENT_AGAIN, again)
        life = self.now + self.terms.life
        unit.many(
            _ASKED,
            [
                (identity, how or "sms", first or self.now, life if kind == "call" else None, self.now)
                for identity, kind, first, how in asked
            ],
        )
        return claimed

    def _due(self, unit: Unit) -> list[Any]:
        """Due messages for this link's carriers, oldest first, at most one a number."""
        found: list[Any] = []
        for carrier in self.carriers:
            found += unit.execute(_DUE, {"whose": carrier, "now": self.now, "most": self.limit})
        if not found:
            return []
        found.sort(key=lambda row: (row.not_before, row.id))
        earlier = _first_of_each_number(unit, {row.number_hash for row in found}, self.now)
        seen: set[bytes] = set()
        rows = []
        for row in found:
            if row.number_hash in seen or earlier.get(row.number_hash, row.id) != row.id:
                continue
            seen.add(row.number_hash)
            rows.append(row)
        return rows[: self.limit]

    @staticmethod
    def _tried(unit: Unit, ids: Sequence[str]) -> dict[str, dict[int, str]]:
        tried: dict[str, dict[int, str]] = {}
        if ids:
            for row in unit.execute(
                select(segments.c.message_id, segments.c.number, segments.c.state).where(segments.c.message_id.in_(ids))
            ):
                tried.setdefault(row.message_id, {})[row.number] = row.state
        return tried


_DUE = (
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
        messages.c.tries,
        messages.c.not_before,
        messages.c.not_after,
        messages.c.handed_at,
        messages.c.invitation_id,
        invitations.c.kind.label("invitation_kind"),
        invitations.c.first_asked_at,
        invitations.c.asked_by,
    )
    .select_from(messages)
    .outerjoin(invitations, invitations.c.id == messages.c.invitation_id)
    .where(
        messages.c.state == MessageState.QUEUED.value,
        messages.c.carrier == bindparam("whose"),
        messages.c.not_before <= bindparam("now"),
    )
    .order_by(messages.c.not_before, messages.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, of=messages)
)


def _first_of_each_number(unit: Unit, hashes: Iterable[bytes], now: datetime) -> dict[bytes, str]:
    """The oldest message of each number that is due or under way: only that one may go (rule 4)."""
    first: dict[bytes, str] = {}
    for row in unit.execute(
        select(messages.c.number_hash, messages.c.id).where(
            messages.c.number_hash.in_(list(hashes)),
            or_(
                messages.c.state == MessageState.HANDED.value,
                (messages.c.state == MessageState.QUEUED.value) & (messages.c.not_before <= now),
            ),
        )
    ):
        if row.number_hash not in first or row.id < first[row.number_hash]:
            first[row.number_hash] = row.id
    return first


# ── what the link answered ────────────────────────────────────────────────────────────────────────────────────────────


class Fate(StrEnum):
    """What became of a submit."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class SegmentAnswer:
    """`smsc_id`: in its normal form; `reason`: in a word, where it failed; `last`: nothing of the message is still out.

    `state` and `settle_at` of the message are given with the last one.
    """

    message_id: str
    number: int
    fate: Fate
    at: datetime
    smsc_id: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The message after its last answer. `settle_at`: when an unknown one is looked at again."""

    message_id: str
    state: MessageState
    reason: str | None
    settle_at: datetime | None


_SEGMENT_STATE = {
    Fate.ACCEPTED: SegmentState.ACCEPTED.value,
    Fate.FAILED: SegmentState.FAILED.value,
    Fate.UNKNOWN: SegmentState.UNKNOWN.value,
    Fate.NOT_SENT: SegmentState.WAITING.value,
}
_ANSWER = Many(
    update(segments)
    .where(segments.c.message_id == bindparam("message"), segments.c.number == bindparam("place"))
    .values(state=bindparam("new"), smsc_id=bindparam("smsc"), status=bindparam("code"), answered_at=bindparam("at")),
    ("message", "place", "new", "smsc", "code", "at"),
)
_SENT = Many(
    update(messages)
    # A receipt that came first has said more than the answer can.
    .where(messages.c.id == bindparam("message"), messages.c.state == MessageState.HANDED.value)
    .values(
        state=bindparam("new"),
        reason=bindparam("why"),
        lease_owner=None,
        settle_at=bindparam("settle"),
        changed_at=bindparam("at"),
    ),
    ("message", "new", "why", "settle", "at"),
)
_UNDELIVERED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(undelivered=True, changed_at=bindparam("at")),
    ("invitation", "at"),
)
_DELIVERED_AFTER_ALL = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"), invitations.c.undelivered)
    .values(undelivered=False, changed_at=bindparam("at")),
    ("invitation", "at"),
)


@dataclass(frozen=True, slots=True)
class StoreAnswers:
    """What links answered to submits. Result: receipts that were waiting for one of these ids, now matched."""

    answers: tuple[SegmentAnswer, ...]
    outcomes: tuple[Outcome, ...]
    now: datetime
    rules: ReceiptRules
    priority: ClassVar[Priority] = Priority.INBOUND

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[StoreAnswers]) -> list[list[Matched]]:
        unit.many(
            _ANSWER,
            [
                (a.message_id, a.number, _SEGMENT_STATE[a.fate], a.smsc_id, a.status, a.at)
                for command in commands
                for a in command.answers
            ],
        )
        unit.many(
            _SENT,
            [
                (o.message_id, o.state.value, o.reason, o.settle_at, command.now)
                for command in commands
                for o in command.outcomes
            ],
        )
        failed = [
            (o.message_id, command.now)
            for command in commands
            for o in command.outcomes
            if o.state is MessageState.FAILED
        ]
        if failed:
            of = _invitations_of(unit, [message_id for message_id, _ in failed])
            unit.many(_UNDELIVERED, [(of[m], at) for m, at in failed if m in of])
        return [command._early(unit) for command in commands]

    def _early(self, unit: Unit) -> list[Matched]:
        """Receipts that came before the answer (rule 5)."""
        ids = [answer.smsc_id for answer in self.answers if answer.smsc_id is not None]
        waiting = _receipts_by_id(unit, ids) if ids else []
        lost = [o.message_id for o in self.outcomes if o.state is MessageState.UNKNOWN]
        waiting += _receipts_by_pair(unit, lost) if lost else []
        if not waiting:
            return []
        unit.execute(delete(receipts).where(receipts.c.id.in_([identity for identity, _ in waiting])))
        return _apply(unit, [facts for _, facts in waiting], self.rules, self.now)


def _invitations_of(unit: Unit, ids: Sequence[str]) -> dict[str, str]:
    return {
        row.id: row.invitation_id
        for row in unit.execute(
            select(messages.c.id, messages.c.invitation_id).where(
                messages.c.id.in_(ids),
                messages.c.invitation_id.is_not(None),
                messages.c.kind.in_([MessageKind.INVITATION.value, MessageKind.REMINDER.value]),
            )
        )
    }


@dataclass(frozen=True, slots=True)
class PutBack:
    """Messages that a link was given and did not send: back to the queue.

    Each with when it may go again, None: as before, at its old place. Where the SMSC refused it for now (a time is
    given) the try counts.
    """

    rows: tuple[tuple[str, datetime | None], ...]
    now: datetime
    priority: ClassVar[Priority] = Priority.INBOUND

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[PutBack]) -> list[None]:
        rows = [(identity, when, command.now) for command in commands for identity, when in command.rows]
        unit.many(_BACK_SEGMENTS, [(identity,) for identity, _, _ in rows])
        unit.many(_BACK, [(identity, at) for identity, when, at in rows if when is None])
        unit.many(_BACK_LATER, [(identity, when, at) for identity, when, at in rows if when is not None])
        return [None] * len(commands)


_BACK_SEGMENTS = Many(
    update(segments)
    .where(segments.c.message_id == bindparam("message"), segments.c.state == SegmentState.HANDED.value)
    .values(state=SegmentState.WAITING.value),
    ("message",),
)
_BACK = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"), messages.c.state == MessageState.HANDED.value)
    .values(
        state=MessageState.QUEUED.value,
        tries=messages.c.tries - 1,
        lease_owner=None,
        settle_at=messages.c.not_after,
        changed_at=bindparam("at"),
    ),
    ("message", "at"),
)
_BACK_LATER = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"), messages.c.state == MessageState.HANDED.value)
    .values(
        state=MessageState.QUEUED.value,
        not_before=bindparam("when"),
        lease_owner=None,
        settle_at=messages.c.not_after,
        changed_at=bindparam("at"),
    ),
    ("message", "when", "at"),
)
_AGAIN_SEGMENTS = Many(
    update(segments)
    .where(segments.c.message_id == bindparam("message"), segments.c.state != SegmentState.DELIVERED.value)
    .values(state=SegmentState.WAITING.value),
    ("message",),
)


# ── receipts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ReceiptFacts:
    """A receipt as read. `forms`: the ids it may mean, surest first, normal forms; `links`: whose ids these are.

    `reference`: our user_message_reference, where the SMSC echoes it; `number_hash`, `our_number`: the pair of numbers.
    """

    kind: ReceiptClass
    text: str
    links: tuple[str, ...]
    forms: tuple[str, ...]
    number_hash: bytes | None
    our_number: str
    reference: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class ReceiptRules:
    """`next_day`: the first sending moment of the day after; `other_carrier`: whose link to try where this one has no
    route, None: there is none."""

    next_day: Callable[[datetime], datetime]
    other_carrier: Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True)
class Matched:
    """A receipt that found its segment: over which link the message had gone, and what kind it was."""

    link: str
    kind: ReceiptClass
    message_kind: MessageKind


_RECEIPT = Many(
    update(segments)
    .where(segments.c.message_id == bindparam("message"), segments.c.number == bindparam("place"))
    .values(
        state=bindparam("new"),
        receipt=bindparam("verdict"),
        receipt_text=bindparam("words"),
        receipt_at=bindparam("at"),
    ),
    ("message", "place", "new", "verdict", "words", "at"),
)
_DELIVERED = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(state=MessageState.DELIVERED.value, lease_owner=None, settle_at=None, changed_at=bindparam("at")),
    ("message", "at"),
)
_RECEIPTS = Bulk(receipts)
_BY_ID = (
    select(
        segments.c.message_id,
        segments.c.number,
        segments.c.state.label("segment_state"),
        segments.c.link.label("over"),
        segments.c.smsc_id,
        messages.c.state,
        messages.c.kind,
        messages.c.total,
        messages.c.tries,
        messages.c.carrier,
        messages.c.reason,
        messages.c.invitation_id,
        messages.c.number_kind,
        messages.c.number_sealed,
        messages.c.number_hash,
        messages.c.number_tail,
        messages.c.number_key_id,
    )
    .select_from(segments)
    .join(messages, messages.c.id == segments.c.message_id)
)
_BY_IDS = _BY_ID.where(segments.c.smsc_id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class NoteReceipts:
    """Receipts from a link, stored before they are answered. Result: those that found their segment."""

    receipts: tuple[ReceiptFacts, ...]
    now: datetime
    rules: ReceiptRules
    priority: ClassVar[Priority] = Priority.INBOUND

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[NoteReceipts]) -> list[list[Matched]]:
        return [_apply(unit, command.receipts, command.rules, command.now) for command in commands]


def _apply(unit: Unit, facts: Sequence[ReceiptFacts], rules: ReceiptRules, now: datetime) -> list[Matched]:
    """Matches receipts with segments and does what follows; keeps those that match none."""
    found = _match(unit, facts)
    stored: list[tuple[Any, ...]] = []
    notes: list[tuple[Any, ...]] = []
    settled: dict[str, tuple[Any, ReceiptFacts]] = {}
    matched: list[Matched] = []
    for fact, row in zip(facts, found, strict=True):
        if row is None:
            stored.append(
                (
                    new_id(),
                    fact.links[0],
                    fact.forms[0] if fact.forms else None,
                    " ".join(fact.forms) or None,
                    fact.number_hash,
                    fact.our_number,
                    fact.reference,
                    fact.kind.value,
                    fact.text[:80],
                    fact.at,
                )
            )
            continue
        waits = row.state == MessageState.QUEUED.value and fact.kind is not ReceiptClass.DELIVERED
        if row.segment_state in _FINAL or waits:
            continue  # told twice, or it is to go again anyway
        matched.append(Matched(row.over, fact.kind, MessageKind(row.kind)))
        state = _SEGMENT_AFTER.get(fact.kind, SegmentState.FAILED.value)
        if state is None:
            state = row.segment_state
        notes.append((row.message_id, row.number, state, fact.kind.value, fact.text[:80], fact.at))
        if fact.kind is not ReceiptClass.INTERMEDIATE:
            settled[row.message_id] = (row, fact)
    unit.insert(_RECEIPTS, stored)
    unit.many(_RECEIPT, notes)
    _settle_messages(unit, list(settled.values()), rules, now)
    return matched


_FINAL = frozenset({SegmentState.DELIVERED.value, SegmentState.FAILED.value})
_SEGMENT_AFTER: Mapping[ReceiptClass, str | None] = {
    ReceiptClass.DELIVERED: SegmentState.DELIVERED.value,
    ReceiptClass.INTERMEDIATE: None,
}


def _match(unit: Unit, facts: Sequence[ReceiptFacts]) -> list[Any]:
    """The segment of each receipt: by id; else, where an answer was lost, by the pair of numbers."""
    ids = {form for fact in facts for form in fact.forms}
    by_id: dict[str, list[Any]] = {}
    if ids:
        for one in unit.execute(_BY_IDS, {"ids": list(ids)}):
            by_id.setdefault(one.smsc_id, []).append(one)
    found: list[Any] = []
    pairs: list[int] = []
    for fact in facts:
        rows = [one for form in fact.forms for one in by_id.get(form, ()) if one.over in fact.links]
        rows.sort(key=lambda one: one.number_hash != fact.number_hash)  # stable: the surest form stays first
        row: Any = rows[0] if rows else None
        if row is None and fact.number_hash is not None:
            pairs.append(len(found))
        found.append(row)
    if pairs:
        lost = _lost_segments(unit, {hash for i in pairs if (hash := facts[i].number_hash) is not None})
        taken: set[tuple[str, int]] = set()
        for place in pairs:
            fact = facts[place]
            for one in sorted(
                lost.get(fact.number_hash or b"", ()),
                key=lambda one: fact.reference is None or one.reference != fact.reference,
            ):
                if one.our_number == fact.our_number and (one.message_id, one.number) not in taken:
                    taken.add((one.message_id, one.number))
                    found[place] = one
                    break
    return found


def _lost_segments(unit: Unit, hashes: set[bytes]) -> dict[bytes, list[Any]]:
    """Segments whose answer never came, oldest first, of numbers for which no answer is still awaited."""
    rows = unit.execute(
        _BY_ID.add_columns(messages.c.our_number, messages.c.reference)
        .where(
            messages.c.number_hash.in_(list(hashes)),
            messages.c.state.in_([MessageState.UNKNOWN.value, MessageState.HANDED.value]),
        )
        .order_by(segments.c.submitted_at, segments.c.number)
    ).all()
    awaited = {row.number_hash for row in rows if row.state == MessageState.HANDED.value}
    lost: dict[bytes, list[Any]] = {}
    for row in rows:
        if row.number_hash not in awaited and row.segment_state == SegmentState.UNKNOWN.value:
            lost.setdefault(row.number_hash, []).append(row)
    return lost


def _receipts_by_id(unit: Unit, ids: Sequence[str]) -> list[tuple[str, ReceiptFacts]]:
    return _as_facts(unit.execute(_WAITING, {"ids": list(ids)}))


def _receipts_by_pair(unit: Unit, message_ids: Sequence[str]) -> list[tuple[str, ReceiptFacts]]:
    return _as_facts(
        unit.execute(
            select(receipts)
            .join(
                messages,
                (messages.c.number_hash == receipts.c.number_hash) & (messages.c.our_number == receipts.c.our_number),
            )
            .where(messages.c.id.in_(message_ids), receipts.c.received_at >= messages.c.handed_at)
            .order_by(receipts.c.received_at)
        )
    )


_WAITING = select(receipts).where(receipts.c.smsc_id.in_(bindparam("ids", expanding=True)))


def _as_facts(rows: Iterable[Any]) -> list[tuple[str, ReceiptFacts]]:
    return [
        (
            row.id,
            ReceiptFacts(
                ReceiptClass(row.receipt),
                row.receipt_text or "",
                (row.link,),
                tuple((row.forms or "").split()),
                row.number_hash,
                row.our_number or "",
                row.reference,
                row.received_at,
            ),
        )
        for row in rows
    ]


def _settle_messages(
    unit: Unit, settled: Sequence[tuple[Any, ReceiptFacts]], rules: ReceiptRules, now: datetime
) -> None:
    """The messages of segments that got a final receipt: delivered when all are, else what the receipt's kind asks."""
    several = [row.message_id for row, _ in settled if (row.total or 1) > 1]
    open_segments: dict[str, set[str]] = {}
    if several:
        for row in unit.execute(
            select(segments.c.message_id, segments.c.state).where(segments.c.message_id.in_(several))
        ):
            open_segments.setdefault(row.message_id, set()).add(row.state)
    delivered: list[tuple[Any, ...]] = []
    states: list[tuple[Any, ...]] = []
    bad: list[Any] = []
    for row, fact in settled:
        left = open_segments.get(row.message_id, {SegmentState.DELIVERED.value})
        if fact.kind is ReceiptClass.DELIVERED:
            if left <= {SegmentState.DELIVERED.value}:
                delivered.append((row.message_id, now))
                if row.reason == ReceiptClass.NO_ROUTE.value:
                    _learn_route(unit, row, now)
            elif row.state == MessageState.UNKNOWN.value and SegmentState.UNKNOWN.value not in left:
                states.append((row.message_id, MessageState.SENT.value, None, None, now))
            continue
        again = _next_try(row, fact, rules, now)
        if again is None:
            states.append((row.message_id, MessageState.FAILED.value, fact.kind.value, None, now))
        else:
            carrier, when = again
            unit.many(_AGAIN_SEGMENTS, [(row.message_id,)])
            unit.execute(
                update(messages)
                .where(messages.c.id == row.message_id)
                .values(
                    state=MessageState.QUEUED.value,
                    reason=fact.kind.value,
                    carrier=carrier,
                    not_before=when,
                    lease_owner=None,
                    settle_at=messages.c.not_after,
                    changed_at=now,
                )
            )
        bad.append(row)
        if fact.kind is ReceiptClass.BLACKLISTED:
            _carrier_opt_out(unit, row, now)
    unit.many(_DELIVERED, delivered)
    unit.many(_STATE, states)
    asks = {MessageKind.INVITATION.value, MessageKind.REMINDER.value}
    unit.many(_UNDELIVERED, [(row.invitation_id, now) for row in bad if row.invitation_id and row.kind in asks])
    unit.many(
        _DELIVERED_AFTER_ALL,
        [
            (row.invitation_id, now)
            for row, fact in settled
            if fact.kind is ReceiptClass.DELIVERED and row.reason and row.invitation_id and row.kind in asks
        ],
    )


def _next_try(row: Any, fact: ReceiptFacts, rules: ReceiptRules, now: datetime) -> tuple[str, datetime] | None:
    """Over whose link and when it goes again: only our own asking, once."""
    if (row.tries or 0) >= TRIES or MessageKind(row.kind) not in OUR_OWN_ACCORD:
        return None
    if fact.kind is ReceiptClass.LATER:
        return row.carrier or "", rules.next_day(now)
    if fact.kind is ReceiptClass.NO_ROUTE:
        other = rules.other_carrier(row.carrier or "", row.over)
        return None if other is None else (other, now)
    return None


def _learn_route(unit: Unit, row: Any, now: datetime) -> None:
    """携号转网: the number answers over another carrier than its prefix says."""
    known = unit.execute(
        update(number_routes)
        .where(number_routes.c.number_hash == row.number_hash)
        .values(carrier=row.carrier, learnt_at=now)
    )
    if known.rowcount == 0:
        unit.execute(insert(number_routes).values(id=new_id(), **_number(row), carrier=row.carrier, learnt_at=now))


def _carrier_opt_out(unit: Unit, row: Any, now: datetime) -> None:
    """The carrier's blacklist: nothing more is sent; a rating that still comes is read."""
    known = unit.execute(
        update(opt_outs)
        .where(opt_outs.c.number_hash == row.number_hash, opt_outs.c.origin == "carrier")
        .values(ended_at=None)
    )
    if known.rowcount == 0:
        unit.execute(insert(opt_outs).values(id=new_id(), **_number(row), origin="carrier", at=now))
    unit.execute(
        update(invitations)
        .where(invitations.c.number_hash == row.number_hash, invitations.c.state == InvitationState.ASKED.value)
        .values(muted=True, changed_at=now)
    )
    unit.execute(
        update(invitations)
        .where(invitations.c.number_hash == row.number_hash, invitations.c.state == InvitationState.WAITING.value)
        .values(
            state=InvitationState.IMPOSSIBLE.value,
            reason="carrier_opt_out",
            due_at=None,
            not_after=None,
            changed_at=now,
        )
    )
    unit.execute(
        update(messages)
        .where(messages.c.number_hash == row.number_hash, messages.c.state == MessageState.QUEUED.value)
        .values(state=MessageState.CANCELLED.value, reason="carrier_opt_out", settle_at=None, changed_at=now)
    )


def _number(row: Any) -> dict[str, Any]:
    return {
        "number_kind": row.number_kind,
        "number_sealed": row.number_sealed,
        "number_hash": row.number_hash,
        "number_tail": row.number_tail,
        "number_key_id": row.number_key_id,
    }


# ── sweeps ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SettleMessages:
    """What nobody has said anything about for too long. Result: how many were settled; GROUP: there may be more.

    `owner`, `node`: messages handed by an earlier process of this node are settled at once (`restarted`).
    """

    now: datetime
    unknown_after: timedelta
    owner: str
    node: str
    restarted: bool = False
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[SettleMessages]) -> list[int]:
        return [command._settle(unit) for command in commands]

    def _settle(self, unit: Unit) -> int:
        wanted = select(
            messages.c.id, messages.c.state, messages.c.tries, messages.c.lease_owner, messages.c.invitation_id
        ).where(messages.c.settle_at.is_not(None))
        if self.restarted:
            wanted = wanted.where(
                messages.c.state == MessageState.HANDED.value,
                messages.c.lease_owner.startswith(f"{self.node}/", autoescape=True),
                messages.c.lease_owner != self.owner,
            )
        else:
            wanted = wanted.where(
                messages.c.settle_at <= self.now,
                or_(messages.c.lease_owner.is_(None), messages.c.lease_owner != self.owner),
            )
        rows = unit.execute(wanted.order_by(messages.c.settle_at).limit(GROUP).with_for_update(skip_locked=True)).all()
        states: list[tuple[Any, ...]] = []
        again: list[str] = []
        lost: list[str] = []
        for row in rows:
            state = MessageState(row.state)
            if state is MessageState.HANDED:
                lost.append(row.id)
                states.append((row.id, MessageState.UNKNOWN.value, None, self.now + self.unknown_after, self.now))
            elif state is MessageState.UNKNOWN and (row.tries or 0) < TRIES:
                again.append(row.id)
            elif state is MessageState.UNKNOWN:
                states.append((row.id, MessageState.FAILED.value, "unknown", None, self.now))
            else:
                states.append((row.id, MessageState.FAILED.value, "too_late", None, self.now))
        unit.many(_STATE, states)
        if lost:
            unit.execute(
                update(segments)
                .where(segments.c.message_id.in_(lost), segments.c.state == SegmentState.HANDED.value)
                .values(state=SegmentState.UNKNOWN.value)
            )
        if again:
            unit.many(_AGAIN_SEGMENTS, [(identity,) for identity in again])
            unit.execute(
                update(messages)
                .where(messages.c.id.in_(again))
                .values(
                    state=MessageState.QUEUED.value,
                    reason="sent_again",
                    not_before=self.now,
                    settle_at=messages.c.not_after,
                    changed_at=self.now,
                )
            )
        failed = [row.id for row in rows if row.state == MessageState.UNKNOWN.value and row.id not in again]
        if failed:
            of = _invitations_of(unit, failed)
            unit.many(_UNDELIVERED, [(identity, self.now) for identity in of.values()])
        return len(rows)


@dataclass(frozen=True, slots=True)
class ForgetReceipts:
    """Receipts that found nothing for three days. Result: how many went."""

    now: datetime
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[ForgetReceipts]) -> list[int]:
        results = []
        for command in commands:
            old = select(receipts.c.id).where(receipts.c.received_at < command.now - _RECEIPTS_KEPT).limit(GROUP)
            results.append(unit.execute(delete(receipts).where(receipts.c.id.in_(old))).rowcount)
        return results
