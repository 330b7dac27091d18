"""How long personal data is kept (`[privacy]`): what is older goes, in groups of 64, oldest first.

Rules kept here (what goes of which row: intake/blanking.py):

1. A walk goes through one table by the index of its ids, which sort by time, and `meta` remembers how far it came: a
   round with nothing to do reads one row a table, at whatever size. It stops at the first row that is young enough, by
   that row's own time. A period made shorter takes up what it now reaches; one made longer brings nothing back.
2. A group is one transaction with its mark in `meta`. On PostgreSQL whoever holds the mark walks; others leave it at
   that, and what was blanked twice is blanked.
3. Words that the centre has not answered for wait in `forgetting`; they are not hurried.
4. An invitation that is still open when its number's time is over has expired.
5. While a jump of the clock waits for a word nothing is old (intake/pauses.py).
6. Push batches go whole when they are answered and old. One that is still open holds up those made after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import Column, Select, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from intake.blanking import (
    GROUP,
    NO_NUMBER,
    blank_acts,
    blank_numbers_of_nobody,
    blank_ratings,
    blank_texts,
    blank_words,
)
from intake.endings import Ending, end_invitations
from intake.pauses import clock_jumped
from models.door import Priority, Unit
from models.tables import (
    audit,
    calls,
    cases,
    codes,
    evaluations,
    invitations,
    messages,
    meta,
    push_batches,
    push_members,
    ratings,
    remarks,
)
from models.terms import Actor, BatchState, InvitationState, MessageState, RetentionKind

__all__ = ["WALKS", "KeepGroup", "Walk", "due_rows"]

REASON = "kept_no_longer"


@dataclass(frozen=True, slots=True)
class Walk:
    """Through one table: which kind of data goes there, by which id and which time, and how.

    Attributes:
        more: columns that `blank` wants to see.
        waits: whether a row is not to be touched yet, however old, nor any behind it.
    """

    name: str
    kind: RetentionKind
    identity: Column[Any]
    time: Column[Any]
    blank: Callable[[Unit, Sequence[Any], KeepGroup], None]
    more: tuple[Column[Any], ...] = ()
    waits: Callable[[Any], bool] = lambda _: False

    @property
    def key(self) -> str:
        """Its mark in `meta`: the id of the last row that it has been at."""
        return f"keeping.{self.name}"


def due_rows(walk: Walk, after: str | None, limit: int) -> Select[Any]:
    """The next rows of a walk, young ones included."""
    wanted = select(walk.identity.label("id"), walk.time.label("time"), *walk.more).order_by(walk.identity).limit(limit)
    return wanted if after is None else wanted.where(walk.identity > after)


@dataclass(frozen=True, slots=True)
class KeepGroup:
    """The next group of a walk. Result: how many rows; GROUP: there may be more.

    `keep`: how long the walk's kind of data is kept; `active_key`: the id of the newest privacy key.
    """

    walk: str
    keep: timedelta
    active_key: int
    now: datetime
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[KeepGroup]) -> list[int]:
        return [command._walk(unit) for command in commands]

    def _walk(self, unit: Unit) -> int:
        walk = WALKS[self.walk]
        if clock_jumped(unit):
            return 0
        mark = unit.execute(select(meta.c.value).where(meta.c.key == walk.key)).scalar_one_or_none() or None
        if not self._old(unit, walk, mark, 1) or not _take_mark(unit, walk, mark):
            return 0
        rows = self._old(unit, walk, mark, GROUP)
        walk.blank(unit, rows, self)
        _set_mark(unit, walk, rows[-1].id)
        return len(rows)

    def _old(self, unit: Unit, walk: Walk, after: str | None, limit: int) -> list[Any]:
        oldest_kept = self.now - self.keep
        old = []
        for row in unit.execute(due_rows(walk, after, limit)).all():
            if row.time > oldest_kept or walk.waits(row):
                break
            old.append(row)
        return old


def _take_mark(unit: Unit, walk: Walk, seen: str | None) -> bool:
    """Locks the mark; False: another process has it, or has moved it since it was read."""
    if unit.is_sqlite:
        return True  # nobody else writes meanwhile
    if seen is None:
        unit.execute(postgresql.insert(meta).values(key=walk.key, value="").on_conflict_do_nothing())
    held = unit.execute(
        select(meta.c.value).where(meta.c.key == walk.key).with_for_update(skip_locked=True)
    ).scalar_one_or_none()
    return held is not None and (held or None) == seen


def _set_mark(unit: Unit, walk: Walk, identity: str) -> None:
    new = (sqlite.insert if unit.is_sqlite else postgresql.insert)(meta).values(key=walk.key, value=identity)
    unit.execute(new.on_conflict_do_update(index_elements=["key"], set_={"value": identity}))


# ── numbers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _ids(rows: Sequence[Any]) -> list[str]:
    return [row.id for row in rows]


def _calls(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    unit.execute(update(calls).where(calls.c.subject_id.in_(_ids(rows))).values(**NO_NUMBER))


def _cases(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    unit.execute(update(cases).where(cases.c.subject_id.in_(_ids(rows))).values(**NO_NUMBER, title=None))


def _invitations(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    """Codes go with the invitation that they stand for now: one that is given anew keeps its row, and its id."""
    ids = _ids(rows)
    still_open = [row.id for row in rows if row.state in _OPEN]
    end_invitations(unit, [Ending(one, InvitationState.EXPIRED, REASON, group.now) for one in still_open])
    unit.execute(update(invitations).where(invitations.c.id.in_(ids)).values(**NO_NUMBER))
    unit.execute(update(invitations).where(invitations.c.id.in_(still_open)).values(remind_at=None, reminder=REASON))
    unit.execute(update(codes).where(codes.c.invitation_id.in_(ids)).values(**NO_NUMBER))


_OPEN = frozenset({InvitationState.WAITING.value, InvitationState.ASKED.value})


def _message_numbers(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    """Routes and opt-outs go with the last SMS of their number: what they say was learnt by one."""
    ids = _ids(rows)
    unit.execute(
        update(messages)
        .where(messages.c.id.in_(ids), messages.c.state == MessageState.QUEUED.value)
        .values(state=MessageState.CANCELLED.value, reason=REASON, settle_at=None, changed_at=group.now)
    )
    unit.execute(update(messages).where(messages.c.id.in_(ids)).values(**NO_NUMBER))
    hashes = {row.number_hash for row in rows if row.number_hash is not None}
    blank_numbers_of_nobody(unit, hashes, group.active_key)


# ── words and texts ───────────────────────────────────────────────────────────────────────────────────────────────────


def _ratings(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    blank_ratings(unit, _ids(rows))


def _evaluations(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    blank_words(unit, group.now, evaluation_ids=_ids(rows), release=False)


def _remarks(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    unit.execute(update(remarks).where(remarks.c.id.in_(_ids(rows))).values(text=None))


def _acts(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    blank_acts(unit, ids=_ids(rows))


def _message_texts(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    blank_texts(unit, _ids(rows), group.now, REASON, Actor.SCHEDULER.value)


def _batches(unit: Unit, rows: Sequence[Any], group: KeepGroup) -> None:
    unit.execute(delete(push_members).where(push_members.c.batch_id.in_(_ids(rows))))
    unit.execute(delete(push_batches).where(push_batches.c.id.in_(_ids(rows))))


WALKS = {
    walk.name: walk
    for walk in (
        Walk("calls", RetentionKind.NUMBERS, calls.c.subject_id, calls.c.created_at, _calls),
        Walk("cases", RetentionKind.NUMBERS, cases.c.subject_id, cases.c.created_at, _cases),
        Walk(
            "invitations",
            RetentionKind.NUMBERS,
            invitations.c.id,
            invitations.c.created_at,
            _invitations,
            (invitations.c.state,),
        ),
        Walk(
            "messages",
            RetentionKind.NUMBERS,
            messages.c.id,
            messages.c.created_at,
            _message_numbers,
            (messages.c.number_hash,),
        ),
        Walk("ratings", RetentionKind.COMMENTS, ratings.c.id, ratings.c.created_at, _ratings),
        Walk("evaluations", RetentionKind.COMMENTS, evaluations.c.id, evaluations.c.created_at, _evaluations),
        Walk("remarks", RetentionKind.COMMENTS, remarks.c.id, remarks.c.at, _remarks),
        Walk("acts", RetentionKind.COMMENTS, audit.c.id, audit.c.at, _acts),
        Walk("texts", RetentionKind.MESSAGES, messages.c.id, messages.c.created_at, _message_texts),
        Walk(
            "batches",
            RetentionKind.PUSHES,
            push_batches.c.id,
            push_batches.c.created_at,
            _batches,
            (push_batches.c.state,),
            waits=lambda row: row.state == BatchState.OPEN.value,
        ),
    )
}
