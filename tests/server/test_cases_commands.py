"""`huiyin cases import` and `huiyin token`, on a real installation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from models.clock import SHANGHAI, SystemClock
from models.database import open_database
from models.tables import api_tokens, audit, cases, invitations
from server.cli import main
from tests.server.running import write_config

Run = Callable[..., Result]


@pytest.fixture
def run(restored_logs: None) -> Run:
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


def rows(config: Path, table: Any) -> list[Any]:
    database = open_database("sqlite:///var/huiyin.db", config.parent)
    try:
        with database.read_engine.connect() as connection:
            return list(connection.execute(select(table).order_by(next(iter(table.primary_key.columns)))))
    finally:
        database.close()


def write(config: Path, *lines: str) -> Path:
    at = (SystemClock().now() - timedelta(hours=1)).astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
    file = config.parent / "closed.csv"
    file.write_text("工单编号,手机号码,办结时间\n" + "".join(f"{line},{at}\n" for line in lines), encoding="gbk")
    return file


def test_good_lines_are_kept_bad_ones_named_and_the_file_may_be_given_again(run: Run, config: Path) -> None:
    file = write(config, "GD-1,13800000001", "GD-2,abc", "GD-3,0930-6212345", "GD-1,13800000002")
    first = run("cases", "import", file, "-c", config)
    assert first.exit_code == 1
    assert "2 new cases, 1 of them to be asked by SMS; 0 were known; 2 lines not taken" in first.stdout
    assert [line for line in first.stderr.splitlines() if line.startswith("huiyin: ")] == [
        f"huiyin: {file}: line 3: phone: is no telephone number",
        f"huiyin: {file}: line 5: phone: is another than before; PATCH changes a case",
    ]
    assert "138000" not in first.output
    before = [rows(config, table) for table in (cases, invitations)]
    again = run("cases", "import", file, "-c", config)
    assert again.exit_code == 1
    assert "0 new cases, 0 of them to be asked by SMS; 2 were known; 2 lines not taken" in again.stdout
    assert [rows(config, table) for table in (cases, invitations)] == before
    mended = run("cases", "import", write(config, "GD-2,13800000003"), "-c", config)
    assert (mended.exit_code, [row.case_no for row in rows(config, cases)]) == (0, ["GD-1", "GD-3", "GD-2"])
    assert {(row.actor, row.action) for row in rows(config, audit)} == {("command_line", "case.posted")}


def test_many_lines_are_handed_in_and_owned_by_the_token_that_is_named(run: Run, config: Path) -> None:
    file = write(config, *(f"GD-{place},{13800000000 + place}" for place in range(200)))
    result = run("cases", "import", file, "--as", "gongdan", "-c", config)
    assert result.exit_code == 0, result.output
    assert "200 new cases, 200 of them" in result.stdout
    assert {row.posted_by for row in rows(config, cases)} == {"gongdan"}
    assert len(rows(config, invitations)) == 200


@pytest.mark.parametrize(
    ("content", "code", "sentence"),
    [
        (None, 1, "No such file"),
        (b"colour\nred\n", 1, "is no field of a case"),
        (b"", 1, "the file is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_1(
    run: Run, config: Path, content: bytes | None, code: int, sentence: str
) -> None:
    file = config.parent / "closed.csv"
    if content is not None:
        file.write_bytes(content)
    result = run("cases", "import", file, "-c", config)
    assert (result.exit_code, len(result.stderr.splitlines())) == (code, 1)
    assert sentence in result.stderr


def test_a_token_is_shown_once_listed_and_revoked(run: Run, config: Path) -> None:
    made = run("token", "add", "zhou", "--scope", "read", "--dept", "A1", "--area", "6229", "-c", config)
    assert made.exit_code == 0
    [secret] = made.stdout.splitlines()
    assert secret.startswith("hy_")
    listed = run("token", "list", "-c", config)
    assert "zhou\tread\tdept=A1,area=6229\t" in listed.stdout
    assert secret not in listed.output
    again = run("token", "add", "zhou", "--scope", "read", "-c", config)
    assert (again.exit_code, "in use" in again.stderr) == (1, True)
    assert run("token", "revoke", "zhou", "-c", config).exit_code == 0
    assert "revoked 20" in run("token", "list", "-c", config).stdout
    assert run("token", "revoke", "zhou", "-c", config).exit_code == 1
    assert run("token", "add", "zhou", "--scope", "intake", "-c", config).exit_code == 0
    assert [(row.name, row.scope, row.depts) for row in rows(config, api_tokens)] == [("zhou", "intake", None)]
    assert [row.action for row in rows(config, audit)] == ["token.added", "token.revoked", "token.added"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("cases",),
        ("cases", "import", "-c", "x"),
        ("token", "add", "zhou", "-c", "x"),
        ("token", "add", "zhou", "--scope", "all", "-c", "x"),
        ("token", "add", "周", "--scope", "read", "-c", "x"),
        ("token", "add", "zhou", "--scope", "intake", "--dept", "A1", "-c", "x"),
        ("token", "add", "zhou", "--scope", "read", "--dept", "", "-c", "x"),
        ("token", "revoke", "-c", "x"),
    ],
)
def test_wrong_use_is_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
