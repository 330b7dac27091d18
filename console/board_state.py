"""What a board shows beside the bad ratings: today's figures, and what people have to look after.

Rules kept here:

* Boards that may see the same show the same: a `Sight` stands for all of them, and what they show is read once.
* Figures come from the rollups alone (console/figures.py). What people look after is counted by partial indexes, and
  changes in minutes: it is read apart, less often.
* A wall screen shows no person, and nothing that only a person could act upon. The state of the machinery is for those
  who see everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, text

from console import figures
from console.link_beats import LinkWord, read_links
from console.pages.dates import midnight
from console.silence import Alarm, heard_of_calls, silences
from console.viewer import ConsoleRole, Viewer, visible
from intake.calendars import CalendarReach, StoredCalendar, calendar_reach
from intake.pauses import Jump, read_jump
from models.clock import SHANGHAI
from models.tables import cases, evaluations, messages, outbox
from models.terms import MessageState, OutboxState, QueueReason

__all__ = [
    "BoardRules",
    "LinkShown",
    "Machinery",
    "Sight",
    "Work",
    "read_figures",
    "read_machinery",
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


@dataclass(frozen=True, slots=True)
class LinkShown:
    """A link of a process; `node` empty: no other process has one of this name."""

    name: str
    node: str
    word: LinkWord


@dataclass(frozen=True, slots=True)
class Machinery:
    """How the machinery is: what waits for the centre and for how many minutes, links, silences, what pauses defaults.

    `calendar`: only where somebody has to bring in the one that follows.
    """

    waiting: int = 0
    oldest_minutes: int = 0
    dead: int = 0
    links: tuple[LinkShown, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    calendar: CalendarReach | None = None
    jump: Jump | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """How much waits for a person in each queue; `failed`: SMS of today."""

    replies: int = 0
    mistaken: int = 0
    dead: int = 0
    provisional: int = 0
    failed: int = 0


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
    waiting = outbox.c.state == OutboxState.WAITING.value
    counts: dict[str, int] = {
        row.state: row.n
        for row in connection.execute(select(outbox.c.state, func.count().label("n")).group_by(outbox.c.state))
    }
    # What is held for its reason is not late.
    late = (waiting, or_(outbox.c.held_by.is_(None), outbox.c.not_before <= now))
    first: datetime | None = connection.execute(select(func.min(outbox.c.created_at)).where(*late)).scalar()
    beats = read_links(connection, now)
    names = [beat.name for beat in beats]
    reach = calendar_reach(calendar.read(connection), now, rules.area_code)
    soon = bool(rules.calendar_warning) and (reach.until is None or reach.days_left < rules.calendar_warning.days)
    return Machinery(
        counts.get(OutboxState.WAITING.value, 0),
        int(max(now - first, timedelta(0)) / timedelta(minutes=1)) if first is not None else 0,
        counts.get(OutboxState.DEAD.value, 0),
        tuple(LinkShown(one.name, one.node if names.count(one.name) > 1 else "", one.word) for one in beats),
        tuple(silences(heard_of_calls(connection, now, rules.silence), beats, now, rules.silence)),
        reach if soon else None,
        read_jump(connection),
    )


def read_work(connection: Connection, now: datetime, sight: Sight) -> Work:
    """What waits for a person, of what a viewer may see."""
    viewer = sight.viewer

    def count(statement: Any) -> int:
        found: int = connection.execute(statement).scalar_one()
        return found

    queued = (messages.c.queue.is_not(None), messages.c.handled_at.is_(None), visible(viewer, messages))
    mistaken = QueueReason.MISTAKEN.value
    of_letter = (
        evaluations.c.subject_id == outbox.c.subject_id,
        evaluations.c.assess_number == outbox.c.assess_number,
    )
    letters = outbox.join(evaluations, and_(*of_letter))
    dead = outbox.c.state == OutboxState.DEAD.value
    failed = (
        messages.c.state == MessageState.FAILED.value,
        messages.c.direction == "out",
        messages.c.changed_at >= midnight(today(now)),
        visible(viewer, messages),
    )
    return Work(
        count(select(func.count()).select_from(messages).where(*queued, messages.c.queue != mistaken)),
        count(select(func.count()).select_from(messages).where(*queued, messages.c.queue == mistaken)),
        count(select(func.count()).select_from(letters).where(dead, visible(viewer, evaluations))),
        # The index's own word: of a column SQLite is told that it equals 1, and then reads every case.
        count(select(func.count()).select_from(cases).where(text("cases.provisional"), visible(viewer, cases))),
        count(select(func.count()).select_from(messages).where(*failed)),
    )
