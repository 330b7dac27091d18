"""What a case says anew, its evaluations say too: agent, department, matter and area (docs/adr/0031-moved-cases.md).

Rules kept here:

1. An evaluation of a case copies these from its case, and from nowhere else. When the case is completed, changed or
   told by a call, every evaluation of it is written anew in the same transaction, the replaced ones too: whoever sees
   the case sees its evaluations, and nobody else does.
2. The figures move with it, and the feed tells it once more: boards and readers of the API see it as it is now. Of a
   bad rating it tells `moved`, too: boards that showed it and see it no more take it away.
3. The push takes what stands there when a batch is made. A stored batch, and what the centre has answered, stay.
4. An invitation that asked about cases alone counts for the first of them; it moves with that one.
5. It is compared with what is stored: run twice, the second run changes nothing.
6. Called under the lock of the case and of its invitations (PostgreSQL), which whoever rates it has taken too: a rating
   that is being stored is stored and seen here, or waits and reads what the case says by then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from intake.counted import (
    EVALUATED,
    asked_whose,
    lock_invitations,
    note_evaluation,
    note_invitation,
    whom_they_ask,
)
from models.door import Bulk, Many, Unit
from models.reads import Read, any_of
from models.tables import evaluations, feed, invitations
from models.terms import FeedKind, Origin, Satisfaction, SubjectKind

__all__ = ["Copied", "evaluations_follow", "invitations_follow"]


class Copied(NamedTuple):
    """What an evaluation copies from its case."""

    agent: str | None
    dept_code: str | None
    dept_name: str | None
    task_code: str | None
    task_name: str | None
    area_code: str | None

    def is_seen_like(self, row: Any) -> bool:
        """By the same people as an evaluation's row."""
        return (self.dept_code, self.area_code) == (row.dept_code, row.area_code)


_OF_CASES = Read(
    select(*EVALUATED, evaluations.c.dept_name, evaluations.c.task_code, evaluations.c.task_name)
    .where(any_of(evaluations.c.subject_id))
    .order_by(evaluations.c.subject_id, evaluations.c.assess_number)
    .with_for_update(),
    listed=True,
)
_RESTATE = Many(
    update(evaluations)
    .where(evaluations.c.subject_id == bindparam("subject"), evaluations.c.assess_number == bindparam("number"))
    .values({name: bindparam(f"new_{name}") for name in Copied._fields}),
    ("subject", "number", *(f"new_{name}" for name in Copied._fields)),
)
_FEED = Bulk(feed, ("kind", "subject_id", "assess_number", "at"))
_ASKED_FOR = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(asked_dept=bindparam("dept"), asked_area=bindparam("area")),
    ("invitation", "dept", "area"),
)


def evaluations_follow(unit: Unit, said: Mapping[str, Copied], now: datetime) -> None:
    """The evaluations of these cases say what their cases say. `said`: by subject."""
    rows = _OF_CASES.rows(unit, values=sorted(said)) if said else []
    behind = [row for row in rows if said[row.subject_id] != _copied(row)]
    for row in behind:
        if row.effective:
            note_evaluation(unit, -1, row)
            note_evaluation(unit, 1, row._replace(**said[row.subject_id]._asdict()))
    unit.many(_RESTATE, [(row.subject_id, row.assess_number, *said[row.subject_id]) for row in behind])
    unit.insert(_FEED, [(FeedKind.AGAIN.value, row.subject_id, row.assess_number, now) for row in behind])
    gone = [row for row in behind if _on_boards(row) and not said[row.subject_id].is_seen_like(row)]
    unit.insert(_FEED, [(FeedKind.MOVED.value, row.subject_id, row.assess_number, now) for row in gone])


def _on_boards(row: Any) -> bool:
    return bool(row.effective) and row.origin == Origin.CITIZEN.value and Satisfaction(row.satisfaction).is_bad


def _copied(row: Any) -> Copied:
    return Copied(*(getattr(row, name) for name in Copied._fields))


def invitations_follow(
    unit: Unit, before: Mapping[str, Collection[tuple[str | None, str | None]]], area: str | None
) -> None:
    """Invitations that were counted for a case that says another department or area by now count for that.

    Args:
        before: department and area that the cases of an invitation have left, by its id.
        area: of a case that tells none.
    """
    ids = sorted(before)
    asking = whom_they_ask(unit, ids, area)
    moved = []
    for identity, row in lock_invitations(unit, ids).items():
        counted, whose = asked_whose(row), asking.get(identity)
        if counted is None or whose is None or SubjectKind.CALL in (counted.kind, whose.kind):
            continue
        if whose == counted or (counted.dept, counted.area) not in before[identity]:
            continue
        note_invitation(unit, -1, row)
        note_invitation(unit, 1, row._replace(asked_dept=whose.dept, asked_area=whose.area))
        moved.append((identity, whose.dept, whose.area))
    unit.many(_ASKED_FOR, moved)
