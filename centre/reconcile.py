"""The daily comparison with the centre: what we hold as accepted and it does not have goes again.

Rules kept here:

* Our side is read before the centre is asked, and only what was marked by then is compared, so that nothing on its way
  is taken for lost. Sending again is safe: the evaluationId and the number stay, and the centre answers "duplicate".
* What goes back into the outbox is audited. What the centre holds and we do not know is reported, never touched.
* A day is a day in Asia/Shanghai by the time of the rating (assessTime).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, insert, select, update
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from centre.answers import ids_held, plain_id
from centre.client import CentreClient, NoAnswer, Reactor, Timer
from centre.outbox import note
from centre.settings import PushSettings
from config.profile import Profile
from models.clock import SHANGHAI, Clock
from models.door import Door, Unit
from models.errors import StoreError
from models.futures import Wakeups
from models.tables import evaluations, meta, outbox
from models.terms import Actor, AuditAction, OutboxState

__all__ = ["Comparison", "DailyReconciliation", "Ours", "ReconcileFailed", "Report", "compare", "due_days", "reconcile"]

RECONCILED = "push.reconciled"
"""Key in `meta`: the last day that was compared, or is being compared."""

_CHUNK = 64
_DAYS_MOST = 7
_LOOK = 60.0
_AGAIN = 600.0

T = TypeVar("T")
log = structlog.get_logger(__name__)
_twisted_log = Logger()


class ReconcileFailed(Exception):
    """The centre could not be compared with; the sentence says why."""


# ── pure ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Ours:
    """An evaluation of the day. `marked`: the centre said once that it has it."""

    evaluation_id: str
    marked: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two lists compared.

    Attributes:
        missing: marked by us, not held by the centre.
        unknown: held by the centre, not among ours.
        unmarked: held by the centre, not marked by us (its answer was lost, or is on its way); the push settles it.
    """

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    unmarked: tuple[str, ...]


def compare(ours: Iterable[Ours], held: Iterable[str]) -> Comparison:
    """What differs between ours of a day and the ids that the centre holds of it."""
    centre = {plain_id(evaluation_id) for evaluation_id in held}
    marked = {evaluation.evaluation_id: evaluation.marked for evaluation in ours}
    return Comparison(
        tuple(sorted(name for name, is_marked in marked.items() if is_marked and name not in centre)),
        tuple(sorted(centre - marked.keys())),
        tuple(sorted(name for name, is_marked in marked.items() if not is_marked and name in centre)),
    )


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """The first moment of a day in Asia/Shanghai, and of the next."""
    begin = datetime.combine(day, time(), SHANGHAI)
    return begin, datetime.combine(day + timedelta(days=1), time(), SHANGHAI)


def due_days(now: datetime, at: time, last: date | None) -> tuple[date, ...]:
    """The days to compare now: those after `last` up to yesterday, from `at` on; a week at most, the first time one."""
    local = now.astimezone(SHANGHAI)
    yesterday = local.date() - timedelta(days=1)
    if local.time() < at:
        yesterday -= timedelta(days=1)
    if last is None:
        return (yesterday,)
    first = max(last + timedelta(days=1), yesterday - timedelta(days=_DAYS_MOST - 1))
    return tuple(first + timedelta(days=offset) for offset in range((yesterday - first).days + 1))


# ── the shell ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Report:
    """What a comparison came to.

    Attributes:
        ours: evaluations of the day that the centre once said it has.
        held: what it says it holds.
        put_back: evaluations that go again.
        unknown: ids it holds and we have never had.
        other_day: how many it counts to this day and we to another.
        unmarked: as in Comparison.
    """

    day: date
    ours: int
    held: int
    put_back: tuple[str, ...]
    unknown: tuple[str, ...]
    other_day: int
    unmarked: int


async def reconcile(
    door: Door,
    settings: PushSettings,
    profile: Profile,
    reactor: Reactor,
    clock: Clock,
    day: date,
    *,
    actor: str = Actor.CENTRE.name.lower(),
) -> Report:
    """Compares one day with the centre and puts back what it lacks.

    Raises:
        ReconcileFailed: the centre cannot be asked, or its answer cannot be read.
        StoreError: the database failed.
    """
    if not settings.url or settings.secret is None:
        raise ReconcileFailed("no centre is configured; set centre.url and centre.secret")
    wakeups = Wakeups(reactor)
    ours = await wakeups.deferred(door.read(lambda connection: _ours(connection, day)))
    client = CentreClient(
        reactor,
        url=settings.url,
        secret=settings.secret.get_secret_value(),
        profile=profile,
        clock=clock,
        timeout=settings.timeout.total_seconds(),
        connections=1,
    )
    try:
        answer = await client.held_on(day)
    except NoAnswer as error:
        raise ReconcileFailed(f"the centre gave no answer: {error}") from error
    finally:
        await client.close()
    if answer.status != 200:
        raise ReconcileFailed(f"the centre answered HTTP {answer.status}")
    held = ids_held(answer.body, profile.reconcile.list, profile.answer.id)
    if held is None:
        raise ReconcileFailed("the centre's answer holds no list of ids that this profile can read")
    found = compare(ours, held)
    put_back: list[str] = []
    for chunk in _chunks(found.missing):
        now = clock.now()
        put_back += await wakeups.deferred(door.write(_putting_back(chunk, now, actor)))
    known: set[str] = set()
    for chunk in _chunks(found.unknown):
        known |= await wakeups.deferred(door.read(_looking_up(chunk)))
    return Report(
        day=day,
        ours=sum(evaluation.marked for evaluation in ours),
        held=len(held),
        put_back=tuple(put_back),
        unknown=tuple(name for name in found.unknown if name not in known),
        other_day=len(known),
        unmarked=len(found.unmarked),
    )


def _ours(connection: Connection, day: date) -> list[Ours]:
    begin, end = day_bounds(day)
    query = select(evaluations.c.id, evaluations.c.pushed_at).where(
        evaluations.c.assess_time >= begin, evaluations.c.assess_time < end
    )
    return [Ours(row.id, row.pushed_at is not None) for row in connection.execute(query)]


def _putting_back(ids: Sequence[str], now: datetime, actor: str) -> Callable[[Unit], list[str]]:
    def put_back(unit: Unit) -> list[str]:
        query = (
            select(evaluations.c.id, evaluations.c.subject_id, evaluations.c.assess_number)
            .select_from(evaluations.outerjoin(outbox, outbox.c.evaluation_id == evaluations.c.id))
            .where(evaluations.c.id.in_(ids), evaluations.c.pushed_at.is_not(None), outbox.c.evaluation_id.is_(None))
        )
        rows = unit.execute(query).all()
        for row in rows:
            unit.execute(
                insert(outbox).values(
                    evaluation_id=row.id,
                    subject_id=row.subject_id,
                    assess_number=row.assess_number,
                    state=OutboxState.WAITING.value,
                    not_before=now,
                    tries=0,
                    created_at=now,
                )
            )
            unit.execute(
                update(evaluations)
                .where(evaluations.c.subject_id == row.subject_id, evaluations.c.assess_number == row.assess_number)
                .values(pushed_at=None, centre_status=None)
            )
        if rows:
            note(unit, now, actor, AuditAction.PUSH_PUT_BACK, [(row.subject_id, row.id) for row in rows])
        return [row.id for row in rows]

    return put_back


def _looking_up(ids: Sequence[str]) -> Callable[[Connection], set[str]]:
    real = [name for name in ids if len(name) == 32 and all(sign in "0123456789abcdef" for sign in name)]

    def look_up(connection: Connection) -> set[str]:
        return set(connection.execute(select(evaluations.c.id).where(evaluations.c.id.in_(real))).scalars())

    return look_up


def _chunks(ids: Sequence[str]) -> Iterable[tuple[str, ...]]:
    left = iter(ids)
    while chunk := tuple(islice(left, _CHUNK)):
        yield chunk


class DailyReconciliation:
    """Compares yesterday each day from `at` on (Asia/Shanghai), and the days before that were missed.

    In several processes one does it: the day is claimed in the database before the centre is asked, and given back
    where that failed.
    """

    def __init__(
        self,
        door: Door,
        settings: PushSettings,
        profile: Profile,
        reactor: Reactor,
        clock: Clock,
        *,
        at: time,
        put_back: Callable[[], None],
    ) -> None:
        self._door = door
        self._settings = settings
        self._profile = profile
        self._reactor = reactor
        self._clock = clock
        self._at = at
        self._put_back = put_back
        self._wakeups = Wakeups(reactor)
        self._timer: Timer | None = None
        self._running: Deferred[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Begins to look once a minute; without a centre there is nothing to do."""
        if self._settings.url:
            self._timer = self._reactor.callLater(_LOOK, self._look)

    async def stop(self) -> None:
        """Ends; a comparison on the way is finished, bounded by the request's time-out."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._running is not None:
            await self._running

    def _look(self) -> None:
        self._running = Deferred.fromCoroutine(self._look_once())
        self._running.addErrback(_failed)
        self._running.addCallback(lambda _: self._rest())

    def _rest(self) -> None:
        self._running = None
        if not self._stopped and (self._timer is None or not self._timer.active()):
            self._timer = self._reactor.callLater(_LOOK, self._look)

    async def _look_once(self) -> None:
        last = await self._wakeups.deferred(self._door.read(last_reconciled))
        for day in due_days(self._clock.now(), self._at, last):
            if self._stopped or not await self._wakeups.deferred(self._door.write(_claiming(last, day))):
                return
            try:
                report = await reconcile(self._door, self._settings, self._profile, self._reactor, self._clock, day)
            except (ReconcileFailed, StoreError) as error:
                log.warning("reconciliation failed; it is tried again", day=day.isoformat(), cause=str(error))
                await self._wakeups.deferred(self._door.write(_claiming(day, last)))
                if not self._stopped:
                    self._timer = self._reactor.callLater(_AGAIN, self._look)
                return
            tell = log.warning if report.put_back or report.unknown else log.info
            tell(
                "compared with the centre",
                day=day.isoformat(),
                ours=report.ours,
                held=report.held,
                put_back=len(report.put_back),
                unknown=len(report.unknown),
            )
            if report.put_back:
                self._put_back()
            last = day


def last_reconciled(connection: Connection) -> date | None:
    """The last day that was compared; None: none yet."""
    value = connection.execute(select(meta.c.value).where(meta.c.key == RECONCILED)).scalar_one_or_none()
    return date.fromisoformat(value) if value else None


def _claiming(old: date | None, new: date | None) -> Callable[[Unit], bool]:
    """Moves the mark from `old` to `new`; false where another process has moved it before. Empty: no day."""

    def claim(unit: Unit) -> bool:
        text = new.isoformat() if new is not None else ""
        before = old.isoformat() if old is not None else ""
        moved = unit.execute(
            update(meta).where(meta.c.key == RECONCILED, meta.c.value == before).values(value=text)
        ).rowcount
        if moved:
            return True
        if old is None and unit.execute(select(meta.c.key).where(meta.c.key == RECONCILED)).first() is None:
            unit.execute(insert(meta).values(key=RECONCILED, value=text))
            return True
        return False

    return claim


def _failed(failure: Failure) -> Any:
    _twisted_log.failure("the reconciliation went wrong; it is tried again in a minute", failure)
