"""Days in addresses: a range as a person means it, in Asia/Shanghai."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from models.clock import SHANGHAI

__all__ = ["midnight", "read_day"]


def midnight(day: date) -> datetime:
    """The beginning of a day in Shanghai, in UTC."""
    return datetime.combine(day, time(), SHANGHAI).astimezone(UTC)


def read_day(text: str, *, end: bool = False) -> datetime | None:
    """A day such as 2026-11-18 as its beginning, as an end as the next one's; None: it is none."""
    try:
        day = date.fromisoformat(text)
        return midnight(day + timedelta(days=1) if end else day)
    except (ValueError, OverflowError):
        return None
