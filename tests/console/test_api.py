"""The API's cases over real HTTP."""

from __future__ import annotations

from typing import Any

from models.tables import cases, invitations
from tests.console.conftest import Client


def posted(case_no: str = "GD-1", **more: Any) -> dict[str, Any]:
    return {"case_no": case_no, "phone": "13800000001", "closed_at": "2026-11-18T09:50:00", **more}


def test_a_posted_case_waits_for_its_sms(client: Client, rows: Any, wakes: list[None]) -> None:
    reply = client.post(posted())
    assert (reply.status, reply.body) == (
        201,
        {
            "status": 201,
            "case_no": "GD-1",
            "service_number": 1,
            "invitation": "waiting",
            "reason": None,
            "deadline": "2026-11-25T23:59:59+08:00",
            "provisional": False,
        },
    )
    assert [row.case_no for row in rows(cases)] == ["GD-1"]
    assert [row.state for row in rows(invitations)] == ["waiting"]
    assert len(wakes) == 1
    assert client.post(posted()).status == 200
    conflict = client.post(posted(agent=7))
    assert (conflict.status, conflict.body["fields"][0]["field"]) == (409, "agent")
