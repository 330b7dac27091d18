"""报表: a day or a quarter, to be read and printed: charts first, each bar a link, then the same figures as tables."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from console.asked import What, asked_address
from console.charts import Chart
from console.figures import WHOLE, By, Figures, Period, Row, ratings_query
from console.pages.pictures import drawn
from console.pages.ratings import READERS, today_of
from console.pages.shell import Console, NavItem, Refused
from console.reports import Line, Report, quarter, quarter_name, read_report
from console.sessions import Session
from console.spans import in_spans
from console.trend_charts import levels_by_day, levels_by_hour, responses, satisfactions
from models.terms import SubjectKind

__all__ = ["NAV", "routes"]

NAV = (NavItem("reports", "/reports/day", READERS, 50),)
_CHARTED = ("dept", "team")
_BARS = 20
"""Lines of a table that have a bar."""
_FIRST, _LAST = date(2000, 1, 1), date(2199, 12, 31)


def _charts(console: Console, report: Report) -> list[Chart]:
    """The ratings of the day by hour or of the quarter by week, then rates: those of the tables' first lines."""
    charts = []
    empty = len(report.days)
    while empty and report.days[empty - 1].figures == Figures():
        empty -= 1  # what has not come yet
    spans = in_spans(report.days[:empty])
    for kind in SubjectKind:
        if report.period.days == 1:
            chart = levels_by_hour(report.hours, kind, report.period.first)
        else:
            chart = levels_by_day(spans, kind)
        if any(bar.value for bar in chart.bars):
            charts.append(_of(console, chart, kind, ""))
    for table in report.tables:
        kind = table.kinds[0]
        if table.by not in _CHARTED:
            continue
        lines = [line for line in table.lines if line.figures.of(kind).rated][:_BARS]
        rows = [Row(getattr(line.part, table.by), line.figures) for line in lines]
        named = {row.key: line.name for row, line in zip(rows, lines, strict=True)}
        satisfied_from = console.ratings.satisfied_from
        chart = satisfactions(rows, report.period, table.by, kind, satisfied_from, named=named.__getitem__)
        charts.append(_of(console, chart, kind, console.texts.of("by", table.by)))
    if report.period.days > 1 and report.whole.response.n:
        charts.append(responses(spans, report.period, By.DAY))
    return charts


def _of(console: Console, chart: Chart, kind: SubjectKind, by: str) -> Chart:
    return replace(chart, title="，".join(filter(None, (chart.title, by, console.texts.of("kind", kind)))))


def routes(console: Console) -> APIRouter:
    router = APIRouter()
    Reader = Annotated[Session, Depends(console.signed_in(*READERS))]  # noqa: N806 (a type)

    def page(request: Request, me: Session, period: Period, **more: Any) -> Response:
        report = console.read(
            lambda connection: read_report(connection, me.viewer, console.directory.names(connection), period)
        )
        if report is None:
            raise Refused(404)

        def address(line: Line | None, **wanted: Any) -> str:
            """The ratings behind a line; None: behind the whole."""
            days, part = (period, WHOLE) if line is None else (line.period, line.part)
            return f"/ratings?{ratings_query(days, part, **wanted)}"

        def asked(line: Line | None, what: str, **wanted: Any) -> str:
            """The calls or invitations behind a line; None: behind the whole."""
            days, part = (period, WHOLE) if line is None else (line.period, line.part)
            return asked_address(What(what), days, part, **wanted)

        pictures = [(chart.title, drawn(console, chart)) for chart in _charts(console, report) if chart.bars]
        return console.page(
            request,
            "report.html",
            here="reports",
            report=report,
            satisfied_from=console.ratings.satisfied_from,
            reasons=console.ratings.reasons,
            kinds=tuple(SubjectKind),
            address=address,
            asked=asked,
            pictures=[one for one in pictures if one[1] is not None],
            missing=any(picture is None for _, picture in pictures),
            today=today_of(console),
            this_quarter=quarter_name(today_of(console)),
            **more,
        )

    @router.get("/reports")
    def reports(_me: Reader) -> Response:
        return RedirectResponse("/reports/day", 303)

    @router.get("/reports/day")
    def of_day(request: Request, me: Reader) -> Response:
        text = request.query_params.get("date", "").strip()
        try:
            day = date.fromisoformat(text) if text else today_of(console)
        except ValueError:
            raise Refused(400) from None
        if not _FIRST < day < _LAST:
            raise Refused(400)
        return page(
            request,
            me,
            Period(day, day),
            is_day=True,
            shown=day.isoformat(),
            before=f"/reports/day?date={day - timedelta(days=1)}",
            after=f"/reports/day?date={day + timedelta(days=1)}",
        )

    @router.get("/reports/quarter")
    def of_quarter(request: Request, me: Reader) -> Response:
        text = request.query_params.get("q", "").strip() or quarter_name(today_of(console))
        period = quarter(text)
        if period is None:
            raise Refused(400)
        return page(
            request,
            me,
            period,
            is_day=False,
            shown=text,
            before=f"/reports/quarter?q={quarter_name(period.first - timedelta(days=1))}",
            after=f"/reports/quarter?q={quarter_name(period.last + timedelta(days=1))}",
        )

    return router
