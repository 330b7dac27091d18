"""`huiyin sms queue`: the replies that wait, for an installation without a console."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from sqlalchemy import insert

from models.database import open_database
from models.ids import new_id
from models.tables import messages, work_owners
from server.cli import main
from tests.moments import START

WORDS = "我要投诉"


def fill(directory: Path) -> list[str]:
    """Two replies that wait, one that was handled, one that never waited."""
    database = open_database("sqlite:///var/huiyin.db", directory)
    database.ensure_schema()
    sealed = database.open_keyring(directory / "var/privacy.key").seal("+8613800000001")
    ids = [new_id() for _ in range(4)]
    rows = [("unclear", WORDS, None), ("unreadable", None, None), ("unclear", "好", START), (None, "5", None)]
    with database.write_engine.begin() as connection:
        for identity, (reason, text, handled) in zip(ids, rows, strict=True):
            connection.execute(
                insert(messages).values(
                    id=identity, direction="in", kind="reply", state="read", queue=reason, text=text,
                    handled_at=handled, created_at=START, changed_at=START, number_kind="mobile",
                    number_sealed=sealed.sealed, number_hash=sealed.hash, number_tail=sealed.tail,
                    number_key_id=sealed.key_id,
                )
            )  # fmt: skip
        connection.execute(insert(work_owners).values(kind="reply", item_id=ids[1], owner="user:ma", taken_at=START))
    database.close()
    return ids


def run(directory: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["sms", "queue", "-c", str(directory / "huiyin.toml"), *options])


def test_what_waits_is_listed_masked_and_without_words(tmp_path: Path, restored_logs: None) -> None:
    (tmp_path / "huiyin.toml").touch()
    first, second, *_ = fill(tmp_path)
    told = run(tmp_path)
    assert told.exit_code == 0
    assert told.stdout.splitlines() == [
        f"{first}\tunclear\t2026-11-18 10:00:00+08:00\t138****0001\t-",
        f"{second}\tunreadable\t2026-11-18 10:00:00+08:00\t138****0001\tuser:ma",
    ]
    assert told.stderr == "1 unclear, 1 unreadable\n"


def test_words_are_shown_when_asked_for(tmp_path: Path, restored_logs: None) -> None:
    (tmp_path / "huiyin.toml").touch()
    fill(tmp_path)
    assert [line.split("\t")[-1] for line in run(tmp_path, "--text").stdout.splitlines()] == [WORDS, "(undecodable)"]
    assert len(run(tmp_path, "--limit", "1").stdout.splitlines()) == 1


def test_nothing_waits(tmp_path: Path, restored_logs: None) -> None:
    (tmp_path / "huiyin.toml").touch()
    told = run(tmp_path)
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", "no reply waits for a person\n")
