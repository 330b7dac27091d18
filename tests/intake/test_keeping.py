"""How long personal data is kept: what is older goes, oldest first, by an index; counts and levels stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Select, insert, text, update

from config.settings import PrivacySection
from intake import keeping
from intake.forgetting import BlankAnswered
from intake.keeping import WALKS, KeepGroup, Walk, due_rows
from models.clock import TurnedClock
from models.database import Database
from models.ids import new_id
from models.privacy import Keyring
from models.tables import (
    calls,
    cases,
    codes,
    evaluations,
    invitations,
    messages,
    meta,
    number_routes,
    opt_outs,
    outbox,
    parts,
    push_batches,
    push_members,
    ratings,
    remarks,
)
from models.tables import forgetting as forgetting_table
from models.terms import InvitationState, MessageKind, RetentionKind, Verdict
from tests.intake.replying import OPT_OUT, Replying, level
from tests.intake.test_forgetting import HER, HIM, TITLE, WORDS, Person, everything, many_calls, traces
from tests.moments import START

WAIT = 10
DAY = timedelta(days=1)
KEEP = PrivacySection(retention_days=400, numbers_days=100, comments_days=200, messages_days=300).retention


class Keeping(Person):
    def group(self, walk: str, door: Any = None) -> int:  # type: ignore[override]
        keep = KEEP[WALKS[walk].kind]
        command = KeepGroup(walk, keep, self.record.keyring.active_id, self.clock.now())
        return (door or self.door).submit(command).result(WAIT)

    def sweep(self) -> dict[str, int]:
        """One round: every walk until it has nothing to do."""
        counts = dict.fromkeys(WALKS, 0)
        for walk in WALKS:
            while count := self.group(walk):
                counts[walk] += count
        self.door.submit(BlankAnswered()).result(WAIT)
        return {walk: count for walk, count in counts.items() if count}

    def turn_to(self, days: int) -> None:
        """So many days after START."""
        self.clock.turn(START + days * DAY - self.clock.now())


@pytest.fixture
def kept(doors: Any, emptied: Database, keyring: Keyring, clock: TurnedClock) -> Iterator[Keeping]:
    keeping = Keeping(Replying(doors(), emptied, keyring, clock))
    yield keeping
    keeping.record.write(meta.delete().where(meta.c.key.startswith("keeping.")))  # the marks of the walks


# ── what goes when ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_kind_goes_when_its_own_time_is_over(kept: Keeping, emptied: Database, keyring: Keyring) -> None:
    kept.leave_everything(HIM, "his")
    levels = sorted(row.satisfaction for row in kept.record.rows(evaluations))
    whole = everything(emptied)

    def places() -> set[str]:
        return {trace.partition(":")[0] for trace in traces(emptied, keyring, HIM)} - {"receipts.number_hash"}

    numbers = {place for place in places() if ".number_" in place} | {"cases.title"}
    words = {
        "ratings.comment",
        "ratings.raw_input",
        "seen.note",
        "evaluations.comment",
        "evaluations.centre_note",
        "audit.detail",
        "remarks.text",
        "outbox.reason",
    }
    texts = {"messages.text", "messages.fields", "messages.queue_note", "messages.handled_note", "parts.body"}
    pushes = {"push_members.reason"}
    assert places() == numbers | words | texts | pushes
    stays = {"opt_outs.number_hash"}

    kept.turn_to(99)
    assert kept.sweep() == {}
    assert everything(emptied) == whole

    kept.turn_to(100)
    done = kept.sweep()
    assert (set(done), done["calls"], done["cases"]) == ({"calls", "cases", "invitations", "messages"}, 1, 3)
    assert places() == stays | words | texts | pushes
    assert {row.number_kind for table in (calls, cases, messages) for row in kept.record.rows(table)} == {"mobile"}

    kept.turn_to(199)
    assert kept.sweep() == {}
    kept.turn_to(200)
    assert set(kept.sweep()) == {"ratings", "evaluations", "remarks", "acts"}
    assert places() == stays | texts  # what the centre said of a word goes with it

    kept.turn_to(299)
    assert kept.sweep() == {}
    kept.turn_to(300)
    assert set(kept.sweep()) == {"texts"}
    assert places() == stays

    kept.turn_to(399)
    assert kept.sweep() == {}
    kept.turn_to(400)
    assert kept.sweep() == {"batches": 1}
    assert kept.record.rows(push_batches) == kept.record.rows(push_members) == []
    assert sorted(row.satisfaction for row in kept.record.rows(evaluations)) == levels
    assert kept.sweep() == {}


def test_years_of_days_are_swept_one_by_one(kept: Keeping) -> None:
    """A call a day for three years; each goes on its day."""
    for day in range(3 * 365):
        if day % 40 == 0:
            kept.record.call(f"lx-{day}", HIM)
        kept.clock.turn(DAY)
        kept.sweep()
        age = kept.clock.now() - KEEP[RetentionKind.NUMBERS]
        if day % 40 == 0:
            wrong = [
                row.call_key
                for row in kept.record.rows(calls)
                if (row.created_at <= age) is not (row.number_hash is None)
            ]
            assert wrong == []


def test_a_shorter_period_takes_up_what_it_reaches_and_a_longer_one_brings_nothing_back(kept: Keeping) -> None:
    kept.record.call("lx-1", HIM)
    kept.turn_to(50)
    kept.record.call("lx-2", HIM)

    def group(days: int) -> int:
        return kept.door.submit(KeepGroup("calls", timedelta(days=days), 1, kept.clock.now())).result(WAIT)

    assert [group(days) for days in (60, 40, 40, 500)] == [0, 1, 0, 0]
    assert {row.call_key: row.number_hash is None for row in kept.record.rows(calls)} == {"lx-1": True, "lx-2": False}


@pytest.mark.parametrize(
    ("given", "days"),
    [
        ({}, {1095}),
        ({"retention_days": 90}, {90}),
        ({"retention_days": 90, "messages_days": 30}, {90, 30}),
    ],
)
def test_what_is_not_said_is_kept_as_all(given: dict[str, int], days: set[int]) -> None:
    retention = PrivacySection(**given).retention
    assert set(retention) == set(RetentionKind)
    assert {length.days for length in retention.values()} == days


@pytest.mark.parametrize("key", ["numbers_days", "comments_days", "messages_days"])
def test_nothing_is_kept_longer_than_all(key: str) -> None:
    with pytest.raises(ValueError, match=r"must not be longer than privacy.retention_days \(90\)"):
        PrivacySection(**{"retention_days": 90, key: 91})


# ── what is still under way ───────────────────────────────────────────────────────────────────────────────────────────


def test_words_that_the_centre_has_not_answered_for_wait(kept: Keeping) -> None:
    subject = kept.rated_by_sms(HIM)
    held = kept.record.one(outbox)
    kept.turn_to(201)
    kept.sweep()
    assert kept.evaluation(subject).comment == WORDS
    assert len(kept.record.rows(forgetting_table)) == 1
    assert kept.record.one(outbox).not_before == held.not_before  # nobody hurries it
    batch = kept.take()
    kept.sweep()
    assert kept.evaluation(subject).comment == WORDS
    kept.settle(batch)
    kept.sweep()
    assert kept.evaluation(subject).comment is None
    assert kept.record.rows(forgetting_table) == []


def test_an_open_batch_stays_and_holds_up_those_behind_it(kept: Keeping) -> None:
    kept.rated_by_sms(HIM)
    first = kept.take()
    kept.clock.turn(timedelta(seconds=30))
    kept.rated_by_sms(HER, name="2")
    second = kept.take()
    kept.settle(second)
    kept.turn_to(500)
    assert "batches" not in kept.sweep()
    kept.settle(first, Verdict.REJECTED, "no")
    assert kept.sweep()["batches"] == 2


@pytest.mark.parametrize("state", [InvitationState.WAITING, InvitationState.ASKED])
def test_an_invitation_that_is_still_open_has_expired(kept: Keeping, state: InvitationState) -> None:
    record = kept.record
    subject = record.case(raw=HIM, default_at=START + 7 * DAY)
    record.invite(subject, raw=HIM, state=state, remind_at=START + DAY)
    record.queue(MessageKind.REMINDER, "again", record.one(invitations).id)
    kept.turn_to(100)
    kept.sweep()
    invitation = record.one(invitations)
    assert (invitation.state, invitation.reason, invitation.remind_at) == ("expired", "kept_no_longer", None)
    assert record.one(messages).state == "cancelled"
    assert (record.one(codes).number_hash, record.one(codes).ended_at) == (None, kept.clock.now())
    assert record.one(cases).default_at == START + 7 * DAY  # a default needs no number


def test_a_code_goes_with_the_invitation_that_it_stands_for_now(kept: Keeping) -> None:
    record = kept.record
    record.invite(record.case("GD-1", HIM), raw=HIM, ended=DAY, state=InvitationState.EXPIRED)
    kept.turn_to(50)
    newer = record.invite(record.case("GD-2", HIM), raw=HIM, code=None)
    record.write(update(codes).values(invitation_id=newer, given_at=kept.clock.now(), ended_at=None))
    kept.turn_to(100)
    kept.sweep()
    assert record.one(codes).number_hash is not None
    kept.turn_to(150)
    kept.sweep()
    assert record.one(codes).number_hash is None


def test_what_was_learnt_of_a_number_goes_with_its_last_sms(kept: Keeping) -> None:
    record, own = kept.record, kept.record.columns(HIM)
    record.reply(OPT_OUT, raw=HIM)
    record.write(insert(number_routes).values(id=new_id(), carrier="telecom", learnt_at=START, **own))
    kept.turn_to(50)
    record.stored("1", raw=HIM)
    kept.turn_to(100)
    kept.sweep()
    assert record.one(opt_outs).number_sealed is not None
    assert len(record.rows(number_routes)) == 1
    kept.turn_to(150)
    kept.sweep()
    opted_out = record.one(opt_outs)
    assert (opted_out.number_sealed, opted_out.number_tail, opted_out.ended_at) == (None, None, None)
    assert opted_out.number_hash == record.number(HIM).hash
    assert record.rows(number_routes) == []


def test_a_reply_that_nobody_has_read_by_then_never_is(kept: Keeping) -> None:
    message = kept.record.stored(WORDS, raw=HIM)
    kept.turn_to(300)
    kept.sweep()
    row = kept.record.one(messages)
    assert (row.state, row.outcome, row.text, kept.record.rows(parts)) == ("read", "kept_no_longer", None, [])
    assert kept.record.take(message, level(5)).outcome is None


# ── groups, marks, several processes ──────────────────────────────────────────────────────────────────────────────────


def test_a_group_has_64_rows_and_a_mark(kept: Keeping) -> None:
    many_calls(kept, 150)
    kept.turn_to(100)
    assert kept.group("calls") == 64
    marked = kept.record.one(meta, key="keeping.calls").value
    done = [row.subject_id for row in kept.record.rows(calls) if row.number_hash is None]
    assert (len(done), max(done)) == (64, marked)
    # The process ends here; another goes on from the mark.
    assert [kept.group("calls") for _ in range(3)] == [64, 22, 0]
    assert {row.number_hash for row in kept.record.rows(calls)} == {None}


def test_several_processes_go_through_a_table_once(kept: Keeping, doors: Any) -> None:
    many_calls(kept, 300)
    kept.turn_to(100)
    several = [kept.door, doors()]
    command = KeepGroup("calls", KEEP[RetentionKind.NUMBERS], 1, kept.clock.now())
    done = 0
    for _ in range(40):
        futures = [door.submit(command) for door in several for _ in range(2)]
        counts = [future.result(WAIT) for future in futures]
        done += sum(counts)
        if not any(counts):
            break
    assert done == 300
    assert {row.number_hash for row in kept.record.rows(calls)} == {None}


def test_a_round_with_nothing_to_do_looks_at_one_row(kept: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    many_calls(kept, 70)
    asked: list[int] = []
    whole = keeping.due_rows

    def noted(walk: Walk, after: str | None, limit: int) -> Select[Any]:
        asked.append(limit)
        return whole(walk, after, limit)

    monkeypatch.setattr(keeping, "due_rows", noted)
    assert kept.sweep() == {}
    assert asked == [1] * len(WALKS)


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_finds_its_rows_by_an_index(kept: Keeping, walk: str) -> None:
    database = kept.record.database
    table = WALKS[walk].identity.table
    query = due_rows(WALKS[walk], new_id(), 64).compile(database.read_engine, compile_kwargs={"literal_binds": True})
    with database.read_engine.connect() as connection:
        if database.is_sqlite:
            plan = " ".join(row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
            assert f"SEARCH {table.name} USING" in plan
        else:
            for other in ("seqscan", "bitmapscan", "sort"):  # the table is empty: anything would do
                connection.execute(text(f"SET LOCAL enable_{other} = off"))
            plan = " ".join(row[0] for row in connection.execute(text(f"EXPLAIN {query}")))
            assert "Index Scan using" in plan or "Index Only Scan using" in plan
            assert "Index Cond" in plan
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan


def test_the_titles_of_others_stay(kept: Keeping) -> None:
    kept.record.case("GD-1", HIM, title=TITLE)
    kept.turn_to(50)
    kept.record.case("GD-2", HER, title=TITLE)
    kept.turn_to(100)
    kept.sweep()
    assert {row.case_no: row.title for row in kept.record.rows(cases)} == {"GD-1": None, "GD-2": TITLE}


def test_what_is_gone_stays_in_the_counts(kept: Keeping) -> None:
    def counted() -> list[int]:
        return [len(kept.record.rows(table)) for table in (calls, cases, invitations, messages, ratings, remarks)]

    kept.leave_everything(HIM, "his")
    before = counted()
    kept.turn_to(1000)
    kept.sweep()
    assert counted() == before
