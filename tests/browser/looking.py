"""What tests look for on any page: rules of accessibility, its width, what the keyboard reaches, its weight."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.browser.chromium import axe_script

__all__ = ["Weight", "broken_rules", "overflow", "unreached"]

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_RUN = """async (rules) => {
  const found = await axe.run(document, { runOnly: rules, resultTypes: ["violations"] });
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  return [
    ...found.violations.map((one) => one.id + ": " + one.nodes.map((node) => node.html.slice(0, 160)).join(" | ")),
    ...ids.filter((id, place) => ids.indexOf(id) !== place).map((id) => "two of one id: " + id),
  ];
}"""
_CONTROLS = """() => [...document.querySelectorAll(
  "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")].filter(
  (one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility({ visibilityProperty: true })
    && !(one.type === "radio" && !one.checked && document.querySelector(`[name="${one.name}"]:checked`)))"""
_WATCH_FOCUS = f"""() => {{
  window.wanted = ({_CONTROLS})();
  window.reached = new Set();
  window.unseen = new Set();
  document.activeElement.blur();
  document.addEventListener("focusin", (event) => {{
    const one = event.target;
    if (!window.wanted.includes(one)) return;
    window.reached.add(one);
    const style = getComputedStyle(one);
    if (style.outlineStyle === "none" && style.boxShadow === "none") window.unseen.add(one);
  }});
  return window.wanted.length;
}}"""
_NAME = """(one) => one.tagName.toLowerCase() + (one.name ? `[${one.name}]` : "") + " "
  + (one.getAttribute("aria-label") || one.textContent || one.getAttribute("href") || "").trim().slice(0, 40)"""


def broken_rules(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2, A and AA; and ids that stand twice, by which a label misses its field."""
    page.evaluate(axe_script())
    return list(page.evaluate(_RUN, _RULES))


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the screen."""
    return int(page.evaluate("document.scrollingElement.scrollWidth - document.documentElement.clientWidth"))


def unreached(page: Page) -> tuple[list[str], list[str]]:
    """Presses Tab through the page: the controls that it does not come to, and those on which one cannot see it."""
    total = int(page.evaluate(_WATCH_FOCUS))
    for press in range(1, total * 4 + 21):
        page.keyboard.press("Tab")
        if press >= total and press % 10 == 0 and page.evaluate("window.wanted.length === window.reached.size"):
            break
    named: Any = page.evaluate(
        f"""() => {{
      const name = {_NAME};
      return [window.wanted.filter((one) => !window.reached.has(one)).map(name), [...window.unseen].map(name)];
    }}"""
    )
    missed, unseen = named
    return list(missed), list(unseen)


class Weight:
    """What a page and all that it asks for weigh on the wire, headers included, by address."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self._urls: dict[str, str] = {}
        self.bytes: dict[str, int] = {}
        session = context.new_cdp_session(page)
        session.on("Network.requestWillBeSent", self._sent)
        session.on("Network.dataReceived", self._received)
        session.on("Network.loadingFinished", self._finished)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def _sent(self, event: dict[str, Any]) -> None:
        self._urls[event["requestId"]] = event["request"]["url"]

    def _received(self, event: dict[str, Any]) -> None:
        """Of a stream, which never finishes; a finished request says its own sum."""
        url = self._urls[event["requestId"]]
        self.bytes[url] = self.bytes.get(url, 0) + int(event["encodedDataLength"])

    def _finished(self, event: dict[str, Any]) -> None:
        self.bytes[self._urls[event["requestId"]]] = int(event["encodedDataLength"])

    @property
    def total(self) -> int:
        return sum(self.bytes.values())
