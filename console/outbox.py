"""What has not reached the centre 待推送, 推送失败: what it is, for how long, what holds it back.

Rules kept here:

* Each query carries `visible`: of what a viewer may not see nothing is read and nothing counted.
* A backlog of a week has a million rows. Each view goes along an index in the index's order, and one look is at most
  `LOOK` rows, whoever looks: a page of somebody who sees little may be short, and goes on.
* A count looks at `MOST` rows, or at `LOOK` where each has to be looked up in the record, and then says that there are
  more.
* Dead letters wait for a person (console/queues.py sends them again); for the others the push does what can be done.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, literal_column, or_, select

from console.viewer import Viewer, visible
from models.tables import evaluations, outbox, push_batches, work_owners
from models.terms import BatchState, OutboxState, Satisfaction, WorkKind

__all__ = [
    "IS_DEAD",
    "IS_WAITING",
    "LOOK",
    "MOST",
    "Count",
    "OutboxLine",
    "OutboxPage",
    "OutboxView",
    "Stage",
    "outbox_count",
    "outbox_page",
    "owned",
]

MOST = 10_000
"""Rows of an index that a count looks at."""
LOOK = 200
"""Rows that are looked up in the record for one page or count."""
_ID = re.compile(r"[0-9a-f]{32}")

# Literals, not parameters: only so do both databases see that the partial indexes fit.
IS_WAITING = outbox.c.state == literal_column(f"'{OutboxState.WAITING}'")
IS_DEAD = outbox.c.state == literal_column(f"'{OutboxState.DEAD}'")
_OPEN = push_batches.c.state == literal_column(f"'{BatchState.OPEN}'")
_IN_BATCH = push_batches.c.id == outbox.c.batch_id
_SINCE = outbox.c.created_at.type


def owned(kind: WorkKind, key: ColumnElement[Any]) -> ColumnElement[bool]:
    """Joins who has taken an item of a queue."""
    return and_(work_owners.c.kind == kind.value, work_owners.c.item_id == key)


def _evaluation_of(columns: Any) -> ColumnElement[bool]:
    return and_(evaluations.c.subject_id == columns.subject_id, evaluations.c.assess_number == columns.assess_number)


@dataclass(frozen=True, slots=True)
class Count:
    """How many wait, and since when the oldest does. `more`: there are more than `n`. `free`: nobody has taken them."""

    n: int = 0
    oldest: datetime | None = None
    more: bool = False
    free: int = 0


class OutboxView(StrEnum):
    """Which rows: all, the oldest first; those whose time has not come, the next first; those in a batch that failed,
    the oldest batch first; dead letters, the oldest first."""

    ALL = "all"
    HELD = "held"
    RETRIED = "retried"
    DEAD = "dead"


class Stage(StrEnum):
    """Where a row stands."""

    DUE = "due"
    """It goes with the next batch."""
    HELD = "held"
    """A bad rating, whose reason is still awaited."""
    RETURNED = "returned"
    """The centre answered its batch and said nothing of it."""
    SENDING = "sending"
    RETRIED = "retried"
    """Its batch failed and goes again."""
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class OutboxLine:
    """An evaluation for which the centre has not answered.

    `tries`: failures so far; `next_at`: not before then, None: at once; `error`: why it is a dead letter, or the last
    one of its batch; `dept_name`: as it came with the record; `owner`: who has taken the letter. What is of the
    evaluation is None where the record has lost it.
    """

    evaluation_id: str
    since: datetime
    stage: Stage
    tries: int
    next_at: datetime | None
    error: str | None
    subject_id: str
    subject_kind: str | None
    project_no: str | None
    assess_number: int
    satisfaction: Satisfaction | None
    origin: str | None
    assess_time: datetime | None
    dept: str | None
    dept_name: str | None
    owner: str | None
    taken_at: datetime | None


@dataclass(frozen=True, slots=True)
class OutboxPage:
    """`cursor`: of the next page, which may be there though this one is short; None: there is none."""

    rows: list[OutboxLine]
    cursor: str | None


def outbox_count(connection: Connection, viewer: Viewer, view: OutboxView, now: datetime) -> Count:
    """How many are in a view, of those the viewer may see."""
    if not viewer.sees_record:
        return Count()
    most = MOST if viewer.sees_all else LOOK
    keys = _keys(view, now).add_columns(outbox.c.created_at)
    if viewer.sees_all:
        found = keys.limit(most + 1).subquery("found")
        theirs: ColumnElement[Any] = literal_column("1")
        whole: Any = found
        since: ColumnElement[Any] = found.c.created_at
    else:
        found = keys.add_columns(outbox.c.subject_id, outbox.c.assess_number).limit(most + 1).subquery("found")
        theirs = evaluations.c.id
        whole = found.outerjoin(evaluations, and_(_evaluation_of(found.c), visible(viewer, evaluations)))
        since = case((theirs.is_not(None), found.c.created_at))
    taken = case((theirs.is_not(None), work_owners.c.owner))
    looked, n, oldest, owners = connection.execute(
        select(func.count(), func.count(theirs), func.min(since, type_=_SINCE), func.count(taken)).select_from(
            whole.outerjoin(work_owners, owned(WorkKind.LETTER, found.c.evaluation_id))
        )
    ).one()
    return Count(min(n, most), oldest, looked > most, min(n - owners, most))


def _keys(view: OutboxView, now: datetime) -> Select[Any]:
    """The rows of a view by nothing but the outbox and its batches, in their order."""
    if view in (OutboxView.ALL, OutboxView.DEAD):
        state = IS_WAITING if view is OutboxView.ALL else IS_DEAD
        return select(outbox.c.evaluation_id).where(state).order_by(outbox.c.created_at, outbox.c.evaluation_id)
    if view is OutboxView.HELD:
        return (
            select(outbox.c.evaluation_id)
            .where(outbox.c.batch_id.is_(None), IS_WAITING, outbox.c.not_before > now)
            .order_by(outbox.c.not_before, outbox.c.evaluation_id)
        )
    return (
        select(outbox.c.evaluation_id)
        .join(push_batches, _IN_BATCH)
        .where(outbox.c.batch_id.is_not(None), _OPEN, push_batches.c.tries > 0)
        .order_by(outbox.c.batch_id, outbox.c.evaluation_id)
    )


_ORDER: dict[OutboxView, Any] = {
    OutboxView.ALL: outbox.c.created_at,
    OutboxView.HELD: outbox.c.not_before,
    OutboxView.RETRIED: outbox.c.batch_id,
    OutboxView.DEAD: outbox.c.created_at,
}


def outbox_page(
    connection: Connection, viewer: Viewer, view: OutboxView, now: datetime, cursor: str | None, limit: int
) -> OutboxPage:
    """The rows of a view behind a cursor, `limit` at most. A cursor that is none of ours is the beginning."""
    if not viewer.sees_record:
        return OutboxPage([], None)
    order = _ORDER[view]
    most = limit if viewer.sees_all else LOOK
    keys = _keys(view, now).with_only_columns(*outbox.c, maintain_column_froms=True)
    if (behind := _behind(cursor, view, order)) is not None:
        keys = keys.where(behind)
    looked = keys.limit(most + 1).subquery("looked")
    of_it = looked.c
    rows = connection.execute(
        select(
            looked,
            push_batches.c.tries.label("batch_tries"),
            push_batches.c.not_before.label("batch_not_before"),
            push_batches.c.last_error,
            evaluations.c.id.label("found"),
            evaluations.c.subject_kind,
            evaluations.c.project_no,
            evaluations.c.satisfaction,
            evaluations.c.origin,
            evaluations.c.assess_time,
            evaluations.c.dept_code,
            evaluations.c.dept_name,
            work_owners.c.owner,
            work_owners.c.taken_at,
        ).select_from(
            looked.outerjoin(push_batches, push_batches.c.id == of_it.batch_id)
            .outerjoin(evaluations, and_(_evaluation_of(of_it), visible(viewer, evaluations)))
            .outerjoin(work_owners, owned(WorkKind.LETTER, of_it.evaluation_id))
        )
    ).all()
    rows = sorted(rows, key=lambda row: (row._mapping[order.name], row.evaluation_id))
    shown: list[OutboxLine] = []
    for place, row in enumerate(rows):
        if place == most or len(shown) == limit:
            return OutboxPage(shown, _cursor(view, rows[place - 1], order.name))
        if row.found is not None or viewer.sees_all:
            shown.append(_line(row, now))
    return OutboxPage(shown, None)


def _line(row: Row[Any], now: datetime) -> OutboxLine:
    next_at = row.not_before if row.batch_not_before is None else max(row.not_before, row.batch_not_before)
    return OutboxLine(
        row.evaluation_id,
        row.created_at,
        _stage(row, now),
        row.tries + (row.batch_tries or 0),
        next_at if next_at > now else None,
        row.reason or row.last_error,
        row.subject_id,
        row.subject_kind,
        row.project_no,
        row.assess_number,
        Satisfaction(row.satisfaction) if row.satisfaction is not None else None,
        row.origin,
        row.assess_time,
        row.dept_code,
        row.dept_name,
        row.owner,
        row.taken_at,
    )


def _stage(row: Row[Any], now: datetime) -> Stage:
    if row.state == OutboxState.DEAD.value:
        return Stage.DEAD
    if row.batch_tries is not None:
        return Stage.RETRIED if row.batch_tries else Stage.SENDING
    if row.tries:
        return Stage.RETURNED
    return Stage.HELD if row.not_before > now else Stage.DUE


# ── cursors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cursor(view: OutboxView, row: Row[Any], order: str) -> str:
    key = row._mapping[order]
    told = key.isoformat() if isinstance(key, datetime) else key
    return base64.urlsafe_b64encode(f"{view.value}|{told}|{row.evaluation_id}".encode()).decode().rstrip("=")


def _behind(cursor: str | None, view: OutboxView, order: ColumnElement[Any]) -> ColumnElement[bool] | None:
    if not cursor:
        return None
    try:
        parts: Sequence[str] = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split("|")
        of, told, last = parts
        key: Any = told if view is OutboxView.RETRIED else datetime.fromisoformat(told)
    except (ValueError, binascii.Error):
        return None
    if of != view.value or not _ID.fullmatch(last):
        return None
    if not (_ID.fullmatch(told) if isinstance(key, str) else key.tzinfo is not None):
        return None
    # The first key alone, too, so that every planner sees a range of the index.
    return and_(order >= key, or_(order > key, and_(order == key, outbox.c.evaluation_id > last)))
