"""Evaluations and outbox rows for the push's tests, as the intake stores them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, select

from centre.payload import EvaluationRow, Mapper, Site
from config.profile import load_profile
from models.database import Database
from models.ids import new_id
from models.tables import evaluations, outbox, push_batches, push_members
from tests.moments import START

PLAIN = load_profile("plain", Path())

SITE = Site(service_name="临夏州12345热线", area_code="622900", data_source="LX")
MAPPER = Mapper(PLAIN, SITE)


def row(**changes: Any) -> EvaluationRow:
    """An evaluation as the push reads it."""
    values: dict[str, Any] = {
        "evaluation_id": new_id(),
        "project_no": "Hlx-1763431200.1",
        "assess_number": 1,
        "assess_time": START,
        "satisfaction": 5,
        "channel": "keypad",
        "origin": "citizen",
        "subject_kind": "call",
        "reasons": None,
        "comment": None,
        "service_number": 1,
        "agent": "2001",
        "queue": "support",
        "dept_code": None,
        "dept_name": None,
        "task_code": None,
        "task_name": None,
        "service_name": None,
        "area_code": None,
    }
    return EvaluationRow(**{**values, **changes})


def add(engine: Engine, count: int = 1, *, name: str = "p", **changes: Any) -> list[str]:
    """Stores `count` evaluations with their outbox rows, due at once; their ids in the order of `projectNo` name-0, …

    `changes`: columns of either table.
    """
    now = changes.pop("now", datetime.now(UTC))
    ids = [new_id() for _ in range(count)]
    subjects = [new_id() for _ in range(count)]
    records: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    for place, (evaluation_id, subject_id) in enumerate(zip(ids, subjects, strict=True)):
        records.append(
            {
                "subject_id": subject_id,
                "assess_number": 1,
                "id": evaluation_id,
                "rating_id": new_id(),
                "subject_kind": "call",
                "effective": True,
                "satisfaction": 5,
                "origin": "citizen",
                "channel": "keypad",
                "reasons": None,
                "comment": None,
                "assess_time": now,
                "project_no": f"{name}-{place}",
                "service_number": 1,
                "agent": "2001",
                "queue": "support",
                "service_name": "12345热线",
                "area_code": "622900",
                "created_at": now,
                **{key: value for key, value in changes.items() if key in evaluations.c and key not in _OUTBOX_ONLY},
            }
        )
        waiting.append(
            {
                "evaluation_id": evaluation_id,
                "subject_id": subject_id,
                "assess_number": 1,
                "state": "waiting",
                "not_before": now + timedelta(microseconds=place),
                "held_by": None,
                "batch_id": None,
                "tries": 0,
                "reason": None,
                "created_at": now,
                **{key: value for key, value in changes.items() if key in _OUTBOX_ONLY},
            }
        )
    with engine.begin() as connection:
        connection.execute(insert(evaluations), records)
        connection.execute(insert(outbox), waiting)
    return ids


_OUTBOX_ONLY = {"state", "not_before", "held_by", "batch_id", "tries"}


class Record:
    """What is in the database, read anew with each question."""

    def __init__(self, database: Database) -> None:
        self._engine = database.read_engine

    def _all(self, query: Any) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    @property
    def outbox(self) -> dict[str, Any]:
        return {found.evaluation_id: found for found in self._all(select(outbox))}

    @property
    def pushed(self) -> dict[str, str | None]:
        """Evaluation id → the centre's word, of those that have one."""
        query = select(evaluations).where(evaluations.c.centre_status.is_not(None))
        return {found.id: found.centre_status for found in self._all(query)}

    @property
    def pushed_at(self) -> dict[str, datetime | None]:
        return {found.id: found.pushed_at for found in self._all(select(evaluations))}

    @property
    def batches(self) -> list[Any]:
        return list(self._all(select(push_batches).order_by(push_batches.c.created_at, push_batches.c.id)))

    @property
    def open_batches(self) -> list[Any]:
        return [batch for batch in self.batches if batch.state == "open"]

    @property
    def verdicts(self) -> dict[str, list[str | None]]:
        """Evaluation id → its verdicts, batch by batch."""
        told: dict[str, list[str | None]] = {}
        query = select(push_members).order_by(push_members.c.batch_id)
        for found in self._all(query):
            told.setdefault(found.evaluation_id, []).append(found.verdict)
        return told
