"""Reminders 评价提醒: a case closed for 24 hours without a rating gets one SMS.

The notice: 24小时内未作出评价…发送短信提醒.

Rules kept here:

1. Only cases are reminded of, one reminder an invitation: by the oldest of its cases that is still unrated, not before
   `schedule.reminder_after` from its closing, and not within `APART` of the invitation's own SMS.
2. It goes inside the sending hours and under the daily cap of its number; what falls at night goes in the morning.
3. Where the rating, an opt-out or the default came first there is none; nor for who got no invitation, or cannot get an
   SMS, or is reminded by the centre. Why not is written down with the invitation (`reminder`).
4. The reminder is queued in the transaction that decides on it, under a key of its own (`once_key`): nobody is reminded
   twice, on however many machines. What then happens to an SMS of which nobody knows whether it was sent:
   intake/outgoing.py, rule 3.
5. `remind_at` is when an invitation is to be looked at; it may be too early (a case left, or was closed later), for the
   look itself decides by the facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import and_, bindparam, case, or_, select, update

from intake.invitations import facts_of
from intake.manners import Manners, SendingRules, alone
from intake.numbers import NumberKind
from intake.outgoing import NewMessage, StoredNumber, queue_messages
from intake.pauses import clock_jumped
from models.door import Many, Priority, Unit
from models.errors import KeyUnreadable
from models.ids import new_id
from models.reads import Read, any_of
from models.tables import UtcTime, cases, codes, evaluations, invitation_members, invitations, messages
from models.terms import InvitationState, MessageKind, MessageState, Origin

__all__ = [
    "APART",
    "GROUP",
    "QUEUED",
    "REMIND",
    "RemindDue",
    "Reminded",
    "ReminderRules",
    "Situation",
    "Sms",
    "Verdict",
    "decide",
]

GROUP = 64
APART = timedelta(hours=12)
"""Between an invitation's SMS and its reminder, at least."""
QUEUED = "queued"
"""What stands in `invitations.reminder` where one was queued."""
_DEAD_NUMBER = "dead_number"  # as the receipt's class says it (config/receipts.toml)
_IN_A_CALL = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ReminderRules:
    """What the configuration says. `instead`: why this server reminds nobody (`centre`, `switched_off`); None: it
    does."""

    after: timedelta
    sending: SendingRules
    instead: str | None = None


# ── the decision ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Standing(StrEnum):
    """How a case of an invitation stands."""

    OPEN = "open"
    RATED = "rated"
    DEFAULTED = "defaulted"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class AskedCase:
    """`deadline` None: it has none (yet)."""

    standing: Standing
    closed_at: datetime
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Sms:
    """The invitation's own SMS. `goes_at`: while it is queued; `handed_at`: when a link last got it."""

    state: MessageState
    reason: str | None
    goes_at: datetime | None
    handed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Situation:
    """An invitation whose reminder is to be decided on.

    `refusal`: why its number gets no SMS; `reachable`: it is a mobile and was kept; `opening`: when an SMS may go, now
    or later; `capped_until`: the number had its SMS today; None: it may get one.
    """

    state: InvitationState
    reason: str | None
    muted: bool
    reachable: bool
    refusal: str | None
    cases: tuple[AskedCase, ...]
    sms: Sms | None
    opening: datetime
    capped_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`when`: look again then. `why_not`: there is no reminder. Neither: it is queued now, not to go after `until`."""

    when: datetime | None = None
    why_not: str | None = None
    until: datetime | None = None


_ENDED = {
    InvitationState.RATED: "rated",
    InvitationState.WITHDRAWN: "withdrawn",
    InvitationState.DEFAULTED: "defaulted",
    InvitationState.SUPERSEDED: "superseded",
    InvitationState.EXPIRED: "expired",
}


def decide(situation: Situation, now: datetime, after: timedelta, instead: str | None = None) -> Verdict:
    """Whether, and when, an invitation is reminded of (rules 1 to 3). `after`, `instead`: as in `ReminderRules`."""
    open_cases = [one for one in situation.cases if one.standing is Standing.OPEN]
    if not open_cases:
        return Verdict(why_not=_why_none_is_open(situation))
    if situation.state in _ENDED:
        return Verdict(why_not=situation.reason or _ENDED[situation.state])
    due = min(one.closed_at for one in open_cases) + after
    if due > now:
        return Verdict(when=due)
    if instead is not None:
        return Verdict(why_not=instead)
    if situation.state is InvitationState.IMPOSSIBLE:
        return Verdict(why_not=situation.reason or "impossible")
    deadlines = [one.deadline for one in open_cases if one.deadline is not None]
    until = max(deadlines, default=None)
    if until is not None and until <= now:
        return Verdict(why_not="too_late")
    if situation.refusal is not None or situation.muted:
        return Verdict(why_not=situation.refusal or "opted_out")
    if situation.state is InvitationState.ASKED_BY_VOICE:
        return Verdict(when=now + _IN_A_CALL)
    if situation.state is InvitationState.WAITING or situation.sms is None:
        # Never sent so far: whenever it is, its reminder comes no sooner than that.
        return Verdict(when=_sooner(now + APART, until))
    sms = situation.sms
    if sms.reason == _DEAD_NUMBER:
        return Verdict(why_not=_DEAD_NUMBER)
    if not situation.reachable:
        return Verdict(why_not="number_unreadable")
    sent_at = sms.goes_at if sms.state is MessageState.QUEUED else sms.handed_at
    if sent_at is not None and sent_at + APART > now:
        return Verdict(when=_sooner(sent_at + APART, until))
    if situation.capped_until is not None:
        return Verdict(when=_sooner(situation.capped_until, until))
    if situation.opening > now:
        return Verdict(when=_sooner(situation.opening, until))
    return Verdict(until=until)


def _why_none_is_open(situation: Situation) -> str:
    """Nobody is left to be reminded: the citizen's own word says more than ours."""
    standings = {one.standing for one in situation.cases}
    for standing in (Standing.RATED, Standing.DEFAULTED, Standing.WITHDRAWN):
        if standing in standings:
            return standing.value
    return "no_case"


def _sooner(moment: datetime, until: datetime | None) -> datetime:
    """What would come too late is looked at when it is, so that it ends."""
    return moment if until is None else min(moment, until + timedelta(seconds=1))


# ── what is read ──────────────────────────────────────────────────────────────────────────────────────────────────────

_DUE = Read(
    select(
        invitations.c.id,
        invitations.c.state,
        invitations.c.reason,
        invitations.c.muted,
        invitations.c.number_kind,
        invitations.c.number_sealed,
        invitations.c.number_hash,
        invitations.c.number_tail,
        invitations.c.number_key_id,
        invitations.c.lang,
        invitations.c.key_map,
    )
    # The condition of the index in its own words, so that both databases see that it serves.
    .where(invitations.c.remind_at.is_not(None), invitations.c.remind_at <= bindparam("now"))
    .order_by(invitations.c.remind_at)
    .limit(GROUP)
    .with_for_update(skip_locked=True),
    ("now",),
)
_CASES = Read(
    select(
        invitation_members.c.invitation_id,
        cases.c.case_no,
        cases.c.closed_at,
        cases.c.deadline,
        cases.c.withdrawn_at,
        cases.c.created_at,
        evaluations.c.origin,
    )
    .select_from(invitation_members)
    .join(cases, cases.c.subject_id == invitation_members.c.subject_id)
    .outerjoin(evaluations, and_(evaluations.c.subject_id == cases.c.subject_id, evaluations.c.effective))
    .where(any_of(invitation_members.c.invitation_id)),
    listed=True,
)
_SMS = Read(
    select(
        messages.c.invitation_id,
        messages.c.state,
        messages.c.reason,
        messages.c.not_before,
        messages.c.handed_at,
        messages.c.changed_at,
        messages.c.tries,
    ).where(any_of(messages.c.invitation_id), messages.c.kind == MessageKind.INVITATION.value),
    listed=True,
)
_CODES = Read(select(codes.c.invitation_id, codes.c.code).where(any_of(codes.c.invitation_id)), listed=True)

# ── what is stored ────────────────────────────────────────────────────────────────────────────────────────────────────

REMIND = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"), invitations.c.reminder.is_(None))
    .values(
        remind_at=case(
            (
                or_(invitations.c.remind_at.is_(None), invitations.c.remind_at > bindparam("look", type_=UtcTime)),
                bindparam("look", type_=UtcTime),
            ),
            else_=invitations.c.remind_at,
        )
    ),
    ("invitation", "look"),
)
"""A case has come to an invitation: it is to be looked at when the first of its cases has been closed for long enough.
One whose reminder was decided on is not looked at again."""
_LOOK_AGAIN = Many(
    update(invitations).where(invitations.c.id == bindparam("invitation")).values(remind_at=bindparam("look")),
    ("invitation", "look"),
)
_DECIDED = Many(
    update(invitations)
    .where(invitations.c.id == bindparam("invitation"))
    .values(remind_at=None, reminded_at=bindparam("sent"), reminder=bindparam("word")),
    ("invitation", "sent", "word"),
)


@dataclass(frozen=True, slots=True)
class Reminded:
    """What became of one group of invitations. `skipped`: how many got none, by reason."""

    queued: int = 0
    postponed: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.queued + self.postponed + sum(self.skipped.values())


@dataclass(frozen=True, slots=True)
class RemindDue:
    """Decides on the reminders of up to GROUP invitations, oldest first. Result: `Reminded`; nothing while another
    process decides on what is sent, or a jump of the clock waits for a word."""

    now: datetime
    rules: ReminderRules
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[RemindDue]) -> list[Reminded]:
        return [command._remind(unit) for command in commands]

    def _remind(self, unit: Unit) -> Reminded:
        if clock_jumped(unit) or not alone(unit):
            return Reminded()
        rows = _DUE.rows(unit, (self.now,))
        return _Group(self, unit, rows).decided() if rows else Reminded()


class _Group:
    """What is known of one group, and the rows that its decisions lead to."""

    def __init__(self, command: RemindDue, unit: Unit, rows: Sequence[Any]) -> None:
        self.unit = unit
        self.now = command.now
        self.rules = command.rules
        self.rows = rows
        ids = [row.id for row in rows]
        hashes = list({row.number_hash for row in rows if row.number_hash is not None})
        self.manners = Manners(unit, hashes, self.now, self.rules.sending)
        self.cases: dict[str, list[Any]] = {}
        for row in _CASES.rows(unit, values=ids):
            self.cases.setdefault(row.invitation_id, []).append(row)
        self.sms = {row.invitation_id: _sms(row) for row in _SMS.rows(unit, values=ids)}
        self.codes = {row.invitation_id: row.code for row in _CODES.rows(unit, values=ids)}

    def decided(self) -> Reminded:
        again: list[tuple[Any, ...]] = []
        over: list[tuple[Any, ...]] = []
        to_remind: list[tuple[Any, datetime | None, str]] = []
        skipped: Counter[str] = Counter()
        for row in self.rows:
            verdict = self._decide(row)
            carrier = ""
            if verdict.when is None and verdict.why_not is None:
                try:
                    carrier = self.manners.carrier(row)
                except KeyUnreadable:
                    verdict = Verdict(why_not="number_unreadable")
            if verdict.when is not None:
                again.append((row.id, verdict.when))
            elif verdict.why_not is not None:
                over.append((row.id, None, verdict.why_not[:64]))
                skipped[verdict.why_not] += 1
            else:
                over.append((row.id, self.now, QUEUED))
                to_remind.append((row, verdict.until, carrier))
                self.manners.sends(row.number_hash)
        queue_messages(self.unit, [self._message(*one) for one in to_remind], self.now)
        self.unit.many(_LOOK_AGAIN, again)
        self.unit.many(_DECIDED, over)
        return Reminded(len(to_remind), len(again), dict(skipped))

    def _decide(self, row: Any) -> Verdict:
        known = row.number_hash is not None
        situation = Situation(
            state=InvitationState(row.state),
            reason=row.reason,
            muted=bool(row.muted),
            reachable=row.number_kind == NumberKind.MOBILE.value and row.number_sealed is not None and known,
            refusal=self.manners.refusal(row.number_hash) if known else None,
            cases=tuple(map(_asked, self.cases.get(row.id, ()))),
            sms=self.sms.get(row.id),
            opening=self.manners.opening,
            capped_until=self.manners.tomorrow() if known and self.manners.capped(row.number_hash) else None,
        )
        return decide(situation, self.now, self.rules.after, self.rules.instead)

    def _message(self, row: Any, until: datetime | None, carrier: str) -> NewMessage:
        number = StoredNumber(row.number_kind, row.number_sealed, row.number_hash, row.number_tail, row.number_key_id)
        return NewMessage(
            id=new_id(),
            kind=MessageKind.REMINDER,
            once_key=f"remind:{row.id}",
            number=number,
            invitation_id=row.id,
            code=self.codes.get(row.id, ""),
            lang=row.lang or "zh",
            fields={"keys": row.key_map, **facts_of(self.cases[row.id])},
            carrier=carrier,
            not_before=self.manners.opening,
            not_after=until,
        )


def _asked(row: Any) -> AskedCase:
    return AskedCase(_standing(row), row.closed_at or row.created_at, row.deadline)


def _standing(row: Any) -> Standing:
    if row.origin is not None:
        return Standing.RATED if row.origin == Origin.CITIZEN.value else Standing.DEFAULTED
    return Standing.WITHDRAWN if row.withdrawn_at is not None else Standing.OPEN


def _sms(row: Any) -> Sms:
    # Handed once more on a later day: the citizen got it then.
    handed_at = row.changed_at if row.handed_at is not None and (row.tries or 0) > 1 else row.handed_at
    return Sms(MessageState(row.state), row.reason, row.not_before, handed_at)
