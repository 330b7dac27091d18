"""The codec of SMPP 3.4: a byte stream to PDUs, PDUs to fields, fields to bytes. Pure; both sides of a link use it.

Rules kept here:

1. What comes in is read as far as it can be read. Vendors send statuses, data codings, TLVs, types of number and ids
   that no table has: all of these are plain numbers and bytes here. A response without its last fields, a string
   without its NUL or longer than allowed, a TLV cut short: what is there is kept, and `flaws` names what was wrong.
2. What cannot be read is `Unreadable`, with the status that answers it (SMPP 3.4, 5.1.3). Nothing else is raised.
3. `Reader` never raises and keeps at most one PDU that is not whole yet, `most` bytes long. A length outside 16…`most`
   ends the stream, since nobody knows where the next PDU begins: `Reader.broken`.
4. What goes out has valid fields or is not written: `UnfitField`.

aiosmpplib gives the numbers (`Command`, `Status`, TLV tags) and writes the bind requests and responses. It does not
write the rest: its classes take text and encode it themselves, want statuses of their table, and cost more. Measured by
`python -m benchmarks.smpp_link` on CPython 3.11, 134 bytes of text: a submit_sm made and written 11.5 µs there and
1.8 µs here, deliver_sm_resp 2.1 µs and 0.2 µs, enquire_link 1.2 µs and 0.2 µs. It does not read either: there, one odd
byte is an exception. Its own PDUs are written and read beside ours in tests/sms/link/test_pdu.py.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from aiosmpplib import protocol as _classes  # type: ignore[import-untyped]
from aiosmpplib import state as _tags
from aiosmpplib.state import SmppCommand as Command  # type: ignore[import-untyped]
from aiosmpplib.state import SmppCommandStatus as Status

__all__ = [
    "HEADER_LENGTH",
    "MESSAGE_PAYLOAD",
    "MESSAGE_STATE",
    "MOST_SEQUENCE",
    "NETWORK_ERROR_CODE",
    "RECEIPTED_MESSAGE_ID",
    "RESPONSE",
    "SAR_MSG_REF_NUM",
    "SAR_SEGMENT_SEQNUM",
    "SAR_TOTAL_SEGMENTS",
    "SC_INTERFACE_VERSION",
    "SHORT_MESSAGE_MOST",
    "USER_MESSAGE_REFERENCE",
    "Alert",
    "Bind",
    "BindResponse",
    "Command",
    "Flaw",
    "Message",
    "Pdu",
    "Reader",
    "Status",
    "Submit",
    "UnfitField",
    "Unreadable",
    "bind",
    "bind_response",
    "command_name",
    "data_sm",
    "deliver_sm",
    "deliver_sm_resp",
    "enquire_link",
    "enquire_link_resp",
    "generic_nack",
    "pdu",
    "read_alert",
    "read_bind",
    "read_bind_response",
    "read_data",
    "read_message",
    "read_message_id",
    "status_name",
    "submit_sm",
    "submit_sm_resp",
    "tlv",
    "unbind",
    "unbind_resp",
]

HEADER_LENGTH = 16
RESPONSE = 0x8000_0000
"""The bit of a command id that makes it a response."""
MOST_SEQUENCE = 0x7FFF_FFFF
SHORT_MESSAGE_MOST = 254
"""Bytes of short_message (SMPP 3.4, 5.2.22); more goes into MESSAGE_PAYLOAD."""

MESSAGE_PAYLOAD: int = _tags.MESSAGE_PAYLOAD
MESSAGE_STATE: int = _tags.MESSAGE_STATE
NETWORK_ERROR_CODE: int = _tags.NETWORK_ERROR_CODE
RECEIPTED_MESSAGE_ID: int = _tags.RECEIPTED_MESSAGE_ID
SAR_MSG_REF_NUM: int = _tags.SAR_MSG_REF_NUM
SAR_SEGMENT_SEQNUM: int = _tags.SAR_SEGMENT_SEQNUM
SAR_TOTAL_SEGMENTS: int = _tags.SAR_TOTAL_SEGMENTS
SC_INTERFACE_VERSION: int = _tags.SC_INTERFACE_VERSION
USER_MESSAGE_REFERENCE: int = _tags.USER_MESSAGE_REFERENCE

_ADDRESS_MOST = 20
_DATA_ADDRESS_MOST = 64
_TEXT = "latin-1"
"""Strings of a PDU are ASCII by the book; this reads any byte and gives it back."""

_HEADER = struct.Struct(">IIII")
_header = _HEADER.pack
_unpack_header = _HEADER.unpack_from
_TLV = struct.Struct(">HH")
_unpack_tlv = _TLV.unpack_from

_COMMAND_NAMES: dict[int, str] = {int(command): command.name.lower() for command in Command}
_STATUS_NAMES: dict[int, str] = {int(status): status.name for status in Status}


def command_name(command: int) -> str:
    """`submit_sm`, or its number where SMPP 3.4 has none such."""
    return _COMMAND_NAMES.get(command) or f"0x{command:08x}"


def status_name(status: int) -> str:
    """`ESME_RTHROTTLED`, or its number where it is the vendor's."""
    return _STATUS_NAMES.get(status) or f"0x{status:08x}"


class Unreadable(Exception):
    """A body that cannot be read. `status` is what SMPP 3.4 has for an answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class UnfitField(ValueError):
    """A field that no PDU can hold; the sentence names it. Nothing was written."""


class Flaw(StrEnum):
    """What was wrong with a body that was read all the same."""

    TLV_TRUNCATED = "tlv_truncated"
    TLV_REPEATED = "tlv_repeated"
    JUNK_AT_END = "junk_at_end"
    FIELD_TOO_LONG = "field_too_long"
    NO_NUL = "no_nul"
    FIELDS_MISSING = "fields_missing"


# ── the stream ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Pdu(NamedTuple):
    """One PDU, its body unread. (A tuple: a frozen dataclass costs four times as much to make.)"""

    command: int
    status: int
    sequence: int
    body: bytes


class Reader:
    """Cuts a stream into PDUs, however it arrives.

    Args:
        most: bytes of the longest PDU taken, header included.
    """

    __slots__ = ("_most", "_need", "_rest", "broken")

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()
        self._need = HEADER_LENGTH
        self.broken: Pdu | None = None
        """Set once a header names a length that cannot be: that header. Whatever comes after it is dropped."""

    @property
    def kept(self) -> int:
        """Bytes of a PDU that is not whole yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[Pdu]:
        """The PDUs that are whole by now."""
        rest = self._rest
        if rest:
            if self.broken is not None:
                return []
            rest += data
            if len(rest) < self._need:
                return []
            data = bytes(rest)
            rest.clear()
        elif self.broken is not None:
            return []
        found: list[Pdu] = []
        at = 0
        end = len(data)
        most = self._most
        self._need = HEADER_LENGTH
        while end - at >= HEADER_LENGTH:
            length, command, status, sequence = _unpack_header(data, at)
            if not HEADER_LENGTH <= length <= most:
                self.broken = Pdu(command, status, sequence, b"")
                return found
            if end - at < length:
                self._need = length
                break
            found.append(Pdu(command, status, sequence, data[at + HEADER_LENGTH : at + length]))
            at += length
        if at < end:
            rest += data[at:] if at else data
        return found


# ── reading bodies ────────────────────────────────────────────────────────────────────────────────────────────────────


class Message(NamedTuple):
    """The fields of a submit_sm, deliver_sm or data_sm as they came (SMPP 3.4, 4.4, 4.6, 4.7).

    A data_sm has neither protocol id, priority, times, nor a short_message. Shown without numbers and text.
    """

    service_type: str
    source_ton: int
    source_npi: int
    source: str
    dest_ton: int
    dest_npi: int
    destination: str
    esm_class: int
    protocol_id: int
    priority: int
    schedule: str
    validity: str
    registered_delivery: int
    replace_if_present: int
    data_coding: int
    default_message_id: int
    short_message: bytes
    tlvs: Mapping[int, bytes]
    flaws: tuple[Flaw, ...]

    def __repr__(self) -> str:
        return f"Message(esm_class={self.esm_class}, data_coding={self.data_coding}, {len(self.body)} bytes)"

    @property
    def body(self) -> bytes:
        """The text: short_message, or MESSAGE_PAYLOAD where that is empty."""
        return self.short_message or self.tlvs.get(MESSAGE_PAYLOAD, b"")


_NO_TLVS: Mapping[int, bytes] = {}
_UNREADABLE = int(Status.ESME_RINVCMDLEN)
_TOO_SHORT = int(Status.ESME_RINVMSGLEN)


def read_message(body: bytes) -> Message:
    """The fields of a submit_sm or deliver_sm.

    Raises:
        Unreadable: ESME_RINVCMDLEN where the body ends before its fields do, ESME_RINVMSGLEN where it ends before
            sm_length bytes of text.
    """
    try:
        index = body.index
        service = index(0)
        source = index(0, service + 3)
        dest = index(0, source + 3)
        schedule = index(0, dest + 4)
        validity = index(0, schedule + 1)
        text = validity + 6
        length = body[validity + 5]
    except (ValueError, IndexError):
        raise Unreadable(_UNREADABLE, "the body ends before its fields do") from None
    end = text + length
    if end > len(body):
        raise Unreadable(_TOO_SHORT, "the body ends before its text does")
    tlvs, flaws = (_NO_TLVS, ()) if end == len(body) else _read_tlvs(body, end)
    if source - service > _ADDRESS_MOST + 3 or dest - source > _ADDRESS_MOST + 3:
        flaws = (*flaws, Flaw.FIELD_TOO_LONG)
    return Message(
        body[:service].decode(_TEXT) if service else "",
        body[service + 1],
        body[service + 2],
        body[service + 3 : source].decode(_TEXT),
        body[source + 1],
        body[source + 2],
        body[source + 3 : dest].decode(_TEXT),
        body[dest + 1],
        body[dest + 2],
        body[dest + 3],
        body[dest + 4 : schedule].decode(_TEXT) if schedule > dest + 4 else "",
        body[schedule + 1 : validity].decode(_TEXT) if validity > schedule + 1 else "",
        body[validity + 1],
        body[validity + 2],
        body[validity + 3],
        body[validity + 4],
        body[text:end],
        tlvs,
        flaws,
    )


def read_data(body: bytes) -> Message:
    """The fields of a data_sm.

    Raises:
        Unreadable: ESME_RINVCMDLEN, the body ends before its fields do.
    """
    try:
        service = body.index(0)
        source = body.index(0, service + 3)
        dest = body.index(0, source + 3)
        esm_class, registered_delivery, data_coding = body[dest + 1], body[dest + 2], body[dest + 3]
    except (ValueError, IndexError):
        raise Unreadable(_UNREADABLE, "the body ends before its fields do") from None
    tlvs, flaws = _read_tlvs(body, dest + 4)
    if source - service > _DATA_ADDRESS_MOST + 3 or dest - source > _DATA_ADDRESS_MOST + 3:
        flaws = (*flaws, Flaw.FIELD_TOO_LONG)
    return Message(
        body[:service].decode(_TEXT),
        body[service + 1],
        body[service + 2],
        body[service + 3 : source].decode(_TEXT),
        body[source + 1],
        body[source + 2],
        body[source + 3 : dest].decode(_TEXT),
        esm_class,
        0,
        0,
        "",
        "",
        registered_delivery,
        0,
        data_coding,
        0,
        b"",
        tlvs,
        flaws,
    )


def _read_tlvs(body: bytes, at: int) -> tuple[dict[int, bytes], tuple[Flaw, ...]]:
    """The TLVs from `at` on. Of a repeated tag the first counts; of a truncated one, what is there."""
    found: dict[int, bytes] = {}
    flaws: tuple[Flaw, ...] = ()
    end = len(body)
    while at < end:
        if end - at < 4:
            return found, (*flaws, Flaw.JUNK_AT_END)
        tag, length = _unpack_tlv(body, at)
        at += 4
        if at + length > end:
            flaws = (*flaws, Flaw.TLV_TRUNCATED)
        if tag not in found:
            found[tag] = body[at : at + length]
        elif Flaw.TLV_REPEATED not in flaws:
            flaws = (*flaws, Flaw.TLV_REPEATED)
        at += length
    return found, flaws


def read_message_id(body: bytes) -> str:
    """The message_id of a submit_sm_resp or data_sm_resp: up to its NUL, or all there is. "" where there is none.

    TLVs after it are passed over.
    """
    end = body.find(0)
    return (body if end < 0 else body[:end]).decode(_TEXT)


class Bind(NamedTuple):
    """The fields of a bind_transmitter, bind_receiver or bind_transceiver (4.1)."""

    system_id: str
    password: str
    system_type: str
    interface_version: int
    addr_ton: int
    addr_npi: int
    address_range: str

    def __repr__(self) -> str:
        return f"Bind(system_id={self.system_id!r}, interface_version=0x{self.interface_version:02x})"


def read_bind(body: bytes) -> Bind:
    """The fields of a bind request.

    Raises:
        Unreadable: ESME_RINVCMDLEN, the body ends before its fields do.
    """
    try:
        system = body.index(0)
        password = body.index(0, system + 1)
        kind = body.index(0, password + 1)
        address = body.index(0, kind + 4)
    except ValueError:
        raise Unreadable(_UNREADABLE, "the body ends before its fields do") from None
    return Bind(
        body[:system].decode(_TEXT),
        body[system + 1 : password].decode(_TEXT),
        body[password + 1 : kind].decode(_TEXT),
        body[kind + 1],
        body[kind + 2],
        body[kind + 3],
        body[kind + 4 : address].decode(_TEXT),
    )


class BindResponse(NamedTuple):
    """What the SMSC says of itself: its name, "" where it gives none, and TLVs such as SC_INTERFACE_VERSION."""

    system_id: str
    tlvs: Mapping[int, bytes]
    flaws: tuple[Flaw, ...]


def read_bind_response(body: bytes) -> BindResponse:
    """The body of a bind response; an empty one is none of a refusal, and common."""
    end = body.find(0)
    if end < 0:
        return BindResponse(body.decode(_TEXT), _NO_TLVS, (Flaw.NO_NUL,) if body else ())
    tlvs, flaws = _read_tlvs(body, end + 1)
    return BindResponse(body[:end].decode(_TEXT), tlvs, flaws)


class Alert(NamedTuple):
    """An alert_notification (4.12): a handset can be reached again."""

    source: str
    destination: str


def read_alert(body: bytes) -> Alert:
    """The numbers of an alert_notification.

    Raises:
        Unreadable: ESME_RINVCMDLEN, the body ends before its fields do.
    """
    try:
        source = body.index(0, 2)
        dest = body.index(0, source + 3)
    except ValueError:
        raise Unreadable(_UNREADABLE, "the body ends before its fields do") from None
    return Alert(body[2:source].decode(_TEXT), body[source + 3 : dest].decode(_TEXT))


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Submit:
    """The fields of a submit_sm to write; deliver_sm and data_sm are written from the same. Not changed afterwards.

    Args:
        tlvs: tag and value. More than SHORT_MESSAGE_MOST bytes of text go here, as MESSAGE_PAYLOAD.
        registered_delivery: 1 asks for a receipt.
        validity: SMPP time (7.1.1), "" for none; `schedule` alike.
    """

    source: str = field(repr=False)
    destination: str = field(repr=False)
    short_message: bytes = field(repr=False)
    data_coding: int = 0
    esm_class: int = 0
    tlvs: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)
    registered_delivery: int = 0
    validity: str = ""
    source_ton: int = 0
    source_npi: int = 0
    dest_ton: int = 0
    dest_npi: int = 0
    service_type: str = ""
    protocol_id: int = 0
    priority: int = 0
    schedule: str = ""


_SUBMIT_SM = int(Command.SUBMIT_SM)
_DELIVER_SM = int(Command.DELIVER_SM)
_DATA_SM = int(Command.DATA_SM)
_SUBMIT_SM_RESP = int(Command.SUBMIT_SM_RESP)
_DELIVER_SM_RESP = int(Command.DELIVER_SM_RESP)
_ENQUIRE_LINK = int(Command.ENQUIRE_LINK)
_ENQUIRE_LINK_RESP = int(Command.ENQUIRE_LINK_RESP)
_UNBIND = int(Command.UNBIND)
_UNBIND_RESP = int(Command.UNBIND_RESP)
_GENERIC_NACK = int(Command.GENERIC_NACK)
_MESSAGE = b"%b\0%c%c%b\0%c%c%b\0%c%c%c%b\0%b\0%c\0%c\0%c%b"
_DATA = b"%b\0%c%c%b\0%c%c%b\0%c%c%c"


def pdu(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    """Any PDU, its body as given."""
    return _header(HEADER_LENGTH + len(body), command, status, sequence) + body


def submit_sm(sequence: int, message: Submit) -> bytes:
    """Raises UnfitField: a field that no PDU can hold."""
    return _message(_SUBMIT_SM, sequence, message)


def deliver_sm(sequence: int, message: Submit) -> bytes:
    """Raises UnfitField: a field that no PDU can hold."""
    return _message(_DELIVER_SM, sequence, message)


def _message(command: int, sequence: int, message: Submit) -> bytes:
    text = message.short_message
    if len(text) > SHORT_MESSAGE_MOST:
        raise UnfitField(f"short_message has {len(text)} bytes; more than {SHORT_MESSAGE_MOST} go into MESSAGE_PAYLOAD")
    try:
        body = _MESSAGE % (
            message.service_type.encode("ascii"),
            message.source_ton,
            message.source_npi,
            message.source.encode("ascii"),
            message.dest_ton,
            message.dest_npi,
            message.destination.encode("ascii"),
            message.esm_class,
            message.protocol_id,
            message.priority,
            message.schedule.encode("ascii"),
            message.validity.encode("ascii"),
            message.registered_delivery,
            message.data_coding,
            len(text),
            text,
        )
        if message.tlvs:
            body += _written_tlvs(message.tlvs)
    except (UnicodeEncodeError, OverflowError, struct.error):
        raise _unfit(message) from None
    if "\0" in message.source or "\0" in message.destination or "\0" in message.validity:
        raise _unfit(message)
    if "\0" in message.schedule or "\0" in message.service_type:
        raise _unfit(message)
    return _header(HEADER_LENGTH + len(body), command, 0, sequence) + body


def data_sm(sequence: int, message: Submit) -> bytes:
    """A data_sm; a `short_message` goes as MESSAGE_PAYLOAD.

    Raises:
        UnfitField: a field that no PDU can hold.
    """
    tlvs = message.tlvs
    if message.short_message:
        tlvs = ((MESSAGE_PAYLOAD, message.short_message), *tlvs)
    try:
        body = _DATA % (
            message.service_type.encode("ascii"),
            message.source_ton,
            message.source_npi,
            message.source.encode("ascii"),
            message.dest_ton,
            message.dest_npi,
            message.destination.encode("ascii"),
            message.esm_class,
            message.registered_delivery,
            message.data_coding,
        )
        body += _written_tlvs(tlvs)
    except (UnicodeEncodeError, OverflowError, struct.error):
        raise _unfit(message) from None
    return pdu(_DATA_SM, 0, sequence, body)


def _written_tlvs(tlvs: tuple[tuple[int, bytes], ...]) -> bytes:
    return b"".join([_TLV.pack(tag, len(value)) + value for tag, value in tlvs])


def tlv(tag: int, value: bytes) -> bytes:
    """One TLV as it stands in a PDU.

    Raises:
        UnfitField: a tag or a value that does not fit.
    """
    try:
        return _TLV.pack(tag, len(value)) + value
    except struct.error:
        raise UnfitField(f"TLV 0x{tag:04x} with {len(value)} bytes does not fit; both take two bytes") from None


def _unfit(message: Submit) -> UnfitField:
    """Which field it was. Names the field and never shows it: it may be a citizen's number."""
    for name in ("service_type", "source", "destination", "validity", "schedule"):
        value: str = getattr(message, name)
        if not value.isascii() or "\0" in value:
            return UnfitField(f"{name} has a sign that is not ASCII, or NUL")
    numbers = ("source_ton", "source_npi", "dest_ton", "dest_npi", "esm_class", "protocol_id", "priority")
    for name in (*numbers, "registered_delivery", "data_coding"):
        if not 0 <= getattr(message, name) <= 255:
            return UnfitField(f"{name} is outside 0…255")
    return UnfitField("a TLV has a tag or a length above 65535")


def submit_sm_resp(sequence: int, status: int = 0, message_id: str = "") -> bytes:
    """The answer to a submit_sm; a refusal has no body (4.4.2)."""
    body = b"" if status and not message_id else message_id.encode(_TEXT) + b"\0"
    return _header(HEADER_LENGTH + len(body), _SUBMIT_SM_RESP, status, sequence) + body


_DELIVERED_LENGTH = HEADER_LENGTH + 1


def deliver_sm_resp(sequence: int, status: int = 0) -> bytes:
    """The answer to a deliver_sm; its message_id is unused and NUL (4.6.2)."""
    return _header(_DELIVERED_LENGTH, _DELIVER_SM_RESP, status, sequence) + b"\0"


def enquire_link(sequence: int) -> bytes:
    return _header(HEADER_LENGTH, _ENQUIRE_LINK, 0, sequence)


def enquire_link_resp(sequence: int) -> bytes:
    return _header(HEADER_LENGTH, _ENQUIRE_LINK_RESP, 0, sequence)


def unbind(sequence: int) -> bytes:
    return _header(HEADER_LENGTH, _UNBIND, 0, sequence)


def unbind_resp(sequence: int, status: int = 0) -> bytes:
    return _header(HEADER_LENGTH, _UNBIND_RESP, status, sequence)


def generic_nack(sequence: int, status: int) -> bytes:
    return _header(HEADER_LENGTH, _GENERIC_NACK, status, sequence)


_BINDS: dict[int, Any] = {
    int(Command.BIND_TRANSMITTER): _classes.BindTransmitter,
    int(Command.BIND_RECEIVER): _classes.BindReceiver,
    int(Command.BIND_TRANSCEIVER): _classes.BindTransceiver,
}
_BIND_RESPONSES: dict[int, Any] = {
    int(Command.BIND_TRANSMITTER_RESP): _classes.BindTransmitterResp,
    int(Command.BIND_RECEIVER_RESP): _classes.BindReceiverResp,
    int(Command.BIND_TRANSCEIVER_RESP): _classes.BindTransceiverResp,
}


def bind(command: int, sequence: int, *, system_id: str, password: str, system_type: str = "") -> bytes:
    """A bind request for version 3.4, `command` one of the three.

    A password is written as long as it is: carriers give longer ones than the eight signs of the book.

    Raises:
        UnfitField: a sign that is not ASCII, or NUL.
    """
    message = _BINDS[command](sequence_num=sequence)
    for name, value in (("system_id", system_id), ("password", password), ("system_type", system_type)):
        if not value.isascii() or "\0" in value:
            raise UnfitField(f"{name} has a sign that is not ASCII, or NUL")
        setattr(message, name, value)  # past the length check of the class
    written: bytes = message.pdu()
    return written


def bind_response(
    command: int, sequence: int, status: int = 0, system_id: str = "", version: int | None = 0x34
) -> bytes:
    """The answer to a bind request, `command` the request's or the response's; a refusal has no body (4.1.2).

    Args:
        version: for SC_INTERFACE_VERSION; None leaves it out.
    """
    command |= RESPONSE
    if status:
        return pdu(command, status, sequence)
    written: bytes = _BIND_RESPONSES[command](
        sequence_num=sequence, system_id=system_id, sc_interface_version=version
    ).pdu()
    return written
