"""Text and the bytes that carry it: an SMS cut into segments, a segment's header read, bytes read as text.

Rules kept here, all pure:

* Our texts go out as UCS2 (data_coding 8): up to 70 code units in one SMS; above that a segment holds 67 (6-byte user
  data header, or SAR, where the SMSC makes the same header) or 66 (7-byte header). Counted in UTF-16 code units, as
  carriers bill: an emoji is two.
* No cut goes through a surrogate pair, nor, where one can be found a little earlier, through what a reader sees as one
  character (a variation selector, a joiner, a skin tone, a flag, a keycap, an accent).
* Nothing that comes in raises. A header that cannot be right is named and its bytes stay with the text; bytes that
  cannot be decoded are None and stay bytes.
* A text is never guessed where its coding says what it is. Where the coding says nothing (8-bit, vendor values, bytes
  that the named alphabet does not have) UTF-8, then GBK, then UCS2 are tried, each strictly, and a result with control
  characters in it is none.

Sources: SMPP 3.4 5.2.12 (esm_class), 5.2.19 (data_coding), 5.3.2.22-24 (SAR); 3GPP TS 23.038 (alphabet, data coding
groups); 3GPP TS 23.040 9.2.3.24 (user data header).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from config.wire import Alphabet, Split

__all__ = [
    "ESM_UDHI",
    "LONGEST_SINGLE",
    "TLV_MESSAGE_PAYLOAD",
    "TLV_SAR_MSG_REF_NUM",
    "TLV_SAR_SEGMENT_SEQNUM",
    "TLV_SAR_TOTAL_SEGMENTS",
    "UCS2",
    "Alphabet",
    "Concatenation",
    "Piece",
    "ReferenceKind",
    "Split",
    "TextTooLong",
    "Udh",
    "UdhProblem",
    "code_units",
    "decode",
    "is_ucs2",
    "read_udh",
    "segment_count",
    "segments",
]

UCS2 = 0x08
ESM_UDHI = 0x40
TLV_SAR_MSG_REF_NUM = 0x020C
TLV_SAR_TOTAL_SEGMENTS = 0x020E
TLV_SAR_SEGMENT_SEQNUM = 0x020F
TLV_MESSAGE_PAYLOAD = 0x0424

LONGEST_SINGLE = 70
"""Code units of one SMS without a header: 140 octets."""
_MOST_SEGMENTS = 255
_LONGEST_PAYLOAD = 0xFFFF // 2
"""Code units; a TLV's length has two octets."""


class TextTooLong(ValueError):
    """The text does not fit 255 segments (or one message_payload); shorten it."""


_UNITS = {Split.UDH8: 67, Split.UDH16: 66, Split.SAR: 67}


@dataclass(frozen=True, slots=True)
class Piece:
    """One submit_sm's share of a text. `number` of `total`, from 1."""

    number: int
    total: int
    esm_class: int
    data_coding: int
    short_message: bytes
    tlvs: tuple[tuple[int, bytes], ...]


# ── text to segments ──────────────────────────────────────────────────────────────────────────────────────────────────


def code_units(text: str) -> int:
    """UTF-16 code units: what a text counts as with a carrier."""
    # "replace" makes a lone surrogate, which is no character, a question mark of the same length.
    return len(text.encode("utf-16-be", "replace")) // 2


def segment_count(text: str, split: Split = Split.UDH8, *, front: int = 0, back: int = 0) -> int:
    """SMS that the text is billed as; with `payload` the SMSC cuts, as a rule like `udh8`.

    Args:
        front, back: as in `segments`.

    Raises:
        TextTooLong: see `segments`.
    """
    body = text.encode("utf-16-be", "replace")
    if len(body) // 2 + front + back <= LONGEST_SINGLE:
        return 1
    return len(_cuts(body, _UNITS[Split.UDH8 if split is Split.PAYLOAD else split], front, back))


def segments(text: str, split: Split, reference: int, *, front: int = 0, back: int = 0) -> tuple[Piece, ...]:
    """Cuts a text into what is submitted, in order.

    Args:
        reference: tells the segments of one text from those of another to the same number. The caller counts up for
            each destination; its low 8 (`udh8`) or 16 bits go out.
        front, back: code units that the carrier will add to the first and the last segment (its signature); room is
            left for them, at most 60 together.

    Raises:
        TextTooLong: more than 255 segments, or more than a message_payload holds.
    """
    body = text.encode("utf-16-be", "replace")
    if len(body) <= 2 * (LONGEST_SINGLE - front - back):
        return (Piece(1, 1, 0, UCS2, body, ()),)
    if split is Split.PAYLOAD:
        if len(body) > 2 * _LONGEST_PAYLOAD:
            raise TextTooLong(f"{len(body) // 2} code units are more than the {_LONGEST_PAYLOAD} of a message_payload")
        return (Piece(1, 1, 0, UCS2, b"", ((TLV_MESSAGE_PAYLOAD, body),)),)
    shares = _cuts(body, _UNITS[split], front, back)
    total = len(shares)
    if split is Split.SAR:
        number = (reference & 0xFFFF).to_bytes(2, "big")
        return tuple(
            Piece(
                place,
                total,
                0,
                UCS2,
                share,
                (
                    (TLV_SAR_MSG_REF_NUM, number),
                    (TLV_SAR_TOTAL_SEGMENTS, bytes((total,))),
                    (TLV_SAR_SEGMENT_SEQNUM, bytes((place,))),
                ),
            )
            for place, share in enumerate(shares, 1)
        )
    if split is Split.UDH8:
        header = bytes((5, 0x00, 3, reference & 0xFF, total))
    else:
        header = bytes((6, 0x08, 4, reference >> 8 & 0xFF, reference & 0xFF, total))
    return tuple(
        Piece(place, total, ESM_UDHI, UCS2, header + bytes((place,)) + share, ())
        for place, share in enumerate(shares, 1)
    )


def _cuts(body: bytes, most: int, front: int, back: int) -> list[bytes]:
    """UTF-16BE cut into shares of at most `most` code units, the first and the last with room for an addition."""
    shares = []
    start, end, room = 0, len(body), most - front
    while end - start > 2 * (room - back):
        # The last share may hold less than the others: what fits one without the addition is cut once more.
        cut = _cut(body, start, min(start + 2 * room, end - 2))
        shares.append(body[start:cut])
        start, room = cut, most
    shares.append(body[start:])
    if len(shares) > _MOST_SEGMENTS:
        raise TextTooLong(f"{len(body) // 2} code units make {len(shares)} segments, 255 at most; shorten the text")
    return shares


_LOOK_BACK = 32
"""Code units. The longest emoji in use (a family, a kiss with skin tones) has 15."""


def _cut(body: bytes, start: int, cut: int) -> int:
    """The best place to cut at or before `cut`, in octets."""
    if 0xDC <= body[cut] <= 0xDF and 0xD8 <= body[cut - 2] <= 0xDB:
        cut -= 2
    place = cut
    while place > start and cut - place <= 2 * _LOOK_BACK:
        if not _one_character(body, start, place):
            return place
        place -= 4 if 0xDC <= body[place - 2] <= 0xDF else 2
    return cut  # no end in sight: it is no emoji but a long run of marks


def _one_character(body: bytes, start: int, cut: int) -> bool:
    """A reader sees what stands left and right of the cut as one character."""
    right = _code(body, cut)
    left = _code(body, cut - (4 if 0xDC <= body[cut - 2] <= 0xDF else 2))
    if left < 0x300 and right < 0x300:
        return left == 0x0D and right == 0x0A
    if 0x4E00 <= right <= 0x9FFF:
        return left == 0x200D
    if left == 0x200D or right == 0x200D or 0x1F3FB <= right <= 0x1F3FF or 0xE0020 <= right <= 0xE007F:
        return True
    if 0x1F1E6 <= left <= 0x1F1FF and 0x1F1E6 <= right <= 0x1F1FF:  # a flag is a pair of these
        before, count = cut, 0
        while before >= start + 4 and 0x1F1E6 <= _code(body, before - 4) <= 0x1F1FF:
            before -= 4
            count += 1
        return count % 2 == 1
    return unicodedata.category(chr(right)) in {"Mn", "Me", "Mc"}


def _code(body: bytes, place: int) -> int:
    """The code point that begins at an octet; a lone surrogate is itself."""
    unit = body[place] << 8 | body[place + 1]
    if 0xD800 <= unit <= 0xDBFF and place + 3 < len(body) and 0xDC <= body[place + 2] <= 0xDF:
        return 0x10000 + ((unit & 0x3FF) << 10) + ((body[place + 2] & 0x03) << 8 | body[place + 3])
    return unit


# ── the user data header ──────────────────────────────────────────────────────────────────────────────────────────────


class ReferenceKind(StrEnum):
    """Where a part's number comes from. References of two kinds are never of one message."""

    UDH8 = "udh8"
    UDH16 = "udh16"
    SAR = "sar"


@dataclass(frozen=True, slots=True)
class Concatenation:
    """Part `number` of `total` (from 1) of the message `reference`."""

    kind: ReferenceKind
    reference: int
    total: int
    number: int


class UdhProblem(StrEnum):
    """Why a header, or an element of it, was not used."""

    EMPTY = "empty"
    """UDHI is set and there is no header."""
    OVERRUN = "overrun"
    """The header's length is more than the message has: taken as text without a header."""
    ELEMENT_OVERRUN = "element_overrun"
    """An element is longer than the header."""
    ELEMENT_LENGTH = "element_length"
    """A concatenation element of a wrong length was passed over."""
    NUMBERS = "numbers"
    """Part 0, a part of 0, or one beyond the total: the element is passed over (3GPP TS 23.040 9.2.3.24.1)."""


@dataclass(frozen=True, slots=True)
class Udh:
    """A header that could be read. `others`: elements that mean nothing to us, as identifier and data."""

    concatenation: Concatenation | None
    others: tuple[tuple[int, bytes], ...] = ()


def read_udh(body: bytes, *, ucs2: bool = False) -> tuple[Udh | None, bytes, UdhProblem | None]:
    """Reads the header of a message whose esm_class has UDHI.

    Args:
        ucs2: the text behind it is UCS2. An SMSC that sets UDHI on a text without a header makes a text that begins
            with `00 35` look like an empty header; an empty header leaves UCS2 an odd length.

    Returns:
        the header, None where there is none; what follows it (the whole body without a valid header); what was wrong,
        if something was.
    """
    if not body:
        return None, body, UdhProblem.EMPTY
    length = body[0] + 1
    if length > len(body):
        return None, body, UdhProblem.OVERRUN
    if length == 1 and ucs2 and len(body) % 2 == 0:
        return None, body, UdhProblem.EMPTY
    found: Concatenation | None = None
    others: list[tuple[int, bytes]] = []
    problem: UdhProblem | None = None
    place = 1
    while place < length:
        end = place + 2 + (body[place + 1] if place + 1 < length else length)
        if end > length:
            if found is None:
                return None, body, UdhProblem.ELEMENT_OVERRUN
            problem = UdhProblem.ELEMENT_OVERRUN
            break
        identifier, data = body[place], body[place + 2 : end]
        if identifier not in (0x00, 0x08):
            others.append((identifier, data))
        elif len(data) != (3 if identifier == 0x00 else 4):
            problem = UdhProblem.ELEMENT_LENGTH
        elif not 1 <= data[-1] <= data[-2]:
            problem = UdhProblem.NUMBERS
        elif identifier == 0x00:
            found = Concatenation(ReferenceKind.UDH8, data[0], data[1], data[2])
        else:
            found = Concatenation(ReferenceKind.UDH16, data[0] << 8 | data[1], data[2], data[3])
        place = end
    return Udh(found, tuple(others)), body[length:], problem


# ── bytes to text ─────────────────────────────────────────────────────────────────────────────────────────────────────


_CODECS = {Alphabet.ASCII: "ascii", Alphabet.LATIN1: "latin-1", Alphabet.UTF8: "utf-8", Alphabet.GBK: "gb18030"}

# 3GPP TS 23.038 6.2.1. Unpacked, as SMPP carries it: one character an octet.
_GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_MAP = dict(enumerate(_GSM))
_GSM_EXTENSION = {
    "\x0a": "\f", "\x14": "^", "(": "{", ")": "}", "/": "\\", "<": "[", "=": "~", ">": "]", "@": "|", "e": "€",
}  # fmt: skip
_ESCAPED = re.compile("\x1b(.?)", re.DOTALL)

_NAMED = {0x06: "iso8859-5", 0x07: "iso8859-8", 0x0A: "iso2022_jp", 0x0E: "euc_kr"}
"""SMPP 3.4 5.2.19: Cyrillic, Hebrew, ISO-2022-JP, KS C 5601."""
_GBK_CODING = 0x0F
"""What CMPP, SGIP and SMGP call GB 18030, and gateways in front of them pass on."""


def is_ucs2(data_coding: int) -> bool:
    """The coding says UCS2: 8, the general groups' 10xx (3GPP TS 23.038 4), a waiting indication in UCS2."""
    if data_coding == UCS2:
        return True
    if data_coding < 0x80:
        return data_coding >= 0x10 and data_coding & 0x2C == 0x08
    return data_coding & 0xF0 == 0xE0


def decode(body: bytes, data_coding: int, *, default: Alphabet = Alphabet.GSM) -> str | None:
    """The text of a whole message, header taken off and parts joined.

    NULs at the end, which some SMSCs append, and byte order marks are no text. A half character at the end, or half a
    surrogate pair, becomes U+FFFD: it cannot be read, and the rest can. 4E 00 under another coding than UCS2 is 一, or
    an N (which opts out) with a NUL appended: nobody knows, so it is left undecoded.

    Returns:
        None: it cannot be decoded; keep the bytes.
    """
    if not body:
        return ""
    if is_ucs2(data_coding):
        return _ucs2(body)
    if _may_be_wide(body):
        return None
    if data_coding == 0:
        return _default(body, default)
    if data_coding == 1:
        return _strict(body, "ascii") or _guess(body)
    if data_coding == 3:
        return body.rstrip(b"\0").decode("latin-1")
    if data_coding == _GBK_CODING:
        return _strict(body, "gb18030") or _guess(body)
    if data_coding in _NAMED:
        return _strict(body, _NAMED[data_coding]) or _guess(body)
    if 0x10 <= data_coding < 0x80:  # general groups, with or without a class
        if data_coding & 0x20:
            return None  # compressed
        return _default(body, default) if data_coding & 0x0C == 0 else _guess(body)
    if 0xC0 <= data_coding < 0xE0:  # message waiting
        return _default(body, default)
    if data_coding >= 0xF0 and not data_coding & 0x04:  # a class, default alphabet
        return _default(body, default)
    return _guess(body)


def _default(body: bytes, alphabet: Alphabet) -> str | None:
    if alphabet is not Alphabet.GSM:
        return _strict(body, _CODECS[alphabet]) or _guess(body)
    # 0x00 is @ here; a NUL that an SMSC appends is commoner than a text that ends in @.
    text = body.rstrip(b"\0").decode("latin-1")
    if not body.isascii():
        return _guess(body)  # eight bits: the alphabet has seven
    if "\x1b" in text:
        pieces = _ESCAPED.split(text)
        for place in range(0, len(pieces), 2):
            pieces[place] = pieces[place].translate(_GSM_MAP)
        for place in range(1, len(pieces), 2):  # an unknown one is shown as the sign of the main table (TS 23.038)
            pieces[place] = _GSM_EXTENSION.get(pieces[place]) or pieces[place].translate(_GSM_MAP).replace("\x1b", " ")
        return "".join(pieces)
    return text.translate(_GSM_MAP)


def _ucs2(body: bytes) -> str:
    order = "utf-16-be"
    if body[:2] == b"\xfe\xff":
        body = body[2:]
    elif body[:2] == b"\xff\xfe":
        body, order = body[2:], "utf-16-le"
    elif len(body) % 2 and (text := _printable(body)) is not None:
        return text  # "5" as one octet: ASCII with a wrong coding
    if len(body) % 2 and body[-1] == 0:
        body = body[:-1]
    try:
        text = body.decode(order)
    except UnicodeDecodeError:
        text = body.decode(order, "replace")
    return text.rstrip("\0") if text.endswith("\0") else text


def _may_be_wide(body: bytes) -> bool:
    """Ends in one NUL and is, as UCS2, of characters in common use (those of GB 2312): 4E 00, but not 35 00."""
    if len(body) % 2 or body[-1] or not all(body[:-1]):
        return False
    try:
        body.decode("utf-16-be").encode("gb2312")
    except UnicodeError:
        return False
    return True


def _printable(body: bytes) -> str | None:
    """Plain ASCII that people write; None: something else."""
    body = body.rstrip(b"\0")
    if body.isascii() and all(octet >= 0x20 or octet in b"\t\r\n" for octet in body):
        return body.decode("ascii")
    return None


def _strict(body: bytes, codec: str) -> str | None:
    """None: the bytes are not of this codec, or hold control characters and so are no text."""
    try:
        text = body.rstrip(b"\0").decode(codec)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffe\uffff]")
_CHINESE = re.compile("[ -~\r\n\t·—‘’“”…、-〗㐀-䶿一-鿿！-～￥]+")
_ASIAN = re.compile("[⺀-鿿豈-﫿︰-﹏＀-￯\U0001f000-\U0003ffff☀-➿]")


def _guess(body: bytes) -> str | None:
    """A text whose coding says nothing. UTF-8 is strict enough to trust, but a few GBK words are UTF-8 too (一 is
    Cyrillic): where UTF-8 gives nothing Chinese and GBK gives nothing else, it is GBK."""
    utf8, gbk = _strict(body, "utf-8"), _strict(body, "gbk")
    if utf8 is not None:
        if utf8.isascii() or _ASIAN.search(utf8) or gbk is None or not _CHINESE.fullmatch(gbk):
            return utf8
        return gbk
    if gbk is not None and _CHINESE.fullmatch(gbk):
        return gbk
    if len(body) % 2 == 0:
        wide = _strict_wide(body)
        if wide is not None and _CHINESE.fullmatch(wide):
            return wide
    return gbk


def _strict_wide(body: bytes) -> str | None:
    try:
        return body.decode("utf-16") if body[:2] in (b"\xfe\xff", b"\xff\xfe") else body.decode("utf-16-be")
    except UnicodeDecodeError:
        return None
