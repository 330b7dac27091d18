"""Replies that wait for a person, for who has no console: a list, oldest first. Only looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select

from models.tables import messages, work_owners
from models.terms import QueueReason, WorkKind

__all__ = ["WaitingReply", "count_waiting", "waiting_replies"]

_WAIT = and_(messages.c.queue.is_not(None), messages.c.handled_at.is_(None))


@dataclass(frozen=True, slots=True)
class WaitingReply:
    """`text` None: it could not be decoded; `owner`: who has taken it."""

    id: str
    queue: QueueReason
    at: datetime
    number_sealed: bytes | None
    text: str | None
    owner: str | None


def waiting_replies(connection: Connection, limit: int) -> list[WaitingReply]:
    """Up to `limit` replies, oldest first."""
    rows = connection.execute(
        select(
            messages.c.id,
            messages.c.queue,
            messages.c.created_at,
            messages.c.number_sealed,
            messages.c.text,
            work_owners.c.owner,
        )
        .outerjoin(
            work_owners,
            and_(work_owners.c.kind == WorkKind.REPLY.value, work_owners.c.item_id == messages.c.id),
        )
        .where(_WAIT)
        .order_by(messages.c.id)
        .limit(limit)
    )
    return [
        WaitingReply(
            row.id,
            QueueReason(row.queue),
            row.created_at,
            bytes(row.number_sealed) if row.number_sealed is not None else None,
            row.text,
            row.owner,
        )
        for row in rows
    ]


def count_waiting(connection: Connection) -> dict[QueueReason, int]:
    """How many wait, by reason."""
    rows = connection.execute(select(messages.c.queue, func.count().label("n")).where(_WAIT).group_by(messages.c.queue))
    found = {QueueReason(row.queue): int(row.n) for row in rows}
    return {reason: found[reason] for reason in QueueReason if reason in found}
