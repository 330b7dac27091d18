"""What is behind 通话, 邀请评价 and 参评率: the calls with an agent, and the invitations that were asked, one a row.

Rules kept here:

* A row is here if and only if the figures count it (models/recount.py): a call by the day of its end, an invitation by
  the day of its first asking, each for the agent, queue, department and area that it counts for. So the rows of a
  figure's address are as many as the figure says.
* Every query carries what the viewer may see: a call by `visible`, an invitation by the department and area that it
  counts for, as its figure does. What it asked about is named only where `visible` says so: where none of it may be
  seen, the row is there without number, level and story.
* A page goes on from the last row of the one before it. An agent or a department leads by its own index, else the time;
  of rows a page looks at `SCAN` (`SCAN_BY_TIME` neighbours in time) at most. It may then hold less than asked for and
  still have a next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from console.directory import in_team, team_agents
from console.figures import WHOLE, Period, Slice
from console.ratings import Problem, RatingFilters, read_filters
from console.viewer import Viewer, narrowed, visible
from models.tables import Id, UtcTime, calls, cases, evaluations, invitation_members, invitations
from models.terms import CallOutcome, Channel, SubjectKind

__all__ = [
    "COUNTED",
    "SCAN",
    "SCAN_BY_TIME",
    "AskedFilters",
    "AskedPage",
    "AskedRow",
    "What",
    "asked_address",
    "asked_page",
    "count_asked",
    "read_asked_filters",
]

SCAN = 300
"""Rows of an agent or a department that a page looks at where it looks for some of them alone."""
SCAN_BY_TIME = 5_000
COUNTED = 500
"""Up to here the rows of a view are counted."""
_MOST_BRANCHES = 12
_MEMBERS = 5
"""Cases of a batch that are looked at for one that may be shown."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"(\d{1,18})\.([0-9a-f]{32})", re.A)
_NAMES = frozenset({"from", "to", "hour", "channel", "kind", "agent", "queue", "dept", "area", "team"})


class What(StrEnum):
    """Which rows: calls, or invitations. Each is a measure of the figures, but `UNRATED`: asked and not responded."""

    CALLS = "calls"
    OFFERED = "offered"
    ANSWERED = "answered"
    ASKED = "asked"
    RESPONDED = "responded"
    UNRATED = "unrated"

    @property
    def of_calls(self) -> bool:
        return self in (What.CALLS, What.OFFERED, What.ANSWERED)


@dataclass(frozen=True, slots=True)
class AskedFilters:
    """What is wanted. `part`: of the ratings list's filters, those that calls and invitations have, too."""

    what: What = What.ASKED
    part: RatingFilters = field(default_factory=RatingFilters)

    def query(self, cursor: str | None = None, what: What | None = None) -> str:
        """The address's query; reading it gives the same filters."""
        pairs = [("what", (what or self.what).value), *self.part.pairs()]
        if cursor:
            pairs.append(("cursor", cursor))
        return urlencode(pairs)


def read_asked_filters(pairs: Iterable[tuple[str, str]], today: date) -> tuple[AskedFilters, dict[str, Problem]]:
    """The filters of an address's names and values, and what is wrong with it: by name. What is wrong is left out."""
    given = list(pairs)
    part, wrong = read_filters([(name, value) for name, value in given if name in _NAMES], today)
    what = What.ASKED
    for name, value in given:
        if name == "what" and value:
            try:
                what = What(value)
            except ValueError:
                wrong["what"] = Problem.CHOICE
    return AskedFilters(what, part), wrong


def asked_address(what: What, period: Period, part: Slice = WHOLE, **more: str | int) -> str:
    """Where the rows behind a figure are; `more`: `kind`, `hour`."""
    named: dict[str, str | int] = {
        "what": what.value,
        "from": period.first.isoformat(),
        "to": period.last.isoformat(),
    }
    for name in Slice.__slots__:
        value = getattr(part, name)
        if value is not None:
            named[name] = value
    return f"/asked?{urlencode(named | more)}"


@dataclass(frozen=True, slots=True)
class AskedRow:
    """A call, or an invitation.

    `number`, `title`: of its call or (first) case, empty where they may not be seen; `members`: how many it asks about;
    `word`: a call's outcome, an invitation's state; `level`, `origin`: what stands as its rating now.
    """

    id: str
    at: datetime
    kind: SubjectKind
    channel: Channel
    agent: str | None
    queue: str | None
    dept: str | None
    area: str | None
    word: str
    rated: bool
    subject_id: str | None
    number: str = ""
    title: str | None = None
    members: int = 1
    level: int | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class AskedPage:
    """`cursor`: of the next page; None: there is none. `looked_to`: what is older was not looked at, though the page is
    not full."""

    rows: list[AskedRow]
    cursor: str | None
    looked_to: datetime | None


# ── how a page is found ───────────────────────────────────────────────────────────────────────────────────────────────

_CALLS = select(
    calls.c.subject_id.label("id"),
    calls.c.ended_at.label("at"),
    calls.c.agent,
    calls.c.queue,
    calls.c.dept,
    calls.c.area_code.label("area"),
    calls.c.outcome.label("word"),
    literal(SubjectKind.CALL.value).label("kind"),
    literal(None).label("asked_by"),
    literal(None).label("responded_at"),
)
_INVITATIONS = select(
    invitations.c.id,
    invitations.c.first_asked_at.label("at"),
    invitations.c.asked_agent.label("agent"),
    invitations.c.asked_queue.label("queue"),
    invitations.c.asked_dept.label("dept"),
    invitations.c.asked_area.label("area"),
    invitations.c.state.label("word"),
    func.coalesce(invitations.c.asked_kind, invitations.c.kind).label("kind"),
    invitations.c.asked_by,
    invitations.c.responded_at,
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """`leads`: disjoint beginnings, each an index in the order of time; `inside`: true of nearly every row there;
    `outside`: looked at in the rows, of which `scan` a lead are looked at."""

    rows: Select[Any]
    at: ColumnElement[Any]
    id: ColumnElement[Any]
    leads: Sequence[ColumnElement[bool]]
    inside: Sequence[ColumnElement[bool]]
    outside: Sequence[ColumnElement[bool]]
    scan: int


def _equal(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    return column == value if value else or_(column.is_(None), column == "")


def _plan(connection: Connection, viewer: Viewer, filters: AskedFilters) -> _Plan:
    part, what = filters.part, filters.what
    if what.of_calls:
        rows, at, row_id = _CALLS, calls.c.ended_at, calls.c.subject_id
        of: Any = calls.c
        column = {"agent": of.agent, "queue": of.queue, "dept": of.dept, "area": of.area_code}
    else:
        rows, at, row_id = _INVITATIONS, invitations.c.first_asked_at, invitations.c.id
        column = {name: invitations.c[f"asked_{name}"] for name in ("agent", "queue", "dept", "area")}
    inside: list[ColumnElement[bool]] = [at.is_not(None)]
    if part.start is not None:
        inside.append(at >= part.start)
    if part.end is not None:
        inside.append(at < part.end)
    outside = _wanted(filters)
    named = {
        name: _equal(column[name], value)
        for name in ("agent", "dept", "queue", "area")
        if (value := getattr(part, name)) is not None
    }
    of_team: list[ColumnElement[bool]] = []
    if part.team:
        agents = team_agents(connection, part.team)
        if len(agents) <= _MOST_BRANCHES:
            of_team = [column["agent"] == agent for agent in agents] or [false()]
        else:
            outside.append(column["agent"].in_(agents))
    elif part.team is not None:
        outside.append(in_team(column["agent"], part.team))
    own: list[ColumnElement[bool]] = []
    if not viewer.sees_all:
        own.append(narrowed(viewer.depts, viewer.areas, column["dept"], column["area"]))
        if what.of_calls:
            own.append(visible(viewer, calls))
    scan = SCAN
    leads: Sequence[ColumnElement[bool]]
    if "agent" in named:
        leads = [named.pop("agent")]
    elif of_team:
        leads, of_team = of_team, []
    elif "dept" in named:
        leads = [named.pop("dept")]
    elif 0 < len(viewer.depts) <= _MOST_BRANCHES and not viewer.areas:
        leads, own = [column["dept"] == dept for dept in viewer.depts], []
    else:
        leads, scan = [true()], SCAN_BY_TIME
    if of_team:
        outside.append(or_(*of_team))
    outside += [*named.values(), *own]
    return _Plan(rows, at, row_id, leads, inside, outside, max(60, scan // len(leads)))


def _wanted(filters: AskedFilters) -> list[ColumnElement[bool]]:
    """What of the rows is counted: by the same words as models/rollups.py."""
    part, what = filters.part, filters.what
    call_alone = any(value is not None for value in (part.agent, part.queue, part.team))
    found: list[ColumnElement[bool]] = []
    if call_alone and part.kind is SubjectKind.CASE:
        found.append(false())  # a case has no agent in the figures
    if what.of_calls:
        if part.kind is SubjectKind.CASE or part.channel not in (None, Channel.KEYPAD):
            found.append(false())
        if what is What.OFFERED:
            found.append(calls.c.outcome != CallOutcome.NOT_OFFERED.value)
        elif what is What.ANSWERED:
            found.append(calls.c.outcome == CallOutcome.RATED.value)
        return found
    about = invitations.c
    kind = SubjectKind.CALL if call_alone else part.kind
    if kind is not None:
        found.append(func.coalesce(about.asked_kind, about.kind) == kind.value)
    if part.channel is Channel.SMS:
        found.append(about.asked_by == Channel.SMS.value)
    elif part.channel is Channel.KEYPAD:
        found.append(about.asked_by.is_distinct_from(Channel.SMS.value))
    elif part.channel is not None:
        found.append(false())
    if what is What.RESPONDED:
        found.append(about.responded_at.is_not(None))
    elif what is What.UNRATED:
        found.append(about.responded_at.is_(None))
    return found


def _behind(plan: _Plan, place: tuple[datetime, str] | None) -> list[ColumnElement[bool]]:
    if place is None:
        return []
    there = tuple_(literal(place[0], UtcTime()), literal(place[1], Id()))
    # The time alone, too, so that every planner sees a range of the index.
    return [plan.at <= place[0], tuple_(plan.at, plan.id) < there]


def _scanned(plan: _Plan, place: tuple[datetime, str] | None, most: int) -> Any:
    """The newest rows of each lead, `most` of one; with what is looked at in them."""
    looked: list[Any] = [condition.label(f"fits_{nth}") for nth, condition in enumerate(plan.outside)]
    parts = [
        plan.rows.add_columns(*looked)
        .where(lead, *plan.inside, *_behind(plan, place))
        .order_by(plan.at.desc(), plan.id.desc())
        .limit(most)
        .subquery()
        for lead in plan.leads
    ]
    return parts[0] if len(parts) == 1 else union_all(*(select(one) for one in parts)).subquery("scanned")


def _fits(plan: _Plan, scanned: Any) -> list[ColumnElement[bool]]:
    return [scanned.c[f"fits_{nth}"].is_(True) for nth in range(len(plan.outside))]


def _frontier(connection: Connection, plan: _Plan, place: tuple[datetime, str] | None) -> tuple[datetime, str] | None:
    """How far every lead was looked at; None: to its end."""
    ends = []
    for lead in plan.leads:
        statement = (
            select(plan.at.label("at"), plan.id.label("id"))
            .where(lead, *plan.inside, *_behind(plan, place))
            .order_by(plan.at.desc(), plan.id.desc())
            .offset(plan.scan - 1)
            .limit(1)
        )
        if (row := connection.execute(statement).first()) is not None:
            ends.append((row.at, row.id))
    return max(ends, default=None)


def _read_cursor(cursor: str | None) -> tuple[datetime, str] | None:
    """A cursor that is none of ours is the beginning."""
    match = _CURSOR.fullmatch(cursor or "")
    if match is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=int(match[1])), match[2]
    except OverflowError:
        return None


def _write_cursor(at: datetime, row_id: str) -> str:
    return f"{(at - _EPOCH) // timedelta(microseconds=1)}.{row_id}"


def _plan_each(connection: Connection) -> None:
    """PostgreSQL plans with the values it is given: whether one is rare decides which index is best."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")


def asked_page(
    connection: Connection, viewer: Viewer, filters: AskedFilters, cursor: str | None = None, limit: int = 50
) -> AskedPage:
    """A page of the list, newest first."""
    if not viewer.sees_record:
        return AskedPage([], None, None)
    _plan_each(connection)
    plan = _plan(connection, viewer, filters)
    place = _read_cursor(cursor)
    scanned = _scanned(plan, place, plan.scan if plan.outside else limit + 1)
    statement = select(scanned).where(*_fits(plan, scanned)).order_by(scanned.c.at.desc(), scanned.c.id.desc())
    found = list(connection.execute(statement.limit(limit + 1)))
    frontier = None
    if plan.outside and (len(found) <= limit or len(plan.leads) > 1):
        frontier = _frontier(connection, plan, place)
        if frontier is not None:
            found = [row for row in found if (row.at, row.id) >= frontier]
    rows = _named(connection, viewer, filters.what, found[:limit])
    if len(found) > limit:
        last = found[limit - 1]
        return AskedPage(rows, _write_cursor(last.at, last.id), None)
    if frontier is not None:
        return AskedPage(rows, _write_cursor(*frontier), frontier[0])
    return AskedPage(rows, None, None)


def count_asked(connection: Connection, viewer: Viewer, filters: AskedFilters) -> int | None:
    """How many rows a view has; COUNTED + 1: more; None: not known without looking at too many."""
    if not viewer.sees_record:
        return 0
    plan = _plan(connection, viewer, filters)
    if not plan.outside:
        scanned = _scanned(plan, None, COUNTED + 1)
        some = select(literal(1).label("one")).select_from(scanned).limit(COUNTED + 1).subquery()
        return int(connection.execute(select(func.count()).select_from(some)).scalar_one())
    scanned = _scanned(plan, None, plan.scan)
    fits = case((and_(true(), *_fits(plan, scanned)), 1), else_=0)
    looked = select(func.count().label("all"), func.sum(fits).label("fitting")).select_from(scanned)
    row = connection.execute(looked).one()
    fitting = int(row.fitting or 0)
    if fitting > COUNTED:
        return COUNTED + 1
    # Fewer than `scan` were looked at only where every lead came to its end.
    return fitting if row.all < plan.scan else None


# ── what the rows are called ──────────────────────────────────────────────────────────────────────────────────────────


def _named(connection: Connection, viewer: Viewer, what: What, found: Sequence[Any]) -> list[AskedRow]:
    about, members = _subjects(connection, what, [row.id for row in found])
    wanted = sorted({subject for subjects in about.values() for subject in subjects})
    names = _names(connection, viewer, wanted)
    levels = _levels(connection, viewer, wanted)
    rows = []
    for row in found:
        # A call with its case is called by its call.
        seen = sorted((one for one in about[row.id] if one in names), key=lambda one: (names[one][1], one))
        subject = seen[0] if seen else None
        level = next((levels[one] for one in seen if one in levels), None)
        rows.append(
            AskedRow(
                row.id,
                row.at,
                SubjectKind(row.kind),
                Channel.SMS if row.asked_by == Channel.SMS.value else Channel.KEYPAD,
                row.agent,
                row.queue,
                row.dept,
                row.area,
                row.word,
                row.word == CallOutcome.RATED.value if what.of_calls else row.responded_at is not None,
                subject,
                names[subject][0] if subject else "",
                names[subject][2] if subject else None,
                members.get(row.id, 1),
                None if level is None else level[0],
                None if level is None else level[1],
            )
        )
    return rows


def _subjects(connection: Connection, what: What, ids: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, int]]:
    """What each row is about, a few of its subjects, and how many there are."""
    if what.of_calls:
        return {one: [one] for one in ids}, {}
    about: dict[str, list[str]] = {one: [] for one in ids}
    members: dict[str, int] = {}
    if not ids:
        return about, members
    of = invitation_members.c
    ranked = (
        select(
            of.invitation_id,
            of.subject_id,
            func.row_number().over(partition_by=of.invitation_id, order_by=of.subject_id).label("place"),
            func.count().over(partition_by=of.invitation_id).label("members"),
        )
        .where(of.invitation_id.in_(ids))
        .subquery()
    )
    for row in connection.execute(select(ranked).where(ranked.c.place <= _MEMBERS)):
        about[row.invitation_id].append(row.subject_id)
        members[row.invitation_id] = row.members
    return about, members


def _names(connection: Connection, viewer: Viewer, subjects: Sequence[str]) -> dict[str, tuple[str, int, str | None]]:
    """Number, order and title of the calls and cases that the viewer may see."""
    if not subjects:
        return {}
    of_calls = select(calls.c.subject_id, calls.c.call_key).where(
        calls.c.subject_id.in_(subjects), visible(viewer, calls)
    )
    found: dict[str, tuple[str, int, str | None]] = {
        row.subject_id: (row.call_key, 0, None) for row in connection.execute(of_calls)
    }
    of_cases = select(cases.c.subject_id, cases.c.case_no, cases.c.title).where(
        cases.c.subject_id.in_(subjects), visible(viewer, cases)
    )
    return found | {row.subject_id: (row.case_no, 1, row.title) for row in connection.execute(of_cases)}


def _levels(connection: Connection, viewer: Viewer, subjects: Sequence[str]) -> dict[str, tuple[int, str]]:
    if not subjects:
        return {}
    of = evaluations.c
    statement = select(of.subject_id, of.satisfaction, of.origin).where(
        of.subject_id.in_(subjects), of.effective, visible(viewer, evaluations)
    )
    return {row.subject_id: (row.satisfaction, row.origin) for row in connection.execute(statement)}
