"""The end of an invitation: whatever ends it, the same things follow, in one place.

Nothing more is sent: its number goes (ADR 0009), messages that are still queued are cancelled, its extension code
begins to rest, a batch or theme takes no further member. What is said about an opt-out still goes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, or_, update

from models.door import Many, Unit
from models.tables import codes, invitations, messages
from models.terms import InvitationState, MessageKind, MessageState

__all__ = ["Ending", "end_invitations", "stop_sending"]


@dataclass(frozen=True, slots=True)
class Ending:
    """An invitation that leaves `waiting` and `asked` for good: for which state, why, when."""

    invitation_id: str
    state: InvitationState
    reason: str | None
    at: datetime


_IS_OPEN = or_(invitations.c.state == InvitationState.WAITING.value, invitations.c.state == InvitationState.ASKED.value)
_END = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"), _IS_OPEN)
    .values(
        state=bindparam("new_state"),
        reason=bindparam("why"),
        ended_at=bindparam("at"),
        changed_at=bindparam("at"),
        due_at=None,
        not_after=None,
        group_key=None,
        number_sealed=None,
        number_hash=None,
        number_tail=None,
        number_key_id=None,
    ),
    ("invitation", "new_state", "why", "at"),
)
_CANCEL = Many(
    update(messages)
    .where(
        messages.c.invitation_id == bindparam("invitation"),
        messages.c.state == MessageState.QUEUED.value,
        messages.c.kind != MessageKind.OPTED_OUT.value,
        messages.c.kind != MessageKind.OPTED_IN.value,
    )
    .values(state=MessageState.CANCELLED.value, reason=bindparam("why"), changed_at=bindparam("at"), settle_at=None),
    ("invitation", "why", "at"),
)
_END_CODES = Many(
    update(codes)
    .where(codes.c.invitation_id == bindparam("invitation"), codes.c.ended_at.is_(None))
    .values(ended_at=bindparam("at")),
    ("invitation", "at"),
)


def end_invitations(unit: Unit, endings: Sequence[Ending]) -> None:
    """Ends those of the invitations that are open; of one that has ended already nothing changes but what is queued."""
    if not endings:
        return
    unit.many(_END, [(one.invitation_id, one.state.value, one.reason, one.at) for one in endings])
    stop_sending(unit, endings)


def stop_sending(unit: Unit, endings: Sequence[Ending]) -> None:
    """Cancels what is queued for these invitations, and their codes begin to rest; their own rows stay as they are."""
    unit.many(_CANCEL, [(one.invitation_id, one.reason or one.state.value, one.at) for one in endings])
    unit.many(_END_CODES, [(one.invitation_id, one.at) for one in endings])
