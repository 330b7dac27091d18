"""Later messages of a conversation, and messages that no person wrote."""

from __future__ import annotations

import pytest

from models.terms import Satisfaction
from sms.grammar import FollowUp, FollowUpKind, Outcome, is_automatic, read, read_follow_up
from tests.sms.grammar.replies import DEFAULT, REPLIES

BAD = Satisfaction.VERY_DISSATISFIED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("退订", FollowUp(FollowUpKind.OPT_OUT)),
        ("TD", FollowUp(FollowUpKind.OPT_OUT)),
        ("别再发了，打错了", FollowUp(FollowUpKind.OPT_OUT)),
        ("5，退订", FollowUp(FollowUpKind.OPT_OUT, BAD)),
        ("5", FollowUp(FollowUpKind.RATING, BAD)),
        ("非常满意", FollowUp(FollowUpKind.RATING, Satisfaction.VERY_SATISFIED)),
        ("5，没人接电话", FollowUp(FollowUpKind.RATING, BAD, text="没人接电话")),
        ("打错了", FollowUp(FollowUpKind.MISTAKEN, text="打错了")),
        ("发錯了！", FollowUp(FollowUpKind.MISTAKEN, text="发錯了！")),
        ("按错了，应该是1", FollowUp(FollowUpKind.MISTAKEN, text="按错了，应该是1")),
        ("打错了，A", FollowUp(FollowUpKind.MISTAKEN, text="打错了，A")),
        ("A", FollowUp(FollowUpKind.LETTER, letter="A")),
        ("a", FollowUp(FollowUpKind.LETTER, letter="A")),
        ("ｂ", FollowUp(FollowUpKind.LETTER, letter="B")),
        ("Ｃ。", FollowUp(FollowUpKind.LETTER, letter="C")),
        ("选A", FollowUp(FollowUpKind.LETTER, letter="A")),
        ("我选B，谢谢", FollowUp(FollowUpKind.LETTER, letter="B")),
        ("（C）", FollowUp(FollowUpKind.LETTER, letter="C")),
        ("Ⓐ", FollowUp(FollowUpKind.LETTER, letter="A")),
        ("🅰️", FollowUp(FollowUpKind.LETTER, letter="A")),
        ("D", FollowUp(FollowUpKind.TEXT, text="D")),
        ("AB", FollowUp(FollowUpKind.TEXT, text="AB")),
        ("A，B", FollowUp(FollowUpKind.TEXT, text="A，B")),
        ("A栋没水", FollowUp(FollowUpKind.TEXT, text="A栋没水")),
        ("态度差，没人管", FollowUp(FollowUpKind.TEXT, text="态度差，没人管")),
        (" 为什么这么慢？ ", FollowUp(FollowUpKind.TEXT, text="为什么这么慢？")),
        ("恢复", FollowUp(FollowUpKind.TEXT, text="恢复")),
        ("", FollowUp(FollowUpKind.TEXT)),
    ],
)
def test_in_the_documented_order(text: str, expected: FollowUp) -> None:
    assert read_follow_up(text, DEFAULT) == expected


def test_only_the_options_that_were_offered_are_letters() -> None:
    assert read_follow_up("D", DEFAULT, "ABCD").letter == "D"
    assert read_follow_up("A", DEFAULT, "").kind is FollowUpKind.TEXT
    assert read_follow_up("N", DEFAULT, "ABCDEFGHIJKLMN").kind is FollowUpKind.OPT_OUT


def test_machines_of_the_table_are_machines() -> None:
    missed = [case.text for case in REPLIES if case.section == "Machines" and not is_automatic(case.text)]
    assert missed == []


def test_people_of_the_table_are_no_machines() -> None:
    taken = [case.text for case in REPLIES if case.section != "Machines" and is_automatic(case.text)]
    quoted = {"退订回T", "回T退订，满意", "拒收请回R", "拒收请回复R", "回复R退订", "回复TD退订", "验证码1234"}
    assert set(taken) <= quoted


@pytest.mark.parametrize(
    "text",
    [
        "你们的验证码收不到，没人管",
        "打电话一直打不通，5",
        "收到短信了",
        "我在开会",
        "我家停电了，稍后再说吧",
        "系统自动办结了，问题没解决",
        "话费多扣了",
        "【满意】",
        "1",
    ],
)
def test_what_a_citizen_may_write_is_not_automatic(text: str) -> None:
    assert not is_automatic(text)


@pytest.mark.parametrize("level", ["1", "满意", "⭐⭐⭐⭐⭐"])
def test_no_level_is_read_from_a_machine(level: str) -> None:
    reading = read(f"[自动回复] {level}", DEFAULT)
    assert (reading.outcome, reading.why) == (Outcome.UNCLEAR, "R3-automatic")
