"""趋势: figures of a range by day, agent, department, queue, channel and reason, beside the range before it.

Rules kept here:

* Every chart stands as a table too, with the same rows; where no chart can be made the table stands alone.
* Every rate has its n and its interval; under five there is none (console/formulas.py).
* A click on a figure or bar leads to the ratings behind it and no others (console/figures.ratings_query); on a response
  rate, behind which are invitations, to the trends of that part.
* An address says everything: what cannot be read in one is told, and the week is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from markupsafe import Markup
from sqlalchemy import Connection
from starlette.responses import Response

from console.board_state import today
from console.charts import Chart, ChartFailed
from console.figures import By, Figures, Period, Reason, Row, Sight, Slice, Trend, ratings_query, reasons, trend
from console.formulas import Counts, Rate
from console.pages.shell import Console, NavItem
from console.plain_names import Names
from console.sessions import Session
from console.spans import LONGEST, Range, days_of, in_spans, period_of, span_label
from console.trend_charts import levels_by_day, reason_address, reasons_given, responses, satisfactions
from console.viewer import ConsoleRole
from models.rollups import NO_REASON
from models.terms import Channel, Origin, SubjectKind

__all__ = ["NAV", "Asked", "View", "read_asked", "routes"]

_LOOKERS = (ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT)
NAV = (NavItem("trends", "/trends", _LOOKERS, 30),)
CHARTED = 30
"""Rows of agents, departments or queues that a chart has."""
LISTED = 200
"""Rows of a table, until all are asked for."""
_LONGEST_CODE = 64


class View(StrEnum):
    """By what the figures are told."""

    DAY = "day"
    AGENT = "agent"
    DEPT = "dept"
    QUEUE = "queue"
    CHANNEL = "channel"
    REASON = "reason"

    @property
    def by(self) -> By:
        """Reasons have a rollup of their own; what stands above them is by day."""
        return By.DAY if self is View.REASON else By(self.value)

    @property
    def kinds(self) -> tuple[SubjectKind, ...]:
        return self.by.kinds


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks for. `kinds`: whose ratings may be told here; `chosen` None: days of one's own; `wrong`:
    something of it could not be read."""

    view: View
    kinds: tuple[SubjectKind, ...]
    kind: SubjectKind
    period: Period
    chosen: Range | None
    part: Slice
    everything: bool
    wrong: bool

    def query(self, **changed: Any) -> dict[str, str]:
        """The address's parameters; None leaves one out."""
        told: dict[str, Any] = {"by": self.view.value, "kind": self.kind.value}
        if self.chosen is not None:
            told["range"] = self.chosen.value
        else:
            told |= {"from": self.period.first.isoformat(), "to": self.period.last.isoformat()}
        for name in ("channel", "agent", "queue", "dept", "area"):
            if (value := getattr(self.part, name)) is not None:
                told[name] = value
        return {name: str(value) for name, value in (told | changed).items() if value is not None}


def read_asked(params: Mapping[str, str], now_day: date) -> Asked:
    """What an address asks for; what is wrong in it is left out."""
    wrong = False

    def choice(name: str, kind: Callable[[str], Any], otherwise: Any) -> Any:
        nonlocal wrong
        text = params.get(name, "")
        if not text:
            return otherwise
        try:
            return kind(text)
        except ValueError:
            wrong = True
            return otherwise

    view: View = choice("by", View, View.DAY)
    kind: SubjectKind = choice("kind", SubjectKind, view.kinds[0])
    chosen: Range | None = choice("range", Range, None)
    first: date | None = choice("from", date.fromisoformat, None)
    last: date | None = choice("to", date.fromisoformat, None)
    period = None
    if chosen is None and (first is not None or last is not None):
        first, last = first or last, last or first
        assert first is not None
        assert last is not None
        if first <= last and (last - first).days < LONGEST and first.year >= 2000 and last.year < 2200:
            period = Period(first, last)
        else:
            wrong = True
    if period is None:
        chosen = chosen or Range.WEEK
        period = days_of(chosen, now_day)
    told: dict[str, Any] = {"channel": choice("channel", Channel, None)}
    for name in ("agent", "queue", "dept", "area"):
        value = params.get(name)
        if value is not None and (len(value) > _LONGEST_CODE or not value.isprintable()):
            wrong, value = True, None
        told[name] = value
    kinds = view.kinds if told["agent"] is None and told["queue"] is None else By.AGENT.kinds
    if kind not in kinds:
        kind = kinds[0]
    return Asked(view, kinds, kind, period, chosen, Slice(**told), params.get("all") == "1", wrong)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table. `url`: the ratings behind it, with more parameters; `within`: this page, of it alone."""

    name: str
    figures: Figures
    counts: Counts
    before: Counts
    response: Rate
    response_before: Rate
    url: Callable[..., str]
    within: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ReasonLine:
    name: str
    n: int
    before: int
    url: str


def _address(period: Period, part: Slice, kind: SubjectKind) -> Callable[..., str]:
    def url(origin: Origin = Origin.CITIZEN, **more: Any) -> str:
        return f"/ratings?{ratings_query(period, part, kind=kind.value, origin=origin.value, **more)}"

    return url


class _Page:
    """One look at the trends, after everything was read."""

    def __init__(self, console: Console, asked: Asked, found: Trend, names: Names) -> None:
        self._rules = console.board_rules
        self.texts = console.texts
        self.asked = asked
        self.found = found
        self._names = names
        by = asked.view.by
        self.rows: Sequence[Row] = in_spans(found.rows) if by is By.DAY else sorted(found.rows, key=self._order)
        self.shown = self.rows if asked.everything or by is By.DAY else self.rows[:LISTED]

    def _order(self, row: Row) -> tuple[Any, ...]:
        """Whose ratings were bad most often comes first, then who was rated most often."""
        counts = row.figures.of(self.asked.kind)
        return (-counts.bad, -counts.rated, -row.figures.response.n, row.key)

    def named(self, key: str) -> str:
        view = self.asked.view
        if view is View.AGENT:
            return self._names.agent(key)
        if view is View.DEPT:
            return self._names.dept(key)
        return self.texts.of("channel", key) if view is View.CHANNEL else key

    def reason(self, code: str) -> str:
        return self._rules.reasons.get(code, code)

    def charts(self) -> list[Chart]:
        asked, by, kind = self.asked, self.asked.view.by, self.asked.kind
        rows = self.rows
        if by is not By.DAY:
            rows = [row for row in self.rows if row.figures.of(kind).rated or row.figures.response.n][:CHARTED]
        rates = [
            satisfactions(rows, asked.period, by, kind, self._rules.satisfied_from, part=asked.part, named=self.named),
            responses(rows, asked.period, by, part=asked.part, named=self.named),
        ]
        return [levels_by_day(rows, kind, asked.part), *rates] if by is By.DAY else rates

    def lines(self) -> list[Line]:
        return [self._line(row) for row in self.shown]

    def _line(self, row: Row) -> Line:
        asked = self.asked
        if asked.view.by is By.DAY:
            span = period_of(row.key)
            then = Figures()
            for day in span.each:
                then += self.found.before.get(day.isoformat(), Figures())
            return self._told(span_label(span), row.figures, then, span, asked.part, None)
        before = self.found.before.get(row.key, Figures())
        value: Any = Channel(row.key) if asked.view is View.CHANNEL else row.key
        told = {asked.view.value: value}
        part = Slice(**{name: told.get(name, getattr(asked.part, name)) for name in Slice.__slots__})
        within = asked.query(by=View.DAY.value, **{asked.view.value: row.key}) if row.key else None
        return self._told(
            self.named(row.key) or self.texts("trends.untold"), row.figures, before, asked.period, part, within
        )

    def whole(self) -> Line:
        asked = self.asked
        name = self.texts("trends.whole")
        return self._told(name, self.found.whole, self.found.whole_before, asked.period, asked.part, None)

    def _told(
        self, name: str, now: Figures, before: Figures, period: Period, part: Slice, within: dict[str, str] | None
    ) -> Line:
        kind = self.asked.kind
        return Line(
            name,
            now,
            now.of(kind),
            before.of(kind),
            now.response,
            before.response,
            _address(period, part, kind),
            within,
        )


def _reason_lines(page: _Page, found: Sequence[Reason], before: Sequence[Reason], none: str) -> list[ReasonLine]:
    asked = page.asked
    then = {one.code: one.n for one in before}
    gone = [Reason(code, 0) for code in then if code not in {one.code for one in found}]
    return [
        ReasonLine(
            none if one.code == NO_REASON else page.reason(one.code),
            one.n,
            then.get(one.code, 0),
            reason_address(one, asked.period, asked.kind, asked.part),
        )
        for one in (*found, *gone)
    ]


def routes(console: Console) -> APIRouter:
    router = APIRouter()

    def drawn(chart: Chart) -> Markup | None:
        """The chart as it stands in a page; None: there is nothing to draw, or it cannot be made now."""
        if console.charts is None or not chart.bars:
            return None
        try:
            return Markup(console.charts.chart(chart).decode())  # noqa: S704 (console/chart_process.py lets nothing else by)
        except ChartFailed:
            return None

    @router.get("/trends")
    def trends(request: Request, me: Annotated[Session, Depends(console.signed_in(*_LOOKERS))]) -> Response:
        day = today(console.clock.now())
        asked = read_asked(request.query_params, day)
        sight = Sight(me.viewer.depts, me.viewer.areas)
        of_reasons = asked.view is View.REASON

        def read(connection: Connection) -> tuple[Trend, Names, list[Reason], list[Reason]]:
            if not me.viewer.sees_record:
                return Trend(asked.period, [], Figures(), Figures()), console.directory.names(connection), [], []
            found = trend(connection, asked.period, asked.view.by, sight, asked.part)
            given: list[list[Reason]] = [
                reasons(connection, period, asked.kind, sight, asked.part) if of_reasons else []
                for period in (asked.period, asked.period.before)
            ]
            return found, console.directory.names(connection), given[0], given[1]

        found, names, now_given, before_given = console.read(read)
        page = _Page(console, asked, found, names)
        charts = [reasons_given(now_given, asked.period, asked.kind, part=asked.part, named=page.reason)]
        if not of_reasons:
            charts = page.charts()
        empty = found.whole == Figures()
        pictures = [] if empty else [(chart.title, drawn(chart)) for chart in charts if chart.bars]
        return console.page(
            request,
            "trends.html",
            here="trends",
            asked=asked,
            views=list(View),
            ranges=list(Range),
            before=asked.period.before,
            satisfied=lambda counts: counts.satisfaction(console.board_rules.satisfied_from),
            pictures=[picture for picture in pictures if picture[1] is not None],
            missing=any(picture is None for _, picture in pictures),
            lines=[] if of_reasons else page.lines(),
            whole=page.whole(),
            default=Origin.DEFAULT,
            rows=len(page.rows),
            reasons=_reason_lines(page, now_given, before_given, console.texts("trends.no_reason")),
            narrowed=[(name, value) for name in Slice.__slots__ if (value := getattr(asked.part, name)) is not None],
            empty=empty,
        )

    return router
