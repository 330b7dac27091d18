"""The queues of work in a real browser: what waits for a person, and what becomes of it when somebody acts."""

from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import Locator, Page, expect

from console.viewer import ConsoleRole
from tests.browser.conftest import Sit
from tests.browser.hotline import BUILDING, REFUSED, STRANGER, Case, Hotline
from tests.faults.processes import until

SUPERVISOR, DEPARTMENT = ConsoleRole.SUPERVISOR, ConsoleRole.DEPARTMENT
_cases = itertools.count(1)


def rows(page: Page) -> Locator:
    return page.locator("table.rows tbody tr")


def unclear(hotline: Hotline) -> Case:
    """A new case whose citizen has answered twice and said nothing clear."""
    number = next(_cases)
    case = Case(f"QU{number:04}", "公交线路建议", BUILDING, "临夏州住房和城乡建设局", f"138000070{number:02}")
    hotline.post([case])
    assert case.number is not None
    for turn, words in enumerate(("看情况吧", "再说吧"), 1):
        hotline.asked(case.number, turn)
        hotline.write(case.number, words)
    return case


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_an_unclear_reply_is_stored_as_words_and_no_level_is_typed_in(
    desk_of: Sit, hotline: Hotline, scripts: bool
) -> None:
    case = unclear(hotline)
    page = desk_of(SUPERVISOR, scripts=scripts).page
    page.goto("/queues/replies?kind=unclear")
    rows(page).last.get_by_role("link", name="查看").click()
    expect(page.locator("main")).to_contain_text("再说吧")
    expect(page.locator("main")).to_contain_text(case.no)
    assert page.locator("input[name=satisfaction], select[name=satisfaction]").count() == 0
    page.get_by_role("button", name="归入所选邀请").click()
    expect(page.get_by_role("status")).to_contain_text("已归入邀请")
    levels = hotline.server.number(f"SELECT count(*) FROM evaluations WHERE subject_id = '{hotline.subject(case.no)}'")
    assert levels == 0


def test_a_citizen_is_asked_once_more_by_hand_and_their_clear_answer_counts(desk_of: Sit, hotline: Hotline) -> None:
    case = unclear(hotline)
    assert case.number is not None
    page = desk_of(SUPERVISOR).page
    page.goto("/queues/replies?kind=unclear")
    rows(page).last.get_by_role("link", name="查看").click()
    page.get_by_role("button", name="人工再问一次").click()
    expect(page.get_by_role("status")).to_contain_text("已人工再问")
    hotline.asked(case.number, 3)
    hotline.write(case.number, "1")
    until("its rating", lambda: hotline.server.rows(_level_of(case)) == [(5,)])


def _level_of(case: Case) -> str:
    return f"SELECT e.satisfaction FROM evaluations e JOIN cases c USING (subject_id) WHERE c.case_no = '{case.no}'"


def test_several_are_dismissed_at_once(desk_of: Sit, hotline: Hotline) -> None:
    for place in (1, 2):
        hotline.write(f"1380000808{place}", "你们几点下班", to="106912345")
    page = desk_of(SUPERVISOR).page
    page.goto("/queues/replies?kind=unmatched")
    waiting = rows(page).filter(has_text="你们几点下班")
    expect(waiting).to_have_count(2)
    for one in waiting.all():
        one.get_by_role("checkbox").check()
    page.get_by_label("办结方式").select_option(label="无关")
    page.get_by_role("button", name="办结").click()
    expect(page.get_by_role("status")).to_contain_text("已办结 2 项")
    expect(waiting).to_have_count(0)
    expect(rows(page).filter(has_text=STRANGER[1])).to_have_count(1)  # the others still wait


def addresses(page: Page) -> set[str]:
    return {str(link.get_attribute("href")) for link in rows(page).get_by_role("link", name="查看").all()}


def test_a_department_has_the_replies_to_its_own_alone(desk_of: Sit, hotline: Hotline) -> None:
    unclear(hotline)
    supervisor, department = desk_of(SUPERVISOR), desk_of(DEPARTMENT)
    for desk in (supervisor, department):
        desk.page.goto("/queues/replies?kind=unclear")
    own = addresses(department.page)
    others = addresses(supervisor.page) - own
    assert own
    assert others  # the water's, LX0004
    assert own < addresses(supervisor.page)
    for address in others:
        answer = department.page.goto(address)
        assert answer is not None
        assert answer.status == 404
        department.watch.expect("404")


def test_what_the_centre_refused_goes_again_as_it_is(desk_of: Sit, hotline: Hotline) -> None:
    case = Case(f"QU{next(_cases):04}", "水管漏水", BUILDING, "临夏州住房和城乡建设局", "13800007999")
    hotline.refuse(REFUSED, case.no)
    hotline.post([case])
    assert case.number is not None
    hotline.asked(case.number)
    hotline.write(case.number, "2")
    evaluation = hotline.evaluation(case.no)
    state = f"SELECT state FROM outbox WHERE evaluation_id = '{evaluation}'"
    until("a dead letter", lambda: hotline.server.rows(state) == [("dead",)])
    page = desk_of(SUPERVISOR).page
    page.goto("/queues/letters")
    letter = rows(page).filter(has_text=case.no)
    expect(letter).to_contain_text("不予接收")  # the centre's reason
    assert page.locator("main input[type=text], main textarea").count() == 0  # nothing of it can be edited
    hotline.refuse(REFUSED)
    letter.get_by_role("checkbox").check()
    page.get_by_role("button", name="再次推送").click()
    expect(page.get_by_role("status")).to_contain_text("已安排再次推送 1 项")
    received = until("the record at the centre", lambda: hotline.centre.received().get(evaluation))
    assert (received["projectNo"], received["assessNumber"]) == (case.no, 1)
    page.goto("/queues/letters")
    expect(rows(page).filter(has_text=case.no)).to_have_count(0)
    expect(rows(page).filter(has_text=REFUSED)).to_have_count(1)
