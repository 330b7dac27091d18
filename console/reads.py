"""What the API reads: a case with its invitations and evaluations, and evaluations in the order of their commit.

Rules kept here:

* Numbers are masked, whoever reads. Where a citizen wrote one into words, it is masked there, too.
* What a viewer may not see is as if it were not there.
* A page goes by the feed's safe position (docs/data-model.md, `feed`): on PostgreSQL the transaction's id
  and the row's, below the oldest transaction still open; on SQLite the row's. So nothing appears behind a cursor.
* An evaluation whose reason or words came later, or whose case was moved, stands in the feed once more. It is told
  with its content of now, once a page: a follower learns what came, and who reads from the beginning may meet it on two
  pages.
* One page looks at `SCAN` rows of the feed at most, however rare what is asked for: it may be empty and still have a
  next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, false, func, select

from console.masking import mask_words
from console.positions import (
    START,
    CursorGone,
    CursorUnreadable,
    Position,
    behind,
    in_order,
    read_cursor,
    read_edge,
    read_epoch,
    up_to,
    write_cursor,
)
from console.tokens import Scope, Token
from console.viewer import narrowed
from models.clock import SHANGHAI
from models.privacy import Keyring, mask
from models.tables import (
    calls,
    case_keys,
    cases,
    evaluations,
    feed,
    invitation_members,
    invitations,
    messages,
    ratings,
    segments,
)
from models.terms import Channel, FeedKind, Origin, Satisfaction, SegmentState

__all__ = ["SCAN", "CursorGone", "CursorUnreadable", "Filters", "evaluations_page", "mask_words", "read_case", "shown"]

SCAN = 20_000
_TOLD = (FeedKind.EVALUATION.value, FeedKind.DEFAULT.value, FeedKind.AGAIN.value)


@dataclass(frozen=True, slots=True)
class Filters:
    """`start` ≤ time of the rating < `end`; None and empty: whatever."""

    start: datetime | None = None
    end: datetime | None = None
    satisfaction: tuple[Satisfaction, ...] = ()
    channel: Channel | None = None
    agent: str | None = None
    dept: str | None = None
    origin: Origin | None = None
    case_no: str | None = None


def shown(moment: datetime | None) -> str | None:
    """A time as the API tells it: RFC 3339 in Asia/Shanghai."""
    return None if moment is None else moment.astimezone(SHANGHAI).isoformat()


def _may_see(token: Token, dept_code: Any, area_code: Any) -> Any:
    """The condition of what a `read` token may see, over these columns."""
    if token.scope is not Scope.READ:
        return false()
    return narrowed(token.depts, token.areas, dept_code, area_code)


# ── one case ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_case(
    connection: Connection, keyring: Keyring, token: Token, case_no: str, service_number: int | None
) -> dict[str, Any] | None:
    """A case as the API tells it; None: there is none that this token may see. Without a number: the latest closing."""
    may_see = (
        and_(cases.c.posted_by == token.name, cases.c.stub.is_(False))
        if token.scope is Scope.INTAKE
        else _may_see(token, cases.c.dept_code, cases.c.area_code)
    )
    statement = (
        select(cases)
        .join(case_keys, case_keys.c.subject_id == cases.c.subject_id)
        .where(case_keys.c.case_no == case_no, may_see)
        .order_by(cases.c.service_number.desc())
    )
    closings = list(connection.execute(statement))
    found = next((row for row in closings if service_number in (None, row.service_number)), None)
    if found is None:
        return None
    return {
        "case_no": found.case_no,
        "service_number": found.service_number,
        "closings": sorted(row.service_number for row in closings),
        "phone": mask(keyring.open(found.number_sealed)) if found.number_sealed is not None else None,
        "phone_kind": found.number_kind,
        "known_by_call_alone": found.stub,
        "title": mask_words(found.title),
        "task_code": found.task_code,
        "task_name": found.task_name,
        "dept_code": found.dept_code,
        "dept_name": found.dept_name,
        "agent": found.agent,
        "area_code": found.area_code,
        "batch_id": found.batch_id,
        "theme_id": found.theme_id,
        "group_size": found.group_size,
        "consent": found.consent,
        "lang": found.lang,
        "closed_at": shown(found.closed_at),
        "deadline": shown(found.deadline),
        "provisional": bool(found.provisional),
        "withdrawn_at": shown(found.withdrawn_at),
        "invitations": _invitations_of(connection, found.subject_id),
        "evaluations": [
            _evaluation(row)
            for row in connection.execute(
                _OF_SUBJECT
                if token.scope is Scope.INTAKE
                else _OF_SUBJECT.where(_may_see(token, evaluations.c.dept_code, evaluations.c.area_code)),
                {"subject": found.subject_id},
            )
        ],
    }


def _invitations_of(connection: Connection, subject_id: str) -> list[dict[str, Any]]:
    statement = (
        select(invitations)
        .join(invitation_members, invitation_members.c.invitation_id == invitations.c.id)
        .where(invitation_members.c.subject_id == subject_id)
        .order_by(invitations.c.created_at, invitations.c.id)
    )
    found = list(connection.execute(statement))
    sent = _messages_of(connection, [row.id for row in found])
    return [
        {
            "id": row.id,
            "kind": row.kind,
            "state": row.state,
            "reason": row.reason,
            "due_at": shown(row.due_at),
            "first_asked_at": shown(row.first_asked_at),
            "asked_by": row.asked_by,
            "undelivered": row.undelivered,
            "muted": row.muted,
            "created_at": shown(row.created_at),
            "ended_at": shown(row.ended_at),
            "messages": sent.get(row.id, []),
        }
        for row in found
    ]


def _messages_of(connection: Connection, invitation_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Our SMS of each invitation, oldest first. No number and no text is read."""
    statement = (
        select(
            messages.c.id,
            messages.c.invitation_id,
            messages.c.kind,
            messages.c.state,
            messages.c.reason,
            messages.c.created_at,
            messages.c.handed_at,
            messages.c.changed_at,
            segments.c.state.label("segment_state"),
            segments.c.receipt,
            segments.c.receipt_text,
            segments.c.receipt_at,
        )
        .select_from(messages)
        .outerjoin(segments, segments.c.message_id == messages.c.id)
        .where(messages.c.invitation_id.in_(invitation_ids), messages.c.direction == "out")
        .order_by(messages.c.created_at, messages.c.id, segments.c.number)
    )
    parts: dict[str, list[Any]] = {}
    for row in connection.execute(statement):
        parts.setdefault(row.id, []).append(row)
    found: dict[str, list[dict[str, Any]]] = {}
    for rows in parts.values():
        row = rows[0]
        # Of a long text what went wrong is told; else what came last.
        receipts = [one for one in rows if one.receipt is not None]
        failed = [one for one in receipts if one.segment_state == SegmentState.FAILED.value]
        receipt = max(failed or receipts, key=lambda one: one.receipt_at or one.created_at, default=None)
        found.setdefault(row.invitation_id, []).append(
            {
                "kind": row.kind,
                "state": row.state,
                "reason": row.reason,
                "receipt": receipt.receipt if receipt is not None else None,
                "receipt_text": mask_words(receipt.receipt_text) if receipt is not None else None,
                "receipt_at": shown(receipt.receipt_at) if receipt is not None else None,
                "created_at": shown(row.created_at),
                "handed_at": shown(row.handed_at),
                "changed_at": shown(row.changed_at),
            }
        )
    return found


# ── evaluations ───────────────────────────────────────────────────────────────────────────────────────────────────────

_EVALUATION = select(evaluations, calls.c.call_key, cases.c.case_no, ratings.c.late)
_SOURCES = (
    evaluations.outerjoin(calls, calls.c.subject_id == evaluations.c.subject_id)
    .outerjoin(cases, cases.c.subject_id == evaluations.c.subject_id)
    .outerjoin(ratings, ratings.c.id == evaluations.c.rating_id)
)
_OF_SUBJECT = (
    _EVALUATION.select_from(_SOURCES)
    .where(evaluations.c.subject_id == bindparam("subject"))
    .order_by(evaluations.c.assess_number)
)


def _evaluation(row: Any) -> dict[str, Any]:
    level = Satisfaction(row.satisfaction)
    return {
        "id": row.id,
        "subject": row.subject_kind,
        "call": row.call_key,
        "case_no": row.case_no,
        "project_no": row.project_no,
        "service_number": row.service_number,
        "assess_number": row.assess_number,
        "effective": row.effective,
        "satisfaction": level.value,
        "satisfaction_name": level.chinese,
        "channel": row.channel,
        "origin": row.origin,
        "late": bool(row.late),
        "reasons": row.reasons.split(",") if row.reasons else [],
        "comment": mask_words(row.comment),
        "assess_time": shown(row.assess_time),
        "agent": row.agent,
        "queue": row.queue,
        "dept_code": row.dept_code,
        "dept_name": row.dept_name,
        "task_code": row.task_code,
        "task_name": row.task_name,
        "service_name": row.service_name,
        "area_code": row.area_code,
        "pushed_at": shown(row.pushed_at),
        "centre_status": row.centre_status,
        "adoption": row.adoption,
        "follow_up": row.follow_up,
    }


def evaluations_page(
    connection: Connection, token: Token, filters: Filters, cursor: str | None, limit: int
) -> dict[str, Any]:
    """Up to `limit` evaluations behind the cursor, the cursor behind them, and whether there are more by now.

    Raises:
        CursorUnreadable: it is none of ours.
        CursorGone: the database was restored to a time before it.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    epoch = read_epoch(connection)
    after = read_cursor(cursor, epoch) if cursor else START
    # Behind this bound nothing can appear any more; it is read once, for all statements of the page.
    edge = read_edge(connection)
    if after > edge:
        raise CursorGone
    inside = and_(behind(after, sqlite=is_sqlite), up_to(edge, sqlite=is_sqlite))
    order = in_order(sqlite=is_sqlite)
    scanned = select(feed).where(inside).order_by(*order).limit(SCAN).subquery()
    statement = (
        _EVALUATION.add_columns(scanned.c.position, func.coalesce(scanned.c.xid, 0).label("xid"))
        .select_from(
            scanned.join(
                _SOURCES,
                and_(
                    evaluations.c.subject_id == scanned.c.subject_id,
                    evaluations.c.assess_number == scanned.c.assess_number,
                ),
            )
        )
        .where(
            scanned.c.kind.in_(_TOLD),
            _may_see(token, evaluations.c.dept_code, evaluations.c.area_code),
            *_conditions(filters),
        )
        .order_by(*((scanned.c.position,) if is_sqlite else (scanned.c.xid, scanned.c.position)))
        .limit(limit + 1)
    )
    rows = list(connection.execute(statement))
    more = len(rows) > limit
    if more:
        rows = rows[:limit]
        at = _place(rows[-1], is_sqlite)
    else:
        at, more = _scanned_to(connection, inside, order, is_sqlite) or (after, False)
    once = {(row.subject_id, row.assess_number): row for row in rows}
    return {
        "evaluations": [_evaluation(row) for row in once.values()],
        "cursor": write_cursor(epoch, at),
        "more": more,
    }


def _conditions(filters: Filters) -> list[Any]:
    wanted: list[Any] = []
    if filters.start is not None:
        wanted.append(evaluations.c.assess_time >= filters.start)
    if filters.end is not None:
        wanted.append(evaluations.c.assess_time < filters.end)
    if filters.satisfaction:
        wanted.append(evaluations.c.satisfaction.in_([level.value for level in filters.satisfaction]))
    for column, value in (
        (evaluations.c.channel, filters.channel),
        (evaluations.c.agent, filters.agent),
        (evaluations.c.dept_code, filters.dept),
        (evaluations.c.origin, filters.origin),
        (cases.c.case_no, filters.case_no),
    ):
        if value is not None:
            wanted.append(column == value)
    return wanted


def _place(row: Any, is_sqlite: bool) -> Position:
    return Position(0 if is_sqlite else row.xid, row.position)


def _scanned_to(
    connection: Connection, inside: Any, order: Sequence[Any], is_sqlite: bool
) -> tuple[Position, bool] | None:
    """The last row that a page has looked at, and whether there are more behind it; None: there was none."""
    behind = select(feed.c.xid, feed.c.position).where(inside)
    last = connection.execute(behind.order_by(*order).offset(SCAN - 1).limit(1)).first()
    if last is not None:
        return _place(last, is_sqlite), True
    last = connection.execute(behind.order_by(*(column.desc() for column in order)).limit(1)).first()
    return None if last is None else (_place(last, is_sqlite), False)
