"""A file of cases: what is read, and how each bad line is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.case_file import BadLine, CaseLine, read_cases
from server.errors import CannotDo
from tests.moments import START

HEADING = "case_no,phone,closed_at,agent,consent,title\n"
CHINESE = "工单编号,手机号码,办结时间,工号,是否同意,标题\n"
GOOD = "GD-1,13800000001,2026-11-18 09:00:00,0042,是,路灯\n"


def read(content: str | bytes) -> list[CaseLine | BadLine]:
    return list(read_cases(content if isinstance(content, bytes) else content.encode(), START))


def cases(content: str | bytes) -> list[tuple[int, str]]:
    return [(line.number, line.case.case_no) for line in read(content) if isinstance(line, CaseLine)]


def bad(content: str | bytes) -> dict[int, str]:
    return {line.number: line.sentence for line in read(content) if isinstance(line, BadLine)}


@pytest.mark.parametrize(
    "heading", [HEADING, CHINESE, HEADING.upper(), " 工单编号 ,电话,结案时间,坐席,同意提供信息,标题\n"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_whatever_a_spreadsheet_writes_is_read(heading: str, encoding: str, delimiter: str, end: str) -> None:
    text = (heading + GOOD).replace(",", delimiter).replace("\n", end)
    [line] = read(text.encode(encoding))
    assert isinstance(line, CaseLine)
    case = line.case
    assert (line.number, case.case_no, case.number.value) == (2, "GD-1", "+8613800000001")
    assert (case.content.agent, case.content.consent, case.content.title) == ("0042", True, "路灯")
    assert case.content.closed_at.isoformat() == "2026-11-18T01:00:00+00:00"


@pytest.mark.parametrize(
    ("written", "hour"),
    [
        ("2026-11-18T09:00:00+08:00", 1),
        ("2026/11/18 9:00", 1),
        ("2026/11/8 9:05:07", 1),
        ("2026年11月18日 09:00", 1),
        ("2026-11-18 01:00:00Z", 1),
        ("2026-11-18 09:00:00+0800", 1),
    ],
)
def test_times_are_read_as_spreadsheets_write_them(written: str, hour: int) -> None:
    [line] = read(f"case_no,phone,closed_at\nGD-1,13800000001,{written}\n")
    assert isinstance(line, CaseLine)
    assert line.case.content.closed_at.hour == hour


def test_digits_that_were_kept_as_text_are_unwrapped() -> None:
    [line] = read('case_no,phone,closed_at,agent\n"=""007""",\'13800000001,2026-11-18 09:00:00,"=""0042"""\n')
    assert isinstance(line, CaseLine)
    assert (line.case.case_no, line.case.number.value, line.case.content.agent) == ("007", "+8613800000001", "0042")


def test_every_bad_line_is_named_and_good_ones_are_kept() -> None:
    content = HEADING + "".join(
        [
            GOOD,  # 2
            "GD-2,abc,2026-11-18 09:00:00,,,\n",  # 3
            "\n",
            ",,,,,\n",
            "GD-3,13800000001,tomorrow,,vielleicht,\n",  # 6
            "GD-4,13800000001\n",  # 7
            "GD-5,,2026-11-18 09:00:00,,否,,,\n",  # 8: more cells, all empty
            "GD-6,13800000001,2026-11-18 09:00:00,,,,x\n",  # 9
            ",13800000001,2026-11-18 09:00:00,,,\n",  # 10
            'GD-7,13800000001,2026-11-18 09:00:00,,,"两\n行"\n',  # 11 and 12
            "GD-8,13800000001,2026-11-18 09:00:00,,,x",  # 13, without an end
        ]
    )
    assert cases(content) == [(2, "GD-1"), (8, "GD-5"), (11, "GD-7"), (13, "GD-8")]
    found = bad(content)
    assert {number: sentence.split(":")[0] for number, sentence in found.items()} == {
        3: "phone",
        6: "closed_at",
        7: "has 2 cells, the first line has 6",
        9: "has 7 cells, the first line has 6",
        10: "case_no",
    }
    assert "consent" in found[6], "every problem of a line at once"


def test_a_quote_that_is_never_closed_costs_its_line_alone() -> None:
    rest = "".join(GOOD.replace("GD-1", f"GD-{place}") for place in range(3, 103))
    content = HEADING + GOOD + 'GD-2,13800000001,2026-11-18 09:00:00,,,"路灯\n' + rest
    assert list(bad(content)) == [3]
    assert len(cases(content)) == 101


def test_a_quote_within_a_cell_is_a_sign() -> None:
    content = HEADING + 'GD-1,13800000001,2026-11-18 09:00:00,,,5" 管\n' + GOOD.replace("GD-1", "GD-2")
    assert cases(content) == [(2, "GD-1"), (3, "GD-2")]


def test_a_broken_byte_costs_its_line_alone() -> None:
    content = (CHINESE + GOOD).encode() + b"GD-2,13800000001,2026-11-18 09:00:00,,,\xff\xfe\n" + GOOD.encode()
    assert cases(content) == [(2, "GD-1"), (4, "GD-1")]
    assert list(bad(content)) == [3]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("case_no,closed_at\n", "no column for phone"),
        ("case_no,phone,closed_at,colour\n", "'colour' is no field"),
        ("工单号,电话,办结时间,工单编号\n", "two columns are case_no"),
        ("GD-1,13800000001,2026-11-18\n", "is no field"),
    ],
)
def test_a_file_whose_first_line_says_something_else_is_refused(content: str, sentence: str) -> None:
    with pytest.raises(CannotDo, match=sentence):
        read(content)


def test_no_sentence_holds_a_number() -> None:
    content = HEADING + "GD-1,13812345678x,13812345678,13812345678,13812345678,x\n"
    assert all("13812345678" not in sentence for sentence in bad(content).values())


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_every_line_of_whatever_comes_is_taken_or_named_once(tail: bytes) -> None:
    found: list[Any] = read(CHINESE.encode() + tail)
    numbers = [line.number for line in found]
    assert numbers == sorted(set(numbers))
