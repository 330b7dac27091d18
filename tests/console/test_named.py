"""Directory names on every page and in every filter, and to nobody else: by real HTTP on both databases."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from sqlalchemy import event, insert, update

from console.directory import Directory, Entry, EntryKind, Names, import_entries
from console.named import OFFERED, Offered, offered, with_codes
from console.ratings import Problem, RatingFilters
from console.viewer import ConsoleRole, Viewer
from models.database import Database
from models.ids import new_id
from models.tables import calls, cases, evaluations, outbox
from tests.console.site import MakeBrowser, Record
from tests.moments import START

A, B, C = "11622900MB0000001A", "11622900MB0000002B", "11622900MB0000003C"
ENTRIES = [
    Entry(EntryKind.AGENT, "1001", "张三", "一班"),
    Entry(EntryKind.AGENT, "1002", "李四", "二班"),
    Entry(EntryKind.AGENT, "1003", "马丽", "一班"),
    Entry(EntryKind.AGENT, "1004", "马丽", "二班"),
    Entry(EntryKind.DEPT, A, "临夏市住建局"),
    Entry(EntryKind.DEPT, B, "临夏市交通局"),
]
ALL = Viewer("ma", ConsoleRole.SUPERVISOR)
OWN = Viewer("zj", ConsoleRole.DEPARTMENT, depts=(A,))
AREA = Viewer("bai", ConsoleRole.SUPERVISOR, areas=("622901",))


@pytest.fixture
def rows(database: Database, record: Record) -> dict[str, str]:
    """A call and a case of each department, with an agent of its own; the record has names of its own for them."""
    found: dict[str, str] = {}
    for name, dept, agent, area in (("a", A, "1001", "622901"), ("b", B, "1002", "622902")):
        found[f"{name}call"] = record.call(dept, 1, area=area)
        found[f"{name}case"] = record.case(dept, 1, area=area)
        with database.write_engine.begin() as connection:
            mine = [found[f"{name}call"], found[f"{name}case"]]
            connection.execute(update(calls).where(calls.c.subject_id == mine[0]).values(agent=agent))
            connection.execute(update(cases).where(cases.c.subject_id == mine[1]).values(dept_name=f"旧名{name}"))
            connection.execute(update(evaluations).where(evaluations.c.subject_id == mine[0]).values(agent=agent))
            connection.execute(
                update(evaluations).where(evaluations.c.subject_id == mine[1]).values(dept_name=f"旧名{name}")
            )
    with database.write_engine.begin() as connection:
        import_entries(connection, START, ENTRIES, replace=True, actor="command_line")
    record.count()
    return found


def read(database: Database, viewer: Viewer, **filters: str) -> tuple[RatingFilters, dict[str, Problem]]:
    with database.read_engine.connect() as connection:
        return with_codes(connection, viewer, Directory().names(connection), RatingFilters(**filters))  # type: ignore[arg-type]


# ── what was typed ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("field", "told", "code"),
    [
        ("agent", "张三", "1001"),
        ("agent", "张三 (1001)", "1001"),
        ("agent", "张三（1001）", "1001"),
        ("agent", "张三(1001)", "1001"),
        ("agent", "马丽 (1004)", "1004"),
        ("agent", "1001", "1001"),
        ("agent", "9999", "9999"),  # a code that the directory does not have
        ("agent", "", ""),  # not told
        ("dept", "临夏市住建局", A),
        ("dept", f"临夏市住建局 ({A})", A),
        ("dept", B, B),
        ("dept", C, C),
        ("agent", "马丽", Problem.SEVERAL),
        ("agent", "王五", Problem.NAME),
        ("agent", "李四 (1001)", Problem.NAME),  # of two people
        ("agent", "张三 (9999)", Problem.NAME),
        ("dept", "张三", Problem.NAME),
        ("dept", "临夏市住建", Problem.NAME),
        ("dept", "旧名a", Problem.NAME),  # the directory has another name for it, which is what pages show
    ],
)
def test_a_name_is_as_good_as_its_code(
    database: Database, rows: dict[str, str], field: str, told: str, code: str | Problem
) -> None:
    filters, wrong = read(database, ALL, **{field: told})
    if isinstance(code, Problem):
        assert (wrong, getattr(filters, field)) == ({field: code}, None)
    else:
        assert (wrong, getattr(filters, field)) == ({}, code)


def test_a_name_that_came_with_the_record_is_found_where_the_directory_has_none(
    database: Database, rows: dict[str, str]
) -> None:
    with database.write_engine.begin() as connection:
        import_entries(connection, START, ENTRIES[:4], replace=True, actor="command_line")
    assert read(database, ALL, dept="旧名b") == (RatingFilters(dept=B), {})
    assert read(database, OWN, dept="旧名a") == (RatingFilters(dept=A), {})
    assert read(database, OWN, dept="旧名b")[1] == {"dept": Problem.NAME}


def test_a_code_in_chinese_is_a_code(database: Database, record: Record, rows: dict[str, str]) -> None:
    record.call("公安局", 5)
    assert read(database, ALL, dept="公安局") == (RatingFilters(dept="公安局"), {})


@pytest.mark.parametrize("path", ["/ratings", "/asked"])
def test_what_a_page_shows_can_be_typed_into_its_form(browser: MakeBrowser, rows: dict[str, str], path: str) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    sent = someone.get(f"{path}?form=1&agent={quote('张三 (1001)')}&dept={quote('临夏市住建局')}")
    assert sent.status == 303
    named = parse_qs(urlsplit(sent.to or "").query)
    assert (named["agent"], named["dept"]) == (["1001"], [A])
    page = someone.get(f"{path}?what=calls&from=2026-11-01&to=2026-11-30&agent={quote('张三')}").text
    assert f"/cases/{rows['acall']}" in page or "张三 (1001)</a>" in page
    wrong = someone.get(f"{path}?form=1&agent={quote('马丽')}")
    assert wrong.status == 422
    assert "有多个同名的" in wrong.text
    assert "没有符合条件" not in wrong.text
    unknown = someone.get(f"{path}?dept={quote('不存在的局')}")
    assert unknown.status == 422
    assert "没有找到这个名称" in unknown.text
    assert re.search(r'name="dept"[^>]*aria-invalid="true"', unknown.text)


# ── whose names somebody is told ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("viewer", [OWN, AREA], ids=["department", "area"])
@pytest.mark.parametrize(
    ("field", "other"), [("agent", "李四"), ("agent", "李四 (1002)"), ("agent", "马丽"), ("dept", "临夏市交通局")]
)
def test_a_name_of_others_is_no_name(
    database: Database, rows: dict[str, str], viewer: Viewer, field: str, other: str
) -> None:
    nobody = read(database, viewer, **{field: "查无此人"})
    assert read(database, viewer, **{field: other}) == nobody == (RatingFilters(), {field: Problem.NAME})


@pytest.mark.parametrize("viewer", [OWN, AREA], ids=["department", "area"])
def test_of_their_own_rows_names_are_names(database: Database, rows: dict[str, str], viewer: Viewer) -> None:
    assert read(database, viewer, agent="张三", dept="临夏市住建局") == (RatingFilters(agent="1001", dept=A), {})


def test_several_of_a_name_are_one_to_who_sees_one_of_them(
    database: Database, record: Record, rows: dict[str, str]
) -> None:
    mine = record.call(A, 5)
    with database.write_engine.begin() as connection:
        connection.execute(update(calls).where(calls.c.subject_id == mine).values(agent="1003"))
    assert read(database, OWN, agent="马丽") == (RatingFilters(agent="1003"), {})
    assert read(database, ALL, agent="马丽")[1] == {"agent": Problem.SEVERAL}


PAGES = ["/ratings", "/ratings?agent=1002", f"/ratings?dept={B}", "/ratings?unseen=1", "/asked?what=calls", "/asked"]
PAGES += [f"/trends?by={by}&agent=1002" for by in ("day", "agent", "team")] + [f"/trends?by=dept&dept={B}"]
PAGES += ["/reports/day?date=2026-11-18", "/", "/queues", "/find?q=1002"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("areas", [False, True], ids=["department", "area"])
def test_no_page_tells_a_narrowed_viewer_names_of_others(
    browser: MakeBrowser, rows: dict[str, str], path: str, areas: bool
) -> None:
    own = browser(ConsoleRole.DEPARTMENT, areas=["622901"]) if areas else browser(ConsoleRole.DEPARTMENT, depts=[A])
    page = own.get(path)
    assert page.status == 200
    for other in ("李四", "马丽", "二班", "临夏市交通局", "旧名b"):
        assert other not in page.text, other
    whole = browser(ConsoleRole.SUPERVISOR).get(path).text
    if path.startswith(("/ratings", "/asked")):
        assert all(name in whole for name in ("张三", "李四", "二班", "临夏市交通局"))


def test_a_form_offers_the_names_of_its_rows(browser: MakeBrowser, rows: dict[str, str]) -> None:
    for path in ("/ratings", "/asked?what=calls"):
        text = browser(ConsoleRole.DEPARTMENT, f"u{len(path)}", depts=[A]).get(path).text
        assert f'<option value="{A}">临夏市住建局</option>' in text
        assert '<option value="1001">张三 一班</option>' in text
        assert '<option value="一班"></option>' in text


def test_what_is_offered_is_bounded() -> None:
    many = {f"{n:04}": Entry(EntryKind.AGENT, f"{n:04}", "某人", f"{n % 3}班") for n in range(OFFERED + 50)}
    names = Names("1", many, {})
    assert len(offered(ALL, names, []).agents) == OFFERED
    assert offered(OWN, names, []) == Offered((), (), ())
    assert offered(OWN, names, [("0007", None), (None, B), ("x", None)]) == Offered((many["0007"],), (), ("1班",))


def test_a_department_reads_no_row_of_anothers_to_find_a_name(database: Database, rows: dict[str, str]) -> None:
    """The condition stands in each query of the record."""
    asked: list[str] = []
    engine = database.read_engine
    event.listen(engine, "before_cursor_execute", listener := lambda _c, _u, text, *_: asked.append(text))
    try:
        read(database, OWN, agent="李四", dept="临夏市交通局")
    finally:
        event.remove(engine, "before_cursor_execute", listener)
    of_record = [text for text in asked if "evaluations" in text or "calls" in text]
    assert of_record
    assert all("dept" in text[text.index("WHERE") :] for text in of_record)


# ── the same name everywhere ──────────────────────────────────────────────────────────────────────────────────────────


def test_chips_of_the_trends_tell_names(browser: MakeBrowser, rows: dict[str, str]) -> None:
    someone = browser(ConsoleRole.SUPERVISOR)
    assert "部门 临夏市交通局 ×" in unescape(someone.get(f"/trends?by=day&dept={B}").text)
    assert "坐席 李四 (1002) ×" in someone.get("/trends?by=day&agent=1002").text
    own = browser(ConsoleRole.DEPARTMENT, depts=[A])
    assert "坐席 张三 (1001) ×" in own.get("/trends?by=day&range=today&agent=1001").text
    assert "坐席 1002 ×" in own.get("/trends?by=day&range=today&agent=1002").text


def test_the_queues_tell_the_directorys_names(browser: MakeBrowser, database: Database, rows: dict[str, str]) -> None:
    with database.write_engine.begin() as connection:
        connection.execute(update(cases).values(provisional=True, closed_at=START, deadline=START + timedelta(days=5)))
        for place, (state, subject) in enumerate((("dead", rows["acase"]), ("waiting", rows["bcase"]))):
            connection.execute(
                insert(outbox).values(
                    evaluation_id=new_id(), subject_id=subject, assess_number=1, state=state, not_before=START,
                    tries=place, created_at=START,
                )
            )  # fmt: skip
    someone = browser(ConsoleRole.SUPERVISOR)
    for path, name in (("letters", "临夏市住建局"), ("outbox", "临夏市交通局"), ("deadlines", "临夏市交通局")):
        text = someone.get(f"/queues/{path}").text
        assert name in text, path
        assert "旧名" not in text, path
