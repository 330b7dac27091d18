"""How the SMS channel stands, in numbers: what metrics and health show. A read, made by a tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from models.tables import invitations, messages, receipts
from models.terms import InvitationState, MessageState

__all__ = ["SmsFigures", "sms_figures"]


@dataclass(frozen=True, slots=True)
class SmsFigures:
    """`oldest`: how long the oldest queued SMS that may go already waits; `to_see`: replies a person has to see;
    `receipts`: those that found no message yet."""

    queued: int = 0
    oldest: timedelta = timedelta(0)
    unknown: int = 0
    due: int = 0
    unread: int = 0
    to_see: Mapping[str, int] = field(default_factory=dict)
    receipts: int = 0


def sms_figures(connection: Connection, now: datetime) -> SmsFigures:
    """Each figure is the answer of one partial index."""
    queued = messages.c.state == MessageState.QUEUED.value
    count, oldest = connection.execute(
        select(func.count(), func.min(messages.c.not_before)).where(queued, messages.c.not_before <= now)
    ).one()
    unknown = connection.execute(
        select(func.count()).where(messages.c.settle_at.is_not(None), messages.c.state == MessageState.UNKNOWN.value)
    ).scalar_one()
    due = connection.execute(
        select(func.count()).where(
            invitations.c.state == InvitationState.WAITING.value,
            invitations.c.due_at.is_not(None),
            invitations.c.due_at <= now,
        )
    ).scalar_one()
    unread = connection.execute(select(func.count()).where(messages.c.state == MessageState.UNREAD.value)).scalar_one()
    to_see = connection.execute(
        select(messages.c.queue, func.count())
        .where(messages.c.queue.is_not(None), messages.c.handled_at.is_(None))
        .group_by(messages.c.queue)
    )
    return SmsFigures(
        count,
        now - oldest if oldest is not None else timedelta(0),
        unknown,
        due,
        unread,
        {str(reason): int(number) for reason, number in to_see},
        connection.execute(select(func.count()).select_from(receipts)).scalar_one(),
    )
