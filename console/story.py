"""The whole story of one call or case, as events in the order of time.

Rules kept here:

* Everything is read by `visible(viewer, table)`: what a viewer may not see is as if it had not happened. A call says
  which case it was about by a number alone; whose case that is, and so who may read the number, the case says.
* Numbers are masked, also where a citizen wrote one into words.
* What is told are values of the record; the page has the words for them (console/pages/zh.toml).
* Bounded: of the audit and of messages no more than `MOST` are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select

from console.masking import mask_words
from console.reveal import may_reveal
from console.viewer import Viewer, visible
from models.privacy import Keyring, mask
from models.tables import (
    audit,
    calls,
    case_keys,
    cases,
    evaluations,
    invitation_members,
    invitations,
    messages,
    outbox,
    push_batches,
    push_members,
    ratings,
    remarks,
    segments,
)
from models.terms import AuditAction, CallOutcome, OutboxState, Satisfaction, SubjectKind

__all__ = ["MOST", "Event", "EventKind", "Fact", "Member", "NamedCase", "Story", "evaluation_subject", "read_story"]

MOST = 200


class EventKind(StrEnum):
    """What happened; the words are the catalogue's `event`."""

    CALL_OFFERED = "call_offered"
    CALL_ENDED = "call_ended"
    CASE_POSTED = "case_posted"
    CASE_CLOSED = "case_closed"
    CASE_WITHDRAWN = "case_withdrawn"
    CASE_DEADLINE = "case_deadline"
    CALL_ABOUT = "call_about"
    INVITED = "invited"
    ASKED = "asked"
    REMINDED = "reminded"
    INVITATION_ENDED = "invitation_ended"
    SMS_OUT = "sms_out"
    SMS_IN = "sms_in"
    RECEIPT = "receipt"
    RATED = "rated"
    DEFAULTED = "defaulted"
    REMARK = "remark"
    PUSHED = "pushed"
    WAITING = "waiting"
    DEAD = "dead"
    CENTRE_WORD = "centre_word"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Fact:
    """`name`: a word of the catalogue's `fact`; `table`: the catalogue's table that has a word for the value."""

    name: str
    value: Any
    table: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """`tone`: good, bad or none. `link`: a page of ours about it. `words`: of people, masked.

    `detail`, of an action of the audit, and `fault`, of a push, are as stored: the page has the words for them.
    """

    at: datetime
    kind: EventKind
    facts: tuple[Fact, ...] = ()
    tone: str = ""
    words: str | None = None
    link: str = ""
    detail: tuple[str, str] | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """Another call or case that the same invitation asks about."""

    subject_id: str
    kind: SubjectKind
    number: str


@dataclass(frozen=True, slots=True)
class NamedCase:
    """The case that a call named. `subject_id` and `service_number` None: nobody knows it yet, or it was closed more
    than once and the call does not say which closing it was about."""

    case_no: str
    subject_id: str | None = None
    service_number: int | None = None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Story:
    """`subject`: the row of `calls` or `cases`, a call's without its case number; `number`: masked; `evaluations`:
    first to last; `named`: the case that a call was about, where the viewer may see it."""

    subject_id: str
    kind: SubjectKind
    subject: Any
    number: str | None
    may_reveal: bool
    evaluations: Sequence[Any]
    events: Sequence[Event]
    members: Sequence[Member]
    calls_about: Sequence[Any] = field(default_factory=tuple)
    named: NamedCase | None = None

    @property
    def effective(self) -> Any | None:
        return next((one for one in self.evaluations if one.effective), None)

    @property
    def called(self) -> str:
        """The case number or the call's id."""
        return str(self.subject.call_key if self.kind is SubjectKind.CALL else self.subject.case_no)


def evaluation_subject(connection: Connection, viewer: Viewer, evaluation_id: str) -> str | None:
    """Whose an evaluation is; None: there is none that this viewer may see."""
    return connection.execute(
        select(evaluations.c.subject_id).where(evaluations.c.id == evaluation_id, visible(viewer, evaluations))
    ).scalar_one_or_none()


def read_story(connection: Connection, viewer: Viewer, keyring: Keyring, subject_id: str) -> Story | None:
    """The story of a subject; None: there is none that this viewer may see."""
    found = _subject(connection, viewer, subject_id)
    if found is None:
        return None
    kind, subject = found
    table = calls if kind is SubjectKind.CALL else cases
    rated = list(
        connection.execute(
            select(evaluations)
            .where(evaluations.c.subject_id == subject_id, visible(viewer, evaluations))
            .order_by(evaluations.c.assess_number)
            .limit(MOST)
        )
    )
    asked = list(
        connection.execute(
            select(invitations)
            .join(invitation_members, invitation_members.c.invitation_id == invitations.c.id)
            .where(invitation_members.c.subject_id == subject_id, visible(viewer, invitations))
            .order_by(invitations.c.created_at, invitations.c.id)
            .limit(MOST)
        )
    )
    about = _calls_about(connection, viewer, kind, subject)
    events: list[Event] = []
    events += _of_call(subject) if kind is SubjectKind.CALL else _of_case(subject)
    events += [
        Event(
            call.ended_at or call.created_at, EventKind.CALL_ABOUT, _call_facts(call), link=f"/cases/{call.subject_id}"
        )
        for call in about
    ]
    for invitation in asked:
        events += _of_invitation(invitation)
    said, message_ids = _messages(connection, viewer, [one.id for one in asked])
    events += said
    events += _rated(connection, viewer, rated)
    events += _remarks(connection, [one.id for one in asked])
    events += _pushed(connection, rated)
    events += _audited(connection, [subject_id, *message_ids])
    events.sort(key=lambda one: one.at)
    sealed = subject.number_sealed
    revealable = sealed is not None and (
        connection.execute(
            select(table.c.subject_id).where(table.c.subject_id == subject_id, may_reveal(viewer, table))
        ).first()
        is not None
    )
    return Story(
        subject_id,
        kind,
        subject,
        mask(keyring.open(bytes(sealed))) if sealed is not None else None,
        revealable,
        rated,
        events,
        _members(connection, viewer, subject_id, [one.id for one in asked]),
        about,
        _named(connection, viewer, subject_id) if kind is SubjectKind.CALL else None,
    )


_CALL = [column for column in calls.c if column is not calls.c.case_no]


def _subject(connection: Connection, viewer: Viewer, subject_id: str) -> tuple[SubjectKind, Any] | None:
    for kind, table, columns in ((SubjectKind.CASE, cases, list(cases.c)), (SubjectKind.CALL, calls, _CALL)):
        mine = select(*columns).where(table.c.subject_id == subject_id, visible(viewer, table))
        row = connection.execute(mine).first()
        if row is not None:
            return kind, row
    return None


def _named(connection: Connection, viewer: Viewer, subject_id: str) -> NamedCase | None:
    """The case that a call named, as far as the viewer may see it; who sees everything is told an unknown one, too."""
    found = connection.execute(
        select(cases.c.subject_id, cases.c.case_no, cases.c.service_number)
        .select_from(
            calls.join(case_keys, case_keys.c.case_no == calls.c.case_no).join(
                cases, cases.c.subject_id == case_keys.c.subject_id
            )
        )
        .where(calls.c.subject_id == subject_id, visible(viewer, calls), visible(viewer, cases))
        .order_by(cases.c.service_number)
        .limit(2)
    ).all()
    if len(found) == 1:
        [one] = found
        return NamedCase(one.case_no, one.subject_id, one.service_number)
    if found:
        return NamedCase(found[0].case_no)
    if not viewer.sees_all:
        return None
    told = connection.execute(select(calls.c.case_no).where(calls.c.subject_id == subject_id)).scalar_one_or_none()
    return NamedCase(told, known=False) if told else None


def _calls_about(connection: Connection, viewer: Viewer, kind: SubjectKind, subject: Any) -> list[Any]:
    """Calls that named this case, beside those that one invitation joins to it."""
    if kind is SubjectKind.CALL:
        return []
    return list(
        connection.execute(
            select(calls)
            .where(calls.c.case_no == subject.case_no, visible(viewer, calls))
            .order_by(calls.c.subject_id)
            .limit(MOST)
        )
    )


def _members(connection: Connection, viewer: Viewer, subject_id: str, ids: Sequence[str]) -> list[Member]:
    if not ids:
        return []
    mine = invitation_members.c.invitation_id.in_(ids)
    found: list[Member] = []
    for kind, table, number in (
        (SubjectKind.CALL, calls, calls.c.call_key),
        (SubjectKind.CASE, cases, cases.c.case_no),
    ):
        statement = (
            select(table.c.subject_id, number.label("number"))
            .join(invitation_members, invitation_members.c.subject_id == table.c.subject_id)
            .where(mine, table.c.subject_id != subject_id, visible(viewer, table))
            .order_by(table.c.subject_id)
            .limit(MOST)
        )
        found += [Member(row.subject_id, kind, row.number) for row in connection.execute(statement)]
    return list(dict.fromkeys(found))


# ── call and case ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _call_facts(call: Any) -> tuple[Fact, ...]:
    return (
        Fact("call", call.call_key),
        Fact("outcome", call.outcome, "outcome"),
        *((Fact("agent", call.agent, "agent"),) if call.agent else ()),
        *((Fact("queue", call.queue),) if call.queue else ()),
    )


def _of_call(call: Any) -> list[Event]:
    found = []
    if call.offered_at is not None:
        found.append(Event(call.offered_at, EventKind.CALL_OFFERED))
    ended = call.ended_at or call.created_at
    found.append(Event(ended, EventKind.CALL_ENDED, (Fact("outcome", call.outcome, "outcome"),)))
    return found


def _of_case(case: Any) -> list[Event]:
    found = [
        Event(
            case.created_at,
            EventKind.CASE_POSTED,
            (Fact("posted_by", case.posted_by),) if case.posted_by else (Fact("source", "stub", "source"),),
        )
    ]
    if case.closed_at is not None:
        found.append(Event(case.closed_at, EventKind.CASE_CLOSED))
    if case.deadline is not None:
        facts = [Fact("provisional", "yes", "yes")] if case.provisional else []
        if case.default_reason:
            facts.append(Fact("no_default", case.default_reason, "default_reason"))
        found.append(Event(case.deadline, EventKind.CASE_DEADLINE, tuple(facts)))
    if case.withdrawn_at is not None:
        found.append(Event(case.withdrawn_at, EventKind.CASE_WITHDRAWN))
    return found


# ── asking and answering ──────────────────────────────────────────────────────────────────────────────────────────────


def _of_invitation(invitation: Any) -> list[Event]:
    state = Fact("state", invitation.state, "state")
    why = (Fact("why", invitation.reason, "why"),) if invitation.reason else ()
    marks = tuple(Fact(name, "yes", "yes") for name in ("undelivered", "muted") if getattr(invitation, name))
    found = [Event(invitation.created_at, EventKind.INVITED, (state, *why, *marks))]
    if invitation.first_asked_at is not None:
        how = (Fact("asked_by", invitation.asked_by, "asked_by"),) if invitation.asked_by else ()
        found.append(Event(invitation.first_asked_at, EventKind.ASKED, how))
    if invitation.reminded_at is not None:
        found.append(Event(invitation.reminded_at, EventKind.REMINDED))
    if invitation.ended_at is not None:
        found.append(Event(invitation.ended_at, EventKind.INVITATION_ENDED, (state, *why)))
    return found


def _messages(connection: Connection, viewer: Viewer, invitation_ids: Sequence[str]) -> tuple[list[Event], list[str]]:
    if not invitation_ids:
        return [], []
    rows = list(
        connection.execute(
            select(messages)
            .where(messages.c.invitation_id.in_(invitation_ids), visible(viewer, messages))
            .order_by(messages.c.id)
            .limit(MOST)
        )
    )
    found = []
    for row in rows:
        kind = Fact("message", row.kind, "message_kind")
        if row.direction == "in":
            facts = [kind]
            if row.outcome:
                facts.append(Fact("read_as", row.outcome, "reply_outcome"))
            if row.queue:
                facts.append(Fact("queue_of_work", row.queue, "queue_reason"))
            if row.handled_by:
                facts.append(Fact("handled_by", row.handled_by, "actor"))
            words = mask_words(row.text) if row.text else None
            found.append(Event(row.created_at, EventKind.SMS_IN, tuple(facts), words=words))
            continue
        failed = row.state in {"failed", "cancelled"}
        facts = [kind, Fact("message_state", row.state, "message_state")]
        if row.reason:
            facts.append(Fact("why", row.reason, "why"))
        if row.link:
            facts.append(Fact("link", row.link))
        at = row.handed_at or row.created_at
        words = mask_words(row.text) if row.text else None
        found.append(Event(at, EventKind.SMS_OUT, tuple(facts), "bad" if failed else "", words))
    ids = [row.id for row in rows]
    if ids:
        receipts = connection.execute(
            select(segments)
            .where(segments.c.message_id.in_(ids), segments.c.receipt_at.is_not(None))
            .order_by(segments.c.receipt_at)
            .limit(MOST)
        )
        for row in receipts:
            delivered = row.state == "delivered"
            facts = [Fact("receipt", row.receipt, "receipt"), Fact("segment", row.number)]
            if row.receipt_text:
                facts.append(Fact("carrier_word", mask_words(row.receipt_text)))
            found.append(Event(row.receipt_at, EventKind.RECEIPT, tuple(facts), "good" if delivered else "bad"))
    return found, ids


def _rated(connection: Connection, viewer: Viewer, rated: Sequence[Any]) -> list[Event]:
    ids = [one.rating_id for one in rated]
    acts = {
        row.id: row
        for row in connection.execute(select(ratings).where(ratings.c.id.in_(ids), visible(viewer, ratings)))
    }
    found = []
    for one in rated:
        act = acts.get(one.rating_id)
        default = one.origin == "default"
        facts = [
            Fact("level", one.satisfaction, "level"),
            Fact("channel", one.channel, "channel"),
            Fact("assess_number", one.assess_number),
        ]
        if act is not None and not default:
            facts += [Fact("raw_input", mask_words(act.raw_input)), Fact("key_map", act.key_map)]
            if act.late:
                facts.append(Fact("late", "yes", "yes"))
        if one.reasons:
            facts += [Fact("reason", code, "reason") for code in one.reasons.split(",") if code]
        if default and one.asked is not None:
            facts.append(Fact("was_asked", "yes" if one.asked else "no", "yes"))
        if not one.effective:
            facts.append(Fact("superseded", "yes", "yes"))
        tone = "bad" if Satisfaction(one.satisfaction).is_bad else "" if default else "good"
        kind = EventKind.DEFAULTED if default else EventKind.RATED
        found.append(Event(one.assess_time, kind, tuple(facts), tone, mask_words(one.comment)))
    return found


def _remarks(connection: Connection, invitation_ids: Sequence[str]) -> list[Event]:
    if not invitation_ids:
        return []
    statement = select(remarks).where(remarks.c.invitation_id.in_(invitation_ids)).order_by(remarks.c.id).limit(MOST)
    return [
        Event(
            row.at,
            EventKind.REMARK,
            (
                Fact("remark", row.kind, "remark"),
                *((Fact("level", row.satisfaction, "level"),) if row.satisfaction else ()),
            ),
            words=mask_words(row.text),
        )
        for row in connection.execute(statement)
    ]


# ── the centre and the audit ──────────────────────────────────────────────────────────────────────────────────────────


def _pushed(connection: Connection, rated: Sequence[Any]) -> list[Event]:
    ids = [one.id for one in rated]
    if not ids:
        return []
    found: list[Event] = []
    batches = connection.execute(
        select(push_members, push_batches.c.created_at, push_batches.c.answered_at, push_batches.c.tries)
        .add_columns(push_batches.c.state, push_batches.c.last_error)
        .join(push_batches, push_batches.c.id == push_members.c.batch_id)
        .where(push_members.c.evaluation_id.in_(ids))
        .order_by(push_batches.c.created_at)
        .limit(MOST)
    )
    for row in batches:
        facts = [Fact("batch_state", row.state, "batch_state"), Fact("tries", row.tries)]
        if row.verdict:
            facts.append(Fact("verdict", row.verdict, "verdict"))
        fault = row.reason or (row.last_error if row.answered_at is None else None)
        tone = {"accepted": "good", "duplicate": "good", "rejected": "bad"}.get(row.verdict or "", "")
        found.append(Event(row.answered_at or row.created_at, EventKind.PUSHED, tuple(facts), tone, fault=fault))
    for row in connection.execute(select(outbox).where(outbox.c.evaluation_id.in_(ids))):
        dead = row.state == OutboxState.DEAD.value
        facts = [Fact("tries", row.tries)]
        if not dead:
            facts.append(Fact("not_before", row.not_before))
        found.append(
            Event(
                row.created_at,
                EventKind.DEAD if dead else EventKind.WAITING,
                tuple(facts),
                "bad" if dead else "",
                fault=row.reason,
            )
        )
    for one in rated:
        if one.centre_word_at is not None:
            facts = [Fact("adoption", one.adoption, "adoption")] if one.adoption else []
            if one.follow_up:
                facts.append(Fact("follow_up", one.follow_up, "follow_up"))
            found.append(
                Event(one.centre_word_at, EventKind.CENTRE_WORD, tuple(facts), words=mask_words(one.centre_note))
            )
    return found


_TOLD = [
    *(AuditAction.RATING_STORED.value, AuditAction.RATING_DEFAULTED.value),
    *(AuditAction.CASE_POSTED.value, AuditAction.CENTRE_WORD.value),
    *(AuditAction.of_call(outcome).value for outcome in CallOutcome),
]


def _audited(connection: Connection, ids: Sequence[str]) -> list[Event]:
    """What people and machinery did to it. What the events above tell already is left out."""
    statement = (
        select(audit).where(audit.c.subject_id.in_(ids), audit.c.action.not_in(_TOLD)).order_by(audit.c.id).limit(MOST)
    )
    return [
        Event(
            row.at,
            EventKind.AUDIT,
            (Fact("actor", row.actor, "actor"), Fact("action", row.action, "action")),
            detail=(row.action, row.detail) if row.detail else None,
        )
        for row in connection.execute(statement)
    ]
