"""The pusher: takes batches out of the outbox, sends them, writes down what the centre said.

Rules kept here:

* The database is the state, memory only knows what is on the way. A batch is stored before it is sent and settled after
  the answer, so whatever the process dies of, the same bytes go again.
* `wake()` after a local commit starts at once; a poll each second stands behind it, for holds that end, for other
  processes, for a wake that was lost.
* A single rating goes alone and at once; while all places are taken the outbox fills, and the next batch is larger.
* What could not be written down is written down later: until then the batch stays ours.
* Durations are the reactor's monotonic seconds. Wall times in the database are only compared; a step back is noticed
  and taken into account (`Horizon`).
"""

from __future__ import annotations

import random
import secrets
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, select
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from centre.answers import RETRY_AFTER_MOST, Decision, Pause, Retry, Settle, Split, read_answer
from centre.client import CentreClient, NoAnswer, Reactor, Timer
from centre.commands import (
    Horizon,
    PostponeBatch,
    RebaseBatches,
    RecallBatches,
    ReleaseBatches,
    SettleBatch,
    Settled,
    SplitBatch,
    TakeBatches,
    Taken,
    TakenBatch,
    VoidLeases,
    batch_due,
    outbox_due,
)
from centre.outbox import PROBE
from centre.payload import Mapper, Site
from centre.retry import Backoff, Flow, Room
from centre.settings import PushSettings
from centre.writes import Writes
from config.profile import Profile
from models.clock import Clock
from models.door import Command, Door
from models.errors import DoorClosed
from models.futures import Wakeups
from models.push_faults import PushFault
from models.tables import meta, outbox, push_batches

__all__ = ["POLL", "PushStatistics", "Pusher"]

POLL = 1.0
"""Seconds between looks at the outbox that nobody asked for."""

TAKE_MOST = 8
"""Batches taken in one transaction: with 100 records each, some 20 ms for which the calls' ratings may have to wait."""

_STEP = timedelta(seconds=2)
"""The wall clock went back by more: a step, not slewing."""

_SLACK = timedelta(seconds=60)
"""By so much the clocks of several machines may differ before one takes another's times for a broken clock's."""

T = TypeVar("T")
log = structlog.get_logger(__name__)
_twisted_log = Logger()


@dataclass(slots=True)
class PushStatistics:
    """Counts since the start, for the metrics: batches down to `refused`, then records down to `strangers`."""

    sent: int = 0
    settled: int = 0
    retried: int = 0
    split: int = 0
    refused: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    without_verdict: int = 0
    unmappable: int = 0
    strangers: int = 0
    in_flight: int = 0
    paused: str | None = None
    struggling: bool = False
    last_answer: datetime | None = None
    errors: dict[str, int] = field(default_factory=dict)


def _no_fault(_point: str) -> None:
    return None


class Pusher:
    """Pushes what is in the outbox, until it is stopped.

    Args:
        site: what the settings say of the hotline.
        speed: how many of the clock's seconds are one of the reactor's; a request takes the reactor's.
        fault: a fault point's switch, for tests only: called with "after-push-before-mark".
        chance: jitter, in [0, 1).
    """

    def __init__(
        self,
        door: Door,
        settings: PushSettings,
        profile: Profile,
        reactor: Reactor,
        clock: Clock,
        *,
        site: Site,
        speed: float = 1.0,
        fault: Callable[[str], None] = _no_fault,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._door = door
        self._profile = profile
        self._reactor = reactor
        self._clock = clock
        self._wakeups = Wakeups(reactor)
        self._writes = Writes(door, reactor)
        self._fault = fault
        self._chance = chance
        self._timeout = settings.timeout.total_seconds()
        secret = settings.secret.get_secret_value() if settings.secret is not None else ""
        self._client = CentreClient(
            reactor,
            url=settings.url,
            secret=secret,
            profile=profile,
            clock=clock,
            timeout=self._timeout,
            connections=settings.in_flight,
        )
        self._configured = bool(settings.url)
        self.mapper = Mapper(profile, site)
        self._size = settings.batch
        self._backoff = Backoff(settings.retry_first.total_seconds(), settings.retry_most.total_seconds())
        self._pause = settings.pause
        self._flow = Flow(settings.in_flight, self._backoff, settings.pause.total_seconds())
        self._lease_seconds = self._timeout * 2 + 15.0
        self._lease = timedelta(seconds=self._lease_seconds) * speed
        self._hold = max(settings.keypad_reason_hold, settings.reason_hold, settings.retry_most) + _SLACK
        self._wait = max(settings.retry_most, settings.pause, timedelta(seconds=RETRY_AFTER_MOST)) + _SLACK
        self.owner = f"{socket.gethostname()[:60]}:{secrets.token_hex(8)}"
        self.statistics = PushStatistics()
        self._ours: dict[str, TakenBatch] = {}
        self._on_the_way: dict[str, Deferred[Any]] = {}
        self._tasks: set[Deferred[None]] = set()
        self._taking = False
        self._look_again = False
        self._woken = False
        self._running = False
        self._ready = False
        self._stopping = False
        self._cut = False
        self._declined = False
        self._backlog = False
        self._queue: deque[tuple[TakenBatch, float]] = deque()
        self._poll_timer: Timer | None = None
        self._timers: set[Timer] = set()
        self._wall_ahead: timedelta | None = None
        self._stepped = timedelta(0)
        self._probe_seen: str | None = None

    # ── for the composition root ──────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begins. Without a `centre.url` nothing is pushed and the outbox waits."""
        if not self._configured:
            log.info("no centre configured; evaluations wait in the outbox")
            return
        self._running = True
        self._watch_clock()
        self._task(self._begin())

    def wake(self) -> None:
        """Something was committed to the outbox. From any thread."""
        if self._running and not self._woken:
            self._woken = True
            self._reactor.callFromThread(self._on_wake)

    def probe(self) -> None:
        """Ends a pause early: one batch is tried now. On the reactor's thread."""
        self._flow.probe()
        self._look()

    @property
    def paused(self) -> str | None:
        """Why the push is paused (401, 403); None: it is not."""
        return self._flow.paused

    async def stop(self, grace: float | None = None) -> None:
        """Ends: nothing new is taken, requests on the way have `grace` seconds (default: their time-out).

        Leases go back. What is cut off is sent again, the same bytes, by whoever serves next.
        """
        if not self._running or self._stopping:
            return
        self._stopping = True
        for timer in (self._poll_timer, *self._timers):
            if timer is not None and timer.active():
                timer.cancel()
        self._timers.clear()
        self._queue.clear()
        limit = self._reactor.callLater(self._timeout if grace is None else grace, self._cut_off)
        while self._tasks:
            await DeferredList(list(self._tasks), consumeErrors=True)
        if limit.active():
            limit.cancel()
        try:
            await self._write(ReleaseBatches(self.owner))
        except Exception as error:  # noqa: BLE001 (the leases run out by themselves)
            log.warning("leases not given back; they run out by themselves", cause=type(error).__name__)
        await self._client.close()
        self._running = False

    # ── looking for work ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _begin(self) -> None:
        if self._door.database.is_sqlite:
            await self._persist(VoidLeases)
        self._ready = True
        self._schedule_poll()
        self._look()

    def _on_wake(self) -> None:
        self._woken = False
        self._look()

    def _schedule_poll(self) -> None:
        if not self._stopping:
            self._poll_timer = self._reactor.callLater(POLL, self._poll)

    def _poll(self) -> None:
        self._schedule_poll()
        self._watch_clock()
        self._task(self._poll_once())

    async def _poll_once(self) -> None:
        at = self._horizon()
        try:
            due, mark = await self._read(lambda connection: (_something_due(connection, at), _probe_mark(connection)))
        except DoorClosed:
            return
        except Exception as error:  # noqa: BLE001 (the next poll is a second away)
            log.warning("outbox could not be read", cause=type(error).__name__)
            return
        if mark != self._probe_seen:
            self._probe_seen = mark
            self._flow.probe()
        if due or self._queue:
            self._look()

    def _watch_clock(self) -> None:
        """Notices a wall clock that was set back while we run."""
        ahead = timedelta(seconds=self._clock.now().timestamp() - self._reactor.seconds())
        if self._wall_ahead is None or ahead >= self._wall_ahead:
            self._wall_ahead, self._stepped = ahead, timedelta(0)
            return
        stepped = self._wall_ahead - ahead
        if stepped - self._stepped > _STEP:
            by = stepped - self._stepped
            log.warning("the wall clock was set back", seconds=round(by.total_seconds()))
            now = self._clock.now()
            self._task(self._persist(lambda: RebaseBatches(by, now)))
        self._stepped = stepped if stepped > _STEP else timedelta(0)

    def _horizon(self) -> Horizon:
        return Horizon(self._clock.now(), self._hold, self._wait, self._lease + _SLACK, self._stepped)

    def _look(self) -> None:
        """Sends and takes what there is room for; one taking at a time, and one more if somebody asked meanwhile."""
        if self._stopping or not self._ready:
            return
        self._dispatch()
        if self._taking:
            self._look_again = True
            return
        self._taking = True
        self._task(self._take())

    async def _take(self) -> None:
        try:
            while not self._stopping:
                self._look_again = False
                taken = await self._take_once()
                if taken is None or not (self._look_again or (self._declined and taken.batches)):
                    break
        finally:
            self._taking = False

    def _room(self) -> Room:
        again = sum(not self._ours[batch_id].new for batch_id in self._on_the_way)
        return self._flow.room(self._reactor.seconds(), len(self._on_the_way), again)

    async def _take_once(self) -> Taken | None:
        """None: no room now, or nothing to be had; somebody will look again."""
        room = self._room()
        # While there is a backlog, batches are made ready ahead, so that the next one leaves when an answer comes.
        ahead = 2 * self._flow.limit if self._backlog and self._flow.steady(self._reactor.seconds()) else 0
        # A batch that is answered and not yet written down takes no place, but there is an end to that.
        free = 5 * self._flow.limit - len(self._ours)
        total = min(room.total + ahead - len(self._queue), free, TAKE_MOST)
        self._declined = total <= 0
        if self._declined:
            return None
        at = self._horizon()
        command = TakeBatches(
            owner=self.owner,
            at=at,
            lease_until=at.now + self._lease,
            total=total,
            again=room.again,
            new=max(room.new, ahead),
            size=self._size,
            not_these=tuple(self._ours),
            mapper=self.mapper,
        )
        try:
            taken = await self._write(command)
        except DoorClosed:
            return None
        except Exception as error:  # noqa: BLE001 (the next poll tries again)
            log.warning("batches could not be taken", cause=type(error).__name__)
            return None
        if taken.buried:
            self.statistics.unmappable += taken.buried
            log.error("records cannot be mapped with this profile; see huiyin outbox list", records=taken.buried)
        stored = sum(not batch.new for batch in taken.batches)
        self._backlog = taken.more
        self._declined = stored >= room.again or taken.more
        for batch in taken.batches:
            self._ours[batch.id] = batch
            self._queue.append((batch, self._reactor.seconds()))
        self._dispatch()
        return taken

    def _dispatch(self) -> None:
        """Sends what is taken, as far as there is room."""
        while self._queue and not self._stopping and self._room().total > 0:
            batch, taken_at = self._queue.popleft()
            now = self._reactor.seconds()
            if now - taken_at > self._lease_seconds - self._timeout:
                del self._ours[batch.id]  # it waited so long that its lease may end on the way: it is taken again
                continue
            self._flow.started(now, new=batch.new)
            self._task(self._deliver(batch))

    # ── one batch ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _deliver(self, batch: TakenBatch) -> None:
        try:
            decision = await self._send(batch)
            if decision is not None:
                await self._note(batch, decision)
        finally:
            self._ours.pop(batch.id, None)
            self._dispatch()
            self._look_if_declined()

    async def _send(self, batch: TakenBatch) -> Decision | None:
        """The centre's decision; None: cut off by our own stop."""
        sending = self._client.push(batch.body, batch.id)
        self._on_the_way[batch.id] = sending
        self.statistics.sent += 1
        self.statistics.in_flight = len(self._on_the_way)
        try:
            answer = await sending
        except (NoAnswer, CancelledError) as failure:
            return None if self._cut else Retry(str(failure) or PushFault.CANCELLED.told())
        finally:
            del self._on_the_way[batch.id]
            self.statistics.in_flight = len(self._on_the_way)
        now = self._clock.now()
        self.statistics.last_answer = now
        decision = read_answer(answer, batch.members, self._profile.answer, now)
        self._fault("after-push-before-mark")
        return decision

    async def _note(self, batch: TakenBatch, decision: Decision) -> None:
        match decision:
            case Settle():
                self._answered()
                self._dispatch()
                self._look_if_declined()
                await self._settle(batch, decision)
            case Split(error=error):
                self._answered()
                self.statistics.split += 1
                log.warning("the centre refused a batch as a whole; halved", records=len(batch.members), cause=error)
                now = self._clock.now()
                await self._persist(lambda: SplitBatch(batch.id, error, now, self.mapper))
                self._look()
            case Pause(error=error):
                self.statistics.refused += 1
                if self._flow.refused(self._reactor.seconds(), error):
                    log.error("push paused; nothing is lost, it is tried again by itself", cause=error)
                self._show_flow()
                await self._postpone(batch, self._pause.total_seconds(), error)
            case Retry(error=error, after=after, everyone=everyone):
                moment = self._reactor.seconds()
                delay = max(self._backoff.delay(batch.tries + 1, self._chance()), after or 0.0)
                if everyone:
                    self._flow.hold(moment, delay)
                else:
                    self._flow.failed(batch.id, moment, self._chance())
                self.statistics.retried += 1
                self.statistics.errors[error] = self.statistics.errors.get(error, 0) + 1
                self._show_flow()
                self._dispatch()
                log.warning(
                    "push failed; the same batch goes again",
                    records=len(batch.members),
                    tries=batch.tries + 1,
                    wait=round(delay, 1),
                    cause=error,
                )
                await self._postpone(batch, delay, error)

    def _answered(self) -> None:
        was_paused = self._flow.paused
        if self._flow.answered():
            log.info("the centre answers again", paused=bool(was_paused))
            now = self._clock.now()
            self._task(self._recall(now))
        self._show_flow()

    async def _recall(self, now: datetime) -> None:
        await self._persist(lambda: RecallBatches(now))
        self._look()

    async def _settle(self, batch: TakenBatch, decision: Settle) -> None:
        now = self._clock.now()
        chance = self._chance()
        settled: Settled | None = await self._persist(
            lambda: SettleBatch(batch.id, batch.members, decision.words, now, self._backoff, chance)
        )
        if settled is None or not settled.applied:
            return
        counts = self.statistics
        counts.settled += 1
        counts.accepted += settled.accepted
        counts.duplicate += settled.duplicate
        counts.rejected += settled.rejected
        counts.without_verdict += settled.without
        counts.strangers += decision.strangers
        if settled.rejected:
            log.error("the centre refused records; see huiyin outbox list", records=settled.rejected)
        if settled.without:
            log.warning("the centre said nothing of some records; they go again", records=settled.without)
            self._look_in(self._backoff.first)

    async def _postpone(self, batch: TakenBatch, delay: float, error: str) -> None:
        self._look_in(delay)
        not_before = self._clock.now() + timedelta(seconds=delay)
        await self._persist(lambda: PostponeBatch(batch.id, self.owner, not_before, error))

    def _look_if_declined(self) -> None:
        """A place is free, and the last look left something behind."""
        if self._declined:
            self._look()

    def _look_in(self, delay: float) -> None:
        """A look when something comes due, where that is sooner than the poll."""
        if delay >= POLL or self._stopping:
            return

        def due() -> None:
            self._timers.discard(timer)
            self._look()

        timer = self._reactor.callLater(delay + 0.005, due)
        self._timers.add(timer)

    def _show_flow(self) -> None:
        self.statistics.paused = self._flow.paused
        self.statistics.struggling = self._flow.struggling

    # ── the database ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, command: Command[T]) -> Deferred[T]:
        return self._writes.write(command)

    def _read(self, function: Callable[[Connection], T]) -> Deferred[T]:
        future: Future[T] = self._door.read(function)
        return self._wakeups.deferred(future)

    async def _persist(self, make: Callable[[], Command[T]]) -> T | None:
        """Writes what must not be lost, again each second until it is written; None: the process ends first."""
        while True:
            try:
                return await self._write(make())
            except DoorClosed:
                return None
            except Exception as error:  # noqa: BLE001 (full disk, locked: whatever it is, it is tried again)
                log.warning("the push could not write; it tries again", cause=type(error).__name__)
            if self._stopping:
                return None
            pause: Deferred[None] = Deferred()
            self._reactor.callLater(POLL, pause.callback, None)
            await pause

    # ── tasks ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _task(self, work: Any) -> None:
        task: Deferred[None] = Deferred.fromCoroutine(work)
        if task.called:
            task.addErrback(_failed)
            return
        self._tasks.add(task)

        def done(result: Any) -> None:
            self._tasks.discard(task)
            if isinstance(result, Failure):
                _failed(result)

        task.addBoth(done)

    def _cut_off(self) -> None:
        self._cut = True
        for sending in list(self._on_the_way.values()):
            sending.cancel()


def _failed(failure: Failure) -> None:
    _twisted_log.failure("the push went wrong; the batch is sent again when its lease runs out", failure)


def _something_due(connection: Connection, at: Horizon) -> bool:
    looks = [select(outbox.c.evaluation_id).where(due).limit(1) for due in outbox_due(at)]
    looks.append(select(push_batches.c.id).where(batch_due(at)).limit(1))
    return any(connection.execute(look).first() is not None for look in looks)


def _probe_mark(connection: Connection) -> str | None:
    return connection.execute(select(meta.c.value).where(meta.c.key == PROBE)).scalar_one_or_none()
