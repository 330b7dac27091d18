"""Whether the wall clock may be gone by, and why no default rating is made for now.

Rules kept here (docs/adr/0034-a-jump-stops-what-ends.md):

1. What the clock ends or takes away cannot be brought back: a default once pushed, a number once blanked, an SMS that
   came too late. So a clock that jumped ahead by more than an hour stops all of it until a person has confirmed that it
   is right (`huiyin scheduler accept-jump`, console), or until it has come back. The word stands in the database: it
   holds for every process, and over restarts.
2. While it stands nothing that is due is touched, not even put off: a time that is written by a wrong clock lies in a
   future that never comes.
3. Each process says once a minute what time it sees. One that starts and finds nobody to have seen the time for longer
   than `schedule.longest_downtime` cannot tell a long outage from a wrong clock, and asks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from intake.calendars import deadlines_pending
from models.clock import Clock
from models.door import Priority, Unit
from models.ids import new_id
from models.reads import Read
from models.tables import audit, meta
from models.terms import Actor, AuditAction

__all__ = [
    "AHEAD",
    "OUR_CLOCK",
    "AcceptJump",
    "Jump",
    "PauseForJump",
    "SeeTime",
    "Seen",
    "Time",
    "Trust",
    "Unwatched",
    "clock_jumped",
    "last_seen",
    "read_jump",
    "why_paused",
]

AHEAD = timedelta(hours=1)
"""By how much a clock may go ahead of what is known of the time without being asked about."""
_JUMP = "scheduler.jump"
_PAUSE = Read(select(meta.c.value).where(meta.c.key == _JUMP))
_MARK = "scheduler.seen"
_SEEN = select(meta.c.value).where(meta.c.key == _MARK)


@dataclass(frozen=True, slots=True)
class Trust:
    """`database_clock`: on PostgreSQL, its server's clock bears ours out (not where ours is turned on purpose).
    `longest_downtime`: for how long nobody may have seen the time without a question; None: for ever."""

    database_clock: bool = False
    longest_downtime: timedelta | None = None


OUR_CLOCK = Trust()


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump that is not confirmed. `ahead`: by how much; `at`: what the clock showed after it. `unseen`: for so long
    nobody has seen the time; whether it passed, no process can tell."""

    at: datetime
    ahead: timedelta
    node: str
    unseen: bool = False


def _read(value: str) -> Jump:
    known = json.loads(value)
    return Jump(
        datetime.fromisoformat(known["at"]),
        timedelta(seconds=known["ahead"]),
        known["node"],
        known.get("unseen", False),
    )


def read_jump(connection: Connection) -> Jump | None:
    """The jump that stops what the clock ends; None: nothing does."""
    value = connection.execute(select(meta.c.value).where(meta.c.key == _JUMP)).scalar()
    return None if value is None else _read(value)


def last_seen(executes: Connection | Unit) -> datetime | None:
    """When a process last saw the time, by a clock that was trusted; None: none ever did."""
    value = executes.execute(_SEEN).scalar_one_or_none()
    return None if value is None else datetime.fromisoformat(value)


def clock_jumped(unit: Unit) -> bool:
    """A jump waits for a word: nothing may be ended, put off or taken away by the clock in this transaction."""
    return bool(_PAUSE.rows(unit))


def why_paused(unit: Unit, now: datetime, trust: Trust) -> str | None:
    """Why no default may be made in this transaction; None: they may."""
    if clock_jumped(unit):
        return "clock_jumped"
    if _ahead_of_database(unit, now, trust):
        return "clock_ahead_of_database"
    return "deadlines_pending" if deadlines_pending(unit) else None


def _ahead_of_database(unit: Unit, now: datetime, trust: Trust) -> bool:
    if not trust.database_clock or unit.is_sqlite:
        return False
    theirs: Any = unit.execute(select(func.clock_timestamp())).scalar()
    return bool(now - theirs > AHEAD)


@dataclass(frozen=True, slots=True)
class PauseForJump:
    """Nothing ends by the clock from here on. A pause that stands stays. Result: whether this one paused."""

    jump: Jump
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[PauseForJump]) -> list[bool]:
        return [command._pause(unit) for command in commands]

    def _pause(self, unit: Unit) -> bool:
        return _pause(unit, self.jump)


def _pause(unit: Unit, jump: Jump) -> bool:
    value = {"at": jump.at.isoformat(), "ahead": jump.ahead.total_seconds(), "node": jump.node, "unseen": jump.unseen}
    insert_of: Any = sqlite.insert if unit.is_sqlite else postgresql.insert
    made = unit.execute(
        insert_of(meta).values(key=_JUMP, value=json.dumps(value)).on_conflict_do_nothing().returning(meta.c.key)
    )
    if made.first() is None:
        return False
    how = "unseen" if jump.unseen else "ahead"
    _note(
        unit,
        jump.at,
        Actor.SCHEDULER.value,
        AuditAction.CLOCK_JUMPED,
        f"{round(jump.ahead.total_seconds())} s {how}; defaults are paused",
    )
    return True


def _note(unit: Unit, at: datetime, actor: str, action: AuditAction, detail: str | None = None) -> None:
    unit.execute(insert(audit).values(id=new_id(), at=at, actor=actor, action=action.value, detail=detail))


def _resume(unit: Unit, now: datetime) -> None:
    unit.execute(delete(meta).where(meta.c.key == _JUMP))
    _set_mark(unit, now)


def _set_mark(unit: Unit, now: datetime) -> None:
    if unit.execute(update(meta).where(meta.c.key == _MARK).values(value=now.isoformat())).rowcount == 0:
        insert_of: Any = sqlite.insert if unit.is_sqlite else postgresql.insert
        unit.execute(insert_of(meta).values(key=_MARK, value=now.isoformat()).on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class Seen:
    """`jump`: the one that waits for a word from here on; None: none does. `new`: this look has found it; `back`: this
    look has found that the clock came back; `beyond`: it is ahead of the database server's."""

    jump: Jump | None
    new: bool = False
    back: bool = False
    beyond: bool = False


@dataclass(frozen=True, slots=True)
class SeeTime:
    """What time a process sees, told to all. Result: `Seen`.

    `ahead`: by how much its clock is ahead of what it trusts; `mine`: the jump that it was ahead by at its last look.
    """

    now: datetime
    ahead: timedelta
    node: str
    trust: Trust = OUR_CLOCK
    mine: Jump | None = None
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[SeeTime]) -> list[Seen]:
        return [command._see(unit) for command in commands]

    def _see(self, unit: Unit) -> Seen:
        rows = _PAUSE.rows(unit)
        standing = _read(rows[0].value) if rows else None
        if standing is not None:
            if not self._came_back(standing):
                return Seen(standing)
            _resume(unit, self.now)
            _note(unit, self.now, Actor.SCHEDULER.value, AuditAction.CLOCK_CAME_BACK)
            return Seen(None, back=True)
        beyond = _ahead_of_database(unit, self.now, self.trust)
        if self.mine is not None:
            return Seen(None, beyond=beyond)  # somebody has confirmed it
        jump = self._jump(unit, beyond)
        if jump is not None:
            return Seen(jump, new=_pause(unit, jump), beyond=beyond)
        if not beyond:
            _set_mark(unit, self.now)
        return Seen(None, beyond=beyond)

    def _jump(self, unit: Unit, beyond: bool) -> Jump | None:
        if self.ahead > AHEAD:
            return Jump(self.now, self.ahead, self.node)
        if beyond:
            return None  # that holds this process, and no other
        longest, seen = self.trust.longest_downtime, last_seen(unit)
        if longest is None or seen is None or self.now - seen <= longest:
            return None
        return Jump(self.now, self.now - seen, self.node, unseen=True)

    def _came_back(self, standing: Jump) -> bool:
        """By the word of whose clock it was: it is not ahead any more, or shows less than it showed after its jump."""
        if standing.node != self.node or self.ahead > AHEAD:
            return False
        return (self.mine == standing and not standing.unseen) or self.now < standing.at - AHEAD


@dataclass(frozen=True, slots=True)
class AcceptJump:
    """A person says that the clock is right: what it ends goes on. Result: the jump; None: there was none."""

    actor: str
    now: datetime
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[AcceptJump]) -> list[Jump | None]:
        return [command._accept(unit) for command in commands]

    def _accept(self, unit: Unit) -> Jump | None:
        rows = _PAUSE.rows(unit)
        if not rows:
            return None
        _resume(unit, self.now)
        _note(unit, self.now, self.actor, AuditAction.CLOCK_ACCEPTED)
        return _read(rows[0].value)


# ── what a sweep asks ─────────────────────────────────────────────────────────────────────────────────────────────────


class Time(Protocol):
    """The time as a sweep may go by it."""

    @property
    def why_not(self) -> str | None:
        """Why nothing may go by the clock, as of the last look; None: all may."""

    async def look(self) -> None:
        """Before a round: looks whether the clock may be gone by."""

    def now(self) -> datetime | None:
        """The time, compared this moment; None: nothing may go by it."""


class Unwatched:
    """Any clock is right: for whoever turns it on purpose."""

    why_not: str | None = None

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def look(self) -> None:
        """There is nothing to look at."""

    def now(self) -> datetime | None:
        return self._clock.now()
