"""Numbers in words, however they are written, and what is none."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.masking import holds_number, mask_words

MASKED = "138****5678"


@pytest.mark.parametrize(
    "written",
    [
        "13812345678",
        "138 1234 5678",
        "138  1234  5678",
        "138\u30001234\u30005678",
        "138.1234.5678",
        "138 123 45678",
        "13812 345678",
        "138-1234-5678",
        "138—1234—5678",
        "138——1234——5678",
        "138－1234－5678",
        "138 - 1234 - 5678",
        "138\u200b1234\u200b5678",
        "138_1234_5678",
        "138/1234/5678",
        "138，1234，5678",
        "138、1234、5678",
        "138*1234*5678",
        "138\n1234\n5678",
        "1 3 8 1 2 3 4 5 6 7 8",
        "１３８１２３４５６７８",
        "１３８－１２３４－５６７８",
        "١٣٨١٢٣٤٥٦٧٨",
        "①③⑧①②③④⑤⑥⑦⑧",
        "一三八一二三四五六七八",
        "幺三八幺二三四五六七八",
        "8613812345678",
        "86 138 1234 5678",
        "008613812345678",
    ],
)
def test_a_mobile_number_is_masked_however_it_is_written(written: str) -> None:
    assert mask_words(f"请打{written}找我") == f"请打{MASKED}找我"
    assert holds_number(written)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("+86 138 1234 5678", "+138****5678"),
        ("(138)1234-5678", "(138****5678"),
        ("（138）1234－5678", "（138****5678"),
        ("0930-621-2345", "093****2345"),
        ("0930 6212345", "093****2345"),
        ("(0930)6212345转801", "(093****2345转801"),
        ("6212345", "*****45"),
        ("62-12-345", "*****45"),
        ("13812345678/13912345678", "138****5678/139****5678"),
        ("UNDELIV MK:0001, 13812345678", "UNDELIV MK:0001, 138****5678"),
        ("+86 13812345678", "+86 138****5678"),
        ("138 1234 5678 / 0930-6212345", "138***************2345"),
        ("0930-6212345 13812345678", "093****2345 138****5678"),
        ("13812345678和13912345678", "138****5678和139****5678"),
        ("1️⃣3️⃣8️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣8️⃣", "138****5678\ufe0f\u20e3"),
        ("138 2026-11-18", "138****1118"),
        ("2026-11-18 13812345678", "2026-11-18 138****5678"),
        ("2026-11-18 08:30，13812345678", "2026-11-18 08:30，138****5678"),
        ("13812345678 2026-11-18", "138****5678 2026-11-18"),
        ("2026111813812345678", "202************5678"),
        ("10000000元", "******00元"),
    ],
)
def test_what_is_masked_of_it(written: str, shown: str) -> None:
    assert mask_words(written) == shown
    assert mask_words(shown) == shown


@pytest.mark.parametrize(
    "words",
    [
        "",
        "服务好",
        "等了30分钟",
        "2026-11-18",
        "2026-11-18 之前",
        "2026/11/18 08:30",
        "2026.11.18 08:30:59",
        "2026-11-18 至 2026-11-25",
        "2026-11-18~2026-11-25",
        "2026年11月18日8时30分",
        "08:30-21:00",
        "工单GD20261118000123",
        "20261118083000",
        "2026111800012",
        "第123456号",
        "138****5678",
        "138****5678，139****5678",
        "一二三四五六",
        "满意5 4 3",
    ],
)
def test_what_is_certainly_none_stays(words: str) -> None:
    assert mask_words(words) == words
    assert not holds_number(words)


def test_nothing_is_nothing() -> None:
    assert mask_words(None) is None


@pytest.mark.parametrize(
    "words",
    ["2026-13-18-0000", "2026-11/18", "20261318000123", "20261118138123456789", "13:50:01 23:45"],
)
def test_what_only_looks_like_a_date_is_masked(words: str) -> None:
    shown = mask_words(words)
    assert shown is not None
    assert "*" in shown


@pytest.mark.parametrize(
    "part", ["1 ", "1", "138****", "2026-11-18 ", "13812345678 ", "一二三", "138 2026-11-18 ", "1   "]
)
def test_words_of_any_length_can_be_masked(part: str) -> None:
    shown = mask_words(part * (20_000 // len(part)))
    assert mask_words(shown) == shown


SEPARATORS = st.text(
    st.characters(blacklist_categories=["L", "N", "Cs"], blacklist_characters="*")
    | st.sampled_from(" -–—－.．()（）·、，\u3000\u200b"),
    max_size=3,
).filter(lambda signs: not any(sign.isalnum() for sign in unicodedata.normalize("NFKC", signs)))
MOBILES = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)
LANDLINES = st.from_regex(r"0[2-9][0-9]{8,10}", fullmatch=True)
WIDTHS = st.sampled_from(["0123456789", "０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗"])


@given(st.data(), MOBILES | LANDLINES, st.text(max_size=5), st.text(max_size=5))
def test_whatever_stands_between_no_seven_digits_of_a_number_are_left(
    data: st.DataObject, number: str, before: str, behind: str
) -> None:
    written = number[0].translate(str.maketrans("0123456789", data.draw(WIDTHS)))
    for digit in number[1:]:
        written += data.draw(SEPARATORS) + digit.translate(str.maketrans("0123456789", data.draw(WIDTHS)))
    around = re.sub(r"[\w*]", "", unicodedata.normalize("NFKC", before)), re.sub(r"[\w*]", "", behind)
    shown = mask_words(f"甲{around[0]}{written}{around[1]}乙")
    assert shown is not None
    left = "".join(sign for sign in unicodedata.normalize("NFKC", shown) if sign.isdecimal())
    assert left in (number[:3] + number[-4:], number[-2:])
    assert written not in shown
    assert mask_words(shown) == shown


@given(st.text())
def test_masking_twice_is_masking_once_and_words_without_digits_stay(words: str) -> None:
    once = mask_words(words)
    assert mask_words(once) == once
    if not any(sign.isnumeric() for sign in unicodedata.normalize("NFKC", words)):
        assert once == words
