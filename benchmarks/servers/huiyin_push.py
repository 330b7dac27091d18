"""Huiyin's push alone: the outbox of a database, sent until it is empty.

- `fill FOLDER COUNT` makes the database in FOLDER: COUNT evaluations through the intake, as calls bring them.
- `push FOLDER URL SECRET BATCH IN_FLIGHT` says `ready 0`, pushes when a line comes on standard input, says
  `done SECONDS EVALUATIONS` when everything has been answered for and that is committed.
"""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import func, select
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import LoopingCall, react

from benchmarks.servers.huiyin_agi import RULES
from centre.payload import Site
from centre.push import Pusher
from config.profile import load_profile
from config.settings import CentreSection
from intake.desk import Intake
from intake.record import CallFacts
from models.clock import SystemClock
from models.database import open_database
from models.door import Door
from models.tables import outbox
from models.terms import Satisfaction

DATABASE = "sqlite:///bench.db"
KEY = "privacy.key"
LOOK = 0.002
"""Seconds between looks whether all is done: what the measured time may be too long by."""


def fill(folder: Path, count: int) -> None:
    """Store so many ratings of so many calls."""
    database = open_database(DATABASE, folder)
    database.ensure_schema()
    door = Door(database)
    clock = SystemClock()
    intake = Intake(door, database.open_keyring(folder / KEY), clock, RULES)
    waiting = (
        intake.rate(
            CallFacts(
                call_key=f"bench-1760000000.{number}",
                number=f"139{number:08d}",
                agent="1001",
                queue="q12345",
                dept="12622900MB1234567X",
                case_no=None,
                closed=False,
                lang="zh",
                at=clock.now(),
            ),
            Satisfaction.VERY_SATISFIED,
            "1",
            hold=False,
        )
        for number in range(count)
    )
    while group := list(islice(waiting, 512)):
        for stored in group:
            if not stored.result().new:
                raise RuntimeError("the folder held these calls already: give an empty one")
    door.close()
    database.close()


async def push(reactor: Any, folder: Path, url: str, secret: str, batch: int, in_flight: int) -> None:
    """Send the whole outbox."""
    reactor.seconds = time.monotonic
    database = open_database(DATABASE, folder)
    with database.read_engine.connect() as connection:
        count = connection.execute(select(func.count()).select_from(outbox)).scalar_one()
    door = Door(database)
    pusher = Pusher(
        door,
        CentreSection(url=url, secret=SecretStr(secret), batch=batch, in_flight=in_flight),
        load_profile("plain", folder),
        reactor,
        SystemClock(),
        site=Site(service_name="12345", area_code="622900", data_source="bench"),
    )
    print("ready 0", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    pusher.start()
    done: Deferred[None] = Deferred()

    def look() -> None:
        if pusher.statistics.accepted >= count:
            looking.stop()
            done.callback(None)

    looking = LoopingCall(look)
    looking.start(LOOK)
    await done
    print(f"done {time.perf_counter() - begin:.6f} {pusher.statistics.accepted}", flush=True)
    await pusher.stop()
    door.close()
    database.close()


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        _, _, folder, url, secret, batch, in_flight = sys.argv
        react(lambda reactor: ensureDeferred(push(reactor, Path(folder), url, secret, int(batch), int(in_flight))))
