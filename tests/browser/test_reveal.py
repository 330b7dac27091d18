"""A full number in a real browser: who may see it, what they must say, and what stands in the audit afterwards."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from console.viewer import ConsoleRole
from tests.browser.conftest import Sit
from tests.browser.hotline import CASES, PEOPLE, Hotline

NUMBERS = {case.no: case.number for case in CASES}
NOBODYS = "0" * 32


def address(hotline: Hotline, case_no: str) -> str:
    return f"/reveal?kind=case&id={hotline.subject(case_no)}"


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_a_revealed_number_stands_in_the_audit_with_its_reason_and_without_itself(
    desk_of: Sit, hotline: Hotline, scripts: bool
) -> None:
    number, reason = NUMBERS["LX0002"], f"回访核实办理情况 {scripts}"
    assert number is not None
    page = desk_of(ConsoleRole.SUPERVISOR, scripts=scripts).page
    page.goto(address(hotline, "LX0002"))
    assert number not in page.content()
    page.get_by_label("查看理由").fill(reason)
    page.get_by_role("button", name="查看号码").click()
    expect(page.locator("#number")).to_have_text(number)
    page.goto(address(hotline, "LX0002"))
    assert number not in page.content()  # shown once
    auditor = desk_of(ConsoleRole.AUDITOR).page
    auditor.goto("/audit")
    auditor.get_by_label("操作", exact=True).select_option(label="查看完整号码")
    auditor.get_by_role("button", name="查询").click()
    entry = auditor.get_by_role("row").filter(has_text=reason)
    expect(entry).to_have_count(1)
    expect(entry).to_contain_text(PEOPLE[ConsoleRole.SUPERVISOR].name)
    expect(entry).to_contain_text(hotline.subject("LX0002"))
    assert number not in auditor.content()


def test_no_number_without_a_reason(desk_of: Sit, hotline: Hotline) -> None:
    desk = desk_of(ConsoleRole.SUPERVISOR)
    page = desk.page
    page.goto(address(hotline, "LX0002"))
    page.get_by_label("查看理由").fill("看")
    page.get_by_role("button", name="查看号码").click()
    expect(page.get_by_role("alert")).to_contain_text("请填写查看理由")
    assert page.locator("#number").count() == 0
    desk.watch.expect("422")


@pytest.mark.parametrize(
    ("case_no", "status"),
    [
        pytest.param("LX0002", 200, id="a bad rating of its own"),
        pytest.param("LX0001", 404, id="a good rating of its own"),
        pytest.param("LX0007", 404, id="a bad rating of another's"),
        pytest.param("", 404, id="nothing at all"),
    ],
)
def test_a_department_gets_the_numbers_of_its_own_bad_ratings_alone(
    desk_of: Sit, hotline: Hotline, case_no: str, status: int
) -> None:
    desk = desk_of(ConsoleRole.DEPARTMENT)
    page = desk.page
    page.goto(address(hotline, case_no) if case_no else f"/reveal?kind=case&id={NOBODYS}")
    page.get_by_label("查看理由").fill("回访核实办理情况")
    with page.expect_navigation() as answer:
        page.get_by_role("button", name="查看号码").click()
    assert answer.value is not None
    assert answer.value.status == status
    if status == 404:
        desk.watch.expect("404")
    assert (NUMBERS.get(case_no) or "no number") in page.content() or status == 404
    assert (NUMBERS.get(case_no) or "no number") not in page.content() or status == 200


@pytest.mark.parametrize("role", [ConsoleRole.AUDITOR, ConsoleRole.ADMIN])
def test_auditors_and_admins_get_none(desk_of: Sit, hotline: Hotline, role: ConsoleRole) -> None:
    desk = desk_of(role)
    answer = desk.page.goto(address(hotline, "LX0002"))
    assert answer is not None
    assert answer.status == 403
    desk.watch.expect("403")
