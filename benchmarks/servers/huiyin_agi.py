"""Huiyin's own FastAGI parts with the fixed dialogue, so that they compare with the others command by command.

- `path`: the port, the session and the codec of `ivr/`, the environment read, nothing stored.
- `record`: the same, and the rating stored as every rating is, through `intake/`: call, invitation, rating,
  evaluation, outbox and audit, the number encrypted, committed with synchronous=FULL before the thanks.

The real dialogue is measured on `huiyin serve` itself (`benchmarks.contenders`).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from intake.decide import PushCalls
from intake.desk import Intake
from intake.record import CallFacts, Rules
from ivr.agi import environment
from ivr.listener import Listener, ensure_file_limit
from ivr.session import Session
from models.clock import SystemClock
from models.database import open_database
from models.door import Door
from models.futures import Patience, Wakeups
from models.terms import Satisfaction

MAX_CALLS = 6000
CALL_LIMIT = 300.0
STORE_SECONDS = 1.5
LEVELS = {"1": Satisfaction.VERY_SATISFIED}

RULES = Rules(
    key_map="bench",
    area_code="622900",
    service_name="12345",
    push_calls=PushCalls.WITHOUT_CASE,
    keypad_reason_hold=timedelta(seconds=90),
    invite_after=timedelta(minutes=1),
    node="bench",
    boot="bench",
)

Dialogue = Callable[[Session, bytes], Coroutine[Any, Any, None]]


async def path(session: Session, head: bytes) -> None:
    """The fixed dialogue (`benchmarks.scripts.FIXED`), nothing stored."""
    environment(head)
    await session.answer()
    await session.stream_file("rating-welcome")
    digit = (await session.get_data("rating-ask", 8000, 1)).result
    await session.set_variable("RATING", digit)
    await session.set_variable("RATING_STATUS", "ok" if digit else "none")
    await session.stream_file("rating-thanks")
    await session.hangup()


class Recorded:
    """The fixed dialogue with the rating on disk before the caller hears thanks."""

    def __init__(self, reactor: Any, folder: Path) -> None:
        database = open_database("sqlite:///bench.db", folder)
        database.ensure_schema()
        self.clock = SystemClock()
        self.door = Door(database)
        self.intake = Intake(self.door, database.open_keyring(folder / "privacy.key"), self.clock, RULES)
        self.patience = Patience(reactor, Wakeups(reactor), STORE_SECONDS)

    async def __call__(self, session: Session, head: bytes) -> None:
        """One call."""
        env = environment(head)
        told = dict(parse_qsl(env["agi_network_script"].partition("?")[2]))
        await session.answer()
        await session.stream_file("rating-welcome")
        digit = (await session.get_data("rating-ask", 8000, 1)).result
        facts = CallFacts(
            call_key=told["call"],
            number=env["agi_callerid"],
            agent=told["agent"],
            queue=told["queue"],
            dept=told["dept"],
            case_no=None,
            closed=False,
            lang=told["lang"],
            at=self.clock.now(),
        )
        stored = self.intake.rate(facts, LEVELS[digit], digit, hold=False)
        if not (await self.patience.wait(stored)).new:
            raise RuntimeError("a repeated id measures refusals: give the generator another --first")
        await session.set_variable("RATING", digit)
        await session.set_variable("RATING_STATUS", "ok" if digit else "none")
        await session.stream_file("rating-thanks")
        await session.hangup()


def main() -> None:
    """Serve `path` or `record`, as the command line says, until SIGTERM."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    reactor.seconds = time.monotonic
    ensure_file_limit(MAX_CALLS)
    with tempfile.TemporaryDirectory(prefix="huiyin-bench-") as folder:
        dialogue: Dialogue = path
        if sys.argv[1] == "record":
            recorded = Recorded(reactor, Path(folder))
            reactor.addSystemEventTrigger("during", "shutdown", recorded.door.close)
            dialogue = recorded
        listener = Listener(
            reactor,
            dialogue,
            allow=[IPv4Network("127.0.0.1/32")],
            max_calls=MAX_CALLS,
            call_limit=CALL_LIMIT,
        )
        listener.listen("127.0.0.1", 0)
        print(f"ready {listener.port}", flush=True)
        reactor.run()


if __name__ == "__main__":
    main()
