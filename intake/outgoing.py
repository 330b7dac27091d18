"""Our SMS in the queue: how they get in, and how they leave it unsent.

Rules of everything that sends, kept here and in intake/claims.py (the queue → a link), intake/answers.py (what a link
answered, and what nobody answered) and intake/receipts.py (状态报告); docs/data-model.md, `messages` and `segments`:

1. Nothing is queued twice for one reason: `once_key` is unique, over restarts and on several machines.
2. A message is `handed`, its segments stored, before a link gets it. Whoever dies between leaves it `handed`; when its
   lease is over it is `unknown`, exactly as if the answer had been lost, for nobody can tell the two apart.
3. What is `unknown` waits for a receipt. Without one it goes once more, only the segments not known delivered; after
   that it has failed.
4. Messages to one number keep their order: none is handed while an earlier one of that number is due or under way.
5. A receipt that finds no segment is kept: it may be earlier than the answer that brings its id, or stand for a segment
   whose answer never came.
6. What is sent of our own accord goes inside the sending hours, and not while a message of that citizen is stored and
   unread; an answer to a citizen goes at once or not at all.
7. What is no longer wanted when its turn comes is cancelled: its invitation is over, its number opted out or forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from json import JSONEncoder
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from intake.endings import Ending, end_invitations
from models.door import Bulk, Many, Unit
from models.reads import Read, any_of
from models.tables import invitations, messages, segments
from models.terms import InvitationState, MessageKind, MessageState, SegmentState

__all__ = [
    "AGAIN_SEGMENTS",
    "ASKS",
    "OUR_OWN_ACCORD",
    "STATE",
    "TRIES",
    "UNDELIVERED",
    "NewMessage",
    "StoredNumber",
    "Unsent",
    "leave_unsent",
    "queue_messages",
]

OUR_OWN_ACCORD = frozenset({MessageKind.INVITATION, MessageKind.REMINDER, MessageKind.BY_HAND})
"""Kinds bound to the sending hours and to the daily cap."""
ASKS = frozenset({MessageKind.INVITATION.value, MessageKind.REMINDER.value})
"""Kinds whose failure makes their invitation `undelivered`."""
TRIES = 2
"""How often a message is handed to a link at most, those apart that the SMSC was too busy for or refused for no reason
of the message."""


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


# ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

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
_KNOWN = Read(select(messages.c.once_key).where(any_of(messages.c.once_key)), listed=True)
_json = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def queue_messages(unit: Unit, new: Sequence[NewMessage], now: datetime) -> list[bool]:
    """Queues messages. False: one was queued for the same reason before, and nothing was stored (rule 1)."""
    if not new:
        return []
    known = {row.once_key for row in _KNOWN.rows(unit, values=[message.once_key for message in new])}
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
                _json(dict(message.fields)),
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


# ── out, unsent ───────────────────────────────────────────────────────────────────────────────────────────────────────

STATE = Many(
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
UNDELIVERED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(undelivered=True, changed_at=bindparam("at")),
    ("invitation", "at"),
)
AGAIN_SEGMENTS = Many(
    update(segments)
    .where(segments.c.message_id == bindparam("message"), segments.c.state != SegmentState.DELIVERED.value)
    .values(state=SegmentState.WAITING.value),
    ("message",),
)
"""A message goes again: all of it that is not known delivered. Its ids stay until then: a late receipt may name one."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A queued message that is not sent: for which state (FAILED, CANCELLED), why. The rest: its row."""

    message_id: str
    state: MessageState
    reason: str
    kind: str
    invitation_id: str | None
    invitation_state: str | None


def leave_unsent(unit: Unit, unsent: Sequence[Unsent], now: datetime) -> None:
    """Stores that these are not sent. An invitation that has not been asked by then never is: it is impossible."""
    if not unsent:
        return
    unit.many(STATE, [(one.message_id, one.state.value, one.reason[:64], None, now) for one in unsent])
    asks = [one for one in unsent if one.invitation_id is not None and one.kind in ASKS]
    unit.many(
        UNDELIVERED,
        [
            (one.invitation_id, now)
            for one in asks
            if one.state is MessageState.FAILED and one.invitation_state == InvitationState.ASKED.value
        ],
    )
    end_invitations(
        unit,
        [
            Ending(
                one.invitation_id,
                InvitationState.IMPOSSIBLE,
                "unsent" if one.reason == "too_late" else one.reason[:64],
                now,
            )
            for one in asks
            if one.invitation_id is not None
            and one.kind == MessageKind.INVITATION.value
            and one.invitation_state == InvitationState.WAITING.value
        ],
    )
