"""A browser without a screen: cookies, forms as a page shows them, redirects one at a time."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import urlencode

from config.values import Address

__all__ = ["Browser", "Page"]


@dataclass(frozen=True)
class Page:
    status: int
    headers: dict[str, str]
    cookies: list[str]
    text: str

    @property
    def to(self) -> str:
        """Where it leads."""
        return self.headers.get("location", "")

    def hidden(self, name: str) -> str:
        """The first hidden field of this name."""
        found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', self.text)
        assert found is not None, f"no {name} on the page"
        return unescape(found[1])


@dataclass
class Browser:
    address: Address
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Page:
        connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=30)
        sent = dict(self.headers)
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request(method, path, body, {**sent, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
            cookies = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
            for cookie in cookies:
                name, _, value = cookie.partition(";")[0].partition("=")
                if value.strip('"'):
                    self.cookies[name] = value
                else:
                    self.cookies.pop(name, None)
            return Page(answer.status, {name.lower(): value for name, value in answer.getheaders()}, cookies, text)
        finally:
            connection.close()

    def get(self, path: str) -> Page:
        return self.ask("GET", path)

    def post(self, path: str, fields: dict[str, str]) -> Page:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(fields).encode(), kind)

    def send(self, path: str, page: str, **fields: str) -> Page:
        """The form of a page, with its secret."""
        return self.post(path, {"csrf": self.get(page).hidden("csrf"), **fields})

    def log_in(self, name: str, password: str, back: str = "") -> Page:
        return self.post(
            "/login", {"csrf": self.get("/login").hidden("csrf"), "name": name, "password": password, "next": back}
        )
