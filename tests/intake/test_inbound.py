"""What comes in is stored whole, a repeat is known, long messages find their parts; on SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from intake.inbound import INCOMPLETE, LATE_PART, MIXED, HandOnPartial, Kept, NewPart, Received, StoreInbound
from models.clock import TurnedClock
from models.database import Database
from models.door import Door, Unit
from models.ids import new_id
from models.privacy import Keyring
from models.tables import messages, parts
from tests.intake.replying import CITIZEN, WAIT, WINDOW, Replying

KEY = b"k" * 16
ASSEMBLY = timedelta(minutes=10)


def again(part: NewPart, **more: Any) -> NewPart:
    """The same PDU once more, as another delivery."""
    return part._replace(id=new_id(), message_id=new_id(), **more)


def long(record: Replying, number: int, total: int = 3, key: bytes = KEY, *, of: str = "", **more: Any) -> NewPart:
    """Part of a long message; `of` another one, its bytes are others."""
    return record.part(f"part {number}{of}", number=number, total=total, assembly_key=key, **more)


def test_a_message_is_stored_with_its_bytes_and_without_a_number_in_clear(record: Replying, keyring: Keyring) -> None:
    part = record.part("５", esm_class=0x40, data_coding=0x0F)
    assert record.receive(part) == Received(Kept.WHOLE, part.message_id)
    message, stored = record.one(messages), record.one(parts)
    assert (message.direction, message.kind, message.state, message.text) == ("in", "reply", "unread", None)
    assert keyring.open(message.number_sealed) == f"+86{CITIZEN}"
    assert message.number_hash == keyring.hash(f"+86{CITIZEN}")
    assert (message.link, message.our_number, message.code) == ("mobile", "10607", "07")
    assert message.created_at == part.received_at
    assert (stored.message_id, stored.body, stored.esm_class, stored.data_coding) == (message.id, part.body, 0x40, 0x0F)
    assert (stored.number, stored.total, stored.fingerprint) == (1, 1, part.fingerprint)


# ── repeats ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SECONDS = WINDOW.total_seconds()
REPEATS: list[tuple[str, float, bool, bool, Kept]] = [
    # after seconds; same bytes; the response is known to have reached the SMSC
    ("at once", 0, True, False, Kept.REPEAT),
    ("at the end of the window", SECONDS - 1, True, False, Kept.REPEAT),
    ("after the window", SECONDS, True, False, Kept.WHOLE),
    ("confirmed: the citizen wrote the same again", 1, True, True, Kept.WHOLE),
    ("other bytes", 1, False, False, Kept.WHOLE),
]


@pytest.mark.parametrize(
    ("after", "same", "confirmed", "kept"), [row[1:] for row in REPEATS], ids=[r[0] for r in REPEATS]
)
def test_a_repeat_is_acknowledged_and_changes_nothing(
    record: Replying, clock: TurnedClock, after: float, same: bool, confirmed: bool, kept: Kept
) -> None:
    first = record.part()
    record.receive(first)
    clock.turn(timedelta(seconds=after))
    second = again(first, received_at=clock.now())
    if not same:
        second = second._replace(fingerprint=b"other bytes too.")
    received = record.receive(second, confirmed=frozenset({first.id} if confirmed else ()))
    assert received.kept is kept
    assert len(record.rows(messages)) == (1 if kept is Kept.REPEAT else 2)
    assert received.message_id == (first.message_id if kept is Kept.REPEAT else second.message_id)


def test_a_repeat_of_the_second_of_two_confirmed_messages_is_one(record: Replying) -> None:
    first = record.part()
    second, third = again(first), again(first)
    record.receive(first)
    assert record.receive(second, confirmed=frozenset({first.id})).kept is Kept.WHOLE
    assert record.receive(third, confirmed=frozenset({first.id})).kept is Kept.REPEAT
    assert record.receive(again(first), confirmed=frozenset({first.id, second.id})).kept is Kept.WHOLE


def test_the_same_pdu_twice_in_one_group_is_one_message(record: Replying, door: Door) -> None:
    part = record.part()
    results = _in_one_group(door, [part, again(part), again(part)])
    assert [one.kept for one in results] == [Kept.WHOLE, Kept.REPEAT, Kept.REPEAT]
    assert len(record.rows(messages)) == len(record.rows(parts)) == 1


def test_another_life_of_the_process_knows_a_repeat(record: Replying, another_door: Callable[[], Door]) -> None:
    part = record.part()
    record.receive(part)
    restarted = another_door()
    assert restarted.submit(StoreInbound(again(part), WINDOW)).result(WAIT).kept is Kept.REPEAT


def test_a_commit_whose_answer_is_lost_stores_nothing_twice(
    record: Replying, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, lost = database.write_engine.dialect.do_commit, [True]

    def do_commit(dbapi: Any) -> None:
        commit(dbapi)
        if lost:
            lost.clear()
            raise OSError("the answer to COMMIT is lost")

    part = record.part()
    monkeypatch.setattr(database.write_engine.dialect, "do_commit", do_commit)
    assert record.receive(part) == Received(Kept.WHOLE, part.message_id)
    assert not lost
    assert len(record.rows(parts)) == len(record.rows(messages)) == 1


def test_two_processes_that_get_one_pdu_store_one(record: Replying, another_door: Callable[[], Door]) -> None:
    """On PostgreSQL they really run at the same time; the lock makes the second look after the first has committed."""
    doors = [another_door() for _ in range(4)]
    for _ in range(20):
        part = record.part()
        futures: list[Future[Received]] = [door.submit(StoreInbound(again(part), WINDOW)) for door in doors]
        kept = [future.result(WAIT).kept for future in futures]
        assert sorted(kept) == [Kept.REPEAT, Kept.REPEAT, Kept.REPEAT, Kept.WHOLE]


# ── long messages ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_parts_in_any_order_make_one_message(record: Replying, clock: TurnedClock, order: tuple[int, ...]) -> None:
    began = clock.now()
    results = []
    for number in order:
        results.append(record.receive(long(record, number)))
        clock.turn(timedelta(seconds=30))
    assert [one.kept for one in results] == [Kept.PARTIAL, Kept.PARTIAL, Kept.WHOLE]
    assert len({one.message_id for one in results}) == 1
    message = record.one(messages)
    assert (message.state, message.reason, message.assembly_key) == ("unread", None, None)
    assert message.created_at == began, "a reply's time is when its first PDU was read"
    assert sorted(row.number for row in record.rows(parts, message_id=message.id)) == [1, 2, 3]


def test_parts_in_one_group_make_one_message(record: Replying, door: Door) -> None:
    results = _in_one_group(door, [long(record, 2), long(record, 1), long(record, 3)])
    assert [one.kept for one in results] == [Kept.PARTIAL, Kept.PARTIAL, Kept.WHOLE]
    assert record.one(messages).state == "unread"


def test_parts_find_each_other_over_a_restart(record: Replying, another_door: Callable[[], Door]) -> None:
    record.receive(long(record, 3))
    assert another_door().submit(StoreInbound(long(record, 1), WINDOW)).result(WAIT).kept is Kept.PARTIAL
    assert another_door().submit(StoreInbound(long(record, 2), WINDOW)).result(WAIT).kept is Kept.WHOLE
    assert len(record.rows(messages)) == 1


def test_parts_that_come_over_two_processes_at_once_make_one_message(
    record: Replying, another_door: Callable[[], Door]
) -> None:
    doors = [another_door(), another_door(), another_door()]
    for turn in range(20):
        key = turn.to_bytes(16, "big")
        waiting = [door.submit(StoreInbound(long(record, n, key=key), WINDOW)) for n, door in enumerate(doors, 1)]
        kept = [future.result(WAIT).kept for future in waiting]
        assert sorted(kept) == [Kept.PARTIAL, Kept.PARTIAL, Kept.WHOLE]
    assert len(record.rows(messages)) == 20


def test_a_part_twice_counts_once(record: Replying) -> None:
    first = long(record, 1)
    record.receive(first)
    assert record.receive(again(first)).kept is Kept.REPEAT
    assert record.receive(again(first), confirmed=frozenset({first.id})).kept is Kept.REPEAT
    record.receive(long(record, 2))
    assert record.receive(long(record, 3)).kept is Kept.WHOLE
    assert len(record.rows(parts)) == 3


# ── one reference, two messages ───────────────────────────────────────────────────────────────────────────────────────

A, B = "", " of b"
Shown = tuple[str | None, list[tuple[int, str]]]
TWO_MESSAGES: list[tuple[str, list[tuple[int, str]], list[Kept], list[Shown]]] = [
    # parts as they come, of messages a and b of two parts; what becomes of each; what is shown: reason and parts
    (
        "the second part of the first is lost",
        [(1, A), (1, B), (2, B)],
        [Kept.PARTIAL, Kept.PARTIAL, Kept.WHOLE],
        [(INCOMPLETE, [(1, A)]), (MIXED, [(1, B), (2, B)])],
    ),
    (
        "both are under way, one after the other",
        [(1, A), (1, B), (2, A), (2, B)],
        [Kept.PARTIAL, Kept.PARTIAL, Kept.WHOLE, Kept.LATE],
        [(INCOMPLETE, [(1, A), (2, B)]), (MIXED, [(1, B), (2, A)])],
    ),
    (
        "thrice the same number",
        [(1, A), (1, B), (1, " of c"), (2, " of c")],
        [Kept.PARTIAL, Kept.PARTIAL, Kept.PARTIAL, Kept.WHOLE],
        [(INCOMPLETE, [(1, A)]), (INCOMPLETE, [(1, B)]), (MIXED, [(1, " of c"), (2, " of c")])],
    ),
]


@pytest.mark.parametrize("grouped", [False, True], ids=["one by one", "in one group"])
@pytest.mark.parametrize(
    ("came", "kept", "shown"), [row[1:] for row in TWO_MESSAGES], ids=[row[0] for row in TWO_MESSAGES]
)
def test_a_part_with_other_bytes_is_stored_and_begins_another_message(
    record: Replying,
    door: Door,
    clock: TurnedClock,
    came: list[tuple[int, str]],
    kept: list[Kept],
    shown: list[Shown],
    grouped: bool,
) -> None:
    new = []
    for number, of in came:
        new.append(long(record, number, 2, of=of))
        clock.turn(timedelta(seconds=1))
    results = _in_one_group(door, new) if grouped else [record.receive(part) for part in new]
    assert [one.kept for one in results] == kept
    assert len(record.rows(parts)) == len(came), "every one that is acknowledged is stored"
    names = {bytes(long(record, number, 2, of=of).body): (number, of) for number, of in came}
    rows = sorted(record.rows(messages), key=lambda row: row.created_at)
    assert [
        (row.reason, sorted(names[part.body] for part in record.rows(parts, message_id=row.id))) for row in rows
    ] == shown
    assert {row.state for row in rows} == {"unread"}


def test_a_clean_message_after_mixed_ones_is_no_mixed_one(record: Replying) -> None:
    for number, of in [(1, A), (1, B), (2, B)]:
        record.receive(long(record, number, 2, of=of))
    after = [record.receive(long(record, number, 2, of=" of c")) for number in (1, 2)]
    assert [one.kept for one in after] == [Kept.PARTIAL, Kept.WHOLE]
    assert record.one(messages, id=after[1].message_id).reason is None


def test_a_reference_used_again_while_its_first_part_came_last(
    record: Replying, door: Door, clock: TurnedClock
) -> None:
    """Its second part was taken for the late one of the message before; at the end of its time it gets it back."""
    before = record.receive(long(record, 1, 2)).message_id
    clock.turn(ASSEMBLY)
    door.submit(HandOnPartial(clock.now(), ASSEMBLY)).result(WAIT)
    clock.turn(timedelta(hours=1))
    assert record.receive(long(record, 2, 2, of=B)) == Received(Kept.LATE, before)
    clock.turn(timedelta(seconds=1))
    began = record.receive(long(record, 1, 2, of=B)).message_id
    clock.turn(ASSEMBLY)
    assert door.submit(HandOnPartial(clock.now(), ASSEMBLY)).result(WAIT) == [began]
    message = record.one(messages, id=began)
    assert (message.state, message.reason) == ("unread", MIXED), "perhaps it was the late one: no level is read"
    assert [row.number for row in record.rows(parts, message_id=before)] == [1]
    assert sorted(row.number for row in record.rows(parts, message_id=began)) == [1, 2]


OTHERS: list[tuple[str, int, timedelta]] = [
    # total; how long before the next message's first part the late one came
    ("too long before", 2, ASSEMBLY + timedelta(seconds=1)),
    ("not all that lacks", 3, timedelta(seconds=1)),
]


@pytest.mark.parametrize(("total", "between"), [row[1:] for row in OTHERS], ids=[row[0] for row in OTHERS])
def test_a_late_part_stays_with_its_message_otherwise(
    record: Replying, door: Door, clock: TurnedClock, total: int, between: timedelta
) -> None:
    before = record.receive(long(record, 1, total)).message_id
    clock.turn(ASSEMBLY)
    door.submit(HandOnPartial(clock.now(), ASSEMBLY)).result(WAIT)
    assert record.receive(long(record, 2, total)) == Received(Kept.LATE, before)
    clock.turn(between)
    began = record.receive(long(record, 1, total, of=B)).message_id
    clock.turn(ASSEMBLY)
    door.submit(HandOnPartial(clock.now(), ASSEMBLY)).result(WAIT)
    assert record.one(messages, id=began).reason == INCOMPLETE
    assert sorted(row.number for row in record.rows(parts, message_id=before)) == [1, 2]


def test_parts_of_two_citizens_with_one_reference_stay_apart(record: Replying) -> None:
    other = b"o" * 16
    kept = [record.receive(long(record, n, 2, key)).kept for n, key in ((1, KEY), (1, other), (2, other), (2, KEY))]
    assert kept == [Kept.PARTIAL, Kept.PARTIAL, Kept.WHOLE, Kept.WHOLE]
    assert len(record.rows(messages)) == 2


def test_a_reference_may_be_used_again_once_its_message_is_whole(record: Replying) -> None:
    for number in (1, 2):
        record.receive(long(record, number, 2))
    kept = [record.receive(long(record, number, 2)).kept for number in (1, 2)]
    assert kept == [Kept.PARTIAL, Kept.WHOLE]
    assert len(record.rows(messages, state="unread")) == 2


# ── parts that never come ─────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_there_is_handed_on_marked_and_a_late_part_makes_no_second_message(
    record: Replying, door: Door, clock: TurnedClock
) -> None:
    def sweep() -> list[str]:
        return door.submit(HandOnPartial(clock.now(), ASSEMBLY)).result(WAIT)

    began = record.receive(long(record, 1)).message_id
    clock.turn(ASSEMBLY - timedelta(seconds=1))
    record.receive(long(record, 3))
    assert sweep() == []
    clock.turn(timedelta(seconds=1))
    assert sweep() == [began]
    assert sweep() == []
    message = record.one(messages)
    assert (message.state, message.reason) == ("unread", INCOMPLETE)
    clock.turn(timedelta(hours=2))
    assert record.receive(long(record, 2)) == Received(Kept.LATE, began)
    assert len(record.rows(messages)) == 1
    assert len(record.rows(parts, message_id=began)) == 3


def test_a_reference_is_anothers_after_a_day(record: Replying, door: Door, clock: TurnedClock) -> None:
    began = record.receive(long(record, 1)).message_id
    clock.turn(ASSEMBLY)
    door.submit(HandOnPartial(clock.now(), ASSEMBLY)).result(WAIT)
    clock.turn(LATE_PART)
    assert record.receive(long(record, 2)).kept is Kept.PARTIAL
    door.submit(HandOnPartial(clock.now(), ASSEMBLY)).result(WAIT)
    assert record.one(messages, id=began).assembly_key is None


def test_a_part_that_a_handed_on_message_has_begins_another(record: Replying, door: Door, clock: TurnedClock) -> None:
    record.receive(long(record, 1))
    clock.turn(ASSEMBLY)
    door.submit(HandOnPartial(clock.now(), ASSEMBLY)).result(WAIT)
    kept = [record.receive(long(record, number)).kept for number in (1, 3, 2)]
    assert kept == [Kept.PARTIAL, Kept.PARTIAL, Kept.WHOLE]
    assert sorted(row.reason or "" for row in record.rows(messages)) == ["", INCOMPLETE]


def test_a_sweep_takes_a_bounded_number(record: Replying, door: Door, clock: TurnedClock) -> None:
    begun = [record.receive(long(record, 1, key=n.to_bytes(16, "big"))).message_id for n in range(5)]
    clock.turn(ASSEMBLY)
    swept = [door.submit(HandOnPartial(clock.now(), ASSEMBLY, limit=2)).result(WAIT) for _ in range(4)]
    assert [sorted(group) for group in swept] == [sorted(begun[:2]), sorted(begun[2:4]), begun[4:], []]


def _in_one_group(door: Door, new: list[NewPart]) -> list[Received]:
    """The door takes what is queued while it is busy as one group."""
    running, go = Event(), Event()

    def busy(_: Unit) -> None:
        running.set()
        assert go.wait(WAIT)

    door.write(busy)
    assert running.wait(WAIT)
    before = door.statistics.groups
    futures = [door.submit(StoreInbound(part, WINDOW)) for part in new]
    go.set()
    results = [future.result(WAIT) for future in futures]
    assert door.statistics.groups - before == 2, "the busy one and ours"
    return results
