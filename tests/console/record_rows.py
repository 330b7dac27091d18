"""Many evaluations with their calls and cases, made by a seeded generator, and the filters in plain Python."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert

from console.ratings import Counted, RatingFilters, Sort
from console.viewer import Viewer, may_see
from models.database import Database
from models.ids import new_id
from models.privacy import Keyring
from models.tables import call_keys, calls, case_keys, cases, evaluations, seen
from tests.moments import START

__all__ = ["AGENTS", "AREAS", "DEPTS", "NUMBERS", "QUEUES", "Row", "fill", "naive"]

AGENTS = ("1001", "0042", "A&B=1", None)
QUEUES = ("12345", "政务", None)
DEPTS = ("11622900MB0001", "11622900MB0002", None)
AREAS = ("622900", "622921", "620000")
NUMBERS = ("+8613800000001", "+8613900000001", "+8613800001234", None)
REASONS = ("209", "213,214", None)


@dataclass(frozen=True)
class Row:
    """An evaluation as stored, its subject's number and natural key, and whether somebody has seen its rating."""

    values: dict[str, Any]
    phone: str | None
    number: str
    is_seen: bool

    def __getattr__(self, name: str) -> Any:
        return self.values[name]


def fill(
    database: Database, keyring: Keyring, count: int, *, seed: int = 1, days: int = 60, start: datetime = START
) -> list[Row]:
    """Stores evaluations spread over the days before `start`; a tenth has an earlier one of the same subject."""
    chance = random.Random(seed)
    made: list[Row] = []
    tables = (calls, cases, call_keys, case_keys, evaluations, seen)
    rows: dict[Any, list[dict[str, Any]]] = {table: [] for table in tables}
    for place in range(count):
        kind = chance.choice(("call", "call", "case"))
        phone = chance.choice(NUMBERS)
        at = start - timedelta(seconds=chance.randrange(days * 86400), microseconds=chance.choice((0, 0, 123456)))
        subject = f"{int(at.timestamp() * 1000):012x}7{new_id()[13:]}"  # ids sort by time
        agent, queue = chance.choice(AGENTS), chance.choice(QUEUES) if kind == "call" else None
        dept, area = chance.choice(DEPTS), chance.choice(AREAS)
        number = f"GD-{seed}-{place}" if kind == "case" else f"a1-{seed}.{place}"
        sealed = keyring.seal(phone) if phone else None
        common = {
            "subject_id": subject,
            "agent": agent,
            "area_code": area,
            "created_at": at,
            "number_kind": "mobile" if phone else "anonymous",
            "number_sealed": sealed.sealed if sealed else None,
            "number_hash": sealed.hash if sealed else None,
            "number_tail": sealed.tail if sealed else None,
            "number_key_id": sealed.key_id if sealed else None,
        }
        if kind == "call":
            told: dict[str, Any] = {
                "call_key": number,
                "queue": queue,
                "dept": dept,
                "outcome": "rated",
                "source": "ivr",
            }
            rows[calls].append(common | told)
            rows[call_keys].append({"call_key": number, "subject_id": subject})
        else:
            told = {"case_no": number, "service_number": 1, "stub": False, "dept_code": dept}
            rows[cases].append(common | told)
            rows[case_keys].append({"case_no": number, "service_number": 1, "subject_id": subject})
        last = chance.choice((1,) * 9 + (2,))
        for nth in range(1, last + 1):
            default = chance.random() < 0.15 if kind == "case" else False
            values = {
                "subject_id": subject,
                "assess_number": nth,
                "id": new_id(),
                "rating_id": new_id(),
                "subject_kind": kind,
                "effective": nth == last,
                "satisfaction": 3 if default else chance.choice((5, 5, 5, 4, 3, 2, 1)),
                "origin": "default" if default else "citizen",
                "channel": "system" if default else chance.choice(("keypad", "sms")),
                "reasons": chance.choice(REASONS),
                "comment": chance.choice((None, "等了很久")),
                "assess_time": at - timedelta(hours=last - nth),
                "project_no": number,
                "service_number": 1,
                "agent": agent,
                "queue": queue,
                "dept_code": dept,
                "area_code": area,
                "adoption": (None, None, "accepted", "not_adopted")[place % 4],
                "created_at": at,
            }
            rows[evaluations].append(values)
            made.append(Row(values, phone, number, is_seen=place % 3 == 0))
            if made[-1].is_seen:
                rows[seen].append({"rating_id": values["rating_id"], "seen_by": "ma", "seen_at": at})
    with database.write_engine.begin() as connection:
        for table, values_of in rows.items():
            if values_of:
                connection.execute(insert(table), values_of)
    return made


def naive(rows: Sequence[Row], filters: RatingFilters, viewer: Viewer) -> list[str]:
    """The ids that a list with these filters shows, in its order."""
    kept = [row for row in rows if _fits(row, filters) and may_see(viewer, row.dept_code, row.area_code)]
    if filters.sort is Sort.OLDEST:
        kept.sort(key=lambda row: (row.assess_time, row.id))
    else:
        kept.sort(key=lambda row: (row.assess_time, row.id), reverse=True)
    if filters.sort.by_level:
        kept.sort(key=lambda row: row.satisfaction, reverse=filters.sort is Sort.BEST)
    return [row.id for row in kept]


def _is_bad(row: Row) -> bool:
    return bool(row.effective and row.satisfaction <= 2 and row.origin == "citizen")


def _fits(row: Row, filters: RatingFilters) -> bool:
    codes = [code for code in (row.reasons or "").split(",") if code]
    reason = filters.reason
    return all(
        (
            filters.start is None or row.assess_time >= filters.start,
            filters.end is None or row.assess_time < filters.end,
            filters.superseded or row.effective,
            not filters.unseen or (_is_bad(row) and not row.is_seen),
            not filters.levels or row.satisfaction in filters.levels,
            filters.channel in (None, row.channel),
            filters.origin in (None, row.origin),
            filters.counted is None or (filters.counted is Counted.YES) == (row.adoption != "not_adopted"),
            filters.kind in (None, row.subject_kind),
            filters.agent is None or (row.agent or "") == filters.agent,
            filters.queue is None or (row.queue or "") == filters.queue,
            filters.dept is None or (row.dept_code or "") == filters.dept,
            filters.area is None or (row.area_code or "") == filters.area,
            not filters.number or filters.number == row.number,
            not filters.tail or (row.phone or "").endswith(filters.tail),
            reason is None or (reason in codes if reason else not codes and row.satisfaction <= 2),
        )
    )
