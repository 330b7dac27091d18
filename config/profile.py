"""A centre's profile: what the payload's fields are called, where each comes from, and how the centre's answers read.

Rules kept here:

* Nothing of a centre's edge is a constant in code (domain.md: no interface document is public): names, code tables,
  constants, time format and paths stand in a TOML file, `profiles/plain.toml` or a site's own.
* A profile is validated whole when loaded, every mistake reported at once with its key. What has been loaded
  can map any evaluation: a code table has a code for each value its source can take.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from config.errors import ConfigurationError
from config.settings import PushCalls
from models.terms import Channel, Satisfaction, SubjectKind

__all__ = [
    "FieldRule",
    "Profile",
    "ProfileInvalid",
    "PushCalls",
    "Source",
    "Unknown",
    "load_profile",
    "shipped_profiles",
]

_SHIPPED = Path(__file__).with_name("profiles")

Scalar = str | int | float | bool


class Source(StrEnum):
    """What a payload field can be filled from. Anything of the citizen's person is deliberately absent."""

    EVALUATION_ID = "evaluation_id"
    PROJECT_NO = "project_no"
    ASSESS_NUMBER = "assess_number"
    ASSESS_TIME = "assess_time"
    SATISFACTION = "satisfaction"
    CHANNEL = "channel"
    IS_DEFAULT = "is_default"
    SUBJECT_KIND = "subject_kind"
    REASONS = "reasons"
    TEXT = "text"
    SERVICE_NUMBER = "service_number"
    AGENT = "agent"
    QUEUE = "queue"
    DEPT_CODE = "dept_code"
    DEPT_NAME = "dept_name"
    TASK_CODE = "task_code"
    TASK_NAME = "task_name"
    SERVICE_NAME = "service_name"
    AREA_CODE = "area_code"
    DATA_SOURCE = "data_source"


_VALUES: dict[Source, tuple[str, ...]] = {
    # A default's channel in our record is `system`; to a code table it is `default` (data-model.md).
    Source.CHANNEL: (*(channel for channel in Channel if channel is not Channel.SYSTEM), "default"),
    Source.IS_DEFAULT: ("no", "yes"),
    Source.SATISFACTION: tuple(str(level.value) for level in Satisfaction),
    Source.SUBJECT_KIND: tuple(SubjectKind),
}
"""The values of the sources that a code table can stand for."""


class Unknown(StrEnum):
    """What is sent where the record does not know a value."""

    EMPTY = "empty"
    OMIT = "omit"


class ProfileInvalid(ConfigurationError):
    """A profile cannot be used. `errors`: the key in the profile file (or `centre.profile`) and a sentence, of each."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Name = Annotated[str, Field(min_length=1)]
UrlPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]*$")]


class FieldRule(_Part):
    """One field of the payload: a source of the record, or a constant."""

    source: Annotated[Source | None, Field(alias="from", strict=False)] = None
    constant: Scalar | None = None
    codes: dict[str, Scalar] | None = None
    kind: Annotated[Literal["text"] | None, Field(alias="as")] = None
    unknown: Annotated[Unknown, Field(strict=False)] = Unknown.EMPTY

    @model_validator(mode="after")
    def _whole(self) -> Self:
        values: list[Any] = [self.constant, *(self.codes or {}).values()]
        if any(isinstance(value, float) and not isfinite(value) for value in values):
            raise ValueError("JSON knows no nan and no inf; write a number or a text")
        if (self.source is None) == (self.constant is None):
            raise ValueError("write either from = a source or constant = a value")
        if self.codes is None:
            return self
        known = _VALUES.get(self.source) if self.source is not None else None
        if known is None:
            raise ValueError(f"codes fit only the sources {', '.join(_VALUES)}")
        if missing := [value for value in known if value not in self.codes]:
            raise ValueError(f"codes has no entry for {', '.join(missing)}")
        if strange := [value for value in self.codes if value not in known]:
            raise ValueError(f"codes names {', '.join(strange)}, which {self.source} never is")
        return self


def _short_form(value: Any) -> Any:
    return {"from": value} if isinstance(value, str) else value


class BadWithoutReason(_Part):
    """The true text of each channel for a bad rating whose rater gave no reason."""

    keypad: Name
    sms: Name


class TimeRule(_Part):
    zone: str = "Asia/Shanghai"
    format: Name = "%Y-%m-%d %H:%M:%S"

    @field_validator("zone")
    @classmethod
    def _zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError("not a time zone; write for instance Asia/Shanghai") from error
        return zone

    @field_validator("format")
    @classmethod
    def _format(cls, form: str) -> str:
        early, late = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
        if early.strftime(form) == late.strftime(form):
            raise ValueError("two different seconds give the same text; write for instance %Y-%m-%d %H:%M:%S")
        return form


class RequestRule(_Part):
    path: UrlPath
    list: Name


class AnswerRule(_Part):
    list: Name
    id: Name
    status: Name
    reason: Name
    accepted: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    duplicate: Annotated[tuple[Name, ...], Field(strict=False)]
    rejected: Annotated[tuple[Name, ...], Field(strict=False)]
    duplicate_reasons: Annotated[tuple[Name, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        words = [word.casefold() for word in (*self.accepted, *self.duplicate, *self.rejected)]
        if twice := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(f"{', '.join(twice)} stands for two different answers")
        return self


class ReconcileRule(_Part):
    path: UrlPath
    date: Name
    list: Name


class Profile(_Part):
    """A whole profile. `fields` keeps the file's order, which is the payload's."""

    protocol: Literal["json-hmac"]
    push_calls: Annotated[PushCalls, Field(strict=False)] = PushCalls.WITHOUT_CASE
    bad_without_reason: BadWithoutReason
    time: TimeRule = TimeRule()
    request: RequestRule
    fields_: Annotated[dict[Name, Annotated[FieldRule, BeforeValidator(_short_form)]], Field(alias="fields")]
    answer: AnswerRule
    reconcile: ReconcileRule

    @field_validator("fields_")
    @classmethod
    def _identified(cls, fields: dict[str, FieldRule]) -> dict[str, FieldRule]:
        sources = {rule.source for rule in fields.values()}
        needed = (Source.EVALUATION_ID, Source.PROJECT_NO, Source.ASSESS_NUMBER, Source.SATISFACTION)
        if missing := [source for source in needed if source not in sources]:
            raise ValueError(f"no field comes from {', '.join(missing)}, without which no answer fits a rating")
        return fields

    @property
    def fields(self) -> dict[str, FieldRule]:
        return self.fields_


def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles that come with Huiyin."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def _locate(name: str, base: Path) -> Path:
    if "/" in name or name.endswith(".toml"):
        return base / name
    if name not in shipped_profiles():
        known = ", ".join(shipped_profiles())
        raise ProfileInvalid(
            [("centre.profile", f"{name} does not come with Huiyin; write {known} or a .toml file's path")]
        )
    return _SHIPPED / f"{name}.toml"


def load_profile(name: str, base: Path) -> Profile:
    """A shipped profile by its name, or a site's own by its path (relative to `base`, the configuration's directory).

    Raises:
        ProfileInvalid: with every problem, each led by its key.
    """
    path = _locate(name, base)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ProfileInvalid([("centre.profile", f"{path} cannot be read: {error.strerror}")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileInvalid([("centre.profile", f"{path} is not TOML in UTF-8: {error}")]) from error
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        raise ProfileInvalid([_problem(detail) for detail in error.errors()]) from error


def _problem(detail: Any) -> tuple[str, str]:
    key = ".".join(str(part) for part in detail["loc"] if part not in {"str", "int", "float", "bool"})
    message = str(detail["msg"]).removeprefix("Value error, ")
    return key, message[:1].lower() + message[1:]
