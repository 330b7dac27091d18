"""From figures to the charts of the trends page: what stands in which bar, and where a click on it leads.

Each chart has the rows of its table and no others, so that whatever a chart shows can be read, and whatever can be read
is counted by console/formulas.py. Labels are Chinese; names of agents and departments come from the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from console.asked import What, asked_address
from console.charts import Bar, Chart, ChartKind
from console.figures import WHOLE, By, Figures, Period, Reason, Row, Slice, ratings_query
from console.formulas import Rate
from console.pages.catalogue import Catalogue
from console.spans import period_of, span_label
from models.terms import Channel, Origin, Satisfaction, SubjectKind

__all__ = ["levels_by_day", "levels_by_hour", "reason_address", "reasons_given", "responses", "satisfactions"]

_RATINGS = "/ratings"
_WORST_FIRST = tuple(reversed(Satisfaction))
Named = Callable[[str], str]


def levels_by_day(rows: Sequence[Row], kind: SubjectKind, part: Slice = WHOLE) -> Chart:
    """按日评价: real ratings of one kind, by day or by spans, their levels on one another, the bad ones lowest."""
    texts = Catalogue.load()
    bars = [
        Bar(
            span_label(span),
            row.figures.of(kind).levels[level],
            _address(span, part, satisfaction=level.value, origin=Origin.CITIZEN.value, kind=kind.value),
            part=texts.of("level", level),
        )
        for row in rows
        for span in (period_of(row.key),)
        for level in sorted(_WORST_FIRST)
    ]
    parts = tuple(texts.of("level", level) for level in sorted(_WORST_FIRST))
    return Chart(ChartKind.STACKED, texts("chart.levels"), tuple(bars), parts)


def levels_by_hour(hours: Mapping[int, Figures], kind: SubjectKind, day: date) -> Chart:
    """分时段评价: the same of one day, by hour; the hours between the first and the last are all there."""
    texts = Catalogue.load()
    period = Period(day, day)
    some = [hour for hour, figures in hours.items() if figures.of(kind).rated]
    bars = [
        Bar(
            texts("chart.hour", hour=hour),
            hours.get(hour, Figures()).of(kind).levels[level],
            _address(period, WHOLE, hour=hour, satisfaction=level.value, origin=Origin.CITIZEN.value, kind=kind.value),
            part=texts.of("level", level),
        )
        for hour in range(min(some, default=0), max(some, default=-1) + 1)
        for level in sorted(_WORST_FIRST)
    ]
    parts = tuple(texts.of("level", level) for level in sorted(_WORST_FIRST))
    return Chart(ChartKind.STACKED, texts("chart.hours"), tuple(bars), parts)


def satisfactions(
    rows: Sequence[Row],
    period: Period,
    by: str,
    kind: SubjectKind,
    satisfied_from: int,
    *,
    part: Slice = WHOLE,
    named: Named = str,
) -> Chart:
    """满意率 with its Wilson interval and its n. `by`: a name of `By`, or `team`."""
    bars = []
    for row in rows:
        label, span, its = _place(row.key, period, by, part, named)
        address = _address(span, its, origin=Origin.CITIZEN.value, kind=kind.value)
        bars.append(_rate(label, row.figures.of(kind).satisfaction(satisfied_from), address))
    texts = Catalogue.load()
    return Chart(ChartKind.RATES, texts("chart.satisfaction"), tuple(bars), few=texts("chart.few"))


def responses(
    rows: Sequence[Row],
    period: Period,
    by: str,
    *,
    kind: SubjectKind | None = None,
    part: Slice = WHOLE,
    named: Named = str,
) -> Chart:
    """参评率, to stand beside the satisfaction: how many of those asked it speaks for; a click leads to these.

    `kind`: of whose invitations `rows` tell, where not of both.
    """
    more = {} if kind is None else {"kind": kind.value}
    bars = []
    for row in rows:
        label, span, its = _place(row.key, period, by, part, named)
        rate = row.figures.response if kind is None else row.figures.of(kind).response
        bars.append(_rate(label, rate, asked_address(What.ASKED, span, its, **more)))
    texts = Catalogue.load()
    return Chart(ChartKind.RATES, texts("chart.response"), tuple(bars), few=texts("chart.few"))


def reasons_given(
    found: Sequence[Reason], period: Period, kind: SubjectKind, *, part: Slice = WHOLE, named: Named = str
) -> Chart:
    """评价原因: how often each was given; a click leads to the ratings with it."""
    texts = Catalogue.load()
    bars = [
        Bar(named(one.code) if one.code else texts("chart.no_reason"), one.n, reason_address(one, period, kind, part))
        for one in found
    ]
    return Chart(ChartKind.BARS, texts("chart.reasons"), tuple(bars))


def reason_address(one: Reason, period: Period, kind: SubjectKind, part: Slice = WHOLE) -> str:
    """The ratings with a reason; those without one are the bad ones."""
    told = {"reason": one.code} if one.code else {"reason": "-", "satisfaction": "1,2"}
    return _address(period, part, origin=Origin.CITIZEN.value, kind=kind.value, **told)


def _place(key: str, period: Period, by: str, part: Slice, named: Named) -> tuple[str, Period, Slice]:
    """What a row is called, and of which days and which part of the figures it tells."""
    if by == By.DAY:
        span = period_of(key)
        return span_label(span), span, part
    told: dict[str, Any] = {by: Channel(key) if by == By.CHANNEL else key}
    texts = Catalogue.load()
    label = named(key) if key else texts("trends.no_team" if by == "team" else "trends.untold")
    return label, period, replace(part, **told)


def _rate(label: str, rate: Rate, address: str) -> Bar:
    interval = rate.interval
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Bar(label, rate.value, address, n=rate.n, low=low, high=high)


def _address(period: Period, part: Slice, **more: Any) -> str:
    return f"{_RATINGS}?{ratings_query(period, part, **more)}"
