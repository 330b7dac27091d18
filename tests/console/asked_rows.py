"""Calls and invitations with what they asked about, made by a seeded generator and counted into the figures."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, insert

from models.database import Database
from models.ids import new_id
from models.recount import rebuild
from models.tables import (
    call_keys,
    calls,
    case_keys,
    cases,
    directory,
    evaluations,
    invitation_members,
    invitations,
    meta,
)
from tests.moments import START

__all__ = ["AGENTS", "AREAS", "DEPTS", "QUEUES", "TEAMS", "fill_asked"]

AGENTS = ("1001", "0042", "A&B=1", "9009", None)
TEAMS = {"1001": "一班", "0042": "一班", "A&B=1": "二班 & 夜班"}
"""9009 is in none, and the directory does not know them."""
QUEUES = ("12345", "政务", None)
DEPTS = ("11622900MB0001", "11622900MB0002", None)
AREAS = ("622900", "622921", "620000", None)
OUTCOMES = ("rated", "rated", "no_input", "hangup", "skipped", "not_offered")


def fill_asked(database: Database, count: int, *, seed: int = 1, days: int = 40, start: datetime = START) -> None:
    """Calls, cases and batches of before `start`: asked by voice, by SMS, or never; rated, unrated, or by default."""
    chance = random.Random(seed)
    rows: dict[Table, list[dict[str, Any]]] = {
        table: []
        for table in (calls, call_keys, cases, case_keys, invitations, invitation_members, evaluations, directory)
    }
    rows[directory] += [
        {"kind": "agent", "code": code, "name": f"坐席{place}", "team": team}
        for place, (code, team) in enumerate(TEAMS.items())
    ]

    def evaluated(subject: str, kind: str, at: datetime, whose: dict[str, Any], default: bool, dept: Any) -> None:
        rows[evaluations].append(
            {
                "subject_id": subject, "assess_number": 1, "id": new_id(), "rating_id": new_id(),
                "subject_kind": kind, "effective": True,
                "satisfaction": 3 if default else chance.choice((5, 5, 4, 2, 1)),
                "origin": "default" if default else "citizen",
                "channel": "system" if default else chance.choice(("keypad", "sms")),
                "assess_time": at + timedelta(hours=chance.choice((0, 0, 30))), "project_no": subject,
                "service_number": 1, "agent": whose["agent"], "queue": whose["queue"], "dept_code": dept,
                "area_code": whose["area"], "created_at": at,
            }
        )  # fmt: skip

    for place in range(count):
        kind = chance.choice(("call", "call", "case"))
        at = start - timedelta(seconds=chance.randrange(days * 86400), microseconds=chance.choice((0, 0, 123456)))
        whose = {"agent": chance.choice(AGENTS), "queue": chance.choice(QUEUES), "area": chance.choice(AREAS)}
        dept = chance.choice(DEPTS)
        outcome = chance.choice(OUTCOMES) if kind == "call" else ""
        asked_at = at + timedelta(hours=chance.choice((0, 0, 20)))
        asked = kind == "case" or chance.random() < 0.9
        responded = outcome == "rated" or (asked and chance.random() < 0.3)
        members = []
        for _ in range(chance.choice((1, 1, 1, 7)) if kind == "case" else 1):
            subject = new_id()
            members.append(subject)
            if kind == "call":
                rows[call_keys].append({"call_key": f"a1-{place}", "subject_id": subject})
                rows[calls].append(
                    {
                        "subject_id": subject, "call_key": f"a1-{place}", "agent": whose["agent"],
                        "queue": whose["queue"], "dept": dept, "area_code": whose["area"], "outcome": outcome,
                        "source": "ivr", "ended_at": at, "created_at": at,
                    }
                )  # fmt: skip
            else:
                # Some have moved to another department since it was asked about.
                now_dept = chance.choice(DEPTS) if chance.random() < 0.5 else dept
                number = f"GD-{place}-{len(members)}"
                rows[case_keys].append({"case_no": number, "service_number": 1, "subject_id": subject})
                rows[cases].append(
                    {
                        "subject_id": subject, "case_no": number, "service_number": 1, "stub": False,
                        "title": "<b>路灯</b>", "dept_code": now_dept, "area_code": whose["area"], "created_at": at,
                    }
                )  # fmt: skip
            if responded:
                evaluated(subject, kind, at, whose, False, dept)
            elif kind == "case" and chance.random() < 0.5:
                evaluated(subject, kind, at, whose, True, dept)
        invitation = new_id()
        rows[invitations].append(
            {
                "id": invitation, "kind": kind, "state": "rated" if responded else "asked" if asked else "waiting",
                "key_map": "k", "created_at": at, "changed_at": at, "first_asked_at": asked_at if asked else None,
                "asked_by": chance.choice(("voice", "sms", None)) if asked else None,
                "responded_at": asked_at + timedelta(days=2) if asked and responded else None,
                "asked_kind": chance.choice((kind, kind, None)) if asked else None,
                "asked_agent": whose["agent"] if asked else None, "asked_queue": whose["queue"] if asked else None,
                "asked_dept": dept if asked else None, "asked_area": whose["area"] if asked else None,
            }
        )  # fmt: skip
        rows[invitation_members] += [{"invitation_id": invitation, "subject_id": subject} for subject in members]
    with database.write_engine.begin() as connection:
        for table, values in rows.items():
            if values:
                connection.execute(insert(table), values)
        connection.execute(insert(meta).values(key="directory.version", value=new_id()))
        rebuild(connection)
