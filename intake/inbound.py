"""Citizens' SMS as they come in: each deliver_sm is stored, whole, before the SMSC hears that we have it.

Rules kept here (docs/data-model.md, `messages` and `parts`):

1. A repeat of a stored one is acknowledged and stored no second time. It has the link group, source, destination,
   esm_class, coding and bytes of one stored less than the repeat window ago whose response is not known to have reached
   the SMSC. Which responses are known is in the memory of the process that gave them (`confirmed`); what another
   process or an earlier life stored counts as not known.
2. Parts of a long message find each other by a keyed hash of what they have in common, in any order, over restarts and
   several processes. A part that is there already, byte for byte, is not stored twice.
3. A message is `unread` once it is whole, or once its time is over (`HandOnPartial`; its `reason` says incomplete). A
   part that comes later still is stored with it and makes no second message.
4. A part with other bytes than the one of its number is of another message: handsets and gateways use a reference
   again, constantly the same one even. The message that waited is handed on as it is, and the part begins the next.
   From there on nobody can tell whose the parts to come are: the next message is `mixed`, and no level is read from it.
5. A late part may have been the first to come of such a next message. Where that does not become whole in its time
   without it, and would with it, it gets it, and is `mixed`.
6. Two processes that get parts of one message, or one PDU twice, wait for one another (an advisory lock of PostgreSQL
   for the length of a group; on SQLite there is one writer).

Nothing here looks into a text: that comes after, from what is stored (intake/replies.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import bindparam, case, select, text, update

from intake.outgoing import StoredNumber
from models.door import Bulk, Many, Priority, Unit
from models.tables import messages, parts
from models.terms import MessageKind, MessageState

__all__ = ["INCOMPLETE", "MIXED", "NO_LEVEL", "HandOnPartial", "Kept", "NewPart", "Received", "StoreInbound"]

INCOMPLETE = "incomplete"
"""`messages.reason` of a long message that was handed on without all of its parts."""
MIXED = "mixed"
"""`messages.reason` of a long message some of whose parts may be another's (rules 4 and 5)."""
NO_LEVEL = frozenset({INCOMPLETE, MIXED})
"""Reasons with which a message is shown and no level is read from it: who knows what the citizen had written."""
LATE_PART = timedelta(hours=24)
"""So long after its first part a message handed on incomplete still takes a part; then the reference is another's."""
_NOBODY = frozenset[str]()


class NewPart(NamedTuple):
    """A deliver_sm that is no receipt. (A tuple: a frozen dataclass takes longer to make.)

    `body`: as it came, with its user data header.
    `fingerprint`: keyed hash of all by which a repeat is known; `assembly_key`: keyed hash of what the parts of one
    message have in common, None for a message of its own; `number` of `total`, from 1; `received_at`: when the PDU was
    read; `message_id` is used where the part begins a message.
    """

    id: str
    message_id: str
    sender: StoredNumber
    link: str
    our_number: str
    code: str | None
    fingerprint: bytes
    esm_class: int
    data_coding: int
    body: bytes
    number: int
    total: int
    assembly_key: bytes | None
    received_at: datetime


class Kept(StrEnum):
    """What became of a deliver_sm. All of these are acknowledged."""

    WHOLE = "whole"
    """It made a message, or made one whole: to be read."""
    PARTIAL = "partial"
    """More parts are to come."""
    LATE = "late"
    """Its message was handed on without it."""
    REPEAT = "repeat"


@dataclass(frozen=True, slots=True)
class Received:
    kept: Kept
    message_id: str


_MESSAGES = Bulk(
    messages,
    (
        "id",
        "direction",
        "kind",
        "state",
        "reason",
        "number_kind",
        "number_sealed",
        "number_hash",
        "number_tail",
        "number_key_id",
        "link",
        "our_number",
        "code",
        "total",
        "assembly_key",
        "created_at",
        "changed_at",
    ),
)
_PARTS = Bulk(parts)
_WHOLE = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"), messages.c.state == MessageState.PARTIAL.value)
    .values(state=MessageState.UNREAD.value, assembly_key=None, changed_at=bindparam("at")),
    ("message", "at"),
)
_SAME = select(parts.c.fingerprint, parts.c.id, parts.c.message_id, parts.c.received_at).where(
    parts.c.fingerprint.in_(bindparam("prints", expanding=True)), parts.c.received_at > bindparam("since")
)
_ASSEMBLING = select(messages.c.id, messages.c.assembly_key, messages.c.state, messages.c.created_at).where(
    messages.c.assembly_key.in_(bindparam("keys", expanding=True)), messages.c.assembly_key.is_not(None)
)
_HAND_ON = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"), messages.c.state == MessageState.PARTIAL.value)
    .values(state=MessageState.UNREAD.value, reason=INCOMPLETE, changed_at=bindparam("at")),
    ("message", "at"),
)
_NUMBERS = select(parts.c.message_id, parts.c.number, parts.c.fingerprint).where(
    parts.c.message_id.in_(bindparam("ids", expanding=True))
)
_LOCKS = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")


@dataclass(slots=True)
class _Assembling:
    """A long message that waits for parts, or was handed on without some."""

    id: str
    partial: bool
    created_at: datetime
    numbers: dict[int, bytes] = field(default_factory=dict)
    """The parts that are there, each with its fingerprint."""


@dataclass(frozen=True, slots=True)
class StoreInbound:
    """Stores a deliver_sm. Result: `Received`; once it is there, the SMSC may be told that we have it.

    `confirmed`: parts with this fingerprint whose response is known to have reached the SMSC: no repeat of them comes.
    """

    part: NewPart
    window: timedelta
    confirmed: frozenset[str] = _NOBODY
    priority: ClassVar[Priority] = Priority.INBOUND

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[StoreInbound]) -> list[Received]:
        return _Group(unit, commands).results


class _Group:
    """What one group of commands knows, and what it stores."""

    def __init__(self, unit: Unit, commands: Sequence[StoreInbound]) -> None:
        long = [c.part.assembly_key for c in commands if c.part.assembly_key is not None]
        if not unit.is_sqlite:
            _lock(unit, [*(c.part.fingerprint for c in commands), *long])
        self._same = self._load_same(unit, commands)
        self._assembling = self._load_assembling(unit, long) if long else {}
        self._messages: list[tuple[Any, ...]] = []
        self._parts: list[tuple[Any, ...]] = []
        self._whole: list[tuple[str, datetime]] = []
        self._handed_on: list[tuple[str, datetime]] = []
        self.results = [self._keep(command) for command in commands]
        unit.insert(_MESSAGES, self._messages)
        unit.insert(_PARTS, self._parts)
        unit.many(_WHOLE, self._whole)
        unit.many(_HAND_ON, self._handed_on)

    @staticmethod
    def _load_same(unit: Unit, commands: Sequence[StoreInbound]) -> dict[bytes, list[tuple[str, str, datetime]]]:
        same: dict[bytes, list[tuple[str, str, datetime]]] = {}
        since = min(command.part.received_at - command.window for command in commands)
        prints = list({command.part.fingerprint for command in commands})
        for row in unit.execute(_SAME, {"prints": prints, "since": since}):
            same.setdefault(row.fingerprint, []).append((row.id, row.message_id, row.received_at))
        return same

    @staticmethod
    def _load_assembling(unit: Unit, keys: Sequence[bytes]) -> dict[bytes, list[_Assembling]]:
        found: dict[bytes, list[_Assembling]] = {}
        by_id = {}
        for row in unit.execute(_ASSEMBLING, {"keys": list(set(keys))}):
            one = by_id[row.id] = _Assembling(row.id, row.state == MessageState.PARTIAL.value, row.created_at)
            found.setdefault(row.assembly_key, []).append(one)
        if by_id:
            for row in unit.execute(_NUMBERS, {"ids": list(by_id)}):
                by_id[row.message_id].numbers[row.number] = row.fingerprint
        return found

    def _keep(self, command: StoreInbound) -> Received:
        part = command.part
        same = self._same.setdefault(part.fingerprint, [])
        for identity, message_id, received_at in same:
            if identity == part.id:  # the first run had committed, and its answer was lost
                return Received(Kept.WHOLE, message_id)
            if identity not in command.confirmed and part.received_at - received_at < command.window:
                return Received(Kept.REPEAT, message_id)
        kept, message_id = self._place(part)
        if kept is not Kept.REPEAT:
            same.append((part.id, message_id, part.received_at))
            self._parts.append(
                (
                    part.id,
                    message_id,
                    part.fingerprint,
                    part.link,
                    part.esm_class,
                    part.data_coding,
                    part.body,
                    part.number,
                    part.total,
                    part.received_at,
                )
            )
        return Received(kept, message_id)

    def _place(self, part: NewPart) -> tuple[Kept, str]:
        """The message that a part is of: one that waits for it, or a new one."""
        if part.assembly_key is None:
            self._begin(part, MessageState.UNREAD)
            return Kept.WHOLE, part.message_id
        known = self._assembling.setdefault(part.assembly_key, [])
        waiting = next((one for one in known if one.partial), None)  # there is one at most
        if waiting is not None and part.number in waiting.numbers:
            if waiting.numbers[part.number] == part.fingerprint:
                return Kept.REPEAT, waiting.id
            waiting.partial = False
            self._handed_on.append((waiting.id, part.received_at))
            return self._begin_long(part, MIXED)
        if waiting is not None:
            waiting.numbers[part.number] = part.fingerprint
            if len(waiting.numbers) < part.total:
                return Kept.PARTIAL, waiting.id
            known.remove(waiting)
            self._whole.append((waiting.id, part.received_at))
            return Kept.WHOLE, waiting.id
        for one in known:
            if part.number not in one.numbers and part.received_at - one.created_at < LATE_PART:
                one.numbers[part.number] = part.fingerprint
                return Kept.LATE, one.id
        return self._begin_long(part)

    def _begin_long(self, part: NewPart, reason: str | None = None) -> tuple[Kept, str]:
        assert part.assembly_key is not None
        begun = _Assembling(part.message_id, True, part.received_at, {part.number: part.fingerprint})
        self._assembling[part.assembly_key].append(begun)
        self._begin(part, MessageState.PARTIAL, reason)
        return Kept.PARTIAL, part.message_id

    def _begin(self, part: NewPart, state: MessageState, reason: str | None = None) -> None:
        self._messages.append(
            (
                part.message_id,
                "in",
                MessageKind.REPLY.value,
                state.value,
                reason,
                *part.sender,
                part.link,
                part.our_number,
                part.code,
                part.total,
                part.assembly_key,
                part.received_at,
                part.received_at,
            )
        )


def _lock(unit: Unit, hashes: Iterable[bytes]) -> None:
    """Rule 6; in one order everywhere, so that two groups cannot wait for each other."""
    keys = sorted({int.from_bytes(value[:8], "big", signed=True) for value in hashes})
    unit.execute(_LOCKS, {"keys": keys})


@dataclass(frozen=True, slots=True)
class HandOnPartial:
    """A sweep: long messages whose parts did not all come in time are handed on as they are. Result: their ids.

    Rule 5 is kept here: by then it is known which did not become whole. It also forgets the keys of those handed on so
    long ago that no part of theirs comes any more.
    """

    now: datetime
    wait: timedelta
    limit: int = 64
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[HandOnPartial]) -> list[list[str]]:
        return [command._hand_on(unit) for command in commands]

    def _hand_on(self, unit: Unit) -> list[str]:
        rows = unit.execute(
            select(messages.c.id, messages.c.assembly_key, messages.c.total, messages.c.created_at)
            .where(
                messages.c.assembly_key.is_not(None),
                messages.c.state == MessageState.PARTIAL.value,
                messages.c.created_at <= self.now - self.wait,
            )
            .order_by(messages.c.id)
            .limit(self.limit)
            .with_for_update(skip_locked=True)
        ).all()
        found = [row.id for row in rows]
        if found:
            whole = self._with_late_parts(unit, rows)
            unit.execute(
                update(messages)
                .where(messages.c.id.in_(found))
                .values(
                    state=MessageState.UNREAD.value,
                    reason=case((messages.c.id.in_(whole), MIXED), else_=INCOMPLETE) if whole else INCOMPLETE,
                    changed_at=self.now,
                )
            )
        unit.execute(
            update(messages)
            .where(
                messages.c.assembly_key.is_not(None),
                messages.c.state != MessageState.PARTIAL.value,
                messages.c.created_at <= self.now - self.wait - LATE_PART,
            )
            .values(assembly_key=None)
        )
        return found

    def _with_late_parts(self, unit: Unit, rows: Sequence[Any]) -> list[str]:
        """Gives messages the late parts that make them whole (rule 5). Result: which ones are."""
        there: dict[str, set[int]] = {row.id: set() for row in rows}
        for part in unit.execute(_NUMBERS, {"ids": list(there)}):
            there[part.message_id].add(part.number)
        late: dict[bytes, list[Any]] = {}
        keys = list({row.assembly_key for row in rows})
        since = min(row.created_at for row in rows) - self.wait
        for part in unit.execute(_LATE, {"keys": keys, "since": since}):
            if part.received_at >= part.created_at + self.wait:
                late.setdefault(part.assembly_key, []).append(part)
        whole = []
        for row in rows:
            before = row.created_at - self.wait
            fitting = {  # of two with one number the last: they come in the order of coming
                part.number: part.id
                for part in late.get(row.assembly_key, ())
                if part.number not in there[row.id] and before <= part.received_at <= row.created_at
            }
            if len(there[row.id]) + len(fitting) == row.total:
                unit.execute(update(parts).where(parts.c.id.in_(fitting.values())).values(message_id=row.id))
                whole.append(row.id)
        return whole


_LATE = (
    select(parts.c.id, parts.c.number, parts.c.received_at, messages.c.assembly_key, messages.c.created_at)
    .select_from(parts)
    .join(messages, messages.c.id == parts.c.message_id)
    .where(
        messages.c.assembly_key.in_(bindparam("keys", expanding=True)),
        messages.c.assembly_key.is_not(None),
        messages.c.state != MessageState.PARTIAL.value,
        parts.c.received_at >= bindparam("since"),
    )
    .order_by(parts.c.received_at, parts.c.id)
)
