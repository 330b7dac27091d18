"""A wall screen: opened once with its token in the address, which then stands in a cookie and no longer there."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection
from starlette.responses import Response

from console.board_state import Sight
from console.board_tokens import find_board_token
from console.pages.board import board_values, event_stream
from console.pages.shell import BOARD_COOKIE, Console, NotSignedIn, Refused
from console.viewer import Viewer

__all__ = ["routes"]

_LONGEST = 399 * 86400
"""Seconds; browsers keep a cookie no longer than 400 days. Each look at the wall begins anew."""
_LINES = 8


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
        page = console.page(request, "wall.html", **board_values(console, Sight.of(viewer), shown=_LINES))
        console.set_cookie(page, request, BOARD_COOKIE, console.board_secret(request), _LONGEST)
        return page

    def looking(request: Request) -> Viewer:
        try:
            return console.board(request)
        except NotSignedIn:
            raise Refused(403) from None

    @router.get("/wall/live")
    async def live(request: Request, viewer: Viewer = Depends(looking)) -> Response:  # noqa: B008 (FastAPI's way)
        secret = console.board_secret(request)

        def may_look(connection: Connection) -> bool:
            found = find_board_token(connection, secret)
            return found is not None and found.viewer == viewer

        return event_stream(console, request, Sight.of(viewer), may_look)

    return router
