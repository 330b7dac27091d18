"""What has not reached the centre: to look at, to count, and to send again.

Functions for the command line and the metrics; each works on a connection that its caller opened, `retry` in a write
transaction that its caller commits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, insert, select, update

from centre.commands import recall_batches
from models.door import Unit
from models.ids import new_id
from models.tables import audit, meta, outbox, push_batches
from models.terms import AuditAction, OutboxState

__all__ = ["PROBE", "Backlog", "OutboxEntry", "Retried", "backlog", "outbox_list", "retry"]

PROBE = "push.probe"
"""Key in `meta`: its change tells the pushers, in whichever process, to try now though they pause."""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An evaluation the centre has not answered for.

    Attributes:
        tries: how often it was sent or said nothing of, by its batch where it is in one.
        why: the dead letter's reason, or the last error of its batch.
    """

    evaluation_id: str
    subject_id: str
    assess_number: int
    state: OutboxState
    created_at: datetime
    not_before: datetime
    tries: int
    held: bool
    in_batch: bool
    why: str | None


def outbox_list(connection: Connection, *, limit: int = 1000, state: OutboxState | None = None) -> list[OutboxEntry]:
    """The outbox, dead letters first, then the oldest. `state`: only these."""
    query = (
        select(
            outbox,
            push_batches.c.id.label("open_batch"),
            push_batches.c.tries.label("batch_tries"),
            push_batches.c.not_before.label("batch_not_before"),
            push_batches.c.last_error,
        )
        .select_from(outbox.outerjoin(push_batches, push_batches.c.id == outbox.c.batch_id))
        .order_by((outbox.c.state == OutboxState.DEAD).desc(), outbox.c.created_at, outbox.c.evaluation_id)
        .limit(limit)
    )
    if state is not None:
        query = query.where(outbox.c.state == state)
    return [
        OutboxEntry(
            evaluation_id=row.evaluation_id,
            subject_id=row.subject_id,
            assess_number=row.assess_number,
            state=OutboxState(row.state),
            created_at=row.created_at,
            not_before=row.not_before if row.open_batch is None else max(row.not_before, row.batch_not_before),
            tries=row.tries + (row.batch_tries or 0),
            held=row.held_by is not None,
            in_batch=row.open_batch is not None,
            why=row.reason or row.last_error,
        )
        for row in connection.execute(query)
    ]


@dataclass(frozen=True, slots=True)
class Retried:
    """`letters`: dead letters put back; `batches`: waiting batches that go now."""

    letters: int
    batches: int


def retry(
    connection: Connection | Unit,
    now: datetime,
    *,
    actor: str,
    evaluation_ids: Sequence[str] | None = None,
    limit: int | None = None,
) -> Retried:
    """Sends again: dead letters (all, or these), and every batch that waits for its next try. Audited.

    A dead letter is mapped anew with the profile as it is when it is taken; evaluationId and assessNumber stay. A
    pusher that pauses tries at its next look, within a second. `limit`: at most so many letters in this transaction;
    while a process takes calls, a caller of this takes 500 at a time until none is left.
    """
    dead = select(outbox.c.evaluation_id, outbox.c.subject_id).where(outbox.c.state == OutboxState.DEAD)
    if evaluation_ids is not None:
        dead = dead.where(outbox.c.evaluation_id.in_(evaluation_ids))
    letters = connection.execute(dead.limit(limit)).all()
    if letters:
        connection.execute(
            update(outbox)
            .where(outbox.c.evaluation_id == bindparam("letter"), outbox.c.state == OutboxState.DEAD)
            .values(state=OutboxState.WAITING, reason=None, batch_id=None, held_by=None, tries=0, not_before=now),
            [{"letter": letter.evaluation_id} for letter in letters],
        )
        sent = [(letter.subject_id, letter.evaluation_id) for letter in letters]
        note(connection, now, actor, AuditAction.PUSH_RETRIED, sent)
    batches = recall_batches(connection, now) if evaluation_ids is None else 0
    mark = new_id()
    if connection.execute(update(meta).where(meta.c.key == PROBE).values(value=mark)).rowcount == 0:
        connection.execute(insert(meta).values(key=PROBE, value=mark))
    return Retried(len(letters), batches)


def note(
    connection: Connection | Unit,
    now: datetime,
    actor: str,
    action: AuditAction,
    evaluations: Sequence[tuple[str, str]],
) -> None:
    """One line of the audit for each evaluation: (subject id, evaluation id)."""
    lines = [
        {
            "id": new_id(),
            "at": now,
            "actor": actor,
            "action": action.value,
            "subject_id": subject_id,
            "detail": json.dumps({"evaluation": evaluation_id}),
        }
        for subject_id, evaluation_id in evaluations
    ]
    connection.execute(insert(audit), lines)


@dataclass(frozen=True, slots=True)
class Backlog:
    """For the metrics.

    Attributes:
        waiting: evaluations without the centre's answer, dead letters apart, held ones included.
        dead: dead letters.
        oldest: age of the oldest waiting one that is not held; zero: none.
    """

    waiting: int
    dead: int
    oldest: timedelta


def backlog(connection: Connection, now: datetime) -> Backlog:
    """How much waits, and since when."""
    counts: dict[str, int] = {
        row.state: row.rows
        for row in connection.execute(select(outbox.c.state, func.count().label("rows")).group_by(outbox.c.state))
    }
    first = connection.execute(
        select(func.min(outbox.c.created_at)).where(
            outbox.c.state == OutboxState.WAITING, (outbox.c.held_by.is_(None)) | (outbox.c.not_before <= now)
        )
    ).scalar_one()
    oldest = max(now - first, timedelta(0)) if first is not None else timedelta(0)
    return Backlog(counts.get(OutboxState.WAITING, 0), counts.get(OutboxState.DEAD, 0), oldest)
