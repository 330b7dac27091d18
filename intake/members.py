"""Who is asked by an invitation: how many subjects, of them still open, with a default alone, and calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, func, select

from models.door import Unit
from models.tables import cases, evaluations, invitation_members
from models.terms import Origin

__all__ = ["Members", "count_members"]


@dataclass(frozen=True, slots=True)
class Members:
    """`open`: neither rated, by whomever, nor withdrawn; `defaulted`: by nobody yet but the default."""

    all: int = 0
    open: int = 0
    defaulted: int = 0
    calls: int = 0


_IS_OPEN = and_(evaluations.c.id.is_(None), cases.c.withdrawn_at.is_(None))
_IS_DEFAULTED = and_(evaluations.c.origin == Origin.DEFAULT.value, cases.c.withdrawn_at.is_(None))
_COUNT = (
    select(
        invitation_members.c.invitation_id,
        func.count().label("members"),
        func.count().filter(_IS_OPEN).label("open_members"),
        func.count().filter(_IS_DEFAULTED).label("defaulted"),
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
        row.invitation_id: Members(row.members, row.open_members, row.defaulted, row.calls)
        for row in unit.execute(_COUNT, {"ids": list(invitation_ids)})
    }
