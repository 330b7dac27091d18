"""`huiyin calendar` on a real installation, its file line by line, and what `huiyin check` says of it."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, select, update

from config.local_days import local_day_names
from config.settings import Settings
from intake.calendars import DayLine, YearLine, calendar_reach
from intake.workdays import DayEntry, WorkingDays, YearEntry, area_of
from models.clock import SHANGHAI
from models.database import Database, open_database
from models.ids import new_id
from models.tables import calendar_days, cases
from server.calendar_checks import calendar_report, ends_soon, missing_local_days
from server.calendar_file import read_calendar_file
from server.cli import main
from server.errors import CannotDo
from tests.moments import START
from tests.server.running import write_config

Run = Callable[..., Result]
HEAD = "日期,类型,名称,行政区划,来源,确认"


@pytest.fixture
def run(restored_logs: None) -> Run:
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture
def write(config: Path) -> Callable[..., Path]:
    def file(*lines: str, head: str = HEAD, encoding: str = "utf-8") -> Path:
        path = config.parent / "calendar.csv"
        path.write_text("\n".join((head, *lines)) + "\n", encoding=encoding)
        return path

    return file


Write = Callable[..., Path]


def opened(config: Path) -> Database:
    return open_database("sqlite:///var/huiyin.db", config.parent)


# ── the file ──────────────────────────────────────────────────────────────────────────────────────────────────────────

NOTICE = "国办发明电〔2026〕9号"


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("2027-01-01,休,元旦,,N,是", DayLine("", date(2027, 1, 1), DayEntry(False, "元旦", "N", True))),
        ("2027/2/6,班,春节,,N,yes", DayLine("", date(2027, 2, 6), DayEntry(True, "春节", "N", True))),
        (
            "2027年3月10日,放假,开斋节,622900,N,否",
            DayLine("622900", date(2027, 3, 10), DayEntry(False, "开斋节", "N", False)),
        ),
        ("20270310,off,,622900000000,N,0", DayLine("622900", date(2027, 3, 10), DayEntry(False, None, "N", False))),
        ("2027.3.10,撤销,,,,", DayLine("", date(2027, 3, 10), None)),
        ("2027,全年,,,N,是", YearLine("", 2027, YearEntry("N", True))),
        ("2027年,year,,640000,N,no", YearLine("640000", 2027, YearEntry("N", False))),
        ("2027,remove,,,,", YearLine("", 2027, None)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
def test_a_line_is_read(line: str, read: DayLine | YearLine, encoding: str) -> None:
    found = read_calendar_file(f"{HEAD}\n{line}\n".encode(encoding))
    assert [*found.days, *found.years] == [read]
    assert found.bad == []


def test_english_headings_and_tabs_in_any_order() -> None:
    found = read_calendar_file(b"confirmed\tsource\tdate\tkind\nyes\tN\t2027-01-01\toff\n")
    assert found.days == [DayLine("", date(2027, 1, 1), DayEntry(False, None, "N", True))]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("2027-02-30,休,,,N,是", "date: is no day"),
        ("明天,休,,,N,是", "date: is no day"),
        ("1999-01-01,休,,,N,是", "date: is no day"),
        ("2027,休,,,N,是", "wants a day"),
        ("2027-01-01,全年,,,N,是", "wants a year"),
        ("2027-01-01,假,,,N,是", "kind: is none of"),
        ("2027-01-01,休,,6229,N,是", "area: is no"),
        ("2027-01-01,休,,,,是", "source: is empty"),
        ("2027-01-01,休,,,N,", "confirmed: is neither"),
        ("2027-01-01,休,,,N,13800000001", "confirmed: is neither"),
        ("2027-01-01,休,,N,是", "has 5 cells"),
        ('2027-01-01,"休,,,N,是', "a quote is not closed"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(line: str, sentence: str) -> None:
    found = read_calendar_file(f"{HEAD}\n2027-05-01,休,,,N,是\n{line}\n".encode())
    assert [one.number for one in found.bad] == [3]
    assert sentence in str(found.bad[0])
    assert "138" not in str(found.bad[0])


def test_every_reason_of_a_line_is_told_and_a_day_stands_once() -> None:
    found = read_calendar_file(
        f"{HEAD}\nx,y,,z,,\n2027-05-01,休,,622900,N,是\n2027-05-01,班,,622900000000,N,是\n".encode()
    )
    assert [one.number for one in found.bad] == [2, 4]
    assert all(f"{name}: " in str(found.bad[0]) for name in ("date", "kind", "area", "source", "confirmed"))
    assert "stands in line 3 already" in str(found.bad[1])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"date,kind,source\n", "confirmed"),
        (b"date,kind,source,confirmed,colour\n", "is no field of a calendar"),
    ],
)
def test_a_file_without_its_columns_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(CannotDo, match=sentence):
        read_calendar_file(content)


# ── due ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("day", "line"),
    [
        ("2026-02-12", "2026-02-26T23:59:59+08:00\tfinal"),
        ("2026-04-30", "2026-05-11T23:59:59+08:00\tfinal"),
        ("2026-09-30", "2026-10-13T23:59:59+08:00\tfinal"),
        ("2026-12-25", "2027-01-01T23:59:59+08:00\tprovisional"),
    ],
)
def test_due_without_a_configuration(run: Run, day: str, line: str) -> None:
    result = run("calendar", "due", day)
    assert (result.exit_code, result.stdout) == (0, f"{line}\n")
    assert ("no default is made" in result.stderr) is line.endswith("provisional")


@pytest.mark.parametrize(
    "arguments", [("due", "2026-13-01"), ("due",), ("due", "2026-01-01", "--area", "62"), ("show",)]
)
def test_wrong_use_is_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("calendar", *arguments).exit_code == 2


def test_due_and_show_make_no_database(run: Run, config: Path) -> None:
    due = run("calendar", "due", "2026-11-18", "-c", config)
    assert due.stdout == "2026-11-25T23:59:59+08:00\tfinal\n"
    show = run("calendar", "show", "--year", "2027", "-c", config)
    assert (show.exit_code, show.stdout) == (0, "")
    assert "2027 is not known" in show.stderr
    assert not (config.parent / "var").exists()


def test_due_counts_as_many_days_as_are_configured(run: Run, tmp_path: Path) -> None:
    config = write_config(tmp_path, "[schedule]\ndefault_after_working_days = 2\n")
    assert run("calendar", "due", "2026-11-18", "-c", config).stdout == "2026-11-20T23:59:59+08:00\tfinal\n"


# ── import and show ───────────────────────────────────────────────────────────────────────────────────────────────────


def store_case(config: Path, **values: object) -> None:
    database = opened(config)
    database.ensure_schema()
    row = {
        "subject_id": new_id(),
        "case_no": "GD-1",
        "service_number": 1,
        "stub": False,
        "closed_at": START,
        "created_at": START,
        "deadline": datetime(2026, 11, 25, 23, 59, 59, tzinfo=SHANGHAI),
        "provisional": False,
    } | values
    with database.write_engine.begin() as connection:
        connection.execute(insert(cases).values(default_at=row["deadline"], **row))
    database.close()


def test_an_import_says_what_it_changed_and_which_deadlines_moved(run: Run, config: Path, write: Write) -> None:
    store_case(config)
    file = write(
        f"2026-11-20,休,开斋节,622900,{NOTICE},是", f"2027-01-01,休,元旦,,{NOTICE},是", f"2027,全年,,,{NOTICE},是"
    )
    result = run("calendar", "import", file, "-c", config)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "3 added, 0 changed, 0 taken back, 0 as they were",
        "1 open deadlines moved, from 2026-11-25 to 2026-11-26; 0 became final, 0 provisional",
    ]
    again = run("calendar", "import", file, "-c", config)
    assert again.stdout.splitlines() == [
        "0 added, 0 changed, 0 taken back, 3 as they were",
        "no open deadline moved",
    ]
    shown = run("calendar", "show", "--year", "2026", "-c", config).stdout.splitlines()
    assert f"2026-11-20\tFri\toff\t开斋节\t622900\t{NOTICE}" in shown
    assert "2026-10-10\tSat\tworks\tNational Day\tnational\tchinesecalendar" in shown
    elsewhere = run("calendar", "show", "--year", "2026", "--area", "620100", "-c", config)
    assert "开斋节" not in elsewhere.stdout
    assert run("calendar", "due", "2026-12-25", "-c", config).stdout == "2027-01-04T23:59:59+08:00\tfinal\n"
    assert run("calendar", "due", "2026-11-18", "--area", "620100", "-c", config).stdout.startswith("2026-11-25")
    back = run("calendar", "import", write("2026-11-20,撤销,,622900,,"), "-c", config)
    assert "1 taken back" in back.stdout
    assert "from 2026-11-26 to 2026-11-25" in back.stdout


def test_nothing_is_imported_where_a_line_is_bad(run: Run, config: Path, write: Write) -> None:
    file = write("2027-01-01,休,,,N,是", "2027-01-32,休,,,N,是", "2027-02-01,休,,,,是")
    result = run("calendar", "import", file, "-c", config)
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert [line.split(": ")[2] for line in lines[:2]] == ["line 3", "line 4"]
    assert lines[-1].endswith("nothing was imported")
    assert not (config.parent / "var").exists()


def test_an_import_finishes_what_a_killed_one_left(run: Run, config: Path, write: Write) -> None:
    """Killed between its transaction and the computing: the same file again brings the deadlines up."""
    file = write("2026-11-20,休,,,N,是")
    store_case(config)
    assert run("calendar", "import", file, "-c", config).exit_code == 0
    database = opened(config)
    word = database.read_meta("calendar.version")
    progress = database.read_meta("calendar.progress")
    assert word is not None
    assert progress is not None
    database.write_meta("calendar.applied", None)
    database.write_meta("calendar.progress", progress.replace('"backlog", "at"', '"final", "at"'))
    old = datetime(2026, 11, 25, 23, 59, 59, tzinfo=SHANGHAI)
    with database.write_engine.begin() as connection:
        connection.execute(update(cases).values(deadline=old, default_at=old))
    database.close()
    assert run("calendar", "import", file, "-c", config).exit_code == 0
    database = opened(config)
    with database.read_engine.connect() as connection:
        due = connection.execute(select(cases.c.deadline)).scalar_one()
        assert len(connection.execute(select(calendar_days)).all()) == 1
    assert due == old + timedelta(days=1)
    assert database.read_meta("calendar.applied") == word
    database.close()


def test_a_utf16_file_of_a_spreadsheet_is_read(run: Run, config: Path, write: Write) -> None:
    file = write("2027-01-01,休,元旦,,N,是")
    file.write_bytes(codecs.BOM_UTF16_LE + file.read_text("utf-8").encode("utf-16-le"))
    assert "1 added" in run("calendar", "import", file, "-c", config).stdout


# ── warnings ──────────────────────────────────────────────────────────────────────────────────────────────────────────

TODAY = datetime(2026, 11, 28, 12, 0, tzinfo=SHANGHAI)
LINXIA = "622900"


@pytest.mark.parametrize(
    ("now", "soon"),
    [(datetime(2026, 11, 1, tzinfo=SHANGHAI), False), (datetime(2026, 11, 3, tzinfo=SHANGHAI), True), (TODAY, True)],
)
def test_the_end_of_the_calendar_is_told_sixty_days_ahead(now: datetime, soon: bool) -> None:
    assert ends_soon(calendar_reach(WorkingDays(), now, LINXIA), Settings()) is soon


@pytest.mark.parametrize(
    ("warning", "today", "gone"), [("0s", False, False), ("33d", False, True), ("34d", True, True), ("60d", True, True)]
)
def test_when_it_is_told_is_configured(warning: str, today: bool, gone: bool) -> None:
    settings = Settings.model_validate({"schedule": {"calendar_warning": warning}})
    assert ends_soon(calendar_reach(WorkingDays(), TODAY, LINXIA), settings) is today
    assert ends_soon(calendar_reach(WorkingDays(), datetime(2027, 1, 1, tzinfo=SHANGHAI), LINXIA), settings) is gone


def entry(name: str | None) -> DayEntry:
    return DayEntry(False, name, "N", True)


@pytest.mark.parametrize(
    ("code", "days", "years", "missing"),
    [
        (LINXIA, {}, {}, ["开斋节", "古尔邦节"]),
        ("622921", {}, {}, ["开斋节", "古尔邦节"]),
        ("620100", {}, {}, []),
        (LINXIA, {(LINXIA, date(2027, 3, 10)): entry("开斋节放假")}, {}, ["古尔邦节"]),
        (LINXIA, {(LINXIA, date(2026, 3, 20)): entry("开斋节")}, {}, ["开斋节", "古尔邦节"]),
        (LINXIA, {("622921", date(2027, 3, 10)): entry("开斋节")}, {}, ["开斋节", "古尔邦节"]),
        ("622921", {(LINXIA, date(2027, 3, 10)): entry("开斋节")}, {}, ["古尔邦节"]),
        (LINXIA, {}, {(LINXIA, 2027): YearEntry("N", True)}, []),
        (LINXIA, {}, {("", 2027): YearEntry("N", True)}, ["开斋节", "古尔邦节"]),
    ],
)
def test_local_days_that_nobody_has_imported(
    code: str,
    days: dict[tuple[str, date], DayEntry],
    years: dict[tuple[str, int], YearEntry],
    missing: list[str],
) -> None:
    assert missing_local_days(WorkingDays(1, days, years), code, 2027) == missing


def test_the_table_of_local_days_names_areas() -> None:
    assert all(area_of(area) == area and names for area, names in local_day_names().items())


def test_check_warns_and_is_content_after_the_import(run: Run, config: Path, write: Write) -> None:
    checked = run("check", "-c", config)
    assert checked.exit_code == 0
    assert not (config.parent / "var").exists()
    settings = Settings()
    settings._directory = config.parent
    first = calendar_report(settings, TODAY)
    assert [line.split(" of 622900")[0] for line in first] == [
        "warning: the confirmed working-day calendar",
        "warning: no 开斋节、古尔邦节 of 2026 is in the calendar",
        "warning: no 开斋节、古尔邦节 of 2027 is in the calendar",
    ]
    assert "reaches to 2026-12-31, 33 days" in first[0]
    years = [f"{year},全年,,{area},N,是" for year, area in ((2027, ""), (2026, LINXIA), (2027, LINXIA))]
    assert run("calendar", "import", write(*years), "-c", config).exit_code == 0
    assert calendar_report(settings, TODAY) == []
