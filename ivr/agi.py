"""The codec of FastAGI: commands to bytes, bytes to replies. Pure: pyst2's `AGI` class, put right where it is wrong.

Rules kept here:

1. pyst2 builds the commands and reads the replies. Its wire, signal handler and output to stderr are never used.
2. A value can neither end its quotes nor its line: `"` and `\\` are escaped, a value with CR, LF or NUL is refused
   (`UnsafeValue`). File names are quoted like everything else.
3. What a hung-up channel says, in whatever form (`result=-1`, 511, the end of the connection), is `AGIResultHangup`.
   One `-1` is ambiguous: STREAM FILE says `result=-1 endpos=0` for a missing file too; that is `Unplayable`, and
   whoever asked finds out (`ivr/session.py`).
4. The `(timeout)` of GET DATA is kept: `Reply.data`.
5. Asterisk's lines are bytes in any encoding; they are read as UTF-8 with surrogateescape and go back as they came.
6. `Lines` cuts the stream. `HANGUP` is no reply, a block of usage (520) is one, and no line or head is longer than its
   limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from asterisk.agi import (
    AGI,
    AGIAppError,
    AGIException,
    AGIHangup,
    AGIInvalidCommand,
    AGIResultHangup,
    AGIUnknownError,
    AGIUsageError,
)

__all__ = [
    "HEAD_LIMIT",
    "LINE_LIMIT",
    "AGIAppError",
    "AGIException",
    "AGIHangup",
    "AGIInvalidCommand",
    "AGIResultHangup",
    "AGIUnknownError",
    "AGIUsageError",
    "Codec",
    "Lines",
    "Overlong",
    "Reply",
    "Unplayable",
    "UnsafeValue",
    "command",
    "environment",
    "parse_reply",
    "set_variable",
]

HEAD_LIMIT = 16_384
"""Bytes of the environment block; Asterisk 22 sends about 700."""
LINE_LIMIT = 16_384
"""Bytes of a reply line. A variable's value is the longest that comes."""


class UnsafeValue(ValueError):
    """A value that would end the command's line. It is never sent."""


class Unplayable(AGIAppError):  # type: ignore[misc]  # pyst2 has no types
    """Nothing was played: the file is missing, or the caller had just hung up."""


class Overlong(Exception):
    """The peer sent more than a head or a line may hold."""


# ── replies ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_REPLY = re.compile(rb"(\d{3})(?: result=([^ \n]*))?(?: \((.*)\))?(?: endpos=(-?\d+))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply line. `result` and `data` are as they came; `data` is what stood in brackets."""

    code: int
    result: str = ""
    data: str = ""
    endpos: int | None = None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def parse_reply(line: bytes) -> Reply:
    """Reads a reply line, with or without its line end.

    Raises:
        AGIUnknownError: it does not begin with a code of three digits.
    """
    match = _REPLY.match(line.rstrip(b"\r\n"))
    if match is None:
        raise AGIUnknownError(f"no AGI reply: {line[:40]!r}")
    code, result, data, endpos = match.groups()
    return Reply(int(code), _text(result or b""), _text(data or b""), None if endpos is None else int(endpos[:12]))


def checked(reply: Reply) -> Reply:
    """The reply, if the command was carried out.

    Raises:
        AGIResultHangup, Unplayable, AGIInvalidCommand, AGIUsageError, AGIUnknownError
    """
    if reply.code == 200:
        if reply.result == "-1":
            if reply.endpos == 0:
                raise Unplayable("nothing was played")
            raise AGIResultHangup("the caller hung up")
        return reply
    if reply.code == 511:
        raise AGIResultHangup("the channel is dead")
    if reply.code == 510:
        raise AGIInvalidCommand("Asterisk does not know this command")
    if reply.code == 520:
        raise AGIUsageError("Asterisk says this is not how the command is used")
    raise AGIUnknownError(reply.code, "no code of AGI")


# ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Built(Exception):
    """No error: it carries the line that pyst2 built out of pyst2's method."""

    def __init__(self, line: str) -> None:
        self.line = line


class Codec(AGI):  # type: ignore[misc]  # pyst2 has no types
    """pyst2's methods without a wire.

    A method runs once to build its line, `execute` leaving with it, and once more with the reply, to read it as pyst2
    does. A method that executes several commands runs once more for each.
    """

    def __init__(self, env: dict[str, str] | None = None, replies: Iterable[Reply] = ()) -> None:
        # pyst2's own constructor installs a signal handler and reads a file; neither is wanted.
        self.env = env or {}
        self._replies = list(replies)
        self._at = 0

    def run(self, method: str, *args: Any) -> tuple[bytes | None, Any]:
        """The next command line to send and None, or None and the method's result.

        Raises:
            UnsafeValue: a value has a line break or NUL.
            AGIException: as the method reads the replies.
        """
        self._at = 0
        try:
            return None, getattr(self, method)(*args)
        except _Built as built:
            return built.line.encode("utf-8", "surrogateescape") + b"\n", None

    def answered(self, reply: Reply) -> None:
        """Takes the reply to the line that `run` gave last."""
        self._replies.append(reply)

    def execute(self, command: str, *args: Any) -> dict[str, tuple[str, str]]:
        if self._at < len(self._replies):
            self._at += 1
            return self.get_result(self._replies[self._at - 1])
        line = " ".join((command, *map(str, args))).strip()
        if "\n" in line or "\r" in line or "\0" in line:
            raise UnsafeValue(f"a value of {command} has a line break or NUL; take it out before it comes here")
        raise _Built(line)

    def get_result(self, reply: Reply) -> dict[str, tuple[str, str]]:
        checked(reply)
        result = {"result": (reply.result, reply.data)}
        if reply.endpos is not None:
            result["endpos"] = (str(reply.endpos), "")
        return result

    def _quote(self, string: Any) -> str:
        return '"' + str(string).replace("\\", "\\\\").replace('"', '\\"') + '"'

    def test_hangup(self) -> None:
        """pyst2 looks at a signal here; FastAGI has none."""

    def stream_file(self, filename: str, escape_digits: str = "", sample_offset: int = 0) -> str:
        return cast("str", super().stream_file(self._quote(filename), escape_digits, sample_offset))

    def get_data(self, filename: str, timeout: int = 2000, max_digits: int = 255) -> str:
        return cast("str", super().get_data(self._quote(filename), timeout, max_digits))

    def get_option(self, filename: str, escape_digits: str = "", timeout: int = 0) -> str:
        return cast("str", super().get_option(self._quote(filename), escape_digits, timeout))


_BUILDER = Codec()


def build(method: str, *args: Any) -> bytes:
    """The line of a command, built by pyst2's method of that name.

    Raises:
        UnsafeValue: a value has a line break or NUL.
    """
    line, _ = _BUILDER.run(method, *args)
    assert line is not None
    return line


command: Callable[..., bytes] = lru_cache(maxsize=2048)(build)
"""As `build`, kept: for commands that come again and again, such as prompts."""


def set_variable(name: str, value: str) -> bytes:
    """`build("set_variable", name, value)`, fast for ids: pyst2 builds it once a name, a plain value goes in."""
    if value.isascii() and value.isalnum():
        before, after = _around_value(name)
        return before + value.encode() + after
    return build("set_variable", name, value)


@lru_cache(maxsize=64)
def _around_value(name: str) -> tuple[bytes, bytes]:
    before, _, after = build("set_variable", name, "0").rpartition(b"0")
    return before, after


# ── the stream ────────────────────────────────────────────────────────────────────────────────────────────────────────


def environment(head: bytes) -> dict[str, str]:
    """The variables of the block with which Asterisk begins. Of a repeated name the first counts.

    Asterisk writes the request before anything that a caller can choose: what a caller's name smuggles in is too late.
    """
    found: dict[str, str] = {}
    for line in _text(head).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


class Lines:
    """Cuts what comes into the head and the replies after it.

    `hung_up` is set by a line `HANGUP`, which may come at any time; the reply that says so as well still follows.
    """

    __slots__ = ("_buffer", "_in_usage", "hung_up")

    def __init__(self) -> None:
        self._buffer = b""
        self._in_usage = False
        self.hung_up = False

    @property
    def empty(self) -> bool:
        """Nothing is kept: the next bytes begin a line."""
        return not self._buffer and not self._in_usage

    def head(self, data: bytes) -> bytes | None:
        """The environment block, without the empty line that ends it; None as long as that has not come.

        Raises:
            Overlong: more than HEAD_LIMIT bytes without an end.
        """
        data = self._buffer + data
        head, end, rest = data.partition(b"\n\n")
        if len(head) > HEAD_LIMIT:
            self._buffer = b""
            raise Overlong(f"{len(head)} bytes and no end of the environment")
        if not end:
            self._buffer = data
            return None
        self._buffer = rest
        return head

    def replies(self, data: bytes) -> list[bytes]:
        """The reply lines that are whole by now, without their ends.

        Raises:
            Overlong: a line of more than LINE_LIMIT bytes.
        """
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > LINE_LIMIT:
            self._buffer = b""
            raise Overlong("a line without an end")
        found = []
        for line in lines:
            if len(line) > LINE_LIMIT:
                raise Overlong(f"a line of {len(line)} bytes")
            if self._in_usage:
                if line.startswith(b"520") and not line.startswith(b"520-"):
                    self._in_usage = False
                    found.append(line)
            elif line.startswith(b"520-"):
                self._in_usage = True
            elif line.startswith(b"HANGUP"):
                self.hung_up = True
            elif line[:3].isdigit() and not line.startswith(b"100"):
                found.append(line)
        return found
