"""Extension codes 扩展码: which digits after the service number a citizen's invitation gets.

A code belongs to the citizen's number over all links. Order of giving out (docs/data-model.md, `codes`): never used;
longest free; all resting: the one that ended longest ago; all open: none, the invitation waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = ["Choice", "GivenCode", "choose_code"]


@dataclass(frozen=True, slots=True)
class GivenCode:
    """A code that a number has had. `ended_at` None: its invitation is open."""

    code: str
    invitation_id: str
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Choice:
    """`taken`: the row of an ended invitation that is given anew."""

    code: str
    taken: bool


def choose_code(given: Sequence[GivenCode], digits: int) -> Choice | None:
    """The next code of a number; None: all are open. Ended ones go by their end, so the free ones come first.

    Args:
        digits: 1 to 6.
    """
    used = {one.code for one in given if len(one.code) == digits}
    if len(used) < 10**digits:
        # A number has few invitations: the first digits that are free are found at once.
        return Choice(next(code for n in range(10**digits) if (code := f"{n:0{digits}}") not in used), False)
    ended = [(one.ended_at, one.code) for one in given if one.ended_at is not None and len(one.code) == digits]
    return Choice(min(ended)[1], True) if ended else None
