"""今日看板: the board, its stream, and what people do on it. Wall screens have theirs in console/pages/wall.py."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from sqlalchemy import Connection
from starlette.responses import Response

from console.bad_ratings import SHOWN, MarkSeen, lines_of_board
from console.board_state import Sight
from console.live import read_shown
from console.pages.shell import ANYBODY, Console, Form, NavItem, Refused, by_script, own_path
from console.pages.streamed import Streamed
from console.positions import read_edge, read_epoch, write_cursor
from console.sessions import Session, still_open, touch, watching_touch
from console.viewer import ConsoleRole
from intake.calendars import StoredCalendar
from intake.pauses import AcceptJump

__all__ = ["NAV", "board_values", "event_stream", "routes"]

_LOOKERS = (ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT)
NAV = (NavItem("board", "/", _LOOKERS, 10),)
_SUBJECT, _NUMBER = re.compile(r"[0-9a-f]{32}"), re.compile(r"[1-9][0-9]{0,3}")
_days = StoredCalendar()


def board_values(console: Console, sight: Sight, csrf: str = "", shown: int = SHOWN) -> dict[str, Any]:
    """What a board's template is given, and the place in the feed up to which it tells."""

    def read(connection: Connection) -> dict[str, Any]:
        # The place first: what is committed meanwhile is told by the stream once more.
        cursor = write_cursor(read_epoch(connection), read_edge(connection))
        state = read_shown(connection, console.clock, sight, console.board_rules, _days)
        day = state.day
        lines = lines_of_board(connection, sight.viewer, day, shown, today_alone=sight.is_wall)
        names = console.directory.names(connection)
        parts = console.parts.parts(sight, state, csrf)
        # Made by our own templates, which escape whatever stands in the record.
        return {
            "cursor": cursor,
            "parts": {name: Markup(text) for name, text in parts.items()},  # noqa: S704
            "lines": [Markup(console.parts.line(sight, one, names, csrf)) for one in lines],  # noqa: S704
            "most": shown,
            "today": day.isoformat(),
            "urgent": state.machinery is not None and bool(state.machinery.alarms or state.machinery.jump),
        }

    return console.read(read)


def event_stream(
    console: Console,
    request: Request,
    sight: Sight,
    may_look: Callable[[Connection], bool],
    session: bytes | None = None,
) -> Streamed:
    """Server-sent events of a sight. A browser that comes back says where it was (Last-Event-ID)."""
    cursor = request.headers.get("last-event-id") or request.query_params.get("after")
    events = console.live.stream(sight, cursor, may_look, session)
    # A proxy that gathers would hold an event back (X-Accel-Buffering is nginx's word for it).
    return Streamed(events, "text/event-stream", {"X-Accel-Buffering": "no"})


def routes(console: Console) -> APIRouter:
    router = APIRouter()

    @router.get("/")
    def board(request: Request, me: Annotated[Session, Depends(console.signed_in(*ANYBODY))]) -> Response:
        home = console.home_of(me.viewer)
        if home != "/":
            return RedirectResponse(home, 303)
        return console.page(request, "board.html", here="board", **board_values(console, Sight.of(me.viewer), me.csrf))

    @router.get("/live")
    async def live(request: Request, me: Annotated[Session, Depends(console.signed_in(*_LOOKERS))]) -> Response:
        touched = me.seen_at

        def may_look(connection: Connection) -> bool:
            nonlocal touched
            now = console.clock.now()
            found = still_open(connection, now, me, console.rules)
            if found is None or found.viewer != me.viewer:
                return False
            touched = max(touched, found.seen_at)
            if now - touched >= watching_touch(console.rules):
                touched, used = now, found
                console.door.write(lambda unit: touch(unit, now, used))
            return True

        return event_stream(console, request, Sight.of(me.viewer), may_look, me.token_hash)

    @router.post("/board/seen")
    def seen(
        request: Request,
        me: Annotated[Session, Depends(console.signed_in(*_LOOKERS))],
        form: Annotated[Form, Depends(console.form(*_LOOKERS))],
    ) -> Response:
        subject, number = form["subject"], form["number"]
        if not _SUBJECT.fullmatch(subject) or not _NUMBER.fullmatch(number):
            raise Refused(400)
        mark = MarkSeen(me.viewer, subject, int(number), form["note"], console.clock.now())
        if not console.submit(mark):
            raise Refused(404)
        if by_script(request):
            return Response(status_code=204)  # nothing but this says that it is stored
        return RedirectResponse(own_path(form["back"] or "/") or "/", 303)

    @router.post("/board/jump")
    def jump(
        me: Annotated[Session, Depends(console.signed_in(ConsoleRole.SUPERVISOR))],
        _form: Annotated[Form, Depends(console.form(ConsoleRole.SUPERVISOR))],
    ) -> Response:
        console.submit(AcceptJump(me.viewer.actor, console.clock.now()))
        return RedirectResponse("/", 303)

    return router
