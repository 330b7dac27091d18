"""评价: the list of ratings with its filters, all of them in the address, and what a person looks for by a number."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection
from starlette.responses import Response

from console.masking import mask_words
from console.named import offered, with_codes
from console.pages.shell import Console, NavItem
from console.ratings import (
    COUNTED,
    FOUND_MOST,
    Found,
    Problem,
    RatingFilters,
    RatingsPage,
    Sort,
    count_ratings,
    find_subjects,
    ratings_page,
    read_filters,
)
from console.sessions import Session
from console.viewer import ConsoleRole, Viewer
from models.clock import SHANGHAI

__all__ = ["NAV", "PRESETS", "READERS", "filters_of", "presets", "routes", "tail_hash", "today_of"]

READERS = (ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT)
NAV = (NavItem("ratings", "/ratings", READERS, 20),)
PRESETS = ("today", "yesterday", "week", "month", "last_quarter", "days")
_FIELDS = ("from", "to", "q", "tail", "agent", "team", "queue", "dept", "area")
_ROWS = 50
_TAIL = 4


def today_of(console: Console) -> date:
    """Today in Shanghai."""
    return console.clock.now().astimezone(SHANGHAI).date()


def quarter_of(day: date) -> tuple[date, date]:
    """The first and the last day of a day's quarter."""
    first = date(day.year, day.month - (day.month - 1) % 3, 1)
    after = date(first.year + first.month // 10, (first.month + 2) % 12 + 1, 1)
    return first, after - timedelta(days=1)


def presets(today: date) -> dict[str, tuple[date, date] | None]:
    """One click each: the first and the last day; None: the range that nobody has to ask for."""
    last_quarter = quarter_of(quarter_of(today)[0] - timedelta(days=1))
    return {
        "today": (today, today),
        "yesterday": (today - timedelta(days=1), today - timedelta(days=1)),
        "week": (today - timedelta(days=today.weekday()), today),
        "month": (today.replace(day=1), today),
        "last_quarter": last_quarter,
        "days": None,
    }


def tail_hash(console: Console, filters: RatingFilters) -> bytes | None:
    """The keyed hash by which the last four digits are found; None: not asked for."""
    return console.keyring.tail(filters.tail) if filters.tail else None


def filters_of(console: Console, request: Request) -> tuple[RatingFilters, dict[str, Problem]]:
    return read_filters(request.query_params.multi_items(), today_of(console))


def _chips(filters: RatingFilters, today: date) -> list[dict[str, Any]]:
    chips = []
    for name, days in presets(today).items():
        if days is None:
            changed = replace(filters, told=False, first=None, last=None, hour=None)
            current = not filters.told and not filters.number
        else:
            changed = replace(filters, told=True, first=days[0], last=days[1], hour=None)
            current = filters.told and (filters.first, filters.last) == days
        chips.append({"name": name, "query": changed.query(), "current": current})
    return chips


def _sorts(filters: RatingFilters) -> Mapping[str, tuple[str, str]]:
    """Where a click on a column's heading leads: the query, and how it is sorted now (for aria-sort)."""
    time_to = Sort.OLDEST if filters.sort is Sort.NEWEST else Sort.NEWEST
    level_to = Sort.BEST if filters.sort is Sort.WORST else Sort.WORST
    now_time = {Sort.NEWEST: "descending", Sort.OLDEST: "ascending"}.get(filters.sort, "none")
    now_level = {Sort.WORST: "ascending", Sort.BEST: "descending"}.get(filters.sort, "none")
    return {
        "time": (filters.query(sort=time_to), now_time),
        "level": (filters.query(sort=level_to), now_level),
    }


def routes(console: Console) -> APIRouter:
    router = APIRouter()
    Reader = Annotated[Session, Depends(console.signed_in(*READERS))]  # noqa: N806 (a type)

    @router.get("/ratings")
    def ratings(request: Request, me: Reader) -> Response:
        params = request.query_params
        asked = params.multi_items()
        by_form = params.get("form") == "1"
        if by_form:
            # A form sends every field; the address that people keep has those that say something.
            dropped = {"form", "hour_of"}
            if not params.get("from") == params.get("to") == params.get("hour_of"):
                dropped.add("hour")  # it was of the day that the page showed, and another range is wanted
            asked = [(name, value) for name, value in asked if value.strip() and name not in dropped]
        filters, wrong = read_filters(asked, today_of(console))
        viewer, today = me.viewer, today_of(console)
        names = console.read(console.directory.names)
        filters, unknown = console.read(lambda connection: with_codes(connection, viewer, names, filters))
        wrong |= unknown
        if by_form and not wrong:
            return RedirectResponse(f"/ratings?{filters.query()}", 303)
        raw = {name: params.get(name, "")[:200] for name in _FIELDS}
        if not filters.told and not filters.number and "from" not in wrong and "to" not in wrong:
            raw["from"], raw["to"] = f"{filters.first}", f"{filters.last}"
        raw |= {
            name: "-"
            for name in ("agent", "team", "queue", "dept", "area")
            if getattr(filters, name) == "" and name in params
        }
        cursor = params.get("cursor")
        shown: dict[str, Any] = {"page": RatingsPage([], None, None), "count": None, "waiting": [], "of_newest": None}
        if not wrong:
            shown = console.read(lambda connection: _look(console, connection, viewer, filters, cursor))
        return console.page(
            request,
            "ratings.html",
            status=422 if wrong else 200,
            here="ratings",
            filters=filters,
            raw=raw,
            wrong=wrong,
            chips=_chips(filters, today),
            sorts=_sorts(filters),
            names=names,
            offered=offered(viewer, names, ((one.row.agent, one.row.dept_code) for one in shown["page"].rows)),
            counted=COUNTED,
            begun=bool(cursor),
            reasons=console.ratings.reasons,
            words_of=mask_words,
            may_export=console.ratings.exports is not None,
            may_unmask=viewer.role is ConsoleRole.SUPERVISOR,
            **shown,
        )

    @router.get("/find")
    def find(request: Request, me: Reader) -> Response:
        wanted = " ".join(request.query_params.get("q", "").split())[:200]
        wanted = "".join(sign for sign in wanted if sign.isprintable())
        found: list[Found] = []
        if wanted:
            is_tail = len(wanted) == _TAIL and wanted.isascii() and wanted.isdecimal()
            tail = console.keyring.tail(wanted) if is_tail else None
            found = console.read(lambda connection: find_subjects(connection, me.viewer, wanted, tail))
        if len(found) == 1:
            return RedirectResponse(f"/cases/{found[0].subject_id}", 303)
        names = console.read(console.directory.names)
        return console.page(
            request,
            "find.html",
            here="ratings",
            wanted=mask_words(wanted),
            found=found,
            names=names,
            words_of=mask_words,
            most=FOUND_MOST,
        )

    return router


def _look(
    console: Console, connection: Connection, viewer: Viewer, filters: RatingFilters, cursor: str | None
) -> dict[str, Any]:
    tail = tail_hash(console, filters)
    page = ratings_page(connection, viewer, filters, cursor, _ROWS, tail=tail)
    count = None
    if not cursor:
        count = len(page.rows) if page.cursor is None else count_ratings(connection, viewer, filters, tail=tail)
    waiting: list[Found] = []
    of_newest = None
    if (filters.number or filters.tail) and not cursor:
        # What was looked for and is not rated yet is not a row of the list, and must not look as if it did not exist.
        found = find_subjects(connection, viewer, filters.number, tail if not filters.number else None)
        waiting = [one for one in found if one.satisfaction is None]
        of_newest = len(found) if len(found) >= FOUND_MOST else None
    return {"page": page, "count": count, "waiting": waiting, "of_newest": of_newest}
