"""The list of ratings and one rating's story in a real browser: one click's ranges, filters in the address, what a
department sees, and a file that was taken out of it.
"""

from __future__ import annotations

import csv
import re
from io import StringIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import openpyxl
import pytest
from playwright.sync_api import Locator, Page, expect

from console.viewer import ConsoleRole
from tests.browser.conftest import Sit
from tests.browser.hotline import BUILDING, CALLS, CASES, SCRIPTED, Hotline
from tests.browser.looking import unreached

SUPERVISOR, DEPARTMENT = ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT
RATED_CASES = [case for case in CASES if case.level is not None]
OTHERS = [case.no for case in CASES if case.dept != BUILDING]


def rows(page: Page) -> Locator:
    return page.locator("table.rows tbody tr")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_a_range_a_filter_and_an_order_stand_in_the_address(desk_of: Sit, scripts: bool) -> None:
    page = desk_of(SUPERVISOR, scripts=scripts).page
    page.goto("/ratings")
    page.get_by_role("link", name="今天").click()
    page.get_by_label("坐席", exact=True).fill("2002")
    page.get_by_label("非常不满意").check()
    page.get_by_label("不满意", exact=True).check()
    page.get_by_role("button", name="查询").click()
    query = parse_qs(urlsplit(page.url).query)
    assert query["agent"] == ["2002"]
    expect(rows(page)).to_have_count(sum(call.agent == "2002" and call.keys[:1] in "45" for call in CALLS))
    page.get_by_role("link", name=re.compile("^满意度")).click()
    levels = rows(page).locator(".level b").all_inner_texts()
    assert levels == sorted(levels)
    again = desk_of(SUPERVISOR).page
    again.goto(page.url)  # as somebody else opens it who was sent the address
    assert rows(again).locator(".level b").all_inner_texts() == levels


def test_a_number_is_found_by_its_last_four_digits_and_never_shown_whole(desk_of: Sit) -> None:
    case = CASES[1]
    assert case.number is not None
    page = desk_of(SUPERVISOR).page
    page.goto("/ratings")
    page.get_by_label("号码后四位", exact=True).fill(case.number[-4:])
    page.get_by_role("button", name="查询").click()
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text(case.no)
    assert case.number not in page.content()


def test_the_keyboard_reaches_everything_on_the_list(desk_of: Sit) -> None:
    page = desk_of(SUPERVISOR).page
    page.goto("/ratings")
    assert unreached(page) == ([], [])


def test_a_bar_leads_to_the_rows_behind_it(desk_of: Sit) -> None:
    """From the chart of the agents to one agent's ratings to one of them."""
    page = desk_of(SUPERVISOR).page
    page.goto("/trends?by=agent&range=today")
    bar = page.locator("figure svg a[href*='agent=2002']").first
    expect(bar).to_be_visible()
    bar.click()
    page.wait_for_url("**/ratings?*agent=2002*")
    expect(rows(page)).to_have_count(sum(call.agent == "2002" and call.keys != "" for call in CALLS))
    assert set(rows(page).locator("td[data-label=坐席]").all_inner_texts()) == {"2002"}
    rows(page).first.get_by_role("link").first.click()
    page.wait_for_url(re.compile("/ratings/[0-9a-f]{32}$"))
    expect(page.locator(".timeline li")).not_to_have_count(0)


def test_a_case_tells_its_whole_story_and_its_number_only_to_who_says_why(desk_of: Sit, hotline: Hotline) -> None:
    case = CASES[1]
    assert case.number is not None
    page = desk_of(SUPERVISOR).page
    page.goto("/")
    page.get_by_role("searchbox").fill(case.no)
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases/*")
    story = page.locator(".timeline")
    for event in ("工单办结", "建立评价邀请", "发出短信", "收到市民短信", "市民评价", "推送至好差评系统"):
        expect(story).to_contain_text(event)
    expect(page.locator("main")).to_contain_text(SCRIPTED)  # words, not a script
    assert case.number not in page.content()
    page.get_by_text("查看完整号码").click()
    page.get_by_label("查看理由").fill("回访核实")
    page.get_by_role("button", name="查看号码").click()
    expect(page.locator("#number")).to_have_text(case.number)


def test_a_department_has_its_own_rows_alone(desk_of: Sit) -> None:
    page = desk_of(DEPARTMENT).page
    page.goto("/ratings?kind=case")
    told = "".join(rows(page).all_inner_texts())
    assert [case.no for case in RATED_CASES if case.no in told] == [
        case.no for case in RATED_CASES if case.dept == BUILDING
    ]
    assert not any(no in told for no in OTHERS)


@pytest.mark.parametrize("address", ["/ratings/{evaluation}", "/cases/{subject}"])
def test_a_department_is_refused_anothers_by_its_address(desk_of: Sit, hotline: Hotline, address: str) -> None:
    path = address.format(evaluation=hotline.evaluation("LX0007"), subject=hotline.subject("LX0007"))
    supervisor = desk_of(SUPERVISOR).page.goto(path)
    assert supervisor is not None
    assert supervisor.status == 200
    desk = desk_of(DEPARTMENT)
    answer = desk.page.goto(path)
    assert answer is not None
    assert answer.status == 404
    assert "LX0007" not in desk.page.content()
    desk.watch.expect("404")


def test_a_department_finds_nothing_of_anothers(desk_of: Sit) -> None:
    page = desk_of(DEPARTMENT).page
    for path in ("/ratings?q=LX0007", "/find?q=LX0007", "/ratings?dept=11622900MB0000002B"):
        page.goto(path)
        expect(rows(page)).to_have_count(0)
        expect(page.locator(".empty")).to_be_visible()


def test_a_department_is_refused_anothers_by_the_api(desk_of: Sit, hotline: Hotline) -> None:
    page = desk_of(DEPARTMENT).page
    headers = {"Authorization": f"Bearer {hotline.department_token}"}
    own = page.request.get("/api/v1/evaluations?case_no=LX0002", headers=headers)
    assert own.ok
    assert len(own.json()["evaluations"]) == 1
    others = page.request.get("/api/v1/evaluations?case_no=LX0007", headers=headers)
    assert others.ok
    assert others.json()["evaluations"] == []
    assert page.request.get("/api/v1/cases/LX0007", headers=headers).status == 404
    assert page.request.get("/api/v1/evaluations").status == 401  # a session of the pages is no token


# ── export ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def exported(page: Page, kind: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"导出 {kind}").first.click()
    download = waiting.value
    path = folder / download.suggested_filename
    download.save_as(path)
    return path


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_an_exported_workbook_holds_the_rows_of_the_view(desk_of: Sit, tmp_path: Path, scripts: bool) -> None:
    page = desk_of(SUPERVISOR, scripts=scripts).page
    page.goto("/ratings?kind=case")
    path = exported(page, "Excel", tmp_path)
    assert path.suffix == ".xlsx"
    sheet = openpyxl.load_workbook(path, read_only=True).worksheets[0]
    headings, *lines = [list(line) for line in sheet.iter_rows(values_only=True)]
    number, level = headings.index("工单号或来电编号"), headings.index("满意度值")
    found = {line[number]: line[level] for line in lines}
    assert {case.no: found.get(case.no) for case in CASES} == {case.no: case.level for case in CASES}
    assert len(found) == len(lines)
    codes = [line[headings.index("部门编码")] for line in lines]
    assert all(isinstance(code, str) for code in codes)
    phones = {str(line[headings.index("号码")]) for line in lines}
    assert not phones & {case.number for case in CASES}


def test_an_exported_table_holds_them_too_and_stands_in_the_audit(desk_of: Sit, tmp_path: Path) -> None:
    page = desk_of(SUPERVISOR).page
    page.goto("/ratings?agent=2003")
    raw = exported(page, "CSV", tmp_path).read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    lines = list(csv.DictReader(StringIO(raw.decode("utf-8-sig"))))
    assert len(lines) == sum(call.agent == "2003" and call.keys != "" for call in CALLS)
    assert {line["坐席工号"] for line in lines} == {"2003"}
    auditor = desk_of(ConsoleRole.AUDITOR).page
    auditor.goto("/audit")
    assert auditor.get_by_role("row").filter(has_text="坐席工号 2003").count() >= 1


def test_whole_numbers_are_exported_for_a_reason_alone(desk_of: Sit, tmp_path: Path) -> None:
    page = desk_of(SUPERVISOR).page
    page.goto("/ratings?kind=case")
    page.get_by_text("含完整号码导出").click()
    page.get_by_label("导出理由").fill("回访差评市民")
    with page.expect_download() as waiting:
        page.locator("details").get_by_role("button", name="导出 CSV").click()
    waiting.value.save_as(tmp_path / "whole.csv")
    told = (tmp_path / "whole.csv").read_text("utf-8-sig")
    assert all(case.number in told for case in RATED_CASES if case.number is not None)
    department = desk_of(DEPARTMENT).page
    department.goto("/ratings")
    assert department.get_by_text("含完整号码导出").count() == 0


# ── reports ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/reports/day", "/reports/quarter"])
def test_a_report_prints_without_what_belongs_to_the_screen(desk_of: Sit, path: str) -> None:
    page = desk_of(SUPERVISOR).page
    page.goto(path)
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation").first).to_be_hidden()
    expect(page.locator("table").first).to_be_visible()
    lines = page.locator("tbody tr").evaluate_all("rows => rows.map((row) => row.getBoundingClientRect().height)")
    assert max(lines) < 90  # no name is squeezed into a column of signs
    sheet = page.pdf(format="A4")
    assert sheet.startswith(b"%PDF")
    wide = page.evaluate("document.scrollingElement.scrollWidth")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 less its margins, at 96 dpi
    assert page.evaluate("document.scrollingElement.scrollWidth") <= max(718, 0), wide
