"""趋势: figures of a range by day, agent, department, queue, channel and reason, beside the range before it.

Rules kept here:

* Every chart stands as a table too, with the same rows; where no chart can be made the table stands alone.
* Every rate has its n and its interval; under five there is none (console/formulas.py).
* A click on a figure or bar leads to the ratings behind it, by the parameters of console/figures.ratings_query; on a
  response rate, to what was asked (console/asked.py). A change between two periods has no rows of its own: both figures
  have theirs.
* A 班组 is the agents that the directory has in it now.
* An address says everything: what cannot be read in one is told, and the week is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy import Connection
from starlette.responses import Response

from console.asked import What, asked_address
from console.board_state import today
from console.charts import Chart
from console.directory import Names
from console.figures import By, Figures, Period, Reason, Row, Sight, Slice, Trend, ratings_query, reasons, trend
from console.formulas import Counts, Rate
from console.pages.pictures import drawn
from console.pages.shell import Console, NavItem
from console.sessions import Session
from console.spans import LONGEST, Range, before_of, days_of, in_spans, period_of, span_label
from console.trend_charts import levels_by_day, reason_address, reasons_given, responses, satisfactions
from console.viewer import ConsoleRole, Viewer
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
    TEAM = "team"
    DEPT = "dept"
    QUEUE = "queue"
    CHANNEL = "channel"
    REASON = "reason"

    @property
    def by(self) -> By:
        """Reasons have a rollup of their own; what stands above them is by day. Teams are made of their agents."""
        if self is View.TEAM:
            return By.AGENT
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
        for name in Slice.__slots__:
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
    for name in ("agent", "team", "queue", "dept", "area"):
        value = params.get(name)
        if value is not None and (len(value) > _LONGEST_CODE or not value.isprintable()):
            wrong, value = True, None
        told[name] = value
    kinds = view.kinds if all(told[name] is None for name in ("agent", "team", "queue")) else By.AGENT.kinds
    if kind not in kinds:
        kind = kinds[0]
    return Asked(view, kinds, kind, period, chosen, Slice(**told), params.get("all") == "1", wrong)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table.

    `url`: the ratings behind it, with more parameters; `url_before`: the same of the period before, `asked`: what was
    asked; `within`: this page, of it alone.
    """

    name: str
    figures: Figures
    counts: Counts
    before: Counts
    response: Rate
    response_before: Rate
    url: Callable[..., str]
    url_before: Callable[..., str]
    asked: str
    within: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ReasonLine:
    name: str
    n: int
    before: int
    url: str
    url_before: str


def _address(period: Period, part: Slice, kind: SubjectKind) -> Callable[..., str]:
    def url(origin: Origin = Origin.CITIZEN, **more: Any) -> str:
        return f"/ratings?{ratings_query(period, part, kind=kind.value, origin=origin.value, **more)}"

    return url


class _Page:
    """One look at the trends, after everything was read."""

    def __init__(self, console: Console, asked: Asked, found: Trend, names: Names, before: Period) -> None:
        self._rules = console.board_rules
        self.texts = console.texts
        self.asked = asked
        self.found = found
        self._names = names
        self._before = before
        by = asked.view.by
        if asked.view is View.TEAM:
            found = replace(found, rows=self._by_team(found.rows), before=self._by_team_before(found.before))
            self.found = found
        self.rows: Sequence[Row] = in_spans(found.rows) if by is By.DAY else sorted(found.rows, key=self._order)
        self.shown = self.rows if asked.everything or by is By.DAY else self.rows[:LISTED]

    def _by_team(self, rows: Sequence[Row]) -> list[Row]:
        return [Row(team, figures) for team, figures in self._by_team_before({r.key: r.figures for r in rows}).items()]

    def _by_team_before(self, agents: Mapping[str, Figures]) -> dict[str, Figures]:
        found: dict[str, Figures] = {}
        for agent, figures in agents.items():
            team = self._names.team(agent)
            found[team] = found.get(team, Figures()) + figures
        return found

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

    def narrowed(self, viewer: Viewer) -> list[tuple[str, str, str]]:
        """The parts that the address asks for: name, value and how it is told. A name is told to who has a figure of it
        here: an address can ask for any code."""
        here = self.found.whole != Figures() or self.found.whole_before != Figures()
        tellers: dict[str, Callable[[str], str]] = {"channel": partial(self.texts.of, "channel")}
        if viewer.sees_all or here:
            tellers |= {"agent": self._names.agent, "dept": self._names.dept}
        return [
            (name, value, tellers.get(name, str)(value) or self.texts("trends.untold"))
            for name in Slice.__slots__
            if (value := getattr(self.asked.part, name)) is not None
        ]

    def reason(self, code: str) -> str:
        return self._rules.reasons.get(code, code)

    def charts(self) -> list[Chart]:
        asked, by, kind = self.asked, self.asked.view.by, self.asked.kind
        rows = self.rows
        if by is not By.DAY:
            rows = [row for row in self.rows if row.figures.of(kind).rated or row.figures.response.n][:CHARTED]
        told = View.TEAM.value if asked.view is View.TEAM else by.value
        rates = [
            satisfactions(
                rows, asked.period, told, kind, self._rules.satisfied_from, part=asked.part, named=self.named
            ),
            responses(rows, asked.period, told, part=asked.part, named=self.named),
        ]
        return [levels_by_day(rows, kind, asked.part), *rates] if by is By.DAY else rates

    def lines(self) -> list[Line]:
        return [self._line(row) for row in self.shown]

    def _line(self, row: Row) -> Line:
        asked = self.asked
        if asked.view.by is By.DAY:
            span = period_of(row.key)
            then = Figures()
            then_span = self._then(span)
            for day in span.each:
                then += self.found.before.get(day.isoformat(), Figures())
            return self._told(span_label(span), row.figures, then, span, then_span, asked.part, None)
        before = self.found.before.get(row.key, Figures())
        value: Any = Channel(row.key) if asked.view is View.CHANNEL else row.key
        told = {asked.view.value: value}
        part = Slice(**{name: told.get(name, getattr(asked.part, name)) for name in Slice.__slots__})
        # What is within a team is its agents; within another one, its days.
        view = View.AGENT if asked.view is View.TEAM else View.DAY
        within = asked.query(by=view.value, **{asked.view.value: row.key}) if row.key else None
        untold = self.texts("trends.no_team") if asked.view is View.TEAM else self.texts("trends.untold")
        name = self.named(row.key) or untold
        return self._told(name, row.figures, before, asked.period, self._before, part, within)

    def _then(self, span: Period) -> Period | None:
        """The same days of the period before; None: it has none of them."""
        first = self._before.first + (span.first - self.asked.period.first)
        last = min(first + timedelta(days=span.days - 1), self._before.last)
        return Period(first, last) if first <= last else None

    def whole(self) -> Line:
        asked = self.asked
        name = self.texts("trends.whole")
        found = self.found
        return self._told(name, found.whole, found.whole_before, asked.period, self._before, asked.part, None)

    def _told(
        self,
        name: str,
        now: Figures,
        before: Figures,
        period: Period,
        then: Period | None,
        part: Slice,
        within: dict[str, str] | None,
    ) -> Line:
        kind = self.asked.kind
        # Agents and queues are figures of calls: their sum is, too.
        call_alone = {"kind": SubjectKind.CALL.value} if self.asked.view.kinds == By.AGENT.kinds else {}
        return Line(
            name,
            now,
            now.of(kind),
            before.of(kind),
            now.response,
            before.response,
            _address(period, part, kind),
            _address(then or self._before, part, kind),
            asked_address(What.ASKED, period, part, **call_alone),
            within,
        )


def _reason_lines(
    page: _Page, found: Sequence[Reason], before: Sequence[Reason], period_before: Period, none: str
) -> list[ReasonLine]:
    asked = page.asked
    then = {one.code: one.n for one in before}
    gone = [Reason(code, 0) for code in then if code not in {one.code for one in found}]
    return [
        ReasonLine(
            none if one.code == NO_REASON else page.reason(one.code),
            one.n,
            then.get(one.code, 0),
            reason_address(one, asked.period, asked.kind, asked.part),
            reason_address(one, period_before, asked.kind, asked.part),
        )
        for one in (*found, *gone)
    ]


def routes(console: Console) -> APIRouter:
    router = APIRouter()

    @router.get("/trends")
    def trends(request: Request, me: Annotated[Session, Depends(console.signed_in(*_LOOKERS))]) -> Response:
        day = today(console.clock.now())
        asked = read_asked(request.query_params, day)
        sight = Sight(me.viewer.depts, me.viewer.areas)
        of_reasons = asked.view is View.REASON
        before = before_of(asked.period, asked.chosen, day)

        def read(connection: Connection) -> tuple[Trend, Names, list[Reason], list[Reason]]:
            if not me.viewer.sees_record:
                return Trend(asked.period, [], Figures(), Figures()), console.directory.names(connection), [], []
            found = trend(connection, asked.period, asked.view.by, sight, asked.part, before=before.period)
            given: list[list[Reason]] = [
                reasons(connection, period, asked.kind, sight, asked.part) if of_reasons else []
                for period in (asked.period, before.period)
            ]
            return found, console.directory.names(connection), given[0], given[1]

        found, names, now_given, before_given = console.read(read)
        page = _Page(console, asked, found, names, before.period)
        charts = [reasons_given(now_given, asked.period, asked.kind, part=asked.part, named=page.reason)]
        if not of_reasons:
            charts = page.charts()
        empty = found.whole == Figures()
        pictures = [] if empty else [(chart.title, drawn(console, chart)) for chart in charts if chart.bars]
        return console.page(
            request,
            "trends.html",
            here="trends",
            asked=asked,
            views=list(View),
            ranges=list(Range),
            before=before,
            satisfied=lambda counts: counts.satisfaction(console.board_rules.satisfied_from),
            pictures=[picture for picture in pictures if picture[1] is not None],
            missing=any(picture is None for _, picture in pictures),
            lines=[] if of_reasons else page.lines(),
            whole=page.whole(),
            default=Origin.DEFAULT,
            satisfied_from=console.board_rules.satisfied_from,
            rows=len(page.rows),
            reasons=_reason_lines(page, now_given, before_given, before.period, console.texts("trends.no_reason")),
            narrowed=page.narrowed(me.viewer),
            empty=empty,
        )

    return router
