"""From a stored reply to rating, evaluation, answers and queue, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from intake.conversation import MOST_ANSWERS, Heard, Outcome, Said
from intake.decide import PushCalls
from intake.desk import Intake
from intake.outgoing import StoredNumber
from intake.record import CallFacts, Rules
from intake.replies import Taken, TakeReply
from models.clock import TurnedClock
from models.door import Door
from models.ids import new_id
from models.tables import (
    audit,
    codes,
    evaluations,
    feed,
    invitations,
    messages,
    opt_outs,
    outbox,
    parts,
    ratings,
    remarks,
)
from models.terms import InvitationState, MessageKind, QueueReason, Satisfaction
from tests.intake.replying import (
    AUTOMATIC,
    CITIZEN,
    KEYS,
    OPT_IN,
    OPT_OUT,
    RULES,
    UNREADABLE,
    WAIT,
    Replying,
    level,
    words,
)


def test_a_reply_becomes_one_evaluation_of_the_case(record: Replying) -> None:
    case = record.case(task_code="T1", task_name="修路", agent="3001", area_code="622901")
    invitation = record.invite(case)
    taken = record.reply(level(4, "很快"))
    assert (taken.outcome, taken.queue, taken.pushes, taken.answers) == (Outcome.RATED, None, True, False)
    rating, evaluation = record.one(ratings), record.one(evaluations)
    message = record.one(messages)
    now = record.clock.now()
    assert (rating.message_id, rating.invitation_id, rating.call_subject_id) == (message.id, invitation, None)
    assert (rating.channel, rating.origin, rating.raw_input, rating.key_map) == (
        "sms",
        "citizen",
        "2，很快",
        KEYS.version,
    )
    assert (rating.satisfaction, rating.comment, rating.late, rating.rated_at) == (4, "很快", False, now)
    assert (evaluation.subject_id, evaluation.assess_number, evaluation.rating_id) == (case, 1, rating.id)
    assert (evaluation.effective, evaluation.satisfaction, evaluation.channel) == (True, 4, "sms")
    assert (evaluation.project_no, evaluation.service_number, evaluation.agent) == ("GD-1", 1, "3001")
    assert (evaluation.dept_code, evaluation.dept_name, evaluation.task_code) == ("X", "住建局", "T1")
    assert (evaluation.area_code, evaluation.service_name, evaluation.comment) == ("622901", "12345热线", "很快")
    assert evaluation.assess_time == now
    waiting = record.one(outbox)
    assert (waiting.evaluation_id, waiting.not_before, waiting.state, waiting.held_by) == (
        evaluation.id,
        now,
        "waiting",
        None,
    )
    ended = record.one(invitations)
    assert (ended.state, ended.rating_id, ended.ended_at, ended.due_at) == ("rated", rating.id, now, None)
    assert (ended.number_sealed, ended.number_hash) == (None, None)
    assert record.one(codes).ended_at == now
    assert (message.state, message.text, message.outcome, message.satisfaction) == ("read", "2，很快", "rated", 4)
    assert (message.invitation_id, message.why, message.queue) == (invitation, "R6-digit", None)
    fed = record.one(feed)
    assert (fed.kind, fed.subject_id, fed.assess_number) == ("evaluation", case, 1)
    assert [(row.action, row.actor, row.subject_id) for row in record.rows(audit)] == [("rating.stored", "sms", case)]


# ── members ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_rating_gives_an_evaluation_for_call_and_case(record: Replying) -> None:
    call, case = record.call(), record.case(agent="2001", dept_code="11622900")  # as its call told it
    record.invite(call, case, kind="call")
    record.reply(level(5))
    by_kind = {row.subject_kind: row for row in record.rows(evaluations)}
    assert {row.rating_id for row in by_kind.values()} == {record.one(ratings).id}
    assert (by_kind["call"].project_no, by_kind["call"].agent, by_kind["call"].queue) == ("Hlx-1", "2001", "support")
    assert (by_kind["case"].project_no, by_kind["case"].agent, by_kind["case"].dept_code) == (
        "GD-1",
        "2001",
        "11622900",
    )
    assert record.one(outbox).subject_id == case, "the call's is not pushed beside the case's"


@pytest.mark.parametrize(
    ("policy", "with_case", "pushed"),
    [
        (PushCalls.WITHOUT_CASE, False, ["call"]),
        (PushCalls.WITHOUT_CASE, True, ["case"]),
        (PushCalls.ALWAYS, True, ["call", "case"]),
        (PushCalls.NEVER, False, []),
    ],
)
def test_which_evaluations_are_pushed(record: Replying, policy: PushCalls, with_case: bool, pushed: list[str]) -> None:
    record.rules = replace(RULES, push_calls=policy)
    subjects = {"call": record.call()} | ({"case": record.case()} if with_case else {})
    record.invite(*subjects.values(), kind="call")
    assert record.reply(level(5)).pushes is bool(pushed)
    assert {row.subject_id for row in record.rows(outbox)} == {subjects[kind] for kind in pushed}


def test_a_batch_is_rated_with_one_reply_and_a_member_that_has_a_rating_keeps_it(record: Replying) -> None:
    first, second, third = (record.case(f"GD-{n}") for n in (1, 2, 3))
    record.rated(second, 1)
    record.invite(first, second, third)
    record.reply(level(4))
    assert [(row.subject_id, row.assess_number, row.satisfaction) for row in record.rows(evaluations)] == sorted(
        [(first, 1, 4), (second, 1, 1), (third, 1, 4)]
    )


def test_a_withdrawn_member_gets_no_evaluation(record: Replying) -> None:
    first, second = record.case("GD-1", withdrawn_at=record.clock.now()), record.case("GD-2")
    record.invite(first, second)
    record.reply(level(4))
    assert [row.subject_id for row in record.rows(evaluations)] == [second]


def test_a_rating_after_a_default_is_the_next_and_the_default_stays(record: Replying) -> None:
    case = record.case()
    record.default(case)
    invitation = record.invite(case, state=InvitationState.DEFAULTED, ended=timedelta(days=3))
    ended_at = record.one(invitations).ended_at
    assert record.reply(level(1, "没人管")).outcome is Outcome.RATED
    default, real = record.rows(evaluations)
    assert (default.assess_number, default.origin, default.satisfaction, default.effective) == (1, "default", 3, False)
    assert (real.assess_number, real.origin, real.satisfaction, real.effective) == (2, "citizen", 1, True)
    assert record.one(ratings, channel="sms").late
    assert record.one(outbox).assess_number == 2
    after = record.one(invitations)
    assert (after.id, after.state, after.ended_at) == (invitation, "rated", ended_at)


def test_a_themes_copy_gives_way_to_the_cases_own_rating_and_a_batchs_does_not(record: Replying) -> None:
    """The overall rating of a theme covers each case without one of its own; a batch is one matter."""
    for name, more, expected in (("theme", {"theme_id": "T"}, 2), ("batch", {"batch_id": "B"}, 1)):
        first, second = (record.case(f"{name}-{n}", **more) for n in (1, 2))
        together = record.invite(first, second, state=InvitationState.RATED, code=None)
        record.rated(first, 3, invitation=together)
        record.invite(first, code=f"{expected}")
        record.reply(level(5), code=f"{expected}")
        assert len(record.rows(evaluations, subject_id=first)) == expected
    theme, own = record.rows(evaluations, satisfaction=3)[0], record.one(evaluations, satisfaction=5)
    assert (theme.effective, own.effective, own.assess_number) == (False, True, 2)


def test_an_invitation_answered_before_we_know_that_it_went_counts_as_asked(record: Replying) -> None:
    record.invite(record.case(), state=InvitationState.WAITING)
    record.reply(level(5))
    row = record.one(invitations)
    assert (row.state, row.asked_by, row.first_asked_at) == ("rated", "sms", record.clock.now())


def test_what_is_still_queued_for_a_rated_invitation_is_cancelled(record: Replying) -> None:
    invitation = record.invite(record.case())
    record.queue(MessageKind.REMINDER, f"remind:{invitation}", invitation)
    record.queue(MessageKind.REMINDER, "remind:another", None)
    record.reply(level(2))
    states = {row.once_key: row.state for row in record.sent()}
    assert states == {f"remind:{invitation}": "cancelled", "remind:another": "queued", f"reason:{invitation}": "queued"}


def test_a_replys_time_is_when_its_first_part_was_read(record: Replying, clock: TurnedClock) -> None:
    record.invite(record.case())
    came = clock.now()
    message = record.stored()
    clock.turn(timedelta(hours=3))
    record.take(message, level(5))
    assert (record.one(evaluations).assess_time, record.one(ratings).rated_at) == (came, came)
    assert record.one(evaluations).created_at == clock.now()


# ── life, as stored ───────────────────────────────────────────────────────────────────────────────────────────────────

S = InvitationState
DAYS = timedelta(days=1)
LIFE: list[tuple[str, InvitationState, timedelta | None, Outcome, QueueReason | None, bool | None]] = [
    # state, ended so long ago, what becomes of a level, the queue, late (None: no rating)
    ("waiting", S.WAITING, None, Outcome.RATED, None, False),
    ("asked", S.ASKED, None, Outcome.RATED, None, False),
    ("impossible", S.IMPOSSIBLE, DAYS, Outcome.RATED, None, True),
    ("defaulted", S.DEFAULTED, 29 * DAYS, Outcome.RATED, None, True),
    ("expired", S.EXPIRED, 30 * DAYS, Outcome.RATED, None, True),
    ("superseded", S.SUPERSEDED, DAYS, Outcome.RATED, None, True),
    ("expired, too late", S.EXPIRED, 31 * DAYS, Outcome.QUEUED, QueueReason.TOO_LATE, None),
    ("withdrawn", S.WITHDRAWN, DAYS, Outcome.QUEUED, QueueReason.WITHDRAWN, None),
]


@pytest.mark.parametrize(
    ("state", "ended", "outcome", "queue", "late"), [row[1:] for row in LIFE], ids=[row[0] for row in LIFE]
)
def test_a_level_in_each_state(
    record: Replying,
    state: InvitationState,
    ended: timedelta | None,
    outcome: Outcome,
    queue: QueueReason | None,
    late: bool | None,
) -> None:
    case = record.case(withdrawn_at=record.clock.now() if state is S.WITHDRAWN else None)
    if state is S.DEFAULTED:
        record.default(case)
    invitation = record.invite(case, state=state, ended=ended)
    taken = record.reply(level(5))
    assert (taken.outcome, taken.queue) == (outcome, queue)
    assert [row.late for row in record.rows(ratings, channel="sms")] == ([] if late is None else [late])
    message = record.one(messages)
    assert (message.state, message.invitation_id, message.queue) == ("read", invitation, queue and queue.value)
    assert record.one(invitations).state == ("rated" if late is not None else state.value)
    assert len(record.rows(evaluations, satisfaction=5)) == (0 if late is None else 1)


@pytest.mark.parametrize("channel", ["sms", "keypad"])
def test_a_second_level_is_kept_as_a_remark_and_changes_nothing(record: Replying, channel: str) -> None:
    case = record.case()
    invitation = record.invite(case)
    if channel == "sms":
        record.reply(level(5))
        rating = record.one(ratings).id
    else:
        rating = record.rated(case, 5)
    assert record.reply(level(1)).outcome is Outcome.AGAIN
    remark = record.one(remarks)
    assert (remark.kind, remark.satisfaction, remark.text, remark.rating_id) == ("again", 1, "5", rating)
    assert remark.invitation_id == invitation
    assert [(row.satisfaction, row.effective) for row in record.rows(evaluations)] == [(5, True)]
    assert record.sent() == []


def test_a_second_reply_in_the_same_group_finds_what_the_first_did(record: Replying) -> None:
    record.invite(record.case())
    ids = [record.stored(), record.stored()]
    commands = [
        TakeReply(one, heard, False, record.clock.now(), RULES)
        for one, heard in zip(ids, (level(4), level(5)), strict=True)
    ]
    first, second = record.door.write(lambda unit: TakeReply.run(unit, commands)).result(WAIT)
    assert (first.outcome, second.outcome) == (Outcome.RATED, Outcome.AGAIN)
    assert record.one(evaluations).satisfaction == 4


def test_a_reply_is_taken_once_however_often_it_is_read(record: Replying) -> None:
    record.invite(record.case())
    message = record.stored()
    assert record.take(message, level(5)).outcome is Outcome.RATED
    assert record.take(message, level(1)) == Taken(None)
    commands = [TakeReply(message, level(1), False, record.clock.now(), RULES)] * 2
    assert record.door.write(lambda unit: TakeReply.run(unit, commands)).result(WAIT) == [Taken(None)] * 2
    assert [row.satisfaction for row in record.rows(evaluations)] == [5]


def test_two_processes_that_read_the_same_reply_give_one_rating(
    record: Replying, another_door: Callable[[], Door]
) -> None:
    doors = [record.door, another_door(), another_door()]
    for turn in range(10):
        citizen = f"1380000001{turn}"
        record.invite(record.case(f"GD-{turn}", citizen), raw=citizen)
        message = record.stored(raw=citizen)
        command = TakeReply(message, level(2), False, record.clock.now(), RULES)
        outcomes = [future.result(WAIT).outcome for future in [door.submit(command) for door in doors]]
        assert sorted(map(str, outcomes)) == ["None", "None", "rated"]
        assert record.one(ratings, message_id=message).satisfaction == 2
    assert len(record.rows(evaluations)) == 10
    assert len(record.rows(messages, kind="reason")) == 10


def test_a_rating_in_a_call_and_one_by_sms_at_the_same_moment_give_one(
    record: Replying, another_door: Callable[[], Door]
) -> None:
    """Whichever commits second reads the first."""
    call = record.call()
    record.invite(call, kind="call")
    rules = Rules(KEYS.version, None, None, PushCalls.WITHOUT_CASE, timedelta(), timedelta(), "n", "b")
    intake = Intake(another_door(), record.keyring, record.clock, rules)
    facts = CallFacts("lx-1", CITIZEN, "2001", None, None, None, False, "zh", record.clock.now())
    message = record.stored()
    by_key = intake.rate(facts, Satisfaction(1), "5", hold=False)
    by_sms = record.door.submit(TakeReply(message, level(5), False, record.clock.now(), RULES))
    stored, taken = by_key.result(WAIT), by_sms.result(WAIT)
    [evaluation] = record.rows(evaluations, subject_id=call)
    assert (stored.new, taken.outcome) in ((True, Outcome.AGAIN), (False, Outcome.RATED))
    assert evaluation.satisfaction == (1 if stored.new else 5)


def test_a_reply_read_with_another_key_map_is_to_be_read_again(record: Replying) -> None:
    """The digits mean what they meant when the invitation was sent."""
    record.invite(record.case(), key_map="1=1,2=2,3=3,4=4,5=5")
    message = record.stored("1")
    assert record.take(message, level(5)) == Taken(None, reread="1=1,2=2,3=3,4=4,5=5")
    assert (record.one(messages).state, record.rows(ratings)) == ("unread", [])
    heard = Heard(Said.RATING, "1", "1=1,2=2,3=3,4=4,5=5", Satisfaction(1), why="R6-digit")
    assert record.take(message, heard).outcome is Outcome.RATED
    assert (record.one(ratings).satisfaction, record.one(ratings).key_map) == (1, "1=1,2=2,3=3,4=4,5=5")


# ── which invitation ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_open_invitations_are_told_apart_by_their_codes(record: Replying) -> None:
    first, second = record.case("GD-1"), record.case("GD-2")
    record.invite(first, code="00")
    record.invite(second, code="01")
    record.reply(level(1), code="01")
    record.reply(level(5), code="00")
    assert {row.subject_id: row.satisfaction for row in record.rows(evaluations)} == {first: 5, second: 1}


def test_a_reply_to_the_bare_number_means_the_only_open_invitation_or_goes_to_the_queue(record: Replying) -> None:
    first = record.case("GD-1")
    record.invite(first, code="00")
    assert record.reply(level(5), code="").outcome is Outcome.RATED
    record.invite(record.case("GD-2"), code="01")
    record.invite(record.case("GD-3"), code="02")
    taken = record.reply(level(1), code=None)
    assert (taken.outcome, taken.queue) == (Outcome.QUEUED, QueueReason.AMBIGUOUS)
    assert [row.subject_id for row in record.rows(evaluations)] == [first]


def test_over_a_link_without_extensions_the_slot_is_meant(record: Replying) -> None:
    first, second = record.case("GD-1"), record.case("GD-2")
    record.invite(first, code="")
    record.invite(second, code="01")
    record.reply(level(5), code="", bare=True)
    assert [row.subject_id for row in record.rows(evaluations)] == [first]


def test_a_number_that_we_never_wrote_to_goes_to_the_queue_with_candidates(record: Replying) -> None:
    other = record.invite(record.case(), code="07")
    record.invite(record.case("GD-2", "13800000003"), code="08", raw="13800000003")
    taken = record.reply(level(5), raw="13800000002")
    assert (taken.queue, taken.answers) == (QueueReason.UNMATCHED, False)
    message = record.one(messages)
    assert (message.queue, message.queue_note, message.invitation_id) == ("unmatched", other, None)
    assert record.rows(evaluations) == []


def test_a_code_is_another_invitations_once_it_is_given_again(record: Replying) -> None:
    record.invite(record.case("GD-1"), state=S.EXPIRED, ended=70 * DAYS)
    second = record.case("GD-2")
    invitation = record.invite(second, code=None)
    record.write(update(codes).values(invitation_id=invitation, ended_at=None, given_at=record.clock.now()))
    record.reply(level(5))
    assert [row.subject_id for row in record.rows(evaluations)] == [second]


# ── the conversation ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_unclear_reply_is_asked_about_once_and_then_shown_to_a_person(record: Replying, clock: TurnedClock) -> None:
    invitation = record.invite(record.case())
    taken = record.reply(words("还行吧"))
    assert (taken.outcome, taken.queue, taken.answers) == (Outcome.UNCLEAR, None, True)
    question = record.one(messages, direction="out")
    now = clock.now()
    assert (question.kind, question.once_key, question.state) == ("clarification", f"clarify:{invitation}", "queued")
    assert (question.not_before, question.not_after) == (now, now + timedelta(minutes=10))
    assert (question.code, question.lang, question.invitation_id) == ("07", "zh", invitation)
    assert json.loads(question.fields) == {"keys": KEYS.version}
    assert question.answers_id == record.one(messages, direction="in").id
    assert record.keyring.open(question.number_sealed) == f"+86{CITIZEN}"
    assert record.one(invitations).clarified_at == now
    assert record.reply(words("还行吧")).queue is QueueReason.UNCLEAR
    assert len(record.sent()) == 1
    assert record.reply(level(4)).outcome is Outcome.RATED
    assert record.one(evaluations).satisfaction == 4


def test_a_bad_rating_waits_for_its_reason_and_goes_with_it(record: Replying, clock: TurnedClock) -> None:
    call, case = record.call(), record.case()
    invitation = record.invite(call, case, kind="call")
    record.rules = replace(RULES, push_calls=PushCalls.ALWAYS)
    taken = record.reply(level(2))
    assert (taken.outcome, taken.pushes, taken.answers) == (Outcome.RATED, False, True)
    held = clock.now() + timedelta(minutes=10)
    assert record.due() == [held, held]
    question = record.one(messages, direction="out")
    assert (question.kind, question.once_key) == ("reason", f"reason:{invitation}")
    assert json.loads(question.fields) == {"level": "2", "options": "209,213,214"}
    row = record.one(invitations)
    assert (row.reason_asked_at, row.reason_codes) == (clock.now(), "209,213,214")
    clock.turn(timedelta(minutes=3))
    answered = record.reply(words("B", letters=("B",)))
    assert (answered.outcome, answered.pushes, answered.queue) == (Outcome.REASON, True, None)
    assert record.due() == [clock.now()] * 2
    assert {row.reasons for row in record.rows(evaluations)} == {"213"}
    fed = [(row.subject_id, row.assess_number) for row in record.rows(feed)]
    given = [(row.subject_id, row.assess_number) for row in record.rows(evaluations)]
    assert sorted(fed) == sorted(given * 2), "who follows learns of it"
    assert record.one(ratings).reasons == "213"
    record.reply(words("等了三天", letters=()))
    assert {row.comment for row in record.rows(evaluations)} == {"等了三天"}
    assert (record.one(ratings).reasons, record.one(ratings).comment) == ("213", "等了三天")


def test_a_reason_that_comes_after_the_push_is_kept_and_shown(record: Replying, clock: TurnedClock) -> None:
    record.invite(record.case())
    record.reply(level(1))
    clock.turn(timedelta(minutes=11))
    record.write(update(outbox).values(batch_id=new_id()))
    assert not record.reply(words("A", letters=("A",))).pushes
    assert record.one(ratings).reasons == "110"
    assert record.reply(words("没人管")).outcome is Outcome.COMMENT
    assert (record.one(ratings).comment, record.one(remarks).text, record.one(remarks).kind) == (
        None,
        "没人管",
        "comment",
    )
    assert record.one(outbox).not_before < clock.now()


def test_another_level_within_the_conversation_is_a_mistake_that_a_person_looks_at(record: Replying) -> None:
    record.invite(record.case())
    record.reply(level(1))
    assert record.reply(level(1)).outcome is Outcome.SAME
    taken = record.reply(level(5))
    assert (taken.outcome, taken.queue) == (Outcome.MISTAKEN, QueueReason.MISTAKEN)
    assert record.reply(words("打错了", mistaken=True)).queue is QueueReason.MISTAKEN
    assert [(row.kind, row.satisfaction, row.text) for row in record.rows(remarks)] == [
        ("mistaken", 5, "1"),
        ("mistaken", None, "打错了"),
    ]
    assert [(row.satisfaction, row.effective) for row in record.rows(evaluations)] == [(1, True)]


def test_what_is_read_too_late_is_not_answered_and_the_push_does_not_wait(record: Replying, clock: TurnedClock) -> None:
    record.invite(record.case())
    message = record.stored("5")
    clock.turn(timedelta(minutes=10))
    taken = record.take(message, level(1))
    assert (taken.pushes, taken.answers, record.sent(), record.due()) == (True, False, [], [clock.now()])


# ── opt-out and back ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_opt_out_ends_all_asking_of_that_number(record: Replying, clock: TurnedClock) -> None:
    asked = record.invite(record.case("GD-1"), code="00")
    waiting = record.invite(record.case("GD-2"), code=None, state=S.WAITING)
    elsewhere = record.invite(record.case("GD-3", "13800000002"), code="00", raw="13800000002")
    record.queue(MessageKind.REMINDER, f"remind:{asked}", asked)
    taken = record.reply(OPT_OUT, code="00")
    assert (taken.outcome, taken.queue, taken.answers) == (Outcome.OPTED_OUT, None, True)
    out = record.one(opt_outs)
    assert (out.origin, out.at, out.ended_at) == ("citizen", clock.now(), None)
    assert out.number_hash == record.keyring.hash(f"+86{CITIZEN}")
    by_id = {row.id: row for row in record.rows(invitations)}
    assert (by_id[asked].state, by_id[asked].muted, by_id[asked].number_sealed) == ("asked", True, None)
    assert (by_id[waiting].state, by_id[waiting].reason) == ("impossible", "opted_out")
    assert (by_id[elsewhere].state, by_id[elsewhere].muted) == ("asked", False)
    message = record.one(messages, outcome="opted_out")
    states = {row.once_key: row.state for row in record.sent()}
    assert states == {f"remind:{asked}": "cancelled", f"opt-out:{message.id}": "queued"}
    assert record.reply(OPT_OUT, code="00").answers is False, "confirmed once"
    assert record.reply(words("什么"), code="00").queue is QueueReason.UNCLEAR, "no question after an opt-out"
    rated = record.reply(level(1), code="00")
    assert (rated.outcome, rated.answers) == (Outcome.RATED, False), "a rating is still read"
    assert len(record.sent()) == 2


def test_a_level_beside_an_opt_out_counts(record: Replying) -> None:
    record.invite(record.case())
    taken = record.reply(replace(OPT_OUT, satisfaction=Satisfaction(1), text="5，退订"))
    assert (taken.outcome, taken.pushes) == (Outcome.OPTED_OUT, True)
    assert record.one(evaluations).satisfaction == 1
    assert [row.kind for row in record.sent()] == ["opted_out"]
    assert record.one(invitations).state == "rated"


def test_an_opt_out_of_a_number_that_we_never_wrote_to_holds(record: Replying) -> None:
    assert record.reply(OPT_OUT).queue is None
    assert record.one(opt_outs).ended_at is None


def test_a_number_comes_back_only_from_an_opt_out(record: Replying, clock: TurnedClock) -> None:
    record.invite(record.case())
    assert record.reply(OPT_IN).outcome is Outcome.UNCLEAR, "it had not opted out"
    record.reply(OPT_OUT)
    clock.turn(timedelta(hours=1))
    assert record.reply(OPT_IN).outcome is Outcome.OPTED_IN
    assert record.one(opt_outs).ended_at == clock.now()
    confirmation = record.rows(messages, kind="opted_in")
    assert [(row.once_key.startswith("opt-in:"), row.fields) for row in confirmation] == [(True, "{}")]
    clock.turn(timedelta(hours=1))
    record.reply(OPT_OUT)
    again = record.one(opt_outs)
    assert (again.at, again.ended_at) == (clock.now(), None)


def test_a_carriers_blacklist_is_not_undone_and_the_confirmation_says_so(record: Replying) -> None:
    now = record.clock.now()
    record.write(insert(opt_outs).values(id=new_id(), origin="carrier", at=now, **record.columns()))
    record.write(insert(opt_outs).values(id=new_id(), origin="citizen", at=now, **record.columns()))
    assert record.reply(OPT_IN).outcome is Outcome.OPTED_IN
    assert {row.origin: row.ended_at is None for row in record.rows(opt_outs)} == {"carrier": True, "citizen": False}
    assert json.loads(record.one(messages, kind="opted_in").fields) == {"carrier": "1"}


# ── machines ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_automatic_reply_is_stored_marked_and_answered_with_nothing(record: Replying) -> None:
    record.invite(record.case())
    for _ in range(3):
        assert record.reply(AUTOMATIC).outcome is Outcome.AUTOMATIC
    assert {row.outcome for row in record.rows(messages)} == {"automatic"}
    assert record.sent() == []


def test_two_machines_that_answer_each_other_stop(record: Replying, clock: TurnedClock) -> None:
    """A machine that answers our confirmations with the words that bring them."""
    record.invite(record.case())
    for _ in range(20):
        record.reply(OPT_OUT)
        record.reply(OPT_IN)
        clock.turn(timedelta(minutes=1))
    assert len(record.sent()) == MOST_ANSWERS
    clock.turn(timedelta(days=1))
    assert record.reply(OPT_OUT).answers, "a day later a citizen gets his confirmation again"


def test_what_cannot_be_decoded_is_kept_as_bytes_and_shown(record: Replying) -> None:
    record.invite(record.case())
    message = record.stored(body=b"\x80\x81")
    assert record.take(message, UNREADABLE).queue is QueueReason.UNREADABLE
    row = record.one(messages)
    assert (row.text, row.queue, row.outcome) == (None, "unreadable", "unreadable")
    assert record.one(parts).body == b"\x80\x81"


def test_a_sender_that_takes_no_sms_is_not_answered(record: Replying) -> None:
    """A short number, or one that is no number at all."""
    record.reply(OPT_OUT, sender=StoredNumber("anonymous", None, None, None, None))
    assert (record.rows(opt_outs), record.sent()) == ([], [])
    record.reply(OPT_OUT, raw="10086")
    assert record.sent() == []


def test_pressure_is_shown_to_supervisors(record: Replying) -> None:
    record.invite(record.case())
    taken = record.reply(words("他们让我选满意", pressure=True))
    assert (taken.queue, taken.answers) == (QueueReason.PRESSURE, True)
    assert record.one(messages, direction="in").queue == "pressure"


def test_no_number_stands_in_the_audit_or_the_queues_note(record: Replying) -> None:
    record.invite(record.case())
    for heard in (level(5), OPT_OUT, OPT_IN):
        record.reply(heard)
    record.reply(level(5), raw="13800000002")
    told = [f"{row.action} {row.detail}" for row in record.rows(audit)]
    told += [row.queue_note or "" for row in record.rows(messages)]
    assert not any("1380000000" in text for text in told)
    assert {row.action for row in record.rows(audit)} == {"rating.stored", "opt_out.stored", "opt_out.ended"}


def test_an_answer_goes_back_where_the_reply_came_from_with_the_invitation_s_code(record: Replying) -> None:
    """Over a carrier of the reply's link, and from the invitation's number even where the bare one was written to."""
    record.rules = replace(RULES, carriers={"mobile": "unicom"})
    record.invite(record.case(), code="07")
    record.reply(words("你是谁"), code="")
    answer = record.one(messages, kind=MessageKind.CLARIFICATION.value)
    assert (answer.carrier, answer.code) == ("unicom", "07")
