"""What the command line and the metrics see of the outbox."""

from __future__ import annotations

import json
from datetime import timedelta

from sqlalchemy import select, update

from centre.outbox import PROBE, Backlog, backlog, outbox_list, retry
from models.database import Database
from models.tables import audit, outbox, push_batches
from models.terms import OutboxState
from tests.centre.rows import Record, add
from tests.moments import START

SECOND = timedelta(seconds=1)


def bury(database: Database, evaluation_id: str, reason: str) -> None:
    with database.write_engine.begin() as connection:
        connection.execute(
            update(outbox).where(outbox.c.evaluation_id == evaluation_id).values(state="dead", reason=reason, tries=3)
        )


def put_in_batch(database: Database, evaluation_id: str) -> str:
    batch_id = "0" * 31 + "b"
    with database.write_engine.begin() as connection:
        connection.execute(
            push_batches.insert().values(
                id=batch_id,
                state="open",
                body=b"{}",
                records=1,
                tries=4,
                not_before=START + 60 * SECOND,
                last_error="HTTP 500",
                created_at=START,
            )
        )
        connection.execute(update(outbox).where(outbox.c.evaluation_id == evaluation_id).values(batch_id=batch_id))
    return batch_id


def test_the_list_says_what_waits_and_why(database: Database) -> None:
    [waiting] = add(database.write_engine, name="a", now=START)
    [held] = add(database.write_engine, name="b", now=START + SECOND, held_by="here/b1")
    [sent] = add(database.write_engine, name="c", now=START + 2 * SECOND)
    [dead] = add(database.write_engine, name="d", now=START + 3 * SECOND)
    put_in_batch(database, sent)
    bury(database, dead, "部门编码不存在")
    with database.read_engine.connect() as connection:
        entries = outbox_list(connection)
        assert [entry.evaluation_id for entry in entries] == [dead, waiting, held, sent]
        assert [entry.state for entry in entries] == [OutboxState.DEAD, *[OutboxState.WAITING] * 3]
        assert [entry.why for entry in entries] == ["部门编码不存在", None, None, "HTTP 500"]
        assert [entry.held for entry in entries] == [False, False, True, False]
        assert [entry.in_batch for entry in entries] == [False, False, False, True]
        assert [entry.tries for entry in entries] == [3, 0, 0, 4]
        assert entries[3].not_before == START + 60 * SECOND
        assert len(outbox_list(connection, limit=2)) == 2
        assert [entry.evaluation_id for entry in outbox_list(connection, state=OutboxState.DEAD)] == [dead]


def test_retry_puts_dead_letters_back_and_calls_the_waiting_batches_audited(database: Database) -> None:
    [dead] = add(database.write_engine, name="a", now=START)
    [sent] = add(database.write_engine, name="b", now=START)
    batch_id = put_in_batch(database, sent)
    bury(database, dead, "x")
    now = START + 5 * SECOND
    with database.write_engine.begin() as connection:
        done = retry(connection, now, actor="command_line")
    assert (done.letters, done.batches) == (1, 1)
    letter = Record(database).outbox[dead]
    assert (letter.state, letter.reason, letter.tries, letter.batch_id) == ("waiting", None, 0, None)
    assert letter.not_before == now
    [batch] = Record(database).batches
    assert (batch.id, batch.not_before, batch.body) == (batch_id, now, b"{}")
    with database.read_engine.connect() as connection:
        [line] = connection.execute(select(audit)).all()
    assert (line.actor, line.action, line.at) == ("command_line", "push.retry", now)
    assert json.loads(line.detail) == {"evaluation": dead}
    assert line.subject_id == letter.subject_id


def test_retry_of_one_leaves_the_others(database: Database) -> None:
    one, other = add(database.write_engine, 2, now=START)
    bury(database, one, "x")
    bury(database, other, "y")
    with database.write_engine.begin() as connection:
        assert retry(connection, START, actor="command_line", evaluation_ids=[one]).letters == 1
    assert {name: row.state for name, row in Record(database).outbox.items()} == {one: "waiting", other: "dead"}


def test_retry_in_steps(database: Database) -> None:
    ids = add(database.write_engine, 5, now=START)
    for evaluation_id in ids:
        bury(database, evaluation_id, "x")
    steps = []
    while True:
        with database.write_engine.begin() as connection:
            steps.append(retry(connection, START, actor="command_line", limit=2).letters)
        if not steps[-1]:
            break
    assert steps == [2, 2, 1, 0]
    with database.read_engine.connect() as connection:
        assert len(connection.execute(select(audit)).all()) == 5


def test_each_retry_is_news_to_a_pausing_pusher(database: Database) -> None:
    seen = {database.read_meta(PROBE)}
    for _ in range(2):
        with database.write_engine.begin() as connection:
            retry(connection, START, actor="command_line")
        seen.add(database.read_meta(PROBE))
    assert len(seen) == 3


def test_the_backlog_counts_and_knows_its_age(database: Database) -> None:
    with database.read_engine.connect() as connection:
        assert backlog(connection, START) == Backlog(0, 0, timedelta(0))
    add(database.write_engine, name="held", now=START, held_by="here/b1", not_before=START + 90 * SECOND)
    add(database.write_engine, name="due", now=START + 10 * SECOND)
    [dead] = add(database.write_engine, name="dead", now=START - 99 * SECOND)
    bury(database, dead, "x")
    with database.read_engine.connect() as connection:
        assert backlog(connection, START + 30 * SECOND) == Backlog(2, 1, 20 * SECOND)
        assert backlog(connection, START + 100 * SECOND) == Backlog(2, 1, 100 * SECOND)
        assert backlog(connection, START - timedelta(days=1)).oldest == timedelta(0)
