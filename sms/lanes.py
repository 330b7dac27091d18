"""What the sender needs of one link: how its texts are made, its addresses, its queue in memory, its rest.

Everything here is made from the configuration and used by sms/sender.py; the only state is a lane's queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime

from config.keymap import KeyMap
from config.settings import Settings, SmsLink
from config.texts import Texts
from intake.claims import Claimed, HandedSegment, ToSend, Unsendable
from intake.outgoing import OUR_OWN_ACCORD
from models.errors import KeyUnreadable
from models.privacy import Keyring
from models.terms import MessageKind, Satisfaction
from sms.coding import Piece, TextTooLong
from sms.link import Link, LinkOptions, Submit
from sms.numbers import link_number, source_address, validity_period
from sms.refusals import Running
from sms.routing import SendingHours
from sms.texts import Signature, TextBook, TextKind

__all__ = ["Lane", "Outgoing", "Writer", "link_options", "text_book"]


def link_options(link: SmsLink, settings: Settings) -> LinkOptions:
    """The session's part of a link's configuration; paths relative to the file."""
    return LinkOptions(
        name=link.name,
        host=link.host,
        port=link.port,
        system_id=link.system_id,
        password=link.password.get_secret_value(),
        system_type=link.system_type,
        bind=link.bind.value,
        tls=link.tls,
        tls_ca=settings.directory / link.tls_ca if link.tls_ca is not None else None,
        tls_name=link.tls_name,
        window=link.window,
        segments_per_second=link.segments_per_second,
        enquire_link_seconds=link.enquire_link.total_seconds(),
        response_seconds=link.response_timeout.total_seconds(),
        bind_seconds=link.bind_timeout.total_seconds(),
        reconnect_first=link.reconnect_first.total_seconds(),
        reconnect_most=link.reconnect_most.total_seconds(),
        max_pdu=link.max_pdu,
    )


def text_book(link: SmsLink, settings: Settings, texts: Texts) -> TextBook:
    """The texts as this link signs and cuts them. The link is filled in (`SmsSection.of_link`)."""
    assert link.signature_by is not None
    assert link.signature_at is not None
    assert link.split is not None
    return TextBook(
        texts,
        hotline=settings.hotline.name,
        key_map=settings.rating.key_map,
        reasons=settings.rating.reason_codes if settings.rating.ask_reason else {},
        signature=Signature(link.signature or "", link.signature_by, link.signature_at),
        split=link.split,
    )


_REMEMBERED = 1024
_USER_MESSAGE_REFERENCE = 0x0204
_OF_SUBJECT = {
    "call": TextKind.INVITE_CALL,
    "case": TextKind.INVITE_CASE,
    "batch": TextKind.INVITE_BATCH,
}
_OF_KIND = {
    MessageKind.REMINDER: TextKind.REMINDER,
    MessageKind.CLARIFICATION: TextKind.CLARIFICATION,
    MessageKind.BY_HAND: TextKind.CLARIFICATION,
    MessageKind.REASON: TextKind.REASON,
    MessageKind.OPTED_OUT: TextKind.OPTED_OUT,
    MessageKind.OPTED_IN: TextKind.OPTED_IN,
}


class Writer:
    """Makes a queued message into the segments one link submits. Pure but for opening the sealed number.

    Calls of one day get one text, and one text one segment: both are made once and remembered.

    Args:
        approved: digests of the texts the carrier approved; None: any text may go.
    """

    def __init__(
        self,
        link: SmsLink,
        book: TextBook,
        keyring: Keyring,
        hours: SendingHours,
        approved: Collection[str] | None,
    ) -> None:
        self.link = link
        self._book = book
        self._keyring = keyring
        self._hours = hours
        self._approved = approved
        self._form = link.number_form
        self._validity = link.validity
        self._code_wanted = bool(link.extension_digits)
        assert link.service_number is not None
        self._service_number = link.service_number
        self._named = book.names("case_no")
        self._texts: dict[tuple[object, ...], str] = {}
        self._short: dict[str, tuple[Piece, ...]] = {}
        self._closing: tuple[datetime, datetime] | None = None
        self._periods: dict[tuple[datetime, datetime], str] = {}

    def write(self, message: ToSend, now: datetime) -> Claimed:
        """The message as this link sends it.

        Raises:
            Unsendable: not now and not later.
        """
        text = message.text if message.text is not None else self._text(message)
        reference = message.reference if message.reference is not None else int(message.id[-4:], 16)
        until = self._until(message, now)
        if until <= now:
            raise Unsendable("too_late")
        try:
            destination = link_number(self._keyring.open(message.number_sealed), self._form)
            source = source_address(self._service_number, message.code if self._code_wanted else "")
        except KeyUnreadable as error:
            raise Unsendable("number_unreadable") from error
        except ValueError as error:
            raise Unsendable("no_address") from error
        try:
            pieces = self._pieces(text, reference)
        except TextTooLong as error:
            raise Unsendable("text_too_long") from error
        link = self.link
        validity = self._period(now, until)
        receipt = 1 if link.receipts else 0
        mark = ((_USER_MESSAGE_REFERENCE, (reference & 0xFFFF).to_bytes(2, "big")),) if link.message_reference else ()
        return Claimed(
            text,
            source,
            reference,
            tuple(
                HandedSegment(
                    piece.number,
                    Submit(
                        source,
                        destination,
                        piece.short_message,
                        piece.data_coding,
                        piece.esm_class,
                        piece.tlvs + mark if mark else piece.tlvs,
                        receipt,
                        validity,
                        link.service_ton,
                        link.service_npi,
                        link.number_ton,
                        link.number_npi,
                    ),
                )
                for piece in pieces
            ),
        )

    def _pieces(self, text: str, reference: int) -> tuple[Piece, ...]:
        pieces = self._short.get(text)
        if pieces is None:
            pieces = self._book.pieces(text, reference)
            if len(pieces) == 1:  # nothing of the reference is in it
                if len(self._short) >= _REMEMBERED:
                    self._short.clear()
                self._short[text] = pieces
        return pieces

    def _until(self, message: ToSend, now: datetime) -> datetime:
        """The SMS is worth delivering until the sending hours end, or until its answer would be too late."""
        if message.kind not in OUR_OWN_ACCORD and message.not_after is not None:
            return message.not_after
        if self._closing is None or self._closing[0] != now:
            self._closing = (now, self._hours.closing(now))
        closing = self._closing[1]
        return closing if message.not_after is None else min(closing, message.not_after)

    def _period(self, now: datetime, until: datetime) -> str:
        period = self._periods.get((now, until))
        if period is None:
            if len(self._periods) >= _REMEMBERED:
                self._periods.clear()
            period = self._periods[now, until] = validity_period(self._validity, now, until)
        return period

    def _text(self, message: ToSend) -> str:
        # Where no text names its case, those of a thousand cases of one day are the same.
        key = (
            message.kind,
            message.lang,
            *(one for one in message.fields.items() if self._named or one[0] != "case_no"),
        )
        text = self._texts.get(key)
        if text is None:
            if len(self._texts) >= _REMEMBERED:
                self._texts.clear()
            text = self._texts[key] = self._render(message)
        return text

    def _render(self, message: ToSend) -> str:
        fields = message.fields
        try:
            level = Satisfaction(int(fields["level"])) if "level" in fields else None
            key_map = KeyMap.parse(fields["keys"]) if "keys" in fields else None
            kind = self._kind(message)
            if not self._is_approved(kind, message.lang, level, key_map):
                raise Unsendable("not_approved")
            text = self._book.render(
                kind,
                message.lang,
                day=date.fromisoformat(fields["day"]) if "day" in fields else None,
                count=int(fields.get("count", "0")),
                case_no=fields.get("case_no", ""),
                level=level,
                key_map=key_map,
            )
        except (ValueError, KeyError) as error:
            raise Unsendable("text_lacks_a_fact") from error
        if not text:
            raise Unsendable("no_text")
        return text

    def _is_approved(self, kind: TextKind, language: str, level: Satisfaction | None, key_map: KeyMap | None) -> bool:
        """An older invitation's key map makes another text than the one that was approved."""
        if self._approved is None:
            return True
        today = key_map is None or key_map == self._book.key_map
        return today and self._book.is_approved(kind, language, self._approved, level)

    @staticmethod
    def _kind(message: ToSend) -> TextKind:
        if message.kind is MessageKind.INVITATION:
            return _OF_SUBJECT[message.fields.get("subject", "call")]
        if message.kind is MessageKind.OPTED_IN and message.fields.get("carrier"):
            return TextKind.OPTED_IN_CARRIER
        return _OF_KIND[message.kind]


@dataclass(slots=True, eq=False)
class Outgoing:
    """A claimed message while its segments are with the link."""

    id: str
    open: int
    """Segments without a final answer."""
    since: float
    """When it was claimed, in the reactor's seconds."""
    number_hash: bytes = b""
    several: bool = False
    """It has several segments, whether or not all of them go now."""
    kind: str = ""
    """What it is for (MessageKind), for the counts."""
    lane: Lane | None = None
    failed: str | None = None
    unknown: bool = False
    unsent: bool = False
    begun: bool = False
    """A segment of it was handed to the link: the others follow, or a handset shows half a text."""
    refused: tuple[datetime, str] | None = None
    """The SMSC refused it for no reason of its own: when it may go again, by what status."""

    @property
    def stays(self) -> bool:
        """It has failed, or was refused: no other segment of it goes out, or not now."""
        return self.failed is not None or self.refused is not None


@dataclass(slots=True)
class Lane:
    """One link with what waits to be submitted over it."""

    link: Link
    settings: SmsLink
    writer: Writer
    claims: tuple[str, ...]
    partners: tuple[str, ...]
    queue: deque[tuple[Outgoing, int, Submit]] = field(default_factory=deque)
    claiming: bool = False
    claim_again: bool = False
    """Something became due while it was claiming."""
    dry: bool = False
    """Its last claim found less than it wanted: nothing is there until something happens (`Sender.wake`)."""
    blocked: set[str] = field(default_factory=set)
    """Messages blocked for their content, one after the other."""
    running: Running = field(default_factory=Running)
    """Its refusals with nothing accepted between."""
    accepted: int = 0
    """Segments, since the start."""
    out: int = 0
    """Messages that were claimed and have not all their answers."""
    rests_until: float | None = None
    rests_because: str = ""
    receipts: int = 0
    """That found their message, since the start."""

    @property
    def name(self) -> str:
        return self.settings.name
