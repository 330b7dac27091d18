"""What is known of some numbers before anything is sent to them of our own accord: opt-outs, the cap, the hours, whose.

One process at a time decides on what is sent (`alone`): a number's cap and its codes are counted over all of its
invitations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select

from intake.outgoing import OUR_OWN_ACCORD
from models.clock import SHANGHAI
from models.door import Unit
from models.reads import Read, any_of, one_of
from models.tables import messages, number_routes, opt_outs
from models.terms import MessageState

__all__ = ["Manners", "SendingRules", "alone", "wait_alone"]


@dataclass(frozen=True, slots=True)
class SendingRules:
    """What the configuration says about asking by SMS.

    `opening(t)`: t itself inside the sending hours, else when they begin next; `carrier_of(number)`: whose number it
    is by the tables, "" where none says so (what receipts taught comes first); `extensions(carrier)`: whether its links
    carry codes; `open_number`: a sealed number in clear (for its prefix; it goes nowhere).
    """

    opening: Callable[[datetime], datetime]
    daily_cap: int
    code_digits: int
    carrier_of: Callable[[str], str]
    extensions: Callable[[str], bool]
    open_number: Callable[[bytes], str]


_ALONE = select(func.pg_try_advisory_xact_lock(0x4875_6989))
"""PostgreSQL: ours until the transaction ends (models/database.py has the others)."""
_WAIT_ALONE = select(func.pg_advisory_xact_lock(0x4875_6989))
_SENT_TODAY = Read(
    select(messages.c.number_hash, func.count().label("how_many"))
    .where(
        any_of(messages.c.number_hash),
        one_of(messages.c.kind, sorted(OUR_OWN_ACCORD)),
        or_(
            messages.c.state == MessageState.QUEUED.value,
            messages.c.handed_at >= bindparam("midnight"),
            # Handed first on an earlier day, and once more today.
            and_(messages.c.tries > 1, messages.c.changed_at >= bindparam("midnight")),
        ),
    )
    .group_by(messages.c.number_hash),
    ("midnight",),
    listed=True,
)
_OPT_OUTS = Read(
    select(opt_outs.c.number_hash, opt_outs.c.origin).where(
        any_of(opt_outs.c.number_hash), opt_outs.c.ended_at.is_(None)
    ),
    listed=True,
)
_LEARNT = Read(
    select(number_routes.c.number_hash, number_routes.c.carrier).where(any_of(number_routes.c.number_hash)), listed=True
)


def alone(unit: Unit) -> bool:
    """Whether this transaction may decide on what is sent; False: another process does."""
    return unit.is_sqlite or bool(unit.execute(_ALONE).scalar())


def wait_alone(unit: Unit) -> None:
    """The same for what a person waits for: until the other process has decided, a moment as a rule."""
    if not unit.is_sqlite:
        unit.execute(_WAIT_ALONE)


class Manners:
    """Of these numbers, as of `now`."""

    def __init__(self, unit: Unit, hashes: Sequence[bytes], now: datetime, rules: SendingRules) -> None:
        self._rules = rules
        self._midnight = now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
        self._refused: dict[bytes, str] = {}
        for row in _OPT_OUTS.rows(unit, values=hashes):
            if self._refused.get(row.number_hash) != "carrier":  # nobody here can take that one back
                self._refused[row.number_hash] = row.origin
        self._sent = {row.number_hash: row.how_many for row in _SENT_TODAY.rows(unit, (self._midnight,), hashes)}
        self._learnt = {row.number_hash: row.carrier for row in _LEARNT.rows(unit, values=hashes)}
        self.opening = rules.opening(now)
        """When what is decided now may go."""

    def refusal(self, number_hash: bytes) -> str | None:
        """Why nothing is sent to a number; None: it wants or may get it."""
        origin = self._refused.get(number_hash)
        return origin and ("carrier_opt_out" if origin == "carrier" else "opted_out")

    def capped(self, number_hash: bytes) -> bool:
        """It gets as much as it may today."""
        sent: int = self._sent.get(number_hash, 0)
        return sent >= self._rules.daily_cap

    def sends(self, number_hash: bytes) -> None:
        """Something is sent to it."""
        self._sent[number_hash] = self._sent.get(number_hash, 0) + 1

    def tomorrow(self) -> datetime:
        """When the cap is counted anew; the sending hours are not looked at."""
        return self._midnight + timedelta(days=1)

    def carrier(self, row: Any) -> str:
        """Whose number it is taken for.

        Raises:
            KeyUnreadable: it was sealed with a key that is not known.
        """
        learnt: str | None = self._learnt.get(row.number_hash)
        return learnt or self._rules.carrier_of(self._rules.open_number(row.number_sealed))
