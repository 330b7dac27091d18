"""Exports: read back they are the rows; nothing in them is a formula; every one stands in the audit."""

from __future__ import annotations

import asyncio
import http.client
import io
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import openpyxl
import pytest
from sqlalchemy import update

from console.exports import ExportDesk, ExportFormat
from console.pages.export_rows import Query, neutral, write_export
from console.pages.options import RatingsOptions
from console.pages.shell import Console
from console.passwords import Passwords
from console.people import disable_user
from console.ratings import RatingFilters, Sort
from console.viewer import ConsoleRole, Viewer
from models.clock import TurnedClock
from models.database import Database
from models.door import Door
from models.privacy import Keyring
from models.tables import cases, evaluations, users
from server import health
from tests.console.browser import Browser
from tests.console.exported import ask, in_the_audit, read_csv, read_xlsx
from tests.console.record_rows import fill, naive
from tests.console.site import QUICK, RULES, MakeBrowser, Record
from tests.moments import START

SUPERVISOR = Viewer("ma", ConsoleRole.SUPERVISOR)
FORMULAS = (
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n1", "=cmd|' /C calc'!A0", " =1+1"),
    *("＝1+1", "　＋1", "＠x"),
)


@pytest.fixture
def desk(database: Database, keyring: Keyring, tmp_path: Path) -> ExportDesk:
    path = tmp_path / "keys" / "privacy.key"
    keyring.save(path)
    return ExportDesk(
        database.url.render_as_string(hide_password=False), str(path), reasons={"209": "未在承诺时间办结"}
    )


@pytest.fixture
def console(door: Door, keyring: Keyring, clock: TurnedClock, desk: ExportDesk) -> Console:
    options = RatingsOptions(exports=desk)
    return Console(door, keyring, clock, RULES, "临夏州12345", Passwords(QUICK), ratings=options)


def exported(database: Database, keyring: Keyring, form: ExportFormat, **more: Any) -> bytes:
    given: dict[str, Any] = {"viewer": SUPERVISOR, "filters": RatingFilters(sort=Sort.OLDEST)} | more
    page = given.pop("page", 1000)
    out = io.BytesIO()
    write_export(database, keyring, Query(**given), form, out, page=page)
    return out.getvalue()


# ── the file ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_twenty_thousand_rows_read_back_are_the_rows(database: Database, keyring: Keyring) -> None:
    rows = fill(database, keyring, 18_200)
    expected = naive(rows, RatingFilters(superseded=True, sort=Sort.OLDEST), SUPERVISOR)
    assert len(expected) > 19_500
    filters = RatingFilters(superseded=True, sort=Sort.OLDEST)
    by_id = {row.id: row for row in rows}
    for read, form in ((read_csv, ExportFormat.CSV), (read_xlsx, ExportFormat.XLSX)):
        found = read(exported(database, keyring, form, filters=filters))
        assert [line["id"] for line in found] == expected
        for line in found:
            row = by_id[line["id"]]
            told = (line["number"], str(line["satisfaction"]), line["agent"] or None, line["queue"] or None)
            assert told == (row.number, str(row.satisfaction), row.agent, row.queue)


@pytest.mark.parametrize("form", list(ExportFormat))
def test_a_filtered_export_is_the_filtered_list_and_texts_stay_texts(
    database: Database, keyring: Keyring, form: ExportFormat
) -> None:
    rows = fill(database, keyring, 200)
    filters = RatingFilters(agent="0042", sort=Sort.WORST)
    content = exported(database, keyring, form, filters=filters, page=7)
    found = read_csv(content) if form is ExportFormat.CSV else read_xlsx(content)
    assert [line["id"] for line in found] == naive(rows, filters, SUPERVISOR)
    assert {line["agent"] for line in found} == {"0042"}
    phones = {line["phone"] for line in found} - {"", None}
    assert phones
    assert all("****" in str(phone) for phone in phones)


def test_a_department_exports_its_own_alone(database: Database, keyring: Keyring) -> None:
    rows = fill(database, keyring, 200)
    viewer = Viewer("d", ConsoleRole.DEPARTMENT, ("11622900MB0001",))
    found = read_csv(exported(database, keyring, ExportFormat.CSV, viewer=viewer))
    assert [line["id"] for line in found] == naive(rows, RatingFilters(sort=Sort.OLDEST), viewer)
    assert {line["dept"] for line in found} == {"11622900MB0001"}


def with_words(database: Database, record: Record, words: str) -> None:
    subject = record.case("A", 1)
    with database.write_engine.begin() as connection:
        connection.execute(update(evaluations).values(comment=words, agent=words[:60]))
        connection.execute(update(cases).where(cases.c.subject_id == subject).values(title=words))


@pytest.mark.parametrize("words", FORMULAS)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_cell_is_a_formula(database: Database, keyring: Keyring, record: Record, words: str) -> None:
    with_words(database, record, words)
    [line] = read_csv(exported(database, keyring, ExportFormat.CSV))
    for name in ("comment", "title", "agent"):
        assert line[name] == f"'{words}"
    content = exported(database, keyring, ExportFormat.XLSX)
    book = openpyxl.load_workbook(io.BytesIO(content))
    cells = {
        cell.value: cell.data_type for row in book.worksheets[0].iter_rows(min_row=2) for cell in row if cell.value
    }
    assert "f" not in cells.values()
    assert words.strip() in {str(value).replace("_x000D_", "").strip() for value in cells}


@pytest.mark.parametrize(
    ("text", "told"),
    [("满意", "满意"), ("1-2", "1-2"), ("a=b", "a=b"), ("", ""), ("=1", "'=1"), ("  -x", "'  -x")]
    + [(f"{sign}1", f"'{sign}1") for sign in "＝＋－＠﹦﹢﹣﹫−"]
    + [("　＝1", "'　＝1"), ("１－２", "１－２")],
)
def test_what_is_no_formula_stays_as_it_is(text: str, told: str) -> None:
    assert neutral(text) == told


@pytest.mark.parametrize("form", list(ExportFormat))
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_limit_of_rows_is_told_in_the_last_line(database: Database, keyring: Keyring, form: ExportFormat) -> None:
    fill(database, keyring, 60)
    content = exported(database, keyring, form, rows=20, page=8)
    found = read_csv(content) if form is ExportFormat.CSV else read_xlsx(content)
    assert len(found) == 21
    assert "20 行" in str(found[-1]["time"])
    late = exported(database, keyring, ExportFormat.CSV, seconds=-1.0, page=8)
    assert "时间上限" in read_csv(late)[-1]["time"]


def test_rows_that_come_in_meanwhile_are_in_it_once_or_not_at_all(database: Database, keyring: Keyring) -> None:
    rows = fill(database, keyring, 100)

    class Adding(io.BytesIO):
        calls = 0

        def write(self, some: Any) -> int:
            if self.calls < 5:
                self.calls += 1
                fill(database, keyring, 2, seed=50 + self.calls)
            return super().write(some)

    out = Adding()
    query = Query(SUPERVISOR, RatingFilters(sort=Sort.NEWEST))
    write_export(database, keyring, query, ExportFormat.CSV, out, page=9)
    ids = [line["id"] for line in read_csv(out.getvalue())]
    assert len(ids) == len(set(ids))
    assert set(naive(rows, RatingFilters(), SUPERVISOR)) <= set(ids)


# ── by the page ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_page_is_exported_and_stands_in_the_audit_twice(
    browser: MakeBrowser, database: Database, keyring: Keyring, door: Door
) -> None:
    rows = fill(database, keyring, 60)
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    for form, read in (("csv", read_csv), ("xlsx", read_xlsx)):
        status, headers, content = ask(someone, "tail=0001&from=2026-01-01", format=form)
        assert status == 200
        assert f".{form}" in headers["content-disposition"]
        assert headers["cache-control"] == "no-store"
        found: list[dict[str, Any]] = read(content)
        expected = naive(rows, RatingFilters(first=START.date().replace(month=1, day=1), tail="0001"), SUPERVISOR)
        assert [line["id"] for line in found] == expected
        door.write(lambda _unit: None).result(10)
        begun, ended = in_the_audit(database)[-2:]
        assert begun[0] == "ratings.exported"
        assert f"{form} masked" in begun[1]
        assert "tail=****" in begun[1]
        assert "0001" not in begun[1]
        assert ended == ("ratings.export_ended", f"{form} masked {len(expected)} rows")


def test_whole_numbers_are_for_supervisors_who_say_why(
    browser: MakeBrowser, database: Database, keyring: Keyring
) -> None:
    fill(database, keyring, 30)
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    for reason in ("", "查", "x" * 201):
        status, _, page = ask(someone, full="1", reason=reason)
        assert (status, b"13800001234" in page) == (422, False)
    assert in_the_audit(database) == []
    status, _, content = ask(someone, full="1", reason="季度回访 13800001234 核实")
    assert status == 200
    assert "13800001234" in {line["phone"] for line in read_csv(content)}
    detail = in_the_audit(database)[0][1]
    assert "full" in detail
    assert "季度回访" in detail
    assert "13800001234" not in detail
    other = browser(ConsoleRole.DEPARTMENT, "dept", depts=("11622900MB0001",))
    assert ask(other, full="1", reason="季度回访核实")[0] == 403
    masked = read_csv(ask(other)[2])
    assert {line["dept"] for line in masked} == {"11622900MB0001"}
    for role in (ConsoleRole.ADMIN, ConsoleRole.AUDITOR):
        nobody = browser(role)
        csrf = nobody.get("/account/password").hidden("csrf")
        assert nobody.post("/ratings/export", {"csrf": csrf, "query": "", "format": "csv"}).status == 403


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "fields", [{"format": "pdf"}, {"query": "satisfaction=9"}, {"query": "x" * 5000}, {"query": "a=1&" * 150}]
)
def test_a_form_that_cannot_be_right_is_refused(browser: MakeBrowser, fields: dict[str, str]) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    assert ask(someone, **{"query": "", **fields})[0] == 400
    assert someone.post("/ratings/export", {"query": "", "format": "csv", "csrf": "x"}).status == 403


# ── the child ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CHILDREN = {
    "dies before a byte": "import sys; sys.exit(1)",
    "dies in the middle": (
        "import sys; sys.stdin.readline(); sys.stdout.write('x' * 200000); sys.stdout.flush(); sys.exit(1)"
    ),
    "says nothing at its end": "import sys; sys.stdin.readline(); sys.stdout.write('x' * 10)",
    "writes without end": (
        "import sys; sys.stdin.readline()\nwhile True: sys.stdout.write('x' * 65536); sys.stdout.flush()"
    ),
    "leaves a file": (
        "import sys, json, time, pathlib; job = json.loads(sys.stdin.readline());"
        " pathlib.Path(job['folder'], 'numbers').write_text('x');"
        " sys.stdout.write('x' * 100000); sys.stdout.flush(); time.sleep(600)"
    ),
    "writes nothing": "import sys, time; sys.stdin.readline(); time.sleep(600)",
    "never ends": (
        "import sys, time; sys.stdin.readline(); sys.stdout.write('x' * 100000); sys.stdout.flush(); time.sleep(600)"
    ),
}


@pytest.fixture
def child(desk: ExportDesk) -> Callable[[str], None]:
    def use(name: str) -> None:
        desk._command = (sys.executable, "-c", CHILDREN[name])

    return use


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_child_that_dies_before_a_byte_is_a_page(
    browser: MakeBrowser, child: Callable[[str], None], database: Database, desk: ExportDesk
) -> None:
    child("dies before a byte")
    status, _, page = ask(browser(ConsoleRole.SUPERVISOR))
    assert (status, "导出没有完成".encode() in page) == (503, True)
    assert in_the_audit(database)[-1] == ("ratings.export_ended", "csv masked failed")
    assert desk.running == 0


@pytest.mark.parametrize("name", ["dies in the middle", "says nothing at its end"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_child_that_dies_later_leaves_a_file_that_is_not_whole(
    browser: MakeBrowser, child: Callable[[str], None], database: Database, desk: ExportDesk, door: Door, name: str
) -> None:
    child(name)
    with pytest.raises(http.client.IncompleteRead):
        ask(browser(ConsoleRole.SUPERVISOR))
    door.write(lambda _unit: None).result(10)
    assert in_the_audit(database)[-1] == ("ratings.export_ended", "csv masked broken off")
    assert desk.running == 0


@contextmanager
def downloading(someone: Browser, receives: int = 0) -> Iterator[http.client.HTTPResponse]:
    """An export whose answer has begun. `receives`: bytes of the socket's own buffer."""
    connection = asked(someone, receives)
    answer = connection.getresponse()
    try:
        assert answer.read(1000) == b"x" * 1000
        yield answer
    finally:
        answer.close()
        connection.close()


def asked(someone: Browser, receives: int = 0) -> http.client.HTTPConnection:
    """An export that was asked for."""
    csrf = someone.get("/ratings").hidden("csrf")
    body = urlencode({"csrf": csrf, "query": "", "format": "csv"}).encode()
    connection = http.client.HTTPConnection(someone.address.host, someone.address.port, timeout=60)
    cookies = "; ".join(f"{name}={value}" for name, value in someone.cookies.items())
    kind = "application/x-www-form-urlencoded"
    if receives:
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    connection.request("POST", "/ratings/export", body, {"Cookie": cookies, "Content-Type": kind})
    return connection


@pytest.fixture
def end_of_child(desk: ExportDesk, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a child has ended, whoever ended it."""
    ended = threading.Event()
    end = desk.end

    def watched(process: Any) -> None:
        end(process)
        asyncio.ensure_future(process.wait()).add_done_callback(lambda _done: ended.set())

    monkeypatch.setattr(desk, "end", watched)
    return ended


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_nobody_holds_more_than_one_place(
    browser: MakeBrowser, child: Callable[[str], None], database: Database, desk: ExportDesk
) -> None:
    child("never ends")
    slow, other = browser(ConsoleRole.DEPARTMENT, "slow", depts=("X",)), browser(ConsoleRole.SUPERVISOR, "ma")
    with downloading(slow):
        status, _, page = ask(slow)
        assert (status, "您有一个导出还在进行".encode() in page) == (503, True)
        assert in_the_audit(database)[-1] == ("ratings.export_ended", "csv masked busy")
        with downloading(other):
            assert desk.running == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_download_that_nobody_reads_ends_with_its_child(
    browser: MakeBrowser,
    child: Callable[[str], None],
    desk: ExportDesk,
    end_of_child: threading.Event,
    door: Door,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "UNREAD_SECONDS", 0.1)
    child("writes without end")
    with downloading(browser(ConsoleRole.SUPERVISOR), receives=4096):
        assert end_of_child.wait(30)
        assert desk.running == 0
    door.write(lambda _unit: None).result(10)
    assert in_the_audit(database)[-1] == ("ratings.export_ended", "csv masked broken off")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_child_that_is_killed_leaves_nothing_on_the_disk(
    browser: MakeBrowser,
    child: Callable[[str], None],
    desk: ExportDesk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sheet is put together in files, and a killed child removes none."""
    folder = tmp_path / "made"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    child("leaves a file")
    gone = threading.Event()
    remove = shutil.rmtree

    def removed(*given: Any, **how: Any) -> None:
        remove(*given, **how)
        gone.set()

    monkeypatch.setattr(shutil, "rmtree", removed)
    with downloading(browser(ConsoleRole.SUPERVISOR)):
        assert [one.name for one in folder.glob("huiyin-export-*/*")] == ["numbers"]
    assert gone.wait(30)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_browser_that_goes_away_ends_its_child_and_no_more_than_some_run_at_once(
    browser: MakeBrowser, child: Callable[[str], None], desk: ExportDesk, end_of_child: threading.Event
) -> None:
    child("never ends")
    desk.most = 1
    with downloading(browser(ConsoleRole.SUPERVISOR)):
        process: Any = next(iter(desk._running))
        status, _, page = ask(browser(ConsoleRole.SUPERVISOR, "bai"))
        assert (status, "正在进行的导出较多".encode() in page) == (503, True)
    assert end_of_child.wait(30)
    assert process.returncode is not None
    assert desk.running == 0


def runs(desk: ExportDesk) -> None:
    until = time.monotonic() + 10
    while not any(isinstance(one, asyncio.subprocess.Process) for one in desk._running):
        assert time.monotonic() < until, "no child was started"
        time.sleep(0.01)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_browser_that_goes_away_before_the_first_byte_ends_its_child_and_may_ask_again(
    browser: MakeBrowser,
    child: Callable[[str], None],
    desk: ExportDesk,
    end_of_child: threading.Event,
    database: Database,
) -> None:
    """A sheet is sent when it is complete: of a long one that is minutes, in which people change their mind."""
    child("writes nothing")
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    connection = asked(someone)
    runs(desk)
    connection.close()
    assert end_of_child.wait(10)
    assert desk.running == 0
    child("never ends")
    with downloading(someone):
        ended = ("ratings.export_ended", "csv masked broken off")
        assert [row for row in in_the_audit(database) if row[0] == "ratings.export_ended"] == [ended]


def narrowed(database: Database) -> None:
    with database.write_engine.begin() as connection:
        connection.execute(update(users).where(users.c.name == "ma").values(depts='["11622900A"]'))


def disabled(database: Database) -> None:
    with database.write_engine.begin() as connection:
        disable_user(connection, START, "ma", actor="command_line")


@pytest.mark.parametrize("loses", [narrowed, disabled])
@pytest.mark.parametrize("begun", [False, True], ids=["before the first byte", "in the middle"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_export_ends_when_its_user_may_no_longer_have_it(
    browser: MakeBrowser,
    child: Callable[[str], None],
    desk: ExportDesk,
    end_of_child: threading.Event,
    database: Database,
    door: Door,
    monkeypatch: pytest.MonkeyPatch,
    loses: Callable[[Database], None],
    begun: bool,
) -> None:
    monkeypatch.setattr("console.pages.exports.CHECK", 0.05)
    child("never ends" if begun else "writes nothing")
    someone = browser(ConsoleRole.SUPERVISOR, "ma")
    if begun:
        with downloading(someone) as answer:
            loses(database)
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
    else:
        connection = asked(someone)
        runs(desk)
        loses(database)
        assert connection.getresponse().status == 403
        connection.close()
    assert end_of_child.wait(10)
    assert desk.running == 0
    door.write(lambda _unit: None).result(10)
    told = [row for row in in_the_audit(database) if row[0] == "ratings.export_ended"]
    assert told == [("ratings.export_ended", "csv masked broken off")]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_export_whose_user_stays_who_they_are_goes_on(
    browser: MakeBrowser, desk: ExportDesk, database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.pages.exports.CHECK", 0.01)
    fill(database, keyring, 60)
    status, _, content = ask(browser(ConsoleRole.SUPERVISOR, "ma"), format="xlsx")
    assert status == 200
    assert len(read_xlsx(content)) > 20
