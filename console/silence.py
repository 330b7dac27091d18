"""Silence 静默: what should have come and has not, told to people before a citizen tells them.

Rules kept here:

* A silence lasts `alarm.silence`; it is told only where enough happened beside it that it cannot be chance: a quiet
  night is no alarm, and one caller who hung up neither.
* Who decides is pure: counts in, alarms out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, func, select

from console.link_beats import LinkBeat
from models.tables import calls
from models.terms import CallOutcome

__all__ = ["ENOUGH", "Alarm", "Heard", "Silence", "heard_of_calls", "silences"]


class Silence(StrEnum):
    """What has not come."""

    OFFERS = "offers"
    """Calls with an agent, and no offer of the rating: the dialplan does not come to us."""
    RATINGS = "ratings"
    """Offers, and no rating: callers hear nothing, or their keys do not arrive."""
    RECEIPTS = "receipts"
    """SMS, and no receipt: the carrier takes them and does not deliver, or does not tell."""


ENOUGH = {Silence.OFFERS: 5, Silence.RATINGS: 10, Silence.RECEIPTS: 5}
"""How much has to happen beside a silence."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """`n`: of what happened beside it, at least; `link`: of which link."""

    silence: Silence
    n: int
    link: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """The calls of the last `alarm.silence`, counted up to what is enough."""

    calls: int
    offered: int
    rated: int


def silences(heard: Heard, links: Iterable[LinkBeat], now: datetime, silence: timedelta) -> list[Alarm]:
    """The alarms of now."""
    found: list[Alarm] = []
    if heard.calls >= ENOUGH[Silence.OFFERS] and heard.offered == 0:
        found.append(Alarm(Silence.OFFERS, heard.calls))
    if heard.offered >= ENOUGH[Silence.RATINGS] and heard.rated == 0:
        found.append(Alarm(Silence.RATINGS, heard.offered))
    for link in links:
        since = link.unreceipted_since
        if link.receipts and since is not None and now - since >= silence:
            found.append(Alarm(Silence.RECEIPTS, link.unreceipted, link.name))
    return found


def heard_of_calls(connection: Connection, now: datetime, silence: timedelta) -> Heard:
    """The calls of the last while. Calls that were brought in later, from a log, say nothing about now.

    Each count ends at what is enough, so that a busy hotline costs no more than a quiet one.
    """
    recent = (calls.c.created_at > now - silence, calls.c.ended_at > now - silence)
    offered = (*recent, calls.c.outcome != CallOutcome.NOT_OFFERED.value)

    def count(most: int, *conditions: object) -> int:
        some = select(calls.c.subject_id).where(*conditions).limit(most).subquery()  # type: ignore[arg-type]
        found: int = connection.execute(select(func.count()).select_from(some)).scalar_one()
        return found

    return Heard(
        count(ENOUGH[Silence.OFFERS], *recent),
        count(ENOUGH[Silence.RATINGS], *offered),
        count(1, *recent, calls.c.outcome == CallOutcome.RATED.value),
    )
