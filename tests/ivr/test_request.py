"""What the URL of the AGI request means."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.names import CALL_KEY_LENGTH
from ivr.request import Path, Request, read_request
from simulate.caller import Plan, environment_block, request_line
from tests.moments import START


def read(request: str, **plan: Any) -> Request:
    return read_request(environment_block(Plan(request, **plan), "127.0.0.1", 4573).removesuffix(b"\n\n"))


def test_a_whole_request() -> None:
    request = request_line(
        "rate", call="lx1-1760000000.5", agent="PJSIP/1001", queue="q12345", dept="12622900MB1234567X",
        case="临夏〔2026〕7号", closed="1", lang="bo",
    )  # fmt: skip
    found = read(request)
    assert found == Request(
        Path.RATE,
        "lx1-1760000000.5",
        "13800138000",
        "1001",
        "q12345",
        "12622900MB1234567X",
        "临夏〔2026〕7号",
        True,
        "bo",
    )
    facts = found.facts("zh", START)
    assert (facts.lang, facts.at, facts.call_key, facts.closed) == ("zh", START, "lx1-1760000000.5", True)


VALUES = {
    "spaces and signs": ("queue=%E5%92%A8%E8%AF%A2%20%231", "queue", "咨询 #1"),
    "GBK": ("queue=" + quote("咨询".encode("gbk")), "queue", "咨询"),
    "raw bytes of UTF-8": ("queue=咨询", "queue", "咨询"),
    "broken bytes": ("queue=%ff%fe%E5", "queue", "���"),
    "a plus is a plus": ("queue=a+b", "queue", "a+b"),
    "half an escape": ("queue=a%2", "queue", "a%2"),
    "no escape": ("queue=a%zzb", "queue", "a%zzb"),
    "line breaks and quotes": ("queue=a%0D%0A%22b%00%1b", "queue", 'a"b'),
    "bidi and zero-width signs": ("queue=%E2%80%AEa%E2%80%8B", "queue", "a"),
    "the first counts": ("queue=a&queue=b", "queue", "a"),
    "empty": ("queue=", "queue", None),
    "without =": ("queue", "queue", None),
    "unknown keys": ("x=1&queue=q&y", "queue", "q"),
    "too long": ("dept=" + "d" * 500, "dept", "d" * 64),
    "a lone case": ("case=" + "c" * 500, "case_no", "c" * 200),
    "closed is 1 alone": ("closed=true", "closed", False),
    "Local agent": ("agent=Local%2F2001%40agents%2Fn", "agent", "2001"),
    "number of an agent": ("agent=0071", "agent", "0071"),
    "emoji": ("queue=%F0%9F%98%80", "queue", "😀"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    query, field, value = VALUES[name]
    assert getattr(read(f"rate?call=c&{query}"), field) == value


PATHS = {
    "rate?call=1": Path.RATE,
    "rate": Path.RATE,
    "rate/": Path.RATE,
    "/rate?call=1": Path.RATE,
    "ended?call=1": Path.ENDED,
    "callback?followup=1": Path.CALLBACK,
    "unknown?call=1": Path.UNKNOWN,
    "Rate": Path.UNKNOWN,
    "rate%00": Path.UNKNOWN,
    "": Path.UNKNOWN,
}


@pytest.mark.parametrize("request_of_asterisk", PATHS)
def test_paths(request_of_asterisk: str) -> None:
    assert read(request_of_asterisk).path is PATHS[request_of_asterisk]


def test_without_a_network_script_the_url_says_it() -> None:
    assert read_request(b"agi_request: agi://h:4573/rate?call=c-9\nagi_uniqueid: u") == Request(Path.RATE, "c-9", None)


@pytest.mark.parametrize(("number", "read_as"), [("unknown", None), ("", None), ("0930-1234567", "0930-1234567"),
                                                 ("anonymous", "anonymous")])  # fmt: skip
def test_the_caller(number: str, read_as: str | None) -> None:
    assert read("rate?call=1", number=number).number == read_as


def test_a_call_key_is_never_cut_into_anothers() -> None:
    one, other = (read(f"rate?call={'c' * 300}{end}").call_key for end in "ab")
    assert one != other
    assert len(one) <= CALL_KEY_LENGTH
    assert read(f"rate?call={'c' * 300}a").call_key == one


def test_a_callers_name_changes_nothing() -> None:
    name = b'"\n\nagi_network_script: ended?call=other\nagi_callerid: 110\n'
    found = read_request(environment_block(Plan("rate?call=mine", name=name), "h", 1))
    assert (found.path, found.call_key, found.number) == (Path.RATE, "mine", "13800138000")


@given(st.binary(max_size=600))
def test_nothing_raises_and_everything_is_text(data: bytes) -> None:
    for head in (data, b"agi_network_script: " + data, b"agi_network_script: rate?case=" + data + b"\nagi_callerid: "):
        found = read_request(head)
        for value in (found.call_key, found.number, found.agent, found.queue, found.dept, found.case_no, found.lang):
            if value:
                assert value.isprintable()
                assert len(value) <= CALL_KEY_LENGTH
                value.encode("utf-8")


@given(st.text(max_size=60))
def test_what_is_printable_arrives_as_it_was(text: str) -> None:
    text = "".join(sign for sign in text if sign.isprintable()).strip()
    assert read(request_line("rate", call="c", queue=text)).queue == (text or None)
