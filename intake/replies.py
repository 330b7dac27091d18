"""From a stored reply to what follows from it, in one transaction: rating, evaluations, push, answers, opt-outs, queue.

Rules kept here:

1. `TakeReply` takes a message only while it is `unread`, under a lock of its row: two processes that read the same one
   have one effect. A reply's time is when its first PDU was read.
2. What is decided stands in intake/conversation.py; here it is loaded and stored. A group's replies share each
   statement; replies of one number are decided one after the other.
3. The digits of a reply were read by some key map. Where the invitation that it turns out to mean was asked with
   another, nothing happens and the reader is told to read it again by that one.
4. A rating by SMS is an evaluation of every member of the invitation that has none, and the next of one that has only a
   default, made inside the late window before. So it is for the theme's cases that something else asks about, where the
   invitation asks about the theme. Nothing here changes a level.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import bindparam, func, select

from intake.conversation import (
    ANSWERS,
    Decision,
    Heard,
    Match,
    Outcome,
    ReplyRules,
    Situation,
    decide,
    which_invitation,
)
from intake.counted import asked_values, asked_whose, note_invitation
from intake.decide import PushCalls, pushes_call
from intake.endings import Ending
from intake.names import project_no, project_no_of_call
from intake.numbers import NumberKind
from intake.outgoing import NewMessage, StoredNumber
from intake.reply_rows import Rows
from intake.standing import KnownInvitation, Member, load_invitations
from intake.unread import Given, load_given
from models.door import Priority, Unit
from models.ids import new_id
from models.rollups import Whose
from models.tables import (
    codes,
    messages,
    opt_outs,
)
from models.terms import (
    Actor,
    AuditAction,
    Channel,
    FeedKind,
    InvitationState,
    MessageKind,
    MessageState,
    Origin,
    OutboxState,
    QueueReason,
    Satisfaction,
    SubjectKind,
)

__all__ = ["REPLY_COLUMNS", "TakeReply", "Taken", "TakingRules", "Wave"]

_CANDIDATES = 5
"""Invitations named beside a reply from a number that we never wrote to."""
_DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class TakingRules:
    """What the configuration says about replies. `reason_hold`: how long the push of a bad rating waits for its reason.

    `area_code`, `service_name`, `push_calls`: as for ratings in a call (intake/record.py, `Rules`). `carriers`: one
    that each link serves; an answer goes back where its reply came from.
    """

    replies: ReplyRules
    area_code: str | None
    service_name: str | None
    push_calls: PushCalls
    reason_hold: timedelta = timedelta(minutes=10)
    carriers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a reply. `outcome` None: it was taken before, or is to be read again by the key map `reread`.

    `queue`: a person has to look at it; `pushes`: something is due to go to the centre; `answers`: an SMS was queued.
    """

    outcome: Outcome | None
    queue: QueueReason | None = None
    satisfaction: Satisfaction | None = None
    reread: str | None = None
    pushes: bool = False
    answers: bool = False


@dataclass(frozen=True, slots=True)
class TakeReply:
    """A reply that was read. Result: `Taken`.

    `bare_link`: it came over a link without extension codes.
    """

    message_id: str
    heard: Heard
    bare_link: bool
    now: datetime
    rules: TakingRules
    # Behind the storing of what comes in: an SMSC waits for that.
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[TakeReply]) -> list[Taken]:
        results: dict[int, Taken] = {}
        found = _load_messages(unit, {command.message_id for command in commands})
        left = list(range(len(commands)))
        while left:
            # One reply a number at a time: what the first one does, the next one finds.
            wave: dict[Any, int] = {}
            later = []
            for place in left:
                row = found.get(commands[place].message_id)
                if row is None:
                    results[place] = Taken(None)
                elif (sender := row.number_hash or row.id) in wave:
                    later.append(place)
                else:
                    wave[sender] = place
            taken = Wave(unit, [(commands[place], found[commands[place].message_id]) for place in wave.values()])
            for place, result in zip(wave.values(), taken.results, strict=True):
                results[place] = result
                if result.reread is None:
                    found.pop(commands[place].message_id)
            left = later
        return [results[place] for place in range(len(commands))]


def _load_messages(unit: Unit, ids: Collection[str]) -> dict[str, Any]:
    rows = unit.execute(_MESSAGES, {"ids": sorted(ids)})
    return {row.id: row for row in rows}


REPLY_COLUMNS = (
    messages.c.id,
    messages.c.number_kind,
    messages.c.number_sealed,
    messages.c.number_hash,
    messages.c.number_tail,
    messages.c.number_key_id,
    messages.c.code,
    messages.c.link,
    messages.c.created_at,
)
"""What a `Wave` needs of a reply."""
_MESSAGES = (
    select(*REPLY_COLUMNS)
    .where(messages.c.id.in_(bindparam("ids", expanding=True)), messages.c.state == MessageState.UNREAD.value)
    .order_by(messages.c.id)
    .with_for_update()
)
_OPT_OUTS = select(opt_outs.c.number_hash, opt_outs.c.origin, opt_outs.c.ended_at).where(
    opt_outs.c.number_hash.in_(bindparam("hashes", expanding=True))
)
_ANSWERS = (
    select(messages.c.number_hash, func.count().label("answers"))
    .where(
        messages.c.number_hash.in_(bindparam("hashes", expanding=True)),
        messages.c.kind.in_([kind.value for kind in ANSWERS]),
        messages.c.created_at > bindparam("since"),
    )
    .group_by(messages.c.number_hash)
)


class Wave:
    """Replies of different numbers, decided and stored together.

    What a person decides about a reply (intake/assigning.py) is a wave of its own kind: the same rows come of it.
    """

    def __init__(self, unit: Unit, replies: Sequence[tuple[TakeReply, Any]]) -> None:
        self.unit = unit
        self.rows = Rows()
        self.results: list[Taken] = []
        if not replies:
            return
        hashes = {row.number_hash for _, row in replies if row.number_hash is not None}
        given = self._given = load_given(unit, hashes)
        matches = [self._match(command, row, given) for command, row in replies]
        came: dict[str, datetime] = {}
        for (_, row), (_, identity) in zip(replies, matches, strict=True):
            if identity is not None:
                came[identity] = min(row.created_at, came.get(identity, row.created_at))
        self._invitations = load_invitations(unit, came, replies[0][0].rules.replies.late_window)
        self._opt_outs: dict[tuple[bytes, str], datetime | None] = {
            (row.number_hash, row.origin): row.ended_at
            for row in (unit.execute(_OPT_OUTS, {"hashes": list(hashes)}) if hashes else ())
        }
        situations = [
            self._situation(command, row, match) for (command, row), match in zip(replies, matches, strict=True)
        ]
        decisions = self._decide(replies, situations)
        for (command, row), match, decision in zip(replies, matches, decisions, strict=True):
            known = self._invitations.get(match[1] or "")
            if known is not None and known.row.key_map != command.heard.key_map:
                self.results.append(Taken(None, reread=known.row.key_map))
            else:
                self.results.append(self._take(command, row, match[0], known, decision))
        self.rows.store(unit, replies[0][0].now)

    # ── what there is ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _match(self, command: TakeReply, row: Any, given: Mapping[bytes, Sequence[Given]]) -> tuple[Match, str | None]:
        """Which invitation a reply means."""
        return which_invitation(
            row.code or "",
            [one.plain for one in given.get(row.number_hash, ())],
            row.created_at,
            command.rules.replies.late_window,
            bare_link=command.bare_link and row.code is not None,
        )

    def _situation(self, command: TakeReply, row: Any, match: tuple[Match, str | None]) -> Situation:
        found, identity = match
        known = self._invitations.get(identity or "")
        hash_ = row.number_hash
        return Situation(
            at=row.created_at,
            now=command.now,
            match=found,
            invited=known.invited() if known is not None else None,
            reachable=row.number_kind == NumberKind.MOBILE.value and row.number_sealed is not None,
            opted_out=self._opt_outs.get((hash_, "citizen"), command.now) is None,
            carrier_out=self._opt_outs.get((hash_, "carrier"), command.now) is None,
        )

    def _decide(self, replies: Sequence[tuple[TakeReply, Any]], situations: Sequence[Situation]) -> list[Decision]:
        """The decisions; how much was answered today is looked up only for those that would be answered."""
        decisions = [
            decide(command.heard, situation, command.rules.replies)
            for (command, _), situation in zip(replies, situations, strict=True)
        ]
        asking = {row.number_hash for (_, row), one in zip(replies, decisions, strict=True) if one.answer is not None}
        if not asking:
            return decisions
        since = replies[0][0].now - _DAY
        answers = {
            row.number_hash: row.answers
            for row in self.unit.execute(_ANSWERS, {"hashes": list(asking), "since": since})
        }
        return [
            decide(command.heard, replace(situation, answers=answers[row.number_hash]), command.rules.replies)
            if decision.answer is not None and row.number_hash in answers
            else decision
            for (command, row), situation, decision in zip(replies, situations, decisions, strict=True)
        ]

    # ── what becomes of it ────────────────────────────────────────────────────────────────────────────────────────────

    def _take(
        self, command: TakeReply, row: Any, match: Match, known: KnownInvitation | None, decision: Decision
    ) -> Taken:
        pushes = False
        if decision.rate is not None and known is not None:
            pushes = self._rate(command, row, known, decision)
        if known is not None and (decision.reasons is not None or decision.comment is not None) and not decision.rate:
            pushes = self._add(command, known, decision)
        if decision.remark is not None and known is not None:
            remark = decision.remark
            self.rows.remarks.append(
                (
                    new_id(),
                    known.id,
                    known.rating_id,
                    command.message_id,
                    remark.kind.value,
                    remark.satisfaction,
                    remark.text,
                    row.created_at,
                )
            )
        if decision.opt_out and row.number_hash is not None:
            self._opt_out(command, row)
        if decision.opt_in and row.number_hash is not None:
            self.rows.opted_in.append((row.number_hash, row.created_at))
            self._audit(command, AuditAction.OPT_OUT_ENDED, None, f"message {command.message_id}")
        if decision.answer is not None:
            self._answer(command, row, known, decision)
        note = decision.note
        if decision.queue is not None and match is Match.UNMATCHED:
            note = " ".join(filter(None, (note, self._candidates(row))))
        self._read(command, row, known, decision, note)
        return Taken(
            decision.outcome,
            decision.queue,
            command.heard.satisfaction,
            pushes=pushes,
            answers=decision.answer is not None,
        )

    def _read(self, command: TakeReply, row: Any, known: KnownInvitation | None, decision: Decision, note: str) -> None:
        """What is kept with the message."""
        self.rows.read.append(
            (
                command.message_id,
                command.heard.text,
                known.id if known is not None else None,
                decision.outcome.value,
                command.heard.why[:40] or None,
                command.heard.satisfaction,
                decision.queue.value if decision.queue is not None else None,
                note or None,
                command.now,
            )
        )

    def _rate(self, command: TakeReply, row: Any, known: KnownInvitation, decision: Decision) -> bool:
        """The rating, an evaluation for each member that takes one, their push. True: something is due now."""
        assert decision.rate is not None
        level, rating_id, now = decision.rate, new_id(), command.now
        late = decision.late or any(member.had_default(row.created_at) for member in known.members)
        invitation = known.row
        self.rows.ratings.append(
            (
                rating_id,
                known.id,
                None,
                command.message_id,
                Channel.SMS.value,
                Origin.CITIZEN.value,
                command.heard.text or "",
                invitation.key_map,
                level,
                None,
                decision.comment,
                row.created_at,
                late,
                now,
            )
        )
        members = (*known.members, *self._linked(known))
        rated = [(member, self._evaluate(command, row, known, member, rating_id, decision)) for member in members]
        given = [(member, key) for member, key in rated if key is not None]
        case_carries_it = any(member.kind is SubjectKind.CASE for member, _ in given)
        not_before = now + command.rules.reason_hold if decision.hold else now
        pushed = [
            key
            for member, key in given
            if member.kind is SubjectKind.CASE or pushes_call(command.rules.push_calls, case_carries_it=case_carries_it)
        ]
        self.rows.outbox += [
            (evaluation_id, subject_id, number, OutboxState.WAITING.value, not_before, None, None, 0, None, now)
            for evaluation_id, subject_id, number in pushed
        ]
        # Of one that has ended before, only what is still queued goes; its end stays.
        self.rows.endings.append(Ending(known.id, InvitationState.RATED, None, now))
        asked_at = invitation.first_asked_at or row.created_at
        asked_by = invitation.asked_by or Channel.SMS.value
        whose = asked_whose(invitation) or known.whose(command.rules.area_code)
        note_invitation(self.unit, -1, invitation)
        self.unit.deltas.invitation(1, whose, asked_at, asked_by, responded=True)
        self.rows.rated.append((known.id, rating_id, asked_at, asked_by, *asked_values(whose), now))
        self._audit(command, AuditAction.RATING_STORED, given[0][0].row.subject_id, "late" if late else None)
        return bool(pushed) and not decision.hold

    def _linked(self, known: KnownInvitation) -> Sequence[Member]:
        """Cases that are rated with an invitation's without being asked about by it."""
        return known.linked

    def _evaluate(
        self, command: TakeReply, row: Any, known: KnownInvitation, member: Member, rating_id: str, decision: Decision
    ) -> tuple[str, str, int] | None:
        """The evaluation of one member: its id, subject, number. None: the member has a rating of its own."""
        if not member.takes_rating:
            return None
        facts, rules = member.row, command.rules
        number = 1 + max((one.assess_number for one in member.evaluated), default=0)
        if member.effective is not None:
            self.rows.superseded.append((facts.subject_id, member.effective.assess_number))
        call = next((one.row for one in known.members if one.kind is SubjectKind.CALL), None)
        of_call = member.kind is SubjectKind.CALL
        queue = call.queue if call is not None and member in known.members else None
        if of_call:
            agent, dept, area = facts.call_agent, facts.dept, facts.call_area or rules.area_code
        else:  # one that was answered in a call was told by it (intake/record.py)
            agent, dept, area = facts.agent, facts.dept_code, facts.area_code or rules.area_code
        assert decision.rate is not None
        self.unit.deltas.evaluation(
            1,
            Whose(member.kind, agent, queue, dept, area),
            row.created_at,
            decision.rate,
            Channel.SMS,
            Origin.CITIZEN,
        )
        evaluation_id = new_id()
        self.rows.evaluations.append(
            (
                facts.subject_id,
                number,
                evaluation_id,
                rating_id,
                member.kind.value,
                True,
                decision.rate,
                Origin.CITIZEN.value,
                Channel.SMS.value,
                None,
                decision.comment,
                row.created_at,
                project_no_of_call(facts.call_key) if of_call else project_no(facts.case_no),
                1 if of_call else facts.service_number,
                agent,
                queue,
                dept,
                facts.dept_name,
                facts.task_code,
                facts.task_name,
                rules.service_name,
                area,
                None,
                None,
                command.now,
            )
        )
        self.rows.feed.append((FeedKind.EVALUATION.value, facts.subject_id, number, command.now))
        return evaluation_id, facts.subject_id, number

    def _add(self, command: TakeReply, known: KnownInvitation, decision: Decision) -> bool:
        """What a citizen answers to the question for the reason: with the rating, and its push may go."""
        rating = known.rating
        reasons = ",".join(decision.reasons) if decision.reasons else rating.reasons
        comment = decision.comment or rating.comment
        self.rows.said_of_rating.append((rating.id, reasons, comment))
        given = known.of_rating()
        self.rows.said_of_evaluation += [(one.subject_id, one.assess_number, reasons, comment) for one in given]
        self.rows.feed += [(FeedKind.AGAIN.value, one.subject_id, one.assess_number, command.now) for one in given]
        self.rows.release += [(one.id, command.now) for one in given]
        return any(not one.pushed for one in given)

    def _opt_out(self, command: TakeReply, row: Any) -> None:
        hash_ = row.number_hash
        if (hash_, "citizen") not in self._opt_outs:
            self.rows.opted_out.append((new_id(), *_number_of(row), "citizen", row.created_at, None))
        elif self._opt_outs[hash_, "citizen"] is not None:
            self.rows.opted_out_again.append((hash_, row.created_at))
        self.rows.muted.append((hash_, command.now))
        self._audit(command, AuditAction.OPT_OUT_STORED, None, f"message {command.message_id}")

    def _answer(self, command: TakeReply, row: Any, known: KnownInvitation | None, decision: Decision) -> None:
        kind, now = decision.answer, command.now
        assert kind is not None
        of = known.id if known is not None else None
        fields: dict[str, str] = {}
        if kind is MessageKind.CLARIFICATION:
            once = f"clarify:{of}"
            fields["keys"] = command.heard.key_map
            self.rows.clarified.append((of, now))
        elif kind is MessageKind.REASON:
            once = f"reason:{of}"
            fields |= {"level": str(int(decision.rate or 0)), "options": ",".join(decision.offered)}
            self.rows.reason_asked.append((of, now, ",".join(decision.offered) or None))
        elif kind is MessageKind.OPTED_OUT:
            once = f"opt-out:{command.message_id}"
        else:
            once = f"opt-in:{command.message_id}"
            if self._opt_outs.get((row.number_hash, "carrier"), now) is None:
                fields["carrier"] = "1"
        self.rows.answers.append(
            NewMessage(
                id=new_id(),
                kind=kind,
                once_key=once,
                number=_number_of(row),
                invitation_id=of,
                code=row.code or self._code_of(row, of),
                lang=(known.row.lang if known is not None else None) or "zh",
                fields=fields,
                carrier=command.rules.carriers.get(row.link, ""),
                not_before=now,
                not_after=row.created_at + command.rules.replies.answer_within,
                answers_id=command.message_id,
            )
        )

    def _code_of(self, row: Any, invitation_id: str | None) -> str:
        """The code that the number has for the invitation: every SMS of an invitation carries it."""
        given = self._given.get(row.number_hash, ())
        return next((one.plain.code for one in given if one.plain.invitation_id == invitation_id), "")

    def _candidates(self, row: Any) -> str:
        """Open invitations of other numbers with the code that was answered to, for a person to choose from."""
        if not row.code:
            return ""
        found = self.unit.execute(
            select(codes.c.invitation_id)
            .where(codes.c.code == row.code, codes.c.ended_at.is_(None))
            .order_by(codes.c.given_at.desc())
            .limit(_CANDIDATES)
        ).scalars()
        return " ".join(found)

    def _audit(self, command: TakeReply, action: AuditAction, subject_id: str | None, detail: str | None) -> None:
        self.rows.audit.append((new_id(), command.now, Actor.SMS.value, action.value, subject_id, detail))


def _number_of(row: Any) -> StoredNumber:
    return StoredNumber(row.number_kind, row.number_sealed, row.number_hash, row.number_tail, row.number_key_id)
