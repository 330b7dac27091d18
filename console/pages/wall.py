"""A wall screen: opened once with its token, which then stands in a cookie and no longer in the address.

The address that an admin hands out has the token behind `#`, which no browser sends and no proxy writes down: a script
puts it into the page's form and sends it, and without a script it can be typed in. `?token=` is understood too.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection
from starlette.responses import Response

from console.board_state import Sight
from console.board_tokens import find_board_token
from console.pages.board import board_values, event_stream
from console.pages.shell import BOARD_COOKIE, Console, Form, NotSignedIn, Refused, plain_form
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
            return opened(request, token)
        if not console.board_secret(request):
            return console.page(request, "wall_door.html")
        try:
            viewer = console.board(request)
        except NotSignedIn:
            return console.page(request, "wall_door.html", status=403)  # revoked; a new token may come
        page = console.page(request, "wall.html", **board_values(console, Sight.of(viewer), shown=_LINES))
        console.set_cookie(page, request, BOARD_COOKIE, console.board_secret(request), _LONGEST)
        return page

    @router.post("/wall")
    def open_wall(request: Request, form: Annotated[Form, Depends(plain_form)]) -> Response:
        return opened(request, form["token"])

    def opened(request: Request, token: str) -> Response:
        if console.read(lambda connection: find_board_token(connection, token)) is None:
            raise Refused(403)
        response = RedirectResponse("/wall", 303)
        console.set_cookie(response, request, BOARD_COOKIE, token, _LONGEST)
        return response

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
