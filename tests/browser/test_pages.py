"""Every page of every role: rules of accessibility, widths from the wall to a phone, what the first page weighs.

Pictures of each go to build/screens, which is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page

from console.viewer import ConsoleRole
from tests.browser.chromium import DESK, PHONE, WALL
from tests.browser.conftest import Cookies, Desk, Desks, Sit
from tests.browser.hotline import Hotline
from tests.browser.looking import Weight, broken_rules, overflow, unreached

PICTURES = Path(__file__).resolve().parents[2] / "build" / "screens"
HEAVIEST = 150 * 1024
PAGES = {
    ConsoleRole.SUPERVISOR: (
        "/",
        "/ratings",
        "/ratings/{rating}",
        "/cases/{case}",
        "/find?q=8",
        "/trends",
        "/trends?by=agent",
        "/trends?by=reason",
        "/trends?by=team",
        "/asked?what=asked",
        "/queues",
        "/queues/replies?kind=unclear",
        "/queues/replies/{reply}",
        "/queues/outbox",
        "/queues/letters",
        "/queues/deadlines",
        "/queues/failures",
        "/reports/day",
        "/reports/quarter",
        "/account/password",
    ),
    ConsoleRole.DEPARTMENT: ("/", "/ratings", "/trends", "/queues", "/reports/day"),
    ConsoleRole.AUDITOR: ("/audit",),
    ConsoleRole.ADMIN: ("/people", "/people/tokens", "/people/boards"),
}
SCREENS = {"desk": DESK, "wall": WALL, "phone": PHONE}


@dataclass(frozen=True)
class Opened:
    role: ConsoleRole
    path: str
    desk: Desk

    @property
    def page(self) -> Page:
        return self.desk.page

    @contextmanager
    def on(self, screen: tuple[int, int]) -> Iterator[Page]:
        """The page on another screen."""
        self.page.set_viewport_size({"width": screen[0], "height": screen[1]})
        yield self.page
        self.page.set_viewport_size({"width": DESK[0], "height": DESK[1]})


@pytest.fixture(
    scope="module",
    params=[(role, path) for role, paths in PAGES.items() for path in paths],
    ids=lambda one: f"{one[0].value}{one[1]}",
)
def opened(request: pytest.FixtureRequest, desks: Desks, cookies: Cookies, hotline: Hotline) -> Iterator[Opened]:
    """Each page in turn, as somebody of its role has it before them."""
    role, path = request.param
    path = path.format(
        rating=hotline.evaluation("LX0002"), case=hotline.subject("LX0005"), reply=hotline.waiting_reply("unclear")
    )
    with desks.opened(state=cookies(role)) as desk:
        desk.page.goto(path)
        yield Opened(role, path, desk)


def picture_of(opened: Opened, screen: str) -> Path:
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = re.sub("[^a-z]+", "-", re.sub("/[0-9a-f]{32}", "/one", opened.path)).strip("-") or "board"
    return PICTURES / f"{name}-{opened.role.value}-{screen}.png"


@pytest.mark.parametrize("role", list(PAGES), ids=str)
def test_every_page_of_the_navigation_is_looked_at(desk_of: Sit, role: ConsoleRole) -> None:
    page = desk_of(role).page
    page.goto("/")
    linked = page.locator("nav a").evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    assert set(linked) <= set(PAGES[role])
    assert len(linked) == len(set(linked)) > 0


def test_no_rule_of_accessibility_is_broken(opened: Opened) -> None:
    assert broken_rules(opened.page) == []
    with opened.on(PHONE) as page:
        assert broken_rules(page) == []


def test_no_page_scrolls_sideways(opened: Opened) -> None:
    wider = {}
    for name, screen in SCREENS.items():
        with opened.on(screen) as page:
            page.screenshot(path=picture_of(opened, name), full_page=True)
            wider[name] = overflow(page)
    assert {name: pixels for name, pixels in wider.items() if pixels > 0} == {}


def test_every_link_leads_somewhere(opened: Opened) -> None:
    """Of links that differ by their query alone, one."""
    links = opened.page.locator("a[href^='/']").evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    one_each = {re.sub("/[0-9a-f]{32}", "/one", link.split("?")[0]): link for link in links}
    answers = {link: opened.page.request.get(link).status for link in one_each.values()}
    assert {link: status for link, status in answers.items() if status != 200} == {}


def test_the_keyboard_reaches_everything_and_one_sees_where_it_is(opened: Opened) -> None:
    assert unreached(opened.page) == ([], [])


def test_the_first_page_is_light(desk_of: Sit) -> None:
    desk = desk_of(ConsoleRole.SUPERVISOR)
    weight = Weight(desk.context, desk.page)
    desk.page.goto("/")
    desk.page.wait_for_load_state("load")
    assert weight.total <= HEAVIEST, weight.bytes
    assert len(weight.bytes) >= 4, weight.bytes  # the page, its style, its script, its sign


def test_the_log_in_breaks_no_rule_of_accessibility(strangers_desk: Sit) -> None:
    desk = strangers_desk()
    desk.page.goto("/login")
    assert broken_rules(desk.page) == []


def test_a_page_that_is_not_there_says_so_without_a_broken_rule(desk_of: Sit, hotline: Hotline) -> None:
    desk = desk_of(ConsoleRole.SUPERVISOR)
    desk.page.goto("/nowhere")
    assert broken_rules(desk.page) == []
    desk.watch.expect("404")
