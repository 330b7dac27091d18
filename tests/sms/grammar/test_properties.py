"""What holds for any text: no level from nothing, no level beside a doubt, no error, and a bounded cost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.terms import Satisfaction
from sms.grammar import Machine, Outcome, is_automatic, machine, read, read_follow_up
from sms.grammar.beside import Said, said
from sms.grammar.fold import fold
from sms.grammar.source import read_toml
from sms.grammar.words import Doubt, Part, words
from tests.sms.grammar.replies import DEFAULT, REPLIES

_SIGNS = "0123456789⭐" + "".join(words().numerals) + "".join(words().levels)
"""Every character of which a documented level is made."""


def says_nothing(character: str) -> bool:
    return not any(sign in _SIGNS for sign in fold(character).text)


ANYTHING = st.text(st.characters(), max_size=300)
"""Any text, lone surrogates too."""

PIECES = st.lists(
    st.sampled_from(
        [
            *words().levels,
            *(entry for entries in words().doubts.values() for entry in entries[:12]),
            *list(words().parts)[::25],
            *(case.text for case in REPLIES[::7]),
            *"0123456789,，。. 、:：=-+/~\n“”()【】[]⭐👍",
        ]
    ),
    max_size=12,
).map("".join)
"""Texts of what the grammar looks for, in any order."""


@given(st.text(st.characters().filter(says_nothing), max_size=60))
def test_a_text_without_a_sign_of_a_level_gives_none(text: str) -> None:
    assert read(text, DEFAULT).satisfaction is None


@given(
    st.lists(
        st.sampled_from(
            [
                entry
                for entry in [
                    *words().parts,
                    *words().alone,
                    *words().topics,
                    "，",
                    "。",
                    " ",
                    "\n",
                    ":",
                ]
                if all(map(says_nothing, entry))
            ]
        ),
        max_size=15,
    ).map("".join)
)
def test_praise_complaint_and_fillers_alone_give_no_level(text: str) -> None:
    assert read(text, DEFAULT).satisfaction is None


# ── doubt ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

PHRASES = [
    *words().levels,
    *"12345",
    *"一五",
    "１",
    "滿意",
    "我选1",
    "1谢谢",
    "5，没人管",
    "1非常满意",
    "五星",
    "⭐⭐⭐⭐⭐",
    "非常满意，服务很好",
]


def wrapped(pattern: str, phrase: str) -> Iterator[str]:
    for between in ("", "，"):
        yield f"{pattern}{between}{phrase}"
        yield f"{phrase}{between}{pattern}"


@pytest.mark.parametrize("doubt", Doubt)
def test_each_documented_pattern_round_each_level_is_unclear(doubt: Doubt) -> None:
    read_anyway = [
        text
        for pattern in words().doubts[doubt]
        for phrase in PHRASES
        for text in wrapped(pattern, phrase)
        if read(text, DEFAULT).outcome is not Outcome.UNCLEAR
    ]
    assert read_anyway == []


@given(
    st.sampled_from([entry for entries in words().doubts.values() for entry in entries]),
    st.sampled_from(PHRASES),
    st.text("，。！ \n、,.~-()“”👍😊您好我吧的谢", max_size=4),
    st.text("，。！ \n、,.~-()“”👍😊您好我吧的谢", max_size=4),
)
def test_a_pattern_with_anything_harmless_between_is_unclear(
    pattern: str, phrase: str, between: str, after: str
) -> None:
    assert read(pattern + between + phrase + after, DEFAULT).satisfaction is None
    assert read(phrase + between + pattern + after, DEFAULT).satisfaction is None


@pytest.mark.parametrize("pattern", words().doubts[Doubt.PRESSURE])
def test_pressure_is_flagged(pattern: str) -> None:
    assert read(f"1，{pattern}", DEFAULT).pressure
    assert not read("1", DEFAULT).pressure


# ── text beside a level ───────────────────────────────────────────────────────────────────────────────────────────────

_KNOWN = {character for word in (*words().parts, *words().signs, *words().asides) for character in word}
_STRANGE = [
    chr(code) for code in range(0x4E00, 0x9FA6) if chr(code) not in _KNOWN and fold(chr(code)).text == chr(code)
]


@given(
    st.sampled_from("12345"),
    st.sampled_from(_STRANGE),
    st.lists(st.sampled_from(sorted(words().parts)), max_size=4).map("".join),
    st.lists(st.sampled_from(sorted(words().parts)), max_size=4).map("".join),
    st.sampled_from(["，", "。", " ", "！", "："]),
)
def test_one_character_that_no_list_holds_leaves_a_digit_unclear(
    digit: str, strange: str, before: str, after: str, between: str
) -> None:
    assert read(f"{digit}{between}{before}{strange}{after}", DEFAULT).satisfaction is None


@given(st.sampled_from("12345"), st.text(_STRANGE, min_size=1, max_size=30))
def test_text_of_characters_outside_the_lists_leaves_a_digit_unclear(digit: str, text: str) -> None:
    assert read(f"{digit}，{text}", DEFAULT).satisfaction is None
    assert read(f"{text}，{digit}", DEFAULT).satisfaction is None


@pytest.mark.parametrize("entry", sorted(entry for entry in words().parts if len(entry) == 1))
def test_one_character_alone_speaks_for_no_level(entry: str) -> None:
    found = said(entry)
    assert found in {Said(), Said(aside=True)}


def _of(*parts: Part) -> list[str]:
    return sorted(word for word, found in words().parts.items() if found & set(parts))


@pytest.mark.parametrize(
    "negator", ["没有", "没", "不", "从不", "从没", "再也没有", "毫不", "不会", "绝不", "不再", "没再", "无"]
)
def test_an_accusation_taken_back_is_none(negator: str) -> None:
    read_anyway = [
        text
        for word in _of(Part.ACCUSATION, Part.FINAL, Part.MILD)
        if negator + word not in words().parts
        and (text := f"5，{negator}{word}")
        and read(text, DEFAULT).satisfaction is not None
    ]
    assert read_anyway == []


@pytest.mark.parametrize(
    "before",
    ["说", "他们说", "显示", "回复说", "请", "把路", "给我", "要", "快", "赶紧", "假装", "不", "没", "能不能", "希望"],
)
def test_praise_that_is_reported_wished_for_or_denied_is_none(before: str) -> None:
    read_anyway = [
        text
        for word in _of(Part.PRAISE, Part.QUALITY, Part.DONE)
        if before + word not in words().parts
        and (text := f"1，{before}{word}")
        and read(text, DEFAULT).satisfaction is not None
    ]
    assert read_anyway == []


@pytest.mark.parametrize(
    "after", ["点", "一点", "些", "一些", "再说", "才行", "就好", "有什么用", "又坏", "行不", "个屁"]
)
def test_praise_that_goes_on_is_none(after: str) -> None:
    read_anyway = [
        text
        for word in _of(Part.PRAISE, Part.QUALITY, Part.DONE)
        if word + after not in words().parts
        and (text := f"1，{word}{after}")
        and read(text, DEFAULT).satisfaction is not None
    ]
    assert read_anyway == []


# ── any text ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(ANYTHING | PIECES)
def test_reading_never_fails_and_its_answer_agrees_with_itself(text: str) -> None:
    reading = read(text, DEFAULT)
    assert (reading.outcome is Outcome.RATING) <= isinstance(reading.satisfaction, Satisfaction)
    assert (reading.satisfaction is not None) <= (reading.outcome in {Outcome.RATING, Outcome.OPT_OUT})
    assert reading.why
    assert all(part in text for part in reading.comment.split("，"))
    follow_up = read_follow_up(text, DEFAULT)
    assert (follow_up.satisfaction is not None) <= (reading.satisfaction == follow_up.satisfaction)
    is_automatic(text)


@given(ANYTHING | PIECES)
def test_folding_twice_is_folding_once_and_changes_no_reading(text: str) -> None:
    once = fold(text)
    assert fold(once.text).text == once.text
    assert len(once.origin) == len(once.text)
    assert once.origin == sorted(once.origin)
    plain, folded = read(text, DEFAULT), read(once.text, DEFAULT)
    assert (plain.outcome, plain.satisfaction, plain.why) == (folded.outcome, folded.satisfaction, folded.why)


@given(PIECES)
def test_full_width_changes_no_reading(text: str) -> None:
    wide = "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)
    assert read(wide, DEFAULT).satisfaction == read(text, DEFAULT).satisfaction


_MACHINES = st.sampled_from(
    [*read_toml("automatic")["notices"], *read_toml("automatic")["marks"], *read_toml("automatic")["phrases"]]
)
_OF_A_PERSON = st.sampled_from(
    [
        *(word for satisfaction in Satisfaction for word in read_toml("levels")[satisfaction.name.lower()]),
        *"12345",
        # 无人接听 is what a machine says, too.
        *(word for word in read_toml("beside")["accusations"] if word not in read_toml("automatic")["around"]),
        *read_toml("automatic")["people"],
        *read_toml("doubts")["pressure"],
        *read_toml("doubts")["irony"],
    ]
)


@given(_MACHINES, _OF_A_PERSON, st.sampled_from(["，", "。", "\n", " ！"]), st.booleans())
def test_no_machine_is_seen_where_a_person_speaks_too(notice: str, person: str, stop: str, before: bool) -> None:
    text = f"{person}{stop}{notice}" if before else f"{notice}{stop}{person}"
    assert machine(text) is not Machine.YES


@given(_MACHINES, st.sampled_from(["退订", "不要再发短信了", "别再发了"]), st.booleans())
def test_an_opt_out_beside_a_machine_s_words_opts_out(notice: str, out: str, before: bool) -> None:
    assert read(f"{out}，{notice}" if before else f"{notice}，{out}", DEFAULT).outcome is Outcome.OPT_OUT


# ── bounds ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_LIMIT = 0.005
"""Seconds for 1,000 characters of anything (reply-grammar.md)."""


def _random(seed: int) -> str:
    source = random.Random(seed)
    return "".join(
        chr(source.choice((source.randrange(32, 0x3000), source.randrange(0x4E00, 0x9FFF)))) for _ in range(1000)
    )


HEAVY = {
    "a long complaint": "没人管我家的水停了三天，",
    "one number": "5",
    "digits and spaces": "5 ",
    "digits and commas": "5，",
    "ranges": "5-",
    "dashes": "- ",
    "spaces": " ",
    "commas": "，",
    "many clauses": "我，",
    "fillers that overlap": "我选",
    "fillers that nearly end": "我选我的评价是您好谢谢您x，",
    "levels": "满意，",
    "bad levels": "不满意",
    "stars": "⭐",
    "stars apart": "⭐ ⭐x",
    "open brackets": "[",
    "faces": "[微笑]",
    "ligatures": "㍿",
    "swelling ligatures": "\ufdfa",
    "praise beside a digit": "1，态度很好，",
    "many ways to lay out": "5，好好好好好好好好好好好好好好好好好好好好，",
    "accusations": "5，一直没解决问题，",
    "signs": "5，没人管，路灯坏了三个月物业叫不动，",
    "negated praise": "不满意很好",
    "praise wished for": "希望满意",
    "opt-out letters": "td",
    "opt-outs": "别再发，",
    "opt-outs that nearly end": "请以后不要再发短信信息消息x，",
    "codes": "验证码1",
    "digits before codes": "12345 验证",
    "star clauses": "一星，",
    "quotes": "“满意”",
    "colons": "1:",
    "combining marks": "5\u0338",
    "surrogates": "\ud800",
    "absence": "我正在开会，稍后",
    "half a receipt": "id:stat:",
    "nearly a telephone number": "我正在忙1380000000，",
    "random": _random(1),
    "more random": _random(2),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_1000_characters_of_anything_in_5_milliseconds(kind: str) -> None:
    text = (HEAVY[kind] * 1000)[:1000]
    assert len(text) == 1000
    for reads in (lambda: read(text, DEFAULT), lambda: machine(text)):
        reads()
        assert min(_seconds(reads) for _ in range(9)) < _LIMIT


def _seconds(reads: Callable[[], object]) -> float:
    before = time.thread_time()
    reads()
    return time.thread_time() - before


@pytest.mark.parametrize("kind", HEAVY)
def test_the_cost_grows_no_faster_than_the_text(kind: str) -> None:
    def seconds(length: int) -> float:
        text = (HEAVY[kind] * length)[:length]
        best = float("inf")
        for _ in range(5):
            before = time.thread_time()
            read(text, DEFAULT)
            best = min(best, time.thread_time() - before)
        return best

    seconds(1000)
    assert seconds(16_000) < 16 * max(seconds(1000), 0.0005) * 4
