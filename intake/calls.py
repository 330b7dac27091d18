"""The commands that write calls and their ratings, in bulk: many commands of a group share each statement.

A command carries the ids of all it may store, so that running twice (models/door.py, rule 3) stores the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import Select, and_, bindparam, or_, select, tuple_, update

from intake.decide import (
    CaseVerdict,
    Effective,
    PushCalls,
    after_call,
    case_verdict,
    is_duplicate,
    merged_outcome,
    pushes_call,
)
from intake.names import project_no, project_no_of_call
from intake.numbers import NumberKind
from models.door import Bulk, Many, Priority, Unit
from models.ids import new_id
from models.privacy import SealedNumber
from models.tables import (
    audit,
    call_keys,
    calls,
    case_keys,
    cases,
    evaluations,
    invitation_members,
    invitations,
    outbox,
    ratings,
)
from models.terms import (
    Actor,
    CallOutcome,
    Channel,
    InvitationState,
    Origin,
    OutboxState,
    Satisfaction,
    SubjectKind,
)

__all__ = [
    "CallFacts",
    "EndCall",
    "EvaluationKey",
    "GiveReason",
    "RateCall",
    "ReleaseHolds",
    "ReleaseStaleHolds",
    "Rules",
    "Stored",
    "effective_of_calls",
]

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
class _Ids:
    """Made with the command, before it runs."""

    call: str
    case: str
    rating: str
    call_evaluation: str
    case_evaluation: str
    invitation: str
    audit: str

    @classmethod
    def new(cls) -> _Ids:
        return cls(new_id(), new_id(), new_id(), new_id(), new_id(), new_id(), new_id())


@dataclass(frozen=True, slots=True)
class _KnownCall:
    subject_id: str
    outcome: CallOutcome
    effective: Effective | None
    invitation_id: str | None


@dataclass(frozen=True, slots=True)
class _KnownCase:
    subject_id: str
    effective: Effective | None
    dept_code: str | None
    dept_name: str | None
    task_code: str | None
    task_name: str | None
    agent: str | None


# ── statements ────────────────────────────────────────────────────────────────────────────────────────────────────────

_CALL_KEYS = Bulk(call_keys)
_CALLS = Bulk(calls)
_CASE_KEYS = Bulk(case_keys)
_CASES = Bulk(
    cases, ("subject_id", "case_no", "service_number", "stub", "dept_code", "agent", "closed_at", "created_at")
)
_INVITATIONS = Bulk(invitations)
_MEMBERS = Bulk(invitation_members)
_RATINGS = Bulk(ratings)
_EVALUATIONS = Bulk(evaluations)
_OUTBOX = Bulk(outbox)
_AUDIT = Bulk(audit)

_CALL_OUTCOME = Many(
    update(calls)
    .where(calls.c.subject_id == bindparam("subject"))
    .values(outcome=bindparam("new_outcome"), offered_at=bindparam("offered"), ended_at=bindparam("ended")),
    ("subject", "new_outcome", "offered", "ended"),
)
_INVITATION_STATE = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(
        state=bindparam("new_state"),
        reason=bindparam("why"),
        due_at=bindparam("due"),
        first_asked_at=bindparam("asked"),
        asked_by=bindparam("how"),
        changed_at=bindparam("at"),
    ),
    ("invitation", "new_state", "why", "due", "asked", "how", "at"),
)
_NO_LONGER_EFFECTIVE = Many(
    update(evaluations)
    .where(evaluations.c.subject_id == bindparam("subject"), evaluations.c.assess_number == bindparam("number"))
    .values(effective=False),
    ("subject", "number"),
)
_REASON_OF_RATING = Many(
    update(ratings).where(ratings.c.id == bindparam("rating")).values(reasons=bindparam("codes")), ("rating", "codes")
)
_REASON_OF_EVALUATION = Many(
    update(evaluations)
    .where(evaluations.c.subject_id == bindparam("subject"), evaluations.c.assess_number == bindparam("number"))
    .values(reasons=bindparam("codes")),
    ("subject", "number", "codes"),
)
_RELEASE = Many(
    update(outbox)
    .where(outbox.c.evaluation_id == bindparam("evaluation"), outbox.c.held_by.is_not(None))
    .values(not_before=bindparam("at"), held_by=None),
    ("evaluation", "at"),
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
        invitation_members.c.invitation_id,
        *_EFFECTIVE_COLUMNS,
    )
    .select_from(call_keys)
    .join(calls, calls.c.subject_id == call_keys.c.subject_id)
    .outerjoin(invitation_members, invitation_members.c.subject_id == call_keys.c.subject_id)
    .outerjoin(evaluations, and_(evaluations.c.subject_id == call_keys.c.subject_id, evaluations.c.effective))
    .where(call_keys.c.call_key.in_(bindparam("keys", expanding=True)))
)
_SELECT_EFFECTIVE: Select[Any] = (
    select(call_keys.c.call_key, *_EFFECTIVE_COLUMNS)
    .select_from(call_keys)
    .join(evaluations, and_(evaluations.c.subject_id == call_keys.c.subject_id, evaluations.c.effective))
    .where(call_keys.c.call_key.in_(bindparam("keys", expanding=True)))
)


def _effective(row: Any) -> Effective | None:
    if row.evaluation_id is None:
        return None
    return Effective(
        evaluation_id=row.evaluation_id,
        assess_number=row.assess_number,
        satisfaction=Satisfaction(row.satisfaction),
        origin=Origin(row.origin),
        rating_id=row.rating_id,
        created_at=row.evaluated_at,
    )


def effective_of_calls(connection: Any, call_key_list: Iterable[str]) -> dict[str, Stored]:
    """The effective ratings of those calls that have one (a read, for the question "was this call rated already?")."""
    found = {}
    for row in connection.execute(_SELECT_EFFECTIVE, {"keys": list(call_key_list)}):
        effective = _effective(row)
        assert effective is not None
        found[row.call_key] = _earlier(effective)
    return found


def _earlier(effective: Effective) -> Stored:
    return Stored(
        new=False,
        evaluation_id=effective.evaluation_id,
        satisfaction=effective.satisfaction,
        rating_id=effective.rating_id,
    )


class _Group:
    """What one group of call commands knows and is going to insert, table by table."""

    def __init__(self, unit: Unit, commands: Sequence[RateCall | EndCall]) -> None:
        self.unit = unit
        self.known_calls = self._load_calls({command.facts.call_key for command in commands})
        self.known_cases = self._load_cases({c.facts.case_no for c in commands if c.facts.closed and c.facts.case_no})
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
                _AUDIT,
            )
        }
        self.outcomes: list[tuple[Any, ...]] = []
        self.states: list[tuple[Any, ...]] = []
        self.superseded: list[tuple[Any, ...]] = []

    def _load_calls(self, keys: set[str]) -> dict[str, _KnownCall]:
        return {
            row.call_key: _KnownCall(row.subject_id, CallOutcome(row.outcome), _effective(row), row.invitation_id)
            for row in self.unit.execute(_SELECT_CALLS, {"keys": sorted(keys)})
        }

    def _load_cases(self, numbers: set[str]) -> dict[str, _KnownCase]:
        if not numbers:
            return {}
        rows = self.unit.execute(
            select(
                case_keys.c.case_no,
                case_keys.c.subject_id,
                cases.c.dept_code,
                cases.c.dept_name,
                cases.c.task_code,
                cases.c.task_name,
                cases.c.agent,
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
        )
        return {
            row.case_no: _KnownCase(
                row.subject_id,
                _effective(row),
                row.dept_code,
                row.dept_name,
                row.task_code,
                row.task_name,
                row.agent,
            )
            for row in rows
        }

    def call(self, command: RateCall | EndCall, outcome: CallOutcome) -> _KnownCall:
        """The call, stored now where it was not known."""
        facts, number = command.facts, command.number
        offered = facts.at if outcome is not CallOutcome.NOT_OFFERED else None
        known = self.known_calls.get(facts.call_key)
        if known is not None:
            merged = merged_outcome(known.outcome, outcome)
            self.outcomes.append((known.subject_id, merged.value, offered, command.now))
            known = replace(known, outcome=merged)
        else:
            known = _KnownCall(command.ids.call, outcome, None, None)
            self.inserts[_CALL_KEYS].append((facts.call_key, known.subject_id))
            self.inserts[_CALLS].append(
                (
                    known.subject_id,
                    facts.call_key,
                    *_number_values(command.number_kind, number),
                    facts.agent,
                    facts.queue,
                    facts.dept,
                    facts.case_no,
                    facts.lang,
                    outcome.value,
                    command.source,
                    offered,
                    command.now,
                    command.now,
                )
            )
        self.known_calls[facts.call_key] = known
        return known

    def case(self, command: RateCall | EndCall) -> _KnownCase | None:
        """The case that was answered in this call; a stub, stored now, where it was not known."""
        facts = command.facts
        if not facts.closed or not facts.case_no:
            return None
        known = self.known_cases.get(facts.case_no)
        if known is None:
            known = _KnownCase(command.ids.case, None, facts.dept, None, None, None, facts.agent)
            self.inserts[_CASE_KEYS].append((facts.case_no, _CASE_CLOSING, known.subject_id))
            self.inserts[_CASES].append(
                (
                    known.subject_id,
                    facts.case_no,
                    _CASE_CLOSING,
                    True,
                    facts.dept,
                    facts.agent,
                    command.now,
                    command.now,
                )
            )
            self.known_cases[facts.case_no] = known
        return known

    def invitation(
        self,
        command: RateCall | EndCall,
        call: _KnownCall,
        case: _KnownCase | None,
        state: InvitationState,
        reason: str | None,
        due_at: datetime | None,
        asked_at: datetime | None,
    ) -> str:
        """The call's invitation in a new state: made where there is none."""
        asked_by = "voice" if asked_at is not None else None
        if call.invitation_id is not None:
            self.states.append((call.invitation_id, state.value, reason, due_at, asked_at, asked_by, command.now))
            if case is not None and case.subject_id == command.ids.case:
                self.inserts[_MEMBERS].append((call.invitation_id, case.subject_id))
            return call.invitation_id
        facts, identity = command.facts, command.ids.invitation
        # The number stands with an invitation only while something may be sent; the call keeps its own.
        number = command.number if due_at is not None else None
        self.inserts[_INVITATIONS].append(
            (
                identity,
                SubjectKind.CALL.value,
                state.value,
                reason,
                *_number_values(command.number_kind, number),
                facts.lang,
                command.rules.key_map,
                asked_at,
                asked_by,
                due_at,
                command.now,
                command.now,
            )
        )
        self.inserts[_MEMBERS].append((identity, call.subject_id))
        if case is not None:
            self.inserts[_MEMBERS].append((identity, case.subject_id))
        self.known_calls[facts.call_key] = replace(call, invitation_id=identity)
        return identity

    def audit(self, command: RateCall | EndCall, action: str, subject_id: str, detail: str | None = None) -> None:
        self.inserts[_AUDIT].append((command.ids.audit, command.now, Actor.IVR.value, action, subject_id, detail))

    def store(self) -> None:
        unit = self.unit
        unit.many(_NO_LONGER_EFFECTIVE, self.superseded)
        for bulk, rows in self.inserts.items():
            unit.insert(bulk, rows)
        unit.many(_CALL_OUTCOME, self.outcomes)
        unit.many(_INVITATION_STATE, self.states)


def _number_values(kind: NumberKind, number: SealedNumber | None) -> tuple[Any, ...]:
    if number is None:
        return (kind.value, None, None, None, None)
    return (kind.value, number.sealed, number.hash, number.tail, number.key_id)


@dataclass(frozen=True, slots=True)
class RateCall:
    """A caller pressed a level. Result: `Stored`."""

    facts: CallFacts
    number_kind: NumberKind
    number: SealedNumber | None
    satisfaction: Satisfaction
    raw_input: str
    hold: bool
    now: datetime
    rules: Rules
    ids: _Ids
    source: str = "ivr"
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[RateCall]) -> list[Stored]:
        group = _Group(unit, commands)
        results = [command._decide(group) for command in commands]
        group.store()
        return results

    def _decide(self, group: _Group) -> Stored:
        known = group.known_calls.get(self.facts.call_key)
        if known is not None and is_duplicate(known.effective):
            assert known.effective is not None
            return _earlier(known.effective)
        ids, now, facts = self.ids, self.now, self.facts
        call = group.call(self, CallOutcome.RATED)
        case = group.case(self)
        verdict = case_verdict(case.effective) if case is not None else None
        case_is_rated = verdict in (CaseVerdict.FIRST, CaseVerdict.AFTER_DEFAULT)
        invitation_id = group.invitation(self, call, case, InvitationState.RATED, None, None, facts.at)
        group.inserts[_RATINGS].append(
            (
                ids.rating,
                invitation_id,
                call.subject_id,
                None,
                Channel.KEYPAD.value,
                Origin.CITIZEN.value,
                self.raw_input,
                self.rules.key_map,
                self.satisfaction.value,
                None,
                None,
                now,
                False,
                now,
            )
        )
        keys = [EvaluationKey(ids.call_evaluation, call.subject_id, 1)]
        self._evaluate(
            group, keys[0], SubjectKind.CALL, project_no_of_call(facts.call_key), facts.agent, facts.dept, None
        )
        pushed = []
        if pushes_call(self.rules.push_calls, case_carries_it=case_is_rated):
            pushed.append(keys[0])
        if case is not None and case_is_rated:
            assert facts.case_no is not None
            number = 1
            if case.effective is not None:
                number = case.effective.assess_number + 1
                group.superseded.append((case.subject_id, case.effective.assess_number))
            key = EvaluationKey(ids.case_evaluation, case.subject_id, number)
            keys.append(key)
            pushed.append(key)
            agent, dept = case.agent or facts.agent, case.dept_code or facts.dept
            self._evaluate(group, key, SubjectKind.CASE, project_no(facts.case_no), agent, dept, case)
            effective = Effective(key.evaluation_id, number, self.satisfaction, Origin.CITIZEN, ids.rating, now)
            group.known_cases[facts.case_no] = replace(case, effective=effective)
        not_before = now + self.rules.keypad_reason_hold if self.hold else now
        held_by = self.rules.holder if self.hold else None
        for key in pushed:
            group.inserts[_OUTBOX].append(
                (
                    key.evaluation_id,
                    key.subject_id,
                    key.assess_number,
                    OutboxState.WAITING.value,
                    not_before,
                    held_by,
                    None,
                    0,
                    None,
                    now,
                )
            )
        detail = "case already rated" if verdict is CaseVerdict.ALREADY_RATED else None
        group.audit(self, "rating.stored", call.subject_id, detail)
        effective = Effective(keys[0].evaluation_id, 1, self.satisfaction, Origin.CITIZEN, ids.rating, now)
        group.known_calls[facts.call_key] = replace(group.known_calls[facts.call_key], effective=effective)
        return Stored(
            new=True,
            evaluation_id=keys[0].evaluation_id,
            satisfaction=self.satisfaction,
            rating_id=ids.rating,
            held=self.hold,
            keys=tuple(keys),
        )

    def _evaluate(
        self,
        group: _Group,
        key: EvaluationKey,
        kind: SubjectKind,
        project: str,
        agent: str | None,
        dept: str | None,
        case: _KnownCase | None,
    ) -> None:
        group.inserts[_EVALUATIONS].append(
            (
                key.subject_id,
                key.assess_number,
                key.evaluation_id,
                self.ids.rating,
                kind.value,
                True,
                self.satisfaction.value,
                Origin.CITIZEN.value,
                Channel.KEYPAD.value,
                None,
                None,
                self.now,
                project,
                _CASE_CLOSING,
                agent,
                self.facts.queue,
                dept,
                case.dept_name if case else None,
                case.task_code if case else None,
                case.task_name if case else None,
                self.rules.service_name,
                self.rules.area_code,
                None,
                None,
                self.now,
            )
        )


@dataclass(frozen=True, slots=True)
class EndCall:
    """A call is over unrated, offered or not. Result: whether an SMS invitation waits for it."""

    facts: CallFacts
    number_kind: NumberKind
    number: SealedNumber | None
    outcome: CallOutcome
    now: datetime
    rules: Rules
    ids: _Ids
    source: str = "ivr"
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[EndCall]) -> list[bool]:
        group = _Group(unit, commands)
        results = [command._decide(group) for command in commands]
        group.store()
        return results

    def _decide(self, group: _Group) -> bool:
        known = group.known_calls.get(self.facts.call_key)
        if known is not None and known.effective is not None:
            return False
        if known is not None and merged_outcome(known.outcome, self.outcome) is known.outcome:
            return after_call(known.outcome, self.number_kind).sms
        call = group.call(self, self.outcome)
        case = group.case(self)
        if case is not None and case.effective is not None:
            case = None
        after = after_call(call.outcome, self.number_kind)
        asked_at = self.facts.at if call.outcome is not CallOutcome.NOT_OFFERED else None
        due_at = self.now + self.rules.invite_after if after.sms else None
        group.invitation(self, call, case, after.state, after.reason, due_at, asked_at)
        group.audit(self, f"call.{call.outcome.value}", call.subject_id)
        return after.sms


@dataclass(frozen=True, slots=True)
class GiveReason:
    """The caller answered the question for the reason: stored, and the push may go."""

    stored: Stored
    codes: tuple[str, ...]
    now: datetime
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[GiveReason]) -> list[None]:
        unit.many(_REASON_OF_RATING, [(c.stored.rating_id, ",".join(c.codes)) for c in commands])
        unit.many(
            _REASON_OF_EVALUATION,
            [(key.subject_id, key.assess_number, ",".join(c.codes)) for c in commands for key in c.stored.keys],
        )
        unit.many(_RELEASE, [(key.evaluation_id, c.now) for c in commands for key in c.stored.keys])
        return [None] * len(commands)


@dataclass(frozen=True, slots=True)
class ReleaseHolds:
    """The call is over without a reason: the push may go."""

    stored: Stored
    now: datetime
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[ReleaseHolds]) -> list[None]:
        unit.many(_RELEASE, [(key.evaluation_id, c.now) for c in commands for key in c.stored.keys])
        return [None] * len(commands)


@dataclass(frozen=True, slots=True)
class ReleaseStaleHolds:
    """At start: holds of earlier processes of this node, for no call outlives its process. Result: how many."""

    rules: Rules
    now: datetime
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[ReleaseStaleHolds]) -> list[int]:
        return [
            unit.execute(
                update(outbox)
                .where(
                    or_(
                        outbox.c.held_by == command.rules.node,
                        outbox.c.held_by.startswith(f"{command.rules.node}/", autoescape=True),
                    ),
                    outbox.c.held_by != command.rules.holder,
                )
                .values(not_before=command.now, held_by=None)
            ).rowcount
            for command in commands
        ]
