"""What the push writes, as commands of the door.

Rules kept here:

* A batch's bytes are stored in the transaction that takes its members out of the outbox's queue, before anything is
  sent; they stay as they are until the batch is answered or split. Then they go, and their digest stays.
* A claim is a lease (owner, until), committed before the effect. `FOR UPDATE SKIP LOCKED` only keeps two processes from
  waiting for each other. Whoever is late settles nothing twice: a batch is settled while it is open, once.
* Times in the database are another moment's wall clock, so they are only compared, and one that lies further ahead than
  any hold or back-off can put it was written by a clock that has since been set back: it is due.
* A record that cannot be mapped becomes a dead letter by itself and holds nobody up.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Self

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Row,
    String,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from centre.answers import Word
from centre.payload import EvaluationRow, Mapper, Unmappable
from centre.retry import Backoff
from models.door import Bulk, Many, Priority, Unit
from models.ids import new_id
from models.push_faults import PushFault
from models.tables import evaluations, outbox, push_batches, push_members
from models.terms import BatchState, OutboxState, Verdict

__all__ = [
    "Horizon",
    "PostponeBatch",
    "RebaseBatches",
    "RecallBatches",
    "ReleaseBatches",
    "SettleBatch",
    "Settled",
    "SplitBatch",
    "TakeBatches",
    "Taken",
    "TakenBatch",
    "VoidLeases",
    "batch_due",
    "outbox_due",
]


class _Likely(FunctionElement[bool]):
    """A condition that most rows fulfil. Without this word SQLite believes that an index on it finds ten rows."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """As it is: SQLAlchemy would write `= 1` behind it, and then no partial index fits."""
        return self


@compiles(_Likely)
def _plainly(element: _Likely, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_Likely, "sqlite")
def _likely(element: _Likely, compiler: Any, **options: Any) -> str:
    return f"likely({compiler.process(element.clauses, **options)})"


# Literals, not parameters: only so do both databases see that the partial indexes fit.
_WAITING = outbox.c.state == literal_column(f"'{OutboxState.WAITING}'")
_OPEN = push_batches.c.state == literal_column(f"'{BatchState.OPEN}'")

_NEW_BATCHES = Bulk(
    push_batches,
    (
        "id",
        "state",
        "body",
        "records",
        "parent_id",
        "tries",
        "not_before",
        "lease_owner",
        "lease_until",
        "created_at",
        "digest",
    ),
)
_NEW_MEMBERS = Bulk(push_members, ("batch_id", "evaluation_id", "position"))


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far ahead of now a time in the database can lie.

    Attributes:
        now: wall clock.
        hold: the longest that a row of the outbox is ever held back.
        wait: the longest that a batch ever waits.
        lease: the longest lease.
        stepped: by how much the wall clock was seen going back in this process's life.
    """

    now: datetime
    hold: timedelta
    wait: timedelta
    lease: timedelta
    stepped: timedelta = timedelta(0)


def outbox_due(at: Horizon) -> tuple[ColumnElement[bool], ...]:
    """Rows that may go into a batch now: what is due by the clock, and apart what only another clock holds back.

    No row fits two of the conditions. They are queries of their own, for with an OR SQLite sorts the whole backlog.
    """
    free = and_(_Likely(outbox.c.batch_id.is_(None)), _WAITING)
    due = and_(free, outbox.c.not_before <= at.now)
    too_far = and_(free, outbox.c.not_before > at.now + at.hold)
    if not at.stepped:
        return due, too_far
    before_the_step = and_(
        free,
        outbox.c.not_before > at.now,
        outbox.c.not_before <= at.now + min(at.stepped, at.hold),
        # Looked at in the rows: the console's index by this time would have PostgreSQL sort the backlog.
        func.coalesce(outbox.c.created_at, outbox.c.created_at) > at.now,
        outbox.c.tries == literal_column("0"),
    )
    return due, before_the_step, too_far


def batch_due(at: Horizon) -> ColumnElement[bool]:
    """Open batches that nobody holds and that may be sent now."""
    return and_(
        _OPEN,
        or_(push_batches.c.not_before <= at.now, push_batches.c.not_before > at.now + at.wait),
        or_(
            push_batches.c.lease_until.is_(None),
            push_batches.c.lease_until <= at.now,
            push_batches.c.lease_until > at.now + at.lease,
        ),
    )


# ── reading an evaluation ─────────────────────────────────────────────────────────────────────────────────────────────


def _raw(column: Any) -> Any:
    """The column as the driver gives it; a thousand conversions a second are worth avoiding."""
    return type_coerce(column, String)


_ROW = (
    _raw(evaluations.c.id),
    evaluations.c.project_no,
    evaluations.c.assess_number,
    _raw(evaluations.c.assess_time),
    evaluations.c.satisfaction,
    evaluations.c.channel,
    evaluations.c.origin,
    evaluations.c.subject_kind,
    evaluations.c.reasons,
    evaluations.c.comment,
    evaluations.c.service_number,
    evaluations.c.agent,
    evaluations.c.queue,
    evaluations.c.dept_code,
    evaluations.c.dept_name,
    evaluations.c.task_code,
    evaluations.c.task_name,
    evaluations.c.service_name,
    evaluations.c.area_code,
)
_SAME_EVALUATION = and_(
    evaluations.c.subject_id == outbox.c.subject_id, evaluations.c.assess_number == outbox.c.assess_number
)


def _id(value: Any) -> str:
    return value.replace("-", "") if isinstance(value, str) else value.hex


def _time(value: Any) -> datetime:
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


class _Found(NamedTuple):
    """Rows read, and the evaluation ids of those that cannot be sent, with why."""

    rows: list[EvaluationRow]
    unfit: list[tuple[str, str]]


def _read(found: Iterable[Row[Any]]) -> _Found:
    rows: list[EvaluationRow] = []
    unfit: list[tuple[str, str]] = []
    for values in map(tuple[Any, ...], found):
        own_id = _id(values[0])
        if values[1] is None:
            unfit.append((own_id, PushFault.NO_EVALUATION.told()))
            continue
        try:
            assess_time = _time(values[4])
        except (ValueError, TypeError, AttributeError):
            unfit.append((own_id, PushFault.NO_TIME.told()))
            continue
        rows.append(EvaluationRow._make((own_id, values[2], values[3], assess_time, *values[5:])))
    return _Found(rows, unfit)


def _draft(rows: list[EvaluationRow], mapper: Mapper, unfit: list[tuple[str, str]]) -> TakenBatch | None:
    """A batch of these rows, less those that cannot be mapped, which are added to `unfit`; None: nothing is left."""
    try:
        body = mapper.body(rows)
    except Unmappable:
        rows, bad = mapper.sort_out(rows)
        unfit += [(row.evaluation_id, why) for row, why in bad]
        body = mapper.body(rows)
    if not rows:
        return None
    return TakenBatch(new_id(), body, tuple([row.evaluation_id for row in rows]), 0, new=True)


_BURY = Many(
    update(outbox)
    .where(outbox.c.evaluation_id == bindparam("evaluation"))
    .values(state=OutboxState.DEAD.value, reason=bindparam("why"), batch_id=None),
    ("evaluation", "why"),
)


# ── taking batches ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class TakenBatch:
    """A stored batch whose lease we hold. `tries`: how often it failed; `new`: it was made just now."""

    id: str
    body: bytes
    members: tuple[str, ...]
    tries: int
    new: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """`more`: the outbox held at least as much as was asked for. `buried`: dead letters made on the way."""

    batches: tuple[TakenBatch, ...]
    more: bool
    buried: int


_MOVE_TO_BATCH = Many(
    update(outbox)
    .where(
        outbox.c.evaluation_id.in_(
            select(push_members.c.evaluation_id).where(push_members.c.batch_id == bindparam("batch"))
        )
    )
    .values(batch_id=bindparam("batch")),
    ("batch",),
)
_DUE_ROWS = (
    select(_raw(outbox.c.evaluation_id), *_ROW)
    .select_from(outbox.outerjoin(evaluations, _SAME_EVALUATION))
    .order_by(outbox.c.not_before)
    .with_for_update(of=outbox, skip_locked=True)
)
_LEASE = (
    update(push_batches)
    .where(push_batches.c.id == bindparam("batch"))
    .values(lease_owner=bindparam("owner"), lease_until=bindparam("until"))
)
_MEMBERS = (
    select(_raw(push_members.c.evaluation_id))
    .where(push_members.c.batch_id == bindparam("batch"))
    .order_by(push_members.c.position)
)


@dataclass(frozen=True, slots=True)
class TakeBatches:
    """Leases batches to send: first stored ones that are due again, then new ones out of the outbox.

    Attributes:
        total, again, new: at most so many batches, stored ones, new ones.
        size: records of a new batch.
        not_these: batches that this process is sending at the moment.
    """

    owner: str
    at: Horizon
    lease_until: datetime
    total: int
    again: int
    new: int
    size: int
    not_these: tuple[str, ...]
    mapper: Mapper
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[Taken]:
        return [command._take(unit) for command in commands]

    def _take(self, unit: Unit) -> Taken:
        stored = self._stored(unit, min(self.again, self.total))
        fresh = self._fresh(unit, min(self.new, self.total - len(stored)))
        return Taken((*stored, *fresh.batches), fresh.more, fresh.buried)

    def _stored(self, unit: Unit, limit: int) -> list[TakenBatch]:
        if limit <= 0:
            return []
        due = (
            select(_raw(push_batches.c.id), push_batches.c.body, push_batches.c.tries)
            .where(batch_due(self.at))
            .order_by(push_batches.c.not_before)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if self.not_these:
            due = due.where(push_batches.c.id.not_in(self.not_these))
        taken = []
        for found in unit.execute(due).all():
            batch_id = _id(found[0])
            unit.execute(_LEASE, {"batch": batch_id, "owner": self.owner, "until": self.lease_until})
            members = tuple(_id(member) for (member,) in unit.execute(_MEMBERS, {"batch": batch_id}))
            taken.append(TakenBatch(batch_id, bytes(found.body), members, found.tries, new=False))
        return taken

    def _fresh(self, unit: Unit, limit: int) -> Taken:
        if limit <= 0:
            return Taken((), more=False, buried=0)
        wanted = limit * self.size
        rows: list[EvaluationRow] = []
        unfit: list[tuple[str, str]] = []
        for due in outbox_due(self.at):
            if (left := wanted - len(rows) - len(unfit)) > 0:
                found = _read(unit.execute(_DUE_ROWS.where(due).limit(left)).all())
                rows += found.rows
                unfit += found.unfit
        more = len(rows) + len(unfit) >= wanted
        drafts = [
            _draft(rows[start : start + self.size], self.mapper, unfit) for start in range(0, len(rows), self.size)
        ]
        batches = tuple([batch for batch in drafts if batch is not None])
        unit.many(_BURY, unfit)
        _store(unit, batches, self.at.now, lease=(self.owner, self.lease_until))
        return Taken(batches, more, len(unfit))


def _store(
    unit: Unit,
    batches: Sequence[TakenBatch],
    now: datetime,
    *,
    lease: tuple[str | None, datetime | None],
    parent: str | None = None,
) -> None:
    unit.insert(
        _NEW_BATCHES,
        [
            (
                batch.id,
                BatchState.OPEN.value,
                batch.body,
                len(batch.members),
                parent,
                0,
                now,
                *lease,
                now,
                hashlib.sha256(batch.body).digest(),
            )
            for batch in batches
        ],
    )
    unit.insert(
        _NEW_MEMBERS,
        [(batch.id, member, place) for batch in batches for place, member in enumerate(batch.members)],
    )
    unit.many(_MOVE_TO_BATCH, [(batch.id,) for batch in batches])


# ── what became of a batch ────────────────────────────────────────────────────────────────────────────────────────────

# A batch of before the digest was stored with it: the body is read once more.
_STILL_OPEN = select(
    push_batches.c.id, case((push_batches.c.digest.is_(None), push_batches.c.body)).label("undigested")
).where(push_batches.c.id.in_(bindparam("batches", expanding=True)), _OPEN)
_DIGEST = Many(
    update(push_batches).where(push_batches.c.id == bindparam("batch")).values(digest=bindparam("sum")),
    ("sum", "batch"),
)
_CLOSE = Many(
    update(push_batches)
    .where(push_batches.c.id == bindparam("batch"))
    .values(
        state=bindparam("next"),
        answered_at=bindparam("at"),
        last_error=func.coalesce(bindparam("error"), push_batches.c.last_error),
        body=None,
        lease_owner=None,
        lease_until=None,
    ),
    ("batch", "next", "at", "error"),
)


def _still_open(unit: Unit, batch_ids: Sequence[str]) -> set[str]:
    """Which of these batches nobody has settled or split yet; they stay locked until the end of the transaction."""
    found = unit.execute(_STILL_OPEN.with_for_update(), {"batches": sorted(set(batch_ids))}).all()
    unit.many(
        _DIGEST,
        [(hashlib.sha256(row.undigested).digest(), row.id) for row in found if row.undigested is not None],
    )
    return {row.id for row in found}


_ALL_SAME = Many(
    update(push_members).where(push_members.c.batch_id == bindparam("batch")).values(verdict=bindparam("word")),
    ("batch", "word"),
)
_ONE_WORD = Many(
    update(push_members)
    .where(push_members.c.batch_id == bindparam("batch"), push_members.c.evaluation_id == bindparam("evaluation"))
    .values(verdict=bindparam("word"), reason=bindparam("why")),
    ("batch", "evaluation", "word", "why"),
)


def _told(*verdicts: Verdict) -> Any:
    """The members of a batch that were told so."""
    words = ", ".join(f"'{verdict}'" for verdict in verdicts)
    return select(push_members.c.evaluation_id).where(
        push_members.c.batch_id == bindparam("batch"), push_members.c.verdict.op("IN")(literal_column(f"({words})"))
    )


_MARK = {
    verdict: Many(
        update(evaluations)
        .where(evaluations.c.id.in_(_told(verdict)))
        .values(
            centre_status=verdict.value,
            pushed_at=evaluations.c.pushed_at if verdict is Verdict.REJECTED else bindparam("at"),
        ),
        ("batch",) if verdict is Verdict.REJECTED else ("batch", "at"),
    )
    for verdict in Verdict
}
_DONE = Many(
    delete(outbox).where(
        outbox.c.batch_id == bindparam("batch"),
        outbox.c.evaluation_id.in_(_told(Verdict.ACCEPTED, Verdict.DUPLICATE)),
    ),
    ("batch",),
)
_ALL_DONE = Many(delete(outbox).where(outbox.c.batch_id == bindparam("batch")), ("batch",))
_LEFT = select(_raw(outbox.c.evaluation_id), outbox.c.tries).where(outbox.c.batch_id == bindparam("batch"))
_PUT_BACK = Many(
    update(outbox)
    .where(outbox.c.evaluation_id == bindparam("evaluation"))
    .values(batch_id=None, tries=bindparam("next_tries"), not_before=bindparam("not_at")),
    ("next_tries", "not_at", "evaluation"),
)


@dataclass(frozen=True, slots=True)
class Settled:
    """`applied` is false where another process had settled it before. `without`: members that got no verdict."""

    applied: bool
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    without: int = 0


@dataclass(frozen=True, slots=True)
class SettleBatch:
    """The centre's words, written down: pushed, dead letter, or back to the queue for a new batch.

    Attributes:
        chance: jitter of the back-off of those without a verdict, in [0, 1).
    """

    batch_id: str
    members: tuple[str, ...]
    words: Mapping[str, Word]
    now: datetime
    backoff: Backoff
    chance: float
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[Settled]:
        is_open = _still_open(unit, [command.batch_id for command in commands])
        first: dict[str, Self] = {}
        for command in commands:
            if command.batch_id in is_open:
                first.setdefault(command.batch_id, command)
        settling = list(first.values())
        unit.many(_CLOSE, [(each.batch_id, BatchState.ANSWERED.value, each.now, None) for each in settling])
        whole = {each.batch_id: verdict for each in settling if (verdict := each._one_word_for_all()) is not None}
        unit.many(_ALL_SAME, [(batch_id, verdict.value) for batch_id, verdict in whole.items()])
        for verdict in (Verdict.ACCEPTED, Verdict.DUPLICATE):
            marking = [(each.batch_id, each.now) for each in settling if whole.get(each.batch_id) is verdict]
            unit.many(_MARK[verdict], marking)
        unit.many(_ALL_DONE, [(batch_id,) for batch_id in whole])
        settled = {
            each.batch_id: each._settled_whole(whole[each.batch_id])
            if each.batch_id in whole
            else each._settle_each(unit)
            for each in settling
        }
        late = Settled(applied=False)
        return [settled[each.batch_id] if first.get(each.batch_id) is each else late for each in commands]

    def _one_word_for_all(self) -> Verdict | None:
        """Accepted or duplicate, where every member was told that; nearly every batch."""
        said = {word.verdict for word in self.words.values()}
        if len(self.words) == len(self.members) and len(said) == 1 and Verdict.REJECTED not in said:
            return said.pop()
        return None

    def _settled_whole(self, verdict: Verdict) -> Settled:
        count = len(self.members)
        return Settled(True, accepted=count) if verdict is Verdict.ACCEPTED else Settled(True, duplicate=count)

    def _settle_each(self, unit: Unit) -> Settled:
        told = [(member, self.words[member]) for member in self.members if member in self.words]
        counts = Counter(word.verdict for _, word in told)
        unit.many(_ONE_WORD, [(self.batch_id, member, word.verdict.value, word.reason) for member, word in told])
        for verdict in counts:
            unit.many(_MARK[verdict], [(self.batch_id,) if verdict is Verdict.REJECTED else (self.batch_id, self.now)])
        unit.many(_DONE, [(self.batch_id,)])
        unit.many(_BURY, [(member, word.reason) for member, word in told if word.verdict is Verdict.REJECTED])
        without = self._put_back(unit) if len(told) < len(self.members) else 0
        return Settled(True, counts[Verdict.ACCEPTED], counts[Verdict.DUPLICATE], counts[Verdict.REJECTED], without)

    def _put_back(self, unit: Unit) -> int:
        rows = []
        for found in unit.execute(_LEFT, {"batch": self.batch_id}):
            tries = found.tries + 1
            wait = timedelta(seconds=self.backoff.delay(tries, self.chance))
            rows.append((tries, self.now + wait, _id(found[0])))
        unit.many(_PUT_BACK, rows)
        return len(rows)


_MEMBER_ROWS = (
    select(_raw(push_members.c.evaluation_id), *_ROW)
    .select_from(push_members.outerjoin(evaluations, evaluations.c.id == push_members.c.evaluation_id))
    .where(push_members.c.batch_id == bindparam("batch"))
    .order_by(push_members.c.position)
)


@dataclass(frozen=True, slots=True)
class SplitBatch:
    """The centre refused the batch as a whole: its halves become batches of their own, due at once."""

    batch_id: str
    error: str
    now: datetime
    mapper: Mapper
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[bool]:
        return [command._split(unit) for command in commands]

    def _split(self, unit: Unit) -> bool:
        if not _still_open(unit, [self.batch_id]):
            return False
        unit.many(_CLOSE, [(self.batch_id, BatchState.SPLIT.value, self.now, self.error)])
        rows, unfit = _read(unit.execute(_MEMBER_ROWS, {"batch": self.batch_id}).all())
        middle = (len(rows) + 1) // 2
        drafts = [_draft(half, self.mapper, unfit) for half in (rows[:middle], rows[middle:])]
        unit.many(_BURY, unfit)
        halves = [half for half in drafts if half is not None]
        _store(unit, halves, self.now, lease=(None, None), parent=self.batch_id)
        return True


_POSTPONE = (
    update(push_batches)
    .where(push_batches.c.id == bindparam("batch"), _OPEN, push_batches.c.lease_owner == bindparam("owner"))
    .values(
        tries=push_batches.c.tries + 1,
        not_before=bindparam("not_at"),
        last_error=bindparam("error"),
        lease_owner=None,
        lease_until=None,
    )
)


@dataclass(frozen=True, slots=True)
class PostponeBatch:
    """No answer that counts: the same bytes again at `not_before`, by whoever is there then."""

    batch_id: str
    owner: str
    not_before: datetime
    error: str
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[bool]:
        return [
            unit.execute(
                _POSTPONE,
                {
                    "batch": command.batch_id,
                    "owner": command.owner,
                    "not_at": command.not_before,
                    "error": command.error,
                },
            ).rowcount
            > 0
            for command in commands
        ]


# ── rare ones ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ReleaseBatches:
    """Gives back every lease of this owner, when it stops."""

    owner: str
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[int]:
        release = (
            update(push_batches)
            .where(_OPEN, push_batches.c.lease_owner == bindparam("owner"))
            .values(lease_owner=None, lease_until=None)
        )
        return [unit.execute(release, {"owner": command.owner}).rowcount for command in commands]


@dataclass(frozen=True, slots=True)
class VoidLeases:
    """Ends every lease, at the start of the one process that an embedded database serves: nobody else holds any."""

    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[int]:
        void = (
            update(push_batches)
            .where(_OPEN, push_batches.c.lease_owner.is_not(None))
            .values(lease_owner=None, lease_until=None)
        )
        return [unit.execute(void).rowcount for _ in commands]


@dataclass(frozen=True, slots=True)
class RecallBatches:
    """Makes every waiting batch due now: the centre answers again, or somebody asked for it."""

    now: datetime
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[int]:
        return [recall_batches(unit, command.now) for command in commands]


def recall_batches(unit: Unit | Connection, now: datetime) -> int:
    """Open batches that wait are due at `now`; says how many."""
    recall = (
        update(push_batches)
        .where(_OPEN, push_batches.c.lease_owner.is_(None), push_batches.c.not_before > now)
        .values(not_before=now)
    )
    return unit.execute(recall).rowcount


@dataclass(frozen=True, slots=True)
class RebaseBatches:
    """After the wall clock was set back by `by`: the open batches' times move with it. They are few."""

    by: timedelta
    now: datetime
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[int]:
        return [command._rebase(unit) for command in commands]

    def _rebase(self, unit: Unit) -> int:
        ahead = select(push_batches.c.id, push_batches.c.not_before, push_batches.c.lease_until).where(
            _OPEN, or_(push_batches.c.not_before > self.now, push_batches.c.lease_until > self.now)
        )
        moved = [
            (row.not_before - self.by, None if row.lease_until is None else row.lease_until - self.by, row.id)
            for row in unit.execute(ahead)
        ]
        unit.many(_REBASE, moved)
        return len(moved)


_REBASE = Many(
    update(push_batches)
    .where(push_batches.c.id == bindparam("batch"))
    .values(not_before=bindparam("not_at"), lease_until=bindparam("until")),
    ("not_at", "until", "batch"),
)
