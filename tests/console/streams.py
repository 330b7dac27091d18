"""A browser's EventSource without a screen."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.console.browser import Browser

__all__ = ["Event", "Stream"]


@dataclass(frozen=True)
class Event:
    kind: str
    id: str
    data: Any
    at: float

    @property
    def lines(self) -> dict[str, bool]:
        """The bad ratings told: whether each was seen."""
        return {line["id"]: line["seen"] for line in self.data["lines"]}


class Stream:
    """Reads events; a time-out of the socket fails the test.

    Args:
        cursor: Last-Event-ID.
    """

    def __init__(self, browser: Browser, path: str = "/live", cursor: str | None = None) -> None:
        self._connection = http.client.HTTPConnection(browser.address.host, browser.address.port, timeout=20)
        headers = {"Accept": "text/event-stream"}
        if browser.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        if cursor is not None:
            headers["Last-Event-ID"] = cursor
        self._connection.request("GET", path, headers=headers)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.headers = {name.lower(): value for name, value in self._answer.getheaders()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def raw(self) -> bytes:
        """The next block that is no comment and no setting; empty: the stream has ended."""
        block = b""
        while line := self._answer.readline():
            if line == b"\n":
                if block and not block.startswith((b":", b"retry:")):
                    return block
                block = b""
            else:
                block += line
        return b""

    def next(self) -> Event:
        """The next event."""
        block = self.raw().decode()
        assert block, "the stream has ended"
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]), time.monotonic())

    def until(self, *ids: str) -> list[Event]:
        """Events until each of these ratings was told."""
        found: list[Event] = []
        missing = set(ids)
        while missing:
            found.append(self.next())
            assert found[-1].kind == "board", found[-1].kind
            missing -= set(found[-1].lines)
        return found

    def until_any(self) -> list[dict[str, Any]]:
        """The lines of the next event that has some."""
        while True:
            event = self.next()
            assert event.kind == "board", event.kind
            if event.data["lines"]:
                lines: list[dict[str, Any]] = event.data["lines"]
                return lines

    def close(self) -> None:
        self._connection.close()
