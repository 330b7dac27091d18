"""`huiyin check` of the SMS channel: the texts with their length and digest, what is not approved, bad tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.checks import problems, report

LINK = """
[[sms.links]]
name = "mobile"
host = "127.0.0.1"
system_id = "huiyin"
password = "secret"
"""
SMS = '[sms]\nservice_number = "106912345"\nsignature = "临夏12345"\n'


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    def write(text: str) -> Path:
        file = tmp_path / "huiyin.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_without_a_link_there_is_nothing_to_say(write) -> None:  # type: ignore[no-untyped-def]
    assert not [line for line in report(write("")) if "text" in line]


def test_each_text_is_shown_with_its_segments_and_its_digest(write) -> None:  # type: ignore[no-untyped-def]
    file = write(SMS + LINK)
    assert problems(file) == []
    lines = report(file)
    assert lines[0].startswith("texts of link mobile")
    digests = [match[1] for line in lines if (match := re.match(r"  ([0-9a-f]{12})  1 segment, ", line))]
    assert len(digests) == len(set(digests)) >= 9
    assert any("【临夏12345】" in line and "{date}" in line for line in lines)


def test_a_changed_text_is_no_longer_approved(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    plain = write(SMS + LINK)
    digests = [match[1] for line in report(plain) if (match := re.match(r"  ([0-9a-f]{12})  ", line))]
    approved = f"approved = {digests!r}\n".replace("'", '"')
    assert problems(write(f"{SMS}require_approved = true\n{LINK}{approved}")) == []
    texts = tmp_path / "texts"
    texts.mkdir()
    texts.joinpath("zh.toml").write_text('[texts]\nclarification = "请只回复数字：{options}"\n', encoding="utf-8")
    [problem] = problems(write(f'{SMS}require_approved = true\ntexts = "texts"\n{LINK}{approved}'))
    assert problem.startswith("sms.links.mobile.approved: clarification (zh) is not approved; submit it")
    assert "【临夏12345】请只回复数字：" in problem


def test_a_password_that_no_bind_can_hold_is_a_mistake(write) -> None:  # type: ignore[no-untyped-def]
    [found] = problems(write(SMS + LINK.replace("secret", "…")))
    assert found.startswith("sms.links.mobile.password: has a sign that is not ASCII")


def test_an_authority_without_tls_is_a_mistake(write) -> None:  # type: ignore[no-untyped-def]
    found = problems(write(f'{SMS}{LINK}tls_ca = "ca.pem"\ntls_name = "smsc.example"\n'))
    assert found == [f"sms.links.mobile.{key}: means nothing without tls = true" for key in ("tls_ca", "tls_name")]


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("texts/zh.toml", '[texts]\nclarification = "{nonsense} {options}"\n', "nonsense"),
        ("carriers.csv", "138;mobile\n", "line 1"),
        ("receipts.toml", "[[rule]]\ncodes = 1\n", "sms.receipt_table"),
        ("ca.pem", "nothing\n", "tls_ca"),
    ],
)
def test_a_bad_file_is_named(write, tmp_path: Path, file: str, content: str, says: str) -> None:  # type: ignore[no-untyped-def]
    keys = {
        "texts/zh.toml": 'texts = "texts"',
        "carriers.csv": 'carriers_file = "carriers.csv"',
        "receipts.toml": 'receipt_table = "receipts.toml"',
    }
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    tls = 'tls = true\ntls_ca = "ca.pem"\n' if file == "ca.pem" else ""
    found = problems(write(f"{SMS}{keys.get(file, '')}\n{LINK}{tls}"))
    assert found
    assert any(says in line for line in found), found
