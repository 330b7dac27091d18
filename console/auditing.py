"""What people do in the console, as rows of the audit.

Rules kept here: a row is written in the transaction of what it tells of; no number stands in it, not even one that
somebody typed into a reason. What somebody typed may name a citizen: only the actions of `TypedAction` have such words,
and they go with the citizen's own (intake/blanking.py).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from sqlalchemy import Executable, insert

from console.masking import mask_words
from models.ids import new_id
from models.tables import audit
from models.terms import TOLD_APART, TypedAction

__all__ = ["Action", "Executes", "note"]

_LONGEST = 1000
_TYPED = frozenset(TypedAction)


class Action(StrEnum):
    """What was done; `audit.action` of rows that the console writes."""

    LOGGED_IN = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    LOGGED_OUT = "login.ended"
    USER_ADDED = "user.added"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    PASSWORD_SET = "user.password_set"  # noqa: S105 (an action's name)
    PASSWORD_CHANGED = "user.password_changed"  # noqa: S105
    TOKEN_ADDED = "token.added"  # noqa: S105
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    BOARD_ADDED = "board.added"
    BOARD_REVOKED = "board.revoked"
    NUMBER_REVEALED = TypedAction.NUMBER_REVEALED.value
    WORDS_REVEALED = TypedAction.WORDS_REVEALED.value
    RATING_SEEN = "rating.seen"
    RATING_NOTED = TypedAction.RATING_NOTED.value
    # Written by intake/queue_work.py and by the push, for people of the console.
    WORK_TAKEN = "work.taken"
    WORK_RELEASED = "work.released"
    REPLY_ASSIGNED = "reply.assigned"
    REPLY_ASKED = "reply.asked"
    REPLY_DISMISSED = "reply.dismissed"
    FAILURE_SEEN = "failure.seen"
    LETTER_RETRIED = "push.retry"
    EXPORTED = TypedAction.EXPORTED.value
    EXPORT_ENDED = "ratings.export_ended"
    DIRECTORY_IMPORTED = "directory.imported"


class Executes(Protocol):
    """A connection, or the unit of work of a command."""

    def execute(self, statement: Executable, parameters: Any = None, /) -> Any: ...


def note(
    executes: Executes,
    now: datetime,
    actor: str,
    action: Action,
    *,
    subject_id: str | None = None,
    detail: str | None = None,
    words: str | None = None,
) -> None:
    """Writes a row.

    Args:
        detail: names and codes of ours.
        words: what a person typed; loses whatever is as long as a telephone number.

    Raises:
        ValueError: words under an action of which nobody would take them away again.
    """
    if words and action.value not in _TYPED:
        raise ValueError(f"{action.value} keeps no words for ever: it is no TypedAction")
    told = TOLD_APART.join(part for part in (detail, mask_words(words)) if part)
    executes.execute(
        insert(audit).values(
            id=new_id(),
            at=now,
            actor=actor,
            action=action.value,
            subject_id=subject_id,
            detail=(told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…") or None,
        )
    )
