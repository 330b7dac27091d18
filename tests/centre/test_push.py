"""The pusher against a centre that misbehaves, over real HTTP on loopback, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from centre.outbox import retry
from centre.push import Pusher
from centre.retry import CROWD
from models.database import Database, parse_url
from models.door import Door
from simulate.centre import Fault, FaultKind, StandInCentre
from tests.centre.bench import SECRET, Bench, OffsetClock, on_reactor, reactor, until

# ── the straight line ─────────────────────────────────────────────────────────────────────────────────────────────────


@on_reactor
async def test_a_rating_reaches_the_centre_alone_and_at_once(bench: Bench) -> None:
    pusher = bench.pusher()
    [evaluation_id] = bench.add()
    pusher.wake()
    await bench.centre.holds(1)
    await bench.settled()
    record = bench.centre.by_id[evaluation_id]
    assert record["projectNo"] == "p-0"
    assert (record["pf"], record["satisfaction"], record["isdefault"], record["assessNumber"]) == (6, 5, 0, 1)
    assert bench.record.pushed == {evaluation_id: "accepted"}
    assert bench.record.pushed_at[evaluation_id] is not None
    [batch] = bench.record.batches
    assert (batch.state, batch.records, batch.body, batch.lease_owner) == ("answered", 1, None, None)
    assert bench.record.verdicts == {evaluation_id: ["accepted"]}
    assert pusher.statistics.accepted == 1


@on_reactor
async def test_many_go_in_batches_of_the_size_allowed_each_record_once(bench: Bench) -> None:
    ids = bench.add(95)
    bench.pusher(batch=20)
    await bench.centre.holds(95)
    await bench.settled()
    sizes = sorted(len(delivery.records) for delivery in bench.centre.deliveries)
    assert sizes == [15, 20, 20, 20, 20]
    sent = [record["evaluationId"] for delivery in bench.centre.deliveries for record in delivery.records]
    assert sorted(sent) == sorted(ids)
    assert set(bench.record.pushed) == set(ids)


@on_reactor
async def test_what_another_process_stored_is_found_without_a_wake(bench: Bench) -> None:
    bench.pusher()
    await until(lambda: bool(bench.pushers[0]._ready))
    bench.add()
    await bench.centre.holds(1)


@on_reactor
async def test_a_held_rating_waits_for_its_time(bench: Bench) -> None:
    [held] = bench.add(not_before=bench.clock.now() + timedelta(seconds=90), held_by="here/b1")
    pusher = bench.pusher()
    [other] = bench.add(name="q")
    pusher.wake()
    await bench.centre.holds(1)
    await until(lambda: other not in bench.record.outbox)
    assert list(bench.centre.by_id) == [other]
    bench.clock.offset += timedelta(seconds=91)
    await bench.centre.holds(2)
    assert held in bench.centre.by_id


@on_reactor
async def test_without_a_centre_the_outbox_waits(bench: Bench) -> None:
    pusher = bench.pusher(url="")
    bench.add()
    pusher.wake()
    await pusher.stop()
    assert len(bench.record.outbox) == 1
    assert bench.record.batches == []


# ── faults ────────────────────────────────────────────────────────────────────────────────────────────────────────────

WHOLE_REQUEST = [
    pytest.param(Fault(FaultKind.STATUS, status=500, times=2), id="500"),
    pytest.param(Fault(FaultKind.STATUS, status=503, times=2), id="503"),
    pytest.param(Fault(FaultKind.STATUS, status=408, times=2), id="408"),
    pytest.param(Fault(FaultKind.STATUS, status=302, times=2), id="redirect"),
    pytest.param(Fault(FaultKind.STATUS, status=429, times=2), id="429"),
    pytest.param(Fault(FaultKind.GARBAGE, times=2), id="garbage"),
    pytest.param(Fault(FaultKind.TRUNCATE, times=2), id="truncated"),
    pytest.param(Fault(FaultKind.LOSE, times=2), id="answer lost"),
    pytest.param(Fault(FaultKind.STALL, times=2), id="never answers"),
    pytest.param(Fault(FaultKind.DRIP, times=2), id="headers without end"),
    pytest.param(Fault(FaultKind.ENDLESS, times=2), id="body without end"),
]


@pytest.mark.parametrize("fault", WHOLE_REQUEST)
@on_reactor
async def test_the_same_bytes_go_again_until_they_are_answered(bench: Bench, fault: Fault) -> None:
    ids = bench.add(3)
    bench.centre.plan(fault)
    pusher = bench.pusher(timeout=0.3 if fault.kind in {FaultKind.STALL, FaultKind.DRIP} else 5.0)
    await bench.settled()
    assert set(bench.centre.by_id) == set(ids)
    assert len({delivery.body for delivery in bench.centre.deliveries}) == 1
    assert len({delivery.key for delivery in bench.centre.deliveries}) == 1
    assert len(bench.centre.deliveries) == 3
    assert pusher.statistics.retried == 2
    assert len(bench.record.batches) == 1


@on_reactor
async def test_a_slow_centre_holds_up_its_own_batch_alone(bench: Bench) -> None:
    bench.centre.plan(Fault(FaultKind.SLOW, record="slow-0", seconds=1.5, times=None))
    pusher = bench.pusher()
    [slow] = bench.add(name="slow")
    pusher.wake()
    await bench.centre.until(lambda: len(bench.centre.deliveries) == 1)
    quick = bench.add(5, name="quick")
    pusher.wake()
    await until(lambda: set(bench.record.outbox) == {slow})
    assert set(quick) <= set(bench.record.pushed)
    await bench.settled()
    assert len(bench.centre.deliveries) == 2


@on_reactor
async def test_a_centre_that_is_down_is_found_again(bench: Bench) -> None:
    ids = bench.add(2)
    port, url = bench.centre.port, bench.centre.url
    await bench.centre.stop()
    pusher = bench.pusher(url=url)
    await until(lambda: pusher.statistics.retried >= 3)
    assert pusher.statistics.errors == {"connection refused": pusher.statistics.retried}
    assert set(bench.record.outbox) == set(ids)
    bench.centre.listen(reactor, port=port)
    await bench.settled()
    assert set(bench.centre.by_id) == set(ids)


@on_reactor
async def test_one_refused_record_becomes_a_dead_letter_and_the_others_arrive(bench: Bench) -> None:
    ids = bench.add(5)
    bench.centre.plan(Fault(FaultKind.REFUSE, record="p-2", times=None, reason="部门编码不存在"))
    bench.pusher()
    await until(lambda: set(bench.record.outbox) == {ids[2]})
    [dead] = bench.record.outbox.values()
    assert (dead.state, dead.reason, dead.batch_id) == ("dead", "部门编码不存在", None)
    assert bench.record.pushed == {**dict.fromkeys(ids, "accepted"), ids[2]: "rejected"}
    assert bench.record.pushed_at[ids[2]] is None
    assert set(bench.centre.by_id) == set(ids) - {ids[2]}


@on_reactor
async def test_a_dead_letter_goes_again_when_somebody_asks(bench: Bench) -> None:
    [evaluation_id] = bench.add()
    bench.centre.plan(Fault(FaultKind.REFUSE))
    bench.pusher()
    await until(lambda: evaluation_id in bench.record.pushed)
    with bench.database.write_engine.begin() as connection:
        assert retry(connection, bench.clock.now(), actor="command_line").letters == 1
    await bench.settled()
    assert bench.record.pushed == {evaluation_id: "accepted"}
    assert bench.record.verdicts == {evaluation_id: ["rejected", "accepted"]}


@on_reactor
async def test_a_record_that_the_centre_has_already_is_done(bench: Bench) -> None:
    [evaluation_id] = bench.add()
    bench.centre.plan(Fault(FaultKind.DUPLICATE))
    bench.pusher()
    await bench.settled()
    assert bench.record.pushed == {evaluation_id: "duplicate"}


@on_reactor
async def test_members_without_a_verdict_go_in_a_new_batch(bench: Bench) -> None:
    ids = bench.add(4)
    bench.centre.plan(Fault(FaultKind.SILENT, record="p-1", times=2), Fault(FaultKind.SILENT, record="p-3", times=1))
    bench.pusher()
    await bench.settled()
    assert set(bench.centre.by_id) == set(ids)
    assert bench.record.verdicts[ids[0]] == ["accepted"]
    assert bench.record.verdicts[ids[1]] == [None, None, "accepted"]
    assert bench.record.verdicts[ids[3]] == [None, "accepted"]
    assert len({delivery.key for delivery in bench.centre.deliveries}) == len(bench.centre.deliveries) == 3


@pytest.mark.parametrize("status", [400, 404, 413, 422])
@on_reactor
async def test_a_batch_refused_as_a_whole_is_halved_down_to_the_one_record(bench: Bench, status: int) -> None:
    ids = bench.add(13)
    bench.centre.plan(Fault(FaultKind.STATUS, record="p-5", status=status, times=None, reason="格式错误"))
    bench.pusher()
    await until(lambda: set(bench.record.outbox) == {ids[5]} and bench.record.outbox[ids[5]].state == "dead")
    assert "格式错误" in bench.record.outbox[ids[5]].reason
    assert str(status) in bench.record.outbox[ids[5]].reason
    assert set(bench.centre.by_id) == set(ids) - {ids[5]}
    assert bench.record.open_batches == []
    assert all(batch.parent_id is not None for batch in bench.record.batches[1:])


@pytest.mark.parametrize("status", [401, 403])
@on_reactor
async def test_a_refused_access_pauses_the_push_and_loses_nothing(bench: Bench, status: int) -> None:
    ids = bench.add(3)
    bench.centre.plan(Fault(FaultKind.STATUS, status=status, times=None))
    pusher = bench.pusher(pause=60.0, batch=1)
    await until(lambda: pusher.paused is not None and pusher.statistics.in_flight == 0)
    asked = bench.centre.requests
    later = bench.add(2, name="later")
    pusher.wake()
    await until(lambda: len(bench.record.outbox) == 5)
    bench.centre.plan()
    assert bench.centre.requests == asked
    assert pusher.statistics.paused is not None
    assert str(status) in pusher.statistics.paused
    with bench.database.write_engine.begin() as connection:
        retry(connection, bench.clock.now(), actor="command_line")
    await bench.settled()
    assert set(bench.centre.by_id) == {*ids, *later}
    assert pusher.paused is None


@on_reactor
async def test_a_pause_ends_by_itself(bench: Bench) -> None:
    bench.add()
    bench.centre.plan(Fault(FaultKind.STATUS, status=401, times=2))
    pusher = bench.pusher(pause=0.2)
    await bench.settled()
    assert bench.centre.requests == 3
    assert pusher.paused is None


@on_reactor
async def test_retry_after_is_kept(bench: Bench) -> None:
    bench.add()
    bench.centre.plan(Fault(FaultKind.STATUS, status=429, retry_after="1"))
    bench.pusher()
    await bench.settled()
    first, second = bench.centre.deliveries
    assert second.at - first.at >= 1.0


@on_reactor
async def test_batches_made_ready_ahead_survive_a_silence(bench: Bench) -> None:
    ids = bench.add(12)
    bench.centre.plan(Fault(FaultKind.STATUS, record="p-4", status=429, retry_after="1"))
    bench.pusher(batch=1, in_flight=1)
    await bench.settled()
    assert set(bench.centre.by_id) == set(ids)
    times = [delivery.at for delivery in bench.centre.deliveries]
    assert max(after - before for before, after in pairwise(times)) >= 1.0
    assert len(times) == 13


@on_reactor
async def test_a_batch_that_keeps_failing_blocks_nobody(bench: Bench) -> None:
    bench.centre.plan(Fault(FaultKind.STATUS, record="bad-0", status=500, times=None))
    pusher = bench.pusher()
    [bad] = bench.add(name="bad")
    pusher.wake()
    await until(lambda: pusher.statistics.retried >= 1)
    for number in range(20):
        [good] = bench.add(name=f"good{number}")
        pusher.wake()
        await until(lambda good=good: good in bench.record.pushed)  # type: ignore[misc]
    assert set(bench.record.outbox) == {bad}
    [batch] = bench.record.open_batches
    assert batch.last_error == "HTTP 500"


@on_reactor
async def test_a_long_outage_neither_floods_the_centre_nor_delays_the_recovery(bench: Bench) -> None:
    port, url = bench.centre.port, bench.centre.url
    await bench.centre.stop()
    pusher = bench.pusher(url=url, retry_most=60.0)
    ids: list[str] = []
    while not pusher.statistics.struggling:
        [evaluation_id] = bench.add(name=f"p{len(ids)}")
        ids.append(evaluation_id)
        sent = pusher.statistics.sent
        pusher.wake()
        await until(lambda sent=sent: pusher.statistics.sent > sent)  # type: ignore[misc]
    tried = pusher.statistics.sent
    for number in range(30):
        ids += bench.add(name=f"more{number}")
        pusher.wake()
    await poll_passes(pusher)
    assert len(bench.record.open_batches) <= CROWD + pusher._flow.limit
    assert pusher.statistics.sent - tried <= 6, "a probe now and then, not one for each rating"
    bench.centre.listen(reactor, port=port)
    await bench.settled()
    assert set(bench.centre.by_id) == set(ids)
    assert not pusher.statistics.struggling


@contextmanager
def write_lock(database: Database) -> Iterator[None]:
    """Another program that writes and does not end."""
    with database.write_engine.connect() as connection:
        connection.execute(text("SELECT 1" if database.is_sqlite else "LOCK TABLE push_batches IN EXCLUSIVE MODE"))
        yield
        connection.rollback()


@on_reactor
async def test_an_answer_that_cannot_be_written_down_is_written_down_later(bench: Bench) -> None:
    [evaluation_id] = bench.add()
    bench.centre.plan(Fault(FaultKind.SLOW, seconds=0.3))
    bench.pusher()
    await bench.centre.holds(1)
    with write_lock(bench.database):
        if bench.database.is_sqlite:
            await until(lambda: bench.door.statistics.failed_commands >= 1)
        else:
            await until(lambda: not bench.pushers[0]._on_the_way)
        assert bench.record.pushed == {}
    await bench.settled()
    assert bench.record.pushed == {evaluation_id: "accepted"}
    assert len(bench.centre.deliveries) == 1


@on_reactor
async def test_a_record_that_cannot_be_mapped_is_buried_alone(bench: Bench) -> None:
    [broken] = bench.add(name="broken", satisfaction=9)
    ids = bench.add(3)
    bench.pusher()
    await until(lambda: set(bench.record.outbox) == {broken} and len(bench.centre.by_id) == 3)
    assert bench.record.outbox[broken].state == "dead"
    assert "mapped" in bench.record.outbox[broken].reason
    assert set(bench.record.pushed) == set(ids)


# ── an end, and a new beginning ───────────────────────────────────────────────────────────────────────────────────────


class Killed(BaseException):
    """Stands for kill -9 at a fault point: nothing after it runs."""


@on_reactor
async def test_what_was_sent_and_not_marked_goes_again_as_it_was(
    bench: Bench, make_door: Callable[..., Door], twisted_errors: Any
) -> None:
    def kill(point: str) -> None:
        assert point == "after-push-before-mark"
        raise Killed

    ids = bench.add(3)
    first = bench.pusher(fault=kill, timeout=0.1)
    await bench.centre.holds(3)
    await until(lambda: first.statistics.in_flight == 0)
    twisted_errors.expect(Killed)
    assert set(bench.record.outbox) == set(ids)
    [before] = bench.record.open_batches
    assert before.lease_owner == first.owner
    first._stopping = True  # a dead process takes nothing more
    bench.clock.offset += timedelta(seconds=100)  # on PostgreSQL the dead process's lease has to run out
    bench.pusher(make_door())
    await bench.settled()
    one, two = bench.centre.deliveries
    assert (one.body, one.key) == (two.body, two.key)
    assert int(two.timestamp) >= int(one.timestamp) + 99
    assert bench.record.pushed == dict.fromkeys(ids, "duplicate")


@on_reactor
async def test_a_lease_lasts_as_long_for_a_request_however_fast_the_clock(bench: Bench) -> None:
    bench.add()
    bench.centre.plan(Fault(FaultKind.STALL))
    before = bench.clock.now()
    bench.pusher(timeout=5.0, speed=1000.0)
    await until(lambda: bool(bench.record.open_batches))
    [batch] = bench.record.open_batches
    least, most = timedelta(seconds=25_000), timedelta(seconds=25_000) + (bench.clock.now() - before)
    assert least <= batch.lease_until - before <= most


@on_reactor
async def test_a_back_off_outlives_the_restart(bench: Bench, make_door: Callable[..., Door]) -> None:
    bench.add()
    bench.centre.plan(Fault(FaultKind.STATUS, status=503, retry_after="300"))
    first = bench.pusher()
    await until(lambda: bool(bench.record.open_batches) and bench.record.open_batches[0].tries == 1)
    await first.stop()
    second = bench.pusher(make_door())
    await until(lambda: second._ready)
    await poll_passes(second)
    assert bench.centre.requests == 1
    bench.clock.offset += timedelta(seconds=301)
    await bench.settled()
    assert bench.centre.requests == 2


async def poll_passes(pusher: Pusher) -> None:
    """Until the pusher has looked by itself once more."""
    timer = pusher._poll_timer
    await until(lambda: pusher._poll_timer is not timer)
    await until(lambda: not pusher._tasks)


@on_reactor
async def test_stop_lets_a_request_finish(bench: Bench) -> None:
    [evaluation_id] = bench.add()
    bench.centre.plan(Fault(FaultKind.SLOW, seconds=0.3))
    pusher = bench.pusher()
    await bench.centre.holds(1)
    await pusher.stop(5.0)
    assert bench.record.pushed == {evaluation_id: "accepted"}


@on_reactor
async def test_stop_cuts_off_what_hangs_and_gives_its_lease_back(bench: Bench, make_door: Callable[..., Door]) -> None:
    bench.add()
    bench.centre.plan(Fault(FaultKind.STALL))
    pusher = bench.pusher(timeout=60.0)
    await bench.centre.until(lambda: len(bench.centre.deliveries) == 1)
    began = reactor.seconds()
    await pusher.stop(0.1)
    assert reactor.seconds() - began < 5
    [batch] = bench.record.open_batches
    assert (batch.lease_owner, batch.tries) == (None, 0)
    bench.pusher(make_door())
    await bench.settled()
    one, two = bench.centre.deliveries
    assert one.body == two.body


@pytest.mark.parametrize("back", [timedelta(days=1), timedelta(minutes=3)], ids=["a day", "three minutes"])
@on_reactor
async def test_a_clock_set_back_while_we_run_stops_nothing(bench: Bench, back: timedelta) -> None:
    [failing] = bench.add(name="failing")
    bench.centre.plan(Fault(FaultKind.STATUS, record="failing-0", status=500, times=1))
    pusher = bench.pusher(retry_first=1.5, retry_most=1.5)
    await until(lambda: pusher.statistics.retried == 1)
    waiting = bench.add(2, name="waiting", not_before=bench.clock.now() + timedelta(seconds=1.2))
    bench.clock.offset -= back
    after = bench.add(2, name="after")
    pusher.wake()
    await bench.settled()
    assert set(bench.centre.by_id) == {failing, *waiting, *after}


@on_reactor
async def test_a_clock_set_back_between_two_runs_stops_nothing(bench: Bench) -> None:
    ids = bench.add(2)
    bench.clock.offset -= timedelta(days=1)
    bench.pusher()
    await bench.settled()
    assert set(bench.centre.by_id) == set(ids)


@pytest.mark.peer
@on_reactor
async def test_several_processes_never_send_the_same_batch(postgres_url: str, tmp_path: Path) -> None:
    databases = [Database(parse_url(postgres_url, tmp_path)) for _ in range(3)]
    databases[0].ensure_schema()
    doors = [Door(database) for database in databases]
    centre = StandInCentre(SECRET)
    centre.listen(reactor)
    bench = Bench(databases[0], doors[0], centre, OffsetClock(), [])
    try:
        ids = bench.add(300)
        centre.plan(Fault(FaultKind.SLOW, seconds=0.05, times=None))
        for door in doors:
            bench.pusher(door, batch=7)
        await bench.settled()
        sent = [record["evaluationId"] for delivery in centre.deliveries for record in delivery.records]
        assert sorted(sent) == sorted(ids)
        assert bench.record.pushed == dict.fromkeys(ids, "accepted")
        assert sum(pusher.statistics.sent > 0 for pusher in bench.pushers) > 1, "one process did it all"
    finally:
        for pusher in bench.pushers:
            await pusher.stop(1.0)
        await centre.stop()
        for door, database in zip(doors, databases, strict=True):
            door.close()
            database.close()
