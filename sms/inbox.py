"""What citizens write: stored before the SMSC hears that we have it, then read, in the order in which it came.

Rules kept here:

1. A deliver_sm is answered ESME_ROK only after the COMMIT that stored it. What could not be stored, or comes while too
   much waits to be, is answered ESME_RSYSERR: by SMPP 3.4 (5.1.3) an error of our system, not of the message, so the
   SMSC keeps it and sends it again. ESME_RX_P_APPN and ESME_RX_R_APPN would tell it to give up, and ESME_RX_T_APPN,
   which says just this, is unknown to older SMSCs. A repeat of a stored one is acknowledged and changes nothing.
2. Reading comes after storing and can be done again: what is `unread` is taken up by the process that stored it, and at
   start and on each tick by whichever process comes first. Reading twice has no second effect (intake/replies.py).
3. Work is bounded: one round of at most ROUND replies at a time, oldest first, one of a number; few while more is
   being stored, since an SMSC waits for that. What does not fit in memory stays in the database until a tick finds it.
4. A reply that our own code fails on is not tried for ever: it is shown to supervisors as unreadable, and logged.
5. No number and no text in a log.
"""

from __future__ import annotations

import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Protocol

import structlog
from sqlalchemy import Connection
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from config.keymap import KeyMap
from config.settings import Settings
from intake.conversation import Heard, Outcome, Said
from intake.inbound import Kept, NewPart, Received, StoreInbound
from intake.outgoing import StoredNumber
from intake.replies import Taken, TakeReply, TakingRules
from intake.unread import Unread, load_unread, unread_ids
from models.clock import Clock
from models.door import Door
from models.errors import StoreError
from models.futures import Wakeups
from models.ids import new_id
from models.privacy import Keyring
from sms import grammar
from sms.coding import (
    TLV_SAR_MSG_REF_NUM,
    TLV_SAR_SEGMENT_SEQNUM,
    TLV_SAR_TOTAL_SEGMENTS,
    Alphabet,
    Concatenation,
    ReferenceKind,
)
from sms.numbers import DestinationForm, citizen_number, reply_code
from sms.pdu import Status
from sms.reassembly import Part, assemble, message_key, unpack
from sms.routing import Routes
from sms.session import Delivery

__all__ = ["Answering", "Inbox", "InboxStatistics", "ReplyLine", "hear", "reply_lines", "text_of"]

log = structlog.get_logger(__name__)
_bugs = Logger()

ROUND = 32
BUSY_ROUND = 4
"""Where something was stored since the last round: reading goes on, but the SMSC does not wait for it."""
MOST_WAITING = 2_000
"""Deliveries that wait to be stored. An SMSC leaves a few hundred unanswered at most."""
MOST_KNOWN = 10_000
"""Unread replies whose ids are in memory; further ones are found in the database."""
MOST_REMEMBERED = 20_000
"""Stored parts by whose response a repeat is told from a second message of the same words."""
LONGEST_TEXT = 4_000
"""Characters of a reply that are kept as text; its bytes are kept whole."""
_LETTERS = "ABCDEFGH"
_MESSAGE_TYPE, _ACKNOWLEDGEMENTS = 0x3C, frozenset({0x08, 0x18})
"""esm_class (SMPP 3.4 5.2.12): acknowledged by the phone, end of a conversation. With 0x10 its user wrote something."""
_OK, _NOT_STORED = int(Status.ESME_ROK), int(Status.ESME_RSYSERR)
_NO_SAR = ("", "", "")
_SAR = (TLV_SAR_MSG_REF_NUM, TLV_SAR_TOTAL_SEGMENTS, TLV_SAR_SEGMENT_SEQNUM)


class Answering(Protocol):
    """What a link does for the inbox (sms/link.py)."""

    @property
    def name(self) -> str: ...
    def respond(self, delivery: Delivery, status: int) -> None: ...
    def is_confirmed(self, delivery: Delivery) -> bool: ...


@dataclass(frozen=True, slots=True)
class ReplyLine:
    """How replies over one link are read.

    `group`: one name for a link and its partners; `code_digits`: of the extension codes, 0 where the link has none.
    """

    name: str
    group: str
    service_number: str
    code_digits: int
    destination: DestinationForm
    alphabet: Alphabet


def reply_lines(settings: Settings, routes: Routes) -> dict[str, ReplyLine]:
    """The links of the configuration, by name."""
    digits = settings.sms.code_digits
    return {
        link.name: ReplyLine(
            link.name,
            routes.group(link.name),
            link.service_number or "",
            digits if link.extension_digits else 0,
            link.reply_destination,
            link.default_coding,
        )
        for link in routes.links
    }


@dataclass(slots=True)
class InboxStatistics:
    """Counts since the start."""

    kept: Counter[Kept] = field(default_factory=Counter)
    """Deliveries stored or known, by what they were."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """Replies read, by what became of them."""
    refused: int = 0
    """Deliveries answered ESME_RSYSERR."""
    broken: int = 0
    """Replies on which our own code failed."""


# ── pure: from parts to what was said ─────────────────────────────────────────────────────────────────────────────────


def text_of(reply: Unread, alphabet: Alphabet) -> str | None:
    """The text of a stored reply; None: it cannot be decoded."""
    pieces = []
    for one in reply.parts:
        # Which part it is was read when it came; SAR's TLVs are not kept, so the columns tell it.
        plain = unpack(one.esm_class, one.data_coding, one.body, {})
        place = Concatenation(ReferenceKind.UDH8, 0, one.total, one.number)
        pieces.append(Part(place, one.data_coding, plain.body, one.received_at))
    text = assemble(pieces, default=alphabet).text
    return None if text is None else _tidy(text)


def _tidy(text: str) -> str:
    """Without control characters (a line break is a blank: it separates), at most LONGEST_TEXT."""
    kept = "".join(sign if sign.isprintable() else " " if sign.isspace() else "" for sign in text[:LONGEST_TEXT])
    return kept.strip()


def hear(text: str | None, keys: KeyMap, *, incomplete: bool = False, acknowledgement: bool = False) -> Heard:
    """A reply as the grammar reads it: opt-out first, whatever else stands there.

    Args:
        incomplete: parts of it never came. Who knows what they said: no level is read from the rest.
        acknowledgement: the SMSC calls it a phone's own acknowledgement; some SMSCs mark citizens' words so.
    """
    version = keys.version
    if text is None:
        return Heard(Said.UNREADABLE, None, version)
    reading = grammar.read(text, keys)
    said = Said(reading.outcome.value)
    doubtful = False
    if said is not Said.OPT_OUT:
        machine = grammar.machine(text)
        if machine is grammar.Machine.YES or (acknowledgement and not text):
            return Heard(Said.AUTOMATIC, text, version, why=grammar.Rule.AUTOMATIC.value)
        doubtful = acknowledgement or machine is grammar.Machine.DOUBTFUL
    if incomplete and said is not Said.OPT_OUT:
        return Heard(Said.UNCLEAR, text, version, why="incomplete", pressure=reading.pressure, doubtful=doubtful)
    letters: tuple[str, ...] = ()
    mistaken = False
    if said is Said.UNCLEAR or said is Said.OPT_IN:
        later = grammar.read_follow_up(text, keys, _LETTERS)
        mistaken = later.kind is grammar.FollowUpKind.MISTAKEN
        if later.kind is grammar.FollowUpKind.LETTER and later.letter is not None:
            letters = (later.letter,)
    return Heard(
        said,
        text,
        version,
        satisfaction=None if incomplete else reading.satisfaction,
        comment=reading.comment,
        why=str(reading.why),
        pressure=reading.pressure,
        letters=letters,
        mistaken=mistaken,
        doubtful=doubtful,
    )


# ── the shell ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Inbox:
    """See the module. Lives on the reactor's thread.

    Args:
        lines: the links, by name.
        key_map: today's, for replies that mean no invitation.
        taken: told of each reply that was taken, on the reactor's thread: something may be due to be pushed or sent.
    """

    def __init__(
        self,
        door: Door,
        keyring: Keyring,
        wakeups: Wakeups,
        clock: Clock,
        lines: Mapping[str, ReplyLine],
        rules: TakingRules,
        *,
        key_map: KeyMap,
        repeat_window: timedelta,
        taken: Callable[[Taken], None],
        fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.statistics = InboxStatistics()
        self._door = door
        self._keyring = keyring
        self._wakeups = wakeups
        self._clock = clock
        self._lines = lines
        self._bare = frozenset(name for name, line in lines.items() if not line.code_digits)
        self._rules = rules
        self._key_map = key_map
        self._window = repeat_window
        self._taken = taken
        self._fault = fault
        self._waiting = 0
        self._remembered: OrderedDict[bytes, list[tuple[str, Answering, Delivery]]] = OrderedDict()
        self._unread: OrderedDict[str, None] = OrderedDict()
        self._stored_since = False
        self._look = False
        """The database may hold unread ones that are not in memory."""
        self._after = ""
        """Up to which id the current look has come."""
        self._reading: Deferred[None] | None = None
        self._quiet: Deferred[None] | None = None
        """Fires when nothing waits to be stored any more; there while stopping."""
        self._stopping = False

    # ── storing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, link: Answering, delivery: Delivery) -> None:
        """A deliver_sm or data_sm that is no receipt: stored, then answered."""
        if self._stopping or self._waiting >= MOST_WAITING:
            self._refuse(link, delivery, "stopping" if self._stopping else "too many wait to be stored")
            return
        part = self._part(link, delivery)
        command = StoreInbound(part, self._window, self._confirmed(part.fingerprint))
        self._waiting += 1
        future = self._door.submit(command)
        self._wakeups.deferred(future).addCallbacks(
            self._stored, self._not_stored, callbackArgs=(link, delivery, part), errbackArgs=(link, delivery)
        ).addErrback(_told, "answering a delivery")

    def _part(self, link: Answering, delivery: Delivery) -> NewPart:
        line = self._lines[link.name]
        number = citizen_number(delivery.source)
        sealed = self._keyring.seal(number.value) if number.value is not None else None
        code = reply_code(delivery.destination, line.service_number, line.code_digits, line.destination)
        split = unpack(delivery.esm_class, delivery.data_coding, delivery.body, delivery.tlvs).concatenation
        source = number.value if number.value is not None else delivery.source
        # What is no address of ours may be anybody's: a citizen's number stands nowhere in clear.
        ours = "" if code is None else line.service_number + code
        destination = ours or delivery.destination
        key = None
        if split is not None:
            key = self._keyring.digest(_joined(*map(str, message_key(line.group, source, destination, split))))
        print_ = self._keyring.digest(
            _joined(
                line.group,
                source,
                destination,
                f"{delivery.esm_class}/{delivery.data_coding}",
                *((delivery.tlvs.get(tag, b"").hex() for tag in _SAR) if delivery.tlvs else _NO_SAR),
            )
            + delivery.body
        )
        return NewPart(
            id=new_id(),
            message_id=new_id(),
            sender=StoredNumber(number.kind.value, sealed.sealed, sealed.hash, sealed.tail, sealed.key_id)
            if sealed is not None
            else StoredNumber(number.kind.value, None, None, None, None),
            link=link.name,
            our_number=ours[:32],
            code=code,
            fingerprint=print_,
            esm_class=delivery.esm_class,
            data_coding=delivery.data_coding,
            body=delivery.body,
            number=split.number if split is not None else 1,
            total=split.total if split is not None else 1,
            assembly_key=key,
            received_at=self._clock.now(),
        )

    def _confirmed(self, fingerprint: bytes) -> frozenset[str]:
        """Stored parts of the same bytes whose response has reached the SMSC, as far as this process knows."""
        known = self._remembered.get(fingerprint)
        if not known:
            return frozenset()
        return frozenset(part_id for part_id, link, delivery in known if link.is_confirmed(delivery))

    def _stored(self, received: Received, link: Answering, delivery: Delivery, part: NewPart) -> None:
        self.statistics.kept[received.kept] += 1
        if received.kept is not Kept.REPEAT:
            self._remember(part, link, delivery)
        if received.kept is Kept.WHOLE:
            self._add(received.message_id)
        self._fault("reply-stored")
        link.respond(delivery, _OK)
        self._settled()
        self._read()

    def _remember(self, part: NewPart, link: Answering, delivery: Delivery) -> None:
        known = self._remembered.setdefault(part.fingerprint, [])
        # The same words a dozen times within the window: who only wants to be heard needs no more.
        known[:] = [*known[-7:], (part.id, link, delivery)]
        self._remembered.move_to_end(part.fingerprint)
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)

    def _not_stored(self, failure: Failure, link: Answering, delivery: Delivery) -> None:
        self._settled()
        if not isinstance(failure.value, StoreError | CancelledError):
            _bugs.failure("storing a delivery broke", failure)
        self._refuse(link, delivery, type(failure.value).__name__)

    def _settled(self) -> None:
        self._waiting -= 1
        self._stored_since = True
        if not self._waiting and self._quiet is not None:
            quiet, self._quiet = self._quiet, None
            quiet.callback(None)

    def _refuse(self, link: Answering, delivery: Delivery, cause: str) -> None:
        self.statistics.refused += 1
        log.warning(
            "a citizen's message was not stored; the SMSC is told to send it again", link=link.name, cause=cause
        )
        link.respond(delivery, _NOT_STORED)

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """At start and on each tick: takes up what an earlier process, or another, left unread."""
        self._look = True
        self._read()

    def _add(self, message_id: str) -> None:
        if len(self._unread) < MOST_KNOWN:
            self._unread[message_id] = None
        else:
            self._look = True

    def _read(self) -> None:
        if self._reading is None and not self._stopping and (self._unread or self._look):
            self._reading = Deferred()
            Deferred.fromCoroutine(self._rounds()).addErrback(_told, "reading replies")

    async def _rounds(self) -> None:
        try:
            while not self._stopping:
                if not self._unread and self._look:
                    await self._find()
                if not self._unread:
                    if not self._look:
                        return
                    continue
                if not await self._round():
                    return
        finally:
            reading, self._reading = self._reading, None
            if reading is not None:
                reading.callback(None)

    async def _find(self) -> None:
        """The next unread ones of the database, oldest first; a look ends where there are no more."""
        after = self._after
        try:
            found = await self._wakeups.deferred(
                self._door.read(lambda connection: unread_ids(connection, after, 8 * ROUND))
            )
        except Exception as error:  # noqa: BLE001 (as for a round)
            found = []
            log.warning("unread replies could not be looked for; tried again", cause=_place(error))
        for identity in found:
            self._unread.setdefault(identity)
        self._after = found[-1] if len(found) == 8 * ROUND else ""
        self._look = bool(self._after)

    async def _round(self) -> bool:
        """Reads the oldest of what is unread. False: the database failed, and a tick tries again."""
        most = BUSY_ROUND if self._stored_since else ROUND
        self._stored_since = False
        ids = list(islice(self._unread, most))
        try:
            ready = await self._wakeups.deferred(self._door.read(lambda connection: self._prepare(connection, ids)))
        except Exception as error:  # noqa: BLE001 (whatever it was: they are stored, and stay unread)
            log.warning("replies could not be loaded; tried again", replies=len(ids), cause=_place(error))
            self._drop(ids)
            return False
        self._drop(ready.gone)
        self.statistics.broken += ready.broken
        if ready.commands:
            self._fault("reply-read")
        waiting = [self._submit(command) for command in ready.commands]
        for command, deferred in zip(ready.commands, waiting, strict=True):
            taken = await deferred
            if taken is None or taken.reread is None:  # what failed is found again by the next tick
                self._drop((command.message_id,))
            if taken is not None:
                self._tell(taken)
        return True

    def _drop(self, ids: Iterable[str]) -> None:
        for identity in ids:
            self._unread.pop(identity, None)

    def _prepare(self, connection: Connection, ids: Sequence[str]) -> _Ready:
        """Runs on the pool of readers: loads replies and reads their texts. One of a number at a time, the first."""
        replies = load_unread(connection, ids, self._rules.replies.late_window, self._bare)
        found = {reply.message_id for reply in replies}
        ready = _Ready(gone=tuple(identity for identity in ids if identity not in found))
        senders: set[bytes] = set()
        for reply in replies:
            if reply.sender is not None:
                if reply.sender in senders:
                    continue
                senders.add(reply.sender)
            ready.commands.append(
                TakeReply(
                    reply.message_id,
                    self._hear(reply, ready),
                    reply.link in self._bare,
                    self._clock.now(),
                    self._rules,
                )
            )
        return ready

    def _hear(self, reply: Unread, ready: _Ready) -> Heard:
        keys = self._key_map
        try:
            if reply.key_map is not None and reply.key_map != keys.version:
                keys = KeyMap.parse(reply.key_map)
            line = self._lines.get(reply.link)
            text = text_of(reply, line.alphabet if line is not None else Alphabet.GSM)
            acknowledgement = any(part.esm_class & _MESSAGE_TYPE in _ACKNOWLEDGEMENTS for part in reply.parts)
            return hear(text, keys, incomplete=reply.incomplete, acknowledgement=acknowledgement)
        except Exception as error:  # noqa: BLE001 (rule 4; its words could be the citizen's, so only its place is told)
            log.error("a bug: a reply could not be read; supervisors see it", reply=reply.message_id, at=_place(error))
            ready.broken += 1
            return Heard(Said.UNREADABLE, None, reply.key_map or keys.version, why="broken")

    def _submit(self, command: TakeReply) -> Deferred[Taken | None]:
        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, StoreError | CancelledError):
                _bugs.failure("taking a reply broke", failure)
            log.warning("a reply could not be taken now; tried again", cause=type(failure.value).__name__)

        return self._wakeups.deferred(self._door.submit(command)).addErrback(failed)

    def _tell(self, taken: Taken) -> None:
        if taken.outcome is not None:
            self.statistics.outcomes[taken.outcome] += 1
        try:
            self._taken(taken)
        except Exception:  # noqa: BLE001 (the reply is taken; who was to be woken looks for himself at the next tick)
            _bugs.failure("whoever hears of replies raised")

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self) -> None:
        """Takes nothing more; what is being stored and read is finished, the rest stays unread in the database."""
        self._stopping = True
        if self._waiting:
            self._quiet = Deferred()
            await self._quiet
        if self._reading is not None:
            await self._reading


@dataclass(slots=True)
class _Ready:
    """Replies that were read. `gone`: not unread any more; `broken`: on which our code failed."""

    gone: tuple[str, ...]
    commands: list[TakeReply] = field(default_factory=list)
    broken: int = 0


def _joined(*words: str) -> bytes:
    """Words as bytes from which they can be told apart again."""
    raw = [word.encode("utf-8", "replace") for word in words]
    return b"".join([len(one).to_bytes(4, "big") + one for one in raw])


def _place(error: BaseException) -> str:
    """Where a bug is, without what it was about."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, line {last.lineno}"


def _told(failure: Failure, what: str) -> None:
    _bugs.failure("{what} broke", failure, what=what)
