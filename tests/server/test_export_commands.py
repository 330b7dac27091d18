"""`huiyin export` and `huiyin directory` on a real installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from config.loading import load
from console.directory import Directory, Entry, EntryKind, Names
from console.ratings import RatingFilters, Sort
from console.viewer import ConsoleRole, Viewer
from models.database import open_database
from server.cli import main
from server.directory_file import read_directory_file
from server.errors import CannotDo
from tests.console.exported import in_the_audit, read_csv, read_xlsx
from tests.console.record_rows import Row, fill, naive
from tests.moments import START
from tests.server.running import write_config

SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)


@pytest.fixture
def run(restored_logs: None) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[tuple[Path, list[Row]]]:
    config = write_config(tmp_path)
    database = open_database("sqlite:///var/huiyin.db", config.parent)
    database.ensure_schema()
    keyring = database.open_keyring(load(config, {}).privacy.key_file)
    rows = fill(database, keyring, 40, days=10)
    yield config, rows
    database.close()


def test_the_command_writes_the_days_asked_for(
    filled: tuple[Path, list[Row]], run: Callable[..., Result], tmp_path: Path
) -> None:
    config, rows = filled
    filters = RatingFilters(
        first=START.date().replace(day=12), last=START.date().replace(day=16), superseded=True, sort=Sort.OLDEST
    )
    expected = naive(rows, filters, SUPERVISOR)
    days = ("--from", "2026-11-12", "--to", "2026-11-16")
    for name, read in (("out.csv", read_csv), ("out.xlsx", read_xlsx)):
        done = run("export", "-c", config, *days, "-o", tmp_path / name)
        assert done.exit_code == 0, done.output
        found: list[dict[str, Any]] = read((tmp_path / name).read_bytes())
        assert [line["id"] for line in found] == expected
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    plain = run("export", "-c", config, *days)
    assert [line["id"] for line in read_csv(plain.stdout_bytes)] == expected
    database = open_database("sqlite:///var/huiyin.db", config.parent)
    assert [action for action, _ in in_the_audit(database)] == ["ratings.exported", "ratings.export_ended"] * 3
    database.close()


def test_the_command_says_what_is_wrong(
    filled: tuple[Path, list[Row]], run: Callable[..., Result], tmp_path: Path
) -> None:
    config, _ = filled
    assert run("export", "-c", config, "--from", "2026-11-16", "--to", "2026-11-12").exit_code == 2
    assert run("export", "-c", config, "--from", "x", "--to", "2026-11-12").exit_code == 2
    days = ("--from", "2026-11-01", "--to", "2026-11-18")
    assert run("export", "-c", config, *days, "-o", tmp_path / "out.pdf").exit_code == 2
    text = config.read_text("utf-8")
    assert "[console]\n" in text
    config.write_text(text.replace("[console]\n", "[console]\nexport_rows = 5\n"), encoding="utf-8")
    limited = run("export", "-c", config, *days, "-o", tmp_path / "out.csv")
    assert limited.exit_code == 1
    assert "console.export_rows" in limited.stderr


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("head", "line", "entry"),
    [
        ("类型,编码,名称,班组", "坐席,0042,马兰,一班", Entry(EntryKind.AGENT, "0042", "马兰", "一班")),
        ("类型,编码,名称,班组", "部门,11622900MB0001,州人社局,", Entry(EntryKind.DEPT, "11622900MB0001", "州人社局")),
        ("工号,姓名,班组", "PJSIP/1001,王芳,", Entry(EntryKind.AGENT, "1001", "王芳")),
        ("部门编码;部门名称", "D1;教育局", Entry(EntryKind.DEPT, "D1", "教育局")),
        ("kind,code,name", "agent,7,Ma", Entry(EntryKind.AGENT, "7", "Ma")),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_line_is_an_entry(head: str, line: str, entry: Entry, encoding: str) -> None:
    read = read_directory_file(f"{head}\n{line}\n".encode(encoding))
    assert (read.entries, read.bad) == ([entry], [])


@pytest.mark.parametrize(
    ("head", "line", "words"),
    [
        ("类型,编码,名称", "坐席,,马兰", "code: is empty"),
        ("类型,编码,名称", "坐席,1,", "name: is empty"),
        ("类型,编码,名称", "司机,1,马兰", "kind: is neither"),
        ("工号,部门编码,名称", "1,2,马兰", "both an agent and a department"),
        ("类型,编码,名称", "坐席," + "1" * 65 + ",马兰", "1 to 64 characters"),
        ("类型,编码,名称", "坐席,1", "has 2 cells"),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(head: str, line: str, words: str) -> None:
    [bad] = read_directory_file(f"{head}\n{line}\n".encode()).bad
    assert (bad.number, words in bad.sentence) == (2, True), bad


def test_a_code_that_stands_twice_is_named_and_headings_are_needed() -> None:
    [bad] = read_directory_file("工号,姓名\n1,马\n1,王\n".encode()).bad
    assert str(bad) == "line 3: code: stands in line 2 already"
    for head in ("姓名", "编码,姓名", "工号,姓名,电话"):
        with pytest.raises(CannotDo):
            read_directory_file(f"{head}\n".encode())


def test_names_are_imported_shown_and_follow_each_import(
    filled: tuple[Path, list[Row]], run: Callable[..., Result], tmp_path: Path
) -> None:
    config, _ = filled
    directory, database = Directory(), open_database("sqlite:///var/huiyin.db", config.parent)

    def names() -> Names:
        with database.read_engine.connect() as connection:
            return directory.names(connection)

    file = tmp_path / "names.csv"
    file.write_text("类型,编码,名称,班组\n坐席,1001,马兰,一班\n部门,D1,教育局,\n", "utf-8")
    assert names().agent("1001") == "1001"
    assert run("directory", "import", file, "-c", config).output == "2 added, 0 changed, 0 removed\n"
    found = names()
    assert (found.agent("1001"), found.team("1001"), found.dept("D1")) == ("马兰 (1001)", "一班", "教育局")
    assert (found.agent("9"), found.dept("X", "某局"), found.agent(None)) == ("9", "某局", "")
    assert found.agents_named(["1001", "9"]) == {"1001": "马兰 (1001)", "9": "9"}
    assert names() is found
    file.write_text("工号,姓名,班组\n1001,马兰兰,二班\n", "utf-8")
    assert run("directory", "import", file, "-c", config).output == "0 added, 1 changed, 0 removed\n"
    assert (names().agent("1001"), names().dept("D1")) == ("马兰兰 (1001)", "教育局")
    assert run("directory", "import", file, "-c", config, "--replace").output == "0 added, 0 changed, 1 removed\n"
    assert names().dept("D1") == "D1"
    file.write_text("工号,姓名\n,x\n2,y\n", "utf-8")
    refused = run("directory", "import", file, "-c", config)
    assert refused.exit_code == 1
    assert "line 2: code: is empty" in refused.stderr
    assert names().agent("2") == "2"
    database.close()
