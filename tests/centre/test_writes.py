"""The pusher's own way to the door: gathered, in order, and none suffers from another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pytest
from twisted.internet.defer import Deferred, DeferredList

from centre.writes import Writes
from models.door import Door, Priority, Unit
from models.errors import CommandFailed, DoorClosed
from tests.centre.bench import on_reactor, reactor

seen: list[list[str]] = []


@dataclass(frozen=True, slots=True)
class Say:
    """Gives its word back; `wait` keeps the writer busy, `fail` makes it fail."""

    word: str
    wait: threading.Event | None = None
    fail: bool = False
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[str]:
        for command in commands:
            if command.wait is not None:
                assert command.wait.wait(10)
            if command.fail:
                raise ValueError("refused")
        seen.append([command.word for command in commands])
        return [command.word for command in commands]


class Shout(Say):
    __slots__ = ()


@pytest.fixture(autouse=True)
def forget() -> None:
    seen.clear()


def gathered(deferreds: list[Deferred[Any]]) -> Deferred[Any]:
    return DeferredList(deferreds, consumeErrors=True)


@on_reactor
async def test_what_is_asked_for_in_one_turn_is_one_transaction(door: Door) -> None:
    writes = Writes(door, reactor)
    answers = await gathered([writes.write(Say("a")), writes.write(Shout("b")), writes.write(Say("c"))])
    assert [value for _, value in answers] == ["a", "b", "c"]
    assert seen == [["a", "c"], ["b"]]
    assert door.statistics.commands == 1


@on_reactor
async def test_what_comes_while_one_is_under_way_goes_together_after_it(door: Door) -> None:
    writes, busy = Writes(door, reactor), threading.Event()
    first = writes.write(Say("first", wait=busy))
    started: Deferred[None] = Deferred()
    reactor.callLater(0.02, started.callback, None)
    await started
    others = [writes.write(Say(word)) for word in "xyz"]
    busy.set()
    assert await first == "first"
    await gathered(others)
    assert seen == [["first"], ["x", "y", "z"]]
    assert door.statistics.groups == 2


@on_reactor
async def test_a_part_that_fails_fails_alone(door: Door) -> None:
    writes = Writes(door, reactor)
    answers = await gathered([writes.write(Say("a")), writes.write(Say("b", fail=True)), writes.write(Say("c"))])
    assert [ok for ok, _ in answers] == [True, False, True]
    assert answers[1][1].check(CommandFailed)
    assert await writes.write(Say("next")) == "next"


@pytest.mark.parametrize("parts", [1, 2])
@on_reactor
async def test_a_closed_door_is_told_to_each(make_door: Callable[..., Door], parts: int) -> None:
    door = make_door()
    door.close()
    writes = Writes(door, reactor)
    answers = await gathered([writes.write(Say("a")) for _ in range(parts)])
    assert all(not ok and failure.check(DoorClosed) for ok, failure in answers)
