"""报表: a day or a quarter, to be read and printed."""

from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from console.figures import Period, Slice, ratings_query
from console.pages.ratings import READERS, today_of
from console.pages.shell import Console, NavItem, Refused
from console.reports import month, quarter, quarter_name, read_report
from console.sessions import Session
from models.terms import Channel, SubjectKind

__all__ = ["NAV", "routes"]

NAV = (NavItem("reports", "/reports/day", READERS, 50),)
_FIRST, _LAST = date(2000, 1, 1), date(2199, 12, 31)


def routes(console: Console) -> APIRouter:
    router = APIRouter()
    Reader = Annotated[Session, Depends(console.signed_in(*READERS))]  # noqa: N806 (a type)

    def page(request: Request, me: Session, period: Period, **more: Any) -> Response:
        report = console.read(
            lambda connection: read_report(connection, me.viewer, console.directory.names(connection), period)
        )
        if report is None:
            raise Refused(404)

        def address(by: str, key: str, **wanted: Any) -> str:
            """The rows behind a figure of a line; `by` empty: of the whole."""
            if by == "month":
                return f"/ratings?{ratings_query(month(key), **wanted)}"
            named: dict[str, Any] = {by: Channel(key) if by == "channel" else key} if by else {}
            return f"/ratings?{ratings_query(period, Slice(**named), **wanted)}"

        return console.page(
            request,
            "report.html",
            here="reports",
            report=report,
            satisfied_from=console.ratings.satisfied_from,
            reasons=console.ratings.reasons,
            kinds=tuple(SubjectKind),
            address=address,
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
