"""From the queue to the links and back: claims messages, hands their segments over, stores what became of them.

Rules kept here:

1. Only what is stored as handed is given to a link (intake/outgoing.py, rule 2); what a link did not send goes back.
2. A message that the SMSC is too busy for (0x58, 0x14) goes again over the same link, in front. What a link has not got
   HOLD seconds after it was claimed goes back to the queue, where a partner may take it: nothing waits here for longer
   than its lease. The link itself slows down (sms/pace.py).
3. What was written and not answered is unknown; it is settled by a receipt, or goes once more (intake/answers.py).
4. A receipt is answered when it is stored; not stored, the SMSC is told to send it again.
5. BLOCKED texts blocked for their content, one after the other, and the link rests, with an alarm: to go on would cost
   the service number. It rests too while `require_approved` finds a text that was not approved.
6. Answers of one turn of the reactor are stored together and in their order: the next ones wait for these to be stored,
   however often that takes. Receipts of one turn are stored together.
7. Of a message that has failed, or was refused, by one segment no other goes out any more, or not now.
8. A refusal that says nothing against the message (sms/refusals.py: the SMSC's own trouble, our set-up) puts it back:
   it goes again later, waiting twice as long each time, until it is too late for it. `rest_after` refusals for our
   set-up, or with any other status that is not the SMSC's own trouble, running: the link rests, with an alarm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from config.receipts import ReceiptClass
from intake.answers import Fate, GivenBack, Outcome, SegmentAnswer, StoreAnswers
from intake.claims import Claimed, ClaimMessages, Terms
from intake.pauses import Time, Unwatched
from intake.receipts import Noted, NoteReceipts, ReceiptFacts, ReceiptRules
from models.clock import Clock
from models.door import Door
from models.futures import Timer, Wakeups
from models.terms import MessageState
from sms.lanes import Lane, Outgoing
from sms.link import Answer, Delivery, Link, LinkState, Submit, SubmitResult
from sms.pdu import Status, UnfitField, status_name
from sms.receipts import stored_id
from sms.refusals import Refusal, Refusals, refusal

__all__ = ["BLOCKED", "HOLD", "REST_AFTER", "Sender", "SenderStatistics"]

log = structlog.get_logger(__name__)

HOLD = 30.0
"""Seconds that a message the SMSC is too busy for stays with its link."""
BLOCKED = 10
"""Receipts "blocked", one after the other, that make a link rest."""
REST_AFTER = 10
"""Messages refused with one status, one after the other, that make a link rest."""
CLAIM = 64
_AGAIN_SECONDS = 1.0
_BUSY = frozenset({SubmitResult.THROTTLED, SubmitResult.QUEUE_FULL})
_SAYS_NOTHING = frozenset({ReceiptClass.INTERMEDIATE, ReceiptClass.UNKNOWN})
_OK = 0
_AGAIN = int(Status.ESME_RSYSERR)


@dataclass(slots=True)
class SenderStatistics:
    """Counts since the start."""

    claimed: int = 0
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and how the handing over ended: sent, failed, unknown, put_back."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed messages by reason."""
    receipts: Counter[str] = field(default_factory=Counter)
    """Matched receipts by class."""
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
        rest_after: int = REST_AFTER,
        words: Callable[[Link, Delivery], None],
        time: Time | None = None,
        fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._door = door
        self._wakeups = wakeups
        self._reactor = reactor
        self._clock = clock
        self._time = time or Unwatched(clock)
        self._terms = terms
        self._rules = rules
        self._unknown_after = unknown_after
        self._blocked_pause = blocked_pause
        self._rest_after = rest_after
        self._refusals = Refusals()
        self._words = words
        self._fault = fault
        self.statistics = SenderStatistics()
        self.lanes: dict[str, Lane] = {}
        self._answers: list[SegmentAnswer] = []
        self._outcomes: list[Outcome] = []
        self._back: list[GivenBack] = []
        self._receipts: list[tuple[Link, Delivery, ReceiptFacts]] = []
        self._turn: Timer | None = None
        self._storing = False
        """Answers are being stored, or wait to be stored again; the next ones wait behind them."""
        self._again: Timer | None = None
        self._under_way: set[Deferred[Any]] = set()
        self._idle: Deferred[None] | None = None
        self._stopping = False

    def add(self, lane: Lane) -> None:
        self.lanes[lane.name] = lane

    # ── claiming ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """Something may be due: each link that has room takes what it can."""
        for lane in self.lanes.values():
            self._look(lane)

    def _look(self, lane: Lane) -> None:
        """There may be more than its last claim found."""
        lane.dry = False
        lane.claim_again = lane.claiming
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
        lane.rests_until, lane.rests_because = None, ""
        lane.blocked.clear()
        log.info("link goes on", link=lane.name)
        return False

    def _claim(self, lane: Lane) -> None:
        if lane.claiming or lane.dry or self._stopping or self._rests(lane) or lane.link.room() <= 0:
            return
        window = lane.settings.window
        # Enough that the link is never without, not so much that a crash leaves many unknown.
        ahead = min(2 * window, max(1, round(2 * lane.link.rate)))
        wanted = min(CLAIM, ahead - len(lane.queue))
        if lane.running.is_trial(self._rest_after):  # after a rest: one at a time, until one is accepted
            wanted = min(wanted, 1 - lane.out)
        if wanted <= 0 or len(lane.queue) > window // 2:
            return
        lane.claiming, lane.claim_again = True, False
        now = self._clock.now()
        held = self._time.now() is None
        prepare = partial(lane.writer.write, now=now)
        command = ClaimMessages(lane.name, lane.claims, wanted, now, self._terms, prepare, held)
        waiting = self._wakeups.deferred(self._door.submit(command))
        self._keep(waiting.addCallbacks(partial(self._claimed, lane, wanted), partial(self._not_claimed, lane)))

    def _claimed(self, lane: Lane, wanted: int, claimed: list[Claimed]) -> None:
        lane.claiming = False
        lane.dry = len(claimed) < wanted and not lane.claim_again
        now = self._reactor.seconds()
        if claimed:
            self._fault("claimed")
        for message in claimed:
            outgoing = Outgoing(
                message.id, len(message.segments), now, message.number_hash, message.total > 1, message.kind, lane
            )
            lane.out += 1
            if not message.segments:
                self._ended(outgoing)
            for segment in message.segments:
                assert isinstance(segment.wire, Submit)
                lane.queue.append((outgoing, segment.number, segment.wire))
        self.statistics.claimed += len(claimed)
        if self._stopping or lane.link.state is not LinkState.UP or self._rests(lane):
            self._take_back(lane)
            return
        self._pump(lane)
        if len(claimed) == wanted or lane.claim_again:
            self._claim(lane)

    def _not_claimed(self, lane: Lane, failure: Failure) -> None:
        lane.claiming = False
        log.warning(
            "no messages could be claimed; tried again at the next tick",
            link=lane.name,
            cause=failure.type.__name__ if failure.type else "",
        )

    def _pump(self, lane: Lane) -> None:
        link, queue = lane.link, lane.queue
        held_since = self._reactor.seconds() - HOLD
        while queue and (room := link.room()) > 0:
            while queue and room > 0:
                outgoing, number, submit = token = queue.popleft()
                if outgoing.stays or outgoing.since < held_since:
                    self._answer(outgoing, number, Fate.NOT_SENT)
                    continue
                room -= 1
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
        self._look(self.lanes[link.name])

    def down(self, link: Link) -> None:
        self._take_back(self.lanes[link.name])

    def answered(self, link: Link, token: Any, answer: Answer) -> None:
        lane, waiting = token
        outgoing, number, _ = waiting
        result = answer.result
        if result is SubmitResult.ACCEPTED:
            self._fault("answered")
            lane.accepted += 1
            lane.running.accepted()
            self._answer(outgoing, number, Fate.ACCEPTED, smsc_id=stored_id(answer.message_id) or None)
        elif result in _BUSY and self._holds(lane, outgoing):
            lane.queue.appendleft(waiting)
            self._pump(lane)  # not now, as a rule; but asking for room is what makes the link tell of it
            return
        elif result in _BUSY or result is SubmitResult.NOT_SENT:
            self._answer(outgoing, number, Fate.NOT_SENT)
        elif result is SubmitResult.UNKNOWN:
            self._answer(outgoing, number, Fate.UNKNOWN)
        else:
            self._refused(lane, outgoing, number, answer)
        if not lane.queue:
            self._claim(lane)

    def _refused(self, lane: Lane, outgoing: Outgoing, number: int, answer: Answer) -> None:
        """The SMSC has refused a segment: what becomes of its message, and of the link."""
        nacked = answer.result is not SubmitResult.REJECTED
        reason = "generic_nack" if nacked else status_name(answer.status)
        kind = Refusal.FINAL if nacked else refusal(answer.status)
        first = not outgoing.stays  # a message counts once, however many segments it has
        if kind is Refusal.FINAL or outgoing.failed is not None:
            self._answer(outgoing, number, Fate.FAILED, status=answer.status, reason=reason)
        else:
            if first:
                wait = self._refusals.refused(outgoing.id, lane.name, lane.accepted)
                outgoing.refused = None if wait is None else (self._clock.now() + wait, reason)
            if outgoing.refused is None:
                self._answer(outgoing, number, Fate.FAILED, status=answer.status, reason=reason)
            else:
                self._answer(outgoing, number, Fate.NOT_SENT, status=answer.status)
        full = first and kind is not Refusal.FOR_NOW and lane.running.refused(reason, self._rest_after)
        if full and lane.rests_until is None:
            self.rest(lane, self._blocked_pause, f"{self._rest_after} messages refused with {reason} in a row")

    def _holds(self, lane: Lane, outgoing: Outgoing) -> bool:
        """A segment the SMSC was too busy for stays with its link."""
        if self._stopping or outgoing.stays or self._reactor.seconds() - outgoing.since >= HOLD:
            return False
        return lane.link.state is LinkState.UP and not self._rests(lane)

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
        if outgoing.lane is not None:
            outgoing.lane.out -= 1
        if outgoing.failed is not None:
            self._outcome(outgoing, MessageState.FAILED, reason=outgoing.failed)
            self.statistics.failures[outgoing.failed] += 1
        elif outgoing.unknown:
            self._outcome(outgoing, MessageState.UNKNOWN, settle_at=self._clock.now() + self._unknown_after)
        elif outgoing.unsent:
            again, reason = outgoing.refused or (None, None)
            self._back.append(GivenBack(outgoing.id, again, reason))
            self.statistics.messages[outgoing.kind, "put_back"] += 1
        else:
            self._outcome(outgoing, MessageState.SENT)
        self._soon()

    def _outcome(
        self, outgoing: Outgoing, state: MessageState, *, reason: str | None = None, settle_at: datetime | None = None
    ) -> None:
        self._outcomes.append(
            Outcome(outgoing.id, state, reason, settle_at, outgoing.number_hash, several=outgoing.several)
        )
        self._refusals.over(outgoing.id)
        self.statistics.messages[outgoing.kind, state.value] += 1

    def _take_back(self, lane: Lane) -> None:
        """What was claimed for a link and not given to it: others may take it."""
        while lane.queue:
            outgoing, number, _ = lane.queue.popleft()
            self._answer(outgoing, number, Fate.NOT_SENT)

    # ── receipts ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def receipt(self, link: Link, delivery: Delivery, facts: ReceiptFacts) -> None:
        """A receipt came: stored in this turn, answered when it is. One that is not sure to be a receipt and finds no
        message is stored as a citizen's words, too."""
        self._receipts.append((link, delivery, facts))
        if len(self._receipts) >= CLAIM:
            self._store_receipts()
        else:
            self._soon()

    def _store_receipts(self) -> None:
        batch, self._receipts = self._receipts, []
        command = NoteReceipts(tuple(facts for _, _, facts in batch), self._clock.now(), self._rules)
        waiting = self._wakeups.deferred(self._door.submit(command))

        def stored(noted: Noted) -> None:
            self._fault("receipt-stored")
            for place, (link, delivery, _) in enumerate(batch):
                if place in noted.words:
                    self._words(link, delivery)
                else:
                    link.respond(delivery, _OK)
            self.learn(noted)

        def not_stored(_: Failure) -> None:
            log.error("receipts were not stored; the SMSC sends them again", receipts=len(batch))
            for link, delivery, _fact in batch:
                link.respond(delivery, _AGAIN)

        self._keep(waiting.addCallbacks(stored, not_stored))

    def learn(self, noted: Noted) -> None:
        """What receipts say about the links."""
        again = False
        for one in noted.matched:
            self.statistics.receipts[one.kind.value] += 1
            again = again or one.kind in (ReceiptClass.NO_ROUTE, ReceiptClass.LATER)
            lane = self.lanes.get(one.link)
            if lane is not None:
                lane.receipts += 1
            if lane is None or one.kind in _SAYS_NOTHING:
                continue
            if one.kind is not ReceiptClass.BLOCKED:
                lane.blocked.clear()
                continue
            lane.blocked.add(one.message_id)
            if len(lane.blocked) >= BLOCKED and lane.rests_until is None:
                self.rest(lane, self._blocked_pause, f"{BLOCKED} texts blocked for their content, one after the other")
        if again:
            self.wake()

    # ── storing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _soon(self) -> None:
        if self._turn is None:
            self._turn = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        self._turn = None
        if self._receipts:
            self._store_receipts()
        if not self._storing and (self._answers or self._outcomes or self._back):
            self._store_answers()

    def _store_answers(self) -> None:
        """Stores what happened, however often it takes: it has happened."""
        self._storing = True
        answers, self._answers = self._answers, []
        outcomes, self._outcomes = self._outcomes, []
        back, self._back = self._back, []
        command = StoreAnswers(
            tuple(answers), tuple(outcomes), tuple(back), self._terms.owner, self._clock.now(), self._rules
        )

        def stored(noted: Noted) -> None:
            self._storing = False
            self.learn(noted)
            if (back or outcomes) and not self._stopping:
                self.wake()  # what went back may go, and what was behind a message that has its answer
            self._flush()

        def not_stored(failure: Failure) -> None:
            if self._stopping:
                self._storing = False
                log.error("the end came before this was stored; it is settled at the next start", answers=len(answers))
                return
            self._answers[:0] = answers
            self._outcomes[:0] = outcomes
            self._back[:0] = back
            log.warning("answers were not stored; tried again", cause=failure.type.__name__ if failure.type else "")
            self._again = self._reactor.callLater(_AGAIN_SECONDS, self._store_again)

        waiting = self._wakeups.deferred(self._door.submit(command))
        self._keep(waiting.addCallbacks(stored, not_stored))

    def _store_again(self) -> None:
        self._again, self._storing = None, False
        self._flush()

    def _keep(self, waiting: Deferred[Any]) -> None:
        """Something of ours is with the database: the end waits for it."""
        self._under_way.add(waiting)

        def ended(result: Any) -> None:
            self._under_way.discard(waiting)
            if isinstance(result, Failure):
                log.error("what followed a write failed", cause=result.type.__name__ if result.type else "")
            if self._idle is not None and not self._under_way:
                idle, self._idle = self._idle, None
                idle.callback(None)

        waiting.addBoth(ended)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def stop_claiming(self) -> None:
        """Takes nothing more and gives back what no link has yet."""
        self._stopping = True
        for lane in self.lanes.values():
            self._take_back(lane)

    async def stored(self) -> None:
        """Returns when everything that happened is stored (or could not be)."""
        while True:
            if self._again is not None:
                self._again.cancel()
                self._store_again()
            if self._turn is not None:
                self._flush()
            if not self._under_way:
                return
            self._idle = Deferred()
            await self._idle
