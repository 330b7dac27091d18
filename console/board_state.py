"""What a board shows beside the bad ratings: today's figures, and what people have to look after.

Rules kept here:

* Boards that may see the same show the same: a `Sight` stands for all of them, and what they show is read once.
* Figures come from the rollups alone (console/figures.py). What people look after are the queues of 待办, as their
  pages count them (console/queues.py); it changes in minutes and is read apart, less often.
* Counts are bounded: of what is more than `MOST` a board says so, however much waits.
* A wall screen shows no person, and nothing that only a person could act upon. The state of the machinery is for
  supervisors and for walls that see everything; what it holds of the record, which is what waits for the centre, for
  those who see everything. A narrowed supervisor has their own dead letters among the queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from console import figures
from console.bad_ratings import UNSEEN_DAYS, Unseen, count_unseen
from console.link_beats import LinkWord, read_links
from console.outbox import IS_DEAD, IS_WAITING, Count
from console.queues import MOST, queue_counts
from console.silence import Alarm, heard_of_calls, silences
from console.viewer import ConsoleRole, Viewer
from intake.calendars import CalendarReach, StoredCalendar, calendar_reach
from intake.pauses import Jump, read_jump
from models.clock import SHANGHAI
from models.tables import outbox
from models.terms import QueueReason

__all__ = [
    "BoardRules",
    "LinkShown",
    "Machinery",
    "Sight",
    "Waiting",
    "Work",
    "read_figures",
    "read_machinery",
    "read_unseen",
    "read_work",
    "today",
]


@dataclass(frozen=True, slots=True)
class BoardRules:
    """What the board needs of the configuration.

    Attributes:
        satisfied_from: the lowest level that counts as satisfied.
        silence: `alarm.silence`.
        area_code: whose calendar; None: the country's.
        calendar_warning: so long before its end the board warns; 0: never.
        reasons: the words of the reason codes.
    """

    satisfied_from: int = 3
    silence: timedelta = timedelta(minutes=30)
    area_code: str | None = None
    calendar_warning: timedelta = timedelta(days=60)
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sight:
    """What boards that show the same have in common."""

    role: ConsoleRole
    depts: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()

    @classmethod
    def of(cls, viewer: Viewer) -> Sight:
        return cls(viewer.role, viewer.depts, viewer.areas)

    @property
    def viewer(self) -> Viewer:
        return Viewer("", self.role, self.depts, self.areas)

    @property
    def is_wall(self) -> bool:
        return self.role is ConsoleRole.BOARD

    @property
    def sees_machinery(self) -> bool:
        return self.role is ConsoleRole.SUPERVISOR or (self.is_wall and self.viewer.sees_all)

    def shown_of(self, machinery: Machinery) -> Machinery | None:
        """What it shows of the machinery."""
        if not self.sees_machinery:
            return None
        return machinery if self.viewer.sees_all else replace(machinery, waiting=None, oldest_minutes=0, dead=0)


@dataclass(frozen=True, slots=True)
class LinkShown:
    """A link of a process; `node` empty: no other process has one of this name."""

    name: str
    node: str
    word: LinkWord


@dataclass(frozen=True, slots=True)
class Machinery:
    """How the machinery is: what waits for the centre and for how many minutes, links, silences, what pauses defaults.

    `waiting`, `dead`: MOST + 1 where there are more; `waiting` None: not for who looks. `calendar`: only where somebody
    has to bring in the next one.
    """

    waiting: int | None = 0
    oldest_minutes: int = 0
    dead: int = 0
    links: tuple[LinkShown, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    calendar: CalendarReach | None = None
    jump: Jump | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue: how many wait, for how many minutes the oldest has (as exact as it is told), how many nobody has taken.

    `reason`: of a queue of replies; `name`: of another one, or of all replies where none waits.
    """

    name: str
    address: str
    n: int = 0
    minutes: int | None = None
    free: int = 0
    more: bool = False
    reason: QueueReason | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What waits for a person, the queues as their pages have them. Those of replies only where some wait."""

    queues: tuple[Waiting, ...] = ()


def today(now: datetime) -> date:
    """The day in Asia/Shanghai."""
    return now.astimezone(SHANGHAI).date()


def read_figures(connection: Connection, day: date, sight: Sight) -> figures.Board:
    """The figures of a day."""
    viewer = sight.viewer
    if not viewer.sees_record:
        return figures.Board(figures.Figures(), {}, {})
    return figures.board(connection, day, figures.Sight(sight.depts, sight.areas))


def read_machinery(connection: Connection, now: datetime, rules: BoardRules, calendar: StoredCalendar) -> Machinery:
    """How the machinery is, whoever looks."""
    # Each half of what waits has an index of its own.
    free = select(outbox.c.evaluation_id).where(IS_WAITING, outbox.c.batch_id.is_(None))
    sent = select(outbox.c.evaluation_id).where(IS_WAITING, outbox.c.batch_id.is_not(None))
    dead = select(outbox.c.evaluation_id).where(IS_DEAD)
    # What is held for its reason is not late. Ids sort by time: the first one is as old as the oldest.
    late = (IS_WAITING, or_(outbox.c.held_by.is_(None), outbox.c.not_before <= now))
    first: datetime | None = connection.execute(
        select(outbox.c.created_at).where(*late).order_by(outbox.c.evaluation_id).limit(1)
    ).scalar()
    beats = read_links(connection, now)
    names = [beat.name for beat in beats]
    reach = calendar_reach(calendar.read(connection), now, rules.area_code)
    soon = bool(rules.calendar_warning) and (reach.until is None or reach.days_left < rules.calendar_warning.days)
    return Machinery(
        _at_most(connection, free, sent),
        int(max(now - first, timedelta(0)) / timedelta(minutes=1)) if first is not None else 0,
        _at_most(connection, dead),
        tuple(LinkShown(one.name, one.node if names.count(one.name) > 1 else "", one.word) for one in beats),
        tuple(silences(heard_of_calls(connection, now, rules.silence), beats, now, rules.silence)),
        reach if soon else None,
        read_jump(connection),
    )


def _at_most(connection: Connection, *statements: Select[Any]) -> int:
    """How many rows these have together; MOST + 1: more than MOST."""
    n = 0
    for statement in statements:
        looked = statement.limit(MOST + 1 - n).subquery()
        n += int(connection.execute(select(func.count()).select_from(looked)).scalar_one())
        if n > MOST:
            break
    return n


def read_work(connection: Connection, now: datetime, sight: Sight) -> Work:
    """The queues of a viewer."""
    viewer = sight.viewer
    counts = queue_counts(connection, viewer, now)

    def waiting(name: str, address: str, count: Count, reason: QueueReason | None = None) -> Waiting:
        minutes = _told_minutes(now - count.oldest) if count.oldest is not None else None
        return Waiting(name, address, count.n, minutes, count.free, count.more, reason)

    queues = [
        waiting("replies", f"/queues/replies?kind={reason.value}", count, reason)
        for reason, count in counts.replies.items()
        if count.n
    ] or [Waiting("replies", "/queues/replies")]
    if viewer.role is ConsoleRole.SUPERVISOR:
        queues += [
            waiting("letters", "/queues/letters", counts.letters),
            waiting("failures", "/queues/failures", counts.failures),
            waiting("deadlines", "/queues/deadlines", counts.deadlines),
        ]
    return Work(tuple(queues))


def read_unseen(connection: Connection, day: date, sight: Sight) -> Unseen:
    """The bad ratings of a day and of those before it that nobody has seen."""
    return count_unseen(connection, sight.viewer, day - timedelta(days=UNSEEN_DAYS))


def _told_minutes(age: timedelta) -> int:
    """No more exact than a page tells it, so that a board is not told anew what looks the same."""
    minutes = max(int(age / timedelta(minutes=1)), 0)
    return minutes if minutes < 120 else minutes // 60 * 60 if minutes < 2880 else minutes // 1440 * 1440
