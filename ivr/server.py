"""The rating by telephone, put together: the port, the requests, the calls, and what they count."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from twisted.internet.defer import Deferred

from config.settings import Settings
from ivr.call import Desk, Surroundings, play_ended, play_error, play_rating
from ivr.listener import Listener, Refusal, ensure_file_limit
from ivr.prompts import Prompts, script_of
from ivr.request import Path, read_request
from ivr.session import Session
from models.clock import Clock
from models.futures import Wakeups
from models.terms import CallOutcome

__all__ = ["Observer", "RatingServer", "Statistics"]

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """Told what happens, on the reactor's thread. Must not raise."""

    def call_ended(self, path: Path, outcome: CallOutcome, seconds: float) -> None:
        """A request is over; `seconds` from its environment block to its end."""
        ...

    def refused(self, why: Refusal) -> None:
        """A connection was closed without a dialogue."""
        ...

    def store_failed(self, step: str) -> None:
        """The database failed a call or was too slow; `step` is one of a handful of names."""
        ...

    def prompt_failed(self) -> None:
        """Asterisk could not play a prompt."""
        ...


@dataclass(slots=True)
class Statistics:
    """An observer that counts, for the health page and the metrics."""

    calls: Counter[tuple[Path, CallOutcome]] = field(default_factory=Counter)
    seconds: defaultdict[Path, float] = field(default_factory=lambda: defaultdict(float))
    refusals: Counter[Refusal] = field(default_factory=Counter)
    store_failures: Counter[str] = field(default_factory=Counter)
    prompt_failures: int = 0

    def call_ended(self, path: Path, outcome: CallOutcome, seconds: float) -> None:
        self.calls[path, outcome] += 1
        self.seconds[path] += seconds

    def refused(self, why: Refusal) -> None:
        self.refusals[why] += 1

    def store_failed(self, step: str) -> None:
        self.store_failures[step] += 1

    def prompt_failed(self) -> None:
        self.prompt_failures += 1


class RatingServer:
    """Serves Asterisk at `ivr.listen`.

    Args:
        desk: the intake.
        reactor: Twisted's; its `seconds` must be monotonic.
        wakeups: shared with whoever else brings futures to this reactor; by default one of its own.
        observer: by default the server's own `statistics`.
    """

    def __init__(
        self,
        desk: Desk,
        settings: Settings,
        reactor: Any,
        clock: Clock,
        *,
        wakeups: Wakeups | None = None,
        observer: Observer | None = None,
    ) -> None:
        ivr = settings.ivr
        self.statistics = Statistics()
        self._settings = ivr
        self._reactor = reactor
        self._observer: Observer = observer or self.statistics
        self._unknown_paths = 0
        self._surroundings = Surroundings(
            desk,
            script_of(settings),
            Prompts.of(settings),
            reactor,
            wakeups or Wakeups(reactor),
            clock,
            store_timeout=ivr.store_timeout,
            digit_timeout=ivr.digit_timeout,
            store_failed=self._observer.store_failed,
            prompt_failed=self._observer.prompt_failed,
        )
        self._listener = Listener(
            reactor,
            self._serve,
            allow=ivr.allow,
            max_calls=ivr.max_calls,
            call_limit=ivr.call_limit.total_seconds(),
            refused=self._observer.refused,
        )

    @property
    def port(self) -> int:
        """The port listened on, for a configuration that left the choice to the system."""
        return self._listener.port

    @property
    def in_progress(self) -> int:
        """Connections open now."""
        return self._listener.in_progress

    def start(self) -> None:
        """Opens the port.

        Raises:
            CannotServe: too few files allowed, or the address cannot be had; with what to change.
        """
        ensure_file_limit(self._settings.max_calls)
        self._listener.listen(self._settings.listen.host, self._settings.listen.port)

    def stop(self) -> Deferred[int]:
        """Closes the port; fires when calls in progress are over, with the number that `ivr.stop_grace` cut off."""
        return self._listener.stop(self._settings.stop_grace.total_seconds())

    async def _serve(self, session: Session, head: bytes) -> None:
        began = self._reactor.seconds()
        request = read_request(head)
        del head
        path, outcome = request.path, CallOutcome.ERROR
        try:
            if not request.call_key:
                log.error("a request names no call and Asterisk gave no agi_uniqueid", path=path.value)
                outcome = await play_error(self._surroundings, session, closing=path is Path.RATE)
            elif path is Path.RATE:
                outcome = await play_rating(self._surroundings, session, request)
            elif path is Path.ENDED:
                outcome = await play_ended(self._surroundings, session, request)
            else:
                self._tell_unknown(path)
                outcome = await play_error(self._surroundings, session, closing=False)
        finally:
            self._observer.call_ended(path, outcome, self._reactor.seconds() - began)

    def _tell_unknown(self, path: Path) -> None:
        """Logged once: a dialplan that is wrong is wrong for every call."""
        if path is Path.UNKNOWN and not self._unknown_paths:
            log.error("a dialplan asks for a path that Huiyin does not have; known are rate, ended and callback")
        self._unknown_paths += path is Path.UNKNOWN
