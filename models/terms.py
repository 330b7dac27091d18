"""The words of the domain as enums. A term meets a number or a Chinese text only here and at the edges.

One name, one thing: the same names stand in code, tables, pages and metrics (docs/glossary.md).
"""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum

__all__ = [
    "TOLD_APART",
    "Actor",
    "Adoption",
    "AuditAction",
    "BatchState",
    "CallOutcome",
    "Channel",
    "DefaultReason",
    "FeedKind",
    "FollowUp",
    "HandledAs",
    "InvitationState",
    "MessageKind",
    "MessageState",
    "Origin",
    "OutboxState",
    "QueueReason",
    "RetentionKind",
    "Satisfaction",
    "SegmentState",
    "SubjectKind",
    "TypedAction",
    "Verdict",
    "WorkKind",
]


class Satisfaction(IntEnum):
    """满意度. The value is the one sent to the centre: 5 is best (GB/T 39046-2020 counts the other way)."""

    VERY_SATISFIED = 5
    SATISFIED = 4
    BASICALLY_SATISFIED = 3
    DISSATISFIED = 2
    VERY_DISSATISFIED = 1

    @property
    def chinese(self) -> str:
        return _CHINESE[self]

    @property
    def is_bad(self) -> bool:
        """差评: the last two of the five levels (the notice: 后2个等级为差评)."""
        return self <= Satisfaction.DISSATISFIED

    @property
    def slug(self) -> str:
        """The name in prompts and settings: `very-satisfied`."""
        return self.name.lower().replace("_", "-")


_CHINESE = {
    Satisfaction.VERY_SATISFIED: "非常满意",
    Satisfaction.SATISFIED: "满意",
    Satisfaction.BASICALLY_SATISFIED: "基本满意",
    Satisfaction.DISSATISFIED: "不满意",
    Satisfaction.VERY_DISSATISFIED: "非常不满意",
}


class SubjectKind(StrEnum):
    """What is rated: the agent's service in a call (一次一评), or the result of a case (一事一评)."""

    CALL = "call"
    CASE = "case"


class Channel(StrEnum):
    """评价渠道. Its number (`pf`) is the centre profile's."""

    KEYPAD = "keypad"
    SMS = "sms"
    SYSTEM = "system"


class Origin(StrEnum):
    """Who gave the level: a person, or the rule of the fifth working day."""

    CITIZEN = "citizen"
    DEFAULT = "default"


class DefaultReason(StrEnum):
    """Why no default rating 默认评价 followed a deadline, or none will."""

    RATED = "rated"
    WITHDRAWN = "withdrawn"
    BACKLOG = "backlog"
    SWITCHED_OFF = "switched_off"
    FORGOTTEN = "forgotten"


class CallOutcome(StrEnum):
    """What became of the rating in a call; the values of HUIYIN_OUTCOME, and `not_offered`."""

    RATED = "rated"
    NO_INPUT = "no_input"
    INVALID = "invalid"
    HANGUP = "hangup"
    SKIPPED = "skipped"
    DUPLICATE = "duplicate"
    ERROR = "error"
    NOT_OFFERED = "not_offered"


class InvitationState(StrEnum):
    """The life of an invitation 评价邀请 (transitions: intake/invitations.py)."""

    ASKED_BY_VOICE = "asked_by_voice"
    WAITING = "waiting"
    ASKED = "asked"
    RATED = "rated"
    IMPOSSIBLE = "impossible"
    WITHDRAWN = "withdrawn"
    DEFAULTED = "defaulted"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"


class MessageKind(StrEnum):
    """What an SMS 短信 is for. `REPLY` is what a citizen wrote; all others are ours."""

    INVITATION = "invitation"
    REMINDER = "reminder"
    CLARIFICATION = "clarification"
    REASON = "reason"
    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"
    BY_HAND = "by_hand"
    REPLY = "reply"


class MessageState(StrEnum):
    """The life of an SMS: the first seven are ours, the last three a citizen's (transitions: docs/smpp.md)."""

    QUEUED = "queued"
    HANDED = "handed"
    UNKNOWN = "unknown"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PARTIAL = "partial"
    UNREAD = "unread"
    READ = "read"


class SegmentState(StrEnum):
    """One segment of ours: with the link, back for another go, its fate unknown, accepted, delivered, failed."""

    HANDED = "handed"
    WAITING = "waiting"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"


class QueueReason(StrEnum):
    """Why a person has to look at a reply."""

    UNMATCHED = "unmatched"
    AMBIGUOUS = "ambiguous"
    UNCLEAR = "unclear"
    UNREADABLE = "unreadable"
    WITHDRAWN = "withdrawn"
    MISTAKEN = "mistaken"
    TOO_LATE = "too_late"
    PRESSURE = "pressure"


class FeedKind(StrEnum):
    """What a row of the feed tells: an evaluation that is new, or what came later to one that was told before."""

    EVALUATION = "evaluation"
    """A citizen's, new."""
    DEFAULT = "default"
    """A default, new: sweeps write them by the thousand, and no board shows one."""
    AGAIN = "again"
    """One that was told before: its reason or words came, its case says something else, the centre said a word."""
    SEEN = "seen"
    MOVED = "moved"


class RetentionKind(StrEnum):
    """Kinds of personal data that are kept so long and no longer (`[privacy]`; intake/keeping.py)."""

    NUMBERS = "numbers"
    COMMENTS = "comments"
    MESSAGES = "messages"
    PUSHES = "pushes"


class HandledAs(StrEnum):
    """What a person made of a reply, or of an SMS that failed. `NOTED`: looked at, with a word about it."""

    ASSIGNED = "assigned"
    ASKED = "asked"
    WORK_ORDER = "work_order"
    IRRELEVANT = "irrelevant"
    HARASSMENT = "harassment"
    AUTOMATIC = "automatic"
    NOTED = "noted"


class WorkKind(StrEnum):
    """What waits for a person 待办: a reply, a dead letter of the push, a provisional deadline, an SMS that failed."""

    REPLY = "reply"
    LETTER = "letter"
    DEADLINE = "deadline"
    FAILURE = "failure"


class OutboxState(StrEnum):
    """待推送: waiting (held, due or in a batch), or a dead letter 死信 that a person must look at."""

    WAITING = "waiting"
    DEAD = "dead"


class BatchState(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    SPLIT = "split"


class Verdict(StrEnum):
    """The centre's word on one evaluation of a batch."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Adoption(StrEnum):
    """What the centre made of an evaluation: 采纳, or 不予采纳, which leaves every figure and is counted beside it."""

    ACCEPTED = "accepted"
    NOT_ADOPTED = "not_adopted"


class FollowUp(StrEnum):
    """差评整改: how far the follow-up of a bad rating is, as the centre tells."""

    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    RECTIFIED = "rectified"
    CLOSED = "closed"


class Actor(Enum):
    """Who did it, in the audit, where it was no person."""

    IVR = "ivr"
    SMS = "sms"
    SCHEDULER = "scheduler"
    CENTRE = "centre"
    COMMAND_LINE = "command_line"
    API = "api"


class AuditAction(StrEnum):
    """What the audit says was done by the machinery, at the command line and through the API.

    What people do in the console: console/auditing.py, `Action`, and intake/queue_work.py, `WorkAction`.
    """

    RATING_STORED = "rating.stored"
    RATING_DEFAULTED = "rating.defaulted"
    CALL_RATED = "call.rated"
    CALL_NO_INPUT = "call.no_input"
    CALL_INVALID = "call.invalid"
    CALL_HANGUP = "call.hangup"
    CALL_SKIPPED = "call.skipped"
    CALL_DUPLICATE = "call.duplicate"
    CALL_ERROR = "call.error"
    CALL_NOT_OFFERED = "call.not_offered"
    CASE_POSTED = "case.posted"
    CASE_COMPLETED = "case.completed"
    CASE_PATCHED = "case.patched"
    CASE_WITHDRAWN = "case.withdrawn"
    OPT_OUT_STORED = "opt_out.stored"
    OPT_OUT_ENDED = "opt_out.ended"
    OPT_OUT_LIFTED = "opt_out.lifted"
    PUSH_RETRIED = "push.retry"
    PUSH_PUT_BACK = "push.put_back"
    CENTRE_WORD = "centre.word"
    CALENDAR_IMPORTED = "calendar.imported"
    CLOCK_JUMPED = "clock.jumped"
    CLOCK_ACCEPTED = "clock.jump_accepted"
    CLOCK_CAME_BACK = "clock.came_back"
    KEY_ROTATED = "key.rotated"
    PERSON_FORGOTTEN = "person.forgotten"

    @classmethod
    def of_call(cls, outcome: CallOutcome) -> AuditAction:
        """A call that was stored without a rating, with its outcome."""
        return cls(f"call.{outcome.value}")


class TypedAction(StrEnum):
    """The actions of the audit in whose detail somebody's own words may stand, behind a code of ours or alone.

    Words about a citizen go with that citizen's; who did what, and when, stays (intake/blanking.py).
    """

    NUMBER_REVEALED = "number.revealed"
    WORDS_REVEALED = "words.revealed"
    RATING_NOTED = "rating.noted"
    EXPORTED = "ratings.exported"


TOLD_APART = " · "
"""Between the code of ours and the words, in the detail of a `TypedAction`."""
