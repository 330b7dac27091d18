"""After an import: the deadlines of open cases are computed again, 64 rows a transaction, where it was left.

Rules kept here:

1. Open are the cases whose default has not been looked at (`default_at`), those whose deadline is provisional, and the
   unrated ones that came after their deadline: where that turns out to be later than their coming, they had time and
   get their default. Each kind is gone through by an index, from the first changed day on, and what is done is kept in
   `meta`: a process that is killed leaves the rest to whoever comes next.
2. One process at a time does it (an advisory lock of PostgreSQL); another is told that some is left.
3. A row that is met twice is computed twice, to the same.
4. With the last row `calendar.applied` becomes `calendar.version`, in its transaction: from then on defaults are made.
5. An SMS that waits for its link may be sent as long as its case has time: where a deadline moved back, so did that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any, ClassVar

from sqlalchemy import and_, bindparam, select, text, tuple_, update

from intake.calendars import APPLIED, VERSION, Progress, read_word, write_word
from intake.deadlines import DeadlineRules
from intake.workdays import WorkingDays
from models.clock import SHANGHAI
from models.door import Many, Priority, Unit
from models.tables import Id, UtcTime, cases, evaluations, invitation_members, invitations
from models.terms import DefaultReason, InvitationState, Origin

__all__ = ["GROUP", "NEXT", "RecomputeDeadlines", "Recomputed"]

GROUP = 64
_ALONE = text(f"SELECT pg_try_advisory_xact_lock({0x4875_6991})")
_FIRST_ID = "0" * 32
_PHASES: dict[str, tuple[Any, Any]] = {
    "final": (cases.c.default_at, cases.c.default_at.is_not(None)),
    # As the index says it: for a column of truth values SQLAlchemy writes "= 1" on SQLite, and no index fits that.
    "provisional": (cases.c.deadline, text("cases.provisional")),
    "backlog": (cases.c.deadline, text(f"cases.default_reason = '{DefaultReason.BACKLOG.value}'")),
}
_AFTER = dict(pairwise(_PHASES))
NEXT = {
    phase: select(moment.label("moment"), cases.c.subject_id)
    .where(
        condition,
        tuple_(moment, cases.c.subject_id)
        > tuple_(bindparam("at", type_=UtcTime), bindparam("after", type_=Id), types=(UtcTime, Id)),
    )
    .order_by(moment, cases.c.subject_id)
    .limit(GROUP)
    for phase, (moment, condition) in _PHASES.items()
}
"""The next group of each phase."""
_LOAD = (
    select(
        cases.c.subject_id,
        cases.c.closed_at,
        cases.c.created_at,
        cases.c.area_code,
        cases.c.deadline,
        cases.c.provisional,
        cases.c.withdrawn_at,
        cases.c.default_at,
        cases.c.default_reason,
        evaluations.c.origin,
    )
    .outerjoin(evaluations, and_(evaluations.c.subject_id == cases.c.subject_id, evaluations.c.effective))
    .where(cases.c.subject_id.in_(bindparam("ids", expanding=True)))
    .order_by(cases.c.subject_id)  # the order in which every command locks cases
    .with_for_update(of=cases)
)
_DUE = Many(
    update(cases)
    .where(cases.c.subject_id == bindparam("subject"))
    .values(
        deadline=bindparam("until"),
        provisional=bindparam("guessed"),
        default_at=bindparam("looked_at"),
        default_reason=bindparam("because"),
    ),
    ("subject", "until", "guessed", "looked_at", "because"),
)
_SENT_UNTIL = Many(
    update(invitations)
    .where(
        invitations.c.id.in_(
            select(invitation_members.c.invitation_id).where(invitation_members.c.subject_id == bindparam("subject"))
        ),
        invitations.c.state == InvitationState.WAITING.value,
        invitations.c.not_after < bindparam("until", type_=UtcTime),
    )
    .values(not_after=bindparam("until", type_=UtcTime)),
    ("subject", "until"),
)


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What one run did, and how far the whole is.

    `moved`, `final`, `provisional`: deadlines that are another now, that became final, that became provisional; `left`:
    there is more to do; `busy`: another process is at it; `total`: all of it since the import, None where nothing was
    ever imported.
    """

    seen: int = 0
    moved: int = 0
    final: int = 0
    provisional: int = 0
    left: bool = False
    busy: bool = False
    total: Progress | None = None


@dataclass(frozen=True, slots=True)
class RecomputeDeadlines:
    """Computes the next group of open deadlines again, where an import left any. Result: `Recomputed`.

    Nothing to do costs two reads of `meta`.
    """

    rules: DeadlineRules
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[RecomputeDeadlines]) -> list[Recomputed]:
        return [command._run(unit) for command in commands]

    def _run(self, unit: Unit) -> Recomputed:
        if read_word(unit, VERSION) == read_word(unit, APPLIED):
            return Recomputed(total=Progress.load(unit))
        if not unit.is_sqlite and not unit.execute(_ALONE).scalar_one():
            return Recomputed(left=True, busy=True)
        days = self.rules.calendar.hold(unit)
        word, progress = read_word(unit, VERSION), Progress.load(unit)
        if word == read_word(unit, APPLIED) or word is None or progress is None:
            return Recomputed(total=progress)  # another one has just done the last
        found = list(unit.execute(NEXT[progress.phase], _from(progress)))
        done = self._compute(unit, days, [row.subject_id for row in found])
        progress = _added(progress, done)
        left = True
        if len(found) == GROUP:
            progress = replace(progress, at=found[-1].moment.isoformat(), after=found[-1].subject_id)
        elif (following := _AFTER.get(progress.phase)) is not None:
            progress = replace(progress, phase=following, at=None, after=None)
        else:
            write_word(unit, APPLIED, word)
            left = False
        progress.save(unit)
        return replace(done.counts, left=left, total=progress)

    def _compute(self, unit: Unit, days: WorkingDays, ids: Sequence[str]) -> _Done:
        rows: list[tuple[Any, ...]] = []
        later: list[tuple[Any, ...]] = []
        counts, moves = Recomputed(seen=len(ids)), []
        for case in unit.execute(_LOAD, {"ids": sorted(ids)}) if ids else ():
            backlog = case.default_reason == DefaultReason.BACKLOG.value and case.origin is None
            if case.withdrawn_at is not None or (case.default_at is None and not case.provisional and not backlog):
                continue  # withdrawn, rated or looked at, since it was found
            if case.default_reason == DefaultReason.FORGOTTEN.value:
                continue  # its citizen asked to be forgotten: no default, whatever the calendar says
            due = self.rules.due(days, case.closed_at or case.created_at, case.area_code, case.created_at)
            values: tuple[Any, ...]
            if case.origin is not None:
                rated = DefaultReason.RATED.value if case.origin == Origin.CITIZEN.value else case.default_reason
                deadline = due.deadline if case.provisional else case.deadline
                values = (deadline, case.provisional and due.provisional, None, rated)
            else:
                if backlog and not due.provisional and due.deadline <= case.created_at:
                    # It stays so, whatever the configuration says by now of those that come.
                    due = replace(due, default_at=None, default_reason=DefaultReason.BACKLOG)
                reason = due.default_reason.value if due.default_reason is not None else None
                values = (due.deadline, due.provisional, due.default_at, reason)
                counts = replace(
                    counts,
                    moved=counts.moved + (due.deadline != case.deadline),
                    final=counts.final + (bool(case.provisional) and not due.provisional),
                    provisional=counts.provisional + (due.provisional and not case.provisional),
                )
                if due.deadline != case.deadline:
                    moves.append((case.deadline, due.deadline))
                if due.deadline > case.deadline:
                    later.append((case.subject_id, due.deadline))
            if values != (case.deadline, bool(case.provisional), case.default_at, case.default_reason):
                rows.append((case.subject_id, *values))
        unit.many(_DUE, rows)
        unit.many(_SENT_UNTIL, later)
        return _Done(counts, moves)


@dataclass(frozen=True, slots=True)
class _Done:
    """`moves`: from when and to when."""

    counts: Recomputed
    moves: list[tuple[datetime, datetime]]


def _from(progress: Progress) -> dict[str, Any]:
    """The row behind which the next group begins."""
    if progress.at is not None and progress.after is not None:
        return {"at": datetime.fromisoformat(progress.at), "after": progress.after}
    start = datetime.combine(date.fromisoformat(progress.since), time(), SHANGHAI)
    return {"at": (start - timedelta(seconds=1)).astimezone(UTC) + timedelta(microseconds=1), "after": _FIRST_ID}


def _added(progress: Progress, done: _Done) -> Progress:
    counts = done.counts
    before = [str(old.astimezone(SHANGHAI).date()) for old, _ in done.moves]
    after = [str(new.astimezone(SHANGHAI).date()) for _, new in done.moves]
    return replace(
        progress,
        seen=progress.seen + counts.seen,
        moved=progress.moved + counts.moved,
        final=progress.final + counts.final,
        provisional=progress.provisional + counts.provisional,
        from_first=min(_known(progress.from_first, before), default=None),
        from_last=max(_known(progress.from_last, before), default=None),
        to_first=min(_known(progress.to_first, after), default=None),
        to_last=max(_known(progress.to_last, after), default=None),
    )


def _known(one: str | None, more: list[str]) -> list[str]:
    return more if one is None else [one, *more]
