"""Who is asked by an invitation: how many subjects, how many of them still open, and how many of them are calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, func, select

from models.door import Unit
from models.tables import cases, evaluations, invitation_members

__all__ = ["Members", "count_members"]


@dataclass(frozen=True, slots=True)
class Members:
    """`open`: neither rated nor withdrawn."""

    all: int = 0
    open: int = 0
    calls: int = 0


_IS_OPEN = and_(evaluations.c.id.is_(None), cases.c.withdrawn_at.is_(None))
_COUNT = (
    select(
        invitation_members.c.invitation_id,
        func.count().label("members"),
        func.count().filter(_IS_OPEN).label("open_members"),
        func.count().filter(cases.c.subject_id.is_(None)).label("calls"),
    )
    .select_from(invitation_members)
    .outerjoin(cases, cases.c.subject_id == invitation_members.c.subject_id)
    .outerjoin(evaluations, and_(evaluations.c.subject_id == invitation_members.c.subject_id, evaluations.c.effective))
    .where(invitation_members.c.invitation_id.in_(bindparam("ids", expanding=True)))
    .group_by(invitation_members.c.invitation_id)
)


def count_members(unit: Unit, invitation_ids: Collection[str]) -> Mapping[str, Members]:
    """The members of these invitations; one without any is missing."""
    return {
        row.invitation_id: Members(row.members, row.open_members, row.calls)
        for row in unit.execute(_COUNT, {"ids": list(invitation_ids)})
    }
