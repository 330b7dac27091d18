"""The table of replies, read: no wrong level at all, and 95 of 100 clear ones read."""

from __future__ import annotations

from collections import Counter

import pytest
from opencc import OpenCC

from config.keymap import KeyMap
from sms.grammar import Outcome, read
from sms.grammar.fold import fold
from tests.sms.grammar.replies import DEFAULT, REPLIES, Case, shown

_OPPOSITE = KeyMap.of({"1": 1, "2": 2, "3": 3, "4": 4, "5": 5})


def told(cases: list[Case]) -> list[str]:
    """The cases as lines that one can look up in the table."""
    return [f"line {case.line}: {case.meaning} {case.text!r}: read as {read(case.text, DEFAULT)}" for case in cases]


def test_the_table_is_large_and_says_each_thing_once() -> None:
    clear = sum(case.is_clear for case in REPLIES)
    assert len(REPLIES) >= 600
    assert len(REPLIES) - clear >= 200
    assert clear >= 400
    assert [text for text, count in Counter(case.text for case in REPLIES).items() if count > 1] == []
    known = {"?", "in", "out"} | {prefix + level for prefix in ("", "out") for level in "12345"}
    assert {case.meaning for case in REPLIES} == known - {"out3", "out2"}


def test_no_reply_is_read_as_what_it_does_not_mean() -> None:
    wrong = [case for case in REPLIES if shown(read(case.text, DEFAULT)) not in {case.meaning, "?"}]
    assert told(wrong) == []


def test_95_of_100_clear_replies_are_read() -> None:
    clear = [case for case in REPLIES if case.is_clear]
    missed = [case for case in clear if shown(read(case.text, DEFAULT)) != case.meaning]
    assert len(missed) <= 0.05 * len(clear), told(missed)


def test_comments_are_the_citizens_own_words() -> None:
    wrong = [
        case
        for case in REPLIES
        if case.comment is not None
        and shown(read(case.text, DEFAULT)) == case.meaning
        and read(case.text, DEFAULT).comment != case.comment
    ]
    assert told(wrong) == []
    assert sum(case.comment is not None for case in REPLIES) > 50


def test_an_unclear_reply_has_no_comment_and_a_reason_why() -> None:
    for case in REPLIES:
        reading = read(case.text, DEFAULT)
        assert reading.why
        if reading.satisfaction is None:
            assert reading.comment == ""


def test_pressure_and_nothing_else_is_flagged() -> None:
    flagged = {case.text for case in REPLIES if read(case.text, DEFAULT).pressure}
    assert flagged >= {case.text for case in REPLIES if case.section == "Pressure"}
    others = [case for case in REPLIES if case.text in flagged and case.section != "Pressure"]
    assert [case.text for case in others if case.is_clear] == []


@pytest.mark.parametrize("form", ["full width", "traditional", "folded"])
def test_another_form_of_the_same_text_is_read_alike(form: str) -> None:
    to_traditional = OpenCC("s2t").convert

    def changed(text: str) -> str:
        match form:
            case "full width":
                return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)
            case "traditional":
                return str(to_traditional(text))
            case _:
                return fold(text).text

    different = [
        (case.line, case.text, read(case.text, DEFAULT), read(changed(case.text), DEFAULT))
        for case in REPLIES
        if shown(read(case.text, DEFAULT)) != shown(read(changed(case.text), DEFAULT))
    ]
    assert different == []


def test_with_the_opposite_map_no_digit_is_read_as_in_the_default_one() -> None:
    """Where the map is turned round, a digit's level turns with it, that of words and stars stays."""
    for case in REPLIES:
        usual, turned = read(case.text, DEFAULT), read(case.text, _OPPOSITE)
        if turned.outcome is not Outcome.RATING:
            continue
        if turned.why == "R6-digit":
            digit = fold(case.text).text
            assert any(sign in digit for sign in "12345一二三四五"), case
            assert turned.satisfaction is not None
            assert usual.satisfaction in {None, 6 - turned.satisfaction}, case
        elif usual.satisfaction is not None:
            assert usual.satisfaction == turned.satisfaction, case
