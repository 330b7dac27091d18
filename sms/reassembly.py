"""Long messages put together again: which message a part belongs to, and what its parts say.

Rules kept here, all pure (parts are stored and timed by the inbox):

* A message is known by link group, source, destination, kind of reference, reference and total. A part with another
  total is of another message: an 8-bit reference comes round soon, and two citizens use the same ones.
* Parts count once, in any order. Of two different parts with one number the earlier counts, and the number is named
  (intake/inbound.py stores the second of them with another message, so that none is lost).
* A part that says 0, or more than its total, or contradicts itself is a message of its own.
* Text is decoded over the joined bytes: phones cut a surrogate pair or a GBK pair in two.
* After a time limit what is there is handed on: the gaps are marked in the text, `complete` is false.

Sources: 3GPP TS 23.040 9.2.3.24.1 and 9.2.3.24.8; SMPP 3.4 5.3.2.22-24.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sms.coding import (
    ESM_UDHI,
    TLV_SAR_MSG_REF_NUM,
    TLV_SAR_SEGMENT_SEQNUM,
    TLV_SAR_TOTAL_SEGMENTS,
    Alphabet,
    Concatenation,
    ReferenceKind,
    UdhProblem,
    decode,
    is_ucs2,
    read_udh,
)

__all__ = ["Assembled", "MessageKey", "Part", "Unpacked", "assemble", "gap", "message_key", "unpack"]

MessageKey = tuple[str, str, str, ReferenceKind, int, int]
"""Link group, source, destination, kind, reference, total."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A deliver_sm's body without its header. `concatenation` None: a message of its own."""

    concatenation: Concatenation | None
    body: bytes
    problem: UdhProblem | None


@dataclass(frozen=True, slots=True)
class Part:
    """A stored part. `received_at`: aware."""

    concatenation: Concatenation
    data_coding: int
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Assembled:
    """What the parts say.

    `text` is None where nothing can be decoded; `body` holds the bytes there are, in order. `missing` and `doubtful`
    are part numbers: not there; there twice with different contents.
    """

    text: str | None
    body: bytes
    data_coding: int
    complete: bool
    missing: tuple[int, ...]
    doubtful: tuple[int, ...]


def unpack(esm_class: int, data_coding: int, body: bytes, tlvs: Mapping[int, bytes]) -> Unpacked:
    """Takes the header off and says which part of what this is. A message of one part is a message of its own.

    A header goes before SAR; a header without a part number leaves SAR its say.
    """
    found: Concatenation | None = None
    problem: UdhProblem | None = None
    if esm_class & ESM_UDHI:
        header, body, problem = read_udh(body, ucs2=is_ucs2(data_coding))
        if header is not None:
            found = header.concatenation
    if found is None and TLV_SAR_TOTAL_SEGMENTS in tlvs:
        found, wrong = _sar(tlvs)
        problem = problem or wrong
    if found is not None and found.total == 1:
        found = None
    return Unpacked(found, body, problem)


def _sar(tlvs: Mapping[int, bytes]) -> tuple[Concatenation | None, UdhProblem | None]:
    values = [tlvs.get(tag, b"") for tag in (TLV_SAR_MSG_REF_NUM, TLV_SAR_TOTAL_SEGMENTS, TLV_SAR_SEGMENT_SEQNUM)]
    if not all(1 <= len(value) <= 4 for value in values):
        return None, UdhProblem.ELEMENT_LENGTH
    reference, total, number = (int.from_bytes(value, "big") for value in values)
    if not 1 <= number <= total <= 255:
        return None, UdhProblem.NUMBERS
    return Concatenation(ReferenceKind.SAR, reference, total, number), None


def message_key(link_group: str, source: str, destination: str, concatenation: Concatenation) -> MessageKey:
    """What the parts of one message have in common.

    Args:
        link_group: a link's name, or one name for links that serve as one another's partner: a carrier may deliver
            the parts of one message over both.
        source, destination: numbers, or hashes of them, in one form.
    """
    part = concatenation
    return link_group, source, destination, part.kind, part.reference, part.total


def gap(first: int, last: int) -> str:
    """What stands in a text for parts that never came, for a supervisor to read."""
    return f"〈缺第{first}段〉" if first == last else f"〈缺第{first}至{last}段〉"


def assemble(parts: Iterable[Part], *, default: Alphabet = Alphabet.GSM) -> Assembled:
    """Joins parts of one key, the order of coming does not matter.

    Raises:
        ValueError: no parts, or parts of different keys.
    """
    given = sorted(parts, key=lambda part: (part.concatenation.number, part.received_at, part.body, part.data_coding))
    if not given:
        raise ValueError("no parts; a message has at least one")
    first = given[0].concatenation
    kept: dict[int, Part] = {}
    doubtful: dict[int, None] = {}
    for part in given:
        own = part.concatenation
        if (own.kind, own.reference, own.total) != (first.kind, first.reference, first.total):
            raise ValueError(f"parts of two messages: {own} and {first}; group them by message_key")
        other = kept.setdefault(own.number, part)
        if (other.body, other.data_coding) != (part.body, part.data_coding):
            doubtful[own.number] = None
    missing = tuple(number for number in range(1, first.total + 1) if number not in kept)
    return Assembled(
        text=_text(kept, first.total, default),
        body=b"".join(part.body for part in kept.values()),
        data_coding=next(iter(kept.values())).data_coding,
        complete=not missing,
        missing=missing,
        doubtful=tuple(doubtful),
    )


def _text(kept: Mapping[int, Part], total: int, default: Alphabet) -> str | None:
    """The runs of parts between gaps, each decoded as a whole, and the gaps' marks."""
    pieces: list[str] = []
    for there, numbers in groupby(range(1, total + 1), kept.__contains__):
        run = list(numbers)
        text = _run([kept[number] for number in run], default) if there else gap(run[0], run[-1])
        if text is None:
            return None
        pieces.append(text)
    return "".join(pieces)


def _run(run: list[Part], default: Alphabet) -> str | None:
    codings = {part.data_coding for part in run}
    if len(codings) == 1:
        coding = run[0].data_coding
        bodies = [part.body for part in run]
        if is_ucs2(coding):
            bodies = _one_byte_order(bodies)
        joined = b"".join(bodies)
        # An odd sum of UCS2 means a stray octet in one part, which must not shift the others.
        if (not is_ucs2(coding) or len(joined) % 2 == 0) and (text := decode(joined, coding, default=default)):
            return text
    texts = [decode(part.body, part.data_coding, default=default) for part in run]
    known = [text for text in texts if text is not None]
    return "".join(known) if len(known) == len(texts) else None


def _one_byte_order(bodies: list[bytes]) -> list[bytes]:
    """UCS2 parts in big-endian without marks: some phones begin each part with a mark, some the first alone."""
    result = []
    little = False
    for body in bodies:
        if body[:2] in (b"\xfe\xff", b"\xff\xfe"):
            little = body[:2] == b"\xff\xfe"
            body = body[2:]
        if little:
            even = len(body) // 2 * 2
            swapped = bytearray(body)
            swapped[0:even:2], swapped[1:even:2] = body[1:even:2], body[0:even:2]
            body = bytes(swapped)
        result.append(body)
    return result
