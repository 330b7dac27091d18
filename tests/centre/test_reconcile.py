"""The daily comparison: pure tables, and a round with the stand-in."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import select

from centre.reconcile import (
    RECONCILED,
    Comparison,
    DailyReconciliation,
    Ours,
    ReconcileFailed,
    Report,
    compare,
    day_bounds,
    due_days,
    reconcile,
)
from config.settings import CentreSection
from models.clock import SHANGHAI, TurnedClock
from models.tables import audit
from simulate.centre import Fault, FaultKind
from tests.centre.bench import SECRET, Bench, on_reactor, reactor, until
from tests.centre.rows import PLAIN, add
from tests.moments import START


@pytest.mark.parametrize(
    ("ours", "held", "found"),
    [
        pytest.param([("a", True)], ["a"], Comparison((), (), ()), id="the same"),
        pytest.param([("a", True)], [], Comparison(("a",), (), ()), id="lost at the centre"),
        pytest.param([("a", False)], [], Comparison((), (), ()), id="not sent yet"),
        pytest.param([("a", False)], ["a"], Comparison((), (), ("a",)), id="its answer was lost"),
        pytest.param([], ["z"], Comparison((), ("z",), ()), id="unknown"),
        pytest.param([("ab", True)], ["A-B"], Comparison((), (), ()), id="another way of writing"),
        pytest.param([("b", True), ("a", True)], ["c"], Comparison(("a", "b"), ("c",), ()), id="all different"),
    ],
)
def test_comparison(ours: list[tuple[str, bool]], held: list[str], found: Comparison) -> None:
    assert compare([Ours(*one) for one in ours], held) == found


names = st.sets(st.text("abcdef", min_size=1, max_size=2))


@given(names, names, names)
def test_nothing_goes_again_that_the_centre_holds_or_that_we_never_sent(
    marked: set[str], unmarked: set[str], held: set[str]
) -> None:
    ours = [Ours(name, True) for name in marked] + [Ours(name, False) for name in unmarked - marked]
    found = compare(ours, held)
    assert set(found.missing) == marked - held
    assert set(found.unknown) == held - marked - unmarked


def test_a_day_is_one_in_shanghai() -> None:
    begin, end = day_bounds(date(2026, 3, 1))
    assert begin == datetime(2026, 2, 28, 16, tzinfo=UTC)
    assert end == datetime(2026, 3, 1, 16, tzinfo=UTC)


AT = time(3, 30)


@pytest.mark.parametrize(
    ("now", "last", "days"),
    [
        ("2026-03-05 03:29", "2026-03-03", []),
        ("2026-03-05 03:30", "2026-03-03", ["2026-03-04"]),
        ("2026-03-05 12:00", "2026-03-04", []),
        ("2026-03-05 12:00", "2026-03-01", ["2026-03-02", "2026-03-03", "2026-03-04"]),
        ("2026-03-31 12:00", "2026-01-01", [f"2026-03-{day}" for day in range(24, 31)]),
        ("2026-03-05 12:00", None, ["2026-03-04"]),
        ("2026-03-05 01:00", None, ["2026-03-03"]),
        ("2026-03-05 12:00", "2026-03-09", []),
    ],
)
def test_the_days_to_compare(now: str, last: str | None, days: list[str]) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=SHANGHAI)
    before = date.fromisoformat(last) if last else None
    assert [day.isoformat() for day in due_days(moment, AT, before)] == days


def centre_section(bench: Bench) -> CentreSection:
    return CentreSection(url=bench.centre.url, secret=SecretStr(SECRET), timeout=5.0, retry_first=0.05)


async def compared(bench: Bench) -> Report:
    day = bench.clock.now().astimezone(SHANGHAI).date()
    return await reconcile(bench.door, centre_section(bench), PLAIN, reactor, bench.clock, day, actor="command_line")


@on_reactor
async def test_what_the_centre_lost_goes_again(bench: Bench) -> None:
    ids = bench.add(5)
    pusher = bench.pusher()
    await bench.settled()
    bench.centre.forget(ids[1])
    bench.centre.forget(ids[3])
    found = await compared(bench)
    assert set(found.put_back) == {ids[1], ids[3]}
    assert (found.ours, found.held, found.unknown, found.other_day) == (5, 3, (), 0)
    with bench.database.read_engine.connect() as connection:
        lines = connection.execute(select(audit.c.actor, audit.c.action)).all()
    assert [tuple(line) for line in lines] == [("command_line", "push.put_back")] * 2
    pusher.wake()
    await bench.settled()
    assert set(bench.centre.by_id) == set(ids)
    again = await compared(bench)
    assert again.put_back == ()


@on_reactor
async def test_what_waits_or_died_or_is_unknown_is_told_and_left(bench: Bench) -> None:
    [refused, accepted] = bench.add(2)
    bench.centre.plan(Fault(FaultKind.REFUSE, record="p-0"))
    bench.pusher()
    await until(lambda: accepted in bench.record.pushed and refused in bench.record.pushed)
    stranger = dict(bench.centre.by_id[accepted], evaluationId="f" * 32)
    bench.centre.by_id["f" * 32] = stranger
    [elsewhere] = add(bench.database.write_engine, name="old", now=bench.clock.now() - timedelta(days=3), state="dead")
    bench.centre.by_id[elsewhere] = dict(stranger, evaluationId=elsewhere)
    found = await compared(bench)
    assert (found.put_back, found.unknown, found.other_day) == ((), ("f" * 32,), 1)
    assert set(bench.record.outbox) == {refused, elsewhere}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(FaultKind.STATUS, status=404), "404"),
        (Fault(FaultKind.GARBAGE), "no list"),
        (Fault(FaultKind.LOSE), "no answer"),
    ],
)
@on_reactor
async def test_a_centre_that_cannot_be_asked_changes_nothing(bench: Bench, fault: Fault, why: str) -> None:
    bench.add()
    bench.pusher()
    await bench.settled()
    bench.centre.plan(fault)
    with pytest.raises(ReconcileFailed, match=why):
        await compared(bench)
    assert bench.record.outbox == {}


@on_reactor
async def test_each_day_is_compared_once_and_a_failure_is_made_up_for(bench: Bench) -> None:
    ids = add(bench.database.write_engine, 2, now=START)
    bench.pusher()
    await bench.settled()
    bench.centre.forget(ids[0])
    calls: list[str] = []
    clock = TurnedClock(START + timedelta(days=1))
    daily = DailyReconciliation(
        bench.door,
        centre_section(bench),
        PLAIN,
        reactor,
        clock,
        at=AT,
        put_back=lambda: calls.append("woken"),
    )
    bench.centre.plan(Fault(FaultKind.STATUS, status=503))
    await daily._look_once()
    assert bench.database.read_meta(RECONCILED) == ""
    assert calls == []
    await daily._look_once()
    assert bench.database.read_meta(RECONCILED) == START.date().isoformat()
    assert calls == ["woken"]
    assert set(bench.record.outbox) == {ids[0]}
    requests = bench.centre.asked
    await daily._look_once()
    assert bench.centre.asked == requests, "a day that is done is not asked for again"
    await daily.stop()


class Hasty:
    """The reactor, whose minutes are milliseconds; the client's time-out stays as long as it is."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> Any:  # noqa: N802
        if delay >= 60:
            self.delays.append(delay)
            delay /= 10_000
        return reactor.callLater(delay, callable, *args, **kw)

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


@on_reactor
async def test_the_daily_comparison_runs_by_itself_and_stops(bench: Bench) -> None:
    ids = add(bench.database.write_engine, 2, now=START)
    bench.pusher()
    await bench.settled()
    bench.centre.forget(ids[0])
    bench.centre.plan(Fault(FaultKind.STATUS, status=503))
    hasty = Hasty()
    clock = TurnedClock(START + timedelta(days=1))
    daily = DailyReconciliation(
        bench.door, centre_section(bench), PLAIN, hasty, clock, at=AT, put_back=bench.pushers[0].wake
    )
    daily.start()
    await until(lambda: bench.centre.asked == 2)
    await until(lambda: not bench.record.outbox and set(bench.centre.by_id) == set(ids))
    looks = len(hasty.delays)
    await until(lambda: len(hasty.delays) > looks + 2)
    await daily.stop()
    assert hasty.delays[0] == 60.0
    assert [delay for delay in hasty.delays if delay > 60] == [600.0], "patience with a centre that failed"
    assert bench.centre.asked == 2
    assert bench.database.read_meta(RECONCILED) == START.date().isoformat()


@on_reactor
async def test_without_a_centre_nothing_is_compared(bench: Bench) -> None:
    with pytest.raises(ReconcileFailed, match=r"centre\.url"):
        await reconcile(bench.door, CentreSection(), PLAIN, reactor, bench.clock, START.date())
    hasty = Hasty()
    daily = DailyReconciliation(bench.door, CentreSection(), PLAIN, hasty, bench.clock, at=AT, put_back=lambda: None)
    daily.start()
    await daily.stop()
    assert hasty.delays == []
