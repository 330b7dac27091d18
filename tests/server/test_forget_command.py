"""`huiyin forget`, on a real installation, alone and beside a running server."""

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
from models.tables import audit, cases, invitations
from server.cli import main
from tests.server.running import Huiyin, run_command, write_config

NUMBER = "13800001234"
Run = Callable[..., Result]


@pytest.fixture
def run(restored_logs: None) -> Run:
    def command(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)

    return command


@pytest.fixture
def config(tmp_path: Path, run: Run) -> Path:
    """An installation with two cases of one citizen and one of another."""
    file = write_config(tmp_path)
    at = (SystemClock().now() - timedelta(hours=1)).astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
    listed = tmp_path / "closed.csv"
    lines = [f"GD-1,{NUMBER}", f"GD-2,{NUMBER}", "GD-3,13900000009"]
    listed.write_text("工单编号,手机号码,办结时间\n" + "".join(f"{line},{at}\n" for line in lines), encoding="utf-8")
    assert run("cases", "import", listed, "-c", file).exit_code == 0
    return file


def rows(config: Path, table: Any) -> list[Any]:
    database = open_database("sqlite:///var/huiyin.db", config.parent)
    try:
        with database.read_engine.connect() as connection:
            return list(connection.execute(select(table).order_by(next(iter(table.primary_key.columns)))))
    finally:
        database.close()


def numbered(config: Path) -> list[str]:
    return [row.case_no for row in rows(config, cases) if row.number_hash is not None]


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        ((NUMBER, "--yes"), None),
        (("+86 138 0000 1234", "--yes"), None),
        (("-", "--yes"), f"{NUMBER}\n"),
        ((NUMBER,), "y\n"),
        (("-",), f"{NUMBER}\ny\n"),
    ],
)
def test_a_citizen_is_forgotten_and_counted(
    run: Run, config: Path, arguments: tuple[str, ...], stdin: str | None
) -> None:
    result = run("forget", *arguments, "-c", config, stdin=stdin)
    assert result.exit_code == 0, result.output
    assert "138****1234: 0 calls, 2 cases, 0 messages, 2 open invitations" in result.stderr
    assert "138****1234 is forgotten: 0 calls, 2 cases, 0 messages, 0 evaluations" in result.stdout
    assert NUMBER not in result.output
    assert numbered(config) == ["GD-3"]
    assert [row.state for row in rows(config, invitations)] == ["withdrawn", "withdrawn", "waiting"]
    [line] = [row for row in rows(config, audit) if row.action == "person.forgotten"]
    assert (line.actor, line.subject_id) == ("command_line", None)
    assert "1234" not in line.detail


def test_twice_is_harmless(run: Run, config: Path) -> None:
    assert run("forget", NUMBER, "--yes", "-c", config).exit_code == 0
    again = run("forget", NUMBER, "--yes", "-c", config)
    assert (again.exit_code, "is forgotten: 0 calls, 0 cases" in again.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        ((NUMBER,), "n\n", 1),
        ((NUMBER,), "", 1),
        (("-",), f"{NUMBER}\n", 1),
        (("-", "--yes"), "", 2),
        (("anonymous", "--yes"), None, 2),
        (("nobody", "--yes"), None, 2),
        ((), None, 2),
    ],
)
def test_what_is_not_confirmed_or_no_number_changes_nothing(
    run: Run, config: Path, arguments: tuple[str, ...], stdin: str | None, code: int
) -> None:
    assert run("forget", *arguments, "-c", config, stdin=stdin).exit_code == code
    assert numbered(config) == ["GD-1", "GD-2", "GD-3"]


def test_it_works_beside_a_running_server(config: Path) -> None:
    with Huiyin(config):
        done = run_command("forget", "-", "--yes", "-c", config, stdin=f"{NUMBER}\n")
    assert done.returncode == 0, done.stderr
    assert numbered(config) == ["GD-3"]


def test_afterwards_the_key_is_rotated(run: Run, config: Path) -> None:
    assert run("forget", NUMBER, "--yes", "-c", config).exit_code == 0
    assert "2 numbers are sealed" in run("key", "rotate", "-c", config).stdout
    assert numbered(config) == ["GD-3"]
