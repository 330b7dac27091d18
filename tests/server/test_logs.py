"""The log: its two forms, the bridges from the standard library and Twisted, and the net below every number."""

from __future__ import annotations

import json
import logging
import warnings

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, STDLibLogObserver, globalLogPublisher

from config.settings import LogSection
from server.logs import MASK, announce, configure, masked


def through(value: object) -> object:
    return masked(None, "info", {"value": value})["value"]


@pytest.mark.parametrize(
    "text",
    [
        "13800000000",
        "+8613800000000",
        "8613800000000",
        "008613800000000",
        "+86 138 0000 0000",
        "138-0000-0000",
        "0930-6212345",
        "(0930)6212345",
        "09306212345",
        "01062123456",
        "+8609306212345",
        "+14155550123",
        "callerid=%2B8613800000000",
        "x13800000000x",
        "来电13800000000。",
        '{"number": "13800000000"}',
        "tel:13800000000;phone-context=cn",
    ],
)
def test_what_looks_like_a_number_is_taken_out(text: str) -> None:
    shown = str(through(text))
    assert MASK in shown
    assert not any(run.isdigit() and len(run) > 4 for run in shown.replace("[number]", " ").split())


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T12:00:00.123456Z",
        "asterisk1-1700000000.42",
        "0199f138000000000123456789abcdef",
        "127.0.0.1:4573",
        "groups=12345 seconds=0.123",
        "热线12345",
    ],
)
def test_what_is_no_number_stays(text: str) -> None:
    assert through(text) == text


@given(st.from_regex(r"(\+?86)?1[3-9][0-9]{9}", fullmatch=True), st.text(max_size=5), st.text(max_size=5))
def test_no_mobile_number_survives_whatever_stands_around_it(number: str, before: str, after: str) -> None:
    if (before[-1:].isascii() and before[-1:].isdigit()) or (after[:1].isascii() and after[:1].isdigit()):
        return
    assert number[-11:] not in str(through(f"{before}{number}{after}"))


def test_every_kind_of_value_is_gone_through() -> None:
    class Named:
        def __str__(self) -> str:
            return "13800000000"

    assert through({"13800000000": ["13800000000", b"13800000000", 13800000000, {"a": Named()}]}) == {
        MASK: [MASK, MASK, MASK, {"a": MASK}]
    }
    assert through([True, None, 1.5, 12345]) == [True, None, 1.5, 12345]


pytestmark = pytest.mark.usefixtures("restored_logs")

# ── the process's log ─────────────────────────────────────────────────────────────────────────────────────────────────


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSection())
    structlog.get_logger("a").info("group failed", commands=3, cause="disk full")
    structlog.get_logger("a").debug("not shown")
    [line] = lines(capsys)
    assert "[info" in line
    assert "group failed" in line
    assert "commands=3" in line
    assert "cause='disk full'" in line


def test_json_from_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSection(format="json"))
    structlog.get_logger("a").warning("评价 13800000000", number=13800000000)
    logging.getLogger("some.library").error("call from %s", "13800000000")
    observer = STDLibLogObserver(name="twisted")
    globalLogPublisher.addObserver(observer)
    try:
        Logger("t").warn("from Twisted {n}", n="13800000000")
    finally:
        globalLogPublisher.removeObserver(observer)
    entries = [json.loads(line) for line in lines(capsys)]
    assert [(entry["event"], entry["level"]) for entry in entries] == [
        (f"评价 {MASK}", "warning"),
        (f"call from {MASK}", "error"),
        (f"from Twisted {MASK}", "warning"),
    ]
    assert entries[0]["number"] == MASK


def test_a_traceback_shows_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSection())
    try:
        dict[str, str]()["no row for 13800000000"]
    except KeyError:
        structlog.get_logger("a").exception("failed")
        logging.getLogger("b").exception("failed too")
        Logger("t", observer=STDLibLogObserver(name="twisted")).failure("failed three")
    shown = "\n".join(lines(capsys))
    assert shown.count("KeyError") >= 3
    assert "no row for [number]" in shown
    assert "13800000000" not in shown


def test_a_level_is_kept_for_every_source_and_announcements_come_through(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSection(level="error"))
    structlog.get_logger("a").warning("no")
    logging.getLogger("b").warning("no")
    logging.getLogger("apscheduler.scheduler").warning("no")
    announce("ready")
    [line] = lines(capsys)
    assert "ready" in line


def test_quiet_commands_log_errors_alone(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSection(level="debug"), quiet=True)
    structlog.get_logger("a").warning("no")
    structlog.get_logger("a").error("yes")
    assert len(lines(capsys)) == 1


def test_configuring_again_doubles_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSection())
    configure(LogSection())
    structlog.get_logger("a").info("once")
    assert len(lines(capsys)) == 1


def test_warnings_come_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSection())
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)
        warnings.warn("old call of 13800000000", stacklevel=1)
    shown = "\n".join(lines(capsys))
    assert "old call of [number]" in shown
