"""Long messages put together: whose part it is, any order, gaps, and characters cut in two."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.coding import (
    ESM_UDHI,
    TLV_SAR_MSG_REF_NUM,
    TLV_SAR_SEGMENT_SEQNUM,
    TLV_SAR_TOTAL_SEGMENTS,
    UCS2,
    Concatenation,
    ReferenceKind,
    Split,
    UdhProblem,
    segments,
)
from sms.reassembly import Assembled, Part, assemble, message_key, unpack

START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def part(number: int, body: bytes, *, total: int = 3, coding: int = UCS2, reference: int = 7, after: int = 0) -> Part:
    numbers = Concatenation(ReferenceKind.UDH8, reference, total, number)
    return Part(numbers, coding, body, START + timedelta(seconds=after))


def wide(text: str) -> bytes:
    return text.encode("utf-16-be")


# ── which part of what ────────────────────────────────────────────────────────────────────────────────────────────────


def sar(reference: bytes, total: bytes, number: bytes) -> dict[int, bytes]:
    return {TLV_SAR_MSG_REF_NUM: reference, TLV_SAR_TOTAL_SEGMENTS: total, TLV_SAR_SEGMENT_SEQNUM: number}


@pytest.mark.parametrize(
    ("label", "esm_class", "body", "tlvs", "part", "rest", "problem"),
    [
        ("plain", 0, b"\0005", {}, None, b"\0005", None),
        (
            "8-bit", ESM_UDHI, b"\x05\0\x03\x07\x03\x02\0005", {},
            Concatenation(ReferenceKind.UDH8, 7, 3, 2), b"\0005", None,
        ),
        (
            "16-bit", ESM_UDHI, b"\x06\x08\x04\x01\x07\x03\x02\0005", {},
            Concatenation(ReferenceKind.UDH16, 0x107, 3, 2), b"\0005", None,
        ),
        (
            "SAR", 0, b"\0005", sar(b"\x01\x07", b"\x03", b"\x02"),
            Concatenation(ReferenceKind.SAR, 0x107, 3, 2), b"\0005", None,
        ),
        (
            "header before SAR", ESM_UDHI, b"\x05\0\x03\x07\x03\x02\0005", sar(b"\0\x01", b"\x02", b"\x01"),
            Concatenation(ReferenceKind.UDH8, 7, 3, 2), b"\0005", None,
        ),
        (
            "ports in the header, numbers in SAR", ESM_UDHI, b"\x06\x05\x04\x0b\x84\x23\xf0\0005",
            sar(b"\0\x01", b"\x02", b"\x01"), Concatenation(ReferenceKind.SAR, 1, 2, 1), b"\0005", None,
        ),
        ("one part of one", ESM_UDHI, b"\x05\0\x03\x07\x01\x01\0005", {}, None, b"\0005", None),
        ("SAR part 0", 0, b"\0005", sar(b"\0\x01", b"\x02", b"\0"), None, b"\0005", UdhProblem.NUMBERS),
        ("SAR part 3 of 2", 0, b"\0005", sar(b"\0\x01", b"\x02", b"\x03"), None, b"\0005", UdhProblem.NUMBERS),
        ("SAR of 0", 0, b"\0005", sar(b"\0\x01", b"\0", b"\0"), None, b"\0005", UdhProblem.NUMBERS),
        (
            "SAR without a number", 0, b"\0005", {TLV_SAR_TOTAL_SEGMENTS: b"\x02"},
            None, b"\0005", UdhProblem.ELEMENT_LENGTH,
        ),
        ("header bit without a header", ESM_UDHI, wide("满意"), {}, None, wide("满意"), UdhProblem.OVERRUN),
    ],
)  # fmt: skip
def test_parts(
    label: str,
    esm_class: int,
    body: bytes,
    tlvs: dict[int, bytes],
    part: Concatenation | None,
    rest: bytes,
    problem: UdhProblem | None,
) -> None:
    unpacked = unpack(esm_class, UCS2, body, tlvs)
    assert (unpacked.concatenation, unpacked.body, unpacked.problem) == (part, rest, problem), label


def test_two_citizens_with_one_reference_are_two_messages() -> None:
    numbers = Concatenation(ReferenceKind.UDH8, 7, 3, 1)
    keys = {
        message_key("mobile", "hash-a", "10691234501", numbers),
        message_key("mobile", "hash-b", "10691234501", numbers),
        message_key("unicom", "hash-a", "10691234501", numbers),
        message_key("mobile", "hash-a", "10691234502", numbers),
        message_key("mobile", "hash-a", "10691234501", Concatenation(ReferenceKind.UDH16, 7, 3, 1)),
        message_key("mobile", "hash-a", "10691234501", Concatenation(ReferenceKind.UDH8, 8, 3, 1)),
        message_key("mobile", "hash-a", "10691234501", Concatenation(ReferenceKind.UDH8, 7, 2, 1)),
    }
    assert len(keys) == 7
    assert message_key("mobile", "hash-a", "1", numbers) == message_key(
        "mobile", "hash-a", "1", Concatenation(ReferenceKind.UDH8, 7, 3, 3)
    )


# ── together ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_three_parts_out_of_order() -> None:
    whole = assemble([part(3, wide("意")), part(1, wide("非常")), part(2, wide("满"))])
    assert whole == Assembled("非常满意", wide("非常满意"), UCS2, True, (), ())


def test_more_than_nine_parts_are_in_the_order_of_numbers() -> None:
    parts = [part(number, wide(chr(0x4E00 + number)), total=11) for number in range(1, 12)]
    random.Random(1).shuffle(parts)
    assert assemble(parts).text == "".join(chr(0x4E00 + number) for number in range(1, 12))


def test_a_part_that_came_twice_counts_once() -> None:
    whole = assemble(
        [part(1, wide("满"), total=2), part(2, wide("意"), total=2), part(1, wide("满"), total=2, after=9)]
    )
    assert (whole.text, whole.doubtful) == ("满意", ())


def test_of_two_different_parts_the_earlier_counts_and_is_named() -> None:
    late, early = part(1, wide("不"), total=2, after=60), part(1, wide("很"), total=2)
    whole = assemble([late, part(2, wide("好"), total=2), early])
    assert (whole.text, whole.complete, whole.doubtful) == ("很好", True, (1,))


@pytest.mark.parametrize(
    ("there", "text", "missing"),
    [
        ((1, 2), "一二〈缺第3段〉", (3,)),
        ((2, 3), "〈缺第1段〉二三", (1,)),
        ((1, 3), "一〈缺第2段〉三", (2,)),
        ((3,), "〈缺第1至2段〉三", (1, 2)),
        ((2,), "〈缺第1段〉二〈缺第3段〉", (1, 3)),
    ],
)
def test_what_is_there_is_handed_on_with_its_gaps(there: tuple[int, ...], text: str, missing: tuple[int, ...]) -> None:
    whole = assemble([part(number, wide("一二三"[number - 1])) for number in there])
    assert (whole.text, whole.missing, whole.complete) == (text, missing, False)


@pytest.mark.parametrize(
    ("label", "coding", "bodies", "text"),
    [
        ("a surrogate pair cut in two", 8, [wide("好👍")[:4], wide("好👍")[4:]], "好👍"),
        ("a character cut in two", 8, [wide("满意")[:3], wide("满意")[3:]], "满意"),
        ("a GBK pair cut in two", 15, ["满意".encode("gbk")[:3], "满意".encode("gbk")[3:]], "满意"),
        ("GBK that says default, cut in two", 0, ["满意".encode("gbk")[:1], "满意".encode("gbk")[1:]], "满意"),
        ("an escape cut in two", 0, [b"5\x1b", b"\x65"], "5€"),
        ("a byte order mark in each part", 8, [b"\xfe\xff" + wide("满"), b"\xfe\xff" + wide("意")], "满意"),
        ("little-endian by the first mark", 8, [b"\xff\xfe\xe1\x6e", b"\x0f\x61"], "满意"),
        ("a stray NUL in one part", 8, [wide("满") + b"\0", wide("意")], "满意"),
        ("binary", 4, [b"\xff\x00", b"\x01\xff"], None),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "",
)
def test_text_is_decoded_over_the_joined_bytes(label: str, coding: int, bodies: list[bytes], text: str | None) -> None:
    parts = [part(place, body, total=2, coding=coding) for place, body in enumerate(bodies, 1)]
    whole = assemble(parts)
    assert whole.text == text, label
    assert whole.body == b"".join(bodies)


def test_parts_of_two_codings() -> None:
    whole = assemble([part(1, b"5 ", total=2, coding=0), part(2, wide("没人管"), total=2)])
    assert whole.text == "5 没人管"


def test_parts_of_two_messages_are_refused() -> None:
    with pytest.raises(ValueError, match="two messages"):
        assemble([part(1, b"", total=2), part(2, b"", total=3)])
    with pytest.raises(ValueError, match="no parts"):
        assemble([])


@given(st.binary(max_size=600), st.integers(2, 8), st.integers(0, 255), st.randoms(use_true_random=False), st.data())
def test_any_order_gives_the_same(
    body: bytes, total: int, coding: int, chance: random.Random, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), min_size=total - 1, max_size=total - 1)))
    edges = [0, *cuts, len(body)]
    parts = [
        part(place, body[edges[place - 1] : edges[place]], total=total, coding=coding) for place in range(1, total + 1)
    ]
    parts += data.draw(st.lists(st.sampled_from(parts), max_size=3))
    left_out = data.draw(st.sets(st.integers(1, total), max_size=total - 1))
    parts = [each for each in parts if each.concatenation.number not in left_out]
    shuffled = list(parts)
    chance.shuffle(shuffled)
    whole = assemble(shuffled)
    assert whole == assemble(parts)
    assert whole.missing == tuple(sorted(left_out))
    if not left_out:
        assert whole.body == body


@given(
    st.text(
        st.one_of(st.characters(codec="utf-8", exclude_characters="\0\ufeff\ufffe"), st.just("👍")),
        min_size=71,
    ),
    st.sampled_from([Split.UDH8, Split.UDH16, Split.SAR]),
    st.integers(0, 0xFFFF),
    st.randoms(use_true_random=False),
)
def test_our_own_segments_come_back_whole(text: str, split: Split, reference: int, chance: random.Random) -> None:
    pieces = list(segments(text, split, reference))
    chance.shuffle(pieces)
    parts = []
    for piece in pieces:
        unpacked = unpack(piece.esm_class, piece.data_coding, piece.short_message, dict(piece.tlvs))
        assert unpacked.concatenation is not None
        parts.append(Part(unpacked.concatenation, piece.data_coding, unpacked.body, START))
    whole = assemble(parts)
    assert (whole.text, whole.complete) == (text, True)
