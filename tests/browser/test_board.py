"""The live board in a real browser, while real callers press their keys."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from playwright.sync_api import Locator, Page, expect

from console.viewer import ConsoleRole
from tests.browser.chromium import WALL
from tests.browser.conftest import Cookies, Desk, Desks, Sit, log_in
from tests.browser.gate import gate_to
from tests.browser.hotline import BUILDING, SCRIPTED, Call, Hotline
from tests.browser.looking import broken_rules, overflow

SUPERVISOR = ConsoleRole.SUPERVISOR
_keys = itertools.count(1)


def angry(agent: str = "2109", dept: str = "") -> Call:
    """A call that nobody has made before, whose caller is angry."""
    return Call(f"live{next(_keys)}", agent, "51", "tousu", dept)


def live(desk: Desk) -> Page:
    """The board, once its stream is open."""
    desk.page.goto("/")
    expect(desk.page.locator("#live-state")).to_have_text("实时更新中")
    desk.page.evaluate("window.sameDocument = true")
    return desk.page


def reloaded(page: Page) -> bool:
    return not page.evaluate("window.sameDocument === true")


def lines(page: Page, agent: str) -> Locator:
    return page.locator("#bad > li").filter(has_text=f"坐席 {agent}")


def test_a_bad_rating_is_on_the_board_within_a_second_of_its_key(desk_of: Sit, hotline: Hotline) -> None:
    """Measured up to five times, for other work on the machine may hold up a browser; the board may not."""
    page = live(desk_of(SUPERVISOR))
    waited = []
    for turn in range(1, 6):
        caller = hotline.answer(angry())
        assert lines(page, "2109").count() == turn - 1
        caller.press("5")
        assert caller.until("EXEC"), "the caller was not asked for the reason"  # so the level is on disk
        stored = time.monotonic()
        expect(lines(page, "2109")).to_have_count(turn, timeout=10_000)
        waited.append(time.monotonic() - stored)
        caller.press("1")
        caller.finish()
        if waited[-1] < 1:
            break
    assert min(waited) < 1, waited
    expect(lines(page, "2109").first).to_contain_text("非常不满意")
    expect(lines(page, "2109").first).to_contain_text("无理由超过法定时间")  # its reason, given after it
    assert not reloaded(page)


def test_the_figures_follow(desk_of: Sit, hotline: Hotline) -> None:
    page = live(desk_of(SUPERVISOR))
    best = page.locator("#part-levels tr").filter(has=page.locator(".level-5")).locator("td.num a").first
    before = int(best.inner_text())
    hotline.take(Call(f"live{next(_keys)}", "2101", "1"))
    expect(best).to_have_text(str(before + 1), timeout=10_000)
    assert not reloaded(page)


def test_nothing_is_missing_and_nothing_doubled_after_a_lost_connection(
    desks: Desks, cookies: Cookies, hotline: Hotline
) -> None:
    with gate_to(hotline.web) as gate, Desks(desks.chromium, gate.address).opened(state=cookies(SUPERVISOR)) as desk:
        page = live(desk)
        gate.cut()
        expect(page.locator("#live-state")).to_have_text("连接中断，正在重连…", timeout=10_000)
        for _ in range(3):
            hotline.take(angry("2108"))
        assert lines(page, "2108").count() == 0
        gate.mend()
        expect(lines(page, "2108")).to_have_count(3, timeout=20_000)
        expect(page.locator("#live-state")).to_have_text("实时更新中")
        hotline.take(angry("2108"))
        expect(lines(page, "2108")).to_have_count(4, timeout=10_000)
        assert not reloaded(page)
        desk.watch.errors[:] = [error for error in desk.watch.errors if "net::ERR" not in error]


def test_a_hidden_tab_closes_its_stream_and_goes_on_where_it_was(desk_of: Sit, hotline: Hotline) -> None:
    page = live(desk_of(SUPERVISOR))
    turn = """(hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with page.expect_event("requestfailed", lambda request: "/live" in request.url):
        page.evaluate(turn, True)
    hotline.take(angry("2107"))
    assert lines(page, "2107").count() == 0
    page.evaluate(turn, False)
    expect(lines(page, "2107")).to_have_count(1, timeout=10_000)
    assert not reloaded(page)


def test_sound_and_title_tell_of_a_bad_rating_where_they_are_switched_on(desk_of: Sit, hotline: Hotline) -> None:
    page = live(desk_of(SUPERVISOR))
    switch = page.get_by_role("button", name="差评提醒")
    expect(switch).to_have_attribute("aria-pressed", "false")
    hotline.take(angry("2106"))
    expect(lines(page, "2106")).to_have_count(1, timeout=10_000)
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    hotline.take(angry("2106"))
    expect(page).to_have_title(re.compile("【新差评】"), timeout=10_000)
    page.keyboard.press("Shift")  # somebody is there
    expect(page).not_to_have_title(re.compile("【新差评】"))
    page.reload()
    expect(switch).to_have_attribute("aria-pressed", "true")  # kept in this browser


def test_a_reason_that_comes_later_is_not_heard_again(desk_of: Sit, hotline: Hotline) -> None:
    """Also where the line is not there any more, and takes its place anew."""
    page = live(desk_of(SUPERVISOR))
    page.get_by_role("button", name="差评提醒").click()
    caller = hotline.answer(angry("2122"))
    caller.press("5")
    expect(page).to_have_title(re.compile("【新差评】"), timeout=10_000)
    page.keyboard.press("Shift")  # somebody is there
    expect(page).not_to_have_title(re.compile("【新差评】"))
    lines(page, "2122").evaluate("line => line.remove()")
    assert caller.until("EXEC")
    caller.press("1")
    expect(lines(page, "2122").locator(".why")).to_have_count(1, timeout=10_000)
    assert "is-new" not in (lines(page, "2122").get_attribute("class") or "")
    page.wait_for_timeout(1100)  # the title would have changed by now
    expect(page).not_to_have_title(re.compile("【新差评】"))
    caller.finish()


def test_what_one_supervisor_has_read_the_others_see_at_once(desk_of: Sit, hotline: Hotline) -> None:
    here, there = live(desk_of(SUPERVISOR)), live(desk_of(SUPERVISOR))
    hotline.take(angry("2105"))
    line = lines(here, "2105")
    expect(line).to_have_count(1, timeout=10_000)
    line.get_by_label("备注").fill("已电话致歉")
    line.get_by_role("button", name="已阅").click()
    for page in (here, there):
        expect(lines(page, "2105")).to_contain_text("已阅", timeout=10_000)
        expect(lines(page, "2105")).to_contain_text("已电话致歉")
        assert not reloaded(page)


def test_a_mark_after_the_log_in_is_over_is_not_taken_for_done(strangers_desk: Sit, hotline: Hotline) -> None:
    """It leads to the log-in and back, and what was typed is there again."""
    desk = strangers_desk()
    log_in(desk.page, SUPERVISOR)
    page = live(desk)
    hotline.take(angry("2102"))
    line = lines(page, "2102").first
    expect(line).to_be_visible(timeout=10_000)
    line.get_by_label("备注").fill("已回访")
    cookies = desk.context.cookies()
    desk.context.clear_cookies()
    line.get_by_role("button", name="已阅").click()
    expect(page.get_by_label("密码")).to_be_visible(timeout=10_000)
    desk.watch.expect("401")
    desk.context.add_cookies([{**cookie} for cookie in cookies])  # type: ignore[typeddict-item]
    page.goto("/")
    line = lines(page, "2102").first
    expect(line).not_to_contain_text("已阅 ·")
    expect(line.get_by_label("备注")).to_have_value("已回访")
    line.get_by_role("button", name="已阅").click()
    expect(line).to_contain_text("备注：已回访", timeout=10_000)


def test_a_bad_rating_beyond_the_board_is_marked_on_its_own_page(desk_of: Sit, hotline: Hotline) -> None:
    """Three clicks from the board: the unseen ones, the rating, 已阅; and the board's count follows."""
    hotline.take(angry("2111"))
    watching, page = live(desk_of(SUPERVISOR)), live(desk_of(SUPERVISOR))
    unseen = watching.locator("#part-unseen")
    before = unseen.inner_text()
    page.locator("#part-unseen").get_by_role("link").click()
    page.locator("table.rows tbody tr").filter(has_text="2111").first.get_by_role("link").first.click()
    page.locator("form.mark").get_by_label("备注").fill("已转办")
    page.locator("form.mark").get_by_role("button", name="已阅").click()
    expect(page.locator(".facts").first).to_contain_text("备注：已转办")
    assert re.search(r"/ratings/[0-9a-f]{32}$", page.url)
    expect(unseen).not_to_have_text(before, timeout=10_000)
    expect(lines(watching, "2111")).to_contain_text("已转办")


def test_the_board_without_scripts(desk_of: Sit, hotline: Hotline) -> None:
    hotline.take(angry("2104"))
    page = desk_of(SUPERVISOR, scripts=False).page
    page.goto("/")
    expect(lines(page, "2104")).to_have_count(1)
    lines(page, "2104").get_by_role("button", name="已阅").click()
    expect(lines(page, "2104")).to_contain_text("马班长")
    expect(page.locator("noscript")).to_have_count(1)  # it loads itself anew now and then


def test_words_of_a_citizen_are_words(desk_of: Sit) -> None:
    """What somebody wrote who would like to run something here stands there as they wrote it."""
    page = live(desk_of(SUPERVISOR))
    expect(page.locator("#bad")).to_contain_text(SCRIPTED)


def test_a_department_sees_its_own_alone_also_of_what_arrives(desk_of: Sit, hotline: Hotline) -> None:
    page = live(desk_of(ConsoleRole.DEPARTMENT))
    hotline.take(angry("2103"))  # of nobody's
    hotline.take(angry("2103", BUILDING))
    expect(lines(page, "2103")).to_have_count(1, timeout=10_000)
    assert page.locator("#bad > li").filter(has_text="LX0007").count() == 0
    assert page.locator("#bad > li").filter(has_text="LX0002").count() == 1


def test_a_wall_shows_what_happens_and_no_person(desk_of: Sit, strangers_desk: Sit, hotline: Hotline) -> None:
    admin = desk_of(ConsoleRole.ADMIN).page
    admin.goto("/people/boards")
    admin.get_by_label("名称").fill("大厅")
    admin.get_by_role("button", name="新增大屏").click()
    address = admin.locator("#secret").inner_text()
    desk = strangers_desk(screen=WALL)
    page = desk.page
    page.goto(address)
    expect(page.locator("#live-state")).to_have_text("实时更新中")
    assert "token" not in page.url
    assert broken_rules(page) == []
    assert overflow(page) <= 0
    page.evaluate("window.sameDocument = true")
    before = page.locator("#bad > li").first.get_attribute("id")
    hotline.take(Call(f"live{next(_keys)}", "4711", "51", "tousu", BUILDING, "13812345678"))
    expect(page.locator("#bad > li").first).not_to_have_id(before or "", timeout=10_000)
    assert not reloaded(page)
    told = page.content()
    for person in ("4711", "13812345678", "5678", "LX0002", "没人管", "马班长"):
        assert person not in told
    size = page.locator("#part-top .value").first.evaluate("one => parseFloat(getComputedStyle(one).fontSize)")
    assert size >= 50  # read from three metres
    admin.get_by_role("button", name="作废 大厅").click()
    expect(admin.get_by_role("row").filter(has_text="大厅")).to_contain_text("已作废")
    assert page.goto("/wall").status == 403  # type: ignore[union-attr]
    desk.watch.expect("403")


@pytest.mark.parametrize("path", ["/wall#guessed", "/wall?token=guessed"])
def test_no_wall_without_its_address(strangers_desk: Sit, path: str) -> None:
    desk = strangers_desk()
    desk.page.goto(path)
    expect(desk.page.get_by_role("heading", name="无权访问")).to_be_visible()
    desk.watch.expect("403")
