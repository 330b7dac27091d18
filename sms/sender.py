"""From the queue to the links and back: claims messages, hands their segments over, stores what became of them.

Rules kept here:

1. Only what is stored as handed is given to a link (intake/outgoing.py, rule 2); what a link did not send goes back.
2. A message that the SMSC is too busy for (0x58, 0x14) goes again over the same link, in front, for HOLD seconds; then
   it goes back to the queue, where a partner may take it. The link itself slows down (sms/pace.py).
3. What was written and not answered is unknown; it is settled by a receipt, or goes once more (intake/outgoing.py).
4. A receipt is answered when it is stored; not stored, the SMSC is told to send it again.
5. BLOCKED texts blocked for their content, one after the other, and the link rests, with an alarm: to go on would cost
   the service number. It rests too while `require_approved` finds a text that was not approved.
6. Answers and receipts of one turn of the reactor are stored together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from config.receipts import ReceiptClass
from intake.outgoing import (
    Claimed,
    ClaimMessages,
    Fate,
    Matched,
    NoteReceipts,
    Outcome,
    PutBack,
    ReceiptFacts,
    ReceiptRules,
    SegmentAnswer,
    StoreAnswers,
    Terms,
)
from models.clock import Clock
from models.door import Command, Door
from models.futures import Timer, Wakeups
from models.terms import MessageState
from sms.lanes import Lane, Outgoing
from sms.link import Answer, Delivery, Link, Submit, SubmitResult
from sms.pdu import Status, UnfitField, status_name
from sms.receipts import stored_id

__all__ = ["BLOCKED", "HOLD", "Sender", "SenderStatistics"]

log = structlog.get_logger(__name__)

HOLD = 30.0
"""Seconds that a message the SMSC is too busy for stays with its link."""
BLOCKED = 10
"""Receipts "blocked", one after the other, that make a link rest."""
CLAIM = 64
_AGAIN_SECONDS = 1.0
_REFUSED_FOR_NOW = timedelta(minutes=1)
_BUSY = frozenset({SubmitResult.THROTTLED, SubmitResult.QUEUE_FULL})
_FOR_NOW = frozenset(
    map(int, (Status.ESME_RSYSERR, Status.ESME_RSUBMITFAIL, Status.ESME_RX_T_APPN, Status.ESME_RX_R_APPN))
)
"""Statuses that say nothing about the message: it goes again a minute later, once."""
_OK = 0
_AGAIN = int(Status.ESME_RSYSERR)


@dataclass(slots=True)
class SenderStatistics:
    """Counts since the start."""

    claimed: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    """By how the handing over ended: sent, failed, unknown, put_back."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed messages by reason."""
    receipts: Counter[str] = field(default_factory=Counter)
    """Matched receipts by class."""
    receipts_kept: int = 0
    """Receipts that found no message yet."""
    rests: int = 0


class Sender:
    """See the module. `wake` looks for messages now; a tick of the owner stands behind."""

    def __init__(
        self,
        door: Door,
        wakeups: Wakeups,
        reactor: Any,
        clock: Clock,
        *,
        terms: Terms,
        rules: ReceiptRules,
        unknown_after: timedelta,
        blocked_pause: float,
        fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._door = door
        self._wakeups = wakeups
        self._reactor = reactor
        self._clock = clock
        self._terms = terms
        self._rules = rules
        self._unknown_after = unknown_after
        self._blocked_pause = blocked_pause
        self._fault = fault
        self.statistics = SenderStatistics()
        self.lanes: dict[str, Lane] = {}
        self._answers: list[SegmentAnswer] = []
        self._outcomes: list[Outcome] = []
        self._back: list[tuple[str, Any]] = []
        self._receipts: list[tuple[Link, Delivery, ReceiptFacts]] = []
        self._turn: Timer | None = None
        self._stores: set[Deferred[Any]] = set()
        self._idle: Deferred[None] | None = None
        self._stopping = False

    def add(self, lane: Lane) -> None:
        self.lanes[lane.name] = lane

    # ── claiming ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """Something may be due: each link that has room takes what it can."""
        for lane in self.lanes.values():
            self._claim(lane)

    def rest(self, lane: Lane, seconds: float | None, because: str) -> None:
        """Gives a link nothing for a while (None: until the process is started again), and takes back what it has."""
        lane.rests_until = float("inf") if seconds is None else self._reactor.seconds() + seconds
        lane.rests_because = because
        self.statistics.rests += 1
        log.error("link rests", link=lane.name, because=because)
        self._take_back(lane)

    def _rests(self, lane: Lane) -> bool:
        if lane.rests_until is None:
            return False
        if self._reactor.seconds() < lane.rests_until:
            return True
        lane.rests_until, lane.rests_because, lane.blocked_running = None, "", 0
        log.info("link goes on", link=lane.name)
        return False

    def _claim(self, lane: Lane) -> None:
        if lane.claiming or self._stopping or self._rests(lane) or lane.link.room() <= 0:
            return
        window = lane.settings.window
        # Enough that the link is never without, not so much that a crash leaves many unknown.
        ahead = min(2 * window, max(1, round(2 * lane.link.rate)))
        wanted = min(CLAIM, ahead - len(lane.queue))
        if wanted <= 0 or len(lane.queue) > window // 2:
            return
        lane.claiming = True
        now = self._clock.now()
        command = ClaimMessages(lane.name, lane.claims, wanted, now, self._terms, partial(lane.writer.write, now=now))
        waiting = self._wakeups.deferred(self._door.submit(command))
        waiting.addCallbacks(partial(self._claimed, lane, wanted), partial(self._not_claimed, lane))

    def _claimed(self, lane: Lane, wanted: int, claimed: list[Claimed]) -> None:
        lane.claiming = False
        now = self._reactor.seconds()
        if claimed:
            self._fault("claimed")
        for message in claimed:
            outgoing = Outgoing(message.id, len(message.segments), now)
            if not message.segments:
                self._ended(outgoing)
            for segment in message.segments:
                assert isinstance(segment.wire, Submit)
                lane.queue.append((outgoing, segment.number, segment.wire))
        self.statistics.claimed += len(claimed)
        if self._stopping or lane.link.room() <= 0:
            self._take_back_if_down(lane)
        self._pump(lane)
        if len(claimed) == wanted:
            self._claim(lane)

    def _not_claimed(self, lane: Lane, failure: Any) -> None:
        lane.claiming = False
        log.warning(
            "no messages could be claimed; tried again at the next tick", link=lane.name, cause=str(failure.type)
        )

    def _pump(self, lane: Lane) -> None:
        link, queue = lane.link, lane.queue
        while queue and (room := link.room()) > 0:
            for _ in range(min(room, len(queue))):
                outgoing, number, submit = token = queue.popleft()
                try:
                    link.submit(submit, (lane, token))
                except UnfitField:
                    self._answer(outgoing, number, Fate.FAILED, reason="no_pdu_holds_it")
        if len(queue) <= lane.settings.window // 2:
            self._claim(lane)

    # ── what a link tells ─────────────────────────────────────────────────────────────────────────────────────────────

    def room(self, link: Link) -> None:
        self._pump(self.lanes[link.name])

    def up(self, link: Link) -> None:
        self._claim(self.lanes[link.name])

    def down(self, link: Link) -> None:
        self._take_back(self.lanes[link.name])

    def answered(self, link: Link, token: Any, answer: Answer) -> None:
        lane, waiting = token
        outgoing, number, _ = waiting
        result = answer.result
        if result is SubmitResult.ACCEPTED:
            self._fault("answered")
            self._answer(outgoing, number, Fate.ACCEPTED, smsc_id=stored_id(answer.message_id) or None)
        elif result in _BUSY and not self._stopping and self._reactor.seconds() - outgoing.since < HOLD:
            lane.queue.appendleft(waiting)
        elif result in _BUSY or result is SubmitResult.NOT_SENT:
            self._answer(outgoing, number, Fate.NOT_SENT)
        elif result is SubmitResult.UNKNOWN:
            self._answer(outgoing, number, Fate.UNKNOWN)
        elif answer.status in _FOR_NOW and result is SubmitResult.REJECTED:
            outgoing.later = True
            self._answer(outgoing, number, Fate.NOT_SENT, status=answer.status)
        else:
            reason = status_name(answer.status) if result is SubmitResult.REJECTED else "generic_nack"
            self._answer(outgoing, number, Fate.FAILED, status=answer.status, reason=reason)
        if not lane.queue:
            self._claim(lane)

    def _answer(
        self,
        outgoing: Outgoing,
        number: int,
        fate: Fate,
        *,
        status: int | None = None,
        smsc_id: str | None = None,
        reason: str = "",
    ) -> None:
        if fate is Fate.FAILED:
            outgoing.failed = reason
        elif fate is Fate.UNKNOWN:
            outgoing.unknown = True
        elif fate is Fate.NOT_SENT:
            outgoing.unsent = True
        self._answers.append(SegmentAnswer(outgoing.id, number, fate, self._clock.now(), smsc_id, status))
        outgoing.open -= 1
        if outgoing.open <= 0:
            self._ended(outgoing)
        self._soon()

    def _ended(self, outgoing: Outgoing) -> None:
        """Every segment of a message has its answer."""
        now = self._clock.now()
        if outgoing.failed is not None:
            self._outcomes.append(Outcome(outgoing.id, MessageState.FAILED, outgoing.failed[:64], None))
            self.statistics.messages["failed"] += 1
            self.statistics.failures[outgoing.failed] += 1
        elif outgoing.unknown:
            self._outcomes.append(Outcome(outgoing.id, MessageState.UNKNOWN, None, now + self._unknown_after))
            self.statistics.messages["unknown"] += 1
        elif outgoing.unsent:
            self._back.append((outgoing.id, now + _REFUSED_FOR_NOW if outgoing.later else None))
            self.statistics.messages["put_back"] += 1
        else:
            self._outcomes.append(Outcome(outgoing.id, MessageState.SENT, None, None))
            self.statistics.messages["sent"] += 1
        self._soon()

    def _take_back_if_down(self, lane: Lane) -> None:
        if self._stopping or lane.link.problem or self._rests(lane):
            self._take_back(lane)

    def _take_back(self, lane: Lane) -> None:
        """What was claimed for a link and not given to it: others may take it."""
        while lane.queue:
            outgoing, number, _ = lane.queue.popleft()
            self._answer(outgoing, number, Fate.NOT_SENT)

    # ── receipts ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def receipt(self, link: Link, delivery: Delivery, facts: ReceiptFacts) -> None:
        """A receipt came: stored in this turn, answered when it is."""
        self._receipts.append((link, delivery, facts))
        if len(self._receipts) >= CLAIM:
            self._store_receipts()
        else:
            self._soon()

    def _store_receipts(self) -> None:
        batch, self._receipts = self._receipts, []
        command = NoteReceipts(tuple(facts for _, _, facts in batch), self._clock.now(), self._rules)
        waiting = self._wakeups.deferred(self._door.submit(command))

        def stored(matched: list[Matched]) -> None:
            self._fault("receipt-stored")
            for link, delivery, _ in batch:
                link.respond(delivery, _OK)
            self.statistics.receipts_kept += len(batch) - len(matched)
            self._learn(matched)

        def not_stored(failure: Any) -> None:
            log.error("receipts were not stored; the SMSC sends them again", receipts=len(batch))
            for link, delivery, _ in batch:
                link.respond(delivery, _AGAIN)

        self._keep(waiting.addCallbacks(stored, not_stored))

    def _learn(self, matched: Sequence[Matched]) -> None:
        """What receipts say about the links."""
        again = False
        for one in matched:
            self.statistics.receipts[one.kind.value] += 1
            again = again or one.kind in (ReceiptClass.NO_ROUTE, ReceiptClass.LATER)
            lane = self.lanes.get(one.link)
            if lane is None or one.kind is ReceiptClass.INTERMEDIATE:
                continue
            if one.kind is not ReceiptClass.BLOCKED:
                lane.blocked_running = 0
                continue
            lane.blocked_running += 1
            if lane.blocked_running == BLOCKED:
                self.rest(lane, self._blocked_pause, f"{BLOCKED} texts blocked for their content, one after the other")
        if again:
            self.wake()

    # ── storing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _soon(self) -> None:
        if self._turn is None:
            self._turn = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        self._turn = None
        if self._answers or self._outcomes:
            answers, self._answers = tuple(self._answers), []
            outcomes, self._outcomes = tuple(self._outcomes), []
            self._keep(self._store(StoreAnswers(answers, outcomes, self._clock.now(), self._rules), self._early))
        if self._back:
            back, self._back = tuple(self._back), []
            self._keep(self._store(PutBack(back, self._clock.now()), self._put_back))
        if self._receipts:
            self._store_receipts()

    def _early(self, matched: list[Matched]) -> None:
        self.statistics.receipts_kept -= len(matched)
        self._learn(matched)

    def _put_back(self, _: None) -> None:
        if not self._stopping:
            self.wake()

    def _store(self, command: Command[Any], then: Callable[[Any], None]) -> Deferred[None]:
        """Stores what happened, however often it takes: it has happened."""

        async def store() -> None:
            while True:
                future: Future[Any] = self._door.submit(command)
                try:
                    result = await self._wakeups.deferred(future)
                except Exception as error:  # noqa: BLE001 (whatever keeps the database from it)
                    if self._stopping:
                        log.error("the end came before this was stored; it is settled at the next start")
                        return
                    log.warning("answers were not stored; tried again", cause=type(error).__name__)
                    again: Deferred[None] = Deferred()
                    self._reactor.callLater(_AGAIN_SECONDS, again.callback, None)
                    await again
                else:
                    then(result)
                    return

        return Deferred.fromCoroutine(store())

    def _keep(self, waiting: Deferred[Any]) -> None:
        self._stores.add(waiting)

        def ended(result: Any) -> None:
            self._stores.discard(waiting)
            if isinstance(result, Failure):
                log.error("storing failed", cause=result.type.__name__ if result.type else "")
            if self._idle is not None and not self._stores:
                self._idle.callback(None)
                self._idle = None

        waiting.addBoth(ended)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def stop_claiming(self) -> None:
        """Takes nothing more and gives back what no link has yet."""
        self._stopping = True
        for lane in self.lanes.values():
            self._take_back(lane)

    async def stored(self) -> None:
        """Returns when everything that happened is stored (or could not be)."""
        if self._turn is not None:
            self._turn.cancel()
            self._flush()
        if self._stores:
            self._idle = Deferred()
            await self._idle
