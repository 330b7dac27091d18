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
from models.privacy import Keyring
from models.terms import MessageKind, Satisfaction
from sms.link import Link, LinkOptions, Submit
from sms.numbers import link_number, source_address, validity_period
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
        assert link.service_number is not None
        self._service_number = link.service_number

    def write(self, message: ToSend, now: datetime) -> Claimed:
        """The message as this link sends it.

        Raises:
            Unsendable: not now and not later.
        """
        text = message.text if message.text is not None else self._text(message)
        reference = message.reference if message.reference is not None else int(message.id[-4:], 16)
        pieces = self._book.pieces(text, reference)
        try:
            destination = link_number(self._keyring.open(message.number_sealed), self._form)
            source = source_address(self._service_number, message.code if self.link.extension_digits else "")
            validity = validity_period(self._validity, now, self._until(message, now))
        except ValueError as error:
            raise Unsendable("no_address") from error
        link = self.link
        mark = ((_USER_MESSAGE_REFERENCE, (reference & 0xFFFF).to_bytes(2, "big")),) if link.message_reference else ()
        return Claimed(
            text=text,
            our_number=source,
            reference=reference,
            segments=tuple(
                HandedSegment(
                    piece.number,
                    Submit(
                        source=source,
                        destination=destination,
                        short_message=piece.short_message,
                        data_coding=piece.data_coding,
                        esm_class=piece.esm_class,
                        tlvs=(*piece.tlvs, *mark),
                        registered_delivery=1 if link.receipts else 0,
                        validity=validity,
                        source_ton=link.service_ton,
                        source_npi=link.service_npi,
                        dest_ton=link.number_ton,
                        dest_npi=link.number_npi,
                    ),
                )
                for piece in pieces
            ),
        )

    def _until(self, message: ToSend, now: datetime) -> datetime:
        """The SMS is worth delivering until the sending hours end, or until its answer would be too late."""
        if message.kind in OUR_OWN_ACCORD or message.not_after is None:
            closing = self._hours.closing(now)
            return closing if message.not_after is None else min(closing, message.not_after)
        return message.not_after

    def _text(self, message: ToSend) -> str:
        fields = message.fields
        level = Satisfaction(int(fields["level"])) if "level" in fields else None
        kind = self._kind(message)
        keys = KeyMap.parse(fields["keys"]) if "keys" in fields else None
        if self._approved is not None and not self._book.is_approved(kind, message.lang, self._approved, level, keys):
            raise Unsendable("not_approved")
        try:
            text = self._book.render(
                kind,
                message.lang,
                day=date.fromisoformat(fields["day"]) if "day" in fields else None,
                count=int(fields.get("count", "0")),
                case_no=fields.get("case_no", ""),
                level=level,
                key_map=keys,
            )
        except ValueError as error:
            raise Unsendable("text_lacks_a_fact") from error
        if not text:
            raise Unsendable("no_text")
        return text

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
    failed: str | None = None
    unknown: bool = False
    unsent: bool = False
    refused: str | None = None
    """The SMSC refused it for now: by what status."""


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
    blocked: set[str] = field(default_factory=set)
    """Messages blocked for their content, one after the other."""
    rests_until: float | None = None
    rests_because: str = ""

    @property
    def name(self) -> str:
        return self.settings.name
