"""The SMS channel of one process: its links, what it sends and what it reads, wired together.

Rules kept here:

1. A link's events go to whom they concern: submits to the sender, receipts to the sender, citizens' messages to the
   inbox. Nothing is answered before it is stored.
2. Sweeps only look for what is due; each takes small groups and begins again while there is more. None runs twice at
   once in a process, and several processes never do one thing twice (intake/).
3. On the way out nothing new is taken, what links have not got goes back to the queue, what is under way is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from twisted.internet.defer import Deferred, gatherResults

from config.carriers import load_carriers
from config.receipts import load_receipt_table
from config.settings import Settings, SmsLink
from config.texts import load_texts
from intake.answers import SettleMessages
from intake.claims import Terms
from intake.conversation import ReplyRules
from intake.decide import PushCalls
from intake.inbound import HandOnPartial
from intake.invitations import ExpireInvitations, InviteDue
from intake.manners import SendingRules
from intake.pauses import Time, Unwatched
from intake.receipts import ForgetReceipts, LookAgain, ReceiptFacts, ReceiptRules
from intake.replies import Taken, TakingRules
from models.clock import Clock
from models.door import Command, Door
from models.futures import Wakeups
from models.pace import Pace
from models.privacy import Keyring
from sms.inbox import Inbox, reply_lines
from sms.lanes import Lane, Writer, link_options, text_book
from sms.link import Delivery, Link
from sms.numbers import reply_code
from sms.receipts import IdForm, Receipt, ReceiptReader, id_forms
from sms.routing import Routes, SendingHours
from sms.sender import Sender

__all__ = ["SmsServer", "Swept", "sending_rules", "taking_rules"]

log = structlog.get_logger(__name__)

GROUP = 64
_MOBILE = re.compile(r"(?:\+?86|0086|0)?(1[3-9]\d{9})")
_LEASE_SECONDS = 120.0
"""Beside a link's response_timeout: what a message may be with a link before another process takes it for lost."""
_ROUND_SECONDS = 5.0
"""How long one round queues invitations of a backlog, before what else is due has its turn."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round of sweeps did."""

    invited: int = 0
    postponed: int = 0
    impossible: int = 0
    expired: int = 0
    settled: int = 0
    handed_on: int = 0

    @property
    def counts(self) -> Mapping[str, int]:
        return {name: value for name in self.__slots__ if (value := getattr(self, name))}


def sending_rules(settings: Settings, keyring: Keyring) -> SendingRules:
    """What the configuration says about asking by SMS: for whoever queues SMS, with links of its own or without."""
    sms, schedule = settings.sms, settings.schedule
    carriers = load_carriers(settings.directory / sms.carriers_file if sms.carriers_file else None)
    return SendingRules(
        opening=SendingHours(*schedule.sending_hours).opening,
        daily_cap=schedule.daily_cap,
        code_digits=sms.code_digits,
        carrier_of=carriers.of,
        extensions=Routes(tuple(sms.of_link(link) for link in sms.links)).extensions,
        open_number=keyring.open,
    )


def taking_rules(settings: Settings, push_calls: PushCalls) -> TakingRules:
    """What the configuration says about replies: for whoever takes them, and for a person who assigns one."""
    sms = settings.sms
    return TakingRules(
        replies=ReplyRules(
            reasons=settings.rating.reason_codes,
            ask_reason=settings.rating.ask_reason,
            late_window=settings.schedule.late_window,
            answer_within=sms.answer_within,
            conversation=sms.conversation,
        ),
        area_code=settings.hotline.area_code,
        service_name=settings.hotline.service,
        push_calls=push_calls,
        reason_hold=settings.centre.reason_hold,
        carriers={link.name: link.carriers[0] for link in map(sms.of_link, sms.links)},
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """A link with how its receipts are read."""

    link: Link
    settings: SmsLink
    receipts: ReceiptReader
    ids: IdForm
    partners: tuple[str, ...]


class SmsServer:
    """See the module. `start` once, `sweep` on every tick, `stop` once.

    Args:
        owner: who holds leases: this process of this node, `node/boot`.
        wake_push: told that something is due to go to the centre.
        speed: how many of the clock's seconds are one of the reactor's; a link takes the reactor's.
        time: by which sweeps go, while they may; without: any clock is right.
    """

    def __init__(
        self,
        settings: Settings,
        door: Door,
        keyring: Keyring,
        wakeups: Wakeups,
        reactor: Any,
        clock: Clock,
        *,
        owner: str,
        push_calls: PushCalls,
        wake_push: Callable[[], None],
        speed: float = 1.0,
        time: Time | None = None,
        fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        sms, schedule = settings.sms, settings.schedule
        self.settings = settings
        self._door = door
        self._keyring = keyring
        self._wakeups = wakeups
        self._reactor = reactor
        self._clock = clock
        self._time = time or Unwatched(clock)
        self._owner = owner
        self._fault = fault
        filled = tuple(sms.of_link(link) for link in sms.links)
        self.routes = Routes(filled)
        self.hours = SendingHours(*schedule.sending_hours)
        self._sending = sending_rules(settings, keyring)
        self._rules = ReceiptRules(self.hours.next_day, self.routes.other_carrier)
        longest = max((link.response_timeout for link in filled), default=timedelta())
        self.sender = Sender(
            door,
            wakeups,
            reactor,
            clock,
            terms=Terms(
                owner=owner,
                lease=(longest + timedelta(seconds=_LEASE_SECONDS)) * speed,
                life=sms.invitation_life,
                opening=self.hours.opening,
                area=settings.hotline.area_code,
            ),
            rules=self._rules,
            unknown_after=sms.unknown_after,
            blocked_pause=sms.blocked_pause.total_seconds(),
            rest_after=sms.rest_after,
            words=self._words,
            time=self._time,
            fault=fault,
        )
        texts = load_texts(settings.ivr.languages, settings.directory / sms.texts if sms.texts else None)
        table = load_receipt_table(settings.directory / sms.receipt_table if sms.receipt_table else None)
        self._lines: dict[str, _Line] = {}
        for link in filled:
            book = text_book(link, settings, texts)
            wire = Link(link_options(link, settings), reactor, self)
            partners = self.routes.partners(link.name)
            lane = Lane(
                wire,
                link,
                Writer(link, book, keyring, self.hours, link.approved if sms.require_approved else None),
                self.routes.claims(link.name),
                partners,
            )
            only = link.carriers[0] if len(link.carriers) == 1 else ""
            self._lines[link.name] = _Line(wire, link, ReceiptReader(table, carrier=only), link.receipt_ids, partners)
            self.sender.add(lane)
            missing = [text for text in book.approvals() if text.digest not in link.approved]
            if sms.require_approved and missing:
                kinds = ", ".join(sorted({text.kind.value for text in missing}))
                self.sender.rest(lane, None, f"texts not approved: {kinds}; see huiyin check")
        self._wake_push = wake_push
        self.inbox = Inbox(
            door,
            keyring,
            wakeups,
            clock,
            reply_lines(settings, self.routes),
            taking_rules(settings, push_calls),
            key_map=settings.rating.key_map,
            repeat_window=sms.repeat_window,
            taken=self._taken,
            fault=fault,
        )
        self._pace = Pace(reactor, schedule.rows_per_second)
        self._running: Deferred[Swept] | None = None
        self._again = False
        self._stopping = False

    # ── up ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        for line in self._lines.values():
            line.link.start()
        Deferred.fromCoroutine(self._take_up())

    def _taken(self, taken: Taken) -> None:
        """A reply was taken: its rating may be due at the centre, its answer at a link."""
        if taken.pushes:
            self._wake_push()
        if taken.answers:
            self.sender.wake()

    async def _take_up(self) -> None:
        """What the process before was about: on SQLite there was one alone, and it is gone; elsewhere leases tell."""
        node = self._owner.rpartition("/")[0]
        while self._door.database.is_sqlite:
            lost = await self._do(
                SettleMessages(
                    self._clock.now(), self.settings.sms.unknown_after, self._owner, node, self._rules, restarted=True
                )
            )
            if lost:
                log.warning("messages of an earlier process are unknown; receipts settle them", messages=lost)
            if lost is None or lost < GROUP:
                break
        self.inbox.wake()

    @property
    def links(self) -> tuple[Link, ...]:
        return tuple(line.link for line in self._lines.values())

    # ── what links tell ───────────────────────────────────────────────────────────────────────────────────────────────

    def up(self, link: Link) -> None:
        self.sender.up(link)

    def down(self, link: Link, reason: str) -> None:
        self.sender.down(link)

    def answered(self, link: Link, token: object, answer: Any) -> None:
        self.sender.answered(link, token, answer)

    def room(self, link: Link) -> None:
        self.sender.room(link)

    def delivered(self, link: Link, delivery: Delivery) -> None:
        line = self._lines[link.name]
        receipt = line.receipts.read(delivery.esm_class, delivery.body, delivery.tlvs)
        if receipt is None:
            self.inbox.take(link, delivery)
        else:
            self.sender.receipt(link, delivery, self._facts(line, delivery, receipt))

    def _words(self, link: Link, delivery: Delivery) -> None:
        """What only read like a receipt and names no message of ours: a citizen may have written it."""
        self.inbox.take(link, delivery)

    def _facts(self, line: _Line, delivery: Delivery, receipt: Receipt) -> ReceiptFacts:
        forms = dict.fromkeys(form for one in receipt.message_ids for form in id_forms(one, line.ids))
        text = receipt.state if not receipt.error else f"{receipt.state} {receipt.error}"
        theirs, ours = delivery.source, delivery.destination
        code = self._code(line, ours)
        if code is None and (swapped := self._code(line, theirs)) is not None:
            # Some SMSCs keep the order of the submit in its receipt.
            theirs, ours, code = ours, theirs, swapped
        mobile = _MOBILE.fullmatch(theirs)
        return ReceiptFacts(
            kind=receipt.class_,
            text=text.strip(),
            links=line.partners,
            forms=tuple(forms),
            number_hash=self._keyring.hash(f"+86{mobile[1]}") if mobile else None,
            our_number="" if code is None else (line.settings.service_number or "") + code,
            reference=receipt.user_message_reference,
            at=self._clock.now(),
            sure=receipt.sure,
        )

    def _code(self, line: _Line, address: str) -> str | None:
        """The code in an address of ours; None: it is not ours."""
        digits = self.settings.sms.code_digits if line.settings.extension_digits else 0
        return reply_code(address, line.settings.service_number or "", digits, line.settings.reply_destination)

    # ── sweeps ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """Something may be due: an invitation, an answer to a citizen."""
        if self._stopping:
            return
        if self._running is not None:
            self._again = True
            return
        Deferred.fromCoroutine(self.sweep())

    async def sweep(self) -> Mapping[str, int]:
        """One round of everything that is due; at most one at a time."""
        if self._running is not None or self._stopping:
            return {}
        running: Deferred[Swept] = Deferred()
        self._running = running
        swept = Swept()
        try:
            while True:
                self._again = False
                swept = await self._round(swept)
                if not self._again or self._stopping:
                    break
        finally:
            self._running = None
            running.callback(swept)
        return swept.counts

    async def _round(self, before: Swept) -> Swept:
        await self._time.look()
        now = self._time.now()
        return await self._swept(before, now, now or self._clock.now())

    async def _swept(self, before: Swept, trusted: datetime | None, now: datetime) -> Swept:
        """`trusted`: None: what is due waits with what the clock is to be confirmed for."""
        invited = postponed = impossible = expired = settled = 0
        if trusted is not None:
            unknown_after = self.settings.sms.unknown_after
            expired = await self._work_off(lambda: ExpireInvitations(now))
            settled = await self._work_off(lambda: SettleMessages(now, unknown_after, self._owner, "", self._rules))
        if not self._door.database.is_sqlite and (noted := await self._do(LookAgain(now, self._rules))) is not None:
            self.sender.learn(noted)
        handed_on = len(await self._do(HandOnPartial(now, self.settings.sms.assembly_wait)) or ())
        round_began = began = self._pace.seconds()
        if trusted is not None and self._lines and self.hours.opening(now) <= now:
            while (group := await self._do(InviteDue(now, self._sending))) is not None:
                invited += group.queued
                postponed += group.postponed
                impossible += group.impossible
                if group.queued:
                    self._fault("invited")
                    self.sender.wake()
                if group.total < GROUP or self._stopping:
                    break
                await self._pace.rest(group.total, began)
                began = self._pace.seconds()
                if began - round_began > _ROUND_SECONDS:
                    self._again = True  # what stands above waits no longer than this for a backlog
                    break
        self.sender.wake()
        self.inbox.wake()
        return Swept(
            before.invited + invited,
            before.postponed + postponed,
            before.impossible + impossible,
            before.expired + expired,
            before.settled + settled,
            before.handed_on + handed_on,
        )

    async def forget(self) -> Mapping[str, int]:
        """Once in a while: receipts that found nothing for days."""
        await self._time.look()
        gone = await self._work_off(
            lambda: ForgetReceipts(now) if (now := self._time.now()) is not None else None,
        )
        return {"receipts": gone} if gone else {}

    async def _work_off(self, make: Callable[[], Command[int] | None]) -> int:
        """How many rows: a command again and again while its groups are full, at the pace. None: no more of it now."""
        done = 0
        while (command := make()) is not None:
            began = self._pace.seconds()
            if (count := await self._do(command)) is None:
                break
            done += count
            if count < GROUP or self._stopping:
                break
            await self._pace.rest(count, began)
        return done

    async def _do(self, command: Command[Any]) -> Any:
        """The result of a sweep's command; None: it failed, and the next tick tries again."""
        try:
            return await self._wakeups.deferred(self._door.submit(command))
        except Exception as error:  # noqa: BLE001 (a sweep that fails is tried at the next tick)
            log.warning("sweep failed; tried again", sweep=type(command).__name__, cause=type(error).__name__)
            return None

    # ── down ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self) -> None:
        """Ends the channel; what is under way gets `sms.stop_grace`."""
        self._stopping = True
        self._pace.stop()
        self.sender.stop_claiming()
        grace = self.settings.sms.stop_grace.total_seconds()
        await gatherResults([Deferred.fromCoroutine(line.link.stop(grace)) for line in self._lines.values()])
        await self.inbox.stop()
        await self.sender.stored()
        if self._running is not None:
            await self._running
