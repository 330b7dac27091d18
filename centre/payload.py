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
from itertools import groupby
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

from config.profile import FieldRule, Profile, Source, Unknown
from models.push_faults import PushFault
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
Writer = Callable[[EvaluationRow], str]


class Mapper:
    """A profile made ready to map many evaluations."""

    def __init__(self, profile: Profile, site: Site) -> None:
        self._zone = ZoneInfo(profile.time.zone)
        self._format = profile.time.format
        self._texts: dict[str, str] = {
            Channel.KEYPAD: profile.bad_without_reason.keypad,
            Channel.SMS: profile.bad_without_reason.sms,
        }
        self._site = site
        self._head = f"{{{_json(profile.request.list)}:["
        self._writers = self._pieces(profile)

    def body(self, rows: Iterable[EvaluationRow]) -> bytes:
        """The body of a batch.

        Raises:
            Unmappable: one of the rows is to blame; `sort_out` finds it.
        """
        writers = self._writers
        try:
            records = ["{" + "".join([write(row) for write in writers])[:-1] + "}" for row in rows]
            return "".join((self._head, ",".join(records), "]}")).encode()
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise Unmappable(PushFault.UNMAPPABLE.told(kind=type(error).__name__)) from error

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

    def _pieces(self, profile: Profile) -> list[Writer]:
        """What writes a row, piece by piece; neighbouring fields that take few values are one piece, and remembered.

        Joining ready pieces takes a third of the time of making a dict of each record first, and the push shares its
        core with the calls.
        """
        pieces: list[Writer] = []
        for few, fields in groupby(profile.fields.items(), lambda field: _columns(field[1]) is not None):
            rules = list(fields)
            writers = [self._writer(name, rule) for name, rule in rules]
            columns = sorted({column for _, rule in rules for column in _columns(rule) or ()})
            pieces += [_remembering(writers, columns)] if few else writers
        return pieces

    def _writer(self, name: str, rule: FieldRule) -> Writer:
        """Writes a field of a row: `"name":value,`, or nothing where it is left out."""
        head = _json(name) + ":"
        unknown = "" if rule.unknown is Unknown.OMIT else head + '"",'

        def written(value: Any) -> str:
            return unknown if value is None else f"{head}{_json(value)},"

        if rule.source is None:
            always = written(str(rule.constant) if rule.kind == "text" else rule.constant)
            return lambda _row: always
        value_of = self._field(rule, rule.source)
        if rule.codes is not None:
            codes = rule.codes.items()
            table = {key: written(str(code) if rule.kind == "text" else code) for key, code in codes}
            return lambda row: table[str(value_of(row))]
        return lambda row: written(value_of(row))

    def _field(self, rule: FieldRule, source: Source) -> Getter:
        """The value of a field, or the word that its codes stand for."""
        value_of = self._source(source)
        if rule.codes is not None:
            return value_of
        if source is Source.IS_DEFAULT:
            return (lambda row: str(value_of(row) == "yes")) if rule.kind else (lambda row: value_of(row) == "yes")
        return (lambda row: _text(value_of(row))) if rule.kind == "text" else value_of

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
        return cast(Getter, itemgetter(EvaluationRow._fields.index(source.value)))

    def _time(self, row: EvaluationRow) -> str:
        local = row.assess_time.astimezone(self._zone)
        # The same text for the usual form, in a fourth of the time.
        return local.isoformat(" ", "seconds")[:19] if self._format == _USUAL_TIME else local.strftime(self._format)

    def _words(self, row: EvaluationRow) -> str | None:
        if row.comment and not row.comment.isspace():
            return row.comment
        if row.reasons or not _IS_BAD[row.satisfaction]:
            return None
        return self._texts.get(row.channel)


_IS_BAD = {level.value: level.is_bad for level in Satisfaction}

_USUAL_TIME = "%Y-%m-%d %H:%M:%S"

_FEW: dict[Source, tuple[str, ...]] = {
    Source.CHANNEL: ("channel", "origin"),
    Source.IS_DEFAULT: ("origin",),
    Source.DATA_SOURCE: (),
    **{
        source: (source.value,)
        for source in (
            *(Source.SATISFACTION, Source.ASSESS_NUMBER, Source.SERVICE_NUMBER, Source.SUBJECT_KIND),
            *(Source.AGENT, Source.QUEUE, Source.DEPT_CODE, Source.DEPT_NAME, Source.TASK_CODE, Source.TASK_NAME),
            *(Source.SERVICE_NAME, Source.AREA_CODE),
        )
    },
}
"""Sources that take few values, and the columns each is made of."""

_REMEMBERED_MOST = 2000


def _columns(rule: FieldRule) -> tuple[str, ...] | None:
    """The columns that a field of few values is made of; None: it takes many."""
    return () if rule.source is None else _FEW.get(rule.source)


def _remembering(writers: Sequence[Writer], columns: Sequence[str]) -> Writer:
    """One piece of several fields, remembered by the columns that they are made of."""
    places = [EvaluationRow._fields.index(column) for column in columns]
    key_of: Callable[[EvaluationRow], Any] = itemgetter(*places) if places else lambda _row: None
    known: dict[Any, str] = {}

    def piece(row: EvaluationRow) -> str:
        key = key_of(row)
        text = known.get(key)
        if text is None:
            if len(known) >= _REMEMBERED_MOST:
                known.clear()
            text = known[key] = "".join([write(row) for write in writers])
        return text

    return piece


def _json(value: Value) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if type(value) is int:
        return str(value)
    return json.dumps(value, allow_nan=False)


def _text(value: Value | None) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
