"""导出: a filtered view of the ratings as a file, streamed from a child process (console/exports.py).

Rules kept here:

* Every export stands in the audit before its first byte: who, which filters, which form, with or without whole numbers,
  why; and again when it has ended, with its rows, or broken off. No number stands there.
* Whole numbers are for supervisors who say why.
* An export ends when nobody waits for it, from its first moment on, and when its user is disabled or narrowed.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from console.auditing import Action, note
from console.exports import (
    Ended,
    Export,
    ExportFailed,
    ExportFormat,
    ExportJob,
    ExportsBusy,
    ExportUnderWay,
    ExportUnwanted,
)
from console.pages.ratings import READERS, tail_hash, today_of
from console.pages.shell import Console, Form, Refused, Unavailable
from console.pages.streamed import Streamed
from console.people import find_user
from console.ratings import RatingFilters, read_filters
from console.reveal import LONGEST_REASON, SHORTEST_REASON
from console.sessions import Session
from console.viewer import ConsoleRole
from models.clock import SHANGHAI
from models.door import Unit

__all__ = ["routes", "told_filters"]

_LONGEST_QUERY = 4000
_MOST_FIELDS = 100
LOOK = 0.5
"""Seconds between two looks whether somebody still waits for the first byte."""
CHECK = 10.0
"""Seconds between two looks whether they still may."""


def told_filters(filters: RatingFilters) -> str:
    """The filters as the audit keeps them: of the last four digits only that they were asked for."""
    told = [(name, "****" if name == "tail" else value) for name, value in filters.pairs(told=True)]
    return " ".join(f"{name}={value}" for name, value in told)


def routes(console: Console) -> APIRouter:
    router = APIRouter()

    def write_down(session: Session, action: Action, detail: str, words: str = "") -> None:
        now = console.clock.now()

        def down(unit: Unit) -> None:
            note(unit, now, session.viewer.actor, action, detail=detail, words=words or None)

        console.write(down)

    @router.post("/ratings/export")
    async def export(request: Request, form: Annotated[Form, Depends(console.form(*READERS))]) -> Response:
        session: Session = request.state.session
        viewer = session.viewer
        desk = console.ratings.exports
        query = form.raw("query")
        if len(query) > _LONGEST_QUERY or form["format"] not in set(ExportFormat):
            raise Refused(400)
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise Refused(400) from None
        filters, wrong = read_filters(pairs, today_of(console))
        if wrong:
            raise Refused(400)
        kind = ExportFormat(form["format"])
        full = form["full"] == "1"
        reason = form["reason"]
        if full and viewer.role is not ConsoleRole.SUPERVISOR:
            raise Refused(403)

        def refuse(status: int, problem: str) -> Response:
            return console.page(
                request,
                "export.html",
                status=status,
                here="ratings",
                problem=problem,
                query=filters.query(),
                shortest=SHORTEST_REASON,
            )

        if full and not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
            return await run_in_threadpool(refuse, 422, "reason")
        if desk is None:
            return await run_in_threadpool(refuse, 503, "failed")
        told = f"{kind.value} {'full' if full else 'masked'}"
        # A filter that somebody typed may hold a number; the words of a reason, too: both are masked.
        await run_in_threadpool(
            write_down,
            session,
            Action.EXPORTED,
            told,
            " · ".join(filter(None, (told_filters(filters), reason if full else ""))),
        )
        tail = tail_hash(console, filters)
        job = ExportJob(
            filters.pairs(told=True),
            today_of(console).isoformat(),
            tail.hex() if tail is not None else "",
            (viewer.name, viewer.role.value, viewer.depts, viewer.areas),
            kind,
            full,
        )
        try:
            started = await desk.start(job, lambda: unwanted(request, session))
        except ExportsBusy as busy:
            await run_in_threadpool(write_down, session, Action.EXPORT_ENDED, f"{told} busy")
            return await run_in_threadpool(refuse, 503, "own" if isinstance(busy, ExportUnderWay) else "busy")
        except ExportUnwanted:
            await run_in_threadpool(write_down, session, Action.EXPORT_ENDED, f"{told} broken off")
            raise Refused(403) from None  # read by whoever may no longer have it; else there is nobody to read it
        except ExportFailed:
            await run_in_threadpool(write_down, session, Action.EXPORT_ENDED, f"{told} failed")
            return await run_in_threadpool(refuse, 503, "failed")

        async def body() -> AsyncGenerator[bytes, None]:
            try:
                async with aclosing(started.chunks(lambda: unwanted(None, session))) as chunks:
                    async for some in chunks:
                        yield some
            finally:
                ended(session, f"{told} {_how(started)}")

        moment = f"{console.clock.now().astimezone(SHANGHAI):%Y%m%d-%H%M%S}"
        name, plain = console.texts("export.file", moment=moment, form=kind.value), f"huiyin-{moment}.{kind.value}"
        disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
        return Streamed(body(), kind.media_type, {"Content-Disposition": disposition})

    async def unwanted(request: Request | None, session: Session) -> None:
        """Comes to its end when the browser is away, or its user may not see what they saw when they asked.

        `request`: None where the answer has begun; then the server sees to that."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while request is None or not await request.is_disconnected():
            await asyncio.sleep(min(LOOK, CHECK))
            if loop.time() - looked >= CHECK:
                looked = loop.time()
                if not await run_in_threadpool(allowed, session):
                    return

    def allowed(session: Session) -> bool:
        """A session that is over ends no download: who waits for a long one does nothing meanwhile."""
        try:
            user = console.read(lambda connection: find_user(connection, session.viewer.name))
        except Unavailable:
            return True  # the child has a connection of its own, and fails by itself
        return user is not None and user.disabled_at is None and user.viewer == session.viewer

    def ended(session: Session, detail: str) -> None:
        """Whoever went away is being cancelled: the row is queued, not waited for."""
        now = console.clock.now()
        console.door.write(lambda unit: note(unit, now, session.viewer.actor, Action.EXPORT_ENDED, detail=detail))

    return router


def _how(export: Export) -> str:
    if export.ended is None:
        return "broken off"
    return f"{export.rows} rows" + ("" if export.ended is Ended.WHOLE else f", limit of {export.ended.value}")
