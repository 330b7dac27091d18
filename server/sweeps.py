"""The scheduler's sweeps as the composition root wires them: rules from the settings, ticks, what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Connection, select

from config.settings import Reminders, Settings
from intake.defaults import DefaultRules
from intake.pauses import Time, Trust
from intake.reminders import ReminderRules
from models.clock import Clock, SystemClock
from models.door import Door
from models.futures import Wakeups
from models.pace import Pace
from models.privacy import Keyring
from models.tables import cases, invitations
from scheduler.keeping import KeepingSweep
from scheduler.sweeps import Sweeps
from scheduler.ticker import Ticker
from scheduler.timewatch import TimeWatch
from server.api import deadline_rules_of
from server.health import Condition, State
from sms.server import sending_rules

__all__ = [
    "Overdue",
    "default_rules_of",
    "open_keeping",
    "open_sweeps",
    "open_time",
    "overdue",
    "reminder_rules_of",
    "sweeps_condition",
    "sweeps_source",
    "trust_of",
]

SWEEP_SECONDS = 2.0
KEEPING_SECONDS = 3600.0
_INSTEAD = {Reminders.HUIYIN: None, Reminders.CENTRE: "centre", Reminders.NOBODY: "switched_off"}


def reminder_rules_of(settings: Settings, keyring: Keyring) -> ReminderRules:
    """What reminders need of the configuration."""
    schedule = settings.schedule
    return ReminderRules(schedule.reminder_after, sending_rules(settings, keyring), _INSTEAD[schedule.reminders])


def default_rules_of(settings: Settings, clock: Clock) -> DefaultRules:
    """What default ratings need of the configuration."""
    return DefaultRules(
        key_map=settings.rating.key_map.version,
        area_code=settings.hotline.area_code,
        service_name=settings.hotline.service,
        grace=settings.schedule.default_grace,
        switched_on=settings.schedule.defaults,
        trust=trust_of(settings, clock),
    )


def trust_of(settings: Settings, clock: Clock) -> Trust:
    """By what the wall clock is trusted; one that is turned on purpose by itself."""
    if not isinstance(clock, SystemClock):
        return Trust()
    return Trust(database_clock=True, longest_downtime=settings.schedule.longest_downtime or None)


def open_time(settings: Settings, door: Door, wakeups: Wakeups, clock: Clock, ticker: Ticker) -> TimeWatch:
    """What all sweeps of a process go by."""
    node, trust = settings.ivr.node_name, trust_of(settings, clock)
    return TimeWatch(door, wakeups, clock, ticker.compare, node, trust)


def open_sweeps(
    settings: Settings,
    door: Door,
    keyring: Keyring,
    wakeups: Wakeups,
    reactor: Any,
    clock: Clock,
    time: Time,
    ticker: Ticker,
    *,
    wake_sms: Callable[[], None],
    wake_push: Callable[[], None],
    fault: Callable[[str], None],
) -> Sweeps:
    """Puts the sweeps on the ticker."""
    sweeps = Sweeps(
        door,
        wakeups,
        reactor,
        time,
        reminders=reminder_rules_of(settings, keyring),
        defaults=default_rules_of(settings, clock),
        deadlines=deadline_rules_of(settings),
        rows_per_second=settings.schedule.rows_per_second,
        wake_sms=wake_sms,
        wake_push=wake_push,
        fault=fault,
    )
    ticker.every(SWEEP_SECONDS, "reminders", sweeps.reminders)
    ticker.every(SWEEP_SECONDS, "deadlines", sweeps.deadlines)
    ticker.every(SWEEP_SECONDS, "defaults", sweeps.defaults)
    return sweeps


def open_keeping(
    settings: Settings, door: Door, keyring: Keyring, wakeups: Wakeups, reactor: Any, time: Time, ticker: Ticker
) -> KeepingSweep:
    """Puts what is kept no longer on the ticker."""
    pace = Pace(reactor, settings.schedule.rows_per_second)
    keeping = KeepingSweep(door, wakeups, time, settings.privacy.retention, keyring.active_id, pace)
    ticker.every(KEEPING_SECONDS, "keeping", keeping.sweep)
    return keeping


# ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Overdue:
    """How long the oldest of what is due waits. Read by index, one row each."""

    __slots__ = ("defaults", "reminders")

    def __init__(self, reminders: timedelta = timedelta(), defaults: timedelta = timedelta()) -> None:
        self.reminders = reminders
        self.defaults = defaults


def overdue(connection: Connection, now: datetime, grace: timedelta) -> Overdue:
    """What a tick reads for the metrics."""

    def age(column: Any, wait: timedelta) -> timedelta:
        oldest = connection.execute(select(column).where(column.is_not(None)).order_by(column).limit(1)).scalar()
        return timedelta() if oldest is None else max(timedelta(), now - wait - oldest)

    return Overdue(age(invitations.c.remind_at, timedelta()), age(cases.c.default_at, grace))


def sweeps_source(sweeps: Sweeps, figures: Callable[[], Overdue]) -> Callable[[], Iterable[Metric]]:
    """The metrics; `figures` is what a tick has read of the database."""

    def source() -> Iterable[Metric]:
        rows = CounterMetricFamily(
            "huiyin_sweep_rows", "Rows that a sweep decided on, by outcome.", labels=["sweep", "outcome"]
        )
        for (sweep, outcome), count in sweeps.statistics.copy().items():
            rows.add_metric([sweep, outcome], count)
        yield rows
        yield GaugeMetricFamily(
            "huiyin_defaults_paused",
            "1: no default is made: the clock jumped, or deadlines are being computed anew.",
            value=sweeps.paused is not None,
        )
        waits = GaugeMetricFamily(
            "huiyin_sweep_overdue_seconds", "How long the oldest of what is due waits.", labels=["sweep"]
        )
        now = figures()
        waits.add_metric(["reminders"], now.reminders.total_seconds())
        waits.add_metric(["defaults"], now.defaults.total_seconds())
        yield waits

    return source


def sweeps_condition(sweeps: Sweeps) -> Condition:
    """A paused default harms nobody, but wants a person."""
    if sweeps.paused is None:
        return Condition(State.OK)
    return Condition(State.DEGRADED, _PAUSED.get(sweeps.paused, f"defaults are paused: {sweeps.paused}"))


_PAUSED = {
    "clock_jumped": "the wall clock jumped ahead, or nobody saw the time for long: nothing is asked, ended or "
    "defaulted by it until it is confirmed; see: huiyin scheduler accept-jump",
    "deadlines_pending": "deadlines are being computed anew after an import of the calendar; default ratings follow",
    "clock_ahead_of_database": "this machine's clock is over an hour ahead of the database's: nothing is done by it "
    "here; mend the clock",
}
