"""What the push writes, command by command, on both databases; clocks are turned, nothing waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, TypeVar

import pytest
from sqlalchemy import text, update
from sqlalchemy.dialects import postgresql, sqlite

from centre import commands
from centre.answers import Word
from centre.commands import (
    Horizon,
    PostponeBatch,
    RebaseBatches,
    RecallBatches,
    ReleaseBatches,
    SettleBatch,
    SplitBatch,
    TakeBatches,
    Taken,
    TakenBatch,
    VoidLeases,
    batch_due,
    outbox_due,
)
from centre.retry import Backoff
from models.database import Database
from models.door import Command, Door
from models.tables import evaluations, outbox, push_batches
from models.terms import Verdict
from tests.centre.rows import MAPPER, Record, add
from tests.moments import START

T = TypeVar("T")
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
AT = Horizon(START, hold=11 * MINUTE, wait=61 * MINUTE, lease=75 * SECOND)
BACKOFF = Backoff(1.0, 300.0)
ACCEPTED, DUPLICATE = Word(Verdict.ACCEPTED), Word(Verdict.DUPLICATE)


def do(door: Door, command: Command[T]) -> T:
    return door.submit(command).result(10)


def take(door: Door, at: Horizon = AT, **changes: Any) -> Taken:
    wanted = TakeBatches(
        owner="me",
        at=at,
        lease_until=at.now + 75 * SECOND,
        total=4,
        again=4,
        new=4,
        size=100,
        not_these=(),
        mapper=MAPPER,
    )
    return do(door, replace(wanted, **changes))


def take_one(door: Door, at: Horizon = AT, **changes: Any) -> TakenBatch:
    [batch] = take(door, at, **changes).batches
    return batch


def later(by: timedelta) -> Horizon:
    return replace(AT, now=START + by)


def settle(batch: TakenBatch, words: dict[str, Word]) -> SettleBatch:
    return SettleBatch(batch.id, batch.members, words, START + SECOND, BACKOFF, chance=1.0)


# ── taking ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_batch_is_stored_before_anybody_can_send_it(door: Door, database: Database) -> None:
    ids = add(database.write_engine, 3, now=START - SECOND)
    batch = take_one(door)
    assert (batch.members, batch.tries, batch.new) == (tuple(ids), 0, True)
    [stored] = Record(database).batches
    assert (stored.id, stored.body, stored.records, stored.state) == (batch.id, batch.body, 3, "open")
    assert (stored.lease_owner, stored.lease_until) == ("me", START + 75 * SECOND)
    assert {row.batch_id for row in Record(database).outbox.values()} == {batch.id}
    assert take(door).batches == ()


def test_the_oldest_go_first_in_batches_of_the_size_asked_for(door: Door, database: Database) -> None:
    ids = add(database.write_engine, 7, now=START - SECOND)
    taken = take(door, size=2, new=3)
    assert [list(batch.members) for batch in taken.batches] == [ids[0:2], ids[2:4], ids[4:6]]
    assert taken.more
    rest = take(door, size=2, new=3)
    assert [list(batch.members) for batch in rest.batches] == [ids[6:]]
    assert not rest.more


@pytest.mark.parametrize(
    ("not_before", "due"),
    [
        pytest.param(-DAY, True, id="long ago"),
        pytest.param(timedelta(0), True, id="now"),
        pytest.param(SECOND, False, id="held"),
        pytest.param(10 * MINUTE, False, id="held as long as a hold can be"),
        pytest.param(12 * MINUTE, True, id="further than any hold: another clock wrote it"),
        pytest.param(DAY, True, id="a day ahead"),
    ],
)
def test_what_is_due_in_the_outbox(door: Door, database: Database, not_before: timedelta, due: bool) -> None:
    add(database.write_engine, now=START - DAY, not_before=START + not_before)
    assert bool(take(door).batches) is due


@pytest.mark.parametrize(
    ("created", "not_before", "tries", "due"),
    [
        pytest.param(3 * MINUTE, 3 * MINUTE, 0, True, id="due by the clock as it was"),
        pytest.param(3 * MINUTE, 3 * MINUTE + 90 * SECOND, 0, False, id="held, by the clock as it was"),
        pytest.param(-MINUTE, MINUTE, 0, False, id="written by the clock as it is"),
        pytest.param(3 * MINUTE, 2 * MINUTE, 1, False, id="backs off, by the clock as it is"),
    ],
)
def test_a_clock_seen_going_back_three_minutes(
    door: Door, database: Database, created: timedelta, not_before: timedelta, tries: int, due: bool
) -> None:
    add(database.write_engine, now=START + created, not_before=START + not_before, tries=tries)
    assert bool(take(door, replace(AT, stepped=4 * MINUTE)).batches) is due


def test_stored_batches_go_before_new_ones_and_never_those_on_the_way(door: Door, database: Database) -> None:
    add(database.write_engine, 2, now=START - SECOND)
    first, second = take(door, size=1).batches
    do(door, ReleaseBatches("me"))
    add(database.write_engine, now=START)
    taken = take(door, total=2, not_these=(first.id,)).batches
    assert [(batch.id == second.id, batch.new) for batch in taken] == [(True, False), (False, True)]
    assert taken[0].body == second.body
    assert taken[0].members == second.members


def test_how_many_may_be_taken_is_kept(door: Door, database: Database) -> None:
    add(database.write_engine, 3, now=START - SECOND)
    assert len(take(door, size=1, new=0).batches) == 0
    assert len(take(door, size=1, new=2).batches) == 2
    do(door, ReleaseBatches("me"))
    assert len(take(door, size=1, again=1, new=0).batches) == 1
    assert len(take(door, size=1, total=1).batches) == 1


def test_a_lease_keeps_others_away_until_it_runs_out(door: Door, database: Database) -> None:
    add(database.write_engine, now=START)
    batch = take_one(door)
    assert take(door, later(74 * SECOND), owner="other").batches == ()
    assert take_one(door, later(75 * SECOND), owner="other").body == batch.body
    [stored] = Record(database).batches
    assert stored.lease_owner == "other"


def test_a_lease_of_a_clock_far_ahead_is_none(door: Door, database: Database) -> None:
    add(database.write_engine, now=START)
    batch = take_one(door, later(DAY), lease_until=START + DAY + 75 * SECOND)
    assert take_one(door).id == batch.id


def test_a_record_whose_evaluation_is_gone_is_buried(door: Door, database: Database) -> None:
    gone, here = add(database.write_engine, 2, now=START - SECOND)
    with database.write_engine.begin() as connection:
        connection.execute(evaluations.delete().where(evaluations.c.id == gone))
    taken = take(door)
    assert [batch.members for batch in taken.batches] == [(here,)]
    assert taken.buried == 1
    dead = Record(database).outbox[gone]
    assert (dead.state, dead.batch_id) == ("dead", None)
    assert "not in the database" in dead.reason


# ── what became of it ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_kind_of_verdict_in_one_batch(door: Door, database: Database) -> None:
    a, b, c, d = add(database.write_engine, 4, now=START - SECOND)
    batch = take_one(door)
    words = {a: ACCEPTED, b: DUPLICATE, c: Word(Verdict.REJECTED, "不对")}
    done = do(door, settle(batch, words))
    assert (done.applied, done.accepted, done.duplicate, done.rejected, done.without) == (True, 1, 1, 1, 1)
    record = Record(database)
    assert record.pushed == {a: "accepted", b: "duplicate", c: "rejected"}
    assert {name for name, at in record.pushed_at.items() if at is not None} == {a, b}
    assert set(record.outbox) == {c, d}
    assert (record.outbox[c].state, record.outbox[c].reason, record.outbox[c].batch_id) == ("dead", "不对", None)
    waits = record.outbox[d]
    assert (waits.state, waits.batch_id, waits.tries, waits.not_before) == ("waiting", None, 1, START + 2 * SECOND)
    assert record.verdicts == {a: ["accepted"], b: ["duplicate"], c: ["rejected"], d: [None]}
    [closed] = record.batches
    assert (closed.state, closed.body, closed.answered_at) == ("answered", None, START + SECOND)


def test_who_comes_second_settles_nothing(door: Door, database: Database) -> None:
    [only] = add(database.write_engine, now=START)
    batch = take_one(door)
    assert do(door, settle(batch, {only: ACCEPTED})).applied
    assert not do(door, settle(batch, {only: Word(Verdict.REJECTED, "x")})).applied
    assert not do(door, SplitBatch(batch.id, "HTTP 400", START, MAPPER))
    assert not do(door, PostponeBatch(batch.id, "me", START, "late"))
    assert Record(database).pushed == {only: "accepted"}
    assert Record(database).outbox == {}


def test_a_postponed_batch_keeps_its_bytes_and_waits(door: Door, database: Database) -> None:
    add(database.write_engine, now=START)
    batch = take_one(door)
    assert do(door, PostponeBatch(batch.id, "me", START + MINUTE, "HTTP 500"))
    assert take(door, later(59 * SECOND)).batches == ()
    again = take_one(door, later(MINUTE))
    assert (again.id, again.body, again.tries, again.new) == (batch.id, batch.body, 1, False)
    [stored] = Record(database).batches
    assert stored.last_error == "HTTP 500"


def test_only_the_holder_of_the_lease_postpones(door: Door, database: Database) -> None:
    add(database.write_engine, now=START)
    batch = take_one(door)
    take_one(door, later(80 * SECOND), owner="other")
    assert not do(door, PostponeBatch(batch.id, "me", START + DAY, "late"))
    assert Record(database).batches[0].lease_owner == "other"


def test_halves_are_batches_of_their_own_with_nobody_lost(door: Door, database: Database) -> None:
    ids = add(database.write_engine, 5, now=START - SECOND)
    batch = take_one(door)
    assert do(door, SplitBatch(batch.id, "HTTP 422", START, MAPPER))
    parent, *halves = sorted(Record(database).batches, key=lambda stored: -stored.records)
    assert (parent.state, parent.body, parent.last_error) == ("split", None, "HTTP 422")
    assert [(half.records, half.parent_id, half.lease_owner) for half in halves] == [
        (3, batch.id, None),
        (2, batch.id, None),
    ]
    taken = take(door).batches
    assert sorted(member for half in taken for member in half.members) == sorted(ids)
    assert {row.batch_id for row in Record(database).outbox.values()} == {half.id for half in taken}


def test_leases_end_at_a_stop_and_at_a_start(door: Door, database: Database) -> None:
    add(database.write_engine, 2, now=START - SECOND)
    take(door, size=1, new=1)
    take(door, size=1, new=1, owner="other")
    assert do(door, ReleaseBatches("me")) == 1
    assert do(door, VoidLeases()) == 1
    assert [batch.lease_owner for batch in Record(database).batches] == [None, None]


def test_a_recall_makes_what_waits_due_and_leaves_what_is_on_the_way(door: Door, database: Database) -> None:
    add(database.write_engine, 2, now=START - SECOND)
    waiting, sending = take(door, size=1).batches
    do(door, PostponeBatch(waiting.id, "me", START + 5 * MINUTE, "HTTP 500"))
    assert do(door, RecallBatches(START + SECOND)) == 1
    assert take_one(door, later(SECOND)).id == waiting.id
    assert {batch.id for batch in Record(database).open_batches} == {waiting.id, sending.id}


def test_a_step_of_the_clock_moves_the_open_batches_with_it(door: Door, database: Database) -> None:
    add(database.write_engine, 2, now=START - SECOND)
    waiting, _sending = take(door, size=1).batches
    do(door, PostponeBatch(waiting.id, "me", START + MINUTE, "HTTP 500"))
    assert do(door, RebaseBatches(3 * MINUTE, START - 3 * MINUTE)) == 2
    times = {batch.id: (batch.not_before, batch.lease_until) for batch in Record(database).batches}
    assert times == {
        waiting.id: (START - 2 * MINUTE, None),
        _sending.id: (START - 3 * MINUTE, START + 75 * SECOND - 3 * MINUTE),
    }


def test_many_commands_of_a_group_keep_their_order(door: Door, database: Database) -> None:
    ids = add(database.write_engine, 20, now=START - SECOND)
    batches = take(door, size=1, total=20, new=20).batches
    futures = [door.submit(settle(batch, {batch.members[0]: ACCEPTED})) for batch in batches]
    assert all(future.result(10).applied for future in futures)
    assert Record(database).pushed == dict.fromkeys(ids, "accepted")


# ── the indexes ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stepped", [timedelta(0), 3 * MINUTE])
def test_a_backlog_is_read_by_its_index_not_sorted(database: Database, stepped: timedelta) -> None:
    """With 100,000 waiting, a sort for each claim would cost more than the push."""
    add(database.write_engine, 2000, now=START - SECOND)
    at = replace(AT, stepped=stepped)
    dialect: Any = sqlite.dialect() if database.is_sqlite else postgresql.dialect()  # type: ignore[no-untyped-call]
    looks = [(commands._DUE_ROWS.where(due).limit(100), "ix_outbox_due") for due in outbox_due(at)]
    looks.append((push_batches.select().where(batch_due(at)).order_by("not_before").limit(3), "ix_push_batches_open"))
    with database.write_engine.connect() as connection:
        if not database.is_sqlite:
            connection.execute(text("ANALYZE"))
            connection.execute(text("SET enable_seqscan = off"))
        for look, index in looks:
            written = str(look.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
            explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
            plan = "\n".join(
                str(tuple(line)) for line in connection.exec_driver_sql(explain + written.replace("%", "%%"))
            )
            assert index in plan, plan
            if index == "ix_outbox_due":
                assert "TEMP B-TREE" not in plan, plan
                assert "Sort" not in plan, plan
        connection.rollback()


def test_the_states_in_the_indexes_are_those_of_the_terms(database: Database) -> None:
    add(database.write_engine, now=START)
    with database.write_engine.begin() as connection:
        connection.execute(update(outbox).values(state="dead"))
        assert [connection.execute(outbox.select().where(due)).first() for due in outbox_due(AT)] == [None, None]


# ── what stays of a body ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("older", [False, True], ids=["of this version", "stored by an older one"])
@pytest.mark.parametrize("ending", ["settled", "split"])
def test_a_digest_stays_of_a_body_that_goes(door: Door, database: Database, older: bool, ending: str) -> None:
    add(database.write_engine, 3, now=START - SECOND)
    batch = take_one(door)
    if older:
        with database.write_engine.begin() as connection:
            connection.execute(update(push_batches).values(digest=None))
    if ending == "settled":
        do(door, settle(batch, dict.fromkeys(batch.members, ACCEPTED)))
    else:
        do(door, SplitBatch(batch.id, "400", START, MAPPER))
    [stored] = [one for one in Record(database).batches if one.id == batch.id]
    assert (stored.body, stored.digest) == (None, sha256(batch.body).digest())
