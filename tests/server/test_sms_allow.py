"""`huiyin sms allow`: a carrier's opt-out lifted by hand, with its line in the audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result
from sqlalchemy import insert, select

from models.clock import SystemClock
from models.database import open_database
from models.ids import new_id
from models.tables import audit, opt_outs
from server.cli import main


def number_row(directory: Path, origin: str) -> Callable[[], object]:
    """Stores an opt-out of 13800000001; gives what reads its end."""
    database = open_database("sqlite:///var/huiyin.db", directory)
    database.ensure_schema()
    sealed = database.open_keyring(directory / "var/privacy.key").seal("+8613800000001")
    with database.write_engine.begin() as connection:
        connection.execute(
            insert(opt_outs).values(
                id=new_id(),
                number_kind="mobile",
                number_sealed=sealed.sealed,
                number_hash=sealed.hash,
                number_tail=sealed.tail,
                number_key_id=sealed.key_id,
                origin=origin,
                at=SystemClock().now(),
            )
        )

    def ended() -> object:
        with database.read_engine.connect() as connection:
            return connection.execute(select(opt_outs.c.ended_at).where(opt_outs.c.origin == origin)).scalar_one()

    return ended


def run(directory: Path, number: str) -> Result:
    return CliRunner().invoke(main, ["sms", "allow", "-c", str(directory / "huiyin.toml")], input=f"{number}\n")


def test_a_carrier_s_opt_out_is_lifted_and_the_audit_says_so(tmp_path: Path, restored_logs: None) -> None:
    (tmp_path / "huiyin.toml").touch()
    ended = number_row(tmp_path, "carrier")
    assert run(tmp_path, "138 0000 0001").exit_code == 0
    assert ended() is not None
    database = open_database("sqlite:///var/huiyin.db", tmp_path)
    with database.read_engine.connect() as connection:
        [line] = connection.execute(select(audit.c.action, audit.c.detail)).all()
    assert line == ("opt_out.lifted", "carrier")
    again = run(tmp_path, "13800000001")
    assert (again.exit_code, again.stderr) == (1, "huiyin: no carrier's opt-out is known of this number\n")


def test_what_a_citizen_wrote_stands(tmp_path: Path, restored_logs: None) -> None:
    (tmp_path / "huiyin.toml").touch()
    ended = number_row(tmp_path, "citizen")
    assert run(tmp_path, "13800000001").exit_code == 1
    assert ended() is None


def test_no_mobile_is_said(tmp_path: Path, restored_logs: None) -> None:
    (tmp_path / "huiyin.toml").touch()
    result = run(tmp_path, "0930-1234567")
    assert (result.exit_code, result.stderr) == (1, "huiyin: that is no mobile number\n")
