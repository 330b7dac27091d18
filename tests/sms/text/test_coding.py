"""Text to segments and back: sizes, cuts, headers, and each coding that comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.coding import (
    ESM_UDHI,
    TLV_MESSAGE_PAYLOAD,
    TLV_SAR_MSG_REF_NUM,
    TLV_SAR_SEGMENT_SEQNUM,
    TLV_SAR_TOTAL_SEGMENTS,
    UCS2,
    Alphabet,
    Concatenation,
    Piece,
    ReferenceKind,
    Split,
    TextTooLong,
    UdhProblem,
    code_units,
    decode,
    read_udh,
    segment_count,
    segments,
)

FAMILY = "👨‍👩‍👧‍👦"
"""Eleven code units, one character."""
CUTTING = (Split.UDH8, Split.UDH16, Split.SAR)
TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("满意👍🏽🇨🇳\u200d\ufe0fe\u0301")))


def shares(text: str, split: Split) -> list[str]:
    """The texts of the segments, headers taken off."""
    header = {Split.UDH8: 6, Split.UDH16: 7}.get(split, 0)
    return [
        piece.short_message[header if piece.total > 1 else 0 :].decode("utf-16-be")
        for piece in segments(text, split, 7)
    ]


# ── sizes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("units", "split", "expected"),
    [
        (0, Split.UDH8, 1),
        (70, Split.UDH8, 1),
        (71, Split.UDH8, 2),
        (134, Split.UDH8, 2),
        (135, Split.UDH8, 3),
        (70, Split.UDH16, 1),
        (132, Split.UDH16, 2),
        (133, Split.UDH16, 3),
        (134, Split.SAR, 2),
        (135, Split.SAR, 3),
        (135, Split.PAYLOAD, 3),
        (255 * 67, Split.UDH8, 255),
    ],
)
def test_segments_of_a_length(units: int, split: Split, expected: int) -> None:
    text = "好" * units
    assert segment_count(text, split) == expected
    assert len(segments(text, split, 1)) == (1 if split is Split.PAYLOAD else expected)


def test_a_short_text_has_no_header() -> None:
    for split in Split:
        (piece,) = segments("请评价", split, 300)
        assert piece == Piece(1, 1, 0, UCS2, "请评价".encode("utf-16-be"), ())


def test_the_headers_of_two_segments() -> None:
    text = "一" * 67 + "二" * 5
    first, second = segments(text, Split.UDH8, 0x1FE)
    assert first.short_message[:6] == bytes.fromhex("050003fe0201")
    assert second.short_message == bytes.fromhex("050003fe0202") + ("二" * 5).encode("utf-16-be")
    assert (first.esm_class, first.data_coding, first.number, first.total) == (ESM_UDHI, UCS2, 1, 2)
    assert len(first.short_message) == 140

    first, second = segments(text, Split.UDH16, 0x1FE)
    assert first.short_message[:7] == bytes.fromhex("06080401fe0201")
    assert second.short_message[:7] == bytes.fromhex("06080401fe0202")
    assert len(first.short_message) == 139

    first, second = segments(text, Split.SAR, 0x1FE)
    assert first.esm_class == 0
    assert second.short_message == ("二" * 5).encode("utf-16-be")
    assert second.tlvs == (
        (TLV_SAR_MSG_REF_NUM, b"\x01\xfe"),
        (TLV_SAR_TOTAL_SEGMENTS, b"\x02"),
        (TLV_SAR_SEGMENT_SEQNUM, b"\x02"),
    )

    (whole,) = segments(text, Split.PAYLOAD, 1)
    assert whole.short_message == b""
    assert whole.tlvs == ((TLV_MESSAGE_PAYLOAD, text.encode("utf-16-be")),)


def test_what_is_too_long_says_so() -> None:
    with pytest.raises(TextTooLong, match="256 segments, 255 at most"):
        segments("好" * (255 * 67 + 1), Split.UDH8, 1)
    with pytest.raises(TextTooLong, match="message_payload"):
        segments("好" * 40000, Split.PAYLOAD, 1)


def test_room_for_the_carriers_signature() -> None:
    assert len(segments("好" * 61, Split.UDH8, 1, front=9)) == 1
    assert len(segments("好" * 62, Split.UDH8, 1, front=9)) == 2
    first, second = shares_of("好" * 80, front=9)
    assert (len(first), len(second)) == (58, 22)
    parts = shares_of("好" * 130, back=9)
    assert [len(part) for part in parts] == [67, 62, 1]
    assert segment_count("好" * 130, back=9) == 3
    assert [len(part) for part in shares_of("好" * 125, back=9)] == [67, 58]


def shares_of(text: str, front: int = 0, back: int = 0) -> list[str]:
    pieces = segments(text, Split.UDH8, 1, front=front, back=back)
    return [piece.short_message[6:].decode("utf-16-be") for piece in pieces]


@given(TEXTS.map(lambda text: text * 5), st.integers(0, 30), st.integers(0, 30))
def test_room_is_always_there(text: str, front: int, back: int) -> None:
    pieces = segments(text, Split.UDH8, 1, front=front, back=back)
    assert len(pieces) == segment_count(text, front=front, back=back)
    if len(pieces) > 1:
        sizes = [len(piece.short_message) // 2 - 3 for piece in pieces]
        sizes[0] += front
        sizes[-1] += back
        assert max(sizes) <= 67
        assert min(sizes) > 0


# ── cuts ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("character", "what"),
    [
        ("😀", "a surrogate pair"),
        ("☎️", "a variation selector"),
        (FAMILY, "joiners"),
        ("👍🏽", "a skin tone"),
        ("5️⃣", "a keycap"),
        ("🇨🇳", "a flag"),
        ("e\u0301", "an accent"),
        ("\r\n", "a line break"),
        ("🏴\U000e0067\U000e0062\U000e007f", "tags"),
    ],
    ids=lambda value: value if value.isascii() and value.isprintable() else "",
)
def test_what_a_reader_sees_as_one_is_not_cut(character: str, what: str) -> None:
    units = code_units(character)
    for split, size in ((Split.UDH8, 67), (Split.UDH16, 66), (Split.SAR, 67)):
        for before in range(size - units + 1, size):
            first, second = shares("好" * before + character + "好" * 10, split)
            assert first == "好" * before, what
            assert second == character + "好" * 10


def test_flags_are_cut_between_flags() -> None:
    first, second = shares("好" + "🇨🇳" * 20, Split.UDH8)
    assert first == "好" + "🇨🇳" * 16
    assert second == "🇨🇳" * 4


def test_an_endless_run_of_marks_is_cut_all_the_same() -> None:
    text = "e" + "\u0301" * 200
    assert [len(share) for share in shares(text, Split.UDH8)] == [67, 67, 67]


@given(TEXTS.map(lambda text: text * 4), st.sampled_from(CUTTING), st.integers(0, 0xFFFF))
def test_segments_joined_are_the_text(text: str, split: Split, reference: int) -> None:
    pieces = segments(text, split, reference)
    assert len(pieces) == segment_count(text, split)
    assert all(len(piece.short_message) <= 140 for piece in pieces)
    assert [piece.number for piece in pieces] == list(range(1, len(pieces) + 1))
    parts = shares(text, split)  # strict: half a pair would raise
    assert "".join(parts) == text


@given(TEXTS.map(lambda text: text * 4))
def test_a_payload_is_the_text(text: str) -> None:
    (piece,) = segments(text, Split.PAYLOAD, 1)
    body = dict(piece.tlvs).get(TLV_MESSAGE_PAYLOAD, piece.short_message)
    assert body.decode("utf-16-be") == text


def test_a_lone_surrogate_is_no_character() -> None:
    assert segments("好\ud83d好", Split.UDH8, 1)[0].short_message.decode("utf-16-be") == "好?好"


# ── the user data header ──────────────────────────────────────────────────────────────────────────────────────────────

EIGHT = Concatenation(ReferenceKind.UDH8, 7, 3, 2)
SIXTEEN = Concatenation(ReferenceKind.UDH16, 0x0107, 3, 2)


@pytest.mark.parametrize(
    ("body", "part", "rest", "problem"),
    [
        ("050003 070302 0035", EIGHT, "0035", None),
        ("060804 01070302 0035", SIXTEEN, "0035", None),
        ("0b 0504 0b8423f0 0003070302 0035", EIGHT, "0035", None),  # ports first
        ("0b 0003070302 0504 0b8423f0 0035", EIGHT, "0035", None),  # ports behind
        ("07 2400 0003070302 0035", EIGHT, "0035", None),  # an element without data
        ("06 0504 0b8423f0 0035", None, "0035", None),  # ports alone
        ("0b 0003090501 0804 01070302 0035", SIXTEEN, "0035", None),  # of two the last counts
        ("00 0035", None, "0035", None),
        ("05 0003 070300 0035", None, "0035", UdhProblem.NUMBERS),  # part 0
        ("05 0003 070304 0035", None, "0035", UdhProblem.NUMBERS),  # part 4 of 3
        ("05 0003 070000 0035", None, "0035", UdhProblem.NUMBERS),  # of 0
        ("04 0002 0703 0035", None, "0035", UdhProblem.ELEMENT_LENGTH),
        ("06 0803 010703 02 35", None, "06080301070302 35", UdhProblem.ELEMENT_OVERRUN),
        ("05 0004 070302 0035", None, "050004 0703020035", UdhProblem.ELEMENT_OVERRUN),
        ("06 0003070302 24 0035", EIGHT, "0035", UdhProblem.ELEMENT_OVERRUN),  # half an element behind ours
        ("6ee1 610f", None, "6ee1610f", UdhProblem.OVERRUN),  # 满意 without a header
        ("05", None, "05", UdhProblem.OVERRUN),
        ("", None, "", UdhProblem.EMPTY),
    ],
)
def test_headers(body: str, part: Concatenation | None, rest: str, problem: UdhProblem | None) -> None:
    header, left, wrong = read_udh(bytes.fromhex(body))
    assert (header.concatenation if header else None) == part
    assert left == bytes.fromhex(rest)
    assert wrong == problem


def test_other_elements_are_kept() -> None:
    header, _, _ = read_udh(bytes.fromhex("0b 0504 0b8423f0 0003070302 0035"))
    assert header is not None
    assert header.others == ((5, bytes.fromhex("0b8423f0")),)


def test_a_header_bit_on_a_ucs2_text_without_one() -> None:
    text = "5，很好".encode("utf-16-be")  # begins with 00 35
    assert read_udh(text, ucs2=True) == (None, text, UdhProblem.EMPTY)
    header, rest, problem = read_udh(b"\0" + text, ucs2=True)
    assert header is not None
    assert (rest, problem) == (text, None)


@given(st.binary(max_size=200), st.booleans())
def test_no_header_raises_and_no_octet_appears(body: bytes, ucs2: bool) -> None:
    header, rest, problem = read_udh(body, ucs2=ucs2)
    assert body.endswith(rest)
    assert header is not None or (rest == body and problem is not None)


@given(st.sampled_from([Split.UDH8, Split.UDH16]), st.integers(0, 0xFFFF), st.integers(71, 2000))
def test_our_own_headers_are_read(split: Split, reference: int, length: int) -> None:
    for piece in segments("好" * length, split, reference):
        header, _, problem = read_udh(piece.short_message, ucs2=True)
        assert problem is None
        assert header is not None
        assert header.concatenation is not None
        expected = reference & (0xFF if split is Split.UDH8 else 0xFFFF)
        part = header.concatenation
        assert (part.reference, part.total, part.number) == (expected, piece.total, piece.number)


# ── bytes to text ─────────────────────────────────────────────────────────────────────────────────────────────────────


def gbk(text: str) -> bytes:
    return text.encode("gb18030")


def wide(text: str) -> bytes:
    return text.encode("utf-16-be")


@pytest.mark.parametrize(
    ("label", "body", "coding", "text"),
    [
        ("empty", b"", 0, ""),
        ("empty ucs2", b"", 8, ""),
        ("default digit", b"5", 0, "5"),
        ("default alphabet's own signs", b"\x00\x02\x11 \x5b\x7b", 0, "@$_ Ää"),
        ("default extension table", b"\x1b\x3c5\x1b\x3e \x1b\x65", 0, "[5] €"),
        ("default unknown extension", b"\x1bA", 0, "A"),
        ("default escape at the end", b"5\x1b", 0, "5"),
        ("default with NUL appended", b"5\x00", 0, "5"),
        *(
            (f"N, or 一 in UCS2, under {coding:#x}", wide("一"), coding, None)
            for coding in (0, 1, 3, 4, 0x0F, 0x10, 0xF4)
        ),
        ("R, or 刀 in UCS2", wide("刀"), 0, None),
        ("NUL appended to what is no common character in UCS2", b"T\x00", 0, "T"),
        ("NUL appended to an odd number of octets", b"TD\x00", 0, "TD"),
        ("two NULs appended", b"N\x00\x00", 0, "N"),
        ("一 in UCS2", wide("一"), 8, "一"),
        ("default line break", b"5\n", 0, "5\n"),
        ("default that is GBK", gbk("非常满意"), 0, "非常满意"),
        ("default that is UTF-8", "非常满意".encode(), 0, "非常满意"),
        ("ascii", b"TD", 1, "TD"),
        ("ascii underscore and at", b"a_b@c", 1, "a_b@c"),
        ("ascii that is GBK", gbk("不满意"), 1, "不满意"),
        ("8-bit that is UTF-8", "满意".encode(), 4, "满意"),
        ("8-bit that is GBK", gbk("满意"), 4, "满意"),
        ("8-bit 2 that is GBK", gbk("5，没人管"), 2, "5，没人管"),
        ("8-bit one GBK sign that is UTF-8 too", gbk("一"), 4, "一"),
        ("8-bit that is ASCII", b"5", 4, "5"),
        ("8-bit that is UCS2", wide("非常满意"), 4, "非常满意"),
        ("8-bit that is UCS2 with a mark", b"\xfe\xff" + wide("满意"), 4, "满意"),
        ("8-bit emoji", "5👍".encode(), 4, "5👍"),
        ("8-bit binary", bytes.fromhex("0605040b8423f0ff01"), 4, None),
        ("8-bit binary without an end", bytes.fromhex("00010203"), 2, None),
        ("latin-1", "très bien".encode("latin-1"), 3, "très bien"),
        ("ucs2", wide("非常满意"), 8, "非常满意"),
        ("ucs2 with a mark", b"\xfe\xff" + wide("5"), 8, "5"),
        ("ucs2 little-endian by its mark", b"\xff\xfe" + "满意".encode("utf-16-le"), 8, "满意"),
        ("ucs2 with a pair", wide("👍5"), 8, "👍5"),
        ("ucs2 half a pair at the end", wide("满意👍")[:-2], 8, "满意\ufffd"),
        ("ucs2 half a pair inside", wide("👍")[:2] + wide("5"), 8, "\ufffd5"),
        ("ucs2 half a character", wide("满意")[:-1], 8, "满\ufffd"),
        ("ucs2 with NUL", wide("5") + b"\0\0", 8, "5"),
        ("ucs2 with half a NUL", wide("满意") + b"\0", 8, "满意"),
        ("ucs2 that is one octet of ASCII", b"5", 8, "5"),
        ("gbk", gbk("非常满意"), 15, "非常满意"),
        ("gbk four octets", gbk("㐂好"), 15, "㐂好"),
        ("gbk ascii", b"5", 15, "5"),
        ("gbk half a character", gbk("满意")[:-1], 15, None),
        ("gbk that is UTF-8", "很满意".encode(), 15, "很满意"),
        ("flash default", b"5", 0x10, "5"),
        ("flash ucs2", wide("满意"), 0x18, "满意"),
        ("flash ucs2 class 1", wide("满意"), 0x19, "满意"),
        ("general 8-bit", gbk("满意"), 0x14, "满意"),
        ("general compressed", b"5", 0x20, None),
        ("waiting default", b"5", 0xC0, "5"),
        ("waiting ucs2", wide("5"), 0xE0, "5"),
        ("class default", b"5", 0xF0, "5"),
        ("class default that is GBK", gbk("满意"), 0xF1, "满意"),
        ("class 8-bit that is GBK", gbk("满意"), 0xF5, "满意"),
        ("vendor 0xFF that is GBK", gbk("满意"), 0xFF, "满意"),
        ("cyrillic", "хорошо".encode("iso8859-5"), 6, "хорошо"),
        ("reserved that is ASCII", b"5", 0x80, "5"),
        ("reserved that is nothing", b"\xff\xff\xff", 0x9A, None),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "",
)
def test_codings(label: str, body: bytes, coding: int, text: str | None) -> None:
    assert decode(body, coding) == text, label


@pytest.mark.parametrize(
    ("alphabet", "body", "text"),
    [
        (Alphabet.ASCII, b"a_b@c$", "a_b@c$"),
        (Alphabet.ASCII, gbk("满意"), "满意"),
        (Alphabet.LATIN1, b"d\xe9j\xe0", "déjà"),
        (Alphabet.UTF8, "满意".encode(), "满意"),
        (Alphabet.GBK, gbk("满意"), "满意"),
        (Alphabet.GSM, b"\x00", ""),
    ],
)
def test_the_default_alphabet_is_the_links(alphabet: Alphabet, body: bytes, text: str) -> None:
    assert decode(body, 0, default=alphabet) == text


@given(st.binary(max_size=300), st.integers(0, 255), st.sampled_from(Alphabet))
def test_decode_never_raises(body: bytes, coding: int, alphabet: Alphabet) -> None:
    text = decode(body, coding, default=alphabet)
    assert text is None or not any("\ud800" <= sign <= "\udfff" for sign in text)


@given(st.binary(max_size=300), st.integers(256, 2**32))
def test_decode_knows_no_coding_beyond_an_octet(body: bytes, coding: int) -> None:
    decode(body, coding)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff\ufffe")))
def test_what_we_send_is_read(text: str) -> None:
    assert decode(wide(text), 8) == text


@given(st.text("满意不非常很好差一二三四五，。！12345", min_size=1, max_size=70))
def test_chinese_is_read_in_each_coding_that_phones_send_it_in(text: str) -> None:
    assert decode(gbk(text), 15) == text
    assert decode(wide(text), 8) == text
    assert decode(text.encode(), 4) == text
    assert decode(gbk(text), 4) == text
