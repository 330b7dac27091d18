"""From figures to the charts of the trends page: what stands in which bar, and where a click on it leads.

Each chart has the rows of its table and no others, so that whatever a chart shows can be read, and whatever can be read
is counted by console/formulas.py. Labels are Chinese; names of agents and departments come from the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from console.charts import Bar, Chart, ChartKind
from console.figures import WHOLE, By, Period, Reason, Row, Slice, ratings_query
from console.formulas import Rate
from console.pages.catalogue import Catalogue
from console.spans import period_of, span_label
from models.terms import Channel, Origin, Satisfaction, SubjectKind

__all__ = ["levels_by_day", "reason_address", "reasons_given", "responses", "satisfactions"]

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


def satisfactions(
    rows: Sequence[Row],
    period: Period,
    by: By,
    kind: SubjectKind,
    satisfied_from: int,
    *,
    part: Slice = WHOLE,
    named: Named = str,
) -> Chart:
    """满意率 with its Wilson interval and its n."""
    bars = [
        _rate(row.key, row.figures.of(kind).satisfaction(satisfied_from), period, by, part, named, kind) for row in rows
    ]
    texts = Catalogue.load()
    return Chart(ChartKind.RATES, texts("chart.satisfaction"), tuple(bars), few=texts("chart.few"))


def responses(rows: Sequence[Row], period: Period, by: By, *, part: Slice = WHOLE, named: Named = str) -> Chart:
    """参评率, to stand beside the satisfaction: how many of those asked it speaks for."""
    bars = [_rate(row.key, row.figures.response, period, by, part, named, None) for row in rows]
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
    told: dict[str, str] = {"reason": one.code} if one.code else {"reason": "-", "satisfaction": "1,2"}
    return _address(period, part, origin=Origin.CITIZEN.value, kind=kind.value, **told)


def _rate(key: str, rate: Rate, period: Period, by: By, part: Slice, named: Named, kind: SubjectKind | None) -> Bar:
    more: dict[str, Any] = {} if kind is None else {"origin": Origin.CITIZEN.value, "kind": kind.value}
    if by is By.DAY:
        period = period_of(key)
        label = span_label(period)
    else:
        told: dict[str, Any] = {by.value: Channel(key) if by is By.CHANNEL else key}
        part = replace(part, **told)
        label = named(key) if key else Catalogue.load()("trends.untold")
    interval = rate.interval
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Bar(label, rate.value, _address(period, part, **more), n=rate.n, low=low, high=high)


def _address(period: Period, part: Slice, **more: str | int) -> str:
    return f"{_RATINGS}?{ratings_query(period, part, **more)}"
