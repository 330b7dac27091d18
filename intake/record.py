"""What one group of call commands knows, and what it is going to store: table by table, with one statement a table.

`Record` loads the calls and cases of the group, keeps them up to date while the commands are decided one after the
other (two commands of one group may be about one call), and stores everything at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Select, and_, bindparam, or_, select, tuple_, update

from intake.decide import Effective, PushCalls, merged_outcome
from intake.numbers import NumberKind
from models.door import Bulk, Many, Unit
from models.ids import new_id
from models.privacy import SealedNumber
from models.tables import (
    audit,
    call_keys,
    calls,
    case_keys,
    cases,
    evaluations,
    feed,
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
    "UNSENT_AFTER",
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


@dataclass(frozen=True, slots=True)
class KnownCall:
    subject_id: str
    outcome: CallOutcome
    effective: Effective | None
    invitation_id: str | None


@dataclass(frozen=True, slots=True)
class KnownCase:
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
    ),
)
_MEMBERS = Bulk(invitation_members)
_RATINGS = Bulk(ratings)
_EVALUATIONS = Bulk(evaluations)
_OUTBOX = Bulk(outbox)
_FEED = Bulk(feed, ("kind", "subject_id", "assess_number", "at"))
_AUDIT = Bulk(audit)

_CALL_OUTCOME = Many(
    update(calls)
    # A rating that another process stored since we looked stands.
    .where(
        calls.c.subject_id == bindparam("subject"),
        or_(calls.c.outcome != CallOutcome.RATED.value, bindparam("rates", type_=Boolean)),
    )
    .values(outcome=bindparam("new_outcome"), offered_at=bindparam("offered"), ended_at=bindparam("ended")),
    ("subject", "rates", "new_outcome", "offered", "ended"),
)
_INVITATION_STATE = Many(
    update(invitations)
    .where(
        invitations.c.id == bindparam("invitation"),
        or_(invitations.c.state != InvitationState.RATED.value, bindparam("rates", type_=Boolean)),
    )
    .values(
        state=bindparam("new_state"),
        reason=bindparam("why"),
        due_at=bindparam("due"),
        not_after=bindparam("until"),
        first_asked_at=bindparam("asked"),
        asked_by=bindparam("how"),
        changed_at=bindparam("at"),
    ),
    ("invitation", "rates", "new_state", "why", "due", "until", "asked", "how", "at"),
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
        self.known_calls = self._load_calls({one.facts.call_key for one in told})
        closed = [one.facts.case_no for one in told if one.facts.closed]
        self.known_cases = self._load_cases({number for number in closed if number})
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
                _FEED,
                _AUDIT,
            )
        }
        self.outcomes: list[tuple[Any, ...]] = []
        self.states: list[tuple[Any, ...]] = []
        self.superseded: list[tuple[Any, ...]] = []

    def _load_calls(self, keys: set[str]) -> dict[str, KnownCall]:
        return {
            row.call_key: KnownCall(row.subject_id, CallOutcome(row.outcome), _effective(row), row.invitation_id)
            for row in self.unit.execute(_SELECT_CALLS, {"keys": sorted(keys)})
        }

    def _load_cases(self, numbers: set[str]) -> dict[str, KnownCase]:
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
            row.case_no: KnownCase(
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

    def call(self, told: Told, outcome: CallOutcome) -> KnownCall:
        """The call, stored now where it was not known."""
        facts, number = told.facts, told.number
        offered = facts.at if outcome is not CallOutcome.NOT_OFFERED else None
        known = self.known_calls.get(facts.call_key)
        if known is not None:
            merged = merged_outcome(known.outcome, outcome)
            rates = merged is CallOutcome.RATED
            self.outcomes.append((known.subject_id, rates, merged.value, offered, told.ended_at))
            known = replace(known, outcome=merged)
        else:
            known = KnownCall(told.ids.call, outcome, None, None)
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
                )
            )
        self.known_calls[facts.call_key] = known
        return known

    def case(self, told: Told) -> KnownCase | None:
        """The case that was answered in this call; a stub, stored now, where it was not known."""
        facts = told.facts
        if not facts.closed or not facts.case_no:
            return None
        known = self.known_cases.get(facts.case_no)
        if known is None:
            known = KnownCase(told.ids.case, None, facts.dept, None, None, None, facts.agent)
            self.inserts[_CASE_KEYS].append((facts.case_no, _CASE_CLOSING, known.subject_id))
            self.inserts[_CASES].append(
                (
                    known.subject_id,
                    facts.case_no,
                    _CASE_CLOSING,
                    True,
                    facts.dept,
                    facts.agent,
                    told.now,
                    told.now,
                )
            )
            self.known_cases[facts.case_no] = known
        return known

    def invitation(
        self,
        told: Told,
        call: KnownCall,
        case: KnownCase | None,
        state: InvitationState,
        reason: str | None,
        due_at: datetime | None,
        asked_at: datetime | None,
    ) -> str:
        """The call's invitation in a new state: made where there is none."""
        asked_by = "voice" if asked_at is not None else None
        if call.invitation_id is not None:
            rates = state is InvitationState.RATED
            until = None if due_at is None else told.ended_at + UNSENT_AFTER
            self.states.append(
                (call.invitation_id, rates, state.value, reason, due_at, until, asked_at, asked_by, told.now)
            )
            if case is not None and case.subject_id == told.ids.case:
                self.inserts[_MEMBERS].append((call.invitation_id, case.subject_id))
            return call.invitation_id
        facts, identity = told.facts, told.ids.invitation
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
                asked_by,
                due_at,
                told.now,
                told.now,
                None if due_at is None else told.ended_at + UNSENT_AFTER,
            )
        )
        self.inserts[_MEMBERS].append((identity, call.subject_id))
        if case is not None:
            self.inserts[_MEMBERS].append((identity, case.subject_id))
        self.known_calls[facts.call_key] = replace(call, invitation_id=identity)
        return identity

    def rating(
        self, told: Told, satisfaction: Satisfaction, raw_input: str, invitation_id: str, call: KnownCall
    ) -> None:
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
                False,
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
        """The rating as seen from one subject; what the case itself says of department and agent comes first."""
        facts = told.facts
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
                (case and case.agent) or facts.agent,
                facts.queue,
                (case and case.dept_code) or facts.dept,
                case.dept_name if case else None,
                case.task_code if case else None,
                case.task_name if case else None,
                told.rules.service_name,
                told.rules.area_code,
                None,
                None,
                told.now,
            )
        )
        self.inserts[_FEED].append(("evaluation", key.subject_id, key.assess_number, told.now))

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

    def audit(self, told: Told, action: str, subject_id: str, detail: str | None = None) -> None:
        self.inserts[_AUDIT].append((told.ids.audit, told.now, Actor.IVR.value, action, subject_id, detail))

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
