"""What Asterisk asks for: the path and query of the AGI request, and the caller. Pure.

Rules kept here:

1. Values are percent-encoded bytes; `+` is a plus sign. They are read as UTF-8, else as GB 18030 (GBK is part of it),
   else as UTF-8 with what cannot be read replaced. Nothing that comes in raises.
2. What goes on is text without control characters, of bounded length.
3. Of a repeated key the first counts, unknown keys are ignored, an empty value is none.
4. A call without `call=` is its channel's `agi_uniqueid`.
5. Of a repeated variable of the environment block the first counts: Asterisk writes what we read before the caller's
   name, so a name with line breaks in it changes nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from intake.names import CALL_KEY_LENGTH, clean, normalise_agent
from intake.record import CallFacts

__all__ = ["Path", "Request", "read_request"]

_LONGEST_VALUE = 400


class Path(StrEnum):
    """The requests there are."""

    RATE = "rate"
    ENDED = "ended"
    CALLBACK = "callback"
    """Reserved for the call-back of a bad rating's follow-up."""
    UNKNOWN = "unknown"


_PATHS = {path.value: path for path in (Path.RATE, Path.ENDED, Path.CALLBACK)}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is understood. `call_key` is empty where nothing names the call."""

    path: Path
    call_key: str
    number: str | None
    agent: str | None = None
    queue: str | None = None
    dept: str | None = None
    case_no: str | None = None
    closed: bool = False
    lang: str = ""

    def facts(self, lang: str, at: datetime) -> CallFacts:
        """The call, for the intake. `lang`: the language that its prompts are in."""
        return CallFacts(
            self.call_key, self.number, self.agent, self.queue, self.dept, self.case_no, self.closed, lang, at
        )


def read_request(head: bytes) -> Request:
    """Reads the environment block."""
    head = b"\n" + head + b"\n"
    # agi_request is the whole URL; agi_network_script what comes after its host.
    script = _variable(head, b"\nagi_network_script:")
    if not script:
        script = _variable(head, b"\nagi_request:").partition(b"://")[2].partition(b"/")[2]
    path, _, query = script.lstrip(b"/").partition(b"?")
    values: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        key, equals, value = pair.partition(b"=")
        if equals:
            values.setdefault(key, value)
    get = values.get
    return Request(
        path=_PATHS.get(path.decode("latin-1").rstrip("/"), Path.UNKNOWN),
        call_key=_call_key(_read(get(b"call", b""))) or _call_key(_read(_variable(head, b"\nagi_uniqueid:"))),
        number=_number(_variable(head, b"\nagi_callerid:")),
        agent=_agent(get(b"agent", b"")),
        queue=_name(get(b"queue", b"")),
        dept=_name(get(b"dept", b"")),
        case_no=clean(_read(get(b"case", b"")), 200),
        closed=get(b"closed") == b"1",
        lang=_name(get(b"lang", b"")) or "",
    )


def _variable(head: bytes, name: bytes) -> bytes:
    """The first variable of that name; `head` and `name` begin with a line break."""
    at = head.find(name)
    if at < 0:
        return b""
    at += len(name)
    return head[at : head.index(b"\n", at)].strip()


def _read(raw: bytes) -> str:
    """Text of a percent-encoded value (rule 1)."""
    raw = raw[: 3 * _LONGEST_VALUE]
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")


def _call_key(text: str) -> str:
    if len(text) <= CALL_KEY_LENGTH and text.isascii() and text.isprintable() and " " not in text:
        return text
    key = clean(text, 3 * _LONGEST_VALUE) or ""
    # Cut off, two long ones could be taken for one call.
    return key if len(key) <= CALL_KEY_LENGTH else hashlib.sha256(key.encode()).hexdigest()


def _number(raw: bytes) -> str | None:
    if raw.isdigit() and len(raw) <= 32:
        return raw.decode("ascii")
    number = clean(_read(raw), 64)
    return None if number is None or number == "unknown" else number


@lru_cache(maxsize=4096)
def _agent(raw: bytes) -> str | None:
    return normalise_agent(_read(raw))


@lru_cache(maxsize=4096)
def _name(raw: bytes) -> str | None:
    """Queues, departments and languages: there are few, so they are read once."""
    return clean(_read(raw), 64)
