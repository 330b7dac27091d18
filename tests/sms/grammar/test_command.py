"""`huiyin sms parse`: one reply a line in, one JSON object a line out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.cli import main
from tests.server.running import COMMAND


def parse(stdin: bytes, *arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(main, ["sms", "parse", *arguments], input=stdin)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout_bytes.decode("utf-8").splitlines()]


def test_the_contracts_shape() -> None:
    assert parse("5，没人管\n退订，满意\n恢复\n随便\n\n".encode()) == [
        {"outcome": "rating", "satisfaction": 1, "comment": "没人管", "why": "R6-digit"},
        {"outcome": "opt_out", "satisfaction": 4, "comment": "", "why": "R1-opt-out"},
        {"outcome": "opt_in", "satisfaction": None, "comment": "", "why": "R1-opt-in"},
        {"outcome": "unclear", "satisfaction": None, "comment": "", "why": "R3-doubt"},
        {"outcome": "unclear", "satisfaction": None, "comment": "", "why": "R2-nothing"},
    ]


def test_lines_as_they_come() -> None:
    answers = parse(b"\xef\xbb\xbf1\r\n\xff5\n5\xc3\n\x00\n2")
    assert [answer["satisfaction"] for answer in answers] == [5, None, None, None, 4]


def test_the_configurations_key_map(tmp_path: Path) -> None:
    config = tmp_path / "huiyin.toml"
    config.write_text('[rating]\nkeys = { "1" = 1, "2" = 2, "3" = 3, "4" = 4, "5" = 5 }\n', "utf-8")
    assert [answer["satisfaction"] for answer in parse(b"5\n", "-c", str(config))] == [5]


def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["sms", "parse", "-c", str(tmp_path / "nosuch.toml")], input=b"5\n")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "nosuch.toml does not exist" in result.stderr


@pytest.mark.slow
def test_each_answer_comes_before_the_next_line_is_asked_for() -> None:
    with subprocess.Popen([*COMMAND, "sms", "parse"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for text, satisfaction in (("1", 5), ("不满意", 2)):
            program.stdin.write(f"{text}\n".encode())
            program.stdin.flush()
            assert json.loads(program.stdout.readline())["satisfaction"] == satisfaction
        program.stdin.close()
        assert program.wait(30) == 0
