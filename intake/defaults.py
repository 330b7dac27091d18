"""Default ratings 默认评价: a case that nobody rated by the end of the fifth working day counts as 基本满意.

The notice: 5个工作日内未作出评价的，评价结果默认为基本满意.

Rules kept here:

1. Only cases are defaulted, each by itself at its own deadline, whether its citizen could be reached or not. The rating
   is level 3, origin `default`, channel `system`; its time is the deadline's last second. It is no response.
2. A rating and a default at the same moment: whoever commits second finds what the first stored. A default then is
   none; a rating takes the next number (intake/replies.py, intake/calls.py). The invitation's row is locked by both.
3. Nothing is defaulted on a deadline that is provisional (`default_at` is null then), while deadlines are being
   computed anew, or while the wall clock is not trusted (intake/pauses.py): what was pushed cannot be called back.
4. Nor while a message of the case's citizen is stored and not yet read: of the case's number, or of one that was given
   a code for the case. A case that only a call named has no number, and its caller answers all the same.
5. An invitation ends with the time of its cases: `defaulted` where a default stands, `expired` where none is made. A
   rating that still comes inside the late window is a real one.
6. Decision and effect are one transaction, so that whoever is killed has done all of it or nothing, and of several
   processes one does it.

A case is looked at once for this in its life: whatever came of it, `default_at` is null afterwards and `default_reason`
says why there is no default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import and_, bindparam, case, func, or_, select, update

from intake.endings import Ending, end_invitations
from intake.names import project_no
from intake.pauses import OUR_CLOCK, Trust, why_paused
from models.door import Bulk, Many, Priority, Unit
from models.ids import new_id
from models.reads import Read, any_of, one_of
from models.rollups import Whose
from models.tables import (
    audit,
    cases,
    codes,
    evaluations,
    feed,
    invitation_members,
    invitations,
    messages,
    outbox,
    ratings,
)
from models.terms import (
    Actor,
    AuditAction,
    Channel,
    DefaultReason,
    FeedKind,
    InvitationState,
    MessageState,
    Origin,
    OutboxState,
    Satisfaction,
    SubjectKind,
)

__all__ = ["GROUP", "LEVEL", "DefaultDue", "DefaultRules", "Defaulted", "Situation", "Verdict", "decide"]

GROUP = 64
LEVEL = Satisfaction.BASICALLY_SATISFIED
"""By the notice; not configurable."""
_LOOK_AGAIN = timedelta(minutes=1)
"""When a case is looked at again whose citizen has written something that is not read yet."""


@dataclass(frozen=True, slots=True)
class DefaultRules:
    """What the configuration says. `key_map`: of a case without an invitation; `grace`: how long after the deadline;
    `trust`: by what the clock is trusted."""

    key_map: str
    area_code: str | None
    service_name: str | None
    grace: timedelta = timedelta(hours=2)
    switched_on: bool = True
    trust: Trust = OUR_CLOCK


# ── the decision ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Verdict(StrEnum):
    """What follows for a case whose deadline, and the grace after it, are over."""

    DEFAULT = "default"
    WAIT = "wait"
    RATED = DefaultReason.RATED.value
    WITHDRAWN = DefaultReason.WITHDRAWN.value
    SWITCHED_OFF = DefaultReason.SWITCHED_OFF.value


@dataclass(frozen=True, slots=True)
class Situation:
    """`evaluated`: it has an evaluation, whoever gave it; `unread`: its citizen wrote what nobody has read."""

    evaluated: bool
    withdrawn: bool
    unread: bool


def decide(situation: Situation, *, switched_on: bool) -> Verdict:
    """Whether a case gets its default."""
    if situation.evaluated:
        return Verdict.RATED
    if situation.withdrawn:
        return Verdict.WITHDRAWN
    if not switched_on:
        return Verdict.SWITCHED_OFF
    return Verdict.WAIT if situation.unread else Verdict.DEFAULT


# ── what is read ──────────────────────────────────────────────────────────────────────────────────────────────────────

_DUE = Read(
    select(
        cases.c.subject_id,
        cases.c.case_no,
        cases.c.service_number,
        cases.c.number_hash,
        cases.c.deadline,
        cases.c.withdrawn_at,
        cases.c.agent,
        cases.c.dept_code,
        cases.c.dept_name,
        cases.c.task_code,
        cases.c.task_name,
        cases.c.area_code,
    )
    .where(cases.c.default_at.is_not(None), cases.c.default_at <= bindparam("until"))
    .order_by(cases.c.default_at)
    .limit(GROUP)
    .with_for_update(skip_locked=True),
    ("until",),
)
_INVITATIONS = Read(
    select(
        invitation_members.c.subject_id,
        invitations.c.id,
        invitations.c.kind,
        invitations.c.state,
        invitations.c.key_map,
        invitations.c.first_asked_at,
        invitations.c.created_at,
    )
    .select_from(invitation_members)
    .join(invitations, invitations.c.id == invitation_members.c.invitation_id)
    .where(any_of(invitation_members.c.subject_id))
    .order_by(invitations.c.id)
    .with_for_update(of=invitations),
    listed=True,
)
_ASKED = Read(
    select(codes.c.invitation_id, codes.c.number_hash).where(
        any_of(codes.c.invitation_id), codes.c.number_hash.is_not(None)
    ),
    listed=True,
)
"""By its code a reply finds its invitation, whatever has become of that."""
_EVALUATED = Read(
    select(evaluations.c.subject_id, func.max(evaluations.c.assess_number).label("number"))
    .where(any_of(evaluations.c.subject_id))
    .group_by(evaluations.c.subject_id),
    listed=True,
)
_UNREAD = Read(
    select(messages.c.number_hash).where(
        any_of(messages.c.number_hash),
        one_of(messages.c.state, (MessageState.UNREAD.value, MessageState.PARTIAL.value)),
    ),
    listed=True,
)
_LEFT = Read(
    select(
        invitation_members.c.invitation_id,
        evaluations.c.origin,
        or_(cases.c.default_at.is_not(None), cases.c.provisional).label("has_time"),
    )
    .select_from(invitation_members)
    .join(cases, cases.c.subject_id == invitation_members.c.subject_id)
    .outerjoin(evaluations, and_(evaluations.c.subject_id == cases.c.subject_id, evaluations.c.effective))
    .where(
        any_of(invitation_members.c.invitation_id),
        cases.c.withdrawn_at.is_(None),
        or_(evaluations.c.subject_id.is_(None), evaluations.c.origin == Origin.DEFAULT.value),
    ),
    listed=True,
)
"""The cases of these invitations that nobody has rated; `has_time`: it has not been looked at for its default yet."""

# ── what is stored ────────────────────────────────────────────────────────────────────────────────────────────────────

_RATINGS = Bulk(ratings)
_EVALUATIONS = Bulk(
    evaluations,
    (
        "subject_id",
        "assess_number",
        "id",
        "rating_id",
        "subject_kind",
        "effective",
        "satisfaction",
        "origin",
        "channel",
        "assess_time",
        "project_no",
        "service_number",
        "agent",
        "dept_code",
        "dept_name",
        "task_code",
        "task_name",
        "service_name",
        "area_code",
        "created_at",
        "asked",
    ),
)
_OUTBOX = Bulk(outbox, ("evaluation_id", "subject_id", "assess_number", "state", "not_before", "tries", "created_at"))
_FEED = Bulk(feed, ("kind", "subject_id", "assess_number", "at"))
_AUDIT = Bulk(audit, ("id", "at", "actor", "action", "subject_id"))
_DONE = Many(
    update(cases)
    .where(cases.c.subject_id == bindparam("subject"))
    .values(default_at=bindparam("look"), default_reason=bindparam("why")),
    ("subject", "look", "why"),
)
_IMPOSSIBLE_DEFAULTED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"), invitations.c.state == InvitationState.IMPOSSIBLE.value)
    .values(
        state=InvitationState.DEFAULTED.value,
        ended_at=case((invitations.c.ended_at.is_(None), bindparam("at")), else_=invitations.c.ended_at),
        changed_at=bindparam("at"),
    ),
    ("invitation", "at"),
)
"""Nobody could be asked; why stands in `reason` as before."""


@dataclass(frozen=True, slots=True)
class Defaulted:
    """What became of one group of cases. `skipped`: how many got no default, by reason; `paused`: why none was looked
    at."""

    defaulted: int = 0
    waiting: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    paused: str | None = None

    @property
    def total(self) -> int:
        return self.defaulted + self.waiting + sum(self.skipped.values())


@dataclass(frozen=True, slots=True)
class DefaultDue:
    """Makes the defaults of up to GROUP cases, the longest overdue first. Result: `Defaulted`."""

    now: datetime
    rules: DefaultRules
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[DefaultDue]) -> list[Defaulted]:
        return [command._default(unit) for command in commands]

    def _default(self, unit: Unit) -> Defaulted:
        if paused := why_paused(unit, self.now, self.rules.trust):
            return Defaulted(paused=paused)
        rows = _DUE.rows(unit, (self.now - self.rules.grace,))
        return _Group(self, unit, rows).store() if rows else Defaulted()


class _Group:
    """One group of cases, and the rows that its decisions lead to."""

    def __init__(self, command: DefaultDue, unit: Unit, rows: Sequence[Any]) -> None:
        self.unit = unit
        self.now = command.now
        self.rules = command.rules
        self.rows = rows
        subjects = [row.subject_id for row in rows]
        # Locked before the evaluations are looked at: a rating that is being stored is stored, or waits for us.
        self.invitations: dict[str, Any] = {}
        asked_by: dict[str, list[str]] = {}
        for row in _INVITATIONS.rows(unit, values=subjects):
            asked_by.setdefault(row.id, []).append(row.subject_id)
            known = self.invitations.get(row.subject_id)
            if known is None or _is_current(row, known):
                self.invitations[row.subject_id] = row
        self.evaluated = {row.subject_id for row in _EVALUATED.rows(unit, values=subjects)}
        whose: dict[bytes, list[str]] = {}
        for row in rows:
            if row.number_hash is not None:
                whose.setdefault(row.number_hash, []).append(row.subject_id)
        for row in _ASKED.rows(unit, values=list(asked_by)):
            whose.setdefault(row.number_hash, []).extend(asked_by[row.invitation_id])
        self.unread = {one for row in _UNREAD.rows(unit, values=list(whose)) for one in whose[row.number_hash]}

    def store(self) -> Defaulted:
        unit, now = self.unit, self.now
        verdicts = [(row, self._decide(row)) for row in self.rows]
        defaulted = [row for row, verdict in verdicts if verdict is Verdict.DEFAULT]
        made = [self._make(row) for row in defaulted]
        for bulk, place in ((_RATINGS, 0), (_EVALUATIONS, 1), (_OUTBOX, 2), (_FEED, 3), (_AUDIT, 4)):
            unit.insert(bulk, [rows[place] for rows in made])
        unit.many(
            _DONE,
            [
                (
                    row.subject_id,
                    now - self.rules.grace + _LOOK_AGAIN if verdict is Verdict.WAIT else None,
                    None if verdict in (Verdict.WAIT, Verdict.DEFAULT) else verdict.value,
                )
                for row, verdict in verdicts
            ],
        )
        self._end_invitations(verdicts)
        counts = Counter(verdict for _, verdict in verdicts)
        skipped = {kind.value: count for kind, count in counts.items() if kind not in (Verdict.DEFAULT, Verdict.WAIT)}
        return Defaulted(counts[Verdict.DEFAULT], counts[Verdict.WAIT], skipped)

    def _decide(self, row: Any) -> Verdict:
        situation = Situation(
            evaluated=row.subject_id in self.evaluated,
            withdrawn=row.withdrawn_at is not None,
            unread=row.subject_id in self.unread,
        )
        return decide(situation, switched_on=self.rules.switched_on)

    def _make(self, row: Any) -> tuple[tuple[Any, ...], ...]:
        """The rows of one default: rating, evaluation, outbox, feed, audit."""
        rules, now = self.rules, self.now
        invitation = self.invitations.get(row.subject_id)
        rating_id, evaluation_id = new_id(), new_id()
        key = (row.subject_id, 1)
        asked = invitation is not None and invitation.first_asked_at is not None
        self.unit.deltas.evaluation(
            1,
            Whose(SubjectKind.CASE, dept=row.dept_code, area=row.area_code or rules.area_code),
            row.deadline,
            LEVEL,
            Channel.SYSTEM,
            Origin.DEFAULT,
            asked=asked,
        )
        return (
            (
                rating_id,
                invitation.id if invitation is not None else None,
                None,
                None,
                Channel.SYSTEM.value,
                Origin.DEFAULT.value,
                "",
                invitation.key_map if invitation is not None else rules.key_map,
                LEVEL.value,
                None,
                None,
                row.deadline,
                False,
                now,
            ),
            (
                *key,
                evaluation_id,
                rating_id,
                SubjectKind.CASE.value,
                True,
                LEVEL.value,
                Origin.DEFAULT.value,
                Channel.SYSTEM.value,
                row.deadline,
                project_no(row.case_no),
                row.service_number,
                row.agent,
                row.dept_code,
                row.dept_name,
                row.task_code,
                row.task_name,
                rules.service_name,
                row.area_code or rules.area_code,
                now,
                asked,
            ),
            (evaluation_id, *key, OutboxState.WAITING.value, now, 0, now),
            (FeedKind.DEFAULT.value, *key, now),
            (new_id(), now, Actor.SCHEDULER.value, AuditAction.RATING_DEFAULTED.value, row.subject_id),
        )

    def _end_invitations(self, verdicts: Sequence[tuple[Any, Verdict]]) -> None:
        """Those of whose cases none has time left after this (rule 5)."""
        known = {
            one.id: one
            for row, verdict in verdicts
            if (one := self.invitations.get(row.subject_id)) is not None and _may_end(one, verdict)
        }
        if not known:
            return
        left = _LEFT.rows(self.unit, values=sorted(known))
        still_open = {row.invitation_id for row in left if row.origin is None and row.has_time}
        with_default = {row.invitation_id for row in left if row.origin is not None}
        over = [identity for identity in sorted(known) if identity not in still_open]
        ends = {one: InvitationState.DEFAULTED if one in with_default else InvitationState.EXPIRED for one in over}
        end_invitations(self.unit, [Ending(one, state, None, self.now) for one, state in ends.items()])
        impossible = [one for one in over if known[one].state == InvitationState.IMPOSSIBLE.value]
        self.unit.many(_IMPOSSIBLE_DEFAULTED, [(identity, self.now) for identity in impossible])


def _may_end(invitation: Any, verdict: Verdict) -> bool:
    """Whether an invitation may end by what was decided on a case of it. One that could not be sent is over; its word
    changes with a default alone. A call's goes on where its case was rated or withdrawn: the call is still asked about.
    """
    if verdict is Verdict.WAIT:
        return False
    if verdict is Verdict.DEFAULT:
        return True
    if invitation.state == InvitationState.IMPOSSIBLE.value:
        return False
    return verdict is Verdict.SWITCHED_OFF or invitation.kind == SubjectKind.CASE.value


_ENDS_BY_DEFAULT = frozenset({InvitationState.WAITING, InvitationState.ASKED, InvitationState.IMPOSSIBLE})


def _is_current(row: Any, known: Any) -> bool:
    """Of two invitations of a case the one that counts: the one that can still end, else the newer."""
    ends, before = (InvitationState(one.state) in _ENDS_BY_DEFAULT for one in (row, known))
    return (ends, row.created_at) > (before, known.created_at)
