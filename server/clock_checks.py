"""What `huiyin check` says of the wall clock: a jump that waits for a word, a time that nobody has seen for long."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from config.settings import Settings
from intake.pauses import AHEAD, Jump, last_seen, read_jump
from models.clock import SHANGHAI
from models.database import open_database, parse_url
from models.errors import StoreError

__all__ = ["clock_report"]


def clock_report(settings: Settings, now: datetime) -> list[str]:
    """One line a thing that somebody should do; none of them keeps a server from serving."""
    try:
        jump, seen = _stored(settings)
    except (StoreError, SQLAlchemyError):
        return ["warning: the database could not be read; whether the clock is waited for is not known"]
    if jump is not None:
        what = f"nobody saw the time for {jump.ahead}" if jump.unseen else f"the clock went ahead by {jump.ahead}"
        return [
            f"warning: {jump.node}: {what} and showed {_told(jump.at)}; nothing is asked, ended or defaulted by it "
            "until it is confirmed; see: huiyin scheduler accept-jump"
        ]
    longest = settings.schedule.longest_downtime
    if seen is None:
        return []
    if longest and now - seen > longest:
        return [
            f"warning: no server has seen the time since {_told(seen)}, longer than schedule.longest_downtime; the "
            "next one asks whether the clock is right before anything ends by it; see: huiyin scheduler accept-jump"
        ]
    if seen - now > AHEAD:
        return [f"warning: a server has seen {_told(seen)}, and here it is {_told(now)}; see which clock is wrong"]
    return []


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def _stored(settings: Settings) -> tuple[Jump | None, datetime | None]:
    url = parse_url(settings.database.connection_url, settings.directory)
    if url.drivername == "sqlite" and not Path(str(url.database)).exists():
        return None, None
    database = open_database(settings.database.connection_url, settings.directory)
    try:
        state = database.schema_state()
        if state.empty and state.current is None:
            return None, None
        with database.read_engine.connect() as connection:
            return read_jump(connection), last_seen(connection)
    finally:
        database.close()
