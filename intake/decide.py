"""What follows from a rating or from a call's end: pure decisions over frozen facts (docs/data-model.md).

Nothing here reads or writes; `calls` loads the facts and stores what is decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from intake.asking import OptOut, impossible_reason
from intake.numbers import NumberKind
from models.terms import CallOutcome, InvitationState, Origin, Satisfaction

__all__ = [
    "CaseVerdict",
    "Effective",
    "PushCalls",
    "after_call",
    "case_verdict",
    "is_duplicate",
    "merged_outcome",
    "pushes_call",
]


class PushCalls(StrEnum):
    """Which evaluations of calls go to the centre (the profile's `push_calls`)."""

    WITHOUT_CASE = "without_case"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Effective:
    """The effective evaluation of a subject, as far as a decision needs it.

    `overall`: of a case, given for its theme 主题 as a whole.
    """

    evaluation_id: str
    assess_number: int
    satisfaction: Satisfaction
    origin: Origin
    rating_id: str
    created_at: datetime
    overall: bool = False


def is_duplicate(effective: Effective | None) -> bool:
    """一次一评: a call with a rating is not asked again and takes no second one."""
    return effective is not None


class CaseVerdict(StrEnum):
    """What a call's `closed=1` rating does to the case."""

    FIRST = "first"
    AFTER_DEFAULT = "after_default"
    AFTER_THEME = "after_theme"
    ALREADY_RATED = "already_rated"
    TOO_LATE = "too_late"
    WITHDRAWN = "withdrawn"

    @property
    def takes_rating(self) -> bool:
        return self in {CaseVerdict.FIRST, CaseVerdict.AFTER_DEFAULT, CaseVerdict.AFTER_THEME}

    @property
    def detail(self) -> str | None:
        """What the audit says of it."""
        return _VERDICT_DETAILS.get(self)


_VERDICT_DETAILS = {
    CaseVerdict.ALREADY_RATED: "case already rated",
    CaseVerdict.TOO_LATE: "too late for the case",
    CaseVerdict.WITHDRAWN: "case withdrawn",
}


def case_verdict(effective: Effective | None, now: datetime, late_window: timedelta) -> CaseVerdict:
    """一事一评: a case's own rating replaces nothing but a default and a theme's, inside the late window after it."""
    if effective is None:
        return CaseVerdict.FIRST
    in_time = now - effective.created_at <= late_window
    if effective.origin is Origin.DEFAULT:
        return CaseVerdict.AFTER_DEFAULT if in_time else CaseVerdict.TOO_LATE
    return CaseVerdict.AFTER_THEME if effective.overall and in_time else CaseVerdict.ALREADY_RATED


def pushes_call(policy: PushCalls, *, case_carries_it: bool) -> bool:
    """Whether the evaluation of a call gets a row in the outbox."""
    return policy is PushCalls.ALWAYS or (policy is PushCalls.WITHOUT_CASE and not case_carries_it)


def merged_outcome(known: CallOutcome | None, new: CallOutcome) -> CallOutcome:
    """The outcome of a call reported twice, in any order: a rating stands, "not offered" gives way to anything."""
    if known is None or known is CallOutcome.NOT_OFFERED:
        return new
    if known is CallOutcome.RATED or new is CallOutcome.NOT_OFFERED:
        return known
    return new


@dataclass(frozen=True, slots=True)
class AfterCall:
    """The life of the invitation of a call that is over unrated. `sms`: something is still to be sent."""

    state: InvitationState
    reason: str | None
    sms: bool


def after_call(
    outcome: CallOutcome, kind: NumberKind, *, opt_out: OptOut | None = None, too_old: bool = False
) -> AfterCall:
    """An SMS follows, unless the caller chose to skip, no SMS can reach the number, or the call is long over.

    Args:
        opt_out: whose word it is that the number gets no SMS.
        too_old: it ended more than `schedule.max_age` ago (brought in from queue_log after an outage).
    """
    if outcome is CallOutcome.SKIPPED:
        return AfterCall(InvitationState.EXPIRED, "skipped", sms=False)
    if (reason := impossible_reason(kind, opt_out, too_old=too_old)) is not None:
        return AfterCall(InvitationState.IMPOSSIBLE, reason, sms=False)
    return AfterCall(InvitationState.WAITING, None, sms=True)
