"""The composition root: settings in, a serving process out.

The order is the point. Everything that can be wrong with the installation is found before the first caller is let in,
and on the way out each part ends before what it needs does:

* up: limits, database, serving lock, schema, key, writer, stale holds, push, telephone, ticks, web; then "ready".
* down: the telephone closes its port and lets calls finish (`ivr.stop_grace`), ticks and push end, what is queued is
  written, the web server ends, the database closes.

The reactor's clock is monotonic before the first timer is made: Twisted's default is the wall clock, and a step back
would stop every timer.
"""

from __future__ import annotations

import gc
import hashlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, insert, update
from twisted.internet.defer import Deferred

from centre.outbox import Backlog, backlog
from centre.payload import Site
from centre.push import Pusher
from centre.reconcile import DailyReconciliation
from config.errors import ConfigurationError
from config.profile import Profile, load_profile
from config.settings import Settings
from console.link_beats import BEAT_SECONDS
from intake.calendars import CalendarReach, StoredCalendar, calendar_reach
from intake.decide import PushCalls
from intake.desk import Intake
from intake.figures import SmsFigures, sms_figures
from intake.record import Rules
from ivr.listener import CannotServe
from ivr.server import RatingServer
from models.clock import Clock, SystemClock
from models.database import Database, open_database
from models.door import Door, Unit
from models.errors import DatabaseBusy, KeyMismatch
from models.futures import Wakeups
from models.privacy import Keyring
from models.tables import meta
from scheduler.keeping import KeepingSweep
from scheduler.sweeps import Sweeps
from scheduler.ticker import Counts, Ticker
from scheduler.timewatch import TimeWatch
from server.api import deadline_rules_of, open_api
from server.calendar_checks import ends_soon
from server.desk import WakingIntake
from server.errors import CannotDo
from server.faults import faults_from
from server.health import PROBE_SECONDS, Condition, Health, HealthServer, State, health_app
from server.limits import ensure_backlog
from server.link_beats import LinkBeats
from server.logs import announce, bridge_twisted
from server.metrics import Metrics
from server.pages import open_pages
from server.sms_metrics import sms_condition, sms_source
from server.sweeps import Overdue, open_keeping, open_sweeps, open_time, overdue, sweeps_condition, sweeps_source
from sms.link import UnusableTrust
from sms.pdu import UnfitField
from sms.server import SmsServer

__all__ = [
    "Ending",
    "Process",
    "Role",
    "install_reactor",
    "rules_of",
    "run_to_end",
    "run_until_signal",
    "serve",
]

FIGURES_SECONDS = 10.0
SMS_SECONDS = 1.0
CALENDAR_SECONDS = 60.0
HOUSEKEEPING_SECONDS = 3600.0
_START_SECONDS = 30.0
_PUSH_GRACE = 10.0
"""Seconds that requests to the centre get on the way out; what is cut off is sent again, the same bytes."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Role(StrEnum):
    """What a process can do; by default all of it."""

    IVR = "ivr"
    SMS = "sms"
    SCHEDULER = "scheduler"
    PUSH = "push"
    CONSOLE = "console"


def install_reactor() -> Any:
    """Twisted's epoll reactor, on monotonic time."""
    from twisted.internet import epollreactor

    if "twisted.internet.reactor" not in sys.modules:
        epollreactor.install()  # type: ignore[no-untyped-call]
    from twisted.internet import reactor

    assert isinstance(reactor, epollreactor.EPollReactor)
    monotonic: Any = reactor
    monotonic.seconds = time.monotonic
    return reactor


def _push_calls_of(settings: Settings, profile: Profile) -> PushCalls:
    """Which evaluations of calls are pushed: the configuration's word, else the profile's."""
    return PushCalls((settings.centre.push_calls or profile.push_calls).value)


def rules_of(settings: Settings, profile: Profile) -> Rules:
    """What the intake needs of the configuration."""
    return Rules(
        key_map=settings.rating.key_map.version,
        area_code=settings.hotline.area_code,
        service_name=settings.hotline.service,
        push_calls=_push_calls_of(settings, profile),
        keypad_reason_hold=settings.centre.keypad_reason_hold,
        invite_after=settings.schedule.invite_after,
        max_age=settings.schedule.max_age,
        reminder_after=settings.schedule.reminder_after,
        late_window=settings.schedule.late_window,
        node=settings.ivr.node_name,
        boot=secrets.token_hex(8),
        deadlines=deadline_rules_of(settings),
    )


def _site_of(settings: Settings) -> Site:
    """What the push needs of the configuration beside `[centre]`."""
    hotline = settings.hotline
    return Site(hotline.service, hotline.area_code, hotline.data_source)


class Process:
    """Everything that serves, in one process. `open` once, then `stop`, then `close`.

    Args:
        environ: where a test may have set a fault point.
        speed: how many of the clock's seconds are one of the reactor's; 1 but for a demonstration.
    """

    def __init__(
        self,
        settings: Settings,
        roles: Collection[Role],
        reactor: Any,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
        speed: float = 1.0,
    ) -> None:
        self.settings = settings
        self._speed = speed
        self.roles = frozenset(roles)
        self.reactor = reactor
        self.clock = clock or SystemClock()
        self.health = Health(reactor.seconds)
        self.metrics = Metrics()
        self.fault = faults_from(os.environ if environ is None else environ)
        self.listening: dict[str, str] = {}
        self.database: Database | None = None
        self.door: Door | None = None
        self.ivr: RatingServer | None = None
        self.sms: SmsServer | None = None
        self._sms_woken = False
        self.pusher: Pusher | None = None
        self.ticker: Ticker | None = None
        self.reconciliation: DailyReconciliation | None = None
        self.web: HealthServer | None = None
        self._backlog = Backlog(waiting=0, dead=0, oldest=timedelta(0))
        self._sms_figures = SmsFigures()
        self.sweeps: Sweeps | None = None
        self.keeping: KeepingSweep | None = None
        self._overdue = Overdue()
        self._time: TimeWatch | None = None
        self._stored_calendar = StoredCalendar()
        self._calendar: CalendarReach | None = None
        self._beat: Any = None
        self._wake_boards: Callable[[], None] = _nobody

    # ── up ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        """Starts everything, or raises a named error and has closed again what was open."""
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        settings = self.settings
        profile = load_profile(settings.centre.profile, settings.directory)
        if Role.IVR in self.roles:
            ensure_backlog(settings.ivr.max_calls)
        database = self.database = open_database(settings.database.connection_url, settings.directory)
        database.take_serving_lock()
        database.ensure_schema()
        keyring = database.open_keyring(settings.privacy.key_file)
        door = self.door = Door(database, observe=self._committed, fault=self.fault)
        self.metrics.watch_door(door)
        wakeups = Wakeups(self.reactor)
        ticker = self.ticker = Ticker(self.reactor, self.clock, speed=self._speed)
        self._time = open_time(self.settings, door, wakeups, self.clock, ticker)
        if Role.PUSH in self.roles:
            self._open_push(door, profile)
        if Role.IVR in self.roles:
            rules = rules_of(settings, profile)
            wake = self.pusher.wake if self.pusher is not None else _nobody
            intake = WakingIntake(door, keyring, self.clock, rules, wake=wake, fault=self.fault)
            self._open_ivr(intake, wakeups)
        if Role.SMS in self.roles:
            self._open_sms(door, keyring, wakeups, profile)
        if Role.SCHEDULER in self.roles:
            self._open_reconciliation(door, profile)
        self._open_ticker(ticker, door, wakeups, keyring)
        self._open_web(door, keyring, profile)
        self.health.started()

    def _open_push(self, door: Door, profile: Profile) -> None:
        centre = self.settings.centre
        pusher = self.pusher = Pusher(
            door,
            centre,
            profile,
            self.reactor,
            self.clock,
            site=_site_of(self.settings),
            speed=self._speed,
            fault=self.fault,
        )
        self.metrics.watch_push(pusher.statistics)
        self.health.watch("push", self._push_condition)
        pusher.start()

    def _open_ivr(self, intake: Intake, wakeups: Wakeups) -> None:
        try:
            released = intake.release_stale_holds().result(_START_SECONDS)
        except TimeoutError:
            raise CannotDo(f"the database took no write within {_START_SECONDS:.0f} s; see what holds it") from None
        if released:
            log.info("holds of an earlier process released", evaluations=released)
        ivr = self.ivr = RatingServer(intake, self.settings, self.reactor, self.clock, wakeups=wakeups)
        try:
            ivr.start()
        except CannotServe as error:
            raise CannotDo(str(error)) from error
        self.metrics.watch_calls(ivr.statistics, lambda: ivr.in_progress)
        self.listening["ivr"] = f"{self.settings.ivr.listen.host}:{ivr.port}"

    def _open_sms(self, door: Door, keyring: Keyring, wakeups: Wakeups, profile: Profile) -> None:
        if not self.settings.sms.links:
            self.health.watch("sms", lambda: Condition(State.OK, "no link is configured (sms.links); nobody is asked"))
            return
        wake = self.pusher.wake if self.pusher is not None else _nobody
        try:
            sms = self.sms = SmsServer(
                self.settings,
                door,
                keyring,
                wakeups,
                self.reactor,
                self.clock,
                owner=f"{self.settings.ivr.node_name}/{secrets.token_hex(8)}",
                push_calls=_push_calls_of(self.settings, profile),
                wake_push=wake,
                speed=self._speed,
                time=self._time,
                fault=self.fault,
            )
        except (ConfigurationError, UnfitField, UnusableTrust) as error:
            raise CannotDo(str(error)) from error
        self.metrics.watch(sms_source(sms, lambda: self._sms_figures))
        self.health.watch("sms", partial(sms_condition, sms))
        for link in sms.links:
            self.listening[f"link {link.name}"] = f"{link.options.host}:{link.options.port}"
        self.reactor.callWhenRunning(sms.start)

    def _open_reconciliation(self, door: Door, profile: Profile) -> None:
        centre = self.settings.centre
        wake = self.pusher.wake if self.pusher is not None else _nobody
        reconciliation = self.reconciliation = DailyReconciliation(
            door, centre, profile, self.reactor, self.clock, at=centre.reconcile_at, put_back=wake
        )
        reconciliation.start()

    def _open_ticker(self, ticker: Ticker, door: Door, wakeups: Wakeups, keyring: Keyring) -> None:
        if Role.SCHEDULER in self.roles:
            self._open_sweeps(door, wakeups, keyring, ticker)

        async def figures() -> Counts | None:
            counted = await wakeups.deferred(door.read(lambda connection: backlog(connection, self.clock.now())))
            self._backlog = counted
            self.metrics.outbox(counted)
            if self.sms is not None:
                now = self.clock.now()
                self._sms_figures = await wakeups.deferred(door.read(lambda connection: sms_figures(connection, now)))
            if self.sweeps is not None:
                now, grace = self.clock.now(), self.settings.schedule.default_grace
                self._overdue = await wakeups.deferred(door.read(lambda connection: overdue(connection, now, grace)))
            return None

        async def calendar() -> Counts | None:
            reach = await wakeups.deferred(door.read(self._read_calendar))
            self.metrics.calendar(reach)
            known, self._calendar = self._calendar, reach
            soon = ends_soon(reach, self.settings)
            if known is None or known.until != reach.until or (soon and known != reach):  # then once a day
                say = log.warning if soon else log.info
                say("working-day calendar", area=reach.area, until=str(reach.until), days_left=reach.days_left)
            return None

        async def probe() -> Counts | None:
            try:
                await wakeups.deferred(door.read(lambda _: door.database.keep_serving_lock()))
            except (DatabaseBusy, KeyMismatch) as error:
                log.critical("this process may write no more numbers and ends", cause=str(error))
                os.kill(os.getpid(), signal.SIGTERM)
                return None
            if self.health.unwritten_seconds >= PROBE_SECONDS / 2:
                await wakeups.deferred(door.write(self._leave_sign))
            return None

        ticker.every(FIGURES_SECONDS, "figures", figures)
        ticker.every(PROBE_SECONDS, "probe", probe)
        ticker.every(CALENDAR_SECONDS, "calendar", calendar)
        if self.sms is not None:
            ticker.every(SMS_SECONDS, "sms", self.sms.sweep)
            ticker.every(HOUSEKEEPING_SECONDS, "sms receipts", self.sms.forget)
            beats = LinkBeats(self.sms, self.settings.ivr.node_name, self.clock)

            async def links() -> Counts | None:
                await wakeups.deferred(door.submit(beats.look()))
                return None

            ticker.every(BEAT_SECONDS, "links", links)
            self.reactor.callWhenRunning(ticker.run, "links")
        ticker.start()
        self.reactor.callWhenRunning(ticker.run, "figures")
        self.reactor.callWhenRunning(ticker.run, "calendar")
        self.reactor.callWhenRunning(self._turn)

    def _open_sweeps(self, door: Door, wakeups: Wakeups, keyring: Keyring, ticker: Ticker) -> None:
        assert self._time is not None
        sweeps = self.sweeps = open_sweeps(
            self.settings,
            door,
            keyring,
            wakeups,
            self.reactor,
            self.clock,
            self._time,
            ticker,
            wake_sms=self.sms.sender.wake if self.sms is not None else _nobody,
            wake_push=self.pusher.wake if self.pusher is not None else _nobody,
            fault=self.fault,
        )
        self.keeping = open_keeping(self.settings, door, keyring, wakeups, self.reactor, self._time, ticker)
        self.metrics.watch(sweeps_source(sweeps, lambda: self._overdue))
        self.health.watch("scheduler", partial(sweeps_condition, sweeps))

    def _open_web(self, door: Door, keyring: Keyring, profile: Profile) -> None:
        console = Role.CONSOLE in self.roles
        section, key = (self.settings.console, "console") if console else (self.settings.health, "health")
        app = health_app(self.health, self.metrics)
        if console:
            open_api(app, door, keyring, self.clock, self.settings, self._wake_sms)
            self._wake_boards = open_pages(
                app,
                door,
                keyring,
                self.clock,
                self.settings,
                _push_calls_of(self.settings, profile),
                wake_push=self.pusher.wake if self.pusher is not None else _nobody,
                wake_sms=self._wake_sms,
            )
        proxies = self.settings.console.proxies if console else ()
        web = self.web = HealthServer(app, section.listen, f"{key}.listen", proxies=proxies)
        web.start()
        self.listening[key] = str(web.address)

    def _wake_sms(self) -> None:
        """A case has made an SMS due: told on the writer's thread, for each case of a list. A tick finds it, too."""
        if self.sms is not None and not self._sms_woken:
            self._sms_woken = True
            self.reactor.callFromThread(self._sms_is_due, self.sms)

    def _sms_is_due(self, sms: SmsServer) -> None:
        self._sms_woken = False
        sms.wake()

    # ── while it runs ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _committed(self, commands: int, seconds: float) -> None:
        self.metrics.committed(commands, seconds)
        self.health.written()
        self._wake_boards()

    def _turn(self) -> None:
        self.health.beat()
        self._beat = self.reactor.callLater(1.0, self._turn)

    def _read_calendar(self, connection: Connection) -> CalendarReach:
        calendar = self._stored_calendar.read(connection)
        return calendar_reach(calendar, self.clock.now(), self.settings.hotline.area_code)

    def _leave_sign(self, unit: Unit) -> None:
        """A write that shows that writes work: a full or read-only disk takes an empty transaction."""
        key = f"alive.{hashlib.sha256(self.settings.ivr.node_name.encode()).hexdigest()[:16]}"
        now = self.clock.now().isoformat(timespec="seconds")
        if unit.execute(update(meta).where(meta.c.key == key).values(value=now)).rowcount == 0:
            unit.execute(insert(meta).values(key=key, value=now))

    def _push_condition(self) -> Condition:
        pusher = self.pusher
        assert pusher is not None
        if not self.settings.centre.url:
            return Condition(State.OK, "no centre is configured (centre.url); evaluations wait")
        if pusher.statistics.paused is not None:
            return Condition(
                State.DEGRADED, "the centre refuses us; check centre.secret; nothing is lost, it is tried again"
            )
        if pusher.statistics.struggling:
            return Condition(State.DEGRADED, "the centre does not answer as it should; it is tried again by itself")
        if self._backlog.dead:
            return Condition(State.DEGRADED, f"{self._backlog.dead} dead letters; see: huiyin outbox list")
        return Condition(State.OK)

    # ── down ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self) -> None:
        """Lets calls finish, then ends what runs on the reactor."""
        self.health.started(False)
        if self.ivr is not None:
            cut_off = await self.ivr.stop()
            if cut_off:
                log.warning("calls cut off by ivr.stop_grace", calls=cut_off)
        if self.sms is not None:
            await self.sms.stop()
        if self.sweeps is not None:
            self.sweeps.stop()
        if self.keeping is not None:
            self.keeping.stop()
        if self.ticker is not None:
            await self.ticker.stop()
        if self.reconciliation is not None:
            await self.reconciliation.stop()
        if self.pusher is not None:
            await self.pusher.stop(_PUSH_GRACE)
        if self._beat is not None and self._beat.active():
            self._beat.cancel()

    def close(self) -> None:
        """Writes what is queued and closes everything. After this no thread of ours runs."""
        if self.door is not None:
            self.door.close()
        if self.web is not None:
            self.web.stop()
        if self.database is not None:
            self.database.close()


def serve(settings: Settings, roles: Collection[Role]) -> None:
    """Serves until SIGTERM or SIGINT; a second one ends it without waiting for calls.

    Raises:
        Whatever keeps it from starting, by name (server/cli.py turns it into one line).
    """
    reactor = install_reactor()
    bridge_twisted()
    process = Process(settings, roles, reactor)
    process.open()
    _settle_memory()

    def up() -> None:
        for part, address in process.listening.items():
            announce(f"{_PARTS[part]} on {address}" if part in _PARTS else f"SMS: {part} to {address}")
        announce(f"ready: {', '.join(sorted(process.roles))}")

    try:
        reactor.callWhenRunning(up)
        run_until_signal(reactor, Ending(reactor, process.stop))
    finally:
        process.close()
    announce("stopped")


_PARTS = {
    "ivr": "FastAGI for Asterisk (ivr.listen)",
    "console": "web: /, /api, /healthz, /readyz, /metrics (console.listen)",
    "health": "web: /healthz, /readyz, /metrics (health.listen)",
}


def run_until_signal(reactor: Any, ending: Ending) -> None:
    """Runs the reactor until SIGTERM or SIGINT has asked for the end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reactor.callFromThread(ending.asked))
    reactor.run(installSignalHandlers=False)


def run_to_end(reactor: Any, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs the reactor for one piece of work and gives its result, or raises what it raised.

    Raises:
        CannotDo: a signal came first.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    async def run() -> None:
        try:
            done.append(await work())
        except Exception as error:  # noqa: BLE001 (raised again below, outside the reactor)
            failed.append(error)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
    reactor.run()
    for error in failed:
        raise error
    if not done:
        raise CannotDo("interrupted")
    return done[0]


class Ending:
    """The way out, asked for by a signal or by whoever is done. `say`: where it is told."""

    def __init__(
        self, reactor: Any, stop: Callable[[], Coroutine[Any, Any, None]], say: Callable[[str], None] = announce
    ) -> None:
        self._reactor = reactor
        self._stop = stop
        self._say = say
        self._begun = False

    def asked(self) -> None:
        """Stops in order; asked again, at once."""
        if self._begun:
            self._say("stopping now")
            self._halt()
            return
        self._begun = True
        self._say("stopping: calls in progress may finish")
        Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        try:
            await self._stop()
        except Exception:
            log.exception("a part did not stop in order")
        self._halt()

    def _halt(self) -> None:
        if self._reactor.running:
            self._reactor.stop()


def _settle_memory() -> None:
    """What is loaded by now stays for the life of the process: the collector need not look at it again, and looks at
    what calls leave behind less often than its default, which is made for small programs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _nobody() -> None:
    """Nobody in this process to wake: who pushes, or shows boards, in another one looks each second."""
