"""The list of ratings: filters as an address tells them, and pages that stay quick over ten million rows.

Rules kept here:

* A page goes on from the last row of the one before it (its time and id), never by counting from the beginning.
* One filter leads, and the channel with it: an index holds their rows in the order of time (models/tables.py), so a
  page has a branch for each channel. What no channel of a filter has is so known at once. The other filters are looked
  at in the index where they stand in it, else in the rows. Of these a page looks at `SCAN` at most, or at
  `SCAN_BY_TIME` neighbours where only time leads: it may then hold less than asked for and still have a next one.
* What nobody has seen is looked for among the bad ratings, whose index holds every other filter.
* Of the last four digits many calls and cases may be found: a page looks at the newest `TAIL_MOST` of them, in its
  order, and goes on with the older ones when these are all shown. It says where the others begin: nothing is left out.
* By level is level after level, each in the order of time; so it is as quick as a filter by level.
* A 班组 is the agents that the directory has in it now.
* What the centre did not adopt (不予采纳) is in no figure: `counted` leaves it out, or shows it alone.
* A default's channel is `system`, a citizen's never is (docs/data-model.md): a filter by origin is one by channel.
* Every query carries `visible(viewer, table)`. A filter that cannot be right is told, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, or_, select, true, tuple_, union_all
from sqlalchemy.sql.util import ClauseAdapter

from console.bad_ratings import IS_BAD
from console.directory import in_team
from console.viewer import Viewer, visible, visible_among
from models.clock import SHANGHAI
from models.tables import Id, UtcTime, call_keys, calls, case_keys, cases, evaluations, seen
from models.terms import Adoption, Channel, Origin, Satisfaction, SubjectKind

__all__ = [
    "COUNTED",
    "DEFAULT_DAYS",
    "FOUND_MOST",
    "SCAN",
    "SCAN_BY_TIME",
    "SCAN_UNSEEN",
    "TAIL_MOST",
    "Counted",
    "Found",
    "Listed",
    "Problem",
    "RatingFilters",
    "RatingsPage",
    "Sort",
    "count_ratings",
    "find_subjects",
    "list_statement",
    "position_cursor",
    "ratings_page",
    "read_filters",
    "subjects_of_tail",
]

DEFAULT_DAYS = 30
SCAN = 800
"""Rows that a page looks at where another filter than the leading one has to be read from the rows."""
SCAN_BY_TIME = 10_000
SCAN_UNSEEN = 300
"""The same where for each row it is looked up whether somebody has seen it."""
TAIL_MOST = 300
"""Calls and cases of one tail that a page looks at, the newest that were not looked at yet."""
FOUND_MOST = 50
"""Calls and cases that a search by number or tail finds, newest first, rated or not."""
COUNTED = 500
"""Up to here the rows of a view are counted."""
_LONGEST = 200
_MOST_DEPTS = 12
_MOST_BRANCHES = 36
_LEAST_SCAN = 24
_FEW = 2_000
"""More evaluations than a number or TAIL_MOST calls and cases have."""
_LATEST = timedelta(days=60)
"""A case that comes in after its deadline has a default of before; none has one of longer before."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
_ID = re.compile(r"[0-9a-f]{32}")
_CURSOR = re.compile(r"([0-5])\.(\d{1,18})\.([0-9a-f]{32})(?:\.([0-9a-f]{32}))?", re.A)
_TAIL = re.compile(r"\d{4}", re.A)
_CODE = re.compile(r"[0-9A-Za-z]{1,16}", re.A)
_CITIZEN = (Channel.KEYPAD, Channel.SMS)
e = evaluations.c


class Sort(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"
    WORST = "worst"
    BEST = "best"

    @property
    def by_level(self) -> bool:
        return self in (Sort.WORST, Sort.BEST)


class Counted(StrEnum):
    """Whether the figures count a row: effective and not 不予采纳; `NO`: effective, and 不予采纳."""

    YES = "yes"
    NO = "no"


class Problem(StrEnum):
    """Why a filter cannot be used; the page has the words."""

    DAY = "day"
    ORDER = "order"
    HOUR = "hour"
    CHOICE = "choice"
    TAIL = "tail"
    LONG = "long"
    SIGNS = "signs"
    NAME = "name"
    SEVERAL = "several"


@dataclass(frozen=True, slots=True)
class RatingFilters:
    """What is wanted. None and empty: whatever; an empty text for agent, team, queue, dept, area or reason: not told.

    `first`, `last`: days in Asia/Shanghai, both in it; `hour`: of each only this one (of a single day).
    `told`: the range was asked for; otherwise it is the last days up to today.
    `unseen`: bad ratings of citizens that stand and that nobody has marked as seen.
    """

    first: date | None = None
    last: date | None = None
    told: bool = True
    hour: int | None = None
    levels: tuple[Satisfaction, ...] = ()
    channel: Channel | None = None
    origin: Origin | None = None
    kind: SubjectKind | None = None
    agent: str | None = None
    team: str | None = None
    queue: str | None = None
    dept: str | None = None
    area: str | None = None
    number: str = ""
    tail: str = ""
    reason: str | None = None
    counted: Counted | None = None
    superseded: bool = False
    unseen: bool = False
    sort: Sort = Sort.NEWEST

    @property
    def start(self) -> datetime | None:
        return None if self.first is None else _at(self.first, self.hour or 0)

    @property
    def end(self) -> datetime | None:
        if self.last is None:
            return None
        return _at(self.last, self.hour + 1) if self.hour is not None else _at(self.last + timedelta(days=1), 0)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels that are left by `channel` and `origin`."""
        of_origin = {None: tuple(Channel), Origin.DEFAULT: (Channel.SYSTEM,), Origin.CITIZEN: _CITIZEN}[self.origin]
        return tuple(channel for channel in of_origin if self.channel in (None, channel))

    def pairs(self, **changed: Any) -> list[tuple[str, str]]:
        """The address's query as names and values; `changed`: fields of ours to change before."""
        it = replace(self, **changed) if changed else self
        found: list[tuple[str, str]] = []
        if it.told:
            found += [(name, day.isoformat()) for name, day in (("from", it.first), ("to", it.last)) if day is not None]
        if it.hour is not None:
            found.append(("hour", str(it.hour)))
        found += [("satisfaction", str(level.value)) for level in it.levels]
        for name in ("channel", "origin", "kind", "agent", "team", "queue", "dept", "area", "reason", "counted"):
            value = getattr(it, name)
            if value is not None:
                found.append((name, str(value)))
        found += [(name, value) for name, value in (("q", it.number), ("tail", it.tail)) if value]
        if it.superseded:
            found.append(("all", "1"))
        if it.unseen:
            found.append(("unseen", "1"))
        if it.sort is not Sort.NEWEST:
            found.append(("sort", it.sort.value))
        return found

    def query(self, cursor: str | None = None, **changed: Any) -> str:
        """The address's query; reading it gives the same filters."""
        pairs = self.pairs(**changed)
        if cursor:
            pairs.append(("cursor", cursor))
        return urlencode(pairs)


def _at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI) + timedelta(hours=hour)


# ── from an address ───────────────────────────────────────────────────────────────────────────────────────────────────


def read_filters(pairs: Iterable[tuple[str, str]], today: date) -> tuple[RatingFilters, dict[str, Problem]]:
    """The filters of an address's names and values, and what is wrong with it: by name. What is wrong is left out."""
    wrong: dict[str, Problem] = {}
    params: dict[str, list[str]] = {}
    for one, given in pairs:
        params.setdefault(one, []).append(given)

    def plain(name: str) -> str | None:
        if name not in params:
            return None
        value = params[name][-1].strip()
        if len(value) > _LONGEST:
            wrong[name] = Problem.LONG
            return None
        if any(ord(sign) < 32 or 0xD800 <= ord(sign) < 0xE000 for sign in value):
            wrong[name] = Problem.SIGNS
            return None
        return value

    def day(name: str) -> date | None:
        value = plain(name)
        if not value:
            return None
        try:
            found = date.fromisoformat(value)
        except ValueError:
            found = date.min
        if not _FIRST_DAY <= found <= _LAST_DAY:
            wrong[name] = Problem.DAY
            return None
        return found

    def choice(name: str, enum: type[StrEnum]) -> Any:
        value = plain(name)
        if not value:
            return None
        try:
            return enum(value)
        except ValueError:
            wrong[name] = Problem.CHOICE
            return None

    def code(name: str) -> str | None:
        value = plain(name)
        return "" if value == "-" else value

    first, last = day("from"), day("to")
    if first is not None and last is not None and last < first:
        wrong["to"] = Problem.ORDER
        last = None
    number, tail = plain("q") or "", plain("tail") or ""
    if tail and not _TAIL.fullmatch(tail):
        wrong["tail"] = Problem.TAIL
        tail = ""
    told = first is not None or last is not None
    if not told and not number:
        first, last = today - timedelta(days=DEFAULT_DAYS - 1), today
    hour: int | None = None
    if asked := plain("hour"):
        if re.fullmatch(r"\d{1,2}", asked, re.A) and int(asked) < 24 and told and first == last:
            hour = int(asked)
        else:
            wrong["hour"] = Problem.HOUR
    levels: set[Satisfaction] = set()
    for given in params.get("satisfaction", [])[:20]:
        for part in given[:_LONGEST].split(","):
            if re.fullmatch(r"[1-5]", part.strip(), re.A):
                levels.add(Satisfaction(int(part)))
            elif part.strip():
                wrong["satisfaction"] = Problem.CHOICE
    reason = code("reason")
    if reason and not _CODE.fullmatch(reason):
        wrong["reason"] = Problem.CHOICE
        reason = None
    counted: Counted | None = choice("counted", Counted)
    return (
        RatingFilters(
            first=first,
            last=last,
            told=told or bool(number),
            hour=hour,
            levels=tuple(sorted(levels)) if len(levels) < len(Satisfaction) else (),
            channel=choice("channel", Channel),
            origin=choice("origin", Origin),
            kind=choice("kind", SubjectKind),
            agent=code("agent"),
            team=code("team"),
            queue=code("queue"),
            dept=code("dept"),
            area=code("area"),
            number=number,
            tail=tail,
            reason=reason,
            counted=counted,
            superseded=counted is None and params.get("all", [""])[-1] == "1",  # no figure counts these
            unseen=params.get("unseen", [""])[-1] == "1",
            sort=choice("sort", Sort) or Sort.NEWEST,
        ),
        wrong,
    )


# ── how a page is found ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Place:
    """Behind which row a page begins; `at` None: at the beginning of the level."""

    at: datetime | None
    id: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    """`leads`: disjoint beginnings, each an index in the order of time; `inside`: looked at in the index, or true of
    nearly every row; `outside`: looked at in the rows. `scan` 0: few rows in any case, of a single lead. `null`: the
    leads' column where one of them is that it is null: PostgreSQL sees an index's order then only where it is named."""

    leads: Sequence[ColumnElement[bool]]
    inside: Sequence[ColumnElement[bool]]
    outside: Sequence[ColumnElement[bool]]
    scan: int
    null: ColumnElement[Any] | None = None

    def order(self, newest: bool) -> list[Any]:
        """Of the rows of one lead."""
        by_time = _order(e, newest)
        if self.null is None:
            return by_time
        return [self.null.desc() if newest else self.null, *by_time]


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of the list: an evaluation, and what its call or case is called."""

    row: Any
    number: str
    title: str | None


@dataclass(frozen=True, slots=True)
class RatingsPage:
    """`cursor`: of the next page; None: there is none. `looked_to`: what is older (newer) was not looked at, though the
    page is not full. `subjects_from`: of the tail's calls and cases older ones than this come on later pages."""

    rows: list[Listed]
    cursor: str | None
    looked_to: datetime | None
    subjects_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Subjects:
    """Some calls and cases whose rows are looked for. `below`: they are found again below this id, whatever comes in
    meanwhile; `rest`: older ones than this are left; None: there are none."""

    ids: Sequence[str]
    below: str | None = None
    rest: str | None = None


def _equal(column: ColumnElement[Any], value: str) -> list[ColumnElement[bool]]:
    """Disjoint conditions, each of which an index serves in the order of time."""
    return [column == value] if value else [column.is_(None), column == ""]


def _plan(
    viewer: Viewer,
    filters: RatingFilters,
    levels: Sequence[Satisfaction],
    subjects: _Subjects | None,
    most: int | None = None,
) -> _Plan:
    inside: list[ColumnElement[bool]] = []
    outside: list[ColumnElement[bool]] = []
    if filters.start is not None:
        inside.append(e.assess_time >= filters.start)
    if filters.end is not None:
        inside.append(e.assess_time < filters.end)
    if not filters.superseded and not filters.unseen:
        inside.append(e.effective)
    if not viewer.sees_all:
        # Where what leads is a department of the viewer's, this is true of every row; bad ratings have it in the index.
        led = not viewer.areas and len(viewer.depts) <= _MOST_DEPTS and filters.agent is None
        led = led and (filters.dept is None or filters.dept in viewer.depts)
        if filters.unseen:
            inside.append(visible_among(viewer))
        else:
            (inside if led else outside).append(visible(viewer, evaluations))
    if filters.origin is not None and not filters.unseen:
        inside.append(e.origin == filters.origin.value)
    if filters.unseen:
        # The index of the bad ratings has those of citizens alone.
        levels = [level for level in levels if level.is_bad and filters.origin is not Origin.DEFAULT]
        outside.append(~select(seen.c.rating_id).where(seen.c.rating_id == e.rating_id).exists())
    if filters.counted is Counted.YES:
        inside.append(e.adoption.is_distinct_from(Adoption.NOT_ADOPTED.value))
    elif filters.counted is Counted.NO:
        outside.append(e.adoption == Adoption.NOT_ADOPTED.value)
    if filters.kind is not None:
        outside.append(e.subject_kind == filters.kind.value)
    if filters.reason is not None:
        outside.append(_with_reason(filters.reason))
    if filters.team is not None:
        outside.append(in_team(e.agent, filters.team))
    channels = filters.channels
    of_level: list[ColumnElement[bool]] = [e.satisfaction == level.value for level in levels]
    of_channel: list[ColumnElement[bool]] = [e.channel == channel.value for channel in channels]
    some_levels = len(levels) < len(Satisfaction)
    named = {
        name: _equal(column, value)
        for name, column, value in (
            ("agent", e.agent, filters.agent),
            ("dept", e.dept_code, filters.dept),
            ("queue", e.queue, filters.queue),
            ("area", e.area_code, filters.area),
        )
        if value is not None
    }
    scan = SCAN
    leads: Sequence[ColumnElement[bool]]
    if subjects is not None or filters.number:
        of = _subjects_of_number(viewer, filters.number) if subjects is None else subjects.ids
        if filters.unseen:
            inside += [e.effective, e.origin == Origin.CITIZEN.value]  # the tail leads, not the bad ratings
        outside += [
            e.satisfaction.in_([level.value for level in levels]),
            e.channel.in_([one.value for one in channels]),
        ]
        outside += [or_(*each) for each in named.values()]
        return _Plan([e.subject_id.in_(of)], inside, outside, 0)
    if filters.unseen:
        # The index of the bad ratings holds whatever else is asked for.
        if len(levels) == 1:
            inside.append(e.satisfaction == levels[0].value)
        # A citizen's channel is one of two; a list of them would have PostgreSQL sort the whole range.
        theirs = [channel for channel in channels if channel is not Channel.SYSTEM]
        if len(theirs) == 1:
            inside.append(e.channel == theirs[0].value)
        inside += [or_(*each) for each in named.values()]
        return _Plan([IS_BAD] if levels and theirs else [], inside, outside, SCAN_UNSEEN)
    null: ColumnElement[Any] | None = None
    bad = some_levels and all(level.is_bad for level in levels)
    if "agent" in named:
        leads, null = named.pop("agent"), None if filters.agent else e.agent
    elif "dept" in named:
        leads, null = named.pop("dept"), None if filters.dept else e.dept_code
    elif 0 < len(viewer.depts) <= _MOST_DEPTS:
        leads = [e.dept_code == dept for dept in viewer.depts]
    elif bad or (some_levels and not named):
        leads, some_levels = of_level, False
        # Few among many: these stand in the index, too. What is not told is two values, for which it is of no use.
        # As ranges, so that their own indexes, which have the order of time too, do not look as good.
        for name, column, value in (("queue", e.queue, filters.queue), ("area", e.area_code, filters.area)):
            if bad and value:
                del named[name]
                inside += [column >= value, column <= value]
    elif "queue" in named:
        leads, null = named.pop("queue"), None if filters.queue else e.queue
    elif "area" in named:
        leads, null = named.pop("area"), None if filters.area else e.area_code
    elif len(channels) < len(Channel):
        leads = [true()]
    else:
        leads, scan, of_channel = [true()], SCAN_BY_TIME, [true()]
    # One of several is a branch for each: not every PostgreSQL keeps an index's order where a list stands.
    leads = [and_(lead, one) for lead in leads for one in of_channel]
    if some_levels:
        runs = _runs(levels)
        if len(leads) * len(runs) <= _MOST_BRANCHES:
            leads = [and_(lead, one) for lead in leads for one in runs]
        else:
            outside.append(or_(*runs))
    outside += [or_(*each) for each in named.values()]
    return _Plan(leads, inside, outside, max(_LEAST_SCAN, (most or scan) // max(len(leads), 1)), null)


def _runs(levels: Sequence[Satisfaction]) -> list[ColumnElement[bool]]:
    """Levels as ranges of neighbours. A range is looked at in the index that leads; of one level alone a planner may
    think that its own index is better, and go through all that have it."""
    runs: list[list[int]] = []
    for level in sorted(level.value for level in levels):
        if runs and runs[-1][-1] == level - 1:
            runs[-1].append(level)
        else:
            runs.append([level])
    return [and_(e.satisfaction >= run[0], e.satisfaction <= run[-1]) for run in runs]


def _with_reason(code: str) -> ColumnElement[bool]:
    if not code:
        return and_(e.satisfaction <= Satisfaction.DISSATISFIED.value, func.coalesce(e.reasons, "") == "")
    return ("," + e.reasons + ",").contains(f",{code},", autoescape=True)


def _subjects_of(
    connection: Connection, viewer: Viewer, filters: RatingFilters, tail: bytes | None, below: str | None = None
) -> _Subjects | None:
    """The calls and cases of a tail (and a number): the newest, or the newest `below` an id. None: no tail is asked."""
    if tail is None:
        return None
    if filters.number:
        of_number = _subjects_of_number(viewer, filters.number)
        both = union_all(
            *(
                select(table.c.subject_id).where(table.c.number_tail == tail, table.c.subject_id.in_(of_number))
                for table in (calls, cases)
            )
        )
        return _Subjects(sorted(set(connection.execute(both).scalars())))
    ids = list(connection.execute(subjects_of_tail(viewer, tail, filters.end, below=below)).scalars())
    if not ids:
        return _Subjects(ids)
    return _Subjects(ids, below or f"{int(ids[0], 16) + 1:032x}", ids[-1] if len(ids) == TAIL_MOST else None)


def _subjects_of_number(viewer: Viewer, number: str) -> Any:
    """By case number, call id (or its `H…` at the centre), by the case number that a call named, by our own ids.

    What a call named is the case's to tell: to whom sees none of that number it says nothing (console/story.py).
    """
    call = number[1:] if number.startswith("H") else number
    named = select(calls.c.subject_id).where(calls.c.case_no == number)
    if not viewer.sees_all:
        theirs = select(case_keys.c.subject_id).join(cases, cases.c.subject_id == case_keys.c.subject_id)
        named = named.where(theirs.where(case_keys.c.case_no == number, visible(viewer, cases)).exists())
    found: list[Select[Any]] = [
        select(case_keys.c.subject_id).where(case_keys.c.case_no == number),
        select(call_keys.c.subject_id).where(call_keys.c.call_key.in_([number, call])),
        named,
    ]
    if _ID.fullmatch(number):
        found += [
            select(e.subject_id).where(e.id == number),
            select(calls.c.subject_id).where(calls.c.subject_id == number),
            select(cases.c.subject_id).where(cases.c.subject_id == number),
        ]
    return select(union_all(*found).subquery().c.subject_id)


def subjects_of_tail(
    viewer: Viewer, tail: bytes, end: datetime | None = None, *, below: str | None = None
) -> Select[Any]:
    """The newest calls and cases of a tail that a viewer may see, newest first: those that were there before `end` and
    are older than `below` (their ids sort by time)."""
    if end is not None:
        ceiling = f"{int((end + _LATEST).timestamp() * 1000):012x}" + "0" * 20
        below = ceiling if below is None else min(below, ceiling)
    parts = []
    for table in (calls, cases):
        statement = select(table.c.subject_id).where(table.c.number_tail == tail, visible(viewer, table))
        if below is not None:
            statement = statement.where(table.c.subject_id < below)
        limited = statement.order_by(table.c.subject_id.desc()).limit(TAIL_MOST).subquery()
        parts.append(select(limited.c.subject_id))
    both = union_all(*parts).subquery("of_tail")
    return select(both.c.subject_id).order_by(both.c.subject_id.desc()).limit(TAIL_MOST)


def _moment_of(subject_id: str) -> datetime:
    """When a call or case came in: its id begins with it."""
    return datetime.fromtimestamp(int(subject_id[:12], 16) / 1000, UTC)


def _behind(place: _Place, newest: bool) -> list[ColumnElement[bool]]:
    if place.at is None:
        return []
    here = tuple_(e.assess_time, e.id)
    there = tuple_(literal(place.at, UtcTime()), literal(place.id, Id()))
    # The time alone, too, so that every planner sees a range of the index.
    if newest:
        return [e.assess_time <= place.at, here < there]
    return [e.assess_time >= place.at, here > there]


def _order(columns: Any, newest: bool) -> list[Any]:
    return [columns.assess_time.desc(), columns.id.desc()] if newest else [columns.assess_time, columns.id]


def _few(plan: _Plan) -> tuple[Any, list[ColumnElement[bool]]]:
    """The few rows of a number or a tail, and what has to hold of them. The limit keeps a planner from going
    by another filter's index."""
    few = select(evaluations).where(*plan.leads, *plan.inside).limit(_most(_FEW)).subquery("few")
    adapter = ClauseAdapter(few)
    return few, [adapter.traverse(condition) for condition in plan.outside]


def list_statement(plan: _Plan, place: _Place, newest: bool, limit: int) -> Select[Any]:
    """One page's rows, in order; what was not looked at is not told."""
    if not plan.scan:
        few, conditions = _few(plan)
        adapter = ClauseAdapter(few)
        conditions += [adapter.traverse(condition) for condition in _behind(place, newest)]
        return select(few).where(*conditions).order_by(*_order(few.c, newest)).limit(limit)
    most = plan.scan if plan.scan and plan.outside else limit
    parts = [
        select(evaluations)
        .where(lead, *plan.inside, *_behind(place, newest))
        .order_by(*plan.order(newest))
        .limit(_most(most))
        .subquery()
        for lead in plan.leads
    ]
    if not parts:
        return select(evaluations).where(~true())
    scanned = parts[0] if len(parts) == 1 else union_all(*(select(part) for part in parts)).subquery("scanned")
    adapter = ClauseAdapter(scanned)
    return (
        select(scanned)
        .where(*(adapter.traverse(condition) for condition in plan.outside))
        .order_by(*_order(scanned.c, newest))
        .limit(_most(limit))
    )


def _frontier(connection: Connection, plan: _Plan, place: _Place, newest: bool) -> _Place | None:
    """How far every lead was looked at; None: to its end."""
    ends = []
    for lead in plan.leads:
        statement = (
            select(e.assess_time, e.id)
            .where(lead, *plan.inside, *_behind(place, newest))
            .order_by(*plan.order(newest))
            .offset(_most(plan.scan - 1))
            .limit(_most(1))
        )
        if (row := connection.execute(statement).first()) is not None:
            ends.append((row.assess_time, row.id))
    if not ends:
        return None
    return _Place(*(max(ends) if newest else min(ends)))


def _scan(
    connection: Connection, plan: _Plan, place: _Place, newest: bool, limit: int
) -> tuple[list[Any], _Place | None]:
    """Up to `limit` rows, and how far was looked where that was not to the end."""
    rows = list(connection.execute(list_statement(plan, place, newest, limit)))
    if not plan.scan or not plan.outside or (len(plan.leads) == 1 and len(rows) == limit):
        return rows, None
    frontier = _frontier(connection, plan, place, newest)
    if frontier is not None:
        end = (frontier.at, frontier.id)
        rows = [
            row for row in rows if ((row.assess_time, row.id) >= end if newest else (row.assess_time, row.id) <= end)
        ]
        if len(rows) == limit:
            return rows, None
    return rows, frontier


def _plan_alike(connection: Connection, plan: _Plan) -> None:
    """Has PostgreSQL plan the statements to come without their values where an index leads (of a number and a tail with
    them). It takes columns for independent: what no row is, such as the defaults of a department that has none, it
    would hold for common, and look for it among the neighbours in time, through years of them. Which index is right
    does not depend on the values, and reading by it costs what it costs where most of it is in memory.
    """
    if connection.dialect.name == "postgresql":
        mode, cost = ("force_generic_plan", "1.1") if plan.scan else ("force_custom_plan", "4")
        connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {mode}")
        connection.exec_driver_sql(f"SET LOCAL random_page_cost = {cost}")


def _most(count: int) -> Any:
    """A limit that a planner sees even where it sees no values."""
    return literal(count, literal_execute=True)


def position_cursor(level: int, at: datetime | None, row_id: str) -> str:
    """`level` 0: by time. A level's beginning has no time."""
    if at is None:
        return f"{level}.0.{'f' * 32}"
    return f"{level}.{(at - _EPOCH) // timedelta(microseconds=1)}.{row_id}"


def _read_cursor(cursor: str | None) -> tuple[tuple[int, _Place] | None, str | None]:
    """A place, and below which id its calls and cases are. A cursor that is none of ours is the beginning."""
    match = _CURSOR.fullmatch(cursor or "")
    if match is None:
        return None, None
    level, micros = int(match[1]), int(match[2])
    if micros == 0:
        return (level, _Place(None)), match[4]
    try:
        return (level, _Place(_EPOCH + timedelta(microseconds=micros), match[3])), match[4]
    except OverflowError:
        return None, None


def _levels(filters: RatingFilters) -> list[Satisfaction]:
    return sorted(filters.levels or Satisfaction, reverse=filters.sort is Sort.BEST)


def ratings_page(
    connection: Connection,
    viewer: Viewer,
    filters: RatingFilters,
    cursor: str | None = None,
    limit: int = 50,
    *,
    tail: bytes | None = None,
    named: bool = True,
    scan: int | None = None,
) -> RatingsPage:
    """A page of the list.

    Args:
        tail: the keyed hash of `filters.tail` (`Keyring.tail`).
        scan: look at so many rows instead, where time does not matter (an export).
        named: with the numbers and titles of calls and cases.
    """
    rows: list[Any] = []
    reached: tuple[int, _Place] | None = None
    if not viewer.sees_record:
        return RatingsPage([], None, None)
    begun, below = _read_cursor(cursor)
    subjects = _subjects_of(connection, viewer, filters, tail, below)
    if not filters.sort.by_level:
        newest = filters.sort is Sort.NEWEST
        plan = _plan(viewer, filters, _levels(filters), subjects, scan)
        _plan_alike(connection, plan)
        place = begun[1] if begun is not None and begun[0] == 0 else _Place(None)
        rows, frontier = _scan(connection, plan, place, newest, limit + 1)
        reached = (0, frontier) if frontier is not None else None
    else:
        levels = _levels(filters)
        place = _Place(None)
        if filters.number or tail is not None:
            return _few_by_level(connection, viewer, filters, begun, limit, subjects, named=named)
        if begun is not None and (level := begun[0]) in levels:
            levels, place = levels[levels.index(Satisfaction(level)) :], begun[1]
        for level in levels:
            plan = _plan(viewer, filters, (level,), subjects, scan)
            _plan_alike(connection, plan)
            some, frontier = _scan(connection, plan, place, True, limit + 1 - len(rows))
            rows += some
            place = _Place(None)
            if frontier is not None:
                reached = (level.value, frontier)
            if reached is not None or len(rows) > limit:
                break
    next_cursor, looked_to = None, None
    if len(rows) > limit:
        rows = rows[:limit]
        last = rows[-1]
        level_of = last.satisfaction if filters.sort.by_level else 0
        next_cursor = position_cursor(level_of, last.assess_time, last.id)
    elif reached is not None:
        next_cursor = position_cursor(reached[0], reached[1].at, reached[1].id)
        looked_to = reached[1].at
    return _page_of(connection, viewer, rows, next_cursor, subjects, looked_to, named=named)


def _page_of(
    connection: Connection,
    viewer: Viewer,
    rows: Sequence[Any],
    cursor: str | None,
    subjects: _Subjects | None,
    looked_to: datetime | None = None,
    *,
    named: bool,
) -> RatingsPage:
    """The page of these rows; where all rows of these calls and cases are shown it goes on with older ones."""
    names = _names(connection, viewer, rows) if named else {}
    listed = [Listed(row, *names.get(row.subject_id, (row.project_no, None))) for row in rows]
    if subjects is None:
        return RatingsPage(listed, cursor, looked_to)
    below, rest = subjects.below, subjects.rest
    if cursor is None and rest is not None:
        cursor, below = position_cursor(0, None, ""), rest
    if cursor is not None and below is not None:
        cursor = f"{cursor}.{below}"
    return RatingsPage(listed, cursor, looked_to, None if rest is None else _moment_of(rest))


def _few_by_level(
    connection: Connection,
    viewer: Viewer,
    filters: RatingFilters,
    begun: tuple[int, _Place] | None,
    limit: int,
    subjects: _Subjects | None,
    *,
    named: bool,
) -> RatingsPage:
    """By level, of the few rows of a number or a tail: in one go."""
    plan = _plan(viewer, filters, _levels(filters), subjects)
    _plan_alike(connection, plan)
    best = filters.sort is Sort.BEST
    few, conditions = _few(plan)
    statement = select(few).where(*conditions)
    if begun is not None and begun[1].at is not None:
        level, place = begun
        behind = [ClauseAdapter(few).traverse(condition) for condition in _behind(place, True)]
        beyond = few.c.satisfaction < level if best else few.c.satisfaction > level
        statement = statement.where(or_(beyond, and_(few.c.satisfaction == level, *behind)))
    order = few.c.satisfaction.desc() if best else few.c.satisfaction
    rows = list(connection.execute(statement.order_by(order, *_order(few.c, True)).limit(limit + 1)))
    cursor = None
    if len(rows) > limit:
        rows = rows[:limit]
        cursor = position_cursor(rows[-1].satisfaction, rows[-1].assess_time, rows[-1].id)
    return _page_of(connection, viewer, rows, cursor, subjects, named=named)


def _names(connection: Connection, viewer: Viewer, rows: Iterable[Any]) -> dict[str, tuple[str, str | None]]:
    """What the subjects of some evaluations are called."""
    ids = {SubjectKind.CALL.value: set[str](), SubjectKind.CASE.value: set[str]()}
    for row in rows:
        ids.setdefault(row.subject_kind, set()).add(row.subject_id)
    found: dict[str, tuple[str, str | None]] = {}
    if of_calls := ids[SubjectKind.CALL.value]:
        statement = select(calls.c.subject_id, calls.c.call_key).where(
            calls.c.subject_id.in_(sorted(of_calls)), visible(viewer, calls)
        )
        found |= {row.subject_id: (row.call_key, None) for row in connection.execute(statement)}
    if of_cases := ids[SubjectKind.CASE.value]:
        wanted = select(cases.c.subject_id, cases.c.case_no, cases.c.title).where(
            cases.c.subject_id.in_(sorted(of_cases)), visible(viewer, cases)
        )
        found |= {row.subject_id: (row.case_no, row.title) for row in connection.execute(wanted)}
    return found


def count_ratings(
    connection: Connection, viewer: Viewer, filters: RatingFilters, *, tail: bytes | None = None
) -> int | None:
    """How many rows a view has; COUNTED + 1: more; None: not known without looking at too many."""
    if not viewer.sees_record:
        return 0
    if tail is not None:
        return None
    plan = _plan(viewer, filters, _levels(filters), None)
    _plan_alike(connection, plan)
    if not plan.scan:
        some = list_statement(plan, _Place(None), True, COUNTED + 1).subquery()
        return int(connection.execute(select(func.count()).select_from(some)).scalar_one())
    if plan.outside:
        return None
    parts = [
        select(literal(1).label("one"))
        .select_from(evaluations)
        .where(lead, *plan.inside)
        .limit(_most(COUNTED + 1))
        .subquery()
        for lead in plan.leads
    ]
    if not parts:
        return 0
    found = union_all(*(select(part.c.one) for part in parts)).subquery()
    limited = select(found.c.one).limit(_most(COUNTED + 1)).subquery()
    return int(connection.execute(select(func.count()).select_from(limited)).scalar_one())


# ── calls and cases, rated or not ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Found:
    """A call or case. `satisfaction`: of its effective evaluation; None: it has none."""

    subject_id: str
    kind: SubjectKind
    number: str
    title: str | None
    at: datetime
    agent: str | None
    dept: str | None
    dept_name: str | None
    satisfaction: int | None


def find_subjects(
    connection: Connection, viewer: Viewer, number: str, tail: bytes | None = None, most: int = FOUND_MOST
) -> list[Found]:
    """The calls and cases of a number (case number, call id) or a tail, newest first, rated or not."""
    if not viewer.sees_record:
        return []
    ids: set[str] = set()
    if number:
        ids |= set(connection.execute(_subjects_of_number(viewer, number).limit(most * 2)).scalars())
    if tail is not None:
        ids |= set(connection.execute(subjects_of_tail(viewer, tail)).scalars())
    if not ids:
        return []
    wanted = sorted(ids)
    level = and_(e.effective, visible(viewer, evaluations))
    of_calls = (
        select(
            calls.c.subject_id,
            calls.c.call_key.label("number"),
            func.coalesce(calls.c.ended_at, calls.c.created_at).label("at"),
            calls.c.agent,
            calls.c.dept,
            e.satisfaction,
        )
        .select_from(calls.outerjoin(evaluations, and_(e.subject_id == calls.c.subject_id, level)))
        .where(calls.c.subject_id.in_(wanted), visible(viewer, calls))
        .order_by(calls.c.subject_id.desc())
        .limit(most)
    )
    of_cases = (
        select(
            cases.c.subject_id,
            cases.c.case_no.label("number"),
            cases.c.title,
            func.coalesce(cases.c.closed_at, cases.c.created_at).label("at"),
            cases.c.agent,
            cases.c.dept_code.label("dept"),
            cases.c.dept_name,
            e.satisfaction,
        )
        .select_from(cases.outerjoin(evaluations, and_(e.subject_id == cases.c.subject_id, level)))
        .where(cases.c.subject_id.in_(wanted), visible(viewer, cases))
        .order_by(cases.c.subject_id.desc())
        .limit(most)
    )
    found = [
        Found(row.subject_id, SubjectKind.CALL, row.number, None, row.at, row.agent, row.dept, None, row.satisfaction)
        for row in connection.execute(of_calls)
    ]
    found += [
        Found(
            row.subject_id,
            SubjectKind.CASE,
            row.number,
            row.title,
            row.at,
            row.agent,
            row.dept,
            row.dept_name,
            row.satisfaction,
        )
        for row in connection.execute(of_cases)
    ]
    found.sort(key=lambda one: (one.at, one.subject_id), reverse=True)
    return found[:most]
