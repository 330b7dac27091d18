"""The port's limits that need no caller: files, addresses, memory, time."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from ivr.listener import REST_SECONDS, SPARE_FILES, CannotServe, Listener, Refusal, ensure_file_limit
from ivr.session import Session
from models.futures import Deadlines
from tests.ivr.raw import connect
from tests.ivr.serving import on_reactor, reactor

# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

LIMITS = {
    "enough": (10_000, 20_000, 1000, None),
    "no limit": (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 1000, None),
    "raised": (1024, 20_000, 6000, (6000 + SPARE_FILES, 20_000)),
    "raised to the hard limit": (1024, 6000 + SPARE_FILES, 6000, (6000 + SPARE_FILES, 6000 + SPARE_FILES)),
    "raised under no hard limit": (1024, resource.RLIM_INFINITY, 6000, (6000 + SPARE_FILES, resource.RLIM_INFINITY)),
}


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[tuple[int, int]]]:
    """Pretends these limits of open files; gives what they are then set to."""

    def pretend(soft: int, hard: int) -> list[tuple[int, int]]:
        asked: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: asked.append(wanted))
        return asked

    return pretend


@pytest.mark.parametrize("name", LIMITS)
def test_the_file_limit(name: str, limits: Callable[[int, int], list[tuple[int, int]]]) -> None:
    soft, hard, max_calls, wanted = LIMITS[name]
    asked = limits(soft, hard)
    ensure_file_limit(max_calls)
    assert asked == ([wanted] if wanted else [])


def test_a_file_limit_too_low_is_refused_with_what_to_do(limits: Callable[[int, int], list[tuple[int, int]]]) -> None:
    asked = limits(1024, 4096)
    with pytest.raises(CannotServe, match=r"LimitNOFILE=6256\) or lower ivr.max_calls to 3840"):
        ensure_file_limit(6000)
    assert asked == []


# ── the port ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def nothing(session: Session, head: bytes) -> None:
    """No dialogue."""


def listener(on: Any, **options: Any) -> Listener:
    chosen: dict[str, Any] = {"allow": [ip_network("127.0.0.1")], "max_calls": 10, "call_limit": 60.0} | options
    return Listener(on, nothing, **chosen)


def test_an_address_that_is_taken_is_refused_with_its_key() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotServe, match=rf"ivr.listen: cannot listen on 127.0.0.1 port {port}: Address already"):
            listener(reactor()).listen("127.0.0.1", port)


@on_reactor
async def test_ipv6() -> None:
    here = listener(reactor(), allow=[ip_network("::1")])
    here.listen("::1", 0)
    with socket.socket(socket.AF_INET6) as peer:
        peer.setblocking(False)
        assert peer.connect_ex(("::1", here.port)) in (0, errno.EINPROGRESS)
        while not here.in_progress:  # pytest's time-out ends it
            await deferLater(reactor(), 0)
        assert here.in_progress == 1
    await here.stop(0.0)


class FakeReactor(Clock):
    """Twisted's turned clock with the set of readers."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()

    def addReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None: ...  # noqa: N802

    def removeWriter(self, writer: Any) -> None: ...  # noqa: N802


class FailingSocket:
    """A listening socket whose accept fails."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.closed = False

    def accept(self) -> Any:
        if not self.errors:
            raise BlockingIOError
        raise OSError(self.errors.pop(0), "on purpose")

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_where_files_run_out_the_port_rests_instead_of_spinning(number: int) -> None:
    clock = FakeReactor()
    refused: list[Refusal] = []
    here = listener(clock, refused=refused.append)
    here._sock = FailingSocket(number)  # type: ignore[assignment]
    here._read(True)
    here.doRead()
    assert refused == [Refusal.NO_FILES]
    assert here not in clock.readers
    clock.advance(REST_SECONDS)
    assert here in clock.readers


def test_a_connection_that_is_gone_before_it_is_taken_is_no_reason_to_rest() -> None:
    clock = FakeReactor()
    refused: list[Refusal] = []
    here = listener(clock, refused=refused.append)
    failing = FailingSocket(errno.ECONNABORTED, errno.EPROTO)
    here._sock = failing  # type: ignore[assignment]
    here._read(True)
    here.doRead()
    assert refused == []
    assert failing.errors == []
    assert here in clock.readers


def test_a_resting_port_can_be_stopped() -> None:
    clock = FakeReactor()
    here = listener(clock)
    failing = FailingSocket(errno.EMFILE)
    here._sock = failing  # type: ignore[assignment]
    here._read(True)
    here.doRead()
    stopped: list[int] = []
    here.stop(0.0).addCallback(stopped.append)
    assert stopped == [0]
    assert failing.closed
    assert clock.getDelayedCalls() == []
    with pytest.raises(RuntimeError, match="stopped once"):
        here.stop(0.0)


@on_reactor
async def test_a_call_that_does_not_end_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialogue that waits for a database that never answers."""
    monkeypatch.setattr("ivr.listener._LAST_GRACE", 0.05)
    never: Deferred[None] = Deferred()

    async def stuck(session: Session, head: bytes) -> None:
        session.last_words(b"begun\n")
        await never

    here = Listener(reactor(), stuck, allow=[ip_network("127.0.0.1")], max_calls=1, call_limit=60.0)
    here.listen("127.0.0.1", 0)
    peer = await connect(here.port)
    peer.send(b"x: y\n\n")
    await peer.until(b"begun")
    assert await here.stop(0.01) == 1
    assert not peer.closed.called
    never.callback(None)
    await peer.closed


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_deadlines() -> None:
    clock = FakeReactor()
    expired: list[str] = []
    deadlines: Deadlines[str] = Deadlines(clock, 10.0, expired.append)
    deadlines.add("a")
    clock.advance(4)
    deadlines.add("b")
    deadlines.add("c")
    deadlines.remove("b")
    deadlines.remove("never in")
    assert len(clock.getDelayedCalls()) == 1, "one timer for all"
    clock.advance(5.9)
    assert expired == []
    clock.advance(0.1)
    assert expired == ["a"]
    clock.advance(4)
    assert expired == ["a", "c"]
    assert clock.getDelayedCalls() == []
    deadlines.add("d")
    clock.advance(10)
    assert expired == ["a", "c", "d"]
    deadlines.add("e")
    deadlines.stop()
    clock.advance(20)
    assert expired == ["a", "c", "d"]


def test_one_that_expires_may_take_others_with_it() -> None:
    clock = FakeReactor()
    expired: list[str] = []

    def expire(thing: str) -> None:
        expired.append(thing)
        deadlines.remove("b")
        deadlines.add("again")

    deadlines: Deadlines[str] = Deadlines(clock, 1.0, expire)
    deadlines.add("a")
    deadlines.add("b")
    clock.advance(1.0)
    assert expired == ["a"]
    clock.advance(1.0)
    assert expired == ["a", "again"]
