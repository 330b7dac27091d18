"""What a group of writes changes in the figures: gathered while its commands run, stored once at its end.

Rules kept here:

1. A count belongs to a day and an hour of Asia/Shanghai: an evaluation to its rating's, an invitation to when it was
   first asked, a call to its end.
2. A change is a minus for what was and a plus for what is. Each is noted where the row is written, under the lock that
   the writer has on it: the rollups are equal to a full count at any commit.
3. Calls have agent and queue; cases have none, for they are counted by department alone (docs/data-model.md).
4. What is gathered belongs to the unit of work: a group that fails takes it along, and its commands note it again.
5. Rows are stored in the order of their keys, each with its writer's number; readers sum the writers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Table

from models.clock import SHANGHAI
from models.tables import MEASURES, rollup_days, rollup_hours, rollup_reasons
from models.terms import CallOutcome, Channel, Origin, Satisfaction, SubjectKind

__all__ = ["NO_REASON", "Deltas", "Whose"]

NO_REASON = ""
"""Among the reasons: a bad rating for which the citizen gave none."""

_PLACE = {name: place for place, name in enumerate(MEASURES)}
_LEVEL = {level: _PLACE[f"level_{level.value}"] for level in Satisfaction}
_NOT_ADOPTED, _DEFAULT_ASKED, _DEFAULT_UNASKED = (
    _PLACE[name] for name in ("not_adopted", "default_asked", "default_unasked")
)
_ASKED, _RESPONDED, _CALLS, _OFFERED, _ANSWERED = (
    _PLACE[name] for name in ("asked", "responded", "calls", "offered", "answered")
)


class Whose(NamedTuple):
    """What a count is about. None: not told."""

    kind: SubjectKind
    agent: str | None = None
    queue: str | None = None
    dept: str | None = None
    area: str | None = None


class Deltas:
    """One group's changes. Nothing here touches the database."""

    def __init__(self) -> None:
        self._days: dict[tuple[Any, ...], list[int]] = {}
        self._hours: dict[tuple[Any, ...], list[int]] = {}
        self._reasons: dict[tuple[Any, ...], list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._days or self._reasons)

    def evaluation(
        self,
        count: int,
        whose: Whose,
        at: datetime,
        satisfaction: Satisfaction,
        channel: Channel,
        origin: Origin,
        *,
        asked: bool | None = None,
        adopted: bool = True,
        reasons: str | None = None,
    ) -> None:
        """An evaluation has become effective (`count` 1) or is no longer (-1).

        Args:
            at: the time of its rating.
            asked: of a default: whether the citizen had been asked.
            adopted: False: the centre has said 不予采纳.
            reasons: its codes, comma-separated as they are stored.
        """
        if not adopted:
            place = _NOT_ADOPTED
        elif origin is Origin.DEFAULT:
            place = _DEFAULT_ASKED if asked else _DEFAULT_UNASKED
        else:
            place = _LEVEL[satisfaction]
            for reason in _reasons_of(satisfaction, reasons):
                self._reason(count, whose, at, channel, reason)
        self._add(whose, at, channel, ((place, count),))

    def reasons(
        self,
        whose: Whose,
        at: datetime,
        satisfaction: Satisfaction,
        channel: Channel,
        before: str | None,
        after: str | None,
    ) -> None:
        """The citizen has given the reason of a real, effective, adopted evaluation later, or another one."""
        for count, codes in ((-1, before), (1, after)):
            for reason in _reasons_of(satisfaction, codes):
                self._reason(count, whose, at, channel, reason)

    def invitation(
        self, count: int, whose: Whose, first_asked_at: datetime, asked_by: str | None, *, responded: bool
    ) -> None:
        """An invitation was first asked. `asked_by`: `voice` or `sms`; `responded`: it has a real rating by now."""
        channel = Channel.SMS if asked_by == Channel.SMS.value else Channel.KEYPAD
        changes = ((_ASKED, count), (_RESPONDED, count)) if responded else ((_ASKED, count),)
        self._add(whose, first_asked_at, channel, changes)

    def call(self, count: int, whose: Whose, ended_at: datetime, outcome: CallOutcome) -> None:
        """A call with an agent is over."""
        changes = [(_CALLS, count)]
        if outcome is not CallOutcome.NOT_OFFERED:
            changes.append((_OFFERED, count))
        if outcome is CallOutcome.RATED:
            changes.append((_ANSWERED, count))
        self._add(whose, ended_at, Channel.KEYPAD, changes)

    def rows(self, writer: int) -> Iterator[tuple[Table, list[tuple[Any, ...]]]]:
        """The rows to add, table by table, in the order of their keys."""
        for table, gathered, keys in (
            (rollup_days, self._days, 1),
            (rollup_hours, self._hours, 2),
            (rollup_reasons, self._reasons, 1),
        ):
            if gathered:
                yield (
                    table,
                    [
                        (*key[:keys], writer, *key[keys:], *counts)
                        for key, counts in sorted(gathered.items())
                        if any(counts)
                    ],
                )

    def _add(self, whose: Whose, at: datetime, channel: Channel, changes: Iterable[tuple[int, int]]) -> None:
        day, hour = _day_and_hour(at)
        kind, agent, queue, dept, area = _words(whose)
        for gathered, key in (
            (self._days, (day, kind, channel.value, agent, queue, dept, area)),
            (self._hours, (day, hour, kind, channel.value, dept, area)),
        ):
            counts = gathered.get(key)
            if counts is None:
                counts = gathered[key] = [0] * len(MEASURES)
            for place, count in changes:
                counts[place] += count

    def _reason(self, count: int, whose: Whose, at: datetime, channel: Channel, reason: str) -> None:
        kind, agent, queue, dept, area = _words(whose)
        key = (_day_and_hour(at)[0], kind, channel.value, reason, agent, queue, dept, area)
        self._reasons.setdefault(key, [0])[0] += count


def _words(whose: Whose) -> tuple[str, str, str, str, str]:
    if whose.kind is SubjectKind.CALL:
        return (whose.kind.value, whose.agent or "", whose.queue or "", whose.dept or "", whose.area or "")
    return (whose.kind.value, "", "", whose.dept or "", whose.area or "")


def _day_and_hour(at: datetime) -> tuple[date, int]:
    there = at.astimezone(SHANGHAI)
    return there.date(), there.hour


def _reasons_of(satisfaction: Satisfaction, reasons: str | None) -> Iterable[str]:
    codes = [code for code in (reasons or "").split(",") if code]
    if codes:
        return codes
    return (NO_REASON,) if satisfaction.is_bad else ()
