"""Whether a posted case is asked, and how its batch or theme goes: pure decisions over frozen facts.

docs/data-model.md has the rules; `cases` loads the facts and stores what is decided.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from intake.numbers import NumberKind
from models.terms import InvitationState

__all__ = ["Invited", "OptOut", "group_due_at", "impossible_reason", "is_open", "told"]


class OptOut(StrEnum):
    """Whose word it is that a number gets no SMS (`opt_outs.origin`)."""

    CITIZEN = "citizen"
    CARRIER = "carrier"


class Invited(StrEnum):
    """What an answer says of the asking."""

    WAITING = "waiting"
    JOINED = "joined"
    NONE = "none"


def impossible_reason(kind: NumberKind, opt_out: OptOut | None, *, too_old: bool) -> str | None:
    """Why no SMS can be sent for a call or a case; None: one can."""
    if kind is not NumberKind.MOBILE:
        return kind.value
    if opt_out is not None:
        return "carrier_opt_out" if opt_out is OptOut.CARRIER else "opted_out"
    return "too_old" if too_old else None


def group_due_at(members: int, size: int | None, now: datetime, wait: timedelta) -> datetime:
    """When a batch or theme is asked: now when it is complete, else `wait` after its newest member, which came now."""
    return now if size is not None and members >= size else now + wait


def is_open(state: InvitationState) -> bool:
    """Whether something may still be sent, or a member may still join."""
    return state is InvitationState.WAITING or state is InvitationState.ASKED


def told(state: InvitationState, reason: str | None, members: int) -> tuple[Invited, str | None]:
    """An invitation, as an answer tells of it."""
    if not is_open(state):
        return Invited.NONE, reason or state.value
    return (Invited.JOINED if members > 1 else Invited.WAITING), None
