"""What a citizen's reply means and what follows from it: pure decisions over frozen facts (docs/data-model.md).

`replies` loads the facts, asks here, and stores what is decided. Rules kept here:

1. A wrong level is the worst mistake. A reply is tied to an invitation by its extension code, or where it has none and
   only one invitation can be meant; everything else is for a person to look at.
2. A level that was given never changes. What comes after it is a remark on it (追评, 自称误评), its reason, or words.
3. We ask back twice an invitation at most: once what was meant, once why a rating is bad. Never after an opt-out, never
   later than `answer_within` after the citizen's message, never more than MOST_ANSWERS a number and day: two machines
   that answer each other stop there.
4. What an automatic reply says is stored and answered with nothing. What only may be one is asked nothing either, and
   a person looks at it; a level that it gives counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from models.terms import InvitationState, MessageKind, QueueReason, Satisfaction

__all__ = [
    "ANSWERS",
    "MOST_ANSWERS",
    "Decision",
    "GivenCode",
    "Heard",
    "Invited",
    "Match",
    "Outcome",
    "Remark",
    "RemarkKind",
    "ReplyRules",
    "Said",
    "Situation",
    "Standing",
    "as_it_stood",
    "decide",
    "which_invitation",
]

ANSWERS = (MessageKind.CLARIFICATION, MessageKind.REASON, MessageKind.OPTED_OUT, MessageKind.OPTED_IN)
"""What we say of ourselves when a reply comes."""
MOST_ANSWERS = 6
"""A number and day. A citizen with three invitations gets two for each at most; a machine gets no more than that."""


class Said(StrEnum):
    """What the reply grammar made of a text."""

    RATING = "rating"
    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    UNCLEAR = "unclear"
    AUTOMATIC = "automatic"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Heard:
    """A reply as read (docs/sms-replies.md).

    `satisfaction`: may stand beside an opt-out; `comment`: the words beside a level; `why`: the grammar's rule;
    `pressure`: the text says that somebody made the citizen rate; `letters`: the options that it chooses, if it is an
    answer to the question for a reason; `mistaken`: it says that a rating was given by mistake (打错, 发错);
    `doubtful`: a machine may have written it; `key_map`: by which the digits were read; `text` None: undecodable.
    """

    said: Said
    text: str | None
    key_map: str
    satisfaction: Satisfaction | None = None
    comment: str = ""
    why: str = ""
    pressure: bool = False
    letters: tuple[str, ...] = ()
    mistaken: bool = False
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class ReplyRules:
    """What the configuration says. `ask_reason`: after a bad level; `reasons`: the codes then offered as A, B, C."""

    reasons: Mapping[Satisfaction, tuple[str, ...]]
    ask_reason: bool = True
    late_window: timedelta = timedelta(days=30)
    answer_within: timedelta = timedelta(minutes=10)
    conversation: timedelta = timedelta(hours=24)


# ── which invitation ──────────────────────────────────────────────────────────────────────────────────────────────────


class Match(StrEnum):
    """Whether we know which invitation a reply means."""

    FOUND = "found"
    AMBIGUOUS = "ambiguous"
    UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True)
class GivenCode:
    """An extension code that the number has had, and the last invitation it stood for.

    `open`: that invitation waits or is asked; `ended_at`: of the invitation, None while it has not ended.
    """

    code: str
    invitation_id: str
    given_at: datetime
    open: bool
    ended_at: datetime | None


def which_invitation(
    code: str, given: Sequence[GivenCode], at: datetime, late_window: timedelta, *, bare_link: bool = False
) -> tuple[Match, str | None]:
    """The invitation that a reply means.

    Args:
        code: the digits after the service number, "" where the reply came to the bare number.
        given: the codes of the number it came from.
        at: when it came.
        bare_link: the link has no extensions, so "" is a code like another.
    """
    if not given:
        return Match.UNMATCHED, None
    own = next((one for one in given if one.code == code), None) if code or bare_link else None
    if own is not None:
        return Match.FOUND, own.invitation_id
    if code:
        # A code that this number never had: another's phone, or digits lost on the way. Nobody can say whose it is.
        return Match.UNMATCHED, None
    for among in (
        {one.invitation_id for one in given if one.open},
        {one.invitation_id for one in given if one.ended_at is not None and at - one.ended_at <= late_window},
    ):
        if len(among) > 1:
            return Match.AMBIGUOUS, None
        if among:
            return Match.FOUND, among.pop()
    return Match.FOUND, max(given, key=lambda one: one.given_at).invitation_id


# ── what follows ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Standing:
    """The rating that an invitation has, by whichever channel.

    `by_sms`: it is an SMS rating of this invitation, so a reason can be added to it; `pushed`: the centre has it, or is
    being told.
    """

    satisfaction: Satisfaction
    by_sms: bool = True
    reasons: tuple[str, ...] = ()
    comment: bool = False
    pushed: bool = False


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation as far as a reply to it is concerned.

    `open_members`: some subject would take a rating; `withdrawn`: all of them were withdrawn. Neither, and no rating
    that stands: defaults alone, and too old to give way.
    """

    state: InvitationState
    open_members: bool
    withdrawn: bool = False
    muted: bool = False
    ended_at: datetime | None = None
    clarified_at: datetime | None = None
    reason_asked_at: datetime | None = None
    reason_codes: tuple[str, ...] = ()
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision rests on.

    `at`: when the reply's first PDU was read; `now`: when it is decided on; `reachable`: its sender takes an SMS;
    `opted_out`, `carrier_out`: the number is on the opt-out list by the citizen's word, by the carrier's; `answers`:
    how many we sent of ourselves to it within a day.
    """

    at: datetime
    now: datetime
    match: Match
    invited: Invited | None = None
    reachable: bool = True
    opted_out: bool = False
    carrier_out: bool = False
    answers: int = 0


class Outcome(StrEnum):
    """What became of a reply: `messages.outcome`, and the metrics' word."""

    RATED = "rated"
    AGAIN = "again"
    SAME = "same"
    MISTAKEN = "mistaken"
    REASON = "reason"
    COMMENT = "comment"
    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"
    UNCLEAR = "unclear"
    QUEUED = "queued"
    AUTOMATIC = "automatic"
    UNREADABLE = "unreadable"


class RemarkKind(StrEnum):
    """What a citizen says of a rating that stands."""

    AGAIN = "again"
    MISTAKEN = "mistaken"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Remark:
    kind: RemarkKind
    satisfaction: Satisfaction | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a reply.

    `rate`: the level to store, `late` after the invitation's end, `hold` back for the reason that `answer` asks for;
    `reasons`, `comment`: to be stored with the rating that stands; `opt_out`, `opt_in`: the number's wish.
    """

    outcome: Outcome
    queue: QueueReason | None = None
    note: str = ""
    rate: Satisfaction | None = None
    late: bool = False
    hold: bool = False
    remark: Remark | None = None
    reasons: tuple[str, ...] | None = None
    comment: str | None = None
    opt_out: bool = False
    opt_in: bool = False
    answer: MessageKind | None = None
    offered: tuple[str, ...] = field(default=())
    """With `answer` REASON: the codes offered as A, B, C."""


_OPEN = frozenset({InvitationState.WAITING, InvitationState.ASKED, InvitationState.ASKED_BY_VOICE})


def decide(heard: Heard, situation: Situation, rules: ReplyRules) -> Decision:
    """What follows from a reply, in the documented order: opt-out first, then a level, then everything else."""
    if heard.said is Said.AUTOMATIC:
        return Decision(Outcome.AUTOMATIC)
    if heard.said is Said.UNREADABLE:
        return Decision(Outcome.UNREADABLE, QueueReason.UNREADABLE)
    if heard.said is Said.OPT_IN and (situation.opted_out or situation.carrier_out):
        answer = MessageKind.OPTED_IN if _may_answer(situation, rules) else None
        return Decision(Outcome.OPTED_IN, opt_in=True, answer=answer)
    found = (_opt_out if heard.said is Said.OPT_OUT else _rest)(heard, situation, rules)
    if heard.pressure:
        # Supervisors see it whatever becomes of it; another reason to be in the queue is kept as the note.
        note = found.queue.value if found.queue is not None else found.note
        found = replace(found, queue=QueueReason.PRESSURE, note=note)
    return found


_LAPSED = frozenset({InvitationState.DEFAULTED, InvitationState.EXPIRED, InvitationState.SUPERSEDED})


def as_it_stood(invited: Invited, at: datetime) -> Invited:
    """An invitation as a reply found it that a person assigns to it later: what only time has ended since was open
    then, and what we asked since had not been asked. Ratings and withdrawals since then stand."""
    lapsed = invited.state in _LAPSED and invited.ended_at is not None and invited.ended_at > at

    def asked(when: datetime | None) -> datetime | None:
        return when if when is not None and when <= at else None

    return replace(
        invited,
        state=InvitationState.ASKED if lapsed else invited.state,
        ended_at=None if lapsed else invited.ended_at,
        clarified_at=asked(invited.clarified_at),
        reason_asked_at=asked(invited.reason_asked_at),
    )


def _opt_out(heard: Heard, situation: Situation, rules: ReplyRules) -> Decision:
    """Nothing more is asked of somebody who wants nothing more; a level beside it counts all the same."""
    beside = Decision(Outcome.OPTED_OUT)
    if heard.satisfaction is not None:
        beside = _rest(heard, replace(situation, reachable=False), rules)
    known = situation.opted_out or situation.carrier_out
    answer = None if known or not _may_answer(situation, rules) else MessageKind.OPTED_OUT
    return replace(beside, outcome=Outcome.OPTED_OUT, opt_out=True, answer=answer)


def _rest(heard: Heard, situation: Situation, rules: ReplyRules) -> Decision:
    """A reply that is about a rating, or ought to be."""
    if situation.match is Match.AMBIGUOUS:
        return Decision(Outcome.QUEUED, QueueReason.AMBIGUOUS)
    if situation.match is Match.UNMATCHED or situation.invited is None:
        return Decision(Outcome.QUEUED, QueueReason.UNMATCHED)
    invited = situation.invited
    if invited.state is InvitationState.WITHDRAWN or (invited.withdrawn and invited.standing is None):
        return Decision(Outcome.QUEUED, QueueReason.WITHDRAWN)
    if not invited.open_members and invited.standing is None:
        return Decision(Outcome.QUEUED, QueueReason.TOO_LATE)
    rated = invited.standing is not None and not invited.open_members
    talking = _asked_within(invited, situation.at, rules.conversation)
    doubtful = heard.doubtful and heard.satisfaction is None and not heard.mistaken
    if rated and talking and not doubtful:
        return _talk(heard, invited, situation.at, rules)
    late = invited.state not in _OPEN and invited.ended_at is not None
    if late and invited.ended_at is not None and situation.at - invited.ended_at > rules.late_window:
        return Decision(Outcome.QUEUED, QueueReason.TOO_LATE)
    if rated and doubtful:
        # An absence notice that our question met is no reason for a rating; a complaint in it is seen by a person.
        remark = Remark(RemarkKind.COMMENT, None, heard.text)
        return Decision(Outcome.COMMENT, QueueReason.UNCLEAR, remark=remark)
    if rated:
        return _after_rating(heard, invited)
    if heard.satisfaction is not None:
        return _rate(heard, heard.satisfaction, situation, rules, late=late)
    if not heard.doubtful and _may_clarify(situation, rules):
        return Decision(Outcome.UNCLEAR, answer=MessageKind.CLARIFICATION)
    return Decision(Outcome.UNCLEAR, QueueReason.UNCLEAR)


def _rate(heard: Heard, level: Satisfaction, situation: Situation, rules: ReplyRules, *, late: bool) -> Decision:
    """The rating; after a bad one without words, one question for the reason, and the push waits for the answer."""
    assert situation.invited is not None
    offered = rules.reasons.get(level, ())
    ask = (
        rules.ask_reason
        and level.is_bad
        and not heard.comment
        and not heard.doubtful
        and situation.invited.reason_asked_at is None
        and _may_ask(situation, rules)
    )
    decision = Decision(Outcome.RATED, rate=level, late=late, comment=heard.comment or None)
    return replace(decision, hold=True, answer=MessageKind.REASON, offered=offered) if ask else decision


def _talk(heard: Heard, invited: Invited, at: datetime, rules: ReplyRules) -> Decision:
    """Within a day of a question of ours, on a rating that stands: in the documented order."""
    assert invited.standing is not None
    if heard.satisfaction is not None:
        if heard.satisfaction is not invited.standing.satisfaction:
            return _mistaken(heard)
        if not heard.comment:
            return Decision(Outcome.SAME)
        return _words(heard, heard.comment, invited, at, rules)
    if heard.mistaken:
        return _mistaken(heard)
    if _reason_wanted(invited, at, rules):
        chosen = tuple(code for letter in heard.letters if (code := _option(letter, invited.reason_codes)))
        if chosen:
            return Decision(Outcome.REASON, reasons=tuple(dict.fromkeys((*invited.standing.reasons, *chosen))))
    return _words(heard, heard.text or "", invited, at, rules)


def _words(heard: Heard, words: str, invited: Invited, at: datetime, rules: ReplyRules) -> Decision:
    """Free text. It is the reason in the citizen's words as long as the centre has not been told; else a remark."""
    standing = invited.standing
    assert standing is not None
    if _reason_wanted(invited, at, rules) and not standing.pushed and not standing.comment:
        return Decision(Outcome.COMMENT, comment=words)
    return Decision(Outcome.COMMENT, remark=Remark(RemarkKind.COMMENT, heard.satisfaction, words))


def _after_rating(heard: Heard, invited: Invited) -> Decision:
    """A rating stands and nothing was asked: 追评, or words, neither pushed."""
    if heard.satisfaction is not None:
        return Decision(Outcome.AGAIN, remark=Remark(RemarkKind.AGAIN, heard.satisfaction, heard.text))
    if heard.mistaken:
        return _mistaken(heard)
    return Decision(Outcome.COMMENT, remark=Remark(RemarkKind.COMMENT, None, heard.text))


def _mistaken(heard: Heard) -> Decision:
    """自称误评: kept and shown; no level is changed."""
    remark = Remark(RemarkKind.MISTAKEN, heard.satisfaction, heard.text)
    return Decision(Outcome.MISTAKEN, QueueReason.MISTAKEN, remark=remark)


def _asked_within(invited: Invited, at: datetime, period: timedelta) -> bool:
    return any(asked is not None and at - asked <= period for asked in (invited.clarified_at, invited.reason_asked_at))


def _reason_wanted(invited: Invited, at: datetime, rules: ReplyRules) -> bool:
    """The question for the reason was asked within the conversation, and the rating is this invitation's by SMS."""
    asked = invited.reason_asked_at
    by_sms = invited.standing is not None and invited.standing.by_sms
    return by_sms and asked is not None and at - asked <= rules.conversation


def _option(letter: str, offered: Sequence[str]) -> str | None:
    """The code that a letter A, B, C stands for."""
    place = ord(letter) - ord("A") if len(letter) == 1 else -1
    return offered[place] if 0 <= place < len(offered) else None


def _may_answer(situation: Situation, rules: ReplyRules) -> bool:
    """Within the time and the number's cap, and somebody can read it."""
    in_time = situation.now < situation.at + rules.answer_within
    return situation.reachable and in_time and situation.answers < MOST_ANSWERS


def _may_ask(situation: Situation, rules: ReplyRules) -> bool:
    """A question of ours is welcome: no opt-out."""
    silent = situation.opted_out or situation.carrier_out or (situation.invited is not None and situation.invited.muted)
    return not silent and _may_answer(situation, rules)


def _may_clarify(situation: Situation, rules: ReplyRules) -> bool:
    invited = situation.invited
    return invited is not None and invited.clarified_at is None and _may_ask(situation, rules)
