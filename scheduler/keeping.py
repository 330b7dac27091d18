"""Once an hour: what is kept no longer goes, and the words of forgotten citizens that the centre has answered for.

A round works off what is due, a group of 64 rows after the other, and gives way to everything else at the door; what is
left after `ROUND` groups of a walk is the next round's, so that a period made shorter does not hold up the hour's work.
While a jump of the clock waits for a word nothing is taken to be old (intake/pauses.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

import structlog

from intake.blanking import GROUP
from intake.forgetting import BlankAnswered
from intake.keeping import WALKS, KeepGroup, Walk
from intake.pauses import Time
from models.door import Command, Door
from models.futures import Wakeups
from models.pace import Pace
from models.terms import RetentionKind

__all__ = ["ROUND", "KeepingSweep"]

log = structlog.get_logger(__name__)

ROUND = 2000
"""Groups of one walk in a round at most: 128,000 rows."""


class KeepingSweep:
    """See the module. `sweep` on a tick; it says how many rows of each kind were gone through.

    Args:
        keep: how long each kind is kept (`settings.privacy.retention`).
        active_key: the id of the newest privacy key.
        pace: how fast; this sweep's alone.
    """

    def __init__(
        self,
        door: Door,
        wakeups: Wakeups,
        time: Time,
        keep: Mapping[RetentionKind, timedelta],
        active_key: int,
        pace: Pace,
    ) -> None:
        self._door = door
        self._wakeups = wakeups
        self._time = time
        self._keep = dict(keep)
        self._active_key = active_key
        self._pace = pace
        self._stopping = False

    def stop(self) -> None:
        """Ends a round after the group that is under way."""
        self._stopping = True
        self._pace.stop()

    async def sweep(self) -> Mapping[str, int]:
        await self._time.look()
        counts = {"answered": await self._all(BlankAnswered)}
        for walk in WALKS.values():
            counts[walk.name] = await self._all(partial(self._group, walk))
        return {name: count for name, count in counts.items() if count}

    def _group(self, walk: Walk) -> KeepGroup | None:
        now = self._time.now()
        return None if now is None else KeepGroup(walk.name, self._keep[walk.kind], self._active_key, now)

    async def _all(self, make: Callable[[], Command[int] | None]) -> int:
        done = 0
        for _ in range(ROUND):
            command = None if self._stopping else make()
            if command is None:
                break
            began = self._pace.seconds()
            try:
                count = await self._wakeups.deferred(self._door.submit(command))
            except Exception as error:  # noqa: BLE001 (a sweep that fails is tried at the next tick)
                log.warning("sweep failed; tried again", sweep=type(command).__name__, cause=type(error).__name__)
                break
            done += count
            if count < GROUP:
                break
            await self._pace.rest(count, began)
        return done
