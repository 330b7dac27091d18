"""What waits for a person 待办: replies by reason, dead letters of the push, provisional deadlines, SMS that failed.
The letters' list is one of the outbox's (console/outbox.py).

Rules kept here:

* Each query carries `visible`: what a viewer may not see is as if it were not there. Replies that belong to no
  invitation are seen by who sees everything.
* Oldest first; a page goes on behind the last key of the one before.
* Numbers are masked, in columns and in words.
* A count looks at `MOST` rows and then says that there are more, so that the board's query stays short.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, or_, select, text

from console.masking import mask_words
from console.outbox import IS_DEAD, MOST, Count, OutboxView, outbox_count, owned
from console.viewer import ConsoleRole, Viewer, visible, wholly_visible
from intake.conversation import Heard
from intake.deadlines import DeadlineRules
from intake.inbound import NO_LEVEL
from intake.manners import SendingRules
from intake.queue_work import Person, forget_owners
from intake.replies import TakingRules
from intake.unread import StoredPart, load_given
from intake.workdays import Day
from models.clock import SystemClock
from models.door import Unit
from models.errors import KeyUnreadable
from models.privacy import Keyring, mask
from models.tables import (
    FAILED_ASKS,
    call_keys,
    calls,
    case_keys,
    cases,
    codes,
    evaluations,
    invitation_members,
    invitations,
    messages,
    outbox,
    parts,
    work_owners,
)
from models.terms import InvitationState, QueueReason, Satisfaction, WorkKind

__all__ = [
    "MOST",
    "Candidate",
    "QueueCounts",
    "QueueTools",
    "Reply",
    "WorkPage",
    "candidates",
    "deadlines_page",
    "failure_reasons",
    "failures_page",
    "person_of",
    "queue_counts",
    "read_reply",
    "replies_page",
    "send_again",
    "settles",
    "ticked_replies",
]

MOST_FAILURES = 200
"""Failed SMS that a count looks at, the oldest: of each it has to be looked up whether its case is rated by now."""
"""Rows that a count looks at."""
FAILURE_DAYS = timedelta(days=30)
"""SMS that failed longer ago are history: their cases are rated or over."""
_CANDIDATES = 20
_ID = re.compile(r"\b[0-9a-f]{32}\b")
_UNRATED = (InvitationState.ASKED.value, InvitationState.IMPOSSIBLE.value)


class _Retry(Protocol):
    def __call__(self, unit: Unit, now: datetime, actor: str, evaluation_ids: Sequence[str]) -> object: ...


@dataclass(frozen=True, slots=True)
class QueueTools:
    """What handling a queue needs of the rest of the program; the composition root gives it.

    `key_map`: today's; `hear(text, key map, incomplete)`: the reply grammar; `body_of`, `decodings`: of a reply that
    could not be decoded; `retry`: dead letters go again; `wake_push`, `wake_sms`: something is due, from any thread.
    """

    taking: TakingRules
    sending: SendingRules
    deadlines: DeadlineRules
    key_map: str
    hear: Callable[[str, str, bool], Heard]
    body_of: Callable[[Sequence[StoredPart]], bytes]
    decodings: Callable[[bytes], list[tuple[str, str]]]
    retry: _Retry
    wake_push: Callable[[], None]
    wake_sms: Callable[[], None]


def person_of(viewer: Viewer) -> Person:
    """Who acts, with what they may act on."""
    return Person(
        viewer.actor,
        messages=visible(viewer, messages),
        invitations=visible(viewer, invitations),
        evaluations=visible(viewer, evaluations),
        cases=visible(viewer, cases),
        whole=wholly_visible(viewer),
        settles=settles(viewer),
    )


def settles(viewer: Viewer) -> bool:
    """Whether they may say what a reply was: it may be about the department that handles it."""
    return viewer.role is ConsoleRole.SUPERVISOR


# ── counts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


_NONE = Count()


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Of each queue. Departments have replies alone."""

    replies: Mapping[QueueReason, Count]
    letters: Count = _NONE
    deadlines: Count = _NONE
    failures: Count = _NONE

    @property
    def all_replies(self) -> Count:
        return _sum(self.replies.values())

    @property
    def total(self) -> Count:
        """What somebody has to do: provisional deadlines are one task however many they are, and stand apart."""
        return _sum((*self.replies.values(), self.letters, self.failures))


def _sum(counts: Collection[Count]) -> Count:
    since = [one.oldest for one in counts if one.oldest is not None]
    return Count(
        sum(one.n for one in counts),
        min(since, default=None),
        any(one.more for one in counts),
        sum(one.free for one in counts),
    )


def queue_counts(connection: Connection, viewer: Viewer, now: datetime | None = None) -> QueueCounts:
    """The queues as the viewer has them. `now`: by which failed SMS are too old to be shown; the clock's by default."""
    replies = {
        reason: _count(connection, _replies(viewer, reason), messages.c.created_at, WorkKind.REPLY, messages.c.id)
        for reason in QueueReason
    }
    if viewer.role is ConsoleRole.DEPARTMENT or not viewer.sees_record:
        return QueueCounts(replies)
    at = now or SystemClock().now()
    return QueueCounts(
        replies,
        letters=outbox_count(connection, viewer, OutboxView.DEAD, at),
        deadlines=_count(connection, _deadlines(viewer), cases.c.closed_at, WorkKind.DEADLINE, cases.c.subject_id),
        failures=_count_failures(connection, viewer, at),
    )


def _count(
    connection: Connection, queue: Select[Any], since: ColumnElement[Any], kind: WorkKind, key: ColumnElement[Any]
) -> Count:
    columns = (since.label("since"), key.label("key"))
    found = queue.with_only_columns(*columns, maintain_column_froms=True).limit(MOST + 1).subquery()
    n, oldest, taken = connection.execute(
        select(func.count(), func.min(found.c.since, type_=since.type), func.count(work_owners.c.owner)).select_from(
            found.outerjoin(work_owners, owned(kind, found.c.key))
        )
    ).one()
    return Count(min(n, MOST), oldest, n > MOST, min(n - taken, MOST))


def _count_failures(connection: Connection, viewer: Viewer, now: datetime) -> Count:
    looked = select(func.count()).select_from(_first_failed(now, MOST_FAILURES + 1).subquery())
    more = connection.execute(looked).scalar_one() > MOST_FAILURES
    queue = _failures(viewer, now).where(messages.c.id.in_(select(_first_failed(now, MOST_FAILURES).subquery().c.id)))
    found = _count(connection, queue.order_by(None), messages.c.created_at, WorkKind.FAILURE, messages.c.id)
    return replace(found, more=found.more or more)


def _replies(viewer: Viewer, reason: QueueReason) -> Select[Any]:
    return (
        select(messages.c.id)
        .where(
            messages.c.queue == reason.value,
            # The index's own words, so that both databases see that it serves.
            messages.c.queue.is_not(None),
            messages.c.handled_at.is_(None),
            visible(viewer, messages),
        )
        .order_by(messages.c.id)
    )


def _letters(viewer: Viewer) -> Select[Any]:
    return (
        select(outbox.c.evaluation_id)
        .join(
            evaluations,
            and_(
                evaluations.c.subject_id == outbox.c.subject_id,
                evaluations.c.assess_number == outbox.c.assess_number,
            ),
        )
        .where(IS_DEAD, visible(viewer, evaluations))
        .order_by(outbox.c.created_at, outbox.c.evaluation_id)
    )


def _deadlines(viewer: Viewer) -> Select[Any]:
    return (
        select(cases.c.subject_id)
        # The index's own word: of a column SQLite is told that it equals 1, and then reads every case.
        .where(text("cases.provisional"), cases.c.withdrawn_at.is_(None), visible(viewer, cases))
        .order_by(cases.c.deadline, cases.c.subject_id)
    )


def _first_failed(now: datetime, most: int) -> Select[Any]:
    """The SMS that failed first, whosever they are and whatever became of their cases."""
    return (
        select(messages.c.id)
        .where(text(f"({_of_messages(FAILED_ASKS)})"), messages.c.created_at >= now - FAILURE_DAYS)
        .order_by(messages.c.created_at, messages.c.id)
        .limit(literal(most, literal_execute=True))
    )


def _failures(viewer: Viewer, now: datetime) -> Select[Any]:
    return (
        select(messages.c.id)
        .join(invitations, invitations.c.id == messages.c.invitation_id)
        .where(
            text(f"({_of_messages(FAILED_ASKS)})"),
            messages.c.created_at >= now - FAILURE_DAYS,
            invitations.c.state.in_(_UNRATED),
            visible(viewer, messages),
        )
        .order_by(messages.c.created_at, messages.c.id)
    )


def _of_messages(condition: str) -> str:
    return re.sub(r"\b(state|handled_at|kind)\b", r"messages.\1", condition)


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class WorkPage:
    """Rows with their owners. `cursor`: of the next page; None: there is none."""

    rows: list[Any]
    cursor: str | None


def _cursor(*keys: Any) -> str:
    plain = "|".join(key.isoformat() if isinstance(key, datetime) else str(key) for key in keys)
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _behind(cursor: str | None, moment: ColumnElement[Any], key: ColumnElement[Any]) -> ColumnElement[bool] | None:
    """What comes behind a cursor of ours; one that is none is the beginning."""
    if not cursor:
        return None
    try:
        when, _, last = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition("|")
        at = datetime.fromisoformat(when)
    except (ValueError, binascii.Error):
        return None
    if at.tzinfo is None or not _ID.fullmatch(last):
        return None
    # The time alone, too, so that every planner sees a range of the index.
    return and_(moment >= at, or_(moment > at, and_(moment == at, key > last)))


def _masked(keyring: Keyring, sealed: bytes | None) -> str:
    if sealed is None:
        return ""
    try:
        return mask(keyring.open(bytes(sealed)))
    except KeyUnreadable:
        return "?"


@dataclass(frozen=True, slots=True)
class ReplyLine:
    """A reply in a list. `number`: masked; `read_as`: the level that the grammar read; `text` None: undecodable;
    `fit`: where exactly one invitation fits."""

    id: str
    at: datetime
    number: str
    text: str | None
    read_as: Satisfaction | None
    fit: Fit | None
    owner: str | None
    taken_at: datetime | None


@dataclass(frozen=True, slots=True)
class Fit:
    """The one invitation that a reply can mean, with what it asks about."""

    invitation_id: str
    members: tuple[Member, ...]


def replies_page(
    connection: Connection, keyring: Keyring, viewer: Viewer, reason: QueueReason, cursor: str | None, limit: int
) -> WorkPage:
    """Replies that wait for one reason."""
    query = (
        _replies(viewer, reason)
        .with_only_columns(
            messages.c.id,
            messages.c.created_at,
            messages.c.number_sealed,
            messages.c.text,
            messages.c.satisfaction,
            *_FITTING,
            work_owners.c.owner,
            work_owners.c.taken_at,
        )
        .outerjoin(work_owners, owned(WorkKind.REPLY, messages.c.id))
    )
    if cursor and _ID.fullmatch(cursor):
        query = query.where(messages.c.id > cursor)
    found = list(connection.execute(query.limit(limit + 1)))
    clear = _clear(connection, viewer, found[:limit])
    members = _members(connection, viewer, set(clear.values()))
    rows = [
        ReplyLine(
            row.id,
            row.created_at,
            _masked(keyring, row.number_sealed),
            mask_words(row.text),
            Satisfaction(row.satisfaction) if row.satisfaction is not None else None,
            Fit(clear[row.id], tuple(members.get(clear[row.id], ()))) if row.id in clear else None,
            row.owner,
            row.taken_at,
        )
        for row in found[:limit]
    ]
    return WorkPage(rows, rows[-1].id if len(found) > limit else None)


_FITTING = (messages.c.invitation_id, messages.c.number_hash, messages.c.queue_note)


def _clear(connection: Connection, viewer: Viewer, replies: Sequence[Any]) -> dict[str, str]:
    """By a reply's id the one invitation that it can mean: that it was understood to mean; else the only one among
    those of its number and those with its code, whoever may see those. Not one that the viewer may not see."""
    given = load_given(connection, {row.number_hash for row in replies if row.number_hash is not None})
    clear: dict[str, str] = {}
    for row in replies:
        ids = {row.invitation_id}
        if row.invitation_id is None:
            ids = {one.plain.invitation_id for one in given.get(row.number_hash, ())}
            ids |= set(_ID.findall(row.queue_note or ""))
        if len(ids) == 1:
            [clear[row.id]] = ids
    if not clear:
        return {}
    theirs = set(
        connection.execute(
            select(invitations.c.id).where(invitations.c.id.in_(set(clear.values())), visible(viewer, invitations))
        ).scalars()
    )
    return {reply: invitation for reply, invitation in clear.items() if invitation in theirs}


@dataclass(frozen=True, slots=True)
class Ticked:
    """A reply that somebody has ticked: who handled it before, if anybody did, and the one invitation it can mean."""

    handled_at: datetime | None
    handled_by: str | None
    invitation_id: str | None


def ticked_replies(connection: Connection, viewer: Viewer, ids: Sequence[str]) -> dict[str, Ticked]:
    """Of these replies those that the viewer may see."""
    rows = connection.execute(
        select(messages.c.id, messages.c.handled_at, messages.c.handled_by, *_FITTING).where(
            messages.c.id.in_(ids),
            messages.c.direction == "in",
            messages.c.queue.is_not(None),
            visible(viewer, messages),
        )
    ).all()
    clear = _clear(connection, viewer, rows)
    return {row.id: Ticked(row.handled_at, row.handled_by, clear.get(row.id)) for row in rows}


def _paged(
    connection: Connection,
    query: Select[Any],
    cursor: str | None,
    limit: int,
    moment: ColumnElement[Any],
    key: ColumnElement[Any],
) -> WorkPage:
    behind = _behind(cursor, moment, key)
    if behind is not None:
        query = query.where(behind)
    rows = list(connection.execute(query.limit(limit + 1)))
    if len(rows) <= limit:
        return WorkPage(rows, None)
    last = rows[limit - 1]._mapping
    return WorkPage(rows[:limit], _cursor(last[moment], last[key]))


@dataclass(frozen=True, slots=True)
class DeadlineLine:
    """A case with a provisional deadline, and the days that nobody has decided."""

    subject_id: str
    case_no: str
    service_number: int
    dept_code: str | None
    dept_name: str | None
    closed_at: datetime
    deadline: datetime
    doubts: list[Day]
    owner: str | None
    taken_at: datetime | None

    @property
    def years(self) -> list[int]:
        return sorted({one.day.year for one in self.doubts})

    @property
    def first(self) -> date | None:
        return self.doubts[0].day if self.doubts else None


def deadlines_page(
    connection: Connection, viewer: Viewer, rules: DeadlineRules | None, cursor: str | None, limit: int
) -> WorkPage:
    """Cases whose deadline rests on days that are unknown or not confirmed, the first deadline first."""
    query = (
        _deadlines(viewer)
        .with_only_columns(
            cases.c.subject_id,
            cases.c.case_no,
            cases.c.service_number,
            cases.c.dept_code,
            cases.c.dept_name,
            cases.c.area_code,
            cases.c.closed_at,
            cases.c.deadline,
            work_owners.c.owner,
            work_owners.c.taken_at,
        )
        .outerjoin(work_owners, owned(WorkKind.DEADLINE, cases.c.subject_id))
    )
    page = _paged(connection, query, cursor, limit, cases.c.deadline, cases.c.subject_id)
    calendar = rules.calendar.read(connection) if rules is not None else None
    lines = []
    for row in page.rows:
        doubts: list[Day] = []
        if calendar is not None and rules is not None and row.closed_at is not None:
            doubts = calendar.doubts(row.closed_at, rules.working_days, row.area_code or rules.area_code)
        lines.append(
            DeadlineLine(
                row.subject_id,
                row.case_no,
                row.service_number,
                row.dept_code,
                row.dept_name,
                row.closed_at,
                row.deadline,
                doubts,
                row.owner,
                row.taken_at,
            )
        )
    return WorkPage(lines, page.cursor)


def failure_reasons(connection: Connection, viewer: Viewer, now: datetime) -> list[tuple[str, int, datetime]]:
    """SMS that failed by reason: how many, and since when the oldest."""
    found = (
        _failures(viewer, now)
        .with_only_columns(messages.c.reason, messages.c.created_at)
        .order_by(None)
        .limit(MOST)
        .subquery()
    )
    rows = connection.execute(
        select(found.c.reason, func.count().label("n"), func.min(found.c.created_at, type_=messages.c.created_at.type))
        .group_by(found.c.reason)
        .order_by(func.count().desc(), found.c.reason)
    )
    return [(reason or "", n, oldest) for reason, n, oldest in rows]


@dataclass(frozen=True, slots=True)
class FailureLine:
    """An SMS of ours that failed, and whom its invitation asks about."""

    id: str
    at: datetime
    kind: str
    reason: str
    number: str
    subjects: tuple[Member, ...]
    owner: str | None
    taken_at: datetime | None


def failures_page(
    connection: Connection,
    keyring: Keyring,
    viewer: Viewer,
    now: datetime,
    reason: str | None,
    cursor: str | None,
    limit: int,
) -> WorkPage:
    """SMS that failed, of one reason or of all."""
    query = (
        _failures(viewer, now)
        .with_only_columns(
            messages.c.id,
            messages.c.created_at,
            messages.c.kind,
            messages.c.reason,
            messages.c.number_sealed,
            messages.c.invitation_id,
            work_owners.c.owner,
            work_owners.c.taken_at,
        )
        .outerjoin(work_owners, owned(WorkKind.FAILURE, messages.c.id))
    )
    if reason is not None:
        query = query.where(messages.c.reason == reason if reason else messages.c.reason.is_(None))
    page = _paged(connection, query, cursor, limit, messages.c.created_at, messages.c.id)
    about = _members(connection, viewer, {row.invitation_id for row in page.rows})
    lines = [
        FailureLine(
            row.id,
            row.created_at,
            row.kind,
            row.reason or "",
            _masked(keyring, row.number_sealed),
            tuple(about.get(row.invitation_id, ())),
            row.owner,
            row.taken_at,
        )
        for row in page.rows
    ]
    return WorkPage(lines, page.cursor)


# ── one reply ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Member:
    """A call or a case of an invitation, with the rating that stands (`level` None: none). `dept_name`: as it came with
    the record."""

    subject_id: str
    is_case: bool
    number: str
    service_number: int | None
    dept: str | None
    dept_name: str | None
    agent: str | None
    level: Satisfaction | None
    origin: str | None
    channel: str | None
    rated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An invitation that a reply may mean.

    `code`: its extension code; `same_number`: it asked the number that the reply came from; `read_as`: the level that
    the reply's text gives with its key map; `asked_by_hand`: that was done, and is done once.
    """

    id: str
    state: InvitationState
    key_map: str
    asked_at: datetime | None
    ended_at: datetime | None
    code: str
    same_number: bool
    members: tuple[Member, ...]
    asked_by_hand: bool
    read_as: Satisfaction | None


@dataclass(frozen=True, slots=True)
class Reply:
    """All that is known of a reply. `text`: masked; `plain`: as the grammar reads it; `body`: where it has no text."""

    id: str
    at: datetime
    queue: QueueReason
    note: str
    number: str
    has_number: bool
    link: str | None
    our_number: str | None
    code: str | None
    text: str | None
    plain: str | None
    incomplete: bool
    read_as: Satisfaction | None
    why: str | None
    outcome: str | None
    invitation_id: str | None
    number_hash: bytes | None
    handled_at: datetime | None
    handled_by: str | None
    handled_as: str | None
    handled_note: str | None
    owner: str | None
    taken_at: datetime | None
    parts: tuple[StoredPart, ...] = field(default=())


def read_reply(connection: Connection, keyring: Keyring, viewer: Viewer, reply_id: str) -> Reply | None:
    """A reply that waits or waited for a person; None: there is none that this viewer may see."""
    row = connection.execute(
        select(messages, work_owners.c.owner, work_owners.c.taken_at)
        .outerjoin(work_owners, owned(WorkKind.REPLY, messages.c.id))
        .where(
            messages.c.id == reply_id,
            messages.c.direction == "in",
            messages.c.queue.is_not(None),
            visible(viewer, messages),
        )
    ).first()
    if row is None:
        return None
    stored: tuple[StoredPart, ...] = ()
    if row.text is None:
        stored = tuple(
            StoredPart(part.esm_class, part.data_coding, bytes(part.body), part.number, part.total, part.received_at)
            for part in connection.execute(select(parts).where(parts.c.message_id == reply_id).order_by(parts.c.number))
        )
    return Reply(
        id=row.id,
        at=row.created_at,
        queue=QueueReason(row.queue),
        note=row.queue_note or "",
        number=_masked(keyring, row.number_sealed),
        has_number=row.number_sealed is not None,
        link=row.link,
        our_number=row.our_number,
        code=row.code,
        text=mask_words(row.text),
        plain=row.text,
        incomplete=row.reason in NO_LEVEL,
        read_as=Satisfaction(row.satisfaction) if row.satisfaction is not None else None,
        why=row.why,
        outcome=row.outcome,
        invitation_id=row.invitation_id,
        number_hash=row.number_hash,
        handled_at=row.handled_at,
        handled_by=row.handled_by,
        handled_as=row.handled_as,
        handled_note=row.handled_note,
        owner=row.owner,
        taken_at=row.taken_at,
        parts=stored,
    )


def candidates(
    connection: Connection, viewer: Viewer, reply: Reply, sought: str, hear: Callable[[str, str, bool], Heard] | None
) -> list[Candidate]:
    """Invitations that a reply may mean: that it was understood to mean, those of its number, those with its code.

    Args:
        sought: a case's number, or a call's, that somebody has typed in.
    """
    ids: dict[str, None] = {}
    if reply.invitation_id is not None:
        ids[reply.invitation_id] = None
    if sought:
        ids |= dict.fromkeys(_invitations_of(connection, viewer, sought))
    own: set[str] = set()
    if reply.number_hash is not None:
        given = load_given(connection, {reply.number_hash}).get(reply.number_hash, ())
        own = {one.plain.invitation_id for one in given}
        ids |= dict.fromkeys(one.plain.invitation_id for one in sorted(given, key=lambda one: not one.plain.open))
    ids |= dict.fromkeys(_ID.findall(reply.note))
    if not ids:
        return []
    wanted = list(ids)[:_CANDIDATES]
    found = {
        row.id: row
        for row in connection.execute(
            select(invitations).where(invitations.c.id.in_(wanted), visible(viewer, invitations))
        )
    }
    codes_of = {
        row.invitation_id: row.code
        for row in connection.execute(
            select(codes.c.invitation_id, codes.c.code).where(codes.c.invitation_id.in_(wanted))
        )
    }
    by_hand = set(
        connection.execute(
            select(messages.c.once_key).where(messages.c.once_key.in_([f"by-hand:{one}" for one in wanted]))
        ).scalars()
    )
    members = _members(connection, viewer, found)
    result = []
    for identity in wanted:
        row = found.get(identity)
        if row is None:
            continue
        read_as = None
        if hear is not None and reply.plain is not None:
            read_as = hear(reply.plain, row.key_map, reply.incomplete).satisfaction
        result.append(
            Candidate(
                identity,
                InvitationState(row.state),
                row.key_map,
                row.first_asked_at,
                row.ended_at,
                codes_of.get(identity, ""),
                identity in own,
                tuple(members.get(identity, ())),
                f"by-hand:{identity}" in by_hand,
                read_as,
            )
        )
    return result


def _invitations_of(connection: Connection, viewer: Viewer, sought: str) -> list[str]:
    """Invitations about a case, its latest closing first, or about a call, of what the viewer may see."""
    subjects = (
        select(case_keys.c.subject_id)
        .join(cases, cases.c.subject_id == case_keys.c.subject_id)
        .where(case_keys.c.case_no == sought, visible(viewer, cases))
    )
    of_call = (
        select(call_keys.c.subject_id)
        .join(calls, calls.c.subject_id == call_keys.c.subject_id)
        .where(call_keys.c.call_key == sought.removeprefix("H"), visible(viewer, calls))
    )
    rows = connection.execute(
        select(invitation_members.c.invitation_id)
        .where(
            or_(
                invitation_members.c.subject_id.in_(subjects),
                invitation_members.c.subject_id.in_(of_call),
            )
        )
        .order_by(invitation_members.c.invitation_id.desc())
        .limit(_CANDIDATES)
    )
    return list(rows.scalars())


def _members(connection: Connection, viewer: Viewer, ids: Collection[str]) -> dict[str, list[Member]]:
    """Of these invitations the calls and cases that the viewer may see."""
    found: dict[str, list[Member]] = {}
    if not ids:
        return found
    rows = connection.execute(
        select(
            invitation_members.c.invitation_id,
            invitation_members.c.subject_id,
            calls.c.call_key,
            calls.c.agent.label("call_agent"),
            calls.c.dept,
            cases.c.case_no,
            cases.c.service_number,
            cases.c.agent,
            cases.c.dept_code,
            cases.c.dept_name,
            evaluations.c.satisfaction,
            evaluations.c.origin,
            evaluations.c.channel,
            evaluations.c.assess_time,
        )
        .select_from(invitation_members)
        .outerjoin(calls, calls.c.subject_id == invitation_members.c.subject_id)
        .outerjoin(cases, cases.c.subject_id == invitation_members.c.subject_id)
        .outerjoin(
            evaluations,
            and_(
                evaluations.c.subject_id == invitation_members.c.subject_id,
                evaluations.c.effective,
                visible(viewer, evaluations),
            ),
        )
        .where(
            invitation_members.c.invitation_id.in_(list(ids)),
            or_(
                and_(calls.c.subject_id.is_not(None), visible(viewer, calls)),
                and_(cases.c.subject_id.is_not(None), visible(viewer, cases)),
            ),
        )
        .order_by(invitation_members.c.subject_id)
        .limit(20 * _CANDIDATES)
    )
    for row in rows:
        is_case = row.case_no is not None
        found.setdefault(row.invitation_id, []).append(
            Member(
                row.subject_id,
                is_case,
                row.case_no if is_case else row.call_key,
                row.service_number if is_case else None,
                row.dept_code if is_case else row.dept,
                row.dept_name if is_case else None,
                row.agent if is_case else row.call_agent,
                Satisfaction(row.satisfaction) if row.satisfaction is not None else None,
                row.origin,
                row.channel,
                row.assess_time,
            )
        )
    return found


# ── dead letters go again ─────────────────────────────────────────────────────────────────────────────────────────────


def send_again(unit: Unit, now: datetime, viewer: Viewer, ids: Sequence[str], retry: _Retry) -> list[str]:
    """Those of these dead letters that the viewer may see, and that nobody else has taken, go again, as
    `huiyin outbox retry` does it. Which."""
    of_others = select(work_owners.c.item_id).where(
        work_owners.c.kind == WorkKind.LETTER.value,
        work_owners.c.item_id == outbox.c.evaluation_id,
        work_owners.c.owner != viewer.actor,
    )
    wanted = _letters(viewer).where(outbox.c.evaluation_id.in_(list(ids)), ~of_others.correlate(outbox).exists())
    theirs = [row.evaluation_id for row in unit.execute(wanted.with_for_update(of=outbox))]
    if theirs:
        forget_owners(unit, WorkKind.LETTER, theirs)
        retry(unit, now, viewer.actor, theirs)
    return theirs
