"""Why no default rating is made for now: a wall clock that jumped, deadlines that are being computed anew.

A default once pushed cannot be called back, so a clock that jumped ahead by more than an hour makes none until a person
has confirmed that it is right (`huiyin scheduler accept-jump`). The pause stands in the database: it holds for every
process, and over restarts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import Connection, delete, func, insert, select

from intake.calendars import deadlines_pending
from models.door import Priority, Unit
from models.ids import new_id
from models.reads import Read
from models.tables import audit, meta
from models.terms import Actor, AuditAction

__all__ = ["AHEAD", "OUR_CLOCK", "AcceptJump", "Jump", "PauseForJump", "Trust", "read_jump", "why_paused"]

AHEAD = timedelta(hours=1)
"""By how much a clock may go ahead of what is known of the time without being asked about."""
_JUMP = "scheduler.jump"
_PAUSE = Read(select(meta.c.value).where(meta.c.key == _JUMP))


@dataclass(frozen=True, slots=True)
class Trust:
    """`database_clock`: on PostgreSQL, its server's clock bears ours out (not where ours is turned on purpose)."""

    database_clock: bool = False


OUR_CLOCK = Trust()


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump that is not confirmed. `ahead`: by how much; `at`: what the clock showed after it."""

    at: datetime
    ahead: timedelta
    node: str


def _read(value: str) -> Jump:
    known = json.loads(value)
    return Jump(datetime.fromisoformat(known["at"]), timedelta(seconds=known["ahead"]), known["node"])


def read_jump(connection: Connection) -> Jump | None:
    """The jump that pauses the defaults; None: nothing does."""
    value = connection.execute(select(meta.c.value).where(meta.c.key == _JUMP)).scalar()
    return None if value is None else _read(value)


def why_paused(unit: Unit, now: datetime, trust: Trust) -> str | None:
    """Why no default may be made in this transaction; None: they may."""
    if _PAUSE.rows(unit):
        return "clock_jumped"
    if trust.database_clock and not unit.is_sqlite:
        theirs: Any = unit.execute(select(func.clock_timestamp())).scalar()
        if now - theirs > AHEAD:
            return "clock_ahead_of_database"
    return "deadlines_pending" if deadlines_pending(unit) else None


@dataclass(frozen=True, slots=True)
class PauseForJump:
    """No default from here on. A pause that stands stays as it is. Result: whether this is the one that paused."""

    jump: Jump
    priority: ClassVar[Priority] = Priority.SWEEP

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[PauseForJump]) -> list[bool]:
        return [command._pause(unit) for command in commands]

    def _pause(self, unit: Unit) -> bool:
        if _PAUSE.rows(unit):
            return False
        jump = self.jump
        value = {"at": jump.at.isoformat(), "ahead": jump.ahead.total_seconds(), "node": jump.node}
        unit.execute(insert(meta).values(key=_JUMP, value=json.dumps(value)))
        unit.execute(
            insert(audit).values(
                id=new_id(),
                at=jump.at,
                actor=Actor.SCHEDULER.value,
                action=AuditAction.CLOCK_JUMPED.value,
                detail=f"{round(jump.ahead.total_seconds())} s ahead; defaults are paused",
            )
        )
        return True


@dataclass(frozen=True, slots=True)
class AcceptJump:
    """A person says that the clock is right: defaults go on. Result: the jump; None: there was none."""

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
        unit.execute(delete(meta).where(meta.c.key == _JUMP))
        unit.execute(
            insert(audit).values(id=new_id(), at=self.now, actor=self.actor, action=AuditAction.CLOCK_ACCEPTED.value)
        )
        return _read(rows[0].value)
