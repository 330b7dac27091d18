"""When a batch is sent again, and how many may be on the way: decisions, made without I/O.

Rules kept here:

* A failed batch waits for itself: `first` doubled with each try up to `most`, half of it by chance, so that processes
  that failed together do not come back together. It is tried without end.
* One batch that keeps failing blocks nobody: while others succeed, new ratings go out as ever, and batches that failed
  before leave one slot free.
* A centre that is down is asked gently: once `CROWD` different batches have failed and none was answered, one request
  at a time goes out, at growing distances of at most `PROBE_MOST`. The first answer ends that at once.
* 401 and 403 stop everything but one probe each `pause`. 429 stops everything until its Retry-After.

Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CROWD", "PROBE_MOST", "Backoff", "Flow", "Room"]

CROWD = 8
PROBE_MOST = 15.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between tries."""

    first: float
    most: float

    def delay(self, tries: int, chance: float) -> float:
        """Seconds after the `tries`-th failure (from 1). `chance` in [0, 1) is the jitter."""
        whole = min(self.most, self.first * 2.0 ** min(max(tries, 1) - 1, 60))
        return whole / 2 + whole / 2 * chance


@dataclass(frozen=True, slots=True)
class Room:
    """How many batches may start now, and at most how many of them new ones, or ones that were tried before."""

    total: int
    new: int
    again: int


NO_ROOM = Room(0, 0, 0)


class Flow:
    """What this process may send now. It lives in memory: what must outlive it is each batch's own `not_before`.

    Args:
        limit: batches on the way at once.
        pause: seconds between probes after 401 or 403.
    """

    def __init__(self, limit: int, backoff: Backoff, pause: float) -> None:
        self.limit = limit
        self.paused: str | None = None
        self._backoff = backoff
        self._pause = pause
        self._failing: set[str] = set()
        self._failures = 0
        self._closed_until = 0.0
        self._last_new = float("-inf")

    @property
    def struggling(self) -> bool:
        """No answer from the centre since a crowd of batches failed."""
        return len(self._failing) >= CROWD

    @property
    def opens_at(self) -> float:
        """The moment before which nothing may be sent; in the past: now."""
        return self._closed_until

    def steady(self, now: float) -> bool:
        """Nothing keeps us from sending at full width."""
        return now >= self._closed_until and self.paused is None and not self.struggling

    def room(self, now: float, on_the_way: int, again_on_the_way: int) -> Room:
        """What may start now, with so many on the way (`again_on_the_way` of them not for the first time)."""
        free = self.limit - on_the_way
        if now < self._closed_until or free <= 0:
            return NO_ROOM
        if self.paused is None and not self.struggling:
            return Room(free, free, min(free, max(0, max(1, self.limit - 1) - again_on_the_way)))
        if on_the_way:
            return NO_ROOM
        # One probe. While a crowd waits, a new batch has its turn now and then: the crowd itself may be the trouble.
        new = self.paused is not None or now - self._last_new >= self._backoff.most
        return Room(1, int(new), 1)

    def started(self, now: float, *, new: bool) -> None:
        if new:
            self._last_new = now

    def answered(self) -> bool:
        """The centre took a batch and said something of it. True: this ends a time of trouble."""
        recovered = self.struggling or self.paused is not None
        self._failing.clear()
        self._failures = 0
        self._closed_until = 0.0
        self.paused = None
        return recovered

    def failed(self, batch_id: str, now: float, chance: float) -> None:
        """A batch was not answered, or with an error that is not its own."""
        self._failing.add(batch_id)
        if self.struggling:
            self._failures += 1
            distance = Backoff(self._backoff.first, min(PROBE_MOST, self._backoff.most))
            self._closed_until = max(self._closed_until, now + distance.delay(self._failures, chance))

    def hold(self, now: float, seconds: float) -> None:
        """The centre asked for silence (429)."""
        self._closed_until = max(self._closed_until, now + seconds)

    def refused(self, now: float, why: str) -> bool:
        """401 or 403. True: it is news."""
        news = self.paused is None
        self.paused = why
        self._closed_until = max(self._closed_until, now + self._pause)
        return news

    def probe(self) -> None:
        """Somebody asks to try now: an end to the waiting, not to the caution."""
        self._closed_until = 0.0
