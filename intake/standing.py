"""What a reply finds: the invitation it means, whom it asks about, and the rating that stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, null, select

from intake.conversation import Invited, Standing
from intake.counted import ASKED_COLUMNS
from models.door import Unit
from models.rollups import Whose
from models.tables import calls, cases, evaluations, invitation_members, invitations, outbox, ratings
from models.terms import InvitationState, Origin, Satisfaction, SubjectKind

__all__ = ["Evaluated", "KnownInvitation", "Member", "load_invitations"]

_OPEN = frozenset({InvitationState.WAITING, InvitationState.ASKED})
_INVITATIONS = (
    select(
        invitations.c.id,
        invitations.c.state,
        invitations.c.key_map,
        invitations.c.lang,
        invitations.c.muted,
        invitations.c.first_asked_at,
        invitations.c.asked_by,
        invitations.c.ended_at,
        invitations.c.changed_at,
        invitations.c.rating_id,
        invitations.c.clarified_at,
        invitations.c.reason_asked_at,
        invitations.c.reason_codes,
        invitations.c.kind,
        invitations.c.responded_at,
        *(invitations.c[name] for name in ASKED_COLUMNS),
    )
    .where(invitations.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(invitations.c.id)
    .with_for_update()
)
_OF_CASE = (
    cases.c.case_no,
    cases.c.service_number,
    cases.c.agent,
    cases.c.dept_code,
    cases.c.dept_name,
    cases.c.task_code,
    cases.c.task_name,
    cases.c.area_code,
    cases.c.theme_id,
    cases.c.withdrawn_at,
)
_MEMBERS = (
    select(
        invitation_members.c.invitation_id,
        invitation_members.c.subject_id,
        calls.c.call_key,
        calls.c.agent.label("call_agent"),
        calls.c.queue,
        calls.c.dept,
        calls.c.area_code.label("call_area"),
        *_OF_CASE,
    )
    .select_from(invitation_members)
    .outerjoin(calls, calls.c.subject_id == invitation_members.c.subject_id)
    .outerjoin(cases, cases.c.subject_id == invitation_members.c.subject_id)
    .where(invitation_members.c.invitation_id.in_(bindparam("ids", expanding=True)))
    .order_by(invitation_members.c.invitation_id, invitation_members.c.subject_id)
)
_ASKED, _LINKED = cases.alias("asked"), cases.alias("linked")
_ELSEWHERE = invitation_members.alias("elsewhere")
_OF_THEMES = (
    select(invitation_members.c.invitation_id, _LINKED.c.subject_id, _ELSEWHERE.c.invitation_id.label("asked_by"))
    .select_from(invitations)
    .join(invitation_members, invitation_members.c.invitation_id == invitations.c.id)
    .join(_ASKED, _ASKED.c.subject_id == invitation_members.c.subject_id)
    .join(
        _LINKED,
        and_(
            _LINKED.c.theme_id == _ASKED.c.theme_id,
            _LINKED.c.number_hash == _ASKED.c.number_hash,
            _LINKED.c.subject_id != _ASKED.c.subject_id,
        ),
    )
    .outerjoin(_ELSEWHERE, _ELSEWHERE.c.subject_id == _LINKED.c.subject_id)
    .where(
        invitations.c.id.in_(bindparam("ids", expanding=True)),
        invitations.c.kind == SubjectKind.CASE.value,
        _ASKED.c.batch_id.is_(None),
    )
)
"""The cases of a theme that is asked as a whole, and whatever asks about them."""
_LINKED_CASES = (
    select(cases.c.subject_id, null().label("call_key"), *_OF_CASE)
    .where(cases.c.subject_id.in_(bindparam("subjects", expanding=True)))
    .order_by(cases.c.subject_id)
)
_EVALUATED = (
    select(
        evaluations.c.subject_id,
        evaluations.c.assess_number,
        evaluations.c.id,
        evaluations.c.rating_id,
        evaluations.c.effective,
        evaluations.c.satisfaction,
        evaluations.c.origin,
        evaluations.c.created_at,
        evaluations.c.pushed_at,
        outbox.c.batch_id,
    )
    .select_from(evaluations)
    .outerjoin(outbox, outbox.c.evaluation_id == evaluations.c.id)
    .where(evaluations.c.subject_id.in_(bindparam("subjects", expanding=True)))
    .order_by(evaluations.c.subject_id, evaluations.c.assess_number)
)
_RATED = select(
    ratings.c.id,
    ratings.c.invitation_id,
    ratings.c.call_subject_id,
    ratings.c.satisfaction,
    ratings.c.reasons,
    ratings.c.comment,
).where(ratings.c.id.in_(bindparam("ids", expanding=True)))
_ASKED_WITH = select(invitation_members.c.invitation_id, invitation_members.c.subject_id).where(
    invitation_members.c.invitation_id.in_(bindparam("ids", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation of a member, as far as a reply needs it."""

    subject_id: str
    assess_number: int
    id: str
    rating_id: str
    effective: bool
    satisfaction: Satisfaction
    origin: Origin
    created_at: datetime
    pushed: bool


@dataclass(slots=True)
class Member:
    """A subject of an invitation: its row, and its evaluations by number.

    `since`: what was evaluated before that is past the late window of the reply that is looked at.
    """

    row: Any
    since: datetime
    evaluated: list[Evaluated] = field(default_factory=list)
    copied: bool = False
    """What is effective is a theme's copy, which the case's own rating replaces."""

    @property
    def kind(self) -> SubjectKind:
        return SubjectKind.CALL if self.row.call_key is not None else SubjectKind.CASE

    @property
    def effective(self) -> Evaluated | None:
        return next((one for one in self.evaluated if one.effective), None)

    @property
    def has_default(self) -> bool:
        """A default stands, and a rating may still take its place."""
        known = self.effective
        fresh = known is not None and known.origin is Origin.DEFAULT and known.created_at >= self.since
        return fresh and self.row.withdrawn_at is None

    def had_default(self, at: datetime) -> bool:
        """It stood already when the reply came."""
        return self.has_default and self.effective is not None and self.effective.created_at <= at

    @property
    def takes_rating(self) -> bool:
        """No real rating, no default from before the late window, and not withdrawn."""
        if self.row.withdrawn_at is not None:
            return False
        return self.effective is None or self.has_default or self.copied


@dataclass(slots=True)
class KnownInvitation:
    """An invitation with its members and its rating.

    `linked`: the cases of its theme 主题 that something else asks about; its rating is the overall one, and covers
    those that have none.
    """

    row: Any
    members: list[Member]
    rating: Any = None
    linked: list[Member] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.row.id)

    def whose(self, area: str | None) -> Whose:
        """What it counts for, where it was not asked before. `area`: of a case that tells none."""
        row = next((one.row for one in self.members if one.kind is SubjectKind.CALL), None)
        if row is not None:
            return Whose(SubjectKind.CALL, row.call_agent, row.queue, row.dept, row.call_area)
        row = self.members[0].row
        return Whose(SubjectKind.CASE, dept=row.dept_code, area=row.area_code or area)

    def invited(self) -> Invited:
        row = self.row
        state = InvitationState(row.state)
        standing = self._standing()
        if state is not InvitationState.RATED:
            takes = any(member.takes_rating for member in self.members)
        else:  # rated in a call, while a default stood for another case
            takes = row.rating_id is None and any(member.has_default for member in self.members)
        return Invited(
            state=state,
            open_members=takes,
            withdrawn=standing is None and all(member.row.withdrawn_at is not None for member in self.members),
            muted=row.muted,
            # One that never could be sent has no end of its own.
            ended_at=row.ended_at or (None if state in _OPEN else row.changed_at),
            clarified_at=row.clarified_at,
            reason_asked_at=row.reason_asked_at,
            reason_codes=tuple((row.reason_codes or "").split(",")) if row.reason_codes else (),
            standing=standing,
        )

    def of_rating(self) -> list[Evaluated]:
        """The evaluations of the rating that came by SMS."""
        rating_id = self.row.rating_id
        return [one for member in self.members for one in member.evaluated if one.rating_id == rating_id]

    @property
    def rating_id(self) -> str | None:
        """The rating that stands, by whichever channel."""
        if self.row.rating_id is not None:
            return str(self.row.rating_id)
        return next((member.effective.rating_id for member in self.members if member.effective is not None), None)

    def _standing(self) -> Standing | None:
        if self.rating is not None:
            return Standing(
                Satisfaction(self.rating.satisfaction),
                reasons=tuple((self.rating.reasons or "").split(",")) if self.rating.reasons else (),
                comment=bool(self.rating.comment),
                pushed=any(one.pushed for one in self.of_rating()),
            )
        for member in self.members:
            if (known := member.effective) is not None and known.origin is not Origin.DEFAULT:
                return Standing(known.satisfaction, by_sms=False)
        return None


def load_invitations(unit: Unit, ids: Mapping[str, datetime], late_window: timedelta) -> dict[str, KnownInvitation]:
    """The invitations, locked until the transaction ends, with all that a reply to them may have to do with.

    Args:
        ids: of each, when the reply to it came.
    """
    if not ids:
        return {}
    linked: dict[str, set[str]] = {}
    locked = set(ids)
    for row in unit.execute(_OF_THEMES, {"ids": list(ids)}):
        linked.setdefault(row.invitation_id, set()).add(row.subject_id)
        if row.asked_by is not None:  # what rates or defaults a case locks what asks about it
            locked.add(row.asked_by)
    rows = unit.execute(_INVITATIONS, {"ids": sorted(locked)})
    known = {row.id: KnownInvitation(row, []) for row in rows if row.id in ids}
    by_subject: dict[str, list[Member]] = {}
    for row in unit.execute(_MEMBERS, {"ids": list(ids)}):
        member = Member(row, ids[row.invitation_id] - late_window)
        known[row.invitation_id].members.append(member)
        by_subject.setdefault(row.subject_id, []).append(member)
    for member in _linked(unit, known, linked, ids, late_window):
        by_subject.setdefault(member.row.subject_id, []).append(member)
    for evaluated in _evaluated(unit, list(by_subject)):
        for member in by_subject[evaluated.subject_id]:
            member.evaluated.append(evaluated)
    themed = [member for members in by_subject.values() for member in members if _may_be_copy(member)]
    wanted = {one.row.rating_id for one in known.values() if one.row.rating_id is not None}
    wanted |= {member.effective.rating_id for member in themed if member.effective is not None}
    if wanted:
        by_id = {row.id: row for row in unit.execute(_RATED, {"ids": list(wanted)})}
        for one in known.values():
            one.rating = by_id.get(one.row.rating_id)
        if themed:
            _mark_copies(unit, known.values(), by_id)
    return known


def _linked(
    unit: Unit,
    known: Mapping[str, KnownInvitation],
    linked: Mapping[str, set[str]],
    ids: Mapping[str, datetime],
    late_window: timedelta,
) -> Iterable[Member]:
    """The cases of the themes beside the members."""
    subjects = {subject for several in linked.values() for subject in several}
    if not subjects:
        return
    rows = {row.subject_id: row for row in unit.execute(_LINKED_CASES, {"subjects": list(subjects)})}
    for identity, several in linked.items():
        one = known[identity]
        for subject in sorted(several - {member.row.subject_id for member in one.members}):
            member = Member(rows[subject], ids[identity] - late_window)
            one.linked.append(member)
            yield member


def _mark_copies(unit: Unit, known: Iterable[KnownInvitation], by_id: Mapping[str, Any]) -> None:
    """A theme's overall rating gives way to the case's own, inside the late window."""
    asked_with = {row.invitation_id for row in by_id.values() if row.invitation_id is not None}
    whom: dict[str, set[str]] = {}
    for row in unit.execute(_ASKED_WITH, {"ids": list(asked_with)}) if asked_with else ():
        whom.setdefault(row.invitation_id, set()).add(row.subject_id)
    for one in known:
        if sum(member.kind is SubjectKind.CASE for member in one.members) != 1:
            continue
        for member in one.members:
            effective = member.effective
            if effective is not None and _may_be_copy(member):
                rating = by_id.get(effective.rating_id)
                if rating is None or rating.call_subject_id is not None or rating.invitation_id == one.id:
                    continue  # what is given in a call is about that call and its case
                others = whom.get(rating.invitation_id, set()) - {member.row.subject_id}
                member.copied = bool(others) and effective.created_at >= member.since
        if any(member.copied for member in one.members):  # the theme was rated: what follows is the case's own
            one.linked.clear()


def _evaluated(unit: Unit, subjects: Sequence[str]) -> Iterable[Evaluated]:
    if not subjects:
        return
    for row in unit.execute(_EVALUATED, {"subjects": list(subjects)}):
        yield Evaluated(
            row.subject_id,
            row.assess_number,
            row.id,
            row.rating_id,
            row.effective,
            Satisfaction(row.satisfaction),
            Origin(row.origin),
            row.created_at,
            row.pushed_at is not None or row.batch_id is not None,
        )


def _may_be_copy(member: Member) -> bool:
    known = member.effective
    return member.row.theme_id is not None and known is not None and known.origin is not Origin.DEFAULT
