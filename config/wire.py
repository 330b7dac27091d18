"""How a link writes and reads what SMPP leaves open: the words of the configuration that sms/ works by.

They stand apart so that the settings and the pure codecs share one name for one thing.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "Alphabet",
    "Bind",
    "CitizenForm",
    "DestinationForm",
    "IdForm",
    "SignatureAt",
    "SignedBy",
    "Split",
    "ValidityForm",
]


class Bind(StrEnum):
    """How a link is bound: one session both ways, or a transmitter and a receiver."""

    TRANSCEIVER = "transceiver"
    PAIR = "pair"


class Split(StrEnum):
    """How a text longer than one SMS goes out; `sms.links.split`, agreed with the carrier."""

    UDH8 = "udh8"
    UDH16 = "udh16"
    SAR = "sar"
    PAYLOAD = "payload"


class Alphabet(StrEnum):
    """What a link's SMSC means by the default alphabet, data_coding 0: `sms.links.default_coding`."""

    GSM = "gsm"
    ASCII = "ascii"
    LATIN1 = "latin1"
    UTF8 = "utf8"
    GBK = "gbk"


class DestinationForm(StrEnum):
    """What a link's SMSC gives as the destination of a reply: `sms.links.reply_destination`."""

    AUTO = "auto"
    FULL = "full"
    WITHOUT_PREFIX = "without_prefix"
    CODE = "code"


class CitizenForm(StrEnum):
    """How a link writes a citizen's number: `sms.links.number_form`."""

    PLAIN = "plain"
    COUNTRY = "86"
    PLUS = "+86"
    TRUNK = "0"


class ValidityForm(StrEnum):
    """How a link is told until when an SMS is worth delivering: `sms.links.validity`."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    NONE = "none"


class IdForm(StrEnum):
    """How a receipt's id is the submit response's: `sms.links.receipt_ids`."""

    AUTO = "auto"
    SAME = "same"
    HEX_RESPONSE_DECIMAL_RECEIPT = "hex_response_decimal_receipt"
    DECIMAL_RESPONSE_HEX_RECEIPT = "decimal_response_hex_receipt"


class SignedBy(StrEnum):
    """Who puts the signature on: `sms.links.signature_by`."""

    US = "us"
    CARRIER = "carrier"


class SignatureAt(StrEnum):
    """Where it stands: `sms.links.signature_at`."""

    FRONT = "front"
    BACK = "back"
