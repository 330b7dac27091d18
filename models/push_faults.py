"""Why something has not reached the centre, as it is stored and logged, and read back for a page.

Rules kept here:

* The record, the logs and `huiyin outbox list` hold plain English; a page has a Chinese word for each `PushFault`
  (console/pages/zh.toml, `push_fault`).
* Each is one text with places for what differs; `read_fault` gives the fault and what stood in the places. A text that
  is none of these (the centre's own reason, one of an older version) is read as None and shown as it is.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache

__all__ = ["PushFault", "read_fault"]


class PushFault(StrEnum):
    """The texts. More special ones stand before those that they are also an example of."""

    NO_ACCESS = "HTTP {status}: the centre refuses our signature or our access; check centre.secret"
    ASKS_FOR_LESS = "HTTP {status}: the centre asks for less"
    NO_CENTRE = "HTTP {status}: not an answer of a centre; check centre.url"
    HTTP = "HTTP {status}"
    RECORD_REFUSED = "HTTP {status} {words}"
    NO_RESULTS = "the answer holds no list of results"
    NO_REASON = "no reason given"
    TOO_LONG = "the answer is longer than {most} bytes"
    NO_ANSWER = "no answer within {seconds} s"
    NOT_CONNECTED = "connection refused"
    NAME_UNKNOWN = "the name of centre.url is not known here"
    NO_CONNECTION = "no connection: {kind}"
    CONNECTION_LOST = "connection lost before the whole answer: {kind}"
    CANCELLED = "the request was cancelled"
    REQUEST_FAILED = "request failed: {kind}"
    UNMAPPABLE = "cannot be mapped with this profile: {kind}"
    NO_EVALUATION = "its evaluation is not in the database"
    WORDS_GONE = "what the centre said went with the words it was about"
    NO_TIME = "its assess_time in the database cannot be read"

    def told(self, **fields: object) -> str:
        """The text with its places filled."""
        return self.value.format(**fields)


@cache
def _patterns() -> tuple[tuple[PushFault, re.Pattern[str]], ...]:
    places = {"status": r"\d{3}", "seconds": r"[\d.e+-]+", "most": r"\d+"}
    found = []
    for fault in PushFault:
        pattern = re.escape(fault.value).replace(r"\{", "{").replace(r"\}", "}")
        pattern = re.sub(r"\{(\w+)\}", lambda place: f"(?P<{place[1]}>{places.get(place[1], '.+')})", pattern)
        found.append((fault, re.compile(pattern, re.DOTALL)))
    return tuple(found)


def read_fault(text: str) -> tuple[PushFault, dict[str, str]] | None:
    """The fault that a stored text tells of, and what stands in its places; None: it is none of ours."""
    for fault, pattern in _patterns():
        if found := pattern.fullmatch(text):
            return fault, found.groupdict()
    return None
