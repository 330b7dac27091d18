"""The log-in in a real browser: with the mouse, with the keyboard alone, without scripts, and when somebody guesses."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from console.viewer import ConsoleRole
from tests.browser.conftest import Sit, log_in
from tests.browser.hotline import PASSWORD, PEOPLE, Hotline
from tests.browser.looking import unreached

SUPERVISOR = PEOPLE[ConsoleRole.SUPERVISOR]


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
@pytest.mark.parametrize("role", list(PEOPLE))
def test_everybody_logs_in_to_a_page_of_theirs_and_out(strangers_desk: Sit, role: ConsoleRole, scripts: bool) -> None:
    page = strangers_desk(scripts=scripts).page
    log_in(page, role)
    expect(page.locator("nav a[aria-current=page]")).to_have_count(1)
    expect(page.locator(".me")).to_contain_text(PEOPLE[role].name)
    page.get_by_role("button", name="退出").click()
    page.wait_for_url("**/login")
    page.go_back()
    expect(page.locator("#f-password")).to_be_visible()


def test_the_log_in_leads_back_to_where_somebody_wanted_to_go(strangers_desk: Sit) -> None:
    page = strangers_desk().page
    log_in(page, ConsoleRole.AUDITOR, "/audit?action=login.failed")
    assert page.url.endswith("/audit?action=login.failed")


def test_the_log_in_with_the_keyboard_alone(strangers_desk: Sit) -> None:
    page = strangers_desk().page
    page.goto("/login")
    page.keyboard.type(SUPERVISOR.name)  # the first field has the focus
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/$"))
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="跳到正文")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()


def test_the_keyboard_reaches_everything_on_the_log_in(strangers_desk: Sit) -> None:
    page = strangers_desk().page
    page.goto("/login")
    assert unreached(page) == ([], [])


def test_whoever_guesses_is_told_to_wait_and_the_right_password_waits_too(
    strangers_desk: Sit, hotline: Hotline
) -> None:
    desk = strangers_desk()
    desk.context.set_extra_http_headers({"X-Forwarded-For": "10.1.1.1"})  # guesses must not slow the others' address
    page = desk.page
    page.goto("/login")
    told = page.get_by_role("alert")
    for _ in range(20):
        page.get_by_label("用户名").fill("管理")
        page.get_by_label("密码").fill("Wrong+Guess-1")
        page.get_by_role("button", name="登录").click()
        expect(told).to_be_visible()
        if "秒后再试" in told.inner_text():
            break
        desk.watch.expect("401")
    expect(told).to_contain_text(re.compile(r"请在 \d+ 秒后再试"))
    desk.watch.expect("429")
    page.get_by_label("密码").fill(PASSWORD)
    page.get_by_role("button", name="登录").click()
    expect(told).to_contain_text("秒后再试")
    desk.watch.expect("429")
    failed = hotline.server.number("SELECT count(*) FROM audit WHERE action = 'login.failed' AND detail = '10.1.1.1'")
    assert failed >= 3
