"""Delivery receipts 状态报告: which segment each speaks of, and what follows for its message and its number.

Rules kept here (those of all that sends stand in intake/outgoing.py):

1. A receipt finds its segment by the SMSC's id, in any form it may have, over the link it came by or a partner; where
   it names the citizen's number, the segment must have gone there, or to somebody whose number is kept no longer.
   Else, where an answer was lost, by the pair of
   numbers (ours with its code, theirs), but only while no other answer of that number is awaited.
2. One that finds nothing is kept, and looked at again when an answer comes or is given up. Of two processes one may
   store the answer while the other keeps its receipt, and neither sees the other's: the newest are looked at once more
   (`LookAgain`).
3. What a receipt says of a segment whose answer was lost proves that the SMSC had it: it does not go again.
4. "Delivered" is true whenever it comes: after "failed", and of a message that is queued again, too.
5. Of a message whose last answer is still out nothing is decided before it comes.
6. Told twice, a receipt changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import bindparam, delete, insert, or_, select, update

from config.receipts import ReceiptClass
from intake.endings import Ending, end_invitations
from intake.outgoing import AGAIN_SEGMENTS, ASKS, OUR_OWN_ACCORD, STATE, TRIES, UNDELIVERED
from intake.pauses import clock_jumped
from models.door import Bulk, Many, Priority, Unit
from models.ids import new_id
from models.reads import PLACES, Read, any_of
from models.tables import invitations, messages, number_routes, opt_outs, receipts, segments
from models.terms import InvitationState, MessageKind, MessageState, SegmentState

__all__ = [
    "KEPT",
    "ForgetReceipts",
    "LookAgain",
    "Matched",
    "NoteReceipts",
    "Noted",
    "ReceiptFacts",
    "ReceiptRules",
    "look_again",
    "settle_answered",
]

KEPT = timedelta(days=3)
"""How long a receipt that found nothing is kept."""
_FORGOTTEN = 64
_FRESH = timedelta(minutes=1)
"""How long a kept receipt is looked at once more, whatever comes: far longer than a transaction takes."""
_SKEW = timedelta(minutes=1)
"""Clocks of several machines: how much earlier than its submit a receipt may seem to be."""


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
    sure: bool = True
    """Nobody but an SMSC writes so; else it only reads like a receipt, and is kept as words too unless it finds its
    message."""


@dataclass(frozen=True, slots=True)
class ReceiptRules:
    """`next_day`: when the next sending day begins; `other_carrier`: whose link to try where this one has no
    route, None: there is none."""

    next_day: Callable[[datetime], datetime]
    other_carrier: Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True)
class Matched:
    """A receipt that found its segment: over which link the message had gone, and what kind it was."""

    link: str
    kind: ReceiptClass
    message_kind: MessageKind
    message_id: str


@dataclass(frozen=True, slots=True)
class Noted:
    """`matched`: receipts that said something new; `words`: places of those that may be no receipts after all; `kept`:
    how many more than before wait for their segment."""

    matched: tuple[Matched, ...]
    kept: int = 0
    words: frozenset[int] = frozenset()


# ── the commands ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class NoteReceipts:
    """Receipts from a link, stored before they are answered."""

    receipts: tuple[ReceiptFacts, ...]
    now: datetime
    rules: ReceiptRules
    priority: ClassVar[Priority] = Priority.INBOUND

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[NoteReceipts]) -> list[Noted]:
        return [command._note(unit) for command in commands]

    def _note(self, unit: Unit) -> Noted:
        facts = [_storable(fact) for fact in self.receipts]
        found = _match(unit, facts)
        # Those that may be words, too: the answer to their submit may be still to come.
        kept = [fact for fact, row in zip(facts, found, strict=True) if row is None]
        words = frozenset(
            place for place, (fact, row) in enumerate(zip(facts, found, strict=True)) if row is None and not fact.sure
        )
        _keep(unit, kept)
        matched = _apply(
            unit,
            [(fact, row) for fact, row in zip(facts, found, strict=True) if row is not None],
            self.rules,
            self.now,
        )
        return Noted(matched, len(kept), words)


@dataclass(frozen=True, slots=True)
class ForgetReceipts:
    """Receipts that found nothing for KEPT. Result: how many went; 64: there may be more."""

    now: datetime
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[ForgetReceipts]) -> list[int]:
        results = []
        for command in commands:
            if clock_jumped(unit):
                results.append(0)
                continue
            old = select(receipts.c.id).where(receipts.c.received_at < command.now - KEPT).limit(_FORGOTTEN)
            results.append(unit.execute(delete(receipts).where(receipts.c.id.in_(old))).rowcount)
        return results


@dataclass(frozen=True, slots=True)
class LookAgain:
    """The newest kept receipts, once more. Where one process serves the database there is nothing to be found by it."""

    now: datetime
    rules: ReceiptRules
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[LookAgain]) -> list[Noted]:
        return [command._look(unit) for command in commands]

    def _look(self, unit: Unit) -> Noted:
        # By the key, and in both directions: a clock that was turned hides none.
        fresh = [row.id for row in _NEWEST.rows(unit) if abs(row.received_at - self.now) < _FRESH]
        # Locked, so that no two processes apply one receipt at the same time.
        return _read_again(unit, _KEPT_TO_READ.rows(unit, values=fresh), self.rules, self.now) if fresh else Noted(())


def look_again(
    unit: Unit, ids: Collection[str], hashes: Collection[bytes], rules: ReceiptRules, now: datetime
) -> Noted:
    """Kept receipts that may have found their segment by now: of these ids (in their normal form) and numbers."""
    kept: dict[str, Any] = {}
    if ids:
        kin = list({form for each in ids for form in _other_forms(each)})
        kept |= {row.id: row for row in _KEPT_OF_IDS.rows(unit, values=kin)}
    if hashes:
        kept |= {row.id: row for row in _KEPT_OF_NUMBERS.rows(unit, values=list(hashes))}
    return _read_again(unit, list(kept.values()), rules, now)


def _read_again(unit: Unit, kept: Sequence[Any], rules: ReceiptRules, now: datetime) -> Noted:
    if not kept:
        return Noted(())
    rows = sorted(kept, key=lambda row: (row.received_at, row.id))
    facts = [_fact(row) for row in rows]
    found = _match(unit, facts)
    unit.many(_FOUND, [(row.id,) for row, segment in zip(rows, found, strict=True) if segment is not None])
    pairs = [(fact, segment) for fact, segment in zip(facts, found, strict=True) if segment is not None]
    return Noted(_apply(unit, pairs, rules, now), -len(pairs))


def settle_answered(unit: Unit, message_ids: Sequence[str], rules: ReceiptRules, now: datetime) -> None:
    """Messages of several segments whose last answer has come: what receipts of some of them said by then (rule 5)."""
    rows = {row.message_id: row for row in _RECEIPTED.rows(unit, values=message_ids)}
    if not rows:
        return
    states = _segment_states(unit, list(rows))
    bad: dict[str, ReceiptClass] = {}
    for row in _BAD_RECEIPTS.rows(unit, (SegmentState.FAILED.value,), list(rows)):
        kind = ReceiptClass(row.receipt)
        if kind in _BAD:
            bad[row.message_id] = _worse(bad.get(row.message_id), kind)
    _settle(unit, rows, states, bad, rules, now)


_MOST_REFERENCE = 0xFFFF
"""user_message_reference has 16 bits (SMPP 3.4, 5.3.2.17); more is none of ours."""


def _storable(fact: ReceiptFacts) -> ReceiptFacts:
    """Without what PostgreSQL refuses and an SMSC may send all the same: it would be sent again for ever."""
    strange = fact.reference is not None and not 0 <= fact.reference <= _MOST_REFERENCE
    if strange or "\0" in fact.text or any("\0" in form for form in fact.forms):
        return replace(
            fact,
            text=fact.text.replace("\0", ""),
            forms=tuple(form for form in fact.forms if "\0" not in form),
            reference=None if strange else fact.reference,
        )
    return fact


# ── kept ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

_KEEP = Bulk(receipts)
_KEPT_OF_IDS = Read(select(receipts).where(any_of(receipts.c.smsc_id)), listed=True)
_KEPT_OF_NUMBERS = Read(select(receipts).where(any_of(receipts.c.number_hash)), listed=True)
_NEWEST = Read(select(receipts.c.id, receipts.c.received_at).order_by(receipts.c.id.desc()).limit(PLACES))
_KEPT_TO_READ = Read(select(receipts).where(any_of(receipts.c.id)).with_for_update(skip_locked=True), listed=True)
_FOUND = Many(delete(receipts).where(receipts.c.id == bindparam("receipt_id")), ("receipt_id",))


def _keep(unit: Unit, facts: Sequence[ReceiptFacts]) -> None:
    unit.insert(
        _KEEP,
        [
            (
                new_id(),
                " ".join(fact.links),
                fact.forms[0][:80] if fact.forms else None,
                " ".join(fact.forms) or None,
                fact.number_hash,
                fact.our_number[:32],
                fact.reference,
                fact.kind.value,
                fact.text[:80],
                fact.at,
            )
            for fact in facts
        ],
    )


def _fact(row: Any) -> ReceiptFacts:
    return ReceiptFacts(
        ReceiptClass(row.receipt),
        row.receipt_text or "",
        tuple(row.links.split()),
        tuple((row.forms or "").split()),
        row.number_hash,
        row.our_number or "",
        row.reference,
        row.received_at,
    )


def _other_forms(smsc_id: str) -> Iterable[str]:
    """An answer's id as a receipt may have written it: as it is, in hex, in decimal (sms/receipts.py, `id_forms`)."""
    yield smsc_id
    if smsc_id.isascii():
        if smsc_id.isdecimal():
            yield f"{int(smsc_id):x}"
        if smsc_id.isalnum():
            try:
                yield str(int(smsc_id, 16))
            except ValueError:
                return


# ── which segment ─────────────────────────────────────────────────────────────────────────────────────────────────────

_SEGMENT = (
    select(
        segments.c.message_id,
        segments.c.number,
        segments.c.state.label("segment_state"),
        segments.c.link.label("over"),
        segments.c.smsc_id,
        segments.c.submitted_at,
        messages.c.state,
        messages.c.kind,
        messages.c.total,
        messages.c.tries,
        messages.c.carrier,
        messages.c.reason,
        messages.c.not_after,
        messages.c.invitation_id,
        messages.c.our_number,
        messages.c.reference,
        messages.c.number_kind,
        messages.c.number_sealed,
        messages.c.number_hash,
        messages.c.number_tail,
        messages.c.number_key_id,
    )
    .select_from(segments)
    .join(messages, messages.c.id == segments.c.message_id)
)
_BY_IDS = Read(_SEGMENT.where(any_of(segments.c.smsc_id)), listed=True)
_OF_NUMBERS = Read(
    _SEGMENT.where(
        any_of(messages.c.number_hash),
        or_(
            *(
                messages.c.state == state.value
                for state in (MessageState.UNKNOWN, MessageState.HANDED, MessageState.QUEUED, MessageState.FAILED)
            )
        ),
    ),
    listed=True,
)
_RECEIPTED = Read(_SEGMENT.where(any_of(segments.c.message_id), segments.c.receipt.is_not(None)), listed=True)


def _match(unit: Unit, facts: Sequence[ReceiptFacts]) -> list[Any]:
    """The segment of each receipt, None where there is none (rule 1)."""
    found: list[Any] = [None] * len(facts)
    # The surest form of each first: it is nearly always the right one.
    left = _by_form(unit, facts, found, [(place, fact.forms[:1]) for place, fact in enumerate(facts)])
    left = _by_form(unit, facts, found, [(place, facts[place].forms[1:]) for place in left])
    pairs = [place for place in left if facts[place].number_hash is not None]
    if pairs:
        lost = _lost_segments(unit, [facts[place].number_hash for place in pairs])
        taken: set[tuple[str, int]] = set()
        for place in pairs:
            fact = facts[place]
            those = [
                one
                for one in lost.get(fact.number_hash or b"", ())
                if one.our_number == fact.our_number
                and one.over in fact.links
                and one.submitted_at <= fact.at + _SKEW
                and (one.message_id, one.number) not in taken
            ]
            if those:
                # An echoed reference decides; SMSCs put their own there, too, so it decides nothing alone.
                one = min(those, key=lambda one: fact.reference is None or one.reference != fact.reference)
                taken.add((one.message_id, one.number))
                found[place] = one
    return found


def _by_form(
    unit: Unit, facts: Sequence[ReceiptFacts], found: list[Any], wanted: Sequence[tuple[int, Sequence[str]]]
) -> list[int]:
    """Looks the receipts at these places up by these ids; gives the places that found none."""
    ids = list({form for _, forms in wanted for form in forms})
    by_id: dict[str, list[Any]] = {}
    for row in _BY_IDS.rows(unit, values=ids):
        by_id.setdefault(row.smsc_id, []).append(row)
    left = []
    for place, forms in wanted:
        fact = facts[place]
        for form in forms:
            those = [row for row in by_id.get(form, ()) if row.over in fact.links]
            rows = [row for row in those if fact.number_hash is None or row.number_hash == fact.number_hash]
            if not rows:
                # Its citizen was forgotten meanwhile; an old one only has an id that the SMSC has given again.
                recent = fact.at - KEPT
                rows = [row for row in those if row.number_hash is None and row.submitted_at > recent]
            if rows:
                # An SMSC that begins its ids anew means the newest.
                found[place] = rows[0] if len(rows) == 1 else max(rows, key=lambda row: row.submitted_at)
                break
        else:
            left.append(place)
    return left


def _lost_segments(unit: Unit, hashes: Collection[bytes | None]) -> dict[bytes, list[Any]]:
    """Segments whose answer never came, oldest first, of numbers for which no answer is awaited."""
    rows = _OF_NUMBERS.rows(unit, values=list(set(hashes)))
    rows.sort(key=lambda row: (row.submitted_at, row.message_id, row.number))
    awaited = {row.number_hash for row in rows if row.state == MessageState.HANDED.value}
    lost: dict[bytes, list[Any]] = {}
    for row in rows:
        if row.smsc_id is None and row.number_hash not in awaited and _is_lost(row):
            lost.setdefault(row.number_hash, []).append(row)
    return lost


def _is_lost(row: Any) -> bool:
    if row.state == MessageState.QUEUED.value:  # it was unknown, and is to go once more
        return bool(row.reason == SENT_AGAIN and row.segment_state == SegmentState.WAITING.value)
    if row.state == MessageState.FAILED.value and row.reason != GIVEN_UP:
        return False
    return bool(row.segment_state == SegmentState.UNKNOWN.value)


SENT_AGAIN = "sent_again"
"""The reason of a message whose answer was lost and that no receipt settled: it goes once more."""
GIVEN_UP = "unknown"
"""The reason of one that failed because nothing was heard of it twice."""


# ── what follows ──────────────────────────────────────────────────────────────────────────────────────────────────────

_RECEIPT = Many(
    update(segments)
    .where(segments.c.message_id == bindparam("message"), segments.c.number == bindparam("place"))
    .values(
        state=bindparam("new"),
        receipt=bindparam("verdict"),
        receipt_text=bindparam("words"),
        receipt_at=bindparam("at"),
        smsc_id=bindparam("smsc"),
    ),
    ("message", "place", "new", "verdict", "words", "at", "smsc"),
)
_DELIVERED = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"), messages.c.state != MessageState.HANDED.value)
    .values(state=MessageState.DELIVERED.value, lease_owner=None, settle_at=None, changed_at=bindparam("at")),
    ("message", "at"),
)
_DELIVERED_AFTER_ALL = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"), invitations.c.undelivered)
    .values(undelivered=False, changed_at=bindparam("at")),
    ("invitation", "at"),
)
_ON_ITS_WAY = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"), messages.c.state != MessageState.HANDED.value)
    .values(state=MessageState.SENT.value, settle_at=None, changed_at=bindparam("at")),
    ("message", "at"),
)
_AGAIN = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"), messages.c.state != MessageState.HANDED.value)
    .values(
        state=MessageState.QUEUED.value,
        reason=bindparam("why"),
        carrier=bindparam("whose"),
        not_before=bindparam("when"),
        lease_owner=None,
        settle_at=messages.c.not_after,
        changed_at=bindparam("at"),
    ),
    ("message", "why", "whose", "when", "at"),
)
_STATES = Read(
    select(segments.c.message_id, segments.c.state).where(any_of(segments.c.message_id)),
    listed=True,
)
_BAD_RECEIPTS = Read(
    select(segments.c.message_id, segments.c.receipt).where(
        segments.c.state == bindparam("failed"), segments.c.receipt.is_not(None), any_of(segments.c.message_id)
    ),
    ("failed",),
    listed=True,
)

_BAD = (
    ReceiptClass.BLACKLISTED,
    ReceiptClass.DEAD_NUMBER,
    ReceiptClass.BLOCKED,
    ReceiptClass.NO_ROUTE,
    ReceiptClass.LATER,
    ReceiptClass.FAILED,
)
"""Not delivered; of two segments' receipts the first of these counts."""
_OF_THE_NUMBER_OR_TEXT = frozenset({ReceiptClass.BLACKLISTED, ReceiptClass.DEAD_NUMBER, ReceiptClass.BLOCKED})
"""To send it again would change nothing."""


def _worse(one: ReceiptClass | None, other: ReceiptClass) -> ReceiptClass:
    return other if one is None else min(one, other, key=_BAD.index)


def _segment_after(row: Any, state: str, kind: ReceiptClass) -> str | None:
    """The state of a segment after a receipt; None: it says nothing new (rules 3, 4, 6)."""
    if state == SegmentState.DELIVERED.value:
        return None
    if kind is ReceiptClass.DELIVERED:
        return SegmentState.DELIVERED.value
    if state == SegmentState.FAILED.value:
        return None
    if kind not in _BAD:
        lost = row.smsc_id is None and state in (SegmentState.UNKNOWN.value, SegmentState.WAITING.value)
        return SegmentState.ACCEPTED.value if lost else state
    if state == SegmentState.WAITING.value and kind not in _OF_THE_NUMBER_OR_TEXT:
        return None  # it is to go again anyway
    return SegmentState.FAILED.value


def _apply(
    unit: Unit, pairs: Sequence[tuple[ReceiptFacts, Any]], rules: ReceiptRules, now: datetime
) -> tuple[Matched, ...]:
    """Notes receipts on their segments, then does what follows for the messages."""
    if not pairs:
        return ()
    states: dict[tuple[str, int], str] = {}
    notes: list[tuple[Any, ...]] = []
    rows: dict[str, Any] = {}
    bad_at: dict[tuple[str, int], ReceiptClass] = {}
    matched: list[Matched] = []
    for fact, row in pairs:
        place = (row.message_id, row.number)
        state = _segment_after(row, states.get(place, row.segment_state), fact.kind)
        if state is None:
            continue
        states[place] = state
        smsc_id = row.smsc_id or (fact.forms[0][:80] if fact.forms else None)
        notes.append((row.message_id, row.number, state, fact.kind.value, fact.text[:80], fact.at, smsc_id))
        matched.append(Matched(row.over, fact.kind, MessageKind(row.kind), row.message_id))
        rows[row.message_id] = row
        if fact.kind in _BAD:
            bad_at[place] = fact.kind
        elif fact.kind is ReceiptClass.DELIVERED:
            bad_at.pop(place, None)
    unit.many(_RECEIPT, notes)
    bad: dict[str, ReceiptClass] = {}
    for (identity, _), kind in bad_at.items():
        bad[identity] = _worse(bad.get(identity), kind)
    several = [identity for identity, row in rows.items() if (row.total or 1) > 1]
    after = _segment_states(unit, several)
    for (identity, _), state in states.items():
        if identity not in after:
            after[identity] = {state}
    _settle(unit, rows, after, bad, rules, now)
    return tuple(matched)


def _segment_states(unit: Unit, message_ids: Sequence[str]) -> dict[str, set[str]]:
    states: dict[str, set[str]] = {}
    for row in _STATES.rows(unit, values=message_ids):
        states.setdefault(row.message_id, set()).add(row.state)
    return states


def _settle(
    unit: Unit,
    rows: Mapping[str, Any],
    states: Mapping[str, set[str]],
    bad: Mapping[str, ReceiptClass],
    rules: ReceiptRules,
    now: datetime,
) -> None:
    """The messages of segments that got a receipt. `states`: of all segments of each; `bad`: what is new and bad."""
    group = _Settling(unit, rules, now)
    for identity, row in rows.items():
        left = states[identity]
        kind = bad.get(identity)
        if kind is ReceiptClass.BLACKLISTED and row.number_hash is not None:
            _carrier_opt_out(unit, row, now)
        if row.state == MessageState.HANDED.value:
            continue  # rule 5
        if kind is not None:
            group.not_delivered(row, kind)
        elif left == {SegmentState.DELIVERED.value}:
            group.all_delivered(row)
        elif row.state in _MAY_GO_ON:
            group.heard_of(row, left)
    group.store()


_MAY_GO_ON = frozenset({MessageState.UNKNOWN.value, MessageState.QUEUED.value})
_MAY_FAIL = frozenset({MessageState.SENT.value, MessageState.UNKNOWN.value, MessageState.QUEUED.value})


class _Settling:
    """What follows for the messages of one group, table by table."""

    def __init__(self, unit: Unit, rules: ReceiptRules, now: datetime) -> None:
        self.unit = unit
        self.rules = rules
        self.now = now
        self.delivered: list[tuple[Any, ...]] = []
        self.on_their_way: list[tuple[Any, ...]] = []
        self.failed: list[tuple[Any, ...]] = []
        self.again: list[tuple[Any, ...]] = []
        self.waiting: list[tuple[Any, ...]] = []
        self.undelivered: list[tuple[Any, ...]] = []
        self.after_all: list[tuple[Any, ...]] = []

    def not_delivered(self, row: Any, kind: ReceiptClass) -> None:
        if row.state not in _MAY_FAIL:
            return  # it has failed by another segment, or was cancelled: nothing goes again
        again = self._next_try(row, kind)
        if again is None:
            self.failed.append((row.message_id, MessageState.FAILED.value, kind.value, None, self.now))
        else:
            self.waiting.append((row.message_id,))
            self.again.append((row.message_id, kind.value, *again, self.now))
        if row.invitation_id is not None and row.kind in ASKS:
            self.undelivered.append((row.invitation_id, self.now))

    def all_delivered(self, row: Any) -> None:
        self.delivered.append((row.message_id, self.now))
        if row.reason == ReceiptClass.NO_ROUTE.value and row.number_hash is not None:
            _learn_route(self.unit, row, self.now)
        if row.reason is not None and row.invitation_id is not None and row.kind in ASKS:
            self.after_all.append((row.invitation_id, self.now))

    def heard_of(self, row: Any, left: Collection[str]) -> None:
        """A message whose answers were lost, some segments of which the SMSC is known to have."""
        if SegmentState.UNKNOWN.value in left:
            return
        if SegmentState.WAITING.value not in left:
            self.on_their_way.append((row.message_id, self.now))
        elif row.state == MessageState.UNKNOWN.value:
            # Some had never been given to the link.
            self.again.append((row.message_id, SENT_AGAIN, row.carrier or "", self.now, self.now))

    def _next_try(self, row: Any, kind: ReceiptClass) -> tuple[str, datetime] | None:
        """Over whose link and when it goes again: only our own asking, once, and not too late."""
        if (row.tries or 0) >= TRIES or MessageKind(row.kind) not in OUR_OWN_ACCORD:
            return None
        if kind is ReceiptClass.LATER:
            when = self.rules.next_day(self.now)
            return None if row.not_after is not None and when > row.not_after else (row.carrier or "", when)
        if kind is ReceiptClass.NO_ROUTE:
            other = self.rules.other_carrier(row.carrier or "", row.over)
            return None if other is None else (other, self.now)
        return None

    def store(self) -> None:
        unit = self.unit
        unit.many(_DELIVERED, self.delivered)
        unit.many(_ON_ITS_WAY, self.on_their_way)
        unit.many(STATE, self.failed)
        unit.many(AGAIN_SEGMENTS, self.waiting)
        unit.many(_AGAIN, self.again)
        unit.many(UNDELIVERED, self.undelivered)
        unit.many(_DELIVERED_AFTER_ALL, self.after_all)


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
    waiting = unit.execute(
        select(invitations.c.id)
        .where(invitations.c.number_hash == row.number_hash, invitations.c.state == InvitationState.WAITING.value)
        .with_for_update()
    ).scalars()
    end_invitations(
        unit, [Ending(identity, InvitationState.IMPOSSIBLE, "carrier_opt_out", now) for identity in waiting]
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
