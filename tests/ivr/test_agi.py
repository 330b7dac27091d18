"""The codec: pyst2 put right. What goes out is read back as Asterisk reads it; what comes in may be anything."""

from __future__ import annotations

import io
import signal
from contextlib import redirect_stderr
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.agi import (
    HEAD_LIMIT,
    LINE_LIMIT,
    AGIException,
    AGIHangup,
    AGIInvalidCommand,
    AGIResultHangup,
    AGIUnknownError,
    AGIUsageError,
    Codec,
    Lines,
    Overlong,
    Reply,
    Unplayable,
    UnsafeValue,
    build,
    checked,
    command,
    environment,
    parse_reply,
    set_variable,
)
from simulate.caller import Plan, environment_block, words

COMMANDS: dict[str, tuple[tuple[Any, ...], str]] = {
    "answer": (("answer",), "ANSWER"),
    "file names are quoted": (("stream_file", "huiyin/zh/ask"), 'STREAM FILE "huiyin/zh/ask" "" 0'),
    "get data too": (("get_data", "a b", 8000, 1), 'GET DATA "a b" 8000 1'),
    "get option too": (("get_option", "a", "12", 5000), 'GET OPTION "a" "12" 5000'),
    "quotes and backslashes": (("set_variable", "N", 'a"b\\c'), r'SET VARIABLE "N" "a\"b\\c"'),
    "joined files": (("appexec", "Background", "a&b"), 'EXEC Background "a&b"'),
    "numbers": (("set_variable", "N", 5), 'SET VARIABLE "N" "5"'),
    "Chinese": (("set_variable", "N", "临夏"), 'SET VARIABLE "N" "临夏"'),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str) -> None:
    arguments, line = COMMANDS[name]
    assert build(*arguments) == line.encode() + b"\n"
    assert command(*arguments) == build(*arguments)


@pytest.mark.parametrize("sign", ["\n", "\r", "\0", "\r\nEXEC System rm"])
@pytest.mark.parametrize("method", ["set_variable", "stream_file", "exec_command", "get_data"])
def test_a_value_with_a_line_break_is_refused(sign: str, method: str) -> None:
    with pytest.raises(UnsafeValue):
        build(method, "NAME", f"x{sign}y") if method != "get_data" else build(method, f"x{sign}y")


@given(
    st.one_of(st.text(max_size=20), st.from_regex(r"[0-9a-zA-Z]{0,40}", fullmatch=True)), st.sampled_from(["N", 'A"0'])
)
def test_the_fast_way_to_a_variable_is_pyst2s(value: str, name: str) -> None:
    try:
        line = build("set_variable", name, value)
    except UnsafeValue:
        with pytest.raises(UnsafeValue):
            set_variable(name, value)
    else:
        assert set_variable(name, value) == line


_values = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]))


@given(_values, _values)
def test_asterisk_reads_back_every_value_as_it_was(name: str, value: str) -> None:
    line = build("set_variable", name, value).decode()
    assert words(line.removesuffix("\n")) == ["SET", "VARIABLE", name, value]


@given(st.text())
def test_no_value_makes_a_second_line(value: str) -> None:
    try:
        line = build("set_variable", "N", value)
    except UnsafeValue:
        assert set(value) & set("\n\r\0")
    else:
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")


@given(st.binary().filter(lambda raw: not set(raw) & {10, 13, 0}))
def test_bytes_that_are_no_text_go_back_as_they_came(raw: bytes) -> None:
    value = parse_reply(b"200 result=1 (" + raw + b")\n").data
    assert raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') in build("set_variable", "N", value)


REPLIES = {
    "plain": (b"200 result=0\n", Reply(200, "0")),
    "played": (b"200 result=0 endpos=7200\n", Reply(200, "0", "", 7200)),
    "a key": (b"200 result=53 endpos=7200", Reply(200, "53", "", 7200)),
    "GET DATA": (b"200 result=5", Reply(200, "5")),
    "GET DATA, #": (b"200 result=", Reply(200, "")),
    "GET DATA, silence": (b"200 result= (timeout)", Reply(200, "", "timeout")),
    "GET DATA, a star": (b"200 result=*", Reply(200, "*")),
    "variable": (b"200 result=1 (a (b) c)", Reply(200, "1", "a (b) c")),
    "empty variable": (b"200 result=1 ()", Reply(200, "1", "")),
    "dead": (b"511 Command Not Permitted on a dead channel", Reply(511)),
}


@pytest.mark.parametrize("name", REPLIES)
def test_replies(name: str) -> None:
    line, reply = REPLIES[name]
    assert parse_reply(line) == reply


ERRORS = {
    "hung up": (b"200 result=-1", AGIResultHangup),
    "hung up while playing": (b"200 result=-1 endpos=800", AGIResultHangup),
    "nothing played": (b"200 result=-1 endpos=0", Unplayable),
    "dead": (b"511 Command Not Permitted on a dead channel or intercept routine", AGIResultHangup),
    "unknown": (b"510 Invalid or unknown command", AGIInvalidCommand),
    "usage": (b"520 End of proper usage.", AGIUsageError),
    "no AGI code": (b"299 result=0", AGIUnknownError),
}


@pytest.mark.parametrize("name", ERRORS)
def test_refusals_have_names(name: str) -> None:
    line, error = ERRORS[name]
    with pytest.raises(error):
        checked(parse_reply(line))
    assert issubclass(AGIResultHangup, AGIHangup)


@given(st.binary(max_size=200))
def test_no_reply_does_more_than_raise_an_agi_error(line: bytes) -> None:
    try:
        reply = checked(parse_reply(line))
    except AGIException:
        return
    assert reply.code == 200
    assert reply.result != "-1"


def test_a_huge_endpos_is_a_number_all_the_same() -> None:
    assert parse_reply(b"200 result=0 endpos=" + b"9" * 5000).endpos == 999_999_999_999


PYST2 = {
    "a key in a prompt": ("stream_file", ("f", "12"), [b"200 result=50 endpos=4"], "2"),
    "no key": ("stream_file", ("f",), [b"200 result=0 endpos=4"], ""),
    "keys": ("get_data", ("f", 1000, 4), [b"200 result=1234"], "1234"),
    "variable": ("get_variable", ("V",), [b"200 result=1 (x)"], "x"),
    "status": ("channel_status", (), [b"200 result=6"], 6),
    "several commands": ("goto_on_exit", ("c", "e", "1"), [b"200 result=0"] * 3, None),
}


@pytest.mark.parametrize("name", PYST2)
def test_every_method_of_pyst2_can_be_driven(name: str) -> None:
    method, arguments, replies, result = PYST2[name]
    codec = Codec()
    for reply in replies:
        line, _ = codec.run(method, *arguments)
        assert line is not None
        assert line.endswith(b"\n")
        codec.answered(parse_reply(reply))
    assert codec.run(method, *arguments) == (None, result)


def test_pyst2_neither_takes_a_signal_nor_writes() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with redirect_stderr(io.StringIO()) as written:
        codec = Codec()
        codec.run("answer")
        codec.answered(parse_reply(b"200 result=0"))
        codec.run("answer")
        codec.test_hangup()
    assert written.getvalue() == ""
    assert signal.getsignal(signal.SIGHUP) is before


# ── the stream ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_of_a_repeated_variable_counts() -> None:
    block = environment_block(Plan("rate?call=1", name=b"x\nagi_callerid: 110\nagi_request: agi://h/ended"), "h", 1)
    found = environment(block)
    assert found["agi_callerid"] == "13800138000"
    assert found["agi_request"] == "agi://h:1/rate?call=1"


def test_a_gbk_name_survives() -> None:
    block = environment_block(Plan("rate", name="王伟".encode("gbk")), "h", 1)
    assert environment(block)["agi_calleridname"].encode("utf-8", "surrogateescape") == "王伟".encode("gbk")


STREAMS = {
    "a reply": (b"200 result=0\n", [b"200 result=0"], False),
    "two at once": (b"200 result=0\n200 result=1\n", [b"200 result=0", b"200 result=1"], False),
    "HANGUP before a reply": (b"HANGUP\n511 dead\n", [b"511 dead"], True),
    "HANGUP alone": (b"HANGUP\n", [], True),
    "usage": (b"520-Invalid command syntax.\n 200 result=5\n200 result=6\nx\n520 End of proper usage.\n",
              [b"520 End of proper usage."], False),
    "usage in one line": (b"520 Invalid command syntax.  Proper usage not available.\n",
                          [b"520 Invalid command syntax.  Proper usage not available."], False),
    "trying": (b"100 Trying\n200 result=0\n", [b"200 result=0"], False),
    "rubbish between": (b"\n\xff\xfe\nagi_x: y\n200 result=0\n", [b"200 result=0"], False),
    "unfinished": (b"200 resu", [], False),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_the_stream_is_cut_the_same_however_it_arrives(name: str, step: int) -> None:
    data, replies, hung_up = STREAMS[name]
    lines = Lines()
    found = [reply for at in range(0, len(data), step) for reply in lines.replies(data[at : at + step])]
    assert found == replies
    assert lines.hung_up is hung_up


@given(st.binary(max_size=400), st.lists(st.integers(1, 50)))
def test_any_bytes_are_cut_the_same_in_pieces(data: bytes, cuts: list[int]) -> None:
    whole, pieces = Lines(), Lines()
    expected = whole.replies(data)
    found, at = [], 0
    for cut in [*cuts, len(data)]:
        found += pieces.replies(data[at : at + cut])
        at += cut
    assert found == expected
    assert (whole.hung_up, whole.empty) == (pieces.hung_up, pieces.empty)


@given(st.binary(max_size=300), st.binary(max_size=50), st.integers(1, 20))
def test_the_head_ends_at_the_empty_line_and_keeps_what_follows(head: bytes, rest: bytes, step: int) -> None:
    head = head.replace(b"\n\n", b"\n").strip(b"\n")
    data = head + b"\n\n" + rest
    lines = Lines()
    found: bytes | None = None
    for at in range(0, len(data), step):
        if found is None:
            found = lines.head(data[at : at + step])
            kept = lines.replies(b"") if found is not None else []
        else:
            kept += lines.replies(data[at : at + step])
    assert found == head
    assert kept == Lines().replies(rest)


@pytest.mark.parametrize("step", [100, HEAD_LIMIT * 2])
def test_an_endless_head_is_refused(step: int) -> None:
    lines = Lines()

    def send() -> None:
        for _ in range(0, HEAD_LIMIT * 3, step):
            lines.head(b"a" * step)

    with pytest.raises(Overlong):
        send()


@pytest.mark.parametrize("data", [b"2" * (LINE_LIMIT + 1), b"2" * (LINE_LIMIT + 1) + b"\n"])
def test_an_endless_line_is_refused(data: bytes) -> None:
    with pytest.raises(Overlong):
        Lines().replies(data)
