"""来电与邀请: the rows behind 通话, 邀请评价, 按键评价 and 参评率, with their filters in the address."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection
from starlette.responses import Response

from console.asked import COUNTED, AskedFilters, AskedPage, What, asked_page, count_asked, read_asked_filters
from console.directory import Names
from console.masking import mask_words
from console.named import offered, with_codes
from console.pages.ratings import READERS, today_of
from console.pages.shell import Console
from console.ratings import Problem, RatingFilters
from console.sessions import Session
from console.viewer import Viewer
from models.terms import Channel

__all__ = ["routes"]

_FIELDS = ("from", "to", "agent", "team", "queue", "dept", "area")
_ROWS = 50


def routes(console: Console) -> APIRouter:
    router = APIRouter()

    def coded(
        viewer: Viewer, filters: AskedFilters, wrong: dict[str, Problem]
    ) -> tuple[AskedFilters, dict[str, Problem]]:
        """With codes where names were typed."""

        def read(connection: Connection) -> tuple[RatingFilters, dict[str, Problem]]:
            return with_codes(connection, viewer, console.directory.names(connection), filters.part)

        part, unknown = console.read(read)
        return replace(filters, part=part), wrong | unknown

    @router.get("/asked")
    def asked(request: Request, me: Annotated[Session, Depends(console.signed_in(*READERS))]) -> Response:
        params, today = request.query_params, today_of(console)
        if params.get("form") == "1":
            # A form sends every field; the address that people keep has those that say something.
            kept = [(name, value) for name, value in params.multi_items() if value.strip() and name != "form"]
            wanted, wrong = coded(me.viewer, *read_asked_filters(kept, today))
            if not wrong:
                return RedirectResponse(f"/asked?{wanted.query()}", 303)
        filters, wrong = coded(me.viewer, *read_asked_filters(params.multi_items(), today))
        part, cursor = filters.part, params.get("cursor")
        raw = {name: params.get(name, "")[:200] for name in _FIELDS}
        if not part.told and "from" not in wrong and "to" not in wrong:
            raw["from"], raw["to"] = f"{part.first}", f"{part.last}"
        raw |= {name: "-" for name in _FIELDS[2:] if getattr(part, name) == "" and name in params}

        def read(connection: Connection) -> tuple[AskedPage, int | None, Names]:
            names = console.directory.names(connection)
            if wrong:
                return AskedPage([], None, None), None, names
            page = asked_page(connection, me.viewer, filters, cursor, _ROWS)
            count = None
            if not cursor:
                count = len(page.rows) if page.cursor is None else count_asked(connection, me.viewer, filters)
            return page, count, names

        page, count, names = console.read(read)
        return console.page(
            request,
            "asked.html",
            status=422 if wrong else 200,
            here="ratings",
            filters=filters,
            part=part,
            choice=list(What),
            raw=raw,
            wrong=wrong,
            page=page,
            count=count,
            counted=COUNTED,
            begun=bool(cursor),
            channels=[Channel.KEYPAD, Channel.SMS],
            names=names,
            offered=offered(me.viewer, names, ((row.agent, row.dept) for row in page.rows)),
            words_of=mask_words,
        )

    return router
