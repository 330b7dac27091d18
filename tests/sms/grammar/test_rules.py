"""The rules R1 to R7 one by one, with other key maps, and what each answer says of why."""

from __future__ import annotations

import pytest

from config.keymap import KeyMap
from models.terms import Satisfaction
from sms.grammar import Outcome, Reading, Rule, read
from sms.grammar.clauses import Kind, clauses_of
from sms.grammar.fold import fold
from tests.sms.grammar.replies import DEFAULT, shown

WORST_FIRST = KeyMap.of({"1": 1, "2": 2, "3": 3, "4": 4, "5": 5})
FROM_ZERO = KeyMap.of({"0": 5, "1": 4, "2": 3, "3": 2, "4": 1})
THREE = KeyMap.of({"1": 5, "2": 3, "3": 1})
NINE = KeyMap.of({"9": 5, "1": 1})

WHY: dict[str, tuple[str, str]] = {
    "TD": ("out", Rule.OPT_OUT),
    "别再发了": ("out", Rule.OPT_OUT),
    "恢复": ("in", Rule.OPT_IN),
    " \n": ("?", Rule.NOTHING),
    "让我选1": ("?", Rule.PRESSURE),
    "满意才怪": ("?", Rule.IRONY),
    "要是修好就1": ("?", Rule.CONDITION),
    "满意吗": ("?", Rule.QUESTION),
    "可能，1": ("?", Rule.DOUBT),
    "[自动回复]1": ("?", Rule.AUTOMATIC),
    "不，满意": ("?", Rule.NEGATION),
    "态度：满意": ("?", Rule.COLON),
    "他写“满意”": ("?", Rule.EMBEDDED),
    "态度也很，满意": ("?", Rule.UNFINISHED),
    "满意，仅限态度": ("?", Rule.LIMITED),
    "太满意": ("?", Rule.NO_LEVEL),
    "1满意": ("?", Rule.DIFFERENT),
    "5，没人管": ("1", Rule.DIGIT),
    "7": ("?", Rule.NO_SUCH_DIGIT),
    "5，没人管，5": ("?", Rule.TWICE),
    "1、小区停电": ("?", Rule.LIST),
    "5 马某": ("?", Rule.LOOSE),
    "非常满意🐶": ("?", Rule.FACE),
    "5，服务很好": ("?", Rule.OPPOSITE),
    "1，我家的物业费": ("?", Rule.UNSUPPORTED),
    "5，3天没人管": ("?", Rule.SPOILED),
    "5分": ("?", Rule.SCORE),
    "五星": ("5", Rule.STARS),
    "非常满意": ("5", Rule.WORDS),
}


@pytest.mark.parametrize("text", WHY)
def test_every_rule_is_named_in_the_answer(text: str) -> None:
    reading = read(text, DEFAULT)
    assert (shown(reading), reading.why) == WHY[text]


def test_every_rule_has_a_case() -> None:
    assert {why for _, why in WHY.values()} == set(Rule)


def test_the_answer_is_whole() -> None:
    assert read("您好，5，沒人管！谢谢", DEFAULT) == Reading(
        Outcome.RATING, Satisfaction.VERY_DISSATISFIED, "沒人管", "R6-digit", pressure=False
    )
    assert read("1，是他们让我选的", DEFAULT) == Reading(Outcome.UNCLEAR, None, "", "R3-pressure", pressure=True)
    assert read("他们让我选1，退订", DEFAULT) == Reading(Outcome.OPT_OUT, None, "", "R1-opt-out", pressure=True)


@pytest.mark.parametrize(
    ("keys", "text", "meaning"),
    [
        (WORST_FIRST, "1", "1"),
        (WORST_FIRST, "5", "5"),
        (WORST_FIRST, "五", "5"),
        (WORST_FIRST, "5，服务很好", "5"),
        (WORST_FIRST, "5，没人管", "?"),
        (WORST_FIRST, "1，没人管", "1"),
        (WORST_FIRST, "1，服务很好", "?"),
        (WORST_FIRST, "1👍", "?"),
        (WORST_FIRST, "1、小区停电", "?"),
        (WORST_FIRST, "1非常满意", "?"),
        (WORST_FIRST, "5非常满意", "5"),
        (WORST_FIRST, "5星", "5"),
        (WORST_FIRST, "⭐⭐", "2"),
        (WORST_FIRST, "非常满意", "5"),
        (FROM_ZERO, "0", "5"),
        (FROM_ZERO, "０", "5"),
        (FROM_ZERO, "零", "5"),
        (FROM_ZERO, "〇", "5"),
        (FROM_ZERO, "4", "1"),
        (FROM_ZERO, "5", "?"),
        (FROM_ZERO, "10", "?"),
        (FROM_ZERO, "0，服务很好", "5"),
        (FROM_ZERO, "0，没人管", "?"),
        (FROM_ZERO, "4，没人管", "1"),
        (FROM_ZERO, "0非常满意", "5"),
        (FROM_ZERO, "5星", "5"),
        (FROM_ZERO, "0星", "?"),
        (THREE, "1", "5"),
        (THREE, "2", "3"),
        (THREE, "3", "1"),
        (THREE, "4", "?"),
        (THREE, "2一般", "3"),
        (THREE, "2满意", "?"),
        (THREE, "满意", "4"),
        (THREE, "4，不满意", "?"),
        (NINE, "9", "5"),
        (NINE, "九", "5"),
        (NINE, "1", "1"),
        (NINE, "2", "?"),
    ],
)
def test_the_invitations_own_key_map_counts(keys: KeyMap, text: str, meaning: str) -> None:
    assert shown(read(text, keys)) == meaning


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("５．", "5."),
        ("⑤❺➎⓹5️⃣⒌⑸", "55555" + "5." + "(5)"),
        ("🔟⑩", "1010"),
        ("非 常  滿\u3000意", "非常满意"),
        ("不\n滿意", "不\n满意"),
        ("5 分钟 没人", "5分钟没人"),
        ("5 没人", "5 没人"),
        ("ＴＤ Td", "td td"),
        ("沒\u200b人\ufeff管\x00", "没人管"),
        ("甚麼", "甚么"),
        ("\ufdfa", "\ufdfa"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text).text == folded


def test_what_was_written_can_be_cut_out_again() -> None:
    folded = fold("５， 沒 人　管 …")
    assert folded.text == "5, 没人管 ..."
    start = folded.text.index("没")
    assert folded.original(start, start + 3) == "沒 人　管"
    assert folded.original(2, 2) == ""


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("您好，我选5吧。没人管", [Kind.FILLER, Kind.DIGIT, Kind.TEXT]),
        ("+1，1.5，1-5，1~5，1/5，-5，.5", [Kind.TEXT] * 7),
        ("1.", [Kind.DIGIT]),
        ("5[微笑]没人管", [Kind.DIGIT, Kind.TEXT]),
        ("[满意]", [Kind.WORDS]),
        ("5分", [Kind.SCORE]),
        ("5分钟", [Kind.TEXT]),
        ("五星", [Kind.STARS]),
        ("六星", [Kind.CONTRADICTION]),
        ("1不满意", [Kind.CONTRADICTION]),
        ("不", [Kind.NEGATION]),
        ("5\u0338", [Kind.TEXT]),
        ("5\ufffd", [Kind.TEXT]),
        ("满意" * 30, [Kind.TEXT]),
    ],
)
def test_clauses(text: str, kinds: list[Kind]) -> None:
    assert [clause.kind for clause in clauses_of(fold(text), DEFAULT)] == kinds
