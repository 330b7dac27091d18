"""A full number, or the words of a reply that hold one, shown once to somebody who says why.

Rules kept here:

* A supervisor may have the number of what they see; a department that of its own bad ratings; nobody else any.
* The reason, who, when and which row stand in the audit before the number is opened: one transaction, committed. The
  number itself never does, not even where somebody types it into the reason.
* What a viewer may not see is as if it were not there.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, false, select

from console.auditing import Action, Executes, note
from console.viewer import ConsoleRole, Viewer, visible
from models.tables import calls, cases, evaluations, invitation_members, messages
from models.terms import Satisfaction

__all__ = ["LONGEST_REASON", "SHORTEST_REASON", "Numbered", "may_reveal", "take_number", "take_words"]

SHORTEST_REASON, LONGEST_REASON = 4, 200


class Numbered(StrEnum):
    """What has a number: a call, a case (by subject id), an SMS (by its id), the words of a reply (by the SMS's id)."""

    CALL = "call"
    CASE = "case"
    MESSAGE = "message"
    WORDS = "words"


_TABLES: dict[Numbered, Table] = {
    Numbered.CALL: calls,
    Numbered.CASE: cases,
    Numbered.MESSAGE: messages,
    Numbered.WORDS: messages,
}


def _key(table: Table) -> ColumnElement[Any]:
    return table.c.id if table is messages else table.c.subject_id


def may_reveal(viewer: Viewer, table: Table) -> ColumnElement[bool]:
    """The condition of the rows of calls, cases or messages whose number a viewer may have."""
    if viewer.role is ConsoleRole.SUPERVISOR:
        return visible(viewer, table)
    if viewer.role is not ConsoleRole.DEPARTMENT:
        return false()
    bad = select(evaluations.c.subject_id).where(
        visible(viewer, evaluations),
        evaluations.c.effective,
        evaluations.c.satisfaction <= Satisfaction.DISSATISFIED.value,
    )
    if table is messages:
        rated = bad.join(invitation_members, invitation_members.c.subject_id == evaluations.c.subject_id).where(
            invitation_members.c.invitation_id == messages.c.invitation_id
        )
        return and_(visible(viewer, table), rated.correlate(messages).exists())
    return and_(visible(viewer, table), bad.where(evaluations.c.subject_id == _key(table)).correlate(table).exists())


def take_number(
    executes: Executes, now: datetime, viewer: Viewer, kind: Numbered, row_id: str, reason: str
) -> bytes | None:
    """The sealed number of a row, its reason written to the audit; None: there is none that this viewer may have.

    Open it (`Keyring.open`) once this has been committed, and not before.
    """
    table = _TABLES[kind]
    row = executes.execute(
        select(table.c.number_sealed).where(
            _key(table) == row_id, table.c.number_sealed.is_not(None), may_reveal(viewer, table)
        )
    ).first()
    if row is None:
        return None
    note(
        executes,
        now,
        viewer.actor,
        Action.NUMBER_REVEALED,
        subject_id=row_id,
        detail=kind.value,
        words=reason,
    )
    return bytes(row.number_sealed)


def take_words(executes: Executes, now: datetime, viewer: Viewer, message_id: str, reason: str) -> bool:
    """Whether a viewer may have the words of a reply unmasked; if so, the reason is written to the audit.

    Read them once this has been committed, and not before.
    """
    row = executes.execute(
        select(messages.c.id).where(
            messages.c.id == message_id,
            messages.c.direction == "in",
            messages.c.queue.is_not(None),
            may_reveal(viewer, messages),
        )
    ).first()
    if row is None:
        return False
    note(executes, now, viewer.actor, Action.WORDS_REVEALED, subject_id=message_id, words=reason)
    return True
