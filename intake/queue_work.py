"""What people do with what waits for them: they take it, and say what it was. Assigning a reply: intake/assigning.py.

Rules kept here:

1. Each command locks its items and looks again: who comes second finds it done, and is told by whom. Running a command
   twice has the effect of once.
2. An item has one owner at a time. Who acts on what nobody has taken takes it with that; what somebody else has taken
   is theirs until it is taken over by a word of its own.
3. A person handles only what they may see (`Person`), and what they may not see is as if it were not there.
4. What a reply was is said by a supervisor alone, who dismisses it or ties it to an invitation: it may be about whoever
   reads it. Everybody may take one, and ask the citizen once more (docs/console.md).
5. 自称误评 is dismissed with a word about it or goes to a work order, nothing else; nothing here changes a level.
6. Each act is a row of the audit, without texts and numbers: what, which kind, how. What somebody types about an item
   stands with the item.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, delete, insert, literal_column, select, update

from intake.conversation import Outcome
from intake.replies import REPLY_COLUMNS
from models.door import Bulk, Priority, Unit
from models.ids import new_id
from models.tables import audit, cases, evaluations, messages, outbox, work_owners
from models.terms import HandledAs, MessageState, OutboxState, QueueReason, Satisfaction, WorkKind

__all__ = [
    "LONGEST_NOTE",
    "MOST_ITEMS",
    "WAYS",
    "Did",
    "Dismiss",
    "Done",
    "Person",
    "Refusal",
    "TakeWork",
    "Taking",
    "WorkAction",
    "forget_owners",
    "lock_replies",
    "needs_note",
    "note_work",
    "owners",
    "settle_reply",
    "stands_in_the_way",
    "ways_of",
]

MOST_ITEMS = 64
"""Items of one command: one small transaction."""
LONGEST_NOTE = 200


class WorkAction(StrEnum):
    """`audit.action` of what people do with the queues."""

    TAKEN = "work.taken"
    RELEASED = "work.released"
    ASSIGNED = "reply.assigned"
    ASKED = "reply.asked"
    DISMISSED = "reply.dismissed"
    FAILURE_SEEN = "failure.seen"


class Did(StrEnum):
    """What became of one item."""

    DONE = "done"
    STALE = "stale"
    """Somebody has handled it before."""
    OWNED = "owned"
    """It is somebody else's."""
    REFUSED = "refused"
    GONE = "gone"
    """There is none, or none that this person may see."""
    REREAD = "reread"
    """The digits were read by another key map than the invitation's: read it again by that one."""


class Refusal(StrEnum):
    """Why something is not done."""

    NOT_THIS_WAY = "not_this_way"
    SUPERVISORS_ALONE = "supervisors_alone"
    NOT_ALL_SEEN = "not_all_seen"
    NEEDS_NOTE = "needs_note"
    COUNTED = "counted"
    UNREADABLE = "unreadable"
    UNKNOWN_INVITATION = "unknown_invitation"
    NOT_CLEAR = "not_clear"
    """No invitation fits, or several do, or another one than was shown: somebody has to choose."""
    WITHDRAWN = "withdrawn"
    TOO_LATE = "too_late"
    RATED = "rated"
    NOT_ASKED = "not_asked"
    NO_CODE = "no_code"
    OPTED_OUT = "opted_out"
    CAPPED = "capped"
    ASKED_BEFORE = "asked_before"
    NUMBER_UNREADABLE = "number_unreadable"


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts, and which rows they may act on: conditions over the tables they are named after.

    `whole`: invitations of which they see every call and case; `settles`: whether they may say what a reply was.
    """

    actor: str
    messages: ColumnElement[bool]
    invitations: ColumnElement[bool]
    evaluations: ColumnElement[bool]
    cases: ColumnElement[bool]
    whole: ColumnElement[bool]
    settles: bool


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one item.

    `by`, `at`: who did it before, or owns it; `outcome`, `satisfaction`: of an assigned reply; `key_map`: with REREAD;
    `pushes`: something is due to go to the centre; `sends_at`: when the SMS that was queued may go.
    """

    item_id: str
    did: Did
    by: str | None = None
    at: datetime | None = None
    why: Refusal | None = None
    outcome: Outcome | None = None
    satisfaction: Satisfaction | None = None
    key_map: str | None = None
    pushes: bool = False
    sends_at: datetime | None = None


# ── which ways there are ──────────────────────────────────────────────────────────────────────────────────────────────

_OF_A_REPLY = (HandledAs.WORK_ORDER, HandledAs.IRRELEVANT, HandledAs.HARASSMENT, HandledAs.AUTOMATIC)
WAYS: dict[QueueReason, tuple[HandledAs, ...]] = {
    **dict.fromkeys(QueueReason, _OF_A_REPLY),
    QueueReason.MISTAKEN: (HandledAs.WORK_ORDER, HandledAs.NOTED),
    QueueReason.PRESSURE: (*_OF_A_REPLY, HandledAs.NOTED),
}
"""How a reply may be dismissed."""
_OF_A_FAILURE = (HandledAs.WORK_ORDER, HandledAs.NOTED)


def ways_of(kind: WorkKind, reason: QueueReason | None) -> tuple[HandledAs, ...]:
    """How an item may be dismissed; `reason`: of a reply."""
    if kind is WorkKind.FAILURE:
        return _OF_A_FAILURE
    return WAYS[reason] if kind is WorkKind.REPLY and reason is not None else ()


def needs_note(kind: WorkKind, how: HandledAs) -> bool:
    """A work order has its number, and who notes a reply has something to say about it."""
    return how is HandledAs.WORK_ORDER or (how is HandledAs.NOTED and kind is WorkKind.REPLY)


# ── items and their owners ────────────────────────────────────────────────────────────────────────────────────────────


def lock_replies(unit: Unit, ids: Collection[str], person: Person) -> dict[str, Any]:
    """Those of these replies that this person may see and that wait or waited for a person, locked."""
    statement = (
        select(
            *REPLY_COLUMNS,
            messages.c.text,
            messages.c.reason,
            messages.c.outcome,
            messages.c.why,
            messages.c.satisfaction,
            messages.c.invitation_id,
            messages.c.queue,
            messages.c.queue_note,
            messages.c.handled_at,
            messages.c.handled_by,
        )
        .where(
            messages.c.id.in_(ids),
            messages.c.state == MessageState.READ.value,
            messages.c.queue.is_not(None),
            person.messages,
        )
        .order_by(messages.c.id)
        .with_for_update(of=messages)
    )
    return {row.id: row for row in unit.execute(statement)}


def owners(unit: Unit, kind: WorkKind, ids: Collection[str]) -> dict[str, Any]:
    """Who has taken what. Asked once the items are locked."""
    found = unit.execute(
        select(work_owners).where(work_owners.c.kind == kind.value, work_owners.c.item_id.in_(list(ids)))
    )
    return {row.item_id: row for row in found}


def stands_in_the_way(item_id: str, row: Any, owner: Any, person: Person) -> Done | None:
    """Why this person cannot act on an item (`row` None: there is none); None: they can."""
    if row is None:
        return Done(item_id, Did.GONE)
    if row.handled_at is not None:
        return Done(item_id, Did.STALE, row.handled_by, row.handled_at)
    if owner is not None and owner.owner != person.actor:
        return Done(item_id, Did.OWNED, owner.owner, owner.taken_at)
    return None


_AUDIT = Bulk(audit)


def note_work(
    unit: Unit, now: datetime, person: Person, action: WorkAction, lines: Iterable[tuple[str | None, str]]
) -> None:
    """Lines of the audit: the subject or item, and words of ours."""
    unit.insert(_AUDIT, [(new_id(), now, person.actor, action.value, item, detail) for item, detail in lines])


def forget_owners(unit: Any, kind: WorkKind, ids: Collection[str]) -> None:
    """What is done is nobody's any more; `handled_by` says who did it."""
    unit.execute(delete(work_owners).where(work_owners.c.kind == kind.value, work_owners.c.item_id.in_(list(ids))))


def settle_reply(
    unit: Unit, now: datetime, person: Person, ids: Collection[str], how: HandledAs, words: str | None
) -> None:
    """Messages are handled."""
    unit.execute(
        update(messages)
        .where(messages.c.id.in_(list(ids)))
        .values(handled_at=now, handled_by=person.actor, handled_as=how.value, handled_note=words, changed_at=now)
    )


# ── taking ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Taking(StrEnum):
    """领取, 接手 (from somebody else), 放回."""

    TAKE = "take"
    TAKE_OVER = "take_over"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class TakeWork:
    """Makes a person the owner of items, or gives them back. Result: a `Done` for each id, in their order."""

    kind: WorkKind
    ids: tuple[str, ...]
    person: Person
    now: datetime
    how: Taking = Taking.TAKE
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[TakeWork]) -> list[list[Done]]:
        return [command._take(unit) for command in commands]

    def _take(self, unit: Unit) -> list[Done]:
        rows = _lock(unit, self.kind, self.ids, self.person)
        owned = owners(unit, self.kind, self.ids)
        results: dict[str, Done] = {}
        changed: list[str] = []
        for item_id in dict.fromkeys(self.ids):
            owner = owned.get(item_id)
            theirs = stands_in_the_way(item_id, rows.get(item_id), owner, self.person)
            over = self.how is Taking.TAKE_OVER and theirs is not None and theirs.did is Did.OWNED
            if theirs is not None and not over:
                results[item_id] = theirs
                continue
            results[item_id] = Done(item_id, Did.DONE)
            if (owner is not None) is (self.how is Taking.RELEASE) or over:
                changed.append(item_id)
        if changed:
            forget_owners(unit, self.kind, changed)
            if self.how is not Taking.RELEASE:
                unit.execute(
                    insert(work_owners),
                    [
                        {"kind": self.kind.value, "item_id": one, "owner": self.person.actor, "taken_at": self.now}
                        for one in changed
                    ],
                )
            action = WorkAction.RELEASED if self.how is Taking.RELEASE else WorkAction.TAKEN
            note_work(unit, self.now, self.person, action, ((one, self.kind.value) for one in changed))
        return [results[item_id] for item_id in self.ids]


def _lock(unit: Unit, kind: WorkKind, ids: Collection[str], person: Person) -> dict[str, Any]:
    """The items that are there and that this person may see, locked, each with `handled_at` and `handled_by`."""
    if kind is WorkKind.REPLY:
        return lock_replies(unit, ids, person)
    if kind is WorkKind.FAILURE:
        return _lock_failures(unit, ids, person)
    nobody: tuple[Any, ...] = (literal_column("NULL").label("handled_at"), literal_column("NULL").label("handled_by"))
    if kind is WorkKind.LETTER:
        statement = (
            select(outbox.c.evaluation_id.label("id"), *nobody)
            .join(
                evaluations,
                (evaluations.c.subject_id == outbox.c.subject_id)
                & (evaluations.c.assess_number == outbox.c.assess_number),
            )
            .where(outbox.c.evaluation_id.in_(ids), outbox.c.state == OutboxState.DEAD.value, person.evaluations)
            .order_by(outbox.c.evaluation_id)
            .with_for_update(of=outbox)
        )
    else:
        statement = (
            select(cases.c.subject_id.label("id"), *nobody)
            .where(cases.c.subject_id.in_(ids), cases.c.provisional, person.cases)
            .order_by(cases.c.subject_id)
            .with_for_update(of=cases)
        )
    return {row.id: row for row in unit.execute(statement)}


def _lock_failures(unit: Unit, ids: Collection[str], person: Person) -> dict[str, Any]:
    statement = (
        select(
            messages.c.id,
            messages.c.invitation_id,
            messages.c.handled_at,
            messages.c.handled_by,
            literal_column("NULL").label("queue"),
        )
        .where(
            messages.c.id.in_(ids),
            messages.c.state == MessageState.FAILED.value,
            messages.c.direction == "out",
            person.messages,
        )
        .order_by(messages.c.id)
        .with_for_update(of=messages)
    )
    return {row.id: row for row in unit.execute(statement)}


# ── dismissing ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Says what replies, or failed SMS, were. Result: a `Done` for each id, in their order.

    `words`: the work order's number, or a word about it; numbers of telephones are masked by who makes the command.
    """

    kind: WorkKind
    ids: tuple[str, ...]
    how: HandledAs
    words: str
    person: Person
    now: datetime
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Dismiss]) -> list[list[Done]]:
        return [command._dismiss(unit) for command in commands]

    def _dismiss(self, unit: Unit) -> list[Done]:
        rows = _lock(unit, self.kind, self.ids, self.person)
        owned = owners(unit, self.kind, self.ids)
        results: dict[str, Done] = {}
        done: list[str] = []
        for item_id in dict.fromkeys(self.ids):
            row = rows.get(item_id)
            refused = stands_in_the_way(item_id, row, owned.get(item_id), self.person) or self._refusal(item_id, row)
            results[item_id] = refused or Done(item_id, Did.DONE)
            if refused is None:
                done.append(item_id)
        if done:
            settle_reply(unit, self.now, self.person, done, self.how, self.words[:LONGEST_NOTE] or None)
            forget_owners(unit, self.kind, done)
            action = WorkAction.DISMISSED if self.kind is WorkKind.REPLY else WorkAction.FAILURE_SEEN
            told = " ".join
            note_work(
                unit,
                self.now,
                self.person,
                action,
                ((one, told(filter(None, (rows[one].queue, self.how.value)))) for one in done),
            )
        return [results[item_id] for item_id in self.ids]

    def _refusal(self, item_id: str, row: Any) -> Done | None:
        if not self.person.settles:
            return Done(item_id, Did.REFUSED, why=Refusal.SUPERVISORS_ALONE)
        reason = QueueReason(row.queue) if row.queue is not None else None
        if self.how not in ways_of(self.kind, reason):
            return Done(item_id, Did.REFUSED, why=Refusal.NOT_THIS_WAY)
        if needs_note(self.kind, self.how) and not self.words.strip():
            return Done(item_id, Did.REFUSED, why=Refusal.NEEDS_NOTE)
        return None
