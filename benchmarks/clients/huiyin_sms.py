"""Huiyin's SMS channel as `huiyin serve` wires it, on SQLite with synchronous=FULL.

- `python -m benchmarks.clients.huiyin_sms PORT WARM COUNT FOLDER FIRST`: invitations of the citizens from FIRST on lie
  in the database of FOLDER and become due, WARM at first and COUNT after the line: each is queued, claimed, handed
  over, answered, receipted, and each of these states is committed. A message is done when its receipt is stored and
  answered.
- `… FOLDER FIRST replies`: the citizens' SMS was delivered; the SMSC sends their replies, and tells the measurement
  itself. Here is said `rated SECONDS` when all of them have become ratings: seconds since the first came.
"""

from __future__ import annotations

import gc
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, select
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from benchmarks.clients import SERVICE_NUMBER, SIGNATURE, WINDOW, fail, go_on, say
from benchmarks.invitations import DATABASE, START, BenchClock, open_bench, store
from config.loading import load
from intake.decide import PushCalls
from models.door import Door
from models.futures import Wakeups
from models.tables import messages, ratings
from sms.server import SmsServer

LOOK = 0.01
"""Seconds between looks whether all is done."""
CONFIGURATION = f"""\
[database]
url = "{DATABASE}"
[hotline]
name = "12345"
[sms]
service_number = "{SERVICE_NUMBER}"
signature = "{SIGNATURE}"
[[sms.links]]
name = "bench"
host = "127.0.0.1"
port = {{port}}
system_id = "huiyin"
password = "secret"
window = {WINDOW}
segments_per_second = 10000
"""


class Run:
    """The channel and what is asked of it."""

    def __init__(self, reactor: Any, port: int, folder: Path) -> None:
        configuration = folder / "huiyin.toml"
        configuration.write_text(CONFIGURATION.format(port=port), encoding="utf-8")
        self.reactor = reactor
        self.clock = BenchClock()
        self.settings = load(configuration, {})
        self.database, self.keyring = open_bench(folder)
        self.door = Door(self.database)
        self.sms = SmsServer(
            self.settings,
            self.door,
            self.keyring,
            Wakeups(reactor),
            reactor,
            self.clock,
            owner="bench/bench",
            push_calls=PushCalls.WITHOUT_CASE,
            wake_push=lambda: None,
        )
        self.ticks = LoopingCall(self.sms.wake)

    def invite(self, first: int, count: int, after: timedelta, *, asked: bool = False) -> None:
        """Puts invitations into the database, due so long after START."""
        with self.database.write_engine.begin() as connection:
            version = self.settings.rating.key_map.version
            store(connection, self.keyring, version, first, count, START + after, asked=asked)

    def start(self) -> None:
        """As `huiyin serve` does before it is ready."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 50, 100)
        self.sms.start()
        self.ticks.clock = self.reactor
        self.ticks.start(1.0)

    def until(self, done: Any) -> Deferred[None]:
        """Fires once `done()` is true."""
        fired: Deferred[None] = Deferred()

        def look() -> None:
            if done():
                looks.stop()
                fired.callback(None)

        looks = LoopingCall(look)
        looks.clock = self.reactor
        looks.start(LOOK)
        return fired

    async def stop(self) -> None:
        self.ticks.stop()
        await self.sms.stop()
        self.door.close()

    def count(self, query: Any) -> int:
        with self.database.read_engine.connect() as connection:
            return int(connection.execute(query).scalar_one())


async def send(run: Run, warm: int, count: int, first: int) -> None:
    receipts = run.sms.sender.statistics.receipts
    hour = timedelta(hours=1)
    run.invite(first, warm, timedelta())
    run.invite(first + warm, count, hour)
    run.start()
    await run.until(lambda: receipts.total() >= warm)
    go_on("warm")
    run.clock.turn(hour)
    run.sms.wake()
    await run.until(lambda: receipts.total() >= warm + count)
    go_on("done")
    await run.stop()
    delivered = run.count(select(func.count()).where(messages.c.state == "delivered", messages.c.created_at >= START))
    if delivered < warm + count:
        fail(f"only {delivered} of {warm + count} messages are stored as delivered")


async def receive(run: Run, count: int, first: int) -> None:
    run.invite(first, count, timedelta(), asked=True)
    kept, outcomes = run.sms.inbox.statistics.kept, run.sms.inbox.statistics.outcomes
    run.start()
    await run.until(lambda: kept.total() > 0)
    began = time.monotonic()
    await run.until(lambda: outcomes.total() >= count)
    say(f"rated {time.monotonic() - began:.6f}")
    await run.stop()
    rated = run.count(select(func.count()).select_from(ratings))
    if rated != count:
        fail(f"{count} replies became {rated} ratings")


def main(port: int, warm: int, count: int, folder: Path, first: int, *, replies: bool) -> None:
    from twisted.internet import reactor as installed

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    reactor: Any = installed
    reactor.seconds = time.monotonic
    run = Run(reactor, port, folder)

    def begin() -> None:
        work = receive(run, warm + count, first) if replies else send(run, warm, count, first)
        Deferred.fromCoroutine(work).addCallbacks(lambda _: reactor.stop(), lambda why: fail(why.getTraceback()))

    reactor.callWhenRunning(begin)
    reactor.run()
    run.database.close()


if __name__ == "__main__":
    port, warm, count, folder, first, *what = sys.argv[1:]
    main(int(port), int(warm), int(count), Path(folder), int(first), replies=what == ["replies"])
