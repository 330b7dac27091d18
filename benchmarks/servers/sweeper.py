"""The sweeps of a process on their own: it ticks, and works off what is due, as often as it is told.

`python -m benchmarks.servers.sweeper URL FOLDER` opens a database and the key in FOLDER, says `ready 0`, and for each
line that it is told says one line of JSON:

- `ticks COUNT`: so many rounds of each sweep, one after the other, in which nothing may be due: milliseconds.
- `work SWEEP`: works off all that is due, no pace kept: seconds and rows.
- `record SWEEP FILE`: the same, and every group's writes go to FILE, with how many rows each changed.
- `reads FILE`: one tick of each sweep, whose statements go to FILE.
- `memory`: the most that was resident so far, in KiB.
"""

from __future__ import annotations

import gc
import json
import pickle
import re
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import event
from twisted.internet.defer import Deferred

from benchmarks.invitations import KEY, BenchClock
from config.loading import load
from intake.invitations import ExpireInvitations, Invited, InviteDue
from intake.pauses import Trust, Unwatched
from models.database import open_database
from models.door import Door
from models.futures import Wakeups
from scheduler.sweeps import Sweeps
from server.api import deadline_rules_of
from server.sweeps import default_rules_of, reminder_rules_of

CONFIGURATION = '[hotline]\nname = "12345"\narea_code = "622900"\nservice_name = "12345热线"\n'
NO_PACE = 10**9
"""Rows a second: what the writer can do."""
SWEEPS = ("reminders", "defaults", "deadlines", "invitations", "expiry")


class Sweeper:
    """The sweeps, wired as `huiyin serve` does."""

    def __init__(self, reactor: Any, url: str, folder: Path) -> None:
        configuration = folder / "huiyin.toml"
        configuration.write_text(CONFIGURATION, encoding="utf-8")
        settings = load(configuration, {})
        clock = self.clock = BenchClock()
        self.database = open_database(url, folder)
        self.door = Door(self.database)
        reminders = reminder_rules_of(settings, self.database.open_keyring(folder / KEY))
        self.sending = reminders.sending
        self.rows = 0
        self.sweeps = Sweeps(
            self.door,
            Wakeups(reactor),
            reactor,
            Unwatched(clock),
            reminders=reminders,
            # As on a real clock, which the server's bears out.
            defaults=replace(default_rules_of(settings, clock), trust=Trust(database_clock=True)),
            deadlines=deadline_rules_of(settings),
            rows_per_second=NO_PACE,
            wake_sms=lambda: None,
            wake_push=lambda: None,
        )

    def sweep(self, name: str) -> Awaitable[object]:
        """One round of a sweep; `rows` counts what it found."""
        wired = {
            "reminders": self.sweeps.reminders,
            "defaults": self.sweeps.defaults,
            "deadlines": self.sweeps.deadlines,
        }
        if name in wired:
            return self._counted(wired[name])
        if name == "invitations":

            def invited(group: Invited) -> int:
                self.rows += group.total
                return group.total

            return self.sweeps.work_off(lambda: InviteDue(self.clock.now(), self.sending), invited)

        def expired(count: int) -> int:
            self.rows += count
            return count

        return self.sweeps.work_off(lambda: ExpireInvitations(self.clock.now()), expired)

    async def _counted(self, sweep: Callable[[], Awaitable[Any]]) -> None:
        self.rows += sum((await sweep()).values())

    # ── what it is told ───────────────────────────────────────────────────────────────────────────────────────────────

    async def ticks(self, count: str) -> dict[str, list[float]]:
        self.rows = 0
        times: dict[str, list[float]] = {name: [] for name in SWEEPS}
        for _ in range(int(count)):
            for name in SWEEPS:
                began = time.perf_counter()
                await self.sweep(name)
                times[name].append((time.perf_counter() - began) * 1000)
        if self.rows:
            raise RuntimeError(f"{self.rows} rows were due in a tick that should find none")
        return times

    async def work(self, name: str) -> dict[str, float]:
        self.rows = 0
        began = time.perf_counter()
        await self.sweep(name)
        return {"seconds": time.perf_counter() - began, "rows": self.rows}

    async def record(self, name: str, file: str) -> dict[str, float]:
        with self._heard(writes=True) as groups:
            done = await self.work(name)
        Path(file).write_bytes(pickle.dumps(groups))
        return done

    async def reads(self, file: str) -> dict[str, int]:
        kept = {}
        for name in SWEEPS:
            with self._heard(writes=False) as groups:
                await self.sweep(name)
            kept[name] = [(statement, parameters) for group in groups for statement, parameters, _ in group]
        Path(file).write_bytes(pickle.dumps(kept))
        return {name: len(statements) for name, statements in kept.items()}

    async def memory(self) -> dict[str, int]:
        gc.collect()
        found = re.findall(r"^Vm(HWM|RSS):\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
        return {name: int(value) for name, value in found}

    @contextmanager
    def _heard(self, *, writes: bool) -> Iterator[list[list[tuple[str, Any, int]]]]:
        """The statements of each transaction, with how many rows they changed or found."""
        groups: list[list[tuple[str, Any, int]]] = [[]]
        engine = self.database.write_engine

        def heard(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("SELECT") != writes and not statement.startswith("BEGIN"):
                groups[-1].append((statement, parameters, cursor.rowcount))

        def committed(_connection: Any) -> None:
            groups.append([])

        event.listen(engine, "after_cursor_execute", heard)
        event.listen(engine, "commit", committed)
        try:
            yield groups
        finally:
            event.remove(engine, "after_cursor_execute", heard)
            event.remove(engine, "commit", committed)


def main(url: str, folder: Path) -> None:
    from twisted.internet import reactor as installed

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    reactor: Any = installed
    reactor.seconds = time.monotonic
    sweeper = Sweeper(reactor, url, folder)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)

    def answer(line: str) -> None:
        name, *arguments = line.split()
        told = {"ticks": sweeper.ticks, "work": sweeper.work, "record": sweeper.record, "reads": sweeper.reads}
        work = sweeper.memory() if name == "memory" else told[name](*arguments)  # type: ignore[operator]
        Deferred.fromCoroutine(work).addCallbacks(lambda found: print("answer", json.dumps(found), flush=True), failed)

    def failed(why: Any) -> None:
        print(why.getTraceback(), file=sys.stderr, flush=True)
        reactor.stop()

    def listen() -> None:
        for line in sys.stdin:
            reactor.callFromThread(answer, line)
        reactor.callFromThread(lambda: reactor.running and reactor.stop())

    reactor.callWhenRunning(threading.Thread(target=listen, daemon=True).start)
    reactor.callWhenRunning(print, "ready 0", flush=True)
    reactor.run()
    sweeper.door.close()
    sweeper.database.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
