"""What the intake's commands note for the figures (models/rollups.py): from rows of the record to what they count for.

An invitation counts where its call counts, by the call's agent, queue and department; one about cases alone by the
department of the first of them. What it counted for when it was first asked is stored with it (`asked_…`), so that it
is found again whatever becomes of its members.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, select

from models.door import Unit
from models.reads import Read, any_of
from models.rollups import Whose
from models.tables import calls, cases, evaluations, invitation_members, invitations
from models.terms import Adoption, Channel, Origin, Satisfaction, SubjectKind

__all__ = [
    "ASKED_COLUMNS",
    "ASKED_NAMES",
    "ASKED_SET",
    "EVALUATED",
    "EVALUATION_COLUMNS",
    "UNTOLD",
    "asked_values",
    "asked_whose",
    "lock_invitations",
    "no_longer_effective",
    "note_evaluation",
    "note_invitation",
    "reasons_given",
    "whom_they_ask",
    "whose_evaluation",
]

ASKED_COLUMNS = ("asked_kind", "asked_agent", "asked_queue", "asked_dept", "asked_area")
ASKED_NAMES = tuple(f"new_{name}" for name in ASKED_COLUMNS)
"""The same as parameters of an UPDATE."""
ASKED_SET: dict[str, Any] = {name: bindparam(f"new_{name}", type_=invitations.c[name].type) for name in ASKED_COLUMNS}
EVALUATION_COLUMNS = tuple(column.name for column in evaluations.columns)[
    : evaluations.columns.keys().index("created_at") + 1
]
"""What an evaluation is stored with; behind these stand what a default knows, and what the centre says later."""
UNTOLD = (None,) * len(ASKED_COLUMNS)
"""The values of ASKED_COLUMNS of an invitation that nobody was asked by."""


def asked_values(whose: Whose) -> tuple[str | None, ...]:
    """The values of ASKED_COLUMNS."""
    return (whose.kind.value, whose.agent, whose.queue, whose.dept, whose.area)


def asked_whose(row: Any) -> Whose | None:
    """What an invitation was counted for when it was first asked; None: it was not asked."""
    if row.first_asked_at is None:
        return None
    return Whose(
        SubjectKind(row.asked_kind or row.kind), row.asked_agent, row.asked_queue, row.asked_dept, row.asked_area
    )


def note_invitation(unit: Unit, count: int, row: Any) -> None:
    """Counts an invitation as its row says (`first_asked_at`, `asked_by`, `responded_at`, ASKED_COLUMNS, `kind`)."""
    whose = asked_whose(row)
    if whose is not None:
        unit.deltas.invitation(count, whose, row.first_asked_at, row.asked_by, responded=row.responded_at is not None)


_LOCKED = Read(
    select(
        invitations.c.id,
        invitations.c.kind,
        invitations.c.state,
        invitations.c.first_asked_at,
        invitations.c.asked_by,
        invitations.c.responded_at,
        *(invitations.c[name] for name in ASKED_COLUMNS),
    )
    .where(any_of(invitations.c.id))
    .order_by(invitations.c.id)
    .with_for_update(),
    listed=True,
)
_MEMBERS = Read(
    select(
        invitation_members.c.invitation_id,
        calls.c.subject_id.label("call_id"),
        calls.c.agent,
        calls.c.queue,
        calls.c.dept,
        calls.c.area_code,
        cases.c.dept_code,
        cases.c.area_code.label("case_area"),
    )
    .select_from(invitation_members)
    .outerjoin(calls, calls.c.subject_id == invitation_members.c.subject_id)
    .outerjoin(cases, cases.c.subject_id == invitation_members.c.subject_id)
    .where(any_of(invitation_members.c.invitation_id))
    .order_by(invitation_members.c.invitation_id, invitation_members.c.subject_id),
    listed=True,
)


def lock_invitations(unit: Unit, ids: Collection[str]) -> dict[str, Any]:
    """These invitations as they are now, locked in the order of their ids (PostgreSQL)."""
    return {row.id: row for row in _LOCKED.rows(unit, values=sorted(ids))} if ids else {}


def whom_they_ask(unit: Unit, ids: Collection[str], area: str | None) -> Mapping[str, Whose]:
    """What each invitation counts for. `area`: of a case that tells none."""
    found: dict[str, Whose] = {}
    for row in _MEMBERS.rows(unit, values=sorted(ids)) if ids else ():
        known = found.get(row.invitation_id)
        if row.call_id is not None:
            if known is None or known.kind is SubjectKind.CASE:
                found[row.invitation_id] = Whose(SubjectKind.CALL, row.agent, row.queue, row.dept, row.area_code)
        elif known is None:
            found[row.invitation_id] = Whose(SubjectKind.CASE, dept=row.dept_code, area=row.case_area or area)
    return found


# ── evaluations ───────────────────────────────────────────────────────────────────────────────────────────────────────

EVALUATED = (
    evaluations.c.subject_id,
    evaluations.c.assess_number,
    evaluations.c.subject_kind,
    evaluations.c.effective,
    evaluations.c.satisfaction,
    evaluations.c.origin,
    evaluations.c.channel,
    evaluations.c.reasons,
    evaluations.c.assess_time,
    evaluations.c.agent,
    evaluations.c.queue,
    evaluations.c.dept_code,
    evaluations.c.area_code,
    evaluations.c.asked,
    evaluations.c.adoption,
)


def whose_evaluation(row: Any) -> Whose:
    return Whose(SubjectKind(row.subject_kind), row.agent, row.queue, row.dept_code, row.area_code)


def note_evaluation(unit: Unit, count: int, row: Any) -> None:
    """Counts an evaluation as its row says."""
    unit.deltas.evaluation(
        count,
        whose_evaluation(row),
        row.assess_time,
        Satisfaction(row.satisfaction),
        Channel(row.channel),
        Origin(row.origin),
        asked=row.asked,
        adopted=row.adoption != Adoption.NOT_ADOPTED.value,
        reasons=row.reasons,
    )


_EFFECTIVE = Read(
    select(*EVALUATED)
    .where(any_of(evaluations.c.subject_id), evaluations.c.effective)
    .order_by(evaluations.c.subject_id)
    .with_for_update(),
    listed=True,
)


def _locked(unit: Unit, keys: Collection[tuple[str, int]]) -> Sequence[Any]:
    """Those of these evaluations that are effective, locked."""
    if not keys:
        return ()
    rows = _EFFECTIVE.rows(unit, values=sorted({subject for subject, _ in keys}))
    return [row for row in rows if (row.subject_id, row.assess_number) in keys]


def no_longer_effective(unit: Unit, keys: Collection[tuple[str, int]]) -> None:
    """Evaluations (subject, assess_number) that are about to be replaced leave the figures."""
    for row in _locked(unit, keys):
        note_evaluation(unit, -1, row)


def reasons_given(unit: Unit, given: Mapping[tuple[str, int], str | None]) -> None:
    """The reasons of these evaluations are about to be `given`, in place of those they have."""
    for row in _locked(unit, given.keys()):
        if row.origin == Origin.CITIZEN.value and row.adoption != Adoption.NOT_ADOPTED.value:
            unit.deltas.reasons(
                whose_evaluation(row),
                row.assess_time,
                Satisfaction(row.satisfaction),
                Channel(row.channel),
                row.reasons,
                given[row.subject_id, row.assess_number],
            )
