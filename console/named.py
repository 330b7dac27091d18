"""Names where a filter wants a code: `张三`, `张三 (1001)`, `临夏市住建局`; and the names that a form offers.

Rules kept here:

* What a page shows can be typed back: a text that is no code is looked up in the directory, a department's also among
  the newest rows, which have the names that came with the record. A code stays what it is.
* A name of several codes, and one that nobody knows, is a problem of the field, never a list without rows.
* A viewer who does not see everything learns of nobody else by it: a name is theirs where a row of theirs has its code
  (for a department: where it is one of their own). Whether the directory has the others, they cannot tell. A form
  offers them the names of the rows on its page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, false, select

from console.directory import Entry, Names
from console.ratings import Problem, RatingFilters
from console.viewer import Viewer, narrowed
from models.tables import calls, evaluations
from models.terms import Channel

__all__ = ["NEWEST", "OFFERED", "Offered", "offered", "with_codes"]

OFFERED = 200
"""Names of a kind that a form offers."""
NEWEST = 500
"""Rows, the newest, in which a code or a name is looked for, of each channel."""
_TOLD = re.compile(r"(?P<name>.*\S)\s*[(（](?P<code>[^()（）]+)[)）]")
_NAME = re.compile(r"[\u3400-\u9fff]")
e = evaluations.c


@dataclass(frozen=True, slots=True)
class Offered:
    """What a form offers for agents, departments and 班组."""

    agents: tuple[Entry, ...]
    depts: tuple[Entry, ...]
    teams: tuple[str, ...]


def offered(viewer: Viewer, names: Names, rows: Iterable[tuple[str | None, str | None]]) -> Offered:
    """The directory's names for a form.

    Args:
        rows: agent and department of each row on the page: all that somebody is offered who does not see everything,
            beside their own departments.
    """
    if viewer.sees_all:
        return Offered(_some(names.agents, names.agents), _some(names.depts, names.depts), tuple(names.teams))
    shown = list(rows)
    agents = _some(names.agents, (agent for agent, _ in shown))
    depts = _some(names.depts, [*viewer.depts, *(dept for _, dept in shown)])
    return Offered(agents, depts, tuple(sorted({entry.team for entry in agents if entry.team})))


def _some(known: Mapping[str, Entry], codes: Iterable[str | None]) -> tuple[Entry, ...]:
    wanted = sorted({code for code in codes if code and code in known})
    return tuple(known[code] for code in wanted[:OFFERED])


def with_codes(
    connection: Connection, viewer: Viewer, names: Names, filters: RatingFilters
) -> tuple[RatingFilters, dict[str, Problem]]:
    """The filters with codes for names, and what is wrong with them: by field. What is wrong is left out."""
    wrong: dict[str, Problem] = {}
    found: dict[str, Any] = {}
    for field, known in (("agent", names.agents), ("dept", names.depts)):
        told = getattr(filters, field)
        if not told or (viewer.sees_all and told in known):
            continue
        code = _code(connection, viewer, field, known, told)
        if isinstance(code, Problem):
            wrong[field], found[field] = code, None
        elif code != told:
            found[field] = code
    return (replace(filters, **found) if found else filters), wrong


def _code(connection: Connection, viewer: Viewer, field: str, known: Mapping[str, Entry], told: str) -> str | Problem:
    codes = {entry.code for entry in known.values() if entry.name == told}
    if (whole := _TOLD.fullmatch(told)) is not None:
        entry = known.get(whole["code"].strip())
        codes |= {entry.code} if entry is not None and entry.name == whole["name"] else set()
    codes = {code for code in codes if _theirs(connection, viewer, field, code)}
    if not codes:
        # Whoever has a code may ask for its rows: that says nothing about the directory. It may be in Chinese, too.
        if not _NAME.search(told) or _has_row(connection, viewer, field, told):
            return told
        codes = _of_record(connection, viewer, known, told) if field == "dept" else set()
    if len(codes) > 1:
        return Problem.SEVERAL
    return codes.pop() if codes else Problem.NAME


def _theirs(connection: Connection, viewer: Viewer, field: str, code: str) -> bool:
    """Whether a viewer may learn that a name is this code's."""
    if viewer.sees_all:
        return True
    if field == "dept" and viewer.depts:
        return code in viewer.depts
    return _has_row(connection, viewer, field, code)


def _newest(*conditions: ColumnElement[bool]) -> Any:
    """The newest ratings of some, along an index, whosever they are."""
    rows = select(e.dept_code, e.dept_name, e.area_code).where(*conditions)
    return rows.order_by(e.assess_time.desc(), e.id.desc()).limit(NEWEST).subquery().c


def _seen(viewer: Viewer, dept: ColumnElement[Any], area: ColumnElement[Any]) -> ColumnElement[bool]:
    """`visible` of rows that were found already (console/viewer.py)."""
    return narrowed(viewer.depts, viewer.areas, dept, area) if viewer.sees_record else false()


def _has_row(connection: Connection, viewer: Viewer, field: str, code: str) -> bool:
    """Whether one of a code's newest ratings or calls may be seen by a viewer."""
    of_rating, of_call = (e.agent, calls.c.agent) if field == "agent" else (e.dept_code, calls.c.dept)
    mine = []
    for channel in Channel:
        rated = _newest(of_rating == code, e.channel == channel.value)
        mine.append(select(rated.area_code).where(_seen(viewer, rated.dept_code, rated.area_code)))
    newest = select(calls.c.dept, calls.c.area_code).where(of_call == code)
    called = newest.order_by(calls.c.ended_at.desc(), calls.c.subject_id.desc()).limit(NEWEST).subquery().c
    mine.append(select(called.area_code).where(_seen(viewer, called.dept, called.area_code)))
    return any(connection.execute(rows.limit(1)).first() is not None for rows in mine)


def _of_record(connection: Connection, viewer: Viewer, known: Mapping[str, Entry], told: str) -> set[str]:
    """The codes of departments whose name came with the record, where the directory has none for them."""
    newest = [_newest()]
    if viewer.depts:
        newest = [
            _newest(e.dept_code == code, e.channel == channel.value) for code in viewer.depts for channel in Channel
        ]
    found: set[str] = set()
    for rows in newest:
        named = select(rows.dept_code).where(
            rows.dept_name == told, rows.dept_code.is_not(None), _seen(viewer, rows.dept_code, rows.area_code)
        )
        found |= set(connection.execute(named.distinct()).scalars())
    return found - known.keys()
