"""A reply that a person ties to an invitation, and the one question that a person may have asked by hand.

Rules kept here:

1. A level is never typed in. An assigned reply is read again by the reply grammar, with the invitation's key map, and
   what follows is decided and stored by the code that takes replies (intake/replies.py).
2. It counts at the time it came: the invitation is looked at as it stood then (`as_it_stood`), so a clear level that
   came in time is not late because somebody looked at it later.
3. No level: the words are kept as a remark on the invitation. A level where one stands: 追评, as ever.
4. We say nothing of ourselves on an assignment: a person has looked.
5. A supervisor assigns who sees every call and case of the invitation: the level counts for each of them. Of the other
   cases of a theme it counts for those that the supervisor sees.
6. 再问一次: once ever for an invitation (`once_key`), inside the sending hours and under the number's cap, never after
   an opt-out, to the number that was invited, with its extension code, so that the answer is found. Who is not to say
   what a reply was does not end a reply about pressure with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import select

from intake.conversation import (
    Decision,
    Heard,
    Match,
    Outcome,
    Remark,
    RemarkKind,
    Said,
    Situation,
    as_it_stood,
)
from intake.manners import Manners, SendingRules, wait_alone
from intake.numbers import NumberKind
from intake.outgoing import NewMessage, StoredNumber, queue_messages
from intake.queue_work import (
    Did,
    Done,
    Person,
    Refusal,
    WorkAction,
    forget_owners,
    lock_replies,
    note_work,
    owners,
    settle_reply,
    stands_in_the_way,
)
from intake.replies import Taken, TakeReply, TakingRules, Wave
from intake.standing import KnownInvitation, Member, load_invitations
from intake.unread import Given
from models.door import Priority, Unit
from models.errors import KeyUnreadable
from models.ids import new_id
from models.tables import cases, codes, invitations, ratings, remarks
from models.terms import HandledAs, InvitationState, MessageKind, QueueReason, WorkKind

__all__ = ["ASSIGNABLE", "AskByHand", "AssignReply"]

ASSIGNABLE = frozenset(QueueReason) - {QueueReason.MISTAKEN, QueueReason.UNREADABLE}
"""Replies that may be tied to an invitation. One that cannot be read says nothing that could count."""
_NOT_COUNTED = {QueueReason.WITHDRAWN: Refusal.WITHDRAWN, QueueReason.TOO_LATE: Refusal.TOO_LATE}
_ANSWERABLE = frozenset(
    {InvitationState.ASKED, InvitationState.DEFAULTED, InvitationState.EXPIRED, InvitationState.SUPERSEDED}
)
_STALE_AFTER = timedelta(hours=24)
"""What could not be sent for so long after it might have gone is not sent at all."""


class _Assigned(Wave):
    """One reply that a person has tied to an invitation. `refusal`: nothing was stored, and why."""

    def __init__(self, unit: Unit, command: TakeReply, row: Any, invitation_id: str, person: Person) -> None:
        self._chosen = invitation_id
        self._person = person
        self.refusal: Refusal | None = None
        super().__init__(unit, [(command, row)])

    def _match(self, command: TakeReply, row: Any, given: Mapping[bytes, Sequence[Given]]) -> tuple[Match, str | None]:
        return Match.FOUND, self._chosen

    def _linked(self, known: KnownInvitation) -> Sequence[Member]:
        subjects = [member.row.subject_id for member in known.linked]
        if not subjects:
            return ()
        theirs = select(cases.c.subject_id).where(cases.c.subject_id.in_(subjects), self._person.cases)
        seen = set(self.unit.execute(theirs).scalars())
        return [member for member in known.linked if member.row.subject_id in seen]

    def _situation(self, command: TakeReply, row: Any, match: tuple[Match, str | None]) -> Situation:
        situation = super()._situation(command, row, match)
        invited = situation.invited
        assert invited is not None
        return replace(situation, invited=as_it_stood(invited, situation.at), reachable=False)

    def _take(
        self, command: TakeReply, row: Any, match: Match, known: KnownInvitation | None, decision: Decision
    ) -> Taken:
        if decision.queue in _NOT_COUNTED:
            self.refusal = _NOT_COUNTED[decision.queue]
            return Taken(None)
        if decision.outcome is Outcome.UNCLEAR:
            words = Remark(RemarkKind.COMMENT, None, command.heard.text)
            decision = Decision(Outcome.COMMENT, remark=words)
        return super()._take(command, row, match, known, decision)

    def _read(self, command: TakeReply, row: Any, known: KnownInvitation | None, decision: Decision, note: str) -> None:
        assert known is not None
        mistaken = decision.queue is QueueReason.MISTAKEN
        self.rows.read.append(
            (
                command.message_id,
                command.heard.text,
                known.id,
                decision.outcome.value,
                command.heard.why[:40] or None,
                command.heard.satisfaction,
                # The queue it came from stays with it; 自称误评 is another one, and waits there.
                QueueReason.MISTAKEN.value if mistaken else row.queue,
                row.queue_note,
                command.now,
            )
        )


@dataclass(frozen=True, slots=True)
class AssignReply:
    """Ties a reply to an invitation. Result: `Done`.

    `heard`: its stored text as the grammar reads it with the invitation's key map; with another one nothing happens,
    and the result says which.
    """

    message_id: str
    invitation_id: str
    heard: Heard
    person: Person
    now: datetime
    rules: TakingRules
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[AssignReply]) -> list[Done]:
        return [command._assign(unit) for command in commands]

    def _assign(self, unit: Unit) -> Done:
        identity = self.message_id
        row = lock_replies(unit, [identity], self.person).get(identity)
        owner = owners(unit, WorkKind.REPLY, [identity]).get(identity)
        if (blocked := stands_in_the_way(identity, row, owner, self.person)) is not None:
            return blocked
        assert row is not None
        if (why := self._refusal(unit, row)) is not None:
            return Done(identity, Did.REFUSED, why=why)
        wave = _Assigned(unit, self._as_taken(), row, self.invitation_id, self.person)
        [taken] = wave.results
        if wave.refusal is not None:
            return Done(identity, Did.REFUSED, why=wave.refusal)
        if taken.reread is not None:
            return Done(identity, Did.REREAD, key_map=taken.reread)
        assert taken.outcome is not None
        if taken.queue is not QueueReason.MISTAKEN:
            settle_reply(unit, self.now, self.person, [identity], HandledAs.ASSIGNED, None)
        forget_owners(unit, WorkKind.REPLY, [identity])
        note_work(unit, self.now, self.person, WorkAction.ASSIGNED, [(identity, f"{row.queue} {taken.outcome.value}")])
        return Done(
            identity,
            Did.DONE,
            outcome=taken.outcome,
            satisfaction=taken.satisfaction if taken.outcome is Outcome.RATED else None,
            pushes=taken.pushes,
        )

    def _refusal(self, unit: Unit, row: Any) -> Refusal | None:
        if not self.person.settles:
            return Refusal.SUPERVISORS_ALONE
        if row.text is None or self.heard.text != row.text:
            return Refusal.UNREADABLE
        if QueueReason(row.queue) not in ASSIGNABLE:
            return Refusal.NOT_THIS_WAY
        for table in (ratings, remarks):
            if unit.execute(select(table.c.id).where(table.c.message_id == row.id)).first() is not None:
                return Refusal.COUNTED
        if not _may_see(unit, self.invitation_id, self.person):
            return Refusal.UNKNOWN_INVITATION
        return None if _sees_whole(unit, self.invitation_id, self.person) else Refusal.NOT_ALL_SEEN

    def _as_taken(self) -> TakeReply:
        """What somebody said about wanting no SMS was done when it came. A person has seen the pressure, and that
        no machine wrote it."""
        said = Said.RATING if self.heard.satisfaction is not None else Said.UNCLEAR
        heard = replace(self.heard, said=said, pressure=False, doubtful=False)
        return TakeReply(self.message_id, heard, bare_link=False, now=self.now, rules=self.rules)


def _may_see(unit: Unit, invitation_id: str, person: Person) -> bool:
    found = unit.execute(select(invitations.c.id).where(invitations.c.id == invitation_id, person.invitations))
    return found.first() is not None


def _sees_whole(unit: Unit, invitation_id: str, person: Person) -> bool:
    found = unit.execute(select(invitations.c.id).where(invitations.c.id == invitation_id, person.whole))
    return found.first() is not None


# ── once more by hand ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AskByHand:
    """Asks an invitation's number once more: nobody can say what a reply means. Result: `Done`."""

    message_id: str
    invitation_id: str
    person: Person
    now: datetime
    sending: SendingRules
    late_window: timedelta
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[AskByHand]) -> list[Done]:
        return [command._ask(unit) for command in commands]

    def _ask(self, unit: Unit) -> Done:
        identity = self.message_id
        wait_alone(unit)  # a number's cap is counted over all of its invitations
        row = lock_replies(unit, [identity], self.person).get(identity)
        owner = owners(unit, WorkKind.REPLY, [identity]).get(identity)
        if (blocked := stands_in_the_way(identity, row, owner, self.person)) is not None:
            return blocked
        assert row is not None
        if row.queue == QueueReason.MISTAKEN.value:
            return Done(identity, Did.REFUSED, why=Refusal.NOT_THIS_WAY)
        if row.queue == QueueReason.PRESSURE.value and not self.person.settles:
            return Done(identity, Did.REFUSED, why=Refusal.SUPERVISORS_ALONE)
        known = None
        if _may_see(unit, self.invitation_id, self.person):
            known = load_invitations(unit, {self.invitation_id: self.now}, self.late_window).get(self.invitation_id)
        if known is None:
            return Done(identity, Did.REFUSED, why=Refusal.UNKNOWN_INVITATION)
        asked = self._queue(unit, known)
        if isinstance(asked, Refusal):
            return Done(identity, Did.REFUSED, why=asked)
        settle_reply(unit, self.now, self.person, [identity], HandledAs.ASKED, None)
        forget_owners(unit, WorkKind.REPLY, [identity])
        note_work(unit, self.now, self.person, WorkAction.ASKED, [(identity, f"{row.queue} {self.invitation_id}")])
        return Done(identity, Did.DONE, sends_at=asked)

    def _queue(self, unit: Unit, known: KnownInvitation) -> datetime | Refusal:
        """Queues the question; when it may go, or why it does not."""
        if (why := self._why_not(known)) is not None:
            return why
        given = unit.execute(select(codes).where(codes.c.invitation_id == known.id)).first()
        if given is None or given.number_hash is None:
            return Refusal.NO_CODE
        manners = Manners(unit, [given.number_hash], self.now, self.sending)
        if manners.refusal(given.number_hash) is not None:
            return Refusal.OPTED_OUT
        if manners.capped(given.number_hash):
            return Refusal.CAPPED
        try:
            carrier = manners.carrier(given)
        except KeyUnreadable:
            return Refusal.NUMBER_UNREADABLE
        question = NewMessage(
            id=new_id(),
            kind=MessageKind.BY_HAND,
            once_key=f"by-hand:{known.id}",
            number=StoredNumber(
                given.number_kind or NumberKind.MOBILE.value,
                given.number_sealed,
                given.number_hash,
                given.number_tail,
                given.number_key_id,
            ),
            invitation_id=known.id,
            code=given.code,
            lang=known.row.lang or "zh",
            fields={"keys": known.row.key_map},
            carrier=carrier,
            not_before=manners.opening,
            not_after=manners.opening + _STALE_AFTER,
            answers_id=self.message_id,
        )
        [queued] = queue_messages(unit, [question], self.now)
        return manners.opening if queued else Refusal.ASKED_BEFORE

    def _why_not(self, known: KnownInvitation) -> Refusal | None:
        invited = known.invited()
        if invited.state is InvitationState.WITHDRAWN or (invited.withdrawn and invited.standing is None):
            return Refusal.WITHDRAWN
        if invited.state is not InvitationState.RATED and not invited.open_members and invited.standing is None:
            return Refusal.TOO_LATE
        if invited.state is InvitationState.RATED or not invited.open_members:
            return Refusal.RATED
        if invited.state not in _ANSWERABLE:
            return Refusal.NOT_ASKED
        if invited.muted:
            return Refusal.OPTED_OUT
        if invited.ended_at is not None and self.now - invited.ended_at > self.late_window:
            return Refusal.TOO_LATE
        return None
