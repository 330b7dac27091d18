"""Calls with closed=1 and the cases they answer, in either order, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from intake.asking import Invited
from intake.cases import CaseDesk, Verdict
from intake.desk import Intake
from intake.invitations import InviteDue
from intake.manners import SendingRules
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.tables import (
    audit,
    calls,
    cases,
    codes,
    evaluations,
    invitation_members,
    invitations,
    messages,
    opt_outs,
)
from models.terms import CallOutcome, Satisfaction
from tests.intake.replying import Replying, level
from tests.intake.test_calls import FACTS
from tests.intake.test_calls import RULES as CALL_RULES
from tests.intake.test_cases import (
    DEADLINE,
    SEALED,
    SYSTEM,
    WAIT,
    WAITING,
    brief,
    change,
    desk,
    patch,
    post,
    post_all,
    posted,
    rows,
    wakes,
)
from tests.moments import START

__all__ = ["change", "desk", "patch", "post", "post_all", "rows", "wakes"]

CLOSED = replace(FACTS, case_no="GD-1", closed=True)
Post = Callable[..., Verdict]


@pytest.fixture
def intake(door: Door, keyring: Keyring, clock: TurnedClock) -> Intake:
    return Intake(door, keyring, clock, CALL_RULES)


@pytest.fixture
def members(rows: Any) -> Callable[[], dict[str, set[str]]]:
    """The members of each invitation, by what they are."""

    def read() -> dict[str, set[str]]:
        names = {row.subject_id: row.call_key for row in rows(calls)}
        names |= {row.subject_id: f"{row.case_no}/{row.service_number}" for row in rows(cases)}
        found: dict[str, set[str]] = {row.id: set() for row in rows(invitations)}
        for row in rows(invitation_members):
            found[row.invitation_id].add(names[row.subject_id])
        return found

    return read


def queue_sms(change: Any, invitation: Any, state: str = "queued") -> str:
    """As the sweep does: a message, a code, nothing more due; handed to a link, the invitation is asked."""
    identity = new_id()
    number = {
        name: getattr(invitation, name)
        for name in ("number_kind", "number_sealed", "number_hash", "number_tail", "number_key_id")
    }
    change(
        insert(messages).values(
            id=identity,
            direction="out",
            kind="invitation",
            state=state,
            **number,
            invitation_id=invitation.id,
            code="07",
            created_at=START,
            changed_at=START,
            once_key=f"invite:{invitation.id}",
            handed_at=None if state == "queued" else START,
        )
    )
    change(insert(codes).values(id=new_id(), **number, code="07", invitation_id=invitation.id, given_at=START))
    values: dict[str, Any] = {"due_at": None}
    if state != "queued":
        values |= {"state": "asked", "first_asked_at": START, "asked_by": "sms"}
    change(update(invitations).where(invitations.c.id == invitation.id).values(**values))
    return identity


# ── the call first ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_post_joins_the_call_that_is_asked_already_and_completes_its_stub(
    intake: Intake, post: Post, rows: Any, members: Any
) -> None:
    intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    [stub] = rows(cases)
    verdict = post(title="路灯", dept_name="城管局")
    assert brief(verdict) == (201, Invited.JOINED, None)
    assert verdict.deadline == DEADLINE
    [case], [invitation] = rows(cases), rows(invitations)
    assert (case.subject_id, case.stub, case.posted_by) == (stub.subject_id, False, "gongdan")
    assert (case.title, case.dept_name) == ("路灯", "城管局")
    assert (case.agent, case.dept_code) == ("2001", "11622900"), "what the call knew and the post does not say"
    assert members() == {invitation.id: {FACTS.call_key, "GD-1/1"}}
    assert (invitation.state, invitation.not_after) == ("waiting", DEADLINE)
    assert brief(post(title="路灯", dept_name="城管局")) == (200, Invited.JOINED, None)
    assert post(title="路灯", dept_name="城管局", agent="9").status == 409


def test_a_post_finds_the_rating_of_its_call(intake: Intake, post: Post, rows: Any) -> None:
    intake.rate(CLOSED, Satisfaction(4), "2", hold=False).result(WAIT)
    assert brief(post()) == (201, Invited.NONE, "rated")
    assert [row.state for row in rows(invitations)] == ["rated"]
    assert len(rows(evaluations)) == 2


def test_who_skipped_the_question_is_not_asked_by_the_case(intake: Intake, post: Post, rows: Any) -> None:
    intake.end_call(CLOSED, CallOutcome.SKIPPED).result(WAIT)
    assert brief(post()) == (201, Invited.NONE, "skipped")
    assert [row.state for row in rows(invitations)] == ["expired"]


def test_a_case_with_a_number_is_asked_though_its_call_could_not_be(
    intake: Intake, post: Post, rows: Any, members: Any, keyring: Keyring
) -> None:
    intake.end_call(replace(CLOSED, number=None), CallOutcome.NO_INPUT).result(WAIT)
    assert brief(post()) == WAITING
    call_s, case_s = rows(invitations)
    assert (call_s.state, call_s.reason) == ("impossible", "anonymous")
    assert (case_s.state, case_s.kind) == ("waiting", "case")
    assert keyring.open(case_s.number_sealed) == SEALED
    assert members() == {call_s.id: {FACTS.call_key}, case_s.id: {"GD-1/1"}}


def test_a_withdrawn_case_leaves_its_call_asked(intake: Intake, post: Post, desk: CaseDesk, rows: Any) -> None:
    intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    post()
    desk.withdraw("GD-1", None, SYSTEM).result(WAIT)
    assert [row.state for row in rows(invitations)] == ["waiting"]
    intake.rate(CLOSED, Satisfaction(5), "1", hold=False).result(WAIT)
    assert [row.subject_kind for row in rows(evaluations)] == ["call"]
    assert [row.detail for row in rows(audit) if row.action == "rating.stored"] == ["case withdrawn"]
    assert [row.state for row in rows(invitations)] == ["rated"]


@pytest.mark.parametrize("queued", [False, True])
def test_a_new_phone_parts_a_case_from_its_call(
    intake: Intake,
    post: Post,
    patch: Post,
    rows: Any,
    members: Any,
    change: Any,
    keyring: Keyring,
    door: Door,
    queued: bool,
) -> None:
    """The caller is asked about the call alone, by a text that does not name the case."""
    intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    assert brief(post()) == (201, Invited.JOINED, None)
    [joined] = rows(invitations)
    if queued:
        queue_sms(change, joined)
    assert brief(patch(phone="13800000002")) == (200, Invited.WAITING, None)
    of_call, of_case = rows(invitations)
    assert members() == {of_call.id: {FACTS.call_key}, of_case.id: {"GD-1/1"}}
    assert (of_call.kind, of_call.state, of_call.not_after) == ("call", "waiting", START + timedelta(hours=24))
    assert (of_call.due_at, of_call.first_asked_at) == (START if queued else joined.due_at, START)
    assert keyring.open(of_call.number_sealed) == SEALED
    assert (of_case.kind, of_case.state, of_case.due_at, of_case.not_after) == ("case", "waiting", START, DEADLINE)
    assert keyring.open(of_case.number_sealed) == "+8613800000002"
    assert [(row.state, row.reason, row.once_key) for row in rows(messages)] == [
        ("cancelled", "changed", None)
    ] * queued
    rules = SendingRules(
        opening=lambda moment: moment,
        daily_cap=3,
        code_digits=2,
        carrier_of=lambda _number: "mobile",
        extensions=lambda _carrier: True,
        open_number=keyring.open,
    )
    assert door.submit(InviteDue(START + CALL_RULES.invite_after, rules)).result(WAIT).queued == 2
    made = {row.invitation_id: json.loads(row.fields) for row in rows(messages) if row.state == "queued"}
    assert {key: (fields["subject"], fields.get("case_no")) for key, fields in made.items()} == {
        of_call.id: ("call", None),
        of_case.id: ("case", "GD-1"),
    }
    assert {row.invitation_id for row in rows(codes) if row.ended_at is None} == {of_call.id, of_case.id}


def test_a_case_that_lost_its_phone_is_not_asked_by_its_call(
    intake: Intake, post: Post, patch: Post, rows: Any, members: Any
) -> None:
    intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    post()
    assert brief(patch(phone=None)) == (200, Invited.NONE, "anonymous")
    of_call, of_case = rows(invitations)
    assert (of_call.state, of_case.state) == ("waiting", "impossible")
    assert members() == {of_call.id: {FACTS.call_key}, of_case.id: {"GD-1/1"}}


def test_after_the_calls_sms_the_phone_of_its_case_stays(
    intake: Intake, post: Post, patch: Post, rows: Any, change: Any
) -> None:
    intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    post()
    queue_sms(change, rows(invitations)[0], "handed")
    verdict = patch(phone="13800000002")
    assert (verdict.status, [problem.field for problem in verdict.problems]) == (409, ["phone"])


def test_a_call_that_joined_its_case_is_asked_at_the_old_phone(
    intake: Intake, post: Post, patch: Post, rows: Any, members: Any, keyring: Keyring
) -> None:
    post(batch_id="B1")
    intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    assert brief(patch(phone="13800000002")) == (200, Invited.WAITING, None)
    of_call, of_case = rows(invitations)
    assert members() == {of_call.id: {FACTS.call_key}, of_case.id: {"GD-1/1"}}
    assert (of_call.kind, of_call.state, of_call.group_key) == ("call", "waiting", None)
    assert keyring.open(of_call.number_sealed) == SEALED
    assert (of_case.group_key, keyring.open(of_case.number_sealed)) == ("batch:B1", "+8613800000002")


# ── the case first ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", ["due", "queued", "handed"])
def test_a_rating_in_a_call_closes_the_cases_own_invitation(
    intake: Intake, post: Post, rows: Any, change: Any, members: Any, state: str
) -> None:
    post(area_code="622901", dept_name="城管局")
    [own] = rows(invitations)
    if state != "due":
        queue_sms(change, own, state)
    intake.rate(CLOSED, Satisfaction(4), "2", hold=False).result(WAIT)
    own, of_call = rows(invitations)
    assert (own.state, own.kind, own.ended_at, own.due_at) == ("rated", "case", START, None)
    assert (own.number_sealed, own.number_hash, own.number_tail, own.number_key_id) == (None, None, None, None)
    assert own.first_asked_at == (START if state == "handed" else None), "a question in a call is the call's"
    assert (of_call.state, of_call.kind, of_call.asked_by) == ("rated", "call", "voice")
    assert members() == {own.id: {"GD-1/1"}, of_call.id: {FACTS.call_key}}
    assert [row.state for row in rows(messages)] == {"due": [], "queued": ["cancelled"], "handed": ["handed"]}[state]
    assert [row.ended_at for row in rows(codes)] == ([] if state == "due" else [START])
    of_case = next(row for row in rows(evaluations) if row.subject_kind == "case")
    assert (of_case.area_code, of_case.dept_name, of_case.satisfaction) == ("622901", "城管局", 4)


def test_a_call_left_unrated_joins_the_case_that_is_asked_already(
    intake: Intake, post: Post, rows: Any, members: Any
) -> None:
    post()
    assert intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    [invitation] = rows(invitations)
    assert members() == {invitation.id: {FACTS.call_key, "GD-1/1"}}
    assert (invitation.due_at, invitation.first_asked_at, invitation.asked_by) == (START, START, "voice")
    intake.rate(CLOSED, Satisfaction(5), "1", hold=False).result(WAIT)
    [invitation] = rows(invitations)
    assert (invitation.state, invitation.number_sealed) == ("rated", None)


def test_a_call_that_joined_a_batch_drops_out_alone(intake: Intake, post_all: Any, rows: Any, members: Any) -> None:
    post_all(posted("GD-1", batch_id="B"), posted("GD-2", batch_id="B"))
    intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    intake.rate(CLOSED, Satisfaction(5), "1", hold=False).result(WAIT)
    [invitation] = rows(invitations)
    assert (invitation.state, invitation.group_key) == ("waiting", "batch:B")
    assert len(members()[invitation.id]) == 3


@pytest.mark.parametrize("kind", ["batch_id", "theme_id"])
def test_a_rating_in_a_call_is_none_of_the_batch(
    intake: Intake, post_all: Any, post: Post, patch: Post, desk: CaseDesk, rows: Any, kind: str
) -> None:
    post_all(posted("GD-1", **{kind: "B"}), posted("GD-2", **{kind: "B"}))
    desk.withdraw("GD-2", None, SYSTEM).result(WAIT)
    intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    intake.rate(CLOSED, Satisfaction(1), "5", hold=False).result(WAIT)
    verdict = patch("GD-1", **{kind: "C"})
    assert (verdict.status, [problem.field for problem in verdict.problems]) == (409, [kind])
    assert brief(post("GD-3", **{kind: "B"})) == WAITING, "GD-1's own level is no answer about GD-3"
    assert [row.state for row in rows(invitations)] == ["rated", "waiting"]
    assert len(rows(evaluations)) == 2


def test_who_skips_the_question_gets_no_sms_for_the_case(intake: Intake, post: Post, rows: Any, change: Any) -> None:
    post()
    queue_sms(change, rows(invitations)[0])
    assert not intake.end_call(CLOSED, CallOutcome.SKIPPED).result(WAIT)
    [invitation] = rows(invitations)
    assert (invitation.state, invitation.reason, invitation.ended_at) == ("expired", "skipped", START)
    assert [row.state for row in rows(messages)] == ["cancelled"]


def test_a_case_without_a_number_is_asked_by_its_call(intake: Intake, post: Post, rows: Any, members: Any) -> None:
    post(phone=None)
    assert intake.end_call(CLOSED, CallOutcome.HANGUP).result(WAIT)
    case_s, call_s = rows(invitations)
    assert (case_s.state, call_s.state) == ("impossible", "waiting")
    assert members() == {case_s.id: set(), call_s.id: {FACTS.call_key, "GD-1/1"}}


def test_two_calls_about_one_case_are_asked_apart(intake: Intake, rows: Any, members: Any) -> None:
    for key in ("c1", "c2"):
        intake.end_call(replace(CLOSED, call_key=key), CallOutcome.NO_INPUT).result(WAIT)
    first, second = rows(invitations)
    assert members() == {first.id: {"c1", "GD-1/1"}, second.id: {"c2"}}
    intake.rate(replace(CLOSED, call_key="c2"), Satisfaction(5), "1", hold=False).result(WAIT)
    assert [row.state for row in rows(invitations)] == ["waiting", "rated"], "the first call is still to be rated"
    intake.rate(replace(CLOSED, call_key="c1"), Satisfaction(5), "1", hold=False).result(WAIT)
    assert [row.state for row in rows(invitations)] == ["rated", "rated"]


# ── calls alone ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("origins", "reason"),
    [(["citizen"], "opted_out"), (["carrier"], "carrier_opt_out"), (["citizen", "carrier"], "carrier_opt_out")],
)
def test_a_caller_who_wants_no_sms_is_asked_nothing(
    intake: Intake, rows: Any, change: Any, keyring: Keyring, origins: list[str], reason: str
) -> None:
    for origin in origins:
        change(insert(opt_outs).values(id=new_id(), number_hash=keyring.hash(SEALED), origin=origin, at=START))
    assert not intake.end_call(FACTS, CallOutcome.NO_INPUT).result(WAIT)
    [invitation] = rows(invitations)
    assert (invitation.state, invitation.reason, invitation.ended_at) == ("impossible", reason, START)
    assert invitation.number_sealed is None


def test_what_a_call_says_late_does_not_ask_again(intake: Intake, rows: Any, change: Any, clock: TurnedClock) -> None:
    """The hangup handler told first, the SMS went out, and then the dialogue tells how it ended."""
    intake.end_call(FACTS, CallOutcome.NOT_OFFERED).result(WAIT)
    queue_sms(change, rows(invitations)[0], "handed")
    clock.turn(timedelta(minutes=2))
    assert not intake.end_call(FACTS, CallOutcome.HANGUP).result(WAIT)
    [invitation] = rows(invitations)
    assert (invitation.state, invitation.due_at, invitation.asked_by) == ("asked", None, "sms")
    intake.rate(FACTS, Satisfaction(5), "1", hold=False).result(WAIT)
    [invitation] = rows(invitations)
    assert (invitation.state, invitation.asked_by, invitation.number_sealed) == ("rated", "sms", None)


def test_a_queued_sms_is_not_queued_again_by_what_a_call_says_late(intake: Intake, rows: Any, change: Any) -> None:
    intake.end_call(FACTS, CallOutcome.NOT_OFFERED).result(WAIT)
    queue_sms(change, rows(invitations)[0])
    assert intake.end_call(FACTS, CallOutcome.HANGUP).result(WAIT)
    [invitation] = rows(invitations)
    assert (invitation.state, invitation.due_at, invitation.first_asked_at) == ("waiting", None, START)


# ── with replies ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def record(door: Door, database: Database, keyring: Keyring, clock: TurnedClock) -> Replying:
    """The same record, in which citizens reply."""
    return Replying(door, database, keyring, clock)


def asked(change: Any, rows: Any) -> None:
    """The only invitation goes out."""
    [invitation] = rows(invitations)
    queue_sms(change, invitation, "handed")


@pytest.mark.parametrize("kind", ["batch_id", "theme_id"])
def test_a_batch_is_rated_by_one_reply_and_a_later_case_takes_a_copy(
    post_all: Any, post: Post, rows: Any, change: Any, record: Replying, desk: CaseDesk, kind: str
) -> None:
    group = {kind: "B1", "group_size": 3}
    post_all(*(posted(f"GD-{place}", **group) for place in (1, 2, 3)))
    desk.withdraw("GD-3", None, SYSTEM).result(WAIT)
    asked(change, rows)
    record.reply(level(2, "太慢"))
    assert brief(post("GD-4", **group)) == (201, Invited.NONE, "rated")
    given = rows(evaluations)
    names = {row.subject_id: row.case_no for row in rows(cases)}
    assert {names[row.subject_id]: (row.satisfaction, row.comment) for row in given} == {
        "GD-1": (2, "太慢"),
        "GD-2": (2, "太慢"),
        "GD-4": (2, "太慢"),
    }
    assert len({row.rating_id for row in given}) == 1
    assert brief(post("GD-1", **group)) == (200, Invited.NONE, "rated")
    assert [row.state for row in rows(invitations)] == ["rated"]


def test_one_reply_rates_the_call_and_the_case_that_joined_it(
    intake: Intake, post: Post, rows: Any, change: Any, record: Replying
) -> None:
    intake.end_call(CLOSED, CallOutcome.NO_INPUT).result(WAIT)
    post(dept_name="城管局")
    asked(change, rows)
    record.reply(level(5))
    assert {(row.subject_kind, row.satisfaction, row.project_no) for row in rows(evaluations)} == {
        ("call", 5, f"H{FACTS.call_key}"),
        ("case", 5, "GD-1"),
    }
    assert not intake.rate(CLOSED, Satisfaction(1), "5", hold=False).result(WAIT).new


def test_a_reply_about_a_withdrawn_case_is_for_a_person_to_look_at(
    post: Post, rows: Any, change: Any, record: Replying, desk: CaseDesk
) -> None:
    post()
    asked(change, rows)
    desk.withdraw("GD-1", None, SYSTEM).result(WAIT)
    record.reply(level(5))
    assert rows(evaluations) == []
    assert [row.queue for row in rows(messages) if row.direction == "in"] == ["withdrawn"]
