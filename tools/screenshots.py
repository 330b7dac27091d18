"""The pictures of docs/console.md: a hotline of made-up people at work, seen by a real Chromium.

    .venv/bin/python tools/screenshots.py [FOLDER]     by default docs/images

Everything in them came in the way it does in the field (tests/browser/hotline.py). Each is at most 150 KB.
A Chromium that speaks Chinese (Debian's chromium-l10n) shows dates as a supervisor sees them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from console.viewer import ConsoleRole  # noqa: E402 (the checkout's own)
from tests.browser.chromium import PHONE, WALL, browser_missing, launch, open_context  # noqa: E402
from tests.browser.conftest import log_in  # noqa: E402
from tests.browser.hotline import BUILDING, CALLS, CASES, SCRIPTED, WATER, Call, Hotline  # noqa: E402
from tests.faults.processes import HUIYIN  # noqa: E402

MOST, TALLEST = 150_000, 1100
_NAMES = f"""类型,编码,名称,班组
坐席,2001,马文军,一班
坐席,2002,王秀英,二班
坐席,2003,张海燕,一班
坐席,2004,马小龙,二班
坐席,2005,李建国,一班
部门,{BUILDING},临夏州住房和城乡建设局,
部门,{WATER},临夏州水务局,
"""
_MORE = (
    "1",
    "1",
    "2",
    "1",
    "3",
    "1",
    "2",
    "52",
    "1",
    "1",
    "2",
    "1",
    "",
    "1",
    "2",
    "3",
    "1",
    "",
    "41",
    "1",
    "2",
    "1",
    "1",
)
"""What further callers press, one call each; nothing: silence."""


def main(folder: Path) -> None:
    if missing := browser_missing():
        raise SystemExit(f"screenshots: {missing}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        hotline = Hotline(Path(directory))
        browser = launch(playwright, Path(directory))
        try:
            fill(hotline, Path(directory))
            take(browser, hotline, folder)
        finally:
            browser.close()
            hotline.close()


def fill(hotline: Hotline, directory: Path) -> None:
    """A day that is fuller than the tests' own, with people who have names."""
    names = directory / "names.csv"
    names.write_text(_NAMES, "utf-8")
    command = [HUIYIN, "directory", "import", str(names), "-c", str(hotline.server.configuration)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    queues = {"zixun": "咨询", "tousu": "投诉"}
    hotline.fill(
        [replace(call, queue=queues[call.queue]) for call in CALLS],
        [replace(case, replies=tuple(words.replace(SCRIPTED, "，") for words in case.replies)) for case in CASES],
    )
    for place, keys in enumerate(_MORE):
        agent = f"200{place % 5 + 1}"
        hotline.take(Call(f"m{place}", agent, keys, ("咨询", "投诉")[place % 2]))


def take(browser: Browser, hotline: Hotline, folder: Path) -> None:
    context, watch = open_context(browser, hotline.web)
    page = context.new_page()
    page.goto("/login")
    shoot(page, folder, "login")
    log_in(page, ConsoleRole.SUPERVISOR)
    expect(page.locator("#live-state")).to_have_text("实时更新中")
    expect(page.locator("#part-machinery")).to_contain_text(
        "正常", timeout=30_000
    )  # the link tells of itself now and then
    shoot(page, folder, "board")
    case, rated = hotline.subject("LX0003"), hotline.waiting_reply("unclear")
    for name, path in (
        ("ratings", "/ratings?kind=case"),
        ("story", f"/cases/{case}"),
        ("trends", "/trends?by=agent&range=week"),
        ("queues", "/queues"),
        ("reply", f"/queues/replies/{rated}"),
        ("report", "/reports/day"),
    ):
        page.goto(path)
        shoot(page, folder, name)
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.goto("/")
    expect(page.locator("#live-state")).to_have_text("实时更新中")
    shoot(page, folder, "phone")
    context.close()
    wall(browser, hotline, folder)
    if watch.faults():
        raise SystemExit(f"screenshots: {watch.faults()}")


def wall(browser: Browser, hotline: Hotline, folder: Path) -> None:
    context, _ = open_context(browser, hotline.web)
    page = context.new_page()
    log_in(page, ConsoleRole.ADMIN, "/people/boards")
    page.get_by_label("名称").fill("大厅")
    page.get_by_role("button", name="新增大屏").click()
    address = page.locator("#secret").inner_text()
    context.close()
    context, _ = open_context(browser, hotline.web, screen=WALL, scale=0.625)
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#live-state")).to_have_text("实时更新中")
    shoot(page, folder, "wall")
    context.close()


def shoot(page: Page, folder: Path, name: str) -> None:
    """The page, as far down as its picture may weigh."""
    width = int(page.evaluate("innerWidth"))
    height = min(int(page.evaluate("document.scrollingElement.scrollHeight")), TALLEST)
    path = folder / f"console-{name}.png"
    while True:
        clip: FloatRect = {"x": 0, "y": 0, "width": width, "height": height}
        page.screenshot(path=path, clip=clip, full_page=True)
        if path.stat().st_size <= MOST:
            break
        height = height * 9 // 10


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
