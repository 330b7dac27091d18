"""What the push wrote down about a failure (centre/), as what people are told of it 推送出错的原因.

Rules kept here:

* The push writes for the log and the command line, in English; a page says it by a text of the catalogue
  (`centre_error`). What the centre itself said stays as it said it, with whatever is like a number masked.
* A text that nobody foresaw is told as it is: never nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from console.masking import mask_words

__all__ = ["CentreError", "ErrorKind", "centre_error"]


class ErrorKind(StrEnum):
    """A text of the catalogue's table `centre_error`; most have one `detail`."""

    ACCESS = "access"
    LESS = "less"
    SLOW = "slow"
    STATUS = "status"
    NO_CENTRE = "no_centre"
    UNREADABLE = "unreadable"
    REFUSED = "refused"
    UNKNOWN_NAME = "unknown_name"
    NO_CONNECTION = "no_connection"
    LOST = "lost"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNMAPPABLE = "unmappable"
    INCOMPLETE = "incomplete"
    NO_REASON = "no_reason"
    REJECTED = "rejected"
    SAID = "said"


@dataclass(frozen=True, slots=True)
class CentreError:
    """One reason. `detail`: a status, seconds, or the centre's own words."""

    kind: ErrorKind
    detail: str = ""


_PATTERNS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"HTTP (401|403): the centre refuses .*", ErrorKind.ACCESS),
        (r"HTTP (429): the centre asks for less", ErrorKind.LESS),
        (r"HTTP (\d{3}): not an answer of a centre.*", ErrorKind.NO_CENTRE),
        (r"HTTP (\d{3})", ErrorKind.STATUS),
        (r"HTTP (\d{3} .+)", ErrorKind.REJECTED),
        (r"no answer within (.+) s", ErrorKind.SLOW),
        (r"the answer holds no list of results()", ErrorKind.UNREADABLE),
        (r"connection refused()", ErrorKind.REFUSED),
        (r"the name of centre\.url is not known here()", ErrorKind.UNKNOWN_NAME),
        (r"no connection: (.+)", ErrorKind.NO_CONNECTION),
        (r"connection lost before the whole answer: (.+)", ErrorKind.LOST),
        (r"request failed: (.+)", ErrorKind.FAILED),
        (r"the request was cancelled()", ErrorKind.CANCELLED),
        (r"cannot be mapped with this profile: (.+)", ErrorKind.UNMAPPABLE),
        (r"its (evaluation|assess_time) .+", ErrorKind.INCOMPLETE),
        (r"no reason given()", ErrorKind.NO_REASON),
    )
)


def centre_error(stored: str | None) -> CentreError | None:
    """What stands in `outbox.reason` or `push_batches.last_error`, for a page; None: nothing does."""
    if not stored or not stored.strip():
        return None
    for pattern, kind in _PATTERNS:
        if found := pattern.fullmatch(stored):
            return CentreError(kind, mask_words(found[1]) or "")
    return CentreError(ErrorKind.SAID, mask_words(stored) or "")
