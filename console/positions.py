"""A follower's place in the feed, and how far the feed is safe to read (docs/data-model.md, `feed`).

Rules kept here:

* On PostgreSQL a place is the transaction's id and the row's, and what is read lies below the oldest transaction still
  open; on SQLite it is the row's. Nothing can appear before a place that was given out.
* A place is told with the epoch of the database: one of before a restore is `CursorGone`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, text, tuple_

from models.database import EPOCH
from models.tables import feed, meta

__all__ = [
    "START",
    "CursorGone",
    "CursorUnreadable",
    "Position",
    "behind",
    "in_order",
    "read_cursor",
    "read_edge",
    "read_epoch",
    "up_to",
    "write_cursor",
]

_LONGEST = 200


class CursorUnreadable(ValueError):
    """No cursor of ours."""


class CursorGone(ValueError):
    """The database was restored since: the reader has to begin again."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the feed. `xid` is 0 on SQLite, where the position alone tells the order of the commits."""

    xid: int
    position: int


START = Position(0, 0)


def write_cursor(epoch: str, at: Position) -> str:
    return base64.urlsafe_b64encode(f"1.{epoch}.{at.xid}.{at.position}".encode()).decode().rstrip("=")


def read_cursor(cursor: str, epoch: str) -> Position:
    """The place that a cursor means.

    Raises:
        CursorUnreadable: it is none of ours.
        CursorGone: it is of before a restore.
    """
    if len(cursor) > _LONGEST:
        raise CursorUnreadable
    try:
        plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        version, theirs, xid, position = plain.split(".")
        at = Position(int(xid), int(position))
    except ValueError:
        raise CursorUnreadable from None
    if version != "1" or not 0 <= at.xid < 2**63 or not 0 <= at.position < 2**63:
        raise CursorUnreadable
    if theirs != epoch:
        raise CursorGone
    return at


def read_epoch(connection: Connection) -> str:
    """The database's epoch; a restore begins another one."""
    epoch: str = connection.execute(select(meta.c.value).where(meta.c.key == EPOCH)).scalar_one()
    return epoch


def read_edge(connection: Connection) -> Position:
    """How far the feed is safe to read by now: behind this place nothing is settled, before it everything is."""
    if connection.dialect.name == "sqlite":
        sequence = text("SELECT seq FROM sqlite_sequence WHERE name = 'feed'")
        return Position(0, connection.execute(sequence).scalar() or 0)
    oldest = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return Position(connection.execute(oldest).scalar_one(), 0)


def behind(at: Position, *, sqlite: bool) -> ColumnElement[bool]:
    """The rows of the feed behind a place."""
    if sqlite:
        return feed.c.position > at.position
    return tuple_(feed.c.xid, feed.c.position) > tuple_(at.xid, at.position)


def up_to(edge: Position, *, sqlite: bool) -> ColumnElement[bool]:
    """The rows of the feed that an edge makes safe."""
    if sqlite:
        return feed.c.position <= edge.position
    # The plain bound lets the index do it; the pair holds for an edge and for a row's place alike.
    return and_(feed.c.xid <= edge.xid, tuple_(feed.c.xid, feed.c.position) <= tuple_(edge.xid, edge.position))


def in_order(*, sqlite: bool) -> Sequence[Any]:
    """The columns that tell the order of the commits."""
    return (feed.c.position,) if sqlite else (feed.c.xid, feed.c.position)
