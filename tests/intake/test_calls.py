"""From a call's rating to evaluation, outbox and audit, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, select

from intake.decide import PushCalls
from intake.desk import Intake
from intake.record import CallFacts, Record, Rules
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.tables import audit, calls, cases, evaluations, invitation_members, invitations, outbox, ratings
from models.terms import CallOutcome, Satisfaction
from tests.moments import START

RULES = Rules(
    key_map="1=5,2=4,3=3,4=2,5=1",
    area_code="622900",
    service_name="12345热线",
    push_calls=PushCalls.WITHOUT_CASE,
    keypad_reason_hold=timedelta(seconds=90),
    invite_after=timedelta(minutes=1),
    node="here",
    boot="b1",
)
FACTS = CallFacts(
    call_key="lx-1763431200.1",
    number="13800000001",
    agent="2001",
    queue="support",
    dept="11622900",
    case_no=None,
    closed=False,
    lang="zh",
    at=START,
)
WAIT = 10


@pytest.fixture
def intake(door: Door, keyring: Keyring, clock: TurnedClock) -> Intake:
    return Intake(door, keyring, clock, RULES)


@pytest.fixture
def rows(database: Database) -> Callable[[Table], list[Any]]:
    def read(table: Table) -> list[Any]:
        with database.read_engine.connect() as connection:
            return list(connection.execute(select(table)))

    return read


def test_a_rating_becomes_one_evaluation_with_its_snapshot(intake: Intake, rows: Any, keyring: Keyring) -> None:
    stored = intake.rate(FACTS, Satisfaction.SATISFIED, "2", hold=False).result(WAIT)
    assert stored.new
    [call], [rating], [evaluation], [waiting], [invitation] = map(
        rows, (calls, ratings, evaluations, outbox, invitations)
    )
    assert (call.call_key, call.outcome, call.agent, call.queue) == (FACTS.call_key, "rated", "2001", "support")
    assert keyring.open(call.number_sealed) == "+8613800000001"
    assert call.number_hash == keyring.hash("+8613800000001")
    assert (rating.raw_input, rating.key_map, rating.satisfaction) == ("2", RULES.key_map, 4)
    assert (evaluation.id, evaluation.subject_id) == (stored.evaluation_id, call.subject_id)
    assert (evaluation.project_no, evaluation.assess_number) == (f"H{FACTS.call_key}", 1)
    assert (evaluation.agent, evaluation.queue, evaluation.dept_code) == ("2001", "support", "11622900")
    assert evaluation.assess_time == START
    assert (waiting.evaluation_id, waiting.not_before, waiting.held_by) == (evaluation.id, START, None)
    assert (invitation.state, invitation.asked_by) == ("rated", "voice")
    assert [(row.action, row.subject_id) for row in rows(audit)] == [("rating.stored", call.subject_id)]


def test_a_second_rating_of_a_call_is_refused_and_nothing_is_stored(intake: Intake, rows: Any) -> None:
    first = intake.rate(FACTS, Satisfaction.SATISFIED, "2", hold=False).result(WAIT)
    second = intake.rate(FACTS, Satisfaction.VERY_DISSATISFIED, "5", hold=True).result(WAIT)
    assert (second.new, second.evaluation_id, second.satisfaction) == (False, first.evaluation_id, 4)
    assert [len(rows(table)) for table in (ratings, evaluations, outbox, audit)] == [1, 1, 1, 1]
    seen = intake.look_up(FACTS.call_key).result(WAIT)
    assert seen is not None
    assert (seen.evaluation_id, seen.satisfaction) == (first.evaluation_id, Satisfaction.SATISFIED)
    assert intake.look_up("another").result(WAIT) is None


def test_two_ratings_of_one_call_in_one_group_give_one(intake: Intake, door: Door, rows: Any) -> None:
    futures = [intake.rate(FACTS, level, "x", hold=False) for level in (Satisfaction(5), Satisfaction(1))]
    results = [future.result(WAIT) for future in futures]
    assert [result.new for result in results] == [True, False]
    assert results[1].evaluation_id == results[0].evaluation_id
    assert len(rows(evaluations)) == 1


def test_a_commit_whose_answer_is_lost_gives_the_same_result_once_more(
    door: Door, keyring: Keyring, clock: TurnedClock, database: Database, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run finds what the first one stored: it is this caller's own rating, and no duplicate."""
    intake = Intake(door, keyring, clock, RULES)
    commit, lost = database.write_engine.dialect.do_commit, [True]

    def do_commit(dbapi: Any) -> None:
        commit(dbapi)
        if lost:
            lost.clear()
            raise OSError("the answer to COMMIT is lost")

    monkeypatch.setattr(database.write_engine.dialect, "do_commit", do_commit)
    facts = replace(FACTS, case_no="GD-7", closed=True)
    stored = intake.rate(facts, Satisfaction.DISSATISFIED, "4", hold=True).result(WAIT)
    assert (stored.new, stored.held) == (True, True)
    assert {key.evaluation_id for key in stored.keys} == {row.id for row in rows(evaluations)}
    assert len(rows(ratings)) == 1
    intake.release(stored).result(WAIT)
    assert [row.held_by for row in rows(outbox)] == [None]
    assert not intake.rate(facts, Satisfaction(5), "1", hold=False).result(WAIT).new


@pytest.mark.parametrize("outcome", [CallOutcome.HANGUP, CallOutcome.NO_INPUT])
def test_a_rating_that_another_process_stored_meanwhile_stands(
    intake: Intake, rows: Any, monkeypatch: pytest.MonkeyPatch, outcome: CallOutcome
) -> None:
    """An end that looked before the rating was committed changes neither the call nor its invitation."""
    intake.end_call(FACTS, CallOutcome.NOT_OFFERED).result(WAIT)
    load, seen = Record._load_calls, dict[str, Any]()

    def as_it_was(record: Record, keys: set[str]) -> Any:
        return seen or load(record, keys)

    monkeypatch.setattr(Record, "_load_calls", lambda record, keys: seen.update(load(record, keys)) or dict(seen))
    assert intake.end_call(FACTS, CallOutcome.NOT_OFFERED).result(WAIT)
    monkeypatch.undo()
    assert intake.rate(FACTS, Satisfaction(5), "1", hold=False).result(WAIT).new
    monkeypatch.setattr(Record, "_load_calls", as_it_was)
    intake.end_call(FACTS, outcome).result(WAIT)
    assert [row.outcome for row in rows(calls)] == ["rated"]
    assert [row.state for row in rows(invitations)] == ["rated"]


@pytest.mark.parametrize(
    ("push_calls", "pushed"),
    [(PushCalls.WITHOUT_CASE, {"GD-7"}), (PushCalls.ALWAYS, {"GD-7", "Hc1"}), (PushCalls.NEVER, {"GD-7"})],
)
def test_closed_1_gives_two_evaluations_of_one_rating(
    door: Door, keyring: Keyring, clock: TurnedClock, rows: Any, push_calls: PushCalls, pushed: set[str]
) -> None:
    intake = Intake(door, keyring, clock, replace(RULES, push_calls=push_calls))
    facts = replace(FACTS, call_key="c1", case_no="GD-7", closed=True)
    stored = intake.rate(facts, Satisfaction.DISSATISFIED, "4", hold=True).result(WAIT)
    found = {row.project_no: row for row in rows(evaluations)}
    assert set(found) == {"Hc1", "GD-7"}
    assert {row.subject_kind for row in found.values()} == {"call", "case"}
    assert len(rows(ratings)) == 1
    assert len(rows(invitations)) == 1
    assert {row.subject_id for row in rows(invitation_members)} == {row.subject_id for row in found.values()}
    assert [(row.case_no, row.stub) for row in rows(cases)] == [("GD-7", True)]
    waiting = {row.evaluation_id for row in rows(outbox)}
    assert waiting == {found[name].id for name in pushed}
    assert stored.evaluation_id == found["Hc1"].id


def test_without_closed_the_case_is_only_named(intake: Intake, rows: Any) -> None:
    intake.rate(replace(FACTS, case_no="GD-7"), Satisfaction.SATISFIED, "2", hold=False).result(WAIT)
    assert [row.subject_kind for row in rows(evaluations)] == ["call"]
    assert rows(cases) == []
    assert rows(calls)[0].case_no == "GD-7"


def test_a_case_rated_in_an_earlier_call_keeps_its_first_rating(intake: Intake, rows: Any) -> None:
    for number, level in (("c1", 5), ("c2", 1)):
        facts = replace(FACTS, call_key=number, case_no="GD-7", closed=True)
        intake.rate(facts, Satisfaction(level), "x", hold=False).result(WAIT)
    by_kind = [(row.subject_kind, row.satisfaction) for row in rows(evaluations)]
    assert sorted(by_kind) == [("call", 1), ("call", 5), ("case", 5)]
    assert [row.detail for row in rows(audit)] == [None, "case already rated"]
    # The second call's own rating is pushed: no case carries it.
    assert len(rows(outbox)) == 2


def test_a_bad_rating_is_held_until_the_reason_comes(intake: Intake, rows: Any, clock: TurnedClock) -> None:
    stored = intake.rate(FACTS, Satisfaction.DISSATISFIED, "4", hold=True).result(WAIT)
    [held] = rows(outbox)
    assert (held.not_before, held.held_by) == (START + timedelta(seconds=90), "here/b1")
    clock.turn(timedelta(seconds=7))
    intake.give_reason(stored, ("214",)).result(WAIT)
    [free] = rows(outbox)
    assert (free.not_before, free.held_by) == (START + timedelta(seconds=7), None)
    assert [row.reasons for row in rows(ratings)] == ["214"]
    assert [row.reasons for row in rows(evaluations)] == ["214"]


def test_the_calls_end_releases_the_hold(intake: Intake, rows: Any, clock: TurnedClock) -> None:
    facts = replace(FACTS, case_no="GD-7", closed=True)
    stored = intake.rate(facts, Satisfaction.VERY_DISSATISFIED, "5", hold=True).result(WAIT)
    clock.turn(timedelta(seconds=3))
    intake.release(stored).result(WAIT)
    [free] = rows(outbox)
    assert (free.not_before, free.held_by) == (START + timedelta(seconds=3), None)


def test_at_start_only_holds_of_earlier_processes_of_this_node_are_released(
    door: Door, keyring: Keyring, clock: TurnedClock, rows: Any
) -> None:
    for call, node, boot in (("a", "here", "b0"), ("b", "here", "b1"), ("c", "elsewhere", "b0"), ("d", "here2", "b0")):
        other = Intake(door, keyring, clock, replace(RULES, node=node, boot=boot))
        other.rate(replace(FACTS, call_key=call), Satisfaction.DISSATISFIED, "4", hold=True).result(WAIT)
    assert Intake(door, keyring, clock, RULES).release_stale_holds().result(WAIT) == 1
    assert sorted(row.held_by or "" for row in rows(outbox)) == ["", "elsewhere/b0", "here/b1", "here2/b0"]


@pytest.mark.parametrize(
    ("number", "outcome", "state", "reason", "due"),
    [
        ("13800000001", CallOutcome.NO_INPUT, "waiting", None, True),
        ("13800000001", CallOutcome.INVALID, "waiting", None, True),
        ("13800000001", CallOutcome.HANGUP, "waiting", None, True),
        ("13800000001", CallOutcome.ERROR, "waiting", None, True),
        ("13800000001", CallOutcome.NOT_OFFERED, "waiting", None, True),
        ("13800000001", CallOutcome.SKIPPED, "expired", "skipped", False),
        ("09306212345", CallOutcome.NO_INPUT, "impossible", "landline", False),
        (None, CallOutcome.HANGUP, "impossible", "anonymous", False),
        ("8001", CallOutcome.HANGUP, "impossible", "internal", False),
    ],
)
def test_a_call_left_unrated_waits_for_its_sms(
    intake: Intake, rows: Any, number: str | None, outcome: CallOutcome, state: str, reason: str | None, due: bool
) -> None:
    waits = intake.end_call(replace(FACTS, number=number), outcome).result(WAIT)
    assert waits is due
    [call], [invitation] = rows(calls), rows(invitations)
    assert call.outcome == outcome.value
    assert (invitation.state, invitation.reason) == (state, reason)
    assert invitation.due_at == (START + timedelta(minutes=1) if due else None)
    asked = outcome is not CallOutcome.NOT_OFFERED
    assert invitation.first_asked_at == (START if asked else None)
    assert rows(evaluations) == []


@pytest.mark.parametrize(
    ("hours", "state", "reason"), [(2, "waiting", None), (23.9, "waiting", None), (25, "impossible", "too_old")]
)
def test_a_call_brought_in_later_keeps_its_time_and_is_asked_only_within_a_day(
    intake: Intake, rows: Any, hours: float, state: str, reason: str | None
) -> None:
    ended = START - timedelta(hours=hours)
    intake.end_call(replace(FACTS, at=ended), CallOutcome.NOT_OFFERED, source="queue_log").result(WAIT)
    [call], [invitation] = rows(calls), rows(invitations)
    assert (call.ended_at, call.source) == (ended, "queue_log")
    assert (invitation.state, invitation.reason) == (state, reason)
    assert invitation.due_at == (None if reason else ended + timedelta(minutes=1))


def test_the_hangup_handler_changes_nothing_where_the_dialogue_told_already(intake: Intake, rows: Any) -> None:
    intake.end_call(FACTS, CallOutcome.HANGUP).result(WAIT)
    intake.end_call(FACTS, CallOutcome.NOT_OFFERED).result(WAIT)
    assert [row.outcome for row in rows(calls)] == ["hangup"]
    assert len(rows(invitations)) == 1


def test_the_dialogue_wins_where_the_hangup_handler_came_first(intake: Intake, rows: Any) -> None:
    intake.end_call(FACTS, CallOutcome.NOT_OFFERED).result(WAIT)
    intake.end_call(FACTS, CallOutcome.HANGUP).result(WAIT)
    assert [row.outcome for row in rows(calls)] == ["hangup"]
    [invitation] = rows(invitations)
    assert (invitation.state, invitation.first_asked_at) == ("waiting", START)


def test_a_call_left_and_offered_again_can_be_rated(intake: Intake, rows: Any) -> None:
    intake.end_call(replace(FACTS, case_no="GD-7"), CallOutcome.NO_INPUT).result(WAIT)
    facts = replace(FACTS, case_no="GD-7", closed=True)
    assert intake.rate(facts, Satisfaction(5), "1", hold=False).result(WAIT).new
    assert [row.outcome for row in rows(calls)] == ["rated"]
    assert [row.state for row in rows(invitations)] == ["rated"]
    assert len(rows(invitation_members)) == 2


def test_after_a_rating_the_end_of_the_call_changes_nothing(intake: Intake, rows: Any) -> None:
    intake.rate(FACTS, Satisfaction(5), "1", hold=False).result(WAIT)
    assert intake.end_call(FACTS, CallOutcome.NOT_OFFERED).result(WAIT) is False
    assert [row.outcome for row in rows(calls)] == ["rated"]
    assert [row.state for row in rows(invitations)] == ["rated"]


def test_no_number_in_clear_is_anywhere_in_the_database(intake: Intake, database: Database, rows: Any) -> None:
    intake.rate(FACTS, Satisfaction(2), "4", hold=True).result(WAIT)
    intake.end_call(replace(FACTS, call_key="c9"), CallOutcome.HANGUP).result(WAIT)
    for table in (calls, cases, invitations, ratings, evaluations, outbox, audit):
        for row in rows(table):
            assert all("3800000001" not in value for value in row if isinstance(value, str))
            assert all(b"3800000001" not in value for value in row if isinstance(value, bytes))
