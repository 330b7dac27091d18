"""What a supervisor asks of a day: each answered rightly, in at most three clicks from the first page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Locator, Page, expect

from console.viewer import ConsoleRole
from tests.browser.conftest import Sit
from tests.browser.hotline import CALLS, CASES, REFUSED, STRANGER, Call, Hotline
from tests.faults.processes import until

MOST = 3


@dataclass
class Asker:
    """Somebody before the first page who counts their clicks."""

    page: Page
    clicks: int = 0

    def click(self, what: Locator) -> None:
        self.clicks += 1
        assert self.clicks <= MOST, f"{self.clicks} clicks"
        what.click()


@pytest.fixture
def asker(desk_of: Sit) -> Asker:
    page = desk_of(ConsoleRole.SUPERVISOR).page
    page.goto("/")
    return Asker(page)


def test_what_is_todays_response_rate(asker: Asker) -> None:
    """Before any click; the number of those asked stands beside it."""
    figure = asker.page.locator(".figure").filter(has=asker.page.get_by_role("heading", name="参评率"))
    assert figure.locator(".value").inner_text().endswith("%")
    told = figure.locator(".note").inner_text()
    hits, asked = (int(part.split()[-1]) for part in told.split("/"))
    assert asked >= hits > 0
    assert figure.locator(".value").inner_text() == f"{hits / asked * 100:.1f}%"


def test_which_agent_had_the_most_bad_ratings_this_week_and_why(asker: Asker) -> None:
    bad = Counter(call.agent for call in CALLS if call.keys[:1] in ("4", "5"))
    [(worst, count)] = bad.most_common(1)
    page = asker.page
    asker.click(page.get_by_role("link", name="本周各坐席差评"))
    line = page.locator("table tbody tr:not(.sum)").filter(has_text=worst)
    asker.click(line.locator("td[data-label=差评] a"))
    rows = page.locator("table.rows tbody tr")
    expect(rows).to_have_count(count)
    why = " ".join(rows.locator("td.comment").all_inner_texts())
    assert (why.count("服务态度差效率低"), why.count("服务态度生硬")) == (2, 1)


def test_what_happened_to_one_given_case(asker: Asker) -> None:
    page = asker.page
    page.get_by_role("searchbox").fill("LX0003")
    asker.click(page.get_by_role("button", name="查找"))
    story = page.locator(".timeline")
    for event in ("工单办结", "发出短信", "收到市民短信", "市民评价", "推送被拒，等待人工处理"):
        expect(story).to_contain_text(event)


LATE = Call("w01", "2011", "1")
"""A call whose evaluation the centre does not take for now."""


@pytest.fixture
def late(hotline: Hotline) -> Iterator[None]:
    """One evaluation waits, tried again and again."""
    refused = {"kind": "refuse", "record": REFUSED, "times": None}
    hotline.centre.plan(refused, {"kind": "status", "status": 503, "record": f"H{LATE.key}", "times": None})
    hotline.take(LATE)
    until("a batch that failed", lambda: hotline.server.number("SELECT count(*) FROM push_batches WHERE tries > 0"))
    yield
    hotline.centre.plan(refused)
    until("it to arrive", lambda: hotline.server.number("SELECT count(*) FROM outbox WHERE state = 'waiting'") == 0)


@pytest.mark.usefixtures("late")
def test_what_has_not_reached_the_centre(asker: Asker) -> None:
    """What waits and why, and what was refused: both with one question."""
    page = asker.page
    page.goto("/")
    asker.click(page.locator("#part-machinery").get_by_role("link", name="待推送"))
    rows = page.locator("table.rows tbody tr")
    waits = rows.filter(has_text=f"H{LATE.key}")
    expect(waits).to_have_count(1)
    expect(waits).to_contain_text("推送出错，等待重试")
    expect(waits).to_contain_text("好差评系统返回 HTTP 503")
    asker.click(page.get_by_role("link", name=re.compile(r"推送失败 \d")))
    letter = rows.filter(has_text=REFUSED)
    expect(letter).to_have_count(1)
    expect(letter).to_contain_text("不予接收")


def test_what_the_centre_has_refused(asker: Asker) -> None:
    page = asker.page
    asker.click(page.locator("#part-work").get_by_role("link", name="推送失败"))
    expect(page.locator("table.rows tbody tr").filter(has_text=REFUSED)).to_contain_text("不予接收")


def test_which_replies_wait_for_a_person(asker: Asker) -> None:
    """Both kinds that do: an unclear one and a stranger's."""
    page = asker.page
    asker.click(page.locator("#part-work").get_by_role("link", name="全部待办"))
    unclear = next(case for case in CASES if case.level is None and case.replies)
    rows = page.locator("table.rows tbody tr")
    strangers = page.locator(".figure").filter(has=page.get_by_role("heading", name="无法对应"))
    asker.click(strangers.get_by_role("link"))
    expect(rows.filter(has_text=STRANGER[1])).to_have_count(1)
    asker.click(page.get_by_role("link", name="看不出满意度"))
    expect(rows.filter(has_text=unclear.replies[-1])).not_to_have_count(0)
