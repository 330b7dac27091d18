"""A stand-in for Asterisk and its caller: it speaks FastAGI as Asterisk 22 does, and presses keys by a plan.

What it answers was seen on a real Asterisk 22.10 (docs/asterisk.md):

* STREAM FILE and GET DATA take one file and say `-1` at once where it is missing. EXEC Background, Playback and Read
  join files with `&`; Background stops at a missing one and says so in BACKGROUNDSTATUS, Read skips it.
* A key ends what listens to it, and is lost on what does not.
* On a hang-up what is running answers at once (EXEC Read with 0, everything else with -1); a line `HANGUP` comes just
  before the next reply; from then on only commands that work on a dead channel are carried out, the others get 511.
* An unknown command is 510, a wrong use a 520 block, an unknown application -2.

Nothing is timed unless the plan says so: by default prompts and silences are over at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, TypeAlias
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

__all__ = [
    "Answer",
    "CallReport",
    "HangUp",
    "Late",
    "Pace",
    "Plan",
    "Silent",
    "environment_block",
    "place_call",
    "request_line",
    "words",
]

_LONGEST = 65_536


# ── what the caller does ──────────────────────────────────────────────────────────────────────────────────────────────


class Silent(Enum):
    """No key at this question."""

    SILENT = auto()


class HangUp(Enum):
    """The caller hangs up at this question."""

    HANG_UP = auto()


@dataclass(frozen=True, slots=True)
class Late:
    """Not while the prompt plays but after it, while Asterisk waits for a key."""

    answer: str | HangUp


Answer: TypeAlias = str | Silent | HangUp | Late
"""What a caller does at one question; a string is the key."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds. `silence` None: as long as the server said."""

    file: float = 0.0
    key: float = 0.0
    silence: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A call: what was asked for, what the caller does.

    Args:
        answers: for the first question, the second, …; from then on the caller is silent. A question is a run of
            commands that listen to keys without a key (EXEC Background and the WAIT FOR DIGIT after it are one).
        hang_up_on: the caller hangs up while a command runs that this regular expression finds.
        missing: files that Asterisk does not have.
        name: caller's name, as bytes.
    """

    request: str
    answers: Sequence[Answer] = ()
    hang_up_on: str | None = None
    missing: frozenset[str] = frozenset()
    number: str = "13800138000"
    name: bytes = b""
    unique_id: str = "huiyin-1760000000.1"
    pace: Pace = Pace()
    dead_from_start: bool = False
    """The request comes from the hangup handler: the channel is hung up already."""


@dataclass(slots=True)
class CallReport:
    """What came of it. `lines`: what the server sent (`>`) and was answered (`<`)."""

    lines: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    played: list[str] = field(default_factory=list)
    connected: bool = False
    clean: bool = False
    """The server closed the connection in order, after a reply."""

    @property
    def commands(self) -> list[str]:
        """The command lines, in order."""
        return [line[2:] for line in self.lines if line.startswith("> ")]

    @property
    def outcome(self) -> str:
        """HUIYIN_OUTCOME, "" where it was not set."""
        return self.variables.get("HUIYIN_OUTCOME", "")


def request_line(path: str, **values: str | bytes) -> str:
    """`rate?call=…&agent=…` with every value percent-encoded, as the dialplan's URIENCODE does it.

    Bytes that are not UTF-8, in text as surrogate escapes (from a command line), go out as they came in.
    """
    raw = {
        key: value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        for key, value in values.items()
    }
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in raw.items())
    return f"{path}?{query}" if query else path


def environment_block(plan: Plan, host: str, port: int) -> bytes:
    """What Asterisk 22 sends first: names and order as seen on the wire."""
    lines: list[tuple[str, str | bytes]] = [
        ("network", "yes"),
        ("network_script", plan.request),
        ("request", f"agi://{host}:{port}/{plan.request}"),
        ("channel", "PJSIP/trunk-0000002a"),
        ("language", "zh"),
        ("type", "PJSIP"),
        ("uniqueid", plan.unique_id),
        ("version", "22.10.0"),
        ("callerid", plan.number),
        ("calleridname", plan.name),
        ("callingpres", "0"),
        ("callingani2", "0"),
        ("callington", "0"),
        ("callingtns", "0"),
        ("dnid", "12345"),
        ("rdnis", "unknown"),
        ("context", "huiyin-request"),
        ("extension", "s"),
        ("priority", "1"),
        ("enhanced", "0.0"),
        ("accountcode", ""),
        ("threadid", "140"),
    ]
    return (
        b"".join(
            b"agi_%s: %s\n" % (name.encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in lines
        )
        + b"\n"
    )


def words(line: str) -> list[str]:
    """The words of an AGI command, as Asterisk takes it apart: quotes join, a backslash makes the next sign plain."""
    found: list[str] = []
    quoted = escaped = False
    between = True
    for sign in line:
        if escaped or not (sign in '"\\' or (sign in " \t" and not quoted)):
            if between:
                found.append("")
                between = False
            found[-1] += sign
            escaped = False
        elif sign == '"':
            quoted = not quoted
            if quoted and between:
                found.append("")
                between = False
        elif sign == "\\":
            escaped = True
        else:
            between = True
    return found


# ── Asterisk ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_ON_DEAD = frozenset({"EXEC", "GET VARIABLE", "GET FULL VARIABLE", "SET VARIABLE", "HANGUP", "NOOP", "VERBOSE"})
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class AsteriskStandIn(Protocol):
    """One call, from the environment block to the server's close. `done` fires with the report."""

    transport: Any

    def __init__(self, reactor: Any, plan: Plan, host: str, port: int) -> None:
        self.report = CallReport()
        self.done: Deferred[CallReport] = Deferred()
        self._reactor = reactor
        self._plan = plan
        self._address = (host, port)
        self._answers = list(plan.answers)
        self._hangup_on = None if plan.hang_up_on is None else re.compile(plan.hang_up_on)
        self._dead = plan.dead_from_start
        self._announced = plan.dead_from_start
        self._buffer = b""
        self._timer: Any = None

    def connectionMade(self) -> None:  # noqa: N802
        self.report.connected = True
        self.transport.write(environment_block(self._plan, *self._address))

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._command(line.decode("utf-8", "surrogateescape"))
        if len(self._buffer) > _LONGEST:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: N802
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        in_order = reason is not None and isinstance(reason.value, ConnectionDone)
        self.report.clean = in_order and self._timer is None
        self.done.callback(self.report)

    def _command(self, line: str) -> None:
        self.report.lines.append(f"> {line}")
        if self._timer is not None:
            self._say("520 a command came while another ran: FastAGI takes turns")
            return
        parts = words(line)
        for count in (3, 2, 1):
            verb = " ".join(parts[:count]).upper()
            carry_out = _VERBS.get(verb)
            if carry_out is not None:
                break
        else:
            self._say("510 Invalid or unknown command")
            return
        if self._dead and verb not in _ON_DEAD:
            self._say("511 Command Not Permitted on a dead channel or intercept routine")
            return
        if not self._dead and self._hangup_on is not None and self._hangup_on.search(line):
            self._dead = True
        try:
            carry_out(self, *parts[count:])
        except TypeError:
            self._say(f"520-Invalid command syntax.  Proper usage follows:\nUsage: {verb}\n520 End of proper usage.")

    def _say(self, reply: str) -> None:
        if self._dead and not self._announced:
            self._announced = True
            self._send("HANGUP")
        self._send(reply)

    def _send(self, line: str) -> None:
        self.report.lines.append(f"< {line}")
        self.transport.write(line.encode("utf-8", "surrogateescape") + b"\n")

    def _after(self, seconds: float, act: Callable[..., None], *args: Any) -> None:
        """Does it after a time; at once for 0."""
        if not seconds:
            act(*args)
            return

        def then() -> None:
            self._timer = None
            act(*args)

        self._timer = self._reactor.callLater(seconds, then)

    # ── the caller ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _press(self, *, during: bool, last: bool) -> str:
        """The key at this moment of a question, "" for none. `last`: the question ends here without one."""
        answer: Answer = self._answers[0] if self._answers else Silent.SILENT
        if isinstance(answer, Late):
            if during and not last:
                return ""
            answer = answer.answer
        if isinstance(answer, Silent) and not last:
            return ""
        if self._answers:
            self._answers.pop(0)
        if isinstance(answer, HangUp):
            # What is running must answer as hung up, without the line HANGUP, which comes before the next reply.
            self._dead = True
            return ""
        return answer if isinstance(answer, str) else ""

    def _listen(self, names: Sequence[str], act: Callable[[str], None], *, wait: float | None = None) -> None:
        """Plays, listening to every key; then waits, if `wait` seconds are given."""
        last = wait is not None
        hangs_up_now = self._dead
        key = "" if hangs_up_now or not names else self._press(during=True, last=False)
        pace = self._plan.pace
        if key or self._dead:
            self.report.played += names[:1]
            self._after(pace.key, act, key)
            return
        self.report.played += names
        seconds = pace.file * len(names)
        if last:
            key = self._press(during=False, last=True)
            silence = wait if pace.silence is None else pace.silence
            seconds += pace.key if key or self._dead else silence or 0.0
        self._after(seconds, act, key)

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _result(self, result: str, extra: str = "") -> None:
        self._say(f"200 result={result}{extra}")

    def _ended(self, result: str, extra: str = "") -> None:
        """The reply of a command during which the caller may have hung up: HANGUP is kept for the next reply."""
        if self._dead and not self._announced:
            self._send(f"200 result=-1{extra}")
        else:
            self._result(result, extra)

    def _answer(self) -> None:
        self._ended("0")

    def _stream_file(self, name: str, escape: str, offset: str = "0") -> None:
        if name in self._plan.missing or "&" in name:
            self._result("-1", " endpos=0")
            return
        if escape:
            self._listen((name,), lambda key: self._ended(_code(key if key in escape else ""), " endpos=4000"))
            return
        self.report.played.append(name)
        self._after(self._plan.pace.file, lambda: self._ended("0", " endpos=8000"))

    def _get_data(self, name: str, timeout: str = "2000", digits: str = "1024") -> None:
        if name in self._plan.missing or "&" in name:
            self._result("-1")
            return

        def keyed(key: str) -> None:
            self._ended("" if key == "#" else key, "" if key or self._dead else " (timeout)")

        self._listen((name,) if name else (), keyed, wait=int(timeout) / 1000)

    def _get_option(self, name: str, escape: str, timeout: str = "5000") -> None:
        if name in self._plan.missing or "&" in name:
            self._result("-1", " endpos=0")
            return
        self._listen(
            (name,),
            lambda key: self._ended(_code(key if key in escape else ""), " endpos=8000"),
            wait=int(timeout) / 1000,
        )

    def _wait_for_digit(self, milliseconds: str) -> None:
        self._listen((), lambda key: self._ended(_code(key)), wait=int(milliseconds) / 1000)

    def _exec(self, application: str, *options: str) -> None:
        run = _APPLICATIONS.get(application.upper())
        if run is None:
            self._result("-2")
        elif self._announced:
            self._result("-1")
        else:
            run(self, ",".join(options))

    def _background(self, options: str) -> None:
        names = options.split(",")[0].split("&")
        there = _before_missing(names, self._plan.missing)
        self.report.variables["BACKGROUNDSTATUS"] = "SUCCESS" if len(there) == len(names) else "FAILED"
        if not there:
            self._result("0")
            return
        self._listen(there, lambda key: self._ended(_code(key)))

    def _playback(self, options: str) -> None:
        names = options.split(",")[0].split("&")
        there = [name for name in names if name not in self._plan.missing]
        self.report.variables["PLAYBACKSTATUS"] = "SUCCESS" if len(there) == len(names) else "FAILED"
        self.report.played += there
        self._after(self._plan.pace.file * len(there), lambda: self._ended("0"))

    def _read(self, options: str) -> None:
        name, files, _digits, _option, _tries, timeout = (options.split(",") + [""] * 6)[:6]
        there = [file for file in files.split("&") if file and file not in self._plan.missing]

        def keyed(key: str) -> None:
            self.report.variables[name] = "" if key == "#" else key
            self.report.variables["READSTATUS"] = "HANGUP" if self._dead else "OK" if key else "TIMEOUT"
            self._send("200 result=0")

        self._listen(there, keyed, wait=float(timeout or 10))

    def _set_variable(self, name: str, value: str) -> None:
        self.report.variables[name] = value
        self._result("1")

    def _get_variable(self, name: str) -> None:
        value = self.report.variables.get(name)
        self._say("200 result=0" if value is None else f"200 result=1 ({value})")

    def _get_full_variable(self, expression: str, _channel: str = "") -> None:
        self._say(f"200 result=1 ({_VARIABLE.sub(lambda m: self.report.variables.get(m[1], ''), expression)})")

    def _channel_status(self, _channel: str = "") -> None:
        self._result("6")

    def _noop(self, *_: str) -> None:
        self._result("0")

    def _verbose(self, *_: str) -> None:
        self._result("1")

    def _hang_up(self, _channel: str = "") -> None:
        # The caller is gone, but this reply comes first, the line HANGUP before the next.
        self._send("200 result=1")
        self._dead = True


def _code(key: str) -> str:
    """A key as the number that most commands give."""
    return str(ord(key)) if key else "0"


def _before_missing(names: Sequence[str], missing: frozenset[str]) -> list[str]:
    there: list[str] = []
    for name in names:
        if name in missing:
            break
        there.append(name)
    return there


_VERBS: Mapping[str, Callable[..., None]] = {
    "ANSWER": AsteriskStandIn._answer,
    "STREAM FILE": AsteriskStandIn._stream_file,
    "GET DATA": AsteriskStandIn._get_data,
    "GET OPTION": AsteriskStandIn._get_option,
    "WAIT FOR DIGIT": AsteriskStandIn._wait_for_digit,
    "EXEC": AsteriskStandIn._exec,
    "SET VARIABLE": AsteriskStandIn._set_variable,
    "GET VARIABLE": AsteriskStandIn._get_variable,
    "GET FULL VARIABLE": AsteriskStandIn._get_full_variable,
    "CHANNEL STATUS": AsteriskStandIn._channel_status,
    "NOOP": AsteriskStandIn._noop,
    "VERBOSE": AsteriskStandIn._verbose,
    "HANGUP": AsteriskStandIn._hang_up,
}
_APPLICATIONS: Mapping[str, Callable[[AsteriskStandIn, str], None]] = {
    "BACKGROUND": AsteriskStandIn._background,
    "PLAYBACK": AsteriskStandIn._playback,
    "READ": AsteriskStandIn._read,
}


def place_call(reactor: Any, plan: Plan, host: str = "127.0.0.1", port: int = 4573) -> Deferred[CallReport]:
    """Calls a FastAGI server; fires with the report when the server has closed the connection.

    Cancelling the Deferred breaks the connection off.

    Raises (in the Deferred):
        ConnectError: nobody listens there.
    """
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol

    caller = AsteriskStandIn(reactor, plan, host, port)

    def give_up(_: Deferred[CallReport]) -> None:
        if caller.transport is not None:
            caller.transport.abortConnection()
        else:
            connecting.cancel()

    result: Deferred[CallReport] = Deferred(give_up)
    caller.done.addCallback(lambda report: None if result.called else result.callback(report))
    endpoint = (TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint)(reactor, host, port)
    connecting: Deferred[Any] = connectProtocol(endpoint, caller)  # type: ignore[no-untyped-call]
    connecting.addErrback(lambda failure: None if result.called else result.errback(failure))
    return result
