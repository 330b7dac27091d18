"""The FastAGI port: who may come in, how many, and for how long.

Rules kept here:

1. A peer outside `allow` is closed before anything of it is read.
2. Not more than `max_calls` sessions at once; one more is closed at once, and its dialplan goes on (docs/asterisk.md).
3. The environment block is here within `HEAD_SECONDS`, or the session ends: whoever opens connections and says nothing
   takes no places.
4. No session lasts longer than `call_limit`.
5. The process may open as many files as that needs (`ensure_file_limit`), and the queue of the port holds a burst.
   Where accept fails for want of files or memory after all, the port rests for `REST_SECONDS` instead of spinning.
6. `stop` closes the port first, lets sessions finish, and ends those that outlast the grace.

One timer serves each kind of limit: all sessions get the same time, so the first in is the first out.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable, Coroutine, Iterable
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ivr.session import Reactor, Session, SessionEnd
from models.futures import Deadlines, ReactorTime, Timer

__all__ = ["CannotServe", "Listener", "Refusal", "TimedReactor", "ensure_file_limit"]

HEAD_SECONDS = 5.0
REST_SECONDS = 0.25
BACKLOG = 4096
SPARE_FILES = 256
"""Files beside the calls: database, log, push, console."""
_ACCEPTS = 64
_LAST_GRACE = 5.0


class CannotServe(Exception):
    """The port cannot be served; the sentence says what to change."""


class Refusal(StrEnum):
    """Why a connection was closed without a dialogue."""

    NOT_ALLOWED = "not_allowed"
    FULL = "full"
    NO_FILES = "no_files"
    NO_HEAD = "no_head"
    OVERLONG = "overlong"
    LOST = "lost"


class TimedReactor(Reactor, ReactorTime, Protocol):
    """What the port needs of the reactor (IReactorFDSet and IReactorTime)."""


def ensure_file_limit(max_calls: int) -> None:
    """Raises this process's limit of open files so that `max_calls` fit beside everything else.

    Raises:
        CannotServe: the hard limit is lower.
    """
    wanted = max_calls + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise CannotServe(
            f"ivr.max_calls = {max_calls} needs {wanted} open files and this process may have {hard}: "
            f"raise the hard limit (systemd: LimitNOFILE={wanted}) "
            f"or lower ivr.max_calls to {max(hard - SPARE_FILES, 1)}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@implementer(IReadDescriptor)
class Listener:
    """Accepts sessions and gives each to `dialogue`.

    Args:
        dialogue: makes the coroutine that speaks with a caller, from the session and its environment block.
        allow: hosts and networks that may come in.
        call_limit: seconds.
        refused: told of each connection that got no dialogue.
        head_seconds: see HEAD_SECONDS.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: TimedReactor,
        dialogue: Callable[[Session, bytes], Coroutine[Any, Any, None]],
        *,
        allow: Iterable[IPv4Network | IPv6Network],
        max_calls: int,
        call_limit: float,
        refused: Callable[[Refusal], None] = lambda _: None,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        self.reactor = reactor
        self._dialogue = dialogue
        self._networks = tuple(allow)
        self._allowed = lru_cache(maxsize=1024)(self._is_allowed)
        self._max_calls = max_calls
        self._refused = refused
        self._heads: Deadlines[Session] = Deadlines(reactor, head_seconds, Session.expire)
        self._calls: Deadlines[Session] = Deadlines(reactor, call_limit, Session.expire)
        self._sessions: dict[Session, None] = {}
        self._sock: socket.socket | None = None
        self._reading = False
        self._rest: Timer | None = None
        self._empty: Deferred[None] | None = None
        self._stopping = False

    # ── the port ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, host: str, port: int) -> None:
        """Opens the port; 0 takes any free one.

        Raises:
            CannotServe: the address cannot be had.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setblocking(False)
            sock.bind((host, port))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise CannotServe(f"ivr.listen: cannot listen on {host} port {port}: {error.strerror}") from error
        self._sock = sock
        self._read(True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._sock is not None
        return int(self._sock.getsockname()[1])

    @property
    def in_progress(self) -> int:
        """Sessions open now."""
        return len(self._sessions)

    def stop(self, grace: float) -> Deferred[int]:
        """Closes the port at once; fires when the last session is over, with the number of those that were cut off.

        Args:
            grace: seconds that sessions get to finish by themselves.

        Raises:
            RuntimeError: it is stopping already.
        """
        if self._stopping:
            raise RuntimeError("the port is stopped once")
        self._stopping = True
        self._close_port()
        self._heads.stop()
        done: Deferred[int] = Deferred()
        self._empty = Deferred()
        timer: Timer
        cut_off = 0

        def cut() -> None:
            nonlocal timer, cut_off
            cut_off = len(self._sessions)
            timer = self.reactor.callLater(_LAST_GRACE, last)
            for session in list(self._sessions):
                session.expire()

        def last() -> None:
            # What still runs waits for the database, which has a limit of its own; nobody waits for it here.
            self._log.warn("{count} calls did not end", count=len(self._sessions))
            self._sessions.clear()
            self._check_empty()

        def over(_: None) -> None:
            self._calls.stop()
            if timer.active():
                timer.cancel()
            done.callback(cut_off)

        timer = self.reactor.callLater(grace, cut)
        self._empty.addCallback(over)
        for session in [s for s in self._sessions if not s.begun]:
            session.expire()
        self._check_empty()
        return done

    def _check_empty(self) -> None:
        if self._empty is not None and not self._sessions:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def _close_port(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._sock is not None:
            self._read(False)
            self._sock.close()
            self._sock = None

    def _read(self, wanted: bool) -> None:
        if wanted != self._reading:
            self._reading = wanted
            (self.reactor.addReader if wanted else self.reactor.removeReader)(self)

    # ── from the reactor ──────────────────────────────────────────────────────────────────────────────────────────────

    def fileno(self) -> int:
        return -1 if self._sock is None else self._sock.fileno()

    def logPrefix(self) -> str:  # noqa: N802
        return "agi-port"

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        self._reading = False
        self._close_port()

    def doRead(self) -> None:  # noqa: N802
        for _ in range(_ACCEPTS):
            if self._sock is None:
                return
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._take_rest()
                    return
                continue  # the connection was gone before it was taken
            if not self._allowed(address[0]):
                sock.close()
                self._refused(Refusal.NOT_ALLOWED)
            elif len(self._sessions) >= self._max_calls:
                sock.close()
                self._refused(Refusal.FULL)
            else:
                sock.setblocking(False)
                session = Session(self, sock)
                self._sessions[session] = None
                self._heads.add(session)

    def _take_rest(self) -> None:
        self._refused(Refusal.NO_FILES)
        self._read(False)
        self._rest = self.reactor.callLater(REST_SECONDS, self._wake)

    def _wake(self) -> None:
        self._rest = None
        self._read(True)

    def _is_allowed(self, host: str) -> bool:
        address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    # ── from the sessions ─────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, session: Session, head: bytes) -> Coroutine[Any, Any, None]:
        self._heads.remove(session)
        self._calls.add(session)
        return self._dialogue(session, head)

    def ended(self, session: Session, why: SessionEnd) -> None:
        self._heads.remove(session)
        self._calls.remove(session)
        self._sessions.pop(session, None)
        if why.failure is not None:
            self._log.failure("a call's dialogue failed", why.failure)
        elif why.name in _REFUSALS:
            self._refused(Refusal(why.name))
        self._check_empty()


_REFUSALS = frozenset({Refusal.NO_HEAD, Refusal.OVERLONG, Refusal.LOST})
