"""What one group of call commands knows, and what it is going to store: table by table, with one statement a table.

`Record` loads the calls and cases of the group, keeps them up to date while the commands are decided one after the
other (two commands of one group may be about one call), and stores everything at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Select, String, and_, bindparam, case, delete, func, or_, select, tuple_, update

from intake.asking import OptOut, is_open
from intake.counted import (
    ASKED_COLUMNS,
    ASKED_NAMES,
    ASKED_SET,
    EVALUATION_COLUMNS,
    UNTOLD,
    asked_values,
    asked_whose,
    no_longer_effective,
)
from intake.deadlines import DeadlineRules, Due
from intake.decide import Effective, PushCalls, merged_outcome
from intake.endings import Ending, end_invitations, stop_sending
from intake.members import count_members
from intake.numbers import NumberKind
from intake.reminders import REMIND
from intake.restated import Copied, evaluations_follow, invitations_follow
from intake.workdays import WorkingDays
from models.door import Bulk, Many, Unit
from models.ids import new_id
from models.privacy import SealedNumber
from models.rollups import Whose
from models.tables import (
    UtcTime,
    audit,
    call_keys,
    calls,
    case_keys,
    cases,
    evaluations,
    feed,
    invitation_members,
    invitations,
    opt_outs,
    outbox,
    ratings,
)
from models.terms import (
    Actor,
    AuditAction,
    CallOutcome,
    Channel,
    FeedKind,
    InvitationState,
    Origin,
    OutboxState,
    Satisfaction,
    SubjectKind,
)

__all__ = [
    "FEED",
    "UNSENT_AFTER",
    "Asking",
    "CallFacts",
    "EvaluationKey",
    "Ids",
    "KnownCall",
    "KnownCase",
    "Record",
    "Rules",
    "Stored",
    "Told",
    "earlier",
    "effective_of_calls",
]

UNSENT_AFTER = timedelta(hours=24)
"""An SMS for a call not sent for so long is not sent at all (docs/data-model.md, the life of an invitation)."""
_CASE_CLOSING = 1  # a call tells of no closing but the first; a reopened case comes by the API with its own number


@dataclass(frozen=True, slots=True)
class CallFacts:
    """A call as Asterisk told of it. `at`: when this was told; `number`: the caller as given, None where withheld."""

    call_key: str
    number: str | None
    agent: str | None
    queue: str | None
    dept: str | None
    case_no: str | None
    closed: bool
    lang: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about storing. `node`: who holds pushes back (one telephony process of one host)."""

    key_map: str
    area_code: str | None
    service_name: str | None
    push_calls: PushCalls
    keypad_reason_hold: timedelta
    invite_after: timedelta
    node: str
    boot: str
    max_age: timedelta = timedelta(hours=24)
    reminder_after: timedelta = timedelta(hours=24)
    late_window: timedelta = timedelta(days=30)
    deadlines: DeadlineRules = field(default_factory=DeadlineRules)

    @property
    def holder(self) -> str:
        return f"{self.node}/{self.boot}"


@dataclass(frozen=True, slots=True)
class EvaluationKey:
    evaluation_id: str
    subject_id: str
    assess_number: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a rating. `new` false: the call was rated before, and this is that rating; nothing was stored."""

    new: bool
    evaluation_id: str
    satisfaction: Satisfaction
    rating_id: str
    held: bool = False
    keys: tuple[EvaluationKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Ids:
    """Made with the command, before it runs."""

    call: str
    case: str
    rating: str
    call_evaluation: str
    case_evaluation: str
    invitation: str
    audit: str

    @classmethod
    def new(cls) -> Ids:
        return cls(new_id(), new_id(), new_id(), new_id(), new_id(), new_id(), new_id())


@dataclass(frozen=True, slots=True)
class Told:
    """What a command was told: the facts with the number sealed apart, when, under which rules.

    `source`: who told us, `ivr` or `queue_log`.
    """

    facts: CallFacts
    number_kind: NumberKind
    number: SealedNumber | None
    now: datetime
    rules: Rules
    ids: Ids
    source: str

    @property
    def ended_at(self) -> datetime:
        """When the call was over: now where it tells so itself, then where Asterisk wrote it down."""
        return self.facts.at if self.source == "queue_log" else self.now


@dataclass(slots=True)
class Asking:
    """An invitation that asks about a call or a case of the group.

    `open_members`: subjects of it that are neither rated nor withdrawn; `defaulted`: that have a default alone;
    `calls`: how many of its members are calls.
    `asked`: what it counts for since it was first asked, at `first_asked_at` and `asked_by`; `responded`: it has a
    real rating.
    """

    id: str
    kind: SubjectKind
    state: InvitationState
    created_at: datetime
    open_members: int = 0
    defaulted: int = 0
    calls: int = 0
    asked: Whose | None = None
    first_asked_at: datetime | None = None
    asked_by: str | None = None
    responded: bool = False

    def add(self, case: KnownCase | None, count: int) -> None:
        """A member comes (1), or goes or is rated (-1). `case` None: a call, which is never defaulted."""
        if case is None or case.effective is None:
            self.open_members += count
        elif case.effective.origin is Origin.DEFAULT:
            self.defaulted += count


@dataclass(frozen=True, slots=True)
class KnownCall:
    """`whose`, `ended_at`: what it counts for, and when."""

    subject_id: str
    outcome: CallOutcome
    effective: Effective | None
    asking: Asking | None
    whose: Whose
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class KnownCase:
    subject_id: str
    effective: Effective | None
    dept_code: str | None = None
    dept_name: str | None = None
    task_code: str | None = None
    task_name: str | None = None
    agent: str | None = None
    area_code: str | None = None
    withdrawn: bool = False
    asking: Asking | None = None


# ── statements ────────────────────────────────────────────────────────────────────────────────────────────────────────

_CALL_KEYS = Bulk(call_keys)
_CALLS = Bulk(calls)
_CASE_KEYS = Bulk(case_keys)
_CASES = Bulk(
    cases,
    (
        "subject_id",
        "case_no",
        "service_number",
        "stub",
        "dept_code",
        "agent",
        "area_code",
        "closed_at",
        "deadline",
        "provisional",
        "default_at",
        "default_reason",
        "created_at",
    ),
)
_INVITATIONS = Bulk(
    invitations,
    (
        "id",
        "kind",
        "state",
        "reason",
        "number_kind",
        "number_sealed",
        "number_hash",
        "number_tail",
        "number_key_id",
        "lang",
        "key_map",
        "first_asked_at",
        "asked_by",
        "due_at",
        "created_at",
        "changed_at",
        "not_after",
        "ended_at",
        "responded_at",
        *ASKED_COLUMNS,
    ),
)
_MEMBERS = Bulk(invitation_members)
_RATINGS = Bulk(ratings)
_EVALUATIONS = Bulk(evaluations, EVALUATION_COLUMNS)
_OUTBOX = Bulk(outbox)
FEED = Bulk(feed, ("kind", "subject_id", "assess_number", "at"))
_AUDIT = Bulk(audit)

_CALL_OUTCOME = Many(
    update(calls)
    # A rating that another process stored since we looked stands.
    .where(
        calls.c.subject_id == bindparam("subject"),
        or_(calls.c.outcome != CallOutcome.RATED.value, bindparam("rates", type_=Boolean)),
    )
    .values(
        outcome=bindparam("new_outcome"),
        offered_at=bindparam("offered"),
        ended_at=bindparam("ended"),
        **{name: bindparam(f"new_{name}") for name in ("agent", "queue", "dept", "area_code")},
    ),
    ("subject", "rates", "new_outcome", "offered", "ended", "new_agent", "new_queue", "new_dept", "new_area_code"),
)
_TELL_CASE = Many(
    update(cases)
    .where(cases.c.subject_id == bindparam("subject"))
    .values(agent=bindparam("new_agent"), dept_code=bindparam("new_dept"), area_code=bindparam("new_area")),
    ("subject", "new_agent", "new_dept", "new_area"),
)
_FIRST_ASKED: dict[str, Any] = {
    # What was counted when it was first asked stays.
    name: case((invitations.c.first_asked_at.is_(None), told), else_=invitations.c[name])
    for name, told in ASKED_SET.items()
}
_ASKED_BY_VOICE = Many(
    update(invitations)
    # What was handed to a link, or has ended, since we looked is not made due again.
    .where(invitations.c.id == bindparam("invitation"), invitations.c.state == InvitationState.WAITING.value)
    .values(
        due_at=case(
            (invitations.c.due_at.is_(None), None),
            else_=func.coalesce(bindparam("due", type_=UtcTime), invitations.c.due_at),
        ),
        first_asked_at=func.coalesce(invitations.c.first_asked_at, bindparam("asked", type_=UtcTime)),
        asked_by=func.coalesce(invitations.c.asked_by, bindparam("how", type_=String)),
        **_FIRST_ASKED,
        changed_at=bindparam("at"),
    ),
    ("invitation", "due", "asked", "how", *ASKED_NAMES, "at"),
)
_RATED_BY_VOICE = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(
        state=InvitationState.RATED.value,
        reason=None,
        due_at=None,
        not_after=None,
        group_key=None,
        number_sealed=None,
        number_hash=None,
        number_tail=None,
        number_key_id=None,
        first_asked_at=func.coalesce(invitations.c.first_asked_at, bindparam("asked", type_=UtcTime)),
        asked_by=func.coalesce(invitations.c.asked_by, bindparam("how", type_=String)),
        **_FIRST_ASKED,
        responded_at=func.coalesce(invitations.c.responded_at, bindparam("at", type_=UtcTime)),
        ended_at=bindparam("at"),
        changed_at=bindparam("at"),
    ),
    ("invitation", "asked", "how", *ASKED_NAMES, "at"),
)
_RESPONDED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"), invitations.c.responded_at.is_(None))
    .values(responded_at=bindparam("at")),
    ("invitation", "at"),
)
"""One of several whom it asks about was rated; it goes on."""
_LEAVE = Many(
    delete(invitation_members).where(
        invitation_members.c.invitation_id == bindparam("invitation"),
        invitation_members.c.subject_id == bindparam("subject"),
    ),
    ("invitation", "subject"),
)
_NO_LONGER_EFFECTIVE = Many(
    update(evaluations)
    .where(evaluations.c.subject_id == bindparam("subject"), evaluations.c.assess_number == bindparam("number"))
    .values(effective=False),
    ("subject", "number"),
)

_EFFECTIVE_COLUMNS = (
    evaluations.c.id.label("evaluation_id"),
    evaluations.c.assess_number,
    evaluations.c.satisfaction,
    evaluations.c.origin,
    evaluations.c.rating_id,
    evaluations.c.created_at.label("evaluated_at"),
)
_SELECT_CALLS: Select[Any] = (
    select(
        call_keys.c.call_key,
        call_keys.c.subject_id,
        calls.c.outcome,
        calls.c.agent,
        calls.c.queue,
        calls.c.dept,
        calls.c.area_code,
        func.coalesce(calls.c.ended_at, calls.c.created_at).label("ended_at"),
        invitation_members.c.invitation_id,
        *_EFFECTIVE_COLUMNS,
    )
    .select_from(call_keys)
    .join(calls, calls.c.subject_id == call_keys.c.subject_id)
    .outerjoin(invitation_members, invitation_members.c.subject_id == call_keys.c.subject_id)
    .outerjoin(evaluations, and_(evaluations.c.subject_id == call_keys.c.subject_id, evaluations.c.effective))
    .where(call_keys.c.call_key.in_(bindparam("keys", expanding=True)))
    .order_by(call_keys.c.call_key)
    # Its outcome may change: what leaves the figures is what is there.
    .with_for_update(of=calls)
)
_SELECT_ASKINGS: Select[Any] = (
    select(
        invitations.c.id,
        invitations.c.kind,
        invitations.c.state,
        invitations.c.created_at,
        invitations.c.first_asked_at,
        invitations.c.asked_by,
        invitations.c.responded_at,
        *(invitations.c[name] for name in ASKED_COLUMNS),
    )
    .where(invitations.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(invitations.c.id)
    .with_for_update()
)
_SELECT_MEMBERSHIPS: Select[Any] = select(invitation_members.c.subject_id, invitation_members.c.invitation_id).where(
    invitation_members.c.subject_id.in_(bindparam("subjects", expanding=True))
)
_SELECT_OPT_OUTS: Select[Any] = select(opt_outs.c.number_hash, opt_outs.c.origin).where(
    opt_outs.c.number_hash.in_(bindparam("hashes", expanding=True)), opt_outs.c.ended_at.is_(None)
)
_SELECT_EFFECTIVE: Select[Any] = (
    select(call_keys.c.call_key, *_EFFECTIVE_COLUMNS)
    .select_from(call_keys)
    .join(evaluations, and_(evaluations.c.subject_id == call_keys.c.subject_id, evaluations.c.effective))
    .where(call_keys.c.call_key.in_(bindparam("keys", expanding=True)))
)


_SELECT_OVERALL: Select[Any] = (
    # Given by SMS; what is given in a call is about that call and its case.
    select(ratings.c.id, invitation_members.c.subject_id)
    .join(invitations, invitations.c.id == ratings.c.invitation_id)
    .join(invitation_members, invitation_members.c.invitation_id == invitations.c.id)
    .join(cases, cases.c.subject_id == invitation_members.c.subject_id)
    .where(
        ratings.c.id.in_(bindparam("ids", expanding=True)),
        ratings.c.call_subject_id.is_(None),
        invitations.c.kind == SubjectKind.CASE.value,
    )
)


def _effective(row: Any, *, overall: bool = False) -> Effective | None:
    if row.evaluation_id is None:
        return None
    return Effective(
        evaluation_id=row.evaluation_id,
        assess_number=row.assess_number,
        satisfaction=Satisfaction(row.satisfaction),
        origin=Origin(row.origin),
        rating_id=row.rating_id,
        created_at=row.evaluated_at,
        overall=overall,
    )


def effective_of_calls(connection: Any, call_key_list: Iterable[str]) -> dict[str, Stored]:
    """The effective ratings of those calls that have one (a read, for the question "was this call rated already?")."""
    found = {}
    for row in connection.execute(_SELECT_EFFECTIVE, {"keys": list(call_key_list)}):
        effective = _effective(row)
        assert effective is not None
        found[row.call_key] = earlier(effective)
    return found


def earlier(effective: Effective) -> Stored:
    return Stored(
        new=False,
        evaluation_id=effective.evaluation_id,
        satisfaction=effective.satisfaction,
        rating_id=effective.rating_id,
    )


class Record:
    """One group's knowledge, and its rows by table. `store` is called once, at the end."""

    def __init__(self, unit: Unit, told: Sequence[Told]) -> None:
        self.unit = unit
        self._now, self._area = told[0].now, told[0].rules.area_code
        self._askings: dict[str, Asking] = {}
        self._days: WorkingDays | None = None
        # Locked in the order in which everybody does: cases, calls, invitations.
        closed = self._lock_cases({number for one in told if one.facts.closed and (number := one.facts.case_no)})
        self.known_calls = self._load_calls({one.facts.call_key for one in told})
        self.known_cases = self._load_cases(closed)
        self.inserts: dict[Bulk, list[tuple[Any, ...]]] = {
            bulk: []
            for bulk in (
                _CALL_KEYS,
                _CASE_KEYS,
                _CALLS,
                _CASES,
                _INVITATIONS,
                _MEMBERS,
                _RATINGS,
                _EVALUATIONS,
                _OUTBOX,
                FEED,
                _AUDIT,
            )
        }
        self.outcomes: list[tuple[Any, ...]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.rated: list[tuple[Any, ...]] = []
        self.responded: list[tuple[Any, ...]] = []
        self.left: list[tuple[Any, ...]] = []
        self.reminds: list[tuple[Asking, datetime]] = []
        self.endings: list[Ending] = []
        self.superseded: list[tuple[Any, ...]] = []
        self.told_cases: dict[str, tuple[KnownCase, KnownCase]] = {}

    def _load_calls(self, keys: set[str]) -> dict[str, KnownCall]:
        rows = list(self.unit.execute(_SELECT_CALLS, {"keys": sorted(keys)}))
        self._load_askings({row.invitation_id for row in rows if row.invitation_id is not None})
        known: dict[str, KnownCall] = {}
        for row in rows:
            asking = self._askings.get(row.invitation_id)
            if (twice := known.get(row.call_key)) is not None:
                asking = _current(twice.asking, asking)
            known[row.call_key] = KnownCall(
                row.subject_id,
                CallOutcome(row.outcome),
                _effective(row),
                asking,
                Whose(SubjectKind.CALL, row.agent, row.queue, row.dept, row.area_code),
                row.ended_at,
            )
        return known

    def _load_askings(self, ids: set[str]) -> None:
        """Locked as they are read (PostgreSQL), in the order of their ids: what is decided on them stands."""
        wanted = sorted(ids - set(self._askings))
        if not wanted:
            return
        for row in self.unit.execute(_SELECT_ASKINGS, {"ids": wanted}):
            self._askings[row.id] = Asking(
                row.id,
                SubjectKind(row.kind),
                InvitationState(row.state),
                row.created_at,
                asked=asked_whose(row),
                first_asked_at=row.first_asked_at,
                asked_by=row.asked_by,
                responded=row.responded_at is not None,
            )
        for identity, members in count_members(self.unit, wanted).items():
            asking = self._askings[identity]
            asking.open_members, asking.defaulted, asking.calls = members.open, members.defaulted, members.calls

    def opt_outs(self, hashes: set[bytes]) -> dict[bytes, OptOut]:
        """Whose word it is that a number gets no SMS; the carrier's comes first, for nobody here can take it back."""
        found: dict[bytes, OptOut] = {}
        if hashes:
            for row in self.unit.execute(_SELECT_OPT_OUTS, {"hashes": sorted(hashes)}):
                if found.get(row.number_hash) is not OptOut.CARRIER:
                    found[row.number_hash] = OptOut(row.origin)
        return found

    def _lock_cases(self, numbers: set[str]) -> list[Any]:
        """The cases as they are now: what one says is not changed until its rating is stored (intake/restated.py)."""
        if not numbers:
            return []
        found = self.unit.execute(
            select(
                case_keys.c.case_no,
                case_keys.c.subject_id,
                cases.c.dept_code,
                cases.c.dept_name,
                cases.c.task_code,
                cases.c.task_name,
                cases.c.agent,
                cases.c.area_code,
                cases.c.withdrawn_at,
                and_(cases.c.theme_id.is_not(None), cases.c.batch_id.is_(None)).label("themed"),
                *_EFFECTIVE_COLUMNS,
            )
            .select_from(case_keys)
            .join(cases, cases.c.subject_id == case_keys.c.subject_id)
            .outerjoin(evaluations, and_(evaluations.c.subject_id == case_keys.c.subject_id, evaluations.c.effective))
            .where(
                tuple_(case_keys.c.case_no, case_keys.c.service_number).in_(
                    [(number, _CASE_CLOSING) for number in sorted(numbers)]
                )
            )
            .order_by(cases.c.subject_id)
            .with_for_update(of=cases)
        )
        return list(found)

    def _load_cases(self, rows: Sequence[Any]) -> dict[str, KnownCase]:
        askings = self._askings_of({row.subject_id for row in rows})
        rated = {row.subject_id: row.rating_id for row in rows if row.themed and row.origin == Origin.CITIZEN.value}
        overall = self._overall(rated)
        return {
            row.case_no: KnownCase(
                row.subject_id,
                _effective(row, overall=row.subject_id in overall),
                row.dept_code,
                row.dept_name,
                row.task_code,
                row.task_name,
                row.agent,
                row.area_code,
                row.withdrawn_at is not None,
                askings.get(row.subject_id),
            )
            for row in rows
        }

    def _overall(self, given: dict[str, str]) -> set[str]:
        """Those of these cases whose rating (`given`: by case) was asked of others of its theme, too."""
        if not given:
            return set()
        asked: dict[str, set[str]] = {}
        for row in self.unit.execute(_SELECT_OVERALL, {"ids": sorted(set(given.values()))}):
            asked.setdefault(row.id, set()).add(row.subject_id)
        return {case for case, rating in given.items() if asked.get(rating, set()) - {case}}

    def _askings_of(self, subjects: set[str]) -> dict[str, Asking]:
        """The invitation of each of these subjects: the open one, else the newest."""
        if not subjects:
            return {}
        rows = list(self.unit.execute(_SELECT_MEMBERSHIPS, {"subjects": sorted(subjects)}))
        self._load_askings({row.invitation_id for row in rows})
        found: dict[str, Asking] = {}
        for row in rows:
            asking = _current(found.get(row.subject_id), self._askings.get(row.invitation_id))
            if asking is not None:
                found[row.subject_id] = asking
        return found

    def call(self, told: Told, outcome: CallOutcome) -> KnownCall:
        """The call, stored now where it was not known."""
        facts, number = told.facts, told.number
        offered = facts.at if outcome is not CallOutcome.NOT_OFFERED else None
        known = self.known_calls.get(facts.call_key)
        if known is not None:
            merged = merged_outcome(known.outcome, outcome)
            rates = merged is CallOutcome.RATED
            self.unit.deltas.call(-1, known.whose, known.ended_at, known.outcome)
            # What it was rated for it keeps, as its evaluation does.
            whose = known.whose if known.outcome is CallOutcome.RATED else _completed(known.whose, told)
            self.outcomes.append((known.subject_id, rates, merged.value, offered, told.ended_at, *whose[1:]))
            known = replace(known, outcome=merged, ended_at=told.ended_at, whose=whose)
        else:
            whose = Whose(SubjectKind.CALL, facts.agent, facts.queue, facts.dept, told.rules.area_code)
            known = KnownCall(told.ids.call, outcome, None, None, whose, told.ended_at)
            self.inserts[_CALL_KEYS].append((facts.call_key, known.subject_id))
            self.inserts[_CALLS].append(
                (
                    known.subject_id,
                    facts.call_key,
                    *_number_values(told.number_kind, number),
                    facts.agent,
                    facts.queue,
                    facts.dept,
                    facts.case_no,
                    facts.lang,
                    outcome.value,
                    told.source,
                    offered,
                    told.ended_at,
                    told.now,
                    whose.area,
                )
            )
        self.unit.deltas.call(1, known.whose, known.ended_at, known.outcome)
        self.known_calls[facts.call_key] = known
        return known

    def case(self, told: Told) -> KnownCase | None:
        """The case that was answered in this call; a stub, stored now, where it was not known."""
        facts = told.facts
        if not facts.closed or not facts.case_no:
            return None
        known = self.known_cases.get(facts.case_no)
        if known is None:
            area = told.rules.area_code
            known = KnownCase(told.ids.case, None, dept_code=facts.dept, agent=facts.agent, area_code=area)
            due = self._due(told)
            self.inserts[_CASE_KEYS].append((facts.case_no, _CASE_CLOSING, known.subject_id))
            self.inserts[_CASES].append(
                (
                    known.subject_id,
                    facts.case_no,
                    _CASE_CLOSING,
                    True,
                    facts.dept,
                    facts.agent,
                    area,
                    told.ended_at,
                    due.deadline,
                    due.provisional,
                    due.default_at,
                    due.default_reason.value if due.default_reason is not None else None,
                    told.now,
                )
            )
            self.known_cases[facts.case_no] = known
        return known

    def tell_case(self, told: Told, case: KnownCase) -> KnownCase:
        """The case takes from its call what it does not say itself: its evaluation will, and they never differ."""
        facts = told.facts
        assert facts.case_no is not None
        current = self.known_cases[facts.case_no]
        completed = replace(
            current,
            agent=current.agent or facts.agent,
            dept_code=current.dept_code or facts.dept,
            area_code=current.area_code or told.rules.area_code,
        )
        if completed != current:
            before, _ = self.told_cases.get(case.subject_id, (current, None))
            self.told_cases[case.subject_id] = (before, completed)
            self.known_cases[facts.case_no] = completed
        return completed

    def _due(self, told: Told) -> Due:
        """When a case that was closed in this call is due. Few calls close one: the calendar is held with the first."""
        rules = told.rules.deadlines
        if self._days is None:
            self._days = rules.calendar.hold(self.unit)
        return rules.due(self._days, told.ended_at, None, told.now)

    def invite(
        self,
        told: Told,
        call: KnownCall,
        state: InvitationState,
        reason: str | None,
        due_at: datetime | None,
        asked_at: datetime | None,
    ) -> Asking:
        """An invitation of its own for a call that has none."""
        facts, identity = told.facts, told.ids.invitation
        asking = self._askings[identity] = Asking(identity, SubjectKind.CALL, state, told.now)
        if asked_at is not None:
            self._first_asked(asking, call.whose, asked_at)
        if state is InvitationState.RATED:
            self._responded(asking)
        # The number stands with an invitation only while something may be sent; the call keeps its own.
        number = told.number if due_at is not None else None
        self.inserts[_INVITATIONS].append(
            (
                identity,
                SubjectKind.CALL.value,
                state.value,
                reason,
                *_number_values(told.number_kind, number),
                facts.lang,
                told.rules.key_map,
                asked_at,
                "voice" if asked_at is not None else None,
                due_at,
                told.now,
                told.now,
                None if due_at is None else told.ended_at + UNSENT_AFTER,
                told.now if due_at is None else None,
                told.now if asking.responded else None,
                *(UNTOLD if asking.asked is None else asked_values(asking.asked)),
            )
        )
        self.join_call(told, call, asking)
        return asking

    def join_call(self, told: Told, call: KnownCall, asking: Asking) -> None:
        """The call becomes a member."""
        self.inserts[_MEMBERS].append((asking.id, call.subject_id))
        asking.open_members += 1
        asking.calls += 1
        name = told.facts.call_key
        self.known_calls[name] = replace(self.known_calls[name], asking=asking)

    def join_case(self, told: Told, case: KnownCase, asking: Asking) -> None:
        """The case becomes a member, and leaves one in which it could not be asked."""
        self.tell_case(told, case)
        if case.asking is not None:
            self.left.append((case.asking.id, case.subject_id))
            case.asking.add(case, -1)
        self.inserts[_MEMBERS].append((asking.id, case.subject_id))
        asking.add(case, 1)
        self.reminds.append((asking, told.ended_at + told.rules.reminder_after))
        assert told.facts.case_no is not None
        self.known_cases[told.facts.case_no] = replace(self.known_cases[told.facts.case_no], asking=asking)

    def asked_by_voice(
        self, told: Told, asking: Asking, due_at: datetime | None, asked_at: datetime | None, whose: Whose
    ) -> None:
        """The question was put in a call, too; None: it is due as it was."""
        how = "voice" if asked_at is not None else None
        values = UNTOLD if asked_at is None else asked_values(whose)
        self.asked.append((asking.id, due_at, asked_at, how, *values, told.now))
        if asked_at is not None:
            self._first_asked(asking, whose, asked_at)

    def _first_asked(self, asking: Asking, whose: Whose, at: datetime) -> None:
        """It was asked by voice: counted, unless it was asked before."""
        if asking.first_asked_at is None:
            asking.asked, asking.first_asked_at, asking.asked_by = whose, at, "voice"
            self.unit.deltas.invitation(1, whose, at, "voice", responded=asking.responded)

    def _responded(self, asking: Asking) -> bool:
        """It has a real rating: counted once, where it was asked."""
        if asking.responded:
            return False
        asking.responded = True
        if asking.asked is not None and asking.first_asked_at is not None:
            for count, responded in ((-1, False), (1, True)):
                self.unit.deltas.invitation(
                    count, asking.asked, asking.first_asked_at, asking.asked_by, responded=responded
                )
        return True

    def rated_by_voice(
        self, told: Told, asking: Asking, call: KnownCall, *, own: bool, case: KnownCase | None = None
    ) -> None:
        """A member was rated in a call. With the last one the invitation is rated, and nothing more is sent. Where a
        default stands for another case it is `defaulted`, as if that had come last: its citizen may still rate.

        Args:
            own: the call was asked about by this invitation, so it was put in the call.
            case: which member, as it was before; None: the call.
        """
        asking.add(case, -1)
        if asking.state is InvitationState.RATED:
            return
        if not own and not is_open(asking.state):  # it ended before, and nobody was asked by it again
            return
        if asking.open_members > 0:
            if self._responded(asking):
                self.responded.append((asking.id, told.now))
            return
        if asking.defaulted > 0 and not own:
            if self._responded(asking):
                self.responded.append((asking.id, told.now))
            self.end(told, asking, InvitationState.DEFAULTED, None)
            return
        asking.state = InvitationState.RATED
        values: tuple[Any, ...] = (None, None, *UNTOLD)
        if own:
            values = (told.facts.at, "voice", *asked_values(call.whose))
            self._first_asked(asking, call.whose, told.facts.at)
        self._responded(asking)
        self.rated.append((asking.id, *values, told.now))

    def end(self, told: Told, asking: Asking, state: InvitationState, reason: str | None) -> None:
        """Nothing more is sent."""
        asking.state = state
        self.endings.append(Ending(asking.id, state, reason, told.now))

    def rating(
        self,
        told: Told,
        satisfaction: Satisfaction,
        raw_input: str,
        invitation_id: str,
        call: KnownCall,
        *,
        late: bool,
    ) -> None:
        """`late`: it takes the place of its case's default."""
        self.inserts[_RATINGS].append(
            (
                told.ids.rating,
                invitation_id,
                call.subject_id,
                None,
                Channel.KEYPAD.value,
                Origin.CITIZEN.value,
                raw_input,
                told.rules.key_map,
                satisfaction.value,
                None,
                None,
                told.now,
                late,
                told.now,
            )
        )

    def evaluation(
        self,
        told: Told,
        key: EvaluationKey,
        kind: SubjectKind,
        satisfaction: Satisfaction,
        project: str,
        case: KnownCase | None,
    ) -> None:
        """The rating as seen from one subject: it says of agent, department and area what that says."""
        whose = self.known_calls[told.facts.call_key].whose
        if case is not None:
            whose = Whose(kind, case.agent, whose.queue, case.dept_code, case.area_code)
        self.unit.deltas.evaluation(1, whose, told.now, satisfaction, Channel.KEYPAD, Origin.CITIZEN)
        self.inserts[_EVALUATIONS].append(
            (
                key.subject_id,
                key.assess_number,
                key.evaluation_id,
                told.ids.rating,
                kind.value,
                True,
                satisfaction.value,
                Origin.CITIZEN.value,
                Channel.KEYPAD.value,
                None,
                None,
                told.now,
                project,
                _CASE_CLOSING,
                whose.agent,
                whose.queue,
                whose.dept,
                case.dept_name if case else None,
                case.task_code if case else None,
                case.task_name if case else None,
                told.rules.service_name,
                whose.area,
                None,
                None,
                told.now,
            )
        )
        self.inserts[FEED].append((FeedKind.EVALUATION.value, key.subject_id, key.assess_number, told.now))

    def no_longer_effective(self, subject_id: str, assess_number: int) -> None:
        self.superseded.append((subject_id, assess_number))

    def push(self, told: Told, key: EvaluationKey, *, hold: bool) -> None:
        """A row of the outbox, due now or held back for the caller's reason."""
        self.inserts[_OUTBOX].append(
            (
                key.evaluation_id,
                key.subject_id,
                key.assess_number,
                OutboxState.WAITING.value,
                told.now + told.rules.keypad_reason_hold if hold else told.now,
                told.rules.holder if hold else None,
                None,
                0,
                None,
                told.now,
            )
        )

    def audit(self, told: Told, action: AuditAction, subject_id: str, detail: str | None = None) -> None:
        self.inserts[_AUDIT].append((told.ids.audit, told.now, Actor.IVR.value, action.value, subject_id, detail))

    def store(self) -> None:
        unit = self.unit
        no_longer_effective(unit, set(self.superseded))
        unit.many(_NO_LONGER_EFFECTIVE, self.superseded)
        unit.many(_LEAVE, self.left)
        for bulk, rows in self.inserts.items():
            unit.insert(bulk, rows)
        # A case that was rated in its call is not reminded of.
        unit.many(REMIND, [(asking.id, at) for asking, at in self.reminds if asking.state is not InvitationState.RATED])
        unit.many(_CALL_OUTCOME, self.outcomes)
        unit.many(_ASKED_BY_VOICE, self.asked)
        unit.many(_RESPONDED, self.responded)
        end_invitations(unit, self.endings)
        if self.rated:
            unit.many(_RATED_BY_VOICE, self.rated)
            stop_sending(unit, [Ending(row[0], InvitationState.RATED, None, row[-1]) for row in self.rated])
        self._restate_cases()

    def _restate_cases(self) -> None:
        """Few cases come without a department and are told one by their call."""
        if not self.told_cases:
            return
        unit, known = self.unit, [now for _, now in self.told_cases.values()]
        unit.many(_TELL_CASE, [(one.subject_id, one.agent, one.dept_code, one.area_code) for one in known])
        said = {
            one.subject_id: Copied(one.agent, one.dept_code, one.dept_name, one.task_code, one.task_name, one.area_code)
            for one in known
        }
        evaluations_follow(unit, said, self._now)
        left: dict[str, set[tuple[str | None, str | None]]] = {}
        for before, now in self.told_cases.values():
            if before.asking is not None:
                areas = {before.area_code, now.area_code}
                left.setdefault(before.asking.id, set()).update((before.dept_code, area) for area in areas)
        invitations_follow(unit, left, self._area)


def _completed(whose: Whose, told: Told) -> Whose:
    """What a call counts for, with what is told of it only now."""
    facts = told.facts
    return whose._replace(
        agent=whose.agent or facts.agent,
        queue=whose.queue or facts.queue,
        dept=whose.dept or facts.dept,
        area=whose.area or told.rules.area_code,
    )


def _current(first: Asking | None, second: Asking | None) -> Asking | None:
    if first is None or second is None:
        return first or second
    return max(first, second, key=lambda asking: (is_open(asking.state), asking.created_at))


def _number_values(kind: NumberKind, number: SealedNumber | None) -> tuple[Any, ...]:
    if number is None:
        return (kind.value, None, None, None, None)
    return (kind.value, number.sealed, number.hash, number.tail, number.key_id)
