"""A wall screen: opened once with its token in the address, which then stands in a cookie and no longer there."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from console.board_tokens import find_board_token
from console.pages.board import todays_levels
from console.pages.shell import BOARD_COOKIE, Console, NotSignedIn, Refused

__all__ = ["routes"]

_LONGEST = 399 * 86400
"""Seconds; browsers keep a cookie no longer than 400 days. Each look at the wall begins anew."""


def routes(console: Console) -> APIRouter:
    router = APIRouter()

    @router.get("/wall")
    def wall(request: Request) -> Response:
        token = request.query_params.get("token", "")
        if token:
            if console.read(lambda connection: find_board_token(connection, token)) is None:
                raise Refused(403)
            response: Response = RedirectResponse("/wall", 303)
            console.set_cookie(response, request, BOARD_COOKIE, token, _LONGEST)
            return response
        try:
            viewer = console.board(request)
        except NotSignedIn:
            raise Refused(403) from None  # nobody stands before it who could log in
        counts = console.read(lambda connection: todays_levels(connection, viewer, console.clock.now()))
        page = console.page(request, "wall.html", counts=counts, total=sum(counts.values()))
        console.set_cookie(page, request, BOARD_COOKIE, console.board_secret(request), _LONGEST)
        return page

    return router
