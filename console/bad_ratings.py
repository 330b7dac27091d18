"""Bad ratings 差评 as the board tells them, one a rating, and who has seen them.

Rules kept here:

* What a citizen did once is told once: evaluations of one rating (a call and its case, a batch) are one line.
* A line is told as its viewer may see it: of evaluations that they may not see nothing stands in it.
* What nobody has seen stays in reach for `UNSEEN_DAYS`, whatever came after it: as lines while there is room, and
  always as a count with its link.
* 已阅 is a fact of the rating and the same for everybody; who was the first stays. A note can be written anew, and the
  audit has every one. No number is kept in one.
* A rating of which nothing is effective any more is taken off the boards that show it.
* Each mark stands in the feed, so that every board of every process tells it at once.
* The feed tells of a rating as often as something comes to it, for years. A board hears of what its page would show:
  ratings of today, by the day that the figures count them for, and those of the last `UNSEEN_DAYS` that nobody has
  seen. It is new once, when its first row comes, or when its case comes to the board's department or area.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Connection, Subquery, and_, func, literal, select, text, true, update

from console.auditing import Action, note
from console.masking import mask_words
from console.pages.dates import midnight
from console.positions import Position, behind, in_order, up_to
from console.viewer import Viewer, may_see, visible, visible_among
from models.door import Bulk, Priority, Unit
from models.tables import BAD_RATINGS, cases, evaluations, feed, invitation_members, ratings, seen
from models.terms import Channel, FeedKind, Origin, Satisfaction, SubjectKind

__all__ = [
    "IS_BAD",
    "LONGEST_NOTE",
    "SHOWN",
    "UNSEEN_DAYS",
    "BadRating",
    "Lines",
    "MarkSeen",
    "Seen",
    "Told",
    "Unseen",
    "count_unseen",
    "is_bad",
    "latest_bad",
    "lines_of_board",
    "merged",
    "moved_away",
    "read_seen",
    "told_between",
    "visible_lines",
]

SHOWN = 20
"""Lines that a board shows."""
MOST = 500
"""Rows of the feed between two places that a board may have to tell; behind more it is told its whole list."""
SCAN = 20_000
"""Rows between them at all: a sweep writes defaults by the thousand, and no board shows one."""
LONGEST_NOTE = 200
UNSEEN_DAYS = 7
"""Days before today whose bad ratings a board still asks somebody to see."""
_COUNTED = 10_000
"""Bad ratings that are looked at for a count of the unseen ones, the newest first; 2,000 for lines."""
_LINED = 2_000
_OF_EVALUATIONS = re.sub(r"\b(effective|satisfaction|origin)\b", r"evaluations.\1", BAD_RATINGS)
IS_BAD: ColumnElement[bool] = and_(true(), text(f"({_OF_EVALUATIONS})"))
"""差评 in the index's own words, so that both databases see that it serves."""
_FEED = Bulk(feed, ("kind", "subject_id", "assess_number", "at"))


@dataclass(frozen=True, slots=True)
class Seen:
    """已阅: by whom and when; and the latest note."""

    by: str
    at: datetime
    note: str | None = None
    noted_by: str | None = None
    noted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """How many evaluations of bad ratings nobody has seen since a day; `more`: there may be more."""

    since: date
    n: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """One evaluation of a bad rating. `effective`: False: another one stands in its place by now.

    `new`: it was stored since; `moved`: its case has another department or area since.
    """

    rating_id: str
    subject_id: str
    assess_number: int
    kind: SubjectKind
    effective: bool
    level: Satisfaction
    channel: Channel
    at: datetime
    agent: str | None
    queue: str | None
    dept_code: str | None
    dept_name: str | None
    area_code: str | None
    case_no: str | None
    reasons: tuple[str, ...]
    comment: str | None
    seen: Seen | None
    new: bool = False
    moved: bool = False


@dataclass(frozen=True, slots=True)
class BadRating:
    """One line of the board. `id`: the rating's; subject and number: of the evaluation that a mark is sent with."""

    id: str
    subject_id: str
    assess_number: int
    level: Satisfaction
    channel: Channel
    at: datetime
    agent: str | None
    queue: str | None
    dept_code: str | None
    dept_name: str | None
    case_no: str | None
    cases: int
    reasons: tuple[str, ...]
    comment: str | None
    seen: Seen | None


@dataclass(frozen=True, slots=True)
class Lines:
    """What a board is told: the lines that stand, latest first, and the ratings whose lines go.

    `new`: the ratings that have come to it; `kept`: those that it changes where it shows them, and does not begin with.
    """

    standing: Sequence[BadRating] = ()
    gone: Sequence[str] = ()
    new: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.standing or self.gone)


def merged(told: Iterable[Told]) -> list[BadRating]:
    """One line a rating, latest first. Ratings of which nothing is effective are left out."""
    by_rating: dict[str, list[Told]] = {}
    for one in told:
        if one.effective:
            by_rating.setdefault(one.rating_id, []).append(one)
    lines = [_line(rows) for rows in by_rating.values()]
    return sorted(lines, key=lambda line: (line.at, line.id), reverse=True)


def _line(rows: Sequence[Told]) -> BadRating:
    rows = sorted(rows, key=lambda row: (row.kind is not SubjectKind.CALL, row.subject_id))
    of_cases = [row for row in rows if row.kind is SubjectKind.CASE]
    first, case = rows[0], next(iter(of_cases), None)
    return BadRating(
        first.rating_id,
        first.subject_id,
        first.assess_number,
        first.level,
        first.channel,
        first.at,
        first.agent,
        first.queue,
        (case or first).dept_code,
        (case or first).dept_name,
        case.case_no if case is not None and len(of_cases) == 1 else None,
        len(of_cases),
        first.reasons,
        first.comment,
        first.seen,
    )


# ── reads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

_ROWS = select(
    evaluations.c.rating_id,
    evaluations.c.subject_id,
    evaluations.c.assess_number,
    evaluations.c.subject_kind,
    evaluations.c.effective,
    evaluations.c.satisfaction,
    evaluations.c.channel,
    evaluations.c.assess_time,
    evaluations.c.agent,
    evaluations.c.queue,
    evaluations.c.dept_code,
    evaluations.c.dept_name,
    evaluations.c.area_code,
    evaluations.c.reasons,
    evaluations.c.comment,
    cases.c.case_no,
    seen.c.seen_by,
    seen.c.seen_at,
    seen.c.note,
    seen.c.noted_by,
    seen.c.noted_at,
)
_SOURCES = evaluations.outerjoin(cases, cases.c.subject_id == evaluations.c.subject_id).outerjoin(
    seen, seen.c.rating_id == evaluations.c.rating_id
)
_IS_BAD = (
    evaluations.c.satisfaction <= Satisfaction.DISSATISFIED.value,
    evaluations.c.origin == Origin.CITIZEN.value,
)


def _told(row: Any) -> Told:
    return Told(
        row.rating_id,
        row.subject_id,
        row.assess_number,
        SubjectKind(row.subject_kind),
        bool(row.effective),
        Satisfaction(row.satisfaction),
        Channel(row.channel),
        row.assess_time,
        row.agent,
        row.queue,
        row.dept_code,
        row.dept_name,
        row.area_code,
        row.case_no,
        tuple(row.reasons.split(",")) if row.reasons else (),
        mask_words(row.comment),
        Seen(row.seen_by, row.seen_at, row.note, row.noted_by, row.noted_at) if row.seen_by is not None else None,
    )


def latest_bad(
    connection: Connection, viewer: Viewer, since: datetime, shown: int = SHOWN, unseen_since: datetime | None = None
) -> list[BadRating]:
    """The last bad ratings since a time that a viewer may see, latest first; where there is room behind them, those of
    before that nobody has seen, since another time."""

    def rows(*conditions: ColumnElement[bool]) -> Sequence[Any]:
        order = (evaluations.c.assess_time.desc(), evaluations.c.id.desc())
        # The few first, by their index in its order: of a day with thousands their cases are not looked up.
        few = select(evaluations.c.id).where(visible_among(viewer), IS_BAD, *conditions)
        few = few.order_by(*order).limit(literal(4 * shown, literal_execute=True))
        statement = _ROWS.select_from(_SOURCES).where(evaluations.c.id.in_(select(few.subquery().c.id)))
        return connection.execute(statement.order_by(*order)).all()

    lines = merged(map(_told, rows(evaluations.c.assess_time >= since)))[:shown]
    if unseen_since is None or len(lines) == shown:
        return lines
    looked = _looked(viewer, _LINED, evaluations.c.assess_time >= unseen_since, evaluations.c.assess_time < since)
    unseen = rows(
        evaluations.c.id.in_(
            select(looked.c.id)
            .select_from(looked.outerjoin(seen, seen.c.rating_id == looked.c.rating_id))
            .where(seen.c.rating_id.is_(None))
            .order_by(looked.c.assess_time.desc(), looked.c.id.desc())
            .limit(4 * shown)
        ),
        evaluations.c.assess_time >= unseen_since,
    )
    return (lines + merged(map(_told, unseen)))[:shown]


def lines_of_board(
    connection: Connection, viewer: Viewer, day: date, shown: int = SHOWN, *, today_alone: bool
) -> list[BadRating]:
    """What the page of a board begins with. `today_alone`: a wall's; who can mark a line keeps those of the last days
    that nobody has."""
    earlier = None if today_alone else midnight(day - timedelta(days=UNSEEN_DAYS))
    return latest_bad(connection, viewer, midnight(day), shown, earlier)


def count_unseen(connection: Connection, viewer: Viewer, since: date) -> Unseen:
    """The evaluations of bad ratings since a day that nobody has seen, as the list of ratings has them."""
    looked = _looked(viewer, _COUNTED + 1, evaluations.c.assess_time >= midnight(since))
    n, marked = connection.execute(
        select(func.count(), func.count(seen.c.rating_id)).select_from(
            looked.outerjoin(seen, seen.c.rating_id == looked.c.rating_id)
        )
    ).one()
    return Unseen(since, n - marked, n > _COUNTED)


def _looked(viewer: Viewer, most: int, *conditions: ColumnElement[bool]) -> Subquery:
    """The newest bad ratings that a viewer may see, no more of them than a bound, out of the index alone."""
    return (
        select(evaluations.c.id, evaluations.c.rating_id, evaluations.c.assess_time)
        .where(visible_among(viewer), IS_BAD, *conditions)
        .order_by(evaluations.c.assess_time.desc(), evaluations.c.id.desc())
        .limit(most)
        .subquery()
    )


def is_bad(evaluation: Any) -> bool:
    """Whether it is what a mark is for: a citizen's, and bad."""
    return bool(Satisfaction(evaluation.satisfaction).is_bad and evaluation.origin == Origin.CITIZEN.value)


def read_seen(connection: Connection, rating_id: str) -> Seen | None:
    """Who has seen a bad rating; its viewer is the caller's to look at."""
    row = connection.execute(select(seen).where(seen.c.rating_id == rating_id)).first()
    return None if row is None else Seen(row.seen_by, row.seen_at, row.note, row.noted_by, row.noted_at)


def told_between(connection: Connection, after: Position, edge: Position) -> list[Told] | None:
    """The bad ratings that the feed tells of behind one place and up to another, as they are now, and for nobody yet
    (`visible_lines`); of what it tells a new rating of, also the ones that this replaces. None: it is too much."""
    sqlite = connection.dialect.name == "sqlite"
    inside = (behind(after, sqlite=sqlite), up_to(edge, sqlite=sqlite))
    order = in_order(sqlite=sqlite)
    passed = select(feed.c.kind, feed.c.subject_id, feed.c.assess_number).where(*inside).order_by(*order)
    scanned = passed.limit(SCAN).subquery()
    mattering = select(scanned).where(scanned.c.kind != FeedKind.DEFAULT.value).limit(MOST + 1)
    rows = list(connection.execute(mattering))
    if len(rows) > MOST or connection.execute(passed.offset(SCAN).limit(1)).first() is not None:
        return None
    keys = [(row.subject_id, row.assess_number) for row in rows]
    if not keys:
        return []
    of_keys = _ROWS.select_from(_SOURCES).where(
        evaluations.c.subject_id.in_({subject for subject, _ in keys}), *_IS_BAD
    )
    wanted = set(keys)
    found = [
        row for row in connection.execute(of_keys) if not row.effective or (row.subject_id, row.assess_number) in wanted
    ]
    new, moved = (
        {(row.subject_id, row.assess_number) for row in rows if row.kind == kind.value}
        for kind in (FeedKind.EVALUATION, FeedKind.MOVED)
    )
    told = [(one, (one.subject_id, one.assess_number)) for one in map(_told, _with_siblings(connection, found))]
    return [replace(one, new=key in new, moved=key in moved) for one, key in told]


def _with_siblings(connection: Connection, found: Sequence[Any]) -> list[Any]:
    """The same with every other evaluation of their ratings: a line tells of all of them, whichever has changed."""
    if not found:
        return []
    subjects, given = {row.subject_id for row in found}, {row.rating_id for row in found}
    of_batch = (
        select(invitation_members.c.subject_id)
        .join(ratings, ratings.c.invitation_id == invitation_members.c.invitation_id)
        .where(ratings.c.id.in_(given))
        .limit(MOST)
    )
    of_call = select(ratings.c.call_subject_id).where(ratings.c.id.in_(given), ratings.c.call_subject_id.is_not(None))
    for beside in (of_batch, of_call):
        subjects |= set(connection.execute(beside).scalars())
    of_all = _ROWS.select_from(_SOURCES).where(evaluations.c.subject_id.in_(subjects), *_IS_BAD)
    return [row for row in connection.execute(of_all) if row.rating_id in given]


def visible_lines(told: Iterable[Told], viewer: Viewer, day: date, *, today_alone: bool) -> Lines:
    """What the feed told, as one viewer may see it, of what a board of this day shows (`lines_of_board`)."""
    theirs = [one for one in told if may_see(viewer, one.dept_code, one.area_code)]
    standing = merged(theirs)
    gone = {one.rating_id for one in theirs} - {one.id for one in standing}
    today = midnight(day)
    since = today if today_alone else midnight(day - timedelta(days=UNSEEN_DAYS))
    shown = [one for one in standing if one.at >= since]
    # Who sees all has had it before it moved.
    came = {one.rating_id for one in theirs if one.new or (one.moved and one.effective and not viewer.sees_all)}
    return Lines(
        shown,
        sorted(gone),
        frozenset(came & {one.id for one in shown}),
        frozenset(one.id for one in shown if one.at < today and one.seen is not None),
    )


def moved_away(told: Iterable[Told], viewer: Viewer) -> frozenset[str]:
    """Ratings that went to another department or area, and of which this viewer sees nothing any more."""
    moved: set[str] = set()
    seen: set[str] = set()
    for one in told:
        if one.moved:
            moved.add(one.rating_id)
        if one.effective and may_see(viewer, one.dept_code, one.area_code):
            seen.add(one.rating_id)
    return frozenset(moved - seen)


# ── marks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class MarkSeen:
    """Somebody has seen a bad rating, and may say something to it. Result: False: there is none that they may see.

    Run twice it changes nothing: who was the first stays, and the same note is not written again.
    """

    viewer: Viewer
    subject_id: str
    assess_number: int
    note: str
    now: datetime
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[MarkSeen]) -> list[bool]:
        return [command._mark(unit) for command in commands]

    def _mark(self, unit: Unit) -> bool:
        rating_id = unit.execute(
            select(evaluations.c.rating_id).where(
                visible(self.viewer, evaluations),
                evaluations.c.subject_id == self.subject_id,
                evaluations.c.assess_number == self.assess_number,
                *_IS_BAD,
            )
        ).scalar()
        if rating_id is None:
            return False
        words = mask_words(self.note.strip()[:LONGEST_NOTE]) or None
        first = self._first(unit, rating_id)
        if first:
            note(unit, self.now, self.viewer.actor, Action.RATING_SEEN, subject_id=self.subject_id)
        noted = words is not None and self._noted(unit, rating_id, words)
        if noted:
            note(unit, self.now, self.viewer.actor, Action.RATING_NOTED, subject_id=self.subject_id, words=words)
        if first or noted:
            unit.insert(_FEED, [(FeedKind.SEEN.value, self.subject_id, self.assess_number, self.now)])
        return True

    def _first(self, unit: Unit, rating_id: str) -> bool:
        """Whether this is the first who sees it. Of two processes at once the second waits for the first."""
        kind: Any = _insert_of(unit)
        made = unit.execute(
            kind(seen)
            .values(rating_id=rating_id, seen_by=self.viewer.name, seen_at=self.now)
            .on_conflict_do_nothing(index_elements=["rating_id"])
            .returning(seen.c.rating_id)
        )
        return made.first() is not None

    def _noted(self, unit: Unit, rating_id: str, words: str) -> bool:
        changed = unit.execute(
            update(seen)
            .where(seen.c.rating_id == rating_id, (seen.c.note != words) | seen.c.note.is_(None))
            .values(note=words, noted_by=self.viewer.name, noted_at=self.now)
        )
        return changed.rowcount == 1


def _insert_of(unit: Unit) -> Any:
    if unit.is_sqlite:
        from sqlalchemy.dialects.sqlite import insert as of_sqlite

        return of_sqlite
    from sqlalchemy.dialects.postgresql import insert as of_postgresql

    return of_postgresql
