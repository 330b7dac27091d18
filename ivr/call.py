"""One request of Asterisk, played: the dialogue's actions become AGI commands and calls to the desk.

Rules kept here:

1. The caller waits for the store at most `store_timeout`; a command still queued then is withdrawn, one already started
   counts as unknown. Either way it is `StoreFailed` to the dialogue.
2. Whether the call is rated already is looked up while Asterisk answers the channel.
3. What needs no answer (the end of an unrated call, the release of a hold) is handed in and not waited for; where it
   fails it is logged and counted.
4. Whatever goes wrong here, the dialogue gets to end: variables, closing prompt, and the connection closed.
5. `ended` is acknowledged in HUIYIN_ENDED (`stored` or `error`) after the call is on disk, so that the dialplan can
   keep it in its queue_log otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol, TypeVar

import structlog
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from intake.record import CallFacts, Stored
from ivr.agi import AGIException, AGIHangup, Unplayable, set_variable
from ivr.dialogue import (
    SORRY,
    Action,
    Ask,
    Broken,
    Dialogue,
    EndCall,
    Event,
    Finish,
    HungUp,
    Key,
    LookUp,
    NotRated,
    Play,
    Played,
    Rated,
    RatedBefore,
    ReasonStored,
    ReleaseHold,
    Script,
    SetVariables,
    Silence,
    Store,
    StoreFailed,
    StoreReason,
)
from ivr.prompts import Prompts
from ivr.request import Request
from ivr.session import CallLimit, Session
from models.clock import Clock
from models.errors import StoreError
from models.futures import Patience, TimedOut, Wakeups
from models.terms import CallOutcome, Satisfaction

__all__ = ["Call", "Desk", "Surroundings", "play_ended", "play_error", "play_rating"]

T = TypeVar("T")
log = structlog.get_logger(__name__)
_bugs = Logger()

_NOT_RATED, _SILENCE, _PLAYED, _BROKEN, _HUNG_UP = NotRated(), Silence(), Played(), Broken(), HungUp()
_STORE_FAILED, _REASON_STORED = StoreFailed(), ReasonStored()
_KEYS = {key: Key(key) for key in "0123456789*#"}


class Desk(Protocol):
    """What a call needs of the intake (intake/desk.py)."""

    def look_up(self, call_key: str) -> Future[Stored | None]: ...
    def rate(self, facts: CallFacts, satisfaction: Satisfaction, raw_input: str, *, hold: bool) -> Future[Stored]: ...
    def give_reason(self, stored: Stored, codes: tuple[str, ...]) -> Future[None]: ...
    def release(self, stored: Stored) -> Future[None]: ...
    def end_call(self, facts: CallFacts, outcome: CallOutcome) -> Future[bool]: ...


class Surroundings:
    """What all calls of a server share."""

    def __init__(
        self,
        desk: Desk,
        script: Script,
        prompts: Prompts,
        reactor: Any,
        wakeups: Wakeups,
        clock: Clock,
        *,
        store_timeout: float,
        digit_timeout: float,
        store_failed: Callable[[str], None],
        prompt_failed: Callable[[], None],
    ) -> None:
        """`store_timeout`, `digit_timeout`: seconds. The last two are told of failures, on the reactor's thread."""
        self.desk = desk
        self.script = script
        self.prompts = prompts
        self.reactor = reactor
        self.patience = Patience(reactor, wakeups, store_timeout)
        self.clock = clock
        self.digit_milliseconds = round(digit_timeout * 1000)
        self.store_failed = store_failed
        self.prompt_failed = prompt_failed

    def now(self) -> datetime:
        return self.clock.now()

    async def wait_for(self, what: str, future: Future[T]) -> T:
        """The desk's answer within the caller's patience.

        Raises:
            StoreUnavailable: it failed or took too long; logged and counted.
        """
        try:
            if future.done():
                return future.result()
            return await self.patience.wait(future)
        except TimedOut as late:
            log.warning("the database is too slow for a caller", step=what, withdrawn=late.withdrawn)
            self.store_failed(what)
            raise StoreUnavailable from late
        except (StoreError, CancelledError) as error:
            log.warning("the database failed a caller", step=what, cause=type(error).__name__)
            self.store_failed(what)
            raise StoreUnavailable from error
        except Exception as error:  # a bug, so its traceback is wanted; the caller must not hear of it
            _bugs.failure("the desk broke")
            self.store_failed(what)
            raise StoreUnavailable from error

    def hand_in(self, what: str, ask: Callable[..., Future[Any]], *args: Any) -> None:
        """Nobody waits for this one, and it never raises; a failure is told."""

        def done(future: Future[Any]) -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                log.warning("the database failed after a call", step=what, cause=type(error).__name__)
                self.reactor.callFromThread(self.store_failed, what)

        try:
            ask(*args).add_done_callback(done)
        except Exception:  # noqa: BLE001 (a bug: what comes after it in the dialogue must come)
            _bugs.failure("the desk broke")
            self.store_failed(what)


class StoreUnavailable(Exception):
    """The desk did not do it in time, as far as anybody knows."""


class Call:
    """A dialogue over a session."""

    __slots__ = ("_dialogue", "_facts", "_lang", "_session", "_stored", "_with")

    def __init__(self, surroundings: Surroundings, session: Session, request: Request) -> None:
        self._with = surroundings
        self._session = session
        self._lang = surroundings.prompts.language(request.lang)
        self._facts = request.facts(self._lang, surroundings.now())
        self._dialogue = Dialogue(surroundings.script)
        self._stored: Stored | None = None

    async def run(self) -> CallOutcome:
        """Plays the dialogue to its end, whatever happens, and says what came of it."""
        actions = self._dialogue.begin()
        while True:
            try:
                event = await self._perform(actions)
                if event is None:
                    break
                actions = self._dialogue.feed(event)
            except CallLimit:
                self._out_of_time()
                break
            except Exception:  # noqa: BLE001 (a bug: the caller must not hear it, the log must)
                _bugs.failure("a dialogue broke")
                actions = self._dialogue.fail()
        return self._dialogue.outcome or CallOutcome.ERROR

    async def _perform(self, actions: tuple[Action, ...]) -> Event | None:
        """Does the actions; the event that answers the last, None when it was Finish."""
        event: Event | None = None
        for action in actions:
            kind = type(action)
            if kind is Finish:
                return None
            event = await _PERFORM[kind](self, action)
        return event

    def _out_of_time(self) -> None:
        """The call limit: Asterisk is in the middle of something, and what it is told now is told in one piece."""
        log.warning("a call reached ivr.call_limit or the end of ivr.stop_grace")
        for action in self._dialogue.out_of_time():
            if isinstance(action, SetVariables):
                self._session.last_words(b"".join(set_variable(name, value) for name, value in _variables(action)))
            elif isinstance(action, EndCall):
                self._hand_in_end(action.outcome)
            elif isinstance(action, ReleaseHold):
                self._hand_in_release()

    # ── the caller ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, ask: Ask) -> Event:
        session = self._session
        if session.hung_up:
            return _HUNG_UP
        try:
            files = self._with.prompts.files(self._lang, ask.prompts)
            key = await session.question(files, self._with.digit_milliseconds)
        except CallLimit:
            raise
        except AGIHangup:
            return _HUNG_UP
        except AGIException as error:
            return self._unplayable(ask.prompts, error)
        return _KEYS.get(key, _SILENCE)

    async def _play(self, play: Play) -> Event:
        if self._session.hung_up:
            return _HUNG_UP
        try:
            await self._session.stream_file(self._with.prompts.file(self._lang, play.prompt))
        except CallLimit:
            raise
        except AGIHangup:
            return _HUNG_UP
        except AGIException as error:
            return self._unplayable((play.prompt,), error)
        return _PLAYED

    def _unplayable(self, prompts: tuple[str, ...], error: AGIException) -> Event:
        log.error(
            "a prompt could not be played; run `huiyin check` and look into Asterisk's log",
            prompts=prompts,
            lang=self._lang,
            cause=type(error).__name__,
        )
        self._with.prompt_failed()
        return _BROKEN

    async def _set_variables(self, told: SetVariables) -> None:
        try:
            for name, value in _variables(told):
                await self._session.set_variable(name, value)
        except CallLimit:
            raise
        except AGIHangup:
            pass  # the connection is gone, and with it whoever would read them; the outcome is in the database
        except AGIException as error:
            log.error("Asterisk refused a channel variable", cause=type(error).__name__)

    # ── the desk ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _look_up(self, _: LookUp) -> Event:
        future = self._with.desk.look_up(self._facts.call_key)
        try:
            await self._session.answer()
        except AGIHangup:
            future.cancel()
            if isinstance(self._session.gone, CallLimit):
                raise
            return _HUNG_UP
        except AGIException as error:
            log.error("Asterisk did not answer the channel", cause=type(error).__name__)
        try:
            stored = await self._with.wait_for("look_up", future)
        except StoreUnavailable:
            return _STORE_FAILED
        return _NOT_RATED if stored is None else RatedBefore(stored.satisfaction, stored.evaluation_id)

    async def _store(self, store: Store) -> Event:
        future = self._with.desk.rate(self._facts, store.satisfaction, store.key, hold=store.hold)
        try:
            stored = await self._with.wait_for("rate", future)
        except StoreUnavailable:
            return _STORE_FAILED
        if not stored.new:
            return RatedBefore(stored.satisfaction, stored.evaluation_id)
        self._stored = stored
        return Rated(stored.satisfaction, stored.evaluation_id)

    async def _store_reason(self, reason: StoreReason) -> Event:
        assert self._stored is not None
        with suppress(StoreUnavailable):  # logged; the rating stands, and its hold runs out by itself
            await self._with.wait_for("give_reason", self._with.desk.give_reason(self._stored, reason.codes))
        return _REASON_STORED

    async def _release(self, _: ReleaseHold) -> None:
        self._hand_in_release()

    def _hand_in_release(self) -> None:
        if self._stored is not None:
            self._with.hand_in("release", self._with.desk.release, self._stored)

    async def _end_call(self, end: EndCall) -> None:
        self._hand_in_end(end.outcome)

    def _hand_in_end(self, outcome: CallOutcome) -> None:
        self._with.hand_in("end_call", self._with.desk.end_call, self._facts, outcome)


def _variables(told: SetVariables) -> tuple[tuple[str, str], ...]:
    """The channel variables and their values; the outcome last, so that with it the others are there."""
    satisfaction = "" if told.satisfaction is None else str(int(told.satisfaction))
    return (
        ("HUIYIN_SATISFACTION", satisfaction),
        ("HUIYIN_EVALUATION", told.evaluation_id),
        ("HUIYIN_OUTCOME", told.outcome.value),
    )


_PERFORM: dict[type, Callable[[Call, Any], Any]] = {
    LookUp: Call._look_up,
    Ask: Call._ask,
    Play: Call._play,
    Store: Call._store,
    SetVariables: Call._set_variables,
    StoreReason: Call._store_reason,
    ReleaseHold: Call._release,
    EndCall: Call._end_call,
}


async def play_rating(surroundings: Surroundings, session: Session, request: Request) -> CallOutcome:
    """`rate`: the dialogue."""
    return await Call(surroundings, session, request).run()


async def play_ended(surroundings: Surroundings, session: Session, request: Request) -> CallOutcome:
    """`ended`: the call left without a rating. Nothing is played; HUIYIN_ENDED says whether it is stored."""
    lang = surroundings.prompts.language(request.lang)
    facts = request.facts(lang, surroundings.now())
    try:
        await surroundings.wait_for("ended", surroundings.desk.end_call(facts, CallOutcome.NOT_OFFERED))
        word, outcome = "stored", CallOutcome.NOT_OFFERED
    except StoreUnavailable:
        word, outcome = "error", CallOutcome.ERROR
    with suppress(AGIException):  # the dialplan that does not hear `stored` keeps the call in queue_log
        await session.set_variable("HUIYIN_ENDED", word)
    return outcome


async def play_error(surroundings: Surroundings, session: Session, *, closing: bool) -> CallOutcome:
    """A request that cannot be served: `error`, with the closing prompt where a caller may be listening."""
    try:
        await session.set_variable("HUIYIN_SATISFACTION", "")
        await session.set_variable("HUIYIN_EVALUATION", "")
        await session.set_variable("HUIYIN_OUTCOME", CallOutcome.ERROR.value)
        if closing:
            await session.stream_file(surroundings.prompts.file("", SORRY))
    except Unplayable:
        surroundings.prompt_failed()
    except AGIException:
        pass  # whoever asked is gone
    return CallOutcome.ERROR
