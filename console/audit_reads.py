"""What the auditor reads: rows of the audit, newest first, a page at a time.

Rules kept here:

* The page goes by the id, which sorts by time. What people did has an index of its own; of the machinery's rows one
  page looks at `SCAN`, however rare what is asked for, so it may be empty and still have a next one.
* An id is made within a day of its row's time: a range of time is a range of ids, and then exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, text

from models.tables import BY_PEOPLE, audit

__all__ = ["SCAN", "AuditFilters", "AuditPage", "audit_page", "id_floor"]

SCAN = 20_000
_SLACK = timedelta(days=1)
_CURSOR = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """`start` ≤ time < `end`; `machines`: also what no person did."""

    start: datetime | None = None
    end: datetime | None = None
    actor: str = ""
    action: str = ""
    machines: bool = False


@dataclass(frozen=True, slots=True)
class AuditPage:
    """`cursor`: of the next page; None: there is none."""

    rows: list[Any]
    cursor: str | None


def id_floor(moment: datetime) -> str:
    """The smallest id that a row of this time could have (UUIDv7: 48 bits of milliseconds first)."""
    return f"{max(0, int(moment.timestamp() * 1000)):012x}" + "0" * 20


def audit_page(connection: Connection, filters: AuditFilters, cursor: str | None, limit: int) -> AuditPage:
    """Up to `limit` rows behind the cursor. A cursor that is none of ours is the beginning."""
    bounds: list[Any] = []
    if filters.start is not None:
        bounds.append(audit.c.id >= id_floor(filters.start - _SLACK))
    if filters.end is not None:
        bounds.append(audit.c.id < id_floor(filters.end + _SLACK))
    if cursor and _CURSOR.fullmatch(cursor):
        bounds.append(audit.c.id < cursor)
    if not filters.machines:
        bounds.append(text(f"({BY_PEOPLE})"))
    scanned = select(audit).where(*bounds).order_by(audit.c.id.desc()).limit(SCAN).subquery()
    wanted: list[Any] = []
    if filters.start is not None:
        wanted.append(scanned.c.at >= filters.start)
    if filters.end is not None:
        wanted.append(scanned.c.at < filters.end)
    if filters.actor:
        wanted.append(scanned.c.actor == filters.actor)
    if filters.action:
        wanted.append(scanned.c.action == filters.action)
    rows = list(connection.execute(select(scanned).where(*wanted).order_by(scanned.c.id.desc()).limit(limit + 1)))
    if len(rows) > limit:
        rows = rows[:limit]
        return AuditPage(rows, rows[-1].id)
    # Nothing more among what was looked at: the next page goes on behind it, if there is anything.
    last = connection.execute(
        select(audit.c.id).where(*bounds).order_by(audit.c.id.desc()).offset(SCAN - 1).limit(1)
    ).scalar()
    return AuditPage(rows, last)
