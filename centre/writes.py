"""The pusher's writes, gathered while an earlier one is under way.

The door gathers the commands of a group for some milliseconds; that pays where hundreds of calls write, and costs a
push its pace. Here whatever the pusher wants to write while a write of its own is under way goes to the door as one
command: under load a round of answers and the next batches are one transaction, and otherwise nothing waits.

A round that fails is written again part by part, so that no part suffers from another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from centre.client import Reactor
from models.door import Command, Door, Priority, Unit
from models.errors import CommandFailed
from models.futures import Wakeups

__all__ = ["Round", "Writes"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Round:
    """Several commands as one; each kind runs in bulk. Its result: theirs, in their order."""

    parts: tuple[Command[Any], ...]
    priority: ClassVar[Priority] = Priority.PUSH

    @classmethod
    def run(cls, unit: Unit, commands: Sequence[Self]) -> Sequence[list[Any]]:
        return [command._run(unit) for command in commands]

    def _run(self, unit: Unit) -> list[Any]:
        results: list[Any] = [None] * len(self.parts)
        places: dict[type[Command[Any]], list[int]] = {}
        for place, part in enumerate(self.parts):
            places.setdefault(type(part), []).append(place)
        for kind, own in places.items():
            for place, result in zip(own, kind.run(unit, [self.parts[place] for place in own]), strict=True):
                results[place] = result
        return results


class Writes:
    """The way of one pusher's commands to the door. On the reactor's thread."""

    def __init__(self, door: Door, reactor: Reactor) -> None:
        self._door = door
        self._reactor = reactor
        self._wakeups = Wakeups(reactor)
        self._waiting: list[tuple[Command[Any], Deferred[Any]]] = []
        self._under_way = False
        self._scheduled = False

    def write(self, command: Command[T]) -> Deferred[T]:
        """The command's result once it is committed. Raises (from the Deferred) as `Door.submit`."""
        deferred: Deferred[T] = Deferred()
        self._waiting.append((command, deferred))
        if not self._scheduled and not self._under_way:
            # After this turn of the reactor, for what belongs together is asked for in one.
            self._scheduled = True
            self._reactor.callLater(0, self._submit)
        return deferred

    def _submit(self) -> None:
        self._scheduled = False
        if self._under_way or not self._waiting:
            return
        parts, self._waiting = self._waiting, []
        self._under_way = True
        if len(parts) == 1:
            [(command, deferred)] = parts
            self._wakeups.deferred(self._door.submit(command)).addBoth(self._ended).chainDeferred(deferred)
            return
        together = Round(tuple([command for command, _ in parts]))
        written: Deferred[list[Any]] = self._wakeups.deferred(self._door.submit(together))
        written.addBoth(self._ended)
        written.addCallbacks(_hand_out, self._apart, callbackArgs=(parts,), errbackArgs=(parts,))

    def _ended(self, result: T) -> T:
        self._under_way = False
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._submit)
        return result

    def _apart(self, failure: Failure, parts: list[tuple[Command[Any], Deferred[Any]]]) -> None:
        for command, deferred in parts:
            if failure.check(CommandFailed):  # type: ignore[no-untyped-call]
                self._wakeups.deferred(self._door.submit(command)).chainDeferred(deferred)
            else:
                deferred.errback(failure)


def _hand_out(results: list[Any], parts: list[tuple[Command[Any], Deferred[Any]]]) -> None:
    for (_, deferred), result in zip(parts, results, strict=True):
        deferred.callback(result)
