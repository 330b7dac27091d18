"""Cases come in: what a post, a change and a withdrawal store, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, insert, select, update

from intake.asking import Invited
from intake.casebook import CaseRules
from intake.cases import CaseDesk, Poster, Verdict
from intake.posted import read_case, read_patch
from intake.workdays import WorkingDays
from models.clock import SHANGHAI, TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import (
    audit,
    cases,
    codes,
    evaluations,
    feed,
    invitation_members,
    invitations,
    messages,
    opt_outs,
    outbox,
    ratings,
)
from tests.moments import START

RULES = CaseRules(
    key_map="1=5,2=4,3=3,4=2,5=1",
    area_code="622900",
    service_name="12345热线",
    max_age=timedelta(hours=24),
    group_wait=timedelta(minutes=30),
    reason_hold=timedelta(minutes=10),
    working_days=5,
    days=WorkingDays(),
)
SYSTEM = Poster("gongdan", "token:gongdan")
OTHER = Poster("other", "token:other")
PHONE = "13800000001"
SEALED = "+8613800000001"
WAIT = 10
DEADLINE = datetime(2026, 11, 25, 23, 59, 59, tzinfo=SHANGHAI)
HALF_AN_HOUR = timedelta(minutes=30)


class Wakes(list[None]):
    def __call__(self) -> None:
        self.append(None)


@pytest.fixture
def wakes() -> Wakes:
    return Wakes()


@pytest.fixture
def desk(door: Door, keyring: Keyring, clock: TurnedClock, wakes: Wakes) -> CaseDesk:
    return CaseDesk(door, keyring, clock, RULES, wake=wakes)


@pytest.fixture
def rows(database: Database) -> Callable[[Table], list[Any]]:
    def read(table: Table) -> list[Any]:
        with database.read_engine.connect() as connection:
            key = next(iter(table.primary_key.columns))
            return list(connection.execute(select(table).order_by(key)))

    return read


@pytest.fixture
def change(database: Database) -> Callable[[Any], None]:
    """What another part of the program writes."""

    def write(statement: Any) -> None:
        with database.write_engine.begin() as connection:
            connection.execute(statement)

    return write


def posted(case_no: str = "GD-1", **more: Any) -> dict[str, Any]:
    return {"case_no": case_no, "phone": PHONE, "closed_at": "2026-11-18T09:50:00", **more}


Post = Callable[..., Verdict]
PostAll = Callable[..., list[Verdict]]


@pytest.fixture
def post_all(desk: CaseDesk, clock: TurnedClock) -> PostAll:
    def post(*raws: dict[str, Any], poster: Poster = SYSTEM) -> list[Verdict]:
        return [future.result(WAIT) for future in desk.post([read_case(raw, clock.now()) for raw in raws], poster)]

    return post


@pytest.fixture
def post(post_all: PostAll) -> Post:
    return lambda case_no="GD-1", poster=SYSTEM, **more: post_all(posted(case_no, **more), poster=poster)[0]


@pytest.fixture
def patch(desk: CaseDesk, clock: TurnedClock) -> Post:
    def change_case(case_no: str = "GD-1", poster: Poster = SYSTEM, nth: int | None = None, **changes: Any) -> Verdict:
        return desk.patch(case_no, nth, read_patch(changes, clock.now(), case_no=case_no), poster).result(WAIT)

    return change_case


def brief(verdict: Verdict) -> tuple[int, Invited, str | None]:
    return verdict.status, verdict.invited, verdict.reason


WAITING = (201, Invited.WAITING, None)
JOINED = (201, Invited.JOINED, None)


# ── a post ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_closed_case_makes_an_invitation_that_is_due_at_once(
    post: Post, rows: Any, keyring: Keyring, wakes: Wakes
) -> None:
    verdict = post(title="路灯", dept_code="11622900", agent=42, lang="zh")
    assert brief(verdict) == WAITING
    assert (verdict.deadline, verdict.provisional, verdict.service_number) == (DEADLINE, False, 1)
    [case], [invitation], [member] = rows(cases), rows(invitations), rows(invitation_members)
    assert (case.case_no, case.service_number, case.stub, case.posted_by) == ("GD-1", 1, False, "gongdan")
    assert (case.title, case.dept_code, case.agent, case.lang) == ("路灯", "11622900", "42", "zh")
    assert (case.closed_at, case.deadline, case.provisional) == (START - timedelta(minutes=10), DEADLINE, False)
    assert keyring.open(case.number_sealed) == SEALED
    assert (invitation.kind, invitation.state, invitation.reason) == ("case", "waiting", None)
    assert (invitation.due_at, invitation.not_after, invitation.key_map) == (START, DEADLINE, RULES.key_map)
    assert keyring.open(invitation.number_sealed) == SEALED
    assert (member.invitation_id, member.subject_id) == (invitation.id, case.subject_id)
    assert [(row.actor, row.action, row.subject_id) for row in rows(audit)] == [
        ("token:gongdan", "case.posted", case.subject_id)
    ]
    assert len(wakes) == 1


def test_the_same_content_again_is_200_and_changes_nothing(post: Post, rows: Any) -> None:
    assert post(agent="0042", title="路灯").status == 201
    before = [rows(table) for table in (cases, invitations, audit)]
    again = post(agent="0042", title=" 路灯 ", phone="+86 138-0000-0001", closed_at="2026-11-18T01:50:00Z")
    assert brief(again) == (200, Invited.WAITING, None)
    assert again.deadline == DEADLINE
    assert [rows(table) for table in (cases, invitations, audit)] == before


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"phone": "13800000002"}, "phone"),
        ({"phone": None}, "phone"),
        ({"agent": "42"}, "agent"),
        ({"closed_at": "2026-11-18T09:50:01"}, "closed_at"),
        ({"consent": True}, "consent"),
        ({"dept_name": "城管局"}, "dept_name"),
    ],
)
def test_another_content_is_409_with_the_field(post: Post, rows: Any, more: dict[str, Any], field: str) -> None:
    post(agent="0042")
    before = rows(cases)
    verdict = post(**{"agent": "0042", **more})
    assert (verdict.status, [problem.field for problem in verdict.problems]) == (409, [field])
    assert rows(cases) == before
