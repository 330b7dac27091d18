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
from intake.deadlines import DeadlineRules
from intake.posted import read_case, read_patch
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
    deadlines=DeadlineRules(area_code="622900"),
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


@pytest.mark.parametrize(
    ("phone", "reason"),
    [
        ("0930-6212345", "landline"),
        (None, "anonymous"),
        ("+1 212 555 2368", "foreign"),
        ("10086", "short"),
        ("8001", "internal"),
        ("1380000000112", "invalid"),
    ],
)
def test_a_number_that_no_sms_can_reach_is_kept_with_its_reason_and_asked_nothing(
    post: Post, rows: Any, wakes: Wakes, phone: str | None, reason: str
) -> None:
    verdict = post(phone=phone)
    assert brief(verdict) == (201, Invited.NONE, reason)
    assert verdict.deadline == DEADLINE
    [case], [invitation] = rows(cases), rows(invitations)
    assert (case.number_kind, invitation.number_kind, invitation.state, invitation.reason) == (
        reason,
        reason,
        "impossible",
        reason,
    )
    assert (invitation.due_at, invitation.number_sealed, invitation.ended_at) == (None, None, START)
    assert wakes == []


@pytest.mark.parametrize(
    ("closed_at", "expected"),
    [
        ("2026-11-17T10:00:00", WAITING),
        ("2026-11-17T09:59:59", (201, Invited.NONE, "too_old")),
        ("2026-11-02T10:00:00", (201, Invited.NONE, "too_old")),
    ],
)
def test_a_case_that_comes_late_is_stored_and_not_asked(post: Post, rows: Any, closed_at: str, expected: Any) -> None:
    assert brief(post(closed_at=closed_at)) == expected
    assert len(rows(cases)) == 1


def test_a_clock_that_is_a_little_ahead_asks_nobody_before_the_case_is_closed(
    post: Post, rows: Any, wakes: Wakes
) -> None:
    assert brief(post(closed_at="2026-11-18T10:05:00")) == WAITING
    assert rows(invitations)[0].due_at == START + timedelta(minutes=5)
    assert wakes == []


@pytest.mark.parametrize(
    ("origins", "reason"),
    [(["citizen"], "opted_out"), (["carrier"], "carrier_opt_out"), (["carrier", "citizen"], "carrier_opt_out")],
)
def test_who_wants_no_sms_is_asked_nothing(
    post: Post, change: Any, keyring: Keyring, origins: list[str], reason: str
) -> None:
    for origin in origins:
        change(insert(opt_outs).values(id=new_id(), number_hash=keyring.hash(SEALED), origin=origin, at=START))
    assert brief(post()) == (201, Invited.NONE, reason)
    change(update(opt_outs).values(ended_at=START))
    assert brief(post("GD-2")) == WAITING


def test_a_reopened_case_is_a_new_subject(post: Post, rows: Any) -> None:
    assert brief(post()) == WAITING
    assert brief(post(service_number=2)) == WAITING
    assert post().status == post(service_number=2).status == 200
    first, second = rows(cases)
    assert first.subject_id != second.subject_id
    assert (first.service_number, second.service_number) == (1, 2)
    assert len(rows(invitations)) == 2


def test_one_list_is_decided_in_its_order(post_all: PostAll, rows: Any) -> None:
    verdicts = post_all(posted(), posted(), posted(agent="1"), posted("GD-2"))
    assert [verdict.status for verdict in verdicts] == [201, 200, 409, 201]
    assert [row.case_no for row in rows(cases)] == ["GD-1", "GD-2"]


def test_what_another_system_posted_is_not_told(post: Post, rows: Any) -> None:
    post(dept_name="城管局")
    verdict = post(poster=OTHER, dept_name="住建局")
    assert (verdict.status, [problem.field for problem in verdict.problems]) == (409, ["case_no"])
    assert post(poster=OTHER, dept_name="城管局").status == 200
    assert [row.posted_by for row in rows(cases)] == ["gongdan"]


def test_a_commit_whose_answer_is_lost_is_201_once_more(
    post_all: PostAll, database: Database, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, lost = database.write_engine.dialect.do_commit, [True]

    def do_commit(dbapi: Any) -> None:
        commit(dbapi)
        if lost:
            lost.clear()
            raise OSError("the answer to COMMIT is lost")

    monkeypatch.setattr(database.write_engine.dialect, "do_commit", do_commit)
    verdicts = post_all(posted(), posted("GD-2", batch_id="B"))
    assert [brief(verdict) for verdict in verdicts] == [WAITING, WAITING]
    assert [len(rows(table)) for table in (cases, invitations, audit)] == [2, 2, 2]


def test_no_number_in_clear_is_anywhere(post: Post, patch: Post, rows: Any) -> None:
    post(title="路灯")
    patch(phone="13900000002")
    for table in (cases, invitations, audit):
        for row in rows(table):
            assert all("800000001" not in value and "900000002" not in value for value in row if isinstance(value, str))
            assert all(b"00000001" not in value and b"00000002" not in value for value in row if type(value) is bytes)


# ── batches and themes ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["batch_id", "theme_id"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_group_is_asked_when_it_is_complete(
    post: Post, rows: Any, clock: TurnedClock, wakes: Wakes, kind: str
) -> None:
    group = {kind: "B1", "group_size": 3}
    assert brief(post("GD-1", **group)) == WAITING
    assert [row.due_at for row in rows(invitations)] == [START + HALF_AN_HOUR]
    clock.turn(timedelta(minutes=10))
    assert brief(post("GD-2", **group)) == JOINED
    assert [row.due_at for row in rows(invitations)] == [START + timedelta(minutes=40)], "after its newest member"
    assert wakes == []
    clock.turn(timedelta(minutes=10))
    assert brief(post("GD-3", **group)) == JOINED
    [invitation] = rows(invitations)
    assert (invitation.due_at, invitation.group_key) == (START + timedelta(minutes=20), f"{kind[:5]}:B1")
    assert len(wakes) == 1
    assert {row.invitation_id for row in rows(invitation_members)} == {invitation.id}
    assert len(rows(invitation_members)) == 3


def test_a_group_that_comes_in_one_list_is_asked_at_once(post_all: PostAll, rows: Any, kind: str) -> None:
    verdicts = post_all(*(posted(f"GD-{place}", **{kind: "B1", "group_size": 70}) for place in range(70)))
    assert [verdict.invited for verdict in verdicts] == [Invited.WAITING, *[Invited.JOINED] * 69]
    [invitation] = rows(invitations)
    assert invitation.due_at == START
    assert len(rows(invitation_members)) == 70


def test_a_group_of_unknown_size_waits_for_half_an_hour_after_its_newest(
    post: Post, rows: Any, clock: TurnedClock, kind: str
) -> None:
    post("GD-1", **{kind: "B1"})
    clock.turn(timedelta(minutes=29))
    post("GD-2", **{kind: "B1"})
    assert [row.due_at for row in rows(invitations)] == [START + timedelta(minutes=59)]


def test_a_group_has_one_phone(post: Post, post_all: PostAll, rows: Any, kind: str) -> None:
    group = {kind: "B1"}
    post("GD-1", **group)
    verdict = post("GD-2", phone="13800000002", **group)
    assert (verdict.status, [problem.field for problem in verdict.problems]) == (409, ["phone"])
    assert len(rows(cases)) == 1
    verdicts = post_all(posted("GD-3", **{kind: "B2"}), posted("GD-4", phone=None, **{kind: "B2"}))
    assert [verdict.status for verdict in verdicts] == [201, 409]
    assert brief(post("GD-2", phone="13800000002", **{kind: "B3"})) == WAITING


def test_a_batch_and_a_theme_of_one_name_are_two(post: Post, rows: Any) -> None:
    post("GD-1", batch_id="B1")
    assert brief(post("GD-2", phone="13800000002", theme_id="B1")) == WAITING
    assert {row.group_key for row in rows(invitations)} == {"batch:B1", "theme:B1"}


def asked_by_sms(change: Any, rows: Any, **more: Any) -> Any:
    [invitation] = rows(invitations)
    values = {"state": "asked", "due_at": None, "first_asked_at": START, "asked_by": "sms", **more}
    change(update(invitations).where(invitations.c.id == invitation.id).values(**values))
    return invitation


def rated_by_sms(change: Any, invitation: Any, level: int = 5, reasons: str | None = None) -> str:
    rating = new_id()
    change(
        insert(ratings).values(
            id=rating,
            invitation_id=invitation.id,
            message_id=new_id(),
            channel="sms",
            origin="citizen",
            raw_input="5",
            key_map=RULES.key_map,
            satisfaction=level,
            reasons=reasons,
            rated_at=START,
            late=False,
            created_at=START,
        )
    )
    return rating


def test_a_later_member_joins_an_open_group(post: Post, rows: Any, change: Any, kind: str) -> None:
    post("GD-1", **{kind: "B1"})
    asked_by_sms(change, rows)
    assert brief(post("GD-2", **{kind: "B1"})) == JOINED
    [invitation] = rows(invitations)
    assert (invitation.state, invitation.due_at) == ("asked", None)
    assert len(rows(invitation_members)) == 2


@pytest.mark.parametrize(
    ("level", "reasons", "wait"), [(5, None, 0), (1, "110", 0), (1, None, 8)], ids=["good", "with its reason", "bad"]
)
def test_after_the_rating_a_later_member_takes_a_copy(
    post: Post, rows: Any, change: Any, clock: TurnedClock, kind: str, level: int, reasons: str | None, wait: int
) -> None:
    post("GD-1", **{kind: "B1"})
    group = asked_by_sms(change, rows, state="rated", ended_at=START, group_key=None)
    rating = rated_by_sms(change, group, level, reasons)
    clock.turn(timedelta(minutes=2))
    verdict = post("GD-2", dept_name="城管局", area_code="622901", **{kind: "B1"})
    assert brief(verdict) == (201, Invited.NONE, "rated")
    [copy], [waiting], [fed] = rows(evaluations), rows(outbox), rows(feed)
    case = next(row for row in rows(cases) if row.case_no == "GD-2")
    assert (copy.subject_id, copy.rating_id, copy.assess_number, copy.effective) == (case.subject_id, rating, 1, True)
    assert (copy.satisfaction, copy.channel, copy.origin, copy.reasons) == (level, "sms", "citizen", reasons)
    assert (copy.project_no, copy.assess_time, copy.dept_name) == ("GD-2", START, "城管局")
    assert (copy.area_code, copy.service_name) == ("622901", RULES.service_name)
    assert (waiting.evaluation_id, waiting.not_before - clock.now()) == (copy.id, timedelta(minutes=wait))
    assert (fed.subject_id, fed.assess_number) == (case.subject_id, 1)
    assert len(rows(invitations)) == 1
    assert brief(post("GD-2", dept_name="城管局", area_code="622901", **{kind: "B1"})) == (200, Invited.NONE, "rated")


@pytest.mark.parametrize("state", ["expired", "superseded", "defaulted"])
def test_a_group_that_nobody_rated_is_not_asked_again(
    post: Post, rows: Any, change: Any, kind: str, state: str
) -> None:
    post("GD-1", **{kind: "B1"})
    asked_by_sms(change, rows, state=state)  # the group's key was left in place
    assert brief(post("GD-2", **{kind: "B1"})) == (201, Invited.NONE, state)
    assert len(rows(invitations)) == 1


@pytest.mark.parametrize("state", ["impossible", "withdrawn"])
def test_a_group_that_was_never_asked_is_asked_by_its_next_member(
    post: Post, rows: Any, change: Any, kind: str, state: str
) -> None:
    post("GD-1", **{kind: "B1"})
    asked_by_sms(change, rows, state=state, reason="unsent")
    assert brief(post("GD-2", **{kind: "B1"})) == WAITING
    assert [row.state for row in rows(invitations)] == [state, "waiting"]


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_before_the_first_sms_everything_may_be_changed(
    post: Post, patch: Post, rows: Any, keyring: Keyring, clock: TurnedClock, wakes: Wakes
) -> None:
    post(title="路灯", dept_name="城管局", consent=True)
    clock.turn(timedelta(minutes=1))
    verdict = patch(phone="13800000002", title="井盖", closed_at="2026-11-17T12:00:00", consent=None, agent=7)
    assert brief(verdict) == (200, Invited.WAITING, None)
    assert verdict.deadline == DEADLINE - timedelta(days=1)
    [case] = rows(cases)
    assert (case.title, case.dept_name, case.consent, case.agent) == ("井盖", "城管局", None, "7")
    assert keyring.open(case.number_sealed) == "+8613800000002"
    old, new = rows(invitations)
    assert (old.state, old.reason, old.number_sealed) == ("withdrawn", "changed", None)
    assert (new.state, new.due_at, new.not_after) == ("waiting", clock.now(), DEADLINE - timedelta(days=1))
    assert keyring.open(new.number_sealed) == "+8613800000002"
    assert [(row.invitation_id, row.subject_id) for row in rows(invitation_members)] == [(new.id, case.subject_id)]
    assert [row.detail for row in rows(audit) if row.action == "case.patched"] == [
        "phone, closed_at, title, agent, consent"
    ]
    assert len(wakes) == 2


def test_a_change_of_words_leaves_the_invitation(post: Post, patch: Post, rows: Any) -> None:
    post()
    [before] = rows(invitations)
    assert brief(patch(title="井盖", lang="en")) == (200, Invited.WAITING, None)
    [after] = rows(invitations)
    assert (after.id, after.due_at, after.lang, after.number_sealed) == (
        before.id,
        before.due_at,
        "en",
        before.number_sealed,
    )


def test_what_was_patched_is_the_content_that_counts(post: Post, patch: Post) -> None:
    post()
    patch(title="井盖")
    assert post().status == 409
    assert post(title="井盖").status == 200
    assert patch(title="井盖").status == 200


def test_after_the_first_sms_the_phone_stays(post: Post, patch: Post, rows: Any, change: Any) -> None:
    post()
    asked_by_sms(change, rows)
    verdict = patch(phone="13800000002", title="井盖")
    assert (verdict.status, [problem.field for problem in verdict.problems]) == (409, ["phone"])
    assert rows(cases)[0].title is None, "all or nothing"
    assert brief(patch(phone=PHONE, title="井盖")) == (200, Invited.WAITING, None)
    verdict = patch(closed_at="2026-11-17T12:00:00", dept_name="城管局")
    assert verdict.deadline == DEADLINE - timedelta(days=1)
    [invitation] = rows(invitations)
    assert invitation.state == "asked"


def test_an_sms_that_a_link_has_counts_as_the_first(post: Post, patch: Post, rows: Any, change: Any) -> None:
    """Between the hand-over and its answer the invitation still waits."""
    post()
    [invitation] = rows(invitations)
    change(update(invitations).values(due_at=None))
    message = {
        "direction": "out",
        "kind": "invitation",
        "invitation_id": invitation.id,
        "created_at": START,
        "changed_at": START,
    }
    change(insert(messages).values(id=new_id(), state="handed", handed_at=START, **message))
    assert patch(phone="13800000002").status == 409


def test_a_new_phone_cancels_what_is_queued_for_the_old_one(post: Post, patch: Post, rows: Any, change: Any) -> None:
    post()
    [invitation] = rows(invitations)
    change(update(invitations).values(due_at=None))
    common = {"direction": "out", "invitation_id": invitation.id, "created_at": START, "changed_at": START}
    change(insert(messages).values(id=new_id(), kind="invitation", state="queued", **common))
    change(insert(codes).values(id=new_id(), code="07", invitation_id=invitation.id, given_at=START))
    assert brief(patch(phone="13800000002")) == (200, Invited.WAITING, None)
    assert [(row.state, row.reason) for row in rows(messages)] == [("cancelled", "changed")]
    assert [row.ended_at for row in rows(codes)] == [START]
    assert [row.state for row in rows(invitations)] == ["withdrawn", "waiting"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"phone": None}, {"phone": PHONE}, (200, Invited.WAITING, None)),
        ({}, {"phone": "09306212345"}, (200, Invited.NONE, "landline")),
        ({}, {"phone": None}, (200, Invited.NONE, "anonymous")),
        ({"closed_at": "2026-11-10T10:00:00"}, {"closed_at": "2026-11-18T09:00:00"}, (200, Invited.WAITING, None)),
        ({}, {"closed_at": "2026-11-10T10:00:00"}, (200, Invited.NONE, "too_old")),
        ({"closed_at": "2026-11-10T10:00:00"}, {"title": "x"}, (200, Invited.NONE, "too_old")),
    ],
)
def test_a_change_decides_anew_whether_a_case_is_asked(
    post: Post, patch: Post, before: dict[str, Any], after: dict[str, Any], expected: Any
) -> None:
    post(**before)
    assert brief(patch(**after)) == expected


def test_a_case_moves_from_one_batch_to_another(post: Post, patch: Post, rows: Any) -> None:
    post("GD-1", batch_id="B1")
    post("GD-2", batch_id="B1")
    post("GD-3", batch_id="B2", phone="13800000002")
    assert patch("GD-2", batch_id="B2").status == 409
    assert brief(patch("GD-2", batch_id="B3")) == (200, Invited.WAITING, None)
    assert brief(patch("GD-2", batch_id="B1")) == (200, Invited.JOINED, None)
    assert brief(patch("GD-2", batch_id=None)) == (200, Invited.WAITING, None)
    assert patch("GD-1", group_size=1, batch_id=None).status == 422
    by_case: dict[str, list[Any]] = {}
    names = {row.subject_id: row.case_no for row in rows(cases)}
    states = {row.id: row for row in rows(invitations)}
    for row in rows(invitation_members):
        by_case.setdefault(names[row.subject_id], []).append(states[row.invitation_id])
    assert {name: [(row.state, row.group_key) for row in found] for name, found in by_case.items()} == {
        "GD-1": [("waiting", "batch:B1")],
        "GD-2": [("waiting", None)],
        "GD-3": [("waiting", "batch:B2")],
    }


def test_a_smaller_batch_may_be_complete(post: Post, patch: Post, rows: Any, wakes: Wakes) -> None:
    post("GD-1", batch_id="B1", group_size=3)
    post("GD-2", batch_id="B1", group_size=3)
    assert brief(patch("GD-2", group_size=2)) == (200, Invited.JOINED, None)
    assert [row.due_at for row in rows(invitations)] == [START]
    assert len(wakes) == 1


def test_a_new_phone_of_a_batchs_only_case_asks_anew(
    post: Post, patch: Post, rows: Any, keyring: Keyring, kind: str
) -> None:
    group = {kind: "B1", "group_size": 2}
    post("GD-1", **group)
    assert brief(patch("GD-1", phone="13800000002")) == (200, Invited.WAITING, None)
    old, new = rows(invitations)
    assert (old.state, old.reason, old.group_key, old.number_sealed) == ("withdrawn", "changed", None, None)
    assert (new.state, new.group_key, new.due_at) == ("waiting", f"{kind[:5]}:B1", START + HALF_AN_HOUR)
    assert keyring.open(new.number_sealed) == "+8613800000002"
    assert [row.invitation_id for row in rows(invitation_members)] == [new.id]
    assert brief(post("GD-2", phone="13800000002", **group)) == JOINED
    assert {row.invitation_id for row in rows(invitation_members)} == {new.id}


def test_a_batchs_only_case_that_cannot_be_asked_any_more_says_why(
    post: Post, patch: Post, rows: Any, kind: str
) -> None:
    post("GD-1", **{kind: "B1"})
    assert brief(patch("GD-1", phone=None)) == (200, Invited.NONE, "anonymous")
    assert brief(patch("GD-1", phone=PHONE)) == (200, Invited.WAITING, None)
    assert brief(patch("GD-1", closed_at="2026-11-17T06:00:00")) == (200, Invited.NONE, "too_old")
    assert brief(patch("GD-1", closed_at="2026-11-18T09:50:00")) == (200, Invited.WAITING, None)
    states = [(row.state, row.reason) for row in rows(invitations)]
    assert states == [
        ("withdrawn", "changed"),
        ("impossible", "anonymous"),
        ("withdrawn", "changed"),
        ("impossible", "too_old"),
        ("waiting", None),
    ]
    assert len(rows(invitation_members)) == 1


def test_a_case_that_was_too_old_comes_back_to_its_batch_that_is_open(
    post: Post, patch: Post, rows: Any, kind: str
) -> None:
    assert brief(post("GD-1", closed_at="2026-11-17T06:00:00", **{kind: "B1"})) == (201, Invited.NONE, "too_old")
    assert brief(post("GD-2", **{kind: "B1"})) == WAITING
    assert brief(patch("GD-1", closed_at="2026-11-18T09:00:00")) == (200, Invited.JOINED, None)
    _, group = rows(invitations)
    assert [row.invitation_id for row in rows(invitation_members)] == [group.id] * 2


def test_a_case_without_its_batch_comes_to_its_theme(post: Post, patch: Post, rows: Any) -> None:
    post("GD-1", theme_id="T1")
    post("GD-2", theme_id="T1", batch_id="B1")
    assert brief(patch("GD-2", batch_id=None)) == (200, Invited.JOINED, None)
    theme, batch = rows(invitations)
    assert (theme.state, batch.state, batch.reason) == ("waiting", "withdrawn", "changed")
    assert [row.invitation_id for row in rows(invitation_members)] == [theme.id] * 2


def test_a_new_phone_beside_a_withdrawn_case_leaves_nobody_to_ask_at_the_old_one(
    post_all: PostAll, patch: Post, desk: CaseDesk, rows: Any
) -> None:
    post_all(posted("GD-1", batch_id="B1"), posted("GD-2", batch_id="B1"))
    desk.withdraw("GD-2", None, SYSTEM).result(WAIT)
    assert brief(patch("GD-1", phone="13800000002")) == (200, Invited.WAITING, None)
    assert [(row.state, row.group_key) for row in rows(invitations)] == [
        ("withdrawn", None),
        ("waiting", "batch:B1"),
    ]


@pytest.mark.parametrize("state", ["asked", "rated", "expired", "superseded", "defaulted"])
def test_a_case_that_was_asked_stays_in_its_batch(
    post: Post, patch: Post, rows: Any, change: Any, kind: str, state: str
) -> None:
    post("GD-1")
    asked_by_sms(change, rows, state=state)
    verdict = patch("GD-1", **{kind: "B1"})
    assert (verdict.status, [problem.field for problem in verdict.problems]) == (409, [kind])
    assert getattr(rows(cases)[0], kind) is None
    assert brief(post("GD-2", **{kind: "B1"})) == WAITING
    assert patch("GD-1", title="x").status == 200


def test_a_theme_takes_no_rating_of_a_batch(post: Post, rows: Any, change: Any) -> None:
    post("GD-1", batch_id="B1", theme_id="T1")
    rated_by_sms(change, asked_by_sms(change, rows, state="rated", ended_at=START, group_key=None))
    assert brief(post("GD-2", theme_id="T1")) == WAITING
    assert brief(post("GD-3", batch_id="B1", theme_id="T1")) == (201, Invited.NONE, "rated")


@pytest.mark.parametrize("changes", [{"title": "x"}, {"phone": "13800000002"}, {}])
def test_what_is_not_this_systems_is_unknown(post: Post, patch: Post, desk: CaseDesk, changes: dict[str, Any]) -> None:
    post()
    for verdict in (
        patch("GD-9", **changes),
        patch("GD-1", poster=OTHER, **changes),
        patch("GD-1", nth=2, **changes),
        desk.withdraw("GD-9", None, SYSTEM).result(WAIT),
        desk.withdraw("GD-1", None, OTHER).result(WAIT),
        desk.withdraw("GD-1", 2, SYSTEM).result(WAIT),
    ):
        assert (verdict.status, [problem.field for problem in verdict.problems]) == (404, ["case_no"])


def test_without_a_number_the_latest_closing_is_meant(post: Post, patch: Post, desk: CaseDesk, rows: Any) -> None:
    post()
    post(service_number=2)
    assert patch(title="井盖").service_number == 2
    assert patch(nth=1, title="路灯").service_number == 1
    assert desk.withdraw("GD-1", None, SYSTEM).result(WAIT).service_number == 2
    assert [(row.title, row.withdrawn_at) for row in rows(cases)] == [("路灯", None), ("井盖", START)]


# ── withdrawals ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", ["waiting", "asked"])
def test_a_withdrawn_case_is_asked_nothing_more_and_has_no_deadline(
    post: Post, patch: Post, desk: CaseDesk, rows: Any, change: Any, state: str
) -> None:
    post()
    [invitation] = rows(invitations)
    if state == "asked":
        asked_by_sms(change, rows)
    common = {"direction": "out", "invitation_id": invitation.id, "created_at": START, "changed_at": START}
    for kind, held in (("reminder", "queued"), ("opted_out", "queued"), ("invitation", "sent")):
        change(insert(messages).values(id=new_id(), kind=kind, state=held, **common))
    change(insert(codes).values(id=new_id(), code="07", invitation_id=invitation.id, given_at=START))
    verdict = desk.withdraw("GD-1", None, SYSTEM).result(WAIT)
    assert brief(verdict) == (200, Invited.NONE, "withdrawn")
    assert (verdict.deadline, verdict.provisional) == (None, False)
    [case], [ended] = rows(cases), rows(invitations)
    assert (case.withdrawn_at, case.deadline) == (START, None)
    assert (ended.state, ended.ended_at, ended.due_at, ended.number_hash) == ("withdrawn", START, None, None)
    states = {row.kind: row.state for row in rows(messages)}
    assert states == {"reminder": "cancelled", "opted_out": "queued", "invitation": "sent"}
    assert [row.ended_at for row in rows(codes)] == [START]
    again = desk.withdraw("GD-1", None, SYSTEM).result(WAIT)
    assert brief(again) == (200, Invited.NONE, "withdrawn")
    assert [row.action for row in rows(audit)] == ["case.posted", "case.withdrawn"]
    assert patch(title="x").status == 409
    assert brief(post()) == (200, Invited.NONE, "withdrawn")


def test_a_batch_goes_on_without_a_withdrawn_case(post_all: PostAll, desk: CaseDesk, rows: Any) -> None:
    post_all(posted("GD-1", batch_id="B1"), posted("GD-2", batch_id="B1"))
    desk.withdraw("GD-1", None, SYSTEM).result(WAIT)
    assert [row.state for row in rows(invitations)] == ["waiting"]
    desk.withdraw("GD-2", None, SYSTEM).result(WAIT)
    assert [(row.state, row.group_key) for row in rows(invitations)] == [("withdrawn", None)]


def test_two_processes_post_the_same_case_at_once(
    make_door: Callable[..., Door], keyring: Keyring, clock: TurnedClock, rows: Any
) -> None:
    """Whoever commits second reads the first: one case, one invitation, one batch."""
    doors = [make_door() for _ in range(2)]
    desks = [CaseDesk(door, keyring, clock, RULES) for door in doors]
    raws = [posted(f"GD-{place}", **({"batch_id": "B1"} if place % 2 else {})) for place in range(20)]
    read = [read_case(raw, clock.now()) for raw in raws]
    futures = [future for desk in desks for future in desk.post(read, SYSTEM)]
    statuses = [future.result(WAIT).status for future in futures]
    assert sorted(statuses) == [200] * 20 + [201] * 20
    assert len(rows(cases)) == 20
    assert len(rows(invitations)) == 11
    assert len(rows(invitation_members)) == 20
    if not doors[0].database.is_sqlite:  # there a second writer waits for the first from its beginning on
        assert [door.statistics.failed_groups for door in doors] == [0, 0], "none has to run its cases one by one"
