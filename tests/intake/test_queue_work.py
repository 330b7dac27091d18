"""What people do with replies that wait for them: taking, assigning, asking by hand, dismissing; on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import copyfile
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import false, insert, true, update

from config.keymap import KeyMap
from intake.assigning import AskByHand, AssignReply
from intake.conversation import Heard, Invited, Outcome, Said, as_it_stood
from intake.manners import SendingRules
from intake.queue_work import Did, Dismiss, Done, Person, Refusal, TakeWork, Taking
from models.clock import SHANGHAI, TurnedClock
from models.database import open_database
from models.door import Door
from models.ids import new_id
from models.privacy import Keyring
from models.recount import rebuild
from models.tables import (
    audit,
    evaluations,
    feed,
    invitations,
    messages,
    opt_outs,
    outbox,
    ratings,
    remarks,
    work_owners,
)
from models.terms import (
    HandledAs,
    InvitationState,
    MessageKind,
    MessageState,
    OutboxState,
    QueueReason,
    Satisfaction,
    WorkKind,
)
from tests.intake.counting import agree
from tests.intake.replying import CITIZEN, KEYS, OPT_OUT, RULES, UNREADABLE, WAIT, Replying, level, words
from tests.moments import START

STRANGER = "13900000009"
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
WINDOW = RULES.replies.late_window


def person(name: str = "ma", **narrowed: Any) -> Person:
    seen = dict.fromkeys(("messages", "invitations", "evaluations", "cases", "whole"), true())
    return Person(f"user:{name}", **{**seen, "settles": True, **narrowed})


MA, BAI = person("ma"), person("bai")


class Working:
    """A record with replies that wait, and the people who handle them."""

    def __init__(self, record: Replying) -> None:
        self.record = record
        self.sending = SendingRules(lambda moment: moment, 2, 2, lambda _: "mobile", lambda _: True, lambda _: "")

    def waits(self, heard: Heard, **how: Any) -> str:
        """A reply that was read and waits for a person; from a stranger unless told otherwise."""
        message = self.record.stored(heard.text or "", **{"raw": STRANGER, **how})
        assert self.record.take(message, heard).queue is not None
        return message

    def assign(self, message: str, invitation: str, heard: Heard, who: Person = MA) -> Done:
        command = AssignReply(message, invitation, heard, who, self.record.clock.now(), self.record.rules)
        return self.record.door.submit(command).result(WAIT)

    def ask(self, message: str, invitation: str, who: Person = MA) -> Done:
        command = AskByHand(message, invitation, who, self.record.clock.now(), self.sending, WINDOW)
        return self.record.door.submit(command).result(WAIT)

    def take(self, *ids: str, who: Person = MA, how: Taking = Taking.TAKE, kind: WorkKind = WorkKind.REPLY) -> list[Done]:  # fmt: skip  # noqa: E501
        return self.record.door.submit(TakeWork(kind, ids, who, self.record.clock.now(), how)).result(WAIT)

    def dismiss(
        self, *ids: str, how: HandledAs = HandledAs.IRRELEVANT, words: str = "", who: Person = MA,
        kind: WorkKind = WorkKind.REPLY,
    ) -> list[Done]:  # fmt: skip
        command = Dismiss(kind, ids, how, words, who, self.record.clock.now())
        return self.record.door.submit(command).result(WAIT)

    def message(self, identity: str) -> Any:
        return self.record.one(messages, id=identity)

    def audited(self) -> list[tuple[str, str, str | None]]:
        return [(row.actor, row.action, row.detail) for row in self.record.rows(audit) if row.actor.startswith("user:")]


@pytest.fixture
def working(record: Replying) -> Working:
    return Working(record)


# ── assigning: what the reply would have made ─────────────────────────────────────────────────────────────────────────


def plainly(record: Replying) -> dict[str, Any]:
    """What stands in the record, without ids and without when it was written."""
    left_out = {"id", "rating_id", "message_id", "invitation_id", "subject_id", "evaluation_id", "created_at", "at",
                "position", "xid", "changed_at", "ended_at", "responded_at", "not_before"}  # fmt: skip
    found: dict[str, Any] = {}
    for table in (ratings, evaluations, outbox, feed, remarks, invitations):
        rows = [{k: v for k, v in row._mapping.items() if k not in left_out} for row in record.rows(table)]
        found[table.name] = sorted(rows, key=str)
    return found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def make_stand(request: pytest.FixtureRequest, tmp_path: Path, keyring: Keyring) -> Iterator[Callable[[], Working]]:
    """Two records of one kind of database, to be compared."""
    opened: list[Any] = []

    def make() -> Working:
        if request.param == "sqlite":
            url = f"sqlite:///stand-{len(opened)}.db"
            copyfile(request.getfixturevalue("migrated_sqlite"), tmp_path / url.removeprefix("sqlite:///"))
        else:
            url = request.getfixturevalue("postgres").new_database(request.getfixturevalue("migrated_postgres"))
        database = open_database(url, tmp_path)
        door = Door(database)
        opened.extend((door, database))
        return Working(Replying(door, database, keyring, TurnedClock(START)))

    yield make
    for one in opened:
        one.close()


def subjects_of(record: Replying, members: str) -> list[str]:
    if members == "call and case":
        return [record.call(), record.case(dept_code=None)]
    return [record.case(f"GD-{n}", task_code="T1", area_code="622901") for n in range(1 if members == "case" else 3)]


def count_anew(record: Replying) -> None:
    """The figures of what a test put into the record by itself."""
    with record.database.write_engine.begin() as connection:
        rebuild(connection)


@pytest.mark.parametrize("satisfaction", [5, 3])
@pytest.mark.parametrize("members", ["case", "call and case", "batch"])
def test_a_rating_from_an_assignment_is_the_one_that_the_reply_would_have_made(
    satisfaction: int, members: str, make_stand: Callable[[], Working]
) -> None:
    direct, assigned = make_stand(), make_stand()
    seen = []
    for stand in (direct, assigned):
        record = stand.record
        invitation = record.invite(*subjects_of(record, members), kind="call" if members == "call and case" else "case")
        count_anew(record)
        record.clock.turn(HOUR)
        heard = level(satisfaction, "还行")
        if stand is direct:
            assert record.reply(heard).outcome is Outcome.RATED
        else:
            message = stand.waits(heard)
            record.clock.turn(3 * HOUR)
            done = stand.assign(message, invitation, heard)
            assert (done.did, done.outcome, done.satisfaction) == (Did.DONE, Outcome.RATED, Satisfaction(satisfaction))
            assert done.pushes
        seen.append((plainly(record), agree(record.database)))
    assert seen[1] == seen[0]
    rows, _ = seen[1]
    assert all(row["rated_at"] == START + HOUR and row["late"] is False for row in rows["ratings"])
    assert all(row["assess_time"] == START + HOUR for row in rows["evaluations"])
    assert len(rows["evaluations"]) == {"case": 1, "call and case": 2, "batch": 3}[members]
    assert len(rows["outbox"]) == (3 if members == "batch" else 1)


def test_the_message_says_who_did_it_and_keeps_the_queue_it_came_from(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    message = working.waits(level(4))
    record.clock.turn(HOUR)
    assert working.assign(message, invitation, level(4)).did is Did.DONE
    row = working.message(message)
    assert (row.handled_by, row.handled_as, row.handled_at) == ("user:ma", "assigned", record.clock.now())
    assert (row.queue, row.invitation_id, row.outcome, row.state) == ("unmatched", invitation, "rated", "read")
    assert record.one(ratings).message_id == message
    assert working.audited() == [("user:ma", "reply.assigned", "unmatched rated")]
    assert not record.sent(), "a person has looked; nothing is asked of itself"


@pytest.mark.parametrize(
    ("case", "state", "ended", "late"),
    [
        ("open all the time", InvitationState.ASKED, None, False),
        ("expired since it came", InvitationState.EXPIRED, HOUR, False),
        ("defaulted since it came", InvitationState.DEFAULTED, HOUR, False),
        ("superseded since it came", InvitationState.SUPERSEDED, HOUR, False),
        ("expired before it came", InvitationState.EXPIRED, -HOUR, True),
        ("defaulted before it came", InvitationState.DEFAULTED, -HOUR, True),
    ],
)
def test_a_reply_is_late_by_when_it_came_not_by_when_it_was_looked_at(
    working: Working, case: str, state: InvitationState, ended: timedelta | None, late: bool
) -> None:
    record = working.record
    subject = record.case()
    invitation = record.invite(subject, state=state)
    if ended is not None:
        record.change(invitations, invitation, ended_at=START + ended)
    message = working.waits(level(2))
    record.clock.turn(2 * HOUR)
    if state is InvitationState.DEFAULTED:
        record.default(subject)
    assert working.assign(message, invitation, level(2)).outcome is Outcome.RATED
    rating = record.one(ratings, origin="citizen")
    assert (rating.late, rating.rated_at) == (late, START)
    effective = record.one(evaluations, effective=True)
    assert (effective.satisfaction, effective.assess_number) == (2, 2 if state is InvitationState.DEFAULTED else 1)


@pytest.mark.parametrize(
    ("invited", "expected"),
    [
        (Invited(InvitationState.WITHDRAWN, open_members=False, ended_at=START + HOUR), InvitationState.WITHDRAWN),
        (Invited(InvitationState.RATED, open_members=False, ended_at=START + HOUR), InvitationState.RATED),
        (Invited(InvitationState.EXPIRED, open_members=True, ended_at=START + HOUR), InvitationState.ASKED),
        (Invited(InvitationState.EXPIRED, open_members=True, ended_at=START - HOUR), InvitationState.EXPIRED),
        (Invited(InvitationState.ASKED, open_members=True, clarified_at=START + HOUR), InvitationState.ASKED),
    ],
)
def test_only_what_time_has_ended_is_taken_back(invited: Invited, expected: InvitationState) -> None:
    stood = as_it_stood(invited, START)
    assert stood.state is expected
    assert stood.clarified_at is None


def test_words_without_a_level_are_a_remark_and_no_rating(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    message = working.waits(words("路还没修好"))
    done = working.assign(message, invitation, words("路还没修好"))
    assert (done.did, done.outcome, done.satisfaction, done.pushes) == (Did.DONE, Outcome.COMMENT, None, False)
    remark = record.one(remarks)
    assert (remark.kind, remark.text, remark.satisfaction, remark.at) == ("comment", "路还没修好", None, START)
    assert (record.rows(ratings), record.rows(evaluations)) == ([], [])
    assert record.one(invitations).state == "asked"


def test_a_level_where_one_stands_is_a_remark_on_it(working: Working) -> None:
    record = working.record
    subject = record.case()
    invitation = record.invite(subject)
    count_anew(record)
    message = working.waits(level(1))
    record.clock.turn(MINUTE)
    record.reply(level(5))
    done = working.assign(message, invitation, level(1))
    assert (done.did, done.outcome, done.satisfaction) == (Did.DONE, Outcome.AGAIN, None)
    assert record.one(evaluations).satisfaction == 5
    assert (record.one(remarks).kind, record.one(remarks).satisfaction) == ("again", 1)
    agree(record.database)


def test_another_level_in_the_conversation_goes_on_to_the_mistaken(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    record.reply(level(1))  # bad and without words: the reason is asked for
    record.clock.turn(MINUTE)
    message = working.waits(level(5))
    done = working.assign(message, invitation, level(5))
    assert done.outcome is Outcome.MISTAKEN
    row = working.message(message)
    assert (row.queue, row.handled_at) == ("mistaken", None)
    assert record.one(evaluations).satisfaction == 1


@pytest.mark.parametrize(
    ("case", "prepare", "why"),
    [
        ("withdrawn", {"withdrawn_at": START}, Refusal.WITHDRAWN),
        ("too late", {"state": InvitationState.EXPIRED, "ended": WINDOW + DAY}, Refusal.TOO_LATE),
    ],
)
def test_what_would_not_have_counted_does_not_count_now(
    working: Working, case: str, prepare: dict[str, Any], why: Refusal
) -> None:
    record = working.record
    subject = record.case(withdrawn_at=prepare.get("withdrawn_at"))
    more = {key: value for key, value in prepare.items() if key != "withdrawn_at"}
    invitation = record.invite(subject, **more)
    message = working.waits(level(5))
    done = working.assign(message, invitation, level(5))
    assert (done.did, done.why) == (Did.REFUSED, why)
    assert working.message(message).handled_at is None
    assert record.rows(ratings) == []


@pytest.mark.parametrize(
    ("case", "heard", "why"),
    [
        ("unreadable", UNREADABLE, Refusal.UNREADABLE),
        ("another text than the stored one", level(5, text="非常满意"), Refusal.UNREADABLE),
    ],
)
def test_only_the_stored_text_counts(working: Working, case: str, heard: Heard, why: Refusal) -> None:
    record = working.record
    invitation = record.invite(record.case())
    message = working.waits(UNREADABLE if heard is UNREADABLE else words("你好"))
    done = working.assign(message, invitation, heard)
    assert (done.did, done.why) == (Did.REFUSED, why)
    assert record.rows(ratings) == []


def test_digits_are_read_by_the_invitations_own_map(working: Working) -> None:
    record = working.record
    other = KeyMap.of({"5": 5, "4": 4, "3": 3, "2": 2, "1": 1})
    invitation = record.invite(record.case(), key_map=other.version)
    message = working.waits(level(5))
    done = working.assign(message, invitation, level(5))
    assert (done.did, done.key_map) == (Did.REREAD, other.version)
    assert (record.rows(ratings), working.message(message).handled_at) == ([], None)
    again = replace(level(1), text="1", key_map=other.version)
    assert working.assign(message, invitation, again).satisfaction is Satisfaction.VERY_DISSATISFIED


def test_a_reply_counts_once_ever(working: Working) -> None:
    record = working.record
    first, second = record.invite(record.case("GD-1")), record.invite(record.case("GD-2"), code="08")
    message = working.waits(level(5))
    assert working.assign(message, first, level(5)).did is Did.DONE
    again = working.assign(message, second, level(5), who=BAI)
    assert (again.did, again.by) == (Did.STALE, "user:ma")
    assert len(record.rows(evaluations)) == 1


def test_pressure_that_was_rated_already_is_not_counted_again(working: Working) -> None:
    record = working.record
    record.invite(record.case("GD-1"))
    other = record.invite(record.case("GD-2"), code="08")
    message = working.waits(replace(level(5), pressure=True), raw=CITIZEN)
    assert len(record.rows(ratings)) == 1
    done = working.assign(message, other, level(5))
    assert (done.did, done.why) == (Did.REFUSED, Refusal.COUNTED)
    assert len(record.rows(ratings)) == 1


def test_pressure_on_a_reply_of_a_stranger_counts_once_somebody_has_seen_it(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    heard = replace(level(5), pressure=True)
    message = working.waits(heard)
    assert working.message(message).queue == "pressure"
    assert working.assign(message, invitation, heard).outcome is Outcome.RATED
    assert (working.message(message).queue, working.message(message).handled_as) == ("pressure", "assigned")


def test_words_that_a_machine_may_have_written_are_the_reason_once_somebody_has_seen_them(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    record.reply(level(1))
    heard = words("打电话总是提示您拨打的电话正忙", doubtful=True)
    message = working.waits(heard)
    assert working.assign(message, invitation, heard).outcome is Outcome.COMMENT
    assert record.one(ratings).comment == heard.text


def test_an_opt_out_beside_the_level_is_not_done_twice(working: Working) -> None:
    """退订 was heard when it came; who has come back since stays."""
    record = working.record
    invitation = record.invite(record.case())
    record.invite(record.case("GD-2"), code="08")
    heard = replace(level(4), said=Said.OPT_OUT)
    message = working.waits(heard, raw=CITIZEN, code="")
    assert working.message(message).queue == "ambiguous"
    record.write(update(opt_outs).values(ended_at=record.clock.now()))
    assert working.assign(message, invitation, heard).outcome is Outcome.RATED
    assert record.one(opt_outs).ended_at is not None


def test_two_people_assign_one_reply_at_once(working: Working, another_door: Callable[[], Door]) -> None:
    record = working.record
    invitations_ = [record.invite(record.case(f"GD-{n}"), code=f"0{n}") for n in (1, 2)]
    message = working.waits(level(5))
    now = record.clock.now()
    doors = [record.door, another_door()]
    futures = [
        doors[place].submit(AssignReply(message, invitation, level(5), who, now, record.rules))
        for place, (invitation, who) in enumerate(zip(invitations_, (MA, BAI), strict=True))
    ]
    results = [future.result(WAIT) for future in futures]
    assert sorted(one.did for one in results) == [Did.DONE, Did.STALE]
    [late] = [one for one in results if one.did is Did.STALE]
    assert late.by == working.message(message).handled_by
    assert len(record.rows(evaluations)) == 1


# ── owners ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_has_taken_a_reply_keeps_it_until_it_is_taken_over(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    message = working.waits(level(5))
    assert working.take(message)[0].did is Did.DONE
    assert working.take(message)[0].did is Did.DONE, "twice is as good as once"
    for blocked in (
        working.take(message, who=BAI)[0],
        working.take(message, who=BAI, how=Taking.RELEASE)[0],
        working.dismiss(message, who=BAI)[0],
        working.assign(message, invitation, level(5), who=BAI),
        working.ask(message, invitation, who=BAI),
    ):
        assert (blocked.did, blocked.by, blocked.at) == (Did.OWNED, "user:ma", START)
    record.clock.turn(MINUTE)
    assert working.take(message, who=BAI, how=Taking.TAKE_OVER)[0].did is Did.DONE
    owner = record.one(work_owners)
    assert (owner.kind, owner.item_id, owner.owner, owner.taken_at) == ("reply", message, "user:bai", START + MINUTE)
    assert working.assign(message, invitation, level(5), who=BAI).did is Did.DONE
    assert record.rows(work_owners) == [], "done: `handled_by` says who"
    assert [action for _, action, _ in working.audited()] == ["work.taken", "work.taken", "reply.assigned"]


def test_what_is_given_back_may_be_taken_by_anybody(working: Working) -> None:
    message = working.waits(words("你好"))
    working.take(message)
    assert working.take(message, how=Taking.RELEASE)[0].did is Did.DONE
    assert working.take(message, who=BAI)[0].did is Did.DONE


def test_letters_deadlines_and_failures_have_owners_too(working: Working) -> None:
    record = working.record
    subject = record.case(provisional=True)
    invitation = record.invite(subject)
    record.rated(subject, 5)
    [evaluation] = record.rows(evaluations)
    failed = new_id()
    record.write(
        insert(outbox).values(evaluation_id=evaluation.id, subject_id=subject, assess_number=1, created_at=START,
                              state=OutboxState.DEAD.value, not_before=START, tries=0),
        insert(messages).values(id=failed, direction="out", kind="invitation", state=MessageState.FAILED.value,
                                invitation_id=invitation, created_at=START, changed_at=START),
    )  # fmt: skip
    for kind, item in ((WorkKind.LETTER, evaluation.id), (WorkKind.DEADLINE, subject), (WorkKind.FAILURE, failed)):
        assert working.take(item, kind=kind)[0].did is Did.DONE
        assert working.take(item, kind=kind, who=BAI)[0].did is Did.OWNED
        hidden = person(messages=false(), evaluations=false(), cases=false())
        assert working.take(item, kind=kind, who=hidden)[0].did is Did.GONE
    assert working.dismiss(failed, kind=WorkKind.FAILURE, how=HandledAs.NOTED)[0].did is Did.DONE
    assert (working.message(failed).handled_as, working.message(failed).state) == ("noted", "failed")


# ── dismissing ────────────────────────────────────────────────────────────────────────────────────────────────────────

H = HandledAs


@pytest.mark.parametrize(
    ("queue", "how", "note", "expected"),
    [
        (QueueReason.UNMATCHED, H.IRRELEVANT, "", None),
        (QueueReason.UNMATCHED, H.HARASSMENT, "", None),
        (QueueReason.UNMATCHED, H.AUTOMATIC, "", None),
        (QueueReason.UNMATCHED, H.WORK_ORDER, "GD-77", None),
        (QueueReason.UNMATCHED, H.WORK_ORDER, " ", Refusal.NEEDS_NOTE),
        (QueueReason.UNMATCHED, H.NOTED, "看过", Refusal.NOT_THIS_WAY),
        (QueueReason.UNMATCHED, H.ASSIGNED, "", Refusal.NOT_THIS_WAY),
        (QueueReason.UNREADABLE, H.IRRELEVANT, "", None),
        (QueueReason.PRESSURE, H.NOTED, "已核实", None),
        (QueueReason.MISTAKEN, H.NOTED, "已电话核实", None),
        (QueueReason.MISTAKEN, H.NOTED, "", Refusal.NEEDS_NOTE),
        (QueueReason.MISTAKEN, H.WORK_ORDER, "GD-78", None),
        (QueueReason.MISTAKEN, H.IRRELEVANT, "", Refusal.NOT_THIS_WAY),
        (QueueReason.MISTAKEN, H.HARASSMENT, "", Refusal.NOT_THIS_WAY),
    ],
)
def test_how_each_kind_may_be_dismissed(
    working: Working, queue: QueueReason, how: HandledAs, note: str, expected: Refusal | None
) -> None:
    message = working.waits(words("你好"))
    working.record.change(messages, message, queue=queue.value)
    [done] = working.dismiss(message, how=how, words=note)
    row = working.message(message)
    if expected is not None:
        assert (done.did, done.why, row.handled_at) == (Did.REFUSED, expected, None)
        assert working.audited() == []
    else:
        assert (done.did, row.handled_as, row.handled_note) == (Did.DONE, how.value, note or None)
        assert (row.handled_by, row.queue) == ("user:ma", queue.value)
        assert working.audited() == [("user:ma", "reply.dismissed", f"{queue.value} {how.value}")]


def test_a_mistaken_one_changes_no_level_whatever_is_done(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    record.reply(level(1))
    record.clock.turn(MINUTE)
    message = working.waits(level(5), raw=CITIZEN)
    before = plainly(record)
    assert working.assign(message, invitation, level(5)).why is Refusal.NOT_THIS_WAY
    assert working.ask(message, invitation).why is Refusal.NOT_THIS_WAY
    assert working.dismiss(message, how=H.NOTED, words="已核实")[0].did is Did.DONE
    assert plainly(record) == before


def test_in_bulk_each_is_told_for_itself(working: Working) -> None:
    one, other, theirs, done = (working.waits(words(text)) for text in ("一", "二", "三", "四"))
    unknown = new_id()
    working.take(theirs, who=BAI)
    working.dismiss(done, who=BAI)
    results = working.dismiss(one, theirs, done, unknown, other)
    assert [result.did for result in results] == [Did.DONE, Did.OWNED, Did.STALE, Did.GONE, Did.DONE]
    assert [result.by for result in results] == [None, "user:bai", "user:bai", None, None]


def test_what_somebody_may_not_see_is_not_there(working: Working) -> None:
    record = working.record
    own = record.invite(record.case())
    foreign = record.invite(record.case("GD-2"), code="08")
    narrow = person("bai", messages=messages.c.invitation_id == own, invitations=invitations.c.id == own)
    message = working.waits(words("你好"))
    for blocked in (
        working.take(message, who=narrow)[0],
        working.dismiss(message, who=narrow)[0],
        working.assign(message, own, words("你好"), who=narrow),
        working.ask(message, own, who=narrow),
    ):
        assert blocked.did is Did.GONE
    record.change(messages, message, invitation_id=own)
    assert working.assign(message, foreign, words("你好"), who=narrow).why is Refusal.UNKNOWN_INVITATION
    assert working.ask(message, foreign, who=narrow).why is Refusal.UNKNOWN_INVITATION
    assert working.assign(message, own, words("你好"), who=narrow).did is Did.DONE


# ── once more by hand ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_person_asks_once_more_with_the_invitations_code(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    message = working.waits(words("收到"))
    done = working.ask(message, invitation)
    assert (done.did, done.sends_at) == (Did.DONE, START)
    [sent] = record.sent()
    assert (sent.kind, sent.state, sent.invitation_id, sent.code) == ("by_hand", "queued", invitation, "07")
    assert (sent.answers_id, sent.carrier, sent.number_hash) == (message, "mobile", record.number().hash)
    assert (sent.not_before, sent.not_after) == (START, START + DAY)
    assert KEYS.version in sent.fields
    assert working.message(message).handled_as == "asked"
    assert working.audited() == [("user:ma", "reply.asked", f"unmatched {invitation}")]
    record.clock.turn(MINUTE)
    assert record.reply(level(4)).outcome is Outcome.RATED, "its answer is found"


def test_one_ever_for_an_invitation(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    first, second = working.waits(words("收到")), working.waits(words("好"))
    assert working.ask(first, invitation).did is Did.DONE
    record.clock.turn(3 * DAY)
    again = working.ask(second, invitation, who=BAI)
    assert (again.did, again.why) == (Did.REFUSED, Refusal.ASKED_BEFORE)
    assert working.message(second).handled_at is None
    assert len(record.sent()) == 1


def test_one_ever_over_two_processes(working: Working, another_door: Callable[[], Door]) -> None:
    record = working.record
    invitation = record.invite(record.case())
    replies = [working.waits(words(text)) for text in ("一", "二", "三", "四")]
    doors = [another_door() for _ in replies]
    barrier = Barrier(len(replies))
    results: list[Done] = []

    def ask(door: Door, message: str) -> None:
        barrier.wait(WAIT)
        command = AskByHand(message, invitation, MA, START, working.sending, WINDOW)
        results.append(door.submit(command).result(WAIT))

    threads = [Thread(target=ask, args=pair) for pair in zip(doors, replies, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert sorted(one.did for one in results) == [Did.DONE, *[Did.REFUSED] * 3]
    assert {one.why for one in results} == {None, Refusal.ASKED_BEFORE}
    assert len(record.sent()) == 1


def test_at_night_it_waits_for_the_morning(working: Working) -> None:
    record = working.record
    morning = START.astimezone(SHANGHAI).replace(hour=9) + DAY
    working.sending = replace(working.sending, opening=lambda _: morning)
    done = working.ask(working.waits(words("收到")), record.invite(record.case()))
    assert done.sends_at == morning
    assert record.sent()[0].not_before == morning


@pytest.mark.parametrize(("cap", "why"), [(1, Refusal.CAPPED), (2, None)])
def test_the_daily_cap_holds(working: Working, cap: int, why: Refusal | None) -> None:
    record = working.record
    working.sending = replace(working.sending, daily_cap=cap)
    invitation = record.invite(record.case())
    record.queue(MessageKind.REMINDER, "remind:x", None)
    done = working.ask(working.waits(words("收到")), invitation)
    assert done.why is why
    assert len(record.sent()) == (1 if why else 2)


S = InvitationState


@pytest.mark.parametrize(
    ("case", "state", "more", "why"),
    [
        ("asked", S.ASKED, {}, None),
        ("expired a day ago", S.EXPIRED, {"ended": DAY}, None),
        ("defaulted a day ago", S.DEFAULTED, {"ended": DAY}, None),
        ("expired long ago", S.EXPIRED, {"ended": WINDOW + DAY}, Refusal.TOO_LATE),
        ("withdrawn", S.WITHDRAWN, {"ended": DAY}, Refusal.WITHDRAWN),
        ("not asked yet", S.WAITING, {}, Refusal.NOT_ASKED),
        ("never to be asked", S.IMPOSSIBLE, {"ended": DAY}, Refusal.NOT_ASKED),
        ("muted", S.ASKED, {"muted": True}, Refusal.OPTED_OUT),
        ("without a code", S.ASKED, {"code": None}, Refusal.NO_CODE),
    ],
)
def test_who_may_be_asked(
    working: Working, case: str, state: InvitationState, more: dict[str, Any], why: Refusal | None
) -> None:
    record = working.record
    invitation = record.invite(record.case(), state=state, **more)
    done = working.ask(working.waits(words("收到")), invitation)
    assert (done.did, done.why) == (Did.DONE if why is None else Did.REFUSED, why)
    assert len(record.sent()) == (why is None)


def test_never_after_an_opt_out(working: Working) -> None:
    record = working.record
    invitation = record.invite(record.case())
    message = working.waits(words("收到"))
    record.reply(OPT_OUT)
    sent = len(record.sent())
    assert working.ask(message, invitation).why is Refusal.OPTED_OUT
    record.change(invitations, invitation, muted=False)
    assert working.ask(message, invitation).why is Refusal.OPTED_OUT
    assert len(record.sent()) == sent


def test_a_case_rated_elsewhere_is_not_asked_about(working: Working) -> None:
    record = working.record
    subject = record.case()
    invitation = record.invite(subject)
    record.rated(subject, 4)
    assert working.ask(working.waits(words("收到")), invitation).why is Refusal.RATED
