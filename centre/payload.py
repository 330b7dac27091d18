"""An evaluation as the centre wants to read it: row → fields → the exact bytes of a body.

Rules kept here:

* Names, codes and formats are the profile's; this module knows sources only.
* The bytes are canonical: fields in the profile's order, UTF-8, no spaces. They are made once, when a batch is claimed,
  and sent again unchanged.
* A bad rating without a reason and without words goes with the profile's true text. No reason is ever invented.
* Nothing of the citizen's person is a source.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

from config.profile import FieldRule, Profile, Source, Unknown
from models.terms import Channel, Origin, Satisfaction

__all__ = ["EvaluationRow", "Mapper", "Site", "Unmappable"]

Value = str | int | float | bool


class Unmappable(ValueError):
    """An evaluation that cannot be put into a body. The sentence becomes the dead letter's reason."""


class EvaluationRow(NamedTuple):
    """What the push reads of an evaluation, in the order of its query."""

    evaluation_id: str
    project_no: str
    assess_number: int
    assess_time: datetime
    satisfaction: int
    channel: str
    origin: str
    subject_kind: str
    reasons: str | None
    comment: str | None
    service_number: int
    agent: str | None
    queue: str | None
    dept_code: str | None
    dept_name: str | None
    task_code: str | None
    task_name: str | None
    service_name: str | None
    area_code: str | None


@dataclass(frozen=True, slots=True)
class Site:
    """What the settings say of the hotline; the first two stand in where a record has none of its own."""

    service_name: str
    area_code: str
    data_source: str


Getter = Callable[[EvaluationRow], Value | None]


class Mapper:
    """A profile made ready to map many evaluations."""

    def __init__(self, profile: Profile, site: Site) -> None:
        self._list = profile.request.list
        self._zone = ZoneInfo(profile.time.zone)
        self._format = profile.time.format
        self._texts: dict[str, str] = {
            Channel.KEYPAD: profile.bad_without_reason.keypad,
            Channel.SMS: profile.bad_without_reason.sms,
        }
        self._site = site
        self._fields = [
            (name, _place(rule), self._field(rule), rule.unknown is Unknown.OMIT)
            for name, rule in profile.fields.items()
        ]

    def record(self, row: EvaluationRow) -> dict[str, Value]:
        """The fields of one evaluation, in the profile's order."""
        fields: dict[str, Value] = {}
        for name, place, value_of, omit in self._fields:
            value: Any = row[place] if place is not None else value_of(row)
            if value is not None:
                fields[name] = value
            elif not omit:
                fields[name] = ""
        return fields

    def body(self, rows: Iterable[EvaluationRow]) -> bytes:
        """The body of a batch.

        Raises:
            Unmappable: one of the rows is to blame; `sort_out` finds it.
        """
        try:
            content = {self._list: [self.record(row) for row in rows]}
            return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise Unmappable(f"cannot be mapped with this profile: {type(error).__name__}") from error

    def sort_out(self, rows: Sequence[EvaluationRow]) -> tuple[list[EvaluationRow], list[tuple[EvaluationRow, str]]]:
        """The rows that can be mapped, and the others with why; for a batch whose `body` failed."""
        good: list[EvaluationRow] = []
        bad: list[tuple[EvaluationRow, str]] = []
        for row in rows:
            try:
                self.body([row])
            except Unmappable as error:
                bad.append((row, str(error)))
            else:
                good.append(row)
        return good, bad

    def _field(self, rule: FieldRule) -> Getter:
        if rule.source is None:
            constant = rule.constant
            return (lambda _row: str(constant)) if rule.kind == "text" else (lambda _row: constant)
        value_of = self._source(rule.source)
        if (codes := rule.codes) is not None:
            table = {_plain(key): code for key, code in codes.items()}
            inner = value_of
            value_of = lambda row: table[_plain(inner(row))]  # noqa: E731 (one of several small getters)
        elif rule.source is Source.IS_DEFAULT:
            word = value_of
            value_of = lambda row: word(row) == "yes"  # noqa: E731
        if rule.kind == "text":
            raw = value_of
            value_of = lambda row: _text(raw(row))  # noqa: E731
        return value_of

    def _source(self, source: Source) -> Getter:
        site = self._site
        special: dict[Source, Getter] = {
            Source.ASSESS_TIME: self._time,
            Source.TEXT: self._words,
            Source.CHANNEL: lambda row: "default" if row.origin == Origin.DEFAULT else row.channel,
            Source.IS_DEFAULT: lambda row: "yes" if row.origin == Origin.DEFAULT else "no",
            Source.REASONS: lambda row: row.reasons or None,
            Source.SERVICE_NAME: lambda row: row.service_name or site.service_name,
            Source.AREA_CODE: lambda row: row.area_code or site.area_code,
            Source.DATA_SOURCE: lambda _row: site.data_source,
        }
        if source in special:
            return special[source]
        place = EvaluationRow._fields.index(source.value)
        return lambda row: cast("Value | None", row[place])

    def _time(self, row: EvaluationRow) -> str:
        return row.assess_time.astimezone(self._zone).strftime(self._format)

    def _words(self, row: EvaluationRow) -> str | None:
        if row.comment and not row.comment.isspace():
            return row.comment
        if row.reasons or not _IS_BAD[row.satisfaction]:
            return None
        return self._texts.get(row.channel)


_IS_BAD = {level.value: level.is_bad for level in Satisfaction}

_AS_STORED = frozenset(source.value for source in Source) & frozenset(EvaluationRow._fields) - {
    *(Source.ASSESS_TIME, Source.CHANNEL, Source.REASONS, Source.SERVICE_NAME, Source.AREA_CODE)
}


def _place(rule: FieldRule) -> int | None:
    """The column of a field that is sent as it is stored; most are, and skip a call each."""
    if rule.source is None or rule.codes is not None or rule.kind is not None or rule.source not in _AS_STORED:
        return None
    return EvaluationRow._fields.index(rule.source.value)


def _plain(value: Any) -> str:
    return str(value)


def _text(value: Value | None) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
