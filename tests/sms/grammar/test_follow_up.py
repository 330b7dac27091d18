"""Later messages of a conversation, and messages that no person wrote."""

from __future__ import annotations

import pytest

from models.terms import Satisfaction
from sms.grammar import FollowUp, FollowUpKind, Machine, Outcome, machine, read, read_follow_up
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
    machines = {case.text: machine(case.text) for case in REPLIES if case.section == "Machines"}
    with_a_level = {"[自动回复]1", "自动回复：满意"}
    assert {text for text, verdict in machines.items() if verdict is not Machine.YES} == with_a_level
    assert {machines[text] for text in with_a_level} == {Machine.DOUBTFUL}


def test_people_of_the_table_are_no_machines() -> None:
    people = [case for case in REPLIES if case.section != "Machines"]
    assert not any(case.is_clear and machine(case.text) is Machine.YES for case in people)
    taken = [case.text for case in people if not case.is_clear and machine(case.text) is not Machine.NO]
    quoted = {
        "退订回T",
        "回T退订，满意",
        "拒收请回R",
        "拒收请回复R",
        "回复R退订",
        "回复TD退订",
        "验证码1234",
        "5，我正在开会",
    }
    assert {text for text in taken if "正在开会" not in text} <= quoted


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
        "打了三次都是自动回复",
    ],
)
def test_what_a_citizen_may_write_is_not_automatic(text: str) -> None:
    assert machine(text) is Machine.NO


@pytest.mark.parametrize(
    "text",
    [
        "您好，我正在开会，稍后给您回电话。",
        "您好！我正在驾车，暂时无法接听您的电话，有事请联系13800000000，0930-6210000",
        "抱歉，我现在不方便接听电话，有事请发短信。",
        "对不起，您呼叫的用户正在通话中，请稍后再拨",
        "[驾驶模式自动回复]我正在驾驶中，稍后回复您",
        "您好！我正在驾车，暂时无法接听您的电话，我会尽快回复您。[自动回复]",
        "尊敬的客户，您的积分即将到期，积分兑换请登录",
        "id:0007 stat:DELIVRD err:000",
    ],
)
def test_what_holds_nothing_but_a_machine_s_words_is_automatic(text: str) -> None:
    assert machine(text) is Machine.YES


@pytest.mark.parametrize(
    "text",
    [
        "我正在忙，等会儿再选",
        "请尽快联系我，我正在开会",
        "说会尽快与您联系，到现在没人联系",
        "打电话总是提示您拨打的电话正忙",
        "物业天天发请及时缴费，不解决漏水",
        "他们会议中说好的没兑现",
        "温馨提示你们一下，路灯还没修",
        "【自动回复】客服只会这个",
        "尊敬的客户，您的投诉没人管",
        "验证码1234老是收到，烦死了",
        "【自动回复】他们让我选满意",
        "自动回复：5",
        "TD，不方便接电话",
        "回复1显示指令错误",
        "退订回T是什么意思",
        "我回了5，提示指令错误",
        "【自动回复】😡",
    ],
)
def test_what_either_may_have_written_is_doubtful(text: str) -> None:
    assert machine(text) is Machine.DOUBTFUL
    assert read(text, DEFAULT).outcome is not Outcome.RATING


@pytest.mark.parametrize("level", ["1", "满意", "⭐⭐⭐⭐⭐"])
def test_no_level_is_read_from_a_machine(level: str) -> None:
    reading = read(f"[自动回复] {level}", DEFAULT)
    assert (reading.outcome, reading.why) == (Outcome.UNCLEAR, "R3-automatic")
