"""Debian's Chromium, driven by Playwright: what is needed for it, how it is started, and what a page may not do.

Rules kept here:

* Nothing is downloaded and nothing is asked: Chromium may reach 127.0.0.1 alone, whatever it or a page would like.
* A page that asks another host, writes an error to the browser's console, breaks the policy of contents or leaves an
  exception fails its test; what a test means to happen it says with `Watch.expect`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Playwright, Request, WebError

__all__ = ["DESK", "FLAGS", "PHONE", "WALL", "Watch", "axe_script", "browser_missing", "launch", "open_context"]

HERE = Path(__file__).resolve().parent
LOCK = HERE / "package-lock.json"
DESK, WALL, PHONE = (1280, 800), (1920, 1080), (390, 844)
"""Screens: a supervisor's desk, the wall, a phone."""
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--lang=zh-CN",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_PATIENCE = 10_000.0


def _axe() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "huiyin" / "node-axe"


def browser_missing() -> str | None:
    """What the tests in a browser miss, as a sentence; None: nothing."""
    if shutil.which("chromium") is None:
        return "Chromium is missing (tools/test-programs.sh)"
    stamp = _axe() / ".pins"
    if not stamp.exists() or stamp.read_bytes() != LOCK.read_bytes():
        return "npm's axe-core is missing (tools/test-programs.sh)"
    return None


def axe_script() -> str:
    """axe-core, to be run in a page."""
    return (_axe() / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def launch(playwright: Playwright, home: Path) -> Browser:
    """Chromium without a window. Its own sandbox is off: it shows our pages alone, and root may not have one.

    Args:
        home: a folder that it may write to; a user without a home has none.
    """
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium"),
        args=list(FLAGS),
        env={
            **os.environ,
            "HOME": str(home),
            "LANGUAGE": "zh_CN",
            "XDG_CONFIG_HOME": str(home),
            "XDG_CACHE_HOME": str(home),
        },
        timeout=60_000,
    )


@dataclass
class Watch:
    """What the pages of a context do that they may not."""

    origin: str
    asked: list[str] = field(default_factory=list)
    """Addresses of other hosts."""
    errors: list[str] = field(default_factory=list)
    """Errors of the browser's console, of the policy, and exceptions."""

    def over(self, context: BrowserContext) -> Watch:
        context.on("request", self._asked)
        context.on("console", self._said)
        context.on("weberror", self._raised)
        context.on("dialog", self._opened)
        return self

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:", "blob:", "about:")):
            self.asked.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _raised(self, error: WebError) -> None:
        self.errors.append(str(error.error))

    def _opened(self, dialog: Dialog) -> None:
        """A question of the page's own is answered with yes; a page of ours only asks."""
        if dialog.type != "confirm":
            self.errors.append(f"the page opened: {dialog.message}")
        dialog.accept()

    def expect(self, *texts: str) -> None:
        """Takes one error with each of these texts; a text that nothing said is a failure."""
        for text in texts:
            found = [error for error in self.errors if text in error]
            assert found, f"no error with {text!r}: {self.errors}"
            self.errors.remove(found[0])

    def faults(self) -> Sequence[str]:
        return [f"another host was asked: {url}" for url in self.asked] + self.errors


def open_context(
    browser: Browser,
    origin: str,
    *,
    screen: tuple[int, int] = DESK,
    scripts: bool = True,
    state: Path | None = None,
    scale: float = 1,
) -> tuple[BrowserContext, Watch]:
    """A browser as somebody has it before them, with the address as its home.

    Args:
        state: of somebody who is logged in (`BrowserContext.storage_state`).
        scale: of pictures, whatever the screen.
    """
    width, height = screen
    context = browser.new_context(
        base_url=origin,
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        has_touch=screen == PHONE,
        is_mobile=screen == PHONE,
        java_script_enabled=scripts,
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        storage_state=state,
        reduced_motion="reduce",
    )
    context.set_default_timeout(_PATIENCE)
    return context, Watch(origin).over(context)
