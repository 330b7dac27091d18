"""What goes in and out of the API, as its OpenAPI document shows it.

Cases are read by intake/posted.py, item by item, so that one bad item does not stop the others; these models describe
what it takes and what is answered, and a test compares them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.terms import Adoption, FollowUp

__all__ = [
    "ANSWER_EXAMPLE",
    "CASE_EXAMPLE",
    "CASE_OUT_EXAMPLE",
    "CENTRE_STATUS_EXAMPLE",
    "CENTRE_STATUS_OUT_EXAMPLE",
    "PAGE_EXAMPLE",
    "PATCH_EXAMPLE",
    "STATISTICS_EXAMPLE",
    "WITHDRAWN_EXAMPLE",
    "CaseAnswer",
    "CaseIn",
    "CaseOut",
    "CasePatchIn",
    "CentreStatusIn",
    "CentreStatusOut",
    "ErrorKind",
    "ErrorOut",
    "EvaluationOut",
    "EvaluationsPage",
    "FieldError",
    "InvitationOut",
    "MessageOut",
    "StatisticsOut",
]

CASE_EXAMPLE: dict[str, Any] = {
    "case_no": "GD20261118-0017",
    "phone": "13800000000",
    "closed_at": "2026-11-18T10:00:00+08:00",
    "title": "路灯不亮",
    "task_code": "621000012",
    "task_name": "城市照明",
    "dept_code": "11622900MB1234567X",
    "dept_name": "临夏州城市管理局",
    "agent": "0042",
    "area_code": "622901",
    "consent": False,
}
PATCH_EXAMPLE: dict[str, Any] = {"dept_name": "临夏市城市管理局"}
ANSWER_EXAMPLE: dict[str, Any] = {
    "status": 201,
    "case_no": "GD20261118-0017",
    "service_number": 1,
    "invitation": "waiting",
    "reason": None,
    "deadline": "2026-11-25T23:59:59+08:00",
    "provisional": False,
}
WITHDRAWN_EXAMPLE: dict[str, Any] = {
    **ANSWER_EXAMPLE,
    "status": 200,
    "invitation": "none",
    "reason": "withdrawn",
    "deadline": None,
}


class ErrorKind(StrEnum):
    """What went wrong, in a word."""

    NOT_JSON = "not_json"
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"
    METHOD = "method"
    TOO_SLOW = "too_slow"
    CONFLICT = "conflict"
    CURSOR_GONE = "cursor_gone"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    TOO_MANY = "too_many"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    OTHER = "error"

    @classmethod
    def of(cls, status: int) -> ErrorKind:
        return _OF_STATUS.get(status, cls.OTHER)


_OF_STATUS = {
    400: ErrorKind.NOT_JSON,
    401: ErrorKind.UNAUTHORISED,
    403: ErrorKind.FORBIDDEN,
    404: ErrorKind.UNKNOWN,
    405: ErrorKind.METHOD,
    408: ErrorKind.TOO_SLOW,
    409: ErrorKind.CONFLICT,
    410: ErrorKind.CURSOR_GONE,
    413: ErrorKind.TOO_LARGE,
    422: ErrorKind.INVALID,
    429: ErrorKind.TOO_MANY,
    500: ErrorKind.INTERNAL,
    503: ErrorKind.UNAVAILABLE,
}


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _CaseWords(_Closed):
    title: str | None = Field(None, max_length=500, description="Never part of an SMS.")
    task_code: str | None = Field(None, max_length=64, description="实施编码")
    task_name: str | None = Field(None, max_length=500)
    dept_code: str | None = Field(None, max_length=64, description="The department's 统一社会信用代码.")
    dept_name: str | None = Field(None, max_length=500)
    agent: str | int | None = Field(None, description="Who handled it 工号; leading zeros count in text.")
    area_code: str | None = Field(None, max_length=16, description="行政区划; default: the hotline's.")
    batch_id: str | None = Field(None, max_length=200, description="Cases of a batch 批量 are asked once.")
    theme_id: str | None = Field(None, max_length=200, description="Cases of a theme 一件事 are asked once.")
    group_size: int | None = Field(None, ge=1, le=10_000, description="How many cases the batch or theme will have.")
    consent: bool | None = Field(None, description="May the rater's person be passed on to the centre?")
    lang: str | None = Field(None, description="Language of the SMS.", examples=["zh"])


class CaseIn(_CaseWords):
    """A case 工单 that was closed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [CASE_EXAMPLE]})

    case_no: str = Field(min_length=1, max_length=200, description="Any characters but controls.")
    phone: str | int | None = Field(description="null: an anonymous citizen.")
    closed_at: datetime = Field(description="RFC 3339; without offset Asia/Shanghai; at most five minutes ahead.")
    service_number: int = Field(1, ge=1, le=10_000, description="Which closing: a reopened case has the next number.")


class CasePatchIn(_CaseWords):
    """What is to be changed; null takes a word away."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [PATCH_EXAMPLE]})

    case_no: str | None = Field(None, description="May be repeated, and is not changed.")
    phone: str | int | None = Field(None, description="Not after the first SMS.")
    closed_at: datetime | None = None


class FieldError(BaseModel):
    field: str = Field(description="The field's name; empty: the whole.")
    message: str


class ErrorOut(BaseModel):
    """Whatever went wrong."""

    status: int
    error: ErrorKind
    message: str
    fields: list[FieldError] = []


class CaseAnswer(BaseModel):
    """What became of one case."""

    model_config = ConfigDict(json_schema_extra={"examples": [ANSWER_EXAMPLE]})

    status: int = Field(description="201 new, 200 known with the same content, 409 with another, 422 a field is wrong.")
    case_no: str | None
    service_number: int | None = None
    invitation: Literal["waiting", "joined", "none"] = "none"
    reason: str | None = Field(None, description="Why it is asked nothing.")
    deadline: datetime | None = Field(None, description="The end of the fifth working day.")
    provisional: bool = Field(False, description="The deadline rests on a day that is unknown or not confirmed.")
    error: ErrorKind | None = None
    message: str | None = None
    fields: list[FieldError] = []


class MessageOut(BaseModel):
    """An SMS of ours. Neither its number nor its text is told."""

    kind: Literal["invitation", "reminder", "clarification", "reason", "opted_out", "opted_in", "by_hand"]
    state: Literal["queued", "handed", "unknown", "sent", "delivered", "failed", "cancelled"]
    reason: str | None = Field(description="Why it failed, was cancelled or waits for another try.")
    receipt: str | None = Field(description="The class of the delivery receipt; of a long text the one that failed.")
    receipt_text: str | None = Field(description="The carrier's own word.", examples=["UNDELIV 001"])
    receipt_at: datetime | None
    created_at: datetime
    handed_at: datetime | None = Field(description="When a link first had it.")
    changed_at: datetime


class InvitationOut(BaseModel):
    id: str
    kind: Literal["call", "case"]
    state: str
    reason: str | None
    due_at: datetime | None
    first_asked_at: datetime | None
    asked_by: str | None
    undelivered: bool
    muted: bool
    created_at: datetime
    ended_at: datetime | None
    messages: list[MessageOut]


class EvaluationOut(BaseModel):
    """The shared evaluation record: a rating as seen from one subject."""

    id: str
    subject: Literal["call", "case"]
    call: str | None
    case_no: str | None
    project_no: str
    service_number: int
    assess_number: int
    effective: bool
    satisfaction: int = Field(ge=1, le=5, description="5 非常满意 … 1 非常不满意")
    satisfaction_name: str
    channel: Literal["keypad", "sms", "system"]
    origin: Literal["citizen", "default"]
    late: bool
    reasons: list[str]
    comment: str | None
    assess_time: datetime
    agent: str | None
    queue: str | None
    dept_code: str | None
    dept_name: str | None
    task_code: str | None
    task_name: str | None
    service_name: str | None
    area_code: str | None
    pushed_at: datetime | None
    centre_status: str | None
    adoption: Literal["accepted", "not_adopted"] | None = Field(description="The centre's later word.")
    follow_up: Literal["assigned", "in_progress", "rectified", "closed"] | None


class IntervalOut(BaseModel):
    """Where the true rate lies, with 95 % confidence (Wilson)."""

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class RateOut(BaseModel):
    """`rate` and `interval` are null under n = 5."""

    hits: int
    n: int
    rate: float | None = Field(ge=0, le=1)
    interval: IntervalOut | None


class DefaultsOut(BaseModel):
    asked: int = Field(description="Default ratings of citizens who had been asked.")
    never_asked: int


class RatedOut(BaseModel):
    """The ratings of one kind of subject; calls and cases are never summed."""

    levels: dict[Literal["5", "4", "3", "2", "1"], int] = Field(description="Real, effective, adopted ones.")
    satisfaction: RateOut
    not_adopted: int = Field(description="In no other figure: 不予采纳.")
    defaults: DefaultsOut


class CallsOut(BaseModel):
    ended: int
    offered: int
    rated: int


class StatisticsRow(BaseModel):
    """`call`, `case`: null where the kind is not told by this key."""

    key: str = Field(description="The day, agent, department, channel or queue; empty: not told.")
    response: RateOut = Field(description="参评率: of the invitations first asked, those with a real rating by now.")
    calls: CallsOut
    call: RatedOut | None
    case: RatedOut | None


STATISTICS_EXAMPLE: dict[str, Any] = {
    "from": "2026-11-18",
    "to": "2026-11-18",
    "by": "agent",
    "satisfied_from": 3,
    "least_n": 5,
    "rows": [
        {
            "key": "2001",
            "response": {"hits": 40, "n": 50, "rate": 0.8, "interval": {"low": 0.6696, "high": 0.8876}},
            "calls": {"ended": 52, "offered": 50, "rated": 38},
            "call": {
                "levels": {"5": 30, "4": 5, "3": 2, "2": 2, "1": 1},
                "satisfaction": {"hits": 37, "n": 40, "rate": 0.925, "interval": {"low": 0.8014, "high": 0.9742}},
                "not_adopted": 0,
                "defaults": {"asked": 0, "never_asked": 0},
            },
            "case": None,
        }
    ],
}


class StatisticsOut(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [STATISTICS_EXAMPLE]})

    from_: str = Field(alias="from", description="The first day, in Asia/Shanghai.")
    to: str = Field(description="The last day; it is in.")
    by: Literal["day", "agent", "dept", "channel", "queue"]
    satisfied_from: int = Field(description="The lowest level that counts as satisfied.")
    least_n: int = Field(description="Under so many there is no rate.")
    rows: list[StatisticsRow]


CENTRE_STATUS_EXAMPLE: dict[str, Any] = {
    "evaluation_id": "0199d2f4c0de7000a000000000000001",
    "status": "not_adopted",
    "note": "评价内容与办理事项无关",
}
CENTRE_STATUS_OUT_EXAMPLE: dict[str, Any] = {
    **CENTRE_STATUS_EXAMPLE,
    "changed": True,
    "follow_up": None,
    "at": "2026-11-19T09:00:00+08:00",
}
_ID = "^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$"


class CentreStatusIn(_Closed):
    """The centre's word on an evaluation; at least one of `status` and `follow_up`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [CENTRE_STATUS_EXAMPLE]})

    evaluation_id: str = Field(description="The evaluationId as it was pushed.", pattern=_ID)
    status: Adoption | None = Field(None, description="accepted 采纳, not_adopted 不予采纳: it leaves the figures.")
    follow_up: FollowUp | None = Field(None, description="差评整改.")
    note: str | None = Field(None, max_length=500, description="Why, in the centre's words.")


class CentreStatusOut(BaseModel):
    """What is known of the evaluation from here on."""

    evaluation_id: str
    changed: bool = Field(description="False: it was known.")
    status: Adoption | None
    follow_up: FollowUp | None
    note: str | None
    at: datetime | None


EVALUATION_EXAMPLE: dict[str, Any] = {
    "id": "0199d2f4c0de7000a000000000000001",
    "subject": "case",
    "call": None,
    "case_no": "GD20261118-0017",
    "project_no": "GD20261118-0017",
    "service_number": 1,
    "assess_number": 1,
    "effective": True,
    "satisfaction": 2,
    "satisfaction_name": "不满意",
    "channel": "sms",
    "origin": "citizen",
    "late": False,
    "reasons": ["209"],
    "comment": "灯还是不亮",
    "assess_time": "2026-11-18T10:05:00+08:00",
    "agent": "0042",
    "queue": None,
    "dept_code": "11622900MB1234567X",
    "dept_name": "临夏州城市管理局",
    "task_code": "621000012",
    "task_name": "城市照明",
    "service_name": "12345热线",
    "area_code": "622901",
    "pushed_at": "2026-11-18T10:15:03+08:00",
    "centre_status": "accepted",
    "adoption": None,
    "follow_up": "assigned",
}
PAGE_EXAMPLE: dict[str, Any] = {"evaluations": [EVALUATION_EXAMPLE], "cursor": "MS5hYmNkLjAuNA", "more": False}
CASE_OUT_EXAMPLE: dict[str, Any] = {
    **CASE_EXAMPLE,
    "service_number": 1,
    "closings": [1],
    "phone": "138****0000",
    "phone_kind": "mobile",
    "known_by_call_alone": False,
    "batch_id": None,
    "theme_id": None,
    "group_size": None,
    "lang": "zh",
    "deadline": "2026-11-25T23:59:59+08:00",
    "provisional": False,
    "withdrawn_at": None,
    "invitations": [
        {
            "id": "0199d2f4c0de7000a000000000000002",
            "kind": "case",
            "state": "rated",
            "reason": None,
            "due_at": None,
            "first_asked_at": "2026-11-18T10:01:00+08:00",
            "asked_by": "sms",
            "undelivered": False,
            "muted": False,
            "created_at": "2026-11-18T10:00:10+08:00",
            "ended_at": "2026-11-18T10:05:00+08:00",
            "messages": [
                {
                    "kind": "invitation",
                    "state": "delivered",
                    "reason": None,
                    "receipt": "delivered",
                    "receipt_text": "DELIVRD",
                    "receipt_at": "2026-11-18T10:01:04+08:00",
                    "created_at": "2026-11-18T10:00:59+08:00",
                    "handed_at": "2026-11-18T10:01:00+08:00",
                    "changed_at": "2026-11-18T10:01:04+08:00",
                }
            ],
        }
    ],
    "evaluations": [EVALUATION_EXAMPLE],
}


class CaseOut(BaseModel):
    """A case with its invitations and evaluations; its phone is masked."""

    model_config = ConfigDict(json_schema_extra={"examples": [CASE_OUT_EXAMPLE]})

    case_no: str
    service_number: int
    closings: list[int] = Field(description="Every service_number of this case.")
    phone: str | None = Field(examples=["138****0000"])
    phone_kind: str | None
    known_by_call_alone: bool
    title: str | None
    task_code: str | None
    task_name: str | None
    dept_code: str | None
    dept_name: str | None
    agent: str | None
    area_code: str | None
    batch_id: str | None
    theme_id: str | None
    group_size: int | None
    consent: bool | None
    lang: str | None
    closed_at: datetime | None
    deadline: datetime | None
    provisional: bool
    withdrawn_at: datetime | None
    invitations: list[InvitationOut]
    evaluations: list[EvaluationOut]


class EvaluationsPage(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [PAGE_EXAMPLE]})

    evaluations: list[EvaluationOut]
    cursor: str = Field(description="For the next page, also of the last one: ask again with it, and follow.")
    more: bool = Field(description="There are more by now. A page may be empty and still have a next one.")
