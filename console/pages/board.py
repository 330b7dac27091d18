"""The first page: today's ratings by level."""

from datetime import datetime, time
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection, func, select
from starlette.responses import Response

from console.pages.shell import ANYBODY, Console, NavItem
from console.sessions import Session
from console.viewer import ConsoleRole, Viewer, visible
from models.clock import SHANGHAI
from models.tables import evaluations
from models.terms import Origin, Satisfaction

__all__ = ["NAV", "routes", "todays_levels"]

NAV = (NavItem("board", "/", (ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT), 10),)


def todays_levels(connection: Connection, viewer: Viewer, now: datetime) -> dict[Satisfaction, int]:
    """Effective evaluations of citizens since midnight in Shanghai, by level; every level is there."""
    midnight = datetime.combine(now.astimezone(SHANGHAI).date(), time(), SHANGHAI)
    rows = connection.execute(
        select(evaluations.c.satisfaction, func.count())
        .where(
            visible(viewer, evaluations),
            evaluations.c.effective,
            evaluations.c.origin == Origin.CITIZEN.value,
            evaluations.c.assess_time >= midnight,
        )
        .group_by(evaluations.c.satisfaction)
    )
    found = {Satisfaction(level): count for level, count in rows}
    return {level: found.get(level, 0) for level in sorted(Satisfaction, reverse=True)}


def routes(console: Console) -> APIRouter:
    router = APIRouter()

    @router.get("/")
    def board(request: Request, me: Annotated[Session, Depends(console.signed_in(*ANYBODY))]) -> Response:
        home = console.home_of(me.viewer)
        if home != "/":
            return RedirectResponse(home, 303)
        counts = console.read(lambda connection: todays_levels(connection, me.viewer, console.clock.now()))
        return console.page(request, "board.html", here="board", counts=counts, total=sum(counts.values()))

    return router
