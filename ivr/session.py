"""One FastAGI session on the reactor: what Asterisk sends goes to a coroutine, what that asks goes to Asterisk.

Rules kept here:

1. No thread, no timer and no closure a call. A waiting call is this object, its socket and its coroutine.
2. Request and reply take turns, so a command is written at once (nothing can be before it), and its reply resumes the
   coroutine in the same turn of the reactor.
3. A dead channel and a lost connection are `AGIResultHangup` at whatever the coroutine awaits next, and stay so.
   After a hang-up Asterisk still takes SET and GET VARIABLE, so only a lost connection ends everything.
4. What comes unasked is dropped; what is kept is bounded (`ivr/agi.py`, HEAD_LIMIT, LINE_LIMIT).
5. However the coroutine ends, the connection is closed and the owner told, once.

The session is itself the descriptor that the reactor reads (IReadDescriptor), instead of a Protocol on Twisted's TCP
transport: the same dialogue measured 110 µs of CPU a call this way and 225 µs that way (docs/performance.md).
"""

from __future__ import annotations

import socket
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ivr.agi import (
    AGIResultHangup,
    Codec,
    Lines,
    Overlong,
    Reply,
    Unplayable,
    checked,
    command,
    parse_reply,
    set_variable,
)

__all__ = ["ANY_KEY", "CallLimit", "Owner", "Reactor", "Session", "SessionEnd"]

ANY_KEY = "0123456789*#"
_READ = 4096
_SHORTEST_QUESTION = 1.0
"""Seconds; a question that plays for less is looked at (`Session.question`)."""
_KEYS = {f"200 result={ord(key)}\n".encode(): key for key in ANY_KEY} | {b"200 result=0\n": ""}
_WIRE = object()
_ANSWER = command("answer")
_HANGUP = command("hangup")
_STATUS = command("channel_status")
_BACKGROUND_STATUS = command("get_variable", "BACKGROUNDSTATUS")


class CallLimit(AGIResultHangup):  # type: ignore[misc]  # pyst2 has no types
    """The call may not last longer: we end it, Asterisk has not."""


class Reactor(Protocol):
    """What a session needs of the reactor (IReactorFDSet and IReactorTime)."""

    def seconds(self) -> float: ...
    def addReader(self, reader: Any) -> None: ...  # noqa: N802
    def removeReader(self, reader: Any) -> None: ...  # noqa: N802
    def addWriter(self, writer: Any) -> None: ...  # noqa: N802
    def removeWriter(self, writer: Any) -> None: ...  # noqa: N802


class Owner(Protocol):
    """Who accepted the session."""

    @property
    def reactor(self) -> Reactor: ...

    def begin(self, session: Session, head: bytes) -> Coroutine[Any, Any, None]:
        """The environment block is here: the coroutine that speaks with this caller."""
        ...

    def ended(self, session: Session, why: SessionEnd) -> None:
        """The connection is closed; called once. Must not raise."""
        ...


class SessionEnd:
    """Why a session ended."""

    __slots__ = ("failure", "name")

    def __init__(self, name: str, failure: Failure | None = None) -> None:
        self.name = name
        self.failure = failure


DONE = SessionEnd("done")
LOST = SessionEnd("lost")
OVERLONG = SessionEnd("overlong")
NO_HEAD = SessionEnd("no_head")


@coroutine
def _reply() -> Generator[object, bytes, bytes]:
    return (yield _WIRE)


@implementer(IReadWriteDescriptor)
class Session:
    """A session, from accept to close. Its commands are coroutines and raise AGIResultHangup when the call is over."""

    __slots__ = (
        "_coroutine",
        "_lines",
        "_owner",
        "_recv",
        "_send",
        "_sock",
        "_unsent",
        "_waiting",
        "fileno",
        "gone",
    )

    def __init__(self, owner: Owner, sock: socket.socket) -> None:
        """Takes a connected, non-blocking socket and registers with the owner's reactor."""
        self._owner = owner
        self._sock: socket.socket | None = sock
        self._recv = sock.recv
        self._send = sock.send
        self.fileno = sock.fileno
        self._lines = Lines()
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._waiting = False
        self._unsent = b""
        self.gone: AGIResultHangup | None = None
        """Set once nothing can be said any more, to what every further command raises."""
        owner.reactor.addReader(self)

    @property
    def begun(self) -> bool:
        """The environment block has come and the coroutine runs."""
        return self._coroutine is not None

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def hung_up(self) -> bool:
        """Asterisk has said that the caller hung up. SET and GET VARIABLE still work unless `gone`."""
        return self._lines.hung_up

    async def ask(self, line: bytes) -> bytes:
        """Sends one command line and returns the reply line as it came."""
        if self.gone is not None:
            raise self.gone
        try:
            sent = self._send(line)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.gone = AGIResultHangup("the connection is lost")
            raise self.gone from None
        if sent != len(line):
            self._unsent = line[sent:]
            self._owner.reactor.addWriter(self)
        return await _reply()

    async def call(self, method: str, *args: Any) -> Any:
        """Any command of pyst2's AGI class, by the name of its method, with its result.

        Raises:
            AGIException: as pyst2's method does; see ivr/agi.py.
        """
        codec = Codec(replies=())
        while True:
            line, result = codec.run(method, *args)
            if line is None:
                return result
            codec.answered(parse_reply(await self.ask(line)))

    async def answer(self) -> None:
        """Answers the channel if it is not yet."""
        _done(await self.ask(_ANSWER))

    async def stream_file(self, name: str, escape_digits: str = "") -> str:
        """Plays one file; the key among `escape_digits` that ended it, else "".

        Raises:
            Unplayable: the file is missing.
        """
        line = await self.ask(command("stream_file", name, escape_digits))
        if line.startswith(b"200 result=0"):
            return ""
        try:
            return _key(checked(parse_reply(line)))
        except Unplayable:
            await self._alive()
            raise

    async def background(self, names: str) -> str:
        """Plays files joined by `&` without a gap; the key that ended it, else "". Any key does.

        Asterisk stops at the first file that is missing, and does not say so here: see `played_whole`.

        Raises:
            Unplayable: Asterisk has no Background.
        """
        line = await self.ask(command("appexec", "Background", names))
        if line.startswith(b"200 result=0"):
            return ""
        key = _KEYS.get(line)
        if key is not None:
            return key
        reply = checked(parse_reply(line))
        if reply.result == "-2":
            raise Unplayable("Asterisk has no application Background; load it")
        return _key(reply)

    async def played_whole(self) -> None:
        """After `background`.

        Raises:
            Unplayable: a file was missing.
        """
        if b"(FAILED)" in await self.ask(_BACKGROUND_STATUS):
            raise Unplayable("a file of the prompt is missing")

    async def question(self, names: str, milliseconds: int) -> str:
        """Plays files joined by `&`, then waits; the key that ended either, else "".

        Between two commands Asterisk drops keys, so nothing comes between playing and waiting, except where the
        playing was over so soon that something is likely missing: then nobody is to wait in silence for it.

        Raises:
            Unplayable: a file is missing.
        """
        began = self._owner.reactor.seconds()
        key = await self.background(names)
        if key:
            return key
        if soon := self._owner.reactor.seconds() - began < _SHORTEST_QUESTION:
            await self.played_whole()
        key = await self.wait_for_digit(milliseconds)
        if not key and not soon:
            await self.played_whole()
        return key

    async def get_data(self, name: str, timeout: int = 2000, max_digits: int = 255) -> Reply:
        """Plays one file and takes keys; `result` has them, `data` is `timeout` where the time ended it.

        Args:
            timeout: milliseconds from the file's end.

        Raises:
            Unplayable: the file is missing.
        """
        line = await self.ask(command("get_data", name, timeout, max_digits))
        reply = parse_reply(line)
        if reply.code == 200 and reply.result == "-1":
            await self._alive()
            raise Unplayable("nothing was played")
        return checked(reply)

    async def wait_for_digit(self, milliseconds: int) -> str:
        """The key pressed within the time, else ""."""
        line = await self.ask(command("wait_for_digit", milliseconds))
        key = _KEYS.get(line)
        return _key(checked(parse_reply(line))) if key is None else key

    async def set_variable(self, name: str, value: str) -> None:
        """Sets a channel variable; works after a hang-up too."""
        _done(await self.ask(set_variable(name, value)))

    async def get_variable(self, name: str) -> str:
        """A channel variable's value, "" where it is not set."""
        reply = checked(parse_reply(await self.ask(command("get_variable", name))))
        return reply.data if reply.result == "1" else ""

    async def hangup(self) -> None:
        """Hangs up the caller."""
        _done(await self.ask(_HANGUP))

    async def _alive(self) -> None:
        """After a `-1` that may mean a missing file as well: raises AGIResultHangup when the caller has hung up."""
        if not self.hung_up:
            line = await self.ask(_STATUS)
            if not line.startswith(b"511") and not self.hung_up:
                return
        raise AGIResultHangup("the caller hung up")

    def last_words(self, line: bytes) -> None:
        """Sends a command whose reply nobody waits for; the session is to end now."""
        if self._sock is not None and not self._unsent:
            try:
                self._send(line)
            except OSError:
                return  # whoever cannot be told is not there

    # ── from the owner ────────────────────────────────────────────────────────────────────────────────────────────────

    def expire(self) -> None:
        """The call has had its time: CallLimit where the coroutine waits for Asterisk, else at its next command."""
        if self._coroutine is None:
            self._end(NO_HEAD)
            return
        self._gone(CallLimit("the call has had its time"))

    # ── from the reactor ──────────────────────────────────────────────────────────────────────────────────────────────

    def logPrefix(self) -> str:  # noqa: N802
        return "agi"

    def doRead(self) -> None:  # noqa: N802
        try:
            data = self._recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
        elif self._waiting and data.startswith(b"200 ") and data.find(b"\n") == len(data) - 1 and self._lines.empty:
            self._waiting = False
            self._step(data)
        else:
            self._received(data)

    def doWrite(self) -> None:  # noqa: N802
        try:
            self._unsent = self._unsent[self._send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lost()
            return
        if not self._unsent:
            self._owner.reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        self._lost()

    def _received(self, data: bytes) -> None:
        try:
            if self._coroutine is None:
                head = self._lines.head(data)
                if head is None:
                    return
                try:
                    self._coroutine = self._owner.begin(self, head)
                except Exception:  # noqa: BLE001 (as in _step)
                    self._end(SessionEnd("failed", _failure()))
                    return
                self._step(None)
                if self._lines.empty:
                    return
                data = b""
            for line in self._lines.replies(data):
                if self._waiting:
                    self._waiting = False
                    self._step(line)
        except Overlong:
            self._abort("the peer sent too much", OVERLONG)

    def _lost(self) -> None:
        self._abort("the connection is lost", LOST)

    def _abort(self, sentence: str, why: SessionEnd) -> None:
        """Closes the connection. A coroutine that waits for something else (the database) goes on to its own end."""
        self._gone(AGIResultHangup(sentence))
        if self._sock is None:
            return
        if self._coroutine is None:
            self._end(why)
        else:
            self._close()

    def _gone(self, why: AGIResultHangup) -> None:
        if self.gone is None:
            self.gone = why
        if self._waiting:
            self._waiting = False
            self._step(None, self.gone)

    # ── the coroutine ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _step(self, value: Any, error: BaseException | None = None) -> None:
        """Resumes the coroutine and parks it again where it waits."""
        assert self._coroutine is not None
        try:
            waits_for = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
        except (StopIteration, AGIResultHangup):
            self._end(DONE)
        except Exception:  # noqa: BLE001 (whatever it was, the connection is closed and the owner told)
            self._end(SessionEnd("failed", _failure()))
        else:
            if waits_for is _WIRE:
                self._waiting = True
            elif isinstance(waits_for, Deferred):
                waits_for.addBoth(self._fired)
            else:
                self._step(None, TypeError(f"a dialogue can await Asterisk or a Deferred, not {waits_for!r}"))

    def _fired(self, result: Any) -> None:
        """The Deferred waited for has fired: it gives its result to the coroutine itself, a failure is thrown."""
        if isinstance(result, Failure):
            self._step(None, result.value)
        else:
            self._step(None)

    def _close(self) -> None:
        sock = self._sock
        if sock is not None:
            reactor = self._owner.reactor
            reactor.removeReader(self)
            if self._unsent:
                reactor.removeWriter(self)
            self._sock = None
            sock.close()

    def _end(self, why: SessionEnd) -> None:
        self._close()
        if self.gone is None:
            self.gone = AGIResultHangup("the session is over")
        owner, self._coroutine = self._owner, None
        owner.ended(self, why)


def _failure() -> Failure:
    """The exception that is being handled, for Twisted's log."""
    return Failure()  # type: ignore[no-untyped-call]


def _done(line: bytes) -> None:
    if not line.startswith((b"200 result=0", b"200 result=1")):
        checked(parse_reply(line))


def _key(reply: Reply) -> str:
    """The key whose ASCII code a command gives as its result; "" for 0."""
    if not reply.result.isdigit() or not 0 <= int(reply.result[:4]) < 127:
        return ""
    return chr(int(reply.result)) if reply.result != "0" else ""
