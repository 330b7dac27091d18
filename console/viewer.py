"""Who looks, and what of the record they may see.

Rules kept here:

* One `Viewer`, one function: `visible(viewer, table)` is a condition that every query of the console carries. What a
  viewer may not see is as if it were not there, in pages, figures, exports and by a guessed address alike.
* Admins and auditors see no rows of the record. A department sees what is its own: CASEs by `dept_code`, CALLs by
  `dept`. Areas are beginnings of area codes. Departments and areas narrow a supervisor and a wall screen, too.
* An evaluation says of department and area what its call or case says (intake/restated.py): they are seen together.
* An SMS is seen through the invitation it belongs to. One that belongs to none is seen by who sees everything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, false, func, or_, select, true

from models.tables import calls, cases, evaluations, invitation_members, invitations, messages, ratings

__all__ = [
    "ConsoleRole",
    "Viewer",
    "may_see",
    "narrowed",
    "read_codes",
    "stored_codes",
    "told_codes",
    "visible",
    "visible_among",
    "wholly_visible",
]


class ConsoleRole(StrEnum):
    """What a person of the console is. `BOARD` is no person: a wall screen with a token."""

    SUPERVISOR = "supervisor"
    DEPARTMENT = "department"
    AUDITOR = "auditor"
    ADMIN = "admin"
    BOARD = "board"


_SEES_RECORD = frozenset({ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT, ConsoleRole.BOARD})


@dataclass(frozen=True, slots=True)
class Viewer:
    """`depts`: department codes, `areas`: beginnings of area codes; empty: all (for a department: none)."""

    name: str
    role: ConsoleRole
    depts: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()

    @property
    def actor(self) -> str:
        """The name in the audit."""
        return f"user:{self.name}"

    @property
    def sees_record(self) -> bool:
        """Calls, cases and ratings at all."""
        if self.role is ConsoleRole.DEPARTMENT:
            return bool(self.depts or self.areas)
        return self.role in _SEES_RECORD

    @property
    def sees_all(self) -> bool:
        return self.sees_record and not self.depts and not self.areas


def stored_codes(codes: Sequence[str]) -> str | None:
    """Departments or areas as users and tokens are stored with them; None: all."""
    return json.dumps(list(codes)) if codes else None


def read_codes(stored: str | None) -> tuple[str, ...]:
    """And back."""
    return tuple(json.loads(stored or "[]"))


def told_codes(depts: Sequence[str], areas: Sequence[str]) -> str:
    """The same as the audit tells it, behind a name (console/pages/audit_words.py reads it back); empty: all."""
    return "".join([*(f" dept={code}" for code in depts), *(f" area={code}" for code in areas)])


def narrowed(
    depts: Sequence[str], areas: Sequence[str], dept_code: ColumnElement[Any], area_code: ColumnElement[Any]
) -> ColumnElement[bool]:
    """The condition of these departments and areas, over these columns; empty: all."""
    conditions: list[ColumnElement[bool]] = []
    if depts:
        conditions.append(dept_code.in_(depts))
    if areas:
        conditions.append(or_(*(area_code.startswith(area, autoescape=True) for area in areas)))
    return and_(true(), *conditions)


def visible_among(viewer: Viewer) -> ColumnElement[bool]:
    """`visible` of evaluations that another condition has found: no index of a department or an area is led by it."""
    if not viewer.sees_record:
        return false()
    if viewer.sees_all:
        return true()
    return narrowed(viewer.depts, viewer.areas, evaluations.c.dept_code.concat(""), evaluations.c.area_code.concat(""))


def visible(viewer: Viewer, table: Table) -> ColumnElement[bool]:
    """The condition of the rows of a table that a viewer may see: evaluations, cases, calls, invitations, messages.

    Raises:
        ValueError: nobody has said yet who may see this table.
    """
    if table not in (evaluations, cases, calls, invitations, messages, ratings):
        raise ValueError(f"who may see {table.name} is not settled; add it to console/viewer.py")
    if not viewer.sees_record:
        return false()
    if viewer.sees_all:
        return true()
    if table is evaluations or table is cases:
        return narrowed(viewer.depts, viewer.areas, table.c.dept_code, table.c.area_code)
    if table is calls:
        return narrowed(viewer.depts, viewer.areas, calls.c.dept, calls.c.area_code)
    if table is ratings:
        return (
            select(evaluations.c.id)
            .where(evaluations.c.rating_id == ratings.c.id, visible(viewer, evaluations))
            .correlate(ratings)
            .exists()
        )
    invitation_id = invitations.c.id if table is invitations else messages.c.invitation_id
    members = select(invitation_members.c.subject_id).where(invitation_members.c.invitation_id == invitation_id)
    return or_(
        *(
            members.join(subject, subject.c.subject_id == invitation_members.c.subject_id)
            .where(visible(viewer, subject))
            .correlate(table)
            .exists()
            for subject in (cases, calls)
        )
    )


def wholly_visible(viewer: Viewer) -> ColumnElement[bool]:
    """The condition of the invitations of which a viewer may see every call and case."""
    hidden = (
        select(invitation_members.c.subject_id)
        .outerjoin(cases, cases.c.subject_id == invitation_members.c.subject_id)
        .outerjoin(calls, calls.c.subject_id == invitation_members.c.subject_id)
        .where(
            invitation_members.c.invitation_id == invitations.c.id,
            ~or_(
                and_(cases.c.subject_id.is_not(None), func.coalesce(visible(viewer, cases), false())),
                and_(calls.c.subject_id.is_not(None), func.coalesce(visible(viewer, calls), false())),
            ),
        )
        .correlate(invitations)
    )
    return and_(visible(viewer, invitations), ~hidden.exists())


def may_see(viewer: Viewer, dept_code: str | None, area_code: str | None) -> bool:
    """The same for an evaluation or a case in memory, such as one that a feed has just told."""
    if not viewer.sees_record:
        return False
    return (not viewer.depts or dept_code in viewer.depts) and (
        not viewer.areas or any((area_code or "").startswith(area) for area in viewer.areas)
    )
