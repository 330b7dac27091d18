"""The commands that write calls and their ratings, in bulk: many commands of a group share each statement.

A command carries the ids of all it may store, so that running twice (models/door.py, rule 3) stores the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from sqlalchemy import bindparam, or_, update

from intake.asking import OptOut, is_open
from intake.counted import reasons_given
from intake.decide import (
    CaseVerdict,
    Effective,
    after_call,
    case_verdict,
    is_duplicate,
    merged_outcome,
    pushes_call,
)
from intake.names import project_no, project_no_of_call
from intake.record import FEED, Asking, EvaluationKey, KnownCall, KnownCase, Record, Rules, Stored, Told, earlier
from models.door import Many, Priority, Unit
from models.tables import evaluations, outbox, ratings
from models.terms import AuditAction, CallOutcome, FeedKind, InvitationState, Origin, Satisfaction, SubjectKind

__all__ = ["EndCall", "GiveReason", "RateCall", "ReleaseHolds", "ReleaseStaleHolds"]

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


@dataclass(frozen=True, slots=True)
class RateCall:
    """A caller pressed a level. Result: `Stored`."""

    told: Told
    satisfaction: Satisfaction
    raw_input: str
    hold: bool
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[RateCall]) -> list[Stored]:
        record = Record(unit, [command.told for command in commands])
        results = [command._decide(record) for command in commands]
        record.store()
        return results

    def _decide(self, record: Record) -> Stored:
        told = self.told
        known = record.known_calls.get(told.facts.call_key)
        if known is not None and is_duplicate(known.effective):
            assert known.effective is not None
            if known.effective.rating_id == told.ids.rating:
                return self._stored_before(record, known)
            return earlier(known.effective)
        call = record.call(told, CallOutcome.RATED)
        case = record.case(told)
        verdict = None
        if case is not None:
            verdict = _verdict(case, told)
            if not verdict.takes_rating:
                case = None
        asking = call.asking
        if asking is None:
            asking = record.invite(told, call, InvitationState.RATED, None, None, told.facts.at)
        if case is not None and case.asking is not asking and may_move(case.asking):
            record.join_case(told, case, asking)
            case = record.known_cases[told.facts.case_no or ""]
        late = verdict is CaseVerdict.AFTER_DEFAULT
        record.rating(told, self.satisfaction, self.raw_input, asking.id, call, late=late)
        keys = [self._rate_call(record, call)]
        record.rated_by_voice(told, asking, call, own=True)
        pushed = []
        if case is not None:
            keys.append(self._rate_case(record, case))
            pushed.append(keys[-1])
            if case.asking is not None:
                record.rated_by_voice(told, case.asking, call, own=case.asking is asking, case=case)
        if pushes_call(told.rules.push_calls, case_carries_it=bool(pushed)):
            pushed.append(keys[0])
        for key in pushed:
            record.push(told, key, hold=self.hold)
        detail = verdict.detail if verdict is not None else None
        record.audit(told, AuditAction.RATING_STORED, call.subject_id, detail)
        return self._stored(keys)

    def _stored(self, keys: Sequence[EvaluationKey]) -> Stored:
        return Stored(
            new=True,
            evaluation_id=keys[0].evaluation_id,
            satisfaction=self.satisfaction,
            rating_id=self.told.ids.rating,
            held=self.hold,
            keys=tuple(keys),
        )

    def _stored_before(self, record: Record, call: KnownCall) -> Stored:
        """The first run had committed, and its answer was lost: the same result once more."""
        told = self.told
        keys = [EvaluationKey(told.ids.call_evaluation, call.subject_id, 1)]
        case = record.known_cases.get(told.facts.case_no or "") if told.facts.closed else None
        if case is not None and case.effective is not None and case.effective.rating_id == told.ids.rating:
            keys.append(EvaluationKey(told.ids.case_evaluation, case.subject_id, case.effective.assess_number))
        return self._stored(keys)

    def _rate_call(self, record: Record, call: KnownCall) -> EvaluationKey:
        told = self.told
        key = EvaluationKey(told.ids.call_evaluation, call.subject_id, 1)
        project = project_no_of_call(told.facts.call_key)
        record.evaluation(told, key, SubjectKind.CALL, self.satisfaction, project, None)
        name = told.facts.call_key
        record.known_calls[name] = replace(record.known_calls[name], effective=self._effective(key))
        return key

    def _rate_case(self, record: Record, case: KnownCase) -> EvaluationKey:
        told = self.told
        assert told.facts.case_no is not None
        case, number = record.tell_case(told, case), 1
        if case.effective is not None:
            number = case.effective.assess_number + 1
            record.no_longer_effective(case.subject_id, case.effective.assess_number)
        key = EvaluationKey(told.ids.case_evaluation, case.subject_id, number)
        record.evaluation(told, key, SubjectKind.CASE, self.satisfaction, project_no(told.facts.case_no), case)
        record.known_cases[told.facts.case_no] = replace(case, effective=self._effective(key))
        return key

    def _effective(self, key: EvaluationKey) -> Effective:
        told = self.told
        return Effective(
            key.evaluation_id, key.assess_number, self.satisfaction, Origin.CITIZEN, told.ids.rating, told.now
        )


@dataclass(frozen=True, slots=True)
class EndCall:
    """A call is over unrated, offered or not. Result: whether an SMS invitation waits for it."""

    told: Told
    outcome: CallOutcome
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[EndCall]) -> list[bool]:
        record = Record(unit, [command.told for command in commands])
        refused = record.opt_outs({told.number.hash for command in commands if (told := command.told).number})
        results = [command._decide(record, refused) for command in commands]
        record.store()
        return results

    def _decide(self, record: Record, refused: Mapping[bytes, OptOut]) -> bool:
        told = self.told
        known = record.known_calls.get(told.facts.call_key)
        if known is not None and known.effective is not None:
            return False
        if known is not None and merged_outcome(known.outcome, self.outcome) is known.outcome:
            return known.asking is not None and known.asking.state is InvitationState.WAITING
        call = record.call(told, self.outcome)
        case = record.case(told)
        if case is not None and (case.effective is not None or case.withdrawn):
            case = None
        waits = self._ask(record, call, case, refused)
        record.audit(told, AuditAction.of_call(call.outcome), call.subject_id)
        return waits

    def _ask(self, record: Record, call: KnownCall, case: KnownCase | None, refused: Mapping[bytes, OptOut]) -> bool:
        """Finds the invitation that asks about this call. The result: whether its SMS waits."""
        told = self.told
        too_old = told.now - told.ended_at > told.rules.max_age
        opt_out = refused.get(told.number.hash) if told.number is not None else None
        after = after_call(call.outcome, told.number_kind, opt_out=opt_out, too_old=too_old)
        asked_at = told.facts.at if call.outcome is not CallOutcome.NOT_OFFERED else None
        due_at = told.ended_at + told.rules.invite_after if after.sms else None
        skipped = call.outcome is CallOutcome.SKIPPED
        asking = call.asking
        if asking is None and case is not None and asks_case_alone(case.asking):
            assert case.asking is not None
            # The case is asked already. One SMS stands for both; and who skips the question is not asked it again,
            # unless others of a batch wait for it, too.
            if not skipped or (case.asking.state is InvitationState.WAITING and case.asking.open_members == 1):
                asking, due_at = case.asking, None
                record.join_call(told, call, asking)
                record.tell_case(told, case)
        if asking is None:
            asking = record.invite(told, call, after.state, after.reason, due_at, asked_at)
            if case is not None and (case.asking is None or (after.sms and may_move(case.asking))):
                record.join_case(told, case, asking)
            return after.sms
        if case is not None and case.asking is None and is_open(asking.state):
            record.join_case(told, case, asking)
        if asking.state is InvitationState.WAITING:
            due = due_at if asking.kind is SubjectKind.CALL else None
            record.asked_by_voice(told, asking, due, asked_at, call.whose)
            if skipped:
                record.end(told, asking, InvitationState.EXPIRED, "skipped")
        return asking.state is InvitationState.WAITING


def _verdict(case: KnownCase, told: Told) -> CaseVerdict:
    if case.withdrawn:
        return CaseVerdict.WITHDRAWN
    return case_verdict(case.effective, told.now, told.rules.late_window)


def may_move(asking: Asking | None) -> bool:
    """Whether a case may be asked by its call's invitation: it has none, or one by which it could not be asked."""
    return asking is None or asking.state is InvitationState.IMPOSSIBLE


def asks_case_alone(asking: Asking | None) -> bool:
    """Whether a case is being asked by an invitation of its own, in which no call has a part yet."""
    return asking is not None and asking.kind is SubjectKind.CASE and asking.calls == 0 and is_open(asking.state)


@dataclass(frozen=True, slots=True)
class GiveReason:
    """The caller answered the question for the reason: stored, and the push may go."""

    stored: Stored
    codes: tuple[str, ...]
    now: datetime
    priority: ClassVar[Priority] = Priority.CALL

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[GiveReason]) -> list[None]:
        reasons_given(
            unit,
            {(key.subject_id, key.assess_number): ",".join(c.codes) for c in commands for key in c.stored.keys},
        )
        unit.many(_REASON_OF_RATING, [(c.stored.rating_id, ",".join(c.codes)) for c in commands])
        unit.many(
            _REASON_OF_EVALUATION,
            [(key.subject_id, key.assess_number, ",".join(c.codes)) for c in commands for key in c.stored.keys],
        )
        # Who follows the record has read the evaluation without it.
        again = [
            (FeedKind.AGAIN.value, key.subject_id, key.assess_number, c.now) for c in commands for key in c.stored.keys
        ]
        unit.insert(FEED, again)
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
