"""A Chromium for the session, a hotline with its day's record, and people before their screens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from console.viewer import ConsoleRole
from tests.browser.chromium import Watch, browser_missing, launch, open_context
from tests.browser.hotline import PASSWORD, PEOPLE, Hotline

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.peer)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if missing := browser_missing():
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = launch(playwright, tmp_path_factory.mktemp("chromium"))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def hotline(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotline]:
    """With its day's record; tests share it and leave it fuller than it was."""
    made = Hotline(tmp_path_factory.mktemp("hotline"))
    try:
        made.fill()
        yield made
    finally:
        made.close()


class Desk:
    """A browser before somebody, and what its pages do that they may not."""

    def __init__(self, context: BrowserContext, watch: Watch) -> None:
        self.context = context
        self.watch = watch
        self.page = context.new_page()


@dataclass(frozen=True)
class Desks:
    chromium: Browser
    origin: str

    @contextmanager
    def opened(self, **options: Any) -> Iterator[Desk]:
        """A browser (`open_context`), looked through at the end."""
        context, watch = open_context(self.chromium, self.origin, **options)
        try:
            yield Desk(context, watch)
        finally:
            context.close()
        assert watch.faults() == []


Sit = Callable[..., Desk]
Cookies = Callable[[ConsoleRole], Path]


@pytest.fixture(scope="session")
def desks(chromium: Browser, hotline: Hotline) -> Desks:
    return Desks(chromium, hotline.web)


@pytest.fixture
def strangers_desk(desks: Desks) -> Iterator[Sit]:
    """Opens browsers in which nobody is logged in."""
    with ExitStack() as opened:
        yield lambda **options: opened.enter_context(desks.opened(**options))


@pytest.fixture(scope="session")
def cookies(desks: Desks, tmp_path_factory: pytest.TempPathFactory) -> Cookies:
    """The cookies of a role's session; each role logs in once for all tests."""
    folder = tmp_path_factory.mktemp("sessions")

    def of(role: ConsoleRole) -> Path:
        kept = folder / f"{role.value}.json"
        if not kept.exists():
            with desks.opened() as desk:
                log_in(desk.page, role)
                desk.context.storage_state(path=kept)
        return kept

    return of


@pytest.fixture
def desk_of(strangers_desk: Sit, cookies: Cookies) -> Callable[..., Desk]:
    """Opens browsers in which somebody of a role is logged in."""
    return lambda role, **options: strangers_desk(state=cookies(role), **options)


def log_in(page: Page, role: ConsoleRole, path: str = "/login") -> None:
    """Logs in as a person does, and waits for the page behind it."""
    page.goto(path)
    page.get_by_label("用户名").fill(PEOPLE[role].name)
    page.get_by_label("密码").fill(PASSWORD)
    page.get_by_role("button", name="登录").click()
    page.wait_for_url(lambda url: "/login" not in url)
